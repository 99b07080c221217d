"""CMU 10-414: the operators of needle, on its tensors, and the training loops of the zeroth homework.

An operator's ``compute`` works on arrays and its ``gradient`` on tensors, of which the framework is part of a submission:
give the folder that holds it. Arrays are NumPy's (homeworks 0 to 2), or the framework's own (homeworks 3 and 4), which can
do less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refbp.contract import Array, Layer
from refbp.courses._operations import (
    AddScalar,
    BroadcastTo,
    Dilate,
    DivScalar,
    Exp,
    Flip,
    Log,
    LogSumExp,
    MulScalar,
    Negate,
    Power,
    PowerScalar,
    Reshape,
    Summation,
    SwapAxes,
)
from refbp.draws import Draw, exactly, labels, normal, signed, special, uniform
from refbp.hookspecs import hookimpl
from refbp.layers.activation import ReLU, Tanh
from refbp.layers.arithmetic import Add, Div, MatMul, Mul
from refbp.layers.convolution import Conv2d
from refbp.layers.graph import Graph
from refbp.layers.softmax import LogSoftmax
from refbp.losses.classification import CrossEntropyLoss
from refbp.oracle.exercise import Course, Exercise
from refbp.spec import Case

_DRIVER = """
import sys

class Refused(Exception):
    pass

def tensors():
    # A file of operators that does not import the class, and an application: the framework has it
    loaded = [submission, *list(sys.modules.values())]
    found = [getattr(m, "Tensor", None) for m in loaded]
    return next(t for t in found if isinstance(t, type) and hasattr(t, "realize_cached_data"))

def tensor(a):
    return tensors()(a)

def own_arrays(insist=True):
    own = not isinstance(tensor(np.zeros(1)).realize_cached_data(), np.ndarray)
    if insist and not own:
        raise Refused("its arrays are NumPy's, which can do more than this convention asks for")
    return own

def numbers(a):
    return np.asarray(a.numpy() if hasattr(a, "numpy") else a)

def compute(op, *arrays):
    try:
        out = op.compute(*[tensor(a).realize_cached_data() for a in arrays])
    except TypeError:
        if type(op).__name__ == "EWisePow" and own_arrays(False):
            raise NotImplementedError("the framework's arrays are raised to numbers only") from None
        raise
    out = out if out is None else numbers(out)
    whole = out is not None and out.size == 1 and getattr(op, "axes", 0) is None
    return out.reshape(()) if whole else out  # the framework's own arrays have one axis at least

def record(op, *arrays):
    return op(*[tensor(a) for a in arrays])

def several(found):
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)

def gradient(op, dout, node):
    if dout.size == numbers(node).size:  # one number is of shape (1,) to the framework's own arrays
        dout = dout.reshape(numbers(node).shape)
    try:
        found = op.gradient(tensor(dout), node)
    except ValueError as error:
        if type(op).__name__ == "EWisePow" and "must be tensors (NDArray)" in str(error):
            raise NotImplementedError("as it was handed out, it refuses every tensor") from None
        raise
    return tuple(plain(g) for g in several(found))

def plain(g):
    if g is None:
        return None
    if not isinstance(g, tensors()):
        raise TypeError(f"gradient gives a {type(g).__name__} where a Tensor is wanted")
    found = numbers(g)
    if found.dtype == object:
        raise TypeError("gradient gives a Tensor of objects: a NumPy function was called on Tensors")
    return found
"""


def operator(
    name: str, arguments: str, std: Sequence[Case], inputs: Sequence[str] = (), own: bool = False, **others: Any
) -> Exercise:
    """An operator: computed on arrays, recorded on tensors, asked for the gradients of its inputs.

    ``own`` is for frameworks with arrays of their own, which can do less than NumPy's.
    """
    case = std[0]
    names = tuple(inputs) or tuple(case.layer.inputs())[: len(case.draws)]
    called = ["a", "b"][: len(names)]
    listed = ", ".join(called)
    fields: dict[str, Any] = {
        "arrays": dict(zip(called, names, strict=True)),
        "outputs": {"out": next(iter(case.layer.outputs()), "y")},
        "upstream": {"dout": "out"},
        "convention": "compute on arrays, gradient on tensors; one gradient for each input, of its shape",
    } | others
    tiers = {"std": std, **fields.pop("tiers", {})}
    return Exercise(
        f"{name}.gradient",
        f"{'own_arrays()' if own else ''}\nop = {name}({arguments})\nout = compute(op, {listed})",
        f"node = record(op, {listed})\n{', '.join(f'd{a}' for a in called)}, = gradient(op, dout, node)",
        tiers=tiers,
        driver=_DRIVER,
        also=(f"{name}.compute", f"{name}.gradient"),
        forward_name=f"{name}.compute",
        **fields,
    )


def _both(layer: Layer[Any], make: Any = normal) -> list[Case]:
    return [Case(layer, make(7, 5), make(7, 5), id="matrices"), Case(layer, make(2, 3, 5), make(2, 3, 5), id="three axes")]


def _one(layer: Layer[Any], make: Any = normal) -> list[Case]:
    return [Case(layer, make(7, 5), id="matrix"), Case(layer, make(2, 3, 5), id="three axes")]


def _positive(*shape: int) -> Draw:
    return uniform(*shape, low=0.5, high=2.0)


ELEMENTWISE = [
    operator("EWiseAdd", "", _both(Add())),
    operator("AddScalar", "scalar", _one(AddScalar(2.5))),
    operator("EWiseMul", "", _both(Mul())),
    operator("MulScalar", "scalar", _one(MulScalar(2.5))),
    operator("PowerScalar", "scalar", [*_one(PowerScalar(3)), Case(PowerScalar(2), normal(3, 2), id="a square")]),
    operator("EWisePow", "", _both(Power(), _positive)),
    operator("EWiseDiv", "", _both(Div(), signed)),
    operator("DivScalar", "scalar", _one(DivScalar(2.5))),
    operator("Negate", "", _one(Negate())),
    operator("Log", "", _one(Log(), _positive)),
    operator("Exp", "", _one(Exp())),
    operator("ReLU", "", _one(ReLU()), tiers={"kink": [Case(ReLU(), exactly([[0.0, 1.0, -1.0]]), id="zero")]}),
    operator("Tanh", "", _one(Tanh())),
]
MOVING = [
    operator(
        "Transpose",
        "axes",
        [
            Case(SwapAxes(), normal(2, 3, 5), id="the last two axes"),
            Case(SwapAxes((0, 2)), normal(2, 3, 5), id="axes 0 and 2"),
            Case(SwapAxes((1, 2)), normal(3, 2, 5, 4), id="axes 1 and 2 of four"),
        ],
    ),
    operator("Reshape", "shape", [Case(Reshape((3, 10)), normal(2, 3, 5)), Case(Reshape((7,)), normal(7, 1))]),
    operator(
        "BroadcastTo",
        "shape",
        [
            Case(BroadcastTo((7, 5)), normal(7, 1), id="a column"),
            Case(BroadcastTo((3, 7, 5)), normal(1, 7, 1), id="two axes"),
            Case(BroadcastTo((3, 5)), normal(5), id="a new axis"),
        ],
        tiers={"degenerate": [Case(BroadcastTo((2, 3)), normal(2, 3), id="nothing to copy")]},
    ),
    operator(
        "Summation",
        "axes",
        [
            Case(Summation((1,)), normal(7, 5), id="columns"),
            Case(Summation((0,)), normal(7, 5), id="rows"),
            Case(Summation((0, 2)), normal(2, 3, 5), id="two axes"),
            Case(Summation(), normal(2, 3), id="everything"),
        ],
        tiers={"degenerate": [Case(Summation((1,)), normal(3, 1), id="one column")]},
    ),
    operator("Flip", "axes", [Case(Flip((0,)), normal(3, 5)), Case(Flip((0, 2)), normal(2, 3, 5))]),
    operator("Dilate", "axes, dilation", [Case(Dilate((0,), 1), normal(3, 2)), Case(Dilate((1, 2), 2), normal(2, 3, 5))]),
]
PRODUCTS = [
    operator(
        "MatMul",
        "",
        [
            Case(MatMul(), normal(7, 5), normal(5, 3), id="matrices"),
            Case(MatMul(), normal(2, 7, 5), normal(5, 3), id="a batch times a matrix"),
            Case(MatMul(), normal(7, 5), normal(2, 3, 5, 4), id="a matrix times batches"),
            Case(MatMul(), normal(2, 3, 5), normal(2, 5, 4), id="two batches"),
        ],
        tiers={"degenerate": [Case(MatMul(), normal(1, 2), normal(2, 1), id="one number")]},
    ),
    operator(
        "Conv",
        "stride, padding",
        [
            Case(Conv2d(2, 3, 3, stride=1, padding=0, bias=False), normal(2, 2, 5, 5), id="no padding"),
            Case(Conv2d(3, 2, 3, stride=1, padding=1, bias=False), normal(2, 3, 5, 4), id="padding 1, 5×4"),
            Case(Conv2d(2, 5, 2, stride=2, padding=0, bias=False), normal(1, 2, 4, 4), id="stride 2"),
            Case(Conv2d(2, 3, 3, stride=2, padding=1, bias=False), normal(2, 2, 7, 7), id="stride 2, padding 1"),
            Case(Conv2d(3, 2, 3, stride=2, padding=0, bias=False), normal(1, 3, 7, 5), id="stride 2, 7×5"),
        ],
        ["x.transpose(0, 2, 3, 1)", "weight.transpose(2, 3, 1, 0)"],
        outputs={"out": "y.transpose(0, 2, 3, 1)"},
        convention="images are NHWC, filters (K, K, in, out)",
    ),
]
LOGARITHMIC = [
    operator(
        "LogSumExp",
        "axes",
        [
            Case(LogSumExp((1,)), normal(7, 5), id="rows"),
            Case(LogSumExp((0, 2)), normal(2, 3, 5), id="two axes"),
            Case(LogSumExp(), normal(2, 3), id="everything"),
        ],
        tiers={"stability": [Case(LogSumExp((1,)), normal(3, 5, mean=1000.0), id="large values")]},
    ),
    operator(
        "LogSoftmax",
        "",
        [Case(LogSoftmax(1), normal(7, 5), id="seven rows"), Case(LogSoftmax(1), normal(2, 3), id="two rows")],
        tiers={"stability": [Case(LogSoftmax(1), normal(3, 5, mean=1000.0), id="large values")]},
    ),
]
_OWN = "on the framework's own arrays, which multiply matrices, keep the number of axes and sum along one axis or all"
OWN_ARRAYS = [
    operator(
        "BroadcastTo",
        "shape",
        [
            Case(BroadcastTo((7, 5)), normal(7, 1), id="a column"),
            Case(BroadcastTo((3, 7, 5)), normal(1, 7, 1), id="two axes"),
        ],
        tiers={"degenerate": [Case(BroadcastTo((2, 3)), normal(2, 3), id="nothing to copy")]},
        own=True,
        convention=_OWN,
    ),
    operator(
        "Summation",
        "axes",
        [
            Case(Summation((1,)), normal(7, 5), id="columns"),
            Case(Summation((0,)), normal(2, 3, 5), id="rows"),
            Case(Summation(), normal(2, 3), id="everything"),
        ],
        tiers={"degenerate": [Case(Summation((1,)), normal(3, 1), id="one column")]},
        own=True,
        convention=_OWN,
    ),
    operator(
        "MatMul",
        "",
        [Case(MatMul(), normal(7, 5), normal(5, 3), id="matrices"), Case(MatMul(), normal(2, 3), normal(3, 2))],
        tiers={"degenerate": [Case(MatMul(), normal(1, 2), normal(2, 1), id="one number")]},
        own=True,
        convention=_OWN,
    ),
    operator(
        "LogSumExp",
        "axes",
        [Case(LogSumExp((1,)), normal(7, 5), id="rows"), Case(LogSumExp(), normal(2, 3), id="everything")],
        tiers={"stability": [Case(LogSumExp((1,)), normal(3, 5, mean=1000.0), id="large values")]},
        own=True,
        convention=_OWN,
    ),
]
_USES = "p = a * b; q = a @ a; z = p + q"
AUTOGRAD = Exercise(
    "compute_gradient_of_variables",
    "at = tensor(a)\nbt = tensor(b)\nzt = combined(at, bt)\nz = array(zt)",
    "da, db = backward(zt, dz, at, bt)",
    arrays={"a": "a", "b": "b"},
    outputs={"z": "z"},
    driver=_DRIVER
    + """
def combined(a, b):
    return a * b + a @ a

def array(t):
    return numbers(t)

def backward(z, dz, a, b):
    z.backward(tensor(dz))
    return plain(getattr(a, "grad", None)), plain(getattr(b, "grad", None))
""",
    also=("Tensor", "compute_gradient_of_variables"),
    forward_name="Tensor",
    convention="what arrives at a value from all its uses is added up",
    tiers={
        "std": [
            Case(Graph(_USES), normal(5, 5), normal(5, 5), id="a value used three times, twice by one operator"),
            Case(Graph(_USES), normal(2, 2), normal(2, 2), id="two by two"),
        ]
    },
)
_LOOPS = (
    _DRIVER
    + """
def moved(epoch, X, y, *weights):
    after = [w.copy() for w in weights]
    getattr(submission, epoch)(X, y, *after, lr=1.0, batch=len(X))
    return tuple(w - a for w, a in zip(weights, after))

def one_hot(Z, y):
    return tensor(np.eye(Z.shape[1])[y])

def loss_of(Z, y):
    return numbers(submission.softmax_loss(tensor(Z), one_hot(Z, y))).reshape(())

def stepped(X, y, *weights):
    given = [tensor(w) for w in weights]
    after = submission.nn_epoch(X, y, *given, lr=1.0, batch=len(X))
    after = given if after is None else after
    return tuple(w - plain(a) for w, a in zip(weights, after))
"""
)


def _classes(n: int, classes: int) -> Draw:
    """Labels of n samples, the last class among them: many a solution counts classes by the largest label."""

    def make(rng: np.random.Generator) -> Array:
        t = rng.integers(0, classes, n)
        t[rng.integers(n)] = classes - 1
        return t

    return special(f"labels({n}, classes={classes})", (n,), make)


def _linear(n_in: int, n_out: int) -> Graph:
    return Graph(f"z = Linear({n_in}, {n_out}, bias=False)(x); loss = CrossEntropyLoss(z, t)")


def _layers(n_in: int, hidden: int, n_out: int) -> Graph:
    layers = f"h = Linear({n_in}, {hidden}, bias=False)(x); r = ReLU(h); z = Linear({hidden}, {n_out}, bias=False)(r)"
    return Graph(f"{layers}; loss = CrossEntropyLoss(z, t)")


_FIRST = "the first homework's: tensors, one-hot targets; nn_epoch gives the weights back"
_ROWS = [
    Case(CrossEntropyLoss(), normal(7, 5), labels(7, classes=5), id="seven rows"),
    Case(CrossEntropyLoss(), normal(2, 3), labels(2, classes=3), id="two rows"),
]
_EPOCHS = [
    Case(_layers(5, 7, 3), normal(11, 5), _classes(11, 3), id="eleven rows"),
    Case(_layers(3, 2, 4), normal(2, 3), _classes(2, 4), id="two rows"),
]
_MEAN = "the loss is a mean over the batch; an epoch of one batch with lr = 1 moves the weights, in place, by the gradient"
LOOPS = [
    Exercise(
        "softmax_loss",
        "loss = softmax_loss(Z, y)",
        arrays={"Z": "input", "y": "target"},
        outputs={"loss": "loss"},
        convention="the loss is a mean over the batch",
        tiers={"std": _ROWS},
    ),
    Exercise(
        "softmax_loss",
        "loss = loss_of(Z, y)",
        arrays={"Z": "input", "y": "target"},
        outputs={"loss": "loss"},
        driver=_LOOPS,
        also=("softmax_loss",),
        forward_name="softmax_loss",
        convention=_FIRST,
        tiers={"std": _ROWS},
    ),
    Exercise(
        "softmax_regression_epoch",
        "loss = softmax_loss(X @ theta, y)",
        "dtheta, = moved('softmax_regression_epoch', X, y, theta)",
        arrays={"X": "x", "y": "t", "theta": "z_weight.T"},
        outputs={"loss": "loss"},
        driver=_LOOPS,
        also=("softmax_regression_epoch",),
        beside="softmax_regression_epoch",
        convention=_MEAN,
        tiers={
            "std": [
                Case(_linear(5, 3), normal(7, 5), _classes(7, 3), id="seven rows"),
                Case(_linear(3, 4), normal(2, 3), _classes(2, 4), id="two rows"),
            ]
        },
    ),
    Exercise(
        "nn_epoch",
        "loss = softmax_loss(np.maximum(X @ W1, 0) @ W2, y)",
        "dW1, dW2 = moved('nn_epoch', X, y, W1, W2)",
        arrays={"X": "x", "y": "t", "W1": "h_weight.T", "W2": "z_weight.T"},
        outputs={"loss": "loss"},
        driver=_LOOPS,
        also=("nn_epoch",),
        convention=_MEAN,
        tiers={"std": _EPOCHS},
    ),
    Exercise(
        "nn_epoch",
        "loss = loss_of(np.maximum(X @ W1, 0) @ W2, y)",
        "dW1, dW2 = stepped(X, y, W1, W2)",
        arrays={"X": "x", "y": "t", "W1": "h_weight.T", "W2": "z_weight.T"},
        outputs={"loss": "loss"},
        driver=_LOOPS,
        also=("softmax_loss", "nn_epoch"),
        forward_name="softmax_loss",
        convention=f"{_FIRST}, which move by the gradient where lr = 1 and the epoch is one batch",
        tiers={"std": _EPOCHS},
    ),
]


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course(
        "needle",
        "CMU 10-414: the operators of needle",
        [*ELEMENTWISE, *MOVING, *PRODUCTS, *LOGARITHMIC, *OWN_ARRAYS, AUTOGRAD, *LOOPS],
        conventions=(
            "A weight is (in, out), images are NHWC.",
            "gradient gives a tensor for each input, of that input's shape: what was broadcast is summed.",
            "The framework's own Tensor is used: give the folder that it lies in.",
            "A compiled backend of its arrays is not run: the one in NumPy that is handed out beside it stands in.",
        ),
        stand_ins={"ndarray_backend_cpu": "ndarray_backend_numpy"},
        url="https://dlsyscourse.org",
    )
