"""A learning rate of its own for every element, by the squares of its past gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from refbp.contract import Array
from refbp.optim._optimizer import Optimizer, Slots


@dataclass(frozen=True)
class Adagrad(Optimizer):
    r"""xₜ = xₜ₋₁ − ηₜ gₜ / (√sₜ + ε),   sₜ = sₜ₋₁ + gₜ²,   ηₜ = η / (1 + (t − 1) lr_decay).

    Weight decay: gₜ + λ xₜ₋₁ in place of gₜ. s₀ = initial_accumulator_value.

    Torch: torch.optim.Adagrad. Paper: Duchi, Hazan & Singer 2011.
    """

    lr: float = 1e-2
    lr_decay: float = 0
    weight_decay: float = 0
    initial_accumulator_value: float = 0
    eps: float = 1e-10
    maximize: bool = field(default=False, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        return self.at_least_zero("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        return {"sum": self.initial_accumulator_value}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        x, g = self.decayed(x, g)
        eta = self.lr / (1 + (t - 1) * self.lr_decay)
        s = memory["sum"] + g * g
        return x - eta * g / (np.sqrt(s) + self.eps), {"sum": s}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    r"""xₜ = xₜ₋₁ − η gₜ / (√vₜ + ε),   vₜ = α vₜ₋₁ + (1 − α) gₜ².

    Centered: the variance vₜ − ḡₜ² in place of vₜ, with ḡₜ = α ḡₜ₋₁ + (1 − α) gₜ. With momentum μ:
    bₜ = μ bₜ₋₁ + gₜ / (√vₜ + ε),   xₜ = xₜ₋₁ − η bₜ. Weight decay: gₜ + λ xₜ₋₁ in place of gₜ.

    Torch: torch.optim.RMSprop; its centered root is NaN where rounding leaves vₜ < ḡₜ² (a constant gradient does); a
    variance is at least 0, and here it stays so. Paper: Tieleman & Hinton 2012 (lecture 6.5); centered: Graves 2013.
    """

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0
    momentum: float = 0
    centered: bool = False
    maximize: bool = field(default=False, kw_only=True)  # by keyword, as torch has implementation switches before it

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        return self.at_least_zero("lr", "alpha", "eps", "weight_decay", "momentum")

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        used = {"square_avg": True, "grad_avg": self.centered, "momentum_buffer": self.momentum > 0}
        return {slot: 0.0 for slot, is_used in used.items() if is_used}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        x, g = self.decayed(x, g)
        v = self.alpha * memory["square_avg"] + (1 - self.alpha) * g * g
        slots = {"square_avg": v}
        if self.centered:
            mean = self.alpha * memory["grad_avg"] + (1 - self.alpha) * g
            slots["grad_avg"] = mean
            v = np.maximum(v - mean * mean, 0)
        direction = g / (np.sqrt(v) + self.eps)
        if self.momentum > 0:
            direction = self.momentum * memory["momentum_buffer"] + direction
            slots["momentum_buffer"] = direction
        return x - self.lr * direction, slots


@dataclass(frozen=True)
class Adadelta(Optimizer):
    r"""xₜ = xₜ₋₁ − η Δₜ,   Δₜ = gₜ √(uₜ₋₁ + ε) / √(vₜ + ε),

    vₜ = ρ vₜ₋₁ + (1 − ρ) gₜ²,   uₜ = ρ uₜ₋₁ + (1 − ρ) Δₜ²: a step has the unit of x, and needs no learning rate.
    Weight decay: gₜ + λ xₜ₋₁ in place of gₜ.

    Torch: torch.optim.Adadelta. Paper: Zeiler 2012.
    """

    lr: float = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0
    maximize: bool = field(default=False, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least_zero("lr", "eps", "weight_decay")
        yield 0 <= self.rho <= 1, "rho", "a number from 0 to 1"

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        x, g = self.decayed(x, g)
        v = self.rho * memory["square_avg"] + (1 - self.rho) * g * g
        delta = g * np.sqrt(memory["acc_delta"] + self.eps) / np.sqrt(v + self.eps)
        u = self.rho * memory["acc_delta"] + (1 - self.rho) * delta * delta
        return x - self.lr * delta, {"square_avg": v, "acc_delta": u}


@dataclass(frozen=True)
class Adafactor(Optimizer):
    r"""xₜ = (1 − η λ) xₜ₋₁ − αₜ Uₜ / max(1, rms(Uₜ) / d),   Uₜ = gₜ / max(√Vₜ, ε₁),

    αₜ = max(ε₂, rms(xₜ₋₁)) min(η, 1/√t). Of a matrix only the row and column means of gₜ² are remembered, each by
    Rₜ = (1 − t^τ) Rₜ₋₁ + t^τ meanⱼ(gₜ²), τ = beta2_decay, and V is their product of rank one: Vᵢⱼ = Rᵢ Cⱼ / mean(R).
    Of a vector V itself is remembered. More axes than two are a stack of matrices; ε₁ is by default the dtype's epsilon.

    Torch: torch.optim.Adafactor. Paper: Shazeer & Stern 2018, which has ε₁ in R and C, and 0.01 for η.
    """

    lr: float = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = field(default=True, init=False, repr=False)
    maximize: bool = field(default=False, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least_zero("lr", "weight_decay")
        yield self.beta2_decay <= 0, "beta2_decay", "a number of at most 0"
        yield all(e is None or e >= 0 for e in self.eps), "eps", "None or a number of at least 0, and a number of at least 0"
        yield self.d >= 1, "d", "a number of at least 1"

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        if x.ndim < 2:
            return {"variance": 0.0}
        rows, cols = (*x.shape[:-1], 1), (*x.shape[:-2], 1, x.shape[-1])
        return {"row_var": np.zeros(rows, x.dtype), "col_var": np.zeros(cols, x.dtype)}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        eps = float(np.finfo(x.dtype).eps) if self.eps[0] is None else self.eps[0]
        alpha = max(self.eps[1], _rms(x)) * min(self.lr, 1 / math.sqrt(t))
        x, g = self.decayed(x, g)
        new = t**self.beta2_decay
        if x.ndim < 2:
            V = (1 - new) * memory["variance"] + new * g * g
            slots = {"variance": V}
        else:
            R = (1 - new) * memory["row_var"] + new * (g * g).mean(-1, keepdims=True)
            C = (1 - new) * memory["col_var"] + new * (g * g).mean(-2, keepdims=True)
            V = R * C / np.maximum(R.mean(-2, keepdims=True), eps)
            slots = {"row_var": R, "col_var": C}
        U = g / np.maximum(np.sqrt(V), eps)
        return x - alpha / max(1, _rms(U) / self.d) * U, slots


def _rms(x: Array) -> float:
    return float(np.linalg.norm(x)) / math.sqrt(max(x.size, 1))
