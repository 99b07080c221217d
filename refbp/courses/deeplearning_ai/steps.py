"""Courses 1 and 2: steps of an optimizer of dicts, two of each from its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.contract import Array, Forward, Layer
from refbp.courses.cs231n.updates import ADDED, Descent, Moments, Momentum, done_by
from refbp.draws import normal
from refbp.oracle.exercise import Exercise
from refbp.spec import Case, Mistake


@dataclass(frozen=True)
class Averages(Momentum):
    r"""v = β v + (1 − β) dw,   w − α v, twice; v starts as 0. Shapes: w, dw_0, dw_1, w_1, w_2 (*)."""

    @property
    def output_mistakes(self) -> tuple[Mistake, ...]:
        """What is commonly got wrong in v, and the wrong way."""
        return (
            done_by(_WholeGradient, "the factor 1 − β of the gradient is missing in v"),
            done_by(_Forgetting, "v is not kept from step to step: it is 0 before each"),
            done_by(_AverageOfBefore, "v is used before this step's gradient is in it: it is updated too late"),
            done_by(_Gradient, "the gradient is subtracted, where v is meant"),
            done_by(_AscendingAverages, ADDED),
        )

    def average(self, v: Array, dw: Array) -> Array:
        """The next v."""
        return np.asarray(self.mu * v + (1 - self.mu) * dw)

    def step(self, before: Array, v: Array, dw: Array) -> Array:
        """What is subtracted, for the v before and after the gradient was averaged in."""
        return np.asarray(self.lr * v)

    def forward(self, state: Mapping[str, Array], w: Array, dw_0: Array, dw_1: Array) -> Forward[None]:
        found, v = [], np.zeros_like(w)
        for dw in (dw_0, dw_1):
            before, v = v, self.average(v, dw)
            w = w - self.step(before, v, dw)
            found.append(w)
        return Forward(tuple(found), None)


class _WholeGradient(Averages):
    def average(self, v: Array, dw: Array) -> Array:
        return np.asarray(self.mu * v + dw)


class _Forgetting(Averages):
    def average(self, v: Array, dw: Array) -> Array:
        return np.asarray((1 - self.mu) * dw)


class _AverageOfBefore(Averages):
    def step(self, before: Array, v: Array, dw: Array) -> Array:
        return np.asarray(self.lr * before)


class _Gradient(Averages):
    def step(self, before: Array, v: Array, dw: Array) -> Array:
        return np.asarray(self.lr * dw)


class _AscendingAverages(Averages):
    def step(self, before: Array, v: Array, dw: Array) -> Array:
        return np.asarray(-self.lr * v)


_PARTS = {"W1": "[:, :2]", "b1": "[:, 2:3]", "W2": "[:, 3:5]", "b2": "[:, 5:]"}  # of one array, two layers


def _zeros(name: str) -> str:
    return f"{name} = {{" + ", ".join(f"'d{p}': 0 * {p}" for p in _PARTS) + "}\n"


def _updates(name: str, given: str, *rules: Layer[None], memory: Sequence[str] = (), back: str = "", **others: Any) -> Exercise:
    """Two steps of an optimizer of dicts; ``memory`` are dicts that start as zeros, ``back`` is what comes with them."""
    got = ", ".join(["parameters", *memory, *([back] if back else [])])
    call = f"{got} = {name}({', '.join(['parameters', 'grads', *memory, given])})\n"
    together = ", ".join(f"parameters['{p}']" for p in _PARTS)
    lines = ["parameters = {" + ", ".join(f"'{p}': {p}" for p in _PARTS) + "}\n", *map(_zeros, memory)]
    for t, which in (("1", ""), ("2", "next_")):
        lines.append("grads = {" + ", ".join(f"'d{p}': {which}d{p}" for p in _PARTS) + "}\n" + call.replace("STEP", t))
        lines.append(f"step_{t} = np.concatenate([{together}], 1)\n")
    arrays = {"": "w", "d": "dw_0", "next_d": "dw_1"}
    return Exercise(
        name,
        forward="".join(lines).strip(),
        arrays={f"{letters}{p}": f"{array}{part}" for letters, array in arrays.items() for p, part in _PARTS.items()},
        outputs={"step_1": "w_1", "step_2": "w_2"},
        tiers={"std": [Case(rule, normal(4, 6), normal(4, 6), normal(4, 6), id="two steps") for rule in rules]},
        **others,
    )


_ADAM = Moments(0.03, 0.8, 0.95, 1e-2), Moments(0.2, 0.9, 0.7, 1e-3)
_NAMED = "STEP, learning_rate=lr, beta1=beta1, beta2=beta2, epsilon=eps"
_CORRECTED = "the corrected averages are given back, too"
EXERCISES = [
    _updates("update_parameters", "lr", Descent(0.03), Descent(0.7)),
    _updates("update_parameters_with_gd", "lr", Descent(0.03), Descent(0.7)),
    _updates("update_parameters_with_momentum", "mu, lr", Averages(0.03, 0.7), Averages(0.2, 0.95), memory=("v",)),
    *(
        _updates("update_parameters_with_adam", settings, *_ADAM, memory=("v", "s"), back=back, convention=convention)
        for settings in ("STEP, lr, beta1, beta2, eps", _NAMED)
        for back, convention in (("", ""), ("v_corrected, s_corrected", _CORRECTED))
    ),
]
