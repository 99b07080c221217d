"""Mutants: a layer's own source, wrong in one place, with the sentence that says in which.

The abstract syntax trees of ``backward``, of ``forward`` and of the helpers that they call (methods, functions of the
layer's own modules, of other layers' and losses', and of :mod:`refbp.numerics`) are walked; at every node each operator of
:mod:`.mutations` that applies offers a replacement. A mutant is compiled where its function was, so it sees the same
globals, and is put in the function's place while it is being looked at. Nothing is written for a layer: any registered
class has mutants.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refbp.conformance.mutations import Change, changes
from refbp.contract import Layer

METHODS = ("backward", "forward", "f", "df", "f_df")
HELPERS = ("refbp.layers.", "refbp.losses.", "refbp.numerics")  # modules of which helpers take part, wherever they are called
NEAR = ("refbp.layers._",)  # … and those that hold what a layer's own author wrote, or could have
NOT_FORMULAS = {"check", "rules", "inputs", "outputs", "params", "buffers", "dims", "init", "draw", "given", "arguments"}


@dataclass(frozen=True)
class Mutant:
    """One wrong version of one function."""

    kind: str
    sentence: str
    function: str
    file: str
    line: int
    code: str  # that line
    before: str
    after: str
    site: Site = field(repr=False, compare=False)
    wrong: types.FunctionType = field(repr=False, compare=False)
    poison: types.FunctionType = field(repr=False, compare=False)  # it with an error where it is wrong

    def __getstate__(self) -> dict[str, Any]:
        """What another process is told of it: the words; it cannot be put in place there."""
        return {**self.__dict__, "site": None, "wrong": None, "poison": None}

    def place(self) -> AbstractContextManager[None]:
        """It, in the place of its function, for as long as a ``with`` block lasts."""
        return _placed(self.site, self.wrong)

    def poisoned(self, site: Site | None = None) -> AbstractContextManager[None]:
        """The same with an error where it is wrong: who goes there is noticed. ``site`` is where another layer looks it up."""
        return _placed(site or self.site, self.poison)

    @property
    def where(self) -> str:
        """File and line, as an editor takes them."""
        return f"{self.file}:{self.line}"

    def data(self) -> dict[str, Any]:
        """The mutant as plain data."""
        names = ("kind", "sentence", "function", "file", "line", "code", "before", "after")
        return {n: getattr(self, n) for n in names}


@dataclass(frozen=True)
class Site:
    """A function that takes part, and the namespaces in which it is looked up."""

    name: str
    function: types.FunctionType
    owner: type | None  # the class whose method it is
    namespaces: tuple[Any, ...]  # the class, or the modules' globals


def sites(cls: type[Layer[Any]], helpers: tuple[str, ...] = HELPERS) -> list[Site]:
    """backward, forward, and what they call, each function once, in the order in which they are met."""
    found: dict[types.FunctionType, Site] = {}
    waiting: list[tuple[str, types.FunctionType, type | None, Any]] = []
    for name in METHODS:
        if method := _method(cls, name):
            waiting.append((name, *method))
    while waiting:
        name, function, owner, namespace = waiting.pop(0)
        if function in found:
            known = found[function]
            if not any(namespace is n for n in known.namespaces):
                found[function] = Site(known.name, function, known.owner, (*known.namespaces, namespace))
            continue
        found[function] = Site(name, function, owner, (namespace,))
        waiting += _called(cls, function, helpers)
    return list(found.values())


def _method(cls: type, name: str) -> tuple[types.FunctionType, type, type] | None:
    for owner in cls.__mro__:
        if owner is Layer or owner is object:
            return None
        function = vars(owner).get(name)
        if isinstance(function, property):
            function = function.fget
        if isinstance(function, types.FunctionType):
            return function, owner, owner
    return None


def _called(
    cls: type, function: types.FunctionType, helpers: tuple[str, ...]
) -> Iterator[tuple[str, types.FunctionType, type | None, Any]]:
    """The methods and functions that a function's source names, of refbp's formulas or of the plugin's own module."""
    tree = _tree(function)
    own = {owner.__module__ for owner in cls.__mro__} - {"builtins", "typing", Layer.__module__}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            if node.attr not in NOT_FORMULAS and (method := _method(cls, node.attr)):
                yield node.attr, *method
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            helper = function.__globals__.get(node.func.id)
            module = getattr(helper, "__module__", "")
            if isinstance(helper, types.FunctionType) and (module in own or module.startswith(helpers)):
                yield node.func.id, helper, None, function.__globals__


def _tree(function: types.FunctionType) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None
    return next((n for n in tree.body if isinstance(n, ast.FunctionDef)), None)


def mutants(cls: type[Layer[Any]], helpers: tuple[str, ...] = HELPERS) -> Iterator[Mutant]:
    """Every mutant of a layer, in the order of its source; those that read alike are offered once."""
    seen: set[tuple[str, str]] = set()
    for site in sites(cls, helpers):
        tree = _tree(site.function)
        if tree is None:
            continue
        tree.decorator_list = []
        first = site.function.__code__.co_firstlineno
        file = _short(site.function.__code__.co_filename)
        original, lines = ast.unparse(tree), inspect.getsource(site.function).splitlines()
        for change in changes(tree):
            with change.made():
                text = ast.unparse(tree)
                if text == original or (site.name, text) in seen:
                    continue
                seen.add((site.name, text))
                code = _compiled(site, text)
            with change.poisoned():
                poison = _compiled(site, ast.unparse(tree))
            if code is not None and poison is not None:
                where = (site.name, file, first + change.line - 1, lines[change.line - 1].strip())
                words = (change.kind, change.sentence, *where, change.before, change.after)
                yield Mutant(*words, site, code, poison)


def _short(filename: str) -> str:
    path = Path(filename)
    package = Path(__file__).parents[1]
    return str(path.relative_to(package.parent)) if path.is_relative_to(package) else path.name


def _compiled(site: Site, text: str) -> types.FunctionType | None:
    """The mutated function, with the globals of the original and its class for ``super()``."""
    lines = textwrap.indent(text, "    ")
    source = f"def _make(__class__):\n{lines}\n    return {site.function.__name__}\n"
    scope: dict[str, Any] = {}
    try:
        exec(compile(source, "<mutant>", "exec", dont_inherit=True, flags=_FUTURE), site.function.__globals__, scope)
    except SyntaxError:
        return None
    made: types.FunctionType = scope["_make"](site.owner)
    made.__defaults__, made.__kwdefaults__ = site.function.__defaults__, site.function.__kwdefaults__
    return made


_FUTURE = __import__("__future__").annotations.compiler_flag


@contextmanager
def _placed(site: Site, made: types.FunctionType) -> Iterator[None]:
    originals = [_get(space, site.function) for space in site.namespaces]
    try:
        for space, names in zip(site.namespaces, originals, strict=True):
            for name, value in names.items():
                _set(space, name, property(made) if isinstance(value, property) else made)
        yield
    finally:
        for space, names in zip(site.namespaces, originals, strict=True):
            for name, value in names.items():
                _set(space, name, value)


def _get(space: Any, function: types.FunctionType) -> dict[str, Any]:
    """The names under which a namespace holds a function."""
    held = vars(space) if isinstance(space, type) else space
    return {n: v for n, v in held.items() if v is function or (isinstance(v, property) and v.fget is function)}


def _set(space: Any, name: str, value: Any) -> None:
    if isinstance(space, type):
        setattr(space, name, value)
    else:
        space[name] = value


__all__ = ["Change", "Mutant", "Site", "mutants", "sites"]
