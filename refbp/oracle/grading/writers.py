"""What others read: results.json of Gradescope and PrairieLearn, Autolab's lines, check50's JSON, JUnit's XML, CSV, JSON.

Of a submission that was not graded Gradescope and Autolab get nothing, which they report as the grader's failure and not as a
zero; PrairieLearn is told "not gradable", which costs no attempt; check50 and JUnit have a word for it.
"""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from refbp import __version__
from refbp.oracle.grading.grade import Graded
from refbp.oracle.grading.marks import Mark, Sheet


class Entry(NamedTuple):
    """A submission: its marks, or why there are none, and everything that was found."""

    name: str
    sheet: Sheet | None
    reason: str = ""
    graded: Graded | None = None


class About(NamedTuple):
    """What is the same for all submissions."""

    course: str
    seed: int
    functions: Sequence[str]
    total: float


NOT_GRADED = "This submission was not graded, because the grader failed; that is no fault of the submission."
PRAIRIE = 900_000  # bytes: PrairieLearn takes 1 MB


class Ungraded(Exception):  # noqa: N818  # a format's way to say nothing
    """What a format raises that has no word for a submission that was not graded."""


def _round(points: float) -> float:
    return round(points, 4)


def _tests(sheet: Sheet) -> list[tuple[Mark, bool]]:
    """A test for every function, and one more where it has hidden tiers."""
    return [(m, hidden) for m in sheet.marks for hidden in ((False, True) if m.hidden.cases else (False,))]


def _name(mark: Mark, hidden: bool) -> str:
    return f"{mark.name}, hidden tests" if hidden else mark.name


def _words(mark: Mark, hidden: bool) -> str:
    return mark.hidden_line if hidden else "\n".join(mark.lines)


def _passed(mark: Mark, hidden: bool) -> bool:
    return mark.hidden_passed if hidden else mark.passed


def gradescope(entry: Entry) -> str:
    """results.json: a test for each function, hidden tiers as tests with a visibility of their own."""
    sheet = entry.sheet
    if sheet is None:
        raise Ungraded
    tests = []
    for n, (mark, hidden) in enumerate(_tests(sheet), start=1):
        part = mark.hidden if hidden else mark.seen
        tests.append(
            {
                "name": _name(mark, hidden),
                "number": str(n),
                "score": _round(part.points),
                "max_score": _round(part.most),
                "status": "passed" if _passed(mark, hidden) else "failed",
                "output": _words(mark, hidden),
                "output_format": "text",
                "visibility": mark.hidden_visibility if hidden else mark.visibility,
            }
        )
    found = {"score": _round(sheet.points), "execution_time": round(sheet.seconds, 2), "tests": tests}
    if sheet.unreadable:
        found["output"] = sheet.unreadable
    return _json(found)


def autolab(entry: Entry) -> str:
    """Text, then the line of formatted feedback, then the line of scores, which must be the last."""
    sheet = entry.sheet
    if sheet is None:
        raise Ungraded
    lines = [line for mark, hidden in _tests(sheet) for line in [*_words(mark, hidden).splitlines(), ""]]
    cases: dict[str, Any] = {}
    for mark, hidden in _tests(sheet):
        passed = _passed(mark, hidden)
        cases[_name(mark, hidden)] = {"passed": passed} if passed else {"passed": False, "hint": _words(mark, hidden)}
    feedback = {"_presentation": "semantic", "stages": ["Functions"], "Functions": cases}
    scores = {m.name: _round(m.points) for m in sheet.marks}
    said = [sheet.unreadable, ""] if sheet.unreadable else []
    # A line of a student's could read like the scores: only the last one counts, and it is ours
    return "\n".join([*said, *lines, json.dumps(feedback), json.dumps({"scores": scores})]) + "\n"


def prairielearn(entry: Entry) -> str:
    """results.json: the score from 0 to 1; what cannot be read, or was not graded, is not gradable."""
    sheet = entry.sheet
    if sheet is None or sheet.unreadable:
        why = NOT_GRADED if sheet is None else sheet.unreadable
        return _json({"gradable": False, "score": 0.0, "message": why, "format_errors": [why]})
    tests = [
        {
            "name": _name(mark, hidden),
            "points": _round((mark.hidden if hidden else mark.seen).points),
            "max_points": _round((mark.hidden if hidden else mark.seen).most),
            "message": "" if hidden else mark.verdict,
            "output": _words(mark, hidden),
        }
        for mark, hidden in _tests(sheet)
    ]
    score = sheet.points / sheet.most if sheet.most else 0.0
    found = {"gradable": True, "score": min(1.0, max(0.0, round(score, 6))), "tests": tests}
    text = _json(found)
    if len(text.encode()) > PRAIRIE:
        for test in tests:
            test["output"] = str(test["output"])[: PRAIRIE // (8 * len(tests))]
        text = _json(found)
    return text


def check50(entry: Entry) -> str:
    """The JSON of check50 -o json."""
    sheet = entry.sheet
    found: dict[str, Any] = {"slug": entry.name}
    if sheet is None:
        found["error"] = {"type": "NotGraded", "value": NOT_GRADED, "traceback": [], "data": {}}
        return _json({**found, "version": __version__})
    results = []
    for mark, hidden in _tests(sheet):
        passed = _passed(mark, hidden)
        untried = not hidden and mark.verdict in {"missing", "unreadable", "not tested"}
        words = _words(mark, hidden).splitlines()
        about = f"{mark.name} passes hidden tests" if hidden else f"{mark.name} is right"
        results.append(
            {
                "name": _name(mark, hidden).replace(", ", "_").replace(" ", "_"),
                "description": about,
                "passed": None if untried else passed,
                "log": [] if hidden else words[1:],
                "cause": None if passed else {"rationale": words[0] if words else mark.verdict, "help": None},
                "data": {"points": _round((mark.hidden if hidden else mark.seen).points)},
                "dependency": mark.name if hidden else None,
            }
        )
    return _json({**found, "results": results, "version": __version__})


FOR_ONE: Mapping[str, Callable[[Entry], str]] = {
    "gradescope": gradescope,
    "autolab": autolab,
    "prairielearn": prairielearn,
    "check50": check50,
}


def junit(entries: Sequence[Entry], about: About) -> str:
    """A test-suite for each submission: a failure is the submission's, an error is the grader's."""
    top = ET.Element("testsuites", name=f"refbp grade {about.course}")
    for name, sheet, reason, _ in entries:
        tests = _tests(sheet) if sheet else []
        failed = sum(not _passed(m, h) for m, h in tests)
        suite = ET.SubElement(top, "testsuite", name=_xml(name), tests=str(len(tests) or 1), failures=str(failed))
        suite.attrib |= {"errors": str(int(sheet is None)), "skipped": "0", "time": f"{sheet.seconds if sheet else 0:.3f}"}
        if sheet is None:
            case = ET.SubElement(suite, "testcase", name="grading", classname=_xml(name))
            ET.SubElement(case, "error", type="not graded", message=_xml(reason)).text = NOT_GRADED
        for mark, hidden in tests:
            case = ET.SubElement(suite, "testcase", name=_name(mark, hidden), classname=_xml(name))
            if not _passed(mark, hidden):
                kind = "hidden tests" if hidden else mark.verdict
                words = _xml(_words(mark, hidden))
                ET.SubElement(case, "failure", type=kind, message=words.split("\n", 1)[0]).text = words
    ET.indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(top, encoding="unicode") + "\n"


def as_csv(entries: Sequence[Entry], about: About) -> str:
    """A row for each submission; points are empty where it was not graded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(about.functions)
    writer.writerow(["submission", "status", "points", "of", *names, *(f"{n} verdict" for n in names), "note"])
    for name, sheet, reason, _ in entries:
        if sheet is None:
            writer.writerow([_cell(name), "not graded", "", _round(about.total), *[""] * (2 * len(names)), _cell(reason)])
            continue
        marks = {m.name: m for m in sheet.marks}
        note = sheet.unreadable or (f"the same as {sheet.same_as}" if sheet.same_as else "")
        points = [_round(marks[n].points) for n in names]
        verdicts = [marks[n].verdict for n in names]
        status = "unreadable" if sheet.unreadable else "graded"
        writer.writerow([_cell(name), status, _round(sheet.points), _round(sheet.most), *points, *verdicts, _cell(note)])
    return out.getvalue()


def as_json(entries: Sequence[Entry], about: About) -> str:
    """Everything that was found, for the instructor: more than any student's report says."""
    submissions = []
    for name, sheet, reason, graded in entries:
        entry: dict[str, Any] = {"name": name, "status": "not graded", "points": None, "of": _round(about.total)}
        if sheet is None or graded is None:
            entry["reason"] = reason
        else:
            marks = {m.name: m for m in sheet.marks}
            entry |= {"status": "unreadable" if sheet.unreadable else "graded", "points": _round(sheet.points)}
            entry |= {"seconds": round(sheet.seconds, 2), "same_as": sheet.same_as or None}
            entry |= {"unreadable": graded.unreadable or None, "protections": graded.protections}
            entry["functions"] = [
                {**f, "points": _round(marks[f["name"]].points), "of": _round(marks[f["name"]].most)}
                for f in graded.data()["functions"]
                if f["name"] in marks
            ]
        submissions.append(entry)
    return _json({"course": about.course, "seed": about.seed, "of": _round(about.total), "submissions": submissions})


FOR_ALL: Mapping[str, Callable[[Sequence[Entry], About], str]] = {"junit": junit, "csv": as_csv, "json": as_json}
FORMATS = (*FOR_ONE, *FOR_ALL)


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: names of files are their students' choice."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _xml(text: str) -> str:
    """A text with only the characters that XML has."""
    return "".join(
        c if c in "\n\t" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") else "\ufffd" for c in text
    )
