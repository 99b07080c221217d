"""refbp's own exercises: layers in the style of its plugins, ``forward(state, *inputs)`` and ``backward(saved, *dy)``.

A submission may import the contract (``from refbp import Layer, Forward, Grads``) and the numerics; the layers are not
there. Without refbp, forward returns (outputs, saved) and backward (gradients of the inputs …, {name: gradient}).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from refbp.draws import exactly, labels, mask, normal
from refbp.hookspecs import hookimpl
from refbp.layers.activation import GELU, ReLU, Sigmoid, SiLU, Tanh
from refbp.layers.arithmetic import Add, Mul
from refbp.layers.convolution import Conv2d
from refbp.layers.dropout import Dropout
from refbp.layers.embedding import Embedding
from refbp.layers.layer_norm import LayerNorm
from refbp.layers.linear import Linear
from refbp.layers.normalization import BatchNorm1d
from refbp.layers.pooling import AvgPool2d, MaxPool2d
from refbp.layers.recurrent_cells import GRUCell, LSTMCell, RNNCell
from refbp.layers.softmax import LogSoftmax, Softmax
from refbp.losses.classification import CrossEntropyLoss
from refbp.losses.regression import MSELoss
from refbp.oracle.exercise import Course, Exercise
from refbp.spec import Case

_DRIVER = """
def apply(layer, state, *inputs):
    made = layer.forward(state, *inputs)
    if hasattr(made, "saved"):
        outputs, saved, updates = made.outputs, made.saved, dict(made.updates)
    else:
        outputs, saved, updates = (*made, {})[:3]
    return outputs if isinstance(outputs, tuple) else (outputs,), saved, updates

def pull(layer, saved, *dy):
    made = layer.backward(saved, *dy)
    if hasattr(made, "params"):
        return tuple(made.inputs), dict(made.params)
    made = made if isinstance(made, tuple) else (made,)
    return (made[:-1], made[-1]) if isinstance(made[-1], dict) else (made, {})
"""
CONVENTION = "forward(state, *inputs) and backward(saved, *dy); names and layouts are torch's"


def layer(name: str, arguments: str, std: Sequence[Case], elementwise: bool = False, **others: Any) -> Exercise:
    """The exercise of one layer: every output, every gradient that exists, every new buffer value."""
    case, title, constant = std[0], others.pop("title", ""), others.pop("constant", ())
    reference = case.layer
    inputs = list(reference.inputs())[: len(case.draws)]
    state = [*reference.params(), *reference.buffers()]
    outputs = list(reference.outputs()) or ["y"]
    buffers = [b for b in reference.buffers() if b.startswith("running") and getattr(reference, "training", True)]
    differentiable = [n for n in inputs if n not in constant]
    forward = [
        f"layer = {name}({arguments})",
        f"state = {{{', '.join(f'{n!r}: {n}' for n in state)}}}",
        f"outputs, saved, updates = apply(layer, state, {', '.join(inputs)})",
        *(f"{n} = outputs[{i}]" for i, n in enumerate(outputs)),
        *(f"new_{b} = updates[{b!r}]" for b in buffers),
    ]
    backward = [
        f"inputs, params = pull(layer, saved, {', '.join(f'd{n}' for n in outputs)})",
        *(f"d{n} = inputs[{i}]" for i, n in enumerate(inputs) if n in differentiable),
        *(f"d{n} = params[{n!r}]" for n in reference.params()),
    ]
    methods = ("f", "df") if elementwise else ("forward", "backward")
    return Exercise(
        f"{name}.backward{title}",
        "\n".join(forward),
        "\n".join(backward),
        arrays={n: n for n in (*inputs, *state)},
        outputs={n: n for n in outputs} | {f"new_{b}": f"new_{b}" for b in buffers},
        upstream={f"d{n}": n for n in outputs},
        tiers={"std": std, **others.pop("tiers", {})},
        driver=_DRIVER,
        also=tuple(f"{name}.{m}" for m in methods),
        forward_name=f"{name}.forward{title}",
        convention="an Elementwise: f(x) and df(x, y)" if elementwise else CONVENTION,
        **others,
    )


def activation(name: str, reference: Any, arguments: str = "", **tiers: Sequence[Case]) -> list[Exercise]:
    """An activation: a Layer, or an entry of the table."""
    std = [Case(reference, normal(7, 5), id="matrix"), Case(reference, normal(2, 3, 5), id="three axes")]
    return [layer(name, arguments, std, table, tiers=tiers) for table in (False, True)]


_ZEROS = [Case(ReLU(), exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.0]]), id="zeros")]
ACTIVATIONS = [
    *activation("ReLU", ReLU(), kink=_ZEROS),
    *activation("Sigmoid", Sigmoid(), stability=[Case(Sigmoid(), exactly([[-800.0, 800.0, 0.0]]), id="large values")]),
    *activation("Tanh", Tanh()),
    *activation("SiLU", SiLU()),
    *activation("GELU", GELU(approximate="tanh"), "approximate=approximate"),
]
LAYERS = [
    layer(
        "Linear",
        "in_features, out_features",
        [Case(Linear(5, 3), normal(7, 5), id="rows"), Case(Linear(2, 11), normal(3, 4, 2), id="three axes")],
        tiers={
            "degenerate": [Case(Linear(4, 1), normal(1, 4), id="one row")],
            "dtype": [Case(Linear(5, 3), normal(7, 5), id="float32")],
        },
    ),
    layer("Add", "", [Case(Add(), normal(7, 5), normal(5), id="a row"), Case(Add(), normal(3, 1, 2), normal(4, 1), id="both")]),
    layer("Mul", "", [Case(Mul(), normal(7, 5), normal(5), id="a row"), Case(Mul(), normal(3, 1, 2), normal(4, 1), id="both")]),
    layer("Softmax", "dim", [Case(Softmax(1), normal(7, 5), id="rows"), Case(Softmax(0), normal(3, 5), id="columns")]),
    layer("LogSoftmax", "dim", [Case(LogSoftmax(1), normal(7, 5), id="rows"), Case(LogSoftmax(0), normal(3, 5), id="columns")]),
    layer("Dropout", "p", [Case(Dropout(0.3), normal(7, 5), mask(7, 5, p=0.7), id="0.3")], constant=("keep",)),
    layer(
        "BatchNorm1d",
        "num_features, eps=eps",
        [
            Case(BatchNorm1d(5), normal(7, 5), id="seven rows"),
            Case(BatchNorm1d(3, eps=0.01), normal(11, 3, mean=2.0, std=0.3), id="eps 0.01"),
        ],
        tiers={"degenerate": [Case(BatchNorm1d(3, eps=0.01), normal(2, 3), id="two rows")]},
    ),
    layer(
        "BatchNorm1d",
        "num_features, eps=eps, training=False",
        [Case(BatchNorm1d(5, eps=0.01, training=False), normal(7, 5), id="evaluation")],
        title=" (evaluation)",
    ),
    layer(
        "LayerNorm",
        "normalized_shape, eps=eps",
        [
            Case(LayerNorm(5), normal(7, 5), id="rows"),
            Case(LayerNorm((3, 2), eps=0.01), normal(4, 3, 2, std=0.3), id="two axes"),
        ],
    ),
    layer(
        "Conv2d",
        "in_channels, out_channels, kernel_size, stride=stride, padding=padding",
        [
            Case(Conv2d(2, 3, (3, 2)), normal(2, 2, 5, 7), id="3×2, pad 0"),
            Case(Conv2d(3, 2, 3, stride=2, padding=1), normal(2, 3, 7, 5), id="stride 2, pad 1"),
        ],
        tiers={"degenerate": [Case(Conv2d(2, 3, 2, stride=3), normal(1, 2, 5, 5), id="windows with gaps")]},
    ),
    layer(
        "MaxPool2d",
        "kernel_size, stride=stride",
        [
            Case(MaxPool2d(2), normal(2, 3, 4, 6), id="2×2"),
            Case(MaxPool2d((3, 2), stride=1), normal(2, 2, 5, 4), id="overlapping 3×2"),
        ],
        tiers={"kink": [Case(MaxPool2d(2), exactly([[[[1.0, 1.0], [0.0, 1.0]]]]), id="ties")]},
    ),
    layer(
        "AvgPool2d",
        "kernel_size, stride=stride",
        [
            Case(AvgPool2d(2), normal(2, 3, 4, 6), id="2×2"),
            Case(AvgPool2d((3, 2), stride=1), normal(2, 2, 5, 4), id="overlapping 3×2"),
        ],
    ),
    layer(
        "Embedding",
        "num_embeddings, embedding_dim",
        [
            Case(Embedding(7, 3), exactly([4, 2, 0, 6]), id="rows once"),
            Case(Embedding(7, 3), exactly([[1, 5, 1], [1, 2, 3]]), id="a row three times"),
        ],
        constant=("input",),
    ),
    layer("RNNCell", "input_size, hidden_size", [Case(RNNCell(5, 3), normal(7, 5), normal(7, 3), id="seven rows")]),
    layer(
        "LSTMCell",
        "input_size, hidden_size",
        [Case(LSTMCell(5, 3), normal(7, 5), normal(7, 3), normal(7, 3), id="seven rows")],
    ),
    layer("GRUCell", "input_size, hidden_size", [Case(GRUCell(5, 3), normal(7, 5), normal(7, 3), id="seven rows")]),
    layer("MSELoss", "", [Case(MSELoss(), normal(7, 5), normal(7, 5), id="matrix"), Case(MSELoss(), normal(3), normal(3))]),
    layer(
        "CrossEntropyLoss",
        "",
        [
            Case(CrossEntropyLoss(), normal(7, 5), labels(7, classes=5), id="seven rows"),
            Case(CrossEntropyLoss(), normal(2, 3), labels(2, classes=3), id="two rows"),
        ],
        constant=("target",),
        tiers={"stability": [Case(CrossEntropyLoss(), normal(5, 3, mean=1000.0), labels(5, classes=3), id="large logits")]},
    ),
]


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course(
        "refbp",
        "layers written as refbp's plugins are",
        [*ACTIVATIONS, *LAYERS],
        conventions=(
            "Constructor arguments, state names and layouts are torch's: a weight is (out, in).",
            "A loss is a mean over the batch, and its backward takes an upstream gradient like any other.",
            "Noise is an input: Dropout is handed what is kept.",
        ),
        modules=("refbp",),
        imports=("refbp",),
    )
