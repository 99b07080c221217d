r"""Arithmetic between arrays, and what becomes of a gradient where NumPy broadcasts.

A bias (C,) added to a batch (N, C) is one number used N times, and what is used several times has the *sum* of the
gradients of its uses: dz/ds = ∂z/∂x · dx/ds + ∂z/∂y · dy/ds, one term for every path. So broadcasting needs one rule and
no case of its own: differentiate as if every copy were a number of its own, then sum over the axes along which there
were copies. That sum is :func:`refbp.numerics.sum_to_shape`; it undoes what broadcasting did:

    x (3, 1) → y (2, 3, 5)        dy (2, 3, 5) → Σ over axis 0, which was added, and axis 2, which was stretched → dx (3, 1)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.numerics import sum_to_shape

Pair = tuple[Array, Array]


@dataclass(frozen=True)
class _Broadcast(Layer[Pair]):
    """Two inputs, element by element: ``f`` is the operation, ``df`` the gradient of each input as if of y's shape."""

    def inputs(self) -> dict[str, str]:
        return {"x1": "(*x1)", "x2": "(*x2)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*y)"}

    def f(self, x1: Array, x2: Array) -> Array:
        raise NotImplementedError

    def df(self, x1: Array, x2: Array, dy: Array) -> Pair:
        raise NotImplementedError

    def check(self, *inputs: Any, **options: Any) -> None:
        """Sizes, compared from the last axis on, must be equal or 1."""
        _check_broadcast(self, inputs[0].shape, inputs[1].shape)

    def forward(self, state: Mapping[str, Array], x1: Array, x2: Array) -> Forward[Pair]:
        return Forward(self.f(x1, x2), saved=(x1, x2))

    def backward(self, saved: Pair, dy: Array) -> Grads:
        r"""Each copy's own gradient, summed over the copies."""
        x1, x2 = saved
        d1, d2 = self.df(x1, x2, dy)
        return Grads(sum_to_shape(d1, x1.shape), sum_to_shape(d2, x2.shape))


@dataclass(frozen=True)
class Add(_Broadcast):
    r"""y = x₁ + x₂;   dx₁ = dy,   dx₂ = dy: a sum hands its gradient to both.

    Shapes: x1 (*), x2 (*), y as both broadcast. Torch: torch.add.
    """

    def f(self, x1: Array, x2: Array) -> Array:
        return x1 + x2

    def df(self, x1: Array, x2: Array, dy: Array) -> Pair:
        return dy.copy(), dy.copy()


@dataclass(frozen=True)
class Sub(_Broadcast):
    r"""y = x₁ − x₂;   dx₁ = dy,   dx₂ = −dy.

    Shapes: x1 (*), x2 (*), y as both broadcast. Torch: torch.sub.
    """

    def f(self, x1: Array, x2: Array) -> Array:
        return x1 - x2

    def df(self, x1: Array, x2: Array, dy: Array) -> Pair:
        return dy.copy(), -dy


@dataclass(frozen=True)
class Mul(_Broadcast):
    r"""y = x₁ x₂;   dx₁ = dy x₂,   dx₂ = dy x₁: each factor's slope is the other.

    Shapes: x1 (*), x2 (*), y as both broadcast. Torch: torch.mul.
    """

    def f(self, x1: Array, x2: Array) -> Array:
        return x1 * x2

    def df(self, x1: Array, x2: Array, dy: Array) -> Pair:
        return dy * x2, dy * x1


@dataclass(frozen=True)
class Div(_Broadcast):
    r"""y = x₁ / x₂;   dx₁ = dy / x₂,   dx₂ = −dy x₁ / x₂².

    Shapes: x1 (*), x2 (*), y as both broadcast. Torch: torch.div.
    """

    def f(self, x1: Array, x2: Array) -> Array:
        return x1 / x2

    def df(self, x1: Array, x2: Array, dy: Array) -> Pair:
        return dy / x2, -dy * (x1 / x2 / x2)


@dataclass(frozen=True)
class MatMul(Layer[Pair]):
    r"""Y = X₁ X₂;   dX₁ = dY X₂ᵀ,   dX₂ = X₁ᵀ dY.

    Shapes: x1 (*, I, K), x2 (*, K, J), y (*, I, J); the leading axes are broadcast. A vector x1 (K) is a row whose
    axis I is dropped from y, a vector x2 (K) a column whose axis J is: two vectors have an inner product ().
    Torch: torch.matmul.
    """

    def inputs(self) -> dict[str, str]:
        return {"x1": "(*x1, K)", "x2": "(*x2)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*y)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The columns of one are the rows of the other, and the leading axes broadcast."""
        x1, x2 = (a.shape for a in inputs)
        rows = x2[-2:-1] or x2  # a vector's only axis
        if rows != x1[-1:]:
            raise ShapeError(
                f"{self!r}: x1 has shape {x1} and x2 {x2}; wanted as many columns in x1, its last axis, as rows in x2, its"
                f" last axis but one (the only one of a vector)."
            )
        _check_broadcast(self, x1[:-2], x2[:-2])

    def forward(self, state: Mapping[str, Array], x1: Array, x2: Array) -> Forward[Pair]:
        return Forward(np.matmul(x1, x2), saved=(x1, x2))

    def backward(self, saved: Pair, dy: Array) -> Grads:
        r"""yᵢⱼ = Σₖ aᵢₖ bₖⱼ, so aᵢₖ reaches the whole row yᵢ through bₖ: daᵢₖ = Σⱼ dyᵢⱼ bₖⱼ, and dbₖⱼ = Σᵢ aᵢₖ dyᵢⱼ.

        Shapes leave no choice: only dY (I, J) times X₂ᵀ (J, K) gives X₁'s (I, K). A vector becomes the matrix that it
        stood for, and gets that one's gradient; a matrix used by a whole batch gets the sum over the batch.
        """
        x1, x2 = saved
        X1 = x1[None, :] if x1.ndim == 1 else x1
        X2 = x2[:, None] if x2.ndim == 1 else x2
        dY = np.expand_dims(dy, (-2,) * (x1.ndim == 1) + (-1,) * (x2.ndim == 1))
        dX1, dX2 = np.matmul(dY, X2.mT), np.matmul(X1.mT, dY)
        return Grads(sum_to_shape(dX1, X1.shape).reshape(x1.shape), sum_to_shape(dX2, X2.shape).reshape(x2.shape))


@dataclass(frozen=True)
class Concat(Layer[list[int]]):
    r"""y = x₀, x₁, … side by side along axis dim;   dx₀, dx₁, … = dy cut where they meet.

    ``count`` says how many inputs there are: each of them is an input of its own, with a gradient of its own.
    Shapes: xᵢ (*, Sᵢ, *) with Sᵢ on axis dim and the other sizes alike, y (*, Σ Sᵢ, *). Torch: torch.cat.
    """

    dim: int = 0
    count: int = 2

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.count >= 1, "count", "an integer of at least 1"

    def _pattern(self, size: str) -> str:
        """What an input looks like whose size along ``dim`` is called ``size``; only dim 0 leaves no batch axis."""
        if self.dim == 0:
            return f"({size}, *rest)"
        if self.dim > 0:
            return f"({', '.join(['N', *(f'A{i}' for i in range(1, self.dim)), size, '*rest'])})"
        after = [size, *(f"B{i}" for i in range(1, -self.dim))]
        return f"({', '.join(['N', '*rest', *after])}) or ({', '.join(after)})"

    def inputs(self) -> dict[str, str]:
        return {f"x{i}": self._pattern(f"S{i}") for i in range(self.count)}

    def outputs(self) -> dict[str, str]:
        return {"y": self._pattern("S")}

    def forward(self, state: Mapping[str, Array], *xs: Array) -> Forward[list[int]]:
        return Forward(np.concatenate(xs, self.dim), saved=[x.shape[self.dim] for x in xs])

    def backward(self, saved: list[int], dy: Array) -> Grads:
        cuts = np.cumsum(saved)[:-1]
        return Grads(*(d.copy() for d in np.split(dy, cuts, self.dim)))


def _check_broadcast(owner: object, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(
            f"{owner!r}: {a} and {b} do not broadcast; wanted sizes that, compared from the last on, are equal or 1."
        ) from None
