"""A network as a tree of layers, with a loss, an input and a target: what random networks are composed of, and shrunk as.

A chain is a tuple of items; an item is a layer, or a split into branches that a layer joins again. Written as text, chains
are layers one after the other, and splits computation graphs: as ``refbp trace`` reads them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from refbp.contract import Layer
from refbp.layers import Graph, Sequential

Array = NDArray[Any]
OPERATORS = {"Add()": "+", "Sub()": "-", "Mul()": "*", "Div()": "/", "MatMul()": "@"}


@dataclass(frozen=True)
class Split:
    """Several branches that start from one value, and the layer that joins them. An empty branch is the value itself."""

    join: Layer[Any]
    branches: tuple[tuple[Item, ...], ...]


Item = Layer[Any] | Split


def rendered(item: Item) -> Layer[Any]:
    """The item as one layer of one input and one output: of several outputs the first, of several branches a Graph."""
    if not isinstance(item, Split) and len(item.outputs()) < 2:
        return item
    statements: list[str] = []
    value = _written([item], "x", statements)
    value = value[1:-1] if value.startswith("(") else value
    return Graph("; ".join([*statements, f"z = Identity({value})" if value.isidentifier() else f"y = {value}"]))


def _written(items: Sequence[Item], value: str, statements: list[str]) -> str:
    """The expression that applies the items to a value, in the language of Graph; what is used twice gets a name before."""

    def name(expression: str) -> str:
        statements.append(f"h{len(statements) + 1} = {expression}")
        return f"h{len(statements)}"

    for item in items:
        layer = item.join if isinstance(item, Split) else item
        if isinstance(item, Split):
            value = value if value.isidentifier() else name(value)
            given = [_written(branch, value, statements) for branch in item.branches]
            sign = OPERATORS.get(repr(layer))
            value = f"({f' {sign} '.join(given)})" if sign else f"{layer!r}({', '.join(given)})"
        else:
            value = f"{layer!r}({value})"
        if len(layer.outputs()) > 1:
            value = name(value)
    return value


def count(items: Sequence[Item]) -> int:
    """How many layers there are, at any depth."""
    return sum(1 + sum(map(count, i.branches)) if isinstance(i, Split) else 1 for i in items)


def leaves(items: Sequence[Item]) -> Iterator[Layer[Any]]:
    """The layers, at any depth."""
    for item in items:
        yield item.join if isinstance(item, Split) else item
        for branch in item.branches if isinstance(item, Split) else ():
            yield from leaves(branch)


@dataclass(frozen=True)
class Problem:
    """A network, its loss, an input and a target; ``seed`` draws the state and the noise.

    ``fresh`` says that the state is the one that ``network.init`` makes from that seed; else parameters and buffers are drawn
    as the conformance checks draw them, which tell more of a layer than ones and zeros do.
    """

    items: tuple[Item, ...]
    loss: Layer[Any]
    x: Array
    target: Array
    seed: int
    fresh: bool = False

    @property
    def network(self) -> Sequential:
        """The network as one layer."""
        return Sequential(*map(rendered, self.items))

    @property
    def text(self) -> str:
        """The network and its loss, as ``refbp trace`` reads them."""
        return " ".join(map(repr, (*map(rendered, self.items), self.loss)))

    def command(self, plugins: Sequence[str] = (), state: str = "") -> str:
        """The command that shows it, number by number. ``state`` is a file that holds its state, where it is not fresh."""
        numbers = [("--input", self.x), ("--target", self.target)]
        given = [f"{option} {shlex.quote(repr(a.tolist()))}" for option, a in numbers]
        given += [f"--state {shlex.quote(state)}"] if state else []
        given += [f"--plugins-dir {shlex.quote(p)}" for p in plugins]
        return " ".join([f"refbp trace {shlex.quote(self.text)}", *given, f"--seed {self.seed}"])

    def __repr__(self) -> str:
        return f"Problem({self.text!r}, x {self.x.shape}, seed={self.seed})"
