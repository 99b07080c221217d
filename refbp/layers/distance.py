"""Lengths and angles: the p-norm, and what is measured with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.numerics import sum_to_shape
from refbp.shapes import Shape


def p_norm(x: Array, p: float, axes: Shape) -> Array:
    """‖x‖_p = (Σ |xᵢ|ᵖ)^{1/p} along axes, which are kept; max |xᵢ| for p = ∞, min |xᵢ| for −∞, how many are not 0 for 0.

    The |xᵢ| that counts most is taken out first: where the norm is a number, no power of the rest overflows.
    """
    size = np.abs(x)
    if p == 0:
        return np.asarray((size != 0).sum(axes, keepdims=True, dtype=x.dtype))
    most = size.max(axes, keepdims=True, initial=0) if p > 0 else size.min(axes, keepdims=True, initial=math.inf)
    if math.isinf(p):
        return np.asarray(most)
    unit = np.where((most > 0) & np.isfinite(most), most, 1)
    with np.errstate(divide="ignore"):  # for p < 0 a single 0 makes the norm 0
        return np.asarray(unit * ((size / unit) ** p).sum(axes, keepdims=True) ** (1 / p))


def p_norm_slope(x: Array, norm: Array, p: float, axes: Shape) -> Array:
    r"""∂‖x‖_p/∂xᵢ = sign(xᵢ) (|xᵢ| / ‖x‖)^{p−1}: of (Σ |xᵢ|ᵖ)^{1/p}, it is (Σ |xᵢ|ᵖ)^{1/p − 1} |xᵢ|^{p−1} sign(xᵢ).

    For p = ±∞ the slope belongs to the largest (smallest) |xᵢ|, and equal ones share it. Where xᵢ = 0 it is 0.
    """
    size = np.abs(x)
    sign = (x > 0).astype(x.dtype) - (x < 0)  # 0 for NaN, as in torch
    if math.isinf(p):
        hit = (size == norm).astype(x.dtype)
        return np.asarray(sign * hit / np.maximum(hit.sum(axes, keepdims=True), 1))
    ratio = np.divide(size, norm, out=np.ones_like(size), where=(size != 0) | ~np.isfinite(norm))
    return np.asarray(sign * ratio ** (p - 1))


class _Difference(NamedTuple):
    e: Array
    norm: Array
    shapes: tuple[Shape, Shape]


@dataclass(frozen=True)
class PairwiseDistance(Layer[_Difference]):
    r"""y = ‖e‖_p along the last axis, e = x₁ − x₂ + ε;   ∂y/∂x₁ = sign(e) (|e| / y)^{p−1} = −∂y/∂x₂.

    ε is added with its sign, so the distance from x₁ to x₂ is not quite that from x₂ to x₁. For p = 0 it is how many
    components differ, and there is no gradient.
    Shapes: x1 (N, D) or (D), x2 as x1, y (N) or (), or (N, 1) and (1) with keepdim; other shapes broadcast.
    Torch: torch.nn.PairwiseDistance.
    """

    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False

    def inputs(self) -> dict[str, str]:
        return {"x1": "(N, *, D) or (*x1)", "x2": "(N, *, D) or (*x2)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *) or (*y)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The shapes must broadcast."""
        _not_empty(self, self.p, _broadcast(self, *inputs)[-1:], (0,))

    def forward(self, state: Mapping[str, Array], x1: Array, x2: Array) -> Forward[_Difference]:
        e = np.asarray(x1 - x2 + self.eps)
        norm = p_norm(np.atleast_1d(e), self.p, (-1,))
        y = norm.reshape(norm.shape if self.keepdim and e.ndim else norm.shape[:-1])
        return Forward(y, _Difference(np.atleast_1d(e), norm, (x1.shape, x2.shape)))

    def backward(self, saved: _Difference, dy: Array) -> Grads:
        e, norm, (shape1, shape2) = saved
        if self.p == 0:
            return Grads(None, None)
        de = dy.reshape(norm.shape) * p_norm_slope(e, norm, self.p, (-1,))
        return Grads(sum_to_shape(de, shape1), sum_to_shape(-de, shape2))


class _Angle(NamedTuple):
    u1: Array
    u2: Array
    y: Array
    norm1: Array
    norm2: Array
    shapes: tuple[Shape, Shape]


@dataclass(frozen=True)
class CosineSimilarity(Layer[_Angle]):
    r"""y = Σ u₁ u₂ along dim, u = x / max(‖x‖, ε);   ∂y/∂x₁ = (u₂ − y u₁) / ‖x₁‖, or u₂ / ε where ‖x₁‖ < ε; x₂ likewise.

    Shapes: x1 (*, D, *) with D on axis dim, x2 as x1, y without that axis; other shapes broadcast.
    Torch: torch.nn.CosineSimilarity. Where a norm is less than ε, torch divides by ε, and yet lets a gradient flow
    through the norm: it is not the gradient of the y that it returns.
    """

    dim: int = 1
    eps: float = 1e-8

    def inputs(self) -> dict[str, str]:
        return {"x1": _batched(self.dim, "*x1"), "x2": _batched(self.dim, "*x2")}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *) or (*y)" if self.dim in (1, -1) else "(*y)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The shapes must broadcast, and the result have an axis dim."""
        _check_axes(self, (self.dim,), _broadcast(self, *inputs))

    def forward(self, state: Mapping[str, Array], x1: Array, x2: Array) -> Forward[_Angle]:
        wide1, wide2 = np.broadcast_arrays(np.atleast_1d(x1), np.atleast_1d(x2))
        norm1, norm2 = (p_norm(x, 2, (self.dim,)) for x in (wide1, wide2))
        u1, u2 = wide1 / np.maximum(norm1, self.eps), wide2 / np.maximum(norm2, self.eps)
        y = (u1 * u2).sum(self.dim, keepdims=True)
        return Forward(y.squeeze(self.dim), _Angle(u1, u2, y, norm1, norm2, (x1.shape, x2.shape)))

    def backward(self, saved: _Angle, dy: Array) -> Grads:
        r"""Of x ↦ x / ‖x‖ the derivative is (1 − u uᵀ) / ‖x‖: what is left of u₂ is its part across u₁.

        Below ε it is x ↦ x / ε, which is linear.
        """
        u1, u2, y, norm1, norm2, (shape1, shape2) = saved
        dy = np.expand_dims(dy, self.dim)
        dx1 = dy * (u2 - (norm1 >= self.eps) * y * u1) / np.maximum(norm1, self.eps)
        dx2 = dy * (u1 - (norm2 >= self.eps) * y * u2) / np.maximum(norm2, self.eps)
        return Grads(sum_to_shape(dx1, shape1), sum_to_shape(dx2, shape2))


class _Unit(NamedTuple):
    x: Array
    y: Array
    norm: Array


@dataclass(frozen=True)
class Normalize(Layer[_Unit]):
    r"""y = x / max(‖x‖_p, ε) along dim;   dx = (dy − ∂‖x‖/∂x · Σ dy y) / ‖x‖, or dy / ε where ‖x‖ < ε.

    Shapes: x (*), y (*); dim is one axis, or several. Torch: torch.nn.functional.normalize, which has no module.
    """

    p: float = 2.0
    dim: int | tuple[int, ...] = 1
    eps: float = 1e-12

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.dim != (), "dim", "one axis at least"

    @property
    def axes(self) -> Shape:
        """``dim`` as a tuple."""
        return self.dim if isinstance(self.dim, tuple) else (self.dim,)

    def inputs(self) -> dict[str, str]:
        return {"x": _batched(self.dim, "*")}

    def outputs(self) -> dict[str, str]:
        return {"y": _batched(self.dim, "*")}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The axes must exist."""
        _check_axes(self, self.axes, inputs[0].shape)
        _not_empty(self, self.p, inputs[0].shape, self.axes)

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Unit]:
        norm = p_norm(np.atleast_1d(x), self.p, self.axes)
        y = np.atleast_1d(x) / np.maximum(norm, self.eps)
        return Forward(y.reshape(x.shape), _Unit(np.atleast_1d(x), y, norm))

    def backward(self, saved: _Unit, dy: Array) -> Grads:
        r"""With n = max(‖x‖, ε), y = x / n: directly dx = dy / n, and through n −Σ dy x / n² · ∂n/∂x = −Σ dy y / n · ∂n/∂x."""
        x, y, norm = saved
        dx = dy.reshape(x.shape)
        if self.p != 0:  # a count does not move with x
            through_norm = (norm >= self.eps) * (dx * y).sum(self.axes, keepdims=True)
            dx = dx - p_norm_slope(x, norm, self.p, self.axes) * through_norm
        return Grads((dx / np.maximum(norm, self.eps)).reshape(dy.shape))


# Shapes ------------------------------------------------------------------------------------------------------------------


def _batched(dim: int | tuple[int, ...], rest: str) -> str:
    """The pattern of an input whose first axis is a batch, where it is plain from ``dim`` that it is one."""
    batch = "(N, D, *) or " if dim == 1 else "(N, *, D) or " if dim == -1 else ""
    return f"{batch}({rest})"


def _broadcast(layer: Layer[Any], x1: Array, x2: Array) -> Shape:
    try:
        return np.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise ShapeError(
            f"{layer!r}: x1 has shape {x1.shape} and x2 {x2.shape}; wanted shapes that broadcast: on each axis the"
            f" same size, or 1."
        ) from None


def _check_axes(layer: Layer[Any], axes: Shape, shape: Shape) -> None:
    rank = max(len(shape), 1)
    if not all(-rank <= a < rank for a in axes) or len({a % rank for a in axes}) < len(axes):
        raise ShapeError(
            f"{layer!r}: an input of shape {shape} has no such axes; wanted each within {-rank} to {rank - 1}, and once."
        )


def _not_empty(layer: Layer[Any], p: float, shape: Shape, axes: Shape) -> None:
    if (p < 0 or math.isinf(p)) and any(shape[a] == 0 for a in axes if shape):
        raise ShapeError(f"{layer!r}: shape {shape} leaves nothing to take the {'largest' if p > 0 else 'smallest'} of.")
