"""The scenes of a trace as one page: pictures, a slider through the steps, formulas as MathML; it needs no network.

Without scripts the page is the whole story, one step below the other. A fragment ``#step-3`` opens a step; ``#selftest``
walks through all of them and writes what it found into the page, for tests.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.trace.data import plain
from refbp.trace.draw import asset, width_of
from refbp.trace.expression import DIGITS, mathml, number
from refbp.trace.expression import text as as_text
from refbp.trace.picture import framed, titles
from refbp.trace.record import Check, Trace
from refbp.trace.scenes import Block, Line, Scene, Sentence, Table, described
from refbp.trace.story import story
from refbp.trace.tell import EXTRA, SHOWN, summary, verdict

WIDE = 900  # a picture of more pixels takes a row of its own
MOST = 400  # an array of more numbers is described in the page's data, not listed
PHASES = {"start": "Start", "forward": "Forward", "backward": "Backward", "gradient": "Gradients", "step": "Step"}


def page(trace: Trace, digits: int = DIGITS) -> str:
    """The page, as HTML."""
    scenes = story(trace)
    forward, backward = framed(trace, scenes)
    one, two = titles(trace)
    layers = described(trace.program)
    wide = " wide" if max(width_of(svg) for svg in (forward, backward)) > WIDE else ""
    sections = "".join(_section(i, scene, digits) for i, scene in enumerate(scenes))
    phases = [scene.phase for scene in scenes]
    marks = "".join(
        f'<button type="button" data-step="{phases.index(p)}" data-phase="{p}">{PHASES[p]}</button>'
        for p in dict.fromkeys(phases)
    )
    right = "wrong" if trace.wrong or trace.composed else "right" if trace.checks else "open"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Backpropagation: {escape(layers)}</title>
<link rel="icon" href="data:,">
<style>{asset("picture.css")}{asset("page.css")}</style>
</head>
<body data-phase="start">
<header><h1>Backpropagation, step by step</h1><p class="net-name">{escape(layers)}</p></header>
<div class="pictures{wide}">
<figure class="forward"><figcaption>{escape(one)}</figcaption><div class="scroll">{forward}</div></figure>
<figure class="backward"><figcaption>{escape(two)}</figcaption><div class="scroll">{backward}</div></figure>
</div>
<nav aria-label="steps" hidden>
<div class="phases">{marks}</div>
<div class="slide"><button type="button" id="back" aria-label="previous step">‹</button>
<input id="slider" type="range" min="0" max="{len(scenes) - 1}" value="0" step="1" aria-label="step">
<button type="button" id="next" aria-label="next step">›</button></div>
</nav>
<main aria-live="polite">{sections}</main>
<footer class="{right}">{escape(verdict(trace))}</footer>
<script type="application/json" id="trace">{_data(trace)}</script>
<script>{asset("page.js")}</script>
</body>
</html>
"""


def _data(trace: Trace) -> str:
    """Every number in full, for whoever reads the page by program; nothing in it can end the script."""
    found: dict[str, Any] = {}
    for q in trace.quantities():
        check = trace.checks.get(q.key)
        value = plain(q.array) if q.array.size <= MOST else summary(q.array, 6)
        found[q.key] = {"value": value, "shape": list(q.array.shape), "autograd": None if check is None else check.agrees}
    return json.dumps(found, ensure_ascii=False).replace("<", "\\u003c")


def _section(i: int, scene: Scene, digits: int) -> str:
    said = "".join(_sentence(s) for s in scene.sentences)
    lines = "".join(_line(line, digits) for line in scene.lines)
    closing = "".join(_sentence(s) for s in scene.closing)
    uses = f' data-uses="{escape(" ".join(scene.uses))}"' if scene.uses else ""
    return (
        f'<section class="step" id="scene-{i}" data-step="{i}" data-phase="{scene.phase}"{uses}>'
        f'<h2><span>{i}</span> {escape(scene.title)}</h2>{said}<div class="lines">{lines}</div>{closing}</section>'
    )


def _sentence(pieces: Sentence) -> str:
    words = "".join(escape(p) if isinstance(p, str) else _math(mathml(p)) for p in pieces)
    return f"<p>{words}</p>"


def _math(content: str, attributes: str = "") -> str:
    return f"<math{attributes}><mrow>{content}</mrow></math>"


def _line(line: Line | Block | Table, digits: int) -> str:
    if isinstance(line, Line):
        return _written(line, digits)
    return _block(line, digits) if isinstance(line, Block) else _table(line, digits)


def _check(check: Check | None) -> str:
    if check is None:
        return ""
    words, sign, kind = ("= autograd", "✓", "right") if check.agrees else ("≠ autograd", "✗", "wrong")
    return f'<span class="check {kind}" title="{check.digits:.1f} digits agree"><i>{words} </i>{sign}</span>'


def _written(line: Line, digits: int) -> str:
    """A formula in pieces that break before an equals sign, where a narrow screen must break it."""
    left, came = as_text(line.left), number(line.value, digits)
    pieces, seen = [mathml(line.left)], {left}
    forms = [(as_text(t), mathml(t)) for t in (*line.rules, line.written)]
    forms.append((as_text(line.written, numbers=True, digits=digits), mathml(line.written, numbers=True, digits=digits)))
    for plain_form, form in forms:
        if plain_form not in seen and plain_form != came:
            pieces.append(f"<mo>=</mo>{form}")
            seen.add(plain_form)
    maths = "".join(_math(p) for p in pieces)
    index = ",".join(map(str, line.index))
    result = _math(
        f"<mo>=</mo>{_number(line.value, digits)}", f' class="result" data-key="{escape(line.key)}" data-index="{index}"'
    )
    return f'<div class="line">{maths}{result}{_check(line.check)}</div>'


def _number(value: Any, digits: int) -> str:
    from refbp.trace.expression import Num

    return mathml(Num(float(value)), digits=digits)


def _block(block: Block, digits: int) -> str:
    form = "" if block.form is None else _math(f"<mo>=</mo>{mathml(block.form)}")
    shown = _array(block.key, block.array, digits)
    return f'<div class="line">{_math(mathml(block.left))}{form}{shown}{_check(block.check)}</div>'


def _array(key: str, array: Array, digits: int) -> str:
    """A whole array: its numbers in brackets, or what can be said of them."""
    of = f' class="result" data-key="{escape(key)}"'
    if array.size == 0 or array.size > SHOWN or array.ndim > 2:
        return f"<span{of}> = {escape(summary(array, digits))}</span>"
    if array.ndim == 0:
        return _math(f"<mo>=</mo>{_entry(array[()], digits)}", f'{of} data-index=""')
    rows = []
    for i, row in enumerate(array if array.ndim == 2 else array[None]):
        at = [f"{i},{j}" if array.ndim == 2 else str(j) for j in range(len(row))]
        cells = (f'<td data-key="{escape(key)}" data-index="{n}">{_word(v, digits)}</td>' for n, v in zip(at, row, strict=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    # a table and not an mtable: columns of numbers that are set right need a style that MathML's tables do not follow
    return f'{_math("<mo>=</mo>")}<span class="matrix"><table>{"".join(rows)}</table></span>'


def _entry(value: Any, digits: int) -> str:
    return _number(value, digits) if np.asarray(value).dtype.kind == "f" else f"<mn>{escape(str(value))}</mn>"


def _word(value: Any, digits: int) -> str:
    return number(float(value), digits) if np.asarray(value).dtype.kind == "f" else escape(str(value))


def _table(table: Table, digits: int) -> str:
    heads = "".join(f"<th>{escape(h)}</th>" for h in ("", *table.heads, ""))
    rows = []
    for left, values, check in table.rows:
        shown = [number(v, digits + EXTRA if j in (0, 2) else digits) for j, v in enumerate(values)]
        cells = "".join(f"<td>{v}</td>" for v in shown)
        rows.append(f"<tr><th>{_math(mathml(left))}</th>{cells}<td>{_check(check)}</td></tr>")
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
