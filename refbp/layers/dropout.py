"""Dropout: noise that is drawn outside and handed in, so that forward and backward stay functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.shapes import Shape


@dataclass(frozen=True)
class Dropout(Layer[Array | None]):
    r"""y = x keep / (1 − p), keep ∈ {False, True};   dx = dy keep / (1 − p). In evaluation y = x, dx = dy.

    Shapes: x (*), keep (*) of booleans, y (*). In training ``keep = layer.draw(rng, x.shape)`` is an input.
    Torch: torch.nn.Dropout; p is the probability that an element is *dropped*. Paper: Hinton et al. 2012.
    """

    p: float = 0.5
    inplace: bool = False
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield 0 <= self.p <= 1, "p", "a probability between 0 and 1"

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, *) or ()", "keep": "mask (N, *) or ()" if self.training else "optional mask (N, *) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *) or ()"}

    def draw(self, rng: np.random.Generator, shape: Shape) -> Array:
        """The noise of one pass in training: which elements are kept, each with probability 1 − p."""
        return rng.random(shape) >= self.p

    def forward(self, state: Mapping[str, Array], x: Array, keep: Array | None = None) -> Forward[Array | None]:
        if not self.training or keep is None:
            return Forward(x.copy(), saved=None)
        scale = keep * np.asarray(1 / (1 - self.p) if self.p < 1 else 0, x.dtype)
        return Forward(x * scale, saved=scale)

    def backward(self, saved: Array | None, dy: Array) -> Grads:
        return Grads(dy.copy() if saved is None else dy * saved, None)
