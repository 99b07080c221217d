"""Sampling: an image read wherever a grid points, and a category picked wherever noise decides.

Both soften a choice that has no gradient, which pixel or which class, into a weighted mean of what might be chosen; the
gradient flows through the weights.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.layers.resampling import keys, keys_slope
from refbp.layers.softmax import softmax_backward
from refbp.numerics import softmax


class _Taps(NamedTuple):
    """Along one axis, the pixels that each place reads, (taps, N, *places); ``slope`` is ∂weight/∂(grid coordinate)."""

    pixel: Array
    inside: Array
    weight: Array
    slope: Array


class _Corner(NamedTuple):
    """One pixel for each place: where it lies in the flat image, whether it exists, and its factors of each axis."""

    at: Array
    inside: Array
    weights: tuple[Array, ...]
    slopes: tuple[Array, ...]


class _Read(NamedTuple):
    x: Array
    taps: list[_Taps]

    def corners(self) -> Iterator[_Corner]:
        """Every combination of one tap for each axis: the corners of the cell that a place lies in."""
        N, C, *sizes = self.x.shape
        start = np.arange(N * C).reshape(N, C, *[1] * len(sizes)) * math.prod(sizes)
        for chosen in itertools.product(*(zip(*taps, strict=True) for taps in self.taps)):
            pixel, inside, weights, slopes = zip(*chosen, strict=True)
            at = start + np.ravel_multi_index(pixel, sizes)[:, None]
            yield _Corner(at, np.logical_and.reduce(inside)[:, None], weights, slopes)


def _product(*factors: Array) -> Array:
    return functools.reduce(np.multiply, factors)


@dataclass(frozen=True)
class GridSample(Layer[_Read]):
    r"""y[n, :, p] = Σⱼ wⱼ x[n, :, j], the weights wⱼ = Πₐ wⱼₐ(grid[n, p, a]) one factor for each axis of the image.

    dx[n, :, j] = Σₚ wⱼ dy[n, :, p],   dgrid[n, p, a] = Σⱼ (∂wⱼ/∂a) Σ_c dy[n, c, p] x[n, c, j].
    The grid's last axis is (x, y) or (x, y, z), the image's last axis first; −1 and 1 are the outer rims of the image, or
    with ``align_corners`` the centres of the outer pixels. A place beyond the image reads zeros, or is moved to its
    border, or mirrored there. On the line between two cells the slope is that of the cell to the right.
    Shapes: x (N, C, H, W), grid (N, rows, columns, 2), y (N, C, rows, columns); or
    x (N, C, D, H, W), grid (N, planes, rows, columns, 3), y (N, C, planes, rows, columns).
    Torch: torch.nn.functional.grid_sample. Paper: Jaderberg et al. 2015.
    """

    mode: Literal["bilinear", "nearest", "bicubic"] = "bilinear"
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros"
    align_corners: bool | None = None

    def inputs(self) -> dict[str, str]:
        if self.mode == "bicubic":
            return {"x": "(N, C, H, W)", "grid": "(N, rows, columns, 2)"}
        return {
            "x": "(N, C, H, W) or (N, C, D, H, W)",
            "grid": "(N, rows, columns, 2) or (N, planes, rows, columns, 3)",
        }

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, C, rows, columns)" + (" or (N, C, planes, rows, columns)" if self.mode != "bicubic" else "")}

    def check(self, *inputs: Any, **options: Any) -> None:
        """There must be a pixel to read."""
        if not all(inputs[0].shape[2:]):
            raise ShapeError(f"{self!r}: x has shape {inputs[0].shape}; wanted at least one pixel on every axis.")

    def taps(self, grid: Array, size: int) -> _Taps:
        """Along one axis of the image, from grid coordinates: a place in pixels, the pixels around it, their weights."""
        scale, shift = ((size - 1) / 2, 0.0) if self.align_corners else (size / 2, 0.5)
        place, slope = (grid + 1) * scale - shift, np.full_like(grid, scale)
        if self.mode != "bicubic":
            place, sign = self.kept(place, size)
            slope *= sign
        base = np.rint(place) if self.mode == "nearest" else np.floor(place)
        reach = {"nearest": (0, 1), "bilinear": (0, 2), "bicubic": (-1, 3)}[self.mode]
        index = np.stack([base + k for k in range(*reach)])
        if self.mode == "nearest":
            weight, steepness = np.ones_like(index), np.zeros_like(index)
        elif self.mode == "bilinear":
            weight, steepness = 1 - np.abs(place - index), np.stack([-slope, slope])
        else:
            weight, steepness = keys(place - index), keys_slope(place - index) * slope
            index, _ = self.kept(index, size)
        inside = (index >= 0) & (index <= size - 1)
        return _Taps(np.where(inside, index, 0).astype(np.intp), inside, weight, steepness)

    def kept(self, place: Array, size: int) -> tuple[Array, Array]:
        """Places moved into the image, and the slope of that: −1 where mirrored, 0 on the border and beyond it."""
        slope = np.ones_like(place)
        if self.padding_mode == "zeros":
            return place, slope
        if self.padding_mode == "reflection":  # a triangle wave between the outer centres, or the outer rims
            low, span = (0.0, max(size - 1, 1)) if self.align_corners else (-0.5, size)
            phase = np.mod(place - low, 2 * span)
            place, slope = np.minimum(phase, 2 * span - phase) + low, np.copysign(slope, span - phase)
        return np.fmin(np.fmax(place, 0), size - 1), slope * ((place > 0) & (place < size - 1))

    def forward(self, state: Mapping[str, Array], x: Array, grid: Array) -> Forward[_Read]:
        coordinates = np.moveaxis(grid, -1, 0)[::-1]
        read = _Read(x, [self.taps(g, L) for g, L in zip(coordinates, x.shape[2:], strict=True)])
        y = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
        for at, inside, weights, _ in read.corners():
            y += _product(*weights)[:, None] * np.where(inside, x.take(at), 0)
        return Forward(y, saved=read)

    def backward(self, saved: _Read, dy: Array) -> Grads:
        r"""Every corner j adds wⱼ xⱼ to y: dxⱼ collects wⱼ dy; a coordinate a turns wⱼ = wⱼₐ · (the other factors).

        So dgrid[a] = Σⱼ (∂wⱼₐ/∂a) · (the other factors) · Σ_c dy xⱼ: the slope of the image at that place, times dy.
        """
        x = saved.x
        dx, dgrid = np.zeros(x.size, x.dtype), np.zeros((len(saved.taps), *dy.shape[:1], *dy.shape[2:]), x.dtype)
        for at, inside, weights, slopes in saved.corners():
            np.add.at(dx, at.ravel(), np.where(inside, _product(*weights)[:, None] * dy, 0).ravel())
            if self.mode != "nearest":  # whose weights do not move
                dw = (dy * np.where(inside, x.take(at), 0)).sum(1)
                for a, slope in enumerate(slopes):
                    dgrid[a] += _product(dw, *weights[:a], slope, *weights[a + 1 :])
        return Grads(dx.reshape(x.shape), np.moveaxis(dgrid[::-1], 0, -1).copy())


@dataclass(frozen=True)
class AffineGrid(Layer[Array]):
    r"""grid[n, p] = θ[n] (p, 1), p the places of an even grid from −1 to 1;   dθ[n] = Σₚ dgrid[n, p] (p, 1)ᵀ.

    ``size`` is that of the image to be sampled with it, (N, C, H, W) or (N, C, D, H, W). The places p = (x, y) or
    (x, y, z) are the centres of its pixels, seen from rims at ±1, or with ``align_corners`` from outer centres at ±1.
    Shapes: theta (N, 2, 3), grid (N, H, W, 2); or theta (N, 3, 4), grid (N, D, H, W, 3).
    Torch: torch.nn.functional.affine_grid. Paper: Jaderberg et al. 2015.
    """

    size: tuple[int, int, int, int] | tuple[int, int, int, int, int]
    align_corners: bool | None = None

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield min(self.size) >= 1, "size", "integers of at least 1"

    def inputs(self) -> dict[str, str]:
        rank = len(self.size) - 2
        return {"theta": f"({self.size[0]}, {rank}, {rank + 1})"}

    def outputs(self) -> dict[str, str]:
        return {"grid": f"({', '.join(map(str, [self.size[0], *self.size[2:], len(self.size) - 2]))})"}

    def places(self, dtype: Any) -> Array:
        """(p, 1) for every pixel, (pixels, rank + 1)."""
        steps = [np.linspace(-1, 1, n) if n > 1 else np.zeros(n) for n in self.size[2:]]
        if not self.align_corners:
            steps = [s * ((n - 1) / n) for s, n in zip(steps, self.size[2:], strict=True)]
        p = [axis.ravel() for axis in np.meshgrid(*steps, indexing="ij")]
        return np.stack([*p[::-1], np.ones_like(p[0])], 1).astype(dtype)

    def forward(self, state: Mapping[str, Array], theta: Array) -> Forward[Array]:
        places = self.places(theta.dtype)
        grid = places @ theta.swapaxes(1, 2)
        return Forward(grid.reshape(self.size[0], *self.size[2:], len(self.size) - 2), saved=places)

    def backward(self, saved: Array, dgrid: Array) -> Grads:
        r"""One matrix serves every pixel, so its gradient sums over them: dθ = Σₚ dgridₚ (p, 1)ᵀ."""
        N, *_, rank = dgrid.shape
        return Grads(dgrid.reshape(N, len(saved), rank).swapaxes(1, 2) @ saved)


@dataclass(frozen=True)
class GumbelSoftmax(Layer[Array]):
    r"""y = softmax((x + g) / τ) along dim, g Gumbel noise;   dx = y (dy − Σ dy y) / τ.

    The largest x + g is a sample of the classes with probabilities softmax(x); as τ → 0, y becomes that choice. With
    ``hard`` y is the choice itself, one-hot, and dx is taken as if it were the softmax: the *straight-through* estimate,
    since the choice's own derivative is zero wherever it has one.
    Shapes: x (*), gumbel (*), y (*). The noise is an input: ``gumbel = layer.draw(rng, x.shape)``.
    Torch: torch.nn.functional.gumbel_softmax. Papers: Jang, Gu & Poole 2017; Maddison, Mnih & Teh 2017.
    """

    tau: float = 1.0
    hard: bool = False
    dim: int = -1

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.tau > 0, "tau", "a temperature above 0"

    def inputs(self) -> dict[str, str]:
        return {"x": "(*)", "gumbel": "(*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*)"}

    def draw(self, rng: np.random.Generator, shape: Sequence[int], dtype: Any = np.float64) -> Array:
        """The noise of one pass: −log E, E exponential."""
        return np.asarray(rng.gumbel(size=shape), dtype)

    def check(self, *inputs: Any, **options: Any) -> None:
        """The axis must exist."""
        if not -inputs[0].ndim <= self.dim < inputs[0].ndim:
            raise ShapeError(f"{self!r}: x has shape {inputs[0].shape}; wanted an axis {self.dim}. Choose dim within its axes.")

    def forward(self, state: Mapping[str, Array], x: Array, gumbel: Array) -> Forward[Array]:
        soft = softmax((x + gumbel) / self.tau, self.dim)
        if not self.hard:
            return Forward(soft, saved=soft)
        one_hot = np.zeros_like(soft)
        np.put_along_axis(one_hot, soft.argmax(self.dim, keepdims=True), 1, self.dim)
        return Forward(one_hot + (soft - soft), saved=soft)  # a row with a NaN has no largest entry

    def backward(self, saved: Array, dy: Array) -> Grads:
        r"""The softmax's gradient at (x + g) / τ, through the division; hard or not."""
        return Grads(softmax_backward(saved, dy, self.dim) / self.tau, None)
