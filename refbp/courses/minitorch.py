"""Cornell Tech's minitorch: functions with a context, on numbers and on tensors.

A function keeps what backward needs in ``ctx``: the submission's own Context where its file has one, else one of the
driver's. Tensors are the submission's: give the folder that holds its package.
"""

from __future__ import annotations

import functools
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

def loaded(name):
    # A file that does not import it: the package has it
    package = submission.__name__.split(".")[0]
    modules = [submission, *[m for n, m in list(sys.modules.items()) if n.split(".")[0] == package]]
    return next((getattr(m, name) for m in modules if callable(getattr(m, name, None))), None)

def context():
    kind = loaded("Context")
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
def backends():
    # The plain one, and the fast one: the plain one multiplies no matrices
    fast = loaded("FastOps")
    make = loaded("TensorBackend") or loaded("make_tensor_backend")
    return [{}, {"backend": make(fast)}] if fast and make else [{}]

def tensor(a, **options):
    return loaded("tensor")(np.asarray(a, float).tolist(), **options)

def nested():
    # In the first years a function makes the classes, for given operations
    return getattr(submission, "TensorFunctions", None) if not hasattr(submission, "Sum") else None

def function(name, options):
    within = options.get("backend", nested()) if nested() is not None else submission
    return getattr(within, name)

def constant(v, options):
    v = np.asarray(v)
    if nested() is None:
        return tensor(np.atleast_1d(v), **options)
    return int(v) if v.ndim == 0 else tuple(int(i) for i in v)

def forward(name, ctx, *values):
    return tried(lambda o: function(name, o).forward(ctx, *[tensor(np.atleast_1d(v), **o) for v in values]).to_numpy())

def forward_with(name, ctx, a, v):
    return tried(lambda o: function(name, o).forward(ctx, tensor(a, **o), constant(v, o)).to_numpy())

def tried(call):
    last = None
    for options in backends():
        try:
            return call(options)
        except NotImplementedError as error:
            last = error
    raise last

def backward(name, ctx, d, *inputs):
    found = several(tried(lambda o: function(name, o).backward(ctx, tensor(d, **o))))
    return tuple(fitted(numbers(g), x) for g, x in zip(found, inputs))

def numbers(g):
    return g.to_numpy() if hasattr(g, "to_numpy") else None if g is None else np.asarray(g, float)

def fitted(g, x):
    # The framework expands and sums whatever a function sends back to the shape of its input
    try:
        wide = np.broadcast_to(g, np.broadcast_shapes(g.shape, x.shape))
    except (ValueError, AttributeError):
        return g
    wide = wide.sum(axis=tuple(range(wide.ndim - x.ndim)))
    over = tuple(i for i, (a, b) in enumerate(zip(wide.shape, x.shape)) if a != b)
    return wide.sum(axis=over, keepdims=True) if over else wide.copy()
"""
)


def _above(*shape: int) -> Draw:
    return uniform(*shape, low=1.5, high=4.0)  # where a logarithm is not small: an ε inside it is


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
    name: str,
    std: Sequence[Case],
    constant: str = "",
    inputs: Sequence[str] = (),
    base: str = "Function",
    within: str = "",
    **others: Any,
) -> Exercise:
    """A function of one or two tensors, and perhaps of a tensor of whole numbers: an axis, a shape."""
    case = std[0]
    layouts = list(inputs or case.layer.inputs())[: len(case.draws)] if not inputs else list(inputs)
    called = ["a", "b"][: len(layouts)]
    listed = ", ".join(called)
    fields: dict[str, Any] = {"outputs": {"out": "y"}, "upstream": {"dout": "out"}, **others}
    return Exercise(
        f"{name}.backward (tensors)",
        f"ctx = context()\nout = forward_with('{name}', ctx, {listed}, {constant})"
        if constant
        else f"ctx = context()\nout = forward('{name}', ctx, {listed})",
        f"{', '.join(f'd{a}' for a in called)}, = backward('{name}', ctx, dout, {listed})",
        arrays=dict(zip(called, layouts, strict=True)),
        tiers={"std": std, **fields.pop("tiers", {})},
        driver=_TENSORS,
        also=(f"{within}{name}.forward", f"{within}{name}.backward"),
        beside=base,
        forward_name=f"{name}.forward (tensors)",
        convention="one gradient for each input; the framework expands and sums it to the input's shape"
        + (
            ", in the classes that make_tensor_backend makes, for which an axis is a number and a shape a tuple"
            if within
            else ""
        ),
        **fields,
    )


_ZERO = {"kink": [Case(ReLU(), exactly(0.0, shape=()), id=f"zero {i}") for i in (1, 2, 3, 4)]}
EPSILON = 2e-5  # of log(a + 1e-6), and of quotients that many keep finite by the same: which is where, nobody minds
NUMBERS = [
    on_numbers("Add", Add(), _numbers(Add(), 2)),
    on_numbers("Mul", Mul(), _numbers(Mul(), 2)),
    on_numbers("Log", Log(), _numbers(Log(), 1, _above), rtol=EPSILON),
    on_numbers("Inv", Reciprocal(), _numbers(Reciprocal(), 1, signed), rtol=EPSILON),
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
    back("log_back", "log", Log(), _numbers(Log(), 1, _above), rtol=EPSILON),
    back("inv_back", "inv", Reciprocal(), _numbers(Reciprocal(), 1, signed), rtol=EPSILON),
    back("relu_back", "relu", ReLU(), _numbers(ReLU(), 1) | _ZERO),
]


def _one(layer: Layer[Any], make: Any = normal) -> list[Case]:
    return [Case(layer, make(7, 5), id="matrix"), Case(layer, make(2, 3, 5), id="three axes")]


def _two(layer: Layer[Any]) -> list[Case]:
    return [
        Case(layer, normal(7, 5), normal(7, 5), id="matrices"),
        Case(layer, normal(2, 3, 5), normal(2, 3, 5), id="three axes"),
    ]


def _tensors(within: str = "") -> list[Exercise]:
    make = functools.partial(on_tensors, within=within)
    return [
        make("Add", _two(Add())),
        make("Mul", _two(Mul())),
        make("Neg", _one(Negate())),
        make("Inv", _one(Reciprocal(), signed), rtol=EPSILON),
        make("Sigmoid", _one(Sigmoid())),
        make("ReLU", _one(ReLU()), tiers={"kink": [Case(ReLU(), exactly([[0.0, 1.0, -1.0]]), id="zero")]}),
        make("Log", _one(Log(), _above), rtol=EPSILON),
        make("Exp", _one(Exp())),
        make("LT", _two(Step())),
        make("EQ", _two(Step(equal=True))),
        make(
            "Sum",
            [Case(Summation((0,), keepdims=True), normal(7, 5)), Case(Summation((2,), keepdims=True), normal(2, 3, 5))],
            "axes[0]",
        ),
        make(
            "Permute",
            [Case(Permute((1, 0)), normal(7, 5)), Case(Permute((2, 0, 1)), normal(2, 3, 5), id="three axes")],
            "order",
        ),
        make("View", [Case(Reshape((3, 10)), normal(2, 3, 5)), Case(Reshape((35,)), normal(7, 5))], "shape"),
        make(
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
_USES = "p = a * b; q = p + a; z = p * q"
ENGINE = Exercise(
    "backpropagate",
    "at = scalar(a)\nbt = scalar(b)\nzt = combined(at, bt)\nz = number(zt)",
    "da, db = propagated(zt, dz, at, bt)",
    arrays={"a": "a", "b": "b"},
    outputs={"z": "z"},
    driver=_DRIVER
    + """
def scalar(a):
    if loaded("Scalar") is None:
        raise NotImplementedError("there is no Scalar to try it on")
    return loaded("Scalar")(float(a))

def of_numbers(name):
    home = sys.modules[loaded("ScalarFunction").__module__]  # functions on tensors have the same names
    return getattr(home, name).apply

def combined(a, b):
    p = of_numbers("Mul")(a, b)
    return of_numbers("Mul")(p, of_numbers("Add")(p, a))

def number(z):
    return float(z.data)

def propagated(z, dz, a, b):
    z.backward(float(dz))
    return a.derivative, b.derivative
""",
    also=("backpropagate",),
    forward_name="Scalar",
    convention="what arrives at a variable from all its uses is added up before it goes on",
    tiers={"std": [Case(Graph(_USES), normal(), normal(), id=f"numbers {i}") for i in (1, 2, 3)]},
)
OPTIONAL = ("typing_extensions",)  # what its files import: a worker has it where it is installed
NUMBA = {  # to compile loops takes longer than to run them on a few numbers
    "numba/__init__.py": """
from . import cuda
prange, float32, float64, int32, int64 = range, float, float, int, int

def njit(function=None, **options):
    return function if callable(function) else lambda f: f

jit = vectorize = njit
""",
    "numba/cuda.py": """
def jit(function=None, **options):
    return function if callable(function) else lambda f: f

def is_available():
    return False

def is_cuda_array(a):
    return False
""",
}


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course(
        "minitorch",
        "Cornell Tech minitorch: functions with forward and backward",
        [*OPERATORS, *NUMBERS, *_tensors(), *_tensors("make_tensor_backend.Backend."), *LATER, ENGINE],
        conventions=(
            "forward(ctx, …) keeps what backward(ctx, d) needs with ctx.save_for_backward.",
            "One gradient for each input: for an axis, an order or a shape it is ignored.",
            "Loops that numba would compile are run as they are.",
            "Sum and Max keep the axis, of size 1; convolutions pad with zeros at the end, so that sizes stay.",
        ),
        modules=tuple(m for m in OPTIONAL if importlib.util.find_spec(m)),
        given=NUMBA,
        url="https://minitorch.github.io",
    )
