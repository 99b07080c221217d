"""One submission, graded: what was right in which tier of every function, as plain data that can be kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refbp.oracle.checking import LIMITS, TORCH, Asked, Report, check
from refbp.oracle.exercise import Course, Exercise
from refbp.oracle.grading.rubric import Rubric, functions, selected
from refbp.oracle.isolation import Limits, SubmissionError
from refbp.oracle.isolation.result import text
from refbp.oracle.submission import Submission, UnreadableError, read
from refbp.oracle.verdict import Row

EXPLAINING = 1.0  # seconds that words for one function may take, and as many for its smallest input


@dataclass(frozen=True)
class Function:
    """What was found of one function. ``tiers`` says of each tier how many cases were right, and how many there are.

    ``verdict``, ``note``, ``findings`` and ``example`` are of the tiers that students see; ``hidden`` is the verdict on the
    others, empty where there are none.
    """

    name: str
    verdict: str
    note: str = ""
    file: str = ""
    line: int = 0
    digits: float | None = None
    tiers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)  # the course's own
    hidden: str = ""
    findings: tuple[tuple[str, str], ...] = ()
    example: tuple[str, str] | None = None
    traceback: str = ""
    convention: str = ""


@dataclass(frozen=True)
class Graded:
    """What was found of one submission. ``unreadable`` says why nothing of it could be tried, and is its author's to mend."""

    functions: tuple[Function, ...] = ()
    unreadable: str = ""
    seconds: float = 0.0
    protections: str = ""

    @property
    def timed_out(self) -> bool:
        """Whether the clock decided something."""
        return any("timeout" in (f.verdict, f.hidden) for f in self.functions)

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return dataclasses.asdict(self)

    @staticmethod
    def of(data: Mapping[str, Any]) -> Graded:
        """From plain data, as JSON gives it back."""
        made = []
        for f in data["functions"]:
            tiers = {t: (int(a), int(b)) for t, (a, b) in f["tiers"].items()}
            findings = tuple((str(a), str(b)) for a, b in f["findings"])
            example = tuple(f["example"]) if f["example"] else None
            made.append(Function(**{**f, "tiers": tiers, "findings": findings, "example": example}))
        return Graded(tuple(made), data["unreadable"], data["seconds"], data["protections"])


def grade(staged: Path, course: Course, rubric: Rubric, seed: int) -> Graded:
    """Grade what lies in a folder of its own. Whatever is raised is no fault of the submission."""
    start = time.monotonic()
    exercises = selected(rubric, course)
    try:
        submission = read(staged)
        limits = _limits(rubric, course, exercises)
        told = max(map(rubric.hints_of, rubric.items)) >= 2
        asked = Asked(seed, told, EXPLAINING, rubric.visible, limits)
        seen = check(submission, course, exercises, asked)
        hidden = None
        if rubric.hidden:
            hidden = check(submission, course, exercises, dataclasses.replace(asked, explain=False, tiers=rubric.hidden))
    except (UnreadableError, SubmissionError) as error:
        return Graded(unreadable=_without(str(error), staged), seconds=time.monotonic() - start)
    return Graded(
        _functions(seen, hidden, submission, staged, functions(course, exercises)),
        "",
        time.monotonic() - start,
        seen.protections,
    )


def _limits(rubric: Rubric, course: Course, exercises: Sequence[Exercise]) -> Limits | None:
    asked: dict[str, Any] = {"seconds": rubric.seconds, "load_seconds": rubric.load_seconds, "memory": rubric.memory}
    asked = {n: v for n, v in asked.items() if v is not None}
    if not asked:
        return None
    torch = "torch" in {*course.modules, *(m for e in exercises for m in e.modules)}
    return dataclasses.replace(TORCH if torch else LIMITS, **asked)


def _functions(
    seen: Report, hidden: Report | None, submission: Submission, staged: Path, names: Sequence[str]
) -> tuple[Function, ...]:
    others = {r.name: r for r in hidden.rows} if hidden else {}
    rows = {r.name: r for r in seen.rows}
    unread = next((f.error for f in submission.files if f.error), "")
    return tuple(
        _function(rows[name], others.get(name), staged)
        if name in rows
        else Function(name, "missing", _without(unread, staged) or "the submission has no function of this name")
        for name in names
    )


def _function(row: Row, other: Row | None, staged: Path) -> Function:
    tiers = {t: (_right(row, t) + (_right(other, t) if other else 0), len(c)) for t, c in row.exercise.tiers.items() if c}
    hidden = other.verdict if other is not None and other.tried else ""
    return Function(
        row.name,
        row.verdict,
        _without(row.note, staged),
        _without(row.where, staged),
        row.line,
        None if row.digits is None else round(row.digits, 1),
        tiers,
        dict(row.exercise.weights),
        hidden,
        tuple((f.sentence, f.evidence) for f in row.findings),
        row.example,
        _without(row.traceback, staged),
        row.exercise.convention,
    )


def _right(row: Row, tier: str) -> int:
    """How many cases of a tier are right: those that were not tried, because an earlier one never ended, are not."""
    tried = sum(a.problem.tier == tier for a in row.attempts)
    return round(row.scores.get(tier, 0.0) * tried)


def _without(said: str, staged: Path) -> str:
    """A text without the place to which the submission was copied, and without what a terminal would obey."""
    folder = staged if staged.is_dir() else staged.parent
    return text(said.replace(f"{folder}/", "").replace(str(folder), folder.name), 100_000)
