"""The ledger, measured when it is asked for: conventions at kinks, and the places where torch is wrong.

Nothing in it is remembered. A convention is shown with the one-sided slopes that the numerical witness finds at the
kinks of the layer's cases; a waiver with what torch, the layer and the witness say at the worst element.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refbp.conformance import budget
from refbp.conformance.checks.derivative import kinks
from refbp.conformance.outcome import Outcome, Verdict
from refbp.conformance.trial import SEED, Trial
from refbp.conformance.verify import run_check
from refbp.conformance.witness import Witness
from refbp.registry import Entry
from refbp.spec import Waiver


@dataclass(frozen=True)
class Row:
    """One line of the ledger."""

    op: str
    kind: str  # "convention" or "waiver"
    point: str
    torch: str
    slopes: str
    witness: str
    what: str
    thread: str
    versions: str

    def data(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self)


def rows(entry: Entry, seed: int = SEED) -> Iterator[Row]:
    """Every row of one layer; kinks that repeat at another upstream gradient are shown once."""
    seen: set[tuple[str, str]] = set()
    for trial in (Trial(entry.spec, i, seed) for i in range(len(entry.spec.cases))):
        with np.errstate(all="ignore"):
            if trial.case.exact and entry.spec.conventions:
                for row in _conventions(trial):
                    if (row.point, row.slopes) not in seen:
                        seen.add((row.point, row.slopes))
                        yield row
    for waiver in entry.spec.waivers:
        for trial in (Trial(entry.spec, i, seed) for i in range(len(entry.spec.cases))):
            outcome = run_check(trial, waiver.check) if waiver.when(trial.case) else None
            if outcome is not None and outcome.verdict is Verdict.KNOWN_BAD:
                with np.errstate(all="ignore"):
                    yield _waived(trial, waiver)
                break
        else:
            yield Row(
                entry.name,
                "waiver",
                "–",
                "right on this machine",
                "–",
                "–",
                waiver.reason,
                waiver.thread or "–",
                waiver.versions,
            )


def _conventions(trial: Trial) -> Iterator[Row]:
    """Slopes and values per unit of upstream gradient, so that they read as derivatives."""
    grads = {n: g for n, g in trial.own_grads.items() if g is not None and g.size}
    if not grads or not all(np.isfinite(g).all() for g in grads.values()):
        return
    found = kinks(trial, Witness.of(trial), grads)
    if isinstance(found, Outcome):
        return
    words = "; ".join(f"{c.point}: {c.choice}" for c in trial.spec.conventions)
    for k in found:
        up = trial.upstream[0]
        unit = float(up[k.index]) if up is not None and up.shape == np.shape(grads[k.name]) else 1.0
        left, right = k.left / unit + 0.0, k.right / unit + 0.0  # + 0.0: no slope is −0
        theirs = trial.torch.grads[k.name]
        value = float("nan") if theirs is None else float(theirs[k.index]) / unit + 0.0
        where = f"{k.name} = {k.at:.6g}"
        yield Row(trial.spec.name, "convention", where, f"{value:.6g}", f"{left:.6g} | {right:.6g}", "–", words, "–", "2.13")


def _waived(trial: Trial, waiver: Waiver) -> Row:
    """Where torch is furthest from the layer, and what the witness says there."""
    worst: tuple[float, str, tuple[int, ...]] | None = None
    if waiver.check == "gradients":
        for name, own in trial.own_grads.items():
            theirs = trial.torch.grads.get(name)
            if own is not None and theirs is not None and own.size and own.shape == theirs.shape:
                found = budget.difference(name, own, theirs, 0.0)
                off = abs(found.yours - found.expected) / (budget.norm(own) or 1.0)
                if worst is None or not off <= worst[0]:
                    worst = (off, name, found.index or ())
    if worst is None:
        return Row(
            trial.spec.name, "waiver", f"case {trial.id}", "–", "–", "–", waiver.reason, waiver.thread or "–", waiver.versions
        )
    _, name, index = worst
    slope = Witness.of(trial).at(name, index)
    theirs = trial.torch.grads[name]
    at = {**dict(zip(trial.input_names, trial.inputs, strict=False)), **trial.state}[name][index]
    return Row(
        trial.spec.name,
        "waiver",
        f"{trial.layer!r}, {name} = {float(at):.6g}",
        "–" if theirs is None else f"{float(theirs[index]):.17g}",
        "–",
        f"{slope.value:.17g}",
        waiver.reason,
        waiver.thread or "–",
        waiver.versions,
    )
