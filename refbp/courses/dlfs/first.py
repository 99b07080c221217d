"""Volume 1: layers as objects; a gradient is kept as ``layer.dW``."""

from __future__ import annotations

from typing import Any

import numpy as np

from refbp.courses._composites import BiasedBatchNorm1d
from refbp.draws import Draw, exactly, labels, normal, special
from refbp.layers.activation import ReLU, Sigmoid
from refbp.layers.arithmetic import Add, Mul
from refbp.layers.convolution import Conv2d
from refbp.layers.dropout import Dropout
from refbp.layers.graph import Graph
from refbp.layers.linear import Linear
from refbp.layers.pooling import MaxPool2d
from refbp.losses.classification import CrossEntropyLoss
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

FIRST = "volume 1: gradients are attributes (layer.dW)"
SECOND = "volume 2: gradients are the list layer.grads"


def one_hot(n: int, classes: int) -> Draw:
    """A target of n rows, each with a single 1."""
    return special(f"one_hot({n}, {classes})", (n, classes), lambda rng: np.eye(classes)[rng.integers(0, classes, n)])


def kept(layer: Any, _: tuple[Any, ...], outputs: dict[str, Any]) -> tuple[Any, ...]:
    """What a dropout has kept, seen from its output; nothing is drawn in evaluation."""
    return (np.asarray(outputs["out"]) != 0,) if layer.training else ()


_ROWS = [Case(Linear(5, 3), normal(7, 5), id="seven rows"), Case(Linear(3, 11), normal(2, 3), id="two rows")]
_AFFINE: dict[str, Any] = {
    "forward": "layer = Affine(W, b)\nout = layer.forward(x)",
    "outputs": {"out": "y"},
}
_MORE = {
    "degenerate": [Case(Linear(4, 1), normal(1, 4), id="one row")],
    "dtype": [Case(Linear(5, 3), normal(7, 5), id="float32")],
}
AFFINE = [
    Exercise(
        "Affine.backward",
        backward="dx = layer.backward(dout)\ndW = layer.dW\ndb = layer.db",
        arrays={"x": "x.reshape(len(x), 2, 3, -1) if in_features == 12 else x", "W": "weight.T", "b": "bias"},
        tiers={"std": [*_ROWS, Case(Linear(12, 5), normal(7, 12), id="2×3×2 images")], **_MORE},
        convention=FIRST,
        **_AFFINE,
    ),
    Exercise(
        "Affine.backward",
        backward="dx = layer.backward(dout)\ndW = layer.grads[0]\ndb = layer.grads[1]",
        arrays={"x": "x", "W": "weight.T", "b": "bias"},
        tiers={"std": _ROWS, **_MORE},
        convention=SECOND,
        **_AFFINE,
    ),
]
RELU = [
    Exercise(
        f"{name}.backward",
        f"layer = {name}()\nout = layer.forward(x)",
        "dx = layer.backward(dout)",
        arrays={"x": "x"},
        outputs={"out": "y"},
        tiers={
            "std": [Case(ReLU(), normal(7, 5), id="matrix"), Case(ReLU(), normal(2, 3, 5, 4), id="images")],
            "degenerate": [Case(ReLU(), exactly([[-1.0, -2.0, -0.5]]), id="nothing passes")],
            "kink": [Case(ReLU(), exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.0]]), id="zeros")],
        },
    )
    for name in ("Relu", "ReLU")  # the books', and what many call it
]
SIGMOID = Exercise(
    "Sigmoid.backward",
    "layer = Sigmoid()\nout = layer.forward(x)",
    "dx = layer.backward(dout)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={
        "std": [Case(Sigmoid(), normal(7, 5), id="matrix"), Case(Sigmoid(), normal(2, 3, 5), id="three axes")],
        "stability": [Case(Sigmoid(), exactly([[-800.0, 800.0, 0.0]]), id="large values")],
    },
)
SOFTMAX_LOSS = Exercise(
    "SoftmaxWithLoss.backward",
    "layer = SoftmaxWithLoss()\nloss = layer.forward(x, t)",
    "dx = layer.backward()",
    arrays={"x": "input", "t": "target"},
    outputs={"loss": "loss"},
    rtol=1e-5,  # the books take log(y + 1e-7)
    convention="mean over the batch, targets as indices or one-hot",
    tiers={
        "std": [
            Case(CrossEntropyLoss(), normal(7, 5, std=0.5), labels(7, classes=5), id="indices"),
            Case(CrossEntropyLoss(), normal(2, 3, std=0.5), labels(2, classes=3), id="two rows"),
            Case(CrossEntropyLoss(), normal(5, 4, std=0.5), one_hot(5, 4), id="one-hot"),
        ],
        "degenerate": [Case(CrossEntropyLoss(), normal(1, 3, std=0.5), labels(1, classes=3), id="one row")],
        "stability": [Case(CrossEntropyLoss(), normal(5, 3, mean=1000.0, std=0.5), labels(5, classes=3), id="large logits")],
    },
)
_BATCHNORM: dict[str, Any] = {
    "backward": "dx = layer.backward(dout)\ndgamma = layer.dgamma\ndbeta = layer.dbeta",
    "arrays": {"x": "x", "gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"},
}
_TRAINING = (
    "layer = BatchNormalization(gamma, beta, momentum=0.9, running_mean=mean, running_var=var)\n"
    "out = layer.forward(x, True)\nnew_mean = layer.running_mean\nnew_var = layer.running_var"
)


def batchnorm(eps: float, convention: str) -> Exercise:
    """Batch normalization with the ε that a book writes into its formula."""
    return Exercise(
        "BatchNormalization.backward",
        _TRAINING,
        outputs={"out": "y", "new_mean": "new_running_mean", "new_var": "new_running_var"},
        upstream={"dout": "out"},
        grads={"dx": "x", "dgamma": "gamma", "dbeta": "beta"},
        convention=convention,
        tiers={
            "std": [
                Case(BiasedBatchNorm1d(5, eps=eps), normal(7, 5), id="seven rows"),
                Case(BiasedBatchNorm1d(3, eps=eps), normal(11, 3, mean=2.0, std=0.3), id="eleven rows"),
            ],
            "degenerate": [Case(BiasedBatchNorm1d(3, eps=eps), normal(2, 3), id="two rows")],
            "stability": [
                Case(BiasedBatchNorm1d(2, eps=eps), exactly([[1.0, 2.0], [1.0, 0.0], [1.0, 5.0]]), id="a constant column"),
            ],
        },
        **_BATCHNORM,
    )


BATCHNORM = [
    batchnorm(1e-6, "ε = 10e-7 beside the variance"),
    batchnorm(1e-7, "ε = 1e-7 beside the variance"),
    batchnorm(1e-5, "ε = 1e-5 beside the variance"),
]
BATCHNORM_TEST = Exercise(
    "BatchNormalization.forward (train_flg=False)",
    "layer = BatchNormalization(gamma, beta, momentum=0.9, running_mean=mean, running_var=var)\nout = layer.forward(x, False)",
    arrays={"x": "x", "gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"},
    outputs={"out": "y"},
    rtol=1e-5,
    tiers={"mode": [Case(BiasedBatchNorm1d(5, eps=1e-6, training=False), normal(7, 5), id="evaluation")]},
)
_DROPPED = {
    "std": [Case(Dropout(0.3), normal(7, 5), id="0.3"), Case(Dropout(0.5), normal(2, 3, 11), id="0.5")],
    "mode": [Case(Dropout(0.3, training=False), normal(7, 5), id="evaluation")],
}
_DROPOUT: dict[str, Any] = {
    "forward": "layer = Dropout(p)\nout = layer.forward(x, training)",
    "backward": "dx = layer.backward(dout)",
    "arrays": {"x": "x"},
    "outputs": {"out": "y"},
    "noise": kept,
}
DROPOUT = [
    Exercise(
        "Dropout.backward",
        convention="volume 1: what is kept is not scaled in training, everything is by 1 − ratio in evaluation",
        output_factors={"out": "1 - p"},
        tiers={"std": _DROPPED["std"]},
        **_DROPOUT,
    ),
    Exercise(
        "Dropout.backward",
        convention="volume 2: what is kept is scaled by 1 / (1 − ratio) in training, nothing in evaluation",
        tiers={"std": _DROPPED["std"]},
        **_DROPOUT,
    ),
]
DROPOUT_TEST = [
    Exercise(
        "Dropout.forward (train_flg=False)",
        _DROPOUT["forward"],
        arrays={"x": "x"},
        outputs={"out": "y"},
        output_factors=factors,
        tiers={"mode": _DROPPED["mode"]},
    )
    for factors in ({"out": "1 - p"}, {})
]
CONVOLUTION = Exercise(
    "Convolution.backward",
    "layer = Convolution(W, b, stride, padding)\nout = layer.forward(x)",
    "dx = layer.backward(dout)\ndW = layer.dW\ndb = layer.db",
    arrays={"x": "x", "W": "weight", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Conv2d(2, 3, (3, 2), stride=1, padding=0), normal(2, 2, 5, 7), id="3×2 filter, pad 0"),
            Case(Conv2d(3, 2, 3, stride=2, padding=1), normal(2, 3, 7, 5), id="stride 2, pad 1"),
            Case(Conv2d(2, 5, 2, stride=1, padding=2), normal(3, 2, 3, 4), id="pad 2"),
        ],
        "degenerate": [
            Case(Conv2d(1, 1, 1, stride=1, padding=0), normal(1, 1, 3, 2), id="1×1 filter"),
            Case(Conv2d(2, 3, 2, stride=3, padding=0), normal(1, 2, 5, 5), id="windows with gaps"),
        ],
    },
)
POOLING = Exercise(
    "Pooling.backward",
    "layer = Pooling(kernel_size[0], kernel_size[1], stride)\nout = layer.forward(x)",
    "dx = layer.backward(dout)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(MaxPool2d((2, 2), stride=2), normal(2, 3, 4, 6), id="2×2"),
            Case(MaxPool2d((3, 2), stride=1), normal(2, 2, 5, 4), id="overlapping 3×2"),
            Case(MaxPool2d((2, 2), stride=3), normal(1, 2, 5, 8), id="windows with gaps"),
        ],
        "degenerate": [Case(MaxPool2d((3, 3), stride=1), normal(1, 1, 3, 3), id="one window")],
        "kink": [Case(MaxPool2d((2, 2), stride=2), exactly([[[[1.0, 1.0], [0.0, 1.0]]]]), id="ties")],
    },
)
SIMPLE = [
    Exercise(
        f"{name}.backward",
        f"layer = {name}()\nout = layer.forward(x, y)",
        "dx, dy = layer.backward(dout)",
        arrays={"x": "x1", "y": "x2"},
        outputs={"out": "y"},
        upstream={"dout": "out"},
        tiers={"std": [Case(operation, normal(3, 2), normal(3, 2)), Case(operation, normal(), normal(), id="numbers")]},
    )
    for name, operation in (("MulLayer", Mul()), ("AddLayer", Add()))
]
_NET = """
def net(W1, b1, W2, b2):
    made = submission.TwoLayerNet(W1.shape[0], W1.shape[1], W2.shape[1])
    for name, value in (("W1", W1), ("b1", b1), ("W2", W2), ("b2", b2)):
        made.params[name][...] = value  # in place: its layers hold the same arrays
    return made
"""


def two_layers(n_in: int, hidden: int, n_out: int) -> Graph:
    """Two affine layers with a ReLU between them, and the loss."""
    layers = f"h = Linear({n_in}, {hidden})(x); a = ReLU(h); z = Linear({hidden}, {n_out})(a)"
    return Graph(f"{layers}; loss = CrossEntropyLoss(z, t)")


TWO_LAYER_NET = Exercise(
    "TwoLayerNet.gradient",
    "model = net(W1, b1, W2, b2)\nloss = model.loss(x, t)",
    "grads = model.gradient(x, t)\ndW1 = grads['W1']\ndb1 = grads['b1']\ndW2 = grads['W2']\ndb2 = grads['b2']",
    arrays={"x": "x", "t": "t", "W1": "h_weight.T", "b1": "h_bias", "W2": "z_weight.T", "b2": "z_bias"},
    outputs={"loss": "loss"},
    driver=_NET,
    also=("TwoLayerNet", "TwoLayerNet.loss", "TwoLayerNet.gradient"),
    forward_name="TwoLayerNet.loss",
    rtol=1e-5,
    convention="chapter 5: affine, ReLU, affine, softmax loss; no regulariser",
    tiers={
        "std": [
            Case(two_layers(5, 7, 3), normal(2, 5, std=0.5), labels(2, classes=3), id="indices"),
            Case(two_layers(4, 3, 5), normal(11, 4, std=0.5), one_hot(11, 5), id="one-hot"),
        ],
        "degenerate": [Case(two_layers(2, 3, 2), normal(1, 2, std=0.5), labels(1, classes=2), id="one row")],
    },
)

EXERCISES = [
    *AFFINE,
    *RELU,
    SIGMOID,
    SOFTMAX_LOSS,
    *BATCHNORM,
    BATCHNORM_TEST,
    *DROPOUT,
    *DROPOUT_TEST,
    CONVOLUTION,
    POOLING,
    *SIMPLE,
    TWO_LAYER_NET,
]
