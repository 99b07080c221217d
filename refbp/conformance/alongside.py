"""Torch beside gradient descent: the identical model takes the same steps, and where the two part, it is said why.

Two trajectories that start from one θ part at last: each step rounds otherwise, and gradient descent can make a difference
grow. That is no mistake. A mistake shows where it is made: at one θ, on one batch, a layer's gradient is not torch's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp import registry
from refbp.conformance import twin
from refbp.conformance.fuzz import Beside, Finding, Verdict, judged, load
from refbp.conformance.probe import noise_of_parts
from refbp.conformance.recording import Recording
from refbp.contract import Layer, State

Array = NDArray[Any]
FIRST = 200  # steps whose agreement is reported by itself
APART = {"float64": 1e-10, "float32": 1e-3}  # relative to the largest parameter, or 1: from here on it is asked why


@dataclasses.dataclass(frozen=True)
class Parting:
    """Where the two trajectories parted, in which entry of the state, by how much, and why."""

    step: int
    entry: str
    distance: float
    wrong: str  # the layer, or "optimizer"; empty where it is rounding
    why: str


class Alongside:
    """The torch model of a network, taking the same steps by torch's own optimizer."""

    def __init__(self, net: Layer[Any], loss: Layer[Any], optimizer: Any, state: State, seed: int) -> None:
        self.net, self.loss, self.optimizer, self.seed = net, loss, optimizer, seed
        self.dtype = next((a.dtype for a in state.values() if a.dtype.kind == "f"), np.dtype(np.float64))
        kind = torch.float32 if self.dtype == np.float32 else torch.float64
        self.loss_spec = registry.current().get(type(loss).__name__).spec
        self.module = twin.build(registry.current().get(type(net).__name__).spec, net).to(kind)
        self.loss_module = twin.build(self.loss_spec, loss).to(kind)
        load(self.module, state)
        load(self.loss_module, loss.init(np.random.default_rng(0)))
        self.worst, self.worst_at, self.first, self.steps = 0.0, 0, 0.0, 0
        self.parting: Parting | None = None
        with _default(kind):
            fields = {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer) if f.init}
            learned = list(self.module.parameters())
            self.theirs = getattr(torch.optim, type(optimizer).__name__)(learned, **fields) if learned else None
        self._kind = kind

    @property
    def wrong(self) -> bool:
        """Whether something is, rather than rounding."""
        return self.parting is not None and bool(self.parting.wrong)

    def noise(self, x: Array, target: Array) -> tuple[Array, ...]:
        """What the twin's random layers will draw in the next step."""
        if not self.net.noisy:
            return ()
        before = twin.state_of(self.module)
        with Recording(self.net, self.module) as recording, torch.no_grad():
            self._loss(x, target, self.steps + 1)
        load(self.module, before)
        return noise_of_parts(recording)

    def _loss(self, x: Array, target: Array, step: int) -> torch.Tensor:
        torch.manual_seed(zlib.crc32(f"{self.seed} {step}".encode()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = self.module(twin.tensor(x))
            return twin.call(self.loss_spec, self.loss_module, [y, twin.tensor(target)], {})[0]

    def step(self, number: int, x: Array, target: Array, state: State, memory: Mapping[str, Array], after: State) -> None:
        """Take the step, and compare θ and the buffers after it with the other's; ``state`` and ``memory`` are from before."""
        before = twin.state_of(self.module)
        self.steps += 1
        self.module.zero_grad()
        loss = self._loss(x, target, self.steps)
        loss.backward()  # type: ignore[no-untyped-call]
        grads = {n: p.grad.to_dense().numpy().copy() for n, p in self.module.named_parameters() if p.grad is not None}
        if self.theirs is not None:
            with _default(self._kind):
                self.theirs.step()
        reached = twin.state_of(self.module)
        entry, distance = _distance(after, reached)
        if distance > self.worst:
            self.worst, self.worst_at = distance, number
        if self.steps <= FIRST:
            self.first = max(self.first, distance)
        asked = self.steps == 1 or distance > APART[self.dtype.name]
        if asked and (self.parting is None):
            found = self._why(x, target, before, memory, grads, reached)
            if found.wrong or distance > APART[self.dtype.name]:
                self.parting = dataclasses.replace(found, step=number, entry=entry, distance=distance)

    def _why(
        self, x: Array, target: Array, before: State, memory: Mapping[str, Array], grads: Mapping[str, Array], reached: State
    ) -> Parting:
        """Both gradients at torch's θ on this batch, in float64; if they agree, both optimizers' step by torch's gradient."""
        wide = {n: _wide(a) for n, a in before.items()}
        finding = judged(Beside(self.net, self.loss, _wide(x), _wide(target), self.seed, wide))
        if finding.verdict is Verdict.WRONG:
            where = f", part {finding.path}" if finding.path and finding.path != "the loss" else ""
            return Parting(0, "", 0.0, finding.layer, f"{finding.layer}{where}: {finding.sentence}")
        moved, _ = self.optimizer.step(before, dict(grads), memory)
        eps = float(np.finfo(self.dtype).eps)
        for name, theirs in reached.parameters.items():
            length = float(np.abs(theirs - before[name]).max(initial=0))
            off = float(np.abs(moved[name] - theirs).max(initial=0))
            if not off <= 1e-3 * length + 64 * eps * float(np.abs(theirs).max(initial=0)):
                own = type(self.optimizer).__name__
                return Parting(0, "", 0.0, own, f"{own}: by the same gradient its step of {name} is {off:.3g} from torch's")
        return Parting(0, "", 0.0, "", _rounding(finding))


def _rounding(finding: Finding) -> str:
    if finding.verdict is Verdict.KNOWN:
        return f"torch is known to be wrong in {finding.layer}: {finding.sentence}"
    return (
        "rounding: at one θ and on one batch every layer's gradient agrees with autograd's, and by one gradient the optimizer's"
        " step with torch's; the last digits differ, and gradient descent makes that grow"
    )


def _wide(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype.kind == "f" else a


def _distance(own: Mapping[str, Array], theirs: Mapping[str, Array]) -> tuple[str, float]:
    """The entry that is furthest apart, and how far, relative to its largest value, or to 1."""
    found = {}
    for name, t in theirs.items():
        apart = np.abs(own[name].astype(np.float64) - t.astype(np.float64))
        off = float(apart.max(initial=0)) / max(1.0, float(np.abs(t).max(initial=0)))
        found[name] = off if np.isfinite(off) else float("inf")
    entry = max(found, key=lambda n: found[n], default="")
    return entry, found.get(entry, 0.0)


@contextlib.contextmanager
def _default(kind: torch.dtype) -> Iterator[None]:
    """Torch's default dtype, in which some of its optimizers keep their scalars."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
