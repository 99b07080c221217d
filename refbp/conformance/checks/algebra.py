"""What any backward pass must satisfy: it is linear, and a batch is its samples."""

from __future__ import annotations

import numpy as np

from refbp.conformance import budget, compare, twin
from refbp.conformance.checks._base import Array, apart, arrays, batch_axes, check, declared, output_axes, sibling
from refbp.conformance.checks.against_torch import buffers
from refbp.conformance.outcome import Outcome, Verdict, agree, broken, untested
from refbp.conformance.trial import Trial, as_list, named
from refbp.errors import RefbpError


@check
def linearity(trial: Trial) -> Outcome | None:
    """Backward is linear in the upstream gradient: b(2u + 3v) = 2 b(u) + 3 b(v)."""
    u, v = trial.upstream, trial.upstream_for(trial.outputs, "second upstream")
    mixed = [None if a is None or b is None else np.asarray(2 * a + 3 * b) for a, b in zip(u, v, strict=True)]
    bu, bv, bm = (arrays(trial.pull(trial.own, w)) for w in (u, v, mixed))
    for i, (a, b, m) in enumerate(zip(bu, bv, bm, strict=True)):
        with np.errstate(all="ignore"):
            want = 2 * a + 3 * b
        scale, off = 2 * budget.norm(a) + 3 * budget.norm(b), budget.error(m, want)
        if off > budget.tolerance(m.dtype, trial.fan, scale):
            name = [n for n, g in trial.own_grads.items() if g is not None][i]
            if off <= budget.tolerance(m.dtype, trial.fan, 5 * trial.own_moves.get(("grads", name), 0.0)):
                continue
            found = budget.difference(f"gradient of {name}", m, want, budget.tolerance(m.dtype, trial.fan, scale))
            return Outcome(
                Verdict.BACKWARD, f"backward is not linear in the upstream gradient: {found.sentence()}", found.digits, found
            )
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
    axes = batch_axes(trial)
    if axes is None:
        return (
            None
            if trial.layer.inputs() and declared(trial)
            else untested("inputs() names no batch axis N, so batches cannot be split")
        )
    out_axes = output_axes(trial)
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
        if bad := apart([whole], [y], trial.fan, more=lambda _, i=i: trial.own_moves.get(("outputs", i), 0.0)):  # type: ignore[misc]
            return broken(f"output {i} of a batch is not what its samples give one by one ({bad}): samples are coupled")
    where = dict(zip(trial.input_names, axes, strict=False))
    for name, g in trial.own_grads.items():
        if g is not None:
            gs, axis = [p[1][name] for p in parts], where.get(name)
            whole = np.sum(gs, 0) if axis is None else np.concatenate(gs, axis)  # type: ignore[arg-type]
            scale, key = max(budget.norm(s) for s in gs if s is not None), ("grads", name)
            if bad := apart([whole], [g], trial.fan, scale, lambda _, key=key: trial.own_moves.get(key, 0.0)):  # type: ignore[misc]
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
    axes = batch_axes(trial)
    if axes is None:
        return None
    small = sibling(trial)
    small.__dict__["drawn"] = tuple(
        a if x is None or a is None else np.take(a, range(size), x) for a, x in zip(trial.drawn, axes, strict=False)
    )
    theirs, own = twin.raises(lambda: small.torch), twin.raises(lambda: small.own)
    if theirs is not None:
        return (
            None
            if own is None or isinstance(own, RefbpError)
            else broken(f"a batch of {size} raises {type(own).__name__}: {own}")
        )
    if own is not None:
        return broken(f"a batch of {size}: {own}; torch takes it")
    return compare.first_wrong(
        f"a batch of {size}",
        compare.outputs(small, small.outputs, small.torch.outputs),
        lambda: compare.gradients(small, small.own_grads, small.torch.grads),
        lambda: (_learned(small) and buffers(small)) or agree(),
    )


def _learned(trial: Trial) -> bool:
    """Whether torch has learnt something from the batch: statistics of nothing may be NaN, which nobody has to copy."""
    return all(np.isfinite(a).all() for a in trial.torch.state.values())
