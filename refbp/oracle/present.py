"""A report as lines of text and as plain data, giving away as much as is wanted.

Hints: 0 the verdicts only; 1 also which gradients and in which cases; 2 also what is wrong, in words; 3 also the smallest
failing input with what was got and what was expected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refbp.oracle.checking import Report
from refbp.oracle.verdict import Row

HINTS = 3
HEADING = ("function", "verdict", "cases", "digits", "")


def table(report: Report, hints: int = HINTS) -> list[tuple[str, ...]]:
    """The rows of the table, the heading first."""
    found: list[tuple[str, ...]] = [HEADING]
    last = ""
    for row in report.rows:
        cases = f"{row.right}/{row.tried}" if row.tried else ""
        digits = "" if row.digits is None else f"{row.digits:.0f}"
        note = row.note if hints > 0 or row.verdict in {"raises", "environment", "not implemented", "timeout"} else ""
        if not row.tried and note and note == last and row.verdict in {"raises", "environment", "timeout"}:
            note = "as above"  # a file that cannot be imported
        else:
            last = note
        if row.autograd == "no" and row.verdict == "ok":
            note = "the course's convention; the derivative itself differs by its factor"
        found.append((row.name, row.verdict, cases, digits, note))
    return found


def paragraphs(report: Report, hints: int = HINTS) -> list[list[str]]:
    """What is said of each row that is not simply right, as lines."""
    found: list[list[str]] = []
    for row in report.rows:
        said = lines(row, hints)
        # what keeps a file from being imported is told once, not for every function in it
        if row.remarkable and hints > 0 and (row.tried or all(said[1:] != other[1:] for other in found)):
            found.append(said)
    return found


def lines(row: Row, hints: int = HINTS) -> list[str]:
    """What is said of one row."""
    place = f"  {row.where}:{row.line}" if row.where and row.line else ""
    found = [f"{row.name}: {row.verdict}{place}"]
    if row.note:
        found.append(f"  {row.note}")
    told = [f for f in row.findings if hints >= 2 or f.kind == "cases"]
    if hints >= 2 and not told and row.verdict in {"wrong", "forward wrong"} and not row.note.startswith("its "):
        found.append("  why: not explained")
    for i, finding in enumerate(told):
        found.append(f"  {'why' if i == 0 else 'also'}: {finding.sentence}")
        if finding.evidence:
            found.append(f"       ({finding.evidence})")
    if hints >= 3 and row.example:
        found += [f"  smallest failing input:  {row.example[0]}", f"                           {row.example[1]}"]
    if row.traceback and hints >= 1:
        found += ["", *(f"  {line}" for line in row.traceback.rstrip().splitlines())]
    return found


def summary(report: Report) -> str:
    """How many functions are what."""
    ok = sum(r.ok for r in report.rows)
    todo = sum(r.verdict == "not implemented" for r in report.rows)
    count = f"{len(report.rows)} function{'s' * (len(report.rows) != 1)}"
    rest = f" · {todo} not implemented" if todo else ""
    return f"{count} · {ok} ok · {len(report.wrong)} to mend{rest} · {report.seconds:.1f} s"


def heading(report: Report) -> list[str]:
    """What was checked against what, and how it was understood."""
    about = f"{report.course.name}: {report.course.about} · seed {report.seed}"
    return [
        f"{report.path} · {about}" if report.path else about,
        *report.notes,
        *[report.protections] * bool(report.protections),
    ]


def text(report: Report, hints: int = HINTS) -> str:
    """The whole report."""
    rows = table(report, hints)
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEADING) - 1)]
    cells = [
        "  ".join([r[0].ljust(widths[0]), r[1].ljust(widths[1]), r[2].rjust(widths[2]), r[3].rjust(widths[3]), r[4]]).rstrip()
        for r in rows
    ]
    said = [line for p in paragraphs(report, hints) for line in ("", *p)]
    return "\n".join([*heading(report), "", *cells, *said, "", summary(report)])


def data(report: Report, hints: int = HINTS) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "path": report.path,
        "course": report.course.name,
        "seed": report.seed,
        "protections": report.protections,
        "notes": list(report.notes),
        "seconds": round(report.seconds, 2),
        "functions": [_row(r, hints) for r in report.rows],
        "wrong": len(report.wrong),
    }


def _row(row: Row, hints: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "function": row.name,
        "verdict": row.verdict,
        "note": row.note if hints else "",
        "right": row.right,
        "cases": row.tried,
        "digits": None if row.digits is None else round(row.digits, 1),
        "tiers": dict(row.scores),
        "file": row.where,
        "line": row.line,
        "matches_autograd": row.autograd or None,
        "convention": row.exercise.convention,
    }
    if hints >= 2:
        found["findings"] = [f.data() for f in row.findings]
    if hints >= 3:
        found["smallest_input"] = row.example[0] if row.example else None
        found["smallest_input_gives"] = row.example[1] if row.example else None
        found["script"] = row.script or None
    return found


def plain(value: Any) -> Any:
    """An array as nested lists."""
    return np.asarray(value).tolist() if value is not None else None
