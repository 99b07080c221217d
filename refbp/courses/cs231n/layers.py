"""layers.py without pictures: affine, relu, the losses of scores, normalisation, dropout, and the given sandwiches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from refbp.contract import Layer
from refbp.courses._composites import BiasedBatchNorm1d
from refbp.courses.cs231n.references import HingeLoss
from refbp.draws import Draw, exactly, labels, normal, special
from refbp.layers.activation import ReLU
from refbp.layers.container import Sequential
from refbp.layers.dropout import Dropout
from refbp.layers.layer_norm import LayerNorm
from refbp.layers.linear import Linear
from refbp.losses.classification import CrossEntropyLoss
from refbp.oracle.exercise import Exercise
from refbp.spec import Case


def flat_column(n: int, d: int) -> Draw:
    """Normal values but for one column, which is constant."""
    return special(f"normal({n}, {d}), column 1 constant", (n, d), lambda rng: _flattened(rng.normal(size=(n, d))))


def flat_row(n: int, d: int) -> Draw:
    """Normal values but for one row, which is constant."""
    return special(f"normal({n}, {d}), row 1 constant", (n, d), lambda rng: _flattened(rng.normal(size=(d, n))).T)


def _flattened(a: Any) -> Any:
    a[:, 1] = 2.5
    return a


AFFINE = Exercise(
    "affine_backward",
    forward="out, cache = affine_forward(x, w, b)",
    backward="dx, dw, db = affine_backward(dout, cache)",
    arrays={"x": "x.reshape(len(x), 2, -1)", "w": "weight.T", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Linear(6, 5), normal(7, 6), id="seven rows"),
            Case(Linear(10, 3), normal(2, 10), id="two rows"),
            Case(Linear(4, 4), normal(4, 4), id="all sizes equal"),
        ],
        "degenerate": [
            Case(Linear(6, 5), normal(1, 6), id="one row"),
            Case(Linear(2, 1), normal(3, 2), id="one output"),
        ],
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
        "degenerate": [Case(ReLU(), normal(1, 1), id="one value")],
        "kink": [Case(ReLU(), exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.0]]), id="zeros")],
        "dtype": [Case(ReLU(), normal(7, 5), id="float32")],
    },
)
SOFTMAX = Exercise(
    "softmax_loss",
    forward="loss, dx = softmax_loss(x, y)",
    arrays={"x": "input", "y": "target"},
    outputs={"loss": "loss"},
    tiers={
        "std": [
            Case(CrossEntropyLoss(), normal(7, 4, std=2.0), labels(7, classes=4), id="seven rows"),
            Case(CrossEntropyLoss(), normal(3, 11), labels(3, classes=11), id="more classes than rows"),
        ],
        "degenerate": [Case(CrossEntropyLoss(), normal(1, 5), labels(1, classes=5), id="one row")],
        "stability": [Case(CrossEntropyLoss(), normal(5, 4, mean=900.0, std=3.0), labels(5, classes=4), id="scores near 900")],
        "dtype": [Case(CrossEntropyLoss(), normal(7, 4), labels(7, classes=4), id="float32")],
    },
)
SVM = Exercise(
    "svm_loss",
    forward="loss, dx = svm_loss(x, y)",
    arrays={"x": "input", "y": "target"},
    outputs={"loss": "loss"},
    tiers={
        "std": [
            Case(HingeLoss(), normal(7, 4, std=2.0), labels(7, classes=4), id="seven rows"),
            Case(HingeLoss(), normal(3, 11), labels(3, classes=11), id="more classes than rows"),
        ],
        "degenerate": [
            Case(HingeLoss(), normal(1, 5), labels(1, classes=5), id="one row"),
            Case(HingeLoss(), exactly([[5.0, 1.0, 2.0], [1.0, 3.0, -1.0]]), exactly(0, 1), id="every margin kept"),
        ],
        "kink": [Case(HingeLoss(), exactly([[1.0, 0.0, 0.5], [2.0, 1.0, 2.0]]), exactly(0, 2), id="a margin of exactly 1")],
        "dtype": [Case(HingeLoss(), normal(7, 4), labels(7, classes=4), id="float32")],
    },
)

# Normalisation ---------------------------------------------------------------------------------------------------------

STATISTICS = """
bn_param = {'mode': 'train', 'eps': eps, 'momentum': 1 - momentum, 'running_mean': old_mean, 'running_var': old_var}
out, cache = batchnorm_forward(x, gamma, beta, bn_param)
running_mean = bn_param['running_mean']
running_var = bn_param['running_var']
"""
OLD = {"old_mean": "running_mean", "old_var": "running_var"}
NEW = {"out": "y", "running_mean": "new_running_mean", "running_var": "new_running_var"}
BATCHNORM = Exercise(
    "batchnorm_backward",
    forward=STATISTICS,
    backward="dx, dgamma, dbeta = batchnorm_backward(dout, cache)",
    arrays={"x": "x", "gamma": "weight", "beta": "bias", **OLD},
    outputs=NEW,
    tiers={
        "std": [
            Case(BiasedBatchNorm1d(5, eps=1e-5), normal(7, 5), id="eps 1e-5"),
            Case(BiasedBatchNorm1d(3, eps=0.01, momentum=0.3), normal(11, 3, mean=2.0, std=0.3), id="eps 0.01"),
            Case(BiasedBatchNorm1d(4, eps=0.01), normal(4, 4), id="as many rows as columns"),
        ],
        "degenerate": [Case(BiasedBatchNorm1d(3, eps=0.01), normal(2, 3), id="two rows")],
        "stability": [Case(BiasedBatchNorm1d(3, eps=1e-3), flat_column(7, 3), id="a column without variance")],
        "dtype": [Case(BiasedBatchNorm1d(5, eps=1e-2), normal(7, 5), id="float32")],
    },
    convention="the running variance is that of the biased variance, by which x̂ is divided",
)
BATCHNORM_ALT = replace(
    BATCHNORM,
    name="batchnorm_backward_alt",
    backward="dx, dgamma, dbeta = batchnorm_backward_alt(dout, cache)",
)
BATCHNORM_TEST = Exercise(
    "batchnorm_forward (test)",
    forward="bn_param = {'mode': 'test', 'eps': eps, 'momentum': 0.9, 'running_mean': running_mean,"
    " 'running_var': running_var}\n"
    "out, cache = batchnorm_forward(x, gamma, beta, bn_param)",
    arrays={"x": "x", "gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"},
    outputs={"out": "y"},
    tiers={
        "mode": [
            Case(BiasedBatchNorm1d(5, eps=0.01, training=False), normal(7, 5), id="test"),
            Case(BiasedBatchNorm1d(3, eps=0.1, training=False), normal(1, 3), id="test, one row"),
        ]
    },
    forward_name="batchnorm_forward",
)
LAYERNORM = Exercise(
    "layernorm_backward",
    forward="ln_param = {'eps': eps}\nout, cache = layernorm_forward(x, gamma, beta, ln_param)",
    backward="dx, dgamma, dbeta = layernorm_backward(dout, cache)",
    arrays={"x": "x", "gamma": "weight", "beta": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(LayerNorm((5,)), normal(7, 5), id="eps 1e-5"),
            Case(LayerNorm((11,), eps=0.01), normal(3, 11, mean=2.0, std=0.3), id="eps 0.01"),
            Case(LayerNorm((4,), eps=0.01), normal(4, 4), id="as many rows as columns"),
        ],
        "degenerate": [
            Case(LayerNorm((5,), eps=0.01), normal(1, 5), id="one row"),
            Case(LayerNorm((2,), eps=0.01), normal(3, 2), id="two columns"),
        ],
        "stability": [Case(LayerNorm((5,), eps=1e-3), flat_row(7, 5), id="a row without variance")],
        "dtype": [Case(LayerNorm((5,), eps=1e-2), normal(7, 5), id="float32")],
    },
)

# Dropout ---------------------------------------------------------------------------------------------------------------

FAR = 6.0  # standard deviations: further from its probability no honest fraction lies


def kept(layer: Layer[Any], inputs: tuple[Any, ...], outputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The mask, from what is not zero; ValueError where it is not drawn as it should be."""
    if not layer.training:  # type: ignore[attr-defined]  # Dropout has it
        return ()
    mask = np.asarray(next(iter(outputs.values()))) != 0
    q: float = 1 - layer.p  # type: ignore[attr-defined]  # the same
    if mask.shape != np.shape(inputs[0]):
        raise ValueError(f"it has shape {mask.shape}, wanted {np.shape(inputs[0])}")
    if abs(mask.mean() - q) > FAR * np.sqrt(q * (1 - q) / mask.size) and 0 < q < 1:
        normal = 0.5 * (1 + math.erf(q / math.sqrt(2)))  # as many normal numbers are below q
        near = abs(mask.mean() - normal) < FAR / 2 * np.sqrt(normal * (1 - normal) / mask.size)
        why = ": normal numbers (randn) are below it that often, where uniform ones (rand) are meant" if near else ""
        raise ValueError(f"{mask.mean():.0%} of the elements are kept, where the parameter says {q:.0%}{why}")
    if len(mask) > 3 and mask.size > 50 and (mask == mask[:1]).all():
        raise ValueError("the same elements are dropped in every row")
    return (mask,)


DROPS = Exercise(
    "dropout_backward",
    forward="dropout_param = {'mode': 'train' if training else 'test', 'p': p}\nout, cache = dropout_forward(x, dropout_param)",
    backward="dx = dropout_backward(dout, cache)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Dropout(0.3), normal(29, 23), id="drop 0.3"),
            Case(Dropout(0.8), normal(23, 5, 7), id="drop 0.8, three axes"),
        ],
        "degenerate": [Case(Dropout(0.4), normal(1, 97), id="one row")],
        "dtype": [Case(Dropout(0.3), normal(29, 23), id="float32")],
        "mode": [Case(Dropout(0.3, training=False), normal(7, 5), id="test")],
    },
    noise=kept,
    convention="p is the probability that an element is dropped (until 2017)",
)
KEEPS = replace(
    DROPS,
    forward=DROPS.forward.replace("'p': p", "'p': 1 - p"),
    words={"(1 − p)": "p", "p": "(1 − p)"},
    convention="p is the probability that an element is kept (from 2018 on)",
)

# What the course gives: two or three layers at once ----------------------------------------------------------------------

AFFINE_RELU = Exercise(
    "affine_relu_backward",
    forward="out, cache = affine_relu_forward(x, w, b)",
    backward="dx, dw, db = affine_relu_backward(dout, cache)",
    arrays={"x": "x.reshape(len(x), 2, -1)", "w": "_0_weight.T", "b": "_0_bias"},
    outputs={"out": "y"},
    tiers={"std": [Case(Sequential(Linear(6, 5), ReLU()), normal(7, 6), id="seven rows")]},
)
_NORMED = {"w": "_0_weight.T", "b": "_0_bias", "gamma": "_1_weight", "beta": "_1_bias"}
AFFINE_BN_RELU = Exercise(
    "affine_bn_relu_backward",
    forward="bn_param = {'mode': 'train', 'eps': 0.01}\nout, cache = affine_bn_relu_forward(x, w, b, gamma, beta, bn_param)",
    backward="dx, dw, _, dgamma, dbeta = affine_bn_relu_backward(dout, cache)",  # db is a rounding error: the mean takes b away
    arrays={"x": "x", **_NORMED},
    outputs={"out": "y"},
    tiers={"std": [Case(Sequential(Linear(6, 5), BiasedBatchNorm1d(5, eps=0.01), ReLU()), normal(7, 6), id="seven rows")]},
)
EXERCISES = [
    AFFINE,
    RELU,
    SVM,
    SOFTMAX,
    BATCHNORM,
    BATCHNORM_ALT,
    BATCHNORM_TEST,
    LAYERNORM,
    KEEPS,
    DROPS,
    AFFINE_RELU,
    AFFINE_BN_RELU,
]
