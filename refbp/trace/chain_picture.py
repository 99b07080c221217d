"""A chain of layers, drawn: unit by unit where a layer is a matrix, one box where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refbp.contract import Array
from refbp.layers._elementwise import Elementwise
from refbp.layers.linear import Linear
from refbp.trace.draw import Canvas, Point, between, signed
from refbp.trace.expression import Fn, Slope, Sym, number, text
from refbp.trace.formulas import Formulas
from refbp.trace.program import Node, groups
from refbp.trace.record import Trace

WIDE = 6  # a layer of more units is summarised
LABELLED = 9  # between layers with more edges than this, weights are colours and not numbers
UNIT, HIGH, ROW, GAP, BLOCK, TOP = 128.0, 46.0, 116.0, 112.0, 140.0, 66.0


@dataclass
class Column:
    """The units of one layer that are drawn: which of them, and where."""

    nodes: Sequence[Node]  # a layer and its activation; none for what goes in
    name: str  # the value that leaves it
    units: list[int | None]  # None for the dots of those left out; None alone for a box
    x: float = 0.0

    @property
    def box(self) -> bool:
        """Whether it is drawn as one box."""
        return self.units == [None]

    @property
    def weighted(self) -> bool:
        """Whether it has weights to draw, from unit to unit."""
        return bool(self.nodes) and isinstance(self.nodes[0].layer, Linear) and not self.box

    @property
    def active(self) -> Node | None:
        """Its activation, if it has one."""
        return self.nodes[1] if len(self.nodes) == 2 and isinstance(self.nodes[1].layer, Elementwise) else None

    @property
    def z(self) -> str:
        """What its layer computes, before the activation."""
        return self.nodes[0].outputs[0] if self.nodes else self.name

    def half(self, back: bool = False) -> float:
        """Half its width."""
        if self.box:
            return BLOCK / 2
        if not self.nodes or (back and self.active is None):
            return 33.0
        return 56.0 if back else UNIT / 2 if self.active else 40.0


class Chain:
    """Both panels of a chain."""

    def __init__(self, trace: Trace, at: dict[str, int], digits: int) -> None:
        self.trace, self.program, self.at, self.digits = trace, trace.program, at, digits
        self.f = Formulas(trace)
        self.columns = [Column((), "x", self._units("x"))]
        self.loss: Node | None = None
        for group in groups(self.program.nodes):
            if self.program.output in group[-1].outputs and self.program.output != self.program.prediction:
                self.loss = group[-1]
                continue
            name = group[-1].outputs[0]
            plain = isinstance(group[0].layer, Linear) and len(group) <= 2
            self.columns.append(Column(group, name, self._units(name) if plain else [None]))
        self.rows = max(len(c.units) for c in self.columns)
        x = 0.0
        for i, column in enumerate(self.columns):
            before = self.columns[i - 1] if i else None
            x += (before.half() + (GAP if column.weighted and not before.box else 44) if before else 14) + column.half()
            column.x = x
        self.end = x + self.columns[-1].half() + 128

    def _units(self, name: str) -> list[int | None]:
        array = self.trace.values[name]
        if array.ndim not in (1, 2) or array.size == 0:
            return [None]
        n = array.shape[-1]
        return [*range(n)] if n <= WIDE else [0, 1, 2, None, n - 1]

    # Where and what ---------------------------------------------------------------------------------------------------

    def _y(self, column: Column, row: int) -> float:
        return TOP + ROW * (row + (self.rows - len(column.units)) / 2)

    @property
    def _middle(self) -> float:
        return TOP + ROW * (self.rows - 1) / 2

    def _index(self, name: str, unit: int) -> tuple[int, ...]:
        return (0,) * (self.trace.values[name].ndim - 1) + (unit,)

    def _sym(self, name: str, unit: int) -> Sym:
        return Sym(self.program.symbols[name], (unit,))  # of a batch, the sample is named once, in the title

    def _number(self, value: float) -> str:
        return number(float(value), self.digits)

    def _size(self, array: Array) -> str:
        shape = array.shape[1:] if array.ndim > 1 else array.shape
        return " × ".join(map(str, shape)) or "1"

    def _shown(self, canvas: Canvas, x: float, y: float, name: str, unit: int, rise: float = HIGH / 2 + 11) -> None:
        array, index = self.trace.values[name], self._index(name, unit)
        shown = self._number(array[index]) if array.dtype.kind == "f" else str(array[index])
        canvas.value(x, y, shown, name, index)
        canvas.text(x, y - rise, text(self._sym(name, unit)), name, "small")

    # Forward ----------------------------------------------------------------------------------------------------------

    def forward(self) -> Canvas:
        """Values on nodes, weights on edges."""
        canvas = Canvas(self.at)
        for before, column in zip(self.columns, self.columns[1:], strict=False):
            self._edges(canvas, before, column, back=False)
        for column in self.columns:
            words = " → ".join(type(n.layer).__name__ for n in column.nodes) or "input"
            n = self.trace.values[column.name].shape[-1] if self.trace.values[column.name].ndim else 1
            if not column.box:
                canvas.text(column.x, 10, f"{words}, {n} units" if n > WIDE else words, style="caption")
            for row, unit in enumerate(column.units):
                self._unit(canvas, column, self._y(column, row), unit)
        if self.loss is not None:
            self._loss(canvas)
        return canvas

    def _unit(self, canvas: Canvas, column: Column, y: float, unit: int | None) -> None:
        x, z = column.x, column.z
        if column.box:
            self._block(canvas, column, y, column.name, self._size(self.trace.values[column.name]))
        elif unit is None:
            canvas.text(x, y, "⋮", column.name)
        elif not column.nodes:
            canvas.circle(x, y, 28, z)
            self._shown(canvas, x, y, z, unit, rise=40)
        elif column.active is None:
            canvas.box(x, y, 2 * column.half(), HIGH, z)
            self._shown(canvas, x, y, z, unit)
        else:
            canvas.box(x, y, UNIT, HIGH, z)
            canvas.rule(x, y - HIGH / 2, y + HIGH / 2, z)
            self._shown(canvas, x - UNIT / 4, y, z, unit)
            self._shown(canvas, x + UNIT / 4, y, column.name, unit)
        if unit is not None and column.weighted and f"{column.nodes[0].prefix}bias" in self.program.learned:
            name = f"{column.nodes[0].prefix}bias"
            value = self._number(self.trace.state[name][unit])
            canvas.value(x, y + HIGH / 2 + 12, value, name, (unit,), "small", text(self._sym(name, unit)))

    def _block(self, canvas: Canvas, column: Column, y: float, key: str, below: str) -> None:
        canvas.box(column.x, y, BLOCK, 62, key)
        words = " → ".join(type(n.layer).__name__ for n in column.nodes) or "input"
        canvas.text(column.x, y - 12, words if len(words) < 22 else f"{words[:20]}…", key, "" if len(words) < 17 else "small")
        canvas.text(column.x, y + 13, below, key, "small")

    def _edges(self, canvas: Canvas, before: Column, column: Column, back: bool) -> None:
        """Arrows between two columns: along the weights forward, against them backward."""
        left, right = before.x + before.half(back) + 3, column.x - column.half(back) - 3
        key = f"d{before.name}" if back else column.z
        if not column.weighted or before.box:
            a, b = (left, self._middle), (right, self._middle)
            canvas.arrow(b if back else a, a if back else b, key)
            return
        name = f"{column.nodes[0].prefix}weight"
        W = self.trace.state[name]
        most = float(np.abs(W).max(initial=0)) or 1.0
        labels: list[tuple[Point, float, tuple[int, int]]] = []
        for i, out in enumerate(column.units):
            for j, into in enumerate(before.units):
                if out is None or into is None:
                    continue
                a, b, w = (left, self._y(before, j)), (right, self._y(column, i)), float(W[out, into])
                canvas.arrow(b if back else a, a if back else b, key if back else name, w, abs(w) / most)
                near = 0.27 if len(before.units) > 1 else 0.5
                labels.append(((a[0] + near * (b[0] - a[0]), a[1] + near * (b[1] - a[1])), w, (out, into)))
        if W.size <= LABELLED:
            for (x, y), w, index in labels:
                canvas.value(x, y, self._number(w), name, index, f"small halo {signed(w)}", when=key if back else name)

    def _loss(self, canvas: Canvas) -> None:
        """C, and the target that it compares with."""
        last, here = self.columns[-1], (self.end, self._middle)
        for row, unit in enumerate(last.units):
            if unit is not None or last.box:
                a, b = between((last.x + last.half() + 3, self._y(last, row)), here, 0, 36)
                canvas.arrow(a, b, "C")
        canvas.circle(*here, 33, "C")
        C, t = self.trace.values["C"], self.trace.values["t"]
        canvas.value(*here, self._number(C.reshape(-1)[0]), "C", (0,) * C.ndim)
        canvas.text(self.end, self._middle - 45, "C", "C", "small")
        t = t[0] if t.ndim and self.trace.values["x"].ndim > 1 else t
        if t.size <= WIDE:
            numbers = ", ".join(self._number(v) if t.dtype.kind == "f" else str(v) for v in t.reshape(-1))
            canvas.text(self.end, self._middle + 47, f"t = {numbers}", "t", "small")

    # Backward ---------------------------------------------------------------------------------------------------------

    def backward(self) -> Canvas:
        """∂C/∂z on nodes, the same weights on edges, and σ′(z) in the units."""
        canvas = Canvas(self.at)
        for before, column in zip(self.columns, self.columns[1:], strict=False):
            if before.name in self.trace.grads:
                self._edges(canvas, before, column, back=True)
        if self.loss is not None:
            self._start(canvas)
        for column in self.columns:
            for row, unit in enumerate(column.units):
                if column.name in self.trace.grads:
                    self._reverse(canvas, column, self._y(column, row), unit)
        return canvas

    def _reverse(self, canvas: Canvas, column: Column, y: float, unit: int | None) -> None:
        x, name = column.x, column.z
        key = f"d{name}"
        if column.box:
            letters = text(Slope(self.f.cost, self.f.whole(name)))
            norm = self._number(float(np.linalg.norm(self.trace.grads[name].ravel())))
            self._block(canvas, column, y, key, f"‖{letters}‖ = {norm}")
            return
        if unit is None:
            canvas.text(x, y, "⋮", key)
            return
        index = self._index(name, unit)
        value = float(self.trace.grads[name][index])
        symbol = text(Slope(self.f.cost, self._sym(name, unit)))
        if column.active is None:
            canvas.circle(x, y, 33, key)
            canvas.value(x, y, self._number(value), key, index, signed(value))
            canvas.text(x, y - 46, symbol, key, "small")
            return
        canvas.triangle(x, y, 112, 68, key)
        prime = self.f.prime(column.active, index)
        canvas.text(x + 20, y, f"× {self._number(prime.value)}", key)
        canvas.text(x + 20, y - 44, text(Fn(prime.name, self._sym(name, unit), prime=True)), key, "small")
        canvas.value(x, y + 45, self._number(value), key, index, signed(value), symbol)

    def _start(self, canvas: Canvas) -> None:
        """∂C/∂C = 1 on the right, and ∂C/∂y on the way to the units."""
        last, here = self.columns[-1], (self.end, self._middle)
        if last.name not in self.trace.grads:
            return
        key = f"d{last.name}"
        canvas.circle(*here, 20, key)
        canvas.text(*here, "1", key)
        canvas.text(self.end, self._middle - 32, text(Slope(self.f.cost, Sym(self.f.cost))), key, "small")
        for row, unit in enumerate(last.units):
            if unit is None and not last.box:
                continue
            y = self._y(last, row)
            a, b = between(here, (last.x + last.half(back=True) + 3, y), 23, 0)
            canvas.arrow(a, b, key)
            if unit is not None and last.active is not None:
                index = self._index(last.name, unit)
                value = float(self.trace.grads[last.name][index])
                symbol = text(Slope(self.f.cost, self._sym(last.name, unit)))
                side = -26 if y <= self._middle else 26
                canvas.value(self.end - 42, y + side, self._number(value), key, index, f"halo {signed(value)}", symbol)
