"""Layers that are wrong, each in one way, each with the check that must notice it.

The docstring of each says what is wrong; where another check would notice it too, it says why the named one stands.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from refbp import Case, Convention, Forward, Grads, Layer, Spec, State, exactly, labels, normal
from refbp.layers._elementwise import Elementwise
from refbp.layers.activation import GELU, ReLU, Tanh
from refbp.layers.container import Sequential
from refbp.layers.dropout import Dropout
from refbp.layers.linear import Bilinear, Linear
from refbp.layers.normalization import BatchNorm1d
from refbp.layers.recurrent import LSTM
from refbp.layers.softmax import LogSoftmax, Softmax
from refbp.losses.classification import CrossEntropyLoss
from refbp.losses.regression import MSELoss
from refbp.numerics import sigmoid, sigmoid_slope

WRONG: list[tuple[str, Spec]] = []


@dataclass(frozen=True)
class PlainSigmoid(Elementwise):
    """A right sigmoid, written as a value and a slope, to be made wrong below."""

    def f(self, x):
        return sigmoid(x)

    def df(self, x, y):
        return sigmoid_slope(x)


def sigmoid_twin(layer):
    return torch.nn.Sigmoid()


def killed_by(check, *cases, twin=None, **options):
    """Register the class below as wrong. Cases are (arguments, draws) pairs or built by a function of the class."""

    def register(cls):
        made = [case(cls) for case in cases]
        base = next((b for b in cls.__mro__[1:] if hasattr(torch.nn, b.__name__)), None)
        theirs = twin or (lambda layer: getattr(torch.nn, base.__name__)(**_given(layer)))
        WRONG.append((check, Spec(cls, made, twin=theirs, **options)))
        return cls

    return register


def _given(layer):
    tensors = {n: torch.tensor(getattr(layer, n)) for n in layer.tensors if getattr(layer, n, None) is not None}
    return {n: v for n, v in layer.given().items() if n != "training"} | tensors


def case(*args, draws, **options):
    return lambda cls: Case(cls(*args, **options), *draws)


def _updating(run, **updates):
    return Forward(run.outputs, run.saved, {**run.updates, **updates})


def linear(**options):
    return lambda cls: Case(cls(3, 5, **options), normal(7, 3), id="matrix")


def elementwise(*args):
    return lambda cls: Case(cls(*args), normal(3, 5), id="matrix")


# Gradients: a term, a factor, a sign, an axis ------------------------------------------------------------------------


@killed_by("gradients", linear())
@dataclass(frozen=True)
class FlippedSign(Linear):
    """dx has the wrong sign. The witness sees it too; this check says what torch has, element by element."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(-g.inputs[0], **g.params)


@killed_by("gradients", linear())
@dataclass(frozen=True)
class MeanedBias(Linear):
    """The bias gradient is a mean over the batch. The witness sees it too; this check names the tensor and both values."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(g.inputs[0], weight=g.params["weight"], bias=dy.mean(0))


@killed_by("gradients", linear())
@dataclass(frozen=True)
class UnreducedBias(Linear):
    """The bias gradient is returned for every sample: autograd's engine would sum it silently, raw arrays do not."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(g.inputs[0], weight=g.params["weight"], bias=dy.copy())


@killed_by("gradients", case(4, 4, draws=[normal(7, 4)]))
@dataclass(frozen=True)
class ForgottenTranspose(Linear):
    """dx = dy Wᵀ, which only a square weight allows. The witness sees it too; this check gives the worst element."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(dy @ saved[1].T, **g.params)


@killed_by("gradients", linear())
@dataclass(frozen=True)
class MissingParameter(Linear):
    """No gradient of the bias at all."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(g.inputs[0], weight=g.params["weight"])


@killed_by("gradients", linear())
@dataclass(frozen=True)
class UnknownParameter(Linear):
    """A gradient of something that is no parameter."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(g.inputs[0], **g.params, scale=dy.sum())


@killed_by("gradients", linear())
@dataclass(frozen=True)
class NoneForAnInput(Linear):
    """dx is None, as if x had no gradient."""

    def backward(self, saved, dy):
        return Grads(None, **super().backward(saved, dy).params)


@killed_by("gradients", lambda cls: Case(cls(3, 5, 2), normal(7, 3), normal(7, 5)))
@dataclass(frozen=True)
class SwappedParts(Bilinear):
    """x1's gradient uses x1 where x2 is meant: the weight of one sample is contracted with the wrong vector."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        _, x2, W = saved
        return Grads(np.einsum("nk,kij,nj->ni", dy, W, 2 * x2), g.inputs[1], **g.params)


@killed_by("gradients", lambda cls: Case(cls(dim=1), normal(3, 5)))
@dataclass(frozen=True)
class ZeroSoftmax(Softmax):
    """Zeros for a softmax: right for an upstream gradient of ones, which is why there is never one."""

    def backward(self, saved, dy):
        return Grads(np.zeros_like(dy))


@killed_by("gradients", lambda cls: Case(cls(dim=1), normal(3, 5)))
@dataclass(frozen=True)
class DiagonalSoftmax(Softmax):
    """Only the diagonal of the Jacobian: dy y (1 − y)."""

    def backward(self, saved, dy):
        return Grads(dy * saved[0] * (1 - saved[0]))


@killed_by("gradients", lambda cls: Case(cls(dim=1), normal(3, 5)))
@dataclass(frozen=True)
class PerRowForgotten(LogSoftmax):
    """Σ dy is taken over the whole array, not per row."""

    def backward(self, saved, dy):
        return Grads(dy - np.exp(saved[0]) * dy.sum())


@killed_by("gradients", lambda cls: Case(cls(5, eps=0.03), normal(7, 5)))
@dataclass(frozen=True)
class NoVariancePath(BatchNorm1d):
    """The gradient through σ² is missing: right for a constant upstream."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        dx_hat = dy * saved.gamma
        return Grads((dx_hat - dx_hat.mean(0)) * saved.inv_std, **g.params)


@killed_by("gradients", lambda cls: Case(cls(3, 5), normal(7, 2, 3)))
@dataclass(frozen=True)
class OneBiasForTwo(LSTM):
    """b_hh gets half of the gradient, as if the two biases shared it."""

    def backward(self, saved, *dys):
        g = super().backward(saved, *dys)
        return Grads(*g.inputs, **{n: p / 2 if n.startswith("bias_hh") else p for n, p in g.params.items()})


@killed_by("gradients", lambda cls: Case(cls(), normal(7, 5), labels(7, classes=5)))
@dataclass(frozen=True)
class NotAveraged(CrossEntropyLoss):
    """The mean's gradient is not divided by N."""

    def backward(self, saved, dy):
        return Grads(super().backward(saved, dy).inputs[0] * 7, None)


@killed_by("gradients", lambda cls: Case(cls(reduction="sum"), normal(3, 5), normal(3, 5)))
@dataclass(frozen=True)
class TargetForgotten(MSELoss):
    """No gradient of the target, which torch differentiates."""

    def backward(self, saved, dy):
        return Grads(super().backward(saved, dy).inputs[0], None)


@killed_by(
    "gradients",
    lambda cls: Case(cls(), exactly(-1.0, 0.0, 2.0)),
    conventions=[Convention("x = 0", "slope 0")],
)
@dataclass(frozen=True)
class SlopeOneAtZero(ReLU):
    """Slope 1 at 0: between the one-sided slopes, so the witness lets it pass; but at a kink the value is torch's."""

    def df(self, x, y):
        return x >= 0


# Torch only: a twin, one requirement at a time, outputs one at a time ------------------------------------------------


class _OnlyTogether(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, dy):
        a, b = ctx.saved_tensors
        factor = 1 if all(ctx.needs_input_grad) else 3
        return factor * dy * b, factor * dy * a


class _TogetherTwin(torch.nn.Module):
    def forward(self, a, b):
        return _OnlyTogether.apply(a, b)


@killed_by("gradients-alone", lambda cls: Case(cls(), normal(3, 5), normal(3, 5)), twin=lambda layer: _TogetherTwin())
@dataclass(frozen=True)
class RightTogetherOnly(Layer):
    """A twin whose gradient depends on what else requires one: only asking for each alone shows it."""

    def inputs(self):
        return {"a": "(N, *)", "b": "(N, *)"}

    def forward(self, state, a, b):
        return Forward(a * b, saved=(a, b))

    def backward(self, saved, dy):
        return Grads(dy * saved[1], dy * saved[0])


@killed_by("outputs-alone", lambda cls: Case(cls(), normal(3, 5)), twin=lambda layer: _SplitTwin())
@dataclass(frozen=True)
class ZeroMeansUnused(Layer):
    """Takes a zero upstream gradient for "this output was used too" and switches formula: wrong only for one output alone."""

    def inputs(self):
        return {"x": "(N, *)"}

    def forward(self, state, x):
        return Forward((2 * x, 3 * x), saved=None)

    def backward(self, saved, da, db):
        return Grads(2 * da + (3 * db if da.any() else 4 * db))


class _SplitTwin(torch.nn.Module):
    def forward(self, x):
        return 2 * x, 3 * x


# Forward, buffers, state, modes --------------------------------------------------------------------------------------


@killed_by("outputs", elementwise())
@dataclass(frozen=True)
class TanhGelu(GELU):
    """The tanh approximation under the exact name: forward and backward fit each other, and not torch."""

    def forward(self, state, x):
        return GELU("tanh").forward(state, x)

    def backward(self, saved, dy):
        return GELU("tanh").backward(saved, dy)


@killed_by("outputs", linear())
@dataclass(frozen=True)
class RowVector(Linear):
    """The output has an axis more than the twin's."""

    def forward(self, state, x):
        run = super().forward(state, x)
        return Forward(run.outputs[None], run.saved)

    def backward(self, saved, dy):
        return super().backward(saved, dy[0])


@killed_by("buffers", lambda cls: Case(cls(5), normal(7, 5)))
@dataclass(frozen=True)
class BiasedRunningVar(BatchNorm1d):
    """running_var is updated with the biased variance; outputs and gradients are right."""

    def forward(self, state, x):
        return _updating(super().forward(state, x), running_var=0.9 * state["running_var"] + 0.1 * x.var(0))


@killed_by("buffers", lambda cls: Case(cls(5, momentum=0.3), normal(7, 5)))
@dataclass(frozen=True)
class SwappedMomentum(BatchNorm1d):
    """momentum weighs the old statistics, as optimizers have it, not the new ones."""

    def forward(self, state, x):
        return _updating(super().forward(state, x), running_mean=0.3 * state["running_mean"] + 0.7 * x.mean(0))


@killed_by("buffers", lambda cls: Case(cls(5), normal(7, 5)))
@dataclass(frozen=True)
class NotCounted(BatchNorm1d):
    """num_batches_tracked stays where it is."""

    def forward(self, state, x):
        return _updating(super().forward(state, x), num_batches_tracked=state["num_batches_tracked"].copy())


@killed_by("state", linear())
@dataclass(frozen=True)
class RenamedState(Linear):
    """init makes "W" where torch has "weight"."""

    def init(self, rng, dtype=np.float64):
        state = super().init(rng, dtype)
        return State({"W": state["weight"], "bias": state["bias"]})


@killed_by("state", linear())
@dataclass(frozen=True)
class AlwaysFloat64State(Linear):
    """init makes float64 whatever dtype it is asked for."""

    def init(self, rng, dtype=np.float64):
        return super().init(rng)


@killed_by("init", linear())
@dataclass(frozen=True)
class NormalInit(Linear):
    """Weights start normally distributed, torch's are uniform: no gradient can show it."""

    def init(self, rng, dtype=np.float64):
        return State({n: rng.normal(0, 1 / math.sqrt(3 * self.in_features), s).astype(dtype) for n, s in self.params().items()})


@killed_by("init", linear())
@dataclass(frozen=True)
class ZeroBias(Linear):
    """The bias starts at zero, torch's does not."""

    def init(self, rng, dtype=np.float64):
        state = super().init(rng, dtype)
        return state.updated({"bias": np.zeros_like(state["bias"])})


@killed_by("modes", lambda cls: Case(cls(5), normal(7, 5)))
@dataclass(frozen=True)
class SameInEvaluation(BatchNorm1d):
    """Evaluation still uses the batch's statistics; the case at hand is in training."""

    def forward(self, state, x):
        run = super().forward(state, x)
        if not self.training:
            run = BatchNorm1d(self.num_features, track_running_stats=False).forward(state, x)
        return run


# The derivative of its own forward -----------------------------------------------------------------------------------


class _WrongTwin(torch.nn.Module):
    def forward(self, x):
        return x.detach() * 2 + torch.sin(x) - torch.sin(x).detach()


@killed_by("witness", elementwise(), twin=lambda layer: _WrongTwin())
@dataclass(frozen=True)
class AgreesWithAWrongTwin(Layer):
    """Equal to its twin in value and gradient, and both gradients are wrong: a twin with a detach. Only the witness knows."""

    def inputs(self):
        return {"x": "(N, *)"}

    def forward(self, state, x):
        return Forward(2 * x, saved=x)

    def backward(self, saved, dy):
        return Grads(dy * np.cos(saved))


@killed_by("witness", lambda cls: Case(cls(), exactly(-1.0, 0.0, 2.0)))
@dataclass(frozen=True)
class UndeclaredKink(ReLU):
    """A ReLU whose Spec says nothing of the kink at 0."""


@killed_by("gradients", elementwise(), twin=lambda layer: _WrongTwin())
@dataclass(frozen=True)
class RightWithAWrongTwin(Layer):
    """The layer is right and the twin is not: the verdict is that torch disagrees, with the witness on the layer's side."""

    def inputs(self):
        return {"x": "(N, *)"}

    def forward(self, state, x):
        return Forward(2 * x, saved=None)

    def backward(self, saved, dy):
        return Grads(2 * dy)


# Memory --------------------------------------------------------------------------------------------------------------


@killed_by("writes", elementwise())
@dataclass(frozen=True)
class WritesToUpstream(ReLU):
    """dy[x <= 0] = 0 in the caller's array. Repeating the call would not show it: zeros stay zeros."""

    def backward(self, saved, dy):
        dy[saved[0] <= 0] = 0
        return Grads(dy.copy())


@killed_by("writes", linear())
@dataclass(frozen=True)
class WritesToState(Linear):
    """Gradient descent inside backward: the weight that was handed in moves. Gradients differ too; this check says why."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        saved[1][...] -= 0.1 * g.params["weight"]
        return g


@killed_by("repeatable", elementwise(), twin=sigmoid_twin)
@dataclass(frozen=True)
class OverwritesSaved(PlainSigmoid):
    """Backward multiplies into what forward saved: right the first time only. Nothing received is touched."""

    def backward(self, saved, dy):
        y = saved[1]
        g = dy * y * (1 - y)
        y *= 0.5
        return Grads(g)

    def forward(self, state, x):
        y = self.f(x)
        return Forward(y.copy(), saved=(x, y))


_CALLS = [0]


@killed_by("repeatable", elementwise())
@dataclass(frozen=True)
class CountsCalls(ReLU):
    """A hidden counter changes what forward returns. Torch sees it too; this check says that two equal calls differ."""

    def f(self, x):
        _CALLS[0] += 1
        return np.maximum(x, 0) + 1e-3 * _CALLS[0]


@killed_by("interleaved", elementwise())
@dataclass(frozen=True)
class RemembersOnSelf(ReLU):
    """What backward needs is kept on the layer: right until another forward comes between. Nothing else comes between."""

    def forward(self, state, x):
        object.__setattr__(self, "_x", x)
        return Forward(self.f(x), saved=None)

    def backward(self, saved, dy):
        return Grads(dy * (self._x > 0))


@killed_by("aliasing", elementwise())
@dataclass(frozen=True)
class PassesUpstreamOn(Layer):
    """The identity that returns dy itself: whoever adds to the gradient adds to the upstream."""

    def inputs(self):
        return {"x": "(N, *)"}

    def forward(self, state, x):
        return Forward(x + 0, saved=None)

    def backward(self, saved, dy):
        return Grads(dy)


WRONG[-1] = (WRONG[-1][0], Spec(PassesUpstreamOn, [Case(PassesUpstreamOn(), normal(3, 5))], twin=lambda _: torch.nn.Identity()))


@killed_by("aliasing", lambda cls: Case(cls(), normal(3, 5), normal(3, 5)), twin=lambda layer: _AddTwin())
@dataclass(frozen=True)
class OneArrayForTwo(Layer):
    """Both inputs' gradients are one array."""

    def inputs(self):
        return {"a": "(N, *)", "b": "(N, *)"}

    def forward(self, state, a, b):
        return Forward(a + b, saved=None)

    def backward(self, saved, dy):
        g = dy.copy()
        return Grads(g, g)


class _AddTwin(torch.nn.Module):
    def forward(self, a, b):
        return a + b


@killed_by("aliasing", lambda cls: Case(cls(reduction="sum"), normal(3, 5), normal(3, 5)))
@dataclass(frozen=True)
class BroadcastGradient(MSELoss):
    """A gradient that is a read-only broadcast view: its first reader to write into it crashes."""

    def dx(self, x, t):
        return 2 * (x - t)

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        view = g.inputs[0].view()
        view.flags.writeable = False
        return Grads(view, g.inputs[1])


@killed_by("memory", linear())
@dataclass(frozen=True)
class FlatInMemory(Linear):
    """Reads the buffer of x instead of x: right for contiguous arrays only."""

    def forward(self, state, x):
        flat = np.lib.stride_tricks.as_strided(x, (x.size,), (x.itemsize,)) if x.flags.c_contiguous else x.ravel(order="K")
        return super().forward(state, flat.reshape(x.shape))


# Algebra -------------------------------------------------------------------------------------------------------------


@killed_by("linearity", elementwise())
@dataclass(frozen=True)
class MaskOnUpstream(ReLU):
    """The mask is taken from dy instead of x. Torch sees it too; this check needs no torch, and says what is wrong."""

    def backward(self, saved, dy):
        return Grads(dy * (dy > 0))


@killed_by("zero-upstream", linear())
@dataclass(frozen=True)
class IgnoresUpstream(Linear):
    """db counts the samples whatever dy is. Torch sees it too; this check says that the upstream is ignored."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(g.inputs[0], weight=g.params["weight"], bias=np.full_like(g.params["bias"], len(dy)))


@killed_by("batch-additivity", lambda cls: Case(cls(5, training=False), normal(7, 5)))
@dataclass(frozen=True)
class CoupledSamples(BatchNorm1d):
    """Evaluation that subtracts the batch's mean. Torch sees it too; this check says that samples are coupled."""

    def forward(self, state, x):
        return super().forward(state, x - x.mean(0))


@killed_by("batch-of-one", lambda cls: Case(cls(dim=1), normal(3, 5)))
@dataclass(frozen=True)
class SqueezesTheBatch(Softmax):
    """Squeezes an axis of size one away, so a batch of one comes out with another shape."""

    def forward(self, state, x):
        run = super().forward(state, x)
        return Forward(np.squeeze(run.outputs), run.saved)

    def backward(self, saved, dy):
        return super().backward(saved, dy.reshape(saved[0].shape))

    def inputs(self):
        return {"x": "(N, C)"}


@killed_by("batch-of-zero", linear())
@dataclass(frozen=True)
class FirstSampleNeeded(Linear):
    """Looks at x[0], which an empty batch has not."""

    def forward(self, state, x):
        assert x[0].ndim == 1
        return super().forward(state, x)


# Precision and range -------------------------------------------------------------------------------------------------


@killed_by("dtype", elementwise(), twin=sigmoid_twin)
@dataclass(frozen=True)
class Float64Constant(PlainSigmoid):
    """np.sqrt(1.0) is a float64 that promotes float32 arrays; in float64 nothing is wrong."""

    def df(self, x, y):
        return super().df(x, y) * np.sqrt(1.0)


@killed_by("float32", elementwise(), twin=sigmoid_twin)
@dataclass(frozen=True)
class HalfwayThroughFloat16(PlainSigmoid):
    """float32 goes through float16: the dtype is right, the digits are gone; float64 is computed in full."""

    def f(self, x):
        return super().f(x.astype(np.float16)).astype(x.dtype) if x.dtype == np.float32 else super().f(x)


@killed_by("extremes", elementwise(), twin=sigmoid_twin)
@dataclass(frozen=True)
class OverflowingSigmoid(PlainSigmoid):
    """∂y/∂x = e⁻ˣ / (1 + e⁻ˣ)²: right for every ordinary x, NaN where e⁻ˣ overflows."""

    def df(self, x, y):
        e = np.exp(-x)
        return e / ((1 + e) * (1 + e))


@killed_by("nonfinite", elementwise())
@dataclass(frozen=True)
class HidesNaN(ReLU):
    """where(x > 0, x, 0) turns a NaN into a zero: a network that diverged looks healthy."""

    def f(self, x):
        return np.where(x > 0, x, x.dtype.type(0))


# Reductions and errors -----------------------------------------------------------------------------------------------


@killed_by("reductions", lambda cls: Case(cls(reduction="none"), normal(3, 5), normal(3, 5)))
@dataclass(frozen=True)
class RowMean(MSELoss):
    """The mean divides by the rows, not by the elements; the case at hand does not average."""

    def reduced(self, losses, total=None):
        return super().reduced(losses, len(losses) if losses.ndim else None)


@killed_by("bad-input", linear())
@dataclass(frozen=True)
class TakesAnything(Linear):
    """inputs() says nothing, and forward broadcasts a wrong shape into a result."""

    def inputs(self):
        return {"x": "any (*)"}

    def forward(self, state, x):
        x = np.resize(x, (*x.shape[:-1], self.in_features)) if x.ndim else x
        return super().forward(state, x.astype(state["weight"].dtype))


@killed_by("bad-input", elementwise())
@dataclass(frozen=True)
class RaisesItsOwn(ReLU):
    """Bad input ends in an AttributeError from the inside."""

    def inputs(self):
        return {"x": "any (*)"}

    def check(self, *inputs: Any, **options: Any):
        if inputs[0].ndim == 1:
            raise AttributeError("'NoneType' object has no attribute 'shape'")


# Composites and noise ------------------------------------------------------------------------------------------------


@killed_by(
    "gradients",
    lambda cls: Case(cls(0.3), normal(7, 5)),
    noise=lambda layer, probe, x: (probe(np.ones_like(x)) != 0,),
)
@dataclass(frozen=True)
class UnscaledDropout(Dropout):
    """Backward forgets 1/(1 − p)."""

    def backward(self, saved, dy):
        return Grads(dy * (saved != 0), None)


def _parts():
    return Linear(3, 4), Tanh(), Linear(4, 2)


def _sequential_twin(layer):
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


@killed_by("gradients", lambda cls: Case(cls(*_parts()), normal(7, 3)), twin=_sequential_twin)
@dataclass(frozen=True, init=False)
class ForwardOrder(Sequential):
    """The first part's gradients are returned as if the chain rule had stopped before it."""

    def backward(self, saved, dy):
        g = super().backward(saved, dy)
        return Grads(*g.inputs, **{n: p * (1 if n.startswith("2") else 0.5) for n, p in g.params.items()})
