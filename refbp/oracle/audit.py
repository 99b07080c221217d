"""A course's own tests, held against wrong solutions: which mistakes do they accept?

A right solution in the course's style is rewritten, one mistake at a time, by the operators that rewrite refbp's own layers
(:mod:`refbp.conformance.mutations`), and the course's test-suite is run on each, in a copy of its folder. What it notices is
noticed. What it accepts is put to the cases of :mod:`.checking`: wrong there, and the suite accepts a wrong solution; right in
every case, and the change makes no difference, or none within reach, and it is listed apart.
"""

from __future__ import annotations

import ast
import dataclasses
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbp.errors import listed
from refbp.oracle import submission
from refbp.oracle.checking import LIMITS, TORCH, Asked, check
from refbp.oracle.exercise import Course, Exercise
from refbp.oracle.suite import PYTEST, AuditError, Bench, Ran, end
from refbp.oracle.verdict import Row

if TYPE_CHECKING:
    from refbp.conformance.mutations import Change

NOTICED, ACCEPTED, APART = "noticed", "accepted", "equivalent or out of reach"


@dataclass(frozen=True)
class Mutant:
    """One wrong version of the solution, whole."""

    function: str
    kind: str
    sentence: str
    line: int
    column: int
    before: str
    after: str
    source: str


@dataclass(frozen=True)
class Fate:
    """What became of a mutant; ``verdict`` and ``where`` are the check's, of one that the tests accept."""

    mutant: Mutant
    fate: str
    verdict: str = ""
    where: str = ""

    def data(self) -> dict[str, Any]:
        """As plain data."""
        told = {n: getattr(self.mutant, n) for n in ("function", "kind", "sentence", "line", "column", "before", "after")}
        return {**told, "fate": self.fate, "verdict": self.verdict or None, "where": self.where or None}


# Mutants


def mutants(source: str, wanted: Iterable[str], upstream: Collection[str] = ()) -> Iterator[Mutant]:
    """Every version of a file with one mistake in one of these functions, or in a function of the file that they call.

    ``upstream`` are the names that the course gives to upstream gradients: each use of one may also be forgotten.
    """
    from refbp.conformance.mutations import changes

    tree = ast.parse(source)
    original = ast.unparse(tree)
    seen = {original}
    for name, function in _reached(tree, wanted).items():
        for change in (*changes(function), *_ignored(function, upstream)):
            with change.made():
                made = ast.unparse(tree)
            if made in seen or not _compiles(made):
                continue
            seen.add(made)
            column = getattr(change.new, "col_offset", 0) + 1
            yield Mutant(name, change.kind, change.sentence, change.line, column, change.before, change.after, made)


def _ignored(function: ast.FunctionDef, upstream: Collection[str]) -> Iterator[Change]:
    """An upstream gradient that is taken for ones, where it is used: tests whose upstream is ones cannot tell."""
    from refbp.conformance.mutations import Change

    names = {a.arg for a in function.args.args} & set(upstream)
    for parent in ast.walk(function):
        for slot, value in ast.iter_fields(parent):
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
                    text = f"np.ones_like({node.id})"
                    new = ast.fix_missing_locations(ast.copy_location(ast.parse(text, mode="eval").body, node))
                    place = f" in `{ast.unparse(parent)}`" if isinstance(parent, ast.expr) else ""
                    said = f"the upstream gradient `{node.id}` is ignored{place}"
                    yield Change("upstream", said, node.lineno, node.id, text, parent, slot, index, new)


def _compiles(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _reached(tree: ast.Module, wanted: Iterable[str]) -> dict[str, ast.FunctionDef]:
    """The functions that are asked for, with their helpers, by names with a dot before a method, in the file's order."""
    known: dict[str, ast.FunctionDef] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            known[node.name] = node
        elif isinstance(node, ast.ClassDef):
            known |= {f"{node.name}.{m.name}": m for m in node.body if isinstance(m, ast.FunctionDef)}
    found: set[str] = set()
    waiting = [n for n in wanted if n in known]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        owner = name.rpartition(".")[0]
        for part in ast.walk(known[name]):
            if isinstance(part, ast.Name) and part.id in known:
                waiting.append(part.id)
            elif isinstance(part, ast.Attribute) and f"{owner}.{part.attr}" in known:
                waiting.append(f"{owner}.{part.attr}")
    return {n: f for n, f in known.items() if n in found}


# The audit


@dataclass(frozen=True)
class Plan:
    """What is to be audited: the solution, which exercises it solves, and the tests, which accept it."""

    course: Course
    exercises: tuple[Exercise, ...]
    rows: tuple[Row, ...]
    source: str
    bench: Bench
    seconds: float  # that one run may take
    took: float  # by the right solution
    seed: int

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions and methods that the exercises call."""
        return tuple(dict.fromkeys(n for e in self.exercises for n in _names(e)))

    def mutants(self) -> list[Mutant]:
        """The solution with one mistake each."""
        return list(mutants(self.source, self.functions, {n for e in self.exercises for n in e.upstreams}))


def _names(exercise: Exercise) -> list[str]:
    return [*exercise.needs, *(f"{c}.{m}" for c, m in exercise.methods)]


def plan(course: Course, exercises: Sequence[Exercise], solution: Path, made: Bench, seed: int, seconds: float | None) -> Plan:
    """Make sure that the solution is right and that the tests accept it; AuditError says what is not so."""
    source = solution.read_text(encoding="utf-8")
    rows = check(submission.read(solution), course, exercises, Asked(seed, explain=False)).rows
    if bad := [r for r in rows if r.wrong]:
        said = "; ".join(f"{r.name} is {r.verdict}" + (f" ({r.note})" if r.note else "") for r in bad[:4])
        raise AuditError(f"refbp check does not find the solution right: {said}. Mend it, or choose exercises with --as.")
    right = [r for r in rows if r.tried and not r.wrong and r.verdict != "not implemented"]
    if not right:
        raise AuditError(f"{solution} has none of the functions of {course.name}: {listed(sorted(course.names)[:8])} …")
    able = tuple({r.exercise.name: r.exercise for r in right}.values())
    patience = seconds or 300.0
    ran = made.run(source, patience)
    if ran.code != 0 and made.command == PYTEST:
        made = dataclasses.replace(made, autoload=True)
        ran = made.run(source, patience)
    if ran.code != 0:
        how = f"exit code {ran.code}" if ran.code is not None else f"stopped after {patience:g} s"
        hint = " No test was collected." if ran.code == 5 and "pytest" in made.command else ""
        raise AuditError(f"the tests do not accept the solution itself ({how}).{hint} They end with:\n{_tail(ran.said)}")
    return Plan(course, able, tuple(right), source, made, seconds or max(10.0, 5 * ran.seconds), ran.seconds, seed)


def _tail(said: str) -> str:
    return "\n".join(f"  {line}" for line in said.rstrip().splitlines()[-8:])


def audit(asked: Plan, jobs: int, advance: Callable[[str], None] = lambda _: None) -> list[Fate]:
    """The fate of every mutant, in the order of the file."""
    made = asked.mutants()
    fates: dict[int, Fate] = {}
    running: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(jobs) as threads:
        futures: dict[Future[Ran], int] = {
            threads.submit(asked.bench.run, m.source, asked.seconds, running): i for i, m in enumerate(made)
        }
        try:
            while futures:
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    i = futures.pop(future)
                    fates[i] = _fate(made[i], future.result(), asked)
                    advance(made[i].function)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            while running:  # a thread that was about to start one still does
                for process in list(running):
                    end(process)
                time.sleep(0.02)
            raise
    return [fates[i] for i in sorted(fates)]


def _fate(mutant: Mutant, ran: Ran, asked: Plan) -> Fate:
    if ran.code != 0:
        return Fate(mutant, NOTICED)
    rows = {r.name: r for r in _checked(mutant, asked)}
    bad = [r for r in rows.values() if r.wrong]
    if not bad:
        others = [r.verdict for r in rows.values() if r.verdict != "ok"]
        return Fate(mutant, APART, others[0] if others else "ok")
    worst = next((r for r in bad if r.name == mutant.function), bad[-1])
    return Fate(mutant, ACCEPTED, worst.verdict, _where(worst))


def _checked(mutant: Mutant, asked: Plan) -> Sequence[Row]:
    exercises = [e for e in asked.exercises if mutant.function in _names(e)] or list(asked.exercises)
    torch = "torch" in {*asked.course.modules, *(m for e in exercises for m in e.modules)}
    limits = dataclasses.replace(TORCH if torch else LIMITS, seconds=3.0)
    with tempfile.TemporaryDirectory(prefix="refbp-audit-") as name:
        root = Path(name) / "course"
        shutil.copytree(asked.bench.root, root)
        path = root / asked.bench.solution
        path.write_text(mutant.source, encoding="utf-8")
        return check(submission.read(path), asked.course, exercises, Asked(asked.seed, explain=False, limits=limits)).rows


def _where(row: Row) -> str:
    """In which cases it is wrong: what a test would need."""
    bad = [a for a in row.attempts if not _good(a, row)]
    if not bad:
        return row.note
    first = bad[0].problem
    return f"in {len(bad)} of {len(row.attempts)} cases, as {first.tier}: {first.id}"


def _good(a: Any, row: Row) -> bool:
    forward = row.phase == "backward" or bool(a.forward_ok)
    return forward and (row.phase == "forward" or not row.exercise.gradients or bool(a.backward_ok))


@dataclass(frozen=True)
class Score:
    """How many mutants of a function there are, and what became of them."""

    name: str
    mutants: int
    noticed: int
    accepted: int
    apart: int

    @property
    def percent(self) -> float | None:
        """The part of the wrong ones that was noticed; None where there is none."""
        wrong = self.noticed + self.accepted
        return 100.0 * self.noticed / wrong if wrong else None


def scores(fates: Sequence[Fate]) -> list[Score]:
    """A score for each function, then one for all."""
    names = list(dict.fromkeys(f.mutant.function for f in fates))
    groups: Mapping[str, list[Fate]] = {n: [f for f in fates if f.mutant.function == n] for n in names} | {"all": list(fates)}
    return [
        Score(n, len(g), *(sum(f.fate == kind for f in g) for kind in (NOTICED, ACCEPTED, APART))) for n, g in groups.items()
    ]
