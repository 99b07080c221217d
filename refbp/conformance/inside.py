"""Inside a network's twin: what went into every part and came out of it, forward and backward, and who is wrong alone.

Two runs of a network may differ because a layer is wrong, or because rounding errors have grown on their way through it.
Hooks on the twin tell the two apart. :class:`Recording` keeps what each part received, bit by bit: given the same, a layer
that is right agrees with its own twin, however far apart the networks have come. :func:`jittered` disturbs every part's
output and gradient by a rounding error: what moves by as much as the networks differ was not computed more exactly.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp import registry
from refbp.conformance import compare, twin
from refbp.conformance.outcome import Outcome
from refbp.conformance.trial import Trial
from refbp.contract import Layer, State
from refbp.draws import Draw, special
from refbp.spec import Case, Spec

Array = NDArray[Any]


def parts(net: Layer[Any], path: str = "") -> Iterator[tuple[str, Layer[Any]]]:
    """The layers that a network is made of, each under the path of its state entries; a layer that is no network is one."""
    uses = [(use.name, use.layer) for use in getattr(net, "uses", ())]
    inner: Sequence[tuple[str, Layer[Any]]] = (*getattr(net, "parts", ()), *uses)
    if not inner and not hasattr(net, "parts"):
        yield path, net
    for name, layer in inner:
        yield from parts(layer, f"{path}.{name}" if path else name)


@dataclass
class Seen:
    """One part's pass: torch's random state before it, inputs, outputs, and what ``gradients`` finds."""

    layer: Layer[Any]
    module: torch.nn.Module
    state: State
    random: torch.Tensor | None = None
    inputs: list[torch.Tensor | None] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)
    dx: list[Array | None] = field(default_factory=list)
    dy: list[Array | None] = field(default_factory=list)
    params: dict[str, Array] = field(default_factory=dict)

    @property
    def spec(self) -> Spec:
        """The part's own."""
        return registry.current().get(type(self.layer).__name__).spec

    def noise(self) -> tuple[Array | None, ...]:
        """The noise that this pass drew, recovered from torch's random state."""
        recover = self.spec.noise
        if recover is None or self.random is None:
            return ()
        probe = twin.Probe(self.module, self.layer, self.spec, self.random, {})
        kept = torch.get_rng_state()
        arrays = recover(self.layer, probe, *(_array(t) for t in self.inputs))
        torch.set_rng_state(kept)
        dtype = next((t.detach().numpy().dtype for t in self.outputs if t.is_floating_point()), np.dtype(np.float64))
        return tuple(a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in arrays)


class Recording:
    """Records every part of a network during one pass of its twin: a context manager around the twin's forward."""

    def __init__(
        self, net: Layer[Any], module: torch.nn.Module, others: Mapping[str, tuple[Layer[Any], torch.nn.Module]] | None = None
    ) -> None:
        self.seen: dict[str, Seen] = {}
        self._hooks: list[Any] = []
        inner = {path: (layer, module.get_submodule(path)) for path, layer in parts(net)}
        for path, (layer, submodule) in (inner | dict(others or {})).items():
            self.seen[path] = seen = Seen(layer, submodule, twin.state_of(submodule))
            self._hooks.append(submodule.register_forward_pre_hook(_before(seen)))
            self._hooks.append(submodule.register_forward_hook(_after(seen)))

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def noise(self) -> tuple[Array | None, ...]:
        """The noise of the whole network, in the order of its inputs."""
        return tuple(a for seen in self.seen.values() for a in seen.noise()[_left_out(seen.layer) :])

    def gradients(self, loss: torch.Tensor) -> None:
        """Differentiate the loss by everything that was recorded; the graph is kept for whoever comes after."""
        wanted: list[tuple[list[Any], int | None, torch.Tensor]] = []
        for seen in self.seen.values():
            seen.dx, seen.dy = [None] * len(seen.inputs), [None] * len(seen.outputs)
            for tensors, grads in ((seen.inputs, seen.dx), (seen.outputs, seen.dy)):
                wanted += [(grads, i, t) for i, t in enumerate(tensors) if t is not None and t.requires_grad]
        learned = [(s, n, p) for s in self.seen.values() for n, p in s.module.named_parameters() if p.requires_grad]
        tensors = [t for _, _, t in wanted] + [p for _, _, p in learned]
        found = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True) if tensors else ()
        for (grads, i, _), g in zip(wanted, found, strict=False):
            grads[i] = None if g is None else g.detach().numpy()
        for (seen, name, p), g in zip(learned, found[len(wanted) :], strict=True):
            seen.params[name] = np.zeros_like(p.detach().numpy()) if g is None else g.to_dense().numpy()

    def wrong(self) -> Iterator[tuple[str, Layer[Any], Outcome]]:
        """The parts that are wrong by themselves: given what their twins were given, they answer otherwise."""
        for path, seen in self.seen.items():
            with np.errstate(all="ignore"):
                outcome = alone(path, seen)
            if outcome is not None and outcome.wrong:
                yield path, seen.layer, outcome


def _left_out(layer: Layer[Any]) -> int:
    """How many of the recovered noise inputs stand for optional inputs that a network leaves out."""
    noise = getattr(layer, "noise", None)
    return len(layer.inputs()) - 1 - len(noise()) if noise else 0


def _before(seen: Seen) -> Any:
    def hook(module: torch.nn.Module, inputs: Any) -> Any:
        if seen.layer.noisy:
            seen.random = torch.get_rng_state()
        seen.inputs = []
        return tuple(_aliased(a, seen.inputs) for a in inputs)

    return hook


def _aliased(value: Any, kept: list[torch.Tensor | None]) -> Any:
    """A copy for this part alone: gradients of a value that others use too are not mixed up, and writing to it is harmless."""
    if isinstance(value, tuple | list):
        return type(value)(_aliased(v, kept) for v in value)
    if not isinstance(value, torch.Tensor):
        kept.append(None)
        return value
    own = value.clone()
    kept.append(own)
    return own.clone()


def _after(seen: Seen) -> Any:
    def hook(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        seen.outputs = []
        return _kept(output, seen.outputs)

    return hook


def _kept(value: Any, kept: list[torch.Tensor]) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_kept(v, kept) for v in value)
    if isinstance(value, torch.Tensor):
        kept.append(value)
        return value.clone()
    return value


def _array(tensor: torch.Tensor | None) -> Array | None:
    return None if tensor is None else tensor.detach().numpy()


# One part alone -------------------------------------------------------------------------------------------------------


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


def alone(path: str, seen: Seen) -> Outcome | None:
    """Whether one part agrees with its twin on what the twin met; None where it was not reached by the loss."""
    if not seen.outputs or all(g is None for g in seen.dy):
        return None
    given = [_array(t) for t in seen.inputs]
    spec = seen.spec
    case = Case(seen.layer, *(None if a is None else _draw(a) for a in given), id=path)
    trial = Alone(dataclasses.replace(spec, cases=[case]), seen.dy)
    names = trial.input_names
    grads = {n: g for n, t, g in zip(names, seen.inputs, seen.dx, strict=False) if t is not None and t.requires_grad}
    ran = types.SimpleNamespace(outputs=[_array(y) for y in seen.outputs], grads=grads | seen.params, state={})
    trial.__dict__.update(drawn=tuple(given), twin=seen.module, state=seen.state, noise=seen.noise(), torch=ran)
    outcome = compare.outputs(trial, trial.outputs, ran.outputs)
    if outcome.wrong:
        return outcome
    own = {n: g for n, g in trial.own_grads.items() if n in ran.grads or n not in names}
    return compare.gradients(trial, own, ran.grads)


def _draw(array: Array) -> Draw:
    return special("given", array.shape, lambda _: array)


# Rounding -------------------------------------------------------------------------------------------------------------


@contextmanager
def jittered(net: Layer[Any], module: torch.nn.Module, rng: np.random.Generator) -> Iterator[None]:
    """While it is entered, every part's outputs, and the gradients that reach them, are off by eps of their largest value."""

    def off(t: torch.Tensor) -> torch.Tensor:
        size = float(t.detach().abs().max()) if t.numel() else 0.0
        return t + torch.from_numpy(rng.uniform(-1, 1, t.shape)) * size * torch.finfo(t.dtype).eps

    def moved(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(moved, value))
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        value = off(value)
        if value.requires_grad:
            value.register_hook(off)
        return value

    hooks = [
        module.get_submodule(path).register_forward_hook(lambda _module, _inputs, output: moved(output))
        for path, _ in parts(net)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
