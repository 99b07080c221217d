"""Other dtypes and magnitudes: float32, extreme values, NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from refbp.conformance import budget, twin
from refbp.conformance.checks._base import Array, check, sibling
from refbp.conformance.outcome import Outcome, Verdict, agree, broken
from refbp.conformance.trial import Trial, as_list, named
from refbp.errors import RefbpError


@check
def dtype(trial: Trial) -> Outcome | None:
    """float32 in, float32 out: outputs, gradients and updates; no float64 leaks in from a constant."""
    single = trial.float32
    got = {f"output {i}": y for i, y in enumerate(as_list(single.own.outputs))}
    got |= {f"updated {n}": np.asarray(a) for n, a in single.own.updates.items()}
    upstream = [None if u is None else u.astype(y.dtype) for u, y in zip(single.upstream, single.outputs, strict=True)]
    grads = single.layer.backward(
        single.own._run.saved, *(np.zeros_like(y) if u is None else u for u, y in zip(upstream, single.outputs, strict=True))
    )
    got |= {f"the gradient of {n}": np.asarray(g) for n, g in named(grads, trial.input_names).items() if g is not None}
    for name, a in got.items():
        if a.dtype.kind == "f" and a.dtype != np.float32:
            return broken(
                f"{name} is {a.dtype} for float32 inputs; wanted float32"
                " (np.sqrt(2) and np.zeros(n) are float64: use math.sqrt, np.zeros_like)"
            )
    return agree()


@check
def float32(trial: Trial) -> Outcome | None:
    """In float32, errors against the float64 result of the same rounded inputs are at most those of torch's kind."""
    single, wide = trial.float32, trial.rounded
    pairs = [
        (f"output {i}", y, r, t)
        for i, (y, r, t) in enumerate(zip(single.outputs, wide.outputs, single.torch.outputs, strict=True))
    ]
    pairs += [(f"gradient of {n}", g, wide.own_grads[n], single.torch.grads.get(n)) for n, g in single.own_grads.items()]  # type: ignore[misc]
    worst = 7.5
    for what, got, reference, theirs in pairs:
        if got is None or reference is None or got.dtype.kind != "f":
            continue
        if theirs is None or theirs.shape != reference.shape or got.shape != reference.shape:
            continue  # another check says so
        floor = budget.tolerance(np.float32, trial.fan, budget.norm(reference))
        torchs = budget.error(theirs, reference)
        allowed = max(floor, budget.K * torchs if math.isfinite(torchs) else 0.0)
        off = budget.error(got, reference)
        if trial.case.exact:  # torch's error may be a jump: the other side of a kink is no measure of rounding
            allowed = max(floor, min(allowed, 1e-3 * budget.norm(reference)))
        if off > allowed:
            if trial.case.exact and budget.error(got, theirs) <= floor:
                continue  # rounding moved a value off, or onto, its kink: there torch's float32 is the reference
            found = budget.difference(what, got, reference, allowed, np.float32)
            verdict = Verdict.FORWARD if what.startswith("output") else Verdict.BACKWARD
            return Outcome(verdict, f"in float32: {found.sentence()}; torch's own error {torchs:.2g}", found.digits, found)
        worst = min(worst, budget.digits(off, budget.norm(reference), np.float32))
    return agree(worst)


@check
def extremes(trial: Trial) -> Outcome | None:
    """Inputs of extreme size give finite results wherever torch's are finite."""
    tried = 0
    for scale in (1e-30, 1e3, 1e10, 1e18):
        far = trial.float32.in_dtype(np.float32)
        far.__dict__["drawn"] = tuple(
            (a * np.float32(scale)).astype(np.float32) if a is not None and a.dtype.kind == "f" else a for a in trial.drawn
        )
        if not _both_run(far):
            continue
        tried += 1
        for what, own, theirs in _both(far):
            if own.shape == theirs.shape and (lost := np.isfinite(theirs) & ~np.isfinite(own)).any():
                index = tuple(int(i) for i in np.argwhere(lost)[0])
                return Outcome(
                    Verdict.FORWARD if what.startswith("output") else Verdict.BACKWARD,
                    f"inputs of size {scale:g} in float32: {what}{list(index)} is {own[index]}; torch's is {theirs[index]:.6g}",
                )
    return agree() if tried else None


@check
def nonfinite(trial: Trial) -> Outcome | None:
    """NaN and infinity in an input come out in the same places as from torch."""
    tried = 0
    for name, place in [(n, i) for i, n in enumerate(trial.input_names) if i < len(trial.drawn)]:
        a = trial.drawn[place]
        if a is None or a.dtype.kind != "f" or a.size == 0:
            continue
        for value in (math.nan, math.inf, -math.inf):
            odd = sibling(trial)
            poisoned = a.copy()
            poisoned.flat[int(trial.rng("nonfinite").integers(a.size))] = value
            odd.__dict__["drawn"] = (*trial.drawn[:place], poisoned, *trial.drawn[place + 1 :])
            if not _both_run(odd):
                continue
            tried += 1
            for what, own, theirs in _both(odd):
                for kind, test in (("NaN", np.isnan), ("infinite", np.isinf)):
                    if own.shape == theirs.shape and (test(own) != test(theirs)).any():
                        index = tuple(int(i) for i in np.argwhere(test(own) != test(theirs))[0])
                        return Outcome(
                            Verdict.FORWARD if what.startswith("output") else Verdict.BACKWARD,
                            f"{value} in {name}: {what}{list(index)} is {own[index]};"
                            f" torch's is {theirs[index]} ({kind} in another place)",
                        )
    return agree() if tried else None


def _both_run(trial: Trial) -> bool:
    """Whether torch takes these inputs, and the layer does not refuse them."""
    return twin.raises(lambda: trial.torch) is None and not isinstance(twin.raises(lambda: trial.own), RefbpError)


def _both(trial: Trial) -> Iterator[tuple[str, Array, Array]]:
    for i, (y, t) in enumerate(zip(trial.outputs, trial.torch.outputs, strict=True)):
        if y.dtype.kind == "f":
            yield f"output {i}", y, t
    for name, g in trial.own_grads.items():
        theirs = trial.torch.grads.get(name)
        if g is not None and theirs is not None:
            yield f"gradient of {name}", g, theirs
