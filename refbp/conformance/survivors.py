"""Reviewed survivors: the mutants that no check notices, each with the reason why none has to, in one file.

A mutant is named by its layer, its function and the text of its line, so that the file stays right when lines move.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from refbp.conformance.mutants import Mutant

FILE = Path(__file__).with_name("survivors.toml")
ARROW = " → "


@dataclass(frozen=True)
class Key:
    """What a mutant of a layer is known by."""

    layer: str
    file: str
    function: str
    line: str  # its text
    change: str  # before → after

    @classmethod
    def of(cls, layer: str, mutant: Mutant) -> Key:
        """A mutant's."""
        return cls(layer, mutant.file, mutant.function, mutant.code, mutant.before + ARROW + mutant.after)


@lru_cache(maxsize=1)
def reviewed() -> dict[Key, str]:
    """The reasons."""
    return dict(_read(FILE.read_text(encoding="utf-8")))


def reason(layer: str, mutant: Mutant) -> str:
    """Why this mutant of this layer may survive; empty where nobody has said."""
    return reviewed().get(Key.of(layer, mutant), "")


def _read(text: str) -> Iterator[tuple[Key, str]]:
    for entry in tomllib.loads(text).get("survivors", []):
        for layer in entry["layers"]:
            for change in entry["changes"]:
                yield Key(layer, entry["file"], entry["function"], entry["line"], change), " ".join(entry["reason"].split())
