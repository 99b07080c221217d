"""Source code as mathematics: ``(dx_hat * x_hat).mean(axes, keepdims=True)`` is mean(dx̂ · x̂)."""

from __future__ import annotations

import ast
import re
from typing import Any

NAMES = {
    "x_hat": "x̂",
    "dx_hat": "dx̂",
    "inv_std": "1/σ",
    "gamma": "γ",
    "dgamma": "dγ",
    "beta": "β",
    "dbeta": "dβ",
    "eps": "ε",
    "mu": "μ",
    "sigma": "σ",
    "alpha": "α",
    "delta": "δ",
    "tanh_c": "tanh(c′)",
    "slope_c": "tanh′(c′)",
    "slope_n": "tanh′(n)",
    "slope_r": "σ′(r)",
    "slope_z": "σ′(z)",
    "c_next": "c′",
}
FUNCTIONS = {
    "sum": "Σ",
    "mean": "mean",
    "exp": "exp",
    "log": "log",
    "log1p": "log1p",
    "sqrt": "√",
    "tanh": "tanh",
    "abs": "abs",
    "sign": "sign",
    "sigmoid": "σ",
    "sigmoid_slope": "σ′",
    "tanh_slope": "tanh′",
    "maximum": "max",
    "minimum": "min",
    "where": "where",
    "clip": "clip",
    "softplus": "softplus",
    "softmax": "softmax",
    "_sign": "sign",
    "_sum": "Σ",
}
TRANSPARENT = {
    "asarray",
    "reshape",
    "ascontiguousarray",
    "astype",
    "expand_dims",
    "atleast_2d",
    "atleast_1d",
    "broadcast_to",
    "ravel",
}
PRODUCTS = {"dot", "matmul"}
INNER = {"_dot", "vecdot"}
COMPARISONS: dict[type, str] = {ast.Gt: ">", ast.GtE: "≥", ast.Lt: "<", ast.LtE: "≤", ast.Eq: "=", ast.NotEq: "≠"}


def sentence(mutant: Any) -> str:
    """What a mutant does, with its code as formulas where they can be read as such."""
    return re.sub(r"`([^`]*)`", lambda m: _shown(m[1], mutant), mutant.sentence)


def repair(mutant: Any, line: str = "") -> str:
    """What would have to change in a source, of which this is the line, for a mutant of it to be right."""
    before, after = f"`{_short(mutant.before)}`", f"`{_short(mutant.after)}`"
    after = "left out" if mutant.after == "nothing" else after
    return f"{before} were {after}" if mutant.before == line or not line else f"{before} were {after} in `{_short(line)}`"


def _shown(code: str, mutant: Any) -> str:
    whole = next((t for t in (mutant.before, mutant.after) if code.endswith("…") and t.startswith(code[:-1])), code)
    text = written(whole)
    return text if text is not None and len(text) <= 80 else f"`{code}`"


def _short(code: str) -> str:
    return code if len(code) <= 100 else f"{code[:97]}…"


def written(code: str) -> str | None:
    """An expression, or an assignment, as a formula; None where it is none."""
    try:
        node = ast.parse(code.strip()).body[0]
    except (SyntaxError, IndexError, ValueError):
        return None
    try:
        if isinstance(node, ast.Expr):
            return _text(node.value)
        if isinstance(node, ast.AugAssign):
            op = {ast.Add: "+=", ast.Sub: "−=", ast.Mult: "·=", ast.Div: "/="}[type(node.op)]
            return f"{_text(node.target)} {op} {_text(node.value)}"
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            return f"{_text(node.targets[0])} = {_text(node.value)}"
    except (_NoFormulaError, KeyError):
        pass
    return None


class _NoFormulaError(Exception):
    """A part of the source that is no mathematics."""


def _text(node: ast.expr, strength: int = 0) -> str:
    """The formula; in parentheses where what stands around it binds more strongly."""
    text, own = _formula(node)
    return f"({text})" if own < strength else text


def _formula(node: ast.expr) -> tuple[str, int]:
    if isinstance(node, ast.Name):
        return NAMES.get(node.id, node.id), 9
    if isinstance(node, ast.Attribute):
        if node.attr in ("T", "mT"):
            return f"{_text(node.value, 8)}ᵀ", 8
        return (node.attr, 9) if isinstance(node.value, ast.Name) else (f"{_text(node.value, 9)}.{node.attr}", 9)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return f"{node.value:g}", 9
    if isinstance(node, ast.UnaryOp):
        return _unary(node)
    if isinstance(node, ast.BinOp):
        return _binary(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        return f"{_text(node.left, 3)} {COMPARISONS[type(node.ops[0])]} {_text(node.comparators[0], 3)}", 2
    if isinstance(node, ast.Subscript):
        return _subscript(node)
    if isinstance(node, ast.Call):
        return _call(node)
    raise _NoFormulaError


def _unary(node: ast.UnaryOp) -> tuple[str, int]:
    if isinstance(node.op, ast.USub):
        return f"−{_text(node.operand, 6)}", 5
    if isinstance(node.op, ast.Invert | ast.Not):
        return f"not {_text(node.operand, 9)}", 2
    raise _NoFormulaError


def _binary(node: ast.BinOp) -> tuple[str, int]:
    left, right, op = node.left, node.right, node.op
    if isinstance(op, ast.Add):
        return f"{_text(left, 4)} + {_text(right, 6 if _negative(right) else 4)}", 4
    if isinstance(op, ast.Sub):
        return f"{_text(left, 4)} − {_text(right, 6 if _negative(right) else 5)}", 4
    if isinstance(op, ast.Mult):
        return f"{_text(left, 5)} · {_text(right, 6)}", 6
    if isinstance(op, ast.Div):
        return f"{_text(left, 5)} / {_text(right, 7)}", 6
    if isinstance(op, ast.MatMult):
        return f"{_text(left, 7)} {_text(right, 7)}", 6
    if isinstance(op, ast.Pow):
        if isinstance(right, ast.Constant) and right.value in (2, 3):
            return f"{_text(left, 9)}{'²' if right.value == 2 else '³'}", 8
        return f"{_text(left, 9)}^{_text(right, 9)}", 8
    if isinstance(op, ast.BitAnd):
        return f"{_text(left, 3)} and {_text(right, 3)}", 1
    if isinstance(op, ast.BitOr):
        return f"{_text(left, 3)} or {_text(right, 3)}", 1
    raise _NoFormulaError


def _negative(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _subscript(node: ast.Subscript) -> tuple[str, int]:
    """``a[:, None]`` and ``a[..., None]`` are a; of the rest only a name that is looked up is mathematics."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if all(map(_is_whole, parts)):
        return _formula(node.value)
    if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value, 9
    raise _NoFormulaError


def _is_whole(part: ast.expr) -> bool:
    """Whether a part of a subscript takes all there is: ``:``, ``...``, ``None``."""
    if isinstance(part, ast.Slice):
        return not (part.lower or part.upper or part.step)
    return isinstance(part, ast.Constant) and part.value in (None, ...)


def _call(node: ast.Call) -> tuple[str, int]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    method = isinstance(function, ast.Attribute) and not (
        isinstance(function.value, ast.Name) and function.value.id in ("np", "math", "self")
    )
    arguments = [*([function.value] if method and isinstance(function, ast.Attribute) else []), *node.args]
    if not arguments:
        raise _NoFormulaError
    if name in TRANSPARENT:
        return _formula(arguments[0])
    if name in PRODUCTS and len(arguments) == 2:
        return f"{_text(arguments[0], 7)} {_text(arguments[1], 7)}", 6
    if name in INNER and len(arguments) == 2:
        return f"Σ {_text(arguments[0], 6)} · {_text(arguments[1], 6)}", 5
    if name == "sum":
        return f"Σ {_text(arguments[0], 6)}", 5
    if name == "mean":
        return f"mean({_text(arguments[0])})", 9
    if name == "sqrt":
        return f"√({_text(arguments[0])})", 9
    if name in FUNCTIONS:
        return f"{FUNCTIONS[name]}({', '.join(_text(a) for a in arguments)})", 9
    raise _NoFormulaError
