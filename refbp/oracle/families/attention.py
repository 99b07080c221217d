"""Attention: dV = Aᵀ dY, dZ = A (dA − Σ dA A), dQ = scale · dZ K, dK = scale · dZᵀ Q; and what becomes of it with a slip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from refbp.numerics import softmax
from refbp.oracle.families._family import Family, slips
from refbp.oracle.observation import Array, Observation


def _t(a: Array) -> Array:
    return np.swapaxes(a, -1, -2)


def _back(dy: Array, q: Array, k: Array, v: Array, A: Array, scale: float, slip: str = "") -> tuple[Array, Array, Array]:
    dA = dy @ _t(v)
    dZ = A * (dA - (dA * A).sum(-1, keepdims=True))
    if slip == "no sum":
        dZ = A * dA
    elif slip == "diagonal":
        dZ = A * (1 - A) * dA
    elif slip == "no softmax":
        dZ = dA
    elif slip == "columns":
        dZ = A * (dA - (dA * A).sum(-2, keepdims=True))
    of_q = {"no scale": 1.0, "no scale in q": 1.0, "scale squared": scale**2, "divided": 1 / scale}.get(slip, scale)
    of_k = {"no scale": 1.0, "no scale in k": 1.0, "scale squared": scale**2, "divided": 1 / scale}.get(slip, scale)
    dv = (A if slip == "A not turned" and A.shape[-1] == A.shape[-2] else _t(A)) @ dy
    dk = (dZ if slip == "dZ not turned" and A.shape[-1] == A.shape[-2] else _t(dZ)) @ q
    return dZ @ k * of_q, dk * of_k, dv


def _attention(o: Observation, slip: str) -> Mapping[str, Array]:
    """For ScaledDotProductAttention without dropout, groups, or queries that may look nowhere."""
    layer: Any = o.layer
    q, k, v, *rest = (np.asarray(a) for a in o.inputs[:4] if a is not None)
    if layer.enable_gqa or (layer.dropout_p and layer.training) or len({a.shape[:-2] for a in (q, k, v)}) > 1:
        return {}
    scale = layer.scale if layer.scale is not None else 1 / math.sqrt(q.shape[-1])
    z = scale * (q @ _t(k))
    if layer.is_causal:
        z = np.where(np.tri(*z.shape[-2:]) > 0, z, -np.inf)
    for mask in rest:
        z = z + mask if mask.dtype.kind == "f" else np.where(mask, z, -np.inf)
    return dict(zip(("query", "key", "value"), _back(o.dy, q, k, v, softmax(z, -1), scale, slip), strict=True))


def _multihead(o: Observation, slip: str) -> Mapping[str, Array]:
    """For MultiheadAttention with packed weights and bias, without masks, dropout, added keys, or weights that are used."""
    layer: Any = o.layer
    E, h = layer.embed_dim, layer.num_heads
    odd = layer.add_bias_kv or layer.add_zero_attn or (layer.dropout and layer.training) or len(o.inputs) > 3
    if odd or "in_proj_weight" not in o.state or o.x.ndim != 3 or any(u is not None and u.any() for u in o.upstream[1:]):
        return {}
    x = [_time_first(layer, np.asarray(a)) for a in o.inputs[:3]]
    W = np.split(o.state["in_proj_weight"], 3)
    b = np.split(o.state.get("in_proj_bias", np.zeros(3 * E)), 3)
    q, k, v = (_cut(a @ w.T + c, h) for a, w, c in zip(x, W, b, strict=True))
    scale = 1 / math.sqrt(E // h)
    A = softmax(scale * (q @ _t(k)), -1)
    dy = _cut(_time_first(layer, o.dy) @ o.state["out_proj.weight"], h)
    d = [_joined(a) for a in _back(dy, q, k, v, A, scale, slip)]
    found = {n: _time_first(layer, a @ w) for n, a, w in zip(("query", "key", "value"), d, W, strict=True)}
    found["in_proj_weight"] = np.concatenate([np.tensordot(a, i, ((0, 1), (0, 1))) for a, i in zip(d, x, strict=True)])
    found["in_proj_bias"] = np.concatenate([a.sum((0, 1)) for a in d])
    return {n: a for n, a in found.items() if n in o.expected}


def _time_first(layer: Any, a: Array) -> Array:
    return a.swapaxes(0, 1) if layer.batch_first else a


def _cut(a: Array, heads: int) -> Array:
    """(L, N, E) as heads, (N, h, L, d)."""
    return a.reshape(*a.shape[:2], heads, -1).transpose(1, 2, 0, 3)


def _joined(a: Array) -> Array:
    """The inverse of ``_cut``."""
    return a.transpose(2, 0, 1, 3).reshape(a.shape[2], a.shape[0], -1)


SLIPS = {
    "no scale": "the scale 1/√d of the scores is missing",
    "no scale in q": "the scale 1/√d is missing in dQ",
    "no scale in k": "the scale 1/√d is missing in dK",
    "scale squared": "the scale is 1/d where it should be 1/√d",
    "divided": "the gradient is divided by the scale, where it should be multiplied",
    "no sum": "the softmax's sum is missing: dZ = A dA in place of A (dA − Σ dA A)",
    "diagonal": "only the diagonal of the softmax's Jacobian is used: A (1 − A) dA",
    "no softmax": "the softmax is left out: dZ = dA",
    "columns": "the softmax's sum Σ dA A goes over the queries, not over the keys",
    "A not turned": "A is not transposed in dV = Aᵀ dY",
    "dZ not turned": "dZ is not transposed in dK = scale · dZᵀ Q",
}


FAMILIES = (
    Family(("ScaledDotProductAttention",), mistakes=slips(_attention, SLIPS)),
    Family(("MultiheadAttention",), mistakes=slips(_multihead, SLIPS)),
)
