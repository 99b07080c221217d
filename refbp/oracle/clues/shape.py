"""What can be told from shapes and dtypes: missing, transposed, not summed, summed over another axis, not cropped."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from refbp.oracle import condition
from refbp.oracle.finding import Evidence, Finding, Fit, Guess
from refbp.oracle.observation import Array, Observation, differs, same

Claims = Iterator[tuple[str, str, str, Fit]]
Axes = tuple[int, ...]


def clue(e: Evidence) -> list[Finding]:
    """Findings from shape, dtype, and values that are no numbers."""
    return [*_swapped(e), *e.merged(claim for name in e.wrong for claim in _of(e, name))]


def _swapped(e: Evidence) -> Iterator[Finding]:
    """Two gradients of one size, each in the other's place."""
    for a, b in itertools.combinations(e.numeric, 2):
        first, second = e.fit(a, _other(b, a), 0.98), e.fit(b, _other(a, b), 0.98)
        if first and second:
            yield Finding("swapped gradients", f"{e.called([a, b])} are swapped", first.evidence, first.confidence, (a, b))


def _other(name: str, place: str) -> Guess:
    return lambda o: np.reshape(o.expected[name], np.shape(o.got[place]))  # axes of length 1 tell nothing of whose it is


def _of(e: Evidence, name: str) -> Claims:
    pairs = e.pairs(name)
    if len(pairs) < len(e.where(name)):
        yield name, "missing", "{is} missing: there is none, or it is None", Fit("the reference has one", 1.0)
        return
    if all(g.dtype.kind in "iu" for g, _ in pairs) and all(
        np.array_equal(g, np.trunc(e)) for g, e in pairs if g.shape == e.shape
    ):
        words = "{is} an array of integers, which cuts off every fraction: make it with a floating dtype"
        yield name, "dtype", words, Fit(f"dtype {pairs[0][0].dtype}", 1.0)
    elif all(g.dtype.kind == "b" for g, _ in pairs):
        yield name, "dtype", "{is} an array of booleans: a mask, not a gradient", Fit("dtype bool", 1.0)
    elif name not in e.numeric:
        odd = next(g for g, _ in pairs if g.dtype.kind not in "fiub")
        yield (
            name,
            "dtype",
            f"{{is}} no array of real numbers but of dtype {odd.dtype}",
            Fit("such as nothing can be told of", 1.0),
        )
        return
    if found := next(_rearranged(e, name, pairs), None) or next(_blocks(e, name), None):
        yield found
    elif any(g.shape != e.shape for g, e in pairs):
        yield from _of_another_size(e, name, pairs)
    else:
        yield from _not_finite(e, name)


def _rearranged(e: Evidence, name: str, pairs: list[tuple[Array, Array]]) -> Claims:
    if fit := e.test(name, lambda g, x, _: g.shape != x.shape and _same_but_for_ones(g, x), 1.0):
        got, wanted = pairs[0]
        yield name, "shape", f"{{has}} the right values, and only {{its}} shape is wrong: {got.shape} for {wanted.shape}", fit
        return
    if fit := e.fit(name, lambda o: np.transpose(o.expected[name]), 0.99, moved=True):
        yield name, "transpose", "{is} transposed", fit
        return
    ranks = {g.ndim for g, _ in pairs}
    if len(ranks) == 1 and (rank := ranks.pop()) > 1:
        for axes in itertools.permutations(range(rank)):
            if axes != tuple(range(rank)) and (fit := e.fit(name, _turned(name, axes), 0.99, moved=True)):
                yield name, "transpose", f"{{has}} {{its}} axes in another order: {axes}", fit


def _turned(name: str, axes: Axes) -> Guess:
    return lambda o: np.transpose(o.expected[name], axes)


def _blocks(e: Evidence, name: str) -> Claims:
    """Rows in blocks, one for each gate or projection, that stand in another order; or the two halves of a layer's dim."""
    first = e.where(name)[0]
    if name not in first.state and hasattr(first.layer, "dim"):
        if fit := e.fit(name, lambda o: _shuffled(o.expected[name], (1, 0), o.layer.dim), 0.97):
            yield name, "order", "{has} {its} two halves swapped", fit
        return
    words = {4: "ifgo", 3: "rzn"}.get(getattr(first.layer, "gates", 0)) or ("qkv" if name.startswith("in_proj") else "")
    rows = np.shape(first.expected[name])[:1]
    if not words or name not in first.state or rows[0] % len(words):
        return
    for order in itertools.permutations(range(len(words))):
        if list(order) != sorted(order) and (fit := e.fit(name, _reordered(name, order), 0.97)):
            now, right = ", ".join(words[k] for k in order), ", ".join(words)
            yield name, "order", f"{{has}} {{its}} blocks of rows in another order: {now} for {right}", fit
            return


def _reordered(name: str, order: Axes) -> Guess:
    return lambda o: _shuffled(o.expected[name], order, 0)


def _shuffled(a: Any, order: Axes, axis: int) -> Array:
    """As many blocks along an axis, in another order."""
    blocks = np.split(np.asarray(a), len(order), axis)
    return np.concatenate([blocks[k] for k in order], axis)


def _of_another_size(e: Evidence, name: str, pairs: list[tuple[Array, Array]]) -> Claims:
    if found := [*_cut(e, name), *_sides(e, name)]:
        yield from found
        return
    if any(g.size == 0 for g, _ in pairs):
        yield from _empty(e, name)
        return
    rank = pairs[0][0].ndim
    for count in range(1, rank + 1):
        for axes in itertools.combinations(range(rank), count):
            if fit := e.test(name, _sums_to(axes, rank), 1.0):
                which = f"axis {axes[0]}" if count == 1 else f"axes {axes}"
                words = f"{{is}} not summed over {which}, over which forward broadcast: summed, {{its}} values are right"
                yield name, "unreduced", words, fit
                return
    got, wanted = next((g, x) for g, x in pairs if g.shape != x.shape)
    if fit := e.test(name, _padded, 1.0):
        words = f"still {{has}} the padding, which must be cut off: {pairs[0][0].shape} for {pairs[0][1].shape}"
        yield name, "padding", words, fit
    elif sums := list(_other_sums(e, name)):
        yield from sums
    elif fit := e.test(name, lambda g, x, _: g.shape != x.shape, 0.5):
        yield name, "shape", f"{{has}} the shape {got.shape} where {wanted.shape} is wanted", fit


def _sums_to(axes: Axes, rank: int) -> Callable[[Array, Array, Observation], bool]:
    return lambda g, x, _: g.ndim == rank and _same_but_for_ones(g.sum(axes), x)


def _same_but_for_ones(g: Array, x: Array) -> bool:
    return g.size == x.size and same(g.reshape(x.shape), x)


def _other_sums(e: Evidence, name: str) -> Claims:
    """A gradient that is a sum, over other axes than it should be: of the upstream, or of the right gradient itself."""
    rank = max(o.dy.ndim if o.upstream else 0 for o in e.where(name))  # outputs have no upstream gradient
    for count in range(1, rank + 1):
        for axes in itertools.combinations(range(rank), count):
            if fit := e.fit(name, _upstream_sum(axes, rank), 0.97):
                which = f"axis {axes[0]}" if count == 1 else f"axes {axes}"
                yield name, "axis", f"{{is}} the upstream gradient summed over {which}, which leaves another shape", fit
    ranks = {np.ndim(o.expected[name]) for o in e.where(name)}
    for axis in range(min(ranks, default=0)):
        for keep in (False, True):
            if fit := e.fit(name, _summed(name, axis, keep), 0.97):
                yield name, "axis", f"{{is}} summed over axis {axis}, which should stay", fit


def _upstream_sum(axes: Axes, rank: int) -> Guess:
    return lambda o: o.dy.sum(axes) if o.dy.ndim == rank else None


def _summed(name: str, axis: int, keep: bool) -> Guess:
    return lambda o: np.sum(o.expected[name], axis=axis, keepdims=keep)


def _widths(o: Observation) -> Axes:
    """The padding of each axis of a picture; none where there is none that is a number."""
    padding = o.layer.arguments().get("padding", 0)
    widths = padding if isinstance(padding, tuple) else (padding,) * getattr(o.layer, "rank", 0)
    return widths if all(isinstance(p, int) for p in widths) else ()


def _cut(e: Evidence, name: str) -> Claims:
    """The padding is cut off by a fixed width, which is right where it happens to be the padding."""
    if not any(np.size(o.got[name]) for o in e.where(name)):
        return  # what is empty everywhere tells no width
    for width in (1, 2):
        if fit := e.test(name, partial(_is_cut, width=width), 0.99):
            words = f"{{is}} cut by {width} on every side, whatever the padding is: as x[:, :, {width}:-{width}] does"
            yield name, "padding", words, fit
            return


def _is_cut(g: Array, x: Array, o: Observation, width: int) -> bool:
    """Whether the right gradient is there but for what a cut of ``width`` takes, or leaves of the padding."""
    widths = _widths(o)
    rank = len(widths)
    if not rank or {g.ndim, x.ndim} != {rank + 2} or g.shape[:-rank] != x.shape[:-rank] or g.shape == x.shape:
        return False
    kept: list[slice] = []  # of what was got, and of the right gradient, along each axis
    held: list[slice] = []
    for have, n, p in zip(g.shape[-rank:], x.shape[-rank:], widths, strict=True):
        if have != max(n + 2 * (p - width), 0):
            return False
        more, less = max(p - width, 0), max(width - p, 0)
        kept.append(slice(more, more + n))
        held.append(slice(less, n - less))
    return not g.size or same(g[:, :, *kept], x[:, :, *held])


def _sides(e: Evidence, name: str) -> Claims:
    """Pictures of which one side has the size of the other, or would have if x had two sides of one length."""
    held = {w: fit for w, size in SIDES.items() if (fit := e.test(name, partial(_has_sides, size=size), 0.97))}
    for words, fit in held.items():
        mixed = "{has} {its} sides mixed up: H′ should come from the height of x, W′ from its width"
        yield name, "shape", words if len(held) == 1 else mixed, dataclasses.replace(fit, condition="")  # the words say when
        return


def _has_sides(g: Array, x: Array, o: Observation, size: Callable[[Axes, Callable[[int, int], int]], Axes]) -> bool:
    """Whether a picture has the sides that ``size`` makes of the right ones and of each axis's count of windows in x."""
    if getattr(o.layer, "rank", 0) != 2 or not _widths(o) or g.ndim != x.ndim or g.shape[:-2] != x.shape[:-2]:
        return False
    arguments = o.layer.arguments()
    if "kernel_size" not in arguments:
        return False
    kernel, stride, dilation = (
        v if isinstance(v, tuple) else (v,) * 2
        for v in (arguments["kernel_size"], arguments["stride"] or arguments["kernel_size"], arguments.get("dilation", 1))
    )
    padding = _widths(o)

    def count(side: int, axis: int) -> int:
        return int((o.x.shape[side - 2] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1)

    wanted = tuple(max(n, 0) for n in size(x.shape[-2:], count))
    return g.shape[-2:] == wanted != x.shape[-2:]


# What is said, and the sides that it speaks of: from the right ones, and from how many windows side s has along axis a
SIDES: dict[str, Callable[[Axes, Callable[[int, int], int]], Axes]] = {
    "{has} {its} width worked out from the height of x: W′ comes from W": lambda _, count: (count(0, 0), count(0, 1)),
    "{has} {its} height worked out from the width of x: H′ comes from H": lambda _, count: (count(1, 0), count(1, 1)),
    "{has} height and width swapped": lambda right, _: (right[1], right[0]),
    "{is} as wide as high: the height stands where the width is meant": lambda right, _: (right[0], right[0]),
    "{is} as high as wide: the width stands where the height is meant": lambda right, _: (right[1], right[1]),
}


def _padded(g: Array, x: Array, o: Observation) -> bool:
    """Whether cropping by the layer's padding gives the right gradient."""
    widths, rank = _widths(o), getattr(o.layer, "rank", 0)
    if not widths or g.ndim != x.ndim or g.shape == x.shape:
        return False
    inner: tuple[Any, ...] = (..., *(slice(p, p + n) for p, n in zip(widths, x.shape[-rank:], strict=True)))
    return same(g[inner], x)


def _empty(e: Evidence, name: str) -> Claims:
    empty = [o for o in e.where(name) if not np.size(o.got[name])]
    full = [o for o in e.observations if name in o.expected and o not in empty and not o.error]
    only = condition.separating(empty, full)
    words = "{is} empty"
    unpadded = all(_least_padding(o) == 0 for o in empty)
    if unpadded and all(_least_padding(o) for o in full):
        words = "{is} empty where the padding is 0: a slice such as x[:, :, p:-p] keeps nothing then"
    elif only:
        words += f" where {only}"
    rest = len(e.where(name)) - len(empty)  # what else is wrong, and not because it is empty
    yield name, "empty", words, Fit(f"in {len(empty)} of {len(empty) + len(full)} cases", 0.5 if rest else 1.0)


def _least_padding(o: Observation) -> int | None:
    padding = o.layer.arguments().get("padding")
    sizes = padding if isinstance(padding, tuple) else (padding,)
    return min(sizes) if all(isinstance(p, int) for p in sizes) else None


def _not_finite(e: Evidence, name: str) -> Claims:
    """NaN and infinity where there should be numbers, and all else right."""

    def test(g: Array, x: Array, _: Observation) -> bool:
        lost = ~np.isfinite(g.astype(float)) & np.isfinite(x)
        return bool(lost.any()) and not differs(g[~lost], x[~lost]).any()

    if fit := e.test(name, test, 0.9):
        yield (
            name,
            "not finite",
            "{is} NaN or infinite where there are numbers: a division by 0, log 0, or e to a large power",
            fit,
        )
