r"""Attention: every query looks at all keys, and takes the mean of their values, weighted by how well they match.

    Z = scale · Q Kᵀ + M,   A = softmax(Z) row by row,   Y = A V

:func:`attend` and :func:`attend_backward` are these three lines and their derivative; every layer that attends, whatever
it does before and after, is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ArgumentError, DtypeError, ShapeError
from refbp.numerics import sum_to_shape
from refbp.shapes import Shape


class Attended(NamedTuple):
    """What :func:`attend` leaves for :func:`attend_backward`."""

    q: Array  # already scaled
    k: Array
    v: Array
    A: Array  # the weights: every row sums to one
    gain: Array | None  # dropout's keep / (1 − p)
    scale: float


def attend(
    q: Array, k: Array, v: Array, mask: Array | None, gain: Array | None, scale: float, *, empty_rows: bool
) -> tuple[Array, Array, Attended]:
    """Outputs Y and weights W for q (*, L, d), k (*, S, d), v (*, S, d_v): the mask is added to the scores, the gain
    multiplies their softmax.

    A row in which everything is masked, −∞ throughout, is 0/0: NaN, or zero with ``empty_rows``.
    """
    q = q * scale  # L d products instead of L S
    A = np.matmul(q, k.mT)
    if mask is not None:
        A += mask
    top = A.max(-1, keepdims=True, initial=-np.inf)
    A -= np.where(np.isneginf(top), 0, top) if empty_rows else top
    np.exp(A, out=A)
    total = np.matmul(A, np.ones(A.shape[-1], A.dtype))[..., None]
    A /= np.where(total == 0, 1, total) if empty_rows else total
    W = A if gain is None else A * gain
    return np.matmul(W, v), W, Attended(q, k, v, A, gain, scale)


def attend_backward(saved: Attended, dy: Array, dW: Array | None = None) -> tuple[Array, Array, Array, Array]:
    r"""The gradients of q, k, v and the mask, from those of Y and, where the weights were an output too, of W.

    Y = W V is a product:                  dW = dY Vᵀ,   dV = Wᵀ dY
    W = A · gain, element by element:      dA = dW · gain
    A = softmax(Z) in every row:           dZ = A (dA − Σ dA A), its Jacobian being diag(a) − a aᵀ
    Z = scale · Q Kᵀ + M, a product:       dQ = scale · dZ K,   dK = scale · dZᵀ Q,   dM = dZ
    """
    q, k, v, A, gain, scale = saved
    dA = np.matmul(dy, v.mT)
    if dW is not None:
        dA += dW
    dv = np.matmul((A if gain is None else A * gain).mT, dy)
    if gain is not None:
        dA *= gain
    dA -= np.vecdot(dA, A)[..., None]
    dA *= A
    return np.matmul(dA, k) * scale, np.matmul(dA.mT, q), dv, dA


def additive(mask: Array, dtype: Any, blocked: bool = True) -> Array:
    """A mask of booleans as what is added to the scores: −∞ where it is ``blocked``, else 0. A float mask is that already."""
    return mask if mask.dtype.kind == "f" else np.where(mask == blocked, np.asarray(-np.inf, dtype), 0)


def causal(length: int, keys: int) -> Array:
    """The mask with which no query sees a key that comes after it: True above the diagonal."""
    return ~np.tri(length, keys, dtype=bool)


def hinted(mask: Array | None, padding: Array | None, is_causal: bool | None) -> Array | None:
    """The mask that is used where ``is_causal`` says that the given one is the causal one.

    torch does not read it then, unless padding must be merged with it, but makes its own, which has no gradient.
    """
    unread = is_causal and mask is not None and padding is None
    return causal(*mask.shape[-2:]) if unread else mask  # type: ignore[union-attr]


def dropout_gain(keep: Array | None, p: float, dtype: Any) -> Array | None:
    """What dropout multiplies by, keep / (1 − p); with p = 1 nothing is kept."""
    return None if keep is None else keep * np.asarray(1 / (1 - p) if p < 1 else 0, dtype)


def check_mask(owner: object, name: str, mask: Array | None) -> None:
    """A mask says yes or no in booleans, or is added in floating-point numbers; integers would be ambiguous."""
    if mask is not None and mask.dtype.kind not in "bf":
        raise DtypeError(
            f"{owner!r}: {name} has dtype {mask.dtype}; wanted booleans, or floating-point numbers to be added to the scores."
        )


class _SDPA(NamedTuple):
    attended: Attended
    shapes: tuple[Shape, ...]  # of query, key and value as they were given
    mask: Shape | None  # None where the mask has no gradient


@dataclass(frozen=True)
class ScaledDotProductAttention(Layer[_SDPA]):
    r"""Y = softmax(scale · Q Kᵀ + M) V, scale = 1/√E unless given;   dV = Aᵀ dY,   dZ = A (dA − Σ dA A),   dA = dY Vᵀ.

    Shapes: query (*, L, E), key (*, S, E), value (*, S, Ev), y (*, L, Ev); whatever stands for * is broadcast.
    attn_mask broadcasts to (*, L, S): booleans, True where a query *may* look (MultiheadAttention has it the other way
    round), or numbers that are added to the scores and have a gradient. ``is_causal`` is the mask :func:`causal`.
    ``enable_gqa``: groups of query heads, axis −3, share a key and value head. A query that may look nowhere gets 0.
    In training with dropout_p > 0, ``keep = layer.draw(rng, (*, L, S))`` drops weights.
    Torch: torch.nn.functional.scaled_dot_product_attention, whose arguments after the tensors these are.
    Papers: Vaswani et al. 2017; Shazeer 2019 for one key head, Ainslie et al. 2023 for groups.
    """

    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield 0 <= self.dropout_p <= 1, "dropout_p", "a probability between 0 and 1"

    def inputs(self) -> dict[str, str]:
        q, k, v, h = ("Hq, ", "H, ", "Hv, ", "heads, ") if self.enable_gqa else ("",) * 4
        return {
            "query": f"(N, *query, {q}L, E) or (*query, {q}L, E)",
            "key": f"(N, *key, {k}S, E) or (*key, {k}S, E)",
            "value": f"(N, *value, {v}S, Ev) or (*value, {v}S, Ev)",
            "attn_mask": f"optional any (N, *mask, {h}rows, columns) or (*mask, rows, columns)",
            "keep": f"optional mask (N, *keep, {h}L, S) or (*keep, L, S)",
        }

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *y, L, Ev) or (*y, L, Ev)"}

    @property
    def noisy(self) -> bool:
        """Whether any weight is dropped."""
        return self.training and self.dropout_p > 0

    def draw(self, rng: np.random.Generator, shape: Shape) -> Array:
        """The noise of one pass in training, for weights of this shape, (*, L, S): which of them are kept."""
        return rng.random(shape) >= self.dropout_p

    def check(self, *inputs: Any, **options: Any) -> None:
        """Heads must divide, leading axes and masks broadcast; noise is needed where dropout is at work."""
        query, key, value, mask, keep = (*inputs, None, None)[:5]
        lead = [a.shape[:-2] for a in (query, key, value)]
        if self.enable_gqa:
            heads = [shape[-1] for shape in lead]
            if not all(heads) or heads[0] % heads[1] or heads[0] % heads[2]:
                raise ShapeError(
                    f"{self!r}: query, key and value have {heads} heads on axis −3; wanted numbers for key and value"
                    f" that divide the query's, so that equally many queries share each."
                )
            lead = [(*shape[:-1], heads[0]) for shape in lead]
        try:
            weights = (*np.broadcast_shapes(*lead), query.shape[-2], key.shape[-2])
        except ValueError:
            raise ShapeError(
                f"{self!r}: query {query.shape}, key {key.shape} and value {value.shape} do not broadcast; wanted leading"
                f" axes, all but the last two, that are equal or 1."
            ) from None
        check_mask(self, "attn_mask", mask)
        if mask is not None and self.is_causal:
            raise ArgumentError(f"{self!r}: attn_mask was given; with is_causal=True the mask is known: leave it out.")
        for name, array in (("attn_mask", mask), ("keep", keep)):
            if array is not None and not _broadcasts(array.shape, weights):
                raise ShapeError(f"{self!r}: {name} has shape {array.shape}; wanted one that broadcasts to {weights}.")
        if self.training and self.dropout_p > 0 and keep is None:
            raise ShapeError(f"{self!r}: keep is missing; wanted the dropout mask: pass keep=layer.draw(rng, {weights}).")

    def forward(
        self,
        state: Mapping[str, Array],
        query: Array,
        key: Array,
        value: Array,
        attn_mask: Array | None = None,
        keep: Array | None = None,
    ) -> Forward[_SDPA]:
        (L, E), S, dtype = query.shape[-2:], key.shape[-2], query.dtype
        scale = self.scale if self.scale is not None else 1 / math.sqrt(E) if E else 0.0
        k, v = (np.repeat(a, query.shape[-3] // a.shape[-3], -3) if self.enable_gqa else a for a in (key, value))
        mask = additive(causal(L, S), dtype) if self.is_causal else None
        if attn_mask is not None:
            mask = additive(attn_mask, dtype, blocked=False)
        gain = dropout_gain(keep, self.dropout_p, dtype) if self.training and self.dropout_p else None
        y, _, attended = attend(query, k, v, mask, gain, scale, empty_rows=True)
        learned = attn_mask is not None and attn_mask.dtype.kind == "f"
        return Forward(y, _SDPA(attended, (query.shape, key.shape, value.shape), attn_mask.shape if learned else None))  # type: ignore[union-attr]

    def backward(self, saved: _SDPA, dy: Array) -> Grads:
        r"""See :func:`attend_backward`. What was broadcast, or repeated for a group of heads, gets the sum."""
        dq, dk, dv, dZ = attend_backward(saved.attended, dy)
        shapes = saved.shapes
        if self.enable_gqa:  # the copies of a head are neighbours: (Hq) → (H, copies)
            dk, dv = (_regrouped(d, shape[-3]).sum(-3) for d, shape in ((dk, shapes[1]), (dv, shapes[2])))
        return Grads(
            *(sum_to_shape(d, shape) for d, shape in zip((dq, dk, dv), shapes, strict=True)),
            None if saved.mask is None else sum_to_shape(dZ, saved.mask),
            None,
        )


def _regrouped(d: Array, heads: int) -> Array:
    return d.reshape(*d.shape[:-3], heads, d.shape[-3] // heads, *d.shape[-2:])


def _broadcasts(shape: Shape, to: Shape) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(shape[::-1], to[::-1], strict=False))
