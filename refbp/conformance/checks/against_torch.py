"""Layer and twin side by side: outputs, gradients, buffers, state, initial values, the other mode."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from refbp.conformance import budget, compare, twin
from refbp.conformance.checks._base import Array, check, sibling
from refbp.conformance.outcome import Outcome, Verdict, agree, broken
from refbp.conformance.trial import Trial, named
from refbp.errors import RefbpError


@check
def outputs(trial: Trial) -> Outcome | None:
    """Every output equals the twin's: number, shape, kind of dtype, values within the budget."""
    return compare.outputs(trial, trial.outputs, trial.torch.outputs, list(trial.layer.outputs()))


@check
def gradients(trial: Trial) -> Outcome | None:
    """Every gradient of an input or parameter equals autograd's, for a random signed upstream gradient."""
    found, given = len(trial.pulled.inputs), len(trial.inputs)
    if found not in (given, len(trial.layer.inputs())):
        return broken(f"backward returns {found} gradients of inputs; wanted {given}, one for each input, None where none is")
    return compare.gradients(trial, trial.own_grads, trial.torch.grads, strict=True)


@check
def gradients_alone(trial: Trial) -> Outcome | None:
    """Each gradient also equals what autograd gives when nothing else requires one."""
    names = [n for n, g in trial.torch.grads.items() if g is not None]
    if len(names) < 2:
        return None
    worst = agree(16.0)
    for name in names:
        alone = trial.torch_for([name]).grads
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
        lone = sibling(trial)
        lone.only = i
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
        off = budget.error(own, theirs)
        allowed = compare.allowance(trial, theirs, "state", name, off) if own.dtype.kind == "f" else 0.0
        if off > allowed:
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
            return broken(
                f"init says that {sorted(own.buffers)} are buffers; the twin's are {sorted(set(theirs) - set(learned))}"
            )
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
    twin.seed(trial.noise_seed)
    rng = trial.rng("init")
    size = min(max(1, math.prod(a.shape)) for a in trial.state.values())
    builds = max(2, min(200, 1000 // size))
    modules = [dict(twin.build(trial.spec, trial.layer).state_dict()) for _ in range(builds)]
    states = [trial.layer.init(rng) for _ in range(builds)]
    for name in trial.state:
        theirs = np.concatenate([np.ravel(m[name].numpy()) for m in modules]).astype(float)
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
    other = sibling(trial)
    other.layer = dataclasses.replace(trial.layer, training=not trial.layer.training)  # type: ignore[type-var]
    own, theirs = twin.raises(lambda: other.own), twin.raises(lambda: other.torch)
    if theirs is not None:
        return (
            agree() if isinstance(own, RefbpError) else broken(f"with training={other.layer.training} torch raises: {theirs}")
        )
    if own is not None:
        return broken(f"with training={other.layer.training}: {own}")
    return compare.first_wrong(
        f"with training={other.layer.training}",
        compare.outputs(other, other.outputs, other.torch.outputs),
        lambda: compare.gradients(other, other.own_grads, other.torch.grads),
    )
