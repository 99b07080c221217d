"""A script with functions in it: a notebook that was saved as a file trains, plots and tests between its definitions.

What of that fails is left out, and said: it is the functions that are handed in. What uses a name that is missing for it
is told why.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import signal
import types
from collections.abc import Iterator
from dataclasses import dataclass

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
LONG = 4.0  # seconds after which what a file does besides defining and importing is broken off
AGAIN = 0.5  # seconds after which it is once more, where that was caught


@dataclass(frozen=True)
class Skipped:
    """A statement that was left out: where it stands, which names it would have bound, and how it ended."""

    line: int
    names: frozenset[str]
    error: Exception


def execute(module: types.ModuleType, file: str) -> list[Skipped]:
    """Run a file in a module, one statement after the other, without those that fail.

    Imports and definitions must not fail, but a class without functions is a script in a class's clothes. Whatever asks for
    the interpreter's end has its way.
    """
    with open(file, "rb") as source:
        tree = ast.parse(source.read(), file)
    flags = 0
    skipped: list[Skipped] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            flags |= sum(getattr(__future__, a.name).compiler_flag for a in node.names)
        code = compile(ast.Module([node], []), file, "exec", flags=flags, dont_inherit=True)
        try:
            with limited(file, LONG / 2 if not skipped else LONG / 8):
                exec(code, vars(module))
        except Exception as error:
            if isinstance(node, IMPORTS) or (isinstance(node, DEFINITIONS) and _functions(node)):
                raise
            skipped.append(Skipped(node.lineno, bound(node), error))
    return skipped


@contextlib.contextmanager
def limited(file: str, seconds: float = LONG) -> Iterator[None]:
    """TimeoutError in what a file does on its own for longer than that, training or drawing; its imports may take longer."""

    def ring(_: int, frame: types.FrameType | None) -> None:
        while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
            if (frame.f_code.co_filename, frame.f_code.co_name) == (file, "<module>"):
                raise TimeoutError(f"it takes longer than {seconds:g} s")
            frame = frame.f_back

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _functions(node: ast.stmt) -> bool:
    """Whether functions are defined by a statement."""
    return any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(node))


def cause(error: BaseException, skipped: list[Skipped]) -> Exception | None:
    """Why a name is missing, if it is for a statement that was left out, which may have been so for another one."""
    why = None
    for _ in skipped:
        found = next((s.error for s in skipped if isinstance(error, NameError) and error.name in s.names), None)
        if found is None:
            break
        why = error = found
    return why


def defines(file: str) -> bool:
    """Whether there are functions or classes in a file at all."""
    try:
        with open(file, "rb") as source:
            return any(isinstance(n, DEFINITIONS) for n in ast.parse(source.read()).body)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def bound(node: ast.stmt) -> frozenset[str]:
    """The names that a statement binds."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return frozenset(names | {n.name for n in ast.walk(node) if isinstance(n, DEFINITIONS)})
