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


_FIRST, _REST = "[:, 1:]", "[:, :1]"  # of one array: a matrix, and a bias beside it


def _updates(
    name: str, given: str, more: str, *rules: Layer[None], memory: Sequence[str] = (), back: str = "", **others: Any
) -> Exercise:
    """Two steps of an optimizer of dicts; ``memory`` are dicts that start as zeros, ``back`` is what comes with them."""
    zeros = "".join(f"{m} = {{'dW1': 0 * W1, 'db1': 0 * b1}}\n" for m in memory)
    got = ", ".join(["parameters", *memory, *([back] if back else [])])
    call = f"{got} = {name}(parameters, grads, {', '.join([*memory, given])}{more})\n"
    lines = ["parameters = {'W1': W1, 'b1': b1}\n", zeros]
    for t, which in enumerate(("", "next_"), 1):
        lines.append(f"grads = {{'dW1': {which}dW1, 'db1': {which}db1}}\n{call.replace('STEP', str(t))}")
        lines.append(f"{'after_' * t}W1 = parameters['W1']\n{'after_' * t}b1 = parameters['b1']\n")
    arrays = {"W1": "w", "dW1": "dw_0", "next_dW1": "dw_1"}
    outputs = {"after_W1": "w_1", "after_after_W1": "w_2"}

    def both(of: Mapping[str, str]) -> dict[str, str]:
        return {n.replace("W1", p): f"{e}{part}" for n, e in of.items() for p, part in (("W1", _FIRST), ("b1", _REST))}

    return Exercise(
        name,
        forward="".join(lines).strip(),
        arrays=both(arrays),
        outputs=both(outputs),
        tiers={"std": [Case(rule, normal(4, 6), normal(4, 6), normal(4, 6), id="two steps") for rule in rules]},
        **others,
    )


_ADAM = Moments(0.03, 0.8, 0.95, 1e-2), Moments(0.2, 0.9, 0.7, 1e-3)
EXERCISES = [
    _updates("update_parameters", "lr", "", Descent(0.03), Descent(0.7)),
    _updates("update_parameters_with_gd", "lr", "", Descent(0.03), Descent(0.7)),
    _updates("update_parameters_with_momentum", "mu", ", lr", Averages(0.03, 0.7), Averages(0.2, 0.95), memory=("v",)),
    *(
        _updates(
            "update_parameters_with_adam",
            "STEP, lr, beta1, beta2, eps",
            "",
            *_ADAM,
            memory=("v", "s"),
            back=back,
            convention="the corrected averages are given back, too" if back else "",
        )
        for back in ("", "v_corrected, s_corrected")
    ),
]
