"""Where the wrong elements are: at one value of x, in one gate, in one row, at the border, in the last step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refbp.oracle.finding import Evidence, Finding, Fit
from refbp.oracle.observation import Array, Observation, differs

Claims = Iterator[tuple[str, str, str, Fit]]
Seen = tuple[Observation, Array]  # a case, and which elements are wrong
Place = Callable[
    [Observation, tuple[int, ...]], "Array | None"
]  # a mask of the gradient's shape; None where there is no such place
GATES = {4: "ifgo", 3: "rzn"}


def clue(e: Evidence) -> list[Finding]:
    """Findings from the places of wrong elements."""
    return e.merged(claim for name in e.numeric for claim in _of(e, name))


def _of(e: Evidence, name: str) -> Claims:
    seen: list[Seen] = []
    for o in e.where(name):
        got, expected = np.asarray(o.got[name]), np.asarray(o.expected[name])
        if o.got[name] is None or got.shape != expected.shape or not got.ndim or got.dtype.kind not in "fiub":
            return
        if (~np.isfinite(got.astype(float)) & np.isfinite(expected)).any():
            return  # NaN spreads: where it is tells little of where it is from
        seen.append((o, differs(got, expected)))
    if all(m.all() for _, m in seen):
        return
    for label, place in _places(seen, name):
        marked = [(_marked(place, o, m.shape), m) for o, m in seen]
        if all(p is not None and not (m & ~p).any() and not p.all() for p, m in marked):
            inside = sum(int(p.sum()) for p, _ in marked if p is not None)
            wrong = sum(int(m.sum()) for _, m in marked)
            if wrong > inside * (0.9 if "that one is right" in label else 0.5):
                evidence = f"{wrong} of {inside} elements there, and none elsewhere"
                yield name, "place", f"{{is}} wrong only {label}", Fit(evidence, 0.78 if wrong > 0.9 * inside else 0.68)
                return


def _marked(place: Place, o: Observation, shape: tuple[int, ...]) -> Array | None:
    """The elements in a place; None in a case that has no such place, as one of another rank."""
    try:
        mask = place(o, shape)
    except (IndexError, ValueError, TypeError):
        return None
    return mask if mask is not None and mask.shape == shape else None


def _places(seen: list[Seen], name: str) -> Iterator[tuple[str, Place]]:
    """The places to look at, the most telling first."""
    yield from _values(seen)
    first, mask = seen[0]
    if name in first.state:
        words = GATES.get(getattr(first.layer, "gates", 0), "")
        yield from ((f"in the rows of gate {g}", _block(k, len(words))) for k, g in enumerate(words))
        yield "in rows that are looked up more than once in one bag", _repeated_in_bag
        yield "in rows that are looked up more than once", _repeated
    yield "where x is equal to another element of its plane: at ties", _tied
    for axis, called in enumerate(first.axes(name)):
        if mask.shape[axis] > 1:
            where = f"along {called}" if called.startswith("axis") or len(called) > 1 else f"along {called} (axis {axis})"
            yield f"in the last entry {where}", _entry(axis, -1)
            yield f"in the first entry {where}", _entry(axis, 0)
            if mask.shape[axis] > 2:
                yield f"before the last entry {where}: that one is right", _but(_entry(axis, -1))
                yield f"after the first entry {where}: that one is right", _but(_entry(axis, 0))
    yield "at the border", _border
    yield "inside, and right at the border", _but(_border)
    yield "on the diagonal", _diagonal
    yield "off the diagonal", _but(_diagonal)


def _values(seen: list[Seen]) -> Iterator[tuple[str, Place]]:
    """Wrong only at a few values of x, which are right nowhere: a kink."""
    wrong: set[float] = set()
    right: set[float] = set()
    for o, m in seen:
        if o.x.shape != m.shape or o.x.dtype.kind != "f":
            return
        wrong |= set(o.x[m].tolist())
        right |= set(o.x[~m].tolist())
    if 0 < len(wrong) <= 3 and not wrong & right:
        values = " or ".join(f"{v:g}" for v in sorted({v + 0.0 for v in wrong}))
        yield f"where x is {values}: at a kink the other side's slope is taken", _among(wrong)
    for word, test in (("x > 0", np.greater), ("x < 0", np.less), ("x ≤ 0", np.less_equal), ("x ≥ 0", np.greater_equal)):
        yield f"where {word}", _compared(test)


def _among(values: set[float]) -> Place:
    return lambda o, _: np.isin(o.x, list(values))


def _compared(test: Any) -> Place:
    return lambda o, _: np.asarray(test(o.x, 0))


def _block(k: int, of: int) -> Place:
    def place(_: Observation, shape: tuple[int, ...]) -> Array | None:
        if shape[0] % of:
            return None
        mask = np.zeros(shape, bool)
        mask[k * shape[0] // of : (k + 1) * shape[0] // of] = True
        return mask

    return place


def _index(o: Observation) -> Array | None:
    index = np.asarray(o.inputs[0])
    return index if index.dtype.kind in "iu" else None


def _repeated(o: Observation, shape: tuple[int, ...]) -> Array | None:
    index = _index(o)
    return None if index is None else _rows(np.bincount(index.ravel(), minlength=shape[0]) > 1, shape)


def _repeated_in_bag(o: Observation, shape: tuple[int, ...]) -> Array | None:
    index = _index(o)
    if index is None or index.ndim != 2:
        return None
    return _rows(np.max([np.bincount(bag, minlength=shape[0]) for bag in index], axis=0) > 1, shape)


def _rows(which: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(which.reshape(-1, *[1] * (len(shape) - 1)), shape)


def _tied(o: Observation, shape: tuple[int, ...]) -> Array | None:
    if o.x.shape != shape or o.x.dtype.kind != "f" or len(shape) < 2:
        return None
    planes = o.x.reshape(-1, *o.x.shape[-2:]) if len(shape) > 2 else o.x[:, None]
    marked = np.zeros(planes.shape, bool)
    for plane, mark in zip(planes, marked, strict=True):
        values, counts = np.unique(plane, return_counts=True)
        mark[...] = np.isin(plane, values[counts > 1])
    return marked.reshape(shape)


def _entry(axis: int, index: int) -> Place:
    def place(_: Observation, shape: tuple[int, ...]) -> Array | None:
        if shape[axis] < 2:
            return None
        mask = np.zeros(shape, bool)
        np.moveaxis(mask, axis, 0)[index] = True
        return mask

    return place


def _but(place: Place) -> Place:
    """Everywhere else."""

    def elsewhere(o: Observation, shape: tuple[int, ...]) -> Array | None:
        mask = place(o, shape)
        return None if mask is None else ~mask

    return elsewhere


def _border(_: Observation, shape: tuple[int, ...]) -> Array | None:
    if len(shape) < 3 or min(shape[2:]) < 3:
        return None
    mask = np.ones(shape, bool)
    mask[:, :, *[slice(1, -1)] * (len(shape) - 2)] = False
    return mask


def _diagonal(_: Observation, shape: tuple[int, ...]) -> Array | None:
    return np.eye(shape[0]) > 0 if len(shape) == 2 and shape[0] == shape[1] else None
