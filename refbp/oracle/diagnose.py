"""The explainer: given a reference layer and somebody's gradients on several cases, what is wrong with them, in words.

Every clue of :mod:`refbp.oracle.clues` looks at all observations together and offers findings, or none. A guess is kept
only if it accounts for every observation: a factor must be the same function of the sizes in all of them, a mutant must
give what was got in all of them, and in the cases that are right it must be right. What the evidence does not single out
is not claimed: "not explained" is an answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from refbp.oracle.clues import QUICK, SLOW
from refbp.oracle.finding import Evidence, Finding
from refbp.oracle.observation import Observation

MOST = 3
SECONDS = 10.0
SURE = 0.9  # what is explained so surely needs no second explanation of the same gradients
TELLING = 0.6  # a class of cases that is told beside a sure explanation
ASIDE = ("cases", "error", "overwritten", "place", "repair")  # what tells when, where, and how to mend it


def diagnose(
    observations: Sequence[Observation], names: Mapping[str, str] | None = None, seconds: float = SECONDS
) -> list[Finding]:
    """At most three findings, the most specific first; none where nothing is wrong, or nothing explains it.

    ``names`` are what the reader calls the gradients, {"weight": "dw"}; without it they are called gradients of something.
    ``seconds`` bounds the search: what was found by then must do.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # a guess may overflow, and a mutant do anything
        return _diagnosed(Evidence(observations, names, seconds))


def _diagnosed(evidence: Evidence) -> list[Finding]:
    if not evidence.failing and not any(o.changed for o in evidence.observations):
        return []
    found: list[Finding] = []
    for clue in QUICK:
        found += clue(evidence)
    for clue in SLOW:
        explained = {n for f in found if f.kind not in ASIDE and f.confidence >= SURE for n in f.gradients}
        if not evidence.late and (evidence.own or not explained >= set(evidence.wrong)):
            found += clue(evidence)
    return ranked(found, len(evidence.wrong))


def ranked(found: Sequence[Finding], wrong: int) -> list[Finding]:
    """The surest first, weighed by how many of the wrong gradients they explain; no second word on what is explained."""

    def weight(f: Finding) -> float:
        share = len(f.gradients) / wrong if wrong and f.gradients else 1.0
        return f.confidence * (0.7 + 0.3 * share)

    kept: list[Finding] = []
    for f in sorted(found, key=lambda f: -weight(f)):
        if f.kind in ASIDE:
            explained = any(k.kind not in ASIDE and k.confidence >= SURE for k in kept)
            if explained and (f.kind == "place" or f.confidence < TELLING):
                continue
            kept.append(f)
        elif not f.gradients or not set(f.gradients) <= _explained(kept, f.confidence):
            kept.append(f)
    return kept[:MOST]


def _explained(kept: Sequence[Finding], confidence: float) -> set[str]:
    """The gradients that need no explanation of this confidence any more."""
    return {n for k in kept if k.kind not in ASIDE and k.confidence >= min(SURE, confidence) for n in k.gradients}


__all__ = ["Finding", "Observation", "diagnose"]
