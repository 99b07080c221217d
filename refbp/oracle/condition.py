"""The smallest condition that tells two sets of cases apart: "stride > 1", "training=False", "H ≠ W"."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from refbp.oracle.observation import Observation, axis_names

LARGE = (30, 100, 300)  # values of which e is too large, or so large that it swallows all beside it

PAIRS = 3  # the rank from which on facts speak of two sizes


def separating(these: Sequence[Observation], those: Sequence[Observation]) -> str:
    """What is true of all of these cases and of none of those, in the fewest words; empty where nothing is singled out.

    Conditions are ranked by what they speak of: arguments, then values, then sizes, then pairs of sizes. Where two of one
    rank separate equally well and mean different things, the cases do not say which it is, and both are named; three or
    more say nothing.
    """
    if not these or not those:
        return ""
    facts = {id(o): dict(_facts(o)) for o in (*these, *those)}
    common = set.intersection(*(set(facts[id(o)]) for o in these))
    for o in those:
        common -= set(facts[id(o)])
    if not common:
        return ""
    ranks = facts[id(these[0])]
    best = min(ranks[f] for f in common)
    if best >= PAIRS and len(these) == 1:
        return ""  # in one case any two sizes are alike, or not
    found = sorted((f for f in common if ranks[f] == best), key=lambda f: (len(f), f))
    found = [f for f in found if not any(_implied(f, g) for g in found)]
    if best >= PAIRS and len(found) > 1 and all(" = " in f for f in found):
        return ""  # sizes are alike by chance in a few cases, and so are others
    return " or ".join(found) if len(found) <= 2 else ""


def _implied(fact: str, other: str) -> bool:
    """Whether a fact says no more than another one of the same name: "stride > 0" beside "stride > 1"."""
    if fact == other:
        return False
    name, _, bound = fact.partition(" > ")
    other_name, _, other_bound = other.partition(" > ")
    if bound and other_bound and name == other_name:
        return float(bound) < float(other_bound)
    return fact.startswith(f"{other_name} ≠") and bool(other_bound)  # "p ≠ 0.5" beside "p > 1" is the weaker


def _facts(o: Observation) -> Iterator[tuple[str, float]]:
    """What is true of a case, as a clause after "where", each with its rank."""
    given = o.layer.given()
    for name, value in o.layer.arguments().items():
        rank = 0 if name in given else 1  # what was chosen tells more than what was left as it is
        if isinstance(value, bool | str):
            yield f"{name}={value!r}", rank
        elif value is None:
            yield f"{name}=None", rank + 1
        else:
            yield f"{name} is given", 3
            sizes = value if isinstance(value, tuple) else (value,)
            if sizes and all(isinstance(v, int | float) for v in sizes):
                yield from _number(name, sizes, isinstance(value, float) and rank == 0)
    yield from _windows(o)
    yield from _values(o)
    axes = _axes(o)
    for a, size in axes.items():
        yield (f"{a} > 1" if size > 1 else f"{a} = {size}"), 2
    for a, b in itertools.combinations(axes, 2):
        yield f"{a} {'=' if axes[a] == axes[b] else '≠'} {b}", 3
    yield from _sides(o)


def _number(name: str, sizes: Sequence[float], chosen: bool) -> Iterator[tuple[str, int]]:
    for bound in (0, 1):
        if max(sizes) > bound:
            yield f"{name} > {bound}", 0
    if max(sizes) == min(sizes) and sizes[0] in (0, 1):
        yield f"{name} = {sizes[0]:g}", 0
    if chosen and sizes[0] not in (0, 1):
        yield f"{name} is not its default", 1
    if len(set(sizes)) > 1:
        yield f"{name} differs along the axes", 2


def _windows(o: Observation) -> Iterator[tuple[str, int]]:
    """Whether windows overlap."""
    arguments = o.layer.arguments()
    if "kernel_size" in arguments and "stride" in arguments:
        rank = getattr(o.layer, "rank", 1)
        sizes = arguments["kernel_size"], arguments["stride"] or arguments["kernel_size"]
        kernel, stride = (v if isinstance(v, tuple) else (v,) * rank for v in sizes)
        overlap = any(s < k for k, s in zip(kernel, stride, strict=True))
        yield ("windows overlap (stride < kernel_size)" if overlap else "windows do not overlap (stride ≥ kernel_size)"), 0


def _sides(o: Observation) -> Iterator[tuple[str, int]]:
    """Which side of the picture that comes out is the longer one."""
    if getattr(o.layer, "rank", 0) == 2 and "kernel_size" in o.layer.arguments():
        h, w = o.outputs[0].shape[-2:]
        if h != w:
            yield f"H′ {'<' if h < w else '>'} W′ (of the output)", 4
            yield "H′ ≠ W′ (of the output)", 5


def _values(o: Observation) -> Iterator[tuple[str, float]]:
    for name, a in zip(o.layer.inputs(), o.inputs, strict=False):
        if a is None or not np.size(a):
            yield f"{name} is {'not given' if a is None else 'empty'}", 0
            continue
        yield f"{name} is given", 1.5  # after what was chosen: noise is always given
        a = np.asarray(a)  # noqa: PLW2901  # the same array
        repeated = len(np.unique(a)) < a.size
        if a.dtype.kind in "iu":
            yield f"{name} has {'repeated' if repeated else 'no repeated'} values", 0
        elif a.dtype.kind == "f":
            if (a == 0).any():
                yield f"{name} has zeros", 1
            if repeated:
                yield f"{name} has equal values", 1
            if not math.isfinite(largest := float(np.abs(a).max())):
                yield f"{name} has NaN or infinity", 0
            yield from ((f"|{name}| > {bound}", 0.5) for bound in LARGE if math.isfinite(largest) and largest > bound)
            yield f"{name} has {a.ndim} {'axis' if a.ndim == 1 else 'axes'}", 2
    yield from ((f"the option {name} is given", 1) for name in o.options or {})
    yield from ((f"there is a {n}", 1) for n in o.state)
    absent = [n for n in ("bias", "weight") if n not in o.state and n in o.layer.arguments()]
    yield from ((f"there is no {n}", 1) for n in absent)


def _axes(o: Observation) -> dict[str, int]:
    found: dict[str, int] = {}
    for (name, pattern), a in zip(o.layer.inputs().items(), o.inputs, strict=False):
        if a is not None:
            for axis, size in zip(axis_names(pattern, np.shape(a), o.layer.sizes), np.shape(a), strict=True):
                called = f"{axis} of {name}" if axis.startswith("axis ") else axis
                found.setdefault("N" if axis == "axis 0" and np.ndim(a) > 1 else called, size)
    for name, size in o.layer.sizes.items():
        if name.endswith(("features", "size", "channels")):
            found.setdefault(name, size)
    return {n: s for n, s in found.items() if not n.isdigit()}
