"""Clues: each looks at all observations together, and offers findings, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from refbp.oracle.clues import cases, formula, mutant, otherwise, parts, place, scale, shape, upstream
from refbp.oracle.finding import Evidence, Finding

Clue = Callable[[Evidence], Iterable[Finding]]
QUICK: tuple[Clue, ...] = (shape.clue, formula.clue, scale.clue, upstream.clue, place.clue, cases.clue)
SLOW: tuple[Clue, ...] = (otherwise.clue, parts.clue, mutant.clue)  # only for what the others leave unexplained
