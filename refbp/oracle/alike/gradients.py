"""Which of the arrays that somebody's backward returns is whose gradient: by names, by order, by shapes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.oracle import layout
from refbp.oracle.alike.matching import Function, LikeError, Matched, Offer, synonyms
from refbp.oracle.alike.matching import plain as lower
from refbp.oracle.attempt import Run
from refbp.oracle.calls import Scene
from refbp.oracle.comparison import plain
from refbp.oracle.problem import Problem

PREFIXES = ("dl_d", "dld", "grad_", "d_", "g_", "d", "g")


@dataclass(frozen=True, eq=False)
class Order:
    """What is known of a forward, and one problem to ask the reference about."""

    forward: Function
    given: Matched
    offer: Offer
    loss: bool
    problem: Problem

    def differentiable(self, arrays: Mapping[str, str]) -> list[str]:
        """The arrays that have a gradient, in the order in which they are taken."""
        names = {p: n for p, n in self.given.arrays.items() if p in arrays}
        run = reference(self.problem)
        right = {n for n, g in run.right([np.ones_like(y) for y in run.own]).items() if g is not None}
        order = [p.name for p in self.forward.parameters if names.get(p.name) in right]
        if self.loss:  # a target has a derivative too, which nobody is asked for
            inputs = list(self.problem.layer.inputs())
            order.sort(key=lambda p: inputs.index(names[p]) if names[p] in inputs else len(inputs))
        return order

    def assigned(
        self, arrays: Mapping[str, str], said: Sequence[str], items: Sequence[Any], targets: Sequence[str]
    ) -> dict[str, str]:
        """Gradient to array: by the names that are returned, else in order, unless their shapes allow one other order only."""
        wanted = self.differentiable(arrays)
        named = [self._meant(s, wanted) for s in said]
        told = [n for n in named if n]
        if told and len(set(told)) == len(told) >= min(len(wanted), len(named)):
            return {t: n for t, n in zip(targets, named, strict=True) if n}
        n = len(targets)
        if n == 1:
            return {targets[0]: wanted[0]}
        if n < len(wanted) or n > len(wanted):
            wanted = self._chosen(wanted, items, n, arrays)
        order = self._by_shape(wanted, items, arrays)
        return dict(zip(targets, order, strict=False))

    def in_dict(
        self,
        function: Function,
        arrays: Mapping[str, str],
        keys: Sequence[str],
        value: Mapping[Any, Any],
        targets: Sequence[str],
    ) -> dict[str, str]:
        """The gradients in a dict; LikeError where none is in it."""
        found = self.assigned(arrays, keys, list(value.values()), targets) if keys else {}
        if not found:
            names = ", ".join(f"d{w}" for w in self.differentiable(arrays))
            raise LikeError(f"{function.name} returns a dict in which there is no gradient: it may have {names}.")
        return found

    def _shape(self, name: str, arrays: Mapping[str, str]) -> tuple[int, ...]:
        return np.shape(layout.there(arrays[name], self.problem.arrays, self.problem.names))

    def _chosen(self, wanted: list[str], items: Sequence[Any], n: int, arrays: Mapping[str, str]) -> list[str]:
        """Fewer gradients than arrays: those whose shapes are met in order; a loss is asked for its first only."""
        if self.loss or n > len(wanted):
            return wanted[:n]
        ways = [w for w in itertools.combinations(wanted, n) if self._match(w, items, arrays)]
        if len(ways) == 1:
            return list(ways[0])
        shown = ", ".join(f"d{w}" for w in wanted)
        raise LikeError(
            f"backward returns {n} gradient{'s' * (n > 1)} where {len(wanted)} are wanted, and it is not clear which:"
            f" return {shown}, in this order or under these names."
        )

    def _match(self, names: Sequence[str], items: Sequence[Any], arrays: Mapping[str, str]) -> bool:
        return all(shape_of(i) == self._shape(w, arrays) for w, i in zip(names, items, strict=False))

    def _by_shape(self, wanted: list[str], items: Sequence[Any], arrays: Mapping[str, str]) -> list[str]:
        if len(wanted) > 5 or any(i is None for i in items) or self._match(wanted, items, arrays):
            return wanted
        ways = [list(w) for w in itertools.permutations(wanted) if self._match(w, items, arrays)]
        return ways[0] if len(ways) == 1 else wanted

    def _meant(self, said: str, wanted: Sequence[str]) -> str:
        """The array whose gradient a name says it is: dx, dW, grad_bias, weight_grad, or the array's own name in a dict."""
        name = lower(said).removesuffix("_grad").removesuffix(".grad")
        forms = {name, *(name.removeprefix(p).lstrip("_") for p in PREFIXES if name.startswith(p) and len(name) > len(p))}
        for w in wanted:
            if lower(w) in forms:
                return w
        for w in wanted:
            reference = self.given.arrays[w]
            if forms & set(synonyms(reference, reference == self.offer.inputs[0])) - {"d", "g"}:
                return w
        return ""


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of what came back; None where it is no array of numbers."""
    a = plain(value)
    return None if a is None else a.shape


def reference(problem: Problem) -> Run:
    """The reference's own pass, with all of it kept where it draws at random."""
    if getattr(problem.layer, "noisy", False) and len(problem.inputs) < len(problem.layer.inputs()):
        problem = dataclasses.replace(problem, layer=dataclasses.replace(problem.layer, training=False))  # type: ignore[type-var]
    return Run(problem, Scene(None, {}))  # type: ignore[arg-type]
