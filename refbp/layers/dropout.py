"""Dropout: noise that is drawn outside and handed in, so that forward and backward stay functions.

What is dropped differs, an element or a whole channel; and what a dropped one becomes, zero or the value that keeps
mean and variance where SELU puts them. Either way y is affine in x, with slope zero where x was dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer
from refbp.layers.activation import SELU_ALPHA, SELU_SCALE
from refbp.shapes import Shape


@dataclass(frozen=True)
class _Dropout(Layer[Array | None]):
    """What all dropouts share: in training y is affine in x, and ``dropped`` says how."""

    p: float = 0.5
    inplace: bool = False
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield 0 <= self.p <= 1, "p", "a probability between 0 and 1"

    def inputs(self) -> dict[str, str]:
        x, keep = self.patterns()
        return {"x": x, "keep": f"mask {keep}" if self.training else f"optional mask {keep}"}

    def outputs(self) -> dict[str, str]:
        return {"y": self.patterns()[0]}

    def patterns(self) -> tuple[str, str]:
        """What x looks like, and what keep."""
        return "(N, *) or ()", "(N, *) or ()"

    def kept(self, shape: Shape) -> Shape:
        """The shape of keep, for an x of this shape."""
        return shape

    def draw(self, rng: np.random.Generator, shape: Shape) -> Array:
        """The noise of one pass in training: what of an x of this shape is kept, each with probability 1 − p."""
        return rng.random(self.kept(shape)) >= self.p

    def dropped(self, x: Array, keep: Array) -> tuple[Array, Array]:
        """The output and its slope keep / (1 − p), by which the mean stays what it was; at p = 1 nothing is kept."""
        slope = keep * np.asarray(1 / (1 - self.p) if self.p < 1 else 0, x.dtype)
        return x * slope, slope

    def forward(self, state: Mapping[str, Array], x: Array, keep: Array | None = None) -> Forward[Array | None]:
        if not self.training or keep is None:
            return Forward(x.copy(), saved=None)
        y, slope = self.dropped(x, keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim)))
        return Forward(y, saved=slope)

    def backward(self, saved: Array | None, dy: Array) -> Grads:
        r"""What was dropped has no part in y, or a constant one: its slope is zero."""
        return Grads(dy.copy() if saved is None else dy * saved, None)


@dataclass(frozen=True)
class Dropout(_Dropout):
    r"""y = x keep / (1 − p), keep ∈ {False, True};   dx = dy keep / (1 − p). In evaluation y = x, dx = dy.

    Shapes: x (*), keep (*) of booleans, y (*). In training ``keep = layer.draw(rng, x.shape)`` is an input.
    Torch: torch.nn.Dropout; p is the probability that an element is *dropped*. Paper: Hinton et al. 2012.
    """


# Whole channels: neighbouring values say so much about each other that dropping one of them hides nothing -------------


@dataclass(frozen=True)
class Dropout1d(_Dropout):
    r"""y = x keep / (1 − p), one keep for every channel;   dx = dy keep / (1 − p). In evaluation y = x, dx = dy.

    Shapes: x (N, C, L), keep (N, C), or x (C, L), keep (C); y as x.
    Torch: torch.nn.Dropout1d. Paper: Tompson et al. 2015.
    """

    def patterns(self) -> tuple[str, str]:
        return "(N, C, L) or (C, L)", "(N, C) or (C)"

    def kept(self, shape: Shape) -> Shape:
        return shape[:-1]


@dataclass(frozen=True)
class Dropout2d(_Dropout):
    r"""y = x keep / (1 − p), one keep for every channel;   dx = dy keep / (1 − p). In evaluation y = x, dx = dy.

    Shapes: x (N, C, H, W) or (N, C, L), keep (N, C), y as x.
    Torch: torch.nn.Dropout2d, to which three axes are a batch of sequences, not one image. Paper: Tompson et al. 2015.
    """

    def patterns(self) -> tuple[str, str]:
        return "(N, C, H, W) or (N, C, L)", "(N, C) or (N, C)"

    def kept(self, shape: Shape) -> Shape:
        return shape[:2]


@dataclass(frozen=True)
class Dropout3d(_Dropout):
    r"""y = x keep / (1 − p), one keep for every channel;   dx = dy keep / (1 − p). In evaluation y = x, dx = dy.

    Shapes: x (N, C, D, H, W), keep (N, C), or x (C, D, H, W), keep (C); y as x.
    Torch: torch.nn.Dropout3d. Paper: Tompson et al. 2015.
    """

    def patterns(self) -> tuple[str, str]:
        return "(N, C, D, H, W) or (C, D, H, W)", "(N, C) or (C)"

    def kept(self, shape: Shape) -> Shape:
        return shape[:-3]


# Dropped to another value than zero -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlphaDropout(_Dropout):
    r"""y = a (x keep + m (1 − keep) − m p), m = −s α, the least value of SELU;   dx = dy a keep.

    a = 1 / √((1 − p)(1 + p m²)) makes the mean 0 and the variance 1 again, as x had them. In evaluation y = x, dx = dy.
    Shapes: x (*), keep (*) of booleans, y (*).
    Torch: torch.nn.AlphaDropout; at p = 1 all y are 0. Paper: Klambauer et al. 2017.
    """

    def dropped(self, x: Array, keep: Array) -> tuple[Array, Array]:
        """With the slope a keep, what is added is a m (1 − keep − p) = m (a (1 − p) − slope)."""
        if self.p == 1:
            return super().dropped(x, keep)
        m = -SELU_SCALE * SELU_ALPHA
        a = 1 / math.sqrt((1 - self.p) * (1 + self.p * m * m))
        slope = keep * np.asarray(a, x.dtype)
        return x * slope + m * (a * (1 - self.p) - slope), slope


@dataclass(frozen=True)
class FeatureAlphaDropout(AlphaDropout):
    r"""y = a (x keep + m (1 − keep) − m p), m = −s α, one keep for every channel;   dx = dy a keep, as AlphaDropout.

    Shapes: x (N, C, *), keep (N, C), y as x.
    Torch: torch.nn.FeatureAlphaDropout. Its page promises (C, D, H, W) too; there its code drops rows (C, D).
    """

    def patterns(self) -> tuple[str, str]:
        return "(N, C, *)", "(N, C)"

    def kept(self, shape: Shape) -> Shape:
        return shape[:2]
