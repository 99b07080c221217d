"""Losses of a probability: binary and multi-class cross-entropy, from probabilities, log-probabilities or logits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, State, uniform_fan_in
from refbp.errors import DtypeError, ShapeError, ValueRangeError
from refbp.losses._loss import Loss, Pointwise, Reduction, Weights, check_broadcasts
from refbp.numerics import along, log_softmax, sigmoids, softpluses
from refbp.shapes import Shape


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
        check_broadcasts(self, "weight", x)
        if x.size and not (np.isnan(x) | ((x >= 0) & (x <= 1))).all():
            worst = x.flat[np.nanargmax(np.abs(x - 0.5))]
            raise ValueRangeError(
                f"BCELoss: input holds {worst:g}; wanted probabilities between 0 and 1: apply a Sigmoid before it,"
                f" or use BCEWithLogitsLoss."
            )

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        return -weights.get("weight", 1) * (t * _log(x) + (1 - t) * _log1m(x))

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        one, other = _log(x) > -100, _log1m(x) > -100  # False where clamped
        dx = (1 - t) * other / np.where(other, 1 - x, 1) - t * one / np.where(one, x, 1)
        return weights.get("weight", 1) * dx

    def dt(self, x: Array, t: Array, **weights: Array) -> Any:
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
        check_broadcasts(self, "weight", inputs[0])
        check_broadcasts(self, "pos_weight", inputs[0])

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        w, p = weights.get("weight", 1), weights.get("pos_weight", 1)
        up, down = softpluses(x)
        return w * ((1 - t) * up + p * t * down)

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        w, p = weights.get("weight", 1), weights.get("pos_weight", 1)
        up, down = sigmoids(x)
        return w * ((1 - t) * up - p * t * down)

    def dt(self, x: Array, t: Array, **weights: Array) -> Any:
        w, p = weights.get("weight", 1), weights.get("pos_weight", 1)
        if "pos_weight" not in weights:
            return w * -x  # softplus(−x) − softplus(x), without the detour
        up, down = softpluses(x)
        return w * (p * down - up)


class _Picked(NamedTuple):
    place: tuple[Array, ...]  # indexes the targets' entries of x, with an axis of size one where x has its classes
    kept: Array  # False where the target is ignored, with that axis too, as the next
    weight: Array  # each target's weight, 0 where it is ignored
    total: Any  # what a mean divides by
    axis: int
    shape: tuple[int, ...]


def _pick(loss: Any, state: Mapping[str, Array], x: Array, target: Array) -> _Picked:
    """Where each target points, and what it weighs."""
    axis = _class_axis(x)
    target = np.expand_dims(target, axis)
    kept = target != loss.ignore_index
    index = np.where(kept, target, 0)
    place = tuple(index if i == axis else along(np.arange(n), i, index) for i, n in enumerate(index.shape))
    weight = np.where(kept, state["weight"][index], 0) if "weight" in state else kept.astype(x.dtype)
    return _Picked(place, kept, weight, weight.sum(), axis, x.shape)


def _class_axis(x: Array) -> int:
    return 1 if x.ndim > 1 else 0


def _rows(x: Array) -> tuple[int, ...]:
    """The shape without the classes' axis: that of the targets and of the single losses."""
    axis = _class_axis(x)
    return x.shape[:axis] + x.shape[axis + 1 :]


def _check_classes(loss: Any, x: Array, target: Array, ignore_index: int) -> None:
    name, classes = type(loss).__name__, x.shape[_class_axis(x)]
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{name}: target has dtype {target.dtype}; wanted class indices: pass target.astype(int).")
    kept = target[target != ignore_index]
    if kept.size and (kept.min() < 0 or kept.max() >= classes):
        worst = kept.min() if kept.min() < 0 else kept.max()
        raise ValueRangeError(f"{name}: target holds class {worst}; wanted 0 to {classes - 1}, or ignore_index={ignore_index}.")


def _check_target(loss: Any, x: Array, target: Array, ignore_index: int) -> None:
    if target.dtype.kind == "f" and target.shape == x.shape:
        return
    if target.shape != _rows(x):
        raise ShapeError(
            f"{type(loss).__name__}: target {target.dtype} has shape {target.shape}; wanted {_rows(x)} class indices,"
            f" or {x.shape} probabilities as floats."
        )
    _check_classes(loss, x, target, ignore_index)


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
        x, target = inputs
        _check_classes(self, x, target, self.ignore_index)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Picked]:
        at = _pick(self, state, input, target)
        losses = np.where(at.kept, -at.weight * input[at.place], 0).reshape(target.shape)
        return Forward(self.reduced(losses, at.total), saved=at)

    def backward(self, saved: _Picked, dy: Array) -> Grads:
        r"""Only the target's entry has a gradient. One that is ignored has none, not even 0/0 where all are."""
        dx = np.zeros(saved.shape, dy.dtype)
        dl = self.spread(dy, saved.shape[: saved.axis] + saved.shape[saved.axis + 1 :], saved.total)
        dx[saved.place] = np.where(saved.kept, -saved.weight * np.expand_dims(dl, saved.axis), 0)
        return Grads(dx, None)


class _ByIndex(NamedTuple):
    at: _Picked
    own: Array  # e^{x − max} of the target
    others: Array  # and of all other classes, with 0 in the target's place
    rest: Array  # Σ others
    w: Array | float  # the classes' weights, (1, C, 1, …), and their sum
    w_sum: Any


class _ByProbability(NamedTuple):
    logp: Array
    v: Array  # w q
    w: Array | float


@dataclass(frozen=True)
class CrossEntropyLoss(Loss[_ByIndex | _ByProbability]):
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
        if target.dtype.kind == "f" and target.shape == x.shape and self.ignore_index >= 0:
            raise ValueRangeError(
                f"CrossEntropyLoss: ignore_index={self.ignore_index} was given with probabilities as target;"
                f" wanted class indices: leave ignore_index out, or pass target.argmax(1)."
            )
        _check_target(self, x, target, self.ignore_index)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_ByIndex | _ByProbability]:
        axis, eps, classes = _class_axis(input), self.label_smoothing, input.shape[_class_axis(input)]
        w = along(state["weight"], axis, input) if "weight" in state else 1.0
        if target.dtype.kind == "f":
            logp = log_softmax(input, axis)
            v = w * ((1 - eps) * target + eps / classes)
            return Forward(self.reduced(-(v * logp).sum(axis)), _ByProbability(logp, v, w))

        at = _pick(self, state, input, target)
        z = input - input.max(axis, keepdims=True, initial=-np.inf)
        z_own = z[at.place]
        z_sum = (w * z).sum(axis, keepdims=True) if eps else 0
        own, e = np.exp(z_own), np.exp(z, out=z)  # these serve forward and backward
        e[at.place] = 0
        rest = e.sum(axis, keepdims=True)
        log_sum = np.log1p(rest + (own - 1))  # log Σ eᶻ; where the target leads, own is 1, and the digits are rest's
        losses = at.weight * (log_sum - z_own)
        w_sum = state["weight"].sum() if "weight" in state else classes
        if eps:
            losses = (1 - eps) * losses + eps / classes * (w_sum * log_sum - z_sum)
        losses = np.where(at.kept, losses, 0).reshape(target.shape)
        return Forward(self.reduced(losses, at.total), _ByIndex(at, own, e, rest, w, w_sum))

    def backward(self, saved: _ByIndex | _ByProbability, dy: Array) -> Grads:
        r"""∂log p_c/∂x_j = [c = j] − p_j, so −Σ_c v_c ∂log p_c/∂x_j = p_j Σ_c v_c − v_j, with v = w q.

        For an index v = (1 − ε) w_t [c = t] + ε w/C. Where a prediction is confident, p_t is close to 1 and p_t − 1 has no
        digits left: for the target it is minus the sum of the other probabilities, which has them all.
        """
        eps = self.label_smoothing
        if isinstance(saved, _ByProbability):
            logp, v, w = saved
            axis = _class_axis(logp)
            dl = np.expand_dims(self.spread(dy, _rows(logp)), axis)
            return Grads(dl * (np.exp(logp) * v.sum(axis, keepdims=True) - v), dl * (-(1 - eps) * w * logp))

        at, own, others, rest, w, w_sum = saved
        share, total = eps / others.shape[at.axis], rest + own
        dl = np.expand_dims(self.spread(dy, _rows(others), at.total), at.axis)
        dx = others * (dl * ((1 - eps) * at.weight + share * w_sum) / total)
        d_own = -(1 - eps) * at.weight * rest / total
        if eps:
            dx -= dl * share * w
            d_own += share * (w_sum * own / total - np.broadcast_to(w, dx.shape)[at.place])
        dx[at.place] = dl * d_own
        if not at.kept.all():
            np.copyto(dx, 0, where=~at.kept)  # no gradient where a row is ignored, not even 0/0 where all are
        return Grads(dx, None)


class _Projected(NamedTuple):
    x: Array
    W: Array
    scored: _ByIndex | _ByProbability


@dataclass(frozen=True)
class LinearCrossEntropyLoss(Loss[_Projected]):
    r"""CrossEntropyLoss of z = x Wᵀ + b;   dx = dz W,   dW = dzᵀ x,   db = Σ dz, dz being the cross-entropy's gradient.

    The last layer of a classifier together with its loss. With out_features d, z is reshaped to (N, C, *d): one
    classification for each position of d. ``options`` says how torch should cut the batch, to save memory; here and
    there the numbers stay the same.
    Shapes: input (N, in_features) or (in_features); target (N, *d) or () of class indices, or (N, C, *d) or (C) of
    probabilities; loss () or (N, *d) for reduction="none"; weight (C), linear.weight (C · Π d, in_features),
    linear.bias (C · Π d). Torch: torch.nn.LinearCrossEntropyLoss, new in 2.13.
    """

    in_features: int
    num_classes: int
    out_features: tuple[int, ...] = field(default=(), kw_only=True)
    bias: bool = field(default=False, kw_only=True)
    reduction: Reduction = field(default="mean", kw_only=True)
    weight: Weights = field(default=None, kw_only=True)
    ignore_index: int | None = field(default=None, kw_only=True)
    label_smoothing: float = field(default=0.0, kw_only=True)
    options: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield 0 <= self.label_smoothing <= 1, "label_smoothing", "a number between 0 and 1"
        if self.weight is not None:
            yield np.shape(self.weight) == (self.num_classes,), "weight", f"{self.num_classes} numbers, one for each class"

    @property
    def cross_entropy(self) -> CrossEntropyLoss:
        """The loss of the logits."""
        ignored = -100 if self.ignore_index is None else self.ignore_index
        return CrossEntropyLoss(
            self.weight, ignore_index=ignored, reduction=self.reduction, label_smoothing=self.label_smoothing
        )

    @property
    def logits(self) -> int:
        """How many there are for each sample."""
        return self.num_classes * math.prod(self.out_features)

    def params(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"linear.weight": (self.logits, self.in_features)}
        return shapes | {"linear.bias": (self.logits,)} if self.bias else shapes

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """The weights that were given, and a fresh Linear."""
        linear = {n: uniform_fan_in(rng, shape, self.in_features, dtype) for n, shape in self.params().items()}
        return State(super().init(rng, dtype) | linear, set(self.buffers()))

    def inputs(self) -> dict[str, str]:
        if self.out_features:  # torch has no K-dimensional loss of a single sample
            return {"input": "(N, in_features)", "target": "any (N, *d)"}
        return {"input": "(N, in_features) or (in_features)", "target": "any (N) or (N, num_classes) or () or (num_classes)"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *d) or ()" if self.reduction == "none" else "()"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The target must suit the logits, as it must for CrossEntropyLoss."""
        x, target = inputs
        shape = x.shape[:-1] + (self.num_classes,) + self.out_features
        if target.shape == shape and self.ignore_index is not None:
            raise ValueRangeError(
                f"LinearCrossEntropyLoss: ignore_index={self.ignore_index} was given with probabilities as target;"
                f" wanted class indices: leave ignore_index out, or pass target.argmax(1)."
            )
        _check_target(self, np.broadcast_to(np.zeros((), x.dtype), shape), target, self.cross_entropy.ignore_index)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Projected]:
        W = state["linear.weight"]
        z = np.dot(input, W.T)
        if self.bias:
            z += state["linear.bias"]
        z = z.reshape(input.shape[:-1] + (self.num_classes,) + self.out_features)
        run = self.cross_entropy.forward(state, z, target)
        return Forward(run.outputs, _Projected(input, W, run.saved))

    def backward(self, saved: _Projected, dy: Array) -> Grads:
        x, W, scored = saved
        dlogits, dt = self.cross_entropy.backward(scored, dy)
        assert dlogits is not None
        dz = dlogits.reshape(*x.shape[:-1], self.logits)
        rows = dz.reshape(-1, self.logits)
        dW = np.dot(rows.T, x.reshape(-1, self.in_features))
        return Grads(np.dot(dz, W), dt, **{"linear.weight": dW, "linear.bias": rows.sum(0) if self.bias else None})
