"""Other ways to check a gradient, held against the same mutants: what does each of them notice, and in what time?

The mutants counted are wrong gradients proper: on every case, and on the variations of each by which :mod:`.mutate` tells
mutants from equivalents, the outputs are right and no error is raised; and on some of them a gradient is off. Each way is
given the same cases, and may stop at the first that it objects to. A case to which it objects although the layer is right
(a false alarm, at a kink mostly) tells it nothing, and is taken from it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp.conformance.checks import CHECKS
from refbp.conformance.clock import TooLong, limited
from refbp.conformance.mutants import Mutant, mutants
from refbp.conformance.mutate import FIRST, SECONDS, UNAFFECTED, variations
from refbp.conformance.trial import SEED, Trial, as_list
from refbp.conformance.twin import TorchRun
from refbp.conformance.verify import run_check
from refbp.errors import RefbpError
from refbp.oracle.observation import same, tolerance
from refbp.registry import Entry

Array = NDArray[Any]
Objects = Callable[[Sequence[Trial]], bool]  # whether a way of checking objects to a layer on some cases


def refbp(trials: Sequence[Trial]) -> bool:
    """Every check of refbp, the comparisons with torch first."""
    fresh = [t.fresh() for t in trials]
    names = [FIRST, [c for c in CHECKS if c not in (*FIRST, *UNAFFECTED)]]
    outcomes = (run_check(t, n) for some in names for t in fresh for n in some)
    return any(outcome is not None and outcome.wrong for outcome in outcomes)


def each(objects: Callable[[Trial], bool]) -> Objects:
    """A way of checking that knows one case at a time."""
    return lambda trials: any(objects(t.fresh()) for t in trials)


def first(objects: Callable[[Trial], bool]) -> Objects:
    """The same, given the first case alone, as one would write one test."""
    return lambda trials: objects(trials[0].fresh()) if trials else False


class _Manual(torch.autograd.Function):
    """A layer as an autograd function, faithfully: the engine would sum what was not summed, and cast what was not cast."""

    @staticmethod
    def forward(ctx: Any, trial: Trial, names: list[str], *tensors: torch.Tensor) -> Any:
        values = {n: t.detach().numpy().copy() for n, t in zip(names, tensors, strict=True)}
        inputs = [values.get(n, a) for n, a in zip(_input_names(trial), trial.inputs, strict=True)]
        step = trial.step(inputs, {n: values.get(n, a) for n, a in trial.state.items()})
        ctx.step, ctx.names, ctx.shapes = step, names, [t.shape for t in tensors]
        outputs = tuple(torch.from_numpy(np.array(y)) for y in as_list(step.outputs))
        ctx.mark_non_differentiable(*(y for y in outputs if not y.is_floating_point()))
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        dys = [None if not u.is_floating_point() else u.numpy().copy() for u in upstream]
        with np.errstate(all="ignore"):
            grads = ctx.step.backward(*dys)
        own = dict(zip(_input_names_of(ctx.step.layer, grads.inputs), grads.inputs, strict=True)) | grads.params
        found = []
        for name, shape in zip(ctx.names, ctx.shapes, strict=True):
            if own[name].shape != shape or own[name].dtype != np.float64:
                raise ValueError(f"the gradient of {name} has shape {own[name].shape} and dtype {own[name].dtype}")
            found.append(torch.from_numpy(own[name].copy()))
        return (None, None, *found)


def _input_names(trial: Trial) -> list[str]:
    return _input_names_of(trial.layer, trial.inputs)


def _input_names_of(layer: Any, inputs: Sequence[Any]) -> list[str]:
    names = list(layer.inputs())
    return names[: len(inputs)] + [f"input{i}" for i in range(len(names), len(inputs))]


def _differentiable(trial: Trial) -> dict[str, Array]:
    """The inputs and parameters for which torch has a gradient."""
    held = dict(zip(_input_names(trial), trial.inputs, strict=True)) | dict(trial.state)
    return {n: held[n] for n, g in trial.torch.grads.items() if g is not None and held.get(n) is not None}


def _gradcheck(trial: Trial, fast: bool) -> bool:
    leaves = {n: torch.from_numpy(a.copy()).requires_grad_() for n, a in _differentiable(trial).items()}
    if not leaves:
        return False  # it refuses to be asked about nothing

    def function(*tensors: torch.Tensor) -> Any:
        outputs = _Manual.apply(trial, list(leaves), *tensors)  # type: ignore[no-untyped-call]
        return tuple(y for y in outputs if y.is_floating_point())

    torch.manual_seed(trial.noise_seed)
    return not torch.autograd.gradcheck(function, tuple(leaves.values()), fast_mode=fast, raise_exception=False)


def gradcheck(trial: Trial) -> bool:
    """torch.autograd.gradcheck: the whole Jacobian, by finite differences in float64, with its own tolerances."""
    return _gradcheck(trial, fast=False)


def gradcheck_fast(trial: Trial) -> bool:
    """The same in its fast mode: the Jacobian between two random vectors."""
    return _gradcheck(trial, fast=True)


def one_direction(trial: Trial) -> bool:
    """One random direction, one central difference: ⟨gradients, v⟩ against (φ(h) − φ(−h)) / 2h, h = 1e-6, to a part in 10⁵."""
    rng, h = trial.rng("one direction"), 1e-6
    names = _input_names(trial)
    v = {n: rng.normal(size=a.shape) for n, a in _differentiable(trial).items()}

    def value(t: float) -> Any:
        inputs = [a if n not in v else a + t * v[n] for n, a in zip(names, trial.inputs, strict=True)]
        outputs = as_list(trial.step(inputs, {n: a if n not in v else a + t * v[n] for n, a in trial.state.items()}).outputs)
        return sum(np.vdot(u, y) for u, y in zip(trial.upstream, outputs, strict=True) if u is not None)

    numerical = (value(h) - value(-h)) / (2 * h)
    grads = {n: np.asarray(trial.own_grads[n]) for n in v}
    manual: Any = sum(np.vdot(np.broadcast_to(grads[n], d.shape), d) for n, d in v.items())
    return not abs(manual - numerical) <= 1e-5 * max(1.0, abs(manual), abs(numerical))


def ones_upstream(trial: Trial) -> bool:
    """What loss = output.sum() gives in torch, by np.allclose, which broadcasts."""
    ones = [None if u is None else np.ones_like(u) for u in trial.upstream]
    with np.errstate(all="ignore"):
        grads = trial.own.backward(*ones)
    own = dict(zip(_input_names_of(trial.layer, grads.inputs), grads.inputs, strict=True)) | grads.params
    return not all(np.allclose(own[n], g) for n, g in _torch_for_ones(trial).items())  # type: ignore[arg-type]


def _torch_for_ones(trial: Trial) -> dict[str, Array]:
    if "ones" not in trial.memo:
        other = trial.fresh()
        ones = [None if u is None else np.ones_like(u) for u in trial.upstream]
        other.upstream_for = lambda *_: ones  # type: ignore[method-assign]
        trial.memo["ones"] = {n: g for n, g in TorchRun(other).grads.items() if g is not None}
    found: dict[str, Array] = trial.memo["ones"]
    return found


RIVALS: dict[str, Objects] = {
    "refbp's checks": refbp,
    "torch.autograd.gradcheck": each(gradcheck),
    "torch.autograd.gradcheck, fast mode": each(gradcheck_fast),
    "torch.autograd.gradcheck, on the first case": first(gradcheck),
    "finite difference in one direction": each(one_direction),
    "ones upstream, np.allclose": each(ones_upstream),
}


@dataclass(frozen=True)
class Noticed:
    """How one way of checking did on one layer, or on several."""

    noticed: int = 0
    false_alarms: int = 0  # cases on which it objects to the right layer
    seconds: float = 0.0

    def __add__(self, other: Noticed) -> Noticed:
        return Noticed(self.noticed + other.noticed, self.false_alarms + other.false_alarms, self.seconds + other.seconds)


@dataclass(frozen=True)
class Comparison:
    """All ways on one layer's wrong gradients."""

    name: str
    wrong: int
    cases: int
    found: dict[str, Noticed]

    def data(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return {
            "name": self.name,
            "wrong_gradients": self.wrong,
            "cases": self.cases,
            "ways": {
                n: {"noticed": f.noticed, "false_alarms": f.false_alarms, "seconds": round(f.seconds, 3)}
                for n, f in self.found.items()
            },
        }


def total(comparisons: Sequence[Comparison]) -> Comparison:
    """Several layers as one."""
    found = {n: sum((c.found[n] for c in comparisons), Noticed()) for n in RIVALS}
    return Comparison("all", sum(c.wrong for c in comparisons), sum(c.cases for c in comparisons), found)


def compare(entry: Entry, seed: int = SEED) -> Comparison:
    """Every way on every wrong gradient of one layer."""
    trials = [Trial(entry.spec, i, seed) for i in range(len(entry.spec.cases))]
    with np.errstate(all="ignore"):  # some variations are as large as float32 cannot be
        varied = [v for t in trials for v in variations(t)]
        right = [_answer(t, v) for t, v in varied]
    wrong = [m for m in mutants(entry.spec.layer) if _is_wrong(m, varied, right)]
    found = {}
    for name, objects in RIVALS.items():
        calm = [t for t in trials if not _timed(objects, [t])[0]]
        noticed, seconds = 0, 0.0
        for mutant in wrong:
            with mutant.place():
                objected, spent = _timed(objects, calm)
            noticed, seconds = noticed + objected, seconds + spent
        found[name] = Noticed(noticed, len(trials) - len(calm), seconds)
    return Comparison(entry.name, len(wrong), len(trials), found)


def _timed(objects: Objects, trials: Sequence[Trial]) -> tuple[bool, float]:
    """Whether a way objects to the layer as it is now on these cases, and how long that took; an error is an objection."""
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            with limited(SECONDS * max(len(trials), 1), processor=True):
                objected = objects(trials)
        except (Exception, TooLong):
            objected = True
    return objected, time.perf_counter() - start


def _answer(trial: Trial, v: Any) -> tuple[list[Array], dict[Any, Any]] | None:
    """Outputs with updates, and gradients, from copies, for a mutant may write to what it is given; None for a refusal."""
    try:
        with np.errstate(all="ignore"):
            inputs = [None if a is None else a.copy() for a in v.inputs]
            step = v.layer({n: a.copy() for n, a in v.state.items()}, *inputs, **trial.case.options)
            outputs = as_list(step.outputs)
            upstream = [
                None if u is None else u.astype(y.dtype) for u, y in zip(trial.upstream_for(outputs), outputs, strict=True)
            ]
            grads = step.backward(*upstream)
    except RefbpError:
        return None
    return [*outputs, *(np.asarray(a) for _, a in sorted(step.updates.items()))], dict(enumerate(grads.inputs)) | grads.params


def _is_wrong(mutant: Mutant, varied: Sequence[tuple[Trial, Any]], right: Sequence[Any]) -> bool:
    """Whether a mutant is a wrong gradient proper: the same outputs and updates everywhere, no error, another gradient."""
    off = False
    try:
        with limited(SECONDS, processor=True), mutant.place(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for (trial, v), answer in zip(varied, right, strict=True):
                got = _answer(trial, v)
                if (got is None) != (answer is None):
                    return False
                if got is not None and answer is not None:
                    if not all(_equal(a, b) for a, b in _pairs(got[0], answer[0])):
                        return False
                    off = off or got[1].keys() != answer[1].keys() or not all(_near(got[1][n], g) for n, g in answer[1].items())
    except (Exception, TooLong):
        return False
    return off


def _near(got: Any, expected: Any) -> bool:
    return same(got, expected, 0.0 if expected is None else tolerance(np.asarray(expected)))


def _pairs(a: list[Array], b: list[Array]) -> Iterator[tuple[Any, Any]]:
    if len(a) != len(b):
        yield None, 0
    yield from zip(a, b, strict=False)


def _equal(a: Any, b: Any) -> bool:
    return a is not None and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
