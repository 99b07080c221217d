"""Run the checks over cases, and say what came out as data: one Result per layer, case and check."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refbp.conformance.checks import CHECKS
from refbp.conformance.compare import expired
from refbp.conformance.outcome import Outcome, Verdict, broken
from refbp.conformance.trial import SEED, Trial
from refbp.errors import UnknownNameError
from refbp.registry import Entry, unknown
from refbp.spec import Spec


@dataclass(frozen=True)
class Result:
    """One check on one case of one layer; ``outcome`` is None where the check does not concern the case."""

    layer: str
    case: str
    check: str
    seed: int
    outcome: Outcome | None
    origin: str = ""  # the plugin file that the layer came from, if it came from one

    @property
    def command(self) -> str:
        """The command that repeats it."""
        where = f" --plugins-dir {shlex.quote(self.origin)}" if self.origin else ""
        return f"refbp verify {self.layer} --case {shlex.quote(self.case)} --check {self.check} --seed {self.seed}{where}"


def run_check(trial: Trial, name: str) -> Outcome | None:
    """One check on one trial, with exemptions applied; whatever a layer raises is an outcome."""
    exempt = next((e for e in trial.spec.exempt if e.check == name and e.when(trial.case)), None)
    waiver = next((w for w in trial.spec.waivers if w.check == name != "gradients" and w.when(trial.case)), None)
    try:
        with np.errstate(all="ignore"):
            outcome = CHECKS[name](trial)
    except Exception as error:  # a layer's code may raise anything; that is a finding, and no exemption or waiver is for it
        return broken(f"{type(error).__name__}: {error}")
    if exempt and outcome is not None:
        if outcome.wrong:
            return Outcome(Verdict.AGREE, f"exempt: {exempt.reason}", notes=(f"exempt from {name}: {exempt.reason}",))
        return broken(f"the exemption “{exempt.reason}” is stale: the check passes; remove it from the Spec")
    if waiver and outcome is not None:
        if outcome.wrong:
            return Outcome(Verdict.KNOWN_BAD, waiver.reason, notes=(waiver.reason,))
        return expired(waiver) or outcome
    return outcome


def verify(entry: Entry, seed: int = SEED, cases: Sequence[str] = (), checks: Sequence[str] = ()) -> tuple[Result, ...]:
    """Every result of one layer; of these cases and checks only, where some are named."""
    spec = entry.spec
    results = []
    for index, case_id in enumerate(spec.case_ids()):
        if not cases or case_id in cases:
            trial = Trial(spec, index, seed)
            for name in checks or CHECKS:
                results.append(Result(spec.name, case_id, name, seed, run_check(trial, name), entry.file))
    return tuple(results)


def died(entry: Entry, seed: int) -> tuple[Result, ...]:
    """The result of a layer whose process died."""
    outcome = broken("the process that ran it died")
    return (Result(entry.name, entry.spec.case_ids()[0], "outputs", seed, outcome, entry.file),)


def check_selection(specs: Sequence[Spec], cases: Sequence[str], checks: Sequence[str]) -> None:
    """An unknown case id or check is a usage error that names the nearest known one."""
    known = sorted({i for s in specs for i in s.case_ids()})
    for case in cases:
        if case not in known:
            raise UnknownNameError(unknown("case", case, known))
    for check in checks:
        if check not in CHECKS:
            raise UnknownNameError(unknown("check", check, list(CHECKS)))
