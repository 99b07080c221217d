"""Activations in which the elements of a row share a formula: the softmax family, and the gated linear unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.numerics import log_softmax, sigmoid, sigmoid_slope, softmax


def softmax_backward(y: Array, dy: Array, axis: int) -> Array:
    r"""Dx = y (dy − Σ dy y): the Jacobian diag(y) − y yᵀ, applied without being formed."""
    return np.asarray(y * (dy - (dy * y).sum(axis, keepdims=True)))


@dataclass(frozen=True)
class _Along(Layer[tuple[Array, int]]):
    """A layer that works along one axis; None means torch's old choice: axis 0 of 0, 1 or 3 axes, else axis 1."""

    dim: int | None = None

    def inputs(self) -> dict[str, str]:
        return {"x": "(*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*)"}

    def axis(self, x: Array) -> int:
        """The axis, for an input of this rank."""
        return self.dim if self.dim is not None else (0 if x.ndim in (0, 1, 3) else 1)

    def check(self, *inputs: Any, **options: Any) -> None:
        """The axis must exist."""
        rank = max(inputs[0].ndim, 1)
        if not -rank <= self.axis(inputs[0]) < rank:
            raise ShapeError(
                f"{self!r}: x has shape {inputs[0].shape}; wanted an axis {self.dim}. Choose dim within {-rank} to {rank - 1}."
            )


@dataclass(frozen=True)
class Softmax(_Along):
    r"""yᵢ = e^{xᵢ} / Σⱼ e^{xⱼ} along dim;   dx = y (dy − Σ dy y).

    Shapes: x (*), y (*). Torch: torch.nn.Softmax.
    """

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, int]]:
        axis = self.axis(x)
        y = softmax(np.atleast_1d(x), axis).reshape(x.shape)
        return Forward(y, saved=(y, axis))

    def backward(self, saved: tuple[Array, int], dy: Array) -> Grads:
        r"""∂yᵢ/∂xⱼ = yᵢ (δᵢⱼ − yⱼ), so dxⱼ = Σᵢ dyᵢ yᵢ (δᵢⱼ − yⱼ) = yⱼ (dyⱼ − Σᵢ dyᵢ yᵢ).

        An upstream of ones gives zero: adding a constant to a row does not change its softmax.
        """
        y, axis = saved
        return Grads(softmax_backward(np.atleast_1d(y), np.atleast_1d(dy), axis).reshape(dy.shape))


@dataclass(frozen=True)
class Softmin(_Along):
    r"""y = softmax(−x) along dim;   dx = −y (dy − Σ dy y).

    Shapes: x (*), y (*). Torch: torch.nn.Softmin.
    """

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, int]]:
        axis = self.axis(x)
        y = softmax(-np.atleast_1d(x), axis).reshape(x.shape)
        return Forward(y, saved=(y, axis))

    def backward(self, saved: tuple[Array, int], dy: Array) -> Grads:
        r"""The softmax's gradient, with the sign of x ↦ −x."""
        y, axis = saved
        return Grads(-softmax_backward(np.atleast_1d(y), np.atleast_1d(dy), axis).reshape(dy.shape))


@dataclass(frozen=True)
class LogSoftmax(_Along):
    r"""y = x − log Σ eˣ along dim;   dx = dy − eʸ Σ dy.

    Shapes: x (*), y (*). Torch: torch.nn.LogSoftmax.
    """

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, int]]:
        axis = self.axis(x)
        y = log_softmax(np.atleast_1d(x), axis).reshape(x.shape)
        return Forward(y, saved=(y, axis))

    def backward(self, saved: tuple[Array, int], dy: Array) -> Grads:
        r"""∂yᵢ/∂xⱼ = δᵢⱼ − softmax(x)ⱼ, and softmax(x) = eʸ."""
        y, axis = np.atleast_1d(saved[0]), saved[1]
        rows = np.atleast_1d(dy)
        return Grads((rows - np.exp(y) * rows.sum(axis, keepdims=True)).reshape(dy.shape))


@dataclass(frozen=True)
class Softmax2d(Layer[Array]):
    r"""The softmax over the channels of every pixel;   dx = y (dy − Σ_c dy y).

    Shapes: x (N, C, H, W) or (C, H, W), y as x. Torch: torch.nn.Softmax2d.
    """

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, C, H, W) or (C, H, W)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, C, H, W) or (C, H, W)"}

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Array]:
        y = softmax(x, -3)
        return Forward(y, saved=y)

    def backward(self, saved: Array, dy: Array) -> Grads:
        return Grads(softmax_backward(saved, dy, -3))


@dataclass(frozen=True)
class GLU(Layer[tuple[Array, Array]]):
    r"""y = a σ(b), a and b the first and second half of x along dim;   da = dy σ(b),   db = dy a σ′(b).

    Shapes: x (*, 2S, *), y (*, S, *). Torch: torch.nn.GLU. Paper: Dauphin et al. 2017.
    """

    dim: int = -1

    def inputs(self) -> dict[str, str]:
        return {"x": "(*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*half)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The axis must exist and have an even size."""
        x = inputs[0]
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] % 2:
            raise ShapeError(
                f"{self!r}: x has shape {x.shape}; wanted an even size on axis {self.dim}, to be split in two halves."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, Array]]:
        a, b = np.split(x, 2, self.dim)
        return Forward(a * sigmoid(b), saved=(a, b))

    def backward(self, saved: tuple[Array, Array], dy: Array) -> Grads:
        a, b = saved
        return Grads(np.concatenate([dy * sigmoid(b), dy * a * sigmoid_slope(b)], self.dim))
