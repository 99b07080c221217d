"""optim.py: the update rules, two steps of each from its start, so that what it remembers is seen at work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from refbp.contract import Array, Forward, Layer
from refbp.draws import normal
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

# The rules. A step has no backward: nobody differentiates one here --------------------------------------------------------


class _Rule(Layer[None]):
    def inputs(self) -> dict[str, str]:
        return {"w": "(*shape)", "dw_0": "(*shape)", "dw_1": "(*shape)"}

    def outputs(self) -> dict[str, str]:
        return {"w_1": "(*shape)", "w_2": "(*shape)"}


@dataclass(frozen=True)
class Descent(_Rule):
    r"""w − η dw, twice. Shapes: w, dw_0, dw_1, w_1, w_2 (*)."""

    lr: float

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        w_1 = w - self.lr * dw_0
        return Forward((w_1, w_1 - self.lr * dw_1), None)


@dataclass(frozen=True)
class Momentum(_Rule):
    r"""v = μ v − η dw,   w + v, twice; v starts as 0. Shapes: w, dw_0, dw_1, w_1, w_2 (*)."""

    lr: float
    mu: float

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        found, v = [], np.zeros_like(w)
        for dw in (dw_0, dw_1):
            v = self.mu * v - self.lr * dw
            w = w + v
            found.append(w)
        return Forward(tuple(found), None)


@dataclass(frozen=True)
class RootMeanSquare(_Rule):
    r"""v = ρ v + (1 − ρ) dw²,   w − η dw / (√v + ε), twice; v starts as 0. Shapes: w, dw_0, dw_1, w_1, w_2 (*)."""

    lr: float
    decay: float
    eps: float

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        found, v = [], np.zeros_like(w)
        for dw in (dw_0, dw_1):
            v = self.decay * v + (1 - self.decay) * dw**2
            w = w - self.lr * dw / (np.sqrt(v) + self.eps)
            found.append(w)
        return Forward(tuple(found), None)


@dataclass(frozen=True)
class Moments(_Rule):
    r"""m = β₁ m + (1 − β₁) dw,   v = β₂ v + (1 − β₂) dw²,   w − η m̂ / (√v̂ + ε), twice; m and v start as 0.

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) at the t-th step. Shapes: w, dw_0, dw_1, w_1, w_2 (*).
    """

    lr: float
    beta1: float
    beta2: float
    eps: float

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        found, m, v = [], np.zeros_like(w), np.zeros_like(w)
        for t, dw in enumerate((dw_0, dw_1), 1):
            m = self.beta1 * m + (1 - self.beta1) * dw
            v = self.beta2 * v + (1 - self.beta2) * dw**2
            m_hat = m / (1 - math.pow(self.beta1, t))
            v_hat = v / (1 - math.pow(self.beta2, t))
            w = w - self.lr * m_hat / (np.sqrt(v_hat) + self.eps)
            found.append(w)
        return Forward(tuple(found), None)


def _rule(name: str, settings: str, *layers: Layer[None]) -> Exercise:
    """Two steps of one rule; ``settings`` are what its config holds, in the course's words."""
    return Exercise(
        name,
        forward=f"config = {{{settings}}}\n"
        f"next_w, config = {name}(w, dw, config)\n"
        f"after_next_w, config = {name}(next_w, next_dw, config)",
        arrays={"w": "w", "dw": "dw_0", "next_dw": "dw_1"},
        outputs={"next_w": "w_1", "after_next_w": "w_2"},
        tiers={
            "std": [Case(rule, normal(4, 5), normal(4, 5), normal(4, 5), id="two steps") for rule in layers],
            "degenerate": [Case(layers[0], normal(1), normal(1), normal(1), id="two steps of one number")],
        },
    )


EXERCISES = [
    _rule("sgd", "'learning_rate': lr", Descent(0.03), Descent(0.7)),
    _rule("sgd_momentum", "'learning_rate': lr, 'momentum': mu", Momentum(0.03, 0.7), Momentum(0.2, 0.95)),
    _rule(
        "rmsprop",
        "'learning_rate': lr, 'decay_rate': decay, 'epsilon': eps",
        RootMeanSquare(0.03, 0.8, 1e-2),
        RootMeanSquare(0.2, 0.95, 1e-3),
    ),
    _rule(
        "adam",
        "'learning_rate': lr, 'beta1': beta1, 'beta2': beta2, 'epsilon': eps",
        Moments(0.03, 0.8, 0.95, 1e-2),
        Moments(0.2, 0.9, 0.7, 1e-3),
    ),
]
