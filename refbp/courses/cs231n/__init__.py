"""Stanford's CS231n, assignments 1 to 3."""

from __future__ import annotations

from collections.abc import Iterator

from refbp.draws import exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.activation import ReLU
from refbp.layers.linear import Linear
from refbp.layers.normalization import BatchNorm1d
from refbp.oracle.exercise import Course, Exercise
from refbp.spec import Case

AFFINE = Exercise(
    "affine_backward",
    forward="out, cache = affine_forward(x, w, b)",
    backward="dx, dw, db = affine_backward(dout, cache)",
    arrays={"x": "x.reshape(len(x), 2, -1)", "w": "weight.T", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [Case(Linear(6, 5), normal(7, 6), id="seven rows"), Case(Linear(10, 3), normal(2, 10), id="two rows")],
        "degenerate": [Case(Linear(2, 1), normal(1, 2), id="one row")],
        "dtype": [Case(Linear(6, 5), normal(7, 6), id="float32")],
    },
)
RELU = Exercise(
    "relu_backward",
    forward="out, cache = relu_forward(x)",
    backward="dx = relu_backward(dout, cache)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={
        "std": [Case(ReLU(), normal(7, 5), id="matrix"), Case(ReLU(), normal(2, 3, 5), id="three axes")],
        "kink": [Case(ReLU(), exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.0]]), id="zeros")],
    },
)
_SETTINGS = "bn_param = {'mode': 'train', 'eps': eps, 'momentum': 0.9}\n"
BATCHNORM = Exercise(
    "batchnorm_backward",
    forward=_SETTINGS + "out, cache = batchnorm_forward(x, gamma, beta, bn_param)",
    backward="dx, dgamma, dbeta = batchnorm_backward(dout, cache)",
    arrays={"x": "x", "gamma": "weight", "beta": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(BatchNorm1d(5, eps=1e-5), normal(7, 5), id="eps 1e-5"),
            Case(BatchNorm1d(3, eps=0.01), normal(11, 3, mean=2.0, std=0.3), id="eps 0.01"),
        ],
        "degenerate": [Case(BatchNorm1d(3, eps=0.01), normal(2, 3), id="two rows")],
    },
)


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course("cs231n", "Stanford CS231n: layers.py", [AFFINE, RELU, BATCHNORM])
