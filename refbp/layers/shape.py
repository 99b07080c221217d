"""Layers that only rearrange: each value goes to one place or to several, and its gradient comes back from there.

Forward moves, so backward moves back. Where forward copies a value into several places, backward adds up what those
places send: ``Unfold`` copies and ``Fold`` adds, and each is the other's backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.shapes import Shape


def moved_back(dy: Array, dx: Array) -> Grads:
    """The gradient of a rearrangement that takes any numbers: none of integers."""
    return Grads(dx if dy.dtype.kind == "f" else None)


@dataclass(frozen=True)
class Flatten(Layer[Shape]):
    r"""Axes start_dim to end_dim become one;   dx is dy in x's shape.

    Shapes: x (*, S₁, …, Sₙ, *), y (*, ∏ S, *). Torch: torch.nn.Flatten.
    """

    start_dim: int = 1
    end_dim: int = -1

    def inputs(self) -> dict[str, str]:
        return {"x": "any (*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*flat)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The two axes must exist, in order."""
        rank = max(inputs[0].ndim, 1)
        start, end = (d + rank if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < rank:
            raise ShapeError(
                f"{self!r}: x has shape {inputs[0].shape}; wanted axes {self.start_dim} to {self.end_dim} to exist,"
                f" in that order. Choose start_dim and end_dim within {-rank} to {rank - 1}."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        rank = max(x.ndim, 1)
        shape = x.shape or (1,)
        start, end = self.start_dim % rank, self.end_dim % rank
        flat = (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
        return Forward(x.reshape(flat).copy(), saved=x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        return moved_back(dy, dy.reshape(saved).copy())


@dataclass(frozen=True)
class Unflatten(Layer[Shape]):
    r"""Axis dim becomes the axes unflattened_size, one of which may be −1: whatever is left;   dx is dy in x's shape.

    Shapes: x (*, ∏ S, *), y (*, S₁, …, Sₙ, *). Torch: torch.nn.Unflatten (its named axes have no NumPy counterpart).
    """

    dim: int
    unflattened_size: tuple[int, ...]

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        fits = len(self.unflattened_size) > 0 and min(self.unflattened_size) >= -1 and self.unflattened_size.count(-1) <= 1
        yield fits, "unflattened_size", "one or more sizes, at most one of them -1"

    def inputs(self) -> dict[str, str]:
        return {"x": "any (*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*unflattened)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The axis must exist, and its size be the product of the new ones."""
        shape, known = inputs[0].shape, math.prod(s for s in self.unflattened_size if s != -1)
        if not -len(shape) <= self.dim < len(shape):
            raise ShapeError(f"{self!r}: x has shape {shape}; wanted an axis {self.dim}. Choose dim within its axes.")
        size = shape[self.dim]
        fits = known > 0 and size % known == 0 if -1 in self.unflattened_size else size == known
        if not fits:
            raise ShapeError(
                f"{self!r}: x has shape {shape}, {size} on axis {self.dim}; wanted the product of {self.unflattened_size}."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        axis, known = self.dim % x.ndim, math.prod(s for s in self.unflattened_size if s != -1)
        sizes = [x.shape[axis] // known if s == -1 else s for s in self.unflattened_size]
        return Forward(x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :]).copy(), saved=x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        return moved_back(dy, dy.reshape(saved).copy())


# Channels for pixels --------------------------------------------------------------------------------------------------


def pixels_from_channels(x: Array, r: int) -> Array:
    """(…, C r², H, W) → (…, C, H r, W r): the channel c r² + i r + j becomes the pixel (i, j) of every r × r cell."""
    *batch, channels, H, W = x.shape
    cells = x.reshape(*batch, channels // (r * r), r, r, H, W)
    return np.moveaxis(cells, (-4, -3), (-3, -1)).copy().reshape(*batch, channels // (r * r), H * r, W * r)


def channels_from_pixels(x: Array, r: int) -> Array:
    """(…, C, H r, W r) → (…, C r², H, W): the way back."""
    *batch, channels, H, W = x.shape
    cells = x.reshape(*batch, channels, H // r, r, W // r, r)
    return np.moveaxis(cells, (-3, -1), (-4, -3)).copy().reshape(*batch, channels * r * r, H // r, W // r)


@dataclass(frozen=True)
class PixelShuffle(Layer[None]):
    r"""y[c, h r + i, w r + j] = x[c r² + i r + j, h, w], r = upscale_factor;   dx is dy, every pixel in its channel again.

    Shapes: x (*, C r², H, W), y (*, C, H r, W r).
    Torch: torch.nn.PixelShuffle, whose backward refuses an empty batch. Paper: Shi et al. 2016.
    """

    upscale_factor: int

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.upscale_factor >= 1, "upscale_factor", "an integer of at least 1"

    def inputs(self) -> dict[str, str]:
        return {"x": "any (*, C, H, W)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*, shuffled, high, wide)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The channels must be as many as the pixels of whole cells."""
        if inputs[0].shape[-3] % self.upscale_factor**2:
            raise ShapeError(
                f"{self!r}: x has shape {inputs[0].shape}; wanted a multiple of {self.upscale_factor}² ="
                f" {self.upscale_factor**2} channels, on axis -3."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[None]:
        return Forward(pixels_from_channels(x, self.upscale_factor), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        return moved_back(dy, channels_from_pixels(dy, self.upscale_factor))


@dataclass(frozen=True)
class PixelUnshuffle(Layer[None]):
    r"""y[c r² + i r + j, h, w] = x[c, h r + i, w r + j], r = downscale_factor;   dx is dy, every channel a pixel again.

    Shapes: x (*, C, H r, W r), y (*, C r², H, W).
    Torch: torch.nn.PixelUnshuffle, whose shape is wrong for an empty batch. Paper: Shi et al. 2016.
    """

    downscale_factor: int

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.downscale_factor >= 1, "downscale_factor", "an integer of at least 1"

    def inputs(self) -> dict[str, str]:
        return {"x": "any (*, C, H, W)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*, stacked, low, narrow)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """Height and width must be whole cells."""
        if inputs[0].shape[-2] % self.downscale_factor or inputs[0].shape[-1] % self.downscale_factor:
            raise ShapeError(
                f"{self!r}: x has shape {inputs[0].shape}; wanted multiples of {self.downscale_factor} on the last two axes."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[None]:
        return Forward(channels_from_pixels(x, self.downscale_factor), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        return moved_back(dy, pixels_from_channels(dy, self.downscale_factor))


@dataclass(frozen=True)
class ChannelShuffle(Layer[None]):
    r"""y[j g + i] = x[i C/g + j], g = groups: the channels are dealt in turns;   dx collects every group again.

    Shapes: x (N, C, L, *), y as x. Torch: torch.nn.ChannelShuffle. Paper: Zhang et al. 2018.
    """

    groups: int

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.groups >= 1, "groups", "an integer of at least 1"

    def inputs(self) -> dict[str, str]:
        return {"x": "any (N, C, L, *)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "any (N, C, L, *)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The groups must be of equal size."""
        if inputs[0].shape[1] % self.groups:
            raise ShapeError(f"{self!r}: x has shape {inputs[0].shape}; wanted a multiple of {self.groups} on axis 1.")

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[None]:
        return Forward(self._dealt(x, self.groups), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        r"""As a matrix, g × C/g was transposed; transposing C/g × g puts it back."""
        return moved_back(dy, self._dealt(dy, dy.shape[1] // self.groups))

    def _dealt(self, x: Array, rows: int) -> Array:
        N, C, *rest = x.shape
        return x.reshape(N, rows, C // max(rows, 1), *rest).swapaxes(1, 2).copy().reshape(x.shape)


# Windows as columns ---------------------------------------------------------------------------------------------------


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


class Windows(NamedTuple):
    """A window of k × k taps, d apart, that moves in strides of s over an image padded with p zeros all round."""

    k: tuple[int, int]
    d: tuple[int, int]
    p: tuple[int, int]
    s: tuple[int, int]

    def grid(self, image: Shape) -> tuple[int, int]:
        """How many windows fit below each other and side by side: ⌊(L + 2p − d(k − 1) − 1) / s⌋ + 1 on each axis."""
        high, wide = ((L + 2 * p - d * (k - 1) - 1) // s + 1 for L, k, d, p, s in zip(image, *self, strict=True))
        return high, wide

    def taps(self, grid: Shape) -> Iterator[tuple[int, int, slice, slice]]:
        """For each tap (i, j), where in the padded image it lies as the window moves: from i d on, in strides of s."""
        for i, j in np.ndindex(self.k):
            yield i, j, *(slice(t * d, t * d + s * n, s) for t, d, s, n in zip((i, j), self.d, self.s, grid, strict=True))

    def read(self, x: Array) -> Array:
        """(…, C, H, W) → (…, C k k, windows): every window is copied into a column."""
        *batch, C, H, W = x.shape
        grid, padded = self.grid((H, W)), self._padded(x.shape, x.dtype)
        self._inside(padded)[...] = x
        columns = np.empty((*batch, C, *self.k, *grid), x.dtype)
        for i, j, rows, cols in self.taps(grid):
            columns[..., i, j, :, :] = padded[..., rows, cols]
        return columns.reshape(*batch, C * math.prod(self.k), math.prod(grid))

    def add(self, columns: Array, image: Shape) -> Array:
        """(…, C k k, windows) → (…, C, H, W): every column is added where its window was read."""
        *batch, height, _ = columns.shape
        grid, C = self.grid(image), height // math.prod(self.k)
        columns, padded = columns.reshape(*batch, C, *self.k, *grid), self._padded((*batch, C, *image), columns.dtype)
        for i, j, rows, cols in self.taps(grid):
            padded[..., rows, cols] += columns[..., i, j, :, :]
        return self._inside(padded).copy()

    def _padded(self, shape: Shape, dtype: Any) -> Array:
        *rest, H, W = shape
        return np.zeros((*rest, H + 2 * self.p[0], W + 2 * self.p[1]), dtype)

    def _inside(self, padded: Array) -> Array:
        (ph, pw), (H, W) = self.p, padded.shape[-2:]
        return padded[..., ph : H - ph, pw : W - pw]

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        """What must hold of the four, under torch's names."""
        yield min(self.k) >= 1, "kernel_size", "integers of at least 1"
        yield min(self.d) >= 1, "dilation", "integers of at least 1"
        yield min(self.p) >= 0, "padding", "integers of at least 0"
        yield min(self.s) >= 1, "stride", "integers of at least 1"


@dataclass(frozen=True)
class Unfold(Layer[Shape]):
    r"""Every window of the image becomes a column of y;   dx = Fold(dy): each column is added where its window was.

    Shapes: x (N, C, H, W) or (C, H, W), y (N, C k₁ k₂, windows) or (C k₁ k₂, windows), windows row by row.
    Torch: torch.nn.Unfold.
    """

    kernel_size: int | tuple[int, int]
    dilation: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    stride: int | tuple[int, int] = 1

    @property
    def windows(self) -> Windows:
        """The window, every size a pair."""
        return Windows(*map(_pair, (self.kernel_size, self.dilation, self.padding, self.stride)))

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        return self.windows.rules()

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, C, H, W) or (C, H, W)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, rows, windows) or (rows, windows)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """At least one window must fit, into an image that has channels and pixels."""
        shape = inputs[0].shape
        if not all(shape[-3:]) or min(self.windows.grid(shape[-2:])) < 1:
            raise ShapeError(
                f"{self!r}: x has shape {shape}; wanted an image that holds at least one window. Enlarge it, or the padding."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        return Forward(self.windows.read(x), saved=x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        r"""A pixel was copied into every window over it, so its gradient is the sum of what those columns send."""
        return Grads(self.windows.add(dy, saved[-2:]))


@dataclass(frozen=True)
class Fold(Layer[None]):
    r"""Every column of x is added to the image where its window lies;   dx = Unfold(dy): each window is read again.

    Shapes: x (N, C k₁ k₂, windows) or (C k₁ k₂, windows), y (N, C, *output_size) or (C, *output_size).
    Torch: torch.nn.Fold. Fold(Unfold(x)) is not x, but x times the number of windows over each pixel.
    """

    output_size: int | tuple[int, int]
    kernel_size: int | tuple[int, int]
    dilation: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    stride: int | tuple[int, int] = 1

    @property
    def windows(self) -> Windows:
        """The window, every size a pair."""
        return Windows(*map(_pair, (self.kernel_size, self.dilation, self.padding, self.stride)))

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.windows.rules()
        fits = min(_pair(self.output_size)) >= 1 and min(self.windows.grid(_pair(self.output_size))) >= 1
        yield fits, "output_size", "an image that holds at least one window"

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, rows, windows) or (rows, windows)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, C, H, W) or (C, H, W)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """One column for each window, in it one row for each tap of each channel."""
        taps, windows = math.prod(self.windows.k), math.prod(self.windows.grid(_pair(self.output_size)))
        *_, rows, columns = inputs[0].shape
        if rows == 0 or rows % taps or columns != windows:
            raise ShapeError(
                f"{self!r}: x has shape {inputs[0].shape}; wanted (…, C·{taps}, {windows}): {taps} taps for each channel"
                f" in every one of {windows} windows."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[None]:
        return Forward(self.windows.add(x, _pair(self.output_size)), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        r"""A column's entry was added to one pixel, so it receives that pixel's gradient; in the padding, zero."""
        return Grads(self.windows.read(dy))
