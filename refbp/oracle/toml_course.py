"""A course in a TOML file: anybody's exercises, without a line of Python. ``refbp check layers.py --course mine.toml``.

    about = "Our own layers"

    [[exercise]]
    name = "Dense.backward"
    forward = '''
    layer = Dense(in_features, out_features)
    layer.W = W
    out = layer.forward(x)
    '''
    backward = '''
    dx = layer.backward(dout)
    dW = layer.dW
    '''
    arrays = { x = "x", W = "weight.T" }
    outputs = { out = "y" }
    cases = ["Linear(3, 5, bias=False): normal(7, 3)"]

The keys of an exercise are the fields of :class:`~refbp.oracle.exercise.Exercise`; ``cases`` is short for those of the
tier ``std``. What is wrong in a file is told all at once, each mistake in one sentence with its place.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from refbp.errors import RefbpError, did_you_mean, listed
from refbp.oracle import harmless, layout
from refbp.oracle.attempt import wanted
from refbp.oracle.calls import NotationError, assigned, parsed
from refbp.oracle.exercise import TIERS, Course, Exercise, ExerciseError
from refbp.oracle.problem import Problem, draw, readable
from refbp.oracle.toml_cases import case
from refbp.spec import Case

COURSE = ("name", "about", "url", "conventions", "modules", "driver", "exercise")
TABLES = ("arrays", "outputs", "grads", "upstream", "factors", "output_factors", "reads", "words")
TEXTS = ("name", "forward", "backward", "driver", "beside", "forward_name", "convention")
LISTS = ("also", "modules")
NUMBERS = ("points", "rtol")
EXERCISE = (*TEXTS, *TABLES, "cases", "tiers", "fixed", "weights", "values", "noise", *LISTS, *NUMBERS, "tensors")
LAYOUTS = ("arrays", "outputs", "factors", "output_factors")


class CourseFileError(RefbpError):
    """A course file with mistakes in it, each in a sentence of its own."""


class _Mistakes:
    """What was found wrong, with the line it stands on as far as that can be told."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.lines, self.found = path, text.splitlines(), list[str]()
        self.starts = [i for i, line in enumerate(self.lines) if re.match(r"\s*\[\[\s*exercise\s*\]\]", line)]

    def add(self, sentence: str, place: str = "", index: int | None = None) -> None:
        """A mistake at a key; ``index`` is that of its exercise."""
        number = self._line(place, index)
        where = f"{self.path}:{number}" if number else str(self.path)
        which = [f"exercise {index + 1}"] if index is not None else []
        self.found.append(f"{where}: {', '.join([*which, *([place] if place else [])])}: {sentence}".replace(": : ", ": "))

    def _line(self, place: str, index: int | None) -> int:
        start, end = 0, self.starts[0] if self.starts else len(self.lines)
        if index is not None:
            if index >= len(self.starts):
                return 0
            start, end = self.starts[index], [*self.starts, len(self.lines)][index + 1]
        key, *inner = re.split(r"[.,]", place) if place else [""]
        at = start + 1 if index is not None else 0
        for name in [key, *inner[:1]]:
            pattern = rf"\s*(\[.*\b)?[\"']?{re.escape(name)}[\"']?\s*[=\].]|.*[{{,.]\s*[\"']?{re.escape(name)}[\"']?\s*="
            found = next((i for i in range(max(at - 1, start), end) if name and re.match(pattern, self.lines[i])), None)
            if found is None:
                break
            at = found + 1
        return at

    def end(self) -> None:
        """CourseFileError where there are any."""
        if self.found:
            raise CourseFileError("\n".join(self.found))


def read(path: str | Path) -> Course:
    """The course in a file; CourseFileError says everything that is wrong with it."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise CourseFileError(f"{path} does not exist{did_you_mean(path.name, beside)}.") from None
    except UnicodeDecodeError:
        raise CourseFileError(f"{path} is no text in UTF-8.") from None
    except OSError as error:
        raise CourseFileError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CourseFileError(f"{path} is not TOML that can be read: {error}.") from None
    mistakes = _Mistakes(path, text)
    for key in given:
        if key not in COURSE:
            mistakes.add(f"there is no such key{did_you_mean(key, COURSE)}; a course has {listed(COURSE)}.", key)
    course = _typed(given, mistakes, None, texts=("name", "about", "url", "driver"), lists=("conventions", "modules"))
    tables = given.get("exercise", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        mistakes.add("it has no exercises: begin each with a line [[exercise]].")
        mistakes.end()
    exercises = [e for i, t in enumerate(tables) if (e := _exercise(t, i, course.get("driver", ""), mistakes)) is not None]
    mistakes.end()
    name = course.get("name") or path.stem
    about = course.get("about") or f"the course in {path.name}"
    return Course(
        name,
        about,
        exercises,
        tuple(course.get("conventions", ())),
        tuple(course.get("modules", ())),
        file=str(path.absolute()),
        url=course.get("url", ""),
    )


def _typed(
    given: Mapping[str, Any],
    mistakes: _Mistakes,
    index: int | None,
    texts: tuple[str, ...] = (),
    lists: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
    tables: Mapping[str, type | tuple[type, ...]] | None = None,
) -> dict[str, Any]:
    """Those of the keys whose values are of their kind; of the others it is said."""
    found: dict[str, Any] = {}

    def take(keys: tuple[str, ...], fits: Callable[[Any], bool], kind: str) -> None:
        for key in keys:
            if key in given and not fits(given[key]):
                mistakes.add(f"{given[key]!r:.50} is no {kind}.", key, index)
            elif key in given:
                found[key] = given[key]

    take(texts, lambda v: isinstance(v, str), "text: put it in quotes")
    take(lists, lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v), 'list of texts, such as ["a", "b"]')
    take(numbers, lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v > 0, "positive number")
    for key, kind in (tables or {}).items():
        if key not in given:
            continue
        if not isinstance(given[key], dict):
            mistakes.add(f'{given[key]!r:.50} is no table; wanted names and values, such as {{ x = "x" }}.', key, index)
            continue
        found[key] = dict(given[key])
        for name, value in given[key].items():
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not object):
                wanted_kind = "text in quotes" if kind is str else "a number"
                mistakes.add(f"{value!r:.50} is not {wanted_kind}.", f"{key}.{name}", index)
                del found[key][name]
    return found


def _exercise(given: Mapping[str, Any], index: int, driver: str, mistakes: _Mistakes) -> Exercise | None:
    before = len(mistakes.found)
    for key in given:
        if key not in EXERCISE:
            mistakes.add(f"there is no such key{did_you_mean(key, EXERCISE)}; an exercise has {listed(EXERCISE)}.", key, index)
    kinds: dict[str, type | tuple[type, ...]] = dict.fromkeys(TABLES, str)
    kinds |= {"fixed": (int, float), "weights": (int, float), "values": object}
    taken = _typed(given, mistakes, index, TEXTS, LISTS, NUMBERS, kinds)
    for key in ("name", "forward", "arrays", "outputs"):
        if key not in given:
            mistakes.add(f"an exercise needs {key}.", "", index)
        elif key in TEXTS and not str(given[key]).strip():
            mistakes.add(f"an exercise needs {key}, and this one is empty.", key, index)
    if "tensors" in given and not isinstance(given["tensors"], bool):
        mistakes.add(f"{given['tensors']!r:.50} is neither true nor false.", "tensors", index)
    tiers = _tiers(given, index, mistakes)
    if len(mistakes.found) > before:
        return None
    sources = {key: taken.get(key, "") for key in ("forward", "backward")}
    sources |= {f"reads.{name}": source for name, source in taken.get("reads", {}).items()}
    for key, source in sources.items():
        try:
            parsed(source)
        except NotationError as error:
            mistakes.add(str(error), key, index)
            continue
        if words := harmless.notation(source):
            mistakes.add(f"{words}.", key, index)
    for key in LAYOUTS:
        for name, expression in taken.get(key, {}).items():
            if words := harmless.expression(expression):
                mistakes.add(f"{expression!r}: {words}.", f"{key}.{name}", index)
    noise = _noise(given, index, mistakes)
    if len(mistakes.found) > before:
        return None
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in taken.items() if k not in ("name", "forward")
    }
    fields["driver"] = f"{driver}\n{taken.get('driver', '')}".strip()
    try:
        exercise = Exercise(
            taken["name"], taken["forward"], tiers=tiers, noise=noise, tensors=given.get("tensors", False), **fields
        )
    except ExerciseError as error:
        mistakes.add(str(error).removeprefix(f"exercise {taken['name']}: "), "", index)
        return None
    for place, sentence in [*_references(exercise), *([] if len(mistakes.found) > before else _trials(exercise))]:
        mistakes.add(sentence, place, index)
    return exercise if len(mistakes.found) == before else None


def _tiers(given: Mapping[str, Any], index: int, mistakes: _Mistakes) -> dict[str, list[Case]]:
    tables = given.get("tiers", {})
    if not isinstance(tables, dict):
        mistakes.add(f"{tables!r:.50} is no table of tiers, each a list of cases.", "tiers", index)
        return {}
    texts = {f"tiers.{t}": (t, cases) for t, cases in tables.items()}
    if "cases" in given:
        texts = {"cases": ("std", given["cases"]), **texts}
    if not texts:
        mistakes.add('an exercise needs cases, such as cases = ["Linear(3, 5): normal(7, 3)"].', "", index)
    found: dict[str, list[Case]] = {}
    for place, (tier, cases) in texts.items():
        if tier not in TIERS:
            mistakes.add(
                f"no tier is called {tier!r}{did_you_mean(tier, list(TIERS))}; the tiers are {listed(list(TIERS))}.",
                place,
                index,
            )
            continue
        if not isinstance(cases, list) or not cases:
            mistakes.add(f'{cases!r:.50} is no list of cases, such as ["Linear(3, 5): normal(7, 3)"].', place, index)
            continue
        for i, text in enumerate(cases):
            try:
                found.setdefault(tier, []).append(case(text))
            except RefbpError as error:
                mistakes.add(str(error), f"{place}, case {i + 1}", index)
    return found


def _noise(given: Mapping[str, Any], index: int, mistakes: _Mistakes) -> Callable[..., tuple[Any, ...]] | None:
    """What was drawn, as an expression over the outputs: "out != 0"."""
    expression = given.get("noise")
    if expression is None:
        return None
    if not isinstance(expression, str):
        mistakes.add(f'{expression!r:.50} is no expression over the outputs, such as "out != 0".', "noise", index)
        return None
    if words := harmless.expression(expression):
        mistakes.add(f"{expression!r}: {words}.", "noise", index)
        return None
    return lambda layer, _, outputs: (np.asarray(layout.there(expression, outputs, layer.arguments())),)


def _references(e: Exercise) -> Iterator[tuple[str, str]]:
    """Names that stand for nothing."""
    for key, known in (("grads", list(e.arrays)), ("upstream", list(e.outputs))):
        of = "arrays" if key == "grads" else "outputs"
        for name, other in getattr(e, key).items():
            if other not in known:
                yield f"{key}.{name}", f"{of} has no {other}{did_you_mean(other, known)}; it has {listed(known)}."
    for name in e.factors:
        if name not in e.gradients:
            hint = did_you_mean(name, list(e.gradients))
            yield f"factors.{name}", f"it is no gradient of the exercise{hint}; its gradients are {listed(list(e.gradients))}."
    for name in e.output_factors:
        if name not in e.outputs:
            yield f"output_factors.{name}", f"it is no output{did_you_mean(name, list(e.outputs))}."
    lines = [*assigned(e.forward), *assigned(e.backward)]
    for name in e.outputs:
        if name not in lines:
            yield f"outputs.{name}", f"no line assigns {name}{did_you_mean(name, lines)}."
    read = set(_names(f"{e.forward}\n{e.backward}"))
    for name in e.arrays:
        if name not in read:
            yield f"arrays.{name}", f"no line of forward or backward uses {name}."
    if e.backward and not e.gradients:
        told = listed([f"d{a}" for a in e.arrays])
        yield "backward", f"no line assigns a gradient: call them {told}, or say in grads what each belongs to."


def _names(source: str) -> list[str]:
    import ast

    return [n.id for s in parsed(source) for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def _trials(e: Exercise) -> Iterator[tuple[str, str]]:
    """Every case, drawn and answered by the reference: what does not fit is said before anybody's code is run."""
    for tier, cases in e.tiers.items():
        for i in range(len(cases)):
            place = f"case {i + 1} of {tier}"
            try:
                problem = draw(e, tier, i, seed=0)
                problem = _with_noise(problem)
            except Exception as error:  # a draw whose numbers make no array
                yield place, f"it cannot be drawn: {error}."
                return
            known = [*problem.arrays, *problem.names]
            for name, expression in e.arrays.items():
                if words := _unknown(expression, [*known, *_absent(problem)]):
                    yield f"arrays.{name}", words
                    return
            try:
                step = problem.layer(problem.state, *problem.inputs, **problem.options)
            except RefbpError as error:
                yield place, str(error)
                return
            outputs = [readable(n) for n in problem.layer.outputs()] or ["y"]
            outputs += [f"new_{readable(n)}" for n in step.updates]
            for key, names in (("outputs", outputs), ("factors", []), ("output_factors", [])):
                for name, expression in getattr(e, key).items():
                    if words := _unknown(expression, [*names, *problem.names]):
                        yield f"{key}.{name}", words
                        return
            yield from _evaluated(e, problem, place)


def _with_noise(problem: Problem) -> Problem:
    """The problem with noise of the reference's own, where it needs any."""
    layer: Any = problem.layer
    if problem.exercise.noise is None or not layer.noisy:
        return problem
    kept = layer.draw(np.random.default_rng(0), np.shape(problem.inputs[0]))
    return replace(problem, inputs=(*problem.inputs, *(kept if isinstance(kept, tuple) else (kept,))))


def _absent(problem: Problem) -> list[str]:
    """What the reference may be given, and is not in this case."""
    return [readable(n) for n in (*problem.layer.inputs(), *problem.layer.params(), *problem.layer.buffers())]


def _unknown(expression: str, known: list[str]) -> str:
    strange = [n for n in harmless.names(expression) if n not in known]
    if not strange:
        return ""
    return f"{expression!r}: nothing is called {strange[0]}{did_you_mean(strange[0], known)}; known: {listed(known[:16])}."


def _evaluated(e: Exercise, problem: Problem, place: str) -> Iterator[tuple[str, str]]:
    for name, expression in e.arrays.items():
        if set(harmless.names(expression)) <= {*problem.arrays, *problem.names}:
            try:
                layout.there(expression, problem.arrays, problem.names)
            except Exception as error:
                yield f"arrays.{name}", f"{expression!r} does not fit {place}: {error}."
                return
    try:
        wanted(problem)
    except Exception as error:
        yield place, f"what it should give cannot be computed: {error}."
