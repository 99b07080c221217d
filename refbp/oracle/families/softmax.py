"""Softmax and its logarithm: what sums over a row ties its elements together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refbp.oracle.families._family import Family, Terms
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake


def _axis(o: Observation) -> int:
    layer: Any = o.layer
    return int(layer.axis(o.x)) if hasattr(layer, "axis") else -3


def _softmax(o: Observation) -> Terms:
    product = o.dy * o.y
    return {"x": {"y dy": product, "y Σ dy y": -o.y * product.sum(_axis(o), keepdims=True)}}


def _log_softmax(o: Observation) -> Terms:
    return {"x": {"dy": o.dy, "eʸ Σ dy": -np.exp(o.y) * o.dy.sum(_axis(o), keepdims=True)}}


def _mistake(words: str, gradient: Callable[[Observation], Array]) -> Mistake:
    return Mistake(words, lambda o: {"x": gradient(o)} if o.x.ndim else {})


def _over(axis: int, softmax: bool) -> Mistake:
    def gradients(o: Observation) -> dict[str, Array]:
        if axis >= o.x.ndim or axis % o.x.ndim == _axis(o) % o.x.ndim:
            return {}
        if softmax:
            return {"x": o.y * (o.dy - (o.dy * o.y).sum(axis, keepdims=True))}
        return {"x": o.dy - np.exp(o.y) * o.dy.sum(axis, keepdims=True)}

    return Mistake(f"the sum goes over axis {axis}, not over the axis of the softmax", gradients)


SOFTMAX = Family(
    ("Softmax", "Softmax2d"),
    _softmax,
    mistakes=(
        _mistake("only the diagonal of the Jacobian is used, y (1 − y) dy: each y depends on every x of its row",
                 lambda o: o.dy * o.y * (1 - o.y)),
        _mistake("the factor y is missing in the sum: Σ dy in place of Σ dy y",
                 lambda o: o.y * (o.dy - o.dy.sum(_axis(o), keepdims=True))),
        _mistake("the factor y is missing before the bracket: dy − Σ dy y in place of y (dy − Σ dy y)",
                 lambda o: o.dy - (o.dy * o.y).sum(_axis(o), keepdims=True)),
        _mistake("the sum goes over the whole array, not over each row", lambda o: o.y * (o.dy - (o.dy * o.y).sum())),
        *(_over(axis, True) for axis in (0, 1, -1)),
    ),
)  # fmt: skip
LOG_SOFTMAX = Family(
    ("LogSoftmax",),
    _log_softmax,
    mistakes=(
        _mistake("y stands where eʸ is meant: the softmax is eʸ, for y is its logarithm",
                 lambda o: o.dy - o.y * o.dy.sum(_axis(o), keepdims=True)),
        _mistake("only the diagonal of the Jacobian is used, (1 − eʸ) dy: the sum Σ dy over the row is missing",
                 lambda o: o.dy * (1 - np.exp(o.y))),
        _mistake("the gradient is that of the softmax: y (dy − Σ dy y)",
                 lambda o: np.exp(o.y) * (o.dy - (o.dy * np.exp(o.y)).sum(_axis(o), keepdims=True))),
        _mistake("the sum goes over the whole array, not over each row", lambda o: o.dy - np.exp(o.y) * o.dy.sum()),
        *(_over(axis, False) for axis in (0, 1, -1)),
    ),
)  # fmt: skip
FAMILIES = (SOFTMAX, LOG_SOFTMAX)
