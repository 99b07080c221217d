"""Whole models: the linear classifiers, TwoLayerNet of both generations, FullyConnectedNet, ThreeLayerConvNet.

The regulariser is ½ reg Σ W² or reg Σ W², by the year: for each there is an alternative, and the loss that was written
says which is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from refbp.contract import Layer
from refbp.courses.cs231n.references import Regularised
from refbp.draws import labels, normal
from refbp.layers.activation import ReLU
from refbp.layers.container import Sequential
from refbp.layers.convolution import Conv2d
from refbp.layers.layer_norm import LayerNorm
from refbp.layers.linear import Linear
from refbp.layers.normalization import BatchNorm1d
from refbp.layers.pooling import MaxPool2d
from refbp.layers.shape import Flatten
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

SAID = {0.5: "the regulariser is ½ reg Σ W²", 1.0: "the regulariser is reg Σ W²"}


def _with_factor(exercise: Exercise, factor: float) -> Exercise:
    """The same with another factor of the regulariser."""
    tiers = {t: [_refactored(c, factor) for c in cases] for t, cases in exercise.tiers.items()}
    convention = "; ".join(c for c in (exercise.convention, SAID[factor]) if c)
    return replace(exercise, tiers=tiers, convention=convention)


def _refactored(case: Case, factor: float) -> Case:
    layer: Any = case.layer
    return Case(replace(layer, factor=factor), *case.draws, id=case.id, state=case.state)


def either(exercise: Exercise) -> Iterator[Exercise]:
    """Both factors, as alternatives."""
    for factor in SAID:
        yield _with_factor(exercise, factor)


# Linear classifiers ----------------------------------------------------------------------------------------------------


def _linear(features: int, classes: int, n: int, reg: float, hinge: bool, id: str) -> Case:
    body = Sequential(Linear(features, classes, bias=False))
    return Case(Regularised(body, reg, hinge=hinge), normal(n, features), labels(n, classes=classes), id=id)


def _large() -> Case:
    """Scores whose exponentials are too large, and whose differences are not: log p is a number once a row's largest is off."""
    body = Sequential(Linear(5, 3, bias=False))
    draws = normal(7, 5, mean=250.0, std=20.0), labels(7, classes=3)
    state = {"0.weight": normal(3, 5, mean=1.0, std=0.02)}
    return Case(Regularised(body, 0.1), *draws, id="scores of the size of a thousand", state=state)


BY_CLASSES = "W is (C, D) and a sample a column of X: the layout of 2015"


def classifier(name: str, columns: bool = False) -> Exercise:
    """``loss, dW = name(W, X, y, reg)``: the support vector machine or the softmax, as the name says.

    ``columns``: as it was in the first year.
    """
    hinge = name.startswith("svm")
    return Exercise(
        name,
        forward=f"loss, dW = {name}(W, X, y, reg)",
        arrays={"W": "_0_weight", "X": "x.T", "y": "target"} if columns else {"W": "_0_weight.T", "X": "x", "y": "target"},
        outputs={"loss": "loss"},
        tiers={
            "std": [
                _linear(5, 3, 7, 0.7, hinge, "reg 0.7"),
                _linear(3, 4, 11, 0.0, hinge, "reg 0"),
                _linear(2, 7, 3, 5.0, hinge, "reg 5"),
            ],
            "degenerate": [_linear(5, 3, 1, 0.3, hinge, "one row")],
        }
        | ({"stability": [_large()]} if not hinge else {}),
        convention=BY_CLASSES if columns else "",
    )


CLASSIFIERS = [
    classifier(name, columns)
    for name in ("svm_loss_naive", "svm_loss_vectorized", "softmax_loss_naive", "softmax_loss_vectorized")
    for columns in (False, True)
]

# Networks --------------------------------------------------------------------------------------------------------------

TWO = {"W1": "_1_weight.T", "b1": "_1_bias", "W2": "_3_weight.T", "b2": "_3_bias"}


def _net(*parts: Layer[Any], shape: tuple[int, ...], classes: int, id: str, reg: float = 0.3, factor: float = 0.5) -> Case:
    return Case(Regularised(Sequential(*parts), reg, factor), normal(*shape), labels(shape[0], classes=classes), id=id)


def two_layers(n: int, shape: tuple[int, ...], hidden: int, classes: int, id: str, reg: float = 0.3) -> Case:
    """Flatten, affine, relu, affine."""
    size = 1
    for s in shape:
        size *= s
    parts = (Flatten(), Linear(size, hidden), ReLU(), Linear(hidden, classes))
    return _net(*parts, shape=(n, *shape), classes=classes, id=id, reg=reg)


def read(names: dict[str, str]) -> str:
    """Lines that read gradients out of a dict."""
    return "\n".join(f"d{n} = grads['{n}']" for n in names)


def given(names: dict[str, str]) -> str:
    """The dict of parameters, written down."""
    return "{" + ", ".join(f"'{n}': {n}" for n in names) + "}"


TWO_LAYERS_CASES = {
    "std": [
        two_layers(7, (5,), 11, 3, "reg 0.3"),
        two_layers(3, (4,), 5, 6, "reg 0", reg=0.0),
    ],
    "degenerate": [two_layers(1, (3,), 2, 4, "one row")],
}
TWO_LAYERS_2016 = Exercise(
    "TwoLayerNet.loss",
    forward="model = TwoLayerNet(W1.shape[0], W1.shape[1], W2.shape[1])\n"
    f"model.params = {given(TWO)}\n"
    "loss, grads = model.loss(X, y, reg)\n"
    f"scores = model.loss(X)\n{read(TWO)}",
    arrays={"X": "x", "y": "target", **TWO},
    outputs={"loss": "loss", "scores": "scores"},
    tiers=TWO_LAYERS_CASES,
)
TWO_LAYERS_LATER = replace(
    TWO_LAYERS_2016,
    forward="model = TwoLayerNet(W1.shape[0], W1.shape[1], W2.shape[1])\n"
    f"model.params = {given(TWO)}\n"
    "model.reg = reg\n"
    "loss, grads = model.loss(X, y)\n"
    f"scores = model.loss(X)\n{read(TWO)}",
    tiers={
        "std": [
            two_layers(7, (2, 3), 11, 3, "reg 0.3"),
            two_layers(3, (4,), 5, 6, "reg 0", reg=0.0),
        ],
        "degenerate": [two_layers(1, (3,), 2, 4, "one row")],
    },
)
_THREE = {**TWO, "W3": "_5_weight.T", "b3": "_5_bias"}
_BUILT = "FullyConnectedNet([W1.shape[1], W2.shape[1]], input_dim=W1.shape[0], num_classes=W3.shape[1]"


def _deep(names: dict[str, str], option: str = "", tested: bool = True, unread: tuple[str, ...] = ()) -> str:
    scores = "scores = model.loss(X)\n" if tested else ""
    knows = f"knows('FullyConnectedNet', '{option.strip(', ').split('=')[0]}')\n" if option else ""
    return (
        f"{knows}model = {_BUILT}{option})\n"
        f"model.params = {given(names)}\n"
        "model.reg = reg\n"
        "model.dtype = 'float64'\n"
        "loss, grads = model.loss(X, y)\n"
        f"{scores}{read({n: e for n, e in names.items() if n not in unread})}"
    )


def _deep_parts(norm: Any) -> tuple[Layer[Any], ...]:
    return (Flatten(), Linear(6, 5), norm(5), ReLU(), Linear(5, 4), norm(4), ReLU(), Linear(4, 3))


FULLY_CONNECTED = Exercise(
    "FullyConnectedNet.loss",
    forward=_deep(_THREE),
    arrays={"X": "x", "y": "target", **_THREE},
    outputs={"loss": "loss", "scores": "scores"},
    tiers={
        "std": [
            _net(Flatten(), Linear(6, 5), ReLU(), Linear(5, 7), ReLU(), Linear(7, 3), shape=(4, 2, 3), classes=3, id="reg 0.3")
        ],
        "degenerate": [
            _net(Flatten(), Linear(4, 3), ReLU(), Linear(3, 5), ReLU(), Linear(5, 2), shape=(1, 4), classes=2, id="one row")
        ],
    },
)
_NORMED = {
    "W1": "_1_weight.T",
    "b1": "_1_bias",
    "gamma1": "_2_weight",
    "beta1": "_2_bias",
    "W2": "_4_weight.T",
    "b2": "_4_bias",
    "gamma2": "_5_weight",
    "beta2": "_5_bias",
    "W3": "_7_weight.T",
    "b3": "_7_bias",
}
_BIASES = ("b1", "b2")  # a batch norm takes them away again: their gradients are rounding errors
NORMED = [
    Exercise(
        f"FullyConnectedNet.loss ({name})",
        forward=_deep(_NORMED, option, tested=False, unread=unread),
        arrays={"X": "x", "y": "target", **_NORMED},
        outputs={"loss": "loss"},
        tiers={"std": [_net(*_deep_parts(norm), shape=(7, 2, 3), classes=3, id=name)]},
        forward_name="FullyConnectedNet.loss",
    )
    for name, option, norm, unread in (
        ("batchnorm", ", normalization='batchnorm'", BatchNorm1d, _BIASES),
        ("batchnorm", ", use_batchnorm=True", BatchNorm1d, _BIASES),
        ("layernorm", ", normalization='layernorm'", lambda n: LayerNorm((n,)), ()),
    )
]
_CONV = {"W1": "_0_weight", "b1": "_0_bias", "W2": "_4_weight.T", "b2": "_4_bias", "W3": "_6_weight.T", "b3": "_6_bias"}
CONV_NET = Exercise(
    "ThreeLayerConvNet.loss",
    forward="model = ThreeLayerConvNet(input_dim=X.shape[1:], num_filters=W1.shape[0], filter_size=W1.shape[2],"
    " hidden_dim=W2.shape[1], num_classes=W3.shape[1])\n"
    f"model.params = {given(_CONV)}\n"
    "model.reg = reg\n"
    "model.dtype = 'float64'\n"
    "loss, grads = model.loss(X, y)\n"
    f"scores = model.loss(X)\n{read(_CONV)}",
    arrays={"X": "x", "y": "target", **_CONV},
    outputs={"loss": "loss", "scores": "scores"},
    tiers={
        "std": [
            _net(
                *(Conv2d(2, 3, 3, padding=1), ReLU(), MaxPool2d(2), Flatten(), Linear(18, 5), ReLU(), Linear(5, 4)),
                shape=(2, 2, 4, 6),
                classes=4,
                id="3×3",
            ),
            _net(
                *(Conv2d(1, 2, 5, padding=2), ReLU(), MaxPool2d(2), Flatten(), Linear(8, 3), ReLU(), Linear(3, 5)),
                shape=(1, 1, 4, 4),
                classes=5,
                id="5×5, one picture",
            ),
        ]
    },
)
NETWORKS = [TWO_LAYERS_2016, TWO_LAYERS_LATER, FULLY_CONNECTED, *NORMED, CONV_NET]
EXERCISES = [alternative for e in (*CLASSIFIERS, *NETWORKS) for alternative in either(e)]
