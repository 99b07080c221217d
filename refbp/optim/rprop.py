"""Resilient backpropagation: only the signs of the gradient are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from refbp.contract import Array
from refbp.optim._optimizer import Optimizer, Slots


@dataclass(frozen=True)
class Rprop(Optimizer):
    r"""xₜ = xₜ₋₁ − Δₜ sign(gₜ), with a step size Δ of its own for every element.

    Where gₜ and gₜ₋₁ agree in sign, Δₜ = η₊ Δₜ₋₁; where they differ, a minimum was passed: Δₜ = η₋ Δₜ₋₁, and gₜ counts
    as 0 in this step and in the next comparison; where either is 0, Δₜ = Δₜ₋₁. Always Δmin ≤ Δₜ ≤ Δmax. Δ₀ = lr.

    Torch: torch.optim.Rprop, which multiplies gₜ gₜ₋₁ and misses signs where that underflows.
    Paper: Riedmiller & Braun 1993; this variant without weight backtracking: Igel & Hüsken 2000 (iRprop−).
    """

    lr: float = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50)
    maximize: bool = field(default=False, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from self.at_least_zero("lr")
        yield 0 < self.etas[0] < 1 < self.etas[1], "etas", "a factor between 0 and 1 and a factor of more than 1"
        yield self.step_sizes[0] <= self.step_sizes[1], "step_sizes", "the smallest step size and the largest, in this order"

    def slots(self, x: Array) -> dict[str, float | Array]:
        return {"prev": 0.0, "step_size": self.lr}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        shrink, grow = self.etas
        size = memory["step_size"]
        agree = np.sign(g) * np.sign(memory["prev"])
        size = np.where(agree > 0, size * grow, np.where(agree < 0, size * shrink, size))
        size = np.clip(size, *self.step_sizes)
        g = np.where(agree < 0, 0, g)
        return x - size * np.sign(g), {"prev": g, "step_size": size}
