"""The operators: what can go wrong at one node of a formula, and how to say it.

An operator is a generator: given a node (and what is around it) it yields ``kind, sentence, replacement``. The sentence is
in the code's own words, and completes "your gradient is what you get when …".
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

Offer = tuple[str, str, ast.AST | None]


@dataclass(frozen=True)
class Change:
    """One replacement of one node of a tree; ``made()`` makes it for as long as a ``with`` block lasts."""

    kind: str
    sentence: str
    line: int
    before: str
    after: str
    parent: ast.AST
    slot: str
    index: int | None
    new: Any

    def made(self) -> AbstractContextManager[None]:
        """The tree with this change in it."""
        return self._holding(self.new)

    def poisoned(self) -> AbstractContextManager[None]:
        """The tree with an error in this place: whoever executes it is noticed."""
        call = ast.Call(ast.Name("_reached_", ast.Load()), [], [])
        place: ast.AST = call
        if isinstance(self.new, ast.Slice):
            place = ast.Slice(call, None, None)
        elif isinstance(self.new, ast.stmt):
            place = ast.Expr(call)
        return self._holding(ast.fix_missing_locations(ast.copy_location(place, self.new)))

    @contextmanager
    def _holding(self, node: ast.AST) -> Iterator[None]:
        held = getattr(self.parent, self.slot)
        old = held if self.index is None else held[self.index]
        self._put(held, node)
        try:
            yield
        finally:
            self._put(getattr(self.parent, self.slot), old)

    def _put(self, held: Any, value: Any) -> None:
        if self.index is None:
            setattr(self.parent, self.slot, value)
        else:
            held[self.index] = value


@dataclass(frozen=True)
class Around:
    """What an operator may need to know of the function: names unpacked from ``saved``, upstream names, its statements."""

    siblings: dict[str, tuple[str, ...]]  # name → the other names unpacked together with it
    upstream: frozenset[str]


def changes(function: ast.FunctionDef) -> Iterator[Change]:
    """Every change that every operator offers, in the order of the source."""
    around = _around(function)
    for parent, slot, index, node in _nodes(function):
        for kind, sentence, new in _offers(node, around):
            if new is None:
                new = ast.copy_location(ast.Pass(), node)  # noqa: PLW2901
            # A copy: where a part stands in for the whole, the part itself keeps its own place
            new = ast.fix_missing_locations(ast.copy_location(copy.copy(new), node))  # noqa: PLW2901
            line = getattr(node, "lineno", function.lineno)
            yield Change(kind, sentence, line, _text(node), _text(new), parent, slot, index, new)


def _nodes(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Nodes with where they hang, without annotations, docstrings, errors that are raised and assertions."""
    waiting: list[ast.AST] = [function]
    while waiting:
        parent = waiting.pop(0)
        for slot, value in ast.iter_fields(parent):
            if slot in ("annotation", "returns", "decorator_list", "args") and not isinstance(parent, ast.Call):
                continue
            many = isinstance(value, list)
            for index, node in enumerate(value if many else [value]):
                if not isinstance(node, ast.AST) or isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.expr_context):
                    continue
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    continue
                if isinstance(node, ast.If) and any(isinstance(s, ast.Raise) for s in node.body):
                    continue
                yield parent, slot, index if many else None, node
                waiting.append(node)


def _around(function: ast.FunctionDef) -> Around:
    siblings: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names = [t.id for t in node.targets[0].elts if isinstance(t, ast.Name) and t.id != "_"]
            siblings |= {n: tuple(o for o in names if o != n) for n in names}
    arguments = [a.arg for a in function.args.args]
    upstream = frozenset(arguments[2:]) if function.name == "backward" else frozenset()
    return Around(siblings, upstream)


def _offers(node: ast.AST, around: Around) -> Iterator[Offer]:
    if isinstance(node, ast.Name):
        yield from _names(node, around)
    elif type(node) in _OPERATORS:
        yield from _OPERATORS[type(node)](node)


def _text(node: ast.AST) -> str:
    return "nothing" if isinstance(node, ast.Pass) else " ".join(ast.unparse(node).split())


def _quoted(node: ast.AST) -> str:
    text = _text(node)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}…`"


def _with(node: Any, **fields: Any) -> Any:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


# Arithmetic ----------------------------------------------------------------------------------------------------------


def _terms(node: ast.BinOp) -> Iterator[Offer]:
    left, right = node.left, node.right
    if isinstance(node.op, ast.Add | ast.Sub):
        minus = isinstance(node.op, ast.Sub)
        lone: ast.expr = ast.UnaryOp(ast.USub(), right) if minus else right
        yield "lost term", f"the term {_quoted(right)} is missing", left
        yield "lost term", f"the term {_quoted(left)} is missing", lone
        flipped = _with(node, op=ast.Add() if minus else ast.Sub())
        yield "flipped sign", f"{_quoted(right)} has the wrong sign", flipped
        if minus:
            yield "swapped operands", f"{_quoted(node)} is taken the other way round", _with(node, left=right, right=left)
    elif isinstance(node.op, ast.Mult):
        yield "lost factor", f"the factor {_quoted(right)} is missing", left
        yield "lost factor", f"the factor {_quoted(left)} is missing", right
        yield "operator", f"{_quoted(node)} is a quotient", _with(node, op=ast.Div())
    elif isinstance(node.op, ast.Div):
        yield "lost factor", f"the division by {_quoted(right)} is missing", left
        yield "operator", f"{_quoted(node)} is a product", _with(node, op=ast.Mult())
        if isinstance(right, ast.Name | ast.Attribute):
            less = ast.BinOp(right, ast.Sub(), ast.Constant(1))
            yield "biased", f"{_quoted(node)} divides by {_text(right)} − 1", _with(node, right=less)
    elif isinstance(node.op, ast.Pow):
        yield "exponent", f"the exponent of {_quoted(node)} is missing", left
        yield (
            "exponent",
            f"the exponent of {_quoted(node)} is one less",
            _with(node, right=ast.BinOp(right, ast.Sub(), ast.Constant(1))),
        )
    elif isinstance(node.op, ast.MatMult):
        yield "swapped operands", f"{_quoted(node)} is multiplied in the other order", _with(node, left=right, right=left)
    elif isinstance(node.op, ast.BitAnd | ast.BitOr):
        yield "condition", f"only {_quoted(left)} is asked, not {_quoted(right)}", left
        yield "condition", f"only {_quoted(right)} is asked, not {_quoted(left)}", right


def _sign(node: ast.UnaryOp) -> Iterator[Offer]:
    if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "flipped sign", f"{_quoted(node.operand)} has the wrong sign", node.operand
    if isinstance(node.op, ast.Invert | ast.Not):
        yield "condition", f"{_quoted(node)} is not negated", node.operand


def _constant(node: ast.Constant) -> Iterator[Offer]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", f"{value} stands as {not value}", ast.Constant(not value)
    elif isinstance(value, int):
        for other in {value + 1, value - 1} - {value}:
            yield "constant", f"{value} stands as {other}", ast.Constant(other)
    elif isinstance(value, float):
        yield "constant", f"{value:g} stands as {2 * value + (value == 0):g}", ast.Constant(2 * value + (value == 0))


def _compare(node: ast.Compare) -> Iterator[Offer]:
    pairs = {ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt}
    against = {ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
    kind = type(node.ops[0])
    if kind in pairs:
        other = _with(node, ops=[pairs[kind](), *node.ops[1:]])
        yield "comparison", f"{_quoted(node)} stands as {_quoted(other)}, which differs only where both are equal", other
    if kind in against:
        other = _with(node, ops=[against[kind](), *node.ops[1:]])
        yield "comparison", f"{_quoted(node)} stands as {_quoted(other)}", other


# Calls ---------------------------------------------------------------------------------------------------------------

_OTHER_FUNCTION = {
    "sum": "mean",
    "mean": "sum",
    "maximum": "minimum",
    "minimum": "maximum",
    "max": "min",
    "min": "max",
    "exp": "expm1",
    "expm1": "exp",
    "log": "log1p",
    "log1p": "log",
    "sin": "cos",
    "cos": "sin",
    "argmax": "argmin",
    "zeros_like": "ones_like",
    "empty": "zeros",
    "any": "all",
    "floor": "ceil",
    "ceil": "floor",
    "tanh": "sinh",
}
_REARRANGING = ("reshape", "transpose", "swapaxes", "squeeze", "moveaxis", "ravel", "flip", "T")
_TRANSPARENT = ("abs", "sqrt", "sign", "clip", "exp", "log", "tanh", "where", "maximum", "minimum", "square")


def _call(node: ast.Call) -> Iterator[Offer]:
    name = _name(node.func)
    arguments = node.args
    if name in _OTHER_FUNCTION:
        other = _OTHER_FUNCTION[name]
        renamed = _with(node.func, attr=other) if isinstance(node.func, ast.Attribute) else None
        if renamed is not None:
            what = "sum or mean" if {name, other} == {"sum", "mean"} else "function"
            yield what, f"{_quoted(node)} is a {other}", _with(node, func=renamed)
    method = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
    if name in ("sum", "mean") and isinstance(node.func, ast.Attribute) and method:
        yield "reduction", f"{_quoted(node)} is not reduced", node.func.value
    if name in _REARRANGING and method and isinstance(node.func, ast.Attribute):
        yield "rearrangement", f"{_quoted(node)} is not rearranged", node.func.value
    if name in _TRANSPARENT and not method and arguments:
        yield "lost function", f"{name} is missing around {_quoted(arguments[0])}", arguments[0]
    if name in ("dot", "matmul", "outer") and len(arguments) == 2:
        yield "swapped operands", f"{_quoted(node)} is multiplied in the other order", _with(node, args=arguments[::-1])
    if name == "where" and len(arguments) == 3:
        yield "branches", f"the branches of {_quoted(node)} are swapped", _with(node, args=[arguments[0], *arguments[:0:-1]])
        yield "branches", f"{_quoted(node)} is {_quoted(arguments[1])} everywhere", arguments[1]
        yield "branches", f"{_quoted(node)} is {_quoted(arguments[2])} everywhere", arguments[2]
    if name == "sqrt" and arguments and isinstance(arguments[0], ast.BinOp) and isinstance(arguments[0].op, ast.Add):
        inside = arguments[0]
        outside = ast.BinOp(_with(node, args=[inside.left]), ast.Add(), inside.right)
        yield "eps", f"{_quoted(inside.right)} is added outside the root", outside
    yield from _keywords(node)
    if name == "Grads":
        yield from _grads(node)


def _keywords(node: ast.Call) -> Iterator[Offer]:
    for i, keyword in enumerate(node.keywords):
        if keyword.arg == "keepdims":
            others = [*node.keywords[:i], *node.keywords[i + 1 :]]
            yield "keepdims", f"{_quoted(node)} does not keep its axes", _with(node, keywords=others)
        if keyword.arg == "axis":
            others = [*node.keywords[:i], *node.keywords[i + 1 :]]
            yield "axis", f"{_quoted(node)} is taken over all axes", _with(node, keywords=others)


def _grads(node: ast.Call) -> Iterator[Offer]:
    for i, argument in enumerate(node.args):
        if isinstance(argument, ast.Constant | ast.Starred):
            continue
        negated = ast.UnaryOp(ast.USub(), argument)
        yield (
            "flipped sign",
            f"gradient {i} has the wrong sign",
            _with(node, args=[*node.args[:i], negated, *node.args[i + 1 :]]),
        )
        for j in range(i + 1, len(node.args)):
            args = list(node.args)
            args[i], args[j] = args[j], args[i]
            yield "swapped gradients", f"gradients {i} and {j} are swapped", _with(node, args=args)
    named = [k for k in node.keywords if k.arg]
    for a, first in enumerate(named):
        for second in named[a + 1 :]:
            values = {id(first): second.value, id(second): first.value}
            keywords = [_with(k, value=values[id(k)]) if id(k) in values else k for k in node.keywords]
            yield (
                "swapped gradients",
                f"the gradients of {first.arg} and {second.arg} are swapped",
                _with(node, keywords=keywords),
            )
        zero = ast.BinOp(first.value, ast.Mult(), ast.Constant(0))
        keywords = [_with(k, value=zero) if k is first else k for k in node.keywords]
        if not isinstance(first.value, ast.IfExp):
            yield "lost gradient", f"the gradient of {first.arg} is zero", _with(node, keywords=keywords)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "math")


# Names, indices, axes ------------------------------------------------------------------------------------------------


def _names(node: ast.Name, around: Around) -> Iterator[Offer]:
    if not isinstance(node.ctx, ast.Load):
        return
    for other in around.siblings.get(node.id, ()):
        yield "saved value", f"`{other}` is used where `{node.id}` is meant", ast.Name(other, ast.Load())
    if node.id in around.upstream:
        ones = ast.Call(ast.Attribute(ast.Name("np", ast.Load()), "ones_like", ast.Load()), [ast.Name(node.id, ast.Load())], [])
        yield "upstream", f"the upstream gradient `{node.id}` is ignored", ones


def _attribute(node: ast.Attribute) -> Iterator[Offer]:
    if node.attr == "T":
        yield "rearrangement", f"{_quoted(node)} is not transposed", node.value


def _slice(node: ast.Slice) -> Iterator[Offer]:
    for end in ("lower", "upper"):
        value = getattr(node, end)
        if value is not None:
            yield (
                "slice",
                f"the slice {_quoted(node)} {'starts' if end == 'lower' else 'ends'} one later",
                _with(node, **{end: ast.BinOp(value, ast.Add(), ast.Constant(1))}),
            )
            yield (
                "slice",
                f"the slice {_quoted(node)} has no {'start' if end == 'lower' else 'end'}",
                _with(node, **{end: None}),
            )
    if node.step is not None:
        yield "slice", f"the slice {_quoted(node)} has no step", _with(node, step=None)


# Statements and branches ---------------------------------------------------------------------------------------------


def _augmented(node: ast.AugAssign) -> Iterator[Offer]:
    yield "= for +=", f"{_quoted(node)} overwrites where it should add up", ast.Assign([node.target], node.value)
    yield "lost statement", f"{_quoted(node)} is missing", None
    if isinstance(node.op, ast.Add | ast.Sub):
        flipped = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield "flipped sign", f"{_quoted(node)} has the wrong sign", _with(node, op=flipped)


def _assignment(node: ast.Assign) -> Iterator[Offer]:
    target = node.targets[0]
    if isinstance(target, ast.Subscript) or (
        isinstance(target, ast.Name) and any(isinstance(n, ast.Name) and n.id == target.id for n in ast.walk(node.value))
    ):
        yield "lost statement", f"{_quoted(node)} is missing", None


def _if(node: ast.If) -> Iterator[Offer]:
    yield "condition", f"{_quoted(node.test)} is taken to hold", _with(node, test=ast.Constant(True))
    yield "condition", f"{_quoted(node.test)} is taken not to hold", _with(node, test=ast.Constant(False))


def _choice(node: ast.IfExp) -> Iterator[Offer]:
    yield "condition", f"{_quoted(node.body)} stands whether or not {_quoted(node.test)}", node.body
    yield "condition", f"{_quoted(node.orelse)} stands whether or not {_quoted(node.test)}", node.orelse


_OPERATORS: dict[type, Callable[[Any], Iterator[Offer]]] = {
    ast.BinOp: _terms,
    ast.UnaryOp: _sign,
    ast.Constant: _constant,
    ast.Compare: _compare,
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.Slice: _slice,
    ast.AugAssign: _augmented,
    ast.Assign: _assignment,
    ast.If: _if,
    ast.IfExp: _choice,
}
