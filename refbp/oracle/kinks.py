"""Another convention at a kink, or a mistake: what was got must lie between the reference's one-sided values.

They are not derived, they are looked at: the reference is evaluated a tiny step away from the point, with all inputs moved
together, each by itself, and in random directions. What lies within the smallest and the largest value that it takes there is
a value that somebody may choose at the point; anything else is wrong, kink or not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from refbp.errors import RefbpError
from refbp.oracle.attempt import Attempt, wanted
from refbp.oracle.comparison import plain
from refbp.oracle.problem import Problem

STEP = 1e-7  # small beside the distance to the next kink, large beside rounding
SLACK = 1e-5  # relative to the largest value: what the step itself changes
RANDOM = 16  # random directions
SINGLE = 256  # inputs of more elements are not moved one by one


def earned(attempt: Attempt, phase: str) -> bool:
    """Whether everything that is wrong in a case could be right by another convention."""
    if attempt.failed is not None:
        return False
    compared = {"forward": attempt.outputs, "backward": attempt.grads}.get(phase, attempt.outputs + attempt.grads)
    wrong: dict[str, Any] = {}
    low: dict[str, Any] = {}
    for c in compared:
        if not c.ok:
            wrong[c.name], low[c.name] = plain(c.got), c.expected.astype(float)
            if np.shape(wrong[c.name]) != c.expected.shape:
                return False
    high = dict(low)
    around = 0
    for problem in _beside(attempt.problem):
        try:
            values = wanted(problem)
        except RefbpError:  # a step out of the domain: a probability above one
            continue
        around += 1
        for name in wrong:
            low[name], high[name] = np.fmin(low[name], values[name]), np.fmax(high[name], values[name])
    return around > 0 and all(_within(a, low[n], high[n]) for n, a in wrong.items())


def _within(got: Any, low: Any, high: Any) -> bool:
    if got is None or not (np.isfinite(got).all() and np.isfinite(low).all() and np.isfinite(high).all()):
        return False
    slack = SLACK * (max(np.abs(low).max(initial=0), np.abs(high).max(initial=0)) or 1.0)
    return bool(((got >= low - slack) & (got <= high + slack)).all())


def _beside(problem: Problem) -> Iterator[Problem]:
    """The problem with its floating inputs moved a little, in many directions."""
    rng = np.random.default_rng(0)
    moved = [i for i, a in enumerate(problem.inputs) if a is not None and np.asarray(a).dtype.kind == "f"]

    def by(directions: dict[int, Any]) -> Problem:
        inputs = list(problem.inputs)
        for i, d in directions.items():
            a = np.asarray(inputs[i])
            inputs[i] = (a + STEP * np.maximum(1.0, np.abs(a)) * d).astype(a.dtype)
        return dataclasses.replace(problem, inputs=tuple(inputs))

    for sign in (1.0, -1.0):
        yield by(dict.fromkeys(moved, sign))
    for _ in range(RANDOM):
        yield by({i: rng.uniform(-1, 1, np.shape(problem.inputs[i])) for i in moved})
    for i in moved:
        a = np.asarray(problem.inputs[i])
        for k in range(a.size if a.size <= SINGLE else 0):
            one = np.zeros(a.size)
            one[k] = 1.0
            yield by({i: one.reshape(a.shape)})
            yield by({i: -one.reshape(a.shape)})
