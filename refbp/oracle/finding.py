"""What an explanation is, and how a guess becomes one: it must account for every observation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from refbp.errors import listed
from refbp.oracle import condition
from refbp.oracle.observation import Array, Observation, differs, same, tolerance

GUESSED = 1e-7  # how close a guess must come: nobody's ε of 1e-8 is to stand in its way
SEVERAL = 4  # names that a sentence takes before it counts them
Guess = Callable[[Observation], Any]  # what a gradient would be; None where the guess has nothing to say


@dataclass(frozen=True)
class Finding:
    """One explanation: a sentence, the evidence for it, how sure it is (0 to 1), and of which gradients it speaks."""

    kind: str
    sentence: str
    evidence: str
    confidence: float
    gradients: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "evidence": self.evidence,
            "confidence": round(self.confidence, 2),
            "gradients": list(self.gradients),
        }


@dataclass(frozen=True)
class Fit:
    """A guess that gives what was got, wherever that is wrong."""

    evidence: str
    confidence: float
    condition: str = ""  # where it holds, if not everywhere: "stride > 1"


@dataclass
class Claim:
    """The same thing, found of one gradient after the other: one sentence for all of them.

    ``words`` continue "the gradient of x" or, in the plural, "the gradients of x and weight": see :func:`agreeing`.
    """

    kind: str
    words: str
    fit: Fit
    gradients: list[str] = field(default_factory=list)


class Evidence:
    """All observations of one function, and what every clue asks of them."""

    def __init__(self, observations: Sequence[Observation], names: Mapping[str, str] | None, seconds: float) -> None:
        self.observations = sorted(observations, key=_size)
        self._names = names or {}
        self._deadline = time.process_time() + seconds  # what is found must not depend on who else computes

    @cached_property
    def failing(self) -> list[Observation]:
        """The cases with a wrong gradient, the smallest first."""
        return [o for o in self.observations if o.wrong]

    @cached_property
    def answered(self) -> list[Observation]:
        """Those of them in which there is an answer at all."""
        return [o for o in self.failing if not o.error]

    @cached_property
    def wrong(self) -> list[str]:
        """The gradients that are wrong somewhere."""
        return list(dict.fromkeys(n for o in self.answered for n in o.wrong))

    @cached_property
    def numeric(self) -> list[str]:
        """Those of them that are arrays of real numbers wherever they are wrong."""
        return [n for n in self.wrong if all(_is_numeric(o.got[n]) for o in self.where(n))]

    @property
    def own(self) -> bool:
        """Whether the layer itself is what is wrong, and not somebody's version of it."""
        return any(o.reference is not None for o in self.observations)

    @property
    def late(self) -> bool:
        """Whether the time is up: then what was found so far must do."""
        return time.process_time() > self._deadline

    def called(self, names: Iterable[str]) -> str:
        """The gradients as the reader knows them: by their own names, or as gradients of something."""
        names = list(names)
        every = {n for o in self.observations for n in o.expected}
        if len(names) > SEVERAL and set(names) >= every:
            return "all gradients"
        shown = names if len(names) <= SEVERAL else names[: SEVERAL - 1]
        rest = [f"{len(names) - len(shown)} more"] * (len(shown) < len(names))
        if all(n in self._names for n in names):
            return listed([*(self._names[n] for n in shown), *rest])
        return f"the gradient{'s' * (len(names) > 1)} of {listed([*shown, *rest])}"

    def where(self, name: str) -> list[Observation]:
        """The cases in which this gradient is wrong."""
        return [o for o in self.answered if name in o.wrong]

    def pairs(self, name: str) -> list[tuple[Array, Array]]:
        """What was got and what was expected there."""
        return [(np.asarray(o.got[name]), np.asarray(o.expected[name])) for o in self.where(name) if o.got[name] is not None]

    def fit(self, name: str, guess: Guess, sure: float, moved: bool = False) -> Fit | None:
        """Whether a guess gives what was got, in every case in which that is wrong, and what it says in the others.

        A case in which the gradient is right although the guess says something else refutes the guess, unless a simple
        condition on arguments and sizes tells those cases apart. A guess may be None for a case: then it was not tried there.
        ``moved``: the guess is the right gradient with its elements elsewhere, which may be as the reference has them.
        """
        wrong = self.where(name)
        tried = []
        for o in wrong:
            agrees = _agrees(guess, o, name, moved)
            if agrees is False:
                return None
            tried += [o] * bool(agrees)
        if not tried:
            return None
        against = [o for o in self._right(name) if _agrees(guess, o, name, moved) is False]
        only = condition.separating(wrong, against) if against else ""
        if against and not only:
            return None
        return self._fit(name, tried, len(wrong), sure - 0.03 * bool(only), only)

    def test(self, name: str, test: Callable[[Array, Array, Observation], bool], sure: float) -> Fit | None:
        """The same for what is no guess but a test of (got, expected, case); it says nothing of the cases that are right."""
        wrong = self.where(name)
        for o in wrong:
            try:
                with np.errstate(all="ignore"):
                    if o.got[name] is None or not test(np.asarray(o.got[name]), np.asarray(o.expected[name]), o):
                        return None
            except (ValueError, IndexError, TypeError):
                return None
        right = self._right(name)
        return self._fit(name, wrong, len(wrong), sure, condition.separating(wrong, right)) if wrong else None

    def _right(self, name: str) -> list[Observation]:
        return [o for o in self.observations if not o.error and name in o.expected and name in o.got and name not in o.wrong]

    def _fit(self, name: str, tried: list[Observation], wrong: int, sure: float, only: str) -> Fit:
        shapes = len({tuple(np.shape(a) for a in (*o.inputs, *o.state.values())) for o in tried})
        telling = sum(count_wrong(o, name) for o in tried)
        sure -= 0.1 * (shapes == 1) + 0.15 * (telling < 3) + 0.05 * (len(tried) < wrong)
        cases = (
            _all(wrong, "wrong case") if len(tried) == wrong else f"{len(tried)} of {wrong} wrong cases, the others not tried"
        )
        return Fit(f"in {cases}, of {shapes} shape{'s' * (shapes > 1)}", max(sure, 0.1), only)

    def merged(self, claims: Iterable[tuple[str, str, str, Fit]]) -> list[Finding]:
        """Findings from claims (gradient, kind, words, fit): what is said of several gradients is said once."""
        held: dict[tuple[str, str, str], Claim] = {}
        for name, kind, words, fit in claims:
            claim = held.setdefault((kind, words, fit.condition), Claim(kind, words, fit))
            claim.gradients.append(name)
        return [self._said(c) for c in held.values()]

    def _said(self, claim: Claim) -> Finding:
        text = agreeing(claim.words, len(claim.gradients) > 1)
        only = f", where {claim.fit.condition}" if claim.fit.condition else ""
        return Finding(
            claim.kind,
            f"{self.called(claim.gradients)} {text}{only}",
            claim.fit.evidence,
            claim.fit.confidence,
            tuple(claim.gradients),
        )


PLURAL = {"is": "are", "has": "have", "its": "their", "it": "they", "ignores": "ignore"}


def agreeing(words: str, many: bool) -> str:
    """Words in which {is}, {has}, {its}, {it} and {ignores} agree with one thing, or with several."""
    for one, several in PLURAL.items():
        words = words.replace("{" + one + "}", several if many else one)
    return words


def _agrees(guess: Guess, o: Observation, name: str, moved: bool) -> bool | None:
    """Whether a guess gives what was got; None where it was not tried."""
    try:
        with np.errstate(all="ignore"):
            guessed = guess(o)
    except Exception:  # a guess may fail in any way; then it is not what somebody's code did, which gave an answer
        return False
    if guessed is None or (not moved and _is_right(guessed, o, name)):
        return None if guessed is None else False
    return explains(guessed, o, name)


def _is_right(guessed: Any, o: Observation, name: str) -> bool:
    """Whether a guess is nothing but the right gradient, in the layout of the reference where the case is seen in another's."""
    if np.shape(guessed) == np.shape(o.expected[name]) or name not in o.wrong:
        return False
    return same(guessed, o.right(o.upstream).get(name))


def explains(guessed: Any, o: Observation, name: str) -> bool:
    """Whether a guess is what was got, up to rounding, and up to much less than what is to be explained."""
    got = o.got.get(name)
    if got is None or guessed is None:
        return got is guessed
    got, expected = np.asarray(got), np.asarray(o.expected[name])
    close = max(tolerance(got), GUESSED)
    if got.shape == expected.shape and got.dtype.kind == "f" and got.size:
        apart, scale = np.abs(got - expected).max(), np.abs(expected).max() or 1.0
        close = min(close, max(apart / scale / 100, 1e-13)) if apart > 0 else close
    return same(got, guessed, close)


def _is_numeric(got: Any) -> bool:
    return got is not None and got.dtype.kind in "fiub"


def count_wrong(o: Observation, name: str) -> int:
    """In how many elements a gradient is wrong: one element tells less than a hundred."""
    got, expected = np.asarray(o.got[name]), np.asarray(o.expected[name])
    if got.shape != expected.shape or got.dtype.kind not in "fiub":
        return max(expected.size, 1)
    return int(differs(got, expected).sum())


def _size(o: Observation) -> int:
    return sum(int(np.size(a)) for a in (*o.inputs, *o.state.values(), *o.upstream) if a is not None)


def _all(count: int, what: str) -> str:
    return f"the only {what}" if count == 1 else f"all {count} {what}s"
