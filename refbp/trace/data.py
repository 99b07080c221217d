"""A trace as plain data, for JSON: every quantity with its number, its check, and the formulas of the story."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.trace.expression import text
from refbp.trace.parse import Problem
from refbp.trace.record import Trace
from refbp.trace.scenes import Block, Line, Table
from refbp.trace.story import story


def data(trace: Trace, network: Problem | None = None) -> dict[str, Any]:
    """Everything that a trace holds."""
    return {
        "network": repr(network.network) if network else None,
        "loss": repr(network.loss) if network and network.loss is not None else None,
        "nodes": [
            {"layer": repr(n.layer), "inputs": list(n.inputs), "outputs": list(n.outputs), "state": list(n.entries)}
            for n in trace.program.nodes
        ],
        "output": trace.program.output,
        "lr": trace.lr,
        "quantities": {q.key: quantity(q.kind, q.array, trace, q.key) for q in trace.quantities()},
        "steps": [_scene(scene) for scene in story(trace)],
        "checked": len(trace.checks),
        "wrong": trace.wrong,
        "composed_otherwise": list(trace.composed),
        "opinion": trace.opinion or None,
        "unchecked": trace.unchecked or None,
    }


def quantity(kind: str, array: Array, trace: Trace, key: str) -> dict[str, Any]:
    """One quantity: its kind, its shape and numbers, and whether torch agrees."""
    check = trace.checks.get(key)
    return {
        "kind": kind,
        "shape": list(array.shape),
        "value": plain(array),
        "autograd": None if check is None else check.agrees,
        "digits": None if check is None else round(check.digits, 1),
    }


def plain(array: Any) -> Any:
    """An array as nested lists; JSON has no NaN and no infinity, so they are words."""
    if isinstance(array, list):
        return [plain(a) for a in array]
    if isinstance(array, np.ndarray):
        return array.tolist() if array.dtype.kind != "f" or np.isfinite(array).all() else plain(array.tolist())
    if isinstance(array, float) and not math.isfinite(array):
        return "nan" if math.isnan(array) else "inf" if array > 0 else "-inf"
    return array


def _scene(scene: Any) -> dict[str, Any]:
    return {
        "phase": scene.phase,
        "title": scene.title,
        "words": ["".join(p if isinstance(p, str) else text(p) for p in s) for s in (*scene.sentences, *scene.closing)],
        "lines": [found for line in scene.lines for found in _line(line)],
        "news": list(scene.news),
    }


def _line(line: Line | Block | Table) -> list[dict[str, Any]]:
    if isinstance(line, Line):
        forms = [text(t) for t in (*line.rules, line.written)]
        return [
            {"key": line.key, "index": list(line.index), "left": text(line.left), "forms": forms, "value": plain(line.value)}
        ]
    if isinstance(line, Block):
        form = [] if line.form is None else [text(line.form)]
        return [{"key": line.key, "left": text(line.left), "forms": form, "shape": list(line.array.shape)}]
    return [{"left": text(left), "heads": list(line.heads), "values": plain(list(values))} for left, values, _ in line.rows]
