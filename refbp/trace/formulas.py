"""The letters of one trace, and its formulas, with the numbers that the layers computed.

Nothing here computes a number that is shown: a formula is shown only where it comes to the number that was recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.trace.expression import Fn, Num, Slope, Sym, total, value
from refbp.trace.program import Node
from refbp.trace.record import Trace
from refbp.trace.writers import name_of, writer_of

Index = tuple[int, ...]


class Formulas:
    """The letters of one trace, and the formulas of its nodes."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.program = trace.program
        self.cost = trace.program.symbols[trace.program.output]
        given = [trace.values[n] for n in trace.program.leaves]
        self._primes: dict[str, Array] = {}
        self.alone = trace.program.chain and all(a.ndim > 0 and len(a) == 1 for a in given)  # one sample: not numbered

    # Letters ----------------------------------------------------------------------------------------------------------

    def sym(self, name: str, index: Index = ()) -> Sym | Num:
        """A value's element."""
        array = self.trace.values[name]
        if name in self.program.fixed:
            return Num(self.program.fixed[name])
        return Sym(self.program.symbols[name], self.shown(array, index), float(array[index]))

    def row(self, name: str, lead: Index) -> list[Sym | Num]:
        """The elements along a value's last axis."""
        return [self.sym(name, (*lead, i)) for i in range(self.trace.values[name].shape[-1])]

    def letter_of_row(self, name: str, row: Index) -> Sym:
        """One sample's values as one letter."""
        return Sym(self.program.symbols[name], self.shown(self.trace.values[name], row))

    def prime(self, node: Node, index: Index) -> Fn:
        """The slope of an activation at one element: its layer's backward for an upstream of one."""
        if node.outputs[0] not in self._primes:
            step = self.trace.steps[self.program.nodes.index(node)]
            with np.errstate(all="ignore"):
                (found,) = step.backward(np.ones_like(step.outputs)).inputs
            self._primes[node.outputs[0]] = np.asarray(found)
        slope = float(self._primes[node.outputs[0]][index])
        return Fn(name_of(node.layer), self.sym(node.inputs[0], index), slope, prime=True)

    def param(self, node: Node, own: str, index: Index) -> Sym:
        """A parameter's element."""
        name = f"{node.prefix}{own}"
        return Sym(self.program.symbols[name], index, float(self.trace.state[name][index]))

    def slope(self, name: str, index: Index = ()) -> Any:
        """∂C/∂ a value's element; 1 for C itself."""
        array = self.trace.grads.get(name)
        if array is None:  # nothing that uses it has a gradient for it: an index, or a layer that stops gradients
            return Num(0.0)
        if name == self.program.output and array.size == 1 and array.reshape(()) == 1:
            return Num(1.0)
        symbol = Sym(self.program.symbols[name], self.shown(array, index))
        return Slope(self.cost, symbol, float(array[index]))

    def shown(self, array: Array, index: Index) -> Index:
        """The part of an index that is written: without the number of a sample that is the only one."""
        return index[1:] if self.alone and array.ndim > 1 and len(array) == 1 else index

    def whole(self, name: str, transposed: bool = False) -> Sym:
        """A value as one letter: capital where it is a matrix."""
        array = self.trace.values[name]
        return Sym(self.program.symbols[name], (), upper=array.ndim > 1 and not self.alone, transposed=transposed)

    def matrix(self, node: Node, own: str, transposed: bool = False) -> Sym:
        """A parameter as one letter."""
        name = f"{node.prefix}{own}"
        return Sym(self.program.symbols[name], (), upper=self.trace.state[name].ndim > 1, transposed=transposed)

    def slope_whole(self, name: str, transposed: bool = False) -> Any:
        """∂C/∂ a whole value; 1 for C itself."""
        if name == self.program.output and self.trace.grads[name].size == 1:
            return self.slope(name, (0,) * self.trace.grads[name].ndim)
        return Slope(self.cost, self.whole(name), transposed=transposed)

    # Formulas ---------------------------------------------------------------------------------------------------------

    def forward(self, node: Node, index: Index) -> Any:
        """An element of the node's output, or None where its layer is not in the table."""
        return self._found(node, "forward", index)

    def contribution(self, node: Node, place: int, index: Index, expanded: bool = False) -> Any:
        """What one use of a value adds to the gradient of its element. ``expanded`` writes the gradient of the node's
        output, that it depends on, as the sum which that is in turn.
        """
        name = node.outputs[0]
        upstream = (lambda i: self.expanded(name, i)) if expanded else lambda i: self.slope(name, i)
        return self._found(node, "backward", place, index, upstream)

    def parameter(self, node: Node, own: str, index: Index) -> Any:
        """The gradient of a parameter's element."""
        return self._found(node, "parameter", own, index)

    def gradient(self, name: str, index: Index, expanded: bool = False) -> Any:
        """The gradient of a value's element: the sum over its uses; None where one of them is not in the table."""
        terms = [self.contribution(self.program.nodes[i], place, index, expanded) for i, place in self.program.uses(name)]
        return total(terms) if terms and all(t is not None for t in terms) else None

    def expanded(self, name: str, index: Index) -> Any:
        """The gradient of an element as the sum that it is, where that is written; else as one letter."""
        tree = self.gradient(name, index) if name != self.program.prediction else None
        return tree if tree is not None else self.slope(name, index)

    def _found(self, node: Node, method: str, *arguments: Any) -> Any:
        writer = writer_of(node.layer)
        return None if writer is None else getattr(writer, method)(self, node, *arguments)

    def whole_form(self, node: Node, what: str, *arguments: Any) -> Any:
        """The same for whole arrays: ``forward``, ``backward`` with a place, ``parameter`` with a name; or None."""
        writer = writer_of(node.layer)
        return None if writer is None else getattr(writer, f"{what}_whole")(self, node, *arguments)

    def comes_to(self, tree: Any, expected: float, scale: float) -> bool:
        """Whether a formula comes to the recorded number; if it does not, it is not shown."""
        got = value(tree)
        return abs(got - expected) <= 1e-9 * max(scale, abs(expected)) or (np.isnan(got) and np.isnan(expected))
