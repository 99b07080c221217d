"""What the poolings share: planes, windows on a grid, and the one backward pass that all maxima have.

A maximum is a choice: y = x[where]. Its backward pass is the transpose of that choice, dx[where] += dy, so that one max
pooling differs from another only in the windows it looks at. A sum over windows has its transpose, too: forward adds
every tap of a window to the window, backward adds every window to each of its taps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refbp.contract import Array, Layer, Saved
from refbp.errors import ShapeError
from refbp.shapes import Shape

Sizes = int | tuple[int, ...]
Index = tuple[Any, ...]
SPACE = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


class Pooling(Layer[Saved]):
    """A layer that treats every plane alike: a batch, which may be missing, the channels, and ``rank`` axes of space."""

    rank: ClassVar[int]

    def planes(self, suffix: str = "") -> str:
        """The pattern of planes: (N, C, H, W) or (C, H, W) where rank is 2."""
        space = ", ".join(axis + suffix for axis in SPACE[self.rank])
        return f"(N, C, {space}) or (C, {space})"

    def inputs(self) -> dict[str, str]:
        return {"x": self.planes()}

    def outputs(self) -> dict[str, str]:
        y = self.planes("_out")
        return {"y": y} | ({"indices": f"index {y}"} if getattr(self, "return_indices", False) else {})

    def each(self, sizes: Any) -> tuple[Any, ...]:
        """One size per axis of space; a single one is meant for all of them."""
        return sizes if isinstance(sizes, tuple) else (sizes,) * self.rank

    def at_least(self, least: int, *names: str) -> Iterator[tuple[bool, str, str]]:
        """The rule of an argument that is a size, or one for each axis of space; None is left to its type."""
        for name in names:
            sizes = self.each(getattr(self, name))
            fits = len(sizes) == self.rank and all(size is None or size >= least for size in sizes)
            yield fits, name, f"an integer of at least {least}, or {self.rank} of them in a tuple"

    def check(self, *inputs: Any, **options: Any) -> None:
        """Only the batch may be empty."""
        if 0 in inputs[0].shape[-self.rank - 1 :]:
            raise ShapeError(
                f"{self!r}: x has shape {inputs[0].shape}; wanted a channel at least, and a position at least on"
                f" each of {', '.join(SPACE[self.rank])}. Only the batch may be empty."
            )


class Axis(NamedTuple):
    """The windows along one axis: tap t of window w reads position w·stride − padding + t·dilation."""

    length: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    ceil: bool

    @property
    def windows(self) -> int:
        """How many windows fit; with ``ceil`` another may hang over the end, if it begins in x or in the padding before."""
        room = self.length + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        count = (room + self.ceil * (self.stride - 1)) // self.stride + 1
        return count - (self.ceil and (count - 1) * self.stride >= self.length + self.padding)

    @property
    def starts(self) -> Array:
        """The position of each window's tap 0."""
        return np.arange(self.windows) * self.stride - self.padding

    @property
    def reach(self) -> Array:
        """How far each tap is from tap 0."""
        return np.arange(self.kernel) * self.dilation

    def tap(self, t: int) -> tuple[slice, slice]:
        """The windows whose tap t lies inside x, and the positions where it does: two slices, and no padded copy of x."""
        ahead = t * self.dilation - self.padding
        first = max(0, -(ahead // self.stride))
        count = max(0, min(self.windows, (self.length - 1 - ahead) // self.stride + 1) - first)
        begin = first * self.stride + ahead
        return slice(first, first + count), slice(begin, begin + count * self.stride, self.stride)

    def covered(self, padded: bool) -> Array:
        """How many positions each window covers, with or without the padding; never those beyond it (dilation 1)."""
        margin = self.padding if padded else 0
        ends = np.minimum(self.starts + self.kernel, self.length + margin)
        return np.asarray(ends - np.maximum(self.starts, -margin))


class Grid(Pooling[Saved]):
    """A pooling whose windows lie on a grid."""

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0
    dilation: Sizes = 1
    ceil_mode: bool = False

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least(1, "kernel_size", "stride", "dilation")
        yield from self.at_least(0, "padding")
        halved = zip(self.each(self.padding), self.each(self.kernel_size), strict=True)
        yield all(2 * p <= k for p, k in halved), "padding", "at most half of kernel_size"

    @property
    def whole(self) -> bool:
        """Whether x must be as long as a window, even where it is padded; torch wants that of volumes that are averaged."""
        return False

    def axes(self, shape: Shape) -> tuple[Axis, ...]:
        """The windows along each axis of space of an x of this shape."""
        step = self.stride or self.kernel_size
        sizes = map(self.each, (self.kernel_size, step, self.padding, self.dilation, self.ceil_mode))
        return tuple(map(Axis, shape[-self.rank :], *sizes))

    def check(self, *inputs: Any, **options: Any) -> None:
        """There must be a window, and something in every window.

        (torch lets a dilated window step over all of x, gives it −∞ and an index outside the plane, and then adds its
        gradient to the next plane, or to memory that is not the gradient's.)
        """
        super().check(*inputs, **options)
        shape = inputs[0].shape
        for name, axis in zip(SPACE[self.rank], self.axes(shape), strict=True):
            least = axis.kernel if self.whole else int(axis.reach[-1]) + 1 - 2 * axis.padding
            if axis.windows < 1 or (self.whole and axis.length < least):
                raise ShapeError(
                    f"{self!r}: x has shape {shape}, of which {name} has {axis.length}; wanted at least {least}, so that"
                    f" a window fits. Pad x, or choose a smaller kernel_size."
                )
            read = axis.starts[:, None] + axis.reach
            if not ((read >= 0) & (read < axis.length)).any(1).all():
                raise ShapeError(
                    f"{self!r}: x has shape {shape}; wanted {name} so long that every window has a tap inside x:"
                    f" one that has none has no maximum, and no index. Choose a smaller dilation or padding."
                )


def taps(axes: Sequence[Axis]) -> list[tuple[Index, Index]]:
    """For each tap of a window, row by row: which windows have it inside x, and what they read there."""
    each = itertools.product(*([axis.tap(t) for t in range(axis.kernel)] for axis in axes))
    return [((..., *(windows for windows, _ in tap)), (..., *(read for _, read in tap))) for tap in each]


def pooled(shape: Shape, axes: Sequence[Axis]) -> Shape:
    """The shape of one number per window, for an x of this shape."""
    return (*shape[: -len(axes)], *(axis.windows for axis in axes))


def flat(lengths: Sequence[int], positions: Sequence[Array]) -> Array:
    """Every combination of a position per axis, as an index into the flattened plane: ((d·H + h)·W + w)."""
    place = np.zeros((), np.int64)
    for length, position in zip(lengths, positions, strict=True):
        place = np.add.outer(place * length, position)
    return place


# Maxima ---------------------------------------------------------------------------------------------------------------


def largest(x: Array, axes: Sequence[Axis]) -> Array:
    """The largest value in every window; NaN where there is one."""
    y = np.full(pooled(x.shape, axes), -math.inf, x.dtype)
    for windows, read in taps(axes):
        np.maximum(y[windows], x[read], out=y[windows])
    return y


def places(x: Array, y: Array, axes: Sequence[Axis]) -> Array:
    """Where in x's flattened plane each window's largest value y stands: the first of equals, the last NaN.

    A window is missing its value until some tap equals y. Counting the taps after which it is still missing gives the
    number of the first that is equal, without a branch or an index; only a NaN equals nothing, and is missed throughout.
    """
    each = taps(axes)
    tap = np.zeros(y.shape, np.min_scalar_type(len(each)))
    missing = np.ones(y.shape, bool)
    for windows, read in each:
        missing[windows] &= x[read] != y[windows]
        tap += missing
    if missing.any():
        for t, (windows, read) in enumerate(each):
            tap[windows] = np.where(np.isnan(x[read]), t, tap[windows])
    lengths = [axis.length for axis in axes]
    return flat(lengths, [axis.starts for axis in axes]) + flat(lengths, [axis.reach for axis in axes]).ravel()[tap]


def first_largest(x: Array, axis: int) -> Array:
    """The index of the largest value along an axis, which is kept: the first of equals, the last NaN."""
    first = x.argmax(axis, keepdims=True)
    lost = np.isnan(x)
    if lost.any():
        last = x.shape[axis] - 1 - np.flip(lost, axis).argmax(axis, keepdims=True)
        first = np.where(lost.any(axis, keepdims=True), last, first)
    return np.asarray(first)


def scatter(dy: Array, where: Array, shape: Shape, rank: int) -> Array:
    """dx[where] += dy, plane by plane: where windows overlap, one x may have been the largest of several."""
    planes, size = math.prod(shape[:-rank]), math.prod(shape[-rank:])
    dx = np.zeros(planes * size, dy.dtype)
    begin = size * np.arange(planes)[:, None]
    np.add.at(dx, (begin + where.reshape(planes, math.prod(where.shape[-rank:]))).ravel(), dy.ravel())
    return dx.reshape(shape)
