"""What went into every part of a network and came out of it, forward and backward: hooks on its twin keep it, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp import registry
from refbp.conformance import budget, twin
from refbp.contract import Layer, State
from refbp.spec import Spec

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
    off: dict[str, float] = field(default_factory=dict)  # how far the layer alone was from its twin, once it was looked at

    def given(self) -> list[Array | None]:
        """The inputs, without those at the end that were left out."""
        given = [array(t) for t in self.inputs]
        while given and given[-1] is None:
            given.pop()
        return given

    def above(self, name: str) -> float:
        """The scale of one gradient if the layer's slope were 1: what came from above, and for a parameter the input, too."""
        dy = max((budget.norm(g) for g in self.dy if g is not None), default=0.0)
        x = max((budget.norm(a) for a in self.given() if a is not None), default=0.0)
        return dy * x if name in self.params else dy

    @property
    def extremes(self) -> tuple[float, bool]:
        """The largest magnitude of all that was met, and whether all of it is finite."""
        arrays = (*self.given(), *map(array, self.outputs), *self.dx, *self.dy, *self.params.values())
        met = [a for a in arrays if a is not None]
        return max(map(budget.norm, met), default=0.0), all(np.isfinite(a).all() for a in met)

    @staticmethod
    def results(outputs: Sequence[Array | None], grads: Mapping[str, Array | None]) -> dict[str, Array]:
        """Outputs and gradients under one name each; what has no gradient is left out."""
        named = {f"output {i}": y for i, y in enumerate(outputs)} | dict(grads)
        return {n: a for n, a in named.items() if a is not None}

    @property
    def spec(self) -> Spec:
        """The part's own."""
        return registry.current().get(type(self.layer).__name__).spec


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

    def gradients(self, loss: torch.Tensor) -> None:
        """Differentiate the loss by everything that was recorded; the graph is kept for whoever comes after."""
        wanted: list[tuple[list[Any], int, torch.Tensor]] = []
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


def _before(seen: Seen) -> Any:
    def hook(_: torch.nn.Module, inputs: Any) -> Any:
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
    def hook(_: torch.nn.Module, __: Any, output: Any) -> Any:
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


def array(tensor: torch.Tensor | None) -> Array | None:
    """A tensor's numbers."""
    return None if tensor is None else tensor.detach().numpy()
