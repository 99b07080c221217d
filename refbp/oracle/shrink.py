"""The smallest failing input: a case made smaller and plainer for as long as it fails.

Sizes become 1 to 3, arguments their defaults, values small integers. What is left is put in words by :mod:`.written`.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from refbp.contract import Layer
from refbp.oracle.observation import Array, differs
from refbp.shapes import parse

PLAIN = (1.0, 2.0, 3.0, -1.0, -2.0)
MANY = 24  # plainer arguments that are tried two at a time
CLEAR = 1e-3  # how far apart got and expected must stay, relative to the larger: a difference that print shows


@dataclass(frozen=True, eq=False)
class Example:
    """A layer, its arrays, and an upstream gradient."""

    layer: Layer[Any]
    state: Mapping[str, Array]
    inputs: tuple[Any, ...]
    upstream: tuple[Any, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def arrays(self) -> Iterator[Array]:
        """Every array that there is to read."""
        yield from (np.asarray(a) for a in (*self.inputs, *self.state.values(), *self.upstream) if a is not None)

    def weight(self) -> tuple[int, int, int, float]:
        """What is made smaller: numbers, arguments, digits, magnitudes."""
        numbers = sum(a.size for a in self.arrays)
        ranks = sum(a.ndim for a in self.arrays)
        digits = sum(len(f"{float(v):.12g}") for a in self.arrays for v in a.flat)
        arguments = _length(self.layer) + 20 * len(self.options)
        size = sum(float(np.abs(a[np.isfinite(a)]).sum()) for a in self.arrays if a.dtype.kind in "fiu")
        return numbers + ranks, arguments, digits, size


def _length(layer: Layer[Any]) -> int:
    """How long a layer's call is; a search asks it of the same few layers over and over."""
    try:
        return _known_length(layer)
    except TypeError:  # an argument that cannot be hashed
        return len(repr(layer))


@lru_cache(maxsize=256)
def _known_length(layer: Layer[Any]) -> int:
    return len(repr(layer))


@dataclass(frozen=True)
class Failure:
    """One gradient of an example that is wrong."""

    gradient: str
    got: Array
    expected: Array

    @property
    def misshapen(self) -> bool:
        """Whether it is of another shape than expected."""
        return self.got.shape != self.expected.shape

    @property
    def apart(self) -> float:
        """The largest difference; 0 between arrays of different shapes."""
        if self.misshapen:
            return 0.0
        off = np.abs(self.got.astype(float) - self.expected)
        return float(off[np.isfinite(off)].max(initial=0))


Judge = Callable[[Example], "Failure | None"]
Gradients = Callable[[Example], Mapping[str, Any]]


def judge(gradient: str, got: Gradients, expected: Gradients, clear: float = CLEAR) -> Judge:
    """A judge that calls an example failing while this gradient is clearly another one than expected.

    An example that either side refuses, or in which a number expected is not finite, or none is other than 0, does not fail.
    """

    def judged(example: Example) -> Failure | None:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                right, given = expected(example).get(gradient), got(example).get(gradient)
        except Exception:  # whatever refuses it: then it is no example of this failure
            return None
        if given is None or right is None:
            return None
        failure = Failure(gradient, np.asarray(given), np.asarray(right))
        if failure.got.dtype.kind not in "fiub" or not np.isfinite(failure.expected.astype(float)).all():
            return None
        if failure.misshapen:
            return failure if failure.expected.any() else None
        both = failure.got.astype(float), failure.expected.astype(float)
        scale = max(float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in both) or 1.0
        return failure if differs(both[0] / scale, both[1] / scale, clear).any() else None

    return judged


def shrink(example: Example, judged: Judge, seconds: float = 5.0) -> tuple[Example, Failure] | None:
    """The smallest example found in so many seconds that still fails, and how it does; None where this one does not.

    They are seconds of this process's computing, for others may compute too; what is waited for is at most four times as long.
    """
    end, last = time.process_time() + seconds, time.monotonic() + 4 * seconds
    first = judged(example)
    if first is None:
        return None
    best, weight = (example, first), example.weight()
    better = True
    while better:
        better = False
        for candidate in (c for stage in (_smaller, _plainer_arguments, _plainer_values) for c in stage(best[0])):
            if time.process_time() > end or time.monotonic() > last:
                return best
            lighter = candidate.weight()
            if lighter < weight and _as_generic(candidate, example):
                found = judged(candidate)
                if found is not None and _alike(found, first):
                    best, weight, better = (candidate, found), lighter, True
                    break
    return best


def _alike(found: Failure, first: Failure) -> bool:
    """Whether a smaller failure is of the same kind, and no rounding error beside it."""
    finite = [bool(np.isfinite(f.got.astype(float)).all()) for f in (found, first)]
    return found.misshapen == first.misshapen and finite[0] == finite[1] and found.apart >= min(1e-2, first.apart / 10)


# Kinks and ties: a case without zeros and equal values is not to acquire any ------------------------------------------


def _as_generic(candidate: Example, first: Example) -> bool:
    """Whether inputs are as generic as they were, and buffers, variances and weights among them, still positive."""
    pairs = [(c, f) for c, f in zip(candidate.inputs, first.inputs, strict=False) if c is not None and f is not None]
    if not all(_distinct(np.asarray(c)) for c, f in pairs if _distinct(np.asarray(f))):
        return False
    return all((candidate.state[n] > 0).all() for n in candidate.layer.buffers() if (first.state[n] > 0).all())


def _distinct(a: Array) -> bool:
    return a.dtype.kind == "f" and bool((a != 0).all()) and len(np.unique(a)) == a.size


# Smaller ---------------------------------------------------------------------------------------------------------------


def _smaller(example: Example) -> Iterator[Example]:
    """All sizes at once, one after the other, two together, the boldest step first; then one entry of an axis, or none."""
    names = _axes(example)
    free: dict[str, int] = {}
    for a, axes in zip(example.inputs, names, strict=True):
        free |= dict(zip(axes or (), np.shape(a), strict=True)) if a is not None else {}
    fields = {n: v for n, v in _sizes(example.layer) if n not in free}
    sizes = {**free, **fields}
    for size in (1, 2, 3):
        yield from _resized(example, {n: min(size, v) for n, v in sizes.items()})
    for name, current in sizes.items():
        for size in sorted({1, 2, 3, current // 2, current - 1} - {0, current}):
            if size < current:
                yield from _resized(example, {name: size})
    for name, other in itertools.permutations([n for n, v in sizes.items() if v > 1 and not n.startswith("*")], 2):
        yield from _resized(example, {name: 1, other: min(sizes[other], 2)})
    for name, current in fields.items():  # a smaller kernel makes more windows, unless there are fewer positions
        for size in {1, 2} - {current}:
            yield from _resized(example, {**{n: min(v, 2) for n, v in free.items()}, name: min(size, current)})
    for axis, current in free.items():
        if axis.startswith("*") or axis not in example.layer.sizes:
            for i in range(1, min(current, 12)):
                yield from _fitted(_taken(example, axis, i))
    for axis in (n for n in free if n.startswith("*") or n == "N"):
        inputs = tuple(
            np.asarray(a[(slice(None),) * axes.index(axis) + (0,)]) if axes and axis in axes else a
            for a, axes in zip(example.inputs, names, strict=True)
        )
        yield from _fitted(dataclasses.replace(example, inputs=inputs))


def _taken(example: Example, axis: str, index: int) -> Example:
    """Of an axis one entry, which need not be the first."""
    inputs = tuple(
        a if not axes or axis not in axes else np.take(a, [index], axes.index(axis))
        for a, axes in zip(example.inputs, _axes(example), strict=True)
    )
    return dataclasses.replace(example, inputs=inputs)


def _axes(example: Example) -> list[tuple[str, ...] | None]:
    """A name for each axis of each input: what the pattern calls it; for what a ``*`` stands for, which one of those it is."""
    found: list[tuple[str, ...] | None] = []
    patterns = list(example.layer.inputs().values())
    for i, a in enumerate(example.inputs):
        axes = parse(patterns[i]).axes(np.shape(a), example.layer.sizes) if a is not None and i < len(patterns) else None
        seen: dict[str, int] = {}
        named = []
        for axis in axes or ():
            seen[axis] = seen.get(axis, -1) + 1
            named.append(f"*{seen[axis]}" if axis.startswith("*") else axis)
        found.append(None if a is None else tuple(named))
    return found


def _sizes(layer: Layer[Any]) -> Iterator[tuple[str, int]]:
    for f in dataclasses.fields(layer):  # type: ignore[arg-type]  # every layer is a dataclass
        value = getattr(layer, f.name)
        if isinstance(value, int) and not isinstance(value, bool) and f.init and value > 1:
            yield f.name, value


def _resized(example: Example, sizes: Mapping[str, int]) -> Iterator[Example]:
    """The example with axes, and the fields of those names, cut to sizes; indices that are then too large come round."""
    fields = {f.name for f in dataclasses.fields(example.layer) if f.init}  # type: ignore[arg-type]
    layer = example.layer
    changed: dict[str, Any] = {n: s for n, s in sizes.items() if n in fields and getattr(layer, n) != s}
    weights = [n for n in ("weight", "pos_weight") if isinstance(getattr(layer, n, None), tuple)]
    if weights and "C" in sizes:  # one number for each class
        changed |= {n: getattr(layer, n)[: sizes["C"]] for n in weights}
    if changed:
        made = _made(layer, changed)
        if made is None:
            return
        layer = made
    inputs = []
    for a, axes in zip(example.inputs, _axes(example), strict=True):
        if a is not None:
            shape = zip(axes or (), np.shape(a), strict=True)
            a = np.asarray(np.asarray(a)[tuple(slice(sizes.get(n, layer.sizes.get(n, s))) for n, s in shape)])  # noqa: PLW2901
        inputs.append(a)
    smaller = dataclasses.replace(example, layer=layer, inputs=tuple(inputs))
    yield from _fitted(smaller)
    for most in dict.fromkeys(sizes.values()):
        round_ = tuple(a % most if a is not None and a.dtype.kind in "iu" else a for a in inputs)
        if any(a is not b and (a != b).any() for a, b in zip(round_, inputs, strict=True)):
            yield from _fitted(dataclasses.replace(smaller, inputs=round_))


def _made(layer: Layer[Any], changed: Mapping[str, Any]) -> Layer[Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dataclasses.replace(layer, **changed)  # type: ignore[type-var]
    except Exception:  # an argument that does not fit the others
        return None


def _fitted(example: Example) -> Iterator[Example]:
    """The example with a state of the layer's shapes and an upstream gradient of the outputs', cut from what there was."""
    state: dict[str, Array] = {}
    for name, shape in {**example.layer.params(), **example.layer.buffers()}.items():
        a = example.state.get(name)
        if a is None or a.ndim != len(shape) or any(n > m for n, m in zip(shape, a.shape, strict=True)):
            return
        state[name] = np.asarray(a[tuple(slice(n) for n in shape)])
    try:
        with np.errstate(all="ignore"):
            outputs = example.layer(state, *example.inputs, **example.options).outputs
    except Exception:  # inputs that do not belong together
        return
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    upstream: list[Any] = []
    for u, y in zip(example.upstream, outputs, strict=False):
        if u is None:
            upstream.append(None)
            continue
        while u.ndim > y.ndim:
            u = u[0]  # noqa: PLW2901  # the same gradient, an axis less
        if u.ndim < y.ndim or any(n > m for n, m in zip(y.shape, u.shape, strict=True)):
            u = np.resize(u, y.shape)  # noqa: PLW2901  # a smaller window makes more outputs
        upstream.append(np.asarray(u[tuple(slice(n) for n in y.shape)], y.dtype))
    yield dataclasses.replace(example, state=state, upstream=tuple(upstream))


# Plainer ---------------------------------------------------------------------------------------------------------------


def _plainer_arguments(example: Example) -> Iterator[Example]:
    """Arguments at their defaults or smaller, optional inputs and options left out."""
    for name in example.options:
        yield from _fitted(dataclasses.replace(example, options={n: v for n, v in example.options.items() if n != name}))
    patterns = list(example.layer.inputs().values())
    for i, a in enumerate(example.inputs):
        if a is not None and i < len(patterns) and patterns[i].startswith("optional"):
            inputs = (*example.inputs[:i], None, *example.inputs[i + 1 :])
            while inputs and inputs[-1] is None:
                inputs = inputs[:-1]
            yield from _fitted(dataclasses.replace(example, inputs=inputs))
    fields = [f for f in dataclasses.fields(example.layer) if f.init]  # type: ignore[arg-type]
    changes = [(f.name, plainer) for f in fields for plainer in _plainer(f, getattr(example.layer, f.name))]
    pairs = ({a[0]: a[1], b[0]: b[1]} for a, b in itertools.combinations(changes[:MANY], 2) if a[0] != b[0])
    for changed in itertools.chain((dict([c]) for c in changes), pairs):
        layer = _made(example.layer, changed)
        if layer is not None:
            yield from _fitted(dataclasses.replace(example, layer=layer))


def _plainer(f: Any, value: Any) -> Iterator[Any]:
    if f.default is not dataclasses.MISSING and value != f.default:
        yield f.default
    if isinstance(value, tuple) and value and all(isinstance(v, int) for v in value):
        for small in (1, 0, 2):
            yield small
            for i, v in enumerate(value):
                if v > small:
                    yield (*value[:i], small, *value[i + 1 :])
    elif isinstance(value, float) and value != round(value, 1):
        yield round(value, 1)


def _plainer_values(example: Example) -> Iterator[Example]:
    """Arrays of small integers: a whole array at once, then one number after the other."""
    for place, a in _places(example):
        for plain in _plain_arrays(a):
            yield _with(example, place, plain)
    for place, a in _places(example):
        if a.size <= 16:
            for i in np.ndindex(a.shape):
                for v in _plain_numbers(a[i]):
                    changed = a.copy()
                    changed[i] = v
                    yield _with(example, place, changed)


Place = tuple[str, Any]


def _places(example: Example) -> Iterator[tuple[Place, Array]]:
    for i, u in enumerate(example.upstream):
        if u is not None:
            yield ("upstream", i), np.asarray(u)
    for n, s in example.state.items():
        yield ("state", n), np.asarray(s)
    for i, a in enumerate(example.inputs):
        if a is not None:
            yield ("inputs", i), np.asarray(a)


def _with(example: Example, place: Place, a: Array) -> Example:
    what, where = place
    if what == "state":
        return dataclasses.replace(example, state={**example.state, where: a})
    held = list(example.inputs if what == "inputs" else example.upstream)
    held[where] = a
    if what == "inputs":
        return dataclasses.replace(example, inputs=tuple(held))
    return dataclasses.replace(example, upstream=tuple(held))


def changed_state(example: Example, name: str, a: Array) -> Example:
    """The example with another array in its state."""
    return _with(example, ("state", name), a)


def _plain_arrays(a: Array) -> Iterator[Array]:
    if a.dtype.kind == "b":
        yield np.ones_like(a)
    elif a.dtype.kind in "iu":
        yield np.zeros_like(a)
        yield a % 2
    elif a.dtype.kind == "f" and a.size:
        yield np.ones_like(a)
        yield np.zeros_like(a)
        yield _ranked(a)
        for decimals in (0, 1, 2):
            yield np.round(a, decimals) + 0.0  # + 0.0 makes −0 a 0


def _ranked(a: Array) -> Array:
    """Small integers in the order of the values, of the same signs: …, −2, −1, 1, 2, …; equal where those are, 0 where 0."""
    values = np.unique(a[np.isfinite(a)])
    negative, positive = values[values < 0], values[values > 0]
    ranks = {v: float(i - len(negative)) for i, v in enumerate(negative)} | {v: float(i + 1) for i, v in enumerate(positive)}
    return np.array([ranks.get(v, 0.0 if v == 0 else v) for v in a.ravel().tolist()], a.dtype).reshape(a.shape)


def _plain_numbers(v: Any) -> Iterator[Any]:
    if isinstance(v, np.floating):
        yield from (0.0, *PLAIN, float(np.round(v, 1)))
    elif isinstance(v, np.integer):
        yield from range(min(int(v), 3))
