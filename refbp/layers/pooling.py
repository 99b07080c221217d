"""Pooling over windows on a grid: the largest value of each, the mean, the p-norm; and the largest put back in place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads
from refbp.errors import ShapeError, ValueRangeError
from refbp.layers._pooling import Axis, Grid, Pooling, Sizes, largest, places, pooled, scatter, taps
from refbp.shapes import Shape

# The largest ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MaxPool(Grid[tuple[Array, Shape]]):
    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0
    dilation: Sizes = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, Shape]]:
        axes = self.axes(x.shape)
        y = largest(x, axes)
        where = places(x, y, axes)
        return Forward((y, where) if self.return_indices else y, saved=(where, x.shape))

    def backward(self, saved: tuple[Array, Shape], dy: Array, dindices: Array | None = None) -> Grads:
        r"""y_w = x[where_w], and a small change of x changes no choice: ∂y_w/∂xᵢ is 1 for i = where_w, else 0.

        So dxᵢ = Σ_w dy_w over the windows that chose xᵢ: one at most where windows do not overlap, none for most i.
        At a tie any share of dy between the equals would do; the first of them takes all of it.
        """
        where, shape = saved
        return Grads(scatter(dy, where, shape, self.rank))


@dataclass(frozen=True)
class MaxPool1d(_MaxPool):
    r"""y_w = max xᵢ over the window w;   dxᵢ = Σ dy_w over the windows in which xᵢ is the first largest.

    Tap t of window w is x at w·stride − padding + t·dilation; the stride is kernel_size unless it is given. Padding never
    wins. ``ceil_mode`` keeps a last window that hangs over the end. ``return_indices`` also gives where each largest
    value stands. A NaN is larger than all else, and the last NaN of a window the largest.
    Shapes: x (N, C, L) or (C, L), y and indices (N, C, L_out) or (C, L_out),
    L_out = ⌊(L + 2 padding − dilation (kernel_size − 1) − 1) / stride⌋ + 1, or ⌈ ⌉ with ceil_mode.
    Torch: torch.nn.MaxPool1d. Paper: Riesenhuber & Poggio 1999.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class MaxPool2d(_MaxPool):
    r"""y_w = max xᵢ over the window w;   dxᵢ = Σ dy_w over the windows in which xᵢ is the first largest, row by row.

    Arguments as MaxPool1d, one number for both axes or a tuple of two; indices count along the flattened plane.
    Shapes: x (N, C, H, W) or (C, H, W), y and indices (N, C, H_out, W_out) or (C, H_out, W_out), as MaxPool1d's L_out.
    Torch: torch.nn.MaxPool2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class MaxPool3d(_MaxPool):
    r"""y_w = max xᵢ over the window w;   dxᵢ = Σ dy_w over the windows in which xᵢ is the first largest, row by row.

    Arguments as MaxPool1d, one number for the three axes or a tuple of three; indices count along the flattened volume.
    Shapes: x (N, C, D, H, W) or (C, D, H, W), y and indices (N, C, D_out, H_out, W_out) or without N, as MaxPool1d's L_out.
    Torch: torch.nn.MaxPool3d.
    """

    rank: ClassVar[int] = 3


# The largest, put back ------------------------------------------------------------------------------------------------


class _Written(NamedTuple):
    source: Array  # which x was written, counted along all of them
    target: Array  # and where in y
    shape: Shape


@dataclass(frozen=True)
class _MaxUnpool(Pooling[_Written]):
    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least(1, "kernel_size", "stride")
        yield from self.at_least(0, "padding")

    def inputs(self) -> dict[str, str]:
        return {"x": self.planes(), "indices": f"index {self.planes()}"}

    def size(self, shape: Shape, output_size: Sequence[int] | None) -> Shape:
        """The plane that is written to: the given one, else the one that x's windows cover without a rest."""
        if output_size is not None:
            return tuple(output_size)[-self.rank :]
        sizes = map(self.each, (self.stride or self.kernel_size, self.kernel_size, self.padding))
        return tuple((n - 1) * s + k - 2 * p for n, s, k, p in zip(shape[-self.rank :], *sizes, strict=True))

    def check(self, *inputs: Any, output_size: Sequence[int] | None = None, **options: Any) -> None:
        """output_size must be one that is pooled into x's size; indices must lie within it."""
        super().check(*inputs)
        x, indices = inputs
        size, usual = self.size(x.shape, output_size), self.size(x.shape, None)
        stride = self.each(self.stride or self.kernel_size)
        fits = output_size is None or len(output_size) in (self.rank, self.rank + 2)
        if not fits or min(size) < 0 or any(abs(n - m) >= s for n, m, s in zip(size, usual, stride, strict=True)):
            wanted = ", ".join(f"{max(m - s + 1, 0)} to {m + s - 1}" for m, s in zip(usual, stride, strict=True))
            raise ShapeError(f"{self!r}: output_size {output_size} for an x of shape {x.shape}; wanted {wanted}.")
        if indices.size and not 0 <= indices.min() <= indices.max() < math.prod(size):
            raise ValueRangeError(
                f"{self!r}: indices reach from {indices.min()} to {indices.max()}; wanted 0 to {math.prod(size) - 1},"
                f" places in a plane of {' × '.join(map(str, size))}. Give the size that was pooled as output_size."
            )

    def forward(
        self, state: Mapping[str, Array], x: Array, indices: Array, *, output_size: Sequence[int] | None = None
    ) -> Forward[_Written]:
        lead, size = x.shape[: -self.rank], self.size(x.shape, output_size)
        planes = math.prod(lead)
        begin = math.prod(size) * np.arange(planes)[:, None]
        at = begin + indices.reshape(planes, math.prod(x.shape[-self.rank :]))
        writer = np.full(planes * math.prod(size), -1)
        np.maximum.at(writer, at.ravel(), np.arange(x.size))  # where several write, the last one is read
        target = np.flatnonzero(writer >= 0)
        y = np.zeros(writer.shape, x.dtype)
        y[target] = x.ravel()[writer[target]]
        return Forward(y.reshape(*lead, *size), _Written(writer[target], target, x.shape))

    def backward(self, saved: _Written, dy: Array) -> Grads:
        r"""y[iⱼ] = xⱼ, so dxⱼ = dy[iⱼ]; of several that were written to one place only the last is in y, the others get 0."""
        dx = np.zeros(math.prod(saved.shape), dy.dtype)
        dx[saved.source] = dy.ravel()[saved.target]
        return Grads(dx.reshape(saved.shape), None)


@dataclass(frozen=True)
class MaxUnpool1d(_MaxUnpool):
    r"""y[iⱼ] = xⱼ, and 0 elsewhere;   dxⱼ = dy[iⱼ], but 0 where a later x was written over it.

    The indices i are MaxPool1d's, and so are the arguments. Several sizes are pooled into one: ``output_size``, an option of
    forward, says which it was. Overlapping windows may have chosen the same place; then the last one is written.
    (torch's backward gives dy to all of them: the derivative of no forward.)
    Shapes: x and indices (N, C, L) or (C, L), y (N, C, L_out) or (C, L_out),
    L_out = (L − 1) stride − 2 padding + kernel_size unless output_size is given.
    Torch: torch.nn.MaxUnpool1d. Paper: Zeiler, Taylor & Fergus 2011.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class MaxUnpool2d(_MaxUnpool):
    r"""y[iⱼ] = xⱼ, and 0 elsewhere;   dxⱼ = dy[iⱼ], but 0 where a later x was written over it. As MaxUnpool1d.

    Shapes: x and indices (N, C, H, W) or (C, H, W), y (N, C, H_out, W_out) or (C, H_out, W_out).
    Torch: torch.nn.MaxUnpool2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class MaxUnpool3d(_MaxUnpool):
    r"""y[iⱼ] = xⱼ, and 0 elsewhere;   dxⱼ = dy[iⱼ], but 0 where a later x was written over it. As MaxUnpool1d.

    Shapes: x and indices (N, C, D, H, W) or (C, D, H, W), y (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out).
    Torch: torch.nn.MaxUnpool3d.
    """

    rank: ClassVar[int] = 3


# The mean -------------------------------------------------------------------------------------------------------------


def _volumes(axes: Sequence[Axis], padded: bool, dtype: Any) -> Array:
    """How many positions each window covers: the product over its axes."""
    return reduce(np.multiply.outer, [axis.covered(padded) for axis in axes]).astype(dtype)


@dataclass(frozen=True)
class _AvgPool(Grid[tuple[Any, Shape]]):
    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Any, Shape]]:
        axes = self.axes(x.shape)
        divisor = getattr(self, "divisor_override", None) or _volumes(axes, self.count_include_pad, x.dtype)
        y = np.zeros(pooled(x.shape, axes), x.dtype)
        for windows, read in taps(axes):
            y[windows] += x[read]
        return Forward(y / divisor, saved=(divisor, x.shape))

    def backward(self, saved: tuple[Any, Shape], dy: Array) -> Grads:
        r"""y_w = Σₜ x_{w,t} / n_w: every tap has the slope 1/n_w, so dx_{w,t} += dy_w / n_w. Forward's loop, sides changed."""
        divisor, shape = saved
        share = dy / divisor
        dx = np.zeros(shape, dy.dtype)
        for windows, read in taps(self.axes(shape)):
            dx[read] += share[windows]
        return Grads(dx)


@dataclass(frozen=True)
class AvgPool1d(_AvgPool):
    r"""y_w = Σ xᵢ / n_w over the window w;   dxᵢ = Σ dy_w / n_w over the windows that cover xᵢ.

    n_w counts the positions that w covers, padding among them unless ``count_include_pad=False``; what hangs over the end
    with ``ceil_mode`` never counts.
    Shapes: x (N, C, L) or (C, L), y (N, C, L_out) or (C, L_out), L_out as MaxPool1d's with dilation 1.
    Torch: torch.nn.AvgPool1d. Paper: LeCun et al. 1998.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AvgPool2d(_AvgPool):
    r"""y_w = Σ xᵢ / n_w over the window w;   dxᵢ = Σ dy_w / n_w over the windows that cover xᵢ.

    n_w as AvgPool1d's, unless ``divisor_override`` gives one for all windows.
    Shapes: x (N, C, H, W) or (C, H, W), y (N, C, H_out, W_out) or (C, H_out, W_out), as MaxPool1d's L_out.
    Torch: torch.nn.AvgPool2d.
    """

    rank: ClassVar[int] = 2

    divisor_override: int | None = None

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        yield self.divisor_override != 0, "divisor_override", "an integer other than 0"


@dataclass(frozen=True)
class AvgPool3d(AvgPool2d):
    r"""y_w = Σ xᵢ / n_w over the window w;   dxᵢ = Σ dy_w / n_w over the windows that cover xᵢ. As AvgPool2d.

    Shapes: x (N, C, D, H, W) or (C, D, H, W), y (N, C, D_out, H_out, W_out) or without N, as MaxPool1d's L_out.
    Torch: torch.nn.AvgPool3d.
    """

    rank: ClassVar[int] = 3

    @property
    def whole(self) -> bool:
        return True


# The p-norm -----------------------------------------------------------------------------------------------------------


class _Powers(NamedTuple):
    x: Array
    y: Array
    whole: Array  # by how much a window that hangs over the end is scaled up, c
    where: Array | None  # the places of the largest or smallest magnitude, where p is infinite


@dataclass(frozen=True)
class _LPPool(Grid[_Powers]):
    norm_type: float
    kernel_size: Sizes
    stride: Sizes | None = None
    ceil_mode: bool = False

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.norm_type != 0, "norm_type", "a number other than 0"
        yield from super().rules()

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Powers]:
        axes, p = self.axes(x.shape), self.norm_type
        whole = math.prod(self.each(self.kernel_size)) / _volumes(axes, False, x.dtype)
        if math.isinf(p):
            sign = math.copysign(1, p)
            y = largest(sign * np.abs(x), axes)
            return Forward(sign * y, _Powers(x, y, whole, places(sign * np.abs(x), y, axes)))
        scale = largest(np.abs(x), axes)  # what is raised to the power p is 1 at most: nothing over- or underflows
        scale = np.where((scale > 0) & (scale < math.inf), scale, 1)
        y = np.zeros_like(scale)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # roots of negative sums are NaN, as in torch
            for windows, read in taps(axes):
                y[windows] += (x[read] / scale[windows]) ** p
            y = scale * (whole * y) ** (1 / p)
        return Forward(y, _Powers(x, y, whole, None))

    def backward(self, saved: _Powers, dy: Array) -> Grads:
        r"""yᵖ = c Σ xᵢᵖ, so p yᵖ⁻¹ ∂y/∂xᵢ = c p xᵢᵖ⁻¹, and dxᵢ = dy c (xᵢ / y)ᵖ⁻¹.

        At y = 0 no slope exists unless p = 1; it is 0 there by convention. For p = ±∞ one x is y but for its sign;
        a NaN has the sign 0.
        """
        x, y, whole, where = saved
        if where is not None:
            return Grads(scatter(dy, where, x.shape, self.rank) * np.where(np.isnan(x), 0, np.sign(x)))
        p = self.norm_type
        share = dy * whole if p == 1 else np.where(y == 0, 0, dy * whole)
        y = np.where(y == 0, 1, y)
        dx = np.zeros_like(x)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for windows, read in taps(self.axes(x.shape)):
                dx[read] += share[windows] * (x[read] / y[windows]) ** (p - 1)
        return Grads(dx)


@dataclass(frozen=True)
class LPPool1d(_LPPool):
    r"""y_w = (c Σ xᵢᵖ)^{1/p} over the window w;   dxᵢ = Σ dy_w c (xᵢ / y_w)ᵖ⁻¹ over the windows that cover xᵢ.

    p is norm_type: 1 sums, 2 gives lengths, ∞ and −∞ the largest and the smallest |x|. No absolute values are taken, so a
    negative x is NaN unless p is an integer, and a negative sum unless p is ±1. With ``ceil_mode`` a window that hangs
    over the end is scaled up to a whole one, c = kernel_size / (positions it covers); else c = 1.
    Shapes: x (N, C, L) or (C, L), y (N, C, L_out) or (C, L_out), L_out as MaxPool1d's without padding.
    Torch: torch.nn.LPPool1d. Paper: Sermanet, Chintala & LeCun 2012.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class LPPool2d(_LPPool):
    r"""y_w = (c Σ xᵢᵖ)^{1/p} over the window w;   dxᵢ = Σ dy_w c (xᵢ / y_w)ᵖ⁻¹. As LPPool1d.

    Shapes: x (N, C, H, W) or (C, H, W), y (N, C, H_out, W_out) or (C, H_out, W_out). Torch: torch.nn.LPPool2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class LPPool3d(_LPPool):
    r"""y_w = (c Σ xᵢᵖ)^{1/p} over the window w;   dxᵢ = Σ dy_w c (xᵢ / y_w)ᵖ⁻¹. As LPPool1d.

    Shapes: x (N, C, D, H, W) or (C, D, H, W), y (N, C, D_out, H_out, W_out) or without N. Torch: torch.nn.LPPool3d.
    """

    rank: ClassVar[int] = 3

    @property
    def whole(self) -> bool:
        return math.isfinite(self.norm_type)
