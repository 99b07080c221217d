"""Numbers against numbers: two runs of one case, with budgets, waivers and the witness's opinion."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance import budget
from refbp.conformance.outcome import Outcome, Verdict, agree, broken, untested
from refbp.conformance.trial import Trial
from refbp.conformance.witness import Witness
from refbp.spec import Waiver

Array = NDArray[Any]
KINK = 1e-6  # one-sided slopes that differ by more, relative to their size, mark a kink


def condition(trial: Trial, kind: str, key: Any) -> float:
    """What this case costs in digits: torch's own float32 error, in units of float32's eps, as an absolute scale."""
    single, wide = getattr(trial.float32.torch, kind), getattr(trial.rounded.torch, kind)
    got, reference = single[key], wide[key]
    if got is None or reference is None or got.shape != reference.shape:
        return 0.0
    off = budget.error(got, reference)
    return off / float(np.finfo(np.float32).eps) if math.isfinite(off) else 0.0


def allowance(trial: Trial, reference: Array, kind: str, key: Any, off: float) -> float:
    """The budget of one float64 tensor that is off by so much; what a rounding of the inputs moves is looked at if need be."""
    allowed = budget.tolerance(np.float64, trial.fan, max(budget.norm(reference), condition(trial, kind, key)))
    if off <= allowed or not math.isfinite(off):
        return allowed
    return max(allowed, budget.tolerance(np.float64, trial.fan, trial.moves.get((kind, key), 0.0)))


def outputs(trial: Trial, own: Sequence[Array], theirs: Sequence[Array], names: Sequence[str] = ()) -> Outcome:
    """Outputs against the twin's: number, shapes, dtypes, values."""
    if len(own) != len(theirs):
        return Outcome(Verdict.FORWARD, f"forward returns {len(own)} outputs, the twin {len(theirs)}")
    worst = 16.0
    for i, (y, t) in enumerate(zip(own, theirs, strict=True)):
        what = f"output {names[i] if i < len(names) else i}"
        if y.shape != t.shape:
            return Outcome(Verdict.FORWARD, f"{what} has shape {y.shape}, the twin's {t.shape}")
        if y.dtype.kind != t.dtype.kind:
            return Outcome(Verdict.FORWARD, f"{what} has dtype {y.dtype}, the twin's {t.dtype}")
        off = budget.error(y, t)
        allowed = allowance(trial, t, "outputs", i, off) if t.dtype.kind == "f" else 0.0
        if off > allowed:
            found = budget.difference(what, y, t, allowed)
            return Outcome(Verdict.FORWARD, found.sentence(), found.digits, found)
        worst = min(worst, budget.digits(off, budget.norm(t)))
    return agree(worst)


def gradients(
    trial: Trial, own: Mapping[str, Array | None], theirs: Mapping[str, Array | None], strict: bool = False
) -> Outcome:
    """Gradients against autograd's, each by name; where they differ, the witness says who is wrong.

    ``strict`` is for the case as it was written: there a waiver must be needed. Elsewhere it may be.
    """
    if missing := [n for n in theirs if n not in own]:
        return Outcome(Verdict.BACKWARD, f"backward returns no gradient of {missing[0]}; torch has one")
    waiver = next((w for w in trial.spec.waivers if w.check == "gradients" and w.when(trial.case)), None)
    worst, zero, waived = 16.0, [], False
    for name in own:
        got, reference = own[name], theirs.get(name)
        if reference is None and (got is None or (name not in theirs)):
            if got is not None:
                return Outcome(
                    Verdict.BACKWARD, f"backward returns a gradient of {name}, which is no input or parameter of the twin"
                )
            continue
        if got is None or reference is None:
            has, lacks = ("torch", "backward") if got is None else ("backward", "torch")
            return Outcome(Verdict.BACKWARD, f"gradient of {name}: {has} has one, {lacks} has None")
        if bad := _misfit(name, np.asarray(got), reference):
            return bad
        off = budget.error(got, reference)
        allowed = allowance(trial, reference, "grads", name, off)
        if off > allowed:
            outcome = _judged(trial, name, got, reference, allowed, waiver)
            if outcome.wrong:
                return outcome
            waived = True
        else:
            worst = min(worst, budget.digits(off, budget.norm(reference)))
        if reference.size and not reference.any():
            zero.append(name)
    if waiver and strict and not waived and (stale := expired(waiver)):
        return stale
    if waived and waiver:
        return Outcome(Verdict.KNOWN_BAD, waiver.reason, worst, notes=(waiver.reason,))
    if zero and not trial.case.exact:
        return untested(f"torch's gradient of {zero[0]} is zero everywhere: a backward that returns zeros would pass")
    return agree(worst)


def expired(waiver: Waiver) -> Outcome | None:
    """What to say where a waiver was not needed: nothing for one that comes and goes, or in an older torch."""
    import torch

    seen, here = (tuple(map(int, v.split("+")[0].split(".")[:2])) for v in (waiver.versions, torch.__version__))
    if not waiver.always or here < seen:
        return None
    return broken(f"the waiver “{waiver.reason}” has expired: torch agrees now; remove it from the Spec")


def _misfit(name: str, got: Array, reference: Array) -> Outcome | None:
    if got.shape != reference.shape:
        hint = ""
        if got.ndim > reference.ndim or got.size > reference.size:
            hint = ": sum over the axes that forward broadcast"
        return Outcome(Verdict.BACKWARD, f"gradient of {name} has shape {got.shape}; wanted {reference.shape}{hint}")
    if got.dtype != reference.dtype:
        return Outcome(Verdict.BACKWARD, f"gradient of {name} has dtype {got.dtype}; wanted {reference.dtype}")
    return None


def _judged(trial: Trial, name: str, got: Array, reference: Array, allowed: float, waiver: Waiver | None) -> Outcome:
    """Two gradients differ: the numerical slope at the worst element decides between them."""
    found = budget.difference(f"gradient of {name}", got, reference, allowed)
    witness = Witness.of(trial)
    slope = witness.at(name, found.index or ())
    left, right = witness.sides_at(name, found.index or ())
    scale = max(budget.norm(got), budget.norm(reference))
    known = math.isfinite(slope.value)
    with_you, with_torch = (known and not slope.contradicts(float(v), scale, 1e-4) for v in (found.yours, found.expected))
    low, high = sorted((left, right))
    kinked = not (abs(high - low) <= KINK * max(abs(low), abs(high), 1e-3 * scale) + 100 * slope.resolution)
    numbers = f"{found.sentence()}; numerical slope {slope.value:.8g}"
    bounded = waiver is not None and waiver.size < math.inf  # unbounded, it also covers a NaN, which has no distance
    if waiver is not None and with_you and (not bounded or abs(found.yours - found.expected) <= waiver.size * scale):
        return Outcome(Verdict.KNOWN_BAD, waiver.reason)
    if kinked:
        return Outcome(
            Verdict.BACKWARD,
            f"another convention than torch's at a kink: {found.sentence()};"
            f" one-sided slopes {left:.6g} and {right:.6g}. At a kink the value is torch's",
            found.digits,
            found,
        )
    if with_you and not with_torch:
        return Outcome(
            Verdict.TORCH,
            f"the numerical witness agrees with you, torch does not: {numbers}. A defect of torch (then state a Waiver),"
            f" or a twin that computes something else",
            found.digits,
            found,
        )
    if with_you and with_torch:
        who = "torch and yours differ where forward is too flat for the numerical witness to tell who is right"
    elif with_torch:
        who = "torch autograd and the numerical witness agree with each other, yours does not"
    else:
        who = "yours, torch and the numerical witness all differ"
    return Outcome(Verdict.BACKWARD, f"{who}: {numbers}", found.digits, found)


def first_wrong(where: str, first: Outcome, *others: Callable[[], Outcome]) -> Outcome:
    """The first of several outcomes that is wrong, with where it happened; those after it are not computed."""
    for outcome in itertools.chain([first], (other() for other in others)):
        if outcome.wrong:
            return dataclasses.replace(outcome, message=f"{where}: {outcome.message}")
    return agree()
