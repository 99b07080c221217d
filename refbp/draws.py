"""Draws: an input described, and made by a seeded generator, so that every process collects and runs the same case.

A draw prints as the call that made it. Random draws are made in float64 and rounded by whoever wants float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.shapes import Shape

Make = Callable[[np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class Draw:
    """One input of a case: ``draw(rng)`` makes it; ``exact`` says that its values are the point (a kink, a tie)."""

    text: str
    shape: Shape
    make: Make
    exact: bool = False

    def __call__(self, rng: np.random.Generator) -> NDArray[Any]:
        return self.make(rng)

    def __repr__(self) -> str:
        return self.text


def _text(name: str, shape: Shape, **options: Any) -> str:
    return f"{name}({', '.join([*map(str, shape), *(f'{k}={v!r}' for k, v in options.items())])})"


def normal(*shape: int, mean: float = 0.0, std: float = 1.0) -> Draw:
    """Normally distributed values."""
    options = {k: v for k, v, default in (("mean", mean, 0.0), ("std", std, 1.0)) if v != default}
    return Draw(_text("normal", shape, **options), shape, lambda rng: rng.normal(mean, std, shape))


def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Draw:
    """Values spread evenly between two bounds."""
    return Draw(_text("uniform", shape, low=low, high=high), shape, lambda rng: rng.uniform(low, high, shape))


def signed(*shape: int, low: float = 0.5, high: float = 2.0) -> Draw:
    """Values of either sign whose magnitude lies between two bounds: away from zero."""
    return Draw(
        _text("signed", shape, low=low, high=high),
        shape,
        lambda rng: rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape),
    )


def probabilities(*shape: int, axis: int | None = None) -> Draw:
    """Values strictly between 0 and 1; along ``axis`` they sum to one."""
    if axis is None:
        return Draw(_text("probabilities", shape), shape, lambda rng: rng.uniform(0.05, 0.95, shape))

    def make(rng: np.random.Generator) -> NDArray[Any]:
        p = rng.uniform(0.1, 1.0, shape)
        return np.asarray(p / p.sum(axis, keepdims=True))

    return Draw(_text("probabilities", shape, axis=axis), shape, make)


def integers(*shape: int, low: int = 0, high: int) -> Draw:
    """Integers in [low, high)."""
    return Draw(_text("integers", shape, low=low, high=high), shape, lambda rng: rng.integers(low, high, shape))


def labels(*shape: int, classes: int, ignored: int | None = None) -> Draw:
    """Class indices. With ``ignored``, the first and every fifth entry after it holds that index instead."""

    def make(rng: np.random.Generator) -> NDArray[Any]:
        t = rng.integers(0, classes, shape)
        if ignored is not None:
            t.reshape(-1)[::5] = ignored
        return t

    options = {"classes": classes} | ({} if ignored is None else {"ignored": ignored})
    return Draw(_text("labels", shape, **options), shape, make)


def mask(*shape: int, p: float = 0.3) -> Draw:
    """Booleans, True with probability p; the first entry False and the last True, so that both occur."""

    def make(rng: np.random.Generator) -> NDArray[Any]:
        m = rng.random(shape) < p
        if m.size > 1:
            m.reshape(-1)[[0, -1]] = False, True
        return m

    return Draw(_text("mask", shape, p=p), shape, make)


def exactly(*values: Any, shape: Shape | None = None) -> Draw:
    """These very values: a kink, a tie, an extreme. Nested lists give more axes; so does ``shape``."""
    given = np.asarray(values[0] if len(values) == 1 and not np.isscalar(values[0]) else values)
    array = given if shape is None else given.reshape(shape)
    text = f"exactly({', '.join(map(repr, values))}{'' if shape is None else f', shape={shape}'})"
    return Draw(text, array.shape, lambda _: array.copy(), exact=True)


def constant(value: float, *shape: int) -> Draw:
    """One value everywhere: a column without variance, a window that is all ties."""
    return Draw(_text("constant", (value, *shape)), shape, lambda _: np.full(shape, value), exact=True)  # type: ignore[arg-type]


def special(name: str, shape: Shape, make: Make, exact: bool = False) -> Draw:
    """A draw of one's own: a name to print, the shape, and a function of the generator."""
    return Draw(name, shape, make, exact)
