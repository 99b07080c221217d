"""The layer against the derivative of its own forward, with no torch involved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from refbp.conformance import budget, compare
from refbp.conformance.checks._base import Array, check
from refbp.conformance.outcome import Outcome, Verdict, agree, broken, untested
from refbp.conformance.trial import Trial
from refbp.conformance.witness import AGREE, Witness

ROUGH = 1e-3  # an uncertainty above this, relative to the gradient's norm, is a kink within a step, or next to one
DOUBT = 1e-8  # how much of a gradient's scale the uncertainty of a difference quotient may excuse


@check
def witness(trial: Trial) -> Outcome | None:
    """Every gradient is the numerical derivative of the layer's own forward; kinks are found and must be declared."""
    if all(u is None for u in trial.upstream):
        return None
    grads = {n: g for n, g in trial.own_grads.items() if g is not None and g.size}
    if not grads or not all(np.isfinite(g).all() for g in grads.values()):
        return None
    numeric = Witness.of(trial)
    scale = max(budget.norm(g) for g in grads.values())
    if trial.case.exact:
        return _at_kinks(trial, numeric, grads)
    rng = trial.rng("witness")
    direction = {n: rng.uniform(0.5, 1.5, g.shape) * rng.choice([-1.0, 1.0], g.shape) for n, g in grads.items()}
    expected = float(sum(np.vdot(g, direction[n]) for n, g in grads.items()))
    slope = numeric.slope(direction)
    size = math.sqrt(sum(g.size for g in grads.values())) * scale
    if slope.contradicts(expected, size, DOUBT):
        for name, g in grads.items():  # which gradient: each alone, for one may bend and another not
            alone = numeric.slope({name: direction[name]})
            mine = float(np.vdot(g, direction[name]))
            if alone.contradicts(mine, size, DOUBT) and alone.uncertainty <= ROUGH * size:
                return Outcome(
                    Verdict.BACKWARD,
                    f"gradient of {name} is not the derivative of forward: along a random direction backward says"
                    f" {mine:.8g}, the numerical witness {alone.value:.8g} ± {alone.uncertainty:.1g}",
                    budget.digits(abs(mine - alone.value), size),
                )
        if slope.uncertainty > ROUGH * size:
            return untested("two step widths disagree: forward bends too sharply here for a difference quotient")
        return Outcome(Verdict.BACKWARD, f"backward says {expected:.8g} along a random direction, forward {slope.value:.8g}")
    wrong = _elements(numeric, grads, scale, _few(grads, rng))
    if wrong is None and not slope.decides(size):
        return untested("forward is so flat here, beside its value, that a difference quotient has no digits to give")
    return wrong or agree(budget.digits(abs(expected - slope.value), size))


def _few(grads: dict[str, Array], rng: np.random.Generator, most: int = 24) -> list[tuple[str, tuple[int, ...]]]:
    """Every element of a small case; of a large one six, for the random direction has moved them all."""
    if sum(g.size for g in grads.values()) <= most:
        return [(n, i) for n, g in grads.items() for i in np.ndindex(g.shape)]
    places = [(str(n), int(rng.integers(grads[str(n)].size))) for n in rng.choice(list(grads), 6)]
    return [(n, tuple(int(k) for k in np.unravel_index(flat, grads[n].shape))) for n, flat in places]


def _elements(
    numeric: Witness, grads: dict[str, Array], scale: float, places: Sequence[tuple[str, tuple[int, ...]]]
) -> Outcome | None:
    for name, index in places:
        mine = float(grads[name][index])
        if abs(mine - numeric.quick(name, index)) <= AGREE * scale:
            continue  # one step width is enough where it agrees; a second says how sure a difference is
        slope = numeric.at(name, index)
        if slope.contradicts(mine, scale, DOUBT):
            return Outcome(
                Verdict.BACKWARD,
                f"gradient of {name}, element {list(index)}: backward says {mine:.8g}, the numerical witness"
                f" {slope.value:.8g} ± {slope.uncertainty:.1g}",
            )
    return None


def _at_kinks(trial: Trial, numeric: Witness, grads: dict[str, Array]) -> Outcome:
    """Element by element: the derivative where there is one; at a kink a value between the one-sided slopes."""
    found = kinks(trial, numeric, grads)
    if isinstance(found, Outcome):
        return found
    if not found:
        return agree()
    if not trial.spec.conventions:
        return broken(f"a kink at {found[0]}: say which value is chosen, Spec(conventions=[Convention('x = 0', '…')])")
    notes = tuple(f"{c.point}: {c.choice}" for c in trial.spec.conventions)
    return Outcome(Verdict.CONVENTION, "; ".join(map(str, found[:3])), notes=notes)


@dataclass(frozen=True)
class Kink:
    """A point at which the one-sided derivatives differ (or one does not exist: NaN), and the value that is chosen."""

    name: str
    index: tuple[int, ...]
    at: float
    chosen: float
    left: float
    right: float

    def __str__(self) -> str:
        return f"{self.name}{list(self.index)} = {self.at:.6g}: {self.chosen:.6g}, slopes {self.left:.6g} and {self.right:.6g}"


def kinks(trial: Trial, numeric: Witness, grads: dict[str, Array]) -> list[Kink] | Outcome:
    """The kinks among the first 200 elements, or the outcome that says where backward is wrong."""
    scale = max(budget.norm(g) for g in grads.values())
    at = {**dict(zip(trial.input_names, trial.inputs, strict=False)), **trial.state}
    found: list[Kink] = []
    for name, index in [(n, i) for n, g in grads.items() for i in np.ndindex(g.shape)][:200]:
        mine = float(grads[name][index])
        left, right = numeric.sides_at(name, index)
        sides = [s for s in (left, right) if math.isfinite(s)]
        low, high = min(sides, default=0.0), max(sides, default=0.0)
        slack = compare.KINK * max(abs(mine), scale, 1)
        if len(sides) == 2 and high - low <= slack:
            if min(abs(mine - s) for s in sides) <= AGREE * max(scale, 1):
                continue
            slope = numeric.at(name, index)
            # where two branches join with one slope, a central difference mixes them: each side alone is as exact
            # and at a chosen point a forward that does not move is constant there, not flat
            told = [replace(slope, value=s, resolution=0.0) for s in (slope.value, left, right)]
            if all(s.contradicts(mine, max(scale, 1), DOUBT) for s in told):
                return Outcome(
                    Verdict.BACKWARD,
                    f"gradient of {name}, element {list(index)}: backward says {mine:.8g},"
                    f" the numerical witness {slope.value:.8g}",
                )
        elif not low - slack <= mine <= high + slack:
            return Outcome(
                Verdict.BACKWARD,
                f"gradient of {name}, element {list(index)}: {mine:.8g} lies outside the one-sided slopes"
                f" {low:.6g} and {high:.6g}",
            )
        else:
            found.append(Kink(name, index, float(at[name][index]), mine, left, right))
    return found
