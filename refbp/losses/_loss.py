"""What losses share: the three reductions, torch's two deprecated arguments, and element-wise losses as a table."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, Saved, State
from refbp.errors import ShapeError
from refbp.shapes import Shape

Reduction = Literal["none", "mean", "sum"]
BatchReduction = Literal["none", "mean", "batchmean", "sum"]
Weights = tuple[Any, ...] | None  # what torch takes as a tensor and keeps in its state_dict


class Loss(Layer[Saved]):
    """A layer whose last input is the target; ``backward`` takes the upstream gradient like any other."""

    tensors = ("weight", "pos_weight")
    reduction: BatchReduction

    def __post_init__(self) -> None:
        average, each = getattr(self, "size_average", None), getattr(self, "reduce", None)
        if average is not None or each is not None:
            meant: Reduction = "none" if each is False else "sum" if average is False else "mean"
            warnings.warn(
                f"size_average and reduce are deprecated: write {type(self).__name__}(reduction={meant!r}).",
                DeprecationWarning,
                stacklevel=4,
            )
            object.__setattr__(self, "reduction", meant)
        super().__post_init__()

    def buffers(self) -> dict[str, Shape]:
        """The weights that were given, as torch keeps them."""
        given = {n: getattr(self, n, None) for n in self.tensors}
        return {n: np.shape(w) for n, w in given.items() if w is not None}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """The weights that were given."""
        return State({n: np.asarray(getattr(self, n), dtype) for n in self.buffers()}, set(self.buffers()))

    def outputs(self) -> dict[str, str]:
        return {"loss": "()" if self.reduction != "none" else "(*each)"}

    def count(self, shape: Shape) -> int:
        """What a mean divides by: how many losses there are."""
        return math.prod(shape)

    def reduced(self, losses: Array, total: Any = None) -> Array:
        """The losses, their sum, or their sum over ``total`` (how many there are, unless weights say otherwise)."""
        if self.reduction == "none":
            return losses
        value = losses.sum()
        if self.reduction != "sum":
            with np.errstate(invalid="ignore", divide="ignore"):  # nothing to average is NaN, as in torch
                value = np.divide(value, self.count(losses.shape) if total is None else total, dtype=losses.dtype)
        return np.asarray(value)

    def spread(self, dy: Array, shape: Shape, total: Any = None) -> Array:
        """The upstream gradient of each single loss: the transpose of :meth:`reduced`."""
        if self.reduction not in ("none", "sum"):
            with np.errstate(invalid="ignore", divide="ignore"):
                dy = np.divide(dy, self.count(shape) if total is None else total, dtype=dy.dtype)
        return np.broadcast_to(dy, shape)


def check_broadcasts(loss: Any, name: str, x: Array) -> None:
    """A weight that was given must broadcast to the input, and not the input to it."""
    shape = np.shape(getattr(loss, name)) if getattr(loss, name) is not None else ()
    if len(shape) > x.ndim or any(s not in (1, n) for s, n in zip(shape[::-1], x.shape[::-1], strict=False)):
        raise ShapeError(f"{type(loss).__name__}: {name} has shape {shape}; wanted one that broadcasts to input's {x.shape}.")


class _Pair(NamedTuple):
    x: Array
    t: Array
    state: Mapping[str, Array]


class Pointwise(Loss[_Pair]):
    """loss = reduce(l(x, t)), element by element: a table of l, ∂l/∂x and ∂l/∂t."""

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, *) or ()", "target": "(N, *) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *) or ()" if self.reduction == "none" else "()"}

    def each(self, x: Array, t: Array, **weights: Array) -> Any:
        """l(x, t)."""
        raise NotImplementedError

    def dx(self, x: Array, t: Array, **weights: Array) -> Any:
        """∂l/∂x."""
        raise NotImplementedError

    def dt(self, x: Array, t: Array, **weights: Array) -> Any:
        """∂l/∂t; for a function of x − t it is −∂l/∂x."""
        return -self.dx(x, t, **weights)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Pair]:
        return Forward(self.reduced(np.asarray(self.each(input, target, **state))), _Pair(input, target, dict(state)))

    def backward(self, saved: _Pair, dy: Array) -> Grads:
        x, t, weights = saved
        dl = self.spread(dy, x.shape)
        return Grads(dl * self.dx(x, t, **weights), dl * self.dt(x, t, **weights))


class PointwiseByLabel(Pointwise):
    """The same for a target that is a label, and has no gradient."""

    def backward(self, saved: _Pair, dy: Array) -> Grads:
        x, t, weights = saved
        return Grads(self.spread(dy, x.shape) * self.dx(x, t, **weights), None)
