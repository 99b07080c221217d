"""Cases of Sequential; its twin is made of its parts' twins."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import integers, normal
from refbp.hookspecs import hookimpl
from refbp.layers import BatchNorm1d, Flatten, Linear, PReLU, ReLU, Sequential, Sigmoid, Softmax, Tanh
from refbp.spec import Case, Exempt, Spec


def _twin(layer: Any) -> Any:
    from collections import OrderedDict

    import torch

    from refbp.conformance import twin

    return torch.nn.Sequential(OrderedDict((name, twin.of(part)) for name, part in layer.parts))


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Sequential."""
    normed = Sequential(Linear(3, 5, bias=False), BatchNorm1d(5, eps=0.03), ReLU(), Linear(5, 2))
    yield Spec(
        Sequential,
        [
            Case(Sequential(Linear(2, 2), Sigmoid(), Linear(2, 2), Sigmoid()), normal(3, 2), id="lecture"),
            Case(Sequential(Linear(7, 5), Tanh(), Linear(5, 3), PReLU(3), Linear(3, 2)), normal(11, 7), id="mlp"),
            Case(Sequential(Flatten(), Linear(6, 5), Softmax(dim=1)), normal(3, 2, 3), id="flatten"),
            Case(normed, normal(7, 3), id="normalised"),
            Case(Sequential({"hidden": Linear(3, 5), "act": Sequential(Tanh(), ReLU())}), normal(2, 3), id="named-nested"),
            Case(Sequential(), normal(3, 5), id="empty"),
            Case(Sequential(), integers(3, 5, high=9), id="empty-integers"),
        ],
        twin=_twin,
        exempt=[Exempt("batch-additivity", "batch statistics couple the samples", when=lambda c: c.layer is normed)],
    )
