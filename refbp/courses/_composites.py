"""What courses differentiate and no single layer is: a network with the loss of its output, a maximum that shares at ties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, Saved, State, Step
from refbp.layers._pooling import taps
from refbp.layers.linear import Linear
from refbp.layers.normalization import BatchNorm1d, BatchNorm2d
from refbp.layers.pooling import MaxPool2d

Shape = tuple[int, ...]


class _Scored(NamedTuple):
    body: Step
    head: Step
    decay: dict[str, Array]  # the regulariser's gradients, for an upstream of 1


class OfBody(Layer[Saved]):
    """A layer whose state is that of its ``body``, and whose first input is the body's."""

    body: Layer[Any]

    def params(self) -> dict[str, Shape]:
        return self.body.params()

    def buffers(self) -> dict[str, Shape]:
        return self.body.buffers()

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """The body's."""
        return self.body.init(rng, dtype)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The body's: x is its input."""
        return self.body.sizes


@dataclass(frozen=True)
class Scored(OfBody[_Scored]):
    r"""y = body(x), loss = head(y, target) + λ/2N Σ W²;   dx and dW are the body's, of ∂head/∂y + dy, and dW has λ/N W besides.

    Every weight that is a matrix is regularised, no bias is. Shapes: x as the body's, target as y; y, loss ().
    """

    body: Layer[Any]
    head: Layer[Any]  # not called loss: that is what courses call its value
    lambd: float = 0.0

    def inputs(self) -> dict[str, str]:
        return {"x": self.body.inputs()["x"], "target": "any (*target)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*y)", "loss": "()"}

    def forward(self, state: Mapping[str, Array], x: Array, target: Array) -> Forward[_Scored]:
        body = self.body(state, x)
        loss = self.head({}, body.outputs, target)
        decay = {n: self.lambd / len(x) * w for n, w in state.items() if w.ndim > 1}
        penalty = sum(float((d * state[n]).sum()) for n, d in decay.items()) / 2
        return Forward(
            (np.asarray(body.outputs), np.asarray(np.asarray(loss.outputs) + penalty)), _Scored(body, loss, decay), body.updates
        )

    def backward(self, saved: _Scored, dy: Array, dloss: Array) -> Grads:
        body, head, decay = saved
        grads = body.backward(np.add(np.asarray(head.backward(dloss).inputs[0]), dy))
        return Grads(grads.inputs[0], None, **{n: g + dloss * decay[n] if n in decay else g for n, g in grads.params.items()})


class RowLinear(Linear):
    r"""Linear, of a batch of rows and of nothing else: x (N, in_features), y (N, out_features)."""

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, in_features)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, out_features)"}


class SharedMaxPool2d(MaxPool2d):
    r"""MaxPool2d of which at a tie every largest element gets the whole gradient: what the mask x == max(x) comes to.

    Shapes: x (N, C, H, W), y (N, C, H_out, W_out).
    """

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Any]:
        run = super().forward(state, x)
        return Forward(run.outputs, (x, run.outputs))

    def backward(self, saved: Any, dy: Array, dindices: Array | None = None) -> Grads:
        r"""dx_i = Σ dy_w over the windows w in which x_i = y_w."""
        x, y = saved
        dx = np.zeros_like(x)
        for windows, read in taps(self.axes(x.shape)):
            dx[read] += dy[windows] * (x[read] == y[windows])
        return Grads(dx)


class _Biased:
    """Running statistics as courses keep them: of the variance that x̂ is divided by, the biased one; torch's is unbiased."""

    momentum: float | None

    def tracked(self, state: Mapping[str, Array], mean: Array, var: Array, count: int) -> dict[str, Array]:
        """A running value becomes (1 − m) running + m · new."""
        m = self.momentum or 0.0
        new = {"running_mean": mean, "running_var": var}
        return {n: (1 - m) * state[n] + m * a.reshape(-1) for n, a in new.items()}


@dataclass(frozen=True)
class BiasedBatchNorm1d(_Biased, BatchNorm1d):
    r"""y = γ x̂ + β, with a running variance that is biased. Shapes: x (N, num_features), y as x."""


@dataclass(frozen=True)
class BiasedBatchNorm2d(_Biased, BatchNorm2d):
    r"""y = γ x̂ + β, with a running variance that is biased. Shapes: x (N, num_features, H, W), y as x."""
