"""optim.py: the update rules, two steps of each from its start, so that what it remembers is seen at work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from refbp.contract import Array, Forward, Layer
from refbp.draws import normal
from refbp.oracle.exercise import Exercise
from refbp.oracle.observation import Observation
from refbp.spec import Case, Mistake

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

    @property
    def output_mistakes(self) -> tuple[Mistake, ...]:
        """The wrong way."""
        return (done_by(_AscendingDescent, ADDED),)

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        w_1 = w - self.lr * dw_0
        return Forward((w_1, w_1 - self.lr * dw_1), None)


@dataclass(frozen=True)
class Momentum(_Rule):
    r"""v = μ v − η dw,   w + v, twice; v starts as 0. Shapes: w, dw_0, dw_1, w_1, w_2 (*)."""

    lr: float
    mu: float = 0.9

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
    decay: float = 0.99
    eps: float = 1e-8

    @property
    def output_mistakes(self) -> tuple[Mistake, ...]:
        """ε under the root."""
        return (done_by(_RootOfBoth, UNDER_THE_ROOT),)

    def root(self, v: Array) -> Array:
        """What a step is divided by."""
        return np.asarray(np.sqrt(v) + self.eps)

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        found, v = [], np.zeros_like(w)
        for dw in (dw_0, dw_1):
            v = self.decay * v + (1 - self.decay) * dw**2
            w = w - self.lr * dw / self.root(v)
            found.append(w)
        return Forward(tuple(found), None)


@dataclass(frozen=True)
class Moments(_Rule):
    r"""m = β₁ m + (1 − β₁) dw,   v = β₂ v + (1 − β₂) dw²,   w − η m̂ / (√v̂ + ε), twice; m and v start as 0.

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) at the t-th step. Shapes: w, dw_0, dw_1, w_1, w_2 (*).
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    start: int = 0  # what t is before the first step, which counts it on

    @property
    def output_mistakes(self) -> tuple[Mistake, ...]:
        """ε under the root, or corrected; steps that are counted from elsewhere, or not at all; moments of the step before."""
        late = () if self.start else (done_by(_LateStart, "t is 2 at the first step: it starts as 1, and is counted on"),)
        return (
            done_by(_MomentsRootOfBoth, UNDER_THE_ROOT),
            done_by(_UncorrectedEpsilon, "ε is added to √v before the correction, where √v̂ + ε is meant"),
            done_by(_AlwaysFirst, "t is 1 at every step: it is not counted on, or not kept"),
            *late,
            done_by(_Uncorrected, "the corrections 1 − β₁ᵗ and 1 − β₂ᵗ are missing"),
            done_by(_MomentsOfBefore, "m and v are used before this step's gradient is in them: they are updated too late"),
            done_by(_Ascending, ADDED),
        )

    def root(self, v: Array) -> Array:
        """What a step is divided by."""
        return np.asarray(np.sqrt(v) + self.eps)

    def correction(self, beta: float, t: int) -> float:
        """What undoes the bias towards the start."""
        return 1 - math.pow(beta, t)

    def step(self, m: Array, v: Array, t: int) -> Array:
        """What is subtracted, for the moments at the t-th step."""
        return self.lr * (m / self.correction(self.beta1, t)) / self.root(v / self.correction(self.beta2, t))

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        found, m, v = [], np.zeros_like(w), np.zeros_like(w)
        for t, dw in enumerate((dw_0, dw_1), self.start + 1):
            m = self.beta1 * m + (1 - self.beta1) * dw
            v = self.beta2 * v + (1 - self.beta2) * dw**2
            w = w - self.step(m, v, t)
            found.append(w)
        return Forward(tuple(found), None)


# … and how they are commonly got wrong -----------------------------------------------------------------------------------

ADDED = "the step is added, where it is to be subtracted"
UNDER_THE_ROOT = "ε is under the root: √(v + ε) in place of √v + ε"


class _AscendingDescent(Descent):
    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        return super().forward(state, w, -dw_0, -dw_1)


class _RootOfBoth(RootMeanSquare):
    def root(self, v: Array) -> Array:
        return np.asarray(np.sqrt(v + self.eps))


class _MomentsRootOfBoth(Moments):
    def root(self, v: Array) -> Array:
        return np.asarray(np.sqrt(v + self.eps))


class _AlwaysFirst(Moments):
    def correction(self, beta: float, t: int) -> float:
        return super().correction(beta, 1)


class _Uncorrected(Moments):
    def correction(self, beta: float, t: int) -> float:
        return 1.0


class _UncorrectedEpsilon(Moments):
    def step(self, m: Array, v: Array, t: int) -> Array:
        corrected = math.sqrt(self.correction(self.beta2, t)) / self.correction(self.beta1, t)
        return np.asarray(self.lr * corrected * m / self.root(v))


class _LateStart(Moments):
    def step(self, m: Array, v: Array, t: int) -> Array:
        return super().step(m, v, t + 1)


class _Ascending(Moments):
    def step(self, m: Array, v: Array, t: int) -> Array:
        return -super().step(m, v, t)


class _MomentsOfBefore(Moments):
    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        first = np.asarray(w - self.step(np.zeros_like(w), np.zeros_like(w), 1 + self.start))
        m, v = (1 - self.beta1) * dw_0, (1 - self.beta2) * dw_0**2
        return Forward((first, np.asarray(first - self.step(m, v, 2 + self.start))), None)


def done_by(cls: type[_Rule], words: str) -> Mistake:
    """What the steps of another rule with the same arguments come to."""

    def outputs(o: Observation) -> dict[str, Array]:
        rule = cls(**o.layer.arguments())
        return dict(zip(rule.outputs(), rule({}, *o.inputs).outputs, strict=True))

    return Mistake(words, outputs)


# The exercises ------------------------------------------------------------------------------------------------------------


def _rule(name: str, settings: str, *layers: Layer[None], convention: str = "") -> Exercise:
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
        convention=convention,
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
    _rule(
        "adam",
        "'learning_rate': lr, 'beta1': beta1, 'beta2': beta2, 'epsilon': eps",
        Moments(0.03, 0.8, 0.95, 1e-2, start=1),
        Moments(0.2, 0.9, 0.7, 1e-3, start=1),
        convention="t starts as 1 and is counted on before it is used, as a hand-out of 2017 has it: the first step's t is 2",
    ),
]
