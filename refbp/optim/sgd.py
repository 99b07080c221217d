"""Stochastic gradient descent, with momentum, and with averaging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from refbp.contract import Array
from refbp.optim._optimizer import Optimizer, Slots


@dataclass(frozen=True)
class SGD(Optimizer):
    r"""xₜ = xₜ₋₁ − η gₜ;   with momentum μ and dampening τ:

    b₁ = g₁,   bₜ = μ bₜ₋₁ + (1 − τ) gₜ,   xₜ = xₜ₋₁ − η bₜ;   Nesterov's: xₜ = xₜ₋₁ − η (gₜ + μ bₜ).
    Weight decay: gₜ + λ xₜ₋₁ in place of gₜ. The first gradient is not dampened.

    Torch: torch.optim.SGD. Paper: Robbins & Monro 1951; momentum: Polyak 1964, Sutskever et al. 2013.
    """

    lr: float = 1e-3
    momentum: float = 0
    dampening: float = 0
    weight_decay: float = 0
    nesterov: bool = False
    maximize: bool = field(default=False, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least_zero("lr", "momentum", "weight_decay")
        possible = self.momentum > 0 and self.dampening == 0
        yield possible or not self.nesterov, "nesterov", "False, or a momentum of more than 0 and a dampening of 0"

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        return {"momentum_buffer": 0.0} if self.momentum else {}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        x, g = self.decayed(x, g)
        if not self.momentum:
            return x - self.lr * g, {}
        b = g.copy() if t == 1 else self.momentum * memory["momentum_buffer"] + (1 - self.dampening) * g
        direction = g + self.momentum * b if self.nesterov else b
        return x - self.lr * direction, {"momentum_buffer": b}


@dataclass(frozen=True)
class ASGD(Optimizer):
    r"""xₜ = (1 − λ ηₜ) xₜ₋₁ − ηₜ gₜ,   ηₜ = η / (1 + λ η (t − 1))^α,   λ = lambd, which is also a decay of the weights.

    What is of use in the end is the average of x from step t₀ on, kept in the memory as ``ax``:
    āₜ = āₜ₋₁ + μₜ (xₜ − āₜ₋₁),   μₜ = 1 / max(1, t − 1 − t₀); until then āₜ = xₜ.

    Torch: torch.optim.ASGD, which keeps η and μ in its default dtype: float64 steps have float32's digits unless that is
    float64 too. Paper: Polyak & Juditsky 1992.
    """

    lr: float = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0
    maximize: bool = field(default=False, kw_only=True)  # by keyword, as torch has an implementation switch before it

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least_zero("lr", "weight_decay")

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        return {"ax": 0.0}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        x, g = self.decayed(x, g)
        eta = self.lr / (1 + self.lambd * self.lr * (t - 1)) ** self.alpha
        mu = 1 / max(1, t - 1 - self.t0)
        x = (1 - self.lambd * eta) * x - eta * g
        average = x.copy() if mu == 1 else memory["ax"] + mu * (x - memory["ax"])
        return x, {"ax": average}
