"""Padding: every position of the output copies one position of the input, or holds a constant.

Along each axis y[i] = x[s(i)], with i counted from x's first position, so that −1 is the last one padded in front. The
gradient of a copy is a sum: dx[j] = Σ dy[i] over all i with s(i) = j. The kinds of padding differ in the map s alone,
and the axes do not know of each other: they are padded one by one.

:func:`pad` and :func:`unpad` are the two directions. The layers give them torch's arguments; convolutions use both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.shapes import Shape

Mode = Literal["zeros", "reflect", "replicate", "circular"]
Widths = Sequence[tuple[int, int]]  # (before, after) for each of the last axes; a negative width crops


def source(mode: Mode, n: int, before: int, after: int) -> Array:
    """The map s along an axis of n positions: for each position of the output, the one of the input that it copies."""
    i = np.arange(-before, n + after)
    if mode == "reflect":
        return np.asarray((n - 1) - np.abs((n - 1) - np.abs(i)))
    if mode == "replicate":
        return np.clip(i, 0, n - 1)
    first, kept = max(-before, 0), n + min(before, 0) + min(after, 0)  # what is cropped does not come round again
    return first + (i - first) % max(kept, 1)


def pad(x: Array, widths: Widths, mode: Mode = "zeros", value: float = 0.0) -> Array:
    """The last axes of x, widened or cropped, as a new array; with mode "zeros", ``value`` is what it is filled with."""
    if mode == "zeros":
        inside, framed, shape = _overlap(x.shape, widths)
        y = np.full(shape, value, x.dtype)
        y[framed] = x[inside]
        return y
    for axis, (before, after) in enumerate(widths, start=x.ndim - len(widths)):
        x = x.take(source(mode, x.shape[axis], before, after), axis)
    return x


def unpad(dy: Array, shape: Shape, widths: Widths, mode: Mode = "zeros") -> Array:
    """The gradient of ``pad`` at an x of this shape: every position collects what its copies received."""
    if mode == "zeros":
        inside, framed, _ = _overlap(shape, widths)
        dx = np.zeros(shape, dy.dtype)
        dx[inside] = dy[framed]
        return dx
    for axis, (before, after) in enumerate(widths, start=dy.ndim - len(widths)):
        dx = np.zeros((*dy.shape[:axis], shape[axis], *dy.shape[axis + 1 :]), dy.dtype)
        narrow, wide = np.moveaxis(dx, axis, 0), np.moveaxis(dy, axis, 0)
        s, (here, there) = source(mode, shape[axis], before, after), _kept(shape[axis], before, after)
        narrow[here] = wide[there]  # most positions stay where they are; the others are few
        for i in np.delete(np.arange(len(s)), there):
            narrow[s[i]] += wide[i]
        dy = dx
    return dy


def misfit(mode: Mode, n: int, before: int, after: int) -> str:
    """What an axis of n positions would have to be for these widths; empty where it is."""
    if mode in ("reflect", "replicate") and min(n, n + before + after) < 1:
        return "at least one position, before and after"
    if mode == "reflect" and max(before, after) >= n:
        return "widths smaller than the axis, for the edge itself is not repeated"
    left = n + min(before, 0) + min(after, 0)
    if mode in ("zeros", "circular") and left < 0:
        return "no more cropped than there is"
    if mode == "circular" and max(before, after) > left:
        return "widths no larger than what is left of the axis, for it comes round once at most"
    return ""


def _kept(n: int, before: int, after: int) -> tuple[slice, slice]:
    """The stretch of an axis that is neither cropped nor padded: where it is in x, and where in y."""
    start = max(-before, 0)
    stop = max(start, n + min(after, 0))
    return slice(start, stop), slice(start + before, stop + before)


def _overlap(shape: Shape, widths: Widths) -> tuple[tuple[Any, ...], tuple[Any, ...], Shape]:
    """The same on all axes at once, and y's shape."""
    lead = len(shape) - len(widths)
    kept = [_kept(n, *w) for n, w in zip(shape[lead:], widths, strict=True)]
    padded = (n + sum(w) for n, w in zip(shape[lead:], widths, strict=True))
    return (..., *(here for here, _ in kept)), (..., *(there for _, there in kept)), (*shape[:lead], *padded)


@dataclass(frozen=True)
class _Pad(Layer[Shape]):
    rank: ClassVar[int]
    mode: ClassVar[Mode]

    padding: int | tuple[int, ...]

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        wanted = f"an integer or a tuple of {2 * self.rank}: before and after, for the last axis first"
        yield not isinstance(self.padding, tuple) or len(self.padding) == 2 * self.rank, "padding", wanted

    @property
    def widths(self) -> Widths:
        """Before and after for each axis in the axes' order; torch's tuple begins with the last axis."""
        p = self.padding if isinstance(self.padding, tuple) else (self.padding,) * (2 * self.rank)
        return [(p[2 * i], p[2 * i + 1]) for i in reversed(range(self.rank))]

    def inputs(self) -> dict[str, str]:
        axes = ", ".join("DHW"[-self.rank :])
        return {"x": f"any (N, C, {axes}) or (C, {axes})"}

    def outputs(self) -> dict[str, str]:
        axes = ", ".join(f"{a}_out" for a in "DHW"[-self.rank :])
        return {"y": f"any (N, C, {axes}) or (C, {axes})"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The widths must suit the axes."""
        shape = inputs[0].shape
        for n, (before, after), axis in zip(shape[-self.rank :], self.widths, range(-self.rank, 0), strict=True):
            if wanted := misfit(self.mode, n, before, after):
                raise ShapeError(
                    f"{self!r}: x has shape {shape}, {n} positions on axis {axis} to be padded by {before} and {after};"
                    f" wanted {wanted}. Give x more positions, or padding other widths."
                )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        return Forward(pad(x, self.widths, self.mode), saved=x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        r"""∂y[i]/∂x[j] is 1 where s(i) = j, else 0; what was filled with a constant has no source, and passes nothing on."""
        return Grads(unpad(dy, saved, self.widths, self.mode) if dy.dtype.kind == "f" else None)


@dataclass(frozen=True)
class _ZeroPad(_Pad):
    mode: ClassVar[Mode] = "zeros"

    def inputs(self) -> dict[str, str]:
        return {"x": f"any (*, {', '.join('DHW'[-self.rank :])})"}

    def outputs(self) -> dict[str, str]:
        return {"y": f"any (*, {', '.join(f'{a}_out' for a in 'DHW'[-self.rank :])})"}


@dataclass(frozen=True)
class _ConstantPad(_ZeroPad):
    value: float

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        return Forward(pad(x, self.widths, value=self.value), saved=x.shape)


@dataclass(frozen=True)
class _ReflectionPad(_Pad):
    mode: ClassVar[Mode] = "reflect"


@dataclass(frozen=True)
class _ReplicationPad(_Pad):
    mode: ClassVar[Mode] = "replicate"


@dataclass(frozen=True)
class _CircularPad(_Pad):
    mode: ClassVar[Mode] = "circular"


@dataclass(frozen=True)
class ConstantPad1d(_ConstantPad):
    r"""y is x in a frame of ``value``;   dx = dy inside the frame. A negative width crops.

    ``padding`` is one width for all sides, or (left, right). Shapes: x (*, W), y (*, left + W + right).
    Torch: torch.nn.ConstantPad1d.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class ConstantPad2d(_ConstantPad):
    r"""y is x in a frame of ``value``;   dx = dy inside the frame. A negative width crops.

    ``padding`` is one width for all sides, or (left, right, top, bottom).
    Shapes: x (*, H, W), y (*, top + H + bottom, left + W + right). Torch: torch.nn.ConstantPad2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class ConstantPad3d(_ConstantPad):
    r"""y is x in a frame of ``value``;   dx = dy inside the frame. A negative width crops.

    ``padding`` is one width for all sides, or (left, right, top, bottom, front, back).
    Shapes: x (*, D, H, W), y (*, front + D + back, top + H + bottom, left + W + right). Torch: torch.nn.ConstantPad3d.
    """

    rank: ClassVar[int] = 3


@dataclass(frozen=True)
class ZeroPad1d(_ZeroPad):
    r"""y is x in a frame of zeros;   dx = dy inside the frame. A negative width crops.

    Shapes: x (*, W), y (*, left + W + right); ``padding`` as in ConstantPad1d. Torch: torch.nn.ZeroPad1d.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class ZeroPad2d(_ZeroPad):
    r"""y is x in a frame of zeros;   dx = dy inside the frame. A negative width crops.

    Shapes: x (*, H, W), y (*, top + H + bottom, left + W + right); ``padding`` as in ConstantPad2d.
    Torch: torch.nn.ZeroPad2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class ZeroPad3d(_ZeroPad):
    r"""y is x in a frame of zeros;   dx = dy inside the frame. A negative width crops.

    Shapes: x (*, D, H, W), y (*, front + D + back, top + H + bottom, left + W + right); ``padding`` as in ConstantPad3d.
    Torch: torch.nn.ZeroPad3d.
    """

    rank: ClassVar[int] = 3


@dataclass(frozen=True)
class ReflectionPad1d(_ReflectionPad):
    r"""y[i] = x[n − 1 − |n − 1 − |i||]: x and its mirror images, the edge not repeated;   dx[j] = Σ dy[i] over its images.

    Shapes: x (N, C, W) or (C, W), y (…, left + W + right), each width less than W; ``padding`` as in ConstantPad1d.
    Torch: torch.nn.ReflectionPad1d.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class ReflectionPad2d(_ReflectionPad):
    r"""ReflectionPad1d along both axes.

    Shapes: x (N, C, H, W) or (C, H, W), y (…, top + H + bottom, left + W + right), each width less than its axis;
    ``padding`` as in ConstantPad2d. Torch: torch.nn.ReflectionPad2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class ReflectionPad3d(_ReflectionPad):
    r"""ReflectionPad1d along all three axes.

    Shapes: x (N, C, D, H, W) or (C, D, H, W), y (…, front + D + back, top + H + bottom, left + W + right), each width
    less than its axis; ``padding`` as in ConstantPad3d. Torch: torch.nn.ReflectionPad3d.
    """

    rank: ClassVar[int] = 3


@dataclass(frozen=True)
class ReplicationPad1d(_ReplicationPad):
    r"""y[i] = x[min(max(i, 0), n − 1)]: the edge repeated;   dx is dy, and the edge collects what its copies received.

    Shapes: x (N, C, W) or (C, W), y (…, left + W + right); ``padding`` as in ConstantPad1d.
    Torch: torch.nn.ReplicationPad1d.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class ReplicationPad2d(_ReplicationPad):
    r"""ReplicationPad1d along both axes.

    Shapes: x (N, C, H, W) or (C, H, W), y (…, top + H + bottom, left + W + right); ``padding`` as in ConstantPad2d.
    Torch: torch.nn.ReplicationPad2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class ReplicationPad3d(_ReplicationPad):
    r"""ReplicationPad1d along all three axes.

    Shapes: x (N, C, D, H, W) or (C, D, H, W), y (…, front + D + back, top + H + bottom, left + W + right);
    ``padding`` as in ConstantPad3d. Torch: torch.nn.ReplicationPad3d.
    """

    rank: ClassVar[int] = 3


@dataclass(frozen=True)
class CircularPad1d(_CircularPad):
    r"""y[i] = x[i mod n]: the other end comes round;   dx[j] = Σ dy[i] over i ≡ j. What is cropped does not come round.

    Shapes: x (N, C, W) or (C, W), y (…, left + W + right), no width more than what is left of W; ``padding`` as in
    ConstantPad1d. Torch: torch.nn.CircularPad1d.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class CircularPad2d(_CircularPad):
    r"""CircularPad1d along both axes.

    Shapes: x (N, C, H, W) or (C, H, W), y (…, top + H + bottom, left + W + right), no width more than what is left of its
    axis; ``padding`` as in ConstantPad2d. Torch: torch.nn.CircularPad2d.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class CircularPad3d(_CircularPad):
    r"""CircularPad1d along all three axes.

    Shapes: x (N, C, D, H, W) or (C, D, H, W), y (…, front + D + back, top + H + bottom, left + W + right), no width more
    than what is left of its axis; ``padding`` as in ConstantPad3d. Torch: torch.nn.CircularPad3d.
    """

    rank: ClassVar[int] = 3
