"""A trace as a sequence of scenes: the network, forward layer by layer, backward, the gradients, ∇L, one step.

A scene is data: a title, sentences, and lines, each with its quantity's key, its formula and its number. The text, the
page and the picture show the same scenes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.layers._elementwise import Elementwise
from refbp.layers.linear import Linear
from refbp.trace.expression import Fn, Product, Series, Slope, Sym, text
from refbp.trace.lines import WRITTEN, Lines
from refbp.trace.program import Node, groups
from refbp.trace.record import Check, Trace
from refbp.trace.scenes import Block, Line, Piece, Scene, Sentence, Table, call, described, formula, listed, saved_as
from refbp.trace.writers import name_of


def story(trace: Trace) -> list[Scene]:
    """The scenes of a trace, in order."""
    return list(_Teller(trace).scenes())


class _Teller:
    def __init__(self, trace: Trace) -> None:
        self.trace, self.program = trace, trace.program
        self.lines = Lines(trace)
        self.f = self.lines.f
        self.groups = list(groups(trace.program.nodes))

    def scenes(self) -> Iterator[Scene]:
        yield self._start()
        for group in self.groups:
            yield self._forward(group)
        yield from self._backward_chain() if self.program.chain else self._backward_graph()
        if self.program.learned:
            for group in self.groups:
                if any(node.parameters for node in group):
                    yield self._parameters(group)
            yield self._stacked()
            yield self._step()

    def _is_loss(self, node: Node) -> bool:
        return self.program.output in node.outputs and self.program.output != self.program.prediction

    def _start(self) -> Scene:
        blocks = [Block(n, self.f.whole(n), None, self.trace.values[n], None) for n in self.program.leaves]
        for name, node in self.program.learned.items():
            blocks.append(Block(name, self.f.matrix(node, node.parameters[name]), None, self.trace.state[name], None))
        said: list[Sentence] = [(described(self.program),)]
        if size := sum(self.trace.state[n].size for n in self.program.learned):
            said.append((f"θ⁰ is {size:,} numbers, in {len(self.program.learned)} arrays; η = {self.trace.lr:g}.",))
        if not self.trace.checks:
            said.append((f"Not checked against torch: {self.trace.unchecked}.",))
        return Scene("start", "The network", tuple(said), tuple(blocks), (*self.program.leaves, *self.program.learned))

    # Forward ----------------------------------------------------------------------------------------------------------

    def _forward(self, group: Sequence[Node]) -> Scene:
        lines: list[Line | Block] = []
        own: list[Sentence] = []
        for node in group:
            mine = [line for name in node.outputs for line in self.lines.value(name)]
            own += [(formula(node),)] if any(isinstance(b, Block) and b.form is None for b in mine) else []
            lines += mine
        chain = " → ".join(repr(node.layer) for node in group)
        title = f"The loss: {chain}" if self._is_loss(group[-1]) else f"Forward: {chain}"
        if not self.program.chain:
            title = f"Forward: {call(group[0])}"
        kept = () if self._is_loss(group[-1]) else (self._remembered(group),)
        return Scene("forward", title, tuple(own), tuple(lines), tuple(n for g in group for n in g.outputs), kept)

    def _remembered(self, nodes: Sequence[Node]) -> Sentence:
        """What the layers keep for their backward passes: values by their letters, anything else in words."""
        pieces: list[Piece] = []
        for node in nodes:
            pieces += ["; ", *self._kept(node)] if pieces else self._kept(node)
        return ("Remembered: ", *pieces, ".")

    def _kept(self, node: Node) -> list[Piece]:
        x = self.f.whole(node.inputs[0])
        if isinstance(node.layer, Linear):
            w, z = Sym(self.program.symbols[f"{node.prefix}weight"]), self.program.symbols[node.outputs[0]]
            return [x, ", which is ", Slope(z, w), "; ", self.f.matrix(node, "weight")]
        saved = self.trace.steps[self.program.nodes.index(node)].saved
        letters: list[Piece] = []
        for array in saved if isinstance(saved, tuple) and all(isinstance(a, np.ndarray) for a in saved) else ():
            name = next((n for n in (*node.inputs, *node.outputs) if _same(array, self.trace.values[n])), None)
            if name is None and not isinstance(node.layer, Elementwise):
                return [saved_as(saved)]
            letters += [" and ", self.f.whole(name) if name else Fn(name_of(node.layer), x, prime=True)]
        return letters[1:] or [saved_as(saved)]

    # Backward ---------------------------------------------------------------------------------------------------------

    def _backward_chain(self) -> Iterator[Scene]:
        for group in reversed(self.groups):
            names = [n for node in reversed(group) for n in node.outputs if n in self.trace.grads]
            if not names or self._is_loss(group[-1]):
                continue
            yield self._backward_layer(group, names, last=self.program.prediction in names)
        if "x" in self.trace.grads and self.program.prediction != "x":
            lines = self.lines.gradient("x")
            said = ("What a layer before this one would receive.",)
            yield Scene("backward", "Backward, input", (said, *self._own(lines, ["x"])), tuple(lines), ("dx",))

    def _backward_layer(self, group: Sequence[Node], names: Sequence[str], last: bool) -> Scene:
        z, active = group[0].outputs[0], group[1].outputs[0] if len(group) == 2 else None
        said: list[Sentence] = []
        lines: list[Line | Block] = []
        for name in names:
            rule = self.lines.paths(name) if last and name == z != self.program.prediction else None
            fed = self.program.uses(active) if active else []
            linear = bool(fed) and isinstance(self.program.nodes[fed[0][0]].layer, Linear)
            expanded = not last and linear and name == z
            mine = self.lines.gradient(name, expanded, rule)
            if name == z and active and (last or linear):
                said.append(self._case(z, group[1], last))
            elif last and active is None and name == z and self.program.uses(z) and isinstance(group[0].layer, Linear):
                said.append(
                    (
                        "Case 1, without an activation: ",
                        Slope(self.f.cost, self.f.whole(z)),
                        " is the loss's slope alone.",
                    )
                )
            if expanded and isinstance(mine[0], Line) and all(isinstance(line, Line) for line in lines):
                lines = []  # ∂C/∂a stands, written out, in the line of ∂C/∂z
            lines += mine
        where = "output layer" if last else "hidden layer" if group[0].parameters else ""
        title = f"Backward{', ' * bool(where)}{where}: {' ← '.join(repr(node.layer) for node in group)}"
        said += self._own(lines, names)
        return Scene("backward", title, tuple(said), tuple(lines), tuple(f"d{n}" for n in names))

    def _case(self, z: str, node: Node, last: bool) -> Sentence:
        """Which of the two cases of the backward pass this is, as a formula."""
        whole, a = self.f.whole(z), self.f.whole(node.outputs[0])
        slope = Slope(self.f.cost, whole)
        if last:
            known = Slope(self.program.symbols[node.outputs[0]], whole)
            return ("Case 1: ", slope, " = ", Product((Slope(self.f.cost, a), known)), ", the loss's slope times the unit's.")
        fed = self.program.nodes[self.program.uses(node.outputs[0])[0][0]]
        weight, out = self.program.symbols[f"{fed.prefix}weight"], self.program.symbols[fed.outputs[0]]
        w, zk = (Sym(dataclasses.replace(s, below="k")) for s in (weight, out))
        series = Series("k", Product((w, Slope(self.f.cost, zk)), ""))
        weighted = Product((Fn(name_of(node.layer), whole, prime=True), series))
        return ("Case 2: ", slope, " = ", weighted, ", the sum over the units that this one feeds.")

    def _own(self, lines: Sequence[Line | Block], names: Sequence[str]) -> list[Sentence]:
        """The own formula of every layer whose backward is shown and not written out."""
        keys = {line.key for line in lines if isinstance(line, Block) and line.form is None}
        nodes = {i: None for n in names if f"d{n}" in keys for i, _ in self.program.uses(n)}
        return [(formula(self.program.nodes[i]),) for i in nodes]

    def _backward_graph(self) -> Iterator[Scene]:
        names = [n for n in reversed(self.program.made) if n in self.trace.grads]
        names += [n for n in self.program.leaves if n in self.trace.grads and (n != "t" or self.program.output != "C")]
        for name in names:
            uses, key = self.program.uses(name), f"d{name}"
            slope = Slope(self.f.cost, self.f.whole(name))
            if not uses:
                said: list[Sentence] = [("Where backward starts: what is differentiated changes by as much as itself.",)]
                lines: list[Line | Block] = [Block(key, slope, None, self.trace.grads[name], None)]
                yield Scene("backward", f"Backward, {text(slope)}", tuple(said), tuple(lines), (key,))
                continue
            lines = self.lines.gradient(name, rule=self.lines.paths(name))
            said = []
            if len(uses) > 1:
                users = [self.program.nodes[i].outputs[0] for i, _ in uses]
                words = f"{name} is used {len(users)} times, for {listed(users)}: what arrives from each of them is added up."
                said.append((words,))
            paths = "one path" if len(uses) == 1 else f"{len(uses)} paths"
            said += self._own(lines, [name])
            yield Scene("backward", f"Backward, {text(slope)}: {paths}", tuple(said), tuple(lines), (key,))

    # Parameters -------------------------------------------------------------------------------------------------------

    def _parameters(self, group: Sequence[Node]) -> Scene:
        nodes = [node for node in group if node.parameters]
        lines: list[Line | Block] = []
        said: list[Sentence] = []
        for node in nodes:
            mine = [line for name, own in node.parameters.items() for line in self.lines.parameter(node, name, own)]
            if any(isinstance(line, Block) and line.form is None for line in mine):
                said.append((formula(node),))
            elif isinstance(node.layer, Linear):
                w, z = Sym(self.program.symbols[f"{node.prefix}weight"]), self.program.symbols[node.outputs[0]]
                product = Product((Slope(z, w), Slope(self.f.cost, Sym(z))))
                said.append((Slope(self.f.cost, w), " = ", product, ": what forward remembered, times what backward found."))
            lines += mine
        title = f"Gradients of the parameters: {', '.join(repr(node.layer) for node in nodes)}"
        news = tuple(f"d{n}" for node in nodes for n in node.parameters)
        uses = tuple(n for node in nodes for n in (*node.inputs, *(f"d{o}" for o in node.outputs)))
        return Scene("gradient", title, tuple(said), tuple(lines), news, uses=uses)

    def _stacked(self) -> Scene:
        cost = text(Sym(self.f.cost))
        table = self._table(("θ⁰", f"∂{cost}/∂θ"), (self.trace.state, self.trace.params), "d", "")
        said = f"∇L(θ⁰) is all of them, one below the other, in the order of θ; L(θ) is {cost}."
        return Scene("gradient", "∇L(θ⁰)", ((said,),), (table,), ("grad",))

    def _step(self) -> Scene:
        arrays = (self.trace.state, self.trace.params, self.trace.after)
        table = self._table(("θ⁰", "∇L(θ⁰)", "θ¹"), arrays, "", ".next")
        said = f"θ¹ = θ⁰ − η∇L(θ⁰), η = {self.trace.lr:g}: a step against the gradient."
        return Scene("step", "One step of gradient descent", ((said,),), (table,), ("theta.next",))

    def _table(self, heads: Sequence[str], arrays: Sequence[Any], before: str, after: str) -> Table:
        """θ and its companions, element by element; by parameter, as norms, where there are more than a page of numbers."""
        learned = self.program.learned
        summarised = sum(self.trace.state[n].size for n in learned) > 2 * WRITTEN
        rows: list[tuple[Any, tuple[float, ...], Check | None]] = []
        for name, node in learned.items():
            own, check = node.parameters[name], self.lines.check(f"{before}{name}{after}")
            if summarised:
                rows.append((self.f.matrix(node, own), tuple(float(np.linalg.norm(np.ravel(a[name]))) for a in arrays), check))
                continue
            for index in np.ndindex(self.trace.state[name].shape):
                rows.append((self.f.param(node, own, index), tuple(float(a[name][index]) for a in arrays), check))
        return Table(tuple(f"‖{h}‖" if summarised else h for h in heads), tuple(rows), summarised)


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.shares_memory(a, b)
