"""The network with its values, and the reversed network of the backward pass, whose units multiply by σ′(z).

A chain of layers is drawn unit by unit, of a wide layer only some; layers that have no units to speak of (a convolution,
a normalisation) are one box each. A computation graph is drawn value by value. Of a batch, the first sample is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refbp.trace.chain_picture import Chain
from refbp.trace.draw import Canvas, panel, sheet
from refbp.trace.graph_picture import GraphPicture
from refbp.trace.record import Trace
from refbp.trace.scenes import Scene
from refbp.trace.story import story

DIGITS = 3  # there is room for so many


def picture(trace: Trace, scenes: Sequence[Scene] | None = None) -> str:
    """The picture as an SVG file."""
    drawer = _drawer(trace, story(trace) if scenes is None else scenes)
    about = f"Backpropagation: {', '.join(repr(node.layer) for node in trace.program.nodes)}"
    one, two = titles(trace)
    return sheet([(drawer.forward(), "forward", one), (drawer.backward(), "backward", two)], about)


def framed(trace: Trace, scenes: Sequence[Scene]) -> tuple[str, str]:
    """The two panels as SVGs of their own, whose elements say in which scene they appear."""
    drawer = _drawer(trace, scenes)
    one, two = titles(trace)
    return panel(drawer.forward(), "forward", one), panel(drawer.backward(), "backward", two)


def titles(trace: Trace) -> tuple[str, str]:
    """What the two panels are called."""
    n = len(trace.values["x"]) if trace.program.chain and trace.values["x"].ndim > 1 else 1
    sample = f" (sample 1 of {n})" if n > 1 else ""
    if not trace.program.chain:
        return f"Forward: each value{sample}", f"Backward: each gradient, and the slopes it is multiplied by{sample}"
    return f"Forward: the network{sample}", f"Backward: the reversed network, whose units multiply by their slope{sample}"


def _drawer(trace: Trace, scenes: Sequence[Scene]) -> Any:
    at = {key: i for i, scene in reversed(list(enumerate(scenes))) for key in scene.news}
    return Chain(trace, at, DIGITS) if trace.program.chain else GraphPicture(trace, at, DIGITS)


__all__ = ["Canvas", "framed", "picture", "titles"]
