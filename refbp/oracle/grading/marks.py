"""Points and words: what was found, weighed by the rubric, and as much of it said as the rubric allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from refbp.oracle.grading.grade import Function, Graded
from refbp.oracle.grading.rubric import Item, Rubric
from refbp.oracle.verdict import PASSING

SAID_ANYWAY = {"raises", "environment", "not implemented", "timeout", "missing"}  # of these the note is the verdict
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Part:
    """The visible or the hidden part of a function's mark."""

    points: float
    most: float
    right: int
    cases: int


@dataclass(frozen=True)
class Mark:
    """One function's mark. ``lines`` is what its author may read, ``seen`` and ``hidden`` are the two parts of its points."""

    name: str
    verdict: str
    seen: Part
    hidden: Part
    hidden_verdict: str
    lines: tuple[str, ...]
    visibility: str
    hidden_visibility: str

    @property
    def points(self) -> float:
        """What was earned."""
        return self.seen.points + self.hidden.points

    @property
    def most(self) -> float:
        """What there was to earn."""
        return self.seen.most + self.hidden.most

    @property
    def passed(self) -> bool:
        """Whether nothing that the author sees is to be mended."""
        return self.verdict in PASSING

    @property
    def hidden_passed(self) -> bool:
        """Whether nothing of the hidden tiers is."""
        return self.hidden.right == self.hidden.cases or self.hidden_verdict in PASSING

    @property
    def hidden_line(self) -> str:
        """What an author is told of hidden tiers: how many, and not which."""
        if self.hidden_passed:
            return "The hidden test passed." if self.hidden.cases == 1 else f"All {self.hidden.cases} hidden tests passed."
        failed = self.hidden.cases - self.hidden.right
        what = "The hidden test" if self.hidden.cases == 1 else f"{failed} of {self.hidden.cases} hidden tests"
        return f"{what} failed. What hidden tests are is not shown."


@dataclass(frozen=True)
class Sheet:
    """All marks of one submission."""

    name: str
    marks: tuple[Mark, ...]
    unreadable: str = ""
    seconds: float = 0.0
    same_as: str = ""

    @property
    def points(self) -> float:
        """What was earned."""
        return sum(m.points for m in self.marks)

    @property
    def most(self) -> float:
        """What there was to earn."""
        return sum(m.most for m in self.marks)


def sheet(name: str, graded: Graded, rubric: Rubric, same_as: str = "") -> Sheet:
    """The marks of a submission."""
    found = {f.name: f for f in graded.functions}
    why = graded.unreadable
    marks = [
        _mark(i, found.get(i.name) or Function(i.name, UNREADABLE if why else "missing", why), rubric) for i in rubric.items
    ]
    return Sheet(name, tuple(marks), why, graded.seconds, same_as)


def _mark(item: Item, f: Function, rubric: Rubric) -> Mark:
    weights = {t: rubric.weight(item, f.weights, t) for t in f.tiers}
    total = sum(weights.values())
    parts = []
    for concealed, verdict in ((False, f.verdict), (True, f.hidden)):
        mine = [t for t in f.tiers if (t in rubric.hidden) is concealed]
        share = sum(weights[t] for t in mine) / total if total else float(not concealed)
        earned = sum(weights[t] * f.tiers[t][0] / f.tiers[t][1] for t in mine) / total if total else 0.0
        worth = rubric.worth(verdict, item)
        if worth is not None:
            earned = worth * share
        right, cases = (sum(f.tiers[t][n] for t in mine) for n in (0, 1))
        parts.append(Part(item.points * earned, item.points * share, right, cases))
    lines = tuple(_lines(f, rubric.hints_of(item), parts[0], rubric.visible))
    when = item.visibility or rubric.visibility
    return Mark(f.name, f.verdict, parts[0], parts[1], f.hidden, lines, when, rubric.hidden_visibility)


def _lines(f: Function, hints: int, seen: Part, visible: Sequence[str]) -> list[str]:
    """What the author may read. What was expected, and the input that shows it, are in no level below 3."""
    place = f" ({f.file}:{f.line})" if f.file and f.line and hints else ""
    found = [f"{f.name}: {f.verdict}{place}"]
    if seen.cases and hints:
        short = [f"{t} {a}/{b}" for t, (a, b) in f.tiers.items() if t in visible and a < b]
        found.append(f"{seen.right} of {seen.cases} cases right" + (f" (of {', '.join(short)})" if short else ""))
    if f.note and (hints or f.verdict in SAID_ANYWAY):
        found.append(f.note)
    if hints >= 2:
        for i, (sentence, evidence) in enumerate(f.findings):
            found.append(f"{'also' if i else 'why'}: {sentence}" + (f" ({evidence})" if evidence else ""))
    if hints >= 3 and f.example:
        found += [f"smallest failing input: {f.example[0]}", f.example[1]]
    if f.traceback and hints:
        found += f.traceback.rstrip().splitlines()
    if f.convention and f.verdict == "convention":
        found.append(f"The course: {f.convention}")
    return found


def mean(sheets: Sequence[Sheet]) -> float:
    """The mean of the points."""
    return sum(s.points for s in sheets) / len(sheets) if sheets else 0.0
