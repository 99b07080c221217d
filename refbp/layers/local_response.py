"""Local response normalisation: a channel is divided by the activity of its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer


def _window_sum(a: Array, before: int, after: int) -> Array:
    """Σ a over the channels c − before … c + after of each channel c, as far as they exist."""
    channels = a.shape[1]
    padded = np.zeros((a.shape[0], before + channels + after, *a.shape[2:]), a.dtype)
    padded[:, before : before + channels] = a
    total = padded[:, :channels].copy()
    for i in range(1, before + after + 1):
        total += padded[:, i : i + channels]
    return total


class _Saved(NamedTuple):
    x: Array
    s: Array  # k + α/n · Σ x²
    damping: Array  # s^(−β)


@dataclass(frozen=True)
class LocalResponseNorm(Layer[_Saved]):
    r"""y_c = x_c s_c^{−β},   s_c = k + α/n · Σ x²_{c'} over the n = size channels c' from c − ⌊n/2⌋ to c + ⌊(n−1)/2⌋.

    Channels that do not exist count as zeros: α/n stays what it is at the border.
    Shapes: x (N, C, L, *), y as x. Torch: torch.nn.LocalResponseNorm. Paper: Krizhevsky, Sutskever & Hinton 2012.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.size > 0, "size", "a positive integer"

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, C, L, *)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, C, L, *)"}

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Saved]:
        before, after = self.size // 2, (self.size - 1) // 2
        s = self.k + self.alpha / self.size * _window_sum(x * x, before, after)
        damping = s**-self.beta
        return Forward(x * damping, _Saved(x, s, damping))

    def backward(self, saved: _Saved, dy: Array) -> Grads:
        r"""dx_c = dy_c s_c^{−β} − 2αβ/n · x_c · Σ dy_{c'} x_{c'} s_{c'}^{−β−1} over the channels c' that c is a neighbour of.

        ∂s_{c'}/∂x_c = 2α/n · x_c where c lies in the window of c'; those c' lie in the window turned around,
        from c − ⌊(n−1)/2⌋ to c + ⌊n/2⌋. For an odd size it is the same window.
        """
        x, s, damping = saved
        before, after = self.size // 2, (self.size - 1) // 2
        heard = _window_sum(dy * x * damping / s, after, before)
        return Grads(dy * damping - 2 * self.alpha * self.beta / self.size * x * heard)


@dataclass(frozen=True)
class CrossMapLRN2d(LocalResponseNorm):
    r"""LocalResponseNorm of images: y_c = x_c s_c^{−β},   s_c = k + α/n · Σ x²_{c'} over n = size channels around c.

    Torch: torch.nn.CrossMapLRN2d, which computes something else. Its forward slides the window along the channels and
    forgets to drop the first one (``if c > pre_pad``, where counting from 0 it is ``>=``): x₀² stays in every later sum.
    Its backward takes the window from c − h − 1 to c + h − 1 instead of c ± h, so it is the gradient of neither. (For an
    even size n its window is n − 1 wide besides.) Here it is what it was meant to be.
    Shapes: x (N, C, H, W), y as x. Paper: Krizhevsky, Sutskever & Hinton 2012.
    """

    k: float = 1

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, C, H, W)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, C, H, W)"}
