"""A course's own tests, run: in a copy of their folder, with limits, in a process group that can be ended whole."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from refbp.errors import RefbpError
from refbp.oracle.checking import TORCH
from refbp.oracle.isolation.result import text

PYTEST = "python -m pytest -x -q -p no:cacheprovider {tests}"
MANY, LARGE = 2_000, 64 << 20  # files and bytes of a folder that is copied for every run
LEFT_OUT = {"__pycache__", "node_modules", "venv", "site-packages"}
# The wrapper sets the limits in the new process itself: after a fork of a process with threads nothing else is safe
LIMITED = """
import os, resource, sys
for name, value in zip(("RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CORE"), map(int, sys.argv[1].split(","))):
    try:
        resource.setrlimit(getattr(resource, name), (value, value))
    except (AttributeError, OSError, ValueError):
        pass
os.execvp(sys.argv[2], sys.argv[2:])
"""


class AuditError(RefbpError):
    """There is nothing to audit: the tests, or the solution, or both, are not what they should be."""


@dataclass(frozen=True)
class Ran:
    """How a run of the tests ended: its exit code, None where it was stopped, and the end of what it printed."""

    code: int | None
    seconds: float
    said: str = ""


@dataclass(frozen=True)
class Bench:
    """A folder in which the tests find the solution, and the command that runs them. Paths are relative to ``root``."""

    root: Path
    solution: Path
    tests: Path
    command: str = PYTEST
    autoload: bool = False  # pytest plugins that are installed here: most suites need none, and do without is faster

    def run(self, source: str, seconds: float, running: set[subprocess.Popen[bytes]] | None = None) -> Ran:
        """Run the tests on a solution, in a copy of the folder that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="refbp-audit-", ignore_cleanup_errors=True) as name:
            place = Path(os.path.realpath(name)) / "course"
            shutil.copytree(self.root, place)
            (place / self.solution).write_text(source, encoding="utf-8")
            with open(Path(name) / "output", "w+b") as output:
                began = time.monotonic()
                process = subprocess.Popen(
                    self._command(seconds),
                    cwd=place,
                    env=self._environment(place),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, which can be ended whole
                )
                if running is not None:
                    running.add(process)
                try:
                    while not (ended := _exited(process)) and time.monotonic() < began + seconds:
                        time.sleep(0.01)
                finally:
                    end(process)
                    if running is not None:
                        running.discard(process)
                took = time.monotonic() - began
                output.seek(max(0, output.seek(0, os.SEEK_END) - 4_000))
                return Ran(process.returncode if ended else None, took, text(output.read().decode(errors="replace")))

    def _command(self, seconds: float) -> list[str]:
        words = [w.replace("{tests}", str(self.tests)) for w in shlex.split(self.command)]
        if words[0] in {"python", "python3"}:
            words[0] = sys.executable
        limits = f"{int(seconds) + 5},{TORCH.memory},{LARGE},0"
        return [sys.executable, "-I", "-S", "-c", LIMITED, limits, *words]

    def _environment(self, place: Path) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST", "REFBP", "COV_"))}
        folders = dict.fromkeys((place / self.solution.parent, place, (place / self.tests).parent))
        before = [kept["PYTHONPATH"]] if kept.get("PYTHONPATH") else []
        kept |= {"PYTHONPATH": os.pathsep.join([*map(str, folders), *before]), "PYTHONDONTWRITEBYTECODE": "1"}
        kept |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return kept if self.autoload else kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; its number, which is its group's too, stays its own until somebody has waited for it."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(process: subprocess.Popen[bytes]) -> None:
    """End a run and everything that it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def bench(
    tests: Path, solution: Path, folder: Path, root: Path | None = None, at: str | None = None, command: str = PYTEST
) -> Bench:
    """Copy the tests, the solution and what lies around them into ``folder``.

    ``root`` is what is copied: without it the nearest folder that holds both, or just the two, side by side, where that is too
    large. ``at`` is where the tests find the solution, below the root, if not where it lies.
    """
    tests, solution = tests.resolve(), solution.resolve()
    base = root.resolve() if root else Path(os.path.commonpath([tests.parent, solution.parent]))
    if root and not tests.is_relative_to(base):
        raise AuditError(f"{tests} is not in the folder {root}: give a folder that holds the tests as --root.")
    target = folder.resolve() / "course"
    target.parent.mkdir(exist_ok=True)
    if root or (base != base.parent and base != Path.home() and _is_small(base)):
        if root and not _is_small(base):
            raise AuditError(f"{root} has more than {MANY} files or {LARGE >> 20} MiB: give a smaller folder as --root.")
        shutil.copytree(base, target, ignore=lambda f, names: _left_out(f, names, target.parent), symlinks=True)
        where = tests.relative_to(base)
        place = Path(at) if at else solution.relative_to(base) if solution.is_relative_to(base) else Path(solution.name)
    else:
        target.mkdir()
        if tests.is_dir():
            shutil.copytree(tests, target / tests.name, ignore=_left_out, symlinks=True)
        else:
            shutil.copyfile(tests, target / tests.name)
        where, place = Path(tests.name), Path(at or solution.name)
    if place.is_absolute() or ".." in place.parts:
        raise AuditError(f"--at {place} leads out of the copied folder: give a path below it, as cs231n/layers.py.")
    (target / place).parent.mkdir(parents=True, exist_ok=True)
    return Bench(target, place, where, command)


def _left_out(here: str, names: list[str], copy: Path | None = None) -> set[str]:
    return {n for n in names if n in LEFT_OUT or n.startswith(".") or Path(here, n) == copy}  # the copy holds no copy of itself


def _is_small(folder: Path) -> bool:
    count = total = 0
    for here, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f not in LEFT_OUT and not f.startswith(".")]
        count += len(files)
        total += sum(os.lstat(os.path.join(here, f)).st_size for f in files)
        if count > MANY or total > LARGE:
            return False
    return True
