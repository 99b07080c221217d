"""What a module defines: functions and classes, their signatures, and whether their bodies are still the starter's."""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from collections.abc import Callable
from typing import Any

MANY = 2_000
FILLING = {"append", "extend", "insert", "add", "update", "setdefault", "fill", "put", "sort", "itemset"}


def survey(module: types.ModuleType, root: str) -> dict[str, dict[str, Any]]:
    """Every function and class that comes from a file below ``root`` and can be reached by a name of the module."""
    bodies = _Bodies(root)
    found: dict[str, dict[str, Any]] = {}
    for name, value in list(vars(module).items())[:MANY]:
        if name.startswith("__"):
            continue
        try:
            entry = _describe(value, bodies)
        except Exception:  # an object that raises when it is looked at has no description
            entry = None
        if entry is not None:
            entry["here"] = entry.pop("module") == module.__name__
            found[name] = entry
    return found


def _describe(value: Any, bodies: _Bodies) -> dict[str, Any] | None:
    if isinstance(value, type):
        return _describe_class(value, bodies)
    function = inspect.unwrap(value) if callable(value) else value
    if not isinstance(function, types.FunctionType) or not bodies.own(function.__code__.co_filename):
        return None
    return {
        "kind": "function",
        "module": function.__module__,
        "line": function.__code__.co_firstlineno,
        "parameters": _parameters(value),
        **bodies.of(function),
    }


def _describe_class(value: type, bodies: _Bodies) -> dict[str, Any] | None:
    methods = {}
    for cls in reversed(type.mro(value)):
        for name, member in list(vars(cls).items())[:MANY]:
            plain = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
            if not isinstance(plain, types.FunctionType) or not bodies.own(plain.__code__.co_filename):
                continue
            how = type(member).__name__ if plain is not member else "method"
            methods[name] = {
                "kind": how,
                "line": plain.__code__.co_firstlineno,
                "parameters": _parameters(plain),
                **bodies.of(plain),
            }
    if not methods and not bodies.defines(value):
        return None
    return {
        "kind": "class",
        "module": value.__module__,
        "line": min((m["line"] for m in methods.values()), default=0),
        "parameters": methods.get("__init__", {}).get("parameters", [])[1:],
        "stub": "",
        "empty": [],
        "methods": methods,
        "bases": [b.__name__ for b in type.mro(value)[1:-1]],
    }


def _parameters(function: Any) -> list[dict[str, Any]]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    return [
        {
            "name": p.name,
            "kind": p.kind.name.lower(),
            "has_default": p.default is not p.empty,
            "default": _plain(p.default) if p.default is not p.empty else None,
        }
        for p in signature.parameters.values()
    ]


def _plain(value: Any) -> Any:
    """A default as data: eps and momentum are read from here."""
    if value is None or type(value) in {bool, int, float, str}:
        return value
    return f"<{type(value).__name__}>"


class _Bodies:
    """The syntax trees of the submission's files, asked for functions by file and line."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: dict[str, dict[tuple[str, int], ast.FunctionDef]] = {}

    def own(self, filename: str) -> bool:
        return filename.startswith(self._root)

    def defines(self, cls: type) -> bool:
        module = __import__("sys").modules.get(cls.__module__)
        return self.own(str(getattr(module, "__file__", "") or ""))

    def of(self, function: types.FunctionType) -> dict[str, Any]:
        """``stub`` and ``empty`` of a function's body."""
        code = function.__code__
        node = self._file(code.co_filename).get((code.co_name, code.co_firstlineno))
        if node is None:
            return {"stub": "", "empty": []}
        known = {*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], *code.co_freevars, *function.__globals__}
        kind, empty = stub(node, known)
        return {"stub": kind, "empty": empty}

    def _file(self, filename: str) -> dict[tuple[str, int], ast.FunctionDef]:
        if filename not in self._files:
            nodes: dict[tuple[str, int], ast.FunctionDef] = {}
            try:
                with open(filename, "rb") as file:
                    tree = ast.parse(file.read())
            except (OSError, SyntaxError, ValueError):
                tree = ast.Module([], [])
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    nodes[node.name, first] = node
            self._files[filename] = nodes
        return self._files[filename]


def stub(node: ast.FunctionDef, known: set[str]) -> tuple[str, list[str]]:
    """What says that a body is not written yet, and which of the returned names are still empty.

    ``"pass"``: nothing but pass or ``...``. ``"NotImplementedError"``: it raises that, whatever comes before.
    ``"None"``: the first thing it returns is None, was only ever set to None, or never set at all (and is not ``known``:
    an argument or a global). ``"zeros"``: all that it returns was only ever set to zeros, None or empty containers, the
    starter's placeholders.
    """
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if all(_is_pass(s) for s in body):
        return "pass", []
    if any(isinstance(s, ast.Raise) and "NotImplemented" in ast.dump(s) for s in body):
        return "NotImplementedError", []
    own = list(_walk(body))
    values = _assigned(own)
    returned = [_parts(n.value) for n in own if isinstance(n, ast.Return) and n.value is not None]
    if not returned:
        return "", []

    def only(part: ast.expr, test: Callable[[ast.expr], bool]) -> bool:
        if not isinstance(part, ast.Name) or test(part):
            return test(part)
        given = values.get(part.id)
        if not given:
            return part.id not in known and not hasattr(builtins, part.id)
        return all(v is not None and test(v) for v in given)

    parts = [p for r in returned for p in r]
    empty = sorted({p.id for p in parts if isinstance(p, ast.Name) and only(p, _is_empty)})
    if all(only(r[0], _is_none) for r in returned if r):
        return "None", empty
    return "zeros" if parts and all(only(p, _is_empty) for p in parts) else "", empty


def _walk(body: list[ast.stmt]) -> Any:
    """Every node of a body, not of the functions and classes defined in it."""
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop(0)
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def _assigned(nodes: list[ast.AST]) -> dict[str, list[ast.expr | None]]:
    """Every value each name is given; None where it is not a plain one, such as part of an unpacked tuple or ``x[i] = …``."""
    values: dict[str, list[ast.expr | None]] = {}

    def give(target: ast.expr, value: ast.expr | None) -> None:
        match target:
            case ast.Name(id=name):
                if not _of_itself(name, value):
                    values.setdefault(name, []).append(value)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(targets) else None
                for i, t in enumerate(targets):
                    give(t, parts[i] if parts else None)
            case ast.Subscript(value=inner) | ast.Attribute(value=inner) | ast.Starred(value=inner):
                give(inner, None)

    for node in nodes:
        match node:
            case ast.Assign(targets=targets, value=value):
                for t in targets:
                    give(t, value)
            case ast.AnnAssign(target=target, value=value):
                give(target, value)
            case ast.AugAssign(target=target) | ast.For(target=target) | ast.NamedExpr(target=target):
                give(target, None)
            case ast.withitem(optional_vars=target) if target is not None:
                give(target, None)
            case ast.Call(func=ast.Attribute(value=inner, attr=method)) if method in FILLING:
                give(inner, None)
            case ast.Expr(value=ast.Call(args=arguments)):  # np.add.at(dx, …): a call whose value is not used fills something
                for a in arguments:
                    give(a, None)
            case ast.keyword(arg="out", value=target):
                give(target, None)
    _through_views(values)
    return values


def _through_views(values: dict[str, list[ast.expr | None]]) -> None:
    """Whoever fills ``part = dx[i]`` fills dx."""
    views = {name: bases for name, given in values.items() if (bases := {b for v in given if (b := _base(v)) and b != name})}
    for _ in views:  # a view of a view of a view
        for name, bases in views.items():
            if None in values[name]:
                for base in bases:
                    values.setdefault(base, []).append(None)


def _base(value: ast.expr | None) -> str:
    """The name that ``dx[i]``, ``dx[i].T`` and ``dx.reshape(…)`` are a view of; empty for anything else."""
    inner, seen = value, False
    while isinstance(inner, (ast.Subscript, ast.Attribute, ast.Call)):
        inner, seen = inner.func if isinstance(inner, ast.Call) else inner.value, True
    return inner.id if seen and isinstance(inner, ast.Name) else ""


def _of_itself(name: str, value: ast.expr | None) -> bool:
    """Whether it is ``out = out.astype(…)``: starters end with that, and it says nothing about who wrote what is before."""
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=inner), attr="astype" | "copy" | "reshape")):
            return inner == name
    return False


def _parts(value: ast.expr) -> list[ast.expr]:
    return value.elts if isinstance(value, ast.Tuple) else [value]


def _is_pass(node: ast.stmt) -> bool:
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or constant


def _is_none(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=None) | ast.Name(id="NotImplemented"):
            return True
    return False


def _is_empty(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return value is None or value == 0
        case ast.Dict(keys=[]) | ast.List(elts=[]):
            return True
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name in {"zeros", "zeros_like", "dict", "list", "empty", "empty_like"}
    return False
