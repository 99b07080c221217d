"""Losses' reductions, and errors for what a layer cannot take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from refbp.conformance import twin
from refbp.conformance.checks._base import apart, arrays, check, sibling
from refbp.conformance.outcome import Outcome, agree, broken
from refbp.conformance.trial import Trial, as_list
from refbp.contract import Step
from refbp.errors import RefbpError


@check
def reductions(trial: Trial) -> Outcome | None:
    """A loss's reductions agree: sum = Σ none, and mean is the sum over one number, in value and gradients alike."""
    if not hasattr(trial.layer, "reduction") or trial.own.updates:
        return None
    none, mean, total = (_reduced(trial, r) for r in ("none", "mean", "sum"))
    upstream = trial.rng("reduction").uniform(0.5, 1.5)
    if not np.isfinite(as_list(mean.outputs)[0]).all():
        return None
    each = as_list(none.outputs)[0]
    if bad := apart([each.sum()], as_list(total.outputs), trial.fan, float(np.abs(each).sum())):
        return broken(f"the sum is not the sum of the unreduced losses ({bad})")
    g_none = arrays(trial.pull(none, [np.full_like(each, upstream)]))
    g_sum, g_mean = (arrays(trial.pull(s, [np.full_like(as_list(s.outputs)[0], upstream)])) for s in (total, mean))
    if bad := apart(g_sum, g_none, trial.fan):
        return broken(f"the sum's gradient is not that of the unreduced losses ({bad})")
    by = float(as_list(total.outputs)[0]) / float(as_list(mean.outputs)[0]) if as_list(mean.outputs)[0] else None
    if by is not None and (bad := apart([g * by for g in g_mean], g_sum, trial.fan)):
        return broken(f"the mean divides its value by {by:.6g} and its gradient by something else ({bad})")
    return agree()


def _reduced(trial: Trial, reduction: str) -> Step:
    layer = dataclasses.replace(trial.layer, reduction=reduction)  # type: ignore[type-var]
    with np.errstate(all="ignore"):
        return layer(trial.state, *trial.inputs, **trial.case.options)


@check
def bad_input(trial: Trial) -> Outcome | None:
    """What torch refuses, refbp refuses, with a RefbpError that names the layer; nothing else is ever raised."""
    name = type(trial.layer).__name__
    for what, inputs, state in _mistakes(trial):
        own = twin.raises(lambda inputs=inputs, state=state: trial.step(inputs, state))  # type: ignore[misc]
        if own is not None and not isinstance(own, RefbpError):
            return broken(f"{what} raises {type(own).__name__}: {own}; wanted a refbp error that says what was wanted")
        if own is not None and name not in str(own):
            return broken(f"{what} raises a message that does not name {name}: {own}")
        if own is None and state is trial.state:
            odd = sibling(trial)
            odd.__dict__["drawn"] = tuple(inputs[: len(trial.drawn)])
            theirs = twin.raises(lambda odd=odd: odd.torch)  # type: ignore[misc]
            if theirs is not None:
                return broken(f"{what} is accepted; torch refuses it: {str(theirs).splitlines()[0]}")
        elif own is None:
            return broken(f"{what} is accepted")
    if trial.upstream and trial.upstream[0] is not None:
        wrong = [np.zeros((*y.shape, 2), y.dtype) for y in trial.outputs]
        error = twin.raises(lambda: trial.own.backward(*wrong))
        if not isinstance(error, RefbpError):
            return broken(f"an upstream gradient of the wrong shape gives {error!r}; wanted a refbp error")
    return agree()


def _mistakes(trial: Trial) -> Iterator[tuple[str, list[Any], Any]]:
    inputs = list(trial.inputs)
    for i, (name, a) in enumerate(zip(trial.input_names, trial.drawn, strict=False)):
        if a is None:
            continue
        changed: dict[str, Any] = {"with one axis more": a[..., None], "missing": None}
        if a.ndim:
            changed["with a longer last axis"] = np.concatenate([a, a[..., :1]], -1)
            changed["with one axis less"] = a[0] if len(a) else np.zeros(a.shape[1:], a.dtype)
        if a.dtype.kind == "f":
            changed["of complex numbers"] = a.astype(complex)
        for what, b in changed.items():
            yield f"{name} {what}", [*inputs[:i], b, *inputs[i + 1 :]], trial.state
    yield "one input too many", [*inputs, *([np.zeros(())] * (len(trial.layer.inputs()) + 1))], dict(trial.state)
    for n, a in trial.state.items():
        yield f"a state without {n}", inputs, {k: v for k, v in trial.state.items() if k != n}
        yield f"state[{n!r}] with one axis more", inputs, {**trial.state, n: a[..., None]}
    yield "a state with an unknown entry", inputs, {**trial.state, "no_such_entry": np.zeros(2)}
