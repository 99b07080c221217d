"""NTU's Machine Learning by Hung-yi Lee: logistic regression by hand, and the network of the lecture on backpropagation.

The loss is a sum over the samples, L(θ) = Σₙ Cⁿ(θ), and so is its gradient: there is no 1/N. In the regression the weights
are a vector. In the lecture every layer is z = W a + b, a = σ(z), samples are columns, and backward goes from δ to δ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from refbp.contract import Array
from refbp.courses._composites import RowLinear, Scored
from refbp.draws import Draw, exactly, normal, probabilities, special
from refbp.hookspecs import hookimpl
from refbp.layers.activation import Sigmoid
from refbp.layers.container import Sequential
from refbp.losses.classification import BCELoss
from refbp.losses.regression import MSELoss
from refbp.oracle.exercise import Course, Exercise
from refbp.spec import Case


def zeros_and_ones(n: int) -> Draw:
    """Labels of n samples, (n, 1), both of which occur."""

    def make(rng: np.random.Generator) -> Array:
        t = rng.integers(0, 2, (n, 1)).astype(float)
        t[:2, 0] = rng.permutation(2)[: min(n, 2)]
        return t

    return special(f"zeros_and_ones({n})", (n, 1), make)


# Logistic regression -------------------------------------------------------------------------------------------------


def _regression(features: int) -> Scored:
    return Scored(Sequential(RowLinear(features, 1), Sigmoid()), BCELoss(reduction="sum"))


SUM = "the loss is a sum over the samples, and so is its gradient"
MEAN = "some years' assignments take the mean of the samples' gradients instead of their sum"
VECTORS = {"X": "x", "Y_label": "target[:, 0]", "w": "_0_weight[0]", "b": "_0_bias"}
COLUMNS = {"X": "x", "Y_label": "target", "w": "_0_weight.T", "b": "_0_bias"}
OF_COLUMNS = "; labels and weights are columns, (N, 1) and (D, 1)"


def _gradient(f: str, columns: bool, mean: bool) -> Exercise:
    """The gradient, of a regression that is called so."""
    return Exercise(
        "_gradient",
        forward=f"y_pred = {f}(X, w, b)",
        backward="w_grad, b_grad = _gradient(X, Y_label, w, b)\nw_grad = u * w_grad\nb_grad = u * b_grad",
        arrays=COLUMNS if columns else VECTORS,
        outputs={"y_pred": "y" if columns else "y[:, 0]", "loss": "loss"},
        upstream={"u": "loss"},
        grads={"w_grad": "w", "b_grad": "b"},
        tiers={
            "std": [
                Case(_regression(5), normal(7, 5), zeros_and_ones(7), id="seven samples"),
                Case(_regression(3), normal(2, 3), zeros_and_ones(2), id="two samples"),
                Case(_regression(4), normal(4, 4), zeros_and_ones(4), id="as many samples as features"),
            ],
            "degenerate": [Case(_regression(2), normal(1, 2), zeros_and_ones(1), id="one sample")],
        },
        rtol=1e-5,  # its values are kept from 0 and 1 by 1e-8
        factors={"w_grad": "1/N", "b_grad": "1/N"} if mean else {},
        convention=(MEAN if mean else SUM) + OF_COLUMNS * columns,
    )


def _far(f: str, columns: bool) -> Exercise:
    """The regression where exp overflows."""
    return Exercise(
        f"{f} on large inputs",
        forward=f"y_pred = {f}(X, w, b)",
        arrays=COLUMNS if columns else VECTORS,
        outputs={"y_pred": "y" if columns else "y[:, 0]"},
        tiers={
            "stability": [
                Case(
                    _regression(2),
                    exactly([[900.0, 0.0], [-900.0, 0.0], [0.0, 1.0]]),
                    zeros_and_ones(3),
                    state={"0.weight": exactly([[1.0, 0.5]]), "0.bias": exactly([0.25])},
                    id="large",
                )
            ]
        },
        rtol=1e-5,
    )


def _entropy(name: str, columns: bool) -> Exercise:
    """The loss of probabilities."""
    return Exercise(
        name,
        forward=f"loss = {name}(y_pred, Y_label)",
        arrays={"y_pred": "input", "Y_label": "target"} if columns else {"y_pred": "input[:, 0]", "Y_label": "target[:, 0]"},
        outputs={"loss": "loss"},
        tiers={
            "std": [
                Case(BCELoss(reduction="sum"), probabilities(7, 1), zeros_and_ones(7), id="seven samples"),
                Case(BCELoss(reduction="sum"), probabilities(2, 1), zeros_and_ones(2), id="two samples"),
            ]
        },
        convention="a sum over the samples, not a mean" + OF_COLUMNS * columns,
    )


LAYOUTS = (False, True)
REGRESSION = [
    *(_gradient(f, columns, mean) for f in ("_f", "get_prob") for columns in LAYOUTS for mean in (False, True)),
    *(_far(f, columns) for f in ("_f", "get_prob") for columns in LAYOUTS),
    *(_entropy(name, columns) for name in ("_cross_entropy_loss", "_cross_entropy") for columns in LAYOUTS),
]

# The network of the lecture ------------------------------------------------------------------------------------------


def _network(widths: Sequence[int]) -> Scored:
    parts = [part for a, b in itertools.pairwise(widths) for part in (RowLinear(a, b), Sigmoid())]
    return Scored(Sequential(*parts), MSELoss(reduction="sum"))


def _lecture(name: str, layers: int, cases: Sequence[tuple[Sequence[int], int]], half: bool) -> Exercise:
    """A network with so many layers; Cⁿ is the squared distance of y to ŷ, or half of it."""
    weights = {f"W{i + 1}": f"_{2 * i}_weight" for i in range(layers)}
    biases = {f"b{i + 1}": f"_{2 * i}_bias[:, None]" for i in range(layers)}
    parameters = f"Ws = [{', '.join(weights)}]\nbs = [{', '.join(biases)}]\n"
    lines = ["delta = u * (y - y_hat)" if half else "delta = u * 2 * (y - y_hat)", "dWs, dbs = backward_pass(cache, delta)"]
    for i in range(layers):
        lines += [f"dW{i + 1} = dWs[{i}]", f"db{i + 1} = dbs[{i}]"]
    return Exercise(
        name,
        forward=parameters + "y, cache = forward_pass(x, Ws, bs)",
        backward="\n".join(lines),
        arrays={"x": "x.T", "y_hat": "target.T", **weights, **biases},
        outputs={"y": "y.T", "loss": "loss"},
        upstream={"u": "loss"},
        tiers={
            "std": [Case(_network(w), normal(n, w[0]), normal(n, w[-1]), id=f"{n} samples") for w, n in cases[:-1]],
            "degenerate": [Case(_network(w), normal(n, w[0]), normal(n, w[-1]), id=f"{n} sample") for w, n in cases[-1:]],
        },
        convention="every layer is z = W a + b, a = σ(z); samples are columns; L is a sum over them; δ at the end is ∂L/∂y",
    )


LECTURE = [
    _lecture("backward_pass", 2, [((3, 4, 2), 5), ((2, 5, 3), 3), ((2, 1, 1), 1)], half=False),
    _lecture("backward_pass, three layers", 3, [((3, 5, 4, 2), 7), ((2, 3, 5, 1), 2), ((3, 2, 2, 2), 1)], half=False),
]

CONVENTIONS = (
    "L(θ) is a sum over the samples, and the gradients are sums: nothing is divided by N.",
    "In the regression w is (D,) or (D, 1), and b (1,); the minus of the descent's error, −(ŷ − f), is inside _gradient.",
    "In the lecture's network samples are columns, W is (out, in), b (out, 1).",
)


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course(
        "ntu_hylee",
        "NTU, Machine Learning by Hung-yi Lee: logistic regression by hand, and the network of the backpropagation lecture",
        [*REGRESSION, *LECTURE],
        conventions=CONVENTIONS,
        url="https://speech.ee.ntu.edu.tw/~hylee",
    )
