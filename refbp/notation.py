"""Layers from text: ``Linear(2, 2)`` as one would write it in Python, looked up by name and never evaluated.

Only what is registered can be constructed, and arguments are literals, layers, or lists and mappings of layers. Nothing
else is an expression here: no arithmetic, no attribute, no call of anything that is not a layer.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from refbp import registry
from refbp.contract import Layer
from refbp.errors import ArgumentError, RefbpError, UnknownNameError

_CLOSES = {"(": ")", "[": "]", "{": "}"}


def layer(text: str) -> Layer[Any]:
    """The layer or loss that one constructor call describes; parentheses may be left out where there is no argument."""
    return construct(expression(text), text)


def expression(text: str) -> ast.expr:
    """The text as a Python expression; ArgumentError where it is none."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: a null byte
        why = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        raise ArgumentError(
            f"{_short(text)} cannot be read ({why}); wanted a layer as in Python, such as Linear(2, 3) or ReLU."
        ) from None


def construct(node: ast.expr, text: str) -> Layer[Any]:
    """The layer that a parsed constructor call, or a bare name, describes."""
    if isinstance(node, ast.Name):
        node = ast.Call(node, [], [])
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ArgumentError(f"{_short(text)} is no layer; wanted a name and its arguments, such as Linear(2, 3) or ReLU.")
    cls = known(node.func.id)
    if spread := [ast.unparse(k.value) for k in node.keywords if k.arg is None]:
        raise ArgumentError(f"{node.func.id}: **{spread[0]} is not taken; wanted each argument by its name.")
    positional = [_argument(a, node.func.id) for a in node.args]
    named = {k.arg: _argument(k.value, node.func.id, k.arg) for k in node.keywords if k.arg is not None}
    try:
        return cls(*positional, **named)
    except RefbpError:
        raise
    except Exception as error:  # whatever a plugin's constructor makes of the arguments
        raise ArgumentError(f"{_short(ast.unparse(node))} cannot be constructed: {type(error).__name__}: {error}.") from error


def known(name: str) -> type[Layer[Any]]:
    """The class of that name, built in or registered; an UnknownNameError names the nearest one."""
    return _built_in(name) or registry.current().get(name).spec.layer


def _built_in(name: str) -> type[Layer[Any]] | None:
    """A layer or loss of refbp's own: it needs no plugin loaded, and may be asked for while they are."""
    from refbp import layers, losses

    home = next((m for m in (layers, losses) if name in m.__all__), None)
    return None if home is None else getattr(home, name)


def is_loss(layer: Layer[Any]) -> bool:
    """Whether a layer was registered as a loss."""
    entry = registry.current().entries.get(type(layer).__name__)
    return entry is not None and entry.kind == "loss"


def _argument(node: ast.expr, owner: str, name: str | None = None) -> Any:
    """A literal, a layer, or a mapping of layers as Sequential takes it."""
    if _names_a_layer(node):
        return construct(node, ast.unparse(node))
    if isinstance(node, ast.Dict) and any(v is not None and _names_a_layer(v) for v in node.values):
        return {_argument(k, owner): _argument(v, owner) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    if isinstance(node, ast.Tuple | ast.List) and any(_names_a_layer(v) for v in node.elts):
        return [_argument(v, owner) for v in node.elts]
    try:
        return ast.literal_eval(_Infinite().visit(node))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        pass
    shown = f"{owner}: argument {f'{name}={ast.unparse(node)}' if name else ast.unparse(node)}"
    if isinstance(node, ast.Name):
        quoted = f"{name}={node.id!r}" if name else repr(node.id)
        try:
            known(node.id)
        except UnknownNameError as error:
            raise ArgumentError(
                f"{shown} is neither a value nor a layer: quote a word, {quoted}; as a layer, {error}"
            ) from None
    raise ArgumentError(f"{shown} is not a literal; wanted a number, a quoted word, a tuple, or a layer.")


def literal(text: str) -> Any:
    """Numbers, words, lists of them as Python writes them, ``inf`` and ``nan`` among them; ArgumentError for anything else."""
    node = expression(text)
    try:
        return ast.literal_eval(_Infinite().visit(node))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ArgumentError(f"{_short(text)} is no literal; wanted numbers, such as [[1, -1], [0, 2]].") from None


class _Infinite(ast.NodeTransformer):
    """``inf`` and ``-inf``, as they stand in a repr: a constant that literal_eval takes."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id)) if node.id in ("inf", "nan") else node


def _names_a_layer(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)
    return isinstance(node, ast.Name) and (_built_in(node.id) is not None or node.id in registry.current().entries)


def split(text: str, at: str = "") -> Iterator[str]:
    """The parts of a text that stand apart: by white space, or by the character ``at``, outside brackets and quotes."""
    part, stack, quote, previous = "", [], "", ""
    for c in text:
        if quote:
            quote = "" if c == quote and previous != "\\" else quote
        elif c in "'\"":
            quote = c
        elif c in _CLOSES:
            stack.append(c)
        elif c in _CLOSES.values():
            if not stack or _CLOSES[stack.pop()] != c:
                raise ArgumentError(f"the {c} after {_short(part, last=True)} closes nothing: remove it, or open it before.")
        elif not stack and (c == at if at else c.isspace()):
            if part.strip():
                yield part.strip()
            part, previous = "", ""
            continue
        part, previous = part + c, "" if previous == "\\" else c
    if quote or stack:
        raise ArgumentError(f"the {quote or stack[-1]} in {_short(part)} is never closed: close it, or remove it.")
    if part.strip():
        yield part.strip()


def _short(text: str, last: bool = False) -> str:
    text = " ".join(text.split())
    if len(text) > 60:
        text = f"…{text[-59:]}" if last else f"{text[:59]}…"
    return repr(text)
