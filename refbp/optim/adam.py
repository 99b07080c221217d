"""Adam and its relatives: the mean of the gradient over the root of the mean of its square, both moving averages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from refbp.contract import Array
from refbp.optim._optimizer import Optimizer, Slots


class _Moments(Optimizer):
    """What the relatives share: β₁ and β₂ of the moving averages, and an ε."""

    betas: tuple[float, float]
    eps: float

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least_zero("lr", "eps", "weight_decay")
        yield all(0 <= beta < 1 for beta in self.betas), "betas", "two numbers, each at least 0 and less than 1"

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def moments(self, g: Array, memory: Slots) -> tuple[Array, Array]:
        """mₜ = β₁ mₜ₋₁ + (1 − β₁) gₜ,   vₜ = β₂ vₜ₋₁ + (1 − β₂) gₜ²."""
        beta1, beta2 = self.betas
        m = beta1 * memory["exp_avg"] + (1 - beta1) * g
        v = beta2 * memory["exp_avg_sq"] + (1 - beta2) * g * g
        return m, v


@dataclass(frozen=True)
class Adam(_Moments):
    r"""xₜ = xₜ₋₁ − η m̂ₜ / (√v̂ₜ + ε),   m̂ₜ = mₜ / (1 − β₁ᵗ),   v̂ₜ = vₜ / (1 − β₂ᵗ),

    mₜ = β₁ mₜ₋₁ + (1 − β₁) gₜ,   vₜ = β₂ vₜ₋₁ + (1 − β₂) gₜ². The hats undo the bias towards m₀ = v₀ = 0.
    Weight decay: gₜ + λ xₜ₋₁ in place of gₜ; decoupled: (1 − ηλ) xₜ₋₁ in place of xₜ₋₁.
    ``amsgrad``: v̂ₜ is that of the largest v so far, so that the step size of an element can only fall.

    Torch: torch.optim.Adam. Paper: Kingma & Ba 2015; amsgrad: Reddi, Kale & Kumar 2018.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    amsgrad: bool = False
    maximize: bool = field(default=False, kw_only=True)
    decoupled_weight_decay: bool = field(default=False, kw_only=True)

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        moments = super().slots(x)
        return {**moments, "max_exp_avg_sq": 0.0} if self.amsgrad else moments

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        beta1, beta2 = self.betas
        x, g = self.decayed(x, g)
        m, v = self.moments(g, memory)
        slots = {"exp_avg": m, "exp_avg_sq": v}
        if self.amsgrad:
            v = np.maximum(memory["max_exp_avg_sq"], v)
            slots["max_exp_avg_sq"] = v
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        return x - self.lr * m_hat / (np.sqrt(v_hat) + self.eps), slots


@dataclass(frozen=True)
class AdamW(Adam):
    r"""xₜ = (1 − ηλ) xₜ₋₁ − η m̂ₜ / (√v̂ₜ + ε): Adam with its weight decay decoupled from the moments.

    Where Adam adds λx to the gradient, √v̂ divides it away again, and weights with large gradients hardly decay.

    Torch: torch.optim.AdamW. Paper: Loshchilov & Hutter 2019.
    """

    weight_decay: float = 1e-2
    decoupled_weight_decay: bool = field(default=True, init=False, repr=False)


@dataclass(frozen=True)
class Adamax(_Moments):
    r"""xₜ = xₜ₋₁ − η m̂ₜ / uₜ,   uₜ = max(β₂ uₜ₋₁, |gₜ| + ε),   m̂ₜ = mₜ / (1 − β₁ᵗ),   mₜ = β₁ mₜ₋₁ + (1 − β₁) gₜ.

    Adam's √v is an ℓ² norm of the past gradients; u is the ℓ^∞ norm. Weight decay: gₜ + λ xₜ₋₁ in place of gₜ.

    Torch: torch.optim.Adamax. Paper: Kingma & Ba 2015, section 7.1.
    """

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    maximize: bool = field(default=False, kw_only=True)

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        return {"exp_avg": 0.0, "exp_inf": 0.0}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        beta1, beta2 = self.betas
        x, g = self.decayed(x, g)
        m = beta1 * memory["exp_avg"] + (1 - beta1) * g
        u = np.maximum(beta2 * memory["exp_inf"], np.abs(g) + self.eps)
        m_hat = m / (1 - beta1**t)
        return x - self.lr * m_hat / u, {"exp_avg": m, "exp_inf": u}


@dataclass(frozen=True)
class NAdam(_Moments):
    r"""xₜ = xₜ₋₁ − η (μₜ₊₁ mₜ / (1 − Πᵢ₌₁ᵗ⁺¹ μᵢ) + (1 − μₜ) gₜ / (1 − Πᵢ₌₁ᵗ μᵢ)) / (√v̂ₜ + ε),

    μₜ = β₁ (1 − ½ 0.96^(tψ)), ψ = momentum_decay; m, v and v̂ as in Adam: its momentum looks ahead, as Nesterov's does.
    Weight decay: gₜ + λ xₜ₋₁ in place of gₜ; decoupled: (1 − ηλ) xₜ₋₁ in place of xₜ₋₁.

    Torch: torch.optim.NAdam, which keeps Πμ in its default dtype: float64 steps have float32's digits unless that is
    float64 too. Paper: Dozat 2016.
    """

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False
    maximize: bool = field(default=False, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        yield from self.at_least_zero("momentum_decay")

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        return {**super().slots(x), "mu_product": np.ones(())}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        x, g = self.decayed(x, g)
        m, v = self.moments(g, memory)
        mu, mu_next = self._mu(t), self._mu(t + 1)
        product = float(memory["mu_product"]) * mu
        ahead = mu_next / (1 - product * mu_next) * m + (1 - mu) / (1 - product) * g
        v_hat = v / (1 - self.betas[1] ** t)
        slots = {"exp_avg": m, "exp_avg_sq": v, "mu_product": np.asarray(product)}
        return x - self.lr * ahead / (np.sqrt(v_hat) + self.eps), slots

    def _mu(self, t: int) -> float:
        return float(self.betas[0] * (1 - 0.5 * 0.96 ** (t * self.momentum_decay)))


@dataclass(frozen=True)
class RAdam(_Moments):
    r"""xₜ = xₜ₋₁ − η rₜ m̂ₜ √(1 − β₂ᵗ) / (√vₜ + ε) where ρₜ > 5, else xₜ₋₁ − η m̂ₜ; m, v and m̂ as in Adam.

    In the first steps v̂ is an estimate from few gradients, of a variance that rₜ makes up for; ρₜ is their number:
    ρₜ = ρ∞ − 2t β₂ᵗ / (1 − β₂ᵗ),   ρ∞ = 2 / (1 − β₂) − 1,   rₜ² = (ρₜ − 4)(ρₜ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρₜ).
    Weight decay: gₜ + λ xₜ₋₁ in place of gₜ; decoupled: (1 − ηλ) xₜ₋₁ in place of xₜ₋₁.

    Torch: torch.optim.RAdam. Paper: Liu et al. 2020.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    decoupled_weight_decay: bool = False
    maximize: bool = field(default=False, kw_only=True)

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        beta1, beta2 = self.betas
        x, g = self.decayed(x, g)
        m, v = self.moments(g, memory)
        direction = m / (1 - beta1**t)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            direction = r * direction * math.sqrt(1 - beta2**t) / (np.sqrt(v) + self.eps)
        return x - self.lr * direction, {"exp_avg": m, "exp_avg_sq": v}
