"""Finite differences dressed up as a backward: right, slow, and not what was asked for.

Two things give them away. A step h is lost in x once x is large: at x · 10¹³ the difference of two equal numbers is 0, where
a formula is as right as before. And whoever perturbs every element calls the forward once per element at least.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SCALES = (1e13, 1e9)
RIGHT = 1e-3  # normwise: a backward that is further off at usual inputs is wrong, whatever it is
EXACT = 1e-13  # normwise: no difference quotient in double precision comes this close, a formula does
FEW = 4  # calls of the forward: to compute its cache again, a backward needs one


@dataclass(frozen=True)
class Attempt:
    """One backward: the gradients that came back, the reference's, and how often each function was called meanwhile."""

    got: Mapping[str, Array]
    expected: Mapping[str, Array]
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Suspicion:
    """Why a backward is taken for finite differences; ``certain`` when nothing else explains it."""

    sentence: str
    certain: bool


def finite_differences(
    attempt: Callable[[float], Attempt | None], forwards: Collection[str] = (), scales: Collection[float] = SCALES
) -> Suspicion | None:
    """Whether a backward is a difference quotient; None if it is not, or is wrong anyway.

    ``attempt(scale)`` runs forward and backward with the floating inputs multiplied by ``scale``, and gives None where no
    data came back. ``forwards`` are the functions that an honest backward has no reason to call once per element.
    """
    usual = attempt(1.0)
    if usual is None:
        return None
    errors = _errors(usual)
    if not errors or any(not e <= RIGHT for e in errors.values()):
        return None
    calls = {f: n for f in forwards if (n := usual.calls.get(f, 0)) >= max(FEW, _smallest(usual))}
    lost: dict[str, tuple[float, float]] = {}
    for scale in scales:
        if lost or (large := attempt(scale)) is None:
            continue
        lost = {name: (scale, e) for name, e in _errors(large).items() if RIGHT < e < math.inf}
    if not lost and not calls:
        return None
    evidence = []
    for name, (scale, error) in lost.items():
        digits = -math.log10(max(errors.get(name, 0.0), 1e-17))
        evidence.append(
            f"{name} is right to {digits:.0f} digits at usual inputs and off by {error:.1g} of its size at inputs times "
            f"{scale:.0e}, where a formula stays as right as it was"
        )
    evidence += [f"it calls {f} {n} times" for f, n in calls.items()]
    certain = bool(calls) or any(errors.get(name, 0.0) > EXACT for name in lost)
    return Suspicion(f"a finite difference, not a derivative: {'; '.join(evidence)}", certain)


def _smallest(attempt: Attempt) -> int:
    """The elements of the smallest gradient: perturbing one after another calls the forward as often."""
    return min((int(np.size(e)) for e in attempt.expected.values()), default=0)


def _errors(attempt: Attempt) -> dict[str, float]:
    """The error of each gradient relative to the largest element; inf where something else than a quotient is at work."""
    errors = {}
    for name, expected in attempt.expected.items():
        got = attempt.got.get(name)
        largest = float(np.max(np.abs(expected), initial=0.0))
        if got is None or np.shape(got) != np.shape(expected):
            return {}
        if largest == 0.0 or not np.all(np.isfinite(expected)):
            continue
        # An overflow is a matter of stability: differences vanish, they do not become infinite
        with np.errstate(invalid="ignore"):
            off = float(np.max(np.abs(np.asarray(got) - expected))) / largest
        errors[name] = off if math.isfinite(off) else math.inf
    return errors
