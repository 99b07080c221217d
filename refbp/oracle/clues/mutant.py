"""The reference's own source, wrong in one place: which of its mutants gives what was got.

Where the layer itself is what may be wrong (its gradients are held against another reference), the question is turned
round: which of its mutants would be right?
"""

from __future__ import annotations

import inspect
import linecache
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from refbp.contract import Layer
from refbp.oracle import notation
from refbp.oracle.finding import Evidence, Finding, agreeing, count_wrong, explains
from refbp.oracle.observation import Observation, same

# How plausible a slip of each kind is: what people get wrong first, a constant that happens to fit last
LIKELY = (
    ("comparison", "sum or mean", "lost term", "flipped sign", "rearrangement", "= for +=", "reduction", "eps", "biased"),
    ("lost factor", "lost function", "exponent", "swapped operands", "upstream", "lost statement", "swapped gradients"),
    ("saved value", "operator", "condition", "branches", "lost gradient", "function", "slice", "axis", "keepdims"),
    ("constant",),
)
PLACES = ("backward", "df", "f_df", "unstep")  # where a mistake in a gradient is made first of all


def clue(e: Evidence) -> list[Finding]:
    """At most two findings: what was done, or what would be right."""
    if not e.answered:
        return []
    return list(_repairs(e) if e.own else _matches(e))


@lru_cache(maxsize=16)
def _mutants(cls: type[Layer[Any]]) -> tuple[Any, ...]:
    from refbp.conformance.mutants import NEAR, mutants

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape", "is with a literal": of code that nobody wrote
        return tuple(sorted(mutants(cls, NEAR), key=_rank))


def _rank(mutant: Any) -> tuple[int, int, int, int]:
    likely = next((i for i, kinds in enumerate(LIKELY) if mutant.kind in kinds), len(LIKELY))
    if mutant.kind == "comparison" and "differs only" not in mutant.sentence:
        likely = 1
    place = PLACES.index(mutant.function) if mutant.function in PLACES else len(PLACES)
    return likely, place, len(mutant.before), mutant.line


def _all_mutants(e: Evidence, seen: Callable[[Any], Any]) -> Iterator[Any]:
    """The mutants that have something to say, each asked while it is in place, and what it said."""
    from refbp.conformance.clock import TooLong, limited

    cls: type[Layer[Any]] = type(e.answered[0].layer)
    for mutant in _mutants(cls):
        if e.late:
            return
        if e.answered[0].of_outputs and mutant.function in PLACES:
            continue
        try:
            with limited(1.0), mutant.place(), warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                said = seen(mutant)
        except (Exception, TooLong):  # a mutant may crash in any way: then it says nothing
            continue
        if said:
            yield mutant, said


def _matches(e: Evidence) -> Iterator[Finding]:
    already = set(_explained(e))  # by the layer as it is: the right numbers, in its own layout instead of the course's
    told = ((m, [n for n in names if n not in already]) for m, names in _all_mutants(e, lambda _: _explained(e)))
    found = sorted((t for t in told if t[1]), key=lambda m: -len(m[1]))
    if not found:
        return
    most = len(found[0][1])
    best = [(m, names) for m, names in found if len(names) == most]
    mutant, names = best[0]  # the likeliest: mutants come in that order
    wrong = [o for o in e.answered if set(names) & set(o.wrong)]
    shapes = len({tuple(np.shape(a) for a in (*o.inputs, *o.state.values())) for o in wrong})
    telling = sum(count_wrong(o, n) for o in wrong for n in names if n in o.wrong)
    elsewhere = mutant.function not in PLACES and not wrong[0].of_outputs
    sure = 0.95 - 0.1 * (shapes == 1) - 0.15 * (telling < 3) - 0.25 * (mutant.kind == "constant") - 0.03 * elsewhere
    words = agreeing("{is} what you get when ", len(names) > 1) + notation.sentence(mutant)
    if mutant.sentence.startswith("gradient ") and "wrong sign" in mutant.sentence:  # by its number, which nobody knows
        words = agreeing("{has} the wrong sign", len(names) > 1)
    yield Finding(
        mutant.kind,
        f"{e.called(names)} {words}",
        f"{mutant.where}; the same in {'all ' if len(wrong) > 1 else 'the '}{len(wrong)} wrong"
        f" case{'s' * (len(wrong) > 1)}, of {shapes} shape{'s' * (shapes > 1)}",
        max(sure, 0.1),
        tuple(names),
    )


def _explained(e: Evidence) -> list[str]:
    """The wrong gradients that the layer, as it is now, gives in every case in which they are wrong, and not elsewhere."""
    alive = list(e.numeric)
    for o in e.answered:
        if not any(n in alive for n in o.wrong):
            continue
        given = o.anew()
        alive = [n for n in alive if n not in o.wrong or explains(given.get(n), o, n)]
        if not alive:
            return []
    for o in e.observations:
        asked = [n for n in alive if n in o.got and n in o.expected and n not in o.wrong and not o.error]
        if asked:
            given = o.anew()
            alive = [n for n in alive if n not in asked or explains(given.get(n), o, n)]
    return alive


def _repairs(e: Evidence) -> Iterator[Finding]:
    """The mutants of a wrong layer that are right in every case."""
    for mutant, _ in _all_mutants(e, lambda _: _right(e.observations)):
        count = len(e.observations)
        yield Finding(
            "repair",
            f"{e.called(e.wrong)} would be right if {notation.repair(mutant, _line(type(e.answered[0].layer), mutant))}",
            f"{mutant.where}; right in {f'all {count} cases' if count > 1 else 'the one case'} then",
            0.96 if count > 1 else 0.8,
            tuple(e.wrong),
        )
        return


def _line(cls: type[Layer[Any]], mutant: Any) -> str:
    """The line of source that a mutant of a layer's own module changes."""
    path = inspect.getsourcefile(cls) or ""
    return linecache.getline(path, mutant.line).strip() if Path(path).name == Path(mutant.file).name else ""


def _right(observations: Sequence[Observation]) -> bool:
    for o in sorted(observations, key=lambda o: not o.wrong):
        given = o.anew()
        if not all(same(given.get(n), x) for n, x in o.expected.items()):
            return False
    return True
