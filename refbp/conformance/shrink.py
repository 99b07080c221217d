"""The smallest network that is wrong in the same way: layers left out, then sizes, arguments and numbers made simple.

Every candidate is smaller than what it comes from, and is kept if the same layer is found wrong in it. The first candidate
is the boldest: the wrong layer by itself, on the arrays that reached it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance.compose import fitted, led_to, replaced, value_of
from refbp.conformance.fuzz import LOSS, Beside, Finding, Verdict, examine
from refbp.conformance.problem import Item, Problem, Split, count, rendered
from refbp.conformance.recording import Recording
from refbp.contract import Layer
from refbp.losses import MSELoss
from refbp.shapes import Shape

Array = NDArray[Any]
Size = tuple[int, int, int, int]
CLEAR = 1e-4  # a smaller number than this is made no smaller


def shrunk(problem: Problem, finding: Finding, most: int = 400) -> tuple[Problem, Finding]:
    """The smallest problem found, and what is wrong with it, after examining at most so many."""
    tried = 0
    known: set[str] = set()
    better = True
    while better and tried < most:
        better = False
        for candidate in _candidates(problem, finding):
            if _size(candidate) >= _size(problem) or (text := repr((candidate, candidate.x.tolist()))) in known:
                continue
            known.add(text)
            tried += 1
            found = _wrong(candidate)
            if found is not None and found.layer == finding.layer and found.size >= min(CLEAR, finding.size):
                problem, finding, better = candidate, found, True
                break
            if tried >= most:
                break
    return problem, finding


def _wrong(problem: Problem) -> Finding | None:
    try:
        finding = examine(problem)
    except Exception:  # a candidate that cannot even be built is no smaller problem
        return None
    return finding if finding.verdict is Verdict.WRONG else None


def _size(problem: Problem) -> Size:
    """What is made smaller: layers, then numbers, then what there is to read."""
    entries = {**problem.network.params(), **problem.network.buffers()}
    numbers = problem.x.size + problem.target.size + sum(int(np.prod(s)) for s in entries.values())
    digits = sum(len(str(v)) for v in (*problem.x.flat, *problem.target.flat)) + len(str(problem.seed))
    return count(problem.items), numbers, len(problem.text) - 40 * problem.fresh, digits


def _candidates(problem: Problem, finding: Finding) -> Iterator[Problem]:
    """Simpler problems, the boldest first."""
    if count(problem.items) > 1 or (finding.path == LOSS and problem.items):
        yield from _alone(problem, finding.path)
    for items in _fewer(problem.items):
        yield from _rebuilt(problem, items)
    if repr(problem.loss) != "MSELoss()" and finding.path != LOSS:
        yield from _rebuilt(dataclasses.replace(problem, loss=MSELoss()), problem.items)
    for axis in range(problem.x.ndim):
        for size in sorted({1, 2, problem.x.shape[axis] // 2} - {0}):
            if size < problem.x.shape[axis]:
                x = problem.x.take(range(size), axis)
                yield from _rebuilt(dataclasses.replace(problem, x=x), problem.items)
    for items in _simpler(problem.items):
        yield from _rebuilt(problem, items)
    for seed in range(5):
        yield dataclasses.replace(problem, fresh=True, seed=seed)
    for decimals in (0, 1):
        yield dataclasses.replace(problem, x=_round(problem.x, decimals), target=_round(problem.target, decimals))
        yield dataclasses.replace(problem, x=_round(problem.x, decimals))
        yield dataclasses.replace(problem, target=_round(problem.target, decimals))


def _round(array: Array, decimals: int) -> Array:
    return array if array.dtype.kind != "f" else np.round(array, decimals) + 0.0  # + 0.0 makes −0 a 0


def _alone(problem: Problem, path: str) -> Iterator[Problem]:
    """The wrong part by itself, given what it met."""
    beside = Beside.of(problem)
    with Recording(beside.net, beside.module, {LOSS: (beside.loss, beside.loss_module)}) as recording:
        beside.forward()
    seen = recording.seen.get(path)
    if seen is None or any(t is None for t in seen.inputs):
        return
    given = [t.detach().numpy() for t in seen.inputs if t is not None]
    if path == LOSS:
        yield dataclasses.replace(problem, items=(), x=given[0])
        return
    item: Item = seen.layer
    if len(given) > 1:
        branches = [led_to([], given[0], a.shape) for a in given]
        if any(b is None for b in branches):
            return
        item = Split(seen.layer, tuple(tuple(b[0]) for b in branches if b is not None))
    yield from _rebuilt(dataclasses.replace(problem, x=given[0], loss=MSELoss()), (item,))


def _fewer(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """With one item left out, with a branch in place of a split, or with fewer items in a branch."""
    for i, item in enumerate(items):
        before, after = tuple(items[:i]), tuple(items[i + 1 :])
        if isinstance(item, Split):
            for branch in item.branches:
                yield (*before, *branch, *after)
        yield (*before, *after)
        if isinstance(item, Split):
            yield (*before, Split(item.join, ((),) * len(item.branches)), *after)
            for k, branch in enumerate(item.branches):
                for smaller in ((), *_fewer(branch)):
                    branches = (*item.branches[:k], smaller, *item.branches[k + 1 :])
                    yield (*before, Split(item.join, branches), *after)


def _simpler(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """With one argument of one layer at its default, or one of its sizes smaller."""
    for i, item in enumerate(items):
        before, after = tuple(items[:i]), tuple(items[i + 1 :])
        if isinstance(item, Split):
            for join in _plainer(item.join):
                yield (*before, Split(join, item.branches), *after)
            for k, branch in enumerate(item.branches):
                for plainer in _simpler(branch):
                    branches = (*item.branches[:k], plainer, *item.branches[k + 1 :])
                    yield (*before, Split(item.join, branches), *after)
        else:
            for layer in _plainer(item):
                yield (*before, layer, *after)


def _plainer(layer: Layer[Any]) -> Iterator[Layer[Any]]:
    fields = [f for f in dataclasses.fields(layer) if f.init]  # type: ignore[arg-type]  # every layer is a dataclass
    defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    values = {f.name: getattr(layer, f.name) for f in fields}
    for name, value in values.items():
        if name in defaults and value != defaults[name]:
            yield from filter(None, [replaced(layer, **{name: defaults[name]})])
        elif isinstance(value, int) and not isinstance(value, bool):
            yield from filter(None, (replaced(layer, **{name: size}) for size in (1, 2) if size < value))


# Putting together again -----------------------------------------------------------------------------------------------


def _rebuilt(problem: Problem, items: Sequence[Item]) -> Iterator[Problem]:
    """The problem of these items, each fitted to what now reaches it, and with a target that fits; nothing where none does."""
    through = _through(items, problem.x)
    if through is None:
        return
    items, y = through
    for target in _targets(problem, y.shape):
        if value_of(problem.loss, [y, target]) is not None:
            yield dataclasses.replace(problem, items=tuple(items), target=target)
            return


def _through(items: Sequence[Item], value: Array) -> tuple[list[Item], Array] | None:
    kept: list[Item] = []
    for item in items:
        found = next(((i, y) for i in _refitted(item, value) if (y := _value(i, value)) is not None), None)
        if found is None:
            return None
        kept, value = [*kept, found[0]], found[1]
    return kept, value


def _refitted(item: Item, value: Array) -> Iterator[Item]:
    yield item
    if not isinstance(item, Split):
        yield from fitted(item, value.shape)
        return
    branches = [_through(branch, value) for branch in item.branches]
    ended = [b for b in branches if b is not None]
    if len(ended) == len(branches):
        paths = tuple(tuple(b[0]) for b in ended)
        yield Split(item.join, paths)
        for join in fitted(item.join, ended[0][1].shape):
            yield Split(join, paths)
        led = [led_to(*b, ended[-1][1].shape) for b in ended]  # as an addition needs it
        if all(b is not None for b in led):
            yield Split(item.join, tuple(tuple(b[0]) for b in led if b is not None))


def _value(item: Item, value: Array) -> Array | None:
    try:
        layer = rendered(item)
    except Exception:  # a graph that nothing can be made of
        return None
    return value_of(layer, [value])


def _targets(problem: Problem, shape: Shape) -> Iterator[Array]:
    """The target, cut to what the network now returns; and normal numbers, where that is no target."""
    target = problem.target
    cut: Callable[[Shape], Array] = lambda s: target[tuple(slice(n) for n in s)]  # noqa: E731
    yield target
    if target.ndim == len(shape) and target.dtype.kind == "f":
        yield cut(shape)
    elif target.ndim == len(shape) - 1:
        yield cut((*shape[:1], *shape[2:])[: target.ndim]) % shape[min(1, len(shape) - 1)]
    yield np.random.default_rng(problem.seed).normal(size=shape)
