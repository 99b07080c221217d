"""HW1P1: the linear layer, activations, losses, batch normalisation and dropout.

Two generations of hand-outs are in circulation. From 2023 on every backward takes its upstream gradient, and the losses
divide by what they average over. In 2021 and 2022 activations return their own derivative, losses do not divide, and Linear
divides its parameters' gradients by N.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refbp.contract import Layer
from refbp.courses._composites import BiasedBatchNorm1d, RowLinear
from refbp.courses.cmu11785.references import Swish, TableMSELoss
from refbp.draws import Draw, constant, exactly, normal, special
from refbp.layers.activation import GELU, ReLU, Sigmoid, Tanh
from refbp.layers.dropout import Dropout
from refbp.layers.linear import Identity
from refbp.layers.softmax import Softmax
from refbp.losses.classification import CrossEntropyLoss
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

NEW = "2023 and later: backward takes the upstream gradient, the losses' backward holds the 1/N"
OLD = "2021 and 2022: activations return their own derivative, the 1/N is in Linear"

Tiers = Mapping[str, Sequence[Case]]


def one_hot(n: int, classes: int) -> Draw:
    """A target of n rows, each with a single 1."""
    return special(f"one_hot({n}, {classes})", (n, classes), lambda rng: np.eye(classes)[rng.integers(0, classes, n)])


# Linear --------------------------------------------------------------------------------------------------------------

_LINEAR: dict[str, Any] = {
    "forward": "layer = Linear(in_features, out_features)\nlayer.W = W\nlayer.b = b\nZ = layer.forward(A)",
    "backward": "dLdA = layer.backward(dLdZ)\ndLdW = layer.dLdW\ndLdb = layer.dLdb",
    "arrays": {"A": "x", "W": "weight", "b": "bias[:, None]"},
    "outputs": {"Z": "y"},
    "tiers": {
        "std": [Case(RowLinear(5, 3), normal(7, 5), id="seven rows"), Case(RowLinear(2, 11), normal(3, 2), id="three rows")],
        "degenerate": [
            Case(RowLinear(4, 1), normal(1, 4), id="one row"),
            Case(RowLinear(3, 3), normal(3, 3), id="all sizes alike"),
        ],
        "dtype": [Case(RowLinear(5, 3), normal(7, 5), id="float32")],
    },
}
LINEAR = [
    Exercise("Linear.backward", **_LINEAR, convention=NEW),
    Exercise("Linear.backward", **_LINEAR, factors={"dLdW": "1/N", "dLdb": "1/N"}, convention=OLD),
]

# Activations ---------------------------------------------------------------------------------------------------------


def _activation(name: str, layer: Layer[Any], kink: bool = False, large: bool = True, old: bool = True) -> list[Exercise]:
    """An element-wise activation in both generations: given the upstream gradient, and multiplied with it."""
    tiers: dict[str, Sequence[Case]] = {
        "std": [Case(layer, normal(7, 5), id="seven rows"), Case(layer, normal(3, 11, std=3.0), id="three rows")],
        "degenerate": [Case(layer, normal(1, 1), id="one number")],
    }
    if kink:
        tiers["kink"] = [Case(layer, exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.5]]), id="zeros")]
    if large:
        tiers["stability"] = [Case(layer, exactly([[800.0, -800.0, 3.0], [-30.0, 40.0, 0.0]]), id="large inputs")]
    common: dict[str, Any] = {
        "forward": f"f = {name}()\nA = f.forward(Z)",
        "arrays": {"Z": "x"},
        "outputs": {"A": "y"},
        "tiers": tiers,
    }
    found = [Exercise(f"{name}.backward", **common, backward="dLdZ = f.backward(dLdA)", convention=NEW)]
    if old:
        found.append(Exercise(f"{name}.backward", **common, backward="dLdZ = dLdA * f.backward()", convention=OLD))
    return found


_SOFTMAX: Tiers = {
    "std": [Case(Softmax(1), normal(7, 5), id="seven rows"), Case(Softmax(1), normal(2, 3, std=2.0), id="two rows")],
    "degenerate": [Case(Softmax(1), normal(1, 4), id="one row")],
    "stability": [Case(Softmax(1), exactly([[1000.0, 1001.0, 998.0], [-1000.0, 0.0, 1.0]]), id="large inputs")],
}
_SWISH: Tiers = {
    "std": [Case(Swish(), normal(7, 5), id="seven rows"), Case(Swish(), normal(3, 2, std=3.0), id="three rows")],
    "degenerate": [Case(Swish(), normal(1, 1), id="one number")],
}
_SWISH_CALL: dict[str, Any] = {
    "arrays": {"Z": "x", "beta": "beta"},
    "outputs": {"A": "y"},
    "tiers": _SWISH,
}
ACTIVATIONS = [
    *_activation("Identity", Identity(), large=False),
    *_activation("Sigmoid", Sigmoid()),
    *_activation("Tanh", Tanh()),
    *_activation("ReLU", ReLU(), kink=True),
    *_activation("GELU", GELU(), large=False, old=False),
    Exercise(
        "Swish.backward",
        **_SWISH_CALL,
        forward="f = Swish(beta)\nA = f.forward(Z)",
        backward="dLdZ = f.backward(dLdA)\ndLdbeta = f.dLdbeta",
        convention="β is learned: backward leaves its gradient in dLdbeta",
    ),
    Exercise(
        "Swish.backward",
        **_SWISH_CALL | {"arrays": {"Z": "x"}},
        fixed={"beta": 1.0},
        forward="without('Swish', 'beta')\nf = Swish()\nA = f.forward(Z)",
        backward="dLdZ = f.backward(dLdA)",
        convention="β = 1, and is not learned",
    ),
    Exercise(
        "Softmax.backward",
        forward="f = Softmax()\nA = f.forward(Z)",
        backward="dLdZ = f.backward(dLdA)",
        arrays={"Z": "x"},
        outputs={"A": "y"},
        tiers=_SOFTMAX,
        convention="rows are softmaxed; backward is the product with the Jacobian",
    ),
    Exercise(
        "Softmax.backward",
        forward="f = Softmax(dim)\nA = f.forward(Z)",
        backward="dLdZ = f.backward(dLdA)",
        arrays={"Z": "x"},
        outputs={"A": "y"},
        tiers={
            "std": [
                Case(Softmax(-1), normal(3, 2, 5), id="last of three axes"),
                Case(Softmax(1), normal(3, 4, 2), id="axis 1"),
            ],
            "degenerate": [Case(Softmax(-1), normal(1, 1, 3), id="one row")],
            "stability": _SOFTMAX["stability"],
        },
        convention="HW4: along any axis of any number of axes",
    ),
    Exercise(
        "Softmax.backward",
        forward="f = Softmax()\nA = f.forward(Z)",
        backward="dLdZ = f.backward(dLdA)",
        arrays={"Z": "x"},
        outputs={"A": "y"},
        tiers={
            "std": [
                Case(Softmax(2), normal(3, 2, 5), id="three axes"),
                Case(Softmax(2), normal(2, 3, 3), id="as in attention"),
            ],
            "degenerate": [Case(Softmax(2), normal(1, 1, 3), id="one row")],
        },
        tensors=True,
        modules=("torch",),
        rtol=1e-5,
        convention="2022 and 2023, on torch tensors: the last of three axes",
    ),
]

# Losses --------------------------------------------------------------------------------------------------------------

_MSE: dict[str, Any] = {
    "forward": "criterion = MSELoss()\nloss = criterion.forward(A, Y)",
    "backward": "dLdA = criterion.backward()",
    "arrays": {"A": "input", "Y": "target"},
    "outputs": {"loss": "loss"},
    "tiers": {
        "std": [
            Case(TableMSELoss(), normal(7, 5), normal(7, 5), id="7×5"),
            Case(TableMSELoss(), normal(3, 2), normal(3, 2), id="3×2"),
        ],
        "degenerate": [
            Case(TableMSELoss(), normal(1, 1), normal(1, 1), id="one number"),
            Case(TableMSELoss(), normal(1, 3), normal(1, 3), id="one row"),
        ],
    },
}
_HALF = {"loss": "1/2"}
_CE: dict[str, Any] = {
    "forward": "criterion = CrossEntropyLoss()\nloss = criterion.forward(A, Y)",
    "backward": "dLdA = criterion.backward()",
    "arrays": {"A": "input", "Y": "target"},
    "outputs": {"loss": "loss"},
    "tiers": {
        "std": [
            Case(CrossEntropyLoss(), normal(7, 5), one_hot(7, 5), id="seven rows"),
            Case(CrossEntropyLoss(), normal(3, 2, std=2.0), one_hot(3, 2), id="three rows"),
        ],
        "degenerate": [Case(CrossEntropyLoss(), normal(1, 4), one_hot(1, 4), id="one row")],
        "stability": [
            Case(
                CrossEntropyLoss(),
                exactly([[1000.0, 0.0, 3.0], [-500.0, 500.0, 499.0]]),
                exactly([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
                id="large logits",
            )
        ],
    },
}
LOSSES = [
    Exercise("MSELoss.backward", **_MSE, convention="the mean over all N·C elements, and its derivative 2 (A − Y) / (N·C)"),
    Exercise(
        "MSELoss.backward",
        **_MSE,
        factors={"dLdA": "N * C / 2"},
        convention="2021 and 2022: the mean over all elements, but backward is A − Y",
    ),
    Exercise(
        "MSELoss.backward",
        **_MSE,
        output_factors=_HALF,
        factors={"dLdA": "N * C"},
        convention="2021 and 2022: half the mean over all elements, but backward is A − Y",
    ),
    Exercise("CrossEntropyLoss.backward", **_CE, convention="the mean over the rows, and its derivative (softmax − Y) / N"),
    Exercise(
        "CrossEntropyLoss.backward",
        **_CE,
        factors={"dLdA": "N"},
        convention="2021 and 2022: the mean over the rows, but backward is softmax − Y",
    ),
]

# Batch normalisation and dropout -------------------------------------------------------------------------------------


def batchnorm(name: str, cases: Tiers, new_axes: str, eval_case: Case) -> list[Exercise]:
    """The exercise in training, with parameters of one axis or of all, and its forward in evaluation."""
    settings = (
        f"bn = {name}(num_features, 1 - momentum)\nbn.BW = BW\nbn.Bb = Bb\nbn.eps = eps\n"
        "bn.running_M = running_M\nbn.running_V = running_V\n"
    )
    arrays = {
        "Z": "x",
        "BW": f"weight[{new_axes}]",
        "Bb": f"bias[{new_axes}]",
        "running_M": f"running_mean[{new_axes}]",
        "running_V": f"running_var[{new_axes}]",
    }
    flat = {"BW_row": "weight", "Bb_row": "bias"}
    common: dict[str, Any] = {
        "forward": settings + "BZ = bn.forward(Z)\nrunning_M_after = bn.running_M\nrunning_V_after = bn.running_V",
        "backward": "dLdZ = bn.backward(dLdBZ)\ndLdBW = bn.dLdBW\ndLdBb = bn.dLdBb",
        "outputs": {
            "BZ": "y",
            "running_M_after": f"new_running_mean[{new_axes}]",
            "running_V_after": f"new_running_var[{new_axes}]",
        },
        "tiers": cases,
    }
    return [
        Exercise(f"{name}.backward", **common, arrays=arrays, convention="dLdBW and dLdBb have the shape of BW"),
        Exercise(
            f"{name}.backward",
            **common,
            arrays={**arrays, **flat},
            grads={"dLdZ": "Z", "dLdBW": "BW_row", "dLdBb": "Bb_row"},
            convention="dLdBW and dLdBb have an axis of features only",
        ),
        Exercise(
            f"{name}.forward in evaluation",
            forward=settings + "BZ = bn.forward(Z, True)",
            arrays=arrays,
            outputs={"BZ": "y"},
            tiers={"mode": [eval_case]},
            convention="running statistics stand in for the batch's",
        ),
    ]


_BN = BiasedBatchNorm1d
BATCHNORM = batchnorm(
    "BatchNorm1d",
    {
        "std": [
            Case(_BN(5, eps=1e-8), normal(7, 5, mean=1.0), id="ε = 1e-8"),
            Case(_BN(3, eps=0.01, momentum=0.3), normal(11, 3, mean=2.0, std=0.3), id="ε = 0.01"),
        ],
        "degenerate": [Case(_BN(4, eps=0.01), normal(2, 4), id="two rows"), Case(_BN(3, eps=0.1), normal(3, 3), id="N = C")],
        "stability": [Case(_BN(2, eps=1e-8), constant(3.0, 4, 2), id="constant columns")],
    },
    "None",
    Case(_BN(5, eps=0.01, training=False), normal(3, 5), id="evaluation"),
)


def kept(layer: Any, inputs: tuple[Any, ...], outputs: dict[str, Any]) -> tuple[Any, ...]:
    """What a dropout has kept, seen from its output; ValueError where it does not draw for every element, or too few."""
    keep = np.asarray(outputs["y"]) != 0
    share, wanted = float(keep.mean()), 1 - layer.p
    if np.shape(keep) == np.shape(inputs[0]) and 0 < wanted < 1:
        if (keep == keep[:1]).all() or (keep == keep[:, :1]).all():
            raise ValueError("whole rows or columns are dropped alike; wanted a draw for every element")
        if abs(share - wanted) > 5 * (wanted * layer.p / keep.size) ** 0.5:
            raise ValueError(f"{share:.0%} of the elements are kept, wanted about {wanted:.0%}")
    return (keep,)


def _dropout(argument: str, factor: str, convention: str) -> Exercise:
    return Exercise(
        "Dropout.backward",
        forward=f"drop = Dropout({argument})\ny = drop.forward(x)",
        backward="dx = drop.backward(delta)",
        arrays={"x": "x"},
        outputs={"y": "y"},
        factors={"dx": factor} if factor else {},
        noise=kept,
        tiers={
            "std": [Case(Dropout(0.3), normal(20, 5), id="drops 0.3"), Case(Dropout(0.8), normal(11, 7), id="drops 0.8")],
            "degenerate": [Case(Dropout(0.0), normal(3, 2), id="drops nothing")],
        },
        convention=convention,
    )


DROPOUT = [
    _dropout("p", "", "p is the probability to drop, and backward scales as forward does"),
    _dropout("p", "1 - p", "p is the probability to drop, and backward multiplies with the mask alone"),
    _dropout("1 - p", "", "p is the probability to keep, and backward scales as forward does"),
    _dropout("1 - p", "1 - p", "p is the probability to keep, and backward multiplies with the mask alone"),
    Exercise(
        "Dropout.forward in evaluation",
        forward="drop = Dropout(p)\ny = drop.forward(x, False)",
        arrays={"x": "x"},
        outputs={"y": "y"},
        tiers={"mode": [Case(Dropout(0.3, training=False), normal(5, 3), id="evaluation")]},
    ),
]

EXERCISES = [*LINEAR, *ACTIVATIONS, *LOSSES, *BATCHNORM, *DROPOUT]
