"""Losses of a difference d = x − t: square, absolute value, and the two ways to join them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.losses._loss import Pointwise, Reduction


@dataclass(frozen=True)
class MSELoss(Pointwise):
    r"""l = (x − t)²;   ∂l/∂x = 2(x − t) = −∂l/∂t.

    Shapes: input (*), target (*), loss () or (*) for reduction="none". Torch: torch.nn.MSELoss.
    """

    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        return (x - t) * (x - t)

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        return 2 * (x - t)


def _sign(d: Array) -> Array:
    """The sign, 0 for NaN as in torch (np.sign gives NaN)."""
    return np.asarray((d > 0).astype(d.dtype) - (d < 0))


@dataclass(frozen=True)
class L1Loss(Pointwise):
    r"""l = |x − t|;   ∂l/∂x = sign(x − t) = −∂l/∂t.

    Shapes: input (*), target (*), loss () or (*) for reduction="none". Torch: torch.nn.L1Loss. Where x = t, it is 0.
    """

    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        return np.abs(x - t)

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        return _sign(x - t)


@dataclass(frozen=True)
class SmoothL1Loss(Pointwise):
    r"""l = d² / 2β if |d| < β else |d| − β/2, d = x − t;   ∂l/∂x = clip(d/β, −1, 1) = −∂l/∂t.

    Shapes: input (*), target (*), loss () or (*) for reduction="none". With β = 0 it is L1Loss, and 0 where x = t.
    Torch: torch.nn.SmoothL1Loss. Paper: Girshick 2015.
    """

    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"
    beta: float = 1.0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.beta >= 0, "beta", "a number of at least 0"

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        d = np.abs(x - t)
        if self.beta == 0:
            return d
        return np.where(d < self.beta, d * d / (2 * self.beta), d - self.beta / 2)

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        return _sign(x - t) if self.beta == 0 else np.clip((x - t) / self.beta, -1, 1)


@dataclass(frozen=True)
class HuberLoss(Pointwise):
    r"""l = d² / 2 if |d| ≤ δ else δ(|d| − δ/2), d = x − t;   ∂l/∂x = clip(d, −δ, δ) = −∂l/∂t.

    Shapes: input (*), target (*), loss () or (*) for reduction="none". Torch: torch.nn.HuberLoss. Paper: Huber 1964.
    """

    reduction: Reduction = "mean"
    delta: float = 1.0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.delta > 0, "delta", "a positive number"

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        d = np.abs(x - t)
        return np.where(d <= self.delta, d * d / 2, self.delta * (d - self.delta / 2))

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        return np.clip(x - t, -self.delta, self.delta)
