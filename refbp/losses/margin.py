"""Losses with a margin: a hinge max(0, ·) on a score or on the difference of two, and its soft forms.

At its corner a hinge has two slopes, and torch takes either: the full one in HingeEmbedding and MarginRanking, zero in
MultiMargin and MultiLabelMargin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads
from refbp.errors import ShapeError, ValueRangeError
from refbp.losses._loss import Loss, PointwiseByLabel, Reduction, Weights, check_broadcasts
from refbp.numerics import sigmoid, sigmoids, softplus, softpluses


@dataclass(frozen=True)
class HingeEmbeddingLoss(PointwiseByLabel):
    r"""l = x where t = 1, max(0, margin − x) where t = −1;   ∂l/∂x = 1, or −[x ≤ margin].

    x is a distance: similar pairs (t = 1) are drawn together, others pushed apart as far as the margin.
    A target that is neither 1 nor −1 counts as both: its loss is the sum of the two.
    Shapes: input (*), target (*), loss () or (*) for reduction="none". Torch: torch.nn.HingeEmbeddingLoss.
    Paper: Hadsell, Chopra & LeCun 2006.
    """

    margin: float = 1.0
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, *) or ()", "target": "any (N, *) or ()"}

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        return np.where(t != -1, x, 0) + np.where(t != 1, np.maximum(self.margin - x, 0), 0)

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        pushed = (t != 1) & (self.margin - x >= 0)
        return (t != -1).astype(x.dtype) - pushed


@dataclass(frozen=True)
class SoftMarginLoss(PointwiseByLabel):
    r"""l = log(1 + e^(−tx));   ∂l/∂x = −t σ(−tx).

    Shapes: input (*), target (*) of 1 and −1, loss () or (*) for reduction="none".
    Torch: torch.nn.SoftMarginLoss, which overflows: ∞, and NaN for the gradient, where tx < −710 (−88 in float32).
    """

    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        return softplus(-t * x)

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        return -t * sigmoid(-t * x)


class _Ranked(NamedTuple):
    gap: Array
    t: Array
    active: Array


@dataclass(frozen=True)
class MarginRankingLoss(Loss[_Ranked]):
    r"""l = max(0, margin − t (x₁ − x₂));   where that is not negative, ∂l/∂x₁ = −t = −∂l/∂x₂ and ∂l/∂t = x₂ − x₁.

    t = 1 wants x₁ ranked above x₂, t = −1 below.
    Shapes: input1, input2, target (*), loss () or (*) for reduction="none". Torch: torch.nn.MarginRankingLoss.
    """

    margin: float = 0.0
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {"input1": "(N, *) or ()", "input2": "(N, *) or ()", "target": "(N, *) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *) or ()" if self.reduction == "none" else "()"}

    def forward(self, state: Mapping[str, Array], input1: Array, input2: Array, target: Array) -> Forward[_Ranked]:
        gap = input1 - input2
        z = self.margin - target * gap
        return Forward(self.reduced(np.maximum(z, 0)), _Ranked(gap, target, z >= 0))

    def backward(self, saved: _Ranked, dy: Array) -> Grads:
        gap, t, active = saved
        dz = self.spread(dy, gap.shape) * active
        return Grads(-t * dz, t * dz, -gap * dz)


class _Hinged(NamedTuple):
    z: Array  # margin − x_t + x_j, a row per sample; 0 where the hinge is slack, and at the target
    label: Array  # (N, 1)
    weight: Array  # (N, 1)
    shape: tuple[int, ...]


@dataclass(frozen=True)
class MultiMarginLoss(Loss[_Hinged]):
    r"""l = w[t]/C Σ_{j≠t} z_jᵖ, z_j = max(0, margin − x_t + x_j);   ∂l/∂x_j = w[t]/C p z_jᵖ⁻¹,   ∂l/∂x_t = −Σ_j ∂l/∂x_j.

    Every other class should score lower than the target by the margin.
    Shapes: input (N, C) or (C), target (N) or () of class indices, loss () or as target for reduction="none"; weight (C).
    Torch: torch.nn.MultiMarginLoss, whose mean and sum over an empty batch are whatever was in memory.
    Paper: Crammer & Singer 2001.
    """

    p: Literal[1, 2] = 1
    margin: float = 1.0
    weight: Weights = None
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, C) or (C)", "target": "index (N) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N) or ()" if self.reduction == "none" else "()"}

    def dims(self) -> dict[str, int]:
        return {} if self.weight is None else {"C": len(self.weight)}

    def check(self, *inputs: Any, **options: Any) -> None:
        """There must be a class, and targets must be classes."""
        _check_range(self, *inputs, lowest=0)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Hinged]:
        x, label = np.atleast_2d(input), target.reshape(-1, 1)
        z = self.margin - np.take_along_axis(x, label, 1) + x
        z = np.where(z > 0, z, 0)  # a NaN is slack, as it is in torch
        np.put_along_axis(z, label, 0, 1)
        weight = state["weight"][label] if "weight" in state else np.ones(label.shape, x.dtype)
        losses = (weight * (z if self.p == 1 else z * z)).sum(1) / x.shape[1]
        return Forward(self.reduced(losses.reshape(target.shape)), _Hinged(z, label, weight, input.shape))

    def backward(self, saved: _Hinged, dy: Array) -> Grads:
        r"""x_t is in every term with a minus, so it gets minus the sum of what the others get."""
        z, label, weight, shape = saved
        dl = self.spread(dy, shape[:-1]).reshape(-1, 1) * weight / z.shape[1]
        dx = dl * (z > 0 if self.p == 1 else 2 * z)
        np.put_along_axis(dx, label, -dx.sum(1, keepdims=True), 1)
        return Grads(dx.reshape(shape), None)


def _check_range(loss: Any, x: Array, target: Array, *, lowest: int) -> None:
    classes = x.shape[-1]
    if not classes:
        raise ShapeError(f"{type(loss).__name__}: input has shape {x.shape}; wanted at least one class on its last axis.")
    if target.size and not (lowest <= target.min() and target.max() < classes):
        worst = target.min() if target.min() < lowest else target.max()
        end = ", or −1 to end a row" if lowest < 0 else ""
        raise ValueRangeError(f"{type(loss).__name__}: target holds {worst}; wanted classes from 0 to {classes - 1}{end}.")


class _Labelled(NamedTuple):
    active: Array  # (N, S, C): the hinge of a label, in its place of the target row, and another class
    named: Array  # (N, S, C): which class the label in a place is
    shape: tuple[int, ...]


@dataclass(frozen=True)
class MultiLabelMarginLoss(Loss[_Labelled]):
    r"""l = 1/C Σ_{j∈t, k∉t} z_jk, z_jk = max(0, 1 − x_j + x_k);   ∂l/∂x_k = Σ_j [z_jk > 0]/C,   ∂l/∂x_j = −Σ_k [z_jk > 0]/C.

    A row of the target lists the labels of a sample, up to the first −1. One that is listed twice counts twice.
    Shapes: input (N, C) or (C), target as input of class indices and −1, loss () or (N) or () for reduction="none".
    Torch: torch.nn.MultiLabelMarginLoss, whose mean and sum over an empty batch are whatever was in memory.
    """

    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, C) or (C)", "target": "index (N, C) or (C)"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N) or ()" if self.reduction == "none" else "()"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """There must be a class, and targets must be classes or −1."""
        _check_range(self, *inputs, lowest=-1)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Labelled]:
        x, t = np.atleast_2d(input), np.atleast_2d(target)
        listed = np.logical_and.accumulate(t >= 0, 1)
        most = listed.sum(1).max(initial=0)  # of a thousand classes a row lists a few: no square of C is made
        t, listed = t[:, :most], listed[:, :most, None]
        named = listed & (t[:, :, None] == np.arange(x.shape[1]))
        scores = np.take_along_axis(x, np.where(t >= 0, t, 0), 1)
        z = 1 - scores[:, :, None] + x[:, None, :]
        active = listed & ~named.any(1, keepdims=True) & (z > 0)
        losses = np.where(active, z, 0).sum((1, 2)) / x.shape[1]
        return Forward(self.reduced(losses.reshape(input.shape[:-1])), _Labelled(active, named, input.shape))

    def backward(self, saved: _Labelled, dy: Array) -> Grads:
        active, named, shape = saved
        dl = self.spread(dy, shape[:-1]).reshape(-1, 1) / shape[-1]
        pushed_up = (named * active.sum(2, keepdims=True)).sum(1).astype(dy.dtype)
        return Grads((dl * (active.sum(1).astype(dy.dtype) - pushed_up)).reshape(shape), None)


class _Scored(NamedTuple):
    x: Array
    t: Array
    weight: Array | float


@dataclass(frozen=True)
class MultiLabelSoftMarginLoss(Loss[_Scored]):
    r"""l = 1/C Σ_c w_c ((1 − t_c) softplus(x_c) + t_c softplus(−x_c)): for each sample, the mean of C binary cross-entropies.

    ∂l/∂x = w/C ((1 − t) σ(x) − t σ(−x)),   ∂l/∂t = −w x/C.
    Shapes: input (*, C), target (*, C), loss () or (*) for reduction="none"; weight broadcasts to input.
    Torch: torch.nn.MultiLabelSoftMarginLoss.
    """

    weight: Weights = None
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, *, C) or (C)", "target": "(N, *, C) or (C)"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *) or ()" if self.reduction == "none" else "()"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The weight must broadcast."""
        check_broadcasts(self, "weight", inputs[0])

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Scored]:
        weight = state.get("weight", 1.0)
        up, down = softpluses(input)
        each = weight * ((1 - target) * up + target * down)
        return Forward(self.reduced(each.sum(-1) / input.shape[-1]), _Scored(input, target, weight))

    def backward(self, saved: _Scored, dy: Array) -> Grads:
        x, t, weight = saved
        dl = self.spread(dy, x.shape[:-1])[..., None] * weight / x.shape[-1]
        up, down = sigmoids(x)
        return Grads(dl * ((1 - t) * up - t * down), -dl * x)
