"""A small course, and submissions to it, for the tests of grading and auditing."""

import zipfile
from pathlib import Path

from refbp.draws import exactly, normal
from refbp.layers.activation import ReLU
from refbp.layers.linear import Linear
from refbp.oracle.exercise import Course, Exercise
from refbp.oracle.grading import grade, rubric
from refbp.spec import Case

DATA = Path(__file__).with_name("data") / "coursework"
AFFINE = Exercise(
    "affine_backward",
    forward="out, cache = affine_forward(x, w, b)",
    backward="dx, dw, db = affine_backward(dout, cache)",
    arrays={"x": "x", "w": "weight.T", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [Case(Linear(3, 5), normal(7, 3), id="seven"), Case(Linear(4, 2), normal(3, 4), id="three")],
        "degenerate": [Case(Linear(2, 3), normal(1, 2), id="one row")],
    },
)
RELU = Exercise(
    "relu_backward",
    forward="out, cache = relu_forward(x)",
    backward="dx = relu_backward(dout, cache)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={"std": [Case(ReLU(), normal(5, 4), id="matrix")], "kink": [Case(ReLU(), exactly([[0.0, 1.0]]), id="zero")]},
)
COURSE = Course("cs231n", "a small one", [AFFINE, RELU])
RIGHT = (DATA / "ada.py").read_text()
WRONG = (DATA / "ben.py").read_text()


def a_rubric(folder, text):
    (folder / "rubric.toml").write_text(text)
    return rubric.read(folder / "rubric.toml", COURSE)


def a_function(**fields):
    """What was found of one function, as if it had been tried."""
    tiers = {"std": (2, 2), "degenerate": (0, 1)}
    return grade.Function(**{"name": "affine_backward", "verdict": "wrong", "tiers": tiers, **fields})


def a_zip(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, *mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode[0] if mode else 0o100644) << 16
            archive.writestr(info, content)
    return path
