"""Losses of a difference d = x − t: dx = dl l′(d)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refbp.oracle.families._family import Family
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake


def _share(o: Observation) -> Any:
    layer: Any = o.layer
    return o.dy / o.x.size if layer.reduction == "mean" else o.dy


def _mistake(words: str, slope: Callable[[Any, Array], Any]) -> Mistake:
    """Another l′(d); the target's gradient is its negative."""

    def gradients(o: Observation) -> dict[str, Array]:
        dx = np.broadcast_to(_share(o), o.x.shape) * slope(o, o.x - np.asarray(o.inputs[1]))
        return {"input": dx, "target": -dx}

    return Mistake(words, gradients)


def _pairs(o: Observation) -> dict[str, Array]:
    """The loss of every entry of the input with every entry of the target, where both are a row or a column."""
    x, t = (np.asarray(a) for a in o.inputs[:2])
    n = x.size
    if n < 2 or t.size != n or max(x.shape) != n or any(a is not None for a in o.inputs[2:]):
        return {}
    wide = np.broadcast_to(x.reshape(n, 1), (n, n)), np.broadcast_to(t.reshape(1, n), (n, n))
    loss = o.layer(o.state, *wide, **(o.options or {})).outputs
    return {"loss": loss[0] if isinstance(loss, tuple) else loss}


FAMILIES = (
    Family(
        ("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss", "BCELoss", "BCEWithLogitsLoss"),
        of_outputs=(
            Mistake("every entry of the input is compared with every target: (N, 1) against (N,) broadcasts to (N, N)", _pairs),
        ),
    ),
    Family(("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss"), quantities=lambda o: {"x − t": o.x - np.asarray(o.inputs[1])}),
    Family(("L1Loss",), mistakes=(_mistake("the sign is missing: d = x − t stands where sign(d) is meant", lambda _, d: d),)),
    Family(("MSELoss",), mistakes=(_mistake("sign(d) stands where 2d is meant, d = x − t", lambda _, d: np.sign(d)),)),
    Family(
        ("HuberLoss",),
        mistakes=(
            _mistake("the bend is missing: d stands where it should be clipped at ±δ", lambda _, d: d),
            _mistake("the slope beyond the bend is sign(d), not δ sign(d): delta is missing there",
                     lambda o, d: np.where(np.abs(d) <= o.layer.delta, d, np.sign(d))),
            _mistake("the bend lies at 1 whatever delta is", lambda _, d: np.clip(d, -1, 1)),
        ),
    ),
    Family(
        ("SmoothL1Loss",),
        mistakes=(
            _mistake("the bend is missing: d/β stands where it should be clipped at ±1", lambda o, d: d / o.layer.beta),
            _mistake("beta is missing before the bend: d stands where d/β is meant",
                     lambda o, d: np.where(np.abs(d) < o.layer.beta, d, np.sign(d))),
            _mistake("the bend lies at 1 whatever beta is", lambda _, d: np.clip(d, -1, 1)),
        ),
    ),
    Family(
        ("KLDivLoss",),
        mistakes=(
            Mistake("the mean is taken over all elements where reduction='batchmean' divides by the batch",
                    lambda o: {"input": o.expected["input"] * o.x.shape[0] / math.prod(o.x.shape)}
                    if getattr(o.layer, "reduction", "") == "batchmean" and o.x.ndim > 1 else {}),
        ),
    ),
)  # fmt: skip
