"""What 11-785 computes and no single layer does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, Step
from refbp.layers.convolution import Conv1d, Conv2d
from refbp.losses.regression import MSELoss
from refbp.losses.sequence import CTCLoss

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TableMSELoss(MSELoss):
    r"""loss = mean (x − t)² of a table of N rows and C columns: the course's factors are named after both."""

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, C)", "target": "(N, C)"}


@dataclass(frozen=True)
class Swish(Layer[tuple[Array, Array, Array]]):
    r"""y = x s, s = σ(βx);   dx = dy (s + βx s(1 − s)),   dβ = Σ dy x² s(1 − s).

    Shapes: x and y (*), beta ().
    """

    def params(self) -> dict[str, Shape]:
        return {"beta": ()}

    def inputs(self) -> dict[str, str]:
        return {"x": "(*)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(*)"}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """One, which is SiLU."""
        return State({"beta": np.ones((), dtype)})

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, Array, Array]]:
        s = 1 / (1 + np.exp(-state["beta"] * x))
        return Forward(x * s, (x, s, state["beta"]))

    def backward(self, saved: tuple[Array, Array, Array], dy: Array) -> Grads:
        x, s, beta = saved
        slope = s * (1 - s)
        return Grads(dy * (s + beta * x * slope), beta=np.sum(dy * x * x * slope))


# Resampling ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Resampled(Layer[Shape]):
    """What the two share: every axis of space, by one factor."""

    factor: int
    rank: int = 1

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.factor >= 1, "factor", "an integer of at least 1"
        yield self.rank >= 1, "rank", "an integer of at least 1"

    def inputs(self) -> dict[str, str]:
        return {"x": f"(N, C, {'L' if self.rank == 1 else 'H, W'})"}

    def outputs(self) -> dict[str, str]:
        return {"y": f"(N, C, {'L_out' if self.rank == 1 else 'H_out, W_out'})"}

    @property
    def kept(self) -> tuple[Any, ...]:
        """Every factor-th place of each axis of space, the first among them."""
        return (..., *[slice(None, None, self.factor)] * self.rank)


class ZeroInsertion(_Resampled):
    r"""Upsampling: y[k·i] = x[i], and 0 between;   dx[i] = dy[k·i].

    Shapes: x (N, C, L) or (N, C, H, W), y with (L − 1)·k + 1 for every L.
    """

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        lead = x.ndim - self.rank
        y = np.zeros((*x.shape[:lead], *((n - 1) * self.factor + 1 for n in x.shape[lead:])), x.dtype)
        y[self.kept] = x
        return Forward(y, x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        return Grads(dy[self.kept].copy())


class Subsampling(_Resampled):
    r"""Downsampling: y[i] = x[k·i];   dx[k·i] = dy[i], and 0 between, up to x's own length.

    Shapes: x (N, C, L) or (N, C, H, W), y with ⌈L / k⌉ for every L.
    """

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[Shape]:
        return Forward(x[self.kept].copy(), x.shape)

    def backward(self, saved: Shape, dy: Array) -> Grads:
        dx = np.zeros(saved, dy.dtype)
        dx[self.kept] = dy
        return Grads(dx)


@dataclass(frozen=True)
class UpsampledConvolution(Layer[tuple[Step, Step]]):
    r"""The course's transposed convolution: zeros are inserted, then a convolution of stride 1 is taken.

    Its kernel lies as a convolution's, and is not turned round: torch's ConvTranspose is another function of it.
    Shapes: x (N, in_channels, L) or (N, in_channels, H, W), y (N, out_channels, (L − 1)·k + 2 − kernel_size);
    weight (out_channels, in_channels, kernel_size, …), bias (out_channels).
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    upsampling_factor: int
    rank: int = 1

    @property
    def parts(self) -> tuple[ZeroInsertion, Layer[Any]]:
        """Upsampling, then the convolution."""
        conv = Conv1d if self.rank == 1 else Conv2d
        return ZeroInsertion(self.upsampling_factor, self.rank), conv(self.in_channels, self.out_channels, self.kernel_size)

    def params(self) -> dict[str, Shape]:
        return self.parts[1].params()

    def inputs(self) -> dict[str, str]:
        return {"x": f"(N, in_channels, {'L' if self.rank == 1 else 'H, W'})"}

    def outputs(self) -> dict[str, str]:
        return {"y": f"(N, out_channels, {'L_out' if self.rank == 1 else 'H_out, W_out'})"}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """The convolution's."""
        return self.parts[1].init(rng, dtype)

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Step, Step]]:
        up, conv = self.parts
        wide = up({}, x)
        step = conv(state, wide.outputs)
        return Forward(step.outputs, (wide, step))

    def backward(self, saved: tuple[Step, Step], dy: Array) -> Grads:
        wide, step = saved
        grads = step.backward(dy)
        return Grads(wide.backward(grads.inputs[0]).inputs[0], **grads.params)


# The gated recurrent unit of 2019 and 2020 -----------------------------------------------------------------------------


class _Gates(NamedTuple):
    x: Array
    h: Array
    z: Array
    r: Array
    n: Array  # the candidate
    weights: Mapping[str, Array]


@dataclass(frozen=True)
class ResetFirstGRU(Layer[_Gates]):
    r"""z = σ(Wzx x + Wzh h),   r = σ(Wrx x + Wrh h),   n = tanh(Wx x + Wh (r h)),   h′ = (1 − z) h + z n.

    r is taken before the product with Wh, z is the share of what is new, and there are no biases: three things in which it is
    not torch's GRUCell. Shapes: x (input_size), h_0 and h_1 (hidden_size).
    """

    input_size: int
    hidden_size: int

    def params(self) -> dict[str, Shape]:
        d, h = self.input_size, self.hidden_size
        return {n: (h, h if n.endswith("h") else d) for n in ("Wzx", "Wrx", "Wx", "Wzh", "Wrh", "Wh")}

    def inputs(self) -> dict[str, str]:
        return {"x": "(input_size)", "h_0": "(hidden_size)"}

    def outputs(self) -> dict[str, str]:
        return {"h_1": "(hidden_size)"}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Standard normal, as the hand-out has it."""
        return State({n: rng.normal(size=shape).astype(dtype) for n, shape in self.params().items()})

    def forward(self, state: Mapping[str, Array], x: Array, h_0: Array) -> Forward[_Gates]:
        z, r = (1 / (1 + np.exp(-(state[f"W{g}x"] @ x + state[f"W{g}h"] @ h_0))) for g in "zr")
        n = np.tanh(state["Wx"] @ x + state["Wh"] @ (r * h_0))
        return Forward((1 - z) * h_0 + z * n, _Gates(x, h_0, z, r, n, state))

    def backward(self, saved: _Gates, dh: Array) -> Grads:
        r"""With a for what goes into a gate: da_n = dh z (1 − n²), da_z = dh (n − h) z(1 − z), and d(r h) = Whᵀ da_n, of
        which da_r = d(r h) h r(1 − r) goes on to r, and d(r h) r to h, beside dh (1 − z).
        """
        x, h, z, r, n, W = saved
        da_n = dh * z * (1 - n * n)
        da_z = dh * (n - h) * z * (1 - z)
        drh = W["Wh"].T @ da_n
        da_r = drh * h * r * (1 - r)
        return Grads(
            W["Wx"].T @ da_n + W["Wzx"].T @ da_z + W["Wrx"].T @ da_r,
            dh * (1 - z) + drh * r + W["Wzh"].T @ da_z + W["Wrh"].T @ da_r,
            Wzx=np.outer(da_z, x),
            Wrx=np.outer(da_r, x),
            Wx=np.outer(da_n, x),
            Wzh=np.outer(da_z, h),
            Wrh=np.outer(da_r, h),
            Wh=np.outer(da_n, r * h),
        )


# CTC -----------------------------------------------------------------------------------------------------------------


class _Posterior(NamedTuple):
    gamma: Array  # (T, N, C): how probable a class is in a frame, given the labels
    y: Array


@dataclass(frozen=True)
class PosteriorCTC(Layer[_Posterior]):
    r"""loss = −1/N Σ γ log y, the value that the course reports;   nll = −1/N Σ log P, of which −γ / (N y) is the gradient.

    γ_t(k) is the posterior probability of class k in frame t. The two values are not the same: loss is what the labels cost
    on average over the alignments, and its own derivative would also move γ. It is a report, and has no gradient here.
    Shapes: y (T, N, C) of probabilities, target (N, S) of class indices, input_lengths and target_lengths (N); loss, nll ().
    """

    blank: int = 0

    def inputs(self) -> dict[str, str]:
        return {
            "y": "(T, N, C)",
            "target": "index (N, S)",
            "input_lengths": "index (N)",
            "target_lengths": "index (N)",
        }

    def outputs(self) -> dict[str, str]:
        return {"loss": "()", "nll": "()"}

    def forward(
        self, state: Mapping[str, Array], y: Array, target: Array, input_lengths: Array, target_lengths: Array
    ) -> Forward[_Posterior]:
        logy = np.log(y)
        step = CTCLoss(self.blank, "none")({}, logy, target, input_lengths, target_lengths)
        losses = np.asarray(step.outputs)
        gamma = -np.asarray(step.backward(np.ones_like(losses)).inputs[0])
        loss = -(gamma * np.where(gamma > 0, logy, 0)).sum() / len(losses)
        return Forward((np.asarray(loss), np.asarray(losses.mean())), _Posterior(gamma, y))

    def backward(self, saved: _Posterior, dloss: Array, dnll: Array) -> Grads:
        r"""∂ log P/∂ log y_t(k) = γ_t(k), so −log P has −γ_t(k) / y_t(k), and the mean over the batch 1/N of it."""
        gamma, y = saved
        return Grads(-dnll / y.shape[1] * gamma / y, None, None, None)


# Steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MomentumSteps(Layer[None]):
    r"""v₁ = g₁, W₁ = W − η v₁;   v₂ = μ v₁ + g₂, W₂ = W₁ − η v₂: two steps show what is remembered.

    Shapes: W, g_1, g_2, W_1, W_2 (M, D). A step is not differentiated: there is no backward.
    """

    lr: float
    momentum: float = 0.0

    def inputs(self) -> dict[str, str]:
        return {"W": "(M, D)", "g_1": "(M, D)", "g_2": "(M, D)"}

    def outputs(self) -> dict[str, str]:
        return {"W_1": "(M, D)", "W_2": "(M, D)"}

    def forward(self, state: Mapping[str, Array], W: Array, g_1: Array, g_2: Array) -> Forward[None]:
        first = W - self.lr * g_1
        return Forward((first, first - self.lr * (self.momentum * g_1 + g_2)), None)
