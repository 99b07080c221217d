"""What an instructor asks for, from a small TOML file: points, hidden tiers, hints, limits. Every mistake is one sentence."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refbp.errors import RefbpError, did_you_mean, listed
from refbp.oracle.exercise import TIERS, Course, Exercise
from refbp.oracle.verdict import VERDICTS

VISIBILITIES = ("visible", "after_due_date", "after_published", "hidden")  # Gradescope's words
KEYS = {
    "course": "the course that it is for",
    "hints": "0 verdicts, 1 which cases, 2 what is wrong, 3 also the smallest input that shows it, with what was expected",
    "hidden": "tiers of which students see only how many were right",
    "visibility": "when students see a test",
    "hidden_visibility": "when they see that of a hidden tier",
    "seconds": "how long one call may take",
    "load_seconds": "how long importing a submission may take",
    "memory_mib": "how much memory a submission may have",
    "exercises": "the functions that count, and their points",
    "tiers": "how much a tier weighs",
    "credit": "what a verdict is worth, from 0 to 1, instead of the part of the cases that is right",
}
ITEM_KEYS = ("points", "tiers", "hints", "visibility")


class RubricError(RefbpError):
    """A rubric that cannot be used."""


@dataclass(frozen=True)
class Item:
    """A function that counts: how much, and what its author is told. ``tiers`` and the rest are None where nothing is said."""

    name: str
    points: float = 1.0
    tiers: Mapping[str, float] = field(default_factory=dict)
    hints: int | None = None
    visibility: str | None = None


@dataclass(frozen=True)
class Rubric:
    """Everything that was asked for."""

    items: tuple[Item, ...]
    hints: int = 2
    hidden: tuple[str, ...] = ()
    visibility: str = "visible"
    hidden_visibility: str = "after_published"
    seconds: float | None = None
    load_seconds: float | None = None
    memory: int | None = None
    tiers: Mapping[str, float] = field(default_factory=dict)
    credit: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """All points there are."""
        return sum(i.points for i in self.items)

    @property
    def visible(self) -> tuple[str, ...]:
        """The tiers of which students are told."""
        return tuple(t for t in TIERS if t not in self.hidden)

    def hints_of(self, item: Item) -> int:
        """How much is given away on one function."""
        return self.hints if item.hints is None else item.hints

    def weight(self, item: Item, course: Mapping[str, float], tier: str) -> float:
        """How much a tier weighs: as the function's table says, or the rubric, or the course."""
        for said in (item.tiers, self.tiers, course):
            if tier in said:
                return float(said[tier])
        return 1.0

    def worth(self, verdict: str, item: Item) -> float | None:
        """What a verdict is worth whatever the cases say; None where the cases decide.

        At a kink several answers are defensible, and only an instructor who gives that tier a weight says otherwise.
        """
        if verdict in self.credit:
            return float(self.credit[verdict])
        return 1.0 if verdict == "kink-only" and "kink" not in {**self.tiers, **item.tiers} else None

    def fingerprint(self, exercises: Sequence[Exercise]) -> str:
        """What decides how a submission is tried: points, weights and visibility can be changed without trying it anew."""
        asked = [self.hidden, self.seconds, self.load_seconds, self.memory, max(map(self.hints_of, self.items), default=0)]
        cases = [
            [
                e.name,
                e.forward,
                e.backward,
                e.convention,
                *(f"{a}={e.arrays[a]}" for a in e.arrays),
                *map(str, e.factors.items()),
            ]
            + [f"{t}: {c.id or c.layer!r}" for t, cases in e.tiers.items() for c in cases]
            for e in exercises
        ]
        return hashlib.sha256(json.dumps([asked, cases]).encode()).hexdigest()


def functions(course: Course, exercises: Sequence[Exercise] = ()) -> list[str]:
    """The functions that a course asks for, in its order."""
    return list(dict.fromkeys(row for e in exercises or course.exercises for row in e.rows))


def plain(course: Course, names: Sequence[str] = ()) -> Rubric:
    """What the course itself gives for every function of the named exercises, or of all: a point, where it says nothing."""
    return Rubric(tuple(Item(n, usual(course, n)) for n in functions(course, course.select(list(names)))))


def usual(course: Course, name: str) -> float:
    """The points that a course itself gives a function."""
    return max((e.points for e in course.exercises if name in e.rows), default=1.0)


def selected(rubric: Rubric, course: Course) -> list[Exercise]:
    """The exercises that the rubric's functions belong to, with all their alternatives."""
    names = {i.name for i in rubric.items}
    wanted = {e.name for e in course.exercises if names & set(e.rows)}
    return [e for e in course.exercises if e.name in wanted]


def read(path: str | Path, course: Course, names: Sequence[str] = ()) -> Rubric:
    """The rubric in a file; ``names`` keeps only the functions of these exercises. RubricError says what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise RubricError(f"the rubric {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise RubricError(f"the rubric {path} is no text in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise RubricError(f"the rubric {path} is no TOML: {error}.") from None
    try:
        return _Reader(course).rubric(data, names)
    except _Mistake as mistake:
        raise RubricError(f"the rubric {path}: {mistake}.") from None


class _Mistake(Exception):  # noqa: N818  # an instructor's, and always told with the file's name
    pass


class _Reader:
    def __init__(self, course: Course) -> None:
        self.course = course
        self.functions = functions(course)

    def rubric(self, data: Mapping[str, Any], names: Sequence[str]) -> Rubric:
        self._known(data, list(KEYS), "key", "")
        if data.get("course", self.course.name) != self.course.name:
            raise _Mistake(f"it is for the course {data['course']!r}, and --course is {self.course.name}")
        items = self._items(data.get("exercises"))
        if names:
            wanted = set(functions(self.course, self.course.select(list(names))))
            items = tuple(i for i in items if i.name in wanted)
            if not items:
                raise _Mistake(f"it gives no points for {listed(list(names))}")
        rubric = Rubric(
            items,
            hints=self._hints(data.get("hints", 2), "hints"),
            hidden=tuple(self._hidden(data.get("hidden", []))),
            visibility=self._visibility(data.get("visibility", "visible"), "visibility"),
            hidden_visibility=self._visibility(data.get("hidden_visibility", "after_published"), "hidden_visibility"),
            seconds=self._positive(data, "seconds"),
            load_seconds=self._positive(data, "load_seconds"),
            memory=int(mib * (1 << 20)) if (mib := self._positive(data, "memory_mib")) else None,
            tiers=self._tiers(data.get("tiers", {}), "[tiers]"),
            credit=self._credit(data.get("credit", {})),
        )
        self._something_counts(rubric)
        return rubric

    def _something_counts(self, rubric: Rubric) -> None:
        if not rubric.total:
            raise _Mistake("all its points are 0: give at least one function some")
        for item in rubric.items:
            for e in self.course.exercises:
                if item.name in e.rows and not any(rubric.weight(item, e.weights, t) for t in e.tiers if e.tiers[t]):
                    raise _Mistake(f"every tier of {item.name} ({', '.join(e.tiers)}) weighs 0: give at least one a weight")
                tried = [t for t in e.tiers if e.tiers[t] and t in rubric.visible]
                if item.name in e.rows and not tried:
                    raise _Mistake(f"every tier of {item.name} ({', '.join(e.tiers)}) is hidden: leave at least one to be seen")

    def _known(self, data: Mapping[str, Any], known: Sequence[str], what: str, where: str) -> None:
        for name in data:
            if name not in known:
                hint = did_you_mean(name, list(known)) or f"; known: {', '.join(known)}"
                raise _Mistake(f"{where}{' ' * bool(where)}there is no {what} {name!r}{hint}")

    def _items(self, given: Any) -> tuple[Item, ...]:
        if given is None:
            return tuple(Item(n, usual(self.course, n)) for n in self.functions)
        table = self._table(given, "[exercises]")
        if not table:
            raise _Mistake("[exercises] is empty: give each function that counts its points, as affine_backward = 2")
        self._known(table, self.functions, "function", f"[exercises] of {self.course.name}:")
        return tuple(self._item(name, value) for name, value in table.items())

    def _item(self, name: str, value: Any) -> Item:
        where = f"[exercises] {name}"
        if not isinstance(value, dict):
            return Item(name, self._points(value, where))
        self._known(value, ITEM_KEYS, "key", f"{where}:")
        hints, visibility = value.get("hints"), value.get("visibility")
        return Item(
            name,
            self._points(value.get("points", usual(self.course, name)), f"{where}: points"),
            self._tiers(value.get("tiers", {}), f"{where}: tiers"),
            None if hints is None else self._hints(hints, f"{where}: hints"),
            None if visibility is None else self._visibility(visibility, f"{where}: visibility"),
        )

    def _table(self, given: Any, where: str) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise _Mistake(f"{where} is {_kind(given)}; wanted a table")
        return given

    def _number(self, given: Any, where: str) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise _Mistake(f"{where} is {_kind(given)}; wanted a number")
        if not math.isfinite(given):
            raise _Mistake(f"{where} is {given}; wanted a finite number")
        return float(given)

    def _points(self, given: Any, where: str) -> float:
        points = self._number(given, where)
        if points < 0:
            raise _Mistake(f"{where} is {points:g}; points are 0 or more")
        return points

    def _positive(self, data: Mapping[str, Any], key: str) -> float | None:
        if key not in data:
            return None
        value = self._number(data[key], key)
        if value <= 0:
            raise _Mistake(f"{key} is {value:g}; wanted more than 0")
        return value

    def _hints(self, given: Any, where: str) -> int:
        if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= 3:
            raise _Mistake(f"{where} is {given!r}; wanted 0, 1, 2 or 3")
        return given

    def _visibility(self, given: Any, where: str) -> str:
        if given not in VISIBILITIES:
            close = did_you_mean(str(given), list(VISIBILITIES)) or f"; wanted {' | '.join(VISIBILITIES)}"
            raise _Mistake(f"{where} is {given!r}{close}")
        return str(given)

    def _tiers(self, given: Any, where: str) -> dict[str, float]:
        table = self._table(given, where)
        self._known(table, list(TIERS), "tier", f"{where}:")
        weights = {t: self._number(w, f"{where} {t}") for t, w in table.items()}
        for tier, weight in weights.items():
            if weight < 0:
                raise _Mistake(f"{where} {tier} is {weight:g}; a weight is 0 or more")
        return weights

    def _hidden(self, given: Any) -> list[str]:
        if not isinstance(given, list) or not all(isinstance(t, str) for t in given):
            raise _Mistake(f"hidden is {_kind(given)}; wanted a list of tiers, as ['stability']")
        self._known(dict.fromkeys(given), list(TIERS), "tier", "hidden:")
        return given

    def _credit(self, given: Any) -> dict[str, float]:
        table = self._table(given, "[credit]")
        self._known(table, list(VERDICTS), "verdict", "[credit]:")
        parts = {v: self._number(p, f"[credit] {v}") for v, p in table.items()}
        for verdict, part in parts.items():
            if not 0 <= part <= 1:
                raise _Mistake(f"[credit] {verdict} is {part:g}; wanted a part of the points, from 0 to 1")
        return parts


def _kind(value: Any) -> str:
    """What a value is, in TOML's words."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
    shown = f" ({value!r:.40})" if not isinstance(value, dict | list) else ""
    return names.get(type(value), "a date") + shown
