"""Swish with a learned slope: y = x σ(βx). One file is a whole plugin: formula, gradient, twin, cases."""

from dataclasses import dataclass

import numpy as np

from refbp import Case, Forward, Grads, Layer, Spec, State, exactly, hookimpl, normal
from refbp.numerics import sigmoid, sigmoid_slope


@dataclass(frozen=True)
class Swish(Layer):
    r"""y = x σ(βx);   dx = dy (σ(βx) + βx σ′(βx)),   dβ = Σ dy x² σ′(βx).

    Shapes: x (N, *), y (N, *); beta (). Paper: Ramachandran, Zoph & Le 2017.
    """

    def params(self):
        return {"beta": ()}

    def inputs(self):
        return {"x": "(N, *) or ()"}

    def outputs(self):
        return {"y": "(N, *) or ()"}

    def init(self, rng, dtype=np.float64):
        return State({"beta": np.ones((), dtype)})

    def forward(self, state, x):
        beta = state["beta"]
        s = sigmoid(beta * x)
        return Forward(x * s, saved=(x, s, beta))

    def backward(self, saved, dy):
        x, s, beta = saved
        slope = sigmoid_slope(beta * x)
        return Grads(dy * (s + beta * x * slope), beta=np.sum(dy * x * x * slope))


def twin(layer):
    """The same layer in torch: what autograd differentiates."""
    import torch

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.beta = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * torch.sigmoid(self.beta * x)

    return Twin()


@hookimpl
def refbp_layers():
    """Swish."""
    yield Spec(
        Swish,
        [
            Case(Swish(), normal(3, 5), id="matrix"),
            Case(Swish(), normal(2, 3, 7, std=3.0), id="three-axes", state={"beta": exactly(0.3, shape=())}),
            Case(Swish(), exactly(-1.0, 0.0, 1.0), id="origin"),
        ],
        twin=twin,
    )
