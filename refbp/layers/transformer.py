r"""The transformer: attention and a small network at every position, each a *residual* branch beside the identity.

    y = norm(x + f(x)),   or with the norm first   y = x + f(norm(x))

A sum hands its gradient to both of its terms, so dx = dz + fᵀ dz: however deep a stack is, one path leads straight
through it, and with the norm first nothing on that path changes the gradient. :class:`_Residual` is this step; a layer is
two or three of them one after the other, a stack is layers one after the other, and what every layer of a stack reads
(a memory, a mask) gets the sum of their gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, Step
from refbp.errors import ArgumentError, ShapeError
from refbp.layers.activation import GELU, ReLU
from refbp.layers.attention import check_mask, hinted
from refbp.layers.container import Sequential, part, prefixed
from refbp.layers.dropout import Dropout
from refbp.layers.layer_norm import LayerNorm
from refbp.layers.linear import Linear
from refbp.layers.multihead_attention import MultiheadAttention
from refbp.shapes import Shape

Saved = TypeVar("Saved")


def summed(*grads: Array | None) -> Array | None:
    """The gradient of what was used in several places; None where no use has one."""
    given = [g for g in grads if g is not None]
    return sum(given[1:], given[0]) if given else None


# One residual step ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Attention(Layer[tuple[Step, Step]]):
    r"""f(x) = dropout(attention(x, x, x)), or of (x, m, m) with a memory m. Keys and values are one array, so its
    gradient is the sum of theirs; in self-attention it is the sum of all three.
    """

    name: str
    attention: MultiheadAttention
    dropout: Dropout
    crosses: bool  # over to a memory

    def params(self) -> dict[str, Shape]:
        return prefixed(self.name, self.attention.params())

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Its attention's."""
        return State(prefixed(self.name, self.attention.init(rng, dtype)))

    def forward(
        self,
        state: Mapping[str, Array],
        x: Any,
        memory: Any,
        mask: Array | None,
        padding: Array | None,
        *keep: Array,
    ) -> Forward[tuple[Step, Step]]:
        m, W = memory if self.crosses else x, part(state, self.name)
        attended = Step(self.attention, self.attention.forward(W, x, m, m, padding, mask, *keep[:1], need_weights=False))
        dropped = Step(self.dropout, self.dropout.forward({}, np.asarray(attended.outputs), *keep[1:]))
        return Forward(dropped.outputs, saved=(attended, dropped))

    def backward(self, saved: tuple[Step, Step], dy: Any) -> Grads:
        attended, dropped = saved
        grads = attended.backward(dropped.backward(dy).inputs[0])
        dq, dk, dv, dpadding, dmask, _ = grads
        dx, dmemory = (dq, summed(dk, dv)) if self.crosses else (summed(dq, dk, dv), None)
        return Grads(dx, dmemory, dmask, dpadding, **prefixed(self.name, grads.params))


@dataclass(frozen=True)
class _Residual(Layer[tuple[Step, Any]]):
    r"""y = norm(x + f(x));   dz = normᵀ dy, dx = dz + fᵀ dz. The norm first: y = x + f(norm(x));   dx = dy + normᵀ fᵀ dy."""

    branch: Layer[Any]
    name: str  # of the norm
    norm: LayerNorm
    norm_first: bool

    def params(self) -> dict[str, Shape]:
        return self.branch.params() | prefixed(self.name, self.norm.params())

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Its parts'."""
        return State(self.branch.init(rng, dtype) | prefixed(self.name, self.norm.init(rng, dtype)))

    def forward(self, state: Mapping[str, Array], x: Any, *rest: Array | None) -> Forward[tuple[Step, Any]]:
        W = part(state, self.name)
        if self.norm_first:
            normed = Step(self.norm, self.norm.forward(W, x))
            f = self.branch.forward(state, normed.outputs, *rest)
            return Forward(x + f.outputs, saved=(normed, f.saved))
        f = self.branch.forward(state, x, *rest)
        normed = Step(self.norm, self.norm.forward(W, x + f.outputs))
        return Forward(normed.outputs, saved=(normed, f.saved))

    def backward(self, saved: tuple[Step, Any], dy: Any) -> Grads:
        normed, f = saved
        if self.norm_first:
            df = self.branch.backward(f, dy)
            dn = normed.backward(df.inputs[0])
            dx = summed(dy, dn.inputs[0])
        else:
            dn = normed.backward(dy)
            df = self.branch.backward(f, dn.inputs[0])
            dx = summed(dn.inputs[0], df.inputs[0])
        return Grads(dx, *df.inputs[1:], **df.params, **prefixed(self.name, dn.params))


# What a layer, a stack and the whole have in common: masks, hints and noise -------------------------------------------


class Noisy(Layer[Saved]):
    """``fixed`` inputs, and after them the dropout masks of every part, in the order in which torch draws them.

    What goes in is checked here, once for all parts.
    """

    fixed: ClassVar[int] = 0
    hints: ClassVar[Mapping[str, str]] = {}  # the option that says of a mask that it is causal

    def noise(self) -> dict[str, str]:
        """The inputs that are noise; none where nothing is dropped."""
        return dict(list(self.inputs().items())[self.fixed :])

    def reader(self, mask: str) -> Any:
        """The layer that reads a mask: it knows how many heads there are, and the order of the axes."""
        raise NotImplementedError

    def check(self, *inputs: Any, **options: Any) -> None:
        """Masks are booleans or numbers, for all heads or for each, a hint needs its mask, and dropout its noise."""
        x, given = inputs[0], dict(zip(self.inputs(), inputs, strict=False))
        for name, mask in given.items():
            if "mask" not in name or mask is None:
                continue
            check_mask(self, name, mask)
            layer, sizes = self.reader(name), mask.shape[-2:]
            heads = layer.nhead * (1 if x.ndim == 2 else x.shape[0 if layer.batch_first else 1])
            if "padding" not in name and mask.shape not in {sizes, (heads, *sizes)}:
                raise ShapeError(f"{self!r}: {name} has shape {mask.shape}; wanted {sizes}, or {(heads, *sizes)}, one a head.")
        for hint, name in self.hints.items():
            if options.get(hint) and given.get(name) is None:
                raise ArgumentError(f"{self!r}: {hint}=True says that {name} is causal, but it is missing; pass it, too.")
        if missing := [n for n in self.noise() if given.get(n) is None]:
            shapes = ", ".join(f"{n}.shape" for n in given if n in ("src", "tgt", "memory"))
            raise ShapeError(
                f"{self!r}: {missing[0]} is missing; wanted {len(self.noise())} dropout masks after {self.fixed} other inputs,"
                f" None for those that are left out: pass *layer.draw(rng, {shapes})."
            )

    def grads(self, *inputs: Array | None, **params: Array | None) -> Grads:
        """The gradients, with None for the noise."""
        return Grads(*inputs, *[None] * len(self.noise()), **params)


def sequence(length: str, batch_first: bool, features: str = "d_model") -> str:
    """The pattern of a sequence: batched, in one of two orders, or one sample."""
    batched = f"N, {length}" if batch_first else f"{length}, N"
    return f"({batched}, {features}) or ({length}, {features})"


def mask_patterns(**sizes: str) -> dict[str, str]:
    """Patterns of masks: (S) for padding, which every sample has its own of, (T, S) for the others."""
    return {
        name: f"optional any (N, {size}) or ({size})" if "padding" in name else f"optional any (*{name}, {size})"
        for name, size in sizes.items()
    }


# Layers ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _TransformerLayer(Noisy[list[Any]]):
    """Residual steps of attention, then one of a network that is applied to every position alike."""

    attentions: ClassVar[tuple[str, ...]] = ()

    d_model: int
    nhead: int
    dim_feedforward: int = 2048
    dropout: float = 0.1
    activation: Literal["relu", "gelu"] | Layer[Any] = "relu"
    layer_norm_eps: float = 1e-5
    batch_first: bool = False
    norm_first: bool = False
    bias: bool = True
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.d_model >= 1, "d_model", "an integer of at least 1"
        yield self.nhead >= 1 and self.d_model % self.nhead == 0, "nhead", f"a divisor of d_model={self.d_model}"
        yield self.dim_feedforward >= 1, "dim_feedforward", "an integer of at least 1"
        yield 0 <= self.dropout <= 1, "dropout", "a probability between 0 and 1"
        if isinstance(self.activation, Layer):
            noisy = hasattr(self.activation, "draw") and getattr(self.activation, "training", False)
            yield not noisy and not self.activation.buffers(), "activation", "one without noise or buffers of its own"

    def reader(self, mask: str) -> _TransformerLayer:
        return self

    @property
    def noisy(self) -> bool:
        """Whether anything is dropped."""
        return self.training and self.dropout > 0

    @cached_property
    def steps(self) -> list[_Residual]:
        """The residual steps, in order."""
        E, bias = self.d_model, self.bias
        norm, dropout = LayerNorm(E, self.layer_norm_eps, bias=bias), Dropout(self.dropout, training=self.noisy)
        attention = MultiheadAttention(E, self.nhead, self.dropout, bias, batch_first=self.batch_first, training=self.training)
        named = {"relu": ReLU(), "gelu": GELU()}
        network = {
            "linear1": Linear(E, self.dim_feedforward, bias),
            "activation": named[self.activation] if isinstance(self.activation, str) else self.activation,
            "dropout": dropout,
            "linear2": Linear(self.dim_feedforward, E, bias),
            f"dropout{len(self.attentions) + 1}": dropout,
        }
        branches: list[Layer[Any]] = [_Attention(n, attention, dropout, n != "self_attn") for n in self.attentions]
        branches.append(Sequential(network))
        return [_Residual(branch, f"norm{i}", norm, self.norm_first) for i, branch in enumerate(branches, 1)]

    def params(self) -> dict[str, Shape]:
        """In torch's order: the attentions, the network, the norms, and what an activation learns."""
        shapes = {n: s for step in self.steps for n, s in step.params().items()}
        order = (*self.attentions, "linear1", "linear2", "norm1", "norm2", "norm3", "activation")
        return {n: shapes[n] for p in order for n in shapes if n.startswith(f"{p}.")}

    def outputs(self) -> dict[str, str]:
        return {"y": next(iter(self.inputs().values()))}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Its parts'."""
        made = {n: a for step in self.steps for n, a in step.init(rng, dtype).items()}
        return State({n: made[n] for n in self.params()})

    def kept(self, x: Shape, memory: Shape = ()) -> list[Shape]:
        """The shapes of the noise: of each attention its weights and what comes out, of the network what is hidden and out."""
        attends = [step.branch.attention.scores for step in self.steps if isinstance(step.branch, _Attention)]
        weights = [scores(x, source) for scores, source in zip(attends, (x, memory), strict=False)]
        return [*(s for w in weights for s in (w, x)), (*x[:-1], self.dim_feedforward), x] if self.noisy else []

    def draw(self, rng: np.random.Generator, x: Shape, memory: Shape = ()) -> tuple[Array, ...]:
        """The noise of one pass in training, for a source, or a target and a memory, of these shapes."""
        return tuple(rng.random(shape) >= self.dropout for shape in self.kept(x, memory))

    def _noise(self, x: str, *sources: str) -> dict[str, str]:
        patterns = {}
        for i, (name, source) in enumerate(zip(self.attentions, sources, strict=True), 1):
            patterns[name] = f"(N, nhead, {x}, {source}) or (nhead, {x}, {source})"
            patterns[f"dropout{i}"] = sequence(x, self.batch_first)
        patterns["dropout"] = sequence(x, self.batch_first, "dim_feedforward")
        patterns[f"dropout{len(sources) + 1}"] = sequence(x, self.batch_first)
        return {f"keep of {n}": f"optional mask {p}" for n, p in patterns.items()} if self.noisy else {}


@dataclass(frozen=True)
class TransformerEncoderLayer(_TransformerLayer):
    r"""x = norm₁(x + attention(x, x, x)), y = norm₂(x + W₂ σ(W₁ x + b₁) + b₂), each with dropout; with ``norm_first``
    x + attention(norm₁(x)) and so on. Backward: the second step, then the first, see :class:`_Residual`.

    Shapes: src (S, N, d_model), or (N, S, d_model) with batch_first, or (S, d_model); y as src; src_mask (S, S) or
    (N·nhead, S, S) and src_key_padding_mask (N, S) as in MultiheadAttention. In training with dropout > 0 there follow
    four dropout masks, ``*layer.draw(rng, src.shape)``. The state is that of self_attn, linear1, linear2, norm1, norm2.
    activation: "relu", "gelu", or a layer. ``is_causal=True`` says that src_mask is the causal one.
    Torch: torch.nn.TransformerEncoderLayer. Papers: Vaswani et al. 2017; Xiong et al. 2020 for the norm first.
    """

    attentions: ClassVar[tuple[str, ...]] = ("self_attn",)
    fixed: ClassVar[int] = 3
    hints: ClassVar[Mapping[str, str]] = {"is_causal": "src_mask"}

    def inputs(self) -> dict[str, str]:
        src = {"src": sequence("S", self.batch_first)}
        return src | mask_patterns(src_mask="S, S", src_key_padding_mask="S") | self._noise("S", "S")

    def forward(
        self,
        state: Mapping[str, Array],
        src: Array,
        src_mask: Array | None = None,
        src_key_padding_mask: Array | None = None,
        *keep: Array,
        is_causal: bool = False,
    ) -> Forward[list[Any]]:
        attend, network = self.steps
        mask = hinted(src_mask, src_key_padding_mask, is_causal)
        x = attend.forward(state, src, None, mask, src_key_padding_mask, *keep[:2])
        y = network.forward(state, x.outputs, *keep[2:])
        return Forward(y.outputs, saved=[x.saved, y.saved])

    def backward(self, saved: list[Any], dy: Array) -> Grads:
        attend, network = self.steps
        b = network.backward(saved[1], dy)
        a = attend.backward(saved[0], b.inputs[0])
        dsrc, _, dmask, dpadding = a.inputs
        return self.grads(dsrc, dmask, dpadding, **a.params, **b.params)


@dataclass(frozen=True)
class TransformerDecoderLayer(_TransformerLayer):
    r"""x = norm₁(x + attention(x, x, x)), x = norm₂(x + attention(x, m, m)), y = norm₃(x + W₂ σ(W₁ x + b₁) + b₂), each
    with dropout; with ``norm_first`` x + attention(norm₁(x)) and so on. The memory m is what an encoder made of its source.

    Shapes: tgt (T, N, d_model), memory (S, N, d_model), y as tgt, with the first axes exchanged for batch_first, without N
    for one sample; tgt_mask (T, T), memory_mask (T, S), or either with N·nhead before it, tgt_key_padding_mask (N, T) and
    memory_key_padding_mask (N, S) as in MultiheadAttention. In training with dropout > 0 there follow six dropout masks,
    ``*layer.draw(rng, tgt.shape, memory.shape)``. The state is that of self_attn, multihead_attn, linear1 to norm3.
    activation: "relu", "gelu", or a layer. ``tgt_is_causal`` and ``memory_is_causal`` say that a mask is the causal one.
    Torch: torch.nn.TransformerDecoderLayer, whose copies, as in a stack, take relu for an activation that is a module.
    Papers: Vaswani et al. 2017; Xiong et al. 2020 for the norm first.
    """

    attentions: ClassVar[tuple[str, ...]] = ("self_attn", "multihead_attn")
    fixed: ClassVar[int] = 6
    hints: ClassVar[Mapping[str, str]] = {"tgt_is_causal": "tgt_mask", "memory_is_causal": "memory_mask"}

    def inputs(self) -> dict[str, str]:
        sequences = {"tgt": sequence("T", self.batch_first), "memory": sequence("S", self.batch_first)}
        masks = mask_patterns(tgt_mask="T, T", memory_mask="T, S", tgt_key_padding_mask="T", memory_key_padding_mask="S")
        return sequences | masks | self._noise("T", "T", "S")

    def forward(
        self,
        state: Mapping[str, Array],
        tgt: Array,
        memory: Array,
        tgt_mask: Array | None = None,
        memory_mask: Array | None = None,
        tgt_key_padding_mask: Array | None = None,
        memory_key_padding_mask: Array | None = None,
        *keep: Array,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Forward[list[Any]]:
        attend, cross, network = self.steps
        own = hinted(tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = hinted(memory_mask, memory_key_padding_mask, memory_is_causal)
        x = attend.forward(state, tgt, None, own, tgt_key_padding_mask, *keep[:2])
        z = cross.forward(state, x.outputs, memory, other, memory_key_padding_mask, *keep[2:4])
        y = network.forward(state, z.outputs, *keep[4:])
        return Forward(y.outputs, saved=[x.saved, z.saved, y.saved])

    def backward(self, saved: list[Any], dy: Array) -> Grads:
        attend, cross, network = self.steps
        c = network.backward(saved[2], dy)
        b = cross.backward(saved[1], c.inputs[0])
        a = attend.backward(saved[0], b.inputs[0])
        dtgt, _, dtgt_mask, dtgt_padding = a.inputs
        _, dmemory, dmemory_mask, dmemory_padding = b.inputs
        masks = (dtgt_mask, dmemory_mask, dtgt_padding, dmemory_padding)
        return self.grads(dtgt, dmemory, *masks, **a.params, **b.params, **c.params)
