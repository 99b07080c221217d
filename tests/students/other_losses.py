"""The losses among the layers of others.py."""

import numpy as np

from refbp import Case, labels, normal
from refbp.losses.classification import NLLLoss

from ._student import Exercise


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


# NLLLoss, SmoothL1Loss, BCEWithLogitsLoss --------------------------------------------------------------------------------


_more = [
    Case(NLLLoss(), normal(4, 3), labels(4, classes=3), id="small"),
    Case(NLLLoss(reduction="sum"), normal(3, 6), labels(3, classes=6), id="wide-sum"),
]
nll = Exercise(
    "NLLLoss", "mean sum", lambda f, layer, state, inputs, dys: {"input": f(dys[0], *inputs, layer.reduction)}, _more
)


@nll.wrong(r"wrong sign")
def nll_without_the_minus(dl, x, t, reduction):
    return dl * np.eye(x.shape[1])[t] / (len(x) if reduction == "mean" else 1)


@nll.wrong(r"N times.*reduction='mean'")
def nll_never_averaged(dl, x, t, reduction):
    return -dl * np.eye(x.shape[1])[t]


@nll.wrong(r"gradient of CrossEntropyLoss")
def nll_as_cross_entropy(dl, x, t, reduction):
    e = np.exp(x - x.max(1, keepdims=True))
    return dl * (e / e.sum(1, keepdims=True) - np.eye(x.shape[1])[t]) / (len(x) if reduction == "mean" else 1)


@nll.right
def nll_by_indices(dl, x, t, reduction):
    dx = np.zeros_like(x)
    dx[np.arange(len(x)), t] = -dl
    return dx / len(x) if reduction == "mean" else dx


smooth = Exercise(
    "SmoothL1Loss",
    "mean sum option1 option3",
    lambda f, layer, state, inputs, dys: {"input": f(dys[0], *inputs, layer.beta, layer.reduction)},
)


@smooth.wrong(r"beta is missing before the bend")
def smooth_without_beta(dl, x, t, beta, reduction):
    d = x - t
    return dl * np.where(np.abs(d) < beta, d, np.sign(d)) / (x.size if reduction == "mean" else 1)


@smooth.right
def smooth_piece_by_piece(dl, x, t, beta, reduction):
    d = x - t
    return dl * np.where(np.abs(d) < beta, d / beta, np.sign(d)) / (x.size if reduction == "mean" else 1)


logits = Exercise(
    "BCEWithLogitsLoss",
    "mean sum hard-targets",
    lambda f, layer, state, inputs, dys: {"input": f(dys[0], *inputs, layer.reduction)},
)


@logits.wrong(r"σ′\(x\) is there once too often")
def logits_with_the_sigmoids_slope(dl, x, t, reduction):
    p = _sigmoid(x)
    return dl * (p - t) * p * (1 - p) / (x.size if reduction == "mean" else 1)


@logits.wrong(r"term the target is missing")
def logits_without_the_target(dl, x, t, reduction):
    return dl * _sigmoid(x) / (x.size if reduction == "mean" else 1)


@logits.right
def logits_minus_target(dl, x, t, reduction):
    return dl * (_sigmoid(x) - t) / (x.size if reduction == "mean" else 1)
