"""HW1P1 to HW3P1 as they were handed out from 2019 to the spring of 2021: ``derivative``, ``in_feature``, ``dW``.

Activations and the loss return their own derivative, Linear holds W as (in, out) and divides its gradients by N, a
convolution has its stride itself, and the GRU is another one.
"""

from __future__ import annotations

from typing import Any

from refbp.courses._composites import BiasedBatchNorm1d, RowLinear
from refbp.courses.cmu11785.hw1 import one_hot
from refbp.courses.cmu11785.references import ResetFirstGRU
from refbp.draws import constant, exactly, normal
from refbp.layers.activation import ReLU, Sigmoid, Tanh
from refbp.layers.convolution import Conv1d, Conv2d
from refbp.layers.linear import Identity
from refbp.layers.pooling import AvgPool2d, MaxPool2d
from refbp.losses.classification import CrossEntropyLoss
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

EARLY = "2019 to spring 2021"
_DRIVEN = """
def Linear_of(W, b):
    return submission.Linear(W.shape[0], W.shape[1], lambda *_: W.copy(), lambda *_: b.copy())
"""
_LINEAR: dict[str, Any] = {
    "forward": "layer = Linear_of(W, b)\nout = layer.forward(x)",
    "backward": "dx = layer.backward(delta)\ndW = layer.dW\ndb = layer.db",
    "driver": _DRIVEN,
    "also": ("Linear", "Linear.forward", "Linear.backward"),
    "forward_name": "Linear.forward",
    "arrays": {"x": "x", "W": "weight.T", "b": "bias[None]"},
    "outputs": {"out": "y"},
    "tiers": {
        "std": [Case(RowLinear(5, 3), normal(7, 5), id="seven rows"), Case(RowLinear(2, 11), normal(3, 2), id="three rows")],
        "degenerate": [Case(RowLinear(4, 1), normal(1, 4), id="one row")],
    },
}
LINEAR = [
    Exercise(
        "Linear.backward", **_LINEAR, factors={"dW": "1/N", "db": "1/N"}, convention=f"{EARLY}: W is (in, out), 1/N in Linear"
    ),
    Exercise("Linear.backward", **_LINEAR, convention=f"{EARLY}: W is (in, out), no 1/N in Linear"),
]


def _activation(name: str, layer: Any) -> Exercise:
    return Exercise(
        f"{name}.derivative",
        forward=f"f = {name}()\nout = f.forward(x)",
        backward="dx = delta * f.derivative()",
        arrays={"x": "x"},
        outputs={"out": "y"},
        tiers={
            "std": [Case(layer, normal(7, 5), id="seven rows"), Case(layer, normal(3, 11, std=3.0), id="three rows")],
            "degenerate": [Case(layer, normal(1, 1), id="one number")],
        }
        | ({"kink": [Case(layer, exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.5]]), id="zeros")]} if name == "ReLU" else {})
        | ({"stability": [Case(layer, exactly([[800.0, -800.0, 3.0]]), id="large inputs")]} if name != "Identity" else {}),
        convention=f"{EARLY}: derivative takes no upstream gradient",
    )


ACTIVATIONS = [
    _activation(name, layer)
    for name, layer in (("Identity", Identity()), ("Sigmoid", Sigmoid()), ("Tanh", Tanh()), ("ReLU", ReLU()))
]
_CE = CrossEntropyLoss(reduction="none")
LOSS = [
    Exercise(
        f"SoftmaxCrossEntropy.{method}",
        forward="criterion = SoftmaxCrossEntropy()\nloss = criterion.forward(x, y)",
        backward=f"dx = u[:, None] * criterion.{method}()",
        arrays={"x": "input", "y": "target"},
        outputs={"loss": "loss"},
        upstream={"u": "loss"},
        tiers={
            "std": [
                Case(_CE, normal(7, 5), one_hot(7, 5), id="seven rows"),
                Case(_CE, normal(3, 2, std=2.0), one_hot(3, 2), id="three rows"),
            ],
            "degenerate": [Case(_CE, normal(1, 4), one_hot(1, 4), id="one row")],
            "stability": [
                Case(
                    _CE,
                    exactly([[1000.0, 0.0, 3.0], [-500.0, 500.0, 499.0]]),
                    exactly([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
                    id="large logits",
                )
            ],
        },
        convention=f"{years}: a loss for every row, and softmax − y, which nothing divides",
    )
    for method, years in (("derivative", EARLY), ("backward", "2022, HW3"))
]

# Batch normalisation -------------------------------------------------------------------------------------------------

_BN = BiasedBatchNorm1d
_SETTINGS = (
    "bn = BatchNorm(num_features, 1 - momentum)\nbn.gamma = gamma\nbn.beta = beta\nbn.eps = eps\n"
    "bn.running_mean = running_mean\nbn.running_var = running_var\n"
)
_STATE = {
    "x": "x",
    "gamma": "weight[None]",
    "beta": "bias[None]",
    "running_mean": "running_mean[None]",
    "running_var": "running_var[None]",
}
_BATCHNORM: dict[str, Any] = {
    "forward": _SETTINGS + "out = bn.forward(x)\nmean_after = bn.running_mean\nvar_after = bn.running_var",
    "backward": "dx = bn.backward(delta)\ndgamma = bn.dgamma\ndbeta = bn.dbeta",
    "outputs": {"out": "y", "mean_after": "new_running_mean[None]", "var_after": "new_running_var[None]"},
    "upstream": {"delta": "out"},
    "tiers": {
        "std": [
            Case(_BN(5, eps=1e-8), normal(7, 5, mean=1.0), id="ε = 1e-8"),
            Case(_BN(3, eps=0.01, momentum=0.3), normal(11, 3, mean=2.0, std=0.3), id="ε = 0.01"),
        ],
        "degenerate": [Case(_BN(4, eps=0.01), normal(2, 4), id="two rows"), Case(_BN(3, eps=0.1), normal(3, 3), id="N = C")],
        "stability": [Case(_BN(2, eps=1e-8), constant(3.0, 4, 2), id="constant columns")],
    },
}
BATCHNORM = [
    Exercise("BatchNorm.backward", **_BATCHNORM, arrays=_STATE, convention=f"{EARLY}: dgamma and dbeta are (1, in_feature)"),
    Exercise(
        "BatchNorm.backward",
        **_BATCHNORM,
        arrays={**_STATE, "gamma_row": "weight", "beta_row": "bias"},
        grads={"dx": "x", "dgamma": "gamma_row", "dbeta": "beta_row"},
        convention=f"{EARLY}: dgamma and dbeta are (in_feature,)",
    ),
    Exercise(
        "BatchNorm.forward in evaluation",
        forward=_SETTINGS + "out = bn.forward(x, True)",
        arrays=_STATE,
        outputs={"out": "y"},
        tiers={"mode": [Case(_BN(5, eps=0.01, training=False), normal(3, 5), id="evaluation")]},
        convention=f"{EARLY}: running statistics stand in for the batch's",
    ),
]

# HW2 -----------------------------------------------------------------------------------------------------------------


def _convolution(rank: int) -> Exercise:
    conv: Any = Conv1d if rank == 1 else Conv2d
    space: Any = [(9,), (8,), (7,)] if rank == 1 else [(9, 7), (8, 6), (6, 6)]
    return Exercise(
        f"Conv{rank}D.backward",
        forward=f"conv = Conv{rank}D(in_channels, out_channels, kernel_size, stride)\nconv.W = W\nconv.b = b\n"
        "out = conv.forward(x)",
        backward="dx = conv.backward(delta)\ndW = conv.dW\ndb = conv.db",
        arrays={"x": "x", "W": "weight", "b": "bias"},
        outputs={"out": "y"},
        tiers={
            "std": [
                Case(conv(3, 4, 3, 2), normal(2, 3, *space[0]), id="stride 2"),
                Case(conv(2, 5, 2, 3), normal(2, 2, *space[1]), id="stride 3, gaps between the windows"),
                Case(conv(2, 3, 3, 2), normal(1, 2, *space[1]), id="stride 2, a remainder"),
                Case(conv(3, 2, 2), normal(2, 3, *space[2]), id="stride 1"),
            ],
            "degenerate": [Case(conv(2, 3, 1), normal(1, 2, *space[2]), id="kernel 1, stride 1")],
        },
        convention=f"{EARLY}: the stride is its own, and there is no padding",
    )


def _pooling(name: str, layer: Any) -> Exercise:
    ties = exactly([[[[1.0, 1.0, 0.0, 2.0], [1.0, 0.5, 2.0, 2.0], [0.0, 1.0, 1.0, -1.0]]]])
    return Exercise(
        f"{name}.backward",
        forward=f"pool = {name}(kernel_size, stride)\nout = pool.forward(x)",
        backward="dx = pool.backward(delta)",
        arrays={"x": "x"},
        outputs={"out": "y"},
        tiers={
            "std": [
                Case(layer(2, 2), normal(2, 3, 6, 4), id="side by side"),
                Case(layer(3, 2), normal(2, 3, 7, 9), id="overlapping"),
                Case(layer(2, 3), normal(1, 2, 8, 6), id="gaps between the windows"),
                Case(layer(3, 2), normal(1, 2, 6, 6), id="a remainder"),
            ],
            "degenerate": [Case(layer(1, 1), normal(1, 2, 3, 2), id="windows of 1")],
        }
        | ({"kink": [Case(layer(2, 2), ties, id="ties")]} if layer is MaxPool2d else {}),
    )


# HW3 -----------------------------------------------------------------------------------------------------------------


def _gru(row: bool) -> Exercise:
    """The GRU of single vectors; ``row`` says that gradients have a first axis, the upstream one too."""
    weights = ("Wzh", "Wrh", "Wh", "Wzx", "Wrx", "Wx")
    arrays = {"x": "x", "h": "h_0", **{n: n for n in weights}}
    grads = {f"d{n}": n for n in arrays}
    if row:
        arrays |= {"x_row": "x[None]", "h_row": "h_0[None]"}
        grads |= {"dx": "x_row", "dh": "h_row"}
    return Exercise(
        "GRU_Cell.backward",
        forward="cell = GRU_Cell(input_size, hidden_size)\n"
        + "".join(f"cell.{n} = {n}\n" for n in weights)
        + "h_t = cell.forward(x, h)",
        backward=f"dx, dh = cell.backward(delta{'[None]' if row else ''})\n" + "\n".join(f"d{n} = cell.d{n}" for n in weights),
        arrays=arrays,
        grads=grads,
        outputs={"h_t": "h_1"},
        tiers={
            "std": [
                Case(ResetFirstGRU(5, 3), normal(5), normal(3), id="5 to 3"),
                Case(ResetFirstGRU(2, 4), normal(2), normal(4), id="2 to 4"),
            ],
            "degenerate": [Case(ResetFirstGRU(3, 1), normal(3), normal(1), id="one hidden unit")],
        },
        convention=f"2019 and 2020: no biases, and r before Wh; delta is {'(1, h)' if row else '(h,)'}",
    )


EXERCISES = [
    *LINEAR,
    *ACTIVATIONS,
    *LOSS,
    *BATCHNORM,
    _convolution(1),
    _convolution(2),
    _pooling("MaxPoolLayer", MaxPool2d),
    _pooling("MeanPoolLayer", AvgPool2d),
    _gru(row=True),
    _gru(row=False),
]
