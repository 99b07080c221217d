"""Embeddings and dropout: what was copied or dropped on the way forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refbp.oracle.families._family import Family
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake


def _rows(o: Observation) -> tuple[Array, Array, Array]:
    """Indices, upstream rows, an empty dW without what belongs to padding."""
    index = np.asarray(o.inputs[0]).reshape(-1)
    return index, o.dy.reshape(len(index), -1), np.zeros_like(o.state["weight"])


def _padded(o: Observation, dW: Array) -> Mapping[str, Array]:
    layer: Any = o.layer
    if layer.padding_idx is not None:
        dW[layer.padding_idx] = 0
    return {"weight": dW}


def _assigned(o: Observation) -> Mapping[str, Array]:
    index, rows, dW = _rows(o)
    dW[index] = rows
    return _padded(o, dW)


def _first(o: Observation) -> Mapping[str, Array]:
    index, rows, dW = _rows(o)
    dW[index[::-1]] = rows[::-1]
    return _padded(o, dW)


def _learned_padding(o: Observation) -> Mapping[str, Array]:
    layer: Any = o.layer
    index, rows, dW = _rows(o)
    if layer.padding_idx is None or layer.scale_grad_by_freq:
        return {}
    np.add.at(dW, index, rows)
    return {"weight": dW}


def _averaged(o: Observation) -> Mapping[str, Array]:
    index, rows, dW = _rows(o)
    np.add.at(dW, index, rows)
    return _padded(o, dW / np.maximum(np.bincount(index, minlength=len(dW)), 1)[:, None])


EMBEDDING = Family(
    ("Embedding",),
    mistakes=(
        Mistake(
            "a row that is looked up more than once is overwritten, not added to (dW[x] += dy keeps the last: np.add.at)",
            _assigned,
        ),
        Mistake("a row that is looked up more than once keeps the first of its gradients, not their sum", _first),
        Mistake("the row of padding_idx gets a gradient: it should stay zero", _learned_padding),
        Mistake("each row's gradient is divided by how often it occurs", _averaged),
    ),
)


def _keep(o: Observation) -> dict[str, Array]:
    if len(o.inputs) < 2 or o.inputs[1] is None or not getattr(o.layer, "training", True):
        return {}
    keep = np.asarray(o.inputs[1], float)
    return {"keep, the mask": keep.reshape(keep.shape + (1,) * (o.x.ndim - keep.ndim)) + 0 * o.x}


DROPOUT = Family(
    ("_Dropout",),
    quantities=_keep,
    mistakes=(
        Mistake(
            "the mask keep is missing: what was dropped has no gradient",
            lambda o: {"x": o.dy / (1 - o.layer.p)} if _keep(o) else {},
        ),
        Mistake(
            "dropped and kept are exchanged",
            lambda o: {"x": o.dy * (1 - next(iter(_keep(o).values()))) / (1 - o.layer.p)} if _keep(o) else {},
        ),
    ),
)
FAMILIES = (EMBEDDING, DROPOUT)
