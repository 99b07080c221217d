"""Layers that only rearrange: the backward pass puts everything back where it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refbp.contract import Array, Forward, Grads, Layer
from refbp.errors import ShapeError
from refbp.shapes import Shape


@dataclass(frozen=True)
class Flatten(Layer[Shape]):
    r"""Axes start_dim to end_dim become one;   dx is dy in x's shape.

    Shapes: x (*, S₁, …, Sₙ, *), y (*, ∏ S, *). Torch: torch.nn.Flatten.
    """

    start_dim: int = 1
    end_dim: int = -1

    def inputs(self) -> dict[str, str]:
        return {"x": "any (*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*flat)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The two axes must exist, in order."""
        rank = max(inputs[0].ndim, 1)
        start, end = (d + rank if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < rank:
            raise ShapeError(
                f"{self!r}: x has shape {inputs[0].shape}; wanted axes {self.start_dim} to {self.end_dim} to exist,"
                f" in that order. Choose start_dim and end_dim within {-rank} to {rank - 1}."
            )

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        rank = max(x.ndim, 1)
        shape = x.shape or (1,)
        start, end = self.start_dim % rank, self.end_dim % rank
        flat = (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
        return Forward(x.reshape(flat).copy(), saved=x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        return Grads(dy.reshape(saved).copy() if dy.dtype.kind == "f" else None)
