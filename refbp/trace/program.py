"""A network as a list of layers applied to named values: what is run, recorded, told and drawn.

In a chain of layers the values have the names of the theory: x goes in; z¹ is what the first layer with parameters makes
of it, a¹ = σ(z¹) what its activation makes of that, and so on; y comes out; C is the loss against the target t. Values
of a computation graph keep the names that they have there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from refbp.contract import Layer
from refbp.errors import ArgumentError
from refbp.layers._elementwise import Elementwise
from refbp.layers.container import Sequential, noise_of
from refbp.layers.graph import Graph


@dataclass(frozen=True)
class Symbol:
    """How a value or a parameter is written: a letter, the layer's number above it, and at times a letter below."""

    base: str
    above: str = ""
    below: str = ""


@dataclass(frozen=True)
class Node:
    """One layer applied to values; ``prefix`` is where its entries of the state are, ``group`` the step that tells it."""

    layer: Layer[Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    prefix: str
    group: int

    @property
    def entries(self) -> dict[str, str]:
        """Its entries of the state: the layer's own name for each, by the state's name."""
        return {f"{self.prefix}{n}": n for n in (*self.layer.params(), *self.layer.buffers())}

    @property
    def parameters(self) -> dict[str, str]:
        """The same of what is learned."""
        return {f"{self.prefix}{n}": n for n in self.layer.params()}


@dataclass(frozen=True)
class Program:
    """The layers in the order in which they run, and the names of what goes in and comes out."""

    nodes: tuple[Node, ...]
    leaves: tuple[str, ...]
    fixed: Mapping[str, float]
    output: str  # what is differentiated: the loss C, or a graph's last value
    prediction: str  # what the network returns
    symbols: Mapping[str, Symbol]  # of values and of entries of the state
    chain: bool  # layer after layer, so that it can be drawn unit by unit
    graph: bool = False  # a computation graph with names of its own for what goes in

    def uses(self, name: str) -> list[tuple[int, int]]:
        """Where a value is used: the node's number, and the place among its inputs."""
        return [(i, k) for i, node in enumerate(self.nodes) for k, n in enumerate(node.inputs) if n == name]

    def maker(self, name: str) -> Node | None:
        """The node that a value comes from; None for what goes in."""
        return next((node for node in self.nodes if name in node.outputs), None)

    @property
    def made(self) -> list[str]:
        """Every value that is computed, in order."""
        return [name for node in self.nodes for name in node.outputs]

    @property
    def learned(self) -> dict[str, Node]:
        """Every parameter by its name in the state, with the node that it belongs to."""
        return {name: node for node in self.nodes for name in node.parameters}


@dataclass
class _Builder:
    nodes: list[Node] = field(default_factory=list)
    symbols: dict[str, Symbol] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    number: int = 0
    chain: bool = True
    named: bool = False  # its values keep their own names, also the last

    def name(self, symbol: Symbol) -> str:
        """A name for a value, of its own even where two are written alike."""
        base = f"{symbol.base}{symbol.above}"
        name = next(n for n in (f"{base}{tail}" for tail in ("", *"bcdefghijklmnop")) if n not in self.symbols)
        self.symbols[name] = Symbol(symbol.base, symbol.above + name[len(base) :])
        return name

    def through(self, layer: Layer[Any], prefix: str, value: str, last: bool) -> str:
        """Add a layer of a chain; the name of what it makes of the value."""
        if isinstance(layer, Sequential):
            for i, (part, inner) in enumerate(layer.parts):
                value = self.through(inner, f"{prefix}{part}.", value, last and i == len(layer.parts) - 1)
            return value
        if isinstance(layer, Graph) and len(layer.leaves) == 1:
            self.chain = False
            return self.graph(layer, prefix, {layer.leaves[0]: value}, last)
        _check_places(layer, 1)
        self.number += bool(layer.params())
        above = str(self.number)
        before = self.nodes[-1] if self.nodes else None
        follows = isinstance(layer, Elementwise) and (before is None or f"a{above}" not in before.outputs)
        base = "z" if layer.params() else "a" if follows else "h"
        name = "y" if last else self.name(Symbol(base, above))
        group = before.group if before is not None and isinstance(layer, Elementwise) else len(self.nodes)
        self.add(layer, (value,), (name,), prefix, group, above)
        return name

    def graph(self, graph: Graph, prefix: str, known: dict[str, str], last: bool) -> str:
        """Add a graph's layers; the name of its output."""
        for name, number in graph.fixed.items():
            known[name] = name
            self.fixed[name] = number
            self.symbols[name] = Symbol(name)
        for use in graph.uses:
            final = last and use is graph.uses[-1]
            for n in use.outputs:
                known[n] = "y" if final and not self.named else self.name(Symbol(n))
            self.number += bool(use.layer.params())
            outputs = tuple(known[n] for n in use.outputs)
            self.add(
                use.layer,
                tuple(known[n] for n in use.inputs),
                outputs,
                f"{prefix}{use.name}.",
                len(self.nodes),
                str(self.number),
            )
        return known[graph.uses[-1].name]

    def add(
        self, layer: Layer[Any], inputs: tuple[str, ...], outputs: tuple[str, ...], prefix: str, group: int, above: str
    ) -> None:
        """Add one node, and the symbols of its entries."""
        self.nodes.append(Node(layer, inputs, outputs, prefix, group))
        normed = "Norm" in type(layer).__name__
        letters = {"weight": "γ" if normed else "w", "bias": "β" if normed else "b"}
        for name, own in self.nodes[-1].entries.items():
            self.symbols[name] = Symbol(letters.get(own, own), above)


def program(network: Sequential, loss: Layer[Any] | None) -> Program:
    """The layers of a network and its loss, in order, with their values named."""
    build = _Builder()
    whole = network.parts[0][1] if len(network.parts) == 1 else None
    if isinstance(whole, Graph) and loss is None:
        build.named = True
        build.symbols.update({n: Symbol(n) for n in whole.leaves})
        output = build.graph(whole, "0.", {n: n for n in whole.leaves}, last=False)
        return Program(tuple(build.nodes), whole.leaves, build.fixed, output, output, build.symbols, chain=False, graph=True)
    build.symbols.update(x=Symbol("x"), t=Symbol("t"), C=Symbol("C"), y=Symbol("y"))
    value = build.through(network, "", "x", last=True)
    leaves: tuple[str, ...] = ("x",)
    if loss is not None:
        _check_places(loss, 2)
        build.add(loss, (value, "t"), ("C",), "loss.", len(build.nodes), "")
        leaves = ("x", "t")
    return Program(
        tuple(build.nodes), leaves, build.fixed, "C" if loss is not None else value, value, build.symbols, build.chain
    )


def _check_places(layer: Layer[Any], places: int) -> None:
    """In a chain a layer is given one value, and a loss the prediction and the target."""
    noise = noise_of(layer)
    wanted = [n for n, pattern in layer.inputs().items() if n not in noise and not pattern.startswith("optional")]
    if len(wanted) > places:
        names = ", ".join(wanted)
        raise ArgumentError(
            f"{layer!r} takes {len(wanted)} inputs ({names}) and a chain gives it {places}: write a graph,"
            f" 'y = {type(layer).__name__}(…)({names})'."
        )


def groups(nodes: tuple[Node, ...]) -> Iterator[list[Node]]:
    """The nodes that are told together: a layer and its activation."""
    group: list[Node] = []
    for node in nodes:
        if group and node.group != group[0].group:
            yield group
            group = []
        group.append(node)
    if group:
        yield group
