"""How a student's function is registered, called on the cases of its layer, and observed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refbp import registry
from refbp.conformance.trial import Trial
from refbp.oracle.observation import Observation
from refbp.spec import Case

Gradients = Callable[[Any, Mapping[str, Any], Sequence[Any], Sequence[Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Student:
    """One function: which layer's gradient it computes, on which trials, and what must be said of it."""

    layer: str
    name: str
    gradients: Gradients
    trials: Sequence[Trial]
    module: str
    says: str = ""  # a regular expression; empty where the function is right

    @property
    def right(self) -> bool:
        return not self.says

    def explained(self, sentence: str) -> bool:
        return bool(re.search(self.says, sentence))

    def observations(self) -> list[Observation]:
        return [self._observe(trial) for trial in self.trials]

    def _observe(self, trial: Trial) -> Observation:
        def run(upstream: Sequence[Any]) -> Mapping[str, Any]:
            inputs, state, dys = _copied(trial.inputs), {n: a.copy() for n, a in trial.state.items()}, _copied(upstream)
            with np.errstate(all="ignore"):
                return self.gradients(trial.layer, state, inputs, dys)

        upstream = tuple(trial.upstream)
        got: Mapping[str, Any] = {}
        error = ""
        try:
            got = run(upstream)
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        expected = {n: g for n, g in trial.own_grads.items() if g is not None and (error or n in got)}
        return Observation(
            trial.layer,
            trial.state,
            trial.inputs,
            upstream,
            got,
            expected,
            trial.id,
            trial.case.options,
            error=error,
            again=run,
        )


def _copied(arrays: Sequence[Any]) -> list[Any]:
    return [None if a is None else np.array(a) for a in arrays]


class Exercise:
    """One layer's functions: the cases that they are tried on, and how they are called.

    ``cases`` are ids of registered cases; ``more`` are cases of one's own.
    """

    def __init__(self, layer: str, cases: str, call: Callable[..., Mapping[str, Any]], more: Sequence[Case] = ()) -> None:
        spec = registry.current().get(layer).spec
        known = dict(zip(spec.case_ids(), spec.cases, strict=True))
        spec = replace(spec, cases=[known[i] for i in cases.split()] + list(more))
        self.layer, self.call = layer, call
        self.trials = [Trial(spec, i) for i in range(len(spec.cases))]

    def wrong(self, says: str) -> Callable[[Any], Any]:
        """Register a wrong function with a pattern that the right explanation matches."""
        return lambda function: self._add(function, says)

    def right(self, function: Any) -> Any:
        """Register a right function."""
        return self._add(function, "")

    def _add(self, function: Any, says: str) -> Any:
        def gradients(layer: Any, state: Any, inputs: Any, dys: Any) -> Mapping[str, Any]:
            return self.call(function, layer, state, inputs, dys)

        STUDENTS.append(Student(self.layer, function.__name__, gradients, self.trials, function.__module__, says))
        return function


STUDENTS: list[Student] = []
