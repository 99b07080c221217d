"""What CS231n computes and no single layer does: a loss with a regulariser on top of a network, and its batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, Step
from refbp.courses._composites import OfBody
from refbp.courses.cs231n import mistakes
from refbp.layers.container import Sequential
from refbp.losses.classification import CrossEntropyLoss
from refbp.spec import Mistake

Shape = tuple[int, ...]


class _Hinged(NamedTuple):
    active: Array  # (N, C): where the margin is not kept; never at the target
    target: Array


@dataclass(frozen=True)
class HingeLoss(Layer[_Hinged]):
    r"""loss = 1/N Σₙ Σ_{j≠t} max(0, 1 − x_t + x_j);   dx_j = [1 − x_t + x_j > 0] / N,   dx_t = −Σ_{j≠t} dx_j.

    The multi-class support vector machine, summed over the classes (torch's MultiMarginLoss is their mean).
    Shapes: input (N, C), target (N) of class indices, loss ().
    """

    mistakes: ClassVar[tuple[Mistake, ...]] = mistakes.HINGE

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, C)", "target": "index (N)"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "()"}

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Hinged]:
        place = np.arange(len(target)), target
        z = 1 - input[place][:, None] + input
        z[place] = 0
        return Forward(np.maximum(z, 0).sum() / len(target), _Hinged(z > 0, target))

    def backward(self, saved: _Hinged, dy: Array) -> Grads:
        active, target = saved
        dx = dy / len(target) * active
        dx[np.arange(len(target)), target] = -dx.sum(1)
        return Grads(dx, None)


class _Penalised(NamedTuple):
    body: Step
    head: Step
    W: dict[str, Array]  # the matrices and kernels, which are what is regularised


@dataclass(frozen=True)
class Regularised(OfBody[_Penalised]):
    r"""loss = head(scores, target) + factor · reg · Σ W², scores = body(x);   dW = the body's + 2 factor reg W.

    The head is a cross-entropy, or a HingeLoss where ``hinge`` says so. Every matrix and kernel is regularised; biases,
    γ and β are not. The factor is ½ or 1, by the course and its year.
    Shapes: x as the body's, target (N) of class indices, loss (), scores (N, C).
    """

    body: Sequential
    reg: float
    factor: float = 0.5
    hinge: bool = False

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """How the gradient of such a loss is commonly got wrong: in the regulariser, in the head, in the body."""
        return tuple(mistakes.of_penalty(self))

    @property
    def output_mistakes(self) -> tuple[Mistake, ...]:
        """How its value is."""
        return tuple(mistakes.of_loss())

    @property
    def head(self) -> Layer[Any]:
        """The loss of the scores."""
        return HingeLoss() if self.hinge else CrossEntropyLoss()

    def inputs(self) -> dict[str, str]:
        return {"x": self.body.inputs()["x"], "target": "index (N)"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "()", "scores": "(N, C)"}

    def forward(self, state: Mapping[str, Array], x: Array, target: Array) -> Forward[_Penalised]:
        body = self.body(state, x)
        head = self.head({}, body.outputs, target)
        W = {n: a for n, a in state.items() if n.endswith("weight") and a.ndim > 1}
        penalty = self.factor * self.reg * sum(float((w * w).sum()) for w in W.values())
        scores = np.asarray(body.outputs)
        return Forward((np.asarray(head.outputs) + penalty, scores), _Penalised(body, head, W), body.updates)

    def backward(self, saved: _Penalised, dloss: Array, dscores: Array) -> Grads:
        body, head, W = saved
        grads = body.backward(head.backward(dloss).inputs[0] + dscores)
        decay = {n: 2 * self.factor * self.reg * dloss * w for n, w in W.items()}
        return Grads(grads.inputs[0], None, **{n: g + decay[n] if n in decay else g for n, g in grads.params.items()})
