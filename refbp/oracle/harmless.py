"""What an expression of a course file may do in this process: compute with arrays, and nothing else.

A course in Python is code that one trusts, as a plugin is. A course file is read like data, so what of it is evaluated
here is looked at before: no name with an underscore, of NumPy only what moves and makes elements, no method that writes.
"""

from __future__ import annotations

import ast

# fmt: off
NUMPY = frozenset({
    "abs", "arange", "argmax", "argsort", "array", "asarray", "ascontiguousarray", "atleast_1d", "atleast_2d", "bool_",
    "broadcast_to", "column_stack", "concatenate", "diag", "einsum", "expand_dims", "eye", "flip", "float32", "float64", "full",
    "hstack", "int32", "int64", "maximum", "minimum", "moveaxis", "newaxis", "ones", "ones_like", "pad", "prod", "ravel",
    "repeat", "reshape", "roll", "rollaxis", "rot90", "size", "sqrt", "squeeze", "stack", "sum", "swapaxes", "take", "tile",
    "transpose", "tril", "triu", "vstack", "where", "zeros", "zeros_like",
})
METHODS = frozenset({
    "T", "all", "any", "argmax", "astype", "copy", "dot", "flatten", "get", "items", "keys", "max", "mean", "min", "mT", "ndim",
    "ravel", "repeat", "reshape", "shape", "size", "squeeze", "std", "sum", "swapaxes", "take", "transpose", "values", "var",
})
# fmt: on
WRITING = frozenset(("tofile", "dump"))  # the methods of an array that open a file
_EXPRESSION = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Attribute, ast.Call, ast.keyword, ast.Subscript, ast.Slice),
    *(ast.Tuple, ast.List, ast.BinOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.BoolOp, ast.Starred),
    *(ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)


def expression(source: str) -> str:
    """What is wrong with an expression over arrays, in words; empty where nothing is."""
    try:
        tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"it cannot be read: {getattr(error, 'msg', error)}"
    for node in ast.walk(tree):
        if not isinstance(node, _EXPRESSION):
            return f"{ast.unparse(node)!r} is no expression over arrays" if isinstance(node, ast.expr) else "it is too much"
        if isinstance(node, ast.Attribute) and (words := _attribute(node, METHODS)):
            return words
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Attribute) and ast.unparse(node.func) != "len":
            return f"{ast.unparse(node.func)}(…) is no function here: np's functions, methods of arrays and len are"
    return ""


def names(source: str) -> list[str]:
    """The names that an expression reads."""
    tree = ast.parse(source.strip(), mode="eval")
    return list(dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id not in {"np", "len"}))


def notation(source: str) -> str:
    """The same of lines of call notation, whose methods are the submission's as well."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (words := _attribute(node, None)):
            return words
    return ""


def _attribute(node: ast.Attribute, methods: frozenset[str] | None) -> str:
    whole = ast.unparse(node)
    if node.attr.startswith("__") or (methods is not None and node.attr.startswith("_")):
        return f"{whole}: a name with underscores before it is not for a course file"
    if isinstance(node.value, ast.Name) and node.value.id == "np":
        return (
            ""
            if node.attr in NUMPY
            else f"{whole} is not for a course file: it may use np.{', np.'.join(sorted(NUMPY)[:6])}, …"
        )
    if methods is None:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id == "np":
            return f"{whole} is not for a course file"
        return f"{whole} writes a file" if node.attr in WRITING else ""
    return (
        ""
        if node.attr in methods
        else f"{whole} is not for a course file: of an array it may use {', '.join(sorted(methods)[:8])}, …"
    )
