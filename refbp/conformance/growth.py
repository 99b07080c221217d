"""How time grows along every axis that a layer's shapes leave open, beside torch's on the same arrays.

Time is taken as n^p, and p read off two sizes, one eight times the other: 1 is linear. Memory alone bends p: an array that
no longer fits into a cache costs more for each element. So torch's p, on the same arrays in the same run, is the measure: an
axis is steep where refbp's p is above 1.5 and above torch's by a half.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from refbp.conformance.checks._base import sibling
from refbp.conformance.trial import Trial, as_list
from refbp.conformance.twin import TorchRun
from refbp.registry import Entry
from refbp.shapes import parse

torch.set_num_threads(1)
FACTOR = 8
LONG = 2e-3  # seconds that the smaller size shall take, so that what is measured is work and not calls
LARGEST = 1 << 24  # elements of all inputs together, at the larger size
REPEATS = 5


@dataclass(frozen=True)
class Growth:
    """Times in seconds at two sizes of one axis, refbp's and torch's."""

    layer: str
    case: str
    axis: str
    sizes: tuple[int, int]
    refbp: tuple[float, float]
    torch: tuple[float, float]

    @property
    def powers(self) -> tuple[float, float]:
        """The p of n^p, refbp's and torch's."""
        ratio = math.log(self.sizes[1] / self.sizes[0])
        return math.log(self.refbp[1] / self.refbp[0]) / ratio, math.log(self.torch[1] / self.torch[0]) / ratio

    @property
    def steep(self) -> bool:
        """Whether refbp's time grows faster than it may."""
        ours, theirs = self.powers
        return ours > 1.5 and ours > theirs + 0.5

    def data(self) -> dict[str, Any]:
        """The measurement as plain data."""
        told = {"layer": self.layer, "case": self.case, "axis": self.axis, "sizes": list(self.sizes)}
        ours, theirs = self.powers
        times = {"refbp_s": list(self.refbp), "torch_s": list(self.torch), "power": ours, "torch_power": theirs}
        return told | times | {"steep": self.steep}


def measured(entry: Entry, seed: int, factor: int = FACTOR, long: float = LONG) -> Iterator[Growth]:
    """A measurement for every open axis of a layer, on the first case that has it.

    An axis is left out where the layer, or torch, refuses to have it longer: a target that must lie within the others, say.
    """
    done: set[str] = set()
    for index in range(len(entry.spec.cases)):
        trial = Trial(entry.spec, index, seed, np.float32)
        if any(isinstance(v, np.ndarray) for v in trial.case.options.values()):
            continue  # a mask is of the inputs' size, and its axes have no names
        with np.errstate(all="ignore"):  # of a case with extreme values
            for axis in open_axes(trial):
                if axis not in done and (found := _grown(trial, axis, factor, long)) is not None:
                    done.add(axis)
                    yield found


def open_axes(trial: Trial) -> list[str]:
    """The axes of the inputs whose size no argument of the layer gives, by the names in its shapes."""
    named = [n for p, a in _patterns(trial) if a is not None for n in parse(p).axes(a.shape, trial.layer.sizes) or ()]
    return [n for n in dict.fromkeys(named) if n not in trial.layer.sizes and not n.isdigit()]


def _patterns(trial: Trial) -> Iterator[tuple[str, Any]]:
    return zip(trial.layer.inputs().values(), trial.drawn, strict=False)


def resized(trial: Trial, axis: str, size: int) -> Trial:
    """The trial, its inputs repeated along an axis until that has this size; of several axes of a name, along the first."""
    drawn = []
    for pattern, a in _patterns(trial):
        names = parse(pattern).axes(a.shape, trial.layer.sizes) if a is not None else None
        if a is not None and names is not None and axis in names:
            where = names.index(axis)
            drawn.append(np.ascontiguousarray(a.take(np.arange(size) % a.shape[where], where)))
        else:
            drawn.append(a)
    other = sibling(trial)
    other.memo = {}
    other.__dict__["drawn"] = (*drawn, *trial.drawn[len(drawn) :])
    return other


def _grown(trial: Trial, axis: str, factor: int, long: float) -> Growth | None:
    held = sum(a.size for _, a in _patterns(trial) if a is not None)
    if not held:
        return None
    size = 8
    try:
        while _seconds([_ours(resized(trial, axis, size))], 2)[0] < long and 2 * size * factor * held <= LARGEST:
            size *= 2
        small, large = resized(trial, axis, size), resized(trial, axis, size * factor)
        ours = [_ours(small), _ours(large)]
        theirs = [_theirs(small), _theirs(large)]
        a, b, c, d = _seconds([*ours, *theirs], REPEATS)
    except Exception:  # whoever refuses has the say: this axis is not open after all
        return None
    return Growth(trial.spec.name, trial.id, axis, (size, size * factor), (a, b), (c, d))


def _ours(trial: Trial) -> Callable[[], Any]:
    inputs, state = trial.inputs, trial.state
    upstream = trial.upstream_for(as_list(trial.step(inputs, state).outputs))
    return lambda: trial.pull(trial.step(inputs, state), upstream)


def _theirs(trial: Trial) -> Callable[[], Any]:
    return lambda: TorchRun(trial)


def _seconds(runs: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """The least time of each, taken in turn: what disturbs a run makes it longer, never shorter."""
    best = [math.inf] * len(runs)
    for run in runs:
        run()
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    return best
