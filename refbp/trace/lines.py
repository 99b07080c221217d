"""The lines of a trace: each quantity written out element by element while it is small, and as one matrix where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.trace.expression import Product, Slope, Sym, count, text, total
from refbp.trace.formulas import Formulas
from refbp.trace.program import Node, Symbol
from refbp.trace.record import Check, Trace
from refbp.trace.scenes import Block, Index, Line

WRITTEN = 16  # an array of more elements is shown as a matrix
LETTERS = 12  # so is one whose sums have more letters than this

Rule = Callable[[Index], Any]


class Lines:
    """Makes the lines of one trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.program = trace, trace.program
        self.f = Formulas(trace)

    def check(self, key: str) -> Check | None:
        """What torch said of a quantity."""
        return self.trace.checks.get(key)

    def value(self, name: str) -> list[Line | Block]:
        """A computed value."""
        node, array = self.program.maker(name), self.trace.values[name]
        assert node is not None
        first = name == node.outputs[0]
        lines = self._written(name, array, lambda i: self.f.sym(name, i), lambda i: self.f.forward(node, i)) if first else None
        if lines is not None:
            return [*lines]
        return [Block(name, self.f.whole(name), self.f.whole_form(node, "forward") if first else None, array, self.check(name))]

    def gradient(self, name: str, expanded: bool = False, rule: Rule | None = None) -> list[Line | Block]:
        """The gradient of a value; ``expanded`` writes the sum that it depends on in place of its letter."""
        key, array = f"d{name}", self.trace.grads[name]

        def left(index: Index) -> Any:
            return Slope(self.f.cost, Sym(self.program.symbols[name], self.f.shown(array, index)), float(array[index]))

        def written(index: Index) -> Any:
            return self.f.gradient(name, index)

        def opened(index: Index) -> Any:
            return self.f.gradient(name, index, expanded=True)

        for tree in (opened, written) if expanded else (written,):
            lines = self._written(key, array, left, tree, rule)
            if lines is not None:
                return [*lines]
        forms = [self.f.whole_form(self.program.nodes[i], "backward", place) for i, place in self.program.uses(name)]
        form = total(forms) if forms and all(forms) else None
        return [Block(key, Slope(self.f.cost, self.f.whole(name)), form, array, self.check(key))]

    def parameter(self, node: Node, name: str, own: str) -> list[Line | Block]:
        """The gradient of a parameter."""
        key, array = f"d{name}", self.trace.params[name]
        lines = self._written(
            key,
            array,
            lambda i: Slope(self.f.cost, self.f.param(node, own, i), float(array[i])),
            lambda i: self.f.parameter(node, own, i),
        )
        if lines is not None:
            return [*lines]
        form = self.f.whole_form(node, "parameter", own)
        return [Block(key, Slope(self.f.cost, self.f.matrix(node, own)), form, array, self.check(key))]

    def _written(self, key: str, array: Array, left: Rule, written: Rule, rule: Rule | None = None) -> list[Line] | None:
        """One line for each element, or None where one of them is not written out."""
        if array.size > WRITTEN or array.dtype.kind != "f":
            return None
        scale = float(np.abs(array[np.isfinite(array)]).max(initial=0))
        lines = []
        for index in np.ndindex(array.shape):
            tree = written(index)
            if tree is None or count(tree) > LETTERS or not self.f.comes_to(tree, float(array[index]), scale):
                return None
            rules = (rule(index),) if rule else ()
            lines.append(Line(key, index, left(index), rules, tree, float(array[index]), self.check(key)))
        return lines

    # The chain rule in letters ----------------------------------------------------------------------------------------

    def paths(self, name: str) -> Rule | None:
        """Σ ∂C/∂z ∂z/∂s over the uses z of a value s, where every array on the way has one shape."""
        uses = self.program.uses(name)
        nodes = [self.program.nodes[i] for i, _ in uses]
        shapes = {self.trace.values[n].shape for node in nodes for n in (name, *node.outputs)}
        twice = len({i for i, _ in uses}) < len(uses)  # one node that uses it twice has one ∂z/∂s, not two
        if len(shapes) != 1 or twice or any(len(node.outputs) > 1 for node in nodes):
            return None

        def rule(index: Index) -> Any:
            terms = []
            for node in nodes:
                up, known = self.f.slope(node.outputs[0], index), self._known(node.outputs[0], name, index)
                terms.append(known if text(up) == "1" else Product((up, known)))
            return total(terms)

        return rule

    def _known(self, of: str, to: str, index: Index) -> Slope:
        """∂of/∂to, element by element."""

        def letter(name: str) -> Sym:
            return Sym(self.program.symbols[name], self.f.shown(self.trace.values[name], index))

        return Slope(Symbol(text(letter(of))), letter(to))
