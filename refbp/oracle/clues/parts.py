"""A gradient taken apart: what each output sends back alone, and what becomes of it when that is not added up.

A backward pass is linear, so the right gradient is the sum of what the reference gives for each part of the upstream
gradient. Code that writes ``=`` for ``+=`` keeps the last part in every element; code that looks at the diagonal of the
Jacobian only keeps each output's own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from refbp.oracle.finding import Evidence, Finding, Fit
from refbp.oracle.observation import Array, Observation, axis_names

Claims = Iterator[tuple[str, str, str, Fit]]
MANY = 160  # parts of one upstream gradient; a case with more is not tried


def clue(e: Evidence) -> list[Finding]:
    """Findings from parts."""
    return e.merged(claim for name in e.numeric for claim in _of(e, name))


def _of(e: Evidence, name: str) -> Claims:
    first = e.where(name)[0]
    if first.got[name] is None or np.shape(first.got[name]) != np.shape(first.expected[name]):
        return
    if fit := e.fit(name, lambda o: _diagonal(o, name), 0.96):
        words = "{is} what you get when only the diagonal of the Jacobian is used: each output depends on other inputs too"
        yield name, "diagonal", words, fit
        return
    for axes, called in _splits(first):
        whole = lambda o, axes=axes: _last(o, name, axes)  # noqa: E731
        if name in first.state and not e.late and (fit := e.fit(name, whole, 0.97)):
            one = called.removesuffix(" (they overlap)")
            words = f"{{is}} overwritten (=) where {{it}} should be added up (+=): only the share of the last {one} is left"
            yield name, "= for +=", words, fit
            return
        for order, kept in ((1, "last"), (-1, "first")):
            guess = lambda o, axes=axes, order=order: _overwritten(o, name, axes, order)  # noqa: E731
            if not e.late and (fit := e.fit(name, guess, 0.97)):
                words = (
                    f"{{is}} overwritten (=) where {{it}} should be added up (+=): where more than one {called} has a share,"
                )
                yield name, "= for +=", f"{words} only the {kept} one's is kept", fit
                return


def _splits(o: Observation) -> Iterator[tuple[tuple[int, ...], str]]:
    """Axes of the first upstream gradient along which its parts may be taken, and what such a part is called."""
    if not np.ndim(o.upstream[0]):
        return
    pattern = next(iter(o.layer.outputs().values()), "(*)")
    names = axis_names(pattern, o.dy.shape, o.layer.sizes)
    space = tuple(i for i, n in enumerate(names) if n.endswith("_out") or n in ("L", "H", "W", "D"))
    batch = tuple(i for i, n in enumerate(names) if n == "N")
    if space:
        yield space, "window (they overlap)" if any(n.endswith("_out") for n in names) else "position"
    if batch:
        yield batch, "sample"
    if space and batch:
        yield batch + space, "window of a sample"
    if space:
        every = tuple(range(o.dy.ndim))
        yield tuple(i for i in every if i not in batch), "window and channel"
        yield every, "window, channel and sample"
    for i, n in enumerate(names):
        if (i,) not in (space, batch):
            yield (i,), f"entry along {n}"


def _pieces(o: Observation, name: str, axes: tuple[int, ...]) -> list[Array] | None:
    """What each part of the first upstream gradient sends back; None where there are too many to try, or only one."""
    if o.upstream[0] is None or max(axes) >= o.dy.ndim:
        return None
    shape = [o.dy.shape[a] for a in axes]
    if not 1 < math.prod(shape) <= MANY:
        return None
    key = (name, axes)
    held: dict[Any, list[Array]] = o.__dict__.setdefault("_pieces", {})
    if key not in held:
        pieces = []
        for index in itertools.product(*map(range, shape)):
            at: list[Any] = [slice(None)] * o.dy.ndim
            for a, i in zip(axes, index, strict=True):
                at[a] = i
            part = np.zeros_like(o.dy)
            part[tuple(at)] = o.dy[tuple(at)]
            others = [None if u is None else np.zeros_like(u) for u in o.upstream[1:]]
            pieces.append(np.asarray(o.right([part, *others])[name]))
        held[key] = pieces
    return held[key]


def _overwritten(o: Observation, name: str, axes: tuple[int, ...], order: int) -> Array | None:
    if sum(u is not None and np.any(u) for u in o.upstream) > 1:
        return None
    pieces = _pieces(o, name, axes)
    if pieces is None:
        return None if math.prod(o.dy.shape[a] for a in axes if a < o.dy.ndim) > MANY else np.asarray(o.expected[name])
    kept = np.zeros_like(pieces[0])
    for piece in pieces[::order]:
        kept = np.where(piece != 0, piece, kept)
    return kept


def _last(o: Observation, name: str, axes: tuple[int, ...]) -> Array | None:
    """The last part as it is, zeros and all: every part is written to the whole of a weight's gradient."""
    pieces = _pieces(o, name, axes)
    if sum(u is not None and np.any(u) for u in o.upstream) > 1 or pieces is None:
        return None
    return pieces[-1]


def _diagonal(o: Observation, name: str) -> Array | None:
    """What comes of the Jacobian's diagonal alone, for an input of the output's shape."""
    expected = np.asarray(o.expected[name])
    if len(o.upstream) != 1 or o.upstream[0] is None or expected.shape != o.dy.shape:
        raise ValueError("no square Jacobian")
    pieces = _pieces(o, name, tuple(range(o.dy.ndim)))
    if pieces is None:
        return None
    return np.array([p.ravel()[i] for i, p in enumerate(pieces)]).reshape(expected.shape)
