"""Layers that are linear in each input and in their weights: a matrix, a bilinear form, the identity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, uniform_fan_in
from refbp.shapes import Shape


@dataclass(frozen=True, init=False)
class Identity(Layer[None]):
    r"""y = x;   dx = dy. Arguments of any kind are taken and ignored, as torch does.

    Shapes: x (*), y (*). Torch: torch.nn.Identity.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        del args, kwargs

    def inputs(self) -> dict[str, str]:
        return {"x": "any (*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "any (*)"}

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[None]:
        return Forward(x.copy(), saved=None)

    def backward(self, saved: None, dy: Array) -> Grads:
        return Grads(dy.copy() if dy.dtype.kind == "f" else None)


@dataclass(frozen=True)
class Linear(Layer[tuple[Array, Array]]):
    r"""y = x Wᵀ + b;   dx = dy W,   dW = dyᵀ x,   db = Σ dy.

    Shapes: x (*, in_features), y (*, out_features); weight (out_features, in_features), bias (out_features).
    Torch: torch.nn.Linear.
    """

    in_features: int
    out_features: int
    bias: bool = True

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.in_features >= 0, "in_features", "an integer of at least 0"
        yield self.out_features >= 0, "out_features", "an integer of at least 0"

    def params(self) -> dict[str, Shape]:
        weight: dict[str, Shape] = {"weight": (self.out_features, self.in_features)}
        return weight | {"bias": (self.out_features,)} if self.bias else weight

    def inputs(self) -> dict[str, str]:
        return {"x": "(*, in_features)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*, out_features)"}

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Weight and bias U(−1/√in_features, 1/√in_features): the bias has the weight's fan-in, not its own."""
        shapes = self.params().items()
        return State({n: uniform_fan_in(rng, shape, self.in_features, dtype) for n, shape in shapes})

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, Array]]:
        W = state["weight"]
        y = np.dot(self._rows(x), W.T).reshape(*x.shape[:-1], self.out_features)
        return Forward(y + state["bias"] if self.bias else y, saved=(x, W))

    def _rows(self, a: Array) -> Array:
        """All axes but the last as one: BLAS multiplies matrices, and NumPy calls it for nothing else."""
        return a if a.ndim == 2 else a.reshape(math.prod(a.shape[:-1]), a.shape[-1])

    def backward(self, saved: tuple[Array, Array], dy: Array) -> Grads:
        r"""yₙₒ = Σᵢ xₙᵢ Wₒᵢ + bₒ, so each dy reaches xₙᵢ through Wₒᵢ, Wₒᵢ through xₙᵢ, and bₒ as it is.

        dxₙᵢ = Σₒ dyₙₒ Wₒᵢ,   dWₒᵢ = Σₙ dyₙₒ xₙᵢ,   dbₒ = Σₙ dyₙₒ: what forward broadcast, backward sums.
        """
        x, W = saved
        rows_x, rows_dy = self._rows(x), self._rows(dy)
        return Grads(
            np.dot(rows_dy, W).reshape(x.shape),
            weight=np.dot(rows_dy.T, rows_x),
            bias=rows_dy.sum(0) if self.bias else None,
        )


class _Pair(NamedTuple):
    x1: Array
    x2: Array
    W: Array


@dataclass(frozen=True)
class Bilinear(Layer[_Pair]):
    r"""yₖ = x₁ᵀ Wₖ x₂ + bₖ;   dx₁ = Σₖ dyₖ Wₖ x₂,   dx₂ = Σₖ dyₖ Wₖᵀ x₁,   dWₖ = Σₙ dyₖ x₁ x₂ᵀ,   db = Σₙ dy.

    Shapes: x1 (*, in1_features), x2 (*, in2_features), y (*, out_features);
    weight (out_features, in1_features, in2_features), bias (out_features). Torch: torch.nn.Bilinear.
    """

    in1_features: int
    in2_features: int
    out_features: int
    bias: bool = True

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.in1_features >= 1, "in1_features", "an integer of at least 1"
        yield self.in2_features >= 1, "in2_features", "an integer of at least 1"
        yield self.out_features >= 1, "out_features", "an integer of at least 1"

    def params(self) -> dict[str, Shape]:
        weight: dict[str, Shape] = {"weight": (self.out_features, self.in1_features, self.in2_features)}
        return weight | {"bias": (self.out_features,)} if self.bias else weight

    def inputs(self) -> dict[str, str]:
        return {"x1": "(*, in1_features)", "x2": "(*, in2_features)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*, out_features)"}

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Weight and bias U(−1/√in1_features, 1/√in1_features)."""
        shapes = self.params().items()
        return State({n: uniform_fan_in(rng, shape, self.in1_features, dtype) for n, shape in shapes})

    def forward(self, state: Mapping[str, Array], x1: Array, x2: Array) -> Forward[_Pair]:
        W = state["weight"]
        y = np.einsum("...i,kij,...j->...k", x1, W, x2, optimize=["einsum_path", (0, 1), (0, 1)])
        return Forward(y + state["bias"] if self.bias else y, saved=_Pair(x1, x2, W))

    def backward(self, saved: _Pair, dy: Array) -> Grads:
        r"""Y is linear in x₁, in W and in x₂: the gradient of each is dy contracted with the other two."""
        x1, x2, W = saved
        path = ["einsum_path", (0, 1), (0, 1)]
        return Grads(
            np.einsum("...k,kij,...j->...i", dy, W, x2, optimize=path),
            np.einsum("...k,kij,...i->...j", dy, W, x1, optimize=path),
            weight=np.einsum("nk,ni,nj->kij", *(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) for a in (dy, x1, x2))),
            bias=dy.sum(tuple(range(dy.ndim - 1))) if self.bias else None,
        )
