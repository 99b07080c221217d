"""What becomes of the upstream gradient: ignored, used in part, or used as it may not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from refbp.oracle.finding import Evidence, Finding, Fit
from refbp.oracle.observation import Observation, axis_names, same

Claims = Iterator[tuple[str, str, str, Fit]]


def clue(e: Evidence) -> list[Finding]:
    """Findings from other upstream gradients: given to the reference, and, where that is possible, to somebody's code."""
    claims = [c for name in e.numeric for c in _of(e, name)]
    return e.merged([*claims, *_asked_again(e)])


def _map(o: Observation, change: Callable[[Any], Any]) -> list[Any]:
    return [None if u is None else change(np.asarray(u)) for u in o.upstream]


def _of(e: Evidence, name: str) -> Claims:
    def given(change: Callable[[Any], Any]) -> Callable[[Observation], Any]:
        def guess(o: Observation) -> Any:
            changed = _map(o, change)
            if all(u is None or np.array_equal(u, c) for u, c in zip(o.upstream, changed, strict=True)):
                return None  # the mean of a single number says nothing
            return o.right(changed).get(name)

        return guess

    changes: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
        ("ignored", "{ignores} the upstream gradient: {it} {is} what an upstream of ones gives", np.ones_like),
        ("nonlinear", "{is} what you get for the upstream gradient squared", np.square),
        ("nonlinear", "{is} what you get for the upstream gradient's absolute values", np.abs),
        ("nonlinear", "{is} what you get for the upstream gradient without its negative values", lambda u: np.maximum(u, 0)),
        ("nonlinear", "{is} what you get for the upstream gradient's signs", np.sign),
        ("mean", "{is} what you get for the mean of the upstream gradient in place of each of its values",
         lambda u: np.full_like(u, u.mean())),
    )  # fmt: skip
    for kind, words, change in changes:
        # of a single number, a mask or a sign is no more than a factor
        sure = 0.97 if kind == "ignored" or any(np.size(u) > 1 for o in e.where(name) for u in o.upstream) else 0.9
        if fit := e.fit(name, given(change), sure):
            yield name, kind, words, fit
            return
    words = "{is} what you get with the output in place of its upstream gradient"
    if fit := e.fit(name, lambda o: o.right(_outputs(o)).get(name), 0.97):
        yield name, "upstream", words, fit
        return
    yield from _in_part(e, name)


def _outputs(o: Observation) -> Sequence[Any]:
    return [None if u is None else np.asarray(y, float) for u, y in zip(o.upstream, o.outputs, strict=True)]


def _in_part(e: Evidence, name: str) -> Claims:
    """One of several upstream gradients left out, or all of one but its first or last entry along an axis."""
    first = e.where(name)[0]
    names = list(first.layer.outputs())
    for i in range(len(first.upstream)):
        if sum(u is not None for u in first.upstream) > 1:  # without the only one there is nothing: zero says it better
            label = names[i] if i < len(names) else f"output {i}"
            if fit := e.fit(name, lambda o, i=i: o.right(_only(o, i, keep=False)).get(name), 0.96):  # type: ignore[misc]
                yield name, "upstream", f"{{is}} what you get when the upstream gradient of {label} is ignored", fit
                return
            if fit := e.fit(name, lambda o, i=i: o.right(_only(o, i, keep=True)).get(name), 0.9):  # type: ignore[misc]
                yield name, "upstream", f"{{is}} what you get when only the upstream gradient of {label} is used", fit
                return
        pattern = list(first.layer.outputs().values())[i] if i < len(names) else "(*)"
        shape = np.shape(first.upstream[i])
        for axis, called in enumerate(axis_names(pattern, shape, first.layer.sizes)):
            for index, word in ((-1, "last"), (0, "first")):
                guess = lambda o, i=i, axis=axis, index=index: o.right(_slice(o, i, axis, index)).get(name)  # noqa: E731
                if shape[axis] > 1 and (fit := e.fit(name, guess, 0.93)):
                    what = f"the {word} entry along {called}"
                    words = f"{{is}} what you get when only {what} of the upstream gradient is used"
                    if name in first.state and called == "N":
                        words = f"{{is}} that of the {word} sample alone: the others' are overwritten (=), not added (+=)"
                    yield name, "upstream", words, fit
                    return


def _only(o: Observation, i: int, keep: bool) -> Sequence[Any]:
    return [u if (k == i) == keep or u is None else np.zeros_like(u) for k, u in enumerate(o.upstream)]


def _slice(o: Observation, i: int, axis: int, index: int) -> Sequence[Any]:
    given = list(o.upstream)
    part = np.zeros_like(given[i])
    at = [slice(None)] * part.ndim
    at[axis] = slice(index, index + 1 or None)
    part[tuple(at)] = given[i][tuple(at)]
    given[i] = part
    return given


def _asked_again(e: Evidence) -> Claims:
    """The function itself, called once more: with the same upstream gradient, with zeros, with minus twice as much."""
    able = [o for o in e.answered if o.again is not None][:3]
    if not able:
        return
    for name in e.numeric:
        some = [o for o in able if name in o.wrong]
        if not some:
            continue
        said = _said(some, name)
        if said:
            yield name, *said


def _said(some: Sequence[Observation], name: str) -> tuple[str, str, Fit] | None:
    try:
        with np.errstate(all="ignore"):
            once = [o.again(o.upstream).get(name) for o in some if o.again]
            zero = [o.again(_map(o, np.zeros_like)).get(name) for o in some if o.again]
            more = [o.again(_map(o, lambda u: -2 * u)).get(name) for o in some if o.again]
    except Exception:  # somebody's code may refuse an upstream gradient of zeros
        return None
    evidence = f"tried in {len(some)} case{'s' * (len(some) > 1)}"
    if not all(same(a, o.got[name]) for a, o in zip(once, some, strict=True)):
        words = "{is} another one when the same is computed again: something is kept from call to call, or used up"
        return "again", words, Fit(evidence, 0.9)
    if not all(_numbers(a) for a in (*once, *zero, *more) if a is not None):
        return None  # NaN stays NaN, whatever it is multiplied with
    if all(z is not None and np.any(np.asarray(z)) for z in zero):
        words = "{is} not zero for an upstream gradient of zeros: something is added that no upstream gradient multiplies"
        return "zero", words, Fit(evidence, 0.7)
    if any(m is not None and not same(m, -2 * np.asarray(o.got[name], float)) for m, o in zip(more, some, strict=True)):
        words = "{is} not linear in the upstream gradient, as every backward pass is: a mask or a power is taken of it"
        return "nonlinear", words, Fit(evidence, 0.7)
    return None


def _numbers(a: Any) -> bool:
    return np.asarray(a).dtype.kind not in "fc" or bool(np.isfinite(a).all())
