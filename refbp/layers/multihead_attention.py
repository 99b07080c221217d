"""Multi-head attention: projections into several smaller spaces, attention in each, and one projection back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, Step, uniform_fan_in
from refbp.errors import ArgumentError, ShapeError
from refbp.layers.attention import Attended, additive, attend, attend_backward, check_mask, dropout_gain, hinted
from refbp.layers.container import part, prefixed
from refbp.layers.linear import Linear
from refbp.numerics import sum_to_shape
from refbp.shapes import Shape


def xavier_uniform(rng: np.random.Generator, shape: Shape, dtype: Any) -> Array:
    """U(−b, b), b = √(6 / (fan_in + fan_out)): a variance that neither the forward nor the backward pass outgrows."""
    bound = math.sqrt(6 / sum(shape))
    return np.asarray(rng.uniform(-bound, bound, shape), dtype)


class _Saved(NamedTuple):
    projections: list[Step]  # of query, key and value
    attended: Attended
    out: Step  # out_proj
    shapes: list[Shape]  # of query, key and value
    masks: list[tuple[Shape, Shape] | None]  # where it has a gradient, a mask's shape as given, and as added to the scores
    average: bool


@dataclass(frozen=True)
class MultiheadAttention(Layer[_Saved]):
    r"""Y = concat(Y₁ … Y_h) Woᵀ + bo,   Yᵢ = softmax(Qᵢ Kᵢᵀ / √d + M) Vᵢ,   Q = x_q Wqᵀ + bq, and K, V likewise.

    Head i owns the d = embed_dim / num_heads neighbouring features from i·d on. Backward: through out_proj to the
    heads, through :func:`attend_backward` in each, and through the three projections to query, key and value.
    Shapes: query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim), y (L, N, embed_dim), with the first two axes
    exchanged for batch_first, without N for one sample. key_padding_mask (N, S) and attn_mask (L, S) or
    (N·num_heads, L, S) are booleans, True where one may *not* look, or numbers that are added and have a gradient.
    weights (N, L, S′) averaged over the heads, or (N, num_heads, L, S′); S′ = S + add_bias_kv + add_zero_attn.
    in_proj_weight (3·embed_dim, embed_dim) stacks Wq, Wk, Wv; with kdim or vdim there are q_, k_ and v_proj_weight.
    bias_k, bias_v (1, 1, embed_dim): one more key and value, learned; add_zero_attn adds one of zeros.
    In training with dropout > 0, ``keep = layer.draw(rng, query.shape, key.shape)`` drops weights.

    Options: ``need_weights=False`` returns y alone; a query that may look nowhere then gives 0, not NaN.
    ``average_attn_weights=False`` returns the weights of every head. ``is_causal=True`` says that attn_mask, given all
    the same, is the causal one: where neither weights nor padding need it, it is not read, and has no gradient.
    Torch: torch.nn.MultiheadAttention, which with is_causal also masks the keys that it added. Paper: Vaswani et al. 2017.
    """

    embed_dim: int
    num_heads: int
    dropout: float = 0.0
    bias: bool = True
    add_bias_kv: bool = False
    add_zero_attn: bool = False
    kdim: int | None = None
    vdim: int | None = None
    batch_first: bool = False
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.embed_dim >= 1, "embed_dim", "an integer of at least 1"
        yield self.num_heads >= 1, "num_heads", "an integer of at least 1"
        yield self.embed_dim % self.num_heads == 0, "num_heads", f"a divisor of embed_dim={self.embed_dim}"
        yield 0 <= self.dropout <= 1, "dropout", "a probability between 0 and 1"
        yield self.kdim is None or self.kdim >= 1, "kdim", "an integer of at least 1"
        yield self.vdim is None or self.vdim >= 1, "vdim", "an integer of at least 1"

    def dims(self) -> dict[str, int]:
        given = {"kdim": self.kdim, "vdim": self.vdim}
        return {n: self.embed_dim if size is None else size for n, size in given.items()}

    @cached_property
    def linears(self) -> list[Linear]:
        """The projections of query, key and value, and the one out."""
        sizes = (self.embed_dim, self.sizes["kdim"], self.sizes["vdim"], self.embed_dim)
        return [Linear(size, self.embed_dim, self.bias) for size in sizes]

    @property
    def packed(self) -> bool:
        """Whether query, key and value have one size, so that their weights are one array."""
        return self.sizes["kdim"] == self.sizes["vdim"] == self.embed_dim

    def params(self) -> dict[str, Shape]:
        E = self.embed_dim
        q, k, v, out = (linear.params() for linear in self.linears)
        shapes: dict[str, Shape] = {"in_proj_weight": (3 * E, E)}
        if not self.packed:
            shapes = {f"{n}_proj_weight": p["weight"] for n, p in zip("qkv", (q, k, v), strict=True)}
        if self.bias:
            shapes |= {"in_proj_bias": (3 * E,)}
        if self.add_bias_kv:
            shapes |= {"bias_k": (1, 1, E), "bias_v": (1, 1, E)}
        return shapes | prefixed("out_proj", out)

    def inputs(self) -> dict[str, str]:
        def sequence(length: str, features: str) -> str:
            batched = f"N, {length}" if self.batch_first else f"{length}, N"
            return f"({batched}, {features}) or ({length}, {features})"

        return {
            "query": sequence("L", "embed_dim"),
            "key": sequence("S", "kdim"),
            "value": sequence("S", "vdim"),
            "key_padding_mask": "optional any (N, S) or (S)",
            "attn_mask": "optional any (*heads, L, S)",
            "keep": "optional mask (N, num_heads, L, S') or (num_heads, L, S')",
        }

    def outputs(self) -> dict[str, str]:
        return {"y": self.inputs()["query"], "weights": "(N, num_heads, L, S') or (N, L, S')"}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Xavier for the weights in, Linear's own for the weight out, biases 0; bias_k and bias_v normal with σ² = 1/E."""
        made: dict[str, Array] = {}
        for n, shape in self.params().items():
            if n in ("bias_k", "bias_v"):
                made[n] = np.asarray(rng.normal(0, math.sqrt(1 / self.embed_dim), shape), dtype)
            elif n == "out_proj.weight":
                made[n] = uniform_fan_in(rng, shape, self.embed_dim, dtype)
            else:
                made[n] = xavier_uniform(rng, shape, dtype) if len(shape) == 2 else np.zeros(shape, dtype)
        return State(made)

    @property
    def noisy(self) -> bool:
        """Whether any weight is dropped."""
        return self.training and self.dropout > 0

    def draw(self, rng: np.random.Generator, query: Shape, key: Shape | None = None) -> Array:
        """The noise of one pass in training, for a query and a key of these shapes: which weights are kept."""
        return rng.random(self.scores(query, query if key is None else key)) >= self.dropout

    def scores(self, query: Shape, key: Shape) -> Shape:
        """The shape of the scores, (N, num_heads, L, S′), without N for one sample."""
        time = self._time(len(query))
        lead = () if len(query) == 2 else (query[1 - time],)
        return (*lead, self.num_heads, query[time], key[time] + self.add_bias_kv + self.add_zero_attn)

    def _time(self, rank: int) -> int:
        """The axis of positions."""
        return 1 if self.batch_first and rank == 3 else 0

    def check(self, *inputs: Any, **options: Any) -> None:
        """A hint needs its mask, a mask its shape, and dropout its noise."""
        query, key, _, padding, mask, keep = (*inputs, None, None, None)[:6]
        *lead, L, _ = scores = self.scores(query.shape, key.shape)
        S = key.shape[self._time(query.ndim)]
        check_mask(self, "key_padding_mask", padding)
        check_mask(self, "attn_mask", mask)
        if mask is not None and mask.shape not in {(L, S), (math.prod(lead), L, S)}:
            raise ShapeError(
                f"{self!r}: attn_mask has shape {mask.shape}; wanted {(L, S)}, or {(math.prod(lead), L, S)}: one for each head."
            )
        if options.get("is_causal") and mask is None:
            raise ArgumentError(f"{self!r}: is_causal=True says that attn_mask is causal; pass it too: causal({L}, {S}).")
        if self.training and self.dropout > 0 and keep is None:
            raise ShapeError(
                f"{self!r}: keep is missing; wanted the dropout mask: pass keep=layer.draw(rng, query.shape, key.shape)."
            )
        if keep is not None and keep.shape != scores:
            raise ShapeError(f"{self!r}: keep has shape {keep.shape}; wanted {scores}, that of the weights.")

    def forward(
        self,
        state: Mapping[str, Array],
        query: Array,
        key: Array,
        value: Array,
        key_padding_mask: Array | None = None,
        attn_mask: Array | None = None,
        keep: Array | None = None,
        *,
        need_weights: bool = True,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Forward[_Saved]:
        given, time = (query, key, value), self._time(query.ndim)
        L, S, dtype = query.shape[time], key.shape[time], query.dtype
        steps = [
            Step(linear, linear.forward(W, x.reshape(-1, x.shape[-1])))
            for linear, W, x in zip(self.linears, self._in_projections(state), given, strict=False)
        ]
        q, k, v = (_one(s).reshape(*x.shape[:-1], self.embed_dim) for s, x in zip(steps, given, strict=True))
        if self.add_bias_kv:
            k, v = _appended(k, state["bias_k"], time), _appended(v, state["bias_v"], time)
        if self.add_zero_attn:
            k, v = (_appended(x, np.zeros(self.embed_dim, dtype), time) for x in (k, v))
        q, k, v = (self._split(x, time) for x in (q, k, v))

        padding = None if key_padding_mask is None else key_padding_mask[..., None, None, :]
        mask = attn_mask if need_weights else hinted(attn_mask, key_padding_mask, is_causal)
        if mask is not None and mask.ndim == 3:
            mask = mask.reshape(*q.shape[:-2], L, S)
        bias = self._merged([additive(m, dtype) for m in (padding, mask) if m is not None])
        gain = dropout_gain(keep, self.dropout, dtype) if self.training and self.dropout else None
        heads, A, attended = attend(q, k, v, bias, gain, 1 / math.sqrt(q.shape[-1]), empty_rows=not need_weights)

        joined = self._joined(heads, time).reshape(-1, self.embed_dim)
        out = Step(self.linears[3], self.linears[3].forward(part(state, "out_proj"), joined))
        learned = [_learned(key_padding_mask, padding), _learned(attn_mask, mask)]
        saved = _Saved(steps, attended, out, [x.shape for x in given], learned, average_attn_weights)
        y = _one(out).reshape(query.shape)
        return Forward((y, A.mean(-3) if average_attn_weights else A) if need_weights else y, saved)

    def backward(self, saved: _Saved, dy: Array, dweights: Array | None = None) -> Grads:
        r"""Forward's stations in reverse. Heads are a cut of the features, so their gradients are put side by side.

        The mean over h heads hands each head's weights dweights / h. The learned key and value stand in every sample,
        so bias_k and bias_v sum over the batch; the key of zeros is a constant. A mask's gradient is that of the
        scores it was added to, summed over what it was broadcast along.
        """
        E, time = self.embed_dim, self._time(dy.ndim)
        S = saved.shapes[1][time]
        if dweights is not None and saved.average:
            dweights = dweights[..., None, :, :] / self.num_heads
        out = saved.out.backward(dy.reshape(-1, E))
        dheads = self._split(np.asarray(out.inputs[0]).reshape(dy.shape), time)
        *dprojected, dZ = attend_backward(saved.attended, dheads, dweights)
        dq, dk, dv = (self._joined(d, time) for d in dprojected)
        (dk, dbias_k, _), (dv, dbias_v, _) = (np.split(d, [S, S + self.add_bias_kv], time) for d in (dk, dv))
        q, k, v = (s.backward(d.reshape(-1, E)) for s, d in zip(saved.projections, (dq, dk, dv), strict=True))

        params = prefixed("out_proj", out.params)
        dW = {f"{n}_proj_weight": g.params["weight"] for n, g in zip("qkv", (q, k, v), strict=True)}
        params |= {"in_proj_weight": np.concatenate(list(dW.values()))} if self.packed else dW
        if self.bias:
            params["in_proj_bias"] = np.concatenate([g.params["bias"] for g in (q, k, v)])
        if self.add_bias_kv:
            params |= {n: d.reshape(-1, 1, E).sum(0, keepdims=True) for n, d in (("bias_k", dbias_k), ("bias_v", dbias_v))}
        dmasks = [None if m is None else sum_to_shape(dZ[..., :S], m[1]).reshape(m[0]) for m in saved.masks]
        dx = [np.asarray(g.inputs[0]).reshape(shape) for g, shape in zip((q, k, v), saved.shapes, strict=True)]
        return Grads(*dx, *dmasks, None, **params)

    def _in_projections(self, state: Mapping[str, Array]) -> list[dict[str, Array]]:
        """The states of the projections of query, key and value, cut from the arrays that hold them together."""
        weights = np.split(state["in_proj_weight"], 3) if self.packed else [state[f"{n}_proj_weight"] for n in "qkv"]
        if not self.bias:
            return [{"weight": W} for W in weights]
        return [{"weight": W, "bias": b} for W, b in zip(weights, np.split(state["in_proj_bias"], 3), strict=True)]

    def _merged(self, masks: list[Array]) -> Array | None:
        """Their sum, with zeros for the keys that are added: those are never masked."""
        extra = self.add_bias_kv + self.add_zero_attn
        if not masks:
            return None
        mask = sum(masks[1:], masks[0])
        return np.concatenate([mask, np.zeros((*mask.shape[:-1], extra), mask.dtype)], -1) if extra else mask

    def _split(self, x: Array, time: int) -> Array:
        """(L, N, E) → (N, num_heads, L, d), as a view."""
        return np.moveaxis(x.reshape(*x.shape[:-1], self.num_heads, self.embed_dim // self.num_heads), time, -2)

    def _joined(self, heads: Array, time: int) -> Array:
        """The inverse of ``_split``."""
        x = np.moveaxis(heads, -2, time)
        return x.reshape(*x.shape[:-2], self.embed_dim)


def _one(step: Step) -> Array:
    """The output of a part that has one."""
    return np.asarray(step.outputs)


def _learned(given: Array | None, added: Array | None) -> tuple[Shape, Shape] | None:
    """The shapes of a mask as it was given and as it was added to the scores, if it has a gradient."""
    return None if given is None or added is None or added.dtype.kind != "f" else (given.shape, added.shape)


def _appended(x: Array, row: Array, time: int) -> Array:
    """One more position, the same in every sample."""
    shape = [1 if axis == time else size for axis, size in enumerate(x.shape)]
    return np.concatenate([x, np.broadcast_to(row.reshape(-1), shape)], time)
