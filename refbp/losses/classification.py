"""Losses of a probability: binary and multi-class cross-entropy, from probabilities, log-probabilities or logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads
from refbp.errors import DtypeError, ShapeError, ValueRangeError
from refbp.losses._loss import Loss, Pointwise, Reduction, Weights
from refbp.numerics import along, log_softmax, sigmoid, softplus


def _broadcasts(layer: Any, name: str, x: Array) -> None:
    shape = np.shape(getattr(layer, name)) if getattr(layer, name) is not None else ()
    if len(shape) > x.ndim or any(s not in (1, n) for s, n in zip(shape[::-1], x.shape[::-1], strict=False)):
        raise ShapeError(f"{type(layer).__name__}: {name} has shape {shape}; wanted one that broadcasts to input's {x.shape}.")


@dataclass(frozen=True)
class BCELoss(Pointwise):
    r"""l = −w (t log x + (1 − t) log(1 − x)), each logarithm at least −100;   ∂l/∂x = w ((1 − t)/(1 − x) − t/x).

    ∂l/∂t = w (log(1 − x) − log x), clamped as in l. Where a logarithm is clamped, its term has no slope in x.
    Shapes: input (*) within [0, 1], target (*), loss () or (*) for reduction="none"; weight broadcasts to input.
    Torch: torch.nn.BCELoss, whose ∂l/∂x divides by max(x(1 − x), 1e-12) and whose ∂l/∂t is not clamped.
    """

    weight: Weights = None
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def check(self, *inputs: Any, **options: Any) -> None:
        """Probabilities must be such."""
        x = inputs[0]
        _broadcasts(self, "weight", x)
        if x.size and not (np.isnan(x) | ((x >= 0) & (x <= 1))).all():
            worst = x.flat[np.nanargmax(np.abs(x - 0.5))]
            raise ValueRangeError(
                f"BCELoss: input holds {worst:g}; wanted probabilities between 0 and 1: apply a Sigmoid before it,"
                f" or use BCEWithLogitsLoss."
            )

    def each(self, x: Array, t: Array, **weights: Array) -> Array:
        return -weights.get("weight", 1) * (t * _log(x) + (1 - t) * _log1m(x))

    def dx(self, x: Array, t: Array, **weights: Array) -> Array:
        one, other = _log(x) > -100, _log1m(x) > -100  # False where clamped
        dx = (1 - t) * other / np.where(other, 1 - x, 1) - t * one / np.where(one, x, 1)
        return weights.get("weight", 1) * dx

    def dt(self, x: Array, t: Array, **weights: Array) -> Array:
        return weights.get("weight", 1) * (_log1m(x) - _log(x))


def _log(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(x), -100)


def _log1m(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log1p(-x), -100)


@dataclass(frozen=True)
class BCEWithLogitsLoss(Pointwise):
    r"""l = w ((1 − t) softplus(x) + p t softplus(−x)), p = pos_weight;   ∂l/∂x = w ((1 − t) σ(x) − p t σ(−x)).

    ∂l/∂t = w (p softplus(−x) − softplus(x)). Nothing cancels where a prediction is confident and right.
    Shapes: input (*), target (*), loss () or (*) for reduction="none"; weight and pos_weight broadcast to input.
    Torch: torch.nn.BCEWithLogitsLoss.
    """

    weight: Weights = None
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"
    pos_weight: Weights = None

    def check(self, *inputs: Any, **options: Any) -> None:
        """The weights must broadcast."""
        _broadcasts(self, "weight", inputs[0])
        _broadcasts(self, "pos_weight", inputs[0])

    def each(self, x: Array, t: Array, **weights: Array) -> Array:
        w, p = weights.get("weight", 1), weights.get("pos_weight", 1)
        return w * ((1 - t) * softplus(x) + p * t * softplus(-x))

    def dx(self, x: Array, t: Array, **weights: Array) -> Array:
        w, p = weights.get("weight", 1), weights.get("pos_weight", 1)
        return w * ((1 - t) * sigmoid(x) - p * t * sigmoid(-x))

    def dt(self, x: Array, t: Array, **weights: Array) -> Array:
        w, p = weights.get("weight", 1), weights.get("pos_weight", 1)
        if "pos_weight" not in weights:
            return w * -x  # softplus(−x) − softplus(x), without the detour
        return w * (p * softplus(-x) - softplus(x))


class _Picked(NamedTuple):
    index: Array  # the class indices, an axis of size one where x has its classes, 0 where ignored
    weight: Array  # each target's weight, shaped like index
    kept: Array  # False where ignored, shaped like index
    total: Any
    axis: int
    shape: tuple[int, ...]


def _pick(loss: Any, state: Mapping[str, Array], x: Array, target: Array) -> _Picked:
    """Where each target points, and what it weighs."""
    axis = 1 if x.ndim > 1 else 0
    kept = target != loss.ignore_index
    index = np.where(kept, target, 0)
    weight = state["weight"][index] if "weight" in state else np.ones(target.shape, x.dtype)
    total = (weight * kept).sum()
    return _Picked(*(np.expand_dims(a, axis) for a in (index, weight, kept)), total, axis, x.shape)


def _check_classes(loss: Any, x: Array, target: Array) -> None:
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{type(loss).__name__}: target has dtype {target.dtype}; wanted class indices: pass target.astype(int).")
    classes = x.shape[1 if x.ndim > 1 else 0]
    kept = target[target != loss.ignore_index]
    wrong = kept[(kept < 0) | (kept >= classes)]
    if wrong.size:
        raise ValueRangeError(
            f"{type(loss).__name__}: target holds class {wrong[0]}; wanted 0 to {classes - 1}, or ignore_index={loss.ignore_index}."
        )


@dataclass(frozen=True)
class NLLLoss(Loss[_Picked]):
    r"""lₙ = −w[tₙ] xₙ[tₙ];   ∂lₙ/∂xₙ[c] = −w[tₙ] [c = tₙ]. The mean divides by Σ w[tₙ] over the targets not ignored.

    Shapes: input (N, C, *d) or (C) of log-probabilities, target (N, *d) or () of class indices,
    loss () or as target for reduction="none"; weight (C). Torch: torch.nn.NLLLoss.
    With every target ignored the mean is NaN, and the gradient zero.
    """

    weight: Weights = None
    size_average: bool | None = None
    ignore_index: int = -100
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, C, *d) or (C)", "target": "index (N, *d) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *d) or ()" if self.reduction == "none" else "()"}

    def dims(self) -> dict[str, int]:
        return {} if self.weight is None else {"C": len(self.weight)}

    def check(self, *inputs: Any, **options: Any) -> None:
        """Class indices must be in range."""
        _check_classes(self, *inputs)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Picked]:
        at = _pick(self, state, input, target)
        picked = np.take_along_axis(input, at.index, at.axis)
        losses = np.where(at.kept, -at.weight * picked, 0).squeeze(at.axis)
        return Forward(self.reduced(losses, at.total), saved=at)

    def backward(self, saved: _Picked, dy: Array) -> Grads:
        r"""Only the target's entry has a gradient. One that is ignored has none, not even 0/0 where all are."""
        dl = np.expand_dims(self.spread(dy, _without(saved.shape, saved.axis), saved.total), saved.axis)
        dx = np.zeros(saved.shape, dy.dtype)
        np.put_along_axis(dx, saved.index, np.where(saved.kept, -saved.weight * dl, 0), saved.axis)
        return Grads(dx, None)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


class _Scored(NamedTuple):
    logp: Array
    target: Array | None  # probabilities as given; None for class indices
    at: _Picked | None
    weight: Array | None  # (1, C, 1, …)
    total: Any


@dataclass(frozen=True)
class CrossEntropyLoss(Loss[_Scored]):
    r"""lₙ = −Σ_c w_c q_c log softmax(xₙ)_c;   ∂lₙ/∂xₙ = p Σ_c w_c q_c − w q, p = softmax(xₙ);   ∂lₙ/∂t = −(1 − ε) w log p.

    q is the target, smoothed: (1 − ε) t + ε/C, ε = label_smoothing. A class index means t = [c = index], where the first
    term of the smoothed loss weighs w[index]; then the mean divides by Σ w[tₙ] over the targets not ignored, and by
    how many rows there are where targets are probabilities.
    Shapes: input (N, C, *d) or (C) of logits; target (N, *d) or () of class indices, or as input of probabilities;
    loss () or (N, *d) for reduction="none"; weight (C). Torch: torch.nn.CrossEntropyLoss.
    Paper: Szegedy et al. 2016 for label smoothing.
    """

    weight: Weights = None
    size_average: bool | None = None
    ignore_index: int = -100
    reduce: bool | None = None
    reduction: Reduction = "mean"
    label_smoothing: float = 0.0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield 0 <= self.label_smoothing <= 1, "label_smoothing", "a number between 0 and 1"

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, C, *d) or (C)", "target": "any (N, *d) or (N, C, *d) or () or (C)"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *d) or ()" if self.reduction == "none" else "()"}

    def dims(self) -> dict[str, int]:
        return {} if self.weight is None else {"C": len(self.weight)}

    def check(self, *inputs: Any, **options: Any) -> None:
        """Integers are class indices and must be in range; floating-point numbers are one probability per class."""
        x, target = inputs
        if target.dtype.kind == "f" and target.shape == x.shape:
            if self.ignore_index >= 0:
                raise ValueRangeError(
                    f"CrossEntropyLoss: ignore_index={self.ignore_index} was given with probabilities as target;"
                    f" wanted class indices: leave ignore_index out, or pass target.argmax(1)."
                )
            return
        if target.shape != _without(x.shape, 1 if x.ndim > 1 else 0):
            raise ShapeError(
                f"CrossEntropyLoss: target {target.dtype} has shape {target.shape}; wanted"
                f" {_without(x.shape, 1 if x.ndim > 1 else 0)} class indices, or {x.shape} probabilities as floats."
            )
        _check_classes(self, x, target)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Scored]:
        axis = 1 if input.ndim > 1 else 0
        logp = log_softmax(input, axis)
        w = along(state["weight"], axis, input) if "weight" in state else None
        eps, classes = self.label_smoothing, input.shape[axis]
        if target.dtype.kind == "f":
            q = target * (1 - eps) + eps / classes if eps else target
            losses = -((q if w is None else w * q) * logp).sum(axis)
            total = losses.size
            return Forward(self.reduced(losses, total), _Scored(logp, target, None, w, total))
        at = _pick(self, state, input, target)
        losses = -at.weight * np.take_along_axis(logp, at.index, axis)
        if eps:
            smooth = -(logp if w is None else w * logp).sum(axis, keepdims=True)
            losses = (1 - eps) * losses + eps / classes * smooth
        losses = np.where(at.kept, losses, 0).squeeze(axis)
        return Forward(self.reduced(losses, at.total), _Scored(logp, None, at, w, at.total))

    def backward(self, saved: _Scored, dy: Array) -> Grads:
        r"""∂log p_c/∂x_j = [c = j] − p_j, so −Σ_c v_c ∂log p_c/∂x_j = p_j Σ_c v_c − v_j, with v = w q.

        For a confident prediction p_t is close to 1 and p_t − 1 has no digits left; that entry is minus the sum of
        the other probabilities, which has them all.
        """
        axis = 1 if saved.logp.ndim > 1 else 0
        p, eps, classes = np.exp(saved.logp), self.label_smoothing, saved.logp.shape[axis]
        dl = np.expand_dims(self.spread(dy, _without(saved.logp.shape, axis), saved.total), axis)
        w = np.ones((), dy.dtype) if saved.weight is None else saved.weight
        if saved.target is not None:
            v = w * (saved.target * (1 - eps) + eps / classes if eps else saved.target)
            return Grads(dl * (p * v.sum(axis, keepdims=True) - v), dl * (-(1 - eps) * w * saved.logp))
        assert saved.at is not None
        index = saved.at.index
        others = p.copy()
        np.put_along_axis(others, index, 0, axis)
        np.put_along_axis(others, index, -others.sum(axis, keepdims=True), axis)
        dx = saved.at.weight * others
        if eps:
            dx = (1 - eps) * dx + eps / classes * (p * np.broadcast_to(w, p.shape).sum(axis, keepdims=True) - w)
        return Grads(np.where(saved.at.kept, dl * dx, 0), None)
