"""What the tests of every course share: right solutions are checked in a worker, wrong ones are edits of the right ones.

    REPORT = checked("cs231n", HERE / "right")                   every exercise, one worker a file
    Wrong("affine_backward", "dout.sum(0)", "dout.mean(0)", r"1/N")    an edit of the solution, and what is said of it
    row = found("cs231n", HERE / "right/layers.py", wrong)       run in this process: no worker, a fraction of a second

``says`` is a regular expression for the first finding, or for the note where the verdict speaks for itself; an empty one
says that nobody expects words. ``verdict`` is what the row of the gradient must be called; "" is anything but ok.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from refbp.oracle import submission
from refbp.oracle.callers import Local
from refbp.oracle.checking import Asked, Report, check, check_exercise
from refbp.oracle.exercise import Course
from refbp.oracle.verdict import Row, better
from refbp.oracle.words import explain

SEED = 20


@dataclass(frozen=True)
class Wrong:
    """One mistake: in the solution of an exercise, ``old`` becomes ``new``, everywhere or only in one ``function``.

    ``also`` are further pairs of old and new. ``row`` names the row that is judged where it is not the exercise's last.
    """

    exercise: str
    old: str
    new: str
    says: str = ""
    verdict: str = ""
    function: str = ""
    also: tuple[tuple[str, str], ...] = ()
    row: str = ""
    file: str = ""

    def __str__(self) -> str:
        return f"{self.exercise}: {' '.join(self.new.split())[:60]}"


@cache
def course(name: str) -> Course:
    """A built-in course."""
    return next(c for c in importlib.import_module(f"refbp.courses.{name}").refbp_exercises() if c.name == name)


def checked(name: str, path: Path, exercises: Sequence[str] = (), explain: bool = False, seconds: float = 1.0) -> Report:
    """A file or folder, checked as ``refbp check`` does it: in a worker."""
    c = course(name)
    return check(submission.read(path), c, c.select(exercises), Asked(SEED, explain=explain, seconds=seconds))


def edited(source: str, wrong: Wrong) -> str:
    """The solution with the mistake in it."""
    start, end = _span(source, wrong.function) if wrong.function else (0, len(source))
    part = source[start:end]
    for old, new in ((wrong.old, wrong.new), *wrong.also):
        assert old in part, f"{wrong}: the solution has no {old!r}"
        part = part.replace(old, new)
    return source[:start] + part + source[end:]


def _span(source: str, function: str) -> tuple[int, int]:
    """Where a function or class of the file begins and ends; Class.method narrows it down."""
    start, end = 0, len(source)
    for name in function.split("."):
        match = re.search(rf"^( *)(?:def|class) {name}\b", source[start:end], re.MULTILINE)
        assert match, f"the solution has no {function}"
        indent, start = len(match[1]), start + match.start()
        body = source.index("\n", start) + 1
        after = re.search(rf"^ {{0,{indent}}}[^\s)]", source[body:end], re.MULTILINE)
        end = body + after.start() if after else end
    return start, end


def names(path: Path, source: str | None = None) -> dict[str, Any]:
    """What a file defines; it may import what lies beside it."""
    space: dict[str, Any] = {"__name__": __name__}  # of a module that is there: dataclasses look theirs up
    before = set(sys.modules)
    sys.path.insert(0, str(path.parent))
    try:
        exec(compile(path.read_text() if source is None else source, str(path), "exec"), space)
    finally:
        sys.path.remove(str(path.parent))
        for module in set(sys.modules) - before:
            if Path(getattr(sys.modules[module], "__file__", None) or "/").parent == path.parent:
                del sys.modules[module]
    return space


class Tensors(Local):
    """A caller of this process whose arrays arrive as torch's tensors."""

    def __init__(self, names: Any) -> None:
        import torch

        torch.set_num_threads(1)
        super().__init__(names)

    def _run(self, find: Any, args: Any, kwargs: Any, **asked: Any) -> Any:
        return super()._run(find, [_tensor(a) for a in args], {n: _tensor(a) for n, a in kwargs.items()}, **asked)


def _tensor(value: Any) -> Any:
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return {n: _tensor(v) for n, v in value.items()} if isinstance(value, dict) else value


def rows(name: str, space: dict[str, Any], exercise: str, seconds: float = 30.0) -> list[Row]:
    """The rows of one exercise for functions of this process, the best-fitting alternative, with words."""
    asked = Asked(SEED, seconds=seconds)
    best: list[Row] = []
    for e in (e for e in course(name).exercises if e.name == exercise):
        caller = Tensors(space) if e.tensors else Local(space)
        if any(n.split(".")[0] not in space for n in e.needs):
            continue
        new = check_exercise(e, caller, None, None, asked)
        best = new if not best or better(best, new) else best
    assert best, f"no exercise {exercise}"
    return [dataclasses.replace(r, findings=tuple(explain(r, seconds))) if _has_words(r) else r for r in best]


def _has_words(row: Row) -> bool:
    """Whether the explainer is asked; the smallest input, which takes most of the time, is not looked for here."""
    return row.remarkable and row.verdict not in {"environment", "timeout", "finite differences", "convention"}


def found(name: str, path: Path, wrong: Wrong) -> Row:
    """The row of a mistake: the gradient's, unless it names another."""
    told = rows(name, names(path, edited(path.read_text(), wrong)), wrong.exercise)
    return next(r for r in told if r.name == wrong.row) if wrong.row else told[-1]


def words(row: Row) -> str:
    """What a row says first: its first finding, or the note of a verdict that needs none."""
    return row.findings[0].sentence if row.findings else row.note


def caught(row: Row) -> bool:
    """Whether the mistake was seen at all."""
    return row.verdict not in {"ok", "not tested", "not implemented"}


def told(row: Row, wrong: Wrong) -> bool:
    """Whether what is said is what is wrong."""
    return bool(wrong.says) and re.search(wrong.says, words(row)) is not None and wrong.verdict in {"", row.verdict}


def hold(row: Row, wrong: Wrong) -> None:
    """A mistake must be caught; where words are expected, they must be said first."""
    assert caught(row), f"{wrong}: {row.verdict}"
    assert not wrong.says or told(row, wrong), f"{wrong}: {row.verdict}: {words(row)}"


def enough(mistakes: Sequence[Wrong]) -> None:
    """At least ten mistakes of a course, and words expected of nine in ten: that they come is what :func:`hold` holds.

    Counted from what is expected, not from what has run: mistakes are tried in several processes, none of which sees all.
    """
    assert len(mistakes) >= 10
    assert sum(bool(w.says) for w in mistakes) >= 0.9 * len(mistakes)
