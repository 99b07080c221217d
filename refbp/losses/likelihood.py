"""Losses that measure one distribution by another: −log of a likelihood, and the Kullback–Leibler divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads
from refbp.errors import ShapeError, ValueRangeError
from refbp.losses._loss import BatchReduction, Loss, Pointwise, Reduction
from refbp.numerics import sum_to_shape
from refbp.shapes import Shape


@dataclass(frozen=True)
class KLDivLoss(Pointwise):
    r"""l = t (log t − x), x = log q: summed over a distribution, D(t ‖ q);   ∂l/∂x = −t,   ∂l/∂t = log t + 1 − x.

    With log_target the target is τ = log t:   l = e^τ (τ − x),   ∂l/∂x = −e^τ,   ∂l/∂τ = e^τ (τ + 1 − x).
    0 log 0 = 0. "mean" divides by the number of elements, "batchmean" by the batch size, which makes it the divergence.
    Shapes: input (*) of log-probabilities, target (*), loss () or (*) for reduction="none".
    Torch: torch.nn.KLDivLoss. Paper: Kullback & Leibler 1951.
    """

    size_average: bool | None = None
    reduce: bool | None = None
    reduction: BatchReduction = "mean"
    log_target: bool = False

    def count(self, shape: Shape) -> int:
        return shape[0] if self.reduction == "batchmean" and shape else math.prod(shape)

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        return np.exp(t) * (t - x) if self.log_target else t * np.log(np.where(t == 0, 1, t)) - t * x

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        return -np.exp(t) if self.log_target else -t

    def dt(self, x: Array, t: Array, **weights: Array) -> Any:
        if self.log_target:
            return np.exp(t) * (t + 1 - x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(t) + t / t - x  # t/t, not 1: at t = 0 the slope is −∞ to the right, and there is nothing to the left


@dataclass(frozen=True)
class PoissonNLLLoss(Pointwise):
    r"""−log of a Poisson likelihood of t, but for log t!:   l = eˣ − t x, the rate being λ = eˣ;   ∂l/∂x = eˣ − t.

    Without log_input, λ = x:   l = x − t log(x + ε);   ∂l/∂x = 1 − t/(x + ε). In both, ∂l/∂t = −log λ.
    full adds Stirling's log t! ≈ t log t − t + ½ log 2πt, and log t + 1/2t to ∂l/∂t, where t > 1.
    Shapes: input (*), target (*), loss () or (*) for reduction="none".
    Torch: torch.nn.PoissonNLLLoss, whose full ∂l/∂t is NaN for t ≤ 0: it multiplies log 0 by the zero of t > 1.
    """

    log_input: bool = True
    full: bool = False
    size_average: bool | None = None
    eps: float = 1e-8
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        loss = np.exp(x) - t * x if self.log_input else x - t * np.log(x + self.eps)
        if self.full:
            n = np.where(t <= 1, 1, t)
            loss = loss + np.where(t <= 1, 0, n * np.log(n) - n + np.log(2 * math.pi * n) / 2)
        return loss

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        return np.exp(x) - t if self.log_input else 1 - t / (x + self.eps)

    def dt(self, x: Array, t: Array, **weights: Array) -> Any:
        dt = -x if self.log_input else -np.log(x + self.eps)
        if self.full:
            n = np.where(t <= 1, 1, t)
            dt = dt + np.where(t <= 1, 0, np.log(n) + 1 / (2 * n))
        return dt


class _Gaussian(NamedTuple):
    z: Array  # (x − t) / v
    v: Array  # the variance, clamped, with the axes that it is broadcast along
    clamped: Array  # True where it was, shaped like v
    shapes: tuple[Shape, Shape]  # of target and var as they were given


@dataclass(frozen=True)
class GaussianNLLLoss(Loss[_Gaussian]):
    r"""l = ½ (log v + (x − t)²/v), v = max(var, ε);   ∂l/∂x = (x − t)/v = −∂l/∂t,   ∂l/∂var = ½ (1/v − (x − t)²/v²).

    full adds ½ log 2π. Below ε the loss does not depend on var, so ∂l/∂var = 0 there.
    Shapes: input (*), target as input or with axes of size 1; var as input, or with one axis of size 1, or without the
    last axis; loss () or as input for reduction="none".
    Torch: torch.nn.GaussianNLLLoss, whose ∂l/∂var takes v for var below ε too. Paper: Nix & Weigend 1994.
    """

    full: bool = field(default=False, kw_only=True)
    eps: float = field(default=1e-6, kw_only=True)
    reduction: Reduction = field(default="mean", kw_only=True)

    def inputs(self) -> dict[str, str]:
        return {
            "input": "(N, *) or ()",
            "target": "(1, *target) or (N, *target) or ()",
            "var": "(1, *var) or (N, *var) or (N) or ()",
        }

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *) or ()" if self.reduction == "none" else "()"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """Target and variance must broadcast to the input, and no variance may be negative."""
        x, t, var = inputs
        if t.ndim != x.ndim or any(a not in (1, b) for a, b in zip(t.shape, x.shape, strict=True)):
            raise ShapeError(f"GaussianNLLLoss: target has shape {t.shape}; wanted input's {x.shape}, or 1 in place of a size.")
        other = [a for a, b in zip(var.shape, x.shape, strict=False) if a != b]
        if var.shape not in (x.shape, x.shape[:-1]) and not (var.ndim == x.ndim and other == [1]):
            raise ShapeError(
                f"GaussianNLLLoss: var has shape {var.shape}; wanted input's {x.shape}, the same with one axis of size 1,"
                f" or {x.shape[:-1]}: one variance per row. Pass np.broadcast_to(var, {x.shape}) for any other."
            )
        if (var < 0).any():
            raise ValueRangeError(f"GaussianNLLLoss: var holds {np.nanmin(var):g}; wanted at least 0: pass exp(log_var).")

    def forward(self, state: Mapping[str, Array], input: Array, target: Array, var: Array) -> Forward[_Gaussian]:
        v = var if var.shape == input.shape or var.ndim == input.ndim else var[..., None]
        clamped = v < self.eps
        v = np.maximum(v, self.eps)
        z = (input - target) / v
        losses = (np.log(v) + (input - target) * z) / 2
        if self.full:
            losses = losses + math.log(2 * math.pi) / 2
        return Forward(self.reduced(losses), _Gaussian(z, v, clamped, (target.shape, var.shape)))

    def backward(self, saved: _Gaussian, dy: Array) -> Grads:
        r"""With z = (x − t)/v: ∂l/∂v = ½ (1/v − z²). A variance that serves a whole row collects the row's gradients."""
        z, v, clamped, (target, var) = saved
        dl = self.spread(dy, z.shape)
        dx = dl * z
        dv = np.where(clamped, 0, dl * (1 / v - z * z) / 2)
        return Grads(dx, -sum_to_shape(dx, target), sum_to_shape(dv, v.shape).reshape(var))
