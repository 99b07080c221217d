"""Many random networks: composed by number, so that every process makes the same ones, examined, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache

from refbp import registry
from refbp.conformance.compose import Composer, Seeded
from refbp.conformance.fuzz import PROCESS, Finding, Verdict, examine
from refbp.conformance.parallel import pool
from refbp.conformance.problem import Problem, leaves
from refbp.registry import Registry

ATTEMPTS = 20  # at composing one network
CHUNK = 20  # networks that one process is given at a time


@dataclass
class Tally:
    """What networks came to: how many of each verdict, which layers and losses took part, what is wrong by number."""

    verdicts: Counter[str] = field(default_factory=Counter)
    layers: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    digits: float = 16.0  # the fewest of all networks that agree
    wrong: dict[int, Finding] = field(default_factory=dict)

    @property
    def networks(self) -> int:
        """How many there were."""
        return sum(self.verdicts.values())

    def add(self, index: int, problem: Problem | None, finding: Finding) -> None:
        """Count one network."""
        self.verdicts[str(finding.verdict)] += 1
        if problem is not None and finding.verdict not in (Verdict.VACUOUS, Verdict.REFUSED):
            self.layers.update(type(layer).__name__ for layer in leaves(problem.items))
            self.losses[type(problem.loss).__name__] += 1
        if finding.verdict is Verdict.AGREE:
            self.digits = min(self.digits, finding.digits)
        if finding.verdict is Verdict.WRONG:
            self.wrong[index] = finding

    def join(self, other: Tally) -> None:
        """Count another's, too."""
        self.verdicts += other.verdicts
        self.layers += other.layers
        self.losses += other.losses
        self.digits = min(self.digits, other.digits)
        self.wrong |= other.wrong


@dataclass(frozen=True)
class Recipe:
    """What networks are composed from, besides the registry: so that each has the same number everywhere."""

    seed: int = 0
    most_layers: int = 6
    favourites: tuple[str, ...] = ()

    @property
    def composer(self) -> Composer:
        """The composer, for the process's registry as it is now."""
        return _composer(registry.current(), tuple(registry.current().entries), self.most_layers, self.favourites)

    def problem(self, index: int) -> Problem | None:
        """The network of that number: composed again until the choices lead somewhere."""
        for attempt in range(ATTEMPTS):
            found = self.composer.problem(Seeded(self.seed, index, attempt), (self.seed * 1_000_003 + index) % 2**31)
            if found is not None:
                return found
        return None


@lru_cache(maxsize=4)
def _composer(registry_: Registry, names: tuple[str, ...], most_layers: int, favourites: tuple[str, ...]) -> Composer:
    del names  # what is in the registry now: with other entries it is another composer
    return Composer(registry_, most_layers, favourites)


def tally(recipe: Recipe, indices: Sequence[int]) -> Tally:
    """These networks, one after the other."""
    found = Tally()
    for index in indices:
        made = recipe.problem(index)
        found.add(index, made, Finding(Verdict.VACUOUS) if made is None else examine(made))
    return found


def fuzz(recipe: Recipe, indices: range, jobs: int, plugins_dirs: Sequence[str]) -> Iterator[Tally]:
    """These networks in so many processes, as they are done. One that kills its process is wrong, and is found by halving."""
    chunks = [indices[i : i + CHUNK] for i in range(0, len(indices), CHUNK)]
    if jobs == 1:
        yield from (tally(recipe, chunk) for chunk in chunks)
        return
    while chunks:
        done: set[range] = set()
        broken = False
        with pool(jobs, plugins_dirs) as processes:
            futures = {processes.submit(tally, recipe, chunk): chunk for chunk in chunks}
            try:
                while futures:
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        chunk = futures.pop(future)
                        found = future.result()
                        done.add(chunk)
                        yield found
            except BrokenProcessPool:
                broken = True
        chunks = [c for c in chunks if c not in done]
        if broken and (jobs == 1 or len(chunks) == 1):  # the only one left; or, as one process takes them in order, the first
            first, *chunks = chunks
            if len(first) == 1:
                dead = Finding(Verdict.WRONG, PROCESS, "", "the process that ran it died")
                yield Tally(verdicts=Counter([str(Verdict.WRONG)]), wrong={first[0]: dead})
            else:
                half = len(first) // 2
                chunks = [first[:half], first[half:], *chunks]
        jobs = 1 if broken else jobs
