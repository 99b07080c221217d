"""EECS 498: tensors in, tensors out; what is right is right in every tier, what is wrong is caught and explained."""

from pathlib import Path

import pytest
from courses._course import caught, checked, course, found, names, rows, told, words
from courses.umich498.wrong import WRONG

from refbp.oracle import submission

RIGHT = Path(__file__).parent / "umich498" / "right"
FILES = sorted(RIGHT.glob("*.py"))


@pytest.fixture(scope="module")
def defined():
    """What each file of the right solution defines, in this process."""
    return {path.name: names(path) for path in FILES}


@pytest.fixture(scope="module")
def mistakes():
    """Every mistake, with the row that is made of it."""
    return [(w, found("umich498", RIGHT / w.file, w)) for w in WRONG]


@pytest.mark.parametrize("exercise", dict.fromkeys(e.name for e in course("umich498").exercises))
def test_a_right_solution_is_ok_in_every_tier(defined, exercise):
    for made in (e for e in course("umich498").exercises if e.name == exercise):
        home = next(space for space in defined.values() if all(n.split(".")[0] in space for n in made.needs))
        found_ = rows("umich498", home, exercise)
        assert [(r.name, r.verdict, r.note) for r in found_ if not r.ok] == []
        assert {score for r in found_ for score in r.scores.values()} == {1.0}


def test_a_worker_has_torch_and_sees_the_file_beside():
    report = checked("umich498", RIGHT / "convolutional_networks.py", ["Conv.backward", "ThreeLayerConvNet.loss"])
    assert {r.name: r.verdict for r in report.rows} == {
        "Conv.forward": "ok",
        "Conv.backward": "ok",
        "ThreeLayerConvNet.loss": "ok",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_tensors_are_told_from_arrays_though_functions_have_the_same_names(path):
    courses = [course("cs231n"), course("umich498")]
    assert submission.recognised(submission.read(path), courses, None).name == "umich498"
    numpy = path.parents[2] / "cs231n" / "right" / {"linear_classifier.py": "classifiers.py"}.get(path.name, "rnn_layers.py")
    assert submission.recognised(submission.read(numpy), courses, None).name == "cs231n"


def test_every_mistake_is_caught(mistakes):
    assert len(mistakes) > 30
    assert [str(w) for w, row in mistakes if not caught(row)] == []


def test_every_mistake_is_explained(mistakes):
    assert [(str(w), row.verdict, words(row)) for w, row in mistakes if not told(row, w)] == []
