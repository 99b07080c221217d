"""A report as one page that needs no network and no scripts: the table, the words, and pictures of what is wrong.

Whatever a submission says, in its names, exceptions and numbers, is escaped, and the page forbids itself to run anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from refbp.oracle.attempt import Attempt
from refbp.oracle.checking import Report
from refbp.oracle.comparison import Comparison, plain
from refbp.oracle.present import HINTS, heading, summary, table
from refbp.oracle.verdict import PASSING, Row

CELL = 14  # pixels of one element at most
SIDE = 32  # rows and columns of a heat map at most
MAPS = 4  # arrays of one function that are drawn
LONG = 20_000  # characters of a traceback
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # no script, whatever a submission writes


def page(report: Report, hints: int = HINTS) -> str:
    """The page, as HTML."""
    title = escape(f"{report.path or report.course.name}: {len(report.wrong)} to mend")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{_style()}</style>
</head>
<body class="refbp">
{_body(report, hints)}
</body>
</html>
"""


def fragment(report: Report, hints: int = HINTS) -> str:
    """The same inside another page, as a notebook shows it."""
    return f'<style>{_style()}</style><div class="refbp">{_body(report, hints)}</div>'


def _style() -> str:
    return files("refbp.oracle").joinpath("assets", "report.css").read_text(encoding="utf-8")


def _body(report: Report, hints: int) -> str:
    first, *others = heading(report)
    lines = "".join(f'<p class="soft">{escape(line)}</p>' for line in others)
    cards = "".join(_card(row, hints) for row in report.rows if row.remarkable and hints > 0)
    return (
        f'<header><h1>{escape(report.path or report.course.name)}</h1><p class="soft">{escape(first)}</p>{lines}</header>'
        f'<main><div class="card">{_table(report, hints)}</div>{cards}</main>'
        f'<footer><p class="soft">{escape(summary(report))}</p></footer>'
    )


def _table(report: Report, hints: int) -> str:
    head, *rows = table(report, hints)
    heads = "".join(f"<th{' class=n' * (i in (2, 3))}>{escape(h)}</th>" for i, h in enumerate(head))
    lines = []
    for row, (name, verdict, cases, digits, note) in zip(report.rows, rows, strict=True):
        lines.append(
            f'<tr><td><code>{escape(name)}</code></td><td><span class="verdict {_class(row)}">{escape(verdict)}</span></td>'
            f'<td class="n" data-of="cases">{escape(cases)}</td><td class="n" data-of="digits">{escape(digits)}</td>'
            f'<td class="note">{escape(note)}</td></tr>'
        )
    return f'<table class="verdicts"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _class(row: Row) -> str:
    if row.ok:
        return "good"
    if row.verdict in PASSING:
        return "mild"
    return "wrong" if row.wrong else "open"


def _card(row: Row, hints: int) -> str:
    place = f" · {row.where}:{row.line}" if row.where and row.line else ""
    parts = [
        f'<h2><code>{escape(row.name)}</code> <span class="verdict {_class(row)}">{escape(row.verdict)}</span></h2>',
        f'<p class="soft">{escape(f"{row.right} of {row.tried} cases are right{place}")}</p>',
        f"<p>{escape(row.note)}</p>" if row.note else "",
    ]
    for finding in (f for f in row.findings if hints >= 2 or f.kind == "cases"):
        parts.append(f'<p>{escape(finding.sentence)}<br><span class="soft">{escape(finding.evidence)}</span></p>')
    if hints >= 3 and row.example:
        parts.append(f"<h3>The smallest input that shows it</h3><pre>{escape(chr(10).join(row.example))}</pre>")
    if hints >= 3:
        parts += [_maps(c, a) for c, a in _wrong(row)]
    if row.traceback and hints >= 1:
        parts.append(f"<h3>Traceback</h3><pre>{escape(row.traceback.strip()[:LONG])}</pre>")
    return f'<section class="card">{"".join(parts)}</section>'


# Heat maps ------------------------------------------------------------------------------------------------------------


def _wrong(row: Row) -> list[tuple[Comparison, Attempt]]:
    """The wrong arrays by name, each from the smallest case that shows it."""
    found: dict[str, tuple[Comparison, Attempt]] = {}
    for a in sorted(row.attempts, key=lambda a: sum(int(np.size(x)) for x in a.problem.inputs if x is not None)):
        compared = {"forward": a.outputs, "backward": a.grads}.get(row.phase, a.outputs + a.grads)
        for c in compared:
            if not c.ok and c.expected.size > 1:
                found.setdefault(c.name, (c, a))
    return list(found.values())[:MAPS]


def _maps(c: Comparison, a: Attempt) -> str:
    got, expected = plain(c.got), np.asarray(c.expected)
    case = escape(f"{c.name} in the case {a.problem.id}")
    if got is None:
        return f'<h3>{case}</h3><p class="soft">nothing came back that is an array of numbers</p>'
    with np.errstate(all="ignore"):
        largest = max((float(np.abs(v[np.isfinite(v)]).max(initial=0)) for v in (got, expected)), default=0) or 1.0
        arrays = [("got", got, largest), ("expected", expected, largest)]
        if got.shape == expected.shape:
            off = got.astype(float) - expected.astype(float)
            arrays.append(("difference", off, float(np.abs(off[np.isfinite(off)]).max(initial=0)) or 1.0))
    return f'<h3>{case}</h3><div class="maps">{"".join(_map(*one) for one in arrays)}</div>'


def _map(title: str, a: Any, largest: float) -> str:
    grid, cut = flat(a)
    shape = "×".join(map(str, a.shape)) or "a number"
    words = f"{title}, {shape}, up to {largest:.3g}" + (f" (the first {grid.shape[0]} by {grid.shape[1]})" if cut else "")
    cells = "".join(_cell(v, i, j, largest) for i, line in enumerate(grid.tolist()) for j, v in enumerate(line))
    rows, columns = max(grid.shape[0], 1), max(grid.shape[1], 1)
    size = f"{columns * 10} {rows * 10}"
    return (
        f'<figure style="flex-basis: {columns * CELL}px"><figcaption>{escape(words)}</figcaption>'
        f'<svg role="img" viewBox="0 0 {size}" aria-label="{escape(words)}">{cells}</svg></figure>'
    )


def _cell(value: float, i: int, j: int, largest: float) -> str:
    """A square whose strength is the magnitude and whose colour is the sign; what is not finite is crossed out."""
    shown = f"<title>[{i}, {j}] {value:.6g}</title>"
    place = f'x="{j * 10}" y="{i * 10}" width="10" height="10"'
    if not np.isfinite(value):
        return f'<rect class="x" {place}>{shown}</rect>'
    strength = min(abs(value) / largest, 1.0)
    return f'<rect class="{"m" if value < 0 else "p"}" {place} fill-opacity="{strength:.3f}">{shown}</rect>'


def flat(a: Any) -> tuple[Any, bool]:
    """An array as rows and columns, the last axis along the columns, and whether some of it had to be left out."""
    a = np.asarray(a, float)
    grid = a.reshape(1, -1) if a.ndim < 2 else a.reshape(-1, a.shape[-1])
    return grid[:SIDE, :SIDE], grid.shape[0] > SIDE or grid.shape[1] > SIDE


__all__: Sequence[str] = ("flat", "fragment", "page")
