"""Sliding windows, and the one trilinear form of which every convolution is a derivative.

Tap t of window i lies at position s·i + d·t: stride times window plus dilation times tap, on each spatial axis. For an
image x (N, C, …), a kernel W (O, C/groups, …) and one number per window, y (N, O, …), let

    T(x, W, y) = Σ y[n, o, i] · W[o, c, t] · x[n, c, s·i + d·t],

summed over sample n, output channel o, the channels c of o's group, window i and tap t. T is linear in each of the
three, so each of its derivatives is a product of the other two: :meth:`Windows.correlate` is ∂T/∂y,
:meth:`Windows.spread` is ∂T/∂x, :meth:`Windows.match` is ∂T/∂W. The forward of a convolution is the first and its
backward the other two; the forward of a transposed convolution is the second and its backward the first and the third.

How they are computed. The textbook copies every window into a column (im2col), as many copies of the image as there
are taps, and leaves one matrix product. Here only the taps of the later axes are copied out. What is left is a walk
along the first axis, and in rows as long as there are windows on the later ones, a step of that walk is an offset into
flat memory: BLAS multiplies the shifted rows where they lie. For a 3 × 3 kernel that is a third of the copying. A
stride on the first axis would tear the rows apart: then its taps are copied out like the others, and the walk has one
step. Images are taken a few at a time, so that what was copied is still in the cache when it is multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.layers.padding import pad
from refbp.shapes import Shape

BLOCK = 1 << 16  # elements copied out at a time: a quarter of a megabyte of float32


@dataclass(frozen=True)
class Windows:
    """Kernel, stride and dilation, a number per spatial axis each; and into how many groups the channels are cut."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    groups: int

    def count(self, size: Shape) -> Shape:
        """How many windows fit into so many positions."""
        axes = zip(size, self.kernel, self.stride, self.dilation, strict=True)
        return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes)

    def extent(self, count: Shape) -> Shape:
        """How many positions so many windows cover."""
        axes = zip(count, self.kernel, self.stride, self.dilation, strict=True)
        return tuple(s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in axes)

    def correlate(self, x: Array, W: Array) -> Array:
        """∂T/∂y: every window's taps, weighted and summed."""
        count = self.count(x.shape[2:])
        taps = self._by_step(W)
        y = np.empty((len(x), *taps.shape[1:3], math.prod(count)), x.dtype)
        for block, rows in self._unfolded(x):
            for step, at in self._walk(count):
                if step == 0:
                    np.matmul(taps[0], rows[..., at], out=y[block])
                else:
                    y[block] += np.matmul(taps[step], rows[..., at])
        return y.reshape(len(x), len(W), *count)

    def spread(self, y: Array, W: Array, size: Shape) -> Array:
        """∂T/∂x, for x of this size: every window's number, weighted and added wherever its taps lie."""
        count, channels = y.shape[2:], self.groups * W.shape[1]
        back = W.reshape(self.groups, -1, *W.shape[1:]).swapaxes(1, 2)  # (groups, C/groups, O/groups, …): from y to x
        if max(self.stride) == 1 and len(W) <= channels * self.kernel[0]:  # the second condition: if it copies less
            # Position p hears from the windows i = p − d·t: a correlation again, of y with the kernel turned round.
            reach = [(d * (k - 1), d * (k - 1)) for k, d in zip(self.kernel, self.dilation, strict=True)]
            turned = np.flip(back, tuple(range(3, back.ndim)))
            return self.correlate(pad(y, reach), turned.reshape(-1, *turned.shape[2:]))
        # In general: what each window sends to each of its taps is laid out as columns, and added up tap by tap.
        taps = np.moveaxis(back, 2, -1).reshape(self.groups, -1, back.shape[2])
        x = np.zeros((len(y), channels, *size), y.dtype)
        for block in _blocks(len(y), channels * math.prod((*self.kernel, *count))):
            columns = np.matmul(taps, self._flat(y[block])).reshape(-1, channels, *self.kernel, *count)
            for tap, there in self._taps(self.kernel, count):
                x[block][there] += columns[tap]
        return x

    def match(self, x: Array, y: Array) -> Array:
        """∂T/∂W: every tap's values, weighted by their windows' numbers, and summed over windows and samples."""
        o, c = y.shape[1] // self.groups, x.shape[1] // self.groups
        taps = np.zeros((self._steps, self.groups, o, c * math.prod(self._copied)), x.dtype)
        for block, rows in self._unfolded(x):
            weights = self._flat(y[block])
            for step, at in self._walk(y.shape[2:]):
                taps[step] += np.matmul(weights, rows[..., at].swapaxes(2, 3)).sum(0)
        by_step = taps.reshape(self._steps, self.groups, o, c, -1)
        return by_step.transpose(1, 2, 3, 0, 4).reshape(y.shape[1], c, *self.kernel)

    # The walk along the first axis, and the copies that are made for it.

    @property
    def _walks(self) -> bool:
        return self.stride[0] == 1

    @property
    def _steps(self) -> int:
        return self.kernel[0] if self._walks else 1

    @property
    def _copied(self) -> Shape:
        return (1, *self.kernel[1:]) if self._walks else self.kernel

    def _walk(self, count: Shape) -> Iterator[tuple[int, slice]]:
        """Each step, and where the windows' values lie in the flattened rows."""
        ahead = self.dilation[0] * math.prod(count[1:])
        for step in range(self._steps):
            yield step, slice(step * ahead, step * ahead + math.prod(count))

    def _unfolded(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """A few images at a time, their taps copied out: (n, groups, C/groups · taps, rows)."""
        count = self.count(x.shape[2:])
        rows = (x.shape[2], *count[1:]) if self._walks else count
        for block in _blocks(len(x), x.shape[1] * math.prod((*self._copied, *rows))):
            images = x[block]
            columns = np.empty((*images.shape[:2], *self._copied, *rows), x.dtype)
            for tap, there in self._taps(self._copied, rows):
                columns[tap] = images[there]
            yield block, columns.reshape(len(images), self.groups, -1, math.prod(rows))

    def _taps(self, kernel: Shape, count: Shape) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Each tap: its place among the columns, and the positions s·i + d·t that it has in the image."""
        images = (slice(None), slice(None))
        for tap in np.ndindex(*kernel):
            axes = zip(tap, count, self.stride, self.dilation, strict=True)
            yield (*images, *tap), (*images, *(slice(d * t, d * t + s * (n - 1) + 1, s) for t, n, s, d in axes))

    def _by_step(self, W: Array) -> Array:
        """The kernel as one matrix per step and group, (steps, groups, O/groups, C/groups · taps), as BLAS wants it."""
        o, c = len(W) // self.groups, W.shape[1]
        by_step = W.reshape(self.groups, o, c, self._steps, -1).transpose(3, 0, 1, 2, 4)
        return np.ascontiguousarray(by_step).reshape(self._steps, self.groups, o, -1)

    def _flat(self, y: Array) -> Array:
        """(n, O, …) as (n, groups, O/groups, windows)."""
        return y.reshape(len(y), self.groups, y.shape[1] // self.groups, -1)


def _blocks(images: int, size: int) -> Iterator[slice]:
    some = max(1, BLOCK // max(size, 1))
    return (slice(n, n + some) for n in range(0, images, some))
