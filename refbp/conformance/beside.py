"""Torch, run beside a list of layers: the same layers applied to the same named values, differentiated by autograd."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from refbp import registry
from refbp.conformance import budget, probe, twin
from refbp.contract import Layer, is_training
from refbp.spec import Spec

Array = NDArray[Any]
ZERO = 1e-13  # times the largest gradient of the same pass: what is smaller is the rounding of a gradient that is zero


class Applied(Protocol):
    """One layer applied to values by name; ``entries`` are its entries of the state, by the state's names."""

    @property
    def layer(self) -> Layer[Any]: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def entries(self) -> Mapping[str, str]: ...


class Pass(NamedTuple):
    """What one layer met, and what it made of it by itself: outputs y0, …, gradients of its inputs x0, … and parameters."""

    inputs: Sequence[Array]
    upstream: Sequence[Array | None]
    own: Mapping[str, Array]


class Run(NamedTuple):
    """What torch computed: values, their gradients, the parameters' gradients, and the parameters after one step."""

    values: dict[str, Array]
    grads: dict[str, Array | None]
    params: dict[str, Array]
    after: dict[str, Array]


class Beside:
    """The twins of a list of layers, in one state."""

    def __init__(self, nodes: Sequence[Applied], state: Mapping[str, Array], seed: int) -> None:
        self.nodes = nodes
        self.seed = seed
        self.specs = [_spec(node.layer) for node in nodes]
        self.twins = [twin.build(spec, node.layer) for spec, node in zip(self.specs, nodes, strict=True)]
        for module, node in zip(self.twins, nodes, strict=True):
            ours = {own: name for name, own in node.entries.items()}
            with torch.no_grad():
                for name, tensor in module.state_dict().items():
                    tensor.copy_(torch.from_numpy(np.array(state[ours[name]])))

    def noise(self, i: int, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """The noise that the twin of node i draws, as further inputs of its layer; none where it draws none."""
        recover, layer = self.specs[i].noise, self.nodes[i].layer
        if recover is None or not is_training(layer):
            return ()
        return recover(layer, probe.Probe(self.twins[i], layer, self.specs[i], self.seed + i, {}), *inputs)

    def run(
        self,
        given: Mapping[str, Array],
        output: str,
        upstream: Array,
        lr: float = 0.0,
        dtype: Any = np.float64,
        round_to: Any = None,
    ) -> Run:
        """One pass forward, backward from ``upstream``, the gradient of ``output``, and one step of descent."""
        values = {n: twin.tensor(_cast(a, dtype, round_to)) for n, a in given.items()}
        for tensor in values.values():
            if tensor is not None and tensor.is_floating_point():
                tensor.requires_grad_()
        learned: dict[str, torch.nn.Parameter] = {}
        for i, node in enumerate(self.nodes):
            module = copy.deepcopy(self.twins[i])
            with torch.no_grad():
                for t in module.state_dict().values():
                    t.copy_(t.to(torch.float32 if round_to == np.float32 else t.dtype))
            module = module.float() if dtype == np.float32 else module
            ours = {own: name for name, own in node.entries.items()}
            learned |= {ours[n]: p for n, p in module.named_parameters()}
            torch.manual_seed(self.seed + i)
            # a copy goes in, for a module with inplace=True would write its output over the value that is differentiated
            inputs = [None if (v := values[n]) is None else v.clone() for n in node.inputs]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outputs = twin.call(self.specs[i], module, inputs, {})
            values |= dict(zip(node.outputs, outputs, strict=False))
        tensors = {n: t for n, t in values.items() if t is not None}
        sought = {n: t for n, t in tensors.items() if t.requires_grad} | {n: p for n, p in learned.items() if p.requires_grad}
        root = tensors[output]
        found = torch.autograd.grad(root, list(sought.values()), torch.from_numpy(upstream).to(root.dtype), allow_unused=True)
        grads = {n: None if g is None else g.to_dense() for n, g in zip(sought, found, strict=True)}
        # a parameter that takes no part has a gradient of zero here, where autograd has none
        params = {n: g if (g := grads.get(n)) is not None else torch.zeros_like(p) for n, p in learned.items()}
        with torch.no_grad():  # as torch.optim.SGD steps, which takes a second to import
            after = {n: torch.add(p, params[n], alpha=-lr) for n, p in learned.items()}
        return Run(
            {n: t.detach().numpy() for n, t in tensors.items()},
            {n: None if (g := grads.get(n)) is None else g.numpy() for n in tensors},
            {n: g.numpy() for n, g in params.items()},
            {n: p.numpy() for n, p in after.items()},
        )

    def alone(self, i: int, met: Pass, dtype: Any = np.float64, rounded: bool = False) -> dict[str, Array]:
        """What the twin of node i makes of the very arrays that its layer met: outputs, and gradients for its upstream."""
        module = copy.deepcopy(self.twins[i])
        with torch.no_grad():
            for t in module.state_dict().values():
                t.copy_(t.to(torch.float32 if rounded else t.dtype))
        module = module.float() if dtype == np.float32 else module
        torch.manual_seed(self.seed + i)
        inputs = [twin.tensor(_cast(a, dtype, np.float32 if rounded else None)) for a in met.inputs]
        leaves = {f"x{k}": t.requires_grad_() for k, t in enumerate(inputs) if t is not None and t.is_floating_point()}
        sought = leaves | {n: p for n, p in module.named_parameters() if p.requires_grad}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = twin.call(self.specs[i], module, [None if t is None else t.clone() for t in inputs], {})
        found = {f"y{k}": y.detach().numpy() for k, y in enumerate(outputs) if k < len(met.upstream)}
        pulled = [(y, torch.from_numpy(u).to(y.dtype)) for y, u in zip(outputs, met.upstream, strict=False) if u is not None]
        if sought and (pulled := [(y, u) for y, u in pulled if y.requires_grad]):
            ys, us = ([pair[k] for pair in pulled] for k in (0, 1))
            grads = torch.autograd.grad(ys, list(sought.values()), us, allow_unused=True)
            found |= {n: g.to_dense().numpy() for n, g in zip(sought, grads, strict=True) if g is not None}
        return found


class Check(NamedTuple):
    """One quantity against torch's: whether it agrees, and to how many digits."""

    agrees: bool
    digits: float


class Judge:
    """Says of each quantity whether it agrees, within the budget that its own condition allows."""

    def __init__(self, beside: Beside, given: Mapping[str, Array], output: str, upstream: Array, lr: float) -> None:
        self._again = (beside, given, output, upstream, lr)
        self.run = beside.run(given, output, upstream, lr)
        sizes = [a.size for part in (self.run.values, self.run.params) for a in part.values()]
        self._fan = max([1, *sizes])
        self._largest = max(
            [0.0, *(budget.norm(g) for g in (*self.run.grads.values(), *self.run.params.values()) if g is not None)]
        )
        self._rounded: tuple[Run, Run] | None = None

    def __call__(self, kind: str, name: str, own: Array) -> Check | None:
        """The check of one value ("values"), gradient ("grads", "params") or parameter after the step ("after")."""
        reference: Array | None = getattr(self.run, kind).get(name)
        if reference is None:
            return None
        if own.shape != reference.shape:
            return Check(False, 0.0)
        off, norm = budget.error(own, reference), budget.norm(reference)
        finite = bool(np.isfinite(own).all() and np.isfinite(reference).all())
        if kind in ("grads", "params") and finite and max(norm, budget.norm(own)) < ZERO * self._largest:
            return Check(True, budget.MOST_DIGITS["float64"])
        if off > budget.tolerance(np.float64, self._fan, norm):
            norm = max(norm, self._condition(kind, name))  # what torch itself loses in float32 may be lost here
        return Check(off <= budget.tolerance(np.float64, self._fan, norm), budget.digits(off, norm))

    def _condition(self, kind: str, name: str) -> float:
        if self._rounded is None:
            beside, given, output, upstream, lr = self._again
            upstream = upstream.astype(np.float32).astype(np.float64)
            self._rounded = (
                beside.run(given, output, upstream, lr, np.float32, np.float32),
                beside.run(given, output, upstream, lr, np.float64, np.float32),
            )
        single, wide = (getattr(run, kind).get(name) for run in self._rounded)
        off = budget.error(single, wide) if single is not None and wide is not None else 0.0
        return off / float(np.finfo(np.float32).eps) if np.isfinite(off) else 0.0

    def right_alone(self, passes: Sequence[Pass]) -> bool:
        """Whether every layer is torch's on the very arrays that it met: what differs in the end is then rounding, grown."""
        beside = self._again[0]
        for i, met in enumerate(passes):
            spread: dict[str, float] | None = None
            for name, theirs in beside.alone(i, met).items():
                own = met.own.get(name, np.zeros_like(theirs))
                if own.shape != theirs.shape:
                    return False
                off, norm = budget.error(own, theirs), budget.norm(theirs)
                if not off <= budget.tolerance(np.float64, self._fan, norm):
                    spread = self._spread(i, met) if spread is None else spread
                    if not off <= budget.tolerance(np.float64, self._fan, max(norm, spread.get(name, 0.0))):
                        return False
        return True

    def _spread(self, i: int, met: Pass, runs: int = 4) -> dict[str, float]:
        """How much torch loses in float32 in one layer, near what it met: at one point it may lose nothing by chance."""
        beside, rng = self._again[0], np.random.default_rng(0)
        found: dict[str, float] = {}
        for _ in range(runs):
            moved = [a * (1 + 1e-6 * rng.normal(size=a.shape)) if a.dtype.kind == "f" else a for a in met.inputs]
            near = met._replace(inputs=moved)
            single, wide = beside.alone(i, near, np.float32, True), beside.alone(i, near, np.float64, True)
            for name in single.keys() & wide.keys():
                off = budget.error(single[name], wide[name]) / float(np.finfo(np.float32).eps)
                found[name] = max(found.get(name, 0.0), off if np.isfinite(off) else 0.0)
        return found


def known_defects(layer: Layer[Any]) -> list[str]:
    """Where torch's gradient of a layer is known to be wrong: the reasons of its waivers."""
    return [w.reason for w in _spec(layer).waivers if w.check == "gradients"]


def _cast(a: Array, dtype: Any, round_to: Any) -> Array:
    return a.astype(round_to or dtype).astype(dtype) if a.dtype.kind == "f" else a


def _spec(layer: Layer[Any]) -> Spec:
    return registry.current().get(type(layer).__name__).spec
