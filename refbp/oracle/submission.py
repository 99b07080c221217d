"""What somebody handed in: files, the names they define, and which course they belong to. Nothing of it is run here."""

from __future__ import annotations

import ast
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refbp.errors import RefbpError, UnknownNameError, did_you_mean, listed
from refbp.oracle.exercise import Course, Exercise
from refbp.oracle.isolation import environment

SKIPPED = {"__pycache__", "venv", ".venv", "node_modules", "site-packages", "build", "dist"}
MANY = 500  # files of a folder that are read


class UnreadableError(RefbpError):
    """There is nothing to check: no such file, a folder without Python, a name that no file defines."""


@dataclass(frozen=True)
class File:
    """One file: what it defines, functions, and classes with a dot before their methods; what it imports; or what is wrong.

    The methods of a class that a function makes have the function's name and a dot before them. ``bases`` are those of each
    class by their last names, ``empty`` the methods that are only there to be written over.
    """

    path: Path
    names: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    imports: frozenset[str] = frozenset()
    bases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Submission:
    """A file or a folder, and the functions in it that are asked for; all where none is named."""

    path: Path
    root: Path | None
    files: tuple[File, ...]
    wanted: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """Everything that its files define."""
        return {n for f in self.files for n in f.names}

    def home(self, needs: Sequence[str]) -> File | None:
        """The file that defines all of these, or as many as one does; None where none defines the first."""
        if not needs:
            return None
        counted = [(sum(n in f.names for n in needs), f) for f in self.files if not f.error]
        best = max(counted, key=lambda c: c[0], default=(0, None))
        return best[1] if best[0] == len(needs) else None

    def partly(self, needs: Sequence[str]) -> list[str]:
        """Those of the names that some file defines."""
        return [n for n in needs if n in self.names]


def read(target: str | Path) -> Submission:
    """A file, a folder, or ``file.py::function``; UnreadableError says in one sentence what else it is."""
    text = str(target)
    place, _, functions = text.partition("::")
    path = Path(place)
    wanted = tuple(n.strip() for n in functions.replace("::", ",").split(",") if n.strip())
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UnreadableError(f"{path} does not exist{did_you_mean(path.name, beside)}.")
    if path.is_dir():
        if not os.access(path, os.R_OK | os.X_OK):
            raise UnreadableError(f"{path} cannot be read: permission denied.")
        files = tuple(_file(p) for p in _python(path))
        if not files:
            raise UnreadableError(f"{path} is a folder without Python files: give the folder that has them, or a file.")
        return Submission(path, path, files, wanted)
    if path.suffix == ".ipynb":
        raise UnreadableError(_notebook(path))
    if not path.is_file():
        raise UnreadableError(f"{path} is no file: give a .py file, or a folder.")
    if path.suffix != ".py":
        raise UnreadableError(f"{path} is no Python file: give a .py file, or a folder.")
    found = _file(path)
    if found.error:
        raise UnreadableError(found.error)
    if not found.names:
        empty = "empty" if not path.read_bytes().strip() else "a file without functions and classes"
        raise UnreadableError(f"{path} is {empty}: there is nothing to check.")
    if missing := [n for n in wanted if n not in found.names]:
        raise UnreadableError(f"{path} defines no {missing[0]}{did_you_mean(missing[0], sorted(found.names))}.")
    return Submission(path, None, (found,), wanted)


def _python(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).parts
        if not any(p in SKIPPED or p.startswith(".") for p in inside) and path.is_file() and not path.is_symlink():
            found.append(path)
        if len(found) > MANY:
            raise UnreadableError(f"{folder} has more than {MANY} Python files: give the folder of one submission.")
    return found


def _file(path: Path) -> File:
    try:
        source = path.read_bytes()
    except OSError as error:
        return File(path, error=f"{path} cannot be read: {error.strerror}.")
    if b"\0" in source:
        return File(path, error=f"{path} is not Python that can be read: it is a binary file, or not in UTF-8.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an escape that Python does not know: nobody asked
            tree = ast.parse(source)
    except SyntaxError as error:
        said = environment(type(error).__name__, error.msg or "")
        detail = f": {said}" if said else f": {error.msg}"
        place = f"{path}:{error.lineno}" if error.lineno else str(path)
        return File(path, error=f"{place} is not Python that can be read{detail}.")
    except (ValueError, RecursionError, MemoryError) as error:
        return File(path, error=f"{path} is not Python that can be read: {error or type(error).__name__}.")
    names: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = node.lineno
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{m.name}": m.lineno for m in node.body if isinstance(m, ast.FunctionDef)}
        if isinstance(node, ast.FunctionDef):
            names |= _made_in(node, node.name)
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
    bases = {c.name: tuple(ast.unparse(b).split(".")[-1] for b in c.bases) for c in classes}
    empty = frozenset(f"{c.name}.{m.name}" for c in classes for m in c.body if isinstance(m, ast.FunctionDef) and _is_empty(m))
    return File(path, names, imports=_imports(tree), bases=bases, empty=empty)


def _is_empty(function: ast.FunctionDef) -> bool:
    """Whether a function does nothing, or only says that it has not been written."""
    return all(
        isinstance(s, ast.Pass | ast.Raise) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        for s in function.body
    )


def _made_in(node: ast.FunctionDef | ast.ClassDef, path: str) -> dict[str, int]:
    """The methods of the classes that a function makes, by the whole path to them."""
    found: dict[str, int] = {}
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            found |= _made_in(child, f"{path}.{child.name}")
        elif isinstance(child, ast.FunctionDef) and isinstance(node, ast.ClassDef):
            found[f"{path}.{child.name}"] = child.lineno
    return found


def _imports(tree: ast.AST) -> frozenset[str]:
    """The packages that a file imports, wherever it does."""
    whole = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return frozenset(whole | {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module})


def _notebook(path: Path) -> str:
    try:
        cells = json.loads(path.read_text()).get("cells", [])
        n = sum(c.get("cell_type") == "code" for c in cells)
    except (ValueError, AttributeError, OSError):
        return f"{path} is a notebook that cannot be read: save its functions in a .py file and check that."
    return (
        f"{path} is a notebook ({n} code cells): check functions from inside it with refbp.check(forward, backward, like=…),"
        f" or save them in a .py file."
    )


def named(courses: Mapping[str, Course], name: str) -> Course:
    """The course of that name, or in that .toml file; an UnknownNameError names the nearest one."""
    if name.endswith(".toml"):
        from refbp.oracle import toml_course

        return toml_course.read(name)
    if name not in courses:
        hint = did_you_mean(name, list(courses)) or f"; known: {listed(sorted(courses))}"
        raise UnknownNameError(f"no course is called {name!r}{hint}.")
    return courses[name]


def recognised(submission: Submission, courses: Iterable[Course], name: str | None) -> Course:
    """The course of that name, or in that file, or the one whose functions a submission has most of."""
    known = {c.name: c for c in courses}
    if name is not None:
        return named(known, name)
    ranked = sorted(((_match(submission, c), c) for c in known.values()), key=lambda m: -m[0])
    if not ranked or not ranked[0][0]:
        errors = [f.error for f in submission.files if f.error]
        if errors:
            raise UnreadableError(errors[0])
        halves = [(c, e) for c in known.values() for e in c.exercises if e.needs and submission.partly(e.needs)]
        if halves:
            course, exercise = max(halves, key=lambda h: len(submission.partly(h[1].needs)) / len(h[1].needs))
            have = submission.partly(exercise.needs)
            raise UnreadableError(
                f"{submission.path} has {listed(have)}, which {course.name} tries together with"
                f" {listed([n for n in exercise.needs if n not in have])}: both must be in one file, or folder."
            )
        some = listed(sorted(n for n in submission.names if "." not in n)[:6])
        raise UnreadableError(
            f"no course has functions called {some}: name the course (--course {'|'.join(sorted(known))}),"
            f" or what they should be like (--like Linear)."
        )
    return ranked[0][1]


def _match(submission: Submission, course: Course) -> float:
    """How many exercises of a course a submission has the functions and methods for; a smaller course wins a tie.

    A course that has a package imported is only for those who import it, and then it is that course.
    """
    if course.imports and not any(set(course.imports) & f.imports for f in submission.files):
        return 0.0
    here = [e for e in course.exercises if has_methods(submission, e, inherited=False) and _has_tensors(submission, e)]
    sure = 1000.0 if course.imports else 0.0
    return sure + len({e.name for e in here}) + len(here) / (100.0 * len(course.exercises)) if here else 0.0


def _has_tensors(submission: Submission, exercise: Exercise) -> bool:
    """Whether the file of an exercise on tensors imports what they are of: its names may be those of one on arrays."""
    file = submission.home(exercise.needs)
    return not exercise.tensors or (file is not None and set(exercise.modules) <= file.imports)


def has_methods(submission: Submission, exercise: Exercise, inherited: bool = True) -> bool:
    """Whether the classes of an exercise have the methods that it calls, or get them from a class of the submission.

    Only for their own methods do they belong to a course: what a base is for differs from one to the next.
    """
    file = submission.home(exercise.needs)
    if file is None:
        return False
    for cls, method in exercise.methods:
        defined = [n for n in file.names if n.startswith(f"{cls}.")]
        if not defined or f"{cls}.{method}" in file.names or method == "__call__":
            continue
        if not (inherited and _inherits(submission, file.bases.get(cls, ()), method)):
            return False
    return True


def _inherits(submission: Submission, bases: Sequence[str], method: str) -> bool:
    """Whether one of these classes, or a base of it, defines a method and more of it than its name."""
    seen: set[str] = set()
    pending = list(bases)
    while pending:
        cls = pending.pop()
        if cls in seen:
            continue
        seen.add(cls)
        for file in submission.files:
            if f"{cls}.{method}" in file.names and f"{cls}.{method}" not in file.empty:
                return True
            pending += file.bases.get(cls, ())
    return False
