"""One array, two layouts: what a course calls ``w`` is the reference's ``weight``, the other way round.

A layout is a NumPy expression over the reference's arrays that only moves elements: "weight.T", "x.transpose(0, 2, 3, 1)",
"bias[:, None]", "np.concatenate([weight_ih, weight_hh], 1).T". That is all it takes to go both ways: moved along with
their numbers, the elements say where each has gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def there(expression: str, arrays: Mapping[str, Any], names: Mapping[str, Any]) -> Any:
    """The reference's arrays in the course's layout."""
    return eval(_code(expression), {"__builtins__": {}, "np": np, "len": len, **names, **arrays})  # a course's own


def back(expression: str, value: Array, arrays: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Array]:
    """An array of the course's layout as those of the reference that it is made of; NaN where it says nothing.

    ValueError where its shape is not what the layout gives.
    """
    places = _numbered(expression, arrays, names)
    if np.shape(value) != places.shape:
        raise ValueError(f"shape {np.shape(value)}, wanted {places.shape}")
    flat = np.full(sum(np.size(arrays[n]) for n in _used(expression, arrays)), np.nan, np.result_type(value, np.float32))
    moved = places >= 0
    flat[places[moved]] = np.asarray(value)[moved]
    found, start = {}, 0
    for name in _used(expression, arrays):
        a = np.asarray(arrays[name])
        found[name] = flat[start : start + a.size].reshape(a.shape)
        start += a.size
    return {n: a for n, a in found.items() if not a.size or np.isfinite(a).any() or not np.isnan(a).all() or _covers(places)}


def _covers(places: Array) -> bool:
    return bool((places >= 0).any())


def _numbered(expression: str, arrays: Mapping[str, Any], names: Mapping[str, Any]) -> Array:
    """Where each element of the layout comes from, by a running number; −1 where it comes from nowhere."""
    numbered, start = {}, 1
    for name in _used(expression, arrays):
        a = np.asarray(arrays[name])
        numbered[name] = np.arange(start, start + a.size).reshape(a.shape)
        start += a.size
    return np.asarray(there(expression, numbered, names)).astype(int) - 1


def _used(expression: str, arrays: Mapping[str, Any]) -> list[str]:
    names = set(_code(expression).co_names)
    return [n for n in arrays if n in names]


def covered(expression: str, arrays: Mapping[str, Any]) -> list[str]:
    """The reference's arrays that a layout is made of."""
    return _used(expression, arrays)


_codes: dict[str, Any] = {}


def _code(expression: str) -> Any:
    if expression not in _codes:
        _codes[expression] = compile(expression.strip(), "<layout>", "eval")
    return _codes[expression]
