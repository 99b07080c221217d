"""Normalisation: subtract a mean, divide by a standard deviation, and let the gradient flow through both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State
from refbp.errors import ValueRangeError
from refbp.numerics import all_but, along
from refbp.shapes import Shape


class _Saved(NamedTuple):
    x_hat: Array
    inv_std: Array
    gamma: Array | None
    from_batch: bool


@dataclass(frozen=True)
class _BatchNorm(Layer[_Saved]):
    """What the three batch normalisations share: everything but how many axes follow the channels."""

    num_features: int
    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True
    bias: bool = field(default=True, kw_only=True)
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.num_features >= 0, "num_features", "an integer of at least 0"

    def params(self) -> dict[str, Shape]:
        if not self.affine:
            return {}
        return {"weight": (self.num_features,)} | ({"bias": (self.num_features,)} if self.bias else {})

    def buffers(self) -> dict[str, Shape]:
        if not self.track_running_stats:
            return {}
        return {"running_mean": (self.num_features,), "running_var": (self.num_features,), "num_batches_tracked": ()}

    def outputs(self) -> dict[str, str]:
        return {"y": self.inputs()["x"]}

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """γ = 1, β = 0; running mean 0, running variance 1, no batch seen: the layer starts as the plain x̂."""
        start = {"weight": 1, "running_var": 1}
        made = {n: np.full(s, start.get(n, 0), dtype) for n, s in (self.params() | self.buffers()).items()}
        if self.track_running_stats:
            made["num_batches_tracked"] = np.zeros((), np.int64)
        return State(made, set(self.buffers()))

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Saved]:
        axes = all_but(1, x)
        count = x.size // max(self.num_features, 1)
        from_batch = self.training or not self.track_running_stats
        updates: dict[str, Array] = {}
        if from_batch:
            if count == 1:
                raise ValueRangeError(
                    f"{self!r}: x has shape {x.shape}, one value per channel; wanted more than one in training,"
                    f" where a single value is its own mean. Use a larger batch, or training=False."
                )
            mean = x.sum(axes) / max(count, 1)
            centred = x - along(mean, 1, x)
            var = (centred * centred).sum(axes) / max(count, 1)
            if self.training and self.track_running_stats:
                updates = self._tracked(state, mean, var, count)
        else:
            mean, var = state["running_mean"], state["running_var"]
            centred = x - along(mean, 1, x)
        inv_std = along(1 / np.sqrt(var + self.eps), 1, x)
        x_hat = centred * inv_std
        gamma = along(state["weight"], 1, x) if self.affine else None
        y = x_hat if gamma is None else x_hat * gamma
        y = y + along(state["bias"], 1, x) if "bias" in state else y
        return Forward(y, _Saved(x_hat, inv_std, gamma, from_batch), updates)

    def _tracked(self, state: Mapping[str, Array], mean: Array, var: Array, count: int) -> dict[str, Array]:
        """running ← (1 − m) running + m batch, with the unbiased variance, though x̂ uses the biased one.

        ``momentum=None`` is the average over all batches so far: m = 1 / (how many there were, this one included).
        """
        seen = state["num_batches_tracked"] + 1
        if count == 0:  # torch counts an empty batch, and learns nothing from it
            return {"num_batches_tracked": seen}
        m = self.momentum if self.momentum is not None else 1 / int(seen)
        return {
            "running_mean": (1 - m) * state["running_mean"] + m * mean,
            "running_var": (1 - m) * state["running_var"] + m * (var * (count / (count - 1))),
            "num_batches_tracked": seen,
        }

    def backward(self, saved: _Saved, dy: Array) -> Grads:
        r"""dx = (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂)) / √(σ² + ε),   dx̂ = γ dy,   dγ = Σ dy x̂,   dβ = Σ dy.

        From batch statistics, x reaches y also through μ and σ²: ∂μ/∂x = 1/m gives the first mean, and
        ∂σ²/∂x = 2(x − μ)/m with ∂x̂/∂σ² = −x̂ / 2(σ² + ε) gives the second. From running statistics both are
        constants, and only the first term is left.
        """
        x_hat, inv_std, gamma, from_batch = saved
        axes = all_but(1, dy)
        dx_hat = dy if gamma is None else dy * gamma
        if from_batch:
            m = max(dy.size // max(self.num_features, 1), 1)
            dx_hat = (
                dx_hat
                - dx_hat.sum(axes, keepdims=True) / m
                - x_hat * ((dx_hat * x_hat).sum(axes, keepdims=True) / m)
            )
        return Grads(
            dx_hat * inv_std,
            weight=(dy * x_hat).sum(axes) if self.affine else None,
            bias=dy.sum(axes) if self.affine and self.bias else None,
        )


@dataclass(frozen=True)
class BatchNorm1d(_BatchNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over every axis but the channel's.

    Shapes: x (N, num_features) or (N, num_features, L), y as x;
    weight, bias, running_mean, running_var (num_features), num_batches_tracked ().
    Torch: torch.nn.BatchNorm1d. Paper: Ioffe & Szegedy 2015.
    """

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_features) or (N, num_features, L)"}


@dataclass(frozen=True)
class BatchNorm2d(_BatchNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over every axis but the channel's.

    Shapes: x (N, num_features, H, W), y as x; state as BatchNorm1d.
    Torch: torch.nn.BatchNorm2d. Paper: Ioffe & Szegedy 2015.
    """

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_features, H, W)"}


@dataclass(frozen=True)
class BatchNorm3d(_BatchNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over every axis but the channel's.

    Shapes: x (N, num_features, D, H, W), y as x; state as BatchNorm1d.
    Torch: torch.nn.BatchNorm3d. Paper: Ioffe & Szegedy 2015.
    """

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_features, D, H, W)"}
