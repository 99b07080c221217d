"""Normalisation of each sample by itself, with a γ for every element: LayerNorm, and RMSNorm, which has no mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads
from refbp.layers.normalization import Normalization, gamma_beta, inverse_std
from refbp.shapes import Shape


class _Samples(NamedTuple):
    x_hat: Array  # (M, D): M samples of D elements
    inv_std: Array
    gamma: Array | float


def _sum(a: Array) -> Array:
    """Σ a over each sample; einsum is the fastest way to write it."""
    return np.asarray(np.einsum("md->m", a)[:, None])


def _dot(a: Array, b: Array) -> Array:
    """Σ a b over each sample; the product is never stored."""
    return np.asarray(np.einsum("md,md->m", a, b)[:, None])


@dataclass(frozen=True)
class _SampleNorm(Normalization[_Samples]):
    """What LayerNorm and RMSNorm share: a sample is the last axes, those of ``normalized_shape``."""

    centred: ClassVar[bool] = True  # whether μ is subtracted

    normalized_shape: int | tuple[int, ...]
    eps: float | None = None
    elementwise_affine: bool = True

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield bool(self.shape) and min(self.shape) >= 0, "normalized_shape", "one size or several, each at least 0"
        yield self.eps is None or self.eps >= 0, "eps", "a number of at least 0"

    @property
    def shape(self) -> Shape:
        """``normalized_shape`` as a tuple."""
        return self.normalized_shape if isinstance(self.normalized_shape, tuple) else (self.normalized_shape,)

    def dims(self) -> dict[str, int]:
        several = isinstance(self.normalized_shape, tuple)
        return {f"normalized_shape[{i}]" if several else "normalized_shape": size for i, size in enumerate(self.shape)}

    def inputs(self) -> dict[str, str]:
        return {"x": f"(*, {', '.join(self.dims())})"}

    def params(self) -> dict[str, Shape]:
        return gamma_beta(self.shape, self.elementwise_affine, False)

    def epsilon(self, x: Array) -> float:
        """ε; ``None`` is the step from 1 to the next number, in the type that torch computes with: float32 or float64."""
        return float(np.clip(np.finfo(x.dtype).eps, 2.0**-52, 2.0**-23)) if self.eps is None else self.eps

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Samples]:
        size = max(math.prod(self.shape), 1)
        c = x.reshape(x.size // size, math.prod(self.shape))
        if self.centred:
            c = c - _sum(c) / size
            c -= _sum(c) / size  # what the rounding of μ left behind: a small σ would blow it up
        inv_std = inverse_std(c, _dot(c, c) / size, self.epsilon(x), lambda a: _dot(a, a) / size)
        x_hat = c * inv_std
        gamma: Any = state["weight"].reshape(-1) if "weight" in state else 1
        y = x_hat * gamma
        y += state["bias"].reshape(-1) if "bias" in state else 0
        return Forward(y.reshape(x.shape), _Samples(x_hat, inv_std, gamma))

    def backward(self, saved: _Samples, dy: Array) -> Grads:
        r"""With dx̂ = γ dy:   dx = (dx̂ − mean(dx̂) − x̂ · mean(dx̂ x̂)) / √(σ² + ε),   dγ = Σ dy x̂,   dβ = Σ dy.

        As in BatchNorm, the part of dx̂ along 1 and the part along x̂ are taken away; without μ, only the latter.
        """
        x_hat, inv_std, gamma = saved
        d, size = dy.reshape(x_hat.shape), max(x_hat.shape[1], 1)
        dx_hat = d * gamma
        dx = dx_hat - x_hat * (_dot(dx_hat, x_hat) / size)
        if self.centred:
            dx -= _sum(dx_hat) / size
        dx *= inv_std
        learned = {}
        for name, shape in self.params().items():
            total = np.einsum("md,md->d", d, x_hat) if name == "weight" else np.einsum("md->d", d)
            learned[name] = total.reshape(shape)
        return Grads(dx.reshape(dy.shape), **learned)


@dataclass(frozen=True)
class LayerNorm(_SampleNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over the last axes: those of normalized_shape.

    Shapes: x (*, normalized_shape), y as x; weight, bias (normalized_shape).
    Torch: torch.nn.LayerNorm. Paper: Ba, Kiros & Hinton 2016.
    """

    eps: float = 1e-5
    bias: bool = True

    def params(self) -> dict[str, Shape]:
        return gamma_beta(self.shape, self.elementwise_affine, self.bias)


@dataclass(frozen=True)
class RMSNorm(_SampleNorm):
    r"""y = γ x̂,   x̂ = x / √(mean(x²) + ε), over the last axes: those of normalized_shape.

    A LayerNorm without μ: x may be stretched, but not shifted, without a change of x̂.
    Shapes: x (*, normalized_shape), y as x; weight (normalized_shape).
    Torch: torch.nn.RMSNorm. Paper: Zhang & Sennrich 2019.
    """

    centred = False
