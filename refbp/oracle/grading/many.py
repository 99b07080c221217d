"""Many submissions side by side, each graded once; what goes wrong on this side is told apart from what is wrong with them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refbp.oracle.exercise import Course
from refbp.oracle.grading import intake
from refbp.oracle.grading.grade import Graded, grade
from refbp.oracle.grading.intake import Source
from refbp.oracle.grading.journal import Journal
from refbp.oracle.grading.rubric import Rubric
from refbp.oracle.isolation.result import text
from refbp.oracle.submission import UnreadableError, named

DIED = "the process that was grading it was ended from outside"
HOPELESS = 4  # processes in a row that die
ATTEMPTS = 2  # of a process that dies: the second time the submission has it for itself


@dataclass(frozen=True)
class Outcome:
    """A submission and what was found of it, or why it was not graded; ``known`` is what an earlier run had found."""

    source: Source
    graded: Graded | None
    reason: str = ""
    known: bool = False
    same_as: str = ""


@dataclass(frozen=True)
class _Task:
    """One content, and the submissions that have it."""

    digest: str
    staged: Path
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Setting:
    """What is the same for all submissions."""

    course: Course
    rubric: Rubric
    seed: int
    plugins_dirs: tuple[str, ...] = ()


def each(sources: Sequence[Source], setting: Setting, jobs: int, journal: Journal | None = None) -> Iterator[Outcome]:
    """Every submission's outcome, in the order in which they come about."""
    with tempfile.TemporaryDirectory(prefix="refbp-grade-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.chmod(folder, 0o711)  # a worker's user walks through it to its own room
        tasks: dict[str, _Task] = {}
        for i, source in enumerate(sources):
            found = _taken_in(source, folder / "submissions" / str(i), tasks)
            if isinstance(found, Outcome):
                yield found
        waiting = []
        for task in tasks.values():
            done = journal.get(task.digest, setting.seed) if journal else None
            if done is None:
                waiting.append(task)
            else:
                yield from _told(task, done, known=True)
        jobs = min(jobs, len(waiting))
        run = _alone(waiting, setting) if jobs <= 1 else _beside(waiting, setting, jobs, folder)
        for task, graded, reason in run:
            if graded is not None and journal:
                journal.add(task.sources[0].name, task.digest, setting.seed, graded)
            yield from _told(task, graded, reason)


def _taken_in(source: Source, folder: Path, tasks: dict[str, _Task]) -> Outcome | None:
    """Copy one in and file it under its content; an outcome where it cannot be read, by its author's fault or ours."""
    try:
        staged = intake.stage(source.path, folder)
    except UnreadableError as error:
        return Outcome(source, Graded(unreadable=text(error)))
    except OSError as error:
        return Outcome(source, None, f"it could not be copied: {error.strerror or error}")
    digest = intake.digest(staged)
    if digest in tasks:
        shutil.rmtree(folder, ignore_errors=True)
        task = tasks[digest]
        tasks[digest] = _Task(digest, task.staged, (*task.sources, source))
    else:
        tasks[digest] = _Task(digest, staged, (source,))
    return None


def _told(task: _Task, graded: Graded | None, reason: str = "", known: bool = False) -> Iterator[Outcome]:
    for i, source in enumerate(task.sources):
        yield Outcome(source, graded, reason, known, task.sources[0].name if i else "")


Result = tuple[_Task, Graded | None, str]


def _alone(tasks: Sequence[_Task], setting: Setting) -> Iterator[Result]:
    for task in tasks:
        yield task, *_graded(task.staged, setting)


def _graded(staged: Path, setting: Setting) -> tuple[Graded | None, str]:
    """What was found; or None and why not, which is never the submission's fault."""
    try:
        return grade(staged, setting.course, setting.rubric, setting.seed), ""
    except MemoryError:
        return None, "this machine has no memory left"
    except Exception as error:  # a worker that does not start, a full disk, a mistake in refbp: nobody's zero
        if isinstance(error, OSError) and error.strerror:
            return None, f"{error.strerror}" + (f": {error.filename}" if error.filename else "")
        name = type(error).__name__
        return None, text(error if name == "IsolationError" else f"{name}: {error}", 500)


# Processes of their own


def _beside(tasks: Sequence[_Task], setting: Setting, jobs: int, folder: Path) -> Iterator[Result]:
    late: list[_Task] = []
    died: dict[str, int] = {}
    waiting = list(tasks)
    while waiting:
        count = 1 if any(died.get(t.digest) for t in waiting[:1]) else jobs
        batch, waiting = (waiting[:1], waiting[1:]) if count == 1 else (waiting, [])
        for task, graded, reason in _pooled(batch, setting, min(count, len(batch)), folder):
            if reason == DIED and died.get(task.digest, 0) + 1 < ATTEMPTS:
                died[task.digest] = died.get(task.digest, 0) + 1
                waiting.insert(0, task)
            elif graded is not None and graded.timed_out:
                late.append(task)  # perhaps only because others were at work: it is tried again with nobody beside it
            else:
                yield task, graded, reason
    yield from _pooled(late, setting, 1, folder) if late else ()


def _pooled(tasks: Sequence[_Task], setting: Setting, jobs: int, folder: Path) -> Iterator[Result]:
    """As many as can be done before a process dies; what it had in hand is told as died, the rest is begun anew."""
    waiting, broken = list(tasks), 0
    while waiting:
        running: dict[Future[Any], _Task] = {}
        with ExitStack() as stack:
            pool = stack.enter_context(_Pool(jobs, setting, folder))
            try:
                while waiting or running:
                    while waiting and len(running) < jobs:  # no more than run: what waits cannot be lost with a process
                        running[pool.submit(waiting[0].staged)] = waiting[0]
                        waiting.pop(0)  # only now: a broken pool takes nothing
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        graded, reason = _answer(future)
                        broken = 0
                        yield running.pop(future), graded, reason
            except BrokenProcessPool:
                pool.stop()
                broken += 1
        for task in running.values():
            yield task, None, DIED
        if broken >= HOPELESS:
            yield from (
                (task, None, f"{broken} processes in a row were ended from outside before they graded anything")
                for task in waiting
            )
            return


def _answer(future: Future[Any]) -> tuple[Graded | None, str]:
    try:
        graded, reason = future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:  # what cannot be sent back, say
        return None, text(f"{type(error).__name__}: {error}", 500)
    return graded, reason


class _Pool:
    """Processes that grade, and end with this one, however it ends."""

    def __init__(self, jobs: int, setting: Setting, folder: Path) -> None:
        import multiprocessing

        # Spawned, not forked: the progress bar is a thread of this process, and a forked lock may be held for ever.
        context = multiprocessing.get_context("spawn")
        asked = (setting.course.file or setting.course.name, setting.rubric, setting.seed, setting.plugins_dirs, str(folder))
        self._pool = ProcessPoolExecutor(jobs, context, initializer=_start, initargs=asked)

    def submit(self, staged: Path) -> Future[Any]:
        """Have one graded."""
        return self._pool.submit(_work, staged)

    def stop(self) -> None:
        """End the processes now."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self._pool.shutdown(wait=True)
        else:
            self.stop()


_setting: Setting | None = None


def _start(course: str, rubric: Rubric, seed: int, plugins_dirs: tuple[str, ...], folder: str) -> None:
    """In a new process: the course is found again by name, as plugins may hold what cannot be sent."""
    global _setting  # noqa: PLW0603  # this process exists to grade for one setting
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; whoever waits for it says so
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tempfile.tempdir = folder  # what a killed process leaves is removed with the folder
    _end_with_parent(folder)
    from refbp import registry

    found = registry.use(registry.discover(plugins_dirs, strict=False))
    _setting = Setting(named(found.courses, course), rubric, seed, plugins_dirs)


def _end_with_parent(folder: str) -> None:
    """End when the parent does: a pool's processes hold both ends of its queue, and would wait for ever."""
    import multiprocessing
    from multiprocessing.connection import wait as ended

    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        ended([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


def _work(staged: Path) -> tuple[Graded | None, str]:
    assert _setting is not None
    return _graded(staged, _setting)
