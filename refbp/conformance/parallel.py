"""Layers side by side in processes of their own; one that dies takes only its own layer with it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from refbp import registry
from refbp.conformance.outcome import broken
from refbp.conformance.report import Summary
from refbp.conformance.verify import Result, verify
from refbp.registry import Entry


@dataclass(frozen=True)
class Job:
    """What to run of every layer."""

    seed: int
    cases: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


def jobs_for(requested: int | None, work: int) -> int:
    """How many processes: as asked for, else one per core; starting torch anew costs more than a few cases do."""
    if requested is not None:
        return max(1, requested)
    return 1 if work < 60 else min(os.cpu_count() or 1, 8)


def run(entries: Sequence[Entry], job: Job, jobs: int, plugins_dirs: Sequence[str]) -> Iterator[Summary]:
    """A summary per layer, in the order in which they finish."""
    if jobs == 1:
        for entry in entries:
            yield _summary(entry, tuple(_results(entry, job)))
        return
    by_name = {e.name: e for e in entries}
    waiting = sorted(by_name, key=lambda n: -_cost(by_name[n]))
    while waiting:
        done: set[str] = set()
        with _pool(jobs, plugins_dirs) as pool:
            futures: dict[Future[tuple[Result, ...]], str] = {pool.submit(_work, n, job): n for n in waiting}
            try:
                while futures:
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        name = futures.pop(future)
                        results = future.result()
                        done.add(name)
                        yield _summary(by_name[name], results)
            except BrokenProcessPool:
                pass  # whoever died is among those not done: they are tried again one at a time
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        waiting = [n for n in waiting if n not in done]
        if waiting:
            first, *waiting = waiting
            yield _alone(by_name[first], job, plugins_dirs)


def _alone(entry: Entry, job: Job, plugins_dirs: Sequence[str]) -> Summary:
    with _pool(1, plugins_dirs) as pool:
        try:
            return _summary(entry, pool.submit(_work, entry.name, job).result())
        except BrokenProcessPool:
            died = Result(entry.name, entry.spec.case_ids()[0], "outputs", job.seed, broken("the process that ran it died"))
            return _summary(entry, (died,))


def _pool(jobs: int, plugins_dirs: Sequence[str]) -> ProcessPoolExecutor:
    # Spawned, not forked: a forked child of a process in which torch has threads may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_start, initargs=(tuple(plugins_dirs),))


def _start(plugins_dirs: tuple[str, ...]) -> None:
    registry.use(registry.discover(plugins_dirs, strict=False))


def _work(name: str, job: Job) -> tuple[Result, ...]:
    return tuple(_results(registry.current().get(name), job))


def _results(entry: Entry, job: Job) -> Iterator[Result]:
    cases = [c for c in job.cases if c in entry.spec.case_ids()]
    if job.cases and not cases:
        return
    yield from verify(entry, job.seed, cases, job.checks)


def _summary(entry: Entry, results: tuple[Result, ...]) -> Summary:
    return Summary(entry.name, entry.kind, entry.plugin, entry.source, results)


def _cost(entry: Entry) -> int:
    """A guess that starts the longest first: cases, and how much state each has."""
    return sum(1 + len(case.layer.params()) for case in entry.spec.cases)
