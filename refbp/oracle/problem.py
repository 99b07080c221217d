"""One case of an exercise with its numbers: what is asked of somebody's functions, before they are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.contract import Layer, State
from refbp.oracle.exercise import Exercise
from refbp.oracle.observation import axis_names
from refbp.spec import Case

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """A case with its numbers: what the reference is given, and its upstream gradients."""

    exercise: Exercise
    tier: str
    id: str
    layer: Layer[Any]
    state: Mapping[str, Array]
    inputs: tuple[Any, ...]
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    upstream: tuple[Any, ...] | None = None

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The reference's inputs and state by names that Python can read: "0.weight" is _0_weight."""
        inputs = dict(zip(self.layer.inputs(), self.inputs, strict=False))
        return {readable(n): a for n, a in {**inputs, **self.state}.items() if a is not None}

    @cached_property
    def names(self) -> dict[str, Any]:
        """The reference's arguments and sizes, the batch N, and the forward's options."""
        found: dict[str, Any] = {**self.exercise.values, **self.layer.arguments(), **self.layer.sizes, **self.options}
        for axis, size in self._axes():
            found.setdefault(axis, size)
        first = next((a for a in self.inputs if a is not None), None)
        if first is not None and np.ndim(first) and "N" not in found:
            found["N"] = np.shape(first)[0]
        return found

    def _axes(self) -> Iterator[tuple[str, int]]:
        """The sizes of axes that the reference's patterns name."""
        for pattern, a in zip(self.layer.inputs().values(), self.inputs, strict=False):
            if a is not None:
                named = zip(axis_names(pattern, np.shape(a), self.layer.sizes), np.shape(a), strict=True)
                yield from ((axis, size) for axis, size in named if axis.isidentifier())


def readable(name: str) -> str:
    """A state's name as a Python name."""
    plain = re.sub(r"\W", "_", name)
    return f"_{plain}" if plain[:1].isdigit() else plain


def draw(exercise: Exercise, tier: str, index: int, seed: int) -> Problem:
    """A case's numbers: no two runs have the same, unless they are given the same seed."""
    case: Case = exercise.tiers[tier][index]
    rng = np.random.default_rng([seed, list(exercise.tiers).index(tier), index])
    inputs = tuple(None if d is None else np.asarray(d(rng)) for d in case.draws)
    state = _state(case, exercise, rng)
    if tier == "dtype":
        inputs = tuple(_single(a) for a in inputs)
        state = State({n: _single(a) for n, a in state.items()}, state.buffers)
    title = case.id or repr(case.layer)
    shapes = ", ".join("×".join(map(str, np.shape(a))) or "scalar" for a in inputs if a is not None)
    return Problem(exercise, tier, f"{title} on {shapes}", case.layer, state, inputs, int(rng.integers(2**31)), case.options)


def _single(a: Any) -> Any:
    return a.astype(np.float32) if a is not None and a.dtype.kind == "f" else a


def _state(case: Case, exercise: Exercise, rng: np.random.Generator) -> State:
    """A state in which nothing is 0 or 1 by default: γ = 1 and β = 0 hide mistakes."""
    fresh = case.layer.init(rng)
    drawn = {}
    for name, a in fresh.items():
        if name in case.state:
            drawn[name] = np.asarray(case.state[name](rng))
        elif name in exercise.fixed:
            drawn[name] = np.full_like(a, exercise.fixed[name])
        elif a.dtype.kind != "f":
            drawn[name] = a
        elif "var" in name and name in fresh.buffers:
            drawn[name] = rng.uniform(0.5, 2.0, a.shape)
        else:
            drawn[name] = a + 0.3 * rng.standard_normal(a.shape)
    return State({n: np.asarray(a) for n, a in drawn.items()}, fresh.buffers)
