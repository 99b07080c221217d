"""Shapes as they are written in documentation, and checked as they are written.

``"(N, in_channels, *)"`` is a pattern: a name that is an integer attribute of the layer (``in_channels``) has
that size, any other name (``N``) is free but means the same size wherever it stands, a number is itself, and
``*`` or ``*name`` stands for any number of axes. ``or`` separates alternatives; inputs with equally many of them
take the first together, or the second together (batched or not, say). In front of the parenthesis a
word says what the array holds: nothing for floating-point numbers, ``index`` for integers, ``mask`` for booleans,
``any`` for what the layer checks itself. ``optional`` before all of it allows ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from refbp.errors import DtypeError, ShapeError

Shape = tuple[int, ...]
Bindings = dict[str, Any]

_PATTERN = re.compile(r"(optional )?(?:(index|mask|any) )?(\([^)]*\)(?: or \([^)]*\))*)")
_KINDS = {"": "f", "index": "iu", "mask": "b", "any": "fiub"}
_KIND_WORDS = {"": "floating-point numbers", "index": "integers", "mask": "booleans", "any": "numbers"}


@dataclass(frozen=True)
class Pattern:
    """One input's or output's shape, parsed."""

    text: str
    optional: bool
    kind: str
    alternatives: tuple[tuple[str, ...], ...]

    def matches(self, shape: Shape, known: Mapping[str, int], bound: Bindings) -> Iterator[Bindings]:
        """Every way in which ``shape`` fits, as the bindings that result."""
        together = f"one of {len(self.alternatives)}"  # no axis has such a name
        for i, axes in enumerate(self.alternatives):
            if bound.get(together, i) == i:
                fitted = _fit(axes, shape, known, bound)
                if fitted is not None:
                    yield fitted | {together: i} if len(self.alternatives) > 1 else fitted

    def axes(self, shape: Shape, known: Mapping[str, int]) -> tuple[str, ...] | None:
        """The name of each axis of ``shape`` under the first alternative that fits it."""
        for axes in self.alternatives:
            if _fit(axes, shape, known, {}) is not None:
                extra = len(shape) - len(axes) + 1
                return tuple(n for a in axes for n in ([a] * extra if a.startswith("*") else [a]))
        return None

    def described(self, known: Mapping[str, int]) -> str:
        """The pattern with the sizes that the layer fixes: ``(*, in_features=4)``."""

        def size(axis: str) -> str:
            return f"{axis}={known[axis]}" if axis in known else axis

        return " or ".join(f"({', '.join(map(size, axes))})" for axes in self.alternatives)


@lru_cache(maxsize=1024)
def parse(text: str) -> Pattern:
    """The pattern written in ``text``; ValueError where it is not one."""
    found = _PATTERN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"not a shape pattern: {text!r}; write for example '(N, C, *)' or 'index (N)'")
    optional, kind, shapes = found.groups()
    alternatives = tuple(
        tuple(axis.strip() for axis in alternative.strip("() ").split(",") if axis.strip())
        for alternative in shapes.split(" or ")
    )
    return Pattern(text, bool(optional), kind or "", alternatives)


def _fit(axes: Sequence[str], shape: Shape, known: Mapping[str, int], bound: Bindings) -> Bindings | None:
    star = next((i for i, axis in enumerate(axes) if axis.startswith("*")), None)
    bound = dict(bound)
    if star is not None:
        after = len(axes) - star - 1
        if len(shape) < star + after:
            return None
        middle = shape[star : len(shape) - after]
        if bound.setdefault(axes[star], middle) != middle:
            return None
        shape = shape[:star] + shape[len(shape) - after :]
        axes = [*axes[:star], *axes[star + 1 :]]
    if len(shape) != len(axes):
        return None
    for axis, size in zip(axes, shape, strict=True):
        wanted = int(axis) if axis.isdigit() else known.get(axis, bound.setdefault(axis, size))
        if wanted != size:
            return None
    return bound


def check_arrays(owner: str, patterns: Mapping[str, str], arrays: Sequence[Any], known: Mapping[str, int]) -> tuple[Any, ...]:
    """The arrays, as NumPy arrays, or the sentence that says which one is wrong and how to mend it."""
    names = list(patterns)
    parsed = [parse(p) for p in patterns.values()]
    needed = sum(not p.optional for p in parsed)
    if not needed <= len(arrays) <= len(names):
        raise ShapeError(
            f"{owner}: {len(arrays)} inputs given, wanted {needed if needed == len(names) else f'{needed} to {len(names)}'}:"
            f" {', '.join(f'{n} {p.text}' for n, p in zip(names, parsed, strict=True))}."
        )
    held = tuple(_held(owner, n, p, a) for n, p, a in zip(names, parsed, arrays, strict=False))
    present = [(n, p, a) for n, p, a in zip(names, parsed, held, strict=False) if a is not None]
    if not _all_fit(present, known, {}):
        raise ShapeError(_mismatch(owner, present, known))
    return held


def _held(owner: str, name: str, pattern: Pattern, value: Any) -> Any:
    if value is None:
        if pattern.optional:
            return None
        raise ShapeError(f"{owner}: {name} is None; wanted an array {pattern.text}.")
    if type(value) is not np.ndarray:
        try:
            value = np.asarray(value)
        except Exception as error:
            raise DtypeError(f"{owner}: {name} cannot be made a NumPy array ({error}); give it as one.") from None
    if value.dtype.kind not in _KINDS[pattern.kind]:
        cast = {"": "float", "index": "int", "mask": "bool"}.get(pattern.kind, "float")
        raise DtypeError(
            f"{owner}: {name} has dtype {value.dtype}; wanted {_KIND_WORDS[pattern.kind]}: pass {name}.astype({cast})."
        )
    return value


def _all_fit(present: Sequence[tuple[str, Pattern, Any]], known: Mapping[str, int], bound: Bindings) -> bool:
    if not present:
        return True
    (_, pattern, array), *rest = present
    return any(_all_fit(rest, known, b) for b in pattern.matches(array.shape, known, bound))


def _mismatch(owner: str, present: Sequence[tuple[str, Pattern, Any]], known: Mapping[str, int]) -> str:
    for name, pattern, array in present:  # one that is wrong by itself is the better message
        if not _all_fit([(name, pattern, array)], known, {}):
            return (
                f"{owner}: {name} has shape {array.shape}; wanted {pattern.described(known)}."
                f" {_mend(name, pattern, array.shape, known)}"
            )
    given = ", ".join(f"{n} {a.shape}" for n, _, a in present)
    wanted = ", ".join(f"{n} {p.described(known)}" for n, p, _ in present)
    return f"{owner}: {given} do not belong together; wanted {wanted}, each name the same size wherever it stands."


def _mend(name: str, pattern: Pattern, shape: Shape, known: Mapping[str, int]) -> str:
    for axes in pattern.alternatives:
        star = any(a.startswith("*") for a in axes)
        if not star and len(axes) == len(shape):
            for i, axis in enumerate(axes):
                if axis in known and known[axis] != shape[i]:
                    return f"Give {name} size {known[axis]} on axis {i}, or construct the layer with {axis}={shape[i]}."
        if star and len(shape) >= len(axes) - 1 and shape and axes[-1] in known and known[axes[-1]] != shape[-1]:
            axis = axes[-1]
            return f"Give {name} size {known[axis]} on its last axis, or construct the layer with {axis}={shape[-1]}."
    ranks = sorted({len(a) for a in pattern.alternatives if not any(x.startswith("*") for x in a)})
    if ranks and len(shape) not in ranks:
        return f"Reshape {name} to {' or '.join(map(str, ranks))} axes."
    return f"Reshape or transpose {name}."
