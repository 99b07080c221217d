"""Convolutions, forward and transposed, in one, two and three dimensions.

One trilinear form in image, kernel and output stands behind all of them: :mod:`refbp.layers._windows` defines it and
computes its three derivatives. A convolution pads x and correlates it with the kernel. A transposed convolution is the
map by which a convolution's gradient travels back, used forward: its own gradient is then a correlation. Neither class
knows how many spatial axes there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from refbp.arguments import fits
from refbp.contract import Array, Forward, Grads, Layer, State, uniform_fan_in
from refbp.errors import ShapeError
from refbp.layers._windows import Windows
from refbp.layers.padding import Mode, Widths, misfit, pad, unpad
from refbp.numerics import all_but, along
from refbp.shapes import Shape

Sizes = int | tuple[int, ...]  # one number for every spatial axis, or a tuple of one for each


class _Convolution(Layer[Any]):
    """What both kinds share: arguments, parameters, shapes. Subclasses declare the fields, in torch's order."""

    rank: ClassVar[int]

    in_channels: int
    out_channels: int
    kernel_size: Sizes
    stride: Sizes
    dilation: Sizes
    groups: int
    bias: bool

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        for name in ("in_channels", "out_channels", "groups"):
            yield getattr(self, name) >= 1, name, "an integer of at least 1"
        for name in ("in_channels", "out_channels"):
            yield getattr(self, name) % self.groups == 0, name, f"a multiple of groups={self.groups}"
        for name in ("kernel_size", "stride", "dilation"):
            yield from self._sizes(name, least=1)

    def _sizes(self, name: str, least: int | None) -> Iterator[tuple[bool, str, str]]:
        sizes = self._each(getattr(self, name))
        bound = "" if least is None else f" of at least {least}"
        fit = len(sizes) == self.rank and (least is None or min(sizes) >= least)
        yield fit, name, f"an integer{bound}, or a tuple of {self.rank}"

    def _each(self, value: Sizes) -> Shape:
        return value if isinstance(value, tuple) else (value,) * self.rank

    @property
    def windows(self) -> Windows:
        """Where the kernel's taps fall."""
        return Windows(self._each(self.kernel_size), self._each(self.stride), self._each(self.dilation), self.groups)

    def params(self) -> dict[str, Shape]:
        weight: dict[str, Shape] = {"weight": self._weight()}
        return weight | {"bias": (self.out_channels,)} if self.bias else weight

    def _weight(self) -> Shape:
        return (self.out_channels, self.in_channels // self.groups, *self._each(self.kernel_size))

    def inputs(self) -> dict[str, str]:
        axes = ("L", "H, W", "D, H, W")[self.rank - 1]
        return {"x": f"(N, in_channels, {axes}) or (in_channels, {axes})"}

    def outputs(self) -> dict[str, str]:
        axes = ("L_out", "H_out, W_out", "D_out, H_out, W_out")[self.rank - 1]
        return {"y": f"(N, out_channels, {axes}) or (out_channels, {axes})"}

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Weight and bias U(−1/√m, 1/√m), m being the size of the weight's second axis times the kernel's taps."""
        fan_in = math.prod(self._weight()[1:])
        return State({n: uniform_fan_in(rng, shape, fan_in, dtype) for n, shape in self.params().items()})

    def _batched(self, a: Array) -> Array:
        return a if a.ndim == self.rank + 2 else a[None]


class _Saved(NamedTuple):
    image: Array  # x, padded
    W: Array
    shape: Shape  # x's own, as a batch


@dataclass(frozen=True)
class _Conv(_Convolution):
    in_channels: int
    out_channels: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Sizes | Literal["same", "valid"] = 0
    dilation: Sizes = 1
    groups: int = 1
    bias: bool = True
    padding_mode: Mode = "zeros"

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        if not isinstance(self.padding, str):
            yield from self._sizes("padding", least=0 if self.padding_mode == "zeros" else None)
        unit = max(self._each(self.stride)) == 1
        yield self.padding != "same" or unit, "padding", f"a number, for with stride={self.stride} no padding keeps the size"

    @property
    def widths(self) -> Widths:
        """The padding before and after each axis; for "same", an odd position goes to the end."""
        if self.padding == "valid":
            return [(0, 0)] * self.rank
        if self.padding == "same":
            reach = [n - 1 for n in self.windows.extent((1,) * self.rank)]
            return [(n // 2, n - n // 2) for n in reach]
        return [(p, p) for p in self._each(self.padding)]

    def check(self, *inputs: Any, **options: Any) -> None:
        """The padding must suit the axes, and the kernel fit into them."""
        shape = inputs[0].shape
        spans = self.windows.extent((1,) * self.rank)
        axes = zip(range(-self.rank, 0), shape[-self.rank :], self.widths, spans, strict=True)
        for axis, n, (before, after), span in axes:
            wanted = misfit(self.padding_mode, n, before, after) or ("" if n else "at least one")
            if not wanted and n + before + after < span:
                wanted = f"room for dilation · (kernel_size − 1) + 1 = {span}"
            if wanted:
                raise ShapeError(
                    f"{self!r}: x has shape {shape}, {n} positions on axis {axis} to be padded by {before} and {after};"
                    f" wanted {wanted}. Give x more positions, or the layer other padding or a smaller kernel."
                )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Saved]:
        W, batch = state["weight"], self._batched(x)
        image = pad(batch, self.widths, self.padding_mode)
        y = self.windows.correlate(image, W)
        if self.bias:
            y += along(state["bias"], 1, y)
        return Forward(y if x is batch else y[0], _Saved(image, W, batch.shape))

    def backward(self, saved: _Saved, dy: Array) -> Grads:
        r"""The output is linear in the padded x, in W and in b, and every window uses the same W and b.

        Window i read position p = s·i + d·t through tap t, so p hears from each window that reached it, through the tap
        by which it did, and the tap hears from each window what it read:
        dx[n,c,p] = Σ dy[n,o,i] W[o,c,t] over s·i + d·t = p,   dW[o,c,t] = Σ dy[n,o,i] x[n,c,s·i + d·t] over n and i.
        At last what lies in the padding goes back to the positions that it was copied from.
        """
        image, W, shape = saved
        batch = self._batched(dy)
        dx = unpad(self.windows.spread(batch, W, image.shape[2:]), shape, self.widths, self.padding_mode)
        return Grads(
            dx if dy is batch else dx[0],
            weight=self.windows.match(image, batch),
            bias=batch.sum(all_but(1, batch)) if self.bias else None,
        )


@dataclass(frozen=True)
class Conv1d(_Conv):
    r"""y[o,i] = b[o] + Σ W[o,c,t] x[c, s·i + d·t];   dx = Σ dy W, back where the tap lay,   dW = Σ dy x,   db = Σ dy.

    Each of ``groups`` sees its own in_channels/groups channels, and makes its own out_channels/groups. The sum does not
    turn the kernel round: it is a correlation, by custom called convolution.
    Shapes: x (N, in_channels, L) or (in_channels, L), y (N, out_channels, ⌊(L + 2·padding − d(k − 1) − 1)/s⌋ + 1);
    weight (out_channels, in_channels/groups, k), bias (out_channels).
    Torch: torch.nn.Conv1d. Papers: LeCun et al. 1989; Yu & Koltun 2016 for dilation.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class Conv2d(_Conv):
    r"""y[o,i] = b[o] + Σ W[o,c,t] x[c, s·i + d·t];   dx = Σ dy W, back where the tap lay,   dW = Σ dy x,   db = Σ dy.

    As Conv1d, where i, t, s and d have an entry for each of two axes.
    Shapes: x (N, in_channels, H, W) or (in_channels, H, W), y (N, out_channels, H_out, W_out), each size as in Conv1d;
    weight (out_channels, in_channels/groups, *kernel_size), bias (out_channels).
    Torch: torch.nn.Conv2d. Papers: LeCun et al. 1989; Yu & Koltun 2016 for dilation.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class Conv3d(_Conv):
    r"""y[o,i] = b[o] + Σ W[o,c,t] x[c, s·i + d·t];   dx = Σ dy W, back where the tap lay,   dW = Σ dy x,   db = Σ dy.

    As Conv1d, where i, t, s and d have an entry for each of three axes.
    Shapes: x (N, in_channels, D, H, W) or (in_channels, D, H, W), y (N, out_channels, D_out, H_out, W_out), each size as
    in Conv1d; weight (out_channels, in_channels/groups, *kernel_size), bias (out_channels).
    Torch: torch.nn.Conv3d. Paper: Ji et al. 2010.
    """

    rank: ClassVar[int] = 3


class _SavedTransposed(NamedTuple):
    x: Array  # as a batch
    W: Array
    full: Shape  # the output's, before it was cropped
    widths: Widths


@dataclass(frozen=True)
class _ConvTranspose(_Convolution):
    in_channels: int
    out_channels: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Sizes = 0
    output_padding: Sizes = 0
    groups: int = 1
    bias: bool = True
    dilation: Sizes = 1
    padding_mode: Literal["zeros"] = "zeros"

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        yield from self._sizes("padding", least=0)
        yield from self._sizes("output_padding", least=0)
        axes = zip(*(self._each(v) for v in (self.output_padding, self.stride, self.dilation)), strict=True)
        yield all(o < max(s, d) for o, s, d in axes), "output_padding", "less than the stride or the dilation"

    def _weight(self) -> Shape:
        """The kernel of the convolution that goes the other way, from out_channels to in_channels."""
        return (self.in_channels, self.out_channels // self.groups, *self._each(self.kernel_size))

    def _widths(self, full: Shape, output_size: Sequence[int] | None) -> Widths:
        """What is cropped: ``padding`` on both sides, less what ``output_padding`` or ``output_size`` adds at the end."""
        crop, extra = self._each(self.padding), self._each(self.output_padding)
        if output_size is not None:
            extra = tuple(int(o) - n + 2 * p for o, n, p in zip(output_size[-self.rank :], full, crop, strict=True))
        return [(-p, e - p) for p, e in zip(crop, extra, strict=True)]

    def check(self, *inputs: Any, **options: Any) -> None:
        """The output must have a size, and the size asked for must be one that the convolution maps to x's."""
        shape, asked = inputs[0].shape, options.get("output_size")
        full = self.windows.extent(shape[-self.rank :])
        least = [n - 2 * p for n, p in zip(full, self._each(self.padding), strict=True)]
        if asked is not None:
            sizes = tuple(asked) if np.iterable(asked) else (asked,)
            most = [n + s - 1 for n, s in zip(least, self._each(self.stride), strict=True)]
            fit = fits(sizes, tuple[int, ...]) and len(sizes) in (self.rank, len(shape))
            if not fit or not all(a <= n <= b for a, n, b in zip(least, sizes[-self.rank :], most, strict=True)):
                raise ShapeError(
                    f"{self!r}: output_size={asked} was given for x of shape {shape}; wanted {self.rank} sizes, or"
                    f" {len(shape)} with the axes before them, from {tuple(least)} to {tuple(most)}."
                )
        out = [n + b + a for n, (b, a) in zip(full, self._widths(full, asked), strict=True)]
        if min(out) < 1 or 0 in shape[-self.rank :]:
            raise ShapeError(
                f"{self!r}: x has shape {shape}, which makes an output of size {tuple(out)}; wanted at least one position"
                f" on each axis of both. Give x more positions, or the layer less padding."
            )

    def forward(
        self, state: Mapping[str, Array], x: Array, *, output_size: Sequence[int] | None = None
    ) -> Forward[_SavedTransposed]:
        W, batch = state["weight"], self._batched(x)
        size = self.windows.extent(batch.shape[2:])
        widths = self._widths(size, output_size)
        full = self.windows.spread(batch, W, size)
        y = pad(full, widths)
        if self.bias:
            y += along(state["bias"], 1, y)
        return Forward(y if x is batch else y[0], _SavedTransposed(batch, W, full.shape, widths))

    def backward(self, saved: _SavedTransposed, dy: Array) -> Grads:
        r"""Forward is what a convolution does to a gradient: position i of x is a window, which it spreads over its taps.

        So x hears from its window what a convolution with the same W makes of dy, dx[n,c,i] = Σ W[c,o,t] dy[n,o,s·i + d·t],
        and the kernel's gradient is that convolution's, with dy for the image and x for the upstream:
        dW[c,o,t] = Σ x[n,c,i] dy[n,o,s·i + d·t] over n and i. What was cropped received nothing.
        """
        x, W, full, widths = saved
        batch = self._batched(dy)
        image = unpad(batch, full, widths)
        dx = self.windows.correlate(image, W)
        return Grads(
            dx if dy is batch else dx[0],
            weight=self.windows.match(image, x),
            bias=batch.sum(all_but(1, batch)) if self.bias else None,
        )


@dataclass(frozen=True)
class ConvTranspose1d(_ConvTranspose):
    r"""y[o, s·i + d·t] += W[c,o,t] x[c,i], plus b[o];   dx = Σ W dy, gathered from its taps,   dW = Σ x dy,   db = Σ dy.

    The gradient of Conv1d(out_channels, in_channels, …) with respect to its input, used as a layer; ``padding`` crops.
    Of the several sizes that such a convolution maps to x's, ``output_padding`` picks one, or the option ``output_size``.
    Shapes: x (N, in_channels, L) or (in_channels, L),
    y (N, out_channels, (L − 1)·s − 2·padding + d(k − 1) + output_padding + 1);
    weight (in_channels, out_channels/groups, k), bias (out_channels).
    Torch: torch.nn.ConvTranspose1d. Papers: Zeiler et al. 2010; Dumoulin & Visin 2016.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class ConvTranspose2d(_ConvTranspose):
    r"""y[o, s·i + d·t] += W[c,o,t] x[c,i], plus b[o];   dx = Σ W dy, gathered from its taps,   dW = Σ x dy,   db = Σ dy.

    As ConvTranspose1d, where i, t, s and d have an entry for each of two axes.
    Shapes: x (N, in_channels, H, W) or (in_channels, H, W), y (N, out_channels, H_out, W_out), each size as in
    ConvTranspose1d; weight (in_channels, out_channels/groups, *kernel_size), bias (out_channels).
    Torch: torch.nn.ConvTranspose2d. Papers: Zeiler et al. 2010; Dumoulin & Visin 2016.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class ConvTranspose3d(_ConvTranspose):
    r"""y[o, s·i + d·t] += W[c,o,t] x[c,i], plus b[o];   dx = Σ W dy, gathered from its taps,   dW = Σ x dy,   db = Σ dy.

    As ConvTranspose1d, where i, t, s and d have an entry for each of three axes.
    Shapes: x (N, in_channels, D, H, W) or (in_channels, D, H, W), y (N, out_channels, D_out, H_out, W_out), each size as
    in ConvTranspose1d; weight (in_channels, out_channels/groups, *kernel_size), bias (out_channels).
    Torch: torch.nn.ConvTranspose3d. Papers: Zeiler et al. 2010; Dumoulin & Visin 2016.
    """

    rank: ClassVar[int] = 3
