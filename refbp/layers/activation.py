"""Element-wise activations: f(x) and f′(x), as in the back of a calculus book.

At a kink the value is torch's: where a function has a flat side, the flat side's slope, zero; where it has a slope
on either side, the slope of x ≤ 0. Where torch computes a derivative from its rounded output and loses digits in
the tails (σ(1 − σ), 1 − tanh²), the expressions here keep them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State
from refbp.layers._elementwise import Elementwise
from refbp.numerics import erfc, sigmoid, sigmoid_slope, softplus, sum_to_shape, tanh_slope
from refbp.shapes import Shape


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
        return np.where(x > 0, x, x * self.negative_slope)

    def df(self, x: Array, y: Array) -> Array:
        return np.where(x > 0, 1, np.asarray(self.negative_slope, x.dtype))


@dataclass(frozen=True)
class ELU(Elementwise):
    r"""y = x if x > 0 else α(eˣ − 1);   ∂y/∂x = 1 if x > 0 else α eˣ.

    Torch: torch.nn.ELU. Paper: Clevert, Unterthiner & Hochreiter 2016. At 0 the slope is α.
    """

    alpha: float = 1.0
    inplace: bool = False

    def f(self, x: Array) -> Array:
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def df(self, x: Array, y: Array) -> Array:
        return np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0)))


@dataclass(frozen=True)
class CELU(Elementwise):
    r"""y = x if x > 0 else α(e^{x/α} − 1);   ∂y/∂x = 1 if x > 0 else e^{x/α}: continuous also in its slope.

    Torch: torch.nn.CELU, whose gradient rounds 1/α to float32. Paper: Barron 2017.
    """

    alpha: float = 1.0
    inplace: bool = False

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.alpha != 0, "alpha", "a number other than 0"

    def f(self, x: Array) -> Array:
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0) / self.alpha))

    def df(self, x: Array, y: Array) -> Array:
        return np.where(x > 0, 1, np.exp(np.minimum(x, 0) / self.alpha))


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class SELU(Elementwise):
    r"""y = s x if x > 0 else s α(eˣ − 1);   ∂y/∂x = s if x > 0 else s α eˣ.

    Torch: torch.nn.SELU. Paper: Klambauer et al. 2017, where s and α keep mean 0 and variance 1. At 0 the slope is s α.
    """

    inplace: bool = False

    def f(self, x: Array) -> Array:
        return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))

    def df(self, x: Array, y: Array) -> Array:
        return SELU_SCALE * np.where(x > 0, 1, SELU_ALPHA * np.exp(np.minimum(x, 0)))


@dataclass(frozen=True)
class GELU(Elementwise):
    r"""y = x Φ(x);   ∂y/∂x = Φ(x) + x φ(x), with Φ and φ the normal distribution's cumulative and density.

    ``approximate="tanh"``: y = x (1 + tanh u) / 2, u = √(2/π)(x + 0.044715 x³);
    ∂y/∂x = (1 + tanh u) / 2 + x tanh′(u) u′ / 2.
    Torch: torch.nn.GELU. Paper: Hendrycks & Gimpel 2016. The left tail uses erfc, where 1 + erf has no digits left.
    """

    approximate: Literal["none", "tanh"] = "none"

    def f(self, x: Array) -> Array:
        if self.approximate == "none":
            return x * (erfc(x * -math.sqrt(0.5)) / 2)
        return x * sigmoid(2 * self._u(x))

    def df(self, x: Array, y: Array) -> Array:
        if self.approximate == "none":
            phi = np.exp(-(x * x) / 2) * (1 / math.sqrt(2 * math.pi))
            return erfc(x * -math.sqrt(0.5)) / 2 + x * phi
        # (1 + tanh u) / 2 = σ(2u). Beyond |x| = 30 the slope is 0 or 1 to the last digit, and x² may overflow.
        near = np.clip(x, -30, 30)
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * near * near)
        return sigmoid(2 * self._u(near)) + near * tanh_slope(self._u(near)) * du / 2

    def _u(self, x: Array) -> Array:
        return math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    r"""y = σ(x) = 1 / (1 + e⁻ˣ);   ∂y/∂x = σ(x) σ(−x).

    Torch: torch.nn.Sigmoid, whose y(1 − y) is 0 from x = 37 on.
    """

    def f(self, x: Array) -> Array:
        return sigmoid(x)

    def df(self, x: Array, y: Array) -> Array:
        return sigmoid_slope(x)


@dataclass(frozen=True)
class LogSigmoid(Elementwise):
    r"""y = log σ(x) = −log(1 + e⁻ˣ);   ∂y/∂x = σ(−x).

    Torch: torch.nn.LogSigmoid.
    """

    def f(self, x: Array) -> Array:
        return -softplus(-x)

    def df(self, x: Array, y: Array) -> Array:
        return sigmoid(-x)


@dataclass(frozen=True)
class SiLU(Elementwise):
    r"""y = x σ(x);   ∂y/∂x = σ(x) (1 + x σ(−x)).

    Torch: torch.nn.SiLU. Papers: Elfwing, Uchibe & Doya 2017; Ramachandran, Zoph & Le 2017 (swish).
    """

    inplace: bool = False

    def f(self, x: Array) -> Array:
        return x * sigmoid(x)

    def df(self, x: Array, y: Array) -> Array:
        return sigmoid(x) * (1 + x * sigmoid(-x))


@dataclass(frozen=True)
class Mish(Elementwise):
    r"""y = x tanh(log(1 + eˣ));   ∂y/∂x = t + x t′, t = tanh(softplus x), t′ = tanh′(softplus x) σ(x).

    With w = e^min(x, 20): t = a / (a + 2), t′ = 4 w (1 + w) / (a + 2)², a = w (w + 2), and nothing cancels.
    Torch: torch.nn.Mish. Paper: Misra 2019.
    """

    inplace: bool = False

    def f(self, x: Array) -> Array:
        w = np.exp(np.minimum(x, 20))
        a = w * (w + 2)
        return x * (a / (a + 2))

    def df(self, x: Array, y: Array) -> Array:
        near = np.minimum(x, 20)
        w = np.exp(near)
        a = w * (w + 2)
        return a / (a + 2) + near * (4 * w * (1 + w) / ((a + 2) * (a + 2)))


@dataclass(frozen=True)
class Softplus(Elementwise):
    r"""y = log(1 + e^{βx}) / β, and x itself where βx > threshold;   ∂y/∂x = σ(βx), and 1 there.

    Torch: torch.nn.Softplus.
    """

    beta: float = 1.0
    threshold: float = 20.0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.beta != 0, "beta", "a number other than 0"

    def f(self, x: Array) -> Array:
        return np.where(self.beta * x > self.threshold, x, softplus(self.beta * x) / self.beta)

    def df(self, x: Array, y: Array) -> Array:
        return np.where(self.beta * x > self.threshold, 1, sigmoid(self.beta * x))


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
class Tanh(Elementwise):
    r"""y = tanh(x);   ∂y/∂x = 1 − tanh²(x) = 4e / (1 + e)², e = e^−2|x|.

    Torch: torch.nn.Tanh, whose 1 − y² is 0 from |x| = 19.1 on.
    """

    def f(self, x: Array) -> Array:
        return np.tanh(x)

    def df(self, x: Array, y: Array) -> Array:
        return tanh_slope(x)


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
        return np.where((x >= -self.lambd) & (x <= self.lambd), 0, x)

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
        return np.where(x > self.lambd, x - self.lambd, np.where(x < -self.lambd, x + self.lambd, x * 0))

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
        inside = np.clip(x, -3, 3) / 3 + 0.5
        return np.where(x <= -3, 0, np.where(x >= 3, 1, inside))


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

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Every slope is what the constructor says, 0.25 by default."""
        return State({"weight": np.full(self.num_parameters, self.initial, dtype)})

    def forward(self, state: Mapping[str, Array], x: Array) -> Forward[tuple[Array, Array]]:
        shared = self.num_parameters == 1
        a = state["weight"].reshape([1] * x.ndim if shared else [-1] + [1] * (x.ndim - 2))
        return Forward(np.where(x > 0, x, a * x), saved=(x, a))

    def backward(self, saved: tuple[Array, Array], dy: Array) -> Grads:
        x, a = saved
        da = sum_to_shape(dy * np.minimum(x, 0), a.shape)
        return Grads(dy * np.where(x > 0, 1, a), weight=da.reshape(self.num_parameters))


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

    def draw(self, rng: np.random.Generator, shape: Shape, dtype: object = np.float64) -> Array:
        """The noise of one pass in training: a slope for every element."""
        return np.asarray(rng.uniform(self.lower, self.upper, shape), dtype)

    def forward(self, state: Mapping[str, Array], x: Array, slope: Array | None = None) -> Forward[Array]:
        constant = np.asarray((self.lower + self.upper) / 2, x.dtype)
        a = np.where(x > 0, 1, slope if self.training and slope is not None else constant)
        return Forward(a * x, saved=a)

    def backward(self, saved: Array, dy: Array) -> Grads:
        return Grads(dy * saved, None)
