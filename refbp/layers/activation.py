"""Element-wise activations: f(x) and f′(x), as in the back of a calculus book.

At a kink the value is torch's: where a function has a flat side, the flat side's slope, zero; where it has a slope
on either side, the slope of x ≤ 0. Where torch computes a derivative from its rounded output and loses digits in
the tails (σ(1 − σ), 1 − tanh²), the expressions here keep them.
"""

# mypy: no-warn-return-any
# (NumPy types the quotient of two arrays as Any; a table of expressions is not the place to say otherwise)

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State
from refbp.layers._elementwise import Elementwise, Together
from refbp.numerics import exps, log1p, normal, sigmoid_and_slope, sum_to_shape, tanh_slope
from refbp.shapes import Shape


def rectified_slope(x: Array, left: Array) -> Array:
    """1 where x > 0, else the slope on the left: a sum of two products, a quarter of the price of a choice."""
    right = x > 0
    return right + ~right * left


@dataclass(frozen=True)
class ReLU(Elementwise):
    r"""y = max(x, 0);   ∂y/∂x = [x > 0].

    Torch: torch.nn.ReLU. At 0 the slope is 0.
    """

    inplace: bool = False

    def f(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def df(self, x: Array, y: Array) -> Array:
        return x > 0


@dataclass(frozen=True)
class ReLU6(Elementwise):
    r"""y = min(max(x, 0), 6);   ∂y/∂x = [0 < x < 6].

    Torch: torch.nn.ReLU6. At 0 and at 6 the slope is 0.
    """

    inplace: bool = False

    def f(self, x: Array) -> Array:
        return np.clip(x, 0, 6)

    def df(self, x: Array, y: Array) -> Array:
        return (x > 0) & (x < 6)


@dataclass(frozen=True)
class Hardtanh(Elementwise):
    r"""y = min(max(x, min_val), max_val);   ∂y/∂x = [min_val < x < max_val].

    Torch: torch.nn.Hardtanh (``min_value`` and ``max_value`` are its former names). At both bounds the slope is 0.
    """

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False
    min_value: float | None = None
    max_value: float | None = None

    def __post_init__(self) -> None:
        for name, former in (("min_val", self.min_value), ("max_val", self.max_value)):
            if former is not None:
                object.__setattr__(self, name, former)
        super().__post_init__()

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.max_val > self.min_val, "max_val", f"more than min_val={self.min_val!r}"

    def f(self, x: Array) -> Array:
        return np.clip(x, self.min_val, self.max_val)

    def df(self, x: Array, y: Array) -> Array:
        return (x > self.min_val) & (x < self.max_val)


@dataclass(frozen=True)
class Threshold(Elementwise):
    r"""y = x if x > threshold else value;   ∂y/∂x = [x > threshold].

    Torch: torch.nn.Threshold. At the threshold the slope is 0.
    """

    threshold: float
    value: float
    inplace: bool = False

    def f(self, x: Array) -> Array:
        return np.where(x <= self.threshold, np.asarray(self.value, x.dtype), x)

    def df(self, x: Array, y: Array) -> Array:
        return x > self.threshold


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    r"""y = max(x, 0) + a min(x, 0), a = negative_slope;   ∂y/∂x = 1 if x > 0 else a.

    Torch: torch.nn.LeakyReLU. Paper: Maas, Hannun & Ng 2013. At 0 the slope is a.
    """

    negative_slope: float = 0.01
    inplace: bool = False

    def f(self, x: Array) -> Array:
        return np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)

    def df(self, x: Array, y: Array) -> Array:
        return rectified_slope(x, np.asarray(self.negative_slope, x.dtype))


@dataclass(frozen=True)
class ELU(Together):
    r"""y = x if x > 0 else α(eˣ − 1);   ∂y/∂x = 1 if x > 0 else α eˣ.

    Torch: torch.nn.ELU. Paper: Clevert, Unterthiner & Hochreiter 2016. At 0 the slope is α.
    """

    alpha: float = 1.0
    inplace: bool = False

    def f_df(self, x: Array) -> tuple[Array, Array]:
        e, below = exps(np.minimum(x, 0))
        return np.maximum(x, 0) + self.alpha * below, rectified_slope(x, self.alpha * e)


@dataclass(frozen=True)
class CELU(Together):
    r"""y = x if x > 0 else α(e^{x/α} − 1);   ∂y/∂x = 1 if x > 0 else e^{x/α}: continuous also in its slope.

    Torch: torch.nn.CELU, whose gradient rounds 1/α to float32. Paper: Barron 2017.
    """

    alpha: float = 1.0
    inplace: bool = False

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.alpha != 0, "alpha", "a number other than 0"

    def f_df(self, x: Array) -> tuple[Array, Array]:
        e, below = exps(np.minimum(x, 0) / self.alpha)
        return np.maximum(x, 0) + self.alpha * below, e  # which is 1 on the right


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class SELU(Together):
    r"""y = s x if x > 0 else s α(eˣ − 1);   ∂y/∂x = s if x > 0 else s α eˣ.

    Torch: torch.nn.SELU. Paper: Klambauer et al. 2017, where s and α keep mean 0 and variance 1. At 0 the slope is s α.
    """

    inplace: bool = False

    def f_df(self, x: Array) -> tuple[Array, Array]:
        e, below = exps(np.minimum(x, 0))
        return SELU_SCALE * (np.maximum(x, 0) + SELU_ALPHA * below), SELU_SCALE * rectified_slope(x, SELU_ALPHA * e)


@dataclass(frozen=True)
class GELU(Together):
    r"""y = x Φ(x);   ∂y/∂x = Φ(x) + x φ(x), with Φ and φ the normal distribution's cumulative and density.

    ``approximate="tanh"``: y = x (1 + tanh u) / 2 = x σ(2u), 2u = c x (1 + 0.044715 x²), c = 2 √(2/π);
    ∂y/∂x = σ(2u) + x σ′(2u) (2u)′, (2u)′ = c (1 + 3 · 0.044715 x²).
    Torch: torch.nn.GELU. Paper: Hendrycks & Gimpel 2016. The left tail keeps the digits that 1 + erf has lost.
    """

    approximate: Literal["none", "tanh"] = "none"

    def f_df(self, x: Array) -> tuple[Array, Array]:
        if self.approximate == "none":
            cumulative, density = normal(x)
            return x * cumulative, cumulative + x * density
        c = 2 * math.sqrt(2 / math.pi)
        near = np.clip(x, -30, 30)  # beyond, σ is 0 or 1 and σ′ is 0 to the last digit, and x² may overflow
        square = near * near
        s, ds = sigmoid_and_slope(near * (c + (c * 0.044715) * square))
        return x * s, s + near * ds * (c + (c * 3 * 0.044715) * square)


@dataclass(frozen=True)
class Sigmoid(Together):
    r"""y = σ(x) = 1 / (1 + e⁻ˣ);   ∂y/∂x = σ(x) σ(−x).

    Torch: torch.nn.Sigmoid, whose y(1 − y) is 0 from x = 37 on.
    """

    def f_df(self, x: Array) -> tuple[Array, Array]:
        return sigmoid_and_slope(x)


@dataclass(frozen=True)
class LogSigmoid(Together):
    r"""y = log σ(x) = −log(1 + e⁻ˣ);   ∂y/∂x = σ(−x).

    Torch: torch.nn.LogSigmoid.
    """

    def f_df(self, x: Array) -> tuple[Array, Array]:
        e = np.exp(-np.abs(x))
        return np.minimum(x, 0) - log1p(e), np.maximum(e, x < 0) / (1 + e)


@dataclass(frozen=True)
class SiLU(Together):
    r"""y = x σ(x);   ∂y/∂x = σ(x) + x σ′(x).

    Torch: torch.nn.SiLU. Papers: Elfwing, Uchibe & Doya 2017; Ramachandran, Zoph & Le 2017 (swish).
    """

    inplace: bool = False

    def f_df(self, x: Array) -> tuple[Array, Array]:
        s, ds = sigmoid_and_slope(x)
        return x * s, s + x * ds


@dataclass(frozen=True)
class Mish(Together):
    r"""y = x tanh(log(1 + eˣ));   ∂y/∂x = t + x t′, t = tanh(softplus x), t′ = tanh′(softplus x) σ(x).

    With w = e^min(x, 20): t = a / (a + 2), t′ = 4 w (1 + w) / (a + 2)², a = w (w + 2), and nothing cancels.
    Torch: torch.nn.Mish. Paper: Misra 2019.
    """

    inplace: bool = False

    def f_df(self, x: Array) -> tuple[Array, Array]:
        near = np.minimum(x, 20)
        w = np.exp(near)
        a = w * (w + 2)
        t = a / (a + 2)
        return x * t, t + near * (4 * w * (1 + w) / ((a + 2) * (a + 2)))


@dataclass(frozen=True)
class Softplus(Together):
    r"""y = log(1 + e^{βx}) / β, and x itself where βx > threshold;   ∂y/∂x = σ(βx), and 1 there.

    Torch: torch.nn.Softplus.
    """

    beta: float = 1.0
    threshold: float = 20.0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.beta != 0, "beta", "a number other than 0"

    def f_df(self, x: Array) -> tuple[Array, Array]:
        z = self.beta * x
        above, e = z > self.threshold, np.exp(-np.abs(z))
        ramp = np.maximum(x, 0) if self.beta > 0 else np.minimum(x, 0)
        return ramp + log1p(e) * ~above / self.beta, np.maximum(np.maximum(e, z >= 0) / (1 + e), above)


@dataclass(frozen=True)
class Softsign(Elementwise):
    r"""y = x / (1 + |x|);   ∂y/∂x = 1 / (1 + |x|)².

    Torch: torch.nn.Softsign, which differentiates the quotient and cancels for large |x|.
    """

    def f(self, x: Array) -> Array:
        return x / (1 + np.abs(x))

    def df(self, x: Array, y: Array) -> Array:
        root = 1 / (1 + np.abs(x))
        return root * root


@dataclass(frozen=True)
class Tanh(Together):
    r"""y = tanh(x);   ∂y/∂x = 1 − tanh²(x) = 4e / (1 + e)², e = e^−2|x|.

    Torch: torch.nn.Tanh, whose 1 − y² is 0 from |x| = 19.1 on.
    """

    def f_df(self, x: Array) -> tuple[Array, Array]:
        return np.tanh(x), tanh_slope(x)


@dataclass(frozen=True)
class Tanhshrink(Elementwise):
    r"""y = x − tanh(x);   ∂y/∂x = tanh²(x).

    Torch: torch.nn.Tanhshrink, which subtracts two gradients and cancels near 0.
    """

    def f(self, x: Array) -> Array:
        return x - np.tanh(x)

    def df(self, x: Array, y: Array) -> Array:
        t = np.tanh(x)
        return t * t


@dataclass(frozen=True)
class Hardshrink(Elementwise):
    r"""y = x if |x| > λ else 0;   ∂y/∂x = [|x| > λ], λ = lambd.

    Torch: torch.nn.Hardshrink. At ±λ, where y jumps, the slope is 0.
    """

    lambd: float = 0.5

    def f(self, x: Array) -> Array:
        return x * ~((x >= -self.lambd) & (x <= self.lambd))

    def df(self, x: Array, y: Array) -> Array:
        return (x < -self.lambd) | (x > self.lambd)


@dataclass(frozen=True)
class Softshrink(Elementwise):
    r"""y = sign(x) max(|x| − λ, 0);   ∂y/∂x = [|x| > λ], λ = lambd.

    Torch: torch.nn.Softshrink. At ±λ the slope is 0.
    """

    lambd: float = 0.5

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.lambd >= 0, "lambd", "a number of at least 0"

    def f(self, x: Array) -> Array:
        return x - np.clip(x, -self.lambd, self.lambd)

    def df(self, x: Array, y: Array) -> Array:
        return (x < -self.lambd) | (x > self.lambd)


@dataclass(frozen=True)
class Hardsigmoid(Elementwise):
    r"""y = min(max(x + 3, 0), 6) / 6;   ∂y/∂x = [−3 < x < 3] / 6.

    Torch: torch.nn.Hardsigmoid, whose gradient is float32(1/6) also in float64. At ±3 the slope is 0.
    """

    inplace: bool = False

    def f(self, x: Array) -> Array:
        return np.clip(x + 3, 0, 6) / 6

    def df(self, x: Array, y: Array) -> Array:
        return ((x > -3) & (x < 3)) / np.asarray(6, x.dtype)


@dataclass(frozen=True)
class Hardswish(Elementwise):
    r"""y = x min(max(x + 3, 0), 6) / 6;   ∂y/∂x = 0 if x ≤ −3, 1 if x ≥ 3, else x/3 + 1/2.

    Torch: torch.nn.Hardswish. Paper: Howard et al. 2019. The slope is 0 at −3 and 1 at 3.
    """

    inplace: bool = False

    def f(self, x: Array) -> Array:
        return x * np.clip(x + 3, 0, 6) / 6

    def df(self, x: Array, y: Array) -> Array:
        inside = (x > -3) & (x < 3)
        return (np.clip(x, -3, 3) / 3 + 0.5) * inside + (x >= 3)


# Activations with a parameter, noise, or more than one element in a formula -------------------------------------------


@dataclass(frozen=True, init=False)
class PReLU(Layer[tuple[Array, Array]]):
    r"""y = max(x, 0) + a min(x, 0);   dx = dy · (1 if x > 0 else a),   da = Σ dy · min(x, 0).

    Shapes: x (*) or (N, num_parameters, *), y as x; weight (num_parameters): one slope for all, or one per channel.
    Torch: torch.nn.PReLU. Paper: He et al. 2015. At 0 the slope is a.
    """

    num_parameters: int = 1
    initial: float = field(default=0.25, metadata={"argument": "init"})  # ``init`` is the method that makes a state

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        object.__setattr__(self, "num_parameters", num_parameters)
        object.__setattr__(self, "initial", init)
        self.__post_init__()

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.num_parameters >= 1, "num_parameters", "an integer of at least 1"

    def params(self) -> dict[str, Shape]:
        return {"weight": (self.num_parameters,)}

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, *) or ()" if self.num_parameters == 1 else "(N, num_parameters, *)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *) or ()" if self.num_parameters == 1 else "(N, num_parameters, *)"}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Every slope is what the constructor says, 0.25 by default."""
        return State({"weight": np.full(self.num_parameters, self.initial, dtype)})

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, Array]]:
        shared = self.num_parameters == 1
        a = state["weight"].reshape([1] * x.ndim if shared else [-1] + [1] * (x.ndim - 2))
        return Forward(np.maximum(x, 0) + a * np.minimum(x, 0), saved=(x, a))

    def backward(self, saved: tuple[Array, Array], dy: Array) -> Grads:
        x, a = saved
        da = sum_to_shape(dy * np.minimum(x, 0), a.shape)
        return Grads(dy * rectified_slope(x, a), weight=da.reshape(self.num_parameters))


@dataclass(frozen=True)
class RReLU(Layer[Array]):
    r"""y = max(x, 0) + a min(x, 0), each a drawn from U(lower, upper);   dx = dy · (1 if x > 0 else a).

    Shapes: x (*), slope (*), y (*). In training the slopes are an input: ``slope = layer.draw(rng, x.shape)``.
    In evaluation a = (lower + upper) / 2 and no slopes are given.
    Torch: torch.nn.RReLU. Paper: Xu et al. 2015. At 0 the slope is a.
    """

    lower: float = 1.0 / 8
    upper: float = 1.0 / 3
    inplace: bool = False
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.lower <= self.upper, "lower", f"at most upper={self.upper!r}"

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, *) or ()", "slope": "(N, *) or ()" if self.training else "optional (N, *) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *) or ()"}

    def draw(self, rng: np.random.Generator, shape: Shape, dtype: Any = np.float64) -> Array:
        """The noise of one pass in training: a slope for every element."""
        return np.asarray(rng.uniform(self.lower, self.upper, shape), dtype)

    def forward(self, state: Mapping[str, Array], x: Array, slope: Array | None = None) -> Forward[Array]:
        constant = np.asarray((self.lower + self.upper) / 2, x.dtype)
        a = rectified_slope(x, slope if self.training and slope is not None else constant)
        return Forward(a * x, saved=a)

    def backward(self, saved: Array, dy: Array) -> Grads:
        return Grads(dy * saved, None)
