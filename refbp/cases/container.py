"""Cases of Sequential; its twin is made of its parts' twins."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import integers, normal
from refbp.hookspecs import hookimpl
from refbp.layers import (
    BatchNorm1d,
    Dropout,
    Dropout2d,
    Flatten,
    Linear,
    PReLU,
    ReLU,
    RReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    TransformerEncoderLayer,
)
from refbp.spec import Case, Exempt, Spec


def _twin(layer: Any) -> Any:
    from collections import OrderedDict

    import torch

    from refbp.conformance import twin

    return torch.nn.Sequential(OrderedDict((name, twin.of(part)) for name, part in layer.parts))


def noise_of_parts(layer: Any, probe: Any, *inputs: Any) -> tuple[Any, ...]:
    """What the parts drew, where one of them is random."""
    return probe.of_parts(*inputs) if layer.noisy else ()


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Sequential."""
    noisy = Sequential(Linear(6, 6), Dropout(0.3), Sequential(Tanh(), RReLU(), Dropout(0.7)), Linear(6, 2))
    encoder = TransformerEncoderLayer(6, 2, 5, 0.3, batch_first=True)
    normed = Sequential(Linear(3, 5, bias=False), BatchNorm1d(5, eps=0.03), ReLU(), Linear(5, 2))
    yield Spec(
        Sequential,
        [
            Case(Sequential(Linear(2, 2), Sigmoid(), Linear(2, 2), Sigmoid()), normal(3, 2), id="lecture"),
            Case(Sequential(Linear(7, 5), Tanh(), Linear(5, 3), PReLU(3), Linear(3, 2)), normal(11, 7), id="mlp"),
            Case(Sequential(Flatten(), Linear(6, 5), Softmax(dim=1)), normal(3, 2, 3), id="flatten"),
            Case(normed, normal(7, 3), id="normalised"),
            Case(Sequential({"hidden": Linear(3, 5), "act": Sequential(Tanh(), ReLU())}), normal(2, 3), id="named-nested"),
            Case(noisy, normal(5, 6), id="noisy-nested"),
            Case(Sequential(Dropout2d(0.3), Flatten(2), encoder), normal(2, 5, 2, 3), id="several-noises-of-a-part"),
            Case(Sequential(Dropout(0.3, training=False), Linear(5, 2)), normal(3, 5), id="evaluation"),
            Case(Sequential(), normal(3, 5), id="empty"),
            Case(Sequential(), integers(3, 5, high=9), id="empty-integers"),
        ],
        twin=_twin,
        noise=noise_of_parts,
        exempt=[Exempt("batch-additivity", "batch statistics couple the samples", when=lambda c: c.layer is normed)],
    )
