"""Functions of no course: in a file, called in a worker, or in hand, called right here, as in a notebook."""

from __future__ import annotations

import inspect
import keyword
import secrets
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbp.contract import Layer
from refbp.errors import ArgumentError
from refbp.oracle.alike.matching import Function, LikeError
from refbp.oracle.alike.plan import Model, Plan, plan, returned
from refbp.oracle.callers import Caller, Isolated, Local
from refbp.oracle.checking import Asked, Report, check_exercise, explained, isolated, protections
from refbp.oracle.exercise import Course
from refbp.oracle.submission import File, Submission
from refbp.oracle.verdict import Row, better

if TYPE_CHECKING:
    from refbp.oracle.finding import Finding
    from refbp.oracle.isolation import Worker

BACK = ("backward", "back", "grad", "gradient", "bwd", "deriv", "prime", "vjp", "bprop")


def model(like: str | type[Layer[Any]] | Layer[Any]) -> Model:
    """What a name, a class or a layer stands for; an UnknownNameError names the nearest one that is registered."""
    from refbp import registry

    found = registry.current()
    if isinstance(like, str):
        if "(" in like:
            from refbp import notation

            return model(notation.layer(like))
        entry = found.get(like.strip())
        return Model(entry.spec, entry.kind == "loss")
    if isinstance(like, type) and issubclass(like, Layer):
        return model(like.__name__)
    if not isinstance(like, Layer):
        raise ArgumentError(
            f'like is {like!r}; wanted the name of a layer or loss ("Conv2d"), its class, or a layer (Conv2d(3, 5, 3)).'
        )
    entry = found.get(type(like).__name__)
    return Model(entry.spec, entry.kind == "loss", like)


def in_file(submission: Submission, like: Model, asked: Asked) -> Report:
    """Check functions of a file, in a worker."""
    start = time.monotonic()
    file, names = _chosen(submission)
    source = file.path.read_text(errors="replace")
    with isolated(file, submission, asked) as worker:
        caller = Isolated(worker)
        if not worker.loaded.ok:
            rows = [_unloaded(n, like, worker) for n in names]
            return Report(str(submission.path), _course(like, rows), asked.seed, tuple(rows), protections(worker))
        functions = [_function(caller, n, returned(source, n)) for n in names]
        for f in functions:
            if worker.names().get(f.name.partition(".")[0]) is not None and _is_class(worker, f.name):
                raise LikeError(f"{f.name} is a class: like takes functions, as in {file.path.name}::forward,backward.")
        made = plan(like, functions[0], functions[1] if len(functions) > 1 else None, caller, asked.seed)
        rows = _checked(made, caller, worker, file, asked)
        said = protections(worker)
    return Report(
        str(submission.path),
        _course(like, rows),
        asked.seed,
        tuple(rows),
        said,
        time.monotonic() - start,
        notes=tuple(made.notes),
    )


def _is_class(worker: Worker, path: str) -> bool:
    first, _, rest = path.partition(".")
    definition = worker.names()[first]
    return definition.kind == "class" and not rest


def _chosen(submission: Submission) -> tuple[File, list[str]]:
    """The file, and the forward and the backward in it: as they are named, else as there is no other choice."""
    files = [f for f in submission.files if not f.error and f.names]
    if submission.wanted:
        file = submission.home(submission.wanted)
        if file is None:
            raise LikeError(f"{', '.join(submission.wanted)} are not in one file of {submission.path}.")
        names = list(submission.wanted)
    elif len(files) == 1:
        file, names = files[0], [n for n in files[0].names if "." not in n]
    else:
        raise LikeError(
            f"{submission.path} has {len(files)} Python files: name one, and the functions in it: file.py::forward,backward."
        )
    if not 1 <= len(names) <= 2:
        some = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
        raise LikeError(
            f"{file.path} has {some}: name the forward and the backward, as in {file.path.name}::{names[0]},{names[-1]}."
        )
    if len(names) == 2 and not submission.wanted and _is_back(names[0]) and not _is_back(names[1]):
        names.reverse()
    return file, names


def _is_back(name: str) -> bool:
    return any(w in name.lower() for w in BACK)


def _function(caller: Caller, name: str, names: tuple[str, ...] | None) -> Function:
    """What is known of a function; a worker says what it likes of its parameters, and they become call notation here."""
    parameters = caller.parameters(name)
    for p in parameters:
        if not p.name.isidentifier() or keyword.iskeyword(p.name):
            raise LikeError(f"{name} has a parameter whose name is no name.")
    return Function(name, parameters, names)


def _checked(made: Plan, caller: Caller, worker: Worker | None, file: File | None, asked: Asked) -> list[Row]:
    best: list[Row] = []
    for exercise in made.exercises:
        found = check_exercise(exercise, caller, worker, file, asked)
        if not best or better(best, found):
            best = found
        if all(r.ok for r in best):
            break
    if words := best[0].exercise.convention:
        made.notes.append(f"taken as: {words}")
    return [explained(r, caller, asked) for r in best] if asked.explain else best


def _course(like: Model, rows: Sequence[Row]) -> Course:
    return Course(f"like {like.name}", f"refbp.{like.spec.name}", [r.exercise for r in rows])


def _unloaded(name: str, like: Model, worker: Worker) -> Row:
    from refbp.oracle.checking import unloaded
    from refbp.oracle.exercise import Exercise

    exercise = Exercise(name, f"out = {name}()", tiers={"std": like.cases[:1]})
    return unloaded(exercise, worker)[0]


# In hand --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Checked:
    """What was found of functions in hand: ``ok``, ``rows``, ``findings``; it prints as the table and the words."""

    report: Report

    @property
    def ok(self) -> bool:
        """Whether every function is right in every case."""
        return all(r.ok for r in self.rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One per function: its verdict, how many cases were right, and everything that was tried."""
        return self.report.rows

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, the surest first."""
        return tuple(f for r in self.rows for f in r.findings)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        from refbp.oracle import present

        return present.text(self.report)

    def _repr_html_(self) -> str:
        from refbp.oracle import page

        html: str = page.fragment(self.report)
        return html


def check(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    like: str | type[Layer[Any]] | Layer[Any],
    seed: int | None = None,
) -> Checked:
    """Check a forward and its backward, or one function that gives both, against a registered layer or loss.

    ``like`` is its name ("BatchNorm1d"), its class, or the very layer that they are. They are called in this process, with
    copies. ``seed`` repeats a run. LikeError says how functions have to look whose signature cannot be understood.
    """
    chosen = model(like)
    functions = {}
    for f in (forward, backward):
        if f is None:
            continue
        if not callable(f):
            raise ArgumentError(f"{f!r} is no function: refbp.check takes a forward and a backward.")
        name = getattr(f, "__name__", type(f).__name__)
        name = name if name.isidentifier() else "forward" if f is forward else "backward"
        functions[name if name not in functions else f"{name}_backward"] = f
    asked = Asked(secrets.randbits(32) if seed is None else seed)
    start = time.monotonic()
    caller = Local(functions)
    described = [_function(caller, n, returned(_source(f), getattr(f, "__name__", n))) for n, f in functions.items()]
    made = plan(chosen, described[0], described[1] if len(described) > 1 else None, caller, asked.seed)
    rows = _checked(made, caller, None, None, asked)
    return Checked(
        Report("", _course(chosen, rows), asked.seed, tuple(rows), "", time.monotonic() - start, notes=tuple(made.notes))
    )


def _source(function: Callable[..., Any]) -> str:
    """Its source, where there is one: a notebook's cells have."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""


__all__ = ["Checked", "Path", "check", "in_file", "model"]
