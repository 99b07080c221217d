"""The mutation score: which of a layer's mutants its own cases and checks notice.

Each mutant meets the cases under the comparisons with torch first, which notice most. One that they let pass is compared
with the original on every case and on variations of each (other draws, float32, batches of one and none, NaN, extremes,
other memory layouts): where nothing at all differs, bit for bit, the mutant is *equivalent*, provided that its place was
executed. If it was not, and another registered layer that shares this code does go there, it is *elsewhere*: it is that
layer's to notice, and counts there. What is left meets every check, and survives if none of them minds.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp import registry
from refbp.conformance import parallel, survivors
from refbp.conformance.checks import CHECKS
from refbp.conformance.checks._base import batch_axes
from refbp.conformance.clock import TooLong, limited
from refbp.conformance.mutants import Mutant, Site, mutants, sites
from refbp.conformance.trial import SEED, Trial, as_list
from refbp.conformance.verify import run_check
from refbp.contract import Layer, State
from refbp.errors import RefbpError
from refbp.registry import Entry

Array = NDArray[Any]
SECONDS = 20.0  # of computing, for one mutant: a loop that lost its end is killed by the clock
FIRST = ("gradients", "outputs", "buffers")
UNAFFECTED = ("state", "init")  # of what is mutated, they see nothing
KILLED, EQUIVALENT, ELSEWHERE, SURVIVED, UNREACHED = "killed", "equivalent", "elsewhere", "survived", "unreached"
POISON = NameError  # what a poisoned place raises: its name is defined nowhere


@dataclass(frozen=True)
class Fate:
    """What became of one mutant, and through which check on which case; or which other layer goes where it is."""

    mutant: Mutant
    fate: str
    check: str = ""
    case: str = ""
    layer: str = ""
    reason: str = ""  # why it may survive, where someone has said so

    @property
    def alive(self) -> bool:
        """Whether it counts against the score."""
        return self.fate in (SURVIVED, UNREACHED)

    @property
    def advice(self) -> str:
        """Of a survivor: what to do about it, or why nothing."""
        if self.reason:
            return f"reviewed: {self.reason}"
        if self.fate == UNREACHED:
            return "no case reaches it: add one"
        return "every check passes: add a case that tells them apart"

    @property
    def sentence(self) -> str:
        """Where it is, what it changes, and the advice."""
        return f"{self.mutant.where}  `{self.mutant.before}` → `{self.mutant.after}`   {self.advice}"

    def data(self) -> dict[str, Any]:
        """The fate as plain data."""
        about = {n: getattr(self, n) for n in ("fate", "check", "case", "layer", "reason")}
        return about | self.mutant.data()


@dataclass(frozen=True)
class Score:
    """One layer's mutants and their fates."""

    name: str
    source: str
    fates: tuple[Fate, ...]
    problem: str = ""  # why there is no score
    seconds: float = 0.0  # of computing

    def count(self, fate: str) -> int:
        """How many mutants met this fate."""
        return sum(f.fate == fate for f in self.fates)

    @property
    def survivors(self) -> list[Fate]:
        """The mutants that no check noticed."""
        return [f for f in self.fates if f.alive]

    @property
    def percent(self) -> float | None:
        """Killed of those that are not equivalent, and not elsewhere."""
        counted = len(self.fates) - self.count(EQUIVALENT) - self.count(ELSEWHERE)
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
            "elsewhere": self.count(ELSEWHERE),
            "survived": len(self.survivors),
            "percent": self.percent,
            "reviewed": sum(bool(f.reason) for f in self.survivors),
            "by_check": self.by_check,
            "seconds": round(self.seconds, 3),
            "problem": self.problem,
            "fates": [f.data() for f in self.fates],
        }


def score(entry: Entry, seed: int = SEED, part: int = 0, parts: int = 1) -> Score:
    """The fate of every mutant of one layer, or of every so many-th: a part of them, after a part of the layer's own trials."""
    start = time.process_time()
    trials = [Trial(entry.spec, i, seed) for i in range(len(entry.spec.cases))]
    for trial in trials[part::parts]:
        for name in CHECKS:
            outcome = run_check(trial, name)
            if outcome is not None and outcome.wrong:
                problem = f"case {trial.id}, check {name}: {outcome.message}"
                return Score(entry.name, entry.source, (), f"it is wrong as it stands ({problem})")
    bench = _Bench(entry, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mutant may take the mean of nothing; that is not for the reader's eyes
        fates = tuple(bench.fate(m) for m in list(mutants(entry.spec.layer))[part::parts])
    return Score(entry.name, entry.source, fates, seconds=time.process_time() - start)


def in_parts(entry: Entry, seed: int, jobs: int, plugins_dirs: Sequence[str]) -> Score | None:
    """One layer's score, its mutants shared out among processes; None where one of them died."""
    try:
        with parallel.pool(jobs, plugins_dirs) as processes:
            asked = [processes.submit(parallel.on, score, entry.name, (seed, k, jobs)) for k in range(jobs)]
            parts: list[Score] = [a.result() for a in asked]
    except BrokenProcessPool:
        return None
    for part in parts:
        if part.problem:
            return part
    fates: list[Fate | None] = [None] * sum(len(p.fates) for p in parts)
    for k, part in enumerate(parts):
        fates[k::jobs] = part.fates
    return Score(entry.name, entry.source, tuple(f for f in fates if f), seconds=sum(p.seconds for p in parts))


def total(scores: Sequence[Score], name: str, source: str = "") -> Score:
    """Several layers as one."""
    return Score(name, source, tuple(f for s in scores for f in s.fates), seconds=sum(s.seconds for s in scores))


class _Bench:
    """The original's trials and what it answers to every variation, against which mutants are held."""

    def __init__(self, entry: Entry, trials: Sequence[Trial]) -> None:
        self.entry = entry
        self.trials = trials
        asked = [(t, v, _answer(t, v)) for t in trials for _, v in variations(t)]
        # Where the original itself crashes, there is nothing to tell apart: that variation is no input of the layer
        known = [(t, v, a) for t, v, a in asked if isinstance(a, list) or issubclass(a, RefbpError)]
        self.variations = [(t, v) for t, v, _ in known]
        self.answers = [a for *_, a in known]

    def fate(self, mutant: Mutant) -> Fate:
        """Hold one mutant against the bench."""
        try:
            with limited(SECONDS, processor=True), mutant.place():
                if found := self._noticed(FIRST):
                    return Fate(mutant, KILLED, *found)
                same = self._same_answers()
            with limited(SECONDS, processor=True), mutant.poisoned():
                reached = any(_reaches(t, v) for t, v in self.variations)
            if not reached:
                other = _who_goes_there(mutant, self.entry)
                if other:
                    return Fate(mutant, ELSEWHERE, layer=other)
                return Fate(mutant, UNREACHED, reason=survivors.reason(self.entry.name, mutant))
            if same:
                return Fate(mutant, EQUIVALENT)
            with limited(SECONDS, processor=True), mutant.place():
                found = self._noticed([c for c in CHECKS if c not in FIRST and c not in UNAFFECTED])
            if found:
                return Fate(mutant, KILLED, *found)
            return Fate(mutant, SURVIVED, reason=survivors.reason(self.entry.name, mutant))
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


def _who_goes_there(mutant: Mutant, entry: Entry) -> str:
    """The first other registered layer, if any, of which a case goes through the mutant's place in code that both share."""
    sharing = _sharing(tuple(e.spec.layer for e in registry.current().entries.values()))  # asked before the code is another
    for cls, site in sharing.get(mutant.site.function, ()):
        if cls is not entry.spec.layer:
            asked = _asked_of(cls)
            with mutant.poisoned(site):
                if any(_reaches(trial, v) for trial, v in asked):
                    return cls.__name__
    return ""


@lru_cache(maxsize=2)
def _sharing(classes: tuple[type[Layer[Any]], ...]) -> dict[Any, list[tuple[type[Layer[Any]], Site]]]:
    """For each function, the layers that go through it, and where each of them looks it up."""
    found: dict[Any, list[tuple[type[Layer[Any]], Site]]] = {}
    for cls in classes:
        for site in sites(cls):
            found.setdefault(site.function, []).append((cls, site))
    return found


@lru_cache(maxsize=64)
def _asked_of(cls: type[Layer[Any]]) -> list[tuple[Trial, _Variation]]:
    """A layer's cases as they are."""
    spec = registry.current().get(cls.__name__).spec
    trials = [Trial(spec, i) for i in range(len(spec.cases))]
    return [(t, _Variation(t.layer, t.inputs, t.state)) for t in trials]


def _reaches(trial: Trial, v: _Variation) -> bool:
    """Whether a pass forward and backward meets the poison."""
    try:
        with np.errstate(all="ignore"):
            step = v.layer(v.state, *v.inputs, **trial.case.options)
            outputs = as_list(step.outputs)
            upstream = v.upstreams(trial, outputs)[0]
            step.backward(*(u if u is None else u.astype(y.dtype) for u, y in zip(upstream, outputs, strict=True)))
    except POISON:
        return True
    except Exception:
        return False
    return False


@dataclass(frozen=True)
class _Variation:
    layer: Layer[Any]
    inputs: tuple[Any, ...]
    state: Any
    upstream: dict[Any, Any] = field(default_factory=dict)  # drawn once, as most mutants have the original's shapes

    def upstreams(self, trial: Trial, outputs: Sequence[Array]) -> Any:
        """Two upstream gradients for such outputs."""
        shapes = tuple((y.shape, y.dtype.kind) for y in outputs)
        if shapes not in self.upstream:
            self.upstream[shapes] = [trial.upstream_for(outputs, purpose) for purpose in ("upstream", "second upstream")]
        return self.upstream[shapes]


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
    """Everything that a layer says: outputs, updates, gradients for two upstreams, bits and dtypes, or how it refuses.

    It is asked on copies, for a mutant may write to what it is given, and the next must not be asked about that.
    """
    try:
        with np.errstate(all="ignore"):
            state = State({n: a.copy(order="K") for n, a in v.state.items()}, v.state.buffers)
            inputs = [None if a is None else a.copy(order="K") for a in v.inputs]
            step = v.layer(state, *inputs, **trial.case.options)
            outputs = as_list(step.outputs)
            said: list[Any] = [*outputs, *(np.asarray(step.updates[n]) for n in sorted(step.updates))]
            for upstream in v.upstreams(trial, outputs):
                grads = step.backward(*(u if u is None else u.astype(y.dtype) for u, y in zip(upstream, outputs, strict=True)))
                said += [*grads.inputs, *(grads.params[n] for n in sorted(grads.params))]
        return [None if a is None else (a.shape, a.dtype.str, a.flags.writeable, _bits(a)) for a in said]
    except Exception as error:
        return type(error)


def _bits(a: Array) -> bytes:
    """A zero's bits without its sign, and a NaN's as any other's."""
    if a.dtype.kind != "f":
        return a.tobytes()
    a = np.asarray(a + 0)
    lost = np.isnan(a)
    if lost.any():
        a[lost] = np.nan
    return a.tobytes()
