"""The verdict on one function: from how all its cases ended to one of twelve words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refbp.oracle.attempt import Attempt
from refbp.oracle.callers import Outcome
from refbp.oracle.comparison import Comparison, plain
from refbp.oracle.exercise import Exercise
from refbp.oracle.finding import Finding
from refbp.oracle.kinks import earned

# Verdict: what it says. The order is the one in which they are preferred where alternatives are compared.
VERDICTS = {
    "ok": "right in every case",
    "kink-only": "right but where the derivative jumps, or at ties: another convention than the reference's",
    "unstable": "right but for large values or columns without variance",
    "mutates its arguments": "right, but it overwrites the arrays it was given",
    "shape-only": "the right numbers in another shape",
    "convention": "right up to a factor that another convention would have",
    "forward wrong": "the forward is wrong, and the gradient does not match the reference either",
    "wrong": "wrong",
    "finite differences": "a numerical derivative, not a formula",
    "raises": "it ends in an exception",
    "environment": "it was written for another Python or NumPy",
    "timeout": "it did not answer in time",
    "not implemented": "not written yet",
    "not tested": "it could not be tried",
}
PASSING = ("ok", "mutates its arguments", "kink-only")
KILLED = {"timeout": "timeout", "memory": "raises", "died": "raises", "garbage": "raises", "too much output": "raises"}


@dataclass(frozen=True, eq=False)
class Row:
    """The verdict on one function: how many cases were right, how many digits the worst of them has, and words.

    ``scores`` is the part of each tier that is right. ``attempts`` are all that was tried.
    """

    name: str
    exercise: Exercise
    verdict: str
    note: str = ""
    right: int = 0
    tried: int = 0
    digits: float | None = None
    where: str = ""
    line: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    example: tuple[str, str] | None = None
    script: str = ""
    attempts: tuple[Attempt, ...] = ()
    autograd: str = ""
    traceback: str = ""
    phase: str = "backward"

    @property
    def ok(self) -> bool:
        """Whether nothing is to be mended."""
        return self.verdict == "ok"

    @property
    def remarkable(self) -> bool:
        """Whether there is something to say of what was written."""
        return self.verdict not in {"ok", "not implemented", "not tested"}

    @property
    def wrong(self) -> bool:
        """Whether what was written is to be mended: another convention at a kink is no mistake."""
        return self.remarkable and self.verdict not in PASSING

    def points(self, weights: Mapping[str, float]) -> float:
        """The part of the points that is earned, from 0 to 1, by the weights of the tiers."""
        counted = {t: w for t in self.scores if (w := weights.get(t, 1.0)) > 0}
        total = sum(counted.values())
        return sum(w * self.scores[t] for t, w in counted.items()) / total if total else 0.0


Good = Callable[[Attempt], bool]


def judge(exercise: Exercise, name: str, phase: str, attempts: Sequence[Attempt], stub: str = "") -> Row:
    """The verdict on the forward or the backward of an exercise; ``phase`` says which."""
    good: Good = _forward_good if phase == "forward" else _backward_good
    if phase == "both":
        good = lambda a: _forward_good(a) and (_backward_good(a) or not exercise.gradients)  # noqa: E731
    verdict, note = _verdict(exercise, phase, attempts, good, stub)
    right = sum(good(a) for a in attempts)
    tiers = {}
    for tier in exercise.tiers:
        those = [good(a) for a in attempts if a.problem.tier == tier]
        if those:
            tiers[tier] = sum(those) / len(those)
    compared = [c.digits for a in attempts if good(a) for c in _compared(a, phase)]
    digits = min(compared) if compared else None
    ended = [a.failed for a in attempts if a.failed and (phase != "forward" or a.phase == "forward")]
    trace = next((f.traceback for f in ended if f.traceback), "")
    return Row(
        name,
        exercise,
        verdict,
        note,
        right,
        len(attempts),
        digits,
        scores=tiers,
        attempts=tuple(attempts),
        autograd=_autograd(exercise, phase, attempts),
        traceback=trace,
        phase=phase,
    )


def _compared(a: Attempt, phase: str) -> tuple[Comparison, ...]:
    return {"forward": a.outputs, "backward": a.grads, "both": a.outputs + a.grads}[phase]


def _forward_good(a: Attempt) -> bool:
    return a.forward_ok and bool(a.outputs or a.grads)


def _backward_good(a: Attempt) -> bool:
    return a.backward_ok


def _verdict(exercise: Exercise, phase: str, attempts: Sequence[Attempt], good: Good, stub: str) -> tuple[str, str]:
    if stub:
        return "not implemented", stub
    if not attempts:
        return "not tested", ""
    ended = [a for a in attempts if a.failed and (phase in (a.phase, "both") or a.phase == "forward")]
    if _unwritten(attempts, ended, phase):
        said = next((a.failed.sentence for a in ended if a.failed and ": " in a.failed.sentence), "")
        return "not implemented", f"it {said}" if said else ""
    wrong = [a for a in attempts if not good(a)]
    if not wrong:
        changed = dict.fromkeys(n for a in attempts for n in a.changed if _blamed(exercise, n, phase))
        if changed:
            return "mutates its arguments", f"it overwrites {', '.join(changed)}"
        return "ok", ""
    if ended:
        return _ended(ended, phase, attempts)
    tiers = {a.problem.tier for a in wrong}
    chosen = all(earned(a, phase) for a in wrong if a.problem.tier == "kink") if tiers <= {"kink", "stability"} else False
    if chosen and tiers == {"kink"}:
        return "kink-only", ""
    if chosen and "stability" in tiers:
        return "unstable", _instability(wrong, phase)
    comparisons = [c for a in wrong for c in _compared(a, phase) if not c.ok]
    if comparisons and all(c.status == "shape" for c in comparisons):
        c = comparisons[0]
        return "shape-only", f"{c.name} has shape {np.shape(c.got)}, wanted {c.expected.shape}"
    if factor := _factor(exercise, phase, attempts):
        return "convention", factor
    if phase == "backward" and not any(_forward_good(a) for a in wrong):
        return "forward wrong", ""
    return "wrong", _which(comparisons)


def _blamed(exercise: Exercise, name: str, phase: str) -> bool:
    backward = name in exercise.upstreams
    return backward if phase == "backward" else not backward if phase == "forward" else True


def _unwritten(attempts: Sequence[Attempt], ended: Sequence[Attempt], phase: str) -> bool:
    """Whether it says so itself, or nothing but None comes back."""
    if len(ended) == len(attempts):
        kinds = {a.failed.kind for a in ended if a.failed}
        return kinds <= {"not implemented", "empty"}
    compared = [c for a in attempts for c in _compared(a, phase)]
    return bool(compared) and all(c.status == "none" and c.got is None for c in compared)


def _ended(ended: Sequence[Attempt], phase: str, attempts: Sequence[Attempt]) -> tuple[str, str]:
    first = ended[0]
    assert first.failed is not None
    if phase == "backward" and first.phase == "forward" and first.failed.kind == "environment":
        return "environment", f"its forward could not be run: {first.failed.sentence}"
    if phase == "backward" and first.phase == "forward":
        return "forward wrong", f"its forward {first.failed.sentence}"
    every = "" if len(ended) == len(attempts) else f" (in {len(ended)} of {len(attempts)} cases, first: {first.problem.id})"
    kind = first.failed.kind
    if kind == "environment":
        return "environment", first.failed.sentence
    return KILLED.get(kind, "wrong" if kind == "misfit" else "raises"), first.failed.sentence + every


def _instability(wrong: Sequence[Attempt], phase: str) -> str:
    statuses = {c.status for a in wrong for c in _compared(a, phase) if not c.ok}
    what = "gives NaN or infinity" if "nonfinite" in statuses else "loses its digits"
    return f"it {what} where {wrong[0].problem.id}"


def _which(comparisons: Sequence[Comparison]) -> str:
    names = list(dict.fromkeys(c.name for c in comparisons))
    return f"{', '.join(names)} wrong" if names else ""


def _autograd(exercise: Exercise, phase: str, attempts: Sequence[Attempt]) -> str:
    """Whether it is the derivative, where the course wants a multiple of it."""
    if phase == "forward" or not exercise.factors:
        return ""
    told = [a for a in attempts if a.autograd]
    if not told:
        return ""
    return "yes" if all(c.ok for a in told for c in a.autograd) else "no"


def _factor(exercise: Exercise, phase: str, attempts: Sequence[Attempt]) -> str:
    """The factor that would make everything right, the same name in every case; empty where there is none."""
    if phase != "forward" and exercise.factors:
        told = [a for a in attempts if a.autograd and a.problem.tier not in {"kink", "stability"}]
        if told and all(c.ok for a in told for c in a.autograd):
            wanted = ", ".join(f"{n} times {f}" for n, f in exercise.factors.items())
            return f"it is the derivative itself; this course wants {wanted}"
    told = [a for a in attempts if a.failed is None and a.problem.tier == "std"]
    if (phase not in {"both", "backward"}) or not told:
        return ""
    # Another convention of the loss: its value and every gradient are off by one and the same factor
    if not all(_scalar(a) for a in told):
        return ""
    ratios = [_ratios(a) for a in told]
    if any(r is None for r in ratios):
        return ""
    names: list[set[str]] = []
    for a, r in zip(told, ratios, strict=True):
        assert r is not None
        names.append({n for n, v in _candidates(a).items() if abs(v - r) <= 1e-6 * abs(v)})
    common = set.intersection(*names) if names else set()
    if not common:
        return ""
    return f"its loss and its gradients are {min(common, key=len)} times the course's: consistent, but another convention"


def _scalar(a: Attempt) -> bool:
    return bool(a.outputs) and a.outputs[0].expected.size == 1 and all(plain(c.got) is not None for c in (*a.outputs, *a.grads))


def _ratios(a: Attempt) -> float | None:
    """The one factor of every array; None where there is no such factor, or where it is 1."""
    found = []
    for c in (*a.outputs[:1], *a.grads):
        got = np.asarray(c.got, float)
        if got.size != c.expected.size or not np.isfinite(got).all():
            return None
        got, scale = got.reshape(c.expected.shape), float(np.vdot(c.expected, c.expected))
        if not scale:
            continue
        ratio = float(np.vdot(got, c.expected)) / scale
        if np.abs(got - ratio * c.expected).max(initial=0) > 1e-6 * max(np.abs(got).max(initial=0), 1e-300):
            return None
        found.append(ratio)
    if not found or max(found) - min(found) > 1e-6 * abs(found[0]) or abs(found[0] - 1) < 1e-6 or found[0] == 0:
        return None
    return found[0]


def _candidates(a: Attempt) -> dict[str, float]:
    sizes = {n: float(v) for n, v in a.problem.names.items() if isinstance(v, int) and not isinstance(v, bool) and v > 1}
    found = {"2": 2.0, "1/2": 0.5}
    for n, v in sizes.items():
        found |= {n: v, f"1/{n}": 1 / v, f"2/{n}": 2 / v, f"{n}/2": v / 2}
    for n, v in sizes.items():
        found |= {f"{n}·{m}": v * w for m, w in sizes.items() if m > n}
        found |= {f"1/({n}·{m})": 1 / (v * w) for m, w in sizes.items() if m > n}
    return found


def better(a: Sequence[Row], b: Sequence[Row]) -> bool:
    """Whether the alternative ``b`` fits a submission better than ``a``."""
    order = list(VERDICTS)

    def fit(rows: Sequence[Row]) -> tuple[Any, ...]:
        right = sum(r.right for r in rows) / max(1, sum(r.tried for r in rows))
        # where as many cases are wrong, the one is meant whose outputs are right (the loss says which regulariser it is),
        # then the one of which more comes out right
        forward = [a.forward_ok for r in rows for a in r.attempts]
        arrays = [c.ok for r in rows for a in r.attempts for c in (*a.outputs, *a.grads)]
        arrays += [False for r in rows for a in r.attempts if a.failed for _ in r.exercise.gradients]
        arrays += [False for r in rows for a in r.attempts if a.phase == "forward" for _ in r.exercise.outputs]
        shares = (sum(oks) / max(1, len(oks)) for oks in (forward, arrays))
        misfits = sum(a.failed is not None and a.failed.kind == "misfit" for r in rows for a in r.attempts)
        refused = any(a.failed is not None and a.failed.kind == "refused" for r in rows for a in r.attempts)
        # where nothing is right, the one is meant whose arguments were taken at all
        taken = not all(a.failed is not None and _not_taken(a.failed) for r in rows for a in r.attempts)
        return not refused, right, -misfits, *shares, taken, -max(order.index(r.verdict) for r in rows)

    return fit(b) > fit(a)


def _not_taken(failed: Outcome) -> bool:
    """Whether a call was refused for its arguments, before anything of the submission was run."""
    return not failed.traceback and failed.sentence.startswith("raises TypeError: ") and " argument" in failed.sentence
