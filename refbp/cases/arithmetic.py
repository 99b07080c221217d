"""Cases of the arithmetic layers; their twins are modules around the torch functions."""

from collections.abc import Iterator
from typing import Any

from refbp.contract import Layer
from refbp.draws import constant, exactly, normal, signed
from refbp.hookspecs import hookimpl
from refbp.layers.arithmetic import Add, Concat, Div, MatMul, Mul, Sub
from refbp.spec import Case, Spec


def _twin(layer: Any) -> Any:
    """The torch function of the same meaning, as a module."""
    import torch

    functions: dict[Any, Any] = {
        Add: torch.add,
        Sub: torch.sub,
        Mul: torch.mul,
        Div: torch.div,
        MatMul: torch.matmul,
        Concat: lambda *inputs: torch.cat(inputs, layer.dim),
    }

    class Function(torch.nn.Module):
        def forward(self, *inputs: Any) -> Any:
            return functions[type(layer)](*inputs)

    return Function()


def _broadcasts(layer: Layer[Any]) -> list[Case]:
    """Equal shapes, and every way in which one of them, or both, are stretched; x2 stays away from 0, for a quotient."""
    return [
        Case(layer, normal(3, 5), signed(3, 5), id="same-shape"),
        Case(layer, normal(3, 5), signed(5), id="axis-added"),
        Case(layer, normal(5), signed(2, 3, 5), id="axes-added-left"),
        Case(layer, normal(3, 1), signed(3, 5), id="axis-stretched"),
        Case(layer, normal(3, 1, 5), signed(2, 1), id="both-stretched"),
        Case(layer, normal(3, 1), signed(2, 1, 5), id="added-and-stretched"),
        Case(layer, normal(1, 1), signed(1), id="ones"),
        Case(layer, normal(3, 5), signed(), id="scalar"),
        Case(layer, normal(), signed(), id="scalars"),
        Case(layer, constant(0.0, 2, 1), signed(3), id="zeros"),
        Case(layer, constant(0.7, 3, 0, 2), signed(2), id="empty"),
    ]


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Add, Sub, Mul, Div, MatMul, Concat."""
    for layer in (Add(), Sub(), Mul(), Div()):
        yield Spec(type(layer), _broadcasts(layer), twin=_twin)
    yield Spec(
        MatMul,
        [
            Case(MatMul(), normal(3, 5), normal(5, 2), id="matrices"),
            Case(MatMul(), normal(5), normal(5), id="inner-product"),
            Case(MatMul(), normal(5), normal(5, 3), id="row-times-matrix"),
            Case(MatMul(), normal(3, 5), normal(5), id="matrix-times-column"),
            Case(MatMul(), normal(2, 3, 5), normal(2, 5, 7), id="batch"),
            Case(MatMul(), normal(2, 3, 5), normal(5, 7), id="one-matrix-for-all"),
            Case(MatMul(), normal(3, 5), normal(2, 5, 7), id="one-matrix-on-the-left"),
            Case(MatMul(), normal(2, 1, 3, 5), normal(7, 5, 2), id="both-broadcast"),
            Case(MatMul(), normal(5), normal(2, 3, 5, 7), id="row-times-batch"),
            Case(MatMul(), normal(2, 3, 7, 5), normal(5), id="batch-times-column"),
            Case(MatMul(), normal(1, 1), normal(1, 1), id="one-by-one"),
            Case(MatMul(), normal(3, 1), normal(1, 5), id="outer-product"),
            Case(MatMul(), exactly([[1.0, -1.0], [0.0, 2.0]]), exactly([[2.0], [0.0]]), id="by-hand"),
            Case(MatMul(), constant(0.7, 2, 0, 5), normal(5, 3), id="no-rows"),
            Case(MatMul(), normal(2, 3, 0), normal(2, 0, 5), id="no-columns"),
        ],
        twin=_twin,
    )
    yield Spec(
        Concat,
        [
            Case(Concat(), normal(2, 5), normal(3, 5), id="rows"),
            Case(Concat(dim=1), normal(3, 2), normal(3, 5), id="columns"),
            Case(Concat(dim=-1, count=3), normal(2, 3, 2), normal(2, 3, 1), normal(2, 3, 5), id="three"),
            Case(Concat(dim=2, count=4), *(normal(2, 3, s, 2) for s in (1, 5, 2, 3)), id="four"),
            Case(Concat(dim=-2), normal(2, 3, 5), normal(2, 7, 5), id="last-but-one"),
            Case(Concat(dim=-3), normal(2, 3, 5), normal(3, 3, 5), id="first-from-the-end"),
            Case(Concat(dim=-1), normal(3), normal(5), id="vectors"),
            Case(Concat(count=1), normal(3, 2), id="one"),
            Case(Concat(dim=1), normal(3, 0, 2), normal(3, 5, 2), id="with-an-empty-one"),
        ],
        twin=_twin,
    )
