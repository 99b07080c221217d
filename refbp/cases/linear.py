"""Cases of the linear layers."""

from collections.abc import Iterator

from refbp.draws import exactly, integers, normal
from refbp.hookspecs import hookimpl
from refbp.layers.linear import Bilinear, Identity, Linear
from refbp.spec import Case, Spec, Waiver


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Identity, Linear, Bilinear."""
    yield Spec(
        Identity,
        [
            Case(Identity(), normal(3, 5), id="matrix"),
            Case(Identity(54, unused=0.3), normal(7), id="ignores-arguments"),
            Case(Identity(), normal(), id="scalar"),
            Case(Identity(), integers(3, 2, low=-5, high=9), id="integers"),
        ],
    )
    yield Spec(
        Linear,
        [
            Case(Linear(3, 5), normal(7, 3), id="matrix"),
            Case(Linear(3, 5), normal(3), id="vector"),
            Case(Linear(3, 5), normal(7, 2, 3), id="three-axes"),
            Case(Linear(3, 5), normal(2, 3, 5, 3), id="four-axes"),
            Case(Linear(3, 5, bias=False), normal(7, 3), id="no-bias"),
            Case(Linear(1, 1), normal(5, 1), id="one-by-one"),
            Case(Linear(37, 13), normal(11, 37), id="wide"),
            Case(Linear(2, 3), exactly([[1.0, -1.0], [0.0, 2.0]]), id="lecture"),
        ],
    )
    yield Spec(
        Bilinear,
        [
            Case(Bilinear(3, 5, 2), normal(7, 3), normal(7, 5), id="matrix"),
            Case(Bilinear(3, 5, 2), normal(3), normal(5), id="vector"),
            Case(Bilinear(3, 5, 2, bias=False), normal(7, 3), normal(7, 5), id="no-bias"),
            Case(Bilinear(2, 3, 1), normal(5, 7, 2), normal(5, 7, 3), id="three-axes"),
        ],
        waivers=[Waiver("nonfinite", "whether ∞ − ∞ is met depends on the order in which torch sums", always=False)],
    )
