"""Layers that only move elements: dx = dy, moved back."""

from __future__ import annotations

from refbp.oracle.families._family import Family
from refbp.spec import Mistake

FAMILIES = (
    Family(
        ("Permute", "SwapAxes"),
        mistakes=(
            Mistake(
                "the upstream gradient is reshaped, its elements in the order in which they lie, not its axes moved back",
                lambda o: {"x": o.dy.reshape(o.x.shape)},
            ),
        ),
    ),
)
