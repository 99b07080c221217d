"""The scenes of a trace as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.trace.expression import DIGITS, number, text
from refbp.trace.record import Check, Trace
from refbp.trace.scenes import Block, Line, Scene, Table
from refbp.trace.story import story

EXTRA = 3  # a small step is seen only in later digits
SHOWN = 36  # a whole array of more numbers is described instead


def told(trace: Trace, width: int = 110, digits: int = DIGITS) -> Iterator[str]:
    """The lines of the text, no wider than ``width`` where a formula allows it."""
    for i, scene in enumerate(story(trace)):
        if i:
            yield ""
        yield from _scene(i, scene, width, digits)
    yield ""
    yield verdict(trace)


def verdict(trace: Trace) -> str:
    """One line on the check against torch."""
    if trace.composed and not trace.wrong:
        own = "Graph" if trace.program.graph or not trace.program.chain else "Sequential"
        return f"each layer is right; put together by {own}.backward, other numbers are found for {', '.join(trace.composed)}."
    if not trace.checks:
        return f"not checked against torch: {trace.unchecked}."
    if trace.wrong:
        known = f" {trace.opinion}" if trace.opinion else ""
        return f"{len(trace.wrong)} of {len(trace.checks)} quantities differ from autograd's: {', '.join(trace.wrong)}.{known}"
    least = min(check.digits for check in trace.checks.values())
    return f"{len(trace.checks)} of {len(trace.checks)} quantities equal autograd's, to at least {least:.1f} digits."


def _scene(i: int, scene: Scene, width: int, digits: int) -> Iterator[str]:
    yield f"{i}. {scene.title}"
    for sentence in scene.sentences:
        yield from filled("".join(p if isinstance(p, str) else text(p) for p in sentence), "   ", width)
    for line in scene.lines:
        if isinstance(line, Line):
            yield from _line(line, width, digits)
        elif isinstance(line, Block):
            yield from _block(line, width, digits)
        else:
            yield from _table(line, digits)
    for sentence in scene.closing:
        yield from filled("".join(p if isinstance(p, str) else text(p) for p in sentence), "   ", width)


def sign(check: Check | None) -> str:
    """The mark at the end of a line."""
    return "" if check is None else "= autograd ✓" if check.agrees else "≠ autograd ✗"


def filled(words: str, indent: str, width: int) -> Iterator[str]:
    """Words on lines of at most this width."""
    line = indent
    for word in words.split(" "):
        if len(line) > len(indent) and len(line) + len(word) + 1 > width:
            yield line.rstrip()
            line = indent + "  "
        line += word + " "
    yield line.rstrip()


def _line(line: Line, width: int, digits: int) -> Iterator[str]:
    """The formula, its letters, its numbers, what it comes to: on one line, or broken before an equals sign."""
    left = text(line.left)
    forms = [text(t) for t in (*line.rules, line.written) if t is not None]
    inserted = text(line.written, numbers=True, digits=digits)
    came = number(line.value, digits)
    parts = [p for p in dict.fromkeys([*forms, *([inserted] if inserted != came else []), came]) if p != left]
    yield from _joined(left, parts, sign(line.check), width)


def _joined(left: str, parts: Sequence[str], mark: str, width: int) -> Iterator[str]:
    out = f"   {left}"
    for part in [*(f"= {p}" for p in parts), *([mark] if mark else [])]:
        if len(out) > 3 + len(left) and len(out) + 1 + len(part) > width:
            yield out
            out = f"   {' ' * len(left)}"
        out += f" {part}"
    yield out


def _block(block: Block, width: int, digits: int) -> Iterator[str]:
    left = text(block.left)
    forms = [text(block.form)] if block.form is not None else []
    rows = rows_of(block.array, digits)
    if len(rows) == 1:
        yield from _joined(left, [*forms, rows[0]], sign(block.check), width)
        return
    if forms:
        yield from _joined(left, forms, "", width)
    for k, row in enumerate(rows):
        lead = f"   {left if not (forms or k) else ' ' * len(left)} {' ' if k else '='} "
        yield lead + row + (f" {sign(block.check)}" if k == len(rows) - 1 else "").rstrip()


def rows_of(array: Array, digits: int = DIGITS) -> list[str]:
    """An array as rows of text; of a large one, its shape and size."""
    if array.ndim == 2 and len(array) == 1 and 0 < array.size <= SHOWN:
        array = array[0]
    if array.ndim == 0:
        return [_entry(array[()], digits)]
    if array.size == 0 or array.size > SHOWN or array.ndim > 2:
        return [summary(array, digits)]
    if array.ndim == 1:
        return [f"[{', '.join(_entry(v, digits) for v in array)}]"]
    cells = [[_entry(v, digits) for v in row] for row in array]
    widths = [max(len(row[j]) for row in cells) for j in range(array.shape[1])]
    lines = ["[" + ", ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) + "]" for row in cells]
    return [("[" if i == 0 else " ") + line + ("]" if i == len(lines) - 1 else "") for i, line in enumerate(lines)]


def _entry(value: Any, digits: int) -> str:
    return number(float(value), digits) if np.asarray(value).dtype.kind == "f" else str(value)


def summary(array: Array, digits: int = DIGITS) -> str:
    """A large array in one line: shape, range, norm."""
    if array.size == 0:
        return f"empty, of shape {array.shape}"
    low, high = (number(float(v), digits) for v in (array.min(), array.max()))
    norm = number(float(np.linalg.norm(np.ravel(array).astype(float))), digits)
    return f"{array.shape}, from {low} to {high}, norm {norm}"


def _table(table: Table, digits: int) -> Iterator[str]:
    cells = [("", *table.heads, "")]
    for left, values, check in table.rows:
        shown = [number(v, digits + EXTRA if j in (0, 2) else digits) for j, v in enumerate(values)]
        cells.append((text(left), *shown, sign(check)))
    widths = [max(len(row[j]) for row in cells) for j in range(len(cells[0]))]
    for row in cells:
        numbers = "  ".join(c.rjust(w) for c, w in zip(row[1:-1], widths[1:-1], strict=True))
        yield f"   {row[0].ljust(widths[0])}  {numbers}  {row[-1]}".rstrip()
