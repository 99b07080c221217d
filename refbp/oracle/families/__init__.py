"""The mathematics of each family of layers, as the explainer needs it: what a gradient is the sum of, which quantities it is
made of, and how it is commonly got wrong.

Everything here is computed from the inputs, the state and the upstream gradient alone, by the textbook's formula and not by
the layer's code: that the terms sum to the layer's gradient is a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from refbp.oracle.families import (
    attention,
    axes,
    chain,
    classification,
    elementwise,
    graphs,
    lookup,
    losses,
    normalization,
    recurrent,
    softmax,
    windows,
)
from refbp.oracle.families._family import Family, Terms
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake

FAMILIES: tuple[Family, ...] = (
    *elementwise.FAMILIES,
    *normalization.FAMILIES,
    *softmax.FAMILIES,
    *classification.FAMILIES,
    *losses.FAMILIES,
    *lookup.FAMILIES,
    *windows.FAMILIES,
    *recurrent.FAMILIES,
    *attention.FAMILIES,
    *graphs.FAMILIES,
    *axes.FAMILIES,
)


def _of(o: Observation) -> Iterator[Family]:
    names = {cls.__name__ for cls in type(o.layer).__mro__}
    return (f for f in FAMILIES if names & set(f.layers))


def terms(o: Observation) -> Terms:
    """For each gradient the terms that it is the sum of, by name; only gradients of several terms."""
    found: Terms = {}
    for family in _of(o):
        if family.terms:
            found |= family.terms(o)
    return found | chain.shares(o)


def quantities(o: Observation) -> Mapping[str, Array]:
    """The arrays that gradients are made of, by name: the family's, inputs and state, outputs, upstream gradients."""
    found: dict[str, Array] = {}
    for family in _of(o):
        if family.quantities:
            found |= family.quantities(o)
    for name, a in o.arrays.items():
        found.setdefault(name, a)
    names = list(o.layer.outputs()) or ["y"]
    for name, y in zip(names, o.outputs, strict=False):
        found.setdefault(name, y)
    for i, dy in enumerate(o.upstream):
        if dy is not None:
            found.setdefault("the upstream gradient" if len(o.upstream) == 1 else f"the upstream gradient {i}", dy)
    return {n: a for n, a in found.items() if a.dtype.kind in "fb"}


def mistakes(o: Observation) -> Iterator[Mistake]:
    """The ways in which gradients of this layer are commonly got wrong; a plugin's own come from its Spec.

    The reference of an exercise, which need not be registered, has its own as an attribute ``mistakes``.
    """
    from refbp import registry

    entry = registry.current().entries.get(type(o.layer).__name__)
    if entry is not None and entry.spec.layer is type(o.layer):
        yield from entry.spec.mistakes
    yield from _own(o)
    yield from chain.mistakes(o, _own, terms)


def _own(o: Observation) -> Iterator[Mistake]:
    """Those that a layer has by itself, not by what it is made of."""
    yield from getattr(o.layer, "mistakes", ())
    for family in _of(o):
        yield from family.mistakes


def output_mistakes(o: Observation) -> Iterator[Mistake]:
    """The ways in which outputs of this layer are commonly got wrong, by the names of outputs; as ``mistakes`` are found."""
    yield from getattr(o.layer, "output_mistakes", ())
    for family in _of(o):
        yield from family.of_outputs


__all__ = ["FAMILIES", "Family", "mistakes", "output_mistakes", "quantities", "terms"]
