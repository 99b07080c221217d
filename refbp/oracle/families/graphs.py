"""Graphs of values: ∂z/∂s is the sum of what arrives at s from all its uses, and goes on only when all has arrived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from refbp.oracle.families._family import Family, slips
from refbp.oracle.observation import Observation


def _gradients(o: Observation, slip: str) -> Mapping[str, Any]:
    """The gradients of a graph's inputs with a slip in the pass over it."""
    graph: Any = o.layer
    uses = list(zip(graph.uses, o.step.saved, strict=True))
    if any(len(use.outputs) > 1 for use, _ in uses) or len(o.upstream) != 1:
        return {}
    if slip == "again":
        arrived = dict(_sent_again(uses, o.dy))
    else:
        arrived = {graph.uses[-1].name: o.dy}
        for use, step in reversed(uses):
            if use.name in arrived:
                for name, grad in _sent(use, step.backward(arrived[use.name]).inputs, slip):
                    if name not in arrived or slip == "overwritten":
                        arrived[name] = grad
                    elif slip != "first":
                        arrived[name] = arrived[name] + grad
    return {n: arrived[n] for n in graph.leaves if n in arrived}


def _sent(use: Any, grads: Any, slip: str) -> Iterator[tuple[str, Any]]:
    """What an operator sends to its inputs."""
    for place, (name, grad) in enumerate(zip(use.inputs, grads, strict=False)):
        if grad is not None and not (slip == "once" and name in use.inputs[place + 1 :]):
            yield name, grads[use.inputs.index(name)] if slip == "by value" else grad


def _sent_again(uses: list[Any], dy: Any) -> dict[str, Any]:
    """What arrives where each arrival is sent on at once, with what was there before."""
    makers = {use.name: (use, step) for use, step in uses}
    arrived: dict[str, Any] = {}
    todo = [(uses[-1][0].name, dy)]
    while todo and len(todo) < 1000:
        name, grad = todo.pop()
        arrived[name] = np.add(arrived[name], grad) if name in arrived else grad
        if name in makers:
            use, step = makers[name]
            grads = step.backward(arrived[name]).inputs
            todo += [(n, g) for n, g in zip(use.inputs, grads, strict=False) if g is not None]
    return arrived


FAMILIES = (
    Family(
        ("Graph",),
        mistakes=slips(
            _gradients,
            {
                "overwritten": "what arrives at a value overwrites what is there from its other uses: = stands for +=",
                "first": "only what arrives first at a value counts: what comes from its other uses is dropped",
                "by value": "an operator given one value twice sends back its first gradient for both: a gradient belongs to"
                " a place among the inputs, not to the value there",
                "once": "an operator that is given one value twice sends back the gradient of one of the two places only",
                "again": "a value sends its gradient on whenever something arrives, with what was there before: it should"
                " wait until all has arrived, in reverse topological order",
            },
        ),
    ),
)
