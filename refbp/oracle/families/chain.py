"""Layers one after another, perhaps with a loss at the end: what goes wrong in one link goes on from there.

The links' own mistakes are tried in every link, and in all links of a kind at once, as a loop over them makes it; what comes
after is passed through the right layers. Then there is what goes wrong between two links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Step
from refbp.oracle.families._family import Terms
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake

Own = Callable[[Observation], Iterator[Mistake]]
Change = Callable[["Link", Array], Mapping[str, Any]]  # of a link and its upstream gradient: what it gives instead


class Link(NamedTuple):
    """One layer of a chain: its place in it, what it was given, and its pass."""

    place: int
    name: str
    layer: Any
    state: Mapping[str, Array]
    x: Array
    step: Step

    def seen(self, dy: Array) -> Observation:
        """The link alone, with its right gradients."""
        grads = self.step.backward(dy)
        expected = dict(zip(self.layer.inputs(), grads.inputs, strict=False)) | grads.params
        right = {n: g for n, g in expected.items() if g is not None}
        return Observation(self.layer, self.state, (self.x,), (dy,), {}, right)


class Chain(NamedTuple):
    """The links, the loss of what they give, if there is one, and the gradient that comes in at the end."""

    links: list[Link]
    head: Observation | None
    dy: Array

    def back(self, changes: Mapping[int, Change], dy: Array | None = None) -> dict[str, Any]:
        """Every gradient, with some of the links, or what comes in at the end, changed."""
        found: dict[str, Any] = {}
        passed: Any = self.dy if dy is None else dy
        for link in reversed(self.links):
            grads = link.step.backward(passed)
            given = {"x": grads.inputs[0], **grads.params}
            if link.place in changes:
                given |= changes[link.place](link, passed)
            passed = given.pop("x")
            found |= {f"{link.name}.{n}": g for n, g in given.items()}
        return found | {"x": passed}


def _is(layer: Any, name: str) -> bool:
    return any(cls.__name__ == name for cls in type(layer).__mro__)


def _chain(o: Observation) -> Chain | None:
    """The chain of a case: a Sequential, or one that is the ``body`` of a layer whose ``head`` is its loss."""
    if "_chain" not in o.__dict__:
        try:
            o.__dict__["_chain"] = _made(o)
        except Exception:  # a layer that is itself what is wrong may do anything: then nothing is told of its links
            o.__dict__["_chain"] = None
    found: Chain | None = o.__dict__["_chain"]
    return found


def _made(o: Observation) -> Chain | None:
    layer: Any = o.layer
    if _is(layer, "Sequential"):
        return Chain(_links(layer, o, o.step.saved), None, o.dy)
    body, saved = getattr(layer, "body", None), o.step.saved
    names = list(layer.outputs())
    if not _is(body, "Sequential") or not hasattr(saved, "head") or len(names) != 2 or "loss" not in names:
        return None
    k = names.index("loss")
    dloss, dy = o.upstream[k], o.upstream[1 - k]
    y = np.asarray(saved.body.outputs)
    dloss = np.zeros(()) if dloss is None else np.asarray(dloss)
    top = np.asarray(saved.head.backward(dloss).inputs[0])
    head = Observation(saved.head.layer, {}, (y, *o.inputs[1:]), (dloss,), {}, {next(iter(saved.head.layer.inputs())): top})
    return Chain(_links(body, o, saved.body.saved), head, top if dy is None else top + dy)


def _links(layer: Any, o: Observation, steps: Sequence[Step]) -> list[Link]:
    found, x = [], o.x
    for i, ((name, part), step) in enumerate(zip(layer.parts, steps, strict=True)):
        own = {n.removeprefix(f"{name}."): a for n, a in o.state.items() if n.startswith(f"{name}.")}
        found.append(Link(i, name, part, own, x, step))
        x = np.asarray(step.outputs)
    return found


def _mistake(words: str, gradients: Callable[[Chain], Mapping[str, Any]]) -> Mistake:
    """A mistake of the chain; what a case has besides it, a regulariser's share, stays as it is."""

    def shifted(o: Observation) -> Mapping[str, Any]:
        chain = _chain(o)
        assert chain is not None
        right, wrong = chain.back({}), gradients(chain)
        return {n: o.expected[n] + (g - right[n]) for n, g in wrong.items() if n in o.expected}

    return Mistake(words, shifted)


def mistakes(o: Observation, own: Own, terms: Callable[[Observation], Terms]) -> Iterator[Mistake]:
    """The mistakes of a chain; ``own`` and ``terms`` give those of a single layer."""
    chain = _chain(o)
    if chain is None:
        return
    for label, places in _sets(chain.links, "Elementwise"):
        for k, words in enumerate(_words(chain.links[places[0]], own)):
            yield _mistake(f"{words}, in {label}", partial(Chain.back, changes=dict.fromkeys(places, _slip(k, own))))
    for label, places in _sets(chain.links, "Linear"):
        yield from _between(chain, label, places)
    if chain.head is not None:
        yield from _at_the_end(chain.head, terms)


def _words(link: Link, own: Own) -> list[str]:
    """What may go wrong in one link."""
    try:
        return [m.words for m in own(link.seen(np.asarray(link.step.outputs)))]
    except Exception:  # as above
        return []


def _slip(k: int, own: Own) -> Change:
    """The k-th of a layer's own mistakes."""

    def change(link: Link, dy: Array) -> Mapping[str, Any]:
        seen = link.seen(dy)
        return next(m for i, m in enumerate(own(seen)) if i == k).gradients(seen)

    return change


def _sets(links: Sequence[Link], kind: str) -> Iterator[tuple[str, list[int]]]:
    """All layers of one class, then each by itself, and what they are called."""
    classes = dict.fromkeys(type(link.layer).__name__ for link in links if _is(link.layer, kind))
    for name in classes:
        places = [link.place for link in links if type(link.layer).__name__ == name]
        called = kind if kind == "Linear" else name
        if len(places) == 1:
            yield f"the {called}", places
            continue
        yield f"every {called}", places
        yield from ((f"{called} {i}", [place]) for i, place in enumerate(places, start=1))


def _between(chain: Chain, label: str, places: list[int]) -> Iterator[Mistake]:
    """What goes wrong where a linear layer meets the activation behind it, or before it."""
    links = chain.links

    def unsloped(c: Chain) -> Mapping[str, Any]:
        """Backward through the weights, of the gradient that has not been through the activation's slope yet."""
        arrived: dict[int, Array] = {}

        def kept(link: Link, dy: Array) -> Mapping[str, Any]:
            arrived[link.place] = dy
            return {}

        def sent(link: Link, dy: Array) -> Mapping[str, Any]:
            return {"x": link.step.backward(arrived.get(link.place + 1, dy)).inputs[0]}

        return c.back({p + 1: kept for p in places if p + 1 < len(links)} | dict.fromkeys(places, sent))

    def before(c: Chain) -> Mapping[str, Any]:
        def early(link: Link, dy: Array) -> Mapping[str, Any]:
            return {"weight": dy.T @ c.links[link.place - 1].x}

        return c.back(dict.fromkeys((p for p in places if p and _is(c.links[p - 1].layer, "Elementwise")), early))

    def of_one(c: Chain, sample: int) -> Mapping[str, Any]:
        """The share of one sample in every weight's gradient."""

        def alone(link: Link, dy: Array) -> Mapping[str, Any]:
            one = np.zeros_like(dy)
            one[sample] = dy[sample]
            return {"weight": link.step.backward(one).params["weight"]}

        return c.back(dict.fromkeys(places, alone))

    for word, sample in (("last", -1), ("first", 0)):
        only = f"only the {word} sample's share is left of the weight's gradient in {label}: = where += is meant"
        yield _mistake(only, partial(of_one, sample=sample))
    if any(p + 1 < len(links) and _is(links[p + 1].layer, "Elementwise") and p for p in places):
        yield _mistake(
            f"{label} sends back a gradient that has not been through the slope of the activation behind it", unsloped
        )
    if any(p and _is(links[p - 1].layer, "Elementwise") for p in places):
        yield _mistake(f"the input of {label} is taken before the activation, z where a is meant", before)


def _at_the_end(head: Observation, terms: Callable[[Observation], Terms]) -> Iterator[Mistake]:
    """A term of the loss's gradient that is missing, or has the wrong sign."""
    (name,) = head.expected
    for term in terms(head).get(name, {}):
        for words, factor in (("is missing", 1.0), ("has the wrong sign", 2.0)):

            def changed(c: Chain, term: str = term, factor: float = factor) -> Mapping[str, Any]:
                assert c.head is not None
                return c.back({}, c.dy - factor * terms(c.head)[name][term])

            yield _mistake(f"the term {term} of the loss's gradient {words}", changed)


def shares(o: Observation) -> Terms:
    """What the gradient of a weight is the sum of, where a regulariser has a share in it."""
    decay = getattr(o.step.saved, "decay", None) if hasattr(o.layer, "body") else None
    names = list(o.layer.outputs())
    if not decay or "loss" not in names or o.upstream[names.index("loss")] is None:
        return {}
    share = {n: np.asarray(o.upstream[names.index("loss")]) * d for n, d in decay.items() if np.any(d)}
    return {n: {"the loss's own": o.expected[n] - d, "λ W": d} for n, d in share.items()}
