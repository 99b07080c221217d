"""One submission against the exercises of a course: every row of the table, and words for what is wrong."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from refbp.errors import RefbpError, listed
from refbp.oracle import isolation
from refbp.oracle.attempt import Attempt, attempt
from refbp.oracle.callers import Caller, Isolated, Outcome
from refbp.oracle.calls import alone
from refbp.oracle.example import smallest
from refbp.oracle.exercise import Course, Exercise
from refbp.oracle.isolation import Limits, SubmissionError, Worker, finite_differences
from refbp.oracle.problem import Problem, draw
from refbp.oracle.submission import File, Submission, has_methods
from refbp.oracle.verdict import Row, better, judge
from refbp.oracle.words import explain

STOPPING = {"timeout", "died", "memory", "too much output"}  # kinds after which further cases are not tried
SUSPECTED = 3  # cases in which a right gradient must look like a difference quotient before it is called one
LIMITS = Limits(seconds=5.0, load_seconds=20.0)
TORCH = Limits(seconds=20.0, load_seconds=60.0, memory=8 << 30)


@dataclass(frozen=True)
class Report:
    """Everything that was found of one submission."""

    path: str
    course: Course
    seed: int
    rows: tuple[Row, ...]
    protections: str = ""
    seconds: float = 0.0
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def wrong(self) -> list[Row]:
        """The rows that are to be mended."""
        return [r for r in self.rows if r.wrong]


@dataclass(frozen=True)
class Asked:
    """How to check: the seed of every number, how much time words may take, whether to look for the smallest input."""

    seed: int
    explain: bool = True
    seconds: float = 3.0
    tiers: tuple[str, ...] = ()
    limits: Limits | None = None


def check(
    submission: Submission,
    course: Course,
    exercises: Sequence[Exercise],
    asked: Asked,
    advance: Callable[[str], None] = lambda _: None,
) -> Report:
    """Check every exercise that a submission has functions for."""
    start = time.monotonic()
    rows: list[Row] = []
    missing: list[str] = []
    said = ""
    with ExitStack() as stack:
        workers: dict[Any, Worker] = {}
        for name, alternatives in grouped(exercises):
            able = _fitting([e for e in alternatives if has_methods(submission, e)], submission)
            advance(name)
            if not able:
                missing += [] if not any(submission.partly(e.needs) for e in alternatives) else [name]
                rows += _incomplete(submission, alternatives)
                continue
            best: list[Row] = []
            for exercise in able:
                file = submission.home(exercise.needs)
                assert file is not None
                worker = _worker(stack, workers, file, submission, exercise, course, asked)
                found = check_exercise(exercise, Isolated(worker), worker, file, asked)
                if not best or better(best, found):
                    best = found
                said = said or protections(worker)
                if all(r.ok for r in best):
                    break
            rows += [explained(r, Isolated(worker_of(workers, r, submission)), asked) for r in best] if asked.explain else best
        notes = [_left_out(path, w) for (path, *_), w in workers.items() if w.loaded.ok and w.loaded.notes]
        notes += [f"note: {f.error}" for f in submission.files if f.error][:3]
    seconds = time.monotonic() - start
    return Report(str(submission.path), course, asked.seed, tuple(_once(rows)), said, seconds, tuple(missing), tuple(notes))


def _left_out(path: Path, worker: Worker) -> str:
    """What of a script was left out, in a sentence."""
    return f"note: {path.name} is checked without what fails outside of its functions: {', '.join(worker.loaded.notes)}"


def _fitting(able: list[Exercise], submission: Submission) -> list[Exercise]:
    """Of alternatives, those whose modules the file imports, if there are any: who writes NumPy is not given tensors."""

    def imports(e: Exercise) -> bool:
        file = submission.home(e.needs)
        return file is not None and set(e.modules) <= file.imports

    return [e for e in able if imports(e)] or able


def grouped(exercises: Sequence[Exercise]) -> Iterator[tuple[str, list[Exercise]]]:
    """Exercises by name: those of one name are alternatives."""
    names = dict.fromkeys(e.name for e in exercises)
    for name in names:
        yield name, [e for e in exercises if e.name == name]


def _once(rows: Iterable[Row]) -> list[Row]:
    """A forward that serves several exercises (batchnorm_backward and its alternative) is one row."""
    kept: dict[str, Row] = {}
    for row in rows:
        old = kept.get(row.name)
        if old is None or (old.verdict in {"ok", "not tested"} and row.verdict != "ok"):
            kept[row.name] = row
    return list(kept.values())


def _incomplete(submission: Submission, alternatives: Sequence[Exercise]) -> list[Row]:
    """Rows of an exercise of which a submission has a part only."""
    for exercise in alternatives:
        if exercise.beside and exercise.beside not in submission.names:
            continue
        have = submission.partly(exercise.needs)
        if have and len(have) < len(exercise.needs):
            lacking = [n for n in exercise.needs if n not in have]
            if submission.home(have):
                note = f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
                near = [m for n in lacking for m in get_close_matches(n, submission.names - set(exercise.needs), 1, 0.92)]
                note += f": is it {listed(near)}?" if near else ""
            else:
                note = f"{', '.join(exercise.needs)} are not in one file"
            return [Row(exercise.name, exercise, "not implemented", note)]
    return []


def _worker(
    stack: ExitStack,
    workers: dict[Any, Worker],
    file: File,
    submission: Submission,
    exercise: Exercise,
    course: Course,
    asked: Asked,
) -> Worker:
    modules = tuple(dict.fromkeys((*course.modules, *exercise.modules)))
    key = (file.path, modules, exercise.tensors)
    if key not in workers:
        limits = asked.limits or (TORCH if "torch" in modules else LIMITS)
        root = submission.root or _package(file.path)
        workers[key] = stack.enter_context(
            Worker(
                file.path,
                root=root,
                extra_modules=modules,
                tensors=exercise.tensors,
                stand_ins=course.stand_ins,
                given=course.given,
                limits=limits,
            )
        )
    return workers[key]


def worker_of(workers: Mapping[Any, Worker], row: Row, submission: Submission) -> Worker:
    """The worker that a row's exercise ran in."""
    file = submission.home(row.exercise.needs)
    assert file is not None
    return next(w for (path, _, tensors), w in workers.items() if path == file.path and tensors == row.exercise.tensors)


def _package(path: Path) -> Path | None:
    """The folder that a single file imports from: its package, or its own folder where it imports what lies beside it."""
    import ast

    path = path.resolve()
    tree = ast.parse(path.read_bytes())
    level = max((n.level for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)), default=0)
    if level:
        folder = path.parent
        for _ in range(level - 1):
            folder = folder.parent
        while (folder / "__init__.py").exists() and (folder.parent / "__init__.py").exists():
            folder = folder.parent
        return folder
    modules = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    beside = [m for m in modules if (path.parent / f"{m}.py").exists() or (path.parent / m / "__init__.py").exists()]
    if beside:
        return path.parent
    above = [m for m in modules if (path.parent.parent / m / "__init__.py").exists() and path.parent.name == m]
    return path.parent if above else None


def isolated(file: File, submission: Submission, asked: Asked) -> Worker:
    """A worker for a file by itself, of no course."""
    return Worker(file.path, root=submission.root or _package(file.path), limits=asked.limits or LIMITS)


def protections(worker: Worker) -> str:
    """What holds around a submission, in a sentence."""
    try:
        return worker.protections.sentence()
    except isolation.IsolationError:
        return ""


def check_exercise(exercise: Exercise, caller: Caller, worker: Worker | None, file: File | None, asked: Asked) -> list[Row]:
    """The rows of one exercise."""
    names = {phase: exercise.targets(phase) for phase in ("forward", "backward")}
    stubs = {"forward": "", "backward": ""}
    if worker is not None:
        if not worker.loaded.ok:
            return unloaded(exercise, worker)
        unread = alone(f"{exercise.forward}\n{exercise.backward}")
        stubs = {phase: _stub(worker, targets, unread) for phase, targets in names.items()}
    phases = ["both"] if len(exercise.rows) == 1 else ["forward", "backward"]
    one = "forward" if names["forward"] else "backward"  # a backward alone: what it takes is computed by the exercise
    stub = {p: stubs[one if p == "both" else p] for p in phases}
    attempts = [] if stubs["forward"] else list(_attempts(exercise, caller, asked))
    if attempts and all(a.backward_ok for a in attempts):  # the zeros of a step function's gradient are no starter's
        stub["backward"] = ""
    rows = []
    for name, phase in zip(exercise.rows, phases, strict=True):
        told = stub[phase] or ("" if phase == "forward" or attempts else "its forward is not written yet")
        row = judge(exercise, name, phase, attempts, told)
        if row.right and exercise.gradients and phase != "forward":  # also where it is right in part, and earns a part
            row = _suspected(row, exercise, caller, asked)
        rows.append(_placed(row, file, names[one if phase == "both" else phase]))
    return rows


def unloaded(exercise: Exercise, worker: Worker) -> list[Row]:
    """Rows that say why the file cannot be imported."""
    result = worker.loaded
    kind = "environment" if result.environment else "timeout" if result.kind == "timeout" else "raises"
    note = f"importing it: {result.environment}" if result.environment else result.sentence()
    return [Row(n, exercise, kind, note, traceback=result.traceback) for n in exercise.rows]


def _stub(worker: Worker, targets: Sequence[str], unread: Collection[str]) -> str:
    """What says that one of these functions is not written yet; that it returns None does not where nothing is read of it."""
    try:
        names = worker.names()
    except SubmissionError:
        return ""
    words = {"pass": "its body is pass", "zeros": "it returns the zeros that it started from", "None": "it returns None"}
    for target in targets:
        first, _, rest = target.partition(".")
        definition = names.get(first)
        if definition is not None and rest:
            definition = definition.methods.get(rest)
        silent = definition is not None and definition.stub == "None" and target.rpartition(".")[2] in unread
        if definition is not None and definition.stub and not silent:
            return words.get(definition.stub, f"it raises {definition.stub}")
    return ""


def _placed(row: Row, file: File | None, targets: Sequence[str]) -> Row:
    if file is None:
        return row
    named = (row.name, re.sub(r" \(.*\)$", "", row.name))  # "Permute.backward (tensors)" stands where Permute.backward does
    line = next((file.names[t] for t in (*named, *reversed(targets)) if t in file.names), 0)
    return dataclasses.replace(row, where=str(file.path), line=line)


def _attempts(exercise: Exercise, caller: Caller, asked: Asked) -> Iterator[Attempt]:
    """Every case, until a forward never ends; where only a backward does not, the forward is still tried: it may be right."""
    ended: Outcome | None = None
    for tier, cases in exercise.tiers.items():
        if asked.tiers and tier not in asked.tiers:
            continue
        for i in range(len(cases)):
            found = attempt(draw(exercise, tier, i, asked.seed), caller, before=ended)
            yield found
            if found.failed is not None and found.failed.kind in STOPPING:
                if found.phase != "backward":
                    return
                ended = found.failed


def _suspected(row: Row, exercise: Exercise, caller: Caller, asked: Asked) -> Row:
    """Whether what is right is a finite difference: it loses its step where inputs are large."""
    tier = next(iter(exercise.tiers))
    forwards = exercise.targets("forward") if exercise.backward else ()
    suspicion = None
    for i in range(min(SUSPECTED, len(exercise.tiers[tier]))):
        problem = draw(exercise, tier, i, asked.seed)
        suspicion = finite_differences(lambda scale, p=problem: _scaled(p, caller, scale), forwards)  # type: ignore[misc]
        # A formula that cancels loses digits as well, in one case: a batch of two has next to no gradient
        if suspicion is None or not suspicion.certain:
            return row
    assert suspicion is not None
    none = dict.fromkeys(row.scores, 0.0)
    return dataclasses.replace(row, verdict="finite differences", note=suspicion.sentence, right=0, scores=none)


def _scaled(problem: Problem, caller: Caller, scale: float) -> isolation.Attempt | None:
    """What comes back for a problem with its inputs multiplied."""
    inputs = tuple(a * scale if a is not None and a.dtype.kind == "f" else a for a in problem.inputs)
    try:
        with np.errstate(all="ignore"):
            found = attempt(dataclasses.replace(problem, inputs=inputs), caller, count=True)
    except RefbpError:  # no longer inputs of the reference: a probability above one
        return None
    if found.observation is None or found.failed is not None:
        return None
    names = [n for n in found.observation.expected if found.observation.got.get(n) is not None]
    got = {n: found.observation.got[n] for n in names}
    return isolation.Attempt(got, {n: found.observation.expected[n] for n in names}, found.calls)


def explained(row: Row, caller: Caller, asked: Asked) -> Row:
    """A row with words for what is wrong, and the smallest input that shows it."""
    if not row.remarkable or row.verdict in {"environment", "timeout", "finite differences", "convention"}:
        return row
    row = dataclasses.replace(row, findings=tuple(explain(row, asked.seconds)))
    found = smallest(row, caller, asked.seconds)
    return dataclasses.replace(row, example=found[0], script=found[1]) if found else row


__all__ = ["Asked", "Problem", "Report", "check", "check_exercise", "explained"]
