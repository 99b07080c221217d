"""Cross-entropy: dx = (softmax(x) − q) / N for targets q, and the binary cross-entropies."""

from __future__ import annotations

from typing import Any

import numpy as np

from refbp.numerics import sigmoid, softmax
from refbp.oracle.families._family import Family, Terms
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake


def _share(o: Observation, count: float) -> Any:
    """The upstream gradient of each single loss: ``count`` is what a mean divides by."""
    layer: Any = o.layer
    return o.dy if layer.reduction != "mean" else o.dy / count


def _rows(o: Observation) -> Terms:
    """For plain class indices, or probabilities: no weights, no smoothing, nothing ignored."""
    layer: Any = o.layer
    target = np.asarray(o.inputs[1])
    if target.dtype.kind == "f" and o.x.ndim == 2 and layer.weight is None and not getattr(layer, "label_smoothing", 0):
        each = np.broadcast_to(_share(o, len(target)), target.shape[:1])[:, None]
        name = "the target's one-hot row" if np.isin(target, (0, 1)).all() else "the target"
        return {"input": {"softmax(x)": each * softmax(o.x, 1) * target.sum(1, keepdims=True), name: -each * target}}
    plain = target.dtype.kind in "iu" and o.x.ndim > 1 and layer.weight is None and not getattr(layer, "label_smoothing", 0)
    if not plain or (target == layer.ignore_index).any() or (target < 0).any():
        return {}
    dl = np.expand_dims(np.broadcast_to(_share(o, target.size), target.shape), 1)
    one_hot = np.moveaxis(np.eye(o.x.shape[1])[target], -1, 1)
    return {"input": {"softmax(x)": dl * softmax(o.x, 1), "the target's one-hot row": -dl * one_hot}}


def _probability(o: Observation) -> dict[str, Array]:
    return {"1 − p": 1 - o.x, "p (1 − p)": o.x * (1 - o.x)}


def _bce(o: Observation) -> Terms:
    if not ((o.x > 0) & (o.x < 1)).all():
        return {}
    t, w = np.asarray(o.inputs[1]), o.state.get("weight", 1.0)
    dl = np.broadcast_to(_share(o, o.x.size), o.x.shape) * w
    return {"input": {"(1 − t)/(1 − p)": dl * (1 - t) / (1 - o.x), "t/p": -dl * t / o.x}}


def _logits(o: Observation) -> Terms:
    if "pos_weight" in o.state:
        return {}
    t, w = np.asarray(o.inputs[1]), o.state.get("weight", 1.0)
    dl = np.broadcast_to(_share(o, o.x.size), o.x.shape) * w
    return {"input": {"σ(x)": dl * sigmoid(o.x), "the target": -dl * t}}


def _scores(o: Observation) -> dict[str, Array]:
    terms = _rows(o)
    if not terms:
        return {}
    target = np.asarray(o.inputs[1])
    one_hot = np.moveaxis(np.eye(o.x.shape[1])[target], -1, 1)
    dl = np.expand_dims(np.broadcast_to(_share(o, target.size), target.shape), 1)
    return {"input": dl * (o.x - one_hot)}


def _unmasked(o: Observation) -> dict[str, Array]:
    """What a row whose target is ignored would send back, were it not: −1 is the last class to NumPy."""
    layer: Any = o.layer
    target, classes = np.asarray(o.inputs[1]), o.x.shape[1] if o.x.ndim > 1 else 0
    ignored = target == layer.ignore_index if target.dtype.kind in "iu" else np.zeros(0, bool)
    plain = layer.weight is None and not getattr(layer, "label_smoothing", 0) and -classes <= layer.ignore_index < classes
    if not (plain and ignored.any() and not ignored.all()):
        return {}
    dl = np.expand_dims(np.broadcast_to(_share(o, (~ignored).sum()), target.shape), 1)
    return {"input": dl * (softmax(o.x, 1) - np.moveaxis(np.eye(classes)[target], -1, 1))}


FAMILIES = (
    Family(
        ("CrossEntropyLoss",),
        _rows,
        mistakes=(
            Mistake("the scores x themselves stand where softmax(x) is meant", _scores),
            Mistake("what is ignored is left out of the loss, but not out of the gradient: its rows are zero", _unmasked),
        ),
    ),
    Family(
        ("BCELoss",),
        _bce,
        _probability,
        (
            Mistake(
                "p − t stands where (p − t)/(p (1 − p)) is meant: that is the gradient for a logit, not for a probability",
                lambda o: {"input": np.broadcast_to(_share(o, o.x.size), o.x.shape) * (o.x - o.inputs[1])},
            ),
        ),
    ),
    Family(("BCEWithLogitsLoss",), _logits, lambda o: {"σ′(x)": sigmoid(o.x) * sigmoid(-o.x), "σ(x)": sigmoid(o.x)}),
)
