"""Element-wise activations are a table: each is two expressions, ``f(x)`` and its derivative ``df(x, y)``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.numerics import in_blocks


class Elementwise(Layer[tuple[Array, ...]]):
    r"""y = f(x), element by element, so the Jacobian is diagonal and dx = dy · f′(x)."""

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, *) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *) or ()"}

    def f(self, x: Array) -> Array:
        """The activation."""
        raise NotImplementedError

    def df(self, x: Array, y: Array) -> Array:
        """Its derivative, from x or from y = f(x), whichever keeps more digits."""
        raise NotImplementedError

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, ...]]:
        y = np.asarray(self.f(x))
        return Forward(y, saved=(x, y))

    def backward(self, saved: tuple[Array, ...], dy: Array) -> Grads:
        x, y = saved
        return Grads(dy * self.df(x, y))


class Together(Elementwise):
    r"""y = f(x) and f′(x) have most of their work in common: ``f_df(x)`` returns both, and forward saves the slope."""

    def f_df(self, x: Array) -> tuple[Array, Array]:
        """The activation and its derivative."""
        raise NotImplementedError

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, ...]]:
        y, slope = in_blocks(self.f_df, x)
        return Forward(y, saved=(slope,))

    def backward(self, saved: tuple[Array, ...], dy: Array) -> Grads:
        (slope,) = saved
        return Grads(dy * slope)
