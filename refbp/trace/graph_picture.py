"""A computation graph, drawn: each value, and on the way back each gradient and the slopes that it is multiplied by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.trace.draw import Canvas, Point, between, signed
from refbp.trace.expression import Slope, Sym, number, text
from refbp.trace.formulas import Formulas
from refbp.trace.program import Node
from refbp.trace.record import Trace

STEP, ROW, ROUND = 150.0, 122.0, 31.0
SIGNS = {"Add": "+", "Sub": "−", "Mul": "×", "Div": "÷", "MatMul": "@"}


class GraphPicture:
    """Values as circles, in columns by how many steps they are from what goes in."""

    def __init__(self, trace: Trace, at: dict[str, int], digits: int) -> None:
        self.trace, self.program, self.at, self.digits = trace, trace.program, at, digits
        self.f = Formulas(trace)
        depth = dict.fromkeys((*self.program.leaves, *self.program.fixed), 0)
        for node in self.program.nodes:
            for name in node.outputs:
                depth[name] = 1 + max(depth[n] for n in node.inputs)
        for name in (*self.program.leaves, *self.program.fixed):  # what is used late stands near its use
            users = [depth[self.program.nodes[i].outputs[0]] for i, _ in self.program.uses(name)]
            depth[name] = max(min(users, default=1) - 1, 0)
        columns: dict[int, list[str]] = {}
        for name, d in sorted(depth.items(), key=lambda item: item[1]):
            columns.setdefault(d, []).append(name)
        tallest = max(map(len, columns.values()))
        self.places: dict[str, Point] = {
            name: (46.0 + STEP * d, 62 + ROW * (row + (tallest - len(names)) / 2))
            for d, names in columns.items()
            for row, name in enumerate(names)
        }

    def _bend(self, a: str, b: str) -> float:
        """How far an arrow goes round the values that stand in its way."""
        (x1, y1), (x2, y2) = self.places[a], self.places[b]
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        others = [p for n, p in self.places.items() if n not in (a, b)]

        def clear(bend: float) -> bool:
            for t in (0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85):
                off = bend * 4 * t * (1 - t)
                x, y = x1 + t * (x2 - x1) - off * (y2 - y1) / length, y1 + t * (y2 - y1) + off * (x2 - x1) / length
                if any(math.hypot(x - px, y - py) < ROUND + 22 for px, py in others):
                    return False
            return True

        return next((bend for bend in (0.0, 34.0, -34.0, 62.0, -62.0, 92.0, -92.0, 124.0, -124.0) if clear(bend)), 62.0)

    def _arrow(self, canvas: Canvas, a: str, b: str, back: bool, key: str) -> Point:
        """An arrow from a value to one that is computed from it, or back; its middle."""
        bend = self._bend(a, b)
        start, end = self.places[a], self.places[b]
        # a bent arrow leaves and arrives at an angle: towards the point that it bends to
        ux, uy = (end[0] - start[0]), (end[1] - start[1])
        length = math.hypot(ux, uy) or 1.0
        bow = ((start[0] + end[0]) / 2 - 2 * bend * uy / length, (start[1] + end[1]) / 2 + 2 * bend * ux / length)
        room = {n: ROUND + 3 if self.trace.values[n].size == 1 else 52 for n in (a, b)}
        p, _ = between(start, bow if bend else end, room[a], 0)
        _, q = between(bow if bend else start, end, 0, room[b])
        middle = canvas.arrow(q if back else p, p if back else q, key, bend=-bend if back else bend)
        for edge in (-abs(bend), abs(bend)):
            canvas.reach(middle[0], middle[1] + edge / 4)
        return middle

    def _node(self, canvas: Canvas, name: str, array: Array, key: str, above: str, below: str) -> None:
        x, y = self.places[name]
        if array.size == 1:
            canvas.circle(x, y, ROUND, key)
            value = array.reshape(())[()]
            shown = number(float(value), self.digits) if array.dtype.kind == "f" else str(value)
            canvas.value(x, y, shown, key, (0,) * array.ndim, "" if key == name else signed(float(value)))
        else:
            canvas.box(x, y, 96, 48, key)
            canvas.text(x, y - (10 if array.dtype.kind == "f" else 0), " × ".join(map(str, array.shape)), key)
            if array.dtype.kind == "f":
                norm = number(float(np.linalg.norm(array.ravel())), self.digits)
                canvas.text(x, y + 11, f"‖·‖ = {norm}", key, "small")
        canvas.text(x, y - ROUND - 12, above, key, "small halo")
        if below:
            canvas.text(x, y + ROUND + 12, below, key, "caption halo")

    def forward(self) -> Canvas:
        """Each value, and what it is computed with."""
        canvas = Canvas(self.at)
        for node in self.program.nodes:
            for n in dict.fromkeys(node.inputs):
                self._arrow(canvas, n, node.outputs[0], False, node.outputs[0])
        for name, array in self.trace.values.items():
            maker = self.program.maker(name)
            fixed = name in self.program.fixed
            above = "" if fixed else text(Sym(self.program.symbols[name]))
            self._node(canvas, name, array, name, above, "constant" if fixed else _operation(maker) if maker else "")
        return canvas

    def backward(self) -> Canvas:
        """Each gradient, and on the edges the slopes that what arrives is multiplied by."""
        canvas = Canvas(self.at)
        labels = []
        for i, node in enumerate(self.program.nodes):
            for n in dict.fromkeys(node.inputs):
                if not self._shown(n):
                    continue
                middle = self._arrow(canvas, n, node.outputs[0], True, f"d{n}")
                slopes = [self._slope(i, k) for k, used in enumerate(node.inputs) if used == n]
                if all(s is not None for s in slopes):
                    words = " + ".join(f"× {_bracketed(number(float(s), self.digits))}" for s in slopes)
                    labels.append((*middle, words, f"d{n}"))
        for name, array in self.trace.grads.items():
            if self._shown(name):
                self._node(canvas, name, array, f"d{name}", text(Slope(self.f.cost, Sym(self.program.symbols[name]))), "")
        for x, y, words, key in labels:
            canvas.text(x, y, words, key, "small halo")
        return canvas

    def _shown(self, name: str) -> bool:
        """Whether a value's gradient is drawn: a target's is of no interest, where it is one."""
        return name in self.trace.grads and (self.program.graph or name != "t")

    def _slope(self, i: int, place: int) -> Any:
        """∂output/∂input of a node between two numbers."""
        node, step = self.program.nodes[i], self.trace.steps[i]
        sizes = {self.trace.values[n].size for n in (node.outputs[0], node.inputs[place])}
        if sizes != {1} or isinstance(step.outputs, tuple):
            return None
        with np.errstate(all="ignore"):
            found = step.backward(np.ones_like(step.outputs)).inputs[place]
        return None if found is None else found.reshape(())[()]


def _operation(node: Node) -> str:
    name = type(node.layer).__name__
    return SIGNS.get(name, name)


def _bracketed(shown: str) -> str:
    return f"({shown})" if shown.startswith("−") else shown
