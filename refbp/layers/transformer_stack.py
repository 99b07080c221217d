r"""Stacks of transformer layers, and the transformer itself: an encoder, and a decoder that reads what it made.

One array that many layers read, the memory or a mask, has the sum of their gradients; the memory's is then what the
encoder goes back with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, Step
from refbp.layers.attention import additive, causal
from refbp.layers.container import part, prefixed
from refbp.layers.layer_norm import LayerNorm
from refbp.layers.multihead_attention import xavier_uniform
from refbp.layers.transformer import Noisy, TransformerDecoderLayer, TransformerEncoderLayer, mask_patterns, sequence, summed
from refbp.shapes import Shape


def _causal_or(hint: bool | None, mask: Array | None) -> bool:
    """The hint, or where there is none what torch finds: whether the mask is exactly the causal one."""
    if hint is not None or mask is None or mask.ndim != 2:
        return bool(hint)
    return np.array_equal(additive(mask, mask.dtype), additive(causal(*mask.shape), mask.dtype))


# Stacks ---------------------------------------------------------------------------------------------------------------


class _Stack(Noisy[tuple[list[Step], Step | None]]):
    """The same layer ``num_layers`` times, each time with parameters of its own, and a norm at the end."""

    num_layers: int
    norm: Layer[Any] | None

    @property
    def layer(self) -> Any:
        """The layer that is repeated."""
        raise NotImplementedError

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.num_layers >= 1, "num_layers", "an integer of at least 1"
        yield self.norm is None or not self.norm.buffers(), "norm", "a layer without buffers"

    def reader(self, mask: str) -> Any:
        return self.layer

    def dims(self) -> dict[str, int]:
        return dict(self.layer.sizes)

    def params(self) -> dict[str, Shape]:
        layers = {n: s for i in range(self.num_layers) for n, s in prefixed(f"layers.{i}", self.layer.params()).items()}
        return layers | (prefixed("norm", self.norm.params()) if self.norm else {})

    def outputs(self) -> dict[str, str]:
        return dict(self.layer.outputs())

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """As in torch, every layer starts as a copy of one."""
        one = self.layer.init(rng, dtype)
        copies = [{n: a.copy() for n, a in one.items()} for _ in range(self.num_layers)]
        made = {n: a for i, copy in enumerate(copies) for n, a in prefixed(f"layers.{i}", copy).items()}
        return State(made | (prefixed("norm", self.norm.init(rng, dtype)) if self.norm else {}))

    def kept(self, x: Shape, memory: Shape = ()) -> list[Shape]:
        """The shapes of the noise, layer after layer."""
        return list(self.layer.kept(x, memory)) * self.num_layers

    def draw(self, rng: np.random.Generator, x: Shape, memory: Shape = ()) -> tuple[Array, ...]:
        """The noise of one pass in training, for a source, or a target and a memory, of these shapes."""
        return tuple(mask for _ in range(self.num_layers) for mask in self.layer.draw(rng, x, memory))

    def _noise(self) -> dict[str, str]:
        noise = self.layer.noise().items()
        return {n.replace("of ", f"of layers.{i}."): pattern for i in range(self.num_layers) for n, pattern in noise}

    def _run(
        self,
        state: Mapping[str, Array],
        x: Array,
        rest: Sequence[Array | None],
        keep: Sequence[Array],
        hints: Mapping[str, bool],
    ) -> Forward[tuple[list[Step], Step | None]]:
        steps: list[Step] = []
        each = len(keep) // self.num_layers
        for i in range(self.num_layers):
            noise = keep[i * each : (i + 1) * each]
            run = self.layer.forward(part(state, f"layers.{i}"), x, *rest, *noise, **hints)
            steps.append(Step(self.layer, run))
            x = run.outputs
        normed = Step(self.norm, self.norm.forward(part(state, "norm"), x)) if self.norm else None
        return Forward(normed.outputs if normed else x, saved=(steps, normed))

    def backward(self, saved: tuple[list[Step], Step | None], dy: Array) -> Grads:
        r"""Last to first; the memory and the masks, which every layer read, get the sum."""
        steps, normed = saved
        dx: Array | None = dy
        params: dict[str, Array] = {}
        if normed:
            grads = normed.backward(dy)
            dx, params = grads.inputs[0], prefixed("norm", grads.params)
        shared: list[Array | None] = [None] * (self.fixed - 1)
        for i, step in reversed(list(enumerate(steps))):
            grads = step.backward(dx)
            dx = grads.inputs[0]
            shared = [summed(*pair) for pair in zip(shared, grads.inputs[1:], strict=False)]
            params |= prefixed(f"layers.{i}", grads.params)
        return self.grads(dx, *shared, **params)


@dataclass(frozen=True)
class TransformerEncoder(_Stack):
    r"""y = norm(layerₙ(… layer₁(src)));   backward layer by layer, the masks' gradients summed over the layers.

    Shapes: as encoder_layer's; in training its dropout masks for every layer, ``*layer.draw(rng, src.shape)``. The state
    is layers.0 to layers.{num_layers − 1} and norm. ``is_causal=None`` looks whether mask is the causal one.
    Torch: torch.nn.TransformerEncoder. enable_nested_tensor and mask_check concern its inference only.
    """

    fixed: ClassVar[int] = 3
    hints: ClassVar[Mapping[str, str]] = {"is_causal": "mask"}

    encoder_layer: TransformerEncoderLayer
    num_layers: int
    norm: Layer[Any] | None = None
    enable_nested_tensor: bool = True
    mask_check: bool = True

    @property
    def layer(self) -> TransformerEncoderLayer:
        return self.encoder_layer

    def inputs(self) -> dict[str, str]:
        src = {"src": self.encoder_layer.inputs()["src"]}
        return src | mask_patterns(mask="S, S", src_key_padding_mask="S") | self._noise()

    def forward(
        self,
        state: Mapping[str, Array],
        src: Array,
        mask: Array | None = None,
        src_key_padding_mask: Array | None = None,
        *keep: Array,
        is_causal: bool | None = None,
    ) -> Forward[tuple[list[Step], Step | None]]:
        return self._run(state, src, (mask, src_key_padding_mask), keep, {"is_causal": _causal_or(is_causal, mask)})


@dataclass(frozen=True)
class TransformerDecoder(_Stack):
    r"""y = norm(layerₙ(… layer₁(tgt, memory), memory));   backward layer by layer, dmemory summed over the layers.

    Shapes: as decoder_layer's; in training its dropout masks for every layer, ``*layer.draw(rng, tgt.shape,
    memory.shape)``. The state is layers.0 to layers.{num_layers − 1} and norm. ``tgt_is_causal=None`` looks whether
    tgt_mask is the causal one. Torch: torch.nn.TransformerDecoder.
    """

    fixed: ClassVar[int] = 6
    hints: ClassVar[Mapping[str, str]] = TransformerDecoderLayer.hints

    decoder_layer: TransformerDecoderLayer
    num_layers: int
    norm: Layer[Any] | None = None

    @property
    def layer(self) -> TransformerDecoderLayer:
        return self.decoder_layer

    def inputs(self) -> dict[str, str]:
        given = list(self.decoder_layer.inputs().items())[: self.fixed]
        return dict(given) | self._noise()

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
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Forward[tuple[list[Step], Step | None]]:
        rest = (memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        hints = {"tgt_is_causal": _causal_or(tgt_is_causal, tgt_mask), "memory_is_causal": memory_is_causal}
        return self._run(state, tgt, rest, keep, hints)


# The whole ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transformer(Noisy[tuple[Step, Step]]):
    r"""y = decoder(tgt, encoder(src));   dmemory, the decoder's, is the encoder's upstream gradient.

    Shapes: src (S, N, d_model), tgt (T, N, d_model), y as tgt, with the first axes exchanged for batch_first, without N for
    one sample; src_mask (S, S), tgt_mask (T, T), memory_mask (T, S), or any with N·nhead before it; the key padding masks
    of src and memory (N, S), of tgt (N, T). In training with dropout > 0 there follow the dropout masks of the encoder, then
    of the decoder, ``*layer.draw(rng, src.shape, tgt.shape)``. The state is that of encoder and decoder.
    A custom_encoder or custom_decoder takes the place of the one that is made of the other arguments, in its own mode.
    Torch: torch.nn.Transformer. Paper: Vaswani et al. 2017.
    """

    fixed: ClassVar[int] = 8
    hints: ClassVar[Mapping[str, str]] = {"src_is_causal": "src_mask", **TransformerDecoderLayer.hints}

    d_model: int = 512
    nhead: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    dim_feedforward: int = 2048
    dropout: float = 0.1
    activation: Literal["relu", "gelu"] | Layer[Any] = "relu"
    custom_encoder: TransformerEncoder | None = None
    custom_decoder: TransformerDecoder | None = None
    layer_norm_eps: float = 1e-5
    batch_first: bool = False
    norm_first: bool = False
    bias: bool = True
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.d_model >= 1, "d_model", "an integer of at least 1"
        yield self.nhead >= 1 and self.d_model % self.nhead == 0, "nhead", f"a divisor of d_model={self.d_model}"
        yield self.num_encoder_layers >= 1, "num_encoder_layers", "an integer of at least 1"
        yield self.num_decoder_layers >= 1, "num_decoder_layers", "an integer of at least 1"

    def _made(self, layer: Any) -> Any:
        return layer(
            self.d_model, self.nhead, self.dim_feedforward, self.dropout, self.activation, self.layer_norm_eps,
            self.batch_first, self.norm_first, self.bias, training=self.training,
        )  # fmt: skip

    @property
    def _norm(self) -> LayerNorm:
        return LayerNorm(self.d_model, self.layer_norm_eps, bias=self.bias)

    @cached_property
    def encoder(self) -> TransformerEncoder:
        """The encoder, custom or made."""
        layer = TransformerEncoderLayer
        return self.custom_encoder or TransformerEncoder(self._made(layer), self.num_encoder_layers, self._norm)

    @cached_property
    def decoder(self) -> TransformerDecoder:
        """The decoder, custom or made."""
        layer = TransformerDecoderLayer
        return self.custom_decoder or TransformerDecoder(self._made(layer), self.num_decoder_layers, self._norm)

    def params(self) -> dict[str, Shape]:
        return prefixed("encoder", self.encoder.params()) | prefixed("decoder", self.decoder.params())

    def inputs(self) -> dict[str, str]:
        sequences = {"src": sequence("S", self.batch_first), "tgt": sequence("T", self.batch_first)}
        masks = mask_patterns(src_mask="S, S", tgt_mask="T, T", memory_mask="T, S")
        padding = mask_patterns(src_key_padding_mask="S", tgt_key_padding_mask="T", memory_key_padding_mask="S")
        noise = {}
        for name, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            for n, pattern in stack.noise().items():  # a custom stack has sizes of its own
                noise[n.replace("of ", f"of {name}.")] = _sized(pattern, stack.sizes)
        return sequences | masks | padding | noise

    def outputs(self) -> dict[str, str]:
        return {"y": sequence("T", self.batch_first)}

    def reader(self, mask: str) -> Any:
        return (self.encoder if mask.startswith("src") else self.decoder).layer

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Every matrix anew by Xavier; biases and norms as their layers start them."""
        made = prefixed("encoder", self.encoder.init(rng, dtype)) | prefixed("decoder", self.decoder.init(rng, dtype))
        return State({n: xavier_uniform(rng, a.shape, dtype) if a.ndim > 1 else a for n, a in made.items()})

    def draw(self, rng: np.random.Generator, src: Shape, tgt: Shape) -> tuple[Array, ...]:
        """The noise of one pass in training, for a source and a target of these shapes."""
        return self.encoder.draw(rng, src) + self.decoder.draw(rng, tgt, src)

    def forward(
        self,
        state: Mapping[str, Array],
        src: Array,
        tgt: Array,
        src_mask: Array | None = None,
        tgt_mask: Array | None = None,
        memory_mask: Array | None = None,
        src_key_padding_mask: Array | None = None,
        tgt_key_padding_mask: Array | None = None,
        memory_key_padding_mask: Array | None = None,
        *keep: Array,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Forward[tuple[Step, Step]]:
        cut = len(self.encoder.noise())
        W = part(state, "encoder")
        encoded = self.encoder.forward(W, src, src_mask, src_key_padding_mask, *keep[:cut], is_causal=src_is_causal)
        W, memory = part(state, "decoder"), np.asarray(encoded.outputs)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        decoded = self.decoder.forward(
            W, tgt, memory, *masks, *keep[cut:], tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal
        )
        return Forward(decoded.outputs, saved=(Step(self.encoder, encoded), Step(self.decoder, decoded)))

    def backward(self, saved: tuple[Step, Step], dy: Array) -> Grads:
        encoded, decoded = saved
        d = decoded.backward(dy)
        dtgt, dmemory, dtgt_mask, dmemory_mask, dtgt_padding, dmemory_padding = d.inputs[:6]
        e = encoded.backward(dmemory)
        dsrc, dsrc_mask, dsrc_padding = e.inputs[:3]
        masks = (dsrc_mask, dtgt_mask, dmemory_mask, dsrc_padding, dtgt_padding, dmemory_padding)
        return self.grads(dsrc, dtgt, *masks, **prefixed("encoder", e.params), **prefixed("decoder", d.params))


def _sized(pattern: str, sizes: Mapping[str, int]) -> str:
    return re.sub(r"\w+", lambda word: str(sizes.get(word[0], word[0])), pattern)
