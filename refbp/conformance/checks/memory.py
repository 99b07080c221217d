"""What a layer does to memory: nothing that it received is written to, shared or depended on in its layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refbp.conformance import twin
from refbp.conformance.checks._base import Array, apart, arrays, check, copies, same, sibling
from refbp.conformance.outcome import Outcome, agree, broken
from refbp.conformance.trial import Trial, as_list, named
from refbp.errors import RefbpError


@check
def writes(trial: Trial) -> Outcome | None:
    """Nothing that is received is written to: every array is locked while forward and backward run."""
    inputs, state, upstream = copies(trial)
    for a in (*inputs, *state.values(), *upstream):
        if a is not None:
            a.flags.writeable = False
    try:
        trial.pull(trial.step(inputs, state), upstream)
    except Exception as error:
        if "read-only" in str(error):
            return broken("forward or backward writes into an array that it received")
        raise
    return agree()


@check
def repeatable(trial: Trial) -> Outcome | None:
    """Forward twice and backward twice give the same bits: no state on the layer, nothing saved is overwritten."""
    inputs, state, upstream = copies(trial)
    first = trial.step(inputs, state)
    second = trial.step(inputs, state)
    if not same(as_list(first.outputs), as_list(second.outputs)):
        return broken("the second of two equal forward calls returns something else")
    grads = [trial.pull(s, upstream) for s in (first, first, second)]
    if not same(arrays(grads[0]), arrays(grads[1])):
        return broken("the second of two equal backward calls returns something else: backward overwrites what forward saved")
    return (
        agree() if same(arrays(grads[0]), arrays(grads[2])) else broken("two equal forward calls lead to different gradients")
    )


@check
def interleaved(trial: Trial) -> Outcome | None:
    """A forward on other inputs between forward and backward changes nothing."""
    other = sibling(trial, purpose="interleaved")
    reference, upstream = [g for g in trial.own_grads.values() if g is not None], trial.upstream
    step = trial.step(*copies(trial)[:2])
    if twin.raises(lambda: other.step(other.drawn + trial.noise, trial.state)) is not None:
        return None  # inputs drawn anew may be outside the layer's domain
    if not same(arrays(trial.pull(step, upstream)), reference):
        return broken("a forward on other inputs, between forward and backward, changes the gradients: the layer keeps state")
    return agree()


@check
def aliasing(trial: Trial) -> Outcome | None:
    """Outputs, updates and gradients own their memory, and share none with what was received or with each other."""
    inputs, state, upstream = copies(trial)
    step = trial.step(inputs, state)
    received = {
        **dict(zip(trial.input_names, inputs, strict=False)),
        **{f"state[{n!r}]": a for n, a in state.items()},
        **{f"upstream {i}": u for i, u in enumerate(upstream) if u is not None},
    }
    grads = named(trial.pull(step, upstream), trial.input_names)
    produced = {f"output {i}": y for i, y in enumerate(as_list(step.outputs))}
    produced |= {f"updated {n}": np.asarray(a) for n, a in step.updates.items()}
    produced |= {f"the gradient of {n}": g for n, g in grads.items() if g is not None}
    names = list(produced)
    for i, name in enumerate(names):
        a = produced[name]
        if a.size and not a.flags.writeable:
            return broken(f"{name} is a read-only view: return an array of its own (.copy())")
        others = {**received, **{n: produced[n] for n in names[:i]}}
        for other, b in others.items():
            if b is not None and np.may_share_memory(a, b) and np.shares_memory(a, b):
                return broken(f"{name} shares memory with {other}: whoever writes to one changes both (.copy())")
    return agree()


@check
def memory(trial: Trial) -> Outcome | None:
    """Fortran-ordered, strided, reversed and broadcast arrays give what contiguous ones give."""
    grads = {n: g for n, g in trial.own_grads.items() if g is not None}
    reference = [*trial.outputs, *grads.values()]
    keys = [*(("outputs", i) for i in range(len(trial.outputs))), *(("grads", n) for n in grads)]
    for layout, relaid in _LAYOUTS.items():
        inputs, state, upstream = copies(trial)
        inputs, upstream = [_maybe(relaid, a) for a in inputs], [_maybe(relaid, u) for u in upstream]
        step = trial.step(inputs, {n: relaid(a) for n, a in state.items()})
        got = [*as_list(step.outputs), *arrays(trial.pull(step, upstream))]
        if bad := apart(got, reference, trial.fan, more=lambda i: trial.own_moves.get(keys[i], 0.0)):
            return broken(f"{layout} arrays give another result than contiguous ones ({bad})")
    flat = [a if a is None or not a.ndim or not len(a) else np.broadcast_to(a[:1], a.shape) for a in trial.drawn]
    solid = [None if a is None else a.copy() for a in flat]
    if isinstance(twin.raises(lambda: trial.step([*solid, *trial.noise])), RefbpError):
        return agree()  # inputs whose rows are all alike may be outside the layer's domain
    got, reference = [], []
    for results, inputs in ((got, flat), (reference, solid)):
        step = trial.step([*inputs, *trial.noise])
        results += [*as_list(step.outputs), *arrays(trial.pull(step, trial.upstream))]
    alike = sibling(trial)
    alike.__dict__["drawn"] = tuple(solid)
    bad = apart(got, reference, trial.fan, more=lambda i: alike.own_moves.get(keys[i], 0.0))
    return broken(f"broadcast (stride 0) arrays give another result than their copies ({bad})") if bad else agree()


def _strided(a: Array) -> Array:
    wide = np.zeros((*a.shape[:-1], a.shape[-1] * 2) if a.ndim else (), a.dtype)
    view = wide[..., ::2] if a.ndim else wide
    view[...] = a
    return view


def _reversed(a: Array) -> Array:
    flip = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[flip])[flip] if a.ndim else a


_LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran-ordered": lambda a: np.array(a, order="F"),
    "strided": _strided,
    "reversed": _reversed,
}


def _maybe(function: Callable[[Array], Array], a: Array | None) -> Array | None:
    return None if a is None else function(a)
