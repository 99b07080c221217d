"""Call notation: how a course calls what its students write, in the course's own words.

    out, cache = affine_forward(x, w, b)          a function of the submission
    dx, dw, db = affine_backward(dout, cache)
    layer = Linear(in_features, out_features)     a class of the submission, made
    layer.W = W                                   an attribute, set
    Z = layer.forward(A)                          a method
    dW = layer.dLdW                               an attribute, read
    dW = W - layer.weights                        arithmetic on what came back
    without("Conv2d", "padding")                  nothing, for those whose Conv2d has no such parameter
    knows("Net", "normalization")                 nothing, for those whose Net has it: others have not written that

It is Python's syntax without its statements: assignments and calls, one after the other. A capital difference is who runs
what: calls of the submission's names go to a :class:`~refbp.oracle.callers.Caller`, everything else is worked out here,
on arrays that nobody else holds. What the notation never needs as an array (a cache, a layer) never leaves the caller.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from refbp.errors import RefbpError, listed
from refbp.oracle.callers import Caller, Outcome, is_handle

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}

QUESTIONS = ("default", "without", "knows")  # what lines may ask about the submission's signatures


class NotationError(RefbpError):
    """A line of call notation that cannot be read."""


class CallFailed(Exception):  # noqa: N818  # not an error of this program: it is how a call of somebody else's ended
    """A call that brought no value; ``outcome`` says how it ended, ``call`` is the line."""

    def __init__(self, outcome: Outcome, call: str) -> None:
        super().__init__(outcome.sentence)
        self.outcome, self.call = outcome, call


@dataclass
class Scene:
    """What names mean while lines are run: arrays and numbers that were given, then whatever the lines assign.

    ``changed`` collects the given arrays that a call has overwritten, by the names in the notation.
    """

    caller: Caller
    values: dict[str, Any]
    changed: list[str] = field(default_factory=list)
    seed: int = 0
    count: bool = False
    calls: dict[str, int] = field(default_factory=dict)
    driver: str = ""
    helpers: frozenset[str] = frozenset()

    def run(self, source: str, wanted: Collection[str]) -> None:
        """Run lines; the names in ``wanted`` come back as arrays, other results stay where they were made."""
        for statement in parsed(source):
            _Line(self, statement, frozenset(wanted) | _needed_here(source)).run()

    def value(self, expression: str) -> Any:
        """What an expression comes to."""
        statement = parsed(expression)[0]
        return _Line(self, statement, ()).value(statement.value)  # type: ignore[attr-defined]


@lru_cache(maxsize=1024)
def parsed(source: str) -> tuple[ast.stmt, ...]:
    """The statements of a notation; NotationError where one is no assignment, call or expression."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise NotationError(f"{source.strip()!r} cannot be read: {error.msg} (line {error.lineno}).") from None
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.Expr) or (
            isinstance(statement, ast.Assign) and len(statement.targets) > 1
        ):
            text = ast.unparse(statement)
            raise NotationError(f"{text!r} is neither a call nor an assignment: write one 'names = call(arguments)' a line.")
    return tuple(tree.body)


@lru_cache(maxsize=1024)
def _needed_here(source: str) -> frozenset[str]:
    """The names that are computed with on this side: those outside the arguments of the submission's calls."""
    found: set[str] = set()

    def visit(node: ast.AST, argument: bool) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and not argument:
            found.add(node.id)
        elif isinstance(node, ast.Call) and _root(node.func) != "np":
            for part in (*node.args, *(k.value for k in node.keywords)):
                visit(part, argument=isinstance(part, ast.Name))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            if _root(node) is None:
                visit(node.value, argument=False)
        elif isinstance(node, ast.Assign):
            visit(node.value, argument=False)
        else:
            for child in ast.iter_child_nodes(node):
                visit(child, argument=argument and not isinstance(node, ast.expr))

    for statement in parsed(source):
        visit(statement, argument=False)
    return frozenset(found)


@lru_cache(maxsize=1024)
def assigned(source: str) -> tuple[str, ...]:
    """The names that lines assign."""
    found = [
        n.id
        for s in parsed(source)
        if isinstance(s, ast.Assign)
        for n in ast.walk(s.targets[0])
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    ]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=1024)
def called(source: str) -> tuple[str, ...]:
    """What lines call of a submission: functions, classes and static methods, by their paths; not methods of objects."""
    own = {*assigned(source), "np", *QUESTIONS}
    found = []
    for statement in parsed(source):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and _root(node.func) not in (*own, None):
                found.append(ast.unparse(node.func))
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=1024)
def methods(source: str) -> tuple[tuple[str, str], ...]:
    """The methods that lines call of objects they have made: (class, method)."""
    classes: dict[str, str] = {}
    found = []
    for s in parsed(source):
        for node in ast.walk(s):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _root(node.func) in classes:
                path = ast.unparse(node.func).split(".")
                if len(path) == 2:
                    found.append((classes[path[0]], path[1]))
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and isinstance(s.value, ast.Call):
            classes[s.targets[0].id] = ast.unparse(s.value.func)
    return tuple(dict.fromkeys(found))


def alone(source: str) -> frozenset[str]:
    """The functions and methods, by their own names, that are called for what they do, and of which nothing is read."""
    calls = [s.value.func for s in parsed(source) if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)]
    return frozenset(ast.unparse(c).rpartition(".")[2] for c in calls)


def _root(node: ast.AST) -> str | None:
    """The name that a chain of attributes starts from."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


class _Line:
    """One statement, run."""

    def __init__(self, scene: Scene, statement: ast.stmt, wanted: Collection[str]) -> None:
        self.scene, self.statement, self.wanted = scene, statement, wanted

    def run(self) -> None:
        if isinstance(self.statement, ast.Expr):
            self.value(self.statement.value, keep=True)
            return
        assert isinstance(self.statement, ast.Assign)
        target = self.statement.targets[0]
        if isinstance(target, ast.Tuple):
            names = [ast.unparse(e) for e in target.elts]
            kept = [i for i, n in enumerate(names) if n not in self.wanted]
            values = self.value(self.statement.value, keep=kept)
            self._unpacked(names, values)
        elif isinstance(target, ast.Attribute | ast.Subscript):
            self._assign(target, self.value(self.statement.value))
        else:
            name = ast.unparse(target)
            self.scene.values[name] = self.value(self.statement.value, keep=name not in self.wanted)

    def _unpacked(self, names: list[str], values: Any) -> None:
        if not isinstance(values, tuple | list) or len(values) != len(names):
            n = f"{len(values)} values" if isinstance(values, tuple | list) else "nothing" if values is None else "one value"
            kind = "empty" if values is None or _all_none(values) else "misfit"
            wanted = f"{len(names)} are" if len(names) > 1 else "1 is"
            text = f"returns {n} where {wanted} wanted: {', '.join(names)}"
            raise CallFailed(Outcome(kind, sentence=text), ast.unparse(self.statement))
        self.scene.values.update({n: v for n, v in zip(names, values, strict=True) if n != "_"})

    def _assign(self, target: ast.Attribute | ast.Subscript, value: Any) -> None:
        """To an attribute or an item, as deep as it lies: layer.params["W"] is params.W of the layer."""
        parts: list[str] = []
        node: ast.expr = target
        while isinstance(node, ast.Attribute | ast.Subscript):
            parts.insert(0, node.attr if isinstance(node, ast.Attribute) else str(self.value(node.slice)))
            node = node.value
        root, path = ast.unparse(node), ".".join(parts)
        handle = self.scene.values.get(root)
        if not is_handle(handle):
            raise NotationError(f"{ast.unparse(self.statement)!r}: {root} is no object of the submission.")
        self._done(self.scene.caller.assign(handle, path, value))

    # Expressions

    def value(self, node: ast.expr, keep: Any = ()) -> Any:
        scene = self.scene
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._named(node.id)
            case ast.Call():
                return self._call(node, keep)
            case ast.Attribute():
                return self._attribute(node, keep)
            case ast.Tuple() | ast.List():
                items = [self.value(e) for e in node.elts]
                return tuple(items) if isinstance(node, ast.Tuple) else items
            case ast.Dict():
                return {self.value(k): self.value(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
            case ast.BinOp() if type(node.op) in _BINARY:
                return self._here(_BINARY[type(node.op)], self.value(node.left), self.value(node.right))
            case ast.UnaryOp() if type(node.op) in _UNARY:
                return self._here(_UNARY[type(node.op)], self.value(node.operand))
            case ast.Compare() if len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
                return self._here(_COMPARE[type(node.ops[0])], self.value(node.left), self.value(node.comparators[0]))
            case ast.IfExp():
                return self.value(node.body if self.value(node.test) else node.orelse, keep)
            case ast.Subscript():
                held = self.value(node.value)
                key = self.value(node.slice)
                if is_handle(held):
                    return self._done(scene.caller.attribute(held, str(key), keep=keep)).value
                return self._here(operator.getitem, held, key)
            case ast.Slice():
                return slice(*(None if p is None else self.value(p) for p in (node.lower, node.upper, node.step)))
        raise NotationError(f"{ast.unparse(node)!r} is not call notation.")

    def _here(self, function: Callable[..., Any], *args: Any) -> Any:
        """Arithmetic on what came back, which may be anything."""
        try:
            return function(*args)
        except CallFailed:
            raise
        except Exception as error:
            text = f"returns what does not fit {ast.unparse(self.statement)!r}: {type(error).__name__}: {error}"
            raise CallFailed(Outcome("misfit", sentence=text), ast.unparse(self.statement)) from None

    def _named(self, name: str) -> Any:
        if name not in self.scene.values:
            known = listed(sorted(n for n in self.scene.values if not n.startswith("_"))[:20])
            raise NotationError(f"{ast.unparse(self.statement)!r}: nothing is called {name} (known: {known}).")
        return self.scene.values[name]

    def _attribute(self, node: ast.Attribute, keep: Any) -> Any:
        root = _root(node)
        held = self.scene.values.get(root) if root else None
        if is_handle(held):
            path = ast.unparse(node).partition(".")[2]
            return self._done(self.scene.caller.attribute(held, path, keep=keep)).value
        owner = np if root == "np" and root not in self.scene.values else None
        value = owner if owner is not None else self.value(node.value)
        for part in ast.unparse(node).split(".")[1:] if owner is not None else [node.attr]:
            value = self._here(getattr, value, part)
        return value

    def _call(self, node: ast.Call, keep: Any) -> Any:
        scene = self.scene
        root = _root(node.func)
        args: list[Any] = []
        for a in node.args:
            args += list(self.value(a.value)) if isinstance(a, ast.Starred) else [self.value(a)]
        kwargs = {k.arg: self.value(k.value) for k in node.keywords if k.arg is not None}
        if root is None or (root in scene.values and not is_handle(scene.values[root])) or root == "np":
            function = self.value(node.func)
            return self._here(lambda: function(*args, **kwargs))
        path = ast.unparse(node.func)
        asked: dict[str, Any] = {"keep": keep, "seed": scene.seed, "count": scene.count}
        dicts = [a for a in node.args if isinstance(a, ast.Name) and isinstance(scene.values.get(a.id), dict)]
        if dicts:
            asked["arguments"] = True
        if root in scene.values:
            outcome = scene.caller.method(scene.values[root], path.partition(".")[2] or "__call__", args, kwargs, **asked)
        elif root in scene.helpers:
            asked.pop("arguments", None)
            outcome = scene.caller.run(scene.driver, path, args, kwargs, **asked)
        else:
            outcome = scene.caller.call(path, args, kwargs, **asked)
        for name, n in outcome.calls.items():
            scene.calls[name] = scene.calls.get(name, 0) + n
        self._done(outcome)
        self._note_changes(node, args, outcome)
        if outcome.arguments is not None:
            for a, after in zip(node.args, outcome.arguments, strict=False):
                if a in dicts and isinstance(after, dict):
                    scene.values[a.id] = after
        return outcome.value

    def _note_changes(self, node: ast.Call, args: list[Any], outcome: Outcome) -> None:
        """The arrays among the arguments that were overwritten; a dict of settings may be written to."""
        given = {f"args[{i}]": a for i, a in enumerate(node.args)} | {f"kwargs[{k.arg!r}]": k.value for k in node.keywords}
        values = {f"args[{i}]": v for i, v in enumerate(args)}
        for path in outcome.mutated:
            if path in given and isinstance(given[path], ast.Name) and not isinstance(values.get(path), dict):
                name = ast.unparse(given[path])
                if not is_handle(self.scene.values.get(name)) and name not in self.scene.changed:
                    self.scene.changed.append(name)

    def _done(self, outcome: Outcome) -> Outcome:
        if outcome.kind != "ok":
            raise CallFailed(outcome, ast.unparse(self.statement))
        return outcome


def _all_none(values: Any) -> bool:
    return isinstance(values, tuple | list) and len(values) > 0 and all(v is None for v in values)


def lines(source: str) -> Iterator[str]:
    """The lines of a notation, tidy, without the questions that only the oracle can answer."""
    return (ast.unparse(s) for s in parsed(source) if not (isinstance(s, ast.Expr) and _asks(s.value)))


def _asks(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _root(node.func) in QUESTIONS


def check_names(source: str, known: Mapping[str, Any] | Collection[str]) -> None:
    """NotationError where a line reads a name that is neither known nor assigned before it."""
    seen = {*known, "np", *called(source)}
    for statement in parsed(source):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in seen:
                roots = {c.split(".")[0] for c in called(source)}
                if node.id not in roots:
                    raise NotationError(f"{ast.unparse(statement)!r}: nothing is called {node.id}.")
        if isinstance(statement, ast.Assign):
            seen |= {n.id for n in ast.walk(statement.targets[0]) if isinstance(n, ast.Name)}
