"""Random networks run against torch, end to end: the loss, every parameter's gradient, the input's, the buffers.

Where the two differ by more than the budget of :mod:`.budget`, the question is why. A part that differs from its twin on the
very arrays that the twin was given is wrong, and is named. Where every part agrees alone, the twin is run again with errors
of one rounding injected between the parts: if that moves the result as far, the network amplifies rounding, and nothing is
wrong; if not, the way in which the parts are put together is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp import registry
from refbp.conformance import budget, twin
from refbp.conformance.inside import jittered, wrong
from refbp.conformance.outcome import Difference, Outcome
from refbp.conformance.outcome import Verdict as Judged
from refbp.conformance.probe import noise_of_parts
from refbp.conformance.problem import Problem
from refbp.conformance.recording import Recording
from refbp.contract import Layer
from refbp.errors import RefbpError
from refbp.spec import Case

Array = NDArray[Any]
LOSS, NETWORK, PROCESS = "the loss", "the network", "the process"
HUGE, TINY = 1e9, 1e-25  # beyond them nothing is learned of a network of a few numbers near 1
EPS = float(np.finfo(np.float64).eps)


class Verdict(enum.StrEnum):
    """What a run of one network said."""

    AGREE = "agree"
    ROUNDING = "rounding"  # apart by as much as errors of one rounding between the layers move torch's own result
    VACUOUS = "not tested"  # no gradient, or no finite number: nothing could have differed
    REFUSED = "refused by torch"
    KNOWN = "torch is wrong"  # where its ledger says so, and the numerical witness sides with the layer
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One network's verdict; where it is wrong, in which layer, and the sentence with both numbers."""

    verdict: Verdict
    layer: str = ""
    path: str = ""
    sentence: str = ""
    digits: float = 16.0  # of agreement, the fewest of all arrays that were compared
    size: float = 1.0  # the larger of the two numbers that differ


class Beside:
    """A network, its loss and their twins, with one state, one input, one target and the same noise.

    Without a state, parameters and buffers are drawn from the seed as the conformance checks draw them.
    """

    def __init__(
        self, net: Layer[Any], loss: Layer[Any], x: Array, target: Array, seed: int, state: Mapping[str, Array] | None = None
    ) -> None:
        self.net, self.loss, self.x, self.target, self.seed = net, loss, x, target, seed
        self.loss_spec = registry.current().get(type(loss).__name__).spec
        self.module = twin.build(registry.current().get(type(net).__name__).spec, net)
        self.loss_module = twin.build(self.loss_spec, loss)
        load(self.loss_module, loss.init(np.random.default_rng(seed)))
        if state is None:
            twin.redraw(self.module, Case(net), self.rng("state"))
        else:
            load(self.module, state)
        self.state, self.loss_state = twin.state_of(self.module), twin.state_of(self.loss_module)

    @classmethod
    def of(cls, problem: Problem) -> Beside:
        """A problem on both sides."""
        net = problem.network
        state = net.init(np.random.default_rng(problem.seed)) if problem.fresh else None
        return cls(net, problem.loss, problem.x, problem.target, problem.seed, state)

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def forward(self) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The twin's input, where it has a gradient, and its loss. Buffers begin as they were, and the noise is the same."""
        load(self.module, self.state)
        torch.manual_seed(self.seed)
        x = twin.tensor(self.x)
        assert x is not None
        leaf = x.requires_grad_() if x.is_floating_point() else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = self.module(x.clone())
            target = twin.tensor(self.target)
            return leaf, twin.call(self.loss_spec, self.loss_module, [y, target], {})[0]

    def theirs(self) -> dict[str, Array]:
        """Everything that is compared, by torch."""
        x, loss = self.forward()
        learned = {f"gradient of {n}": p for n, p in self.module.named_parameters() if p.requires_grad}
        learned |= {f"gradient of the loss's {n}": p for n, p in self.loss_module.named_parameters() if p.requires_grad}
        wanted = ({} if x is None else {"gradient of x": x}) | learned
        found = {"loss": loss.detach().numpy()}
        if loss.requires_grad and wanted:
            grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
            for (name, t), g in zip(wanted.items(), grads, strict=True):
                found[name] = np.zeros(tuple(t.shape)) if g is None else g.to_dense().numpy()
        after = twin.state_of(self.module)
        return found | {f"buffer {n}": after[n] for n in sorted(after.buffers)}

    @cached_property
    def noise(self) -> tuple[Array, ...]:
        """What the twin's random layers drew."""
        if not self.net.noisy:
            return ()
        with Recording(self.net, self.module) as recording, torch.no_grad():
            self.forward()
        return noise_of_parts(recording)

    def own(self) -> dict[str, Array]:
        """Everything that is compared, by the layers."""
        with np.errstate(all="ignore"):
            step = self.net(self.state, self.x, *self.noise)
            cost = self.loss(self.loss_state, step.outputs, self.target)
            loss = np.asarray(cost.outputs)
            of_loss = cost.backward(np.ones_like(loss))
            dy = of_loss.inputs[0]
            grads = step.backward(dy)
        found = {"loss": loss} | ({} if grads.inputs[0] is None else {"gradient of x": grads.inputs[0]})
        found |= {f"gradient of {n}": g for n, g in grads.params.items()}
        found |= {f"gradient of the loss's {n}": g for n, g in of_loss.params.items()}
        after = {**self.state, **step.updates}
        return found | {f"buffer {n}": np.asarray(after[n]) for n in sorted(self.state.buffers)}

    @cached_property
    def recording(self) -> Recording:
        """What every part met, and its twin's gradients."""
        with Recording(self.net, self.module, {LOSS: (self.loss, self.loss_module)}) as recording:
            _, loss = self.forward()
        recording.gradients(loss)
        return recording

    def wrong_part(self) -> Finding | None:
        """The first part that is wrong by itself, the loss last; a defect of torch that is waived only if there is no other."""
        known = None
        for path, layer, outcome in wrong(self.recording):
            name = type(layer).__name__
            verdict = Verdict.KNOWN if _is_known(layer, outcome) else Verdict.WRONG
            found = Finding(verdict, name, path, outcome.message, outcome.digits or 0.0, _size(outcome.difference))
            if verdict is Verdict.WRONG:
                return found
            known = known or found
        return known

    def rounding(self, theirs: Mapping[str, Array], runs: int = 4) -> dict[str, float]:
        """How far each result moves when every part is off by as much as rounding, or the layer alone, was found to be off."""
        rng = self.rng("jitter")
        moved = {
            f"gradient of {path}.{n}": off / EPS
            for path, seen in self.recording.seen.items()
            for n, off in seen.off.items()
            if n in seen.params
        }
        for _ in range(runs):
            with jittered(self.recording, rng), contextlib.suppress(RuntimeError):  # a value left its domain: no run
                for name, array in self.theirs().items():
                    moved[name] = max(moved.get(name, 0.0), budget.error(array, theirs[name]) / EPS)
        return moved


def _is_known(layer: Layer[Any], outcome: Outcome) -> bool:
    """Whether the ledger knows of it: torch is wrong, says the numerical witness, and the layer's spec; or the spec exempts
    gradients from the comparison in a case whose layer has an argument in common with this one, beyond the required ones.
    """
    spec = registry.current().get(type(layer).__name__).spec
    if outcome.verdict is Judged.TORCH and spec.waivers:
        return True
    optional = {f.name for f in dataclasses.fields(layer) if f.default is not dataclasses.MISSING}  # type: ignore[arg-type]

    def given(of: Layer[Any]) -> list[tuple[str, Any]]:
        return [(n, v) for n, v in of.given().items() if n in optional]

    exempted = [c.layer for e in spec.exempt if e.check in ("outputs", "gradients") for c in spec.cases if e.when(c)]
    return any(pair in given(other) for other in exempted for pair in given(layer))


def load(module: torch.nn.Module, state: Mapping[str, Array]) -> None:
    """Make a module's state this one."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            tensor.copy_(torch.from_numpy(np.array(state[name])))


def examine(problem: Problem) -> Finding:
    """Run one problem on both sides."""
    return judged(Beside.of(problem))


def judged(beside: Beside) -> Finding:
    """What the two sides say."""
    try:
        theirs = beside.theirs()
    except Exception as error:  # what torch does not take says nothing of what it would have computed
        return Finding(Verdict.REFUSED, sentence=f"{type(error).__name__}: {error}")
    gradients = [a for n, a in theirs.items() if n.startswith("gradient")]
    if not all((np.abs(a) < HUGE).all() for a in theirs.values()) or not any((np.abs(a) > TINY).any() for a in gradients):
        return Finding(Verdict.VACUOUS)
    try:
        own = beside.own()
    except Exception as error:  # whatever a layer raises that its twin does not
        said = str(error) if isinstance(error, RefbpError) else f"{type(error).__name__}: {error}"
        return beside.wrong_part() or Finding(Verdict.WRONG, NETWORK, "", said)
    fan = max(a.size for a in (beside.x, *beside.state.values(), *theirs.values()))
    apart, digits = _apart(own, theirs, fan, {})
    if apart is None:
        return Finding(Verdict.AGREE, digits=digits)
    met = [seen.extremes for seen in beside.recording.seen.values()]
    if not all(finite and largest < HUGE for largest, finite in met):
        return Finding(Verdict.VACUOUS)
    if part := beside.wrong_part():
        return part
    still, _ = _apart(own, theirs, fan, beside.rounding(theirs))
    if still is None:
        return Finding(Verdict.ROUNDING, sentence=_said(apart), digits=digits)
    return Finding(
        Verdict.WRONG, NETWORK, "", f"every layer is right alone, and put together {_said(still)}", digits, _size(still)
    )


def _apart(
    own: Mapping[str, Array], theirs: Mapping[str, Array], fan: int, condition: Mapping[str, float]
) -> tuple[Difference | str | None, float]:
    """The first result that differs by more than its budget, or None; and the fewest digits of agreement."""
    if extra := [n for n in own if n not in theirs]:
        return f"there is a {extra[0]}, and torch has none", 0.0
    worst = 16.0
    for name, reference in theirs.items():
        if name not in own:
            return f"there is no {name}, and torch has one", 0.0
        got = own[name]
        if got.shape != reference.shape or got.dtype != reference.dtype:
            return f"{name} is {got.dtype} {got.shape}, torch's {reference.dtype} {reference.shape}", 0.0
        off, scale = budget.error(got, reference), budget.norm(reference)
        allowed = budget.tolerance(np.float64, fan, max(scale, condition.get(name, 0.0)))
        if not off <= allowed:
            return budget.difference(name, got, reference, allowed), budget.digits(off, scale)
        if off:
            worst = min(worst, budget.digits(off, scale))
    return None, worst


def _said(apart: Difference | str) -> str:
    return apart if isinstance(apart, str) else apart.sentence()


def _size(apart: Difference | str | None) -> float:
    return max(abs(float(apart.yours)), abs(float(apart.expected))) if isinstance(apart, Difference) else 1.0
