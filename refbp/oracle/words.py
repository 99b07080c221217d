"""Why a function is wrong, in words: the explainer, asked in the names that its author gave things."""

from __future__ import annotations

import warnings

import numpy as np

from refbp.errors import listed
from refbp.oracle.attempt import Attempt
from refbp.oracle.clues import cases, scale, shape
from refbp.oracle.diagnose import MOST, diagnose
from refbp.oracle.finding import Evidence, Finding
from refbp.oracle.observation import Observation
from refbp.oracle.verdict import Row


def explain(row: Row, seconds: float) -> list[Finding]:
    """At most three findings on a row that is wrong."""
    told = [a for a in row.attempts if a.problem.tier != "dtype"]
    if row.phase == "forward" or (row.phase == "both" and not all(a.forward_ok for a in told if a.failed is None)):
        return _of_outputs(told, seconds)
    observations = [a.observation for a in told if a.observation is not None and not _forward_broken(a)]
    names: dict[str, str] = {}
    wrong = {c.name for a in told for c in a.grads if not c.ok}
    parts = {n for o in observations for n in o.expected}
    for n in sorted(parts):  # where an array is given in parts, those of them that are wrong
        of = [g for g, array in row.exercise.gradients.items() if _is_of(row.exercise.arrays[array], n)]
        if of:
            names[n] = listed([g for g in of if g in wrong] or of)
    return diagnose(observations, names, seconds) if observations else []


def _is_of(expression: str, name: str) -> bool:
    from refbp.oracle.attempt import readable
    from refbp.oracle.layout import covered

    return readable(name) in covered(expression, {readable(name): None})


def _forward_broken(a: Attempt) -> bool:
    return a.phase == "forward"


def _of_outputs(told: list[Attempt], seconds: float) -> list[Finding]:
    """What a forward has in common where it is wrong: a factor, a shape, a class of cases."""
    observations = []
    for a in told:
        p = a.problem
        failed = a.failed.sentence if a.failed is not None and a.phase == "forward" else ""
        got = {c.name: c.got for c in a.outputs}
        expected = {c.name: c.expected for c in a.outputs} or {"out": np.zeros(1)}
        observations.append(Observation(p.layer, p.state, p.inputs, (), got, expected, p.id, p.options, error=failed))
    names = {n: n for o in observations for n in o.expected}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        evidence = Evidence(observations, names, seconds)
        if not evidence.failing:
            return []
        found: list[Finding] = []
        for clue in (shape.clue, scale.clue, cases.clue):
            try:
                found += clue(evidence)
            except Exception:  # clues are made for gradients: one that cannot say anything of outputs says nothing
                continue
    return sorted(found, key=lambda f: -f.confidence)[:MOST]
