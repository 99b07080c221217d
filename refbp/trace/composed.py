"""The same pass by the network as one layer: what Sequential and Graph put together, beside what the trace put together.

A trace follows the layers one by one, so it would not show a mistake in how a container joins them.
"""

from __future__ import annotations

import numpy as np

from refbp.contract import Array
from refbp.layers.container import Sequential
from refbp.trace.record import Trace

NEAR = 1e-9  # relative to the largest gradient: the same numbers, added up in another order


def apart(trace: Trace, network: Sequential) -> tuple[str, ...]:
    """The gradients that the network's own backward finds otherwise. One with noise is not asked: it would draw anew."""
    program = trace.program
    dy = trace.grads.get(program.prediction)
    if network.noisy or dy is None:
        return ()
    prefix, layer = (f"{network.parts[0][0]}.", network.parts[0][1]) if program.graph else ("", network)
    names = program.leaves if program.graph else ("x",)
    held = {n.removeprefix(prefix): a for n, a in trace.state.items() if n.startswith(prefix)}
    with np.errstate(all="ignore"):
        step = layer({n: held[n] for n in (*layer.params(), *layer.buffers())}, *(trace.values[n] for n in names))
        more = len(step.outputs) - 1 if isinstance(step.outputs, tuple) else 0
        grads = step.backward(dy, *[None] * more)
    found = {f"d{n}": g for n, g in zip(names, grads.inputs, strict=False) if g is not None}
    found |= {f"d{prefix}{n}": g for n, g in grads.params.items()}
    expected = {f"d{n}": a for n, a in {**trace.grads, **trace.params}.items()}
    scale = max((float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in expected.values()), default=0.0)
    return tuple(n for n, g in found.items() if n in expected and not _alike(g, expected[n], NEAR * scale))


def _alike(a: Array, b: Array, allowed: float) -> bool:
    return a.shape == b.shape and bool(np.all((np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))))
