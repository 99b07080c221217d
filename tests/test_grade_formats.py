"""Reports for Gradescope, Autolab, PrairieLearn, check50, JUnit, spreadsheets: each as its reader wants it."""

import csv
import io
import json

import pytest
import schemas
from coursework import COURSE, a_function, a_rubric

from refbp.oracle.grading import grade as grading
from refbp.oracle.grading import marks, rubric, writers


def _entries(tmp_path):
    asked = a_rubric(tmp_path, "hidden = ['degenerate']\n[exercises]\naffine_backward = 3\nrelu_backward = 1\n")
    functions = (
        a_function(
            hidden="wrong", note='raises ValueError: "\x1b[31m<b>&', findings=(("db is twice", "in 2"),), file="b.py",
            line=3, traceback='  File "b.py", line 3\n{"scores": {"affine_backward": 99}}\n',
        ),
        grading.Function("relu_backward", "ok", tiers={"std": (1, 1), "kink": (1, 1)}),
    )  # fmt: skip
    graded = {
        "=cmd|' /C calc'!A0": grading.Graded(functions, seconds=1.25),
        "ada": grading.Graded(
            tuple(a_function(name=n, verdict="ok", tiers={"std": (2, 2)}) for n in ("affine_backward", "relu_backward"))
        ),
        "cy": grading.Graded(unreadable="cy.py:1 is not Python that can be read: invalid syntax."),
        "dee/hw": grading.Graded(),
    }
    made = [writers.Entry(n, marks.sheet(n, g, asked), "", g) for n, g in graded.items()]
    about = writers.About("cs231n", 7, [i.name for i in asked.items], asked.total)
    return [*made, writers.Entry("eve", None, "the process was killed")], about


@pytest.mark.parametrize("name", writers.FOR_ONE)
def test_what_is_written_for_one_submission_is_what_its_reader_takes(tmp_path, name):
    for entry in _entries(tmp_path)[0]:
        try:
            text = writers.FOR_ONE[name](entry)
        except writers.Ungraded:
            assert entry.sheet is None
            assert name in {"gradescope", "autolab"}  # where no file is the grader's failure, and a file would be a zero
            continue
        assert getattr(schemas, name)(text) == []


def test_an_error_of_the_graders_is_no_failure_of_the_submission_in_any_format(tmp_path):
    eve = _entries(tmp_path)[0][-1]
    prairie = json.loads(writers.prairielearn(eve))
    assert (prairie["gradable"], prairie["format_errors"]) == (False, [writers.NOT_GRADED])
    check = json.loads(writers.check50(eve))
    assert "results" not in check
    assert check["error"]["type"] == "NotGraded"


def test_scores_of_gradescope_autolab_and_prairielearn_are_those_of_the_sheet(tmp_path):
    ben = _entries(tmp_path)[0][0]
    assert ben.sheet.points == pytest.approx(1.5 + 1.0)
    results = json.loads(writers.gradescope(ben))
    assert results["score"] == pytest.approx(sum(t["score"] for t in results["tests"])) == pytest.approx(ben.sheet.points)
    hidden = [t for t in results["tests"] if t["name"] == "affine_backward, hidden tests"]
    assert [(t["visibility"], t["status"], t["score"], t["max_score"]) for t in hidden] == [
        ("after_published", "failed", 0, 1.5)
    ]
    last = writers.autolab(ben).rstrip("\n").split("\n")[-1]
    assert json.loads(last) == {"scores": {"affine_backward": 1.5, "relu_backward": 1.0}}
    assert json.loads(writers.prairielearn(ben))["score"] == pytest.approx(ben.sheet.points / 4, abs=1e-6)


def test_junit_csv_and_json_have_every_submission_and_no_formula(tmp_path):
    entries, about = _entries(tmp_path)
    assert schemas.junit(writers.junit(entries, about)) == []
    rows = list(csv.reader(io.StringIO(writers.as_csv(entries, about))))
    assert {len(r) for r in rows} == {9}
    assert rows[0][:6] == ["submission", "status", "points", "of", "affine_backward", "relu_backward"]
    assert [r[1] for r in rows[1:]] == ["graded", "graded", "unreadable", "graded", "not graded"]
    assert not [c for r in rows for c in r if c[:1] in "=+-@" and c]
    data = json.loads(writers.as_json(entries, about))
    assert (data["course"], data["seed"], data["of"]) == ("cs231n", 7, 4)
    assert [(s["status"], s["points"]) for s in data["submissions"]][2:] == [
        ("unreadable", 0),
        ("graded", 0),
        ("not graded", None),
    ]


def test_a_report_larger_than_prairielearn_takes_is_shortened(tmp_path):
    graded = grading.Graded((a_function(traceback="x" * 1_200_000),))
    text = writers.prairielearn(writers.Entry("a", marks.sheet("a", graded, rubric.plain(COURSE))))
    assert schemas.prairielearn(text) == []
