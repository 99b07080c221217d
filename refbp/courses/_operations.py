"""Operations that a framework is built from, as layers: the references of courses in which students write one.

Each is one line forward and one line backward. With y of x's shape the gradient is dy f′(x); what only moves or copies
elements is undone, and copies are added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.numerics import sum_to_shape

State = Mapping[str, Array]


class _Operation(Layer[Any]):
    """One input, one output; no state."""

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*y)"}


class _OfElements(_Operation):
    """y = f(x), element by element: a table of f and of its slope, which may use y."""

    def f(self, x: Array) -> Array:
        raise NotImplementedError

    def df(self, x: Array, y: Array) -> Array:
        raise NotImplementedError

    def forward(self, _state: State, x: Array) -> Forward[tuple[Array, Array]]:
        y = self.f(x)
        return Forward(y, saved=(x, y))

    def backward(self, saved: tuple[Array, Array], dy: Array) -> Grads:
        return Grads(dy * self.df(*saved))


@dataclass(frozen=True)
class Exp(_OfElements):
    r"""y = eˣ;   dx = dy y."""

    def f(self, x: Array) -> Array:
        return np.exp(x)

    def df(self, x: Array, y: Array) -> Array:
        return y


@dataclass(frozen=True)
class Log(_OfElements):
    r"""y = log(x + ε);   dx = dy / (x + ε)."""

    eps: float = 0.0

    def f(self, x: Array) -> Array:
        return np.asarray(np.log(x + self.eps))

    def df(self, x: Array, y: Array) -> Array:
        return np.asarray(1 / (x + self.eps))


@dataclass(frozen=True)
class Negate(_OfElements):
    r"""y = −x;   dx = −dy."""

    def f(self, x: Array) -> Array:
        return -x

    def df(self, x: Array, y: Array) -> Array:
        return -np.ones_like(y)


@dataclass(frozen=True)
class Reciprocal(_OfElements):
    r"""y = 1 / x;   dx = −dy / x²."""

    def f(self, x: Array) -> Array:
        return np.asarray(1 / x)

    def df(self, x: Array, y: Array) -> Array:
        return -y * y


@dataclass(frozen=True)
class AddScalar(_OfElements):
    r"""y = x + s;   dx = dy."""

    scalar: float = 2.5

    def f(self, x: Array) -> Array:
        return np.asarray(x + np.asarray(self.scalar, x.dtype))

    def df(self, x: Array, y: Array) -> Array:
        return np.ones_like(y)


@dataclass(frozen=True)
class MulScalar(_OfElements):
    r"""y = s x;   dx = s dy."""

    scalar: float = 2.5

    def f(self, x: Array) -> Array:
        return np.asarray(x * np.asarray(self.scalar, x.dtype))

    def df(self, x: Array, y: Array) -> Array:
        return np.full_like(y, self.scalar)


@dataclass(frozen=True)
class DivScalar(_OfElements):
    r"""y = x / s;   dx = dy / s."""

    scalar: float = 2.5

    def f(self, x: Array) -> Array:
        return np.asarray(x / np.asarray(self.scalar, x.dtype))

    def df(self, x: Array, y: Array) -> Array:
        return np.full_like(y, 1 / self.scalar)


@dataclass(frozen=True)
class PowerScalar(_OfElements):
    r"""y = xⁿ;   dx = dy n xⁿ⁻¹."""

    scalar: int = 3

    def f(self, x: Array) -> Array:
        return np.asarray(x**self.scalar)

    def df(self, x: Array, y: Array) -> Array:
        return np.asarray(self.scalar * x ** (self.scalar - 1))


@dataclass(frozen=True)
class Power(Layer[tuple[Array, Array, Array]]):
    r"""y = aᵇ;   da = dy b aᵇ⁻¹,   db = dy aᵇ log a. a is positive."""

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*y)"}

    def forward(self, _state: State, a: Array, b: Array) -> Forward[tuple[Array, Array, Array]]:
        y = np.asarray(a**b)
        return Forward(y, saved=(a, b, y))

    def backward(self, saved: tuple[Array, Array, Array], dy: Array) -> Grads:
        a, b, y = saved
        return Grads(dy * b * a ** (b - 1), dy * y * np.log(a))


@dataclass(frozen=True)
class Summation(_Operation):
    r"""y = Σ x over axes, all of them for None;   dx = dy, copied along them."""

    axes: tuple[int, ...] | None = None
    keepdims: bool = False

    def forward(self, _state: State, x: Array) -> Forward[tuple[int, ...]]:
        return Forward(np.asarray(x.sum(self.axes, keepdims=self.keepdims)), saved=x.shape)

    def backward(self, saved: tuple[int, ...], dy: Array) -> Grads:
        return Grads(np.broadcast_to(_kept(dy, self.axes, len(saved)), saved).copy())


@dataclass(frozen=True)
class LogSumExp(_Operation):
    r"""y = log Σ eˣ over axes;   dx = dy eˣ⁻ʸ."""

    axes: tuple[int, ...] | None = None

    def forward(self, _state: State, x: Array) -> Forward[tuple[Array, Array]]:
        top = x.max(self.axes, keepdims=True)
        y = np.log(np.exp(x - top).sum(self.axes, keepdims=True)) + top
        return Forward(np.asarray(y.squeeze(self.axes)), saved=(x, y))

    def backward(self, saved: tuple[Array, Array], dy: Array) -> Grads:
        x, y = saved
        return Grads(_kept(dy, self.axes, x.ndim) * np.exp(x - y))


def _kept(dy: Array, axes: tuple[int, ...] | None, ndim: int) -> Array:
    """With axes of size 1 where a sum has taken them away."""
    if dy.ndim == ndim:
        return dy
    return np.asarray(np.expand_dims(dy, tuple(range(ndim)) if axes is None else axes))


@dataclass(frozen=True)
class BroadcastTo(_Operation):
    r"""y = x, copied to a shape;   dx = Σ dy over the copies."""

    shape: tuple[int, ...]

    def forward(self, _state: State, x: Array) -> Forward[tuple[int, ...]]:
        return Forward(np.broadcast_to(x, self.shape).copy(), saved=x.shape)

    def backward(self, saved: tuple[int, ...], dy: Array) -> Grads:
        return Grads(sum_to_shape(dy, saved))


@dataclass(frozen=True)
class Reshape(_Operation):
    r"""y = x in another shape;   dx = dy in x's."""

    shape: tuple[int, ...]

    def forward(self, _state: State, x: Array) -> Forward[tuple[int, ...]]:
        return Forward(x.reshape(self.shape), saved=x.shape)

    def backward(self, saved: tuple[int, ...], dy: Array) -> Grads:
        return Grads(dy.reshape(saved))


@dataclass(frozen=True)
class Permute(_Operation):
    r"""y = x with its axes in another order;   dx = dy with them back in the old one."""

    order: tuple[int, ...]

    def forward(self, _state: State, x: Array) -> Forward[None]:
        return Forward(x.transpose(self.order), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        return Grads(dy.transpose(np.argsort(self.order)))


@dataclass(frozen=True)
class SwapAxes(_Operation):
    r"""y = x with two axes exchanged, the last two for None;   dx = dy with them exchanged again."""

    axes: tuple[int, ...] | None = None

    def forward(self, _state: State, x: Array) -> Forward[None]:
        return Forward(x.swapaxes(*(self.axes or (-1, -2))), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        return Grads(dy.swapaxes(*(self.axes or (-1, -2))))


@dataclass(frozen=True)
class Flip(_Operation):
    r"""y = x, turned round along axes;   dx = dy, turned round again."""

    axes: tuple[int, ...] = (0,)

    def forward(self, _state: State, x: Array) -> Forward[None]:
        return Forward(np.flip(x, self.axes).copy(), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        return Grads(np.flip(dy, self.axes).copy())


@dataclass(frozen=True)
class Dilate(_Operation):
    r"""y = x with zeros put between its elements along axes, and after the last;   dx = dy at x's places."""

    axes: tuple[int, ...] = (0,)
    dilation: int = 1

    def places(self, ndim: int) -> tuple[slice, ...]:
        """Where the elements of x are."""
        return tuple(slice(None, None, self.dilation + 1 if a in self.axes else 1) for a in range(ndim))

    def forward(self, _state: State, x: Array) -> Forward[None]:
        y = np.zeros([n * (self.dilation + 1) if a in self.axes else n for a, n in enumerate(x.shape)], x.dtype)
        y[self.places(x.ndim)] = x
        return Forward(y, saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        return Grads(dy[self.places(dy.ndim)].copy())


@dataclass(frozen=True)
class Step(Layer[tuple[Array, Array]]):
    r"""y = 1 where a < b (or a = b), else 0;   da = db = 0: a step has no slope."""

    equal: bool = False

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*y)"}

    def forward(self, _state: State, a: Array, b: Array) -> Forward[tuple[Array, Array]]:
        return Forward(np.asarray(a == b if self.equal else a < b, a.dtype), saved=(a, b))

    def backward(self, saved: tuple[Array, Array], dy: Array) -> Grads:
        a, b = saved
        return Grads(np.zeros_like(a), np.zeros_like(b))


@dataclass(frozen=True)
class Maximum(_Operation):
    r"""y = max x along an axis, which is kept;   dx = dy at the first of the largest."""

    axis: int = -1

    def forward(self, _state: State, x: Array) -> Forward[tuple[Array, tuple[int, ...]]]:
        where = np.expand_dims(x.argmax(self.axis), self.axis)
        return Forward(np.take_along_axis(x, where, self.axis), saved=(where, x.shape))

    def backward(self, saved: tuple[Array, tuple[int, ...]], dy: Array) -> Grads:
        where, shape = saved
        dx = np.zeros(shape, dy.dtype)
        np.put_along_axis(dx, where, dy, self.axis)
        return Grads(dx)
