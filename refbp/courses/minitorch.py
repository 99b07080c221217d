"""Cornell Tech's minitorch: functions with a context, on numbers and on tensors.

A function keeps what backward needs in ``ctx``: the submission's own Context where its file has one, else one of the
driver's. Tensors are the submission's: give the folder that holds its package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from refbp.contract import Layer
from refbp.courses._operations import Exp, Log, Maximum, Negate, Permute, Reciprocal, Reshape, Step, Summation
from refbp.draws import Draw, exactly, normal, signed, uniform
from refbp.hookspecs import hookimpl
from refbp.layers.activation import ReLU, Sigmoid
from refbp.layers.arithmetic import Add, MatMul, Mul
from refbp.layers.graph import Graph
from refbp.oracle.exercise import Course, Exercise
from refbp.spec import Case

_DRIVER = """
import sys

class Kept:
    no_grad = False
    saved_values = ()

    def save_for_backward(self, *values):
        self.saved_values = values

    @property
    def saved_tensors(self):
        return self.saved_values

def context():
    kind = getattr(submission, "Context", None)
    return kind() if isinstance(kind, type) else Kept()

def several(found):
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)
"""
_NUMBERS = (
    _DRIVER
    + """
def forward(name, ctx, *values):
    return float(getattr(submission, name).forward(ctx, *[float(v) for v in values]))

def backward(name, ctx, d):
    return several(getattr(submission, name).backward(ctx, float(d)))
"""
)
_TENSORS = (
    _DRIVER
    + """
def tensor(a):
    make = getattr(submission, "tensor", None)
    if not callable(make):  # a file that does not import it: the package has it
        package = submission.__name__.split(".")[0]
        found = [getattr(m, "tensor", None) for n, m in list(sys.modules.items()) if n.startswith(package)]
        make = next(f for f in found if callable(f))
    return make(np.asarray(a, float).tolist())

def forward(name, ctx, *values):
    return getattr(submission, name).forward(ctx, *[tensor(np.atleast_1d(v)) for v in values]).to_numpy()

def backward(name, ctx, d, *inputs):
    found = several(getattr(submission, name).backward(ctx, tensor(d)))
    return tuple(fitted(g.to_numpy(), x) for g, x in zip(found, inputs))

def fitted(g, x):
    # The framework expands and sums whatever a function sends back to the shape of its input
    try:
        wide = np.broadcast_to(g, np.broadcast_shapes(g.shape, x.shape))
    except ValueError:
        return g
    wide = wide.sum(axis=tuple(range(wide.ndim - x.ndim)))
    over = tuple(i for i, (a, b) in enumerate(zip(wide.shape, x.shape)) if a != b)
    return wide.sum(axis=over, keepdims=True) if over else wide.copy()
"""
)


def _numbers(layer: Layer[Any], inputs: int, make: Any = normal) -> dict[str, list[Case]]:
    return {"std": [Case(layer, *[make() for _ in range(inputs)], id=f"numbers {i}") for i in (1, 2, 3, 4)]}


def on_numbers(name: str, layer: Layer[Any], tiers: Mapping[str, Sequence[Case]], **others: Any) -> Exercise:
    """A function of one or two numbers."""
    called = ["a", "b"][: len(layer.inputs())]
    listed = ", ".join(called)
    return Exercise(
        f"{name}.backward",
        f"ctx = context()\nout = forward('{name}', ctx, {listed})",
        f"{', '.join(f'd{a}' for a in called)}, = backward('{name}', ctx, dout)",
        arrays=dict(zip(called, layer.inputs(), strict=True)),
        outputs={"out": "y"},
        upstream={"dout": "out"},
        tiers=tiers,
        driver=_NUMBERS,
        also=(f"{name}.forward", f"{name}.backward"),
        beside="ScalarFunction",
        forward_name=f"{name}.forward",
        **{"convention": "numbers go in and come out; one gradient for each input", **others},
    )


def on_tensors(
    name: str, std: Sequence[Case], constant: str = "", inputs: Sequence[str] = (), base: str = "Function", **others: Any
) -> Exercise:
    """A function of one or two tensors, and perhaps of a tensor of whole numbers: an axis, a shape."""
    case = std[0]
    layouts = list(inputs or case.layer.inputs())[: len(case.draws)] if not inputs else list(inputs)
    called = ["a", "b"][: len(layouts)]
    listed = ", ".join(called)
    fields: dict[str, Any] = {"outputs": {"out": "y"}, "upstream": {"dout": "out"}, **others}
    return Exercise(
        f"{name}.backward (tensors)",
        f"ctx = context()\nout = forward('{name}', ctx, {listed}{f', {constant}' if constant else ''})",
        f"{', '.join(f'd{a}' for a in called)}, = backward('{name}', ctx, dout, {listed})",
        arrays=dict(zip(called, layouts, strict=True)),
        tiers={"std": std, **fields.pop("tiers", {})},
        driver=_TENSORS,
        also=(f"{name}.forward", f"{name}.backward"),
        beside=base,
        forward_name=f"{name}.forward (tensors)",
        convention="one gradient for each input; the framework expands and sums it to the input's shape",
        **fields,
    )


def _positive(*shape: int) -> Draw:
    return uniform(*shape, low=0.5, high=2.0)


_ZERO = {"kink": [Case(ReLU(), exactly(0.0, shape=()), id=f"zero {i}") for i in (1, 2, 3, 4)]}
_EPS = "log(a + 1e-6), and its slope likewise"
NUMBERS = [
    on_numbers("Add", Add(), _numbers(Add(), 2)),
    on_numbers("Mul", Mul(), _numbers(Mul(), 2)),
    on_numbers("Log", Log(1e-6), _numbers(Log(1e-6), 1, _positive), convention=_EPS),
    on_numbers("Log", Log(), _numbers(Log(), 1, _positive), convention="log(a)"),
    on_numbers("Inv", Reciprocal(), _numbers(Reciprocal(), 1, signed)),
    on_numbers("Neg", Negate(), _numbers(Negate(), 1)),
    on_numbers("Sigmoid", Sigmoid(), _numbers(Sigmoid(), 1)),
    on_numbers("ReLU", ReLU(), _numbers(ReLU(), 1) | _ZERO),
    on_numbers("Exp", Exp(), _numbers(Exp(), 1)),
    on_numbers("LT", Step(), _numbers(Step(), 2)),
    on_numbers("EQ", Step(equal=True), _numbers(Step(equal=True), 2)),
]


def back(name: str, forward: str, layer: Layer[Any], tiers: Mapping[str, Sequence[Case]], **others: Any) -> Exercise:
    """A derivative of operators.py: (x, upstream) to the gradient."""
    return Exercise(
        name,
        f"out = {forward}(x)",
        f"dx = {name}(x, dout)",
        arrays={"x": next(iter(layer.inputs()))},
        outputs={"out": "y"},
        tiers=tiers,
        **others,
    )


OPERATORS = [
    back("log_back", "log", Log(1e-6), _numbers(Log(1e-6), 1, _positive), convention=_EPS),
    back("log_back", "log", Log(), _numbers(Log(), 1, _positive), convention="log(x)"),
    back("inv_back", "inv", Reciprocal(), _numbers(Reciprocal(), 1, signed)),
    back("relu_back", "relu", ReLU(), _numbers(ReLU(), 1) | _ZERO),
]


def _one(layer: Layer[Any], make: Any = normal) -> list[Case]:
    return [Case(layer, make(7, 5), id="matrix"), Case(layer, make(2, 3, 5), id="three axes")]


def _two(layer: Layer[Any]) -> list[Case]:
    return [
        Case(layer, normal(7, 5), normal(7, 5), id="matrices"),
        Case(layer, normal(2, 3, 5), normal(2, 3, 5), id="three axes"),
    ]


TENSORS = [
    on_tensors("Add", _two(Add())),
    on_tensors("Mul", _two(Mul())),
    on_tensors("Neg", _one(Negate())),
    on_tensors("Inv", _one(Reciprocal(), signed)),
    on_tensors("Sigmoid", _one(Sigmoid())),
    on_tensors("ReLU", _one(ReLU()), tiers={"kink": [Case(ReLU(), exactly([[0.0, 1.0, -1.0]]), id="zero")]}),
    on_tensors("Log", _one(Log(1e-6), _positive)),
    on_tensors("Log", _one(Log(), _positive)),
    on_tensors("Exp", _one(Exp())),
    on_tensors("LT", _two(Step())),
    on_tensors("EQ", _two(Step(equal=True))),
    on_tensors(
        "Sum",
        [Case(Summation((0,), keepdims=True), normal(7, 5)), Case(Summation((2,), keepdims=True), normal(2, 3, 5))],
        "axes[0]",
    ),
    on_tensors(
        "Permute",
        [Case(Permute((1, 0)), normal(7, 5)), Case(Permute((2, 0, 1)), normal(2, 3, 5), id="three axes")],
        "order",
    ),
    on_tensors("View", [Case(Reshape((3, 10)), normal(2, 3, 5)), Case(Reshape((35,)), normal(7, 5))], "shape"),
    on_tensors(
        "MatMul",
        [
            Case(MatMul(), normal(7, 5), normal(5, 3), id="matrices"),
            Case(MatMul(), normal(2, 7, 5), normal(2, 5, 3), id="batches"),
            Case(MatMul(), normal(2, 7, 5), normal(1, 5, 3), id="a batch times one"),
        ],
    ),
]
LATER = [
    on_tensors(
        "Max",
        [Case(Maximum(1), normal(7, 5)), Case(Maximum(2), normal(2, 3, 5)), Case(Maximum(0), normal(3, 2))],
        "axis",
        base="",
        tiers={"kink": [Case(Maximum(1), exactly([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]]), id="ties")]},
    ),
    on_tensors(
        "Conv1dFun",
        [
            Case(Graph("p = ConstantPad1d((0, 2), 0.0)(x); y = Conv1d(2, 3, 3, bias=False)(p)"), normal(2, 2, 7), id="width 3"),
            Case(Graph("p = ConstantPad1d((0, 1), 0.0)(x); y = Conv1d(3, 2, 2, bias=False)(p)"), normal(1, 3, 5), id="width 2"),
        ],
        inputs=["x", "y_weight"],
        base="",
    ),
    on_tensors(
        "Conv2dFun",
        [
            Case(
                Graph("p = ConstantPad2d((0, 1, 0, 2), 0.0)(x); y = Conv2d(2, 3, (3, 2), bias=False)(p)"),
                normal(2, 2, 5, 4),
                id="3×2",
            )
        ],
        inputs=["x", "y_weight"],
        base="",
    ),
]
OPTIONAL = ("numba", "typing_extensions")  # what the later modules import: a worker has it where it is installed


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course(
        "minitorch",
        "Cornell Tech minitorch: functions with forward and backward",
        [*OPERATORS, *NUMBERS, *TENSORS, *LATER],
        conventions=(
            "forward(ctx, …) keeps what backward(ctx, d) needs with ctx.save_for_backward.",
            "One gradient for each input: for an axis, an order or a shape it is ignored.",
            "Sum and Max keep the axis, of size 1; convolutions pad with zeros at the end, so that sizes stay.",
        ),
        modules=tuple(m for m in OPTIONAL if importlib.util.find_spec(m)),
        url="https://minitorch.github.io",
    )
