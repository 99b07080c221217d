"""Layers side by side in processes of their own; one that dies takes only its own layer with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from refbp import registry
from refbp.registry import Entry

T = TypeVar("T")
Work = Callable[..., T]  # a function of a module, so that a process of its own can import it: work(entry, *arguments)


def jobs_for(requested: int | None, work: int) -> int:
    """How many processes: as asked for, else one per core; starting torch anew costs more than a few cases do."""
    if requested is not None:
        return max(1, requested)
    return 1 if work < 60 else min(os.cpu_count() or 1, 8)


def each(
    entries: Sequence[Entry], work: Work[T], arguments: tuple[Any, ...], jobs: int, plugins_dirs: Sequence[str]
) -> Iterator[tuple[Entry, T | None]]:
    """``work(entry, *arguments)`` for every entry, in the order in which they finish; None for one whose process died."""
    if jobs == 1:
        for entry in entries:
            yield entry, work(entry, *arguments)
        return
    by_name = {e.name: e for e in entries}
    waiting = sorted(by_name, key=lambda n: -_cost(by_name[n]))
    while waiting:
        done: set[str] = set()
        with pool(jobs, plugins_dirs) as processes:
            futures: dict[Future[T], str] = {processes.submit(on, work, n, arguments): n for n in waiting}
            try:
                while futures:
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        name = futures.pop(future)
                        result = future.result()
                        done.add(name)
                        yield by_name[name], result
            except BrokenProcessPool:
                pass  # whoever died is among those not done: the first of them is tried again alone
        waiting = [n for n in waiting if n not in done]
        if waiting:
            first, *waiting = waiting
            with pool(1, plugins_dirs) as processes:
                try:
                    yield by_name[first], processes.submit(on, work, first, arguments).result()
                except BrokenProcessPool:
                    yield by_name[first], None


@contextlib.contextmanager
def pool(jobs: int, plugins_dirs: Sequence[str]) -> Iterator[ProcessPoolExecutor]:
    """Processes of their own, each with these plugins. Whatever ends the block early, an interrupt or its reader, ends them."""
    prepare()
    with ProcessPoolExecutor(jobs, _context(), initializer=_start, initargs=(tuple(plugins_dirs),)) as processes:
        try:
            yield processes
        except BrokenProcessPool:
            raise
        except BaseException as ended:
            for process in list((processes._processes or {}).values()):  # their own way to end waits for their work
                process.kill()
            if isinstance(ended, KeyboardInterrupt):
                _end_server()
            processes.shutdown(wait=False, cancel_futures=True)
            raise


def _end_server() -> None:
    """What the server has been asked for and has not begun would find nothing of this process left, and say so at length."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def prepare() -> None:
    """Begin to import torch for the processes to come, beside this one, which will need it too."""
    if (context := _context()).get_start_method() == "forkserver":
        from multiprocessing import forkserver

        context.set_forkserver_preload(["refbp.conformance.verify"])
        with _without_interrupts():
            forkserver.ensure_running()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started meanwhile never sees Ctrl-C: the server of the others would end its import with a traceback."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _context() -> BaseContext:
    # Not forked off this process: a forked child of a process in which torch has threads may hang. The server that they
    # are forked off has imported torch once for all of them, and done nothing with it.
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def _start(plugins_dirs: tuple[str, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; whoever waits for it says so
    registry.use(registry.discover(plugins_dirs, strict=False))


def on(work: Work[T], name: str, arguments: tuple[Any, ...]) -> T:
    """``work(entry, *arguments)``, in a process that has found the entry for itself."""
    return work(registry.current().get(name), *arguments)


def _cost(entry: Entry) -> int:
    """A guess that starts the longest first: cases, and how much state each has."""
    return sum(1 + len(case.layer.params()) for case in entry.spec.cases)
