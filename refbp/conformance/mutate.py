"""The mutation score: which of a layer's mutants its own cases and checks notice.

Each mutant meets the cases under the comparisons with torch first, which notice most. One that they let pass is compared
with the original on every case and on variations of each (other draws, float32, batches of one and none, NaN, extremes,
other memory layouts): where nothing at all differs, bit for bit, the mutant is *equivalent*, provided that its place was
executed. What is left meets every check, and survives if none of them minds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance.checks import CHECKS
from refbp.conformance.checks._base import batch_axes
from refbp.conformance.clock import TooLong, limited
from refbp.conformance.mutants import Mutant, mutants
from refbp.conformance.trial import SEED, Trial, as_list
from refbp.conformance.verify import run_check
from refbp.contract import Layer
from refbp.registry import Entry

Array = NDArray[Any]
SECONDS = 5.0  # for one mutant: a loop that lost its end is killed by the clock
FIRST = ("gradients", "outputs", "buffers")
UNAFFECTED = ("state", "init")  # of what is mutated, they see nothing
KILLED, EQUIVALENT, SURVIVED, UNREACHED = "killed", "equivalent", "survived", "unreached"


@dataclass(frozen=True)
class Fate:
    """What became of one mutant, and through which check on which case."""

    mutant: Mutant
    fate: str
    check: str = ""
    case: str = ""

    @property
    def alive(self) -> bool:
        """Whether it counts against the score."""
        return self.fate in (SURVIVED, UNREACHED)

    def data(self) -> dict[str, Any]:
        """The fate as plain data."""
        return {"fate": self.fate, "check": self.check, "case": self.case, **self.mutant.data()}


@dataclass(frozen=True)
class Score:
    """One layer's mutants and their fates."""

    name: str
    source: str
    fates: tuple[Fate, ...]
    problem: str = ""  # why there is no score

    def count(self, fate: str) -> int:
        """How many mutants met this fate."""
        return sum(f.fate == fate for f in self.fates)

    @property
    def survivors(self) -> list[Fate]:
        """The mutants that no check noticed."""
        return [f for f in self.fates if f.alive]

    @property
    def percent(self) -> float | None:
        """Killed of those that are not equivalent."""
        counted = len(self.fates) - self.count(EQUIVALENT)
        return 100.0 * self.count(KILLED) / counted if counted else None

    @property
    def by_check(self) -> dict[str, int]:
        """How many each check killed, most first."""
        return dict(Counter(f.check for f in self.fates if f.fate == KILLED).most_common())

    def data(self) -> dict[str, Any]:
        """The score as plain data."""
        return {
            "name": self.name,
            "source": self.source,
            "mutants": len(self.fates),
            "killed": self.count(KILLED),
            "equivalent": self.count(EQUIVALENT),
            "survived": len(self.survivors),
            "percent": self.percent,
            "by_check": self.by_check,
            "problem": self.problem,
            "fates": [f.data() for f in self.fates],
        }


def score(entry: Entry, seed: int = SEED) -> Score:
    """The fate of every mutant of one layer."""
    trials = [Trial(entry.spec, i, seed) for i in range(len(entry.spec.cases))]
    for trial in trials:
        for name in CHECKS:
            outcome = run_check(trial, name)
            if outcome is not None and outcome.wrong:
                problem = f"case {trial.id}, check {name}: {outcome.message}"
                return Score(entry.name, entry.source, (), f"it is wrong as it stands ({problem})")
    bench = _Bench(trials)
    return Score(entry.name, entry.source, tuple(bench.fate(m) for m in mutants(entry.spec.layer)))


class _Bench:
    """The original's trials and what it answers to every variation, against which mutants are held."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = trials
        self.variations = [v for t in trials for v in variations(t)]
        self.answers = [_answer(t, v) for t, v in self.variations]

    def fate(self, mutant: Mutant) -> Fate:
        """Hold one mutant against the bench."""
        try:
            with limited(SECONDS), mutant.place():
                if found := self._noticed(FIRST):
                    return Fate(mutant, KILLED, *found)
                if self._same_answers():
                    pass
                elif found := self._noticed([c for c in CHECKS if c not in FIRST and c not in UNAFFECTED]):
                    return Fate(mutant, KILLED, *found)
                else:
                    return Fate(mutant, SURVIVED)
            with limited(SECONDS), mutant.poisoned():
                return Fate(mutant, UNREACHED if self._same_answers() else EQUIVALENT)
        except TooLong:
            return Fate(mutant, KILLED, "time limit")
        except RecursionError:
            return Fate(mutant, KILLED, "recursion limit")

    def _noticed(self, checks: Sequence[str]) -> tuple[str, str] | None:
        for trial in self.trials:
            fresh = trial.fresh()
            for name in checks:
                outcome = run_check(fresh, name)
                if outcome is not None and outcome.wrong:
                    return name, trial.id
        return None

    def _same_answers(self) -> bool:
        return all(_answer(t, v) == a for (t, v), a in zip(self.variations, self.answers, strict=True))


@dataclass(frozen=True)
class _Variation:
    layer: Layer[Any]
    inputs: tuple[Any, ...]
    state: Any


def variations(trial: Trial) -> Iterator[tuple[Trial, _Variation]]:
    """The case, and what might tell a mutant from the original though every check passes."""
    same = trial.state

    def vary(inputs: Sequence[Any], state: Any = same, layer: Any = None) -> tuple[Trial, _Variation]:
        return trial, _Variation(layer or trial.layer, tuple(inputs), state)

    yield vary(trial.inputs)
    rng = trial.rng("mutants")
    yield vary((*trial.draw(rng), *trial.noise))
    yield vary(trial.float32.inputs, trial.float32.state)
    axes = batch_axes(trial)
    for size in (0, 1):
        if axes is not None:
            cut = [a if x is None or a is None else np.take(a, range(size), x) for a, x in zip(trial.inputs, axes, strict=True)]
            yield vary(cut)
    for change in (_scaled(1e3), _scaled(1e-3), _zeros, _ties, _poisoned, np.asfortranarray):
        yield vary([_floats(change, a) for a in trial.inputs])
    if hasattr(trial.layer, "training"):
        import dataclasses

        flipped: Any = dataclasses.replace(trial.layer, training=not trial.layer.training)  # type: ignore[type-var]
        yield vary(trial.inputs, layer=flipped)


def _floats(change: Callable[[Array], Array], a: Any) -> Any:
    return change(a) if a is not None and a.dtype.kind == "f" and a.ndim and a.size else a


def _scaled(factor: float) -> Callable[[Array], Array]:
    return lambda a: a * a.dtype.type(factor)


def _zeros(a: Array) -> Array:
    b = a.copy()
    b.flat[::2] = 0
    return b


def _ties(a: Array) -> Array:
    return np.round(a)


def _poisoned(a: Array) -> Array:
    b = a.copy()
    b.flat[0] = np.nan
    return b


def _answer(trial: Trial, v: _Variation) -> Any:
    """Everything that a layer says: outputs, updates, gradients for two upstreams, bits and dtypes, or how it refuses."""
    try:
        with np.errstate(all="ignore"):
            step = v.layer(v.state, *v.inputs, **trial.case.options)
            outputs = as_list(step.outputs)
            said: list[Any] = [*outputs, *(np.asarray(step.updates[n]) for n in sorted(step.updates))]
            for purpose in ("upstream", "second upstream"):
                upstream = [
                    u if u is None else u.astype(y.dtype)
                    for u, y in zip(trial.upstream_for(outputs, purpose), outputs, strict=True)
                ]
                grads = step.backward(*upstream)
                said += [*grads.inputs, *(grads.params[n] for n in sorted(grads.params))]
        return [
            None if a is None else (a.shape, a.dtype.str, a.flags.writeable, (a + 0 if a.dtype.kind == "f" else a).tobytes())
            for a in said
        ]
    except Exception as error:
        return type(error)
