"""Resampling: an image at another size. It is linear in the image, and axis by axis.

Along one axis, yᵢ = Σⱼ Rᵢⱼ xⱼ: every new pixel is a weighted sum of a few old ones around the *source*, the place that
the mode assigns to it. So y = (R₁ ⊗ R₂ ⊗ …) x, and dx = (R₁ᵀ ⊗ R₂ᵀ ⊗ …) dy: the gradient is a resampling too, by the
transposed matrices. Nothing else is needed, in any number of dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.numerics import along
from refbp.shapes import Shape


class Matrix(NamedTuple):
    """A matrix of which few entries are not zero: ``value[e]`` in row ``row[e]`` and column ``column[e]``."""

    rows: int
    row: Array
    column: Array
    value: Array

    def apply(self, x: Array, axis: int) -> Array:
        """The matrix times x along one axis: every row's first entry, then the second of those that have one, …"""
        order = np.argsort(self.row, kind="stable")
        row = self.row[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        value = self.value.astype(x.dtype)
        y = np.zeros((*x.shape[:axis], self.rows, *x.shape[axis + 1 :]), x.dtype)
        for k in range(int(place.max(initial=-1)) + 1):
            entry = order[place == k]
            some = self.row[entry] if len(entry) < self.rows else slice(None)
            y[(slice(None),) * axis + (some,)] += x.take(self.column[entry], axis) * along(value[entry], axis, x)
        return y

    def transposed(self, columns: int) -> Matrix:
        """Rows for columns and columns for rows."""
        return Matrix(columns, self.column, self.row, self.value)


def _matrix(columns: Array, values: Array) -> Matrix:
    """From what each row holds: columns and values of shape (rows, entries)."""
    rows, entries = columns.shape
    return Matrix(rows, np.repeat(np.arange(rows), entries), columns.astype(np.intp).ravel(), values.ravel())


def centres(n: int, ratio: float) -> Array:
    """The sources of the new pixels' centres, (i + ½) · ratio − ½."""
    return (np.arange(n) + 0.5) * ratio - 0.5


def corners(n: int, size: int) -> Array:
    """The sources of n pixels of which the first and the last lie on the old first and last, i (L − 1) / (n − 1)."""
    return np.arange(n) * ((size - 1) / max(n - 1, 1))


def nearest(n: int, size: int, ratio: float, shift: float, dtype: Any) -> Matrix:
    """One pixel, at ⌊(i + shift) · ratio⌋.

    In this order of rounding, and to float32 before the floor: so torch finds the pixel, and a product that falls
    short of an integer by a rounding error is that integer.
    """
    source = ((np.arange(n) + shift) * float(dtype.type(ratio)) - shift).astype(dtype)
    index = np.floor((source + shift).astype(np.float32))
    return _matrix(np.minimum(index, size - 1)[:, None], np.ones((n, 1)))


def linear(source: Array, size: int) -> Matrix:
    """The two pixels around the source, each the heavier the nearer; beyond the rim, the rim's pixel."""
    n = len(source)
    if n == size:  # a copy, whatever the factor was
        return _matrix(np.arange(n)[:, None], np.ones((n, 1)))
    source = np.maximum(source, 0)
    low = np.minimum(np.floor(source), size - 1)
    t = np.minimum(source - low, 1)
    return _matrix(np.stack([low, np.minimum(low + 1, size - 1)], 1), np.stack([1 - t, t], 1))


def cubic(source: Array, size: int) -> Matrix:
    """The four pixels around the source, weighted by Keys' kernel; beyond the rim, the rim's pixel again."""
    index = np.floor(source)[:, None] + np.arange(-1, 3)
    return _matrix(np.clip(index, 0, size - 1), keys(source[:, None] - index))


def keys(s: Array, a: float = -0.75) -> Array:
    """Keys' cubic kernel: a pixel's weight at distance |s| < 2. It is 1 at 0, 0 at ±1 and ±2, and its slope continuous."""
    s = np.abs(s)
    return np.where(s <= 1, ((a + 2) * s - (a + 3)) * s * s + 1, a * (((s - 5) * s + 8) * s - 4))


def keys_slope(s: Array, a: float = -0.75) -> Array:
    """Its derivative."""
    r = np.abs(s)
    return np.sign(s) * np.where(r <= 1, (3 * (a + 2) * r - 2 * (a + 3)) * r, a * ((3 * r - 10) * r + 8))


def area(n: int, size: int) -> Matrix:
    """The mean of the pixels from ⌊i L / n⌋ to ⌈(i + 1) L / n⌉, as adaptive average pooling takes it."""
    start, stop = np.arange(n) * size // n, -(np.arange(1, n + 1) * -size // n)
    row = np.repeat(np.arange(n), stop - start)
    column = np.arange(len(row)) - np.searchsorted(row, row) + start[row]
    return Matrix(n, row, column, 1 / (stop - start)[row])


def _each(given: Any, shape: Shape) -> tuple[Any, ...]:
    """One value for each axis: those given, or the one given for all."""
    return given if isinstance(given, tuple) else (given,) * len(shape)


class _Saved(NamedTuple):
    shape: Shape
    matrices: tuple[Matrix, ...]


@dataclass(frozen=True)
class _Resampling(Layer[_Saved]):
    """What the three classes share: everything but the matrix of one axis."""

    size: int | tuple[int, ...] | None = None
    scale_factor: float | tuple[float, ...] | None = None

    def matrix(self, n: int, size: int, ratio: float, dtype: Any) -> Matrix:
        """R of one axis, from so many pixels to n, each of which is as long as ``ratio`` old ones."""
        raise NotImplementedError

    def keeps_factor(self) -> bool:
        """Whether a scale factor is also the ratio's inverse, and not only where the size comes from."""
        return True

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        one = (self.size is None) != (self.scale_factor is None)
        yield one, "size", f"either a size or a scale_factor ({self.scale_factor!r} was given)"
        yield self.size is None or np.min(self.size) >= 1, "size", "integers of at least 1"
        yield self.scale_factor is None or np.min(self.scale_factor) > 0, "scale_factor", "numbers above 0"

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, C, H, W)"}

    def outputs(self) -> dict[str, str]:
        return {"y": self.inputs()["x"]}

    def check(self, *inputs: Any, **options: Any) -> None:
        """One size or factor for each axis, and at least one pixel before and after."""
        shape = inputs[0].shape
        name, given = ("size", self.size) if self.size is not None else ("scale_factor", self.scale_factor)
        if isinstance(given, tuple) and len(given) != len(shape) - 2:
            raise ShapeError(f"{self!r}: x has shape {shape}; wanted one entry of {name} for each axis after the channels.")
        if not all(shape[1:]) or not all(self._sizes(shape[2:])):
            raise ShapeError(f"{self!r}: x has shape {shape}; wanted channels, and at least one pixel before and after.")

    def _sizes(self, shape: Shape) -> Shape:
        if self.size is not None:
            return _each(self.size, shape)
        return tuple(math.floor(L * s) for L, s in zip(shape, _each(self.scale_factor, shape), strict=True))

    def matrices(self, shape: Shape, dtype: Any) -> tuple[Matrix, ...]:
        """R for each axis after the channels, from L to n pixels, with the ratio L / n.

        Where a scale factor was given, the ratio is exactly its inverse: another number where L · factor is no integer.
        """
        sizes = self._sizes(shape)
        ratios = [L / n for L, n in zip(shape, sizes, strict=True)]
        if self.scale_factor is not None and self.keeps_factor():
            ratios = [1 / s for s in _each(self.scale_factor, shape)]
        wide = np.dtype(np.float32 if dtype == np.float32 else np.float64)
        return tuple(self.matrix(n, L, r, wide) for n, L, r in zip(sizes, shape, ratios, strict=True))

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Saved]:
        matrices = self.matrices(x.shape[2:], x.dtype)
        y = x
        for axis in reversed(range(len(matrices))):
            y = matrices[axis].apply(y, axis + 2)
        return Forward(y, _Saved(x.shape, matrices))

    def backward(self, saved: _Saved, dy: Array) -> Grads:
        r"""(R₁ ⊗ R₂)ᵀ = R₁ᵀ ⊗ R₂ᵀ: what an old pixel gave to new ones, it gets back from them, by the same weights."""
        dx = dy
        for axis, R in enumerate(saved.matrices):
            dx = R.transposed(saved.shape[axis + 2]).apply(dx, axis + 2)
        return Grads(dx)


@dataclass(frozen=True)
class Upsample(_Resampling):
    r"""y = (R₁ ⊗ R₂ ⊗ …) x, one matrix for each axis after the channels;   dx = (R₁ᵀ ⊗ R₂ᵀ ⊗ …) dy.

    A row of R holds the weights of one new pixel: one weight (nearest), two (linear, bilinear, trilinear), four
    (bicubic), or those of a mean (area). Despite its name it samples down as well, and then only area misses no pixel.
    Shapes: x (N, C, L), (N, C, H, W) or (N, C, D, H, W), y the same axes with size, or ⌊L · scale_factor⌋, pixels.
    Torch: torch.nn.Upsample. There nearest's backward finds the pixel in float32 whatever forward did, and copies where
    the size stays or doubles, whatever the factor (so does forward in 2-D when H + W ≤ 128); bicubic's copies where
    the size stays. Paper: Keys 1981, with a = −¾.
    """

    mode: Literal["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"] = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        interpolates = self.mode.endswith("linear") or self.mode == "bicubic"
        yield interpolates or self.align_corners is None, "align_corners", f"None for mode={self.mode!r}, which has no corners"
        recomputes = not (self.recompute_scale_factor and self.size is not None)
        yield recomputes, "recompute_scale_factor", f"None with size={self.size!r}, from which no scale is computed"

    def inputs(self) -> dict[str, str]:
        line, image, volume = "(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"
        one = {"linear": line, "bilinear": image, "bicubic": image, "trilinear": volume}
        return {"x": one.get(self.mode, f"{line} or {image} or {volume}")}

    def keeps_factor(self) -> bool:
        return not self.recompute_scale_factor

    def matrix(self, n: int, size: int, ratio: float, dtype: Any) -> Matrix:
        if self.mode == "area":
            return area(n, size)
        if self.mode.startswith("nearest"):
            return nearest(n, size, ratio, 0.5 if self.mode == "nearest-exact" else 0.0, dtype)
        source = corners(n, size) if self.align_corners else centres(n, ratio)
        return cubic(source, size) if self.mode == "bicubic" else linear(source, size)


@dataclass(frozen=True)
class UpsamplingNearest2d(_Resampling):
    r"""Upsample with mode="nearest": every pixel of y is one of x, at ⌊i L / n⌋;   dx sums dy over its copies.

    Shapes: x (N, C, H, W), y (N, C, *size). Torch: torch.nn.UpsamplingNearest2d.
    """

    def matrix(self, n: int, size: int, ratio: float, dtype: Any) -> Matrix:
        return nearest(n, size, ratio, 0.0, dtype)


@dataclass(frozen=True)
class UpsamplingBilinear2d(_Resampling):
    r"""Upsample with mode="bilinear" and aligned corners: y at i (L − 1) / (n − 1);   dx returns dy by the same weights.

    Shapes: x (N, C, H, W), y (N, C, *size). Torch: torch.nn.UpsamplingBilinear2d.
    """

    def matrix(self, n: int, size: int, ratio: float, dtype: Any) -> Matrix:
        return linear(corners(n, size), size)
