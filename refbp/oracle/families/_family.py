"""What a family is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake

Terms = dict[str, Mapping[str, Array]]  # gradient → term → array


@dataclass(frozen=True)
class Family:
    """Layers by the names of their classes or bases, and what is known of their gradients, and of mistakes in their outputs."""

    layers: tuple[str, ...]
    terms: Callable[[Observation], Terms] | None = None
    quantities: Callable[[Observation], Mapping[str, Array]] | None = None
    mistakes: tuple[Mistake, ...] = ()
    of_outputs: tuple[Mistake, ...] = ()


def slips(gradients: Callable[..., Mapping[str, Any]], words: Mapping[str, str]) -> tuple[Mistake, ...]:
    """Mistakes that are one function with one word each for what goes wrong in it: ``gradients(case, slip=word)``."""
    return tuple(Mistake(text, partial(gradients, slip=slip)) for slip, text in words.items())
