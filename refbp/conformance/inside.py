"""Who in a network is wrong alone, and what rounding does to it.

Two runs of a network may differ because a layer is wrong, or because rounding errors have grown on their way through it. A
:class:`~refbp.conformance.recording.Recording` of the twin tells the two apart: given the same as its own twin, bit by bit, a
layer that is right agrees with it, however far apart the networks have come (:func:`wrong`). :func:`jittered` disturbs every
part's output and gradient by a rounding error: what moves by as much as the networks differ was not computed more exactly.
"""

from __future__ import annotations

import copy
import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp.conformance import budget, compare, twin
from refbp.conformance.outcome import Outcome, agree, broken
from refbp.conformance.probe import noise_of_part
from refbp.conformance.recording import Recording, Seen, array
from refbp.conformance.trial import Trial
from refbp.contract import Layer
from refbp.draws import Draw, special
from refbp.spec import Case, Spec

Array = NDArray[Any]


class Alone(Trial):
    """A trial whose inputs, state, noise and upstream gradients are not drawn: they are what a part met in a network."""

    def __init__(self, spec: Spec, upstream: Sequence[Array | None], dtype: Any = np.float64, round_to: Any = None) -> None:
        super().__init__(spec, 0, dtype=dtype, round_to=round_to)
        self._upstream = upstream

    def upstream_for(self, outputs: Sequence[Array], purpose: str = "upstream") -> list[Array | None]:
        """What came from above, whatever the purpose."""
        return [None if u is None else self._cast(u) for u in self._upstream]

    def in_dtype(self, dtype: Any) -> Trial:
        """The same meeting, its values rounded to float32."""
        other = Alone(self.spec, self._upstream, dtype, np.float32)
        other.__dict__["twin"] = self.twin
        return other


def wrong(recording: Recording) -> Iterator[tuple[str, Layer[Any], Outcome]]:
    """The parts of a network that are wrong by themselves: given what their twins were given, they answer otherwise."""
    for path, seen in recording.seen.items():
        with np.errstate(all="ignore"):
            outcome = alone(path, seen)
        if outcome is not None and outcome.wrong:
            yield path, seen.layer, outcome


def alone(path: str, seen: Seen) -> Outcome | None:
    """Whether one part agrees with its twin on what the twin met; None where the loss does not depend on it."""
    if not seen.outputs or all(g is None for g in seen.dy):
        return None
    given = seen.given()
    case = Case(seen.layer, *(None if a is None else _draw(a) for a in given), id=path)
    trial = Alone(dataclasses.replace(seen.spec, cases=[case]), seen.dy)
    names = trial.input_names
    grads = {n: g for n, t, g in zip(names, seen.inputs, seen.dx, strict=False) if t is not None and t.requires_grad}
    ran = types.SimpleNamespace(outputs=[array(y) for y in seen.outputs], grads=grads | seen.params, state={})
    trial.__dict__.update(drawn=tuple(given), twin=seen.module, state=seen.state, noise=noise_of_part(seen), torch=ran)
    try:
        own = {n: g for n, g in trial.own_grads.items() if n in ran.grads or n not in names}
    except Exception as error:  # it takes in a network what it does not take alone, or its backward raises
        return broken(f"{type(error).__name__}: {error}")
    reference = seen.results(ran.outputs, ran.grads)
    if _within(seen, seen.results(trial.outputs, own), reference, trial.fan):
        return agree()
    outcome = compare.outputs(trial, trial.outputs, ran.outputs)
    return outcome if outcome.wrong else compare.gradients(trial, own, ran.grads)


def _within(seen: Seen, own: dict[str, Array], reference: dict[str, Array], fan: int) -> bool:
    """Whether all results are within their budgets, of their own size or else of the part's condition; remembers how far."""
    if own.keys() != reference.keys() or any(own[n].shape != r.shape or own[n].dtype != r.dtype for n, r in reference.items()):
        return False
    seen.off = {n: budget.error(own[n], r) for n, r in reference.items()}

    def over(condition: Mapping[str, float]) -> list[str]:
        scales = {n: max(budget.norm(r), condition.get(n, 0.0)) for n, r in reference.items()}
        return [n for n, off in seen.off.items() if not off <= budget.tolerance(np.float64, fan, scales[n])]

    return not over({}) or not over(condition(seen, reference))


def condition(seen: Seen, reference: Mapping[str, Array], runs: int = 4) -> dict[str, float]:
    """What a part costs in digits, as an absolute scale: the twin's errors, in units of eps, when all that it was given is
    off by a rounding, and when it computes in float32. A gradient may be off by eps of what came from above, in any case:
    so far is σ(1 − σ) off when σ is nearly 1, however small it is itself.
    """
    rng, found = np.random.default_rng(0), {n: 0.0 if n.startswith("output ") else seen.above(n) for n in reference}
    eps, eps32 = float(np.finfo(np.float64).eps), float(np.finfo(np.float32).eps)

    def note(got: Mapping[str, Array], wanted: Mapping[str, Array], unit: float) -> None:
        for n, far in list(found.items()):
            off = budget.error(got[n], wanted[n])
            found[n] = max(far, off / unit if np.isfinite(off) else 0.0)

    for _ in range(runs):
        note(_again(seen, rng, eps, np.float64, np.float64), reference, eps)
        seed = int(rng.integers(2**31))
        note(
            _again(seen, np.random.default_rng(seed), eps32, np.float32, np.float32),
            _again(seen, np.random.default_rng(seed), eps32, np.float32, np.float64),
            eps32,
        )
    return found


def _again(seen: Seen, rng: np.random.Generator, off: float, round_to: Any, dtype: Any) -> dict[str, Array]:
    """The twin's results when what it was given is off by so much, rounded to one dtype and computed with in another."""

    def moved(a: Array | None) -> Any:
        if a is None or a.dtype.kind != "f":
            return a
        a = np.asarray(a * (1 - off * rng.uniform(0, 1, a.shape)))  # a zero stays one, and a probability
        return a.astype(round_to).astype(dtype)

    def shifted(a: Array | None) -> Any:  # results are linear in what comes from above: here a zero may move
        return None if a is None else np.asarray(moved(a) + off * budget.norm(a) * rng.uniform(-1, 1, a.shape), dtype)

    module = twin.in_mode(copy.deepcopy(seen.module), seen.layer).to(torch.from_numpy(np.zeros(0, dtype)).dtype)
    with torch.no_grad():
        for n, t in module.state_dict().items():
            t.copy_(torch.from_numpy(np.asarray(moved(seen.state[n]))))
    if seen.random is not None:
        torch.set_rng_state(seen.random)
    inputs = [twin.tensor(moved(a)) for a in seen.given()]
    leaves = {i: t.requires_grad_() for i, t in enumerate(inputs) if t is not None and t.is_floating_point()}
    learned = {n: p for n, p in module.named_parameters() if p.requires_grad}
    outputs = twin.call(seen.spec, module, [None if t is None else t.clone() for t in inputs], {})
    pairs = [(y, torch.from_numpy(shifted(u))) for y, u in zip(outputs, seen.dy, strict=True) if u is not None]
    ys, us = zip(*pairs, strict=True)
    grads = torch.autograd.grad(ys, [*leaves.values(), *learned.values()], us, allow_unused=True)
    tensors = [*leaves.values(), *learned.values()]
    values = [np.zeros(tuple(t.shape)) if g is None else g.to_dense().numpy() for t, g in zip(tensors, grads, strict=True)]
    names = list(seen.layer.inputs())
    named = dict(zip([*(names[i] for i in leaves), *learned], values, strict=True))
    return seen.results([array(y) for y in outputs], named)


def _draw(array: Array) -> Draw:
    return special("given", array.shape, lambda _: array)


# Rounding -------------------------------------------------------------------------------------------------------------


@contextmanager
def jittered(recording: Recording, rng: np.random.Generator) -> Iterator[None]:
    """While it is entered, every part's outputs and gradients are off: by a rounding, and by what the part alone was off."""

    def off(t: torch.Tensor, by: float) -> torch.Tensor:
        noise = torch.from_numpy(rng.uniform(-1, 1, (2, *t.shape)))
        return t * (1 - noise[0].abs() * torch.finfo(t.dtype).eps) + noise[1] * by

    def mapped(value: Any, change: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(mapped(v, change) for v in value)
        return change(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    def watched(t: torch.Tensor, by: float) -> torch.Tensor:
        if t.requires_grad:
            t = t.clone()  # a hook of this part's own
            t.register_hook(lambda g: g if g is None else off(g, by))  # type: ignore[no-untyped-call]  # torch's own
        return t

    def hooked(seen: Seen) -> Iterator[Any]:
        names = set(seen.layer.inputs())
        dx = max((v for n, v in seen.off.items() if n in names), default=0.0)
        y = max((v for n, v in seen.off.items() if n.startswith("output ")), default=0.0)
        yield seen.module.register_forward_pre_hook(lambda _m, inputs: mapped(inputs, lambda t: watched(t, dx)))
        yield seen.module.register_forward_hook(lambda _m, _i, output: mapped(output, lambda t: off(t, y)))

    hooks = [hook for seen in recording.seen.values() for hook in hooked(seen)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
