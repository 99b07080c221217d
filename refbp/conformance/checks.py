"""The checks, each a small function of one trial. ``None`` means that a check does not concern the case.

A check is called by its name with ``--check`` or ``-k``; its docstring's first line is what ``refbp show`` prints.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance import budget, compare, twin
from refbp.conformance.outcome import Outcome, Verdict, agree, broken, untested
from refbp.conformance.trial import Trial, as_list, named
from refbp.conformance.witness import Witness
from refbp.contract import Grads, Step
from refbp.errors import RefbpError
from refbp.shapes import parse

Array = NDArray[Any]
Check = Callable[[Trial], "Outcome | None"]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check under its function's name, with hyphens."""
    CHECKS[function.__name__.rstrip("_").replace("_", "-")] = function
    return function


# Against torch --------------------------------------------------------------------------------------------------------


@check
def outputs(trial: Trial) -> Outcome | None:
    """Every output equals the twin's: number, shape, kind of dtype, values within the budget."""
    return compare.outputs(trial, trial.outputs, trial.torch.outputs, list(trial.layer.outputs()))


@check
def gradients(trial: Trial) -> Outcome | None:
    """Every gradient of an input or parameter equals autograd's, for a random signed upstream gradient."""
    return compare.gradients(trial, trial.own_grads, trial.torch.grads, strict=True)


@check
def gradients_alone(trial: Trial) -> Outcome | None:
    """Each gradient also equals what autograd gives when nothing else requires one."""
    names = [n for n, g in trial.torch.grads.items() if g is not None]
    if len(names) < 2:
        return None
    worst = agree(16.0)
    for name in names:
        alone = twin.TorchRun(trial, [name]).grads
        outcome = compare.gradients(trial, {name: trial.own_grads.get(name)}, alone)
        if outcome.verdict is not Verdict.AGREE:
            return outcome
        worst = min(worst, outcome, key=lambda o: o.digits or 0.0)
    return worst


@check
def outputs_alone(trial: Trial) -> Outcome | None:
    """With only one of several outputs used, gradients equal autograd's; the others' upstream gradient is None."""
    used = [i for i, u in enumerate(trial.upstream) if u is not None]
    if len(used) < 2:
        return None
    for i in used:
        lone = _sibling(trial)
        lone.upstream_for = lambda outputs, i=i: [u if j == i else None for j, u in enumerate(trial.upstream)]  # type: ignore[method-assign,misc]
        upstream = [u if j == i else None for j, u in enumerate(trial.upstream)]
        own = named(trial.pull(trial.own, upstream), trial.input_names)
        theirs = {n: np.zeros_like(own[n]) if g is None and own.get(n) is not None else g for n, g in lone.torch.grads.items()}
        outcome = compare.gradients(trial, own, theirs)
        if outcome.wrong:
            return dataclasses.replace(outcome, message=f"using output {i} alone: {outcome.message}")
    return agree()


@check
def buffers(trial: Trial) -> Outcome | None:
    """After one pass the state with its updates is what the twin's state_dict has become."""
    after = {**trial.state, **trial.own.updates}
    if extra := [n for n in after if n not in trial.torch.state]:
        return broken(f"forward updates {extra[0]}, which is not in the state")
    for name, theirs in trial.torch.state.items():
        own = np.asarray(after[name])
        if own.shape != theirs.shape or own.dtype != theirs.dtype:
            return Outcome(Verdict.FORWARD, f"buffer {name} is {own.dtype} {own.shape}; wanted {theirs.dtype} {theirs.shape}")
        allowed = compare.allowance(trial, theirs, "state", name) if own.dtype.kind == "f" else 0.0
        if budget.error(own, theirs) > allowed:
            found = budget.difference(f"buffer {name}", own, theirs, allowed)
            return Outcome(Verdict.FORWARD, found.sentence(), found.digits, found)
    return agree() if trial.own.updates else None


@check
def state(trial: Trial) -> Outcome | None:
    """``init`` makes a state with the state_dict's names, order, shapes and dtypes; ``buffers()`` are torch's buffers."""
    theirs = trial.twin.state_dict()
    learned = [n for n, _ in trial.twin.named_parameters()]
    for dtype in (np.float64, np.float32):
        own = trial.layer.init(np.random.default_rng(0), dtype)
        if list(own) != list(theirs):
            return broken(f"init makes {list(own)}; the twin's state_dict has {list(theirs)}")
        if list(trial.layer.params()) != learned:
            return broken(f"params() names {list(trial.layer.params())}; the twin's parameters are {learned}")
        if set(own.buffers) != set(theirs) - set(learned):
            return broken(f"init says that {sorted(own.buffers)} are buffers; the twin's are {sorted(set(theirs) - set(learned))}")
        for name, t in theirs.items():
            wanted = np.dtype(dtype) if t.is_floating_point() else t.numpy().dtype
            if own[name].shape != tuple(t.shape) or own[name].dtype != wanted:
                return broken(f"init makes {name} {own[name].dtype} {own[name].shape}; wanted {wanted} {tuple(t.shape)}")
    return agree()


@check
def init(trial: Trial) -> Outcome | None:
    """``init`` draws every parameter and buffer from the distribution that torch draws it from (on the first case)."""
    if trial.index != 0 or not trial.state:
        return None
    import torch

    torch.manual_seed(trial.noise_seed)
    rng = trial.rng("init")
    size = min(max(1, math.prod(a.shape)) for a in trial.state.values())
    builds = max(2, min(200, 1000 // size))
    modules = [twin.build(trial.spec, trial.layer) for _ in range(builds)]
    states = [trial.layer.init(rng) for _ in range(builds)]
    for name in trial.state:
        theirs = np.concatenate([np.ravel(m.state_dict()[name].numpy()) for m in modules]).astype(float)
        ours = np.concatenate([np.ravel(s[name]) for s in states]).astype(float)
        if (distance := _kolmogorov_smirnov(ours, theirs)) > 2.2 * math.sqrt(2 / len(ours)):
            return broken(
                f"init draws {name} from another distribution than torch: standard deviations {ours.std():.3g} and"
                f" {theirs.std():.3g}, ranges {ours.min():.3g} to {ours.max():.3g} and {theirs.min():.3g} to"
                f" {theirs.max():.3g} over {len(ours)} values (Kolmogorov–Smirnov distance {distance:.2f})"
            )
    return agree()


def _kolmogorov_smirnov(a: Array, b: Array) -> float:
    """The largest distance of two empirical distribution functions; values equal to 1e-6 count as one (float32 draws)."""
    a, b = np.sort(np.round(a, 6)), np.sort(np.round(b, 6))
    at = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max(initial=0))


@check
def modes(trial: Trial) -> Outcome | None:
    """In the other mode, training or evaluation, outputs and gradients equal the twin's too."""
    if not hasattr(trial.layer, "training"):
        return None
    other = _sibling(trial)
    other.layer = dataclasses.replace(trial.layer, training=not trial.layer.training)  # type: ignore[type-var]
    own, theirs = twin.raises(lambda: other.own), twin.raises(lambda: other.torch)
    if theirs is not None:
        return agree() if isinstance(own, RefbpError) else broken(f"with training={other.layer.training} torch raises: {theirs}")
    if own is not None:
        return broken(f"with training={other.layer.training}: {own}")
    return _first_wrong(
        f"with training={other.layer.training}",
        compare.outputs(other, other.outputs, other.torch.outputs),
        lambda: compare.gradients(other, other.own_grads, other.torch.grads),
    )


def _first_wrong(where: str, first: Outcome, second: Callable[[], Outcome]) -> Outcome:
    for outcome in (first, second() if not first.wrong else first):
        if outcome.wrong:
            return dataclasses.replace(outcome, message=f"{where}: {outcome.message}")
    return agree()


# Against the numerical witness ----------------------------------------------------------------------------------------


@check
def witness(trial: Trial) -> Outcome | None:
    """Every gradient is the numerical derivative of the layer's own forward; kinks are found and must be declared."""
    if all(u is None for u in trial.upstream):
        return None
    grads = {n: g for n, g in trial.own_grads.items() if g is not None and g.size}
    if not grads or not all(np.isfinite(g).all() for g in grads.values()):
        return None
    numeric = Witness.of(trial)
    scale = max(budget.norm(g) for g in grads.values())
    if trial.case.exact:
        return _at_kinks(trial, numeric, grads)
    rng = trial.rng("witness")
    direction = {n: rng.uniform(0.5, 1.5, g.shape) * rng.choice([-1.0, 1.0], g.shape) for n, g in grads.items()}
    expected = float(sum(np.vdot(g, direction[n]) for n, g in grads.items()))
    slope = numeric.slope(direction)
    size = math.sqrt(sum(g.size for g in grads.values())) * scale
    off = abs(expected - slope.value)
    if off > compare.WITNESS * size + 10 * min(slope.uncertainty, 1e-8 * size):
        for name, g in grads.items():  # which gradient: each alone
            alone = numeric.slope({name: direction[name]})
            mine = float(np.vdot(g, direction[name]))
            if abs(mine - alone.value) > compare.WITNESS * size + 10 * min(alone.uncertainty, 1e-8 * size):
                return Outcome(
                    Verdict.BACKWARD,
                    f"gradient of {name} is not the derivative of forward: along a random direction backward says"
                    f" {mine:.8g}, the numerical witness {alone.value:.8g} ± {alone.uncertainty:.1g}",
                    budget.digits(abs(mine - alone.value), size),
                )
        return Outcome(Verdict.BACKWARD, f"backward says {expected:.8g} along a random direction, forward {slope.value:.8g}")
    return _elements(numeric, grads, scale, _few(grads, rng)) or agree(budget.digits(off, size))


def _few(grads: dict[str, Array], rng: np.random.Generator, most: int = 24) -> list[tuple[str, tuple[int, ...]]]:
    """Every element of a small case; of a large one a few of each gradient."""
    places = [(n, i) for n, g in grads.items() for i in np.ndindex(g.shape)] if sum(g.size for g in grads.values()) <= most else []
    return places or [
        (n, tuple(int(k) for k in np.unravel_index(int(flat), g.shape)))
        for n, g in grads.items()
        for flat in rng.integers(0, g.size, 2)
    ]


def _elements(
    numeric: Witness, grads: dict[str, Array], scale: float, places: Sequence[tuple[str, tuple[int, ...]]]
) -> Outcome | None:
    for name, index in places:
        slope = numeric.at(name, index)
        mine = float(grads[name][index])
        tolerance = compare.WITNESS * scale + 10 * min(slope.uncertainty, 1e-8 * scale)
        if abs(mine - slope.value) > tolerance:
            return Outcome(
                Verdict.BACKWARD,
                f"gradient of {name}, element {list(index)}: backward says {mine:.8g}, the numerical witness"
                f" {slope.value:.8g} ± {slope.uncertainty:.1g}",
            )
    return None


def _at_kinks(trial: Trial, numeric: Witness, grads: dict[str, Array]) -> Outcome:
    """Element by element: the derivative where there is one; at a kink a value between the one-sided slopes."""
    scale = max(budget.norm(g) for g in grads.values())
    kinks: list[str] = []
    places = [(n, i) for n, g in grads.items() for i in np.ndindex(g.shape)]
    for name, index in places[:200]:
        mine = float(grads[name][index])
        slope = numeric.at(name, index)
        if abs(mine - slope.value) <= compare.WITNESS * max(scale, 1) + 10 * min(slope.uncertainty, 1e-8 * scale):
            continue
        sides = [s for s in numeric.sides_at(name, index) if math.isfinite(s)]
        low, high = min(sides, default=0.0), max(sides, default=0.0)
        slack = compare.KINK * max(abs(mine), scale, 1)
        if not low - slack <= mine <= high + slack:
            return Outcome(
                Verdict.BACKWARD,
                f"gradient of {name}, element {list(index)}: {mine:.8g} lies outside the one-sided slopes {low:.6g} and {high:.6g}",
            )
        if high - low > slack or len(sides) == 1:
            kinks.append(f"{name}{list(index)}: {mine:.6g}, slopes {low:.6g} and {high:.6g}")
    if not kinks:
        return agree()
    if not trial.spec.conventions:
        return broken(f"a kink at {kinks[0]}: say which value is chosen, Spec(conventions=[Convention('x = 0', '…')])")
    return Outcome(Verdict.CONVENTION, "; ".join(kinks[:3]), notes=tuple(f"{c.point}: {c.choice}" for c in trial.spec.conventions))


# Purity and memory ----------------------------------------------------------------------------------------------------


@check
def writes(trial: Trial) -> Outcome | None:
    """Nothing that is received is written to: every array is locked while forward and backward run."""
    inputs, state, upstream = _copies(trial)
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
    inputs, state, upstream = _copies(trial)
    first = trial.step(inputs, state)
    second = trial.step(inputs, state)
    if not _same(as_list(first.outputs), as_list(second.outputs)):
        return broken("the second of two equal forward calls returns something else")
    grads = [trial.pull(s, upstream) for s in (first, first, second)]
    if not _same(_arrays(grads[0]), _arrays(grads[1])):
        return broken("the second of two equal backward calls returns something else: backward overwrites what forward saved")
    return agree() if _same(_arrays(grads[0]), _arrays(grads[2])) else broken("two equal forward calls lead to different gradients")


@check
def interleaved(trial: Trial) -> Outcome | None:
    """A forward on other inputs between forward and backward changes nothing."""
    other = _sibling(trial, purpose="interleaved")
    step = trial.step(*_copies(trial)[:2])
    if twin.raises(lambda: other.step(other.drawn + trial.noise, trial.state)) is not None:
        return None  # inputs drawn anew may be outside the layer's domain
    if not _same(_arrays(trial.pull(step, trial.upstream)), [g for g in trial.own_grads.values() if g is not None]):
        return broken("a forward on other inputs, between forward and backward, changes the gradients: the layer keeps state")
    return agree()


@check
def aliasing(trial: Trial) -> Outcome | None:
    """Outputs, updates and gradients own their memory, and share none with what was received or with each other."""
    inputs, state, upstream = _copies(trial)
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
    reference = [*trial.outputs, *(g for g in trial.own_grads.values() if g is not None)]
    for layout, relaid in _LAYOUTS.items():
        inputs, state, upstream = _copies(trial)
        inputs, upstream = [_maybe(relaid, a) for a in inputs], [_maybe(relaid, u) for u in upstream]
        step = trial.step(inputs, {n: relaid(a) for n, a in state.items()})
        got = [*as_list(step.outputs), *_arrays(trial.pull(step, upstream))]
        if bad := _apart(got, reference, trial.fan):
            return broken(f"{layout} arrays give another result than contiguous ones ({bad})")
    flat = [a if a is None or not a.ndim or not len(a) else np.broadcast_to(a[:1], a.shape) for a in trial.drawn]
    solid = [None if a is None else a.copy() for a in flat]
    results = []
    for inputs in (flat, solid):
        step = trial.step([*inputs, *trial.noise])
        results.append([*as_list(step.outputs), *_arrays(trial.pull(step, trial.upstream))])
    bad = _apart(*results, trial.fan)
    return broken(f"broadcast (stride 0) arrays give another result than their copies ({bad})") if bad else agree()


def _strided(a: Array) -> Array:
    wide = np.zeros((*a.shape[:-1], a.shape[-1] * 2) if a.ndim else (), a.dtype)
    view = wide[..., ::2] if a.ndim else wide
    view[...] = a
    return view


def _reversed(a: Array) -> Array:
    flip = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[flip])[flip] if a.ndim else a


_LAYOUTS: dict[str, Callable[[Array], Array]] = {"Fortran-ordered": lambda a: np.array(a, order="F"), "strided": _strided, "reversed": _reversed}


def _maybe(function: Callable[[Array], Array], a: Array | None) -> Array | None:
    return None if a is None else function(a)


# Algebra of the backward pass -----------------------------------------------------------------------------------------


@check
def linearity(trial: Trial) -> Outcome | None:
    """Backward is linear in the upstream gradient: b(2u + 3v) = 2 b(u) + 3 b(v)."""
    u, v = trial.upstream, trial.upstream_for(trial.outputs, "second upstream")
    mixed = [None if a is None or b is None else np.asarray(2 * a + 3 * b) for a, b in zip(u, v, strict=True)]
    bu, bv, bm = (_arrays(trial.pull(trial.own, w)) for w in (u, v, mixed))
    for i, (a, b, m) in enumerate(zip(bu, bv, bm, strict=True)):
        with np.errstate(all="ignore"):
            want = 2 * a + 3 * b
        scale = 2 * budget.norm(a) + 3 * budget.norm(b)
        if budget.error(m, want) > budget.tolerance(m.dtype, trial.fan, scale):
            name = [n for n, g in trial.own_grads.items() if g is not None][i]
            found = budget.difference(f"gradient of {name}", m, want, budget.tolerance(m.dtype, trial.fan, scale))
            return Outcome(Verdict.BACKWARD, f"backward is not linear in the upstream gradient: {found.sentence()}", found.digits, found)
    return agree()


@check
def zero_upstream(trial: Trial) -> Outcome | None:
    """A zero upstream gradient gives exactly zero."""
    zeros = [None if u is None else np.zeros_like(u) for u in trial.upstream]
    for name, g in named(trial.pull(trial.own, zeros), trial.input_names).items():
        if g is not None and g.any() and np.isfinite(trial.own_grads[name]).all():  # type: ignore[arg-type]
            return Outcome(Verdict.BACKWARD, f"gradient of {name} is not zero for a zero upstream gradient: it ignores it")
    return agree()


@check
def batch_additivity(trial: Trial) -> Outcome | None:
    """A batch is its samples: outputs and input gradients stack, parameter gradients add up (L = Σ Cⁿ)."""
    axes = _batch_axes(trial)
    if axes is None:
        return None if trial.layer.inputs() and _declared(trial) else untested("inputs() names no batch axis N, so batches cannot be split")
    out_axes = _output_axes(trial)
    size = next(a.shape[x] for a, x in zip(trial.inputs, axes, strict=True) if x is not None)
    summed = getattr(trial.layer, "reduction", None) == "sum"
    if size < 2 or getattr(trial.layer, "reduction", None) == "mean" or (not summed and None in out_axes):
        return None
    parts: list[tuple[list[Array], dict[str, Array | None]]] = []
    for n in range(size):
        cut = [a if x is None or a is None else np.take(a, [n], x) for a, x in zip(trial.inputs, axes, strict=True)]
        upstream = [u if x is None or u is None else np.take(u, [n], x) for u, x in zip(trial.upstream, out_axes, strict=True)]
        try:
            step = trial.step(cut)
        except RefbpError as error:
            return broken(f"sample {n} alone: {error}")
        parts.append((as_list(step.outputs), named(trial.pull(step, upstream), trial.input_names)))
    for i, y in enumerate(trial.outputs):
        ys, axis = [p[0][i] for p in parts], out_axes[i]
        whole = np.sum(ys, 0) if axis is None else np.concatenate(ys, axis)
        if bad := _apart([whole], [y], trial.fan):
            return broken(f"output {i} of a batch is not what its samples give one by one ({bad}): samples are coupled")
    where = dict(zip(trial.input_names, axes, strict=False))
    for name, g in trial.own_grads.items():
        if g is not None:
            gs, axis = [p[1][name] for p in parts], where.get(name)
            whole = np.sum(gs, 0) if axis is None else np.concatenate(gs, axis)  # type: ignore[arg-type]
            if bad := _apart([whole], [g], trial.fan, max(budget.norm(s) for s in gs if s is not None)):
                return broken(f"the gradient of {name} of a batch is not the sum over its samples ({bad})")
    return agree()


@check
def batch_of_one(trial: Trial) -> Outcome | None:
    """A batch of one sample agrees with torch."""
    return _batch_of(trial, 1)


@check
def batch_of_zero(trial: Trial) -> Outcome | None:
    """An empty batch agrees with torch: empty outputs, zero parameter gradients, the loss that torch gives."""
    return _batch_of(trial, 0)


def _batch_of(trial: Trial, size: int) -> Outcome | None:
    axes = _batch_axes(trial)
    if axes is None:
        return None
    small = _sibling(trial)
    small.__dict__["drawn"] = tuple(
        a if x is None or a is None else np.take(a, range(size), x) for a, x in zip(trial.drawn, axes, strict=False)
    )
    theirs, own = twin.raises(lambda: small.torch), twin.raises(lambda: small.own)
    if theirs is not None:
        return None if own is None or isinstance(own, RefbpError) else broken(f"a batch of {size} raises {type(own).__name__}: {own}")
    if own is not None:
        return broken(f"a batch of {size}: {own}; torch takes it")
    return _first_wrong(
        f"a batch of {size}",
        compare.outputs(small, small.outputs, small.torch.outputs),
        lambda: compare.gradients(small, small.own_grads, small.torch.grads),
    )


# Precision and range --------------------------------------------------------------------------------------------------


@check
def dtype(trial: Trial) -> Outcome | None:
    """float32 in, float32 out: outputs, gradients and updates; no float64 leaks in from a constant."""
    single = trial.float32
    got = {f"output {i}": y for i, y in enumerate(as_list(single.own.outputs))}
    got |= {f"updated {n}": np.asarray(a) for n, a in single.own.updates.items()}
    upstream = [None if u is None else u.astype(y.dtype) for u, y in zip(single.upstream, single.outputs, strict=True)]
    grads = single.layer.backward(single.own._run.saved, *(np.zeros_like(y) if u is None else u for u, y in zip(upstream, single.outputs, strict=True)))
    got |= {f"the gradient of {n}": np.asarray(g) for n, g in named(grads, trial.input_names).items() if g is not None}
    for name, a in got.items():
        if a.dtype.kind == "f" and a.dtype != np.float32:
            return broken(f"{name} is {a.dtype} for float32 inputs; wanted float32 (np.sqrt(2) or np.zeros(n) is float64: use math.sqrt, zeros_like)")
    return agree()


@check
def float32(trial: Trial) -> Outcome | None:
    """In float32, errors against the float64 result of the same rounded inputs are at most those of torch's kind."""
    single, wide = trial.float32, trial.rounded
    pairs = [(f"output {i}", y, r, t) for i, (y, r, t) in enumerate(zip(single.outputs, wide.outputs, single.torch.outputs, strict=True))]
    pairs += [(f"gradient of {n}", g, wide.own_grads[n], single.torch.grads.get(n)) for n, g in single.own_grads.items()]  # type: ignore[misc]
    worst = 7.5
    for what, got, reference, theirs in pairs:
        if got is None or reference is None or got.dtype.kind != "f":
            continue
        if theirs is None or theirs.shape != reference.shape or got.shape != reference.shape:
            continue  # another check says so
        floor = budget.tolerance(np.float32, trial.fan, budget.norm(reference))
        torchs = budget.error(theirs, reference)
        allowed = max(floor, budget.K * torchs if math.isfinite(torchs) else 0.0)
        off = budget.error(got, reference)
        if off > allowed or (trial.case.exact and off > floor):
            if trial.case.exact and budget.error(got, theirs) <= floor:
                continue  # rounding moved a value off, or onto, its kink: there torch's float32 is the reference
            found = budget.difference(what, got, reference, allowed, np.float32)
            verdict = Verdict.FORWARD if what.startswith("output") else Verdict.BACKWARD
            return Outcome(verdict, f"in float32: {found.sentence()}; torch's own error {torchs:.2g}", found.digits, found)
        worst = min(worst, budget.digits(off, budget.norm(reference), np.float32))
    return agree(worst)


@check
def extremes(trial: Trial) -> Outcome | None:
    """Inputs of extreme size give finite results wherever torch's are finite."""
    tried = 0
    for scale in (1e-30, 1e3, 1e10, 1e18):
        far = trial.float32._sibling(np.float32)
        far.__dict__["drawn"] = tuple(
            (a * np.float32(scale)).astype(np.float32) if a is not None and a.dtype.kind == "f" else a for a in trial.drawn
        )
        if twin.raises(lambda far=far: far.torch) is not None or isinstance(twin.raises(lambda far=far: far.own), RefbpError):  # type: ignore[misc]
            continue
        tried += 1
        for what, own, theirs in _both(far):
            if own.shape == theirs.shape and (lost := np.isfinite(theirs) & ~np.isfinite(own)).any():
                index = tuple(int(i) for i in np.argwhere(lost)[0])
                return Outcome(
                    Verdict.FORWARD if what.startswith("output") else Verdict.BACKWARD,
                    f"inputs of size {scale:g} in float32: {what}{list(index)} is {own[index]}; torch's is {theirs[index]:.6g}",
                )
    return agree() if tried else None


@check
def nonfinite(trial: Trial) -> Outcome | None:
    """NaN and infinity in an input come out in the same places as from torch."""
    tried = 0
    for name, place in [(n, i) for i, n in enumerate(trial.input_names) if i < len(trial.drawn)]:
        a = trial.drawn[place]
        if a is None or a.dtype.kind != "f" or a.size == 0:
            continue
        for value in (math.nan, math.inf, -math.inf):
            odd = _sibling(trial)
            poisoned = a.copy()
            poisoned.flat[int(trial.rng("nonfinite").integers(a.size))] = value
            odd.__dict__["drawn"] = (*trial.drawn[:place], poisoned, *trial.drawn[place + 1 :])
            if twin.raises(lambda odd=odd: odd.torch) is not None or isinstance(twin.raises(lambda odd=odd: odd.own), RefbpError):  # type: ignore[misc]
                continue
            tried += 1
            for what, own, theirs in _both(odd):
                for kind, test in (("NaN", np.isnan), ("infinite", np.isinf)):
                    if own.shape == theirs.shape and (test(own) != test(theirs)).any():
                        index = tuple(int(i) for i in np.argwhere(test(own) != test(theirs))[0])
                        return Outcome(
                            Verdict.FORWARD if what.startswith("output") else Verdict.BACKWARD,
                            f"{value} in {name}: {what}{list(index)} is {own[index]}; torch's is {theirs[index]} ({kind} in another place)",
                        )
    return agree() if tried else None


def _both(trial: Trial) -> Iterator[tuple[str, Array, Array]]:
    for i, (y, t) in enumerate(zip(trial.outputs, trial.torch.outputs, strict=True)):
        if y.dtype.kind == "f":
            yield f"output {i}", y, t
    for name, g in trial.own_grads.items():
        t = trial.torch.grads.get(name)
        if g is not None and t is not None:
            yield f"gradient of {name}", g, t


# Reductions and errors ------------------------------------------------------------------------------------------------


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
    if bad := _apart([each.sum()], as_list(total.outputs), trial.fan, float(np.abs(each).sum())):
        return broken(f"the sum is not the sum of the unreduced losses ({bad})")
    g_none = _arrays(trial.pull(none, [np.full_like(each, upstream)]))
    g_sum, g_mean = (_arrays(trial.pull(s, [np.full_like(as_list(s.outputs)[0], upstream)])) for s in (total, mean))
    if bad := _apart(g_sum, g_none, trial.fan):
        return broken(f"the sum's gradient is not that of the unreduced losses ({bad})")
    by = float(as_list(total.outputs)[0]) / float(as_list(mean.outputs)[0]) if as_list(mean.outputs)[0] else None
    if by is not None and (bad := _apart([g * by for g in g_mean], g_sum, trial.fan)):
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
            odd = _sibling(trial)
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
            changed["with one axis less"] = a[0] if len(a) else a.reshape(a.shape[1:][:0])
        if a.dtype.kind == "f":
            changed["of complex numbers"] = a.astype(complex)
        for what, b in changed.items():
            yield f"{name} {what}", [*inputs[:i], b, *inputs[i + 1 :]], trial.state
    yield "one input too many", [*inputs, *([np.zeros(())] * (len(trial.layer.inputs()) + 1))], dict(trial.state)
    for n, a in trial.state.items():
        yield f"a state without {n}", inputs, {k: v for k, v in trial.state.items() if k != n}
        yield f"state[{n!r}] with one axis more", inputs, {**trial.state, n: a[..., None]}
    yield "a state with an unknown entry", inputs, {**trial.state, "no_such_entry": np.zeros(2)}


# Helpers --------------------------------------------------------------------------------------------------------------


def _sibling(trial: Trial, purpose: str | None = None) -> Trial:
    """The same case with the same state, for other inputs."""
    other = Trial(trial.spec, trial.index, trial.seed, trial.dtype, trial.round_to)
    other.__dict__.update(twin=trial.twin, state=trial.state)
    if purpose is None:
        other.__dict__["drawn"] = trial.drawn
    else:
        other.__dict__["drawn"] = trial.draw(trial.rng(purpose))
    return other


def _copies(trial: Trial) -> tuple[list[Any], dict[str, Array], list[Any]]:
    def copied(a: Array | None) -> Array | None:
        return None if a is None else a.copy()

    return [copied(a) for a in trial.inputs], {n: a.copy() for n, a in trial.state.items()}, [copied(u) for u in trial.upstream]


def _arrays(grads: Grads) -> list[Array]:
    return [g for g in (*grads.inputs, *grads.params.values()) if g is not None]


def _same(a: Sequence[Array], b: Sequence[Array]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


def _apart(got: Sequence[Any], reference: Sequence[Any], fan: int, scale: float = 0.0) -> str:
    """How two lists of arrays differ beyond rounding, in words; empty where they do not."""
    for g, r in zip(map(np.asarray, got), map(np.asarray, reference), strict=True):
        if g.shape != r.shape:
            return f"shape {g.shape} and {r.shape}"
        if g.dtype.kind == "f" and (off := budget.error(g, r)) > budget.tolerance(g.dtype, fan, max(budget.norm(r), scale)):
            return f"largest difference {off:.3g}"
        if g.dtype.kind != "f" and not np.array_equal(g, r):
            return "other integers"
    return ""


def _declared(trial: Trial) -> bool:
    return not all(p.removeprefix("optional ") == f"any (*{n})" for n, p in trial.layer.inputs().items())


def _axis(pattern: str, a: Array | None, sizes: dict[str, int]) -> int | None:
    """The batch axis of one array: the one named N, or the first of a leading ``*`` that other axes follow."""
    if a is None:
        return None
    axes = parse(pattern).axes(a.shape, sizes)
    if not axes:
        return None
    if "N" in axes:
        return axes.index("N")
    return 0 if axes[0] == "*" and not axes[-1].startswith("*") else None


def _batch_axes(trial: Trial) -> list[int | None] | None:
    """The batch axis of every input, or None where there is none (or options go along with the batch)."""
    if any(isinstance(v, np.ndarray) for v in trial.case.options.values()):
        return None
    patterns = list(trial.layer.inputs().values())
    axes = [_axis(p, a, trial.layer.sizes) for p, a in zip(patterns, trial.inputs, strict=False)]
    return axes if len(axes) == len(trial.inputs) and any(x is not None for x in axes) else None


def _output_axes(trial: Trial) -> list[int | None]:
    patterns = list(trial.layer.outputs().values())
    axes = [_axis(p, y, trial.layer.sizes) for p, y in zip(patterns, trial.outputs, strict=False)]
    return axes + [None] * (len(trial.outputs) - len(axes))
