"""HW1P1, where layers come together: the optimizer, and three small networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from refbp.courses._composites import RowLinear
from refbp.courses.cmu11785.hw1 import NEW, OLD
from refbp.courses.cmu11785.references import MomentumSteps
from refbp.draws import normal
from refbp.layers.activation import ReLU
from refbp.layers.container import Sequential
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

_DRIVEN = """
class Layer:
    pass


def step_twice(W, b, gradients, lr, momentum):
    layer = Layer()
    layer.W, layer.b = W.copy(), b.copy()

    class Model:
        layers = [layer]

    optimizer = submission.SGD(Model(), lr, momentum)
    found = []
    for layer.dLdW, layer.dLdb in gradients:
        optimizer.step()
        found += [layer.W.copy(), layer.b.copy()]
    return found


class Network:
    def __init__(self, model, weights):
        self.model = model
        self.linears = [layer for layer in model.layers if hasattr(layer, "W")]
        if len(self.linears) * 2 != len(weights):
            raise ValueError(f"model.layers has {len(self.linears)} linear layers, wanted {len(weights) // 2}")
        for layer, W, b in zip(self.linears, weights[::2], weights[1::2]):
            if layer.W.shape != W.shape:
                raise ValueError(f"a layer's W has shape {layer.W.shape}, wanted {W.shape}")
            layer.W, layer.b = W, b

    def forward(self, A):
        return self.model.forward(A)

    def backward(self, dLdA):
        return self.model.backward(dLdA), [g for layer in self.linears for g in (layer.dLdW, layer.dLdb)]


def MLP0_of(*weights):
    return Network(submission.MLP0(), weights)


def MLP1_of(*weights):
    return Network(submission.MLP1(), weights)


def MLP4_of(*weights):
    return Network(submission.MLP4(), weights)
"""


OPTIMIZER = Exercise(
    "SGD.step",
    forward="gradients = [(dLdW_0, dLdb_0), (dLdW_1, dLdb_1)]\nW_1, b_1, W_2, b_2 = step_twice(W, b, gradients, lr, momentum)",
    driver=_DRIVEN,
    also=("SGD", "SGD.step"),
    arrays={
        "W": "W[:, 1:]",
        "b": "W[:, :1]",
        "dLdW_0": "g_1[:, 1:]",
        "dLdb_0": "g_1[:, :1]",
        "dLdW_1": "g_2[:, 1:]",
        "dLdb_1": "g_2[:, :1]",
    },
    outputs={"W_1": "W_1[:, 1:]", "b_1": "W_1[:, :1]", "W_2": "W_2[:, 1:]", "b_2": "W_2[:, :1]"},
    tiers={
        "std": [
            Case(MomentumSteps(0.03, 0.7), normal(5, 4), normal(5, 4), normal(5, 4), id="momentum 0.7"),
            Case(MomentumSteps(0.03), normal(3, 2), normal(3, 2), normal(3, 2), id="no momentum"),
        ]
    },
    convention="v = μ v + dL/dW, W = W − η v",
)


def _network(name: str, widths: Sequence[int], batch: int) -> list[Exercise]:
    """A network of the hand-out, each of its linear layers followed by ReLU, the last one too."""
    pairs = list(itertools.pairwise(widths))
    layer = Sequential(*(part for a, b in pairs for part in (RowLinear(a, b), ReLU())))
    weights = ", ".join(f"W{i}, b{i}" for i in range(len(pairs)))
    arrays = {"A": "x"}
    for i in range(len(pairs)):
        arrays |= {f"W{i}": f"_{2 * i}_weight", f"b{i}": f"_{2 * i}_bias[:, None]"}
    grads = ", ".join(f"dLdW{i}, dLdb{i}" for i in range(len(pairs)))
    common: dict[str, Any] = {
        "forward": f"network = {name}_of({weights})\nZ = network.forward(A)",
        "backward": f"dLdA, gradients = network.backward(dLdZ)\n({grads}) = gradients",
        "driver": _DRIVEN,
        "also": (name, f"{name}.forward", f"{name}.backward"),
        "forward_name": f"{name}.forward",
        "arrays": arrays,
        "outputs": {"Z": "y"},
        "tiers": {"std": [Case(layer, normal(batch, widths[0]), id=f"{batch} rows")]},
    }
    averaged = dict.fromkeys(grads.split(", "), "1/N")
    return [
        Exercise(f"{name}.backward", **common, convention=NEW),
        Exercise(f"{name}.backward", **common, factors=averaged, convention=OLD),
    ]


EXERCISES = [
    OPTIMIZER,
    *_network("MLP0", (2, 3), 5),
    *_network("MLP1", (2, 3, 2), 5),
    *_network("MLP4", (2, 4, 8, 8, 4, 2), 5),
]
