"""What the checks share: their registration, trials that vary one thing, and comparisons of lists of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance import budget
from refbp.conformance.outcome import Outcome
from refbp.conformance.trial import Trial
from refbp.contract import Grads
from refbp.shapes import parse

Array = NDArray[Any]
Check = Callable[[Trial], "Outcome | None"]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check under its function's name, with hyphens."""
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


def sibling(trial: Trial, purpose: str | None = None) -> Trial:
    """The same case with the same state, for other inputs."""
    other = Trial(trial.spec, trial.index, trial.seed, trial.dtype, trial.round_to)
    other.layer, other.memo = trial.layer, trial.memo
    other.__dict__.update(twin=trial.twin, state=trial.state)
    if purpose is None:
        other.__dict__["drawn"] = trial.drawn
    else:
        other.__dict__["drawn"] = trial.draw(trial.rng(purpose))
    return other


def copies(trial: Trial) -> tuple[list[Any], dict[str, Array], list[Any]]:
    def copied(a: Array | None) -> Array | None:
        return None if a is None else a.copy()

    return [copied(a) for a in trial.inputs], {n: a.copy() for n, a in trial.state.items()}, [copied(u) for u in trial.upstream]


def arrays(grads: Grads) -> list[Array]:
    return [g for g in (*grads.inputs, *grads.params.values()) if g is not None]


def same(a: Sequence[Array], b: Sequence[Array]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


def apart(
    got: Sequence[Any], reference: Sequence[Any], fan: int, scale: float = 0.0, more: Callable[[int], float] = lambda _: 0.0
) -> str:
    """How two lists of arrays differ beyond rounding, in words; empty where they do not.

    ``more(i)`` is asked for a larger scale where the i-th are too far apart for their own size.
    """
    for i, (g, r) in enumerate(zip(map(np.asarray, got), map(np.asarray, reference), strict=True)):
        if g.shape != r.shape:
            return f"shape {g.shape} and {r.shape}"
        if g.dtype.kind == "f":
            off, size = budget.error(g, r), max(budget.norm(r), scale)
            if off > budget.tolerance(g.dtype, fan, size) and off > budget.tolerance(g.dtype, fan, more(i)):
                return f"largest difference {off:.3g}"
        if g.dtype.kind != "f" and not np.array_equal(g, r):
            return "other integers"
    return ""


def declared(trial: Trial) -> bool:
    return not all(p.removeprefix("optional ") == f"any (*{n})" for n, p in trial.layer.inputs().items())


def _axis(pattern: str, a: Array | None, sizes: dict[str, int]) -> int | None:
    """The batch axis of one array: the one named N, or the first of a leading ``*`` that other axes follow."""
    if a is None:
        return None
    axes = parse(pattern).axes(a.shape, sizes)
    if not axes:
        return None
    if "N" in axes:
        return axes.index("N")
    return 0 if axes[0] == "*" and not axes[-1].startswith("*") else None


def batch_axes(trial: Trial) -> list[int | None] | None:
    """The batch axis of every input, or None where there is none, or not one: options go along with it, or sizes differ."""
    if any(isinstance(v, np.ndarray) for v in trial.case.options.values()):
        return None
    patterns = list(trial.layer.inputs().values())
    axes = [_axis(p, a, trial.layer.sizes) for p, a in zip(patterns, trial.inputs, strict=False)]
    if None in axes[len(trial.drawn) :]:
        return None  # noise whose pattern names no batch cannot be split with the rest
    sizes = {a.shape[x] for a, x in zip(trial.inputs, axes, strict=False) if x is not None}
    return axes if len(axes) == len(trial.inputs) and len(sizes) == 1 else None


def output_axes(trial: Trial) -> list[int | None]:
    patterns = list(trial.layer.outputs().values())
    axes = [_axis(p, y, trial.layer.sizes) for p, y in zip(patterns, trial.outputs, strict=False)]
    return axes + [None] * (len(trial.outputs) - len(axes))
