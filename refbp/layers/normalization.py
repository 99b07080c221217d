"""Normalisation: subtract a mean, divide by a standard deviation, and let the gradient flow through both.

y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε).   The members of the family differ in what shares a μ and a σ, and what a γ:

    layer           x                    one μ and one σ for each            one γ and one β for each
    BatchNorm       (N, C, *)            channel                             channel
    InstanceNorm    (N, C, *)            channel of a sample                 channel
    GroupNorm       (N, C, *)            group of channels of a sample       channel
    LayerNorm       (*, D₁, D₂, …)       sample                              element of (D₁, D₂, …)
    RMSNorm         (*, D₁, D₂, …)       sample; no μ                        element of (D₁, D₂, …); no β

The first three are here: they see x as rows (N, C, L), and in a row γ and σ are one factor. The last two, in which γ
changes along a row, are in :mod:`refbp.layers.layer_norm`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, Saved, State
from refbp.errors import ValueRangeError
from refbp.shapes import Shape


class Normalization(Layer[Saved]):
    """What the family shares: y has the shape of x, γ starts as 1 and β as 0."""

    def outputs(self) -> dict[str, str]:
        return {"y": self.inputs()["x"]}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """γ = 1, β = 0; running mean 0, running variance 1, no batch seen: the layer starts as the plain x̂."""
        start = {"weight": 1, "running_var": 1}
        kind = {"num_batches_tracked": np.int64}
        shapes = self.params() | self.buffers()
        return State({n: np.full(s, start.get(n, 0), kind.get(n, dtype)) for n, s in shapes.items()}, set(self.buffers()))


def gamma_beta(shape: Shape, weight: bool, bias: bool) -> dict[str, Shape]:
    """The shapes of γ and β, as far as a layer has them: there is no β without a γ."""
    return ({"weight": shape} if weight else {}) | ({"bias": shape} if weight and bias else {})


def inverse_std(c: Array, var: Array, eps: float, mean_square: Callable[[Array], Array]) -> Array:
    """1 / √(σ² + ε), σ² being the mean of c², also where c² has left the range of numbers that c and σ are in."""
    held = var + eps
    limits = np.finfo(c.dtype)
    over, under = held > limits.max, held < limits.tiny
    if over.any() or under.any():  # measure those c in a unit in which their squares are numbers
        unit = np.ldexp(np.ones_like(held), limits.maxexp * 3 // 5 * (over.astype(int) - under))
        return np.asarray(1 / np.sqrt(mean_square(c / unit) + eps / unit / unit) / unit)
    return np.asarray(1 / np.sqrt(held))


# Rows (N, C, L) ----------------------------------------------------------------------------------------------------------


class _Rows(NamedTuple):
    c: Array  # x − μ
    inv_std: Array
    gamma: Array | float


def _by_channel(state: Mapping[str, Array], name: str, default: float = math.nan) -> Any:
    """An entry (C,) as (C, 1), to go with rows (N, C, L); a number where the layer has no such entry."""
    return state[name][:, None] if name in state else default


@dataclass(frozen=True)
class _RowNorm(Normalization[_Rows]):
    """BatchNorm, InstanceNorm and GroupNorm, which differ in the rows that share a mean."""

    kept: ClassVar[str] = "nc"  # the axes over which sums do not go
    mixed: ClassVar[bool] = False  # whether rows with different γ share a mean

    @property
    def from_input(self) -> bool:
        """Whether μ and σ are those of the input, and move with it; else they are constants."""
        return True

    def rows(self, shape: Shape) -> Shape:
        """(N, C, L) for an input of this shape."""
        return shape[0], shape[1], math.prod(shape[2:])

    def count(self, rows: Shape) -> int:
        """How many values share a mean."""
        raise NotImplementedError

    def pooled(self, sums: Array) -> Array:
        """Sums over rows, added up over the rows that share a mean."""
        return sums

    def mean(self, sums: Array, rows: Shape) -> Array:
        """Sums over rows, as means of all that share one."""
        return self.pooled(sums) / max(self.count(rows), 1)

    def sum(self, a: Array) -> Array:
        """Σ a over rows; einsum is the fastest way to write it."""
        return np.asarray(np.einsum(f"ncl->{self.kept}", a)[..., None])

    def dot(self, a: Array, b: Array) -> Array:
        """Σ a b over rows; the product is never stored."""
        return np.asarray(np.einsum(f"ncl,ncl->{self.kept}", a, b)[..., None])

    def tracked(self, state: Mapping[str, Array], mean: Array, var: Array, count: int) -> dict[str, Array]:
        """New running statistics, where they are kept."""
        return {}

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[_Rows]:
        rows, eps = self.rows(x.shape), float(self.eps)  # type: ignore[attr-defined]
        updates: dict[str, Array] = {}
        if self.from_input:
            mean = self.mean(self.sum(x.reshape(rows)), rows)
            c = x.reshape(rows) - mean
            c -= self.mean(self.sum(c), rows)  # what the rounding of μ left behind: a small σ would blow it up
            var = self.mean(self.dot(c, c), rows)
            inv_std = inverse_std(c, var, eps, lambda a: self.mean(self.dot(a, a), rows))
            updates = self.tracked(state, mean, var, self.count(rows))
        else:
            c = x.reshape(rows) - _by_channel(state, "running_mean")
            inv_std = 1 / np.sqrt(_by_channel(state, "running_var") + eps)
        gamma = _by_channel(state, "weight", 1)
        y = c * (gamma * inv_std)
        y += _by_channel(state, "bias", 0)
        return Forward(y.reshape(x.shape), _Rows(c, inv_std, gamma), updates)

    def backward(self, saved: _Rows, dy: Array) -> Grads:
        r"""With dx̂ = γ dy:   dx = (dx̂ − mean(dx̂) − x̂ · mean(dx̂ x̂)) / √(σ² + ε),   dγ = Σ dy x̂,   dβ = Σ dy.

        x reaches y on three paths: by itself, through μ and through σ². The first gives dx̂ / √(σ² + ε); the second its
        mean, for ∂μ/∂x = 1/m; the third, from ∂x̂/∂σ² = −x̂ / 2(σ² + ε) and ∂σ²/∂x = 2(x − μ)/m, the mean of dx̂ x̂.

        Or: to add a number to x, or (but for ε) to stretch x, does not change x̂. So the part of dx̂ along 1 and the
        part along x̂ are taken away. μ and σ that are running statistics are constants, and nothing is taken away.
        """
        c, inv_std, gamma = saved
        d = dy.reshape(c.shape)
        dbeta, dgamma = self.sum(d), self.dot(d, c) * inv_std  # of the rows
        learned = {n: _over_samples(np.sum, {"weight": dgamma, "bias": dbeta}[n]) for n in self.params()}
        if not self.from_input:
            return Grads((d * (gamma * inv_std)).reshape(dy.shape), **learned)
        if self.mixed:  # rows that share a mean differ in γ: it is needed now, elsewhere it can wait
            d, dbeta, dgamma, gamma = gamma * d, gamma * dbeta, gamma * dgamma, 1
        dx = c * (self.mean(dgamma, c.shape) * -inv_std)
        dx += d
        dx -= self.mean(dbeta, c.shape)
        dx *= gamma * inv_std
        return Grads(dx.reshape(dy.shape), **learned)


def _over_samples(reduce: Callable[..., Any], rows: Array) -> Array:
    """Values of rows (N, C, 1), or already of channels (C, 1), as values of channels (C,)."""
    return np.asarray(reduce(np.atleast_2d(rows[..., 0]), axis=0))


@dataclass(frozen=True)
class _Tracking(_RowNorm):
    """A normalisation that may keep running statistics, for evaluation to use."""

    counting: ClassVar[bool] = True  # whether num_batches_tracked counts

    num_features: int
    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True
    bias: bool = field(default=True, kw_only=True)
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.num_features >= 0, "num_features", "an integer of at least 0"
        yield self.eps >= 0, "eps", "a number of at least 0"

    def params(self) -> dict[str, Shape]:
        return gamma_beta((self.num_features,), self.affine, self.bias)

    def buffers(self) -> dict[str, Shape]:
        if not self.track_running_stats:
            return {}
        return {"running_mean": (self.num_features,), "running_var": (self.num_features,), "num_batches_tracked": ()}

    @property
    def from_input(self) -> bool:
        return self.training or not self.track_running_stats

    def check(self, *inputs: Any, **options: Any) -> None:
        """A single value is its own mean."""
        if self.from_input and self.count(self.rows(inputs[0].shape)) == 1:
            raise ValueRangeError(
                f"{self!r}: x has shape {inputs[0].shape}, one value for each mean; wanted more than one, for a single"
                f" value is its own mean. Give a larger x, or use running statistics (training=False)."
            )

    def tracked(self, state: Mapping[str, Array], mean: Array, var: Array, count: int) -> dict[str, Array]:
        """A running value becomes (1 − m) running + m · new, with the unbiased variance, though x̂ has the biased one.

        ``momentum=None`` is the average over all batches so far: m = 1 / (how many there were, this one included).
        A batch without values is counted, and nothing is learnt from it.
        """
        if not (self.training and self.track_running_stats):
            return {}
        updates, m = {}, self.momentum or 0.0
        if self.counting:
            seen = updates["num_batches_tracked"] = np.asarray(state["num_batches_tracked"] + 1)
            m = self.momentum if self.momentum is not None else 1 / int(seen)
        if count * mean.size:
            for name, new in (("running_mean", mean), ("running_var", var * (count / max(count - 1, 1)))):
                updates[name] = (1 - m) * state[name] + m * _over_samples(np.mean, new)
        return updates


@dataclass(frozen=True)
class _BatchNorm(_Tracking):
    """The rows of a channel share a mean, whichever sample they are of."""

    kept = "c"

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        yield self.eps > 0 or not self.from_input, "eps", "a positive number in training"

    def count(self, rows: Shape) -> int:
        return rows[0] * rows[2]


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


@dataclass(frozen=True)
class SyncBatchNorm(_BatchNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over every axis but the channel's, and over all processes.

    This is what one process alone computes, on the CPU torch too: there is nobody in ``process_group`` to ask for sums.
    Shapes: x (N, num_features, *), y as x; state as BatchNorm1d. Torch: torch.nn.SyncBatchNorm.
    """

    process_group: Any = None

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        yield self.num_features > 0, "num_features", "a positive integer"

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_features, *)"}


@dataclass(frozen=True)
class _InstanceNorm(_Tracking):
    """Every row has a mean of its own; the running statistics are those of the average row."""

    counting = False  # torch keeps the buffer, and never counts
    rank: ClassVar[int]  # how many spatial axes there are

    affine: bool = False
    track_running_stats: bool = False

    def rows(self, shape: Shape) -> Shape:
        return math.prod(shape[: -self.rank - 1]), self.num_features, math.prod(shape[-self.rank :])

    def count(self, rows: Shape) -> int:
        return rows[2]


@dataclass(frozen=True)
class InstanceNorm1d(_InstanceNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over each sample's and channel's spatial axes.

    Shapes: x (N, num_features, L) or (num_features, L), y as x; state as BatchNorm1d, where it is asked for.
    With ``momentum=None`` the running statistics stay as they are.
    Torch: torch.nn.InstanceNorm1d (an empty batch turns its running statistics into NaN; here it changes nothing).
    Paper: Ulyanov, Vedaldi & Lempitsky 2016.
    """

    rank = 1

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_features, L) or (num_features, L)"}


@dataclass(frozen=True)
class InstanceNorm2d(_InstanceNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over each sample's and channel's spatial axes.

    Shapes: x (N, num_features, H, W) or (num_features, H, W), y as x; the rest as InstanceNorm1d.
    Torch: torch.nn.InstanceNorm2d. Paper: Ulyanov, Vedaldi & Lempitsky 2016.
    """

    rank = 2

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_features, H, W) or (num_features, H, W)"}


@dataclass(frozen=True)
class InstanceNorm3d(_InstanceNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over each sample's and channel's spatial axes.

    Shapes: x (N, num_features, D, H, W) or (num_features, D, H, W), y as x; the rest as InstanceNorm1d.
    Torch: torch.nn.InstanceNorm3d. Paper: Ulyanov, Vedaldi & Lempitsky 2016.
    """

    rank = 3

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_features, D, H, W) or (num_features, D, H, W)"}


@dataclass(frozen=True)
class GroupNorm(_RowNorm):
    r"""y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε), over each sample's groups of C/num_groups neighbouring channels.

    One group is a LayerNorm with γ and β per channel; as many groups as channels, an InstanceNorm.
    Shapes: x (N, num_channels, *), y as x; weight, bias (num_channels).
    Torch: torch.nn.GroupNorm. Paper: Wu & He 2018.
    """

    mixed = True

    num_groups: int
    num_channels: int
    eps: float = 1e-5
    affine: bool = True
    bias: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.num_groups > 0, "num_groups", "a positive integer"
        yield self.num_channels >= 0, "num_channels", "an integer of at least 0"
        yield self.num_channels % self.num_groups == 0, "num_channels", f"a multiple of num_groups={self.num_groups}"
        yield self.eps >= 0, "eps", "a number of at least 0"

    def params(self) -> dict[str, Shape]:
        return gamma_beta((self.num_channels,), self.affine, self.bias)

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, num_channels, *)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """As torch does, refuse one sample with one value in a group, and take several such samples."""
        rows = self.rows(inputs[0].shape)
        if rows[0] * self.count(rows) == 1:
            raise ValueRangeError(
                f"{self!r}: x has shape {inputs[0].shape}, one value for each mean; wanted more than one, for a single"
                f" value is its own mean. Give a larger x, or use fewer groups."
            )

    def count(self, rows: Shape) -> int:
        return self.num_channels // self.num_groups * rows[2]

    def pooled(self, sums: Array) -> Array:
        together = self.num_channels // self.num_groups
        groups = sums.reshape(len(sums), self.num_groups, together).sum(2)
        return np.repeat(groups, together, 1)[..., None]
