"""What a scene is made of, and the words that layers bring along."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.trace.program import Node, Program
from refbp.trace.record import Check

Index = tuple[int, ...]
Piece = Any  # words, or a formula
Sentence = tuple[Piece, ...]


@dataclass(frozen=True)
class Line:
    """One element: its letter, formulas for it, the last of them also in numbers, and what it comes to."""

    key: str
    index: Index
    left: Any
    rules: tuple[Any, ...]
    written: Any
    value: float
    check: Check | None


@dataclass(frozen=True)
class Block:
    """One array as a whole."""

    key: str
    left: Any
    form: Any
    array: Array
    check: Check | None


@dataclass(frozen=True)
class Table:
    """θ and what belongs to it, element by element or, where there are many, parameter by parameter."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Any, tuple[float, ...], Check | None], ...]
    summarised: bool


@dataclass(frozen=True)
class Scene:
    """One step of the telling: sentences, lines, closing sentences.

    ``news`` are the quantities that it adds, ``uses`` those drawn before that it is made of.
    """

    phase: str
    title: str
    sentences: tuple[Sentence, ...]
    lines: tuple[Line | Block | Table, ...]
    news: tuple[str, ...]
    closing: tuple[Sentence, ...] = ()
    uses: tuple[str, ...] = ()


def formula(node: Node) -> str:
    """A layer's own formula: the first lines of its docstring."""
    doc = inspect.cleandoc(type(node.layer).__doc__ or "").split("\n\n")[0]
    return f"{type(node.layer).__name__}: {' '.join(doc.split())}"


def call(node: Node) -> str:
    """A node as an assignment: y = Tanh(x)."""
    name = repr(node.layer)
    signs = {"Add()": "+", "Sub()": "−", "Mul()": "·", "Div()": "/", "MatMul()": "@"}
    if name in signs and len(node.inputs) == 2:
        applied = f" {signs[name]} ".join(node.inputs)
    else:
        applied = f"{name[:-2] if name.endswith('()') else name}({', '.join(node.inputs)})"
    return f"{', '.join(node.outputs)} = {applied}"


def described(program: Program) -> str:
    """A whole program in one line."""
    if program.chain:
        return " → ".join(repr(node.layer) for node in program.nodes)
    return ";  ".join(call(node) for node in program.nodes)


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def saved_as(saved: Any) -> str:
    """What a layer remembered, in a few words."""
    if saved is None:
        return "nothing"
    if isinstance(saved, np.ndarray):
        return f"one array of shape {saved.shape}"
    if isinstance(saved, tuple) and hasattr(saved, "_fields"):
        return ", ".join(
            f"{n} {v.shape}" if isinstance(v, np.ndarray) else n for n, v in zip(saved._fields, saved, strict=True)
        )
    if isinstance(saved, tuple) and all(isinstance(v, np.ndarray) for v in saved):
        return f"{len(saved)} arrays, of shapes {', '.join(str(v.shape) for v in saved)}"
    return "what its backward needs"
