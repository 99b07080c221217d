"""Course 1: logistic regression and networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refbp.contract import Array, Layer
from refbp.courses._composites import RowLinear, Scored
from refbp.draws import Draw, exactly, normal, probabilities, special
from refbp.layers.activation import ReLU, Sigmoid, Tanh
from refbp.layers.container import Sequential
from refbp.losses.classification import BCELoss
from refbp.oracle.exercise import Exercise
from refbp.spec import Case


def zeros_and_ones(m: int) -> Draw:
    """Labels of m samples as the loss takes them, (m, 1), both of which occur."""

    def make(rng: np.random.Generator) -> Array:
        t = rng.integers(0, 2, (m, 1)).astype(float)
        t[:2, 0] = rng.permutation(2)[: min(m, 2)]
        return t

    return special(f"zeros_and_ones({m})", (m, 1), make)


def network(widths: Sequence[int], *hidden: Layer[Any], lambd: float = 0.0) -> Scored:
    """Linear layers with these activations between them and a sigmoid at the end, scored by the mean cross-entropy."""
    parts: list[Layer[Any]] = []
    for a, b, f in zip(widths[:-1], widths[1:], [*hidden, Sigmoid()], strict=True):
        parts += [RowLinear(a, b), f]
    return Scored(Sequential(*parts), BCELoss(), lambd)


def _parameters(layers: int) -> dict[str, str]:
    """W1, b1, … in terms of the network's state."""
    found: dict[str, str] = {}
    for i in range(layers):
        found |= {f"W{i + 1}": f"_{2 * i}_weight", f"b{i + 1}": f"_{2 * i}_bias[:, None]"}
    return found


def dictionary(names: Sequence[str]) -> str:
    """The line that makes the dict of parameters."""
    return "parameters = {" + ", ".join(f"'{n}': {n}" for n in names) + "}\n"


def _model(
    name: str, forward: str, call: str, widths: Sequence[int], hidden: Sequence[Layer[Any]], output: str, lambd: float = 0.0
) -> Exercise:
    """A whole network: forward with a dict of parameters, backward with a dict of gradients."""
    names = _parameters(len(widths) - 1)
    grads = {f"d{n}": n for n in names}
    body = network(widths, *hidden, lambd=lambd)
    return Exercise(
        name,
        forward=dictionary(list(names)) + forward,
        backward=f"grads = {call}\n" + "\n".join(f"{g} = u * grads['{g}']" for g in grads),
        arrays={"X": "x.T", "Y": "target.T", **names},
        outputs={output: "y.T", "cost": "loss"},
        upstream={"u": "cost"},
        grads=grads,
        tiers={
            "std": [
                Case(body, normal(7, widths[0]), zeros_and_ones(7), id="seven samples"),
                Case(body, normal(2, widths[0]), zeros_and_ones(2), id="two samples"),
            ],
            "degenerate": [Case(body, normal(1, widths[0]), zeros_and_ones(1), id="one sample")],
        },
        convention="the cost is a mean over the samples, and these are its derivatives: the 1/m is in dW and db",
    )


_LOGISTIC = network((5, 1))
PROPAGATE = Exercise(
    "propagate",
    forward="grads, cost = propagate(w, b, X, Y)\ndw = grads['dw']\ndb = grads['db']",
    arrays={"w": "_0_weight.T", "b": "_0_bias[0]", "X": "x.T", "Y": "target.T"},
    outputs={"cost": "loss"},
    tiers={
        "std": [
            Case(_LOGISTIC, normal(7, 5), zeros_and_ones(7), id="seven samples"),
            Case(network((3, 1)), normal(2, 3), zeros_and_ones(2), id="two samples"),
        ],
        "degenerate": [Case(_LOGISTIC, normal(1, 5), zeros_and_ones(1), id="one sample")],
    },
    convention="the cost is a mean over the samples, and these are its derivatives",
)
_COST: dict[str, Any] = {
    "arrays": {"AL": "input.T", "Y": "target.T"},
    "outputs": {"cost": "loss"},
    "tiers": {
        "std": [
            Case(BCELoss(), probabilities(7, 1), zeros_and_ones(7), id="seven samples"),
            Case(BCELoss(), probabilities(2, 1), zeros_and_ones(2), id="two samples"),
        ],
    },
}
COST = [
    Exercise("compute_cost", **_COST, forward="cost = compute_cost(AL, Y)"),
    Exercise("compute_cost", **_COST, forward="cost = compute_cost(AL, Y, parameters)", values={"parameters": {}}),
]
AVERAGED = {"dW": "1/N", "db": "1/N"}
_ONE: dict[str, Any] = {
    "factors": AVERAGED,
    "convention": "dW and db are divided by m, dA_prev is not",
}
LINEAR = Exercise(
    "linear_backward",
    **_ONE,
    forward="Z, cache = linear_forward(A_prev, W, b)",
    backward="dA_prev, dW, db = linear_backward(dZ, cache)",
    arrays={"A_prev": "x.T", "W": "weight", "b": "bias[:, None]"},
    outputs={"Z": "y.T"},
    tiers={
        "std": [
            Case(RowLinear(5, 3), normal(7, 5), id="seven samples"),
            Case(RowLinear(2, 11), normal(3, 2), id="three samples"),
        ],
        "degenerate": [
            Case(RowLinear(4, 1), normal(1, 4), id="one sample"),
            Case(RowLinear(3, 3), normal(3, 3), id="sizes alike"),
        ],
        "dtype": [Case(RowLinear(5, 3), normal(7, 5), id="float32")],
    },
)


def _activation(name: str, layer: Layer[Any]) -> Exercise:
    tiers: dict[str, Sequence[Case]] = {
        "std": [Case(layer, normal(7, 5), id="7×5"), Case(layer, normal(3, 2, std=3.0), id="3×2")],
        "degenerate": [Case(layer, normal(1, 1), id="one number")],
    }
    if name == "relu":
        tiers["kink"] = [Case(layer, exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.5]]), id="zeros")]
    return Exercise(
        f"{name}_backward",
        forward=f"A, cache = {name}(Z)",
        backward=f"dZ = {name}_backward(dA, cache)",
        arrays={"Z": "x.T"},
        outputs={"A": "y.T"},
        tiers=tiers,
        beside=f"{name}_backward",  # handed out: who has a sigmoid of another exercise lacks nothing
    )


def _activated(name: str, f: Layer[Any]) -> Exercise:
    def layer(a: int, b: int) -> Sequential:
        return Sequential(RowLinear(a, b), f)

    return Exercise(
        f"linear_activation_backward ({name})",
        **_ONE,
        forward=f"A, cache = linear_activation_forward(A_prev, W, b, '{name}')",
        backward=f"dA_prev, dW, db = linear_activation_backward(dA, cache, '{name}')",
        forward_name=f"linear_activation_forward ({name})",
        arrays={"A_prev": "x.T", "W": "_0_weight", "b": "_0_bias[:, None]"},
        outputs={"A": "y.T"},
        tiers={
            "std": [Case(layer(5, 3), normal(7, 5), id="seven samples"), Case(layer(2, 4), normal(3, 2), id="three samples")],
            "degenerate": [Case(layer(4, 1), normal(1, 4), id="one sample")],
        },
    )


_HANDED_OUT = """Z1 = W1 @ X + b1
A1 = np.maximum(0, Z1)
Z2 = W2 @ A1 + b2
A2 = np.maximum(0, Z2)
Z3 = W3 @ A2 + b3
A3 = 1 / (1 + np.exp(-Z3))
cache = (Z1, A1, W1, b1, Z2, A2, W2, b2, Z3, A3, W3, b3)"""  # reg_utils' own forward_propagation

EXERCISES = [
    PROPAGATE,
    *COST,
    LINEAR,
    _activation("sigmoid", Sigmoid()),
    _activation("relu", ReLU()),
    _activated("sigmoid", Sigmoid()),
    _activated("relu", ReLU()),
    _model(
        "L_model_backward",
        "AL, caches = L_model_forward(X, parameters)",
        "L_model_backward(AL, Y, caches)",
        (5, 4, 3, 1),
        [ReLU(), ReLU()],
        "AL",
    ),
    _model(
        "backward_propagation",
        "A2, cache = forward_propagation(X, parameters)",
        "backward_propagation(parameters, cache, X, Y)",
        (2, 4, 1),
        [Tanh()],
        "A2",
    ),
    _model(
        "backward_propagation",
        "A3, cache = forward_propagation(X, parameters)",
        "backward_propagation(X, Y, cache)",
        (5, 4, 3, 1),
        [ReLU(), ReLU()],
        "A3",
    ),
    *(
        _model(
            "backward_propagation_with_regularization",
            forward,
            "backward_propagation_with_regularization(X, Y, cache, 0.7)",
            (5, 4, 3, 1),
            [ReLU(), ReLU()],
            "A3",
            lambd=0.7,
        )
        for forward in ("A3, cache = forward_propagation(X, parameters)", _HANDED_OUT)
    ),
]
