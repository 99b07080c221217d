"""How each kind of layer is written out: a table, element by element and as matrices.

A layer that is not in the table is told by its own formula, the first lines of its docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from refbp.contract import Layer
from refbp.layers._elementwise import Elementwise
from refbp.layers.arithmetic import Add, Div, Mul, Sub
from refbp.layers.linear import Identity, Linear
from refbp.losses.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss
from refbp.losses.regression import MSELoss
from refbp.numerics import sigmoid, softmax
from refbp.trace.expression import Difference, Fn, Minus, Num, Product, Quotient, Square, Sum, total
from refbp.trace.program import Node

if TYPE_CHECKING:
    from refbp.trace.formulas import Formulas

Index = tuple[int, ...]
Up = Callable[[Index], Any]  # the gradient of an element of the node's output

NAMES = {"Sigmoid": "σ", "LogSigmoid": "log σ", "Identity": ""}


class Writer:
    """How one kind of layer is written; None is not written."""

    def forward(self, f: Formulas, node: Node, index: Index) -> Any:
        """An element of the output."""

    def backward(self, f: Formulas, node: Node, place: int, index: Index, up: Up) -> Any:
        """What the node adds to the gradient of an element of one of its inputs."""

    def parameter(self, f: Formulas, node: Node, own: str, index: Index) -> Any:
        """The gradient of an element of a parameter."""

    def forward_whole(self, f: Formulas, node: Node) -> Any:
        """The output as one formula of matrices."""

    def backward_whole(self, f: Formulas, node: Node, place: int) -> Any:
        """The gradient of an input, likewise."""

    def parameter_whole(self, f: Formulas, node: Node, own: str) -> Any:
        """The gradient of a parameter, likewise."""


class _Linear(Writer):
    """One sample is a column, z = W x + b; samples are rows, Z = X Wᵀ + b."""

    def forward(self, f: Formulas, node: Node, index: Index) -> Any:
        *lead, o = index
        terms = [Product((f.param(node, "weight", (o, i)), x)) for i, x in enumerate(f.row(node.inputs[0], (*lead,)))]
        terms += [f.param(node, "bias", (o,))] if node.layer.bias else []  # type: ignore[attr-defined, list-item]
        return total(terms) if terms else None

    def backward(self, f: Formulas, node: Node, place: int, index: Index, up: Up) -> Any:
        *lead, i = index
        outputs = range(f.trace.values[node.outputs[0]].shape[-1])
        return total([Product((f.param(node, "weight", (o, i)), up((*lead, o)))) for o in outputs]) if outputs else None

    def parameter(self, f: Formulas, node: Node, own: str, index: Index) -> Any:
        x, y = node.inputs[0], node.outputs[0]
        rows = list(np.ndindex(f.trace.values[y].shape[:-1]))
        if not rows:
            return None
        slopes = [f.slope(y, (*row, index[0])) for row in rows]
        if own == "bias":
            return total(slopes)
        return total([Product((f.sym(x, (*row, index[1])), up)) for row, up in zip(rows, slopes, strict=True)])

    def forward_whole(self, f: Formulas, node: Node) -> Any:
        x = f.whole(node.inputs[0])
        W = f.matrix(node, "weight", transposed=not f.alone)
        product = Product((W, x) if f.alone else (x, W), "")
        return Sum((product, f.matrix(node, "bias"))) if "bias" in node.layer.params() else product

    def backward_whole(self, f: Formulas, node: Node, place: int) -> Any:
        up, W = f.slope_whole(node.outputs[0]), f.matrix(node, "weight", transposed=f.alone)
        return Product((W, up) if f.alone else (up, W), "")

    def parameter_whole(self, f: Formulas, node: Node, own: str) -> Any:
        up = f.slope_whole(node.outputs[0])
        if own == "bias":
            return up if f.alone else Fn("Σ", up)
        if f.alone:
            return Product((up, f.whole(node.inputs[0], transposed=True)), "")
        return Product((f.slope_whole(node.outputs[0], transposed=True), f.whole(node.inputs[0])), "")


class _Elementwise(Writer):
    def forward(self, f: Formulas, node: Node, index: Index) -> Any:
        return Fn(name_of(node.layer), f.sym(node.inputs[0], index), float(f.trace.values[node.outputs[0]][index]))

    def backward(self, f: Formulas, node: Node, place: int, index: Index, up: Up) -> Any:
        return _times(f.prime(node, index), up(index))

    def forward_whole(self, f: Formulas, node: Node) -> Any:
        return Fn(name_of(node.layer), f.whole(node.inputs[0]))

    def backward_whole(self, f: Formulas, node: Node, place: int) -> Any:
        prime = Fn(name_of(node.layer), f.whole(node.inputs[0]), prime=True)
        return Product((prime, f.slope_whole(node.outputs[0])), "⊙")


class _Identity(Writer):
    def forward(self, f: Formulas, node: Node, index: Index) -> Any:
        return f.sym(node.inputs[0], index)

    def backward(self, f: Formulas, node: Node, place: int, index: Index, up: Up) -> Any:
        return up(index)

    def forward_whole(self, f: Formulas, node: Node) -> Any:
        return f.whole(node.inputs[0])

    def backward_whole(self, f: Formulas, node: Node, place: int) -> Any:
        return f.slope_whole(node.outputs[0])


class _Arithmetic(Writer):
    """Two inputs of one shape, element by element; where one is stretched, the sum over its copies is not written out."""

    def forward(self, f: Formulas, node: Node, index: Index) -> Any:
        if not self._alike(f, node):
            return None
        a, b = (f.sym(n, index) for n in node.inputs)
        return self.of(a, b)

    def backward(self, f: Formulas, node: Node, place: int, index: Index, up: Up) -> Any:
        if not self._alike(f, node):
            return None
        a, b = (f.sym(n, index) for n in node.inputs)
        return self.slope(place, up(index), a, b)

    def forward_whole(self, f: Formulas, node: Node) -> Any:
        a, b = map(f.whole, node.inputs)
        return self.of(a, b, "⊙")

    def backward_whole(self, f: Formulas, node: Node, place: int) -> Any:
        a, b = map(f.whole, node.inputs)
        return self.slope(place, f.slope_whole(node.outputs[0]), a, b, "⊙") if self._alike(f, node) else None

    @staticmethod
    def _alike(f: Formulas, node: Node) -> bool:
        return len({f.trace.values[n].shape for n in (*node.inputs, *node.outputs)}) == 1

    def of(self, a: Any, b: Any, sign: str = "·") -> Any:
        """The operation."""

    def slope(self, place: int, up: Any, a: Any, b: Any, sign: str = "·") -> Any:
        """The gradient of one of the two."""


class _Add(_Arithmetic):
    def of(self, a: Any, b: Any, sign: str = "·") -> Any:
        return Sum((a, b))

    def slope(self, place: int, up: Any, a: Any, b: Any, sign: str = "·") -> Any:
        return up


class _Sub(_Arithmetic):
    def of(self, a: Any, b: Any, sign: str = "·") -> Any:
        return Difference(a, b)

    def slope(self, place: int, up: Any, a: Any, b: Any, sign: str = "·") -> Any:
        return Minus(up) if place else up


class _Mul(_Arithmetic):
    def of(self, a: Any, b: Any, sign: str = "·") -> Any:
        return Product((a, b), sign)

    def slope(self, place: int, up: Any, a: Any, b: Any, sign: str = "·") -> Any:
        return _times(a if place else b, up, sign)


class _Div(_Arithmetic):
    def of(self, a: Any, b: Any, sign: str = "·") -> Any:
        return Quotient(a, b)

    def slope(self, place: int, up: Any, a: Any, b: Any, sign: str = "·") -> Any:
        return Minus(Quotient(_times(a, up, sign), Square(b))) if place else Quotient(up, b)


class _Mean(Writer):
    """A loss that is a sum or a mean of losses of its elements."""

    def forward(self, f: Formulas, node: Node, index: Index) -> Any:
        if node.layer.reduction == "none":  # type: ignore[attr-defined]
            return self.each(*(f.sym(n, index) for n in node.inputs))
        elements = list(np.ndindex(f.trace.values[node.inputs[0]].shape))
        if not elements:
            return None
        return _over(total([self.each(*(f.sym(n, i) for n in node.inputs)) for i in elements]), self.parts(f, node))

    def backward(self, f: Formulas, node: Node, place: int, index: Index, up: Up) -> Any:
        if place:
            return None
        each = _over(self.slope(*(f.sym(n, index) for n in node.inputs)), self.parts(f, node))
        return _times(each, up(index if node.layer.reduction == "none" else ()))  # type: ignore[attr-defined]

    @staticmethod
    def parts(f: Formulas, node: Node) -> int:
        """What a mean divides by."""
        return f.trace.values[node.inputs[0]].size if node.layer.reduction == "mean" else 1  # type: ignore[attr-defined]

    def each(self, y: Any, t: Any) -> Any:
        """The loss of one element."""

    def slope(self, y: Any, t: Any) -> Any:
        """Its derivative."""


class _MSE(_Mean):
    def each(self, y: Any, t: Any) -> Any:
        return Square(Difference(y, t))

    def slope(self, y: Any, t: Any) -> Any:
        return Product((Num(2), Difference(y, t)))

    def forward_whole(self, f: Formulas, node: Node) -> Any:
        y, t = map(f.whole, node.inputs)
        squares = Square(Difference(y, t))
        if node.layer.reduction == "none":  # type: ignore[attr-defined]
            return squares
        return _over(Fn("Σ", squares), self.parts(f, node))

    def backward_whole(self, f: Formulas, node: Node, place: int) -> Any:
        y, t = map(f.whole, node.inputs)
        each = _over(Product((Num(2), Difference(y, t))), self.parts(f, node))
        return None if place else _times(each, f.slope_whole(node.outputs[0]))


class _BCE(_Mean):
    def each(self, y: Any, t: Any) -> Any:
        unlike = Product((Difference(Num(1), t), Fn("log", Difference(Num(1), y))))
        return Minus(Sum((Product((t, Fn("log", y))), unlike)))

    def slope(self, y: Any, t: Any) -> Any:
        return Quotient(Difference(y, t), Product((y, Difference(Num(1), y))))


class _BCEWithLogits(_Mean):
    def each(self, y: Any, t: Any) -> Any:
        return Difference(Fn("log", Sum((Num(1), Fn("exp", y)))), Product((t, y)))

    def slope(self, y: Any, t: Any) -> Any:
        return Difference(Fn("σ", y, float(sigmoid(np.asarray(y.value))), one=True), t)


class _CrossEntropy(Writer):
    """Scores (N, C) or (C) against class indices."""

    def forward(self, f: Formulas, node: Node, index: Index) -> Any:
        y, targets = node.inputs[0], self._targets(f, node)
        if targets is None or node.layer.reduction == "none":  # type: ignore[attr-defined]
            return None
        losses = []
        for row, target in targets:
            scores = f.row(y, row)
            losses.append(Difference(Fn("log", total([Fn("exp", s) for s in scores])), scores[target]))
        return _over(total(losses), self._parts(f, node))

    def backward(self, f: Formulas, node: Node, place: int, index: Index, up: Up) -> Any:
        targets = self._targets(f, node)
        if place or targets is None or node.layer.reduction == "none":  # type: ignore[attr-defined]
            return None
        *row, c = index
        p = softmax(f.trace.values[node.inputs[0]][tuple(row)], axis=-1)
        chance = Fn("softmax", f.letter_of_row(node.inputs[0], tuple(row)), float(p[c]), index=(c,))
        each = Difference(chance, Num(1)) if dict(targets)[tuple(row)] == c else chance
        return _times(_over(each, self._parts(f, node)), up(()))

    @staticmethod
    def _parts(f: Formulas, node: Node) -> int:
        y = f.trace.values[node.inputs[0]]
        return len(y) if node.layer.reduction == "mean" and y.ndim == 2 else 1  # type: ignore[attr-defined]

    @staticmethod
    def _targets(f: Formulas, node: Node) -> list[tuple[Index, int]] | None:
        y, t = (f.trace.values[n] for n in node.inputs)
        if t.dtype.kind not in "iu" or y.ndim > 2 or (t.size and not (t.min() >= 0 and t.max() < y.shape[-1])):
            return None
        return [(row, int(t[row])) for row in np.ndindex(y.shape[:-1])]


_TABLE: tuple[tuple[type[Layer[Any]], Writer], ...] = (
    (Linear, _Linear()),
    (Elementwise, _Elementwise()),
    (Identity, _Identity()),
    (Add, _Add()),
    (Sub, _Sub()),
    (Mul, _Mul()),
    (Div, _Div()),
    (MSELoss, _MSE()),
    (BCELoss, _BCE()),
    (BCEWithLogitsLoss, _BCEWithLogits()),
    (CrossEntropyLoss, _CrossEntropy()),
)


def writer_of(layer: Layer[Any]) -> Writer | None:
    """How a layer is written; None for one that is not in the table, or is not refbp's own and computes otherwise."""
    for cls, writer in _TABLE:
        if isinstance(layer, cls):
            methods = (type(layer).forward, type(layer).backward)
            return writer if all(m.__module__.startswith("refbp.") for m in methods) else None
    return None


def name_of(layer: Layer[Any]) -> str:
    """What an activation is called in a formula."""
    name = type(layer).__name__
    return NAMES.get(name, name.lower() if name.isupper() or name[1:].islower() else name)


def _over(tree: Any, parts: int) -> Any:
    return tree if parts == 1 else Quotient(tree, Num(parts))


def _times(tree: Any, up: Any, sign: str = "·") -> Any:
    """A product, without a factor of one."""
    if up == Num(1.0):
        return tree
    return up if tree == Num(1.0) else Product((*(tree.factors if isinstance(tree, Product) else (tree,)), up), sign)
