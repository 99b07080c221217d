"""Random networks run against torch, end to end: the loss, every parameter's gradient, the input's, the buffers.

Where the two differ by more than the budget of :mod:`.budget`, the question is why. A part that differs from its twin on the
very arrays that the twin was given is wrong, and is named. Where every part agrees alone, the twin is run again with errors
of one rounding injected between the parts: if that moves the result as far, the network amplifies rounding, and nothing is
wrong; if not, the way in which the parts are put together is.
"""

from __future__ import annotations

import enum
import math
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp import registry
from refbp.conformance import budget, twin
from refbp.conformance.compose import Composer, Problem, Seeded, leaves
from refbp.conformance.inside import Recording, jittered
from refbp.conformance.outcome import Verdict as Judged
from refbp.contract import Layer, State
from refbp.errors import RefbpError
from refbp.registry import Registry
from refbp.spec import Case

Array = NDArray[Any]
LOSS = "the loss"
ATTEMPTS = 20  # at composing one network
HUGE = 1e30  # beyond it float32, by which digits are judged, has no numbers


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


class Beside:
    """A problem on both sides: the network and its twin, with one state, one input, one target and the same noise."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.net: Layer[Any] = problem.network
        self.loss = problem.loss
        self.loss_spec = registry.current().get(type(self.loss).__name__).spec
        self.module = twin.build(registry.current().get(type(self.net).__name__).spec, self.net)
        self.loss_module = twin.build(self.loss_spec, self.loss)
        if problem.fresh:
            load(self.module, self.net.init(np.random.default_rng(problem.seed)))
            load(self.loss_module, self.loss.init(np.random.default_rng(problem.seed)))
        else:
            twin.redraw(self.module, Case(self.net), self.rng("state"))
            twin.redraw(self.loss_module, Case(self.loss), self.rng("loss"))
        self.state, self.loss_state = twin.state_of(self.module), twin.state_of(self.loss_module)

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng([self.problem.seed, zlib.crc32(purpose.encode())])

    def forward(self) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The twin's input, where it has a gradient, and its loss. Buffers begin as they were, and the noise is the same."""
        load(self.module, self.state)
        torch.manual_seed(self.problem.seed)
        x = twin.tensor(self.problem.x)
        assert x is not None
        leaf = x.requires_grad_() if x.is_floating_point() else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = self.module(x.clone())
            target = twin.tensor(self.problem.target)
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
    def noise(self) -> tuple[Array | None, ...]:
        """What the twin's random layers drew."""
        if not self.net.noisy:
            return ()
        with Recording(self.net, self.module) as recording, torch.no_grad():
            self.forward()
        return recording.noise()

    def own(self) -> dict[str, Array]:
        """Everything that is compared, by the layers."""
        with np.errstate(all="ignore"):
            step = self.net(self.state, self.problem.x, *self.noise)
            cost = self.loss(self.loss_state, step.outputs, self.problem.target)
            loss = np.asarray(cost.outputs)
            of_loss = cost.backward(np.ones_like(loss))
            dy = of_loss.inputs[0]
            grads = step.backward(dy)
        found = {"loss": loss} | ({} if grads.inputs[0] is None else {"gradient of x": grads.inputs[0]})
        found |= {f"gradient of {n}": g for n, g in grads.params.items()}
        found |= {f"gradient of the loss's {n}": g for n, g in of_loss.params.items()}
        after = {**self.state, **step.updates}
        return found | {f"buffer {n}": np.asarray(after[n]) for n in sorted(self.state.buffers)}

    def rounding(self, theirs: Mapping[str, Array], runs: int = 4) -> dict[str, float]:
        """How far each result moves when every part is off by eps: the network's condition, measured, times eps."""
        rng, moved = self.rng("jitter"), dict.fromkeys(theirs, 0.0)
        for _ in range(runs):
            with jittered(self.net, self.module, rng):
                for name, array in self.theirs().items():
                    moved[name] = max(moved[name], budget.error(array, theirs[name]))
        return moved

    def wrong_part(self) -> Finding | None:
        """The first part that is wrong by itself, the loss last; a defect of torch that is waived only if there is no other."""
        with Recording(self.net, self.module, {LOSS: (self.loss, self.loss_module)}) as recording:
            _, loss = self.forward()
        recording.gradients(loss)
        known = None
        for path, layer, outcome in recording.wrong():
            name = type(layer).__name__
            waived = outcome.verdict is Judged.TORCH and bool(registry.current().get(name).spec.waivers)
            found = Finding(Verdict.KNOWN if waived else Verdict.WRONG, name, path, outcome.message)
            if not waived:
                return found
            known = known or found
        return known


def load(module: torch.nn.Module, state: Mapping[str, Array]) -> None:
    """Make a module's state this one."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            tensor.copy_(torch.from_numpy(np.array(state[name])))


def examine(problem: Problem) -> Finding:
    """Run one problem on both sides."""
    beside = Beside(problem)
    try:
        theirs = beside.theirs()
    except Exception as error:  # what torch does not take says nothing of what it would have computed
        return Finding(Verdict.REFUSED, sentence=f"{type(error).__name__}: {error}")
    gradients = [a for n, a in theirs.items() if n.startswith("gradient")]
    if not all((np.abs(a) < HUGE).all() for a in theirs.values()) or not any(a.any() for a in gradients):
        return Finding(Verdict.VACUOUS)
    try:
        own = beside.own()
    except Exception as error:  # whatever a layer raises that its twin does not
        said = str(error) if isinstance(error, RefbpError) else f"{type(error).__name__}: {error}"
        return beside.wrong_part() or Finding(Verdict.WRONG, "the network", "", said)
    fan = max(a.size for a in (problem.x, *beside.state.values(), *theirs.values()))
    apart, digits = _apart(own, theirs, fan, {})
    if apart is None:
        return Finding(Verdict.AGREE, digits=digits)
    if part := beside.wrong_part():
        return part
    still, _ = _apart(own, theirs, fan, beside.rounding(theirs))
    if still is None:
        return Finding(Verdict.ROUNDING, digits=digits, sentence=apart)
    return Finding(Verdict.WRONG, "the network", "", f"every layer is right alone, and put together {still}")


def _apart(
    own: Mapping[str, Array], theirs: Mapping[str, Array], fan: int, moved: Mapping[str, float]
) -> tuple[str | None, float]:
    """The first result that differs by more than its budget, in words, or None; and the fewest digits of agreement."""
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
        eps = float(np.finfo(np.float64).eps)
        allowed = budget.tolerance(np.float64, fan, max(scale, moved.get(name, 0.0) / eps))
        if not off <= allowed:
            return budget.difference(name, got, reference, allowed).sentence(), budget.digits(off, scale)
        if off:
            worst = min(worst, budget.digits(off, scale))
    return None, worst


# Many networks --------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What a range of networks came to."""

    verdicts: Counter[str] = field(default_factory=Counter)
    layers: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    digits: float = 16.0
    wrong: dict[int, Finding] = field(default_factory=dict)

    def add(self, index: int, problem: Problem | None, finding: Finding) -> None:
        """Count one network."""
        self.verdicts[str(finding.verdict)] += 1
        if problem is not None and finding.verdict is not Verdict.VACUOUS:
            self.layers.update(type(layer).__name__ for layer in leaves(problem.items))
            self.losses[type(problem.loss).__name__] += 1
        if finding.verdict is Verdict.AGREE:
            self.digits = min(self.digits, finding.digits)
        if finding.verdict is Verdict.WRONG:
            self.wrong[index] = finding

    def join(self, other: Tally) -> None:
        """Count another range's, too."""
        self.verdicts += other.verdicts
        self.layers += other.layers
        self.losses += other.losses
        self.digits = min(self.digits, other.digits)
        self.wrong |= other.wrong


def problem(composer: Composer, seed: int, index: int) -> Problem | None:
    """The network of that number, the same in every process: composed from the seed, again until the choices lead somewhere."""
    for attempt in range(ATTEMPTS):
        found = composer.problem(Seeded(seed, index, attempt), (seed * 1_000_003 + index) % 2**31)
        if found is not None:
            return found
    return None


def each(registry_: Registry, seed: int, indices: range, most_layers: int) -> Iterator[tuple[int, Problem | None, Finding]]:
    """The networks of a range, one after the other."""
    composer = Composer(registry_, most_layers)
    for index in indices:
        made = problem(composer, seed, index)
        yield index, made, Finding(Verdict.VACUOUS) if made is None else examine(made)
