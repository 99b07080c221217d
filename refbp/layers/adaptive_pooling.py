"""Pooling to a given size: boxes that share the plane evenly, and windows at random distances."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from refbp.contract import Array, Forward, Grads, Saved, State
from refbp.errors import ShapeError
from refbp.layers._pooling import SPACE, Index, Pooling, Sizes, first_largest, flat, scatter
from refbp.shapes import Shape

Samples = tuple[Any, ...] | None  # what torch takes as a tensor and keeps in its state_dict


def _bins(length: int, count: int) -> list[slice]:
    """Bin i covers [⌊i·length/count⌋, ⌈(i+1)·length/count⌉): neighbours share a position where count does not divide length."""
    return [slice(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


class _Adaptive(Pooling[Saved]):
    output_size: int | tuple[int | None, ...]

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least(0, "output_size")
        yield self.rank > 1 or None not in self.each(self.output_size), "output_size", "an integer: there is one axis"

    def size(self, shape: Shape) -> Shape:
        """How many bins each axis has; None leaves it as it is."""
        return tuple(n if k is None else k for n, k in zip(shape[-self.rank :], self.each(self.output_size), strict=True))

    def boxes(self, shape: Shape) -> list[tuple[Index, Index]]:
        """For each place of y, row by row: where it is, and which box of x is pooled into it."""
        size = self.size(shape)
        boxes = itertools.product(*map(_bins, shape[-self.rank :], size))
        return [((..., *cell), (..., *box)) for cell, box in zip(np.ndindex(*size), boxes, strict=True)]


@dataclass(frozen=True)
class _AdaptiveAvgPool(_Adaptive[Shape]):
    output_size: int | tuple[int | None, ...]

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        y = np.empty((*x.shape[: -self.rank], *self.size(x.shape)), x.dtype)
        for cell, box in self.boxes(x.shape):
            y[cell] = x[box].mean(tuple(range(-self.rank, 0)))
        return Forward(y, saved=x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        r"""y_b = Σ xᵢ / n_b, so dxᵢ = Σ dy_b / n_b over the boxes that cover xᵢ: forward's loop with sides changed."""
        dx = np.zeros(saved, dy.dtype)
        for cell, box in self.boxes(saved):
            dx[box] += np.expand_dims(dy[cell] / math.prod(s.stop - s.start for s in box[1:]), tuple(range(-self.rank, 0)))
        return Grads(dx)


@dataclass(frozen=True)
class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    r"""y_b = Σ xᵢ / n_b over the n_b positions of bin b;   dxᵢ = Σ dy_b / n_b over the bins that cover xᵢ.

    Bin b is [⌊b·L/output_size⌋, ⌈(b+1)·L/output_size⌉).
    Shapes: x (N, C, L) or (C, L), y (N, C, output_size) or (C, output_size). Torch: torch.nn.AdaptiveAvgPool1d.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    r"""y_b = Σ xᵢ / n_b over the n_b positions of box b;   dxᵢ = Σ dy_b / n_b over the boxes that cover xᵢ.

    Bins as AdaptiveAvgPool1d's along each axis; None for an axis leaves it as it is, and 1 is global average pooling.
    Shapes: x (N, C, H, W) or (C, H, W), y (N, C, *output_size) or (C, *output_size).
    Torch: torch.nn.AdaptiveAvgPool2d. Paper: Lin, Chen & Yan 2013 (global average pooling).
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    r"""y_b = Σ xᵢ / n_b over the n_b positions of box b;   dxᵢ = Σ dy_b / n_b over the boxes that cover xᵢ.

    Bins as AdaptiveAvgPool2d's.
    Shapes: x (N, C, D, H, W) or (C, D, H, W), y (N, C, *output_size) or (C, *output_size).
    Torch: torch.nn.AdaptiveAvgPool3d.
    """

    rank: ClassVar[int] = 3


@dataclass(frozen=True)
class _AdaptiveMaxPool(_Adaptive[tuple[Array, Shape]]):
    output_size: int | tuple[int | None, ...]
    return_indices: bool = False

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, Shape]]:
        lead, space = x.shape[: -self.rank], x.shape[-self.rank :]
        y = np.empty((*lead, *self.size(x.shape)), x.dtype)
        where = np.empty(y.shape, np.int64)
        places = np.arange(math.prod(space)).reshape(space)
        for cell, box in self.boxes(x.shape):
            inside = places[box].ravel()
            values = x[box].reshape(*lead, inside.size)
            chosen = first_largest(values, -1)
            y[cell] = np.take_along_axis(values, chosen, -1)[..., 0]
            where[cell] = inside[chosen[..., 0]]
        return Forward((y, where) if self.return_indices else y, saved=(where, x.shape))

    def backward(self, saved: tuple[Array, Shape], dy: Array, dindices: Array | None = None) -> Grads:
        r"""y_b = x[where_b], so dxᵢ = Σ dy_b over the boxes that chose xᵢ: as MaxPool, for other windows."""
        where, shape = saved
        return Grads(scatter(dy, where, shape, self.rank))


@dataclass(frozen=True)
class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    r"""y_b = max xᵢ over bin b;   dxᵢ = Σ dy_b over the bins in which xᵢ is the first largest.

    Bin b is [⌊b·L/output_size⌋, ⌈(b+1)·L/output_size⌉). ``return_indices`` also gives where each largest value stands.
    Shapes: x (N, C, L) or (C, L), y and indices (N, C, output_size) or (C, output_size).
    Torch: torch.nn.AdaptiveMaxPool1d.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    r"""y_b = max xᵢ over box b;   dxᵢ = Σ dy_b over the boxes in which xᵢ is the first largest, row by row.

    Bins as AdaptiveMaxPool1d's along each axis; None for an axis leaves it as it is. Indices count along the flattened plane.
    Shapes: x (N, C, H, W) or (C, H, W), y and indices (N, C, *output_size) or (C, *output_size).
    Torch: torch.nn.AdaptiveMaxPool2d. Paper: He et al. 2014 (spatial pyramid pooling).
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    r"""y_b = max xᵢ over box b;   dxᵢ = Σ dy_b over the boxes in which xᵢ is the first largest, row by row.

    Bins as AdaptiveMaxPool2d's. Indices count along the flattened volume.
    Shapes: x (N, C, D, H, W) or (C, D, H, W), y and indices (N, C, *output_size) or (C, *output_size).
    Torch: torch.nn.AdaptiveMaxPool3d.
    """

    rank: ClassVar[int] = 3


# Windows at random distances ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _FractionalMaxPool(Pooling[tuple[Array, Shape]]):
    tensors = ("_random_samples",)

    kernel_size: Sizes
    output_size: Sizes | None = None
    output_ratio: float | tuple[float, ...] | None = None
    return_indices: bool = False
    _random_samples: Samples = None

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least(1, "kernel_size")
        yield from self.at_least(0, "output_size")
        one = (self.output_size is None) != (self.output_ratio is None)
        yield one, "output_size", "either it or output_ratio, not both"
        ratios = self.each(self.output_ratio)
        fits = len(ratios) == self.rank and all(r is None or 0 < r < 1 for r in ratios)
        yield fits, "output_ratio", f"a number between 0 and 1, or {self.rank} of them in a tuple"
        given = self.buffers().get("_random_samples", (1, 1, self.rank))
        yield len(given) == 3 and given[-1] == self.rank, "_random_samples", f"an array (N, C, {self.rank})"

    def buffers(self) -> dict[str, Shape]:
        """The samples, where they are given once for all passes."""
        return {} if self._random_samples is None else {"_random_samples": np.shape(self._random_samples)}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """The samples that were given."""
        return State({n: np.asarray(getattr(self, n), dtype) for n in self.buffers()}, set(self.buffers()))

    def inputs(self) -> dict[str, str]:
        samples = {"samples": f"(N, C, {self.rank}) or (C, {self.rank})"}
        return super().inputs() | (samples if self._random_samples is None else {})

    @property
    def noisy(self) -> bool:
        """Only where no samples were given once for all."""
        return self._random_samples is None

    def draw(self, rng: np.random.Generator, shape: Shape) -> Array:
        """The noise of one pass, for an x of this shape: a number in [0, 1) for each plane and axis."""
        return rng.random((*shape[: -self.rank], self.rank))

    def size(self, shape: Shape) -> Shape:
        """How many windows there are along each axis."""
        if self.output_ratio is None:
            return self.each(self.output_size)
        return tuple(int(n * ratio) for n, ratio in zip(shape[-self.rank :], self.each(self.output_ratio), strict=True))

    def check(self, *inputs: Any, **options: Any) -> None:
        """So many windows must fit; samples that were given once must be enough for this batch."""
        super().check(*inputs)
        shape = inputs[0].shape
        sizes = zip(SPACE[self.rank], shape[-self.rank :], self.each(self.kernel_size), self.size(shape), strict=True)
        for name, length, kernel, count in sizes:
            least = count + kernel - (self.rank < 3)  # torch wants a position more for volumes than for planes
            if length < least:
                raise ShapeError(
                    f"{self!r}: x has shape {shape}, of which {name} has {length}; wanted at least {least}, for {count}"
                    f" windows of {kernel}. Choose a smaller kernel_size or output_size."
                )
        batch, channels = (1, *shape)[-self.rank - 2 : -self.rank]
        for given in self.buffers().values():
            if given[0] < batch or given[1] != channels:
                raise ShapeError(
                    f"{self!r}: _random_samples has shape {given}, x {shape}; wanted samples"
                    f" (at least {batch}, {channels}, {self.rank})."
                )

    def forward(self, state: Mapping[str, Array], x: Array, samples: Array | None = None) -> Forward[tuple[Array, Shape]]:
        lead, space = x.shape[: -self.rank], x.shape[-self.rank :]
        kernel = self.each(self.kernel_size)
        u = state["_random_samples"][: (1, *lead)[-2]].reshape(*lead, self.rank) if samples is None else samples
        if self.rank == 2:
            u = u[..., ::-1]  # torch gives the first sample of a plane to its width
        starts = map(_starts, np.moveaxis(u, -1, 0), space, kernel, self.size(x.shape))
        corner = np.zeros(lead, np.int64)  # of every window, in the flattened plane
        for axis, (length, start) in enumerate(zip(space, starts, strict=True)):
            corner = corner[..., None] * length + np.expand_dims(start, tuple(range(-axis - 1, -1)))
        places = corner[..., None] + flat(space, [np.arange(k) for k in kernel]).ravel()
        planes, within = (a.reshape(*lead, math.prod(a.shape[len(lead) :])) for a in (x, places))
        windows = np.take_along_axis(planes, within, -1).reshape(places.shape)
        chosen = first_largest(windows, -1)
        y, where = (np.take_along_axis(a, chosen, -1)[..., 0] for a in (windows, places))
        return Forward((y, where) if self.return_indices else y, saved=(where, x.shape))

    def backward(self, saved: tuple[Array, Shape], dy: Array, dindices: Array | None = None) -> Grads:
        r"""y_w = x[where_w], so dxᵢ = Σ dy_w over the windows that chose xᵢ: as MaxPool, for other windows.

        The samples only place the windows: y is piecewise constant in them, and torch gives them no gradient.
        """
        where, shape = saved
        dx = scatter(dy, where, shape, self.rank)
        return Grads(dx) if self._random_samples is not None else Grads(dx, None)


def _starts(u: Array, length: int, kernel: int, count: int) -> Array:
    """Where the windows along one axis begin, for each plane: start_w = ⌊(w + u) a⌋ − ⌊u a⌋, and the last one at the end.

    a = (length − kernel) / (count − 1) is their mean distance; each distance is ⌊a⌋ or ⌈a⌉, and u says in which order.
    """
    a = (length - kernel) / (count - 1) if count > 1 else 0
    u = u[..., None]
    starts = np.floor((np.arange(count, dtype=u.dtype) + u) * a) - np.floor(u * a)
    starts[..., -1:] = length - kernel
    return starts.astype(np.int64)


@dataclass(frozen=True)
class FractionalMaxPool2d(_FractionalMaxPool):
    r"""y_w = max xᵢ over the window w;   dxᵢ = Σ dy_w over the windows in which xᵢ is the first largest.

    ``output_size`` windows of ``kernel_size`` lie at random distances whose mean need not be an integer; ``output_ratio``
    is output_size / size instead. ``samples``, a number in [0, 1) for each plane and axis, place the windows:
    ``layer.draw(rng, x.shape)``, or once for all passes as ``_random_samples``.
    Shapes: x (N, C, H, W) or (C, H, W), samples (N, C, 2) or (C, 2) of which [..., 0] is the width's,
    y and indices (N, C, *output_size) or (C, *output_size); _random_samples (at least N, C, 2).
    Torch: torch.nn.FractionalMaxPool2d. Paper: Graham 2014.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class FractionalMaxPool3d(_FractionalMaxPool):
    r"""y_w = max xᵢ over the window w;   dxᵢ = Σ dy_w over the windows in which xᵢ is the first largest.

    As FractionalMaxPool2d, but a volume's samples are in the order of its axes.
    Shapes: x (N, C, D, H, W) or (C, D, H, W), samples (N, C, 3) or (C, 3), y and indices (N, C, *output_size) or
    (C, *output_size); _random_samples (at least N, C, 3). Torch: torch.nn.FractionalMaxPool3d. Paper: Graham 2014.
    """

    rank: ClassVar[int] = 3
