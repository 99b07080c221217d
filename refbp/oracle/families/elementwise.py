"""Element-wise activations: dx = dy f′(x). What goes wrong is the slope, or the place at which it is taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refbp.numerics import sigmoid, sigmoid_slope
from refbp.oracle.families._family import Family, Terms
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake


def _slope(o: Observation, at: Array) -> Array:
    """f′ at any array, as the layer has it: what it gives for an upstream gradient of ones."""
    with np.errstate(all="ignore"):
        step = o.layer(o.state, at)
        return np.asarray(step.backward(np.ones_like(at)).inputs[0], float)


def _normal(x: Array) -> tuple[Array, Array]:
    """Φ and φ, the normal distribution's cumulative and density."""
    cumulative = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.ravel()]).reshape(x.shape)
    return cumulative, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _one(words: str, gradient: Callable[[Any], Any]) -> Mistake:
    return Mistake(words, lambda o: {"x": gradient(o)})


GENERAL = Family(
    ("Elementwise",),
    quantities=lambda o: {"f′(x)": _slope(o, o.x)},
    mistakes=(
        _one(
            "the slope is taken at the upstream gradient, not at x: the mask is taken of the upstream",
            lambda o: o.dy * _slope(o, o.dy),
        ),
        _one("the slope is taken at y, not at x: f is applied twice", lambda o: o.dy * _slope(o, o.y)),
        _one("the slope f′(x) is missing: the upstream gradient is passed on as it is", lambda o: o.dy),
        _one("f(x) stands where its slope f′(x) is meant", lambda o: o.dy * o.y),
        _one("f(x) is returned alone: neither its slope f′(x) nor the upstream gradient is in it", lambda o: o.y),
        _one("f′(x) is squared", lambda o: o.dy * _slope(o, o.x) ** 2),
        _one("the upstream gradient is divided by f′(x)", lambda o: o.dy / _slope(o, o.x)),
    ),
)

# Slopes that are usually written in y: at x, in pieces, and with the wrong sign

SIGMOID = Family(
    ("Sigmoid",),
    terms=lambda o: {"x": {"dy y": o.dy * o.y, "dy y²": -o.dy * o.y**2}},
    quantities=lambda o: {"1 − y": 1 - o.y, "y": o.y},
    mistakes=(_one("x stands where y is meant: the slope is y (1 − y), not x (1 − x)", lambda o: o.dy * o.x * (1 - o.x)),),
    of_outputs=(Mistake("the exponent has the wrong sign: 1 / (1 + eˣ) is 1 − σ(x)", lambda o: {"y": 1 - o.y}),),
)
TANH = Family(
    ("Tanh",),
    terms=lambda o: {"x": {"dy": o.dy, "dy y²": -o.dy * o.y**2}},
    mistakes=(
        _one("x stands where y is meant: the slope is 1 − y², not 1 − x²", lambda o: o.dy * (1 - o.x**2)),
        _one("the square is missing: the slope is 1 − y², not 1 − y", lambda o: o.dy * (1 - o.y)),
        _one("the slope is that of the sigmoid, y (1 − y)", lambda o: o.dy * o.y * (1 - o.y)),
    ),
)


def _gelu(o: Observation) -> Terms:
    if getattr(o.layer, "approximate", "none") != "none":
        return {}
    cumulative, density = _normal(o.x)
    return {"x": {"dy Φ(x)": o.dy * cumulative, "dy x φ(x)": o.dy * o.x * density}}


GELU = Family(
    ("GELU",),
    terms=_gelu,
    mistakes=(
        _one("the factor x is missing before the density φ(x)", lambda o: o.dy * sum(_normal(o.x))),
        _one("the density lacks its factor 1/√(2π)", lambda o: o.dy * (_normal(o.x)[0] + o.x * np.exp(-o.x * o.x / 2))),
    ),
)
SILU = Family(("SiLU",), terms=lambda o: {"x": {"dy σ(x)": o.dy * sigmoid(o.x), "dy x σ′(x)": o.dy * o.x * sigmoid_slope(o.x)}})
LEAKY = Family(
    ("LeakyReLU", "ELU", "CELU", "SELU", "PReLU"),
    mistakes=(_one("the slope is 0 where x ≤ 0, as ReLU's: that side has a slope of its own", lambda o: o.dy * (o.x > 0)),),
)
SLOPED = Family(
    ("LeakyReLU",),
    mistakes=(
        _one(
            "the sides are swapped: negative_slope where x > 0, and 1 elsewhere",
            lambda o: o.dy * np.where(o.x > 0, o.layer.negative_slope, 1),
        ),
    ),
)

FAMILIES = (GENERAL, SIGMOID, TANH, GELU, SILU, LEAKY, SLOPED)
