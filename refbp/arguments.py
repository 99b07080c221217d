"""Constructor arguments checked against the annotations that are there anyway."""

from __future__ import annotations

import collections.abc
import dataclasses
import numbers
import types
import typing
from functools import lru_cache
from typing import Any, Literal, Union

import numpy as np

from refbp.errors import ArgumentError


def check(layer: Any) -> None:
    """Raise an ArgumentError that names the argument, what was given and what was wanted; lists become tuples."""
    cls = type(layer)
    for name, hint in _hints(cls).items():  # type: ignore[arg-type]  # a class is hashable
        value = getattr(layer, name)
        if isinstance(value, list | np.ndarray) and "tuple" in describe(hint):
            object.__setattr__(layer, name, value := _frozen(value))
        if not fits(value, hint):
            raise ArgumentError(f"{cls.__name__}: {name}={value!r} was given; wanted {describe(hint)}.")
    for holds, name, wanted in layer.rules():
        if not holds:
            raise ArgumentError(f"{cls.__name__}: {name}={getattr(layer, name)!r} was given; wanted {wanted}.")


@lru_cache(maxsize=1024)
def _hints(cls: type) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # a plugin that imports its types only for the type checker
        return {}
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def _frozen(value: Any) -> Any:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says; an int is a float, a bool is neither."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (Union, types.UnionType):
        return any(fits(value, a) for a in args)
    if origin is Literal:
        return any(value == a and type(value) is type(a) for a in args)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(args) == 2 and args[1] is Ellipsis:
            return all(fits(v, args[0]) for v in value)
        return len(value) == len(args) and all(map(fits, value, args))
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return callable(value)
    return isinstance(value, origin or hint) if isinstance(origin or hint, type) else True


def describe(hint: Any) -> str:
    """An annotation in words: ``an integer or a tuple of 2 integers``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    plain = {int: "an integer", float: "a number", bool: "True or False", str: "a string", type(None): "None"}
    if hint in plain:
        return plain[hint]
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in args)
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return f"a tuple, each {describe(args[0])}"
    if origin is tuple:
        return f"a tuple of {len(args)}, each {describe(args[0])}"
    return str(getattr(hint, "__name__", hint))
