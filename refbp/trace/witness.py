"""Where a gradient and torch's differ: a numerical derivative of the layers' own forward says who is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.errors import RefbpError
from refbp.trace.expression import number
from refbp.trace.record import Quantity, Trace

NEAR = 1e-5  # relative to the gradient's largest value: what a difference quotient must come to


def opinion(trace: Trace, reference: Callable[[str, str], Array | None], reasons: Callable[[Any], list[str]]) -> str:
    """One sentence on the first gradient that differs; ``reference`` is torch's, ``reasons`` what is known of a layer."""
    for q in trace.quantities():
        check = trace.checks.get(q.key)
        if q.kind not in ("gradient", "parameter gradient") or check is None or check.agrees:
            continue
        theirs = reference("grads" if q.kind == "gradient" else "params", q.of)
        if theirs is None or theirs.shape != q.array.shape:
            return ""
        apart = np.nan_to_num(np.abs(q.array - theirs), nan=np.inf)
        index = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape)) if apart.ndim else ()
        slope = _slope(trace, q, index)
        if slope is None:
            return ""
        scale = float(np.abs(np.nan_to_num([*q.array.flat, *theirs.flat])).max())
        mine, torchs = (abs(float(a[index]) - slope) <= NEAR * scale for a in (q.array, theirs))
        at = f"{q.key}[{', '.join(map(str, index))}]" if index else q.key
        if mine == torchs:
            decides = "which both are, as far as it can tell" if mine else "and does not decide"
            return f"At {at}, a numerical derivative gives {number(slope)}, {decides}."
        known = [r for i in _users(trace, q) for r in reasons(trace.program.nodes[i].layer)] if mine else []
        told = f" Known of torch: {'; '.join(dict.fromkeys(known))}." if known else ""
        return f"At {at}, a numerical derivative gives {number(slope)}: {'refbp' if mine else 'torch'} is right.{told}"
    return ""


def _users(trace: Trace, q: Quantity) -> list[int]:
    if q.kind == "parameter gradient":
        return [trace.program.nodes.index(trace.program.learned[q.of])]
    return list(dict.fromkeys(i for i, _ in trace.program.uses(q.of)))


def _slope(trace: Trace, q: Quantity, index: tuple[int, ...]) -> float | None:
    """The derivative of Σ ⟨upstream, output⟩ over the layers that use an array, by one of its elements; None with noise."""
    nodes = [trace.program.nodes[i] for i in _users(trace, q)]
    if not nodes or any(node.layer.noisy for node in nodes):
        return None

    def at(step: float) -> float:
        arrays: dict[str, Array] = {**trace.values, **trace.state}
        moved = arrays[q.of].copy()
        moved[index] += step
        arrays[q.of] = moved
        return sum(_pulled(trace, node, arrays) for node in nodes)

    h = 1e-3 * max(1.0, abs(float({**trace.values, **trace.state}[q.of][index])))
    try:
        with np.errstate(all="ignore"):
            coarse, fine = ((at(s) - at(-s)) / (2 * s) for s in (h, h / 2))
    except RefbpError:  # a step out of what a layer takes, as of a probability next to 1
        return None
    slope = (4 * fine - coarse) / 3
    return slope if np.isfinite(slope) else None


def _pulled(trace: Trace, node: Any, arrays: Mapping[str, Array]) -> float:
    state = {own: arrays[name] for name, own in node.entries.items()}
    outputs = node.layer(state, *(arrays[n] for n in node.inputs)).outputs
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    pairs = zip(node.outputs, outputs, strict=False)
    return sum(float(np.sum(trace.grads[n] * y)) for n, y in pairs if n in trace.grads)
