"""Cases of the layers that rearrange."""

from collections.abc import Iterator

from refbp.draws import integers, normal
from refbp.hookspecs import hookimpl
from refbp.layers.shape import Flatten
from refbp.spec import Case, Spec


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Flatten."""
    yield Spec(
        Flatten,
        [
            Case(Flatten(), normal(3, 2, 5), id="default"),
            Case(Flatten(0), normal(3, 2, 5), id="everything"),
            Case(Flatten(start_dim=1, end_dim=2), normal(2, 3, 5, 7), id="middle"),
            Case(Flatten(-3, -2), normal(2, 3, 5, 7), id="negative"),
            Case(Flatten(2, 2), normal(2, 3, 5), id="one-axis"),
            Case(Flatten(0), normal(), id="scalar"),
            Case(Flatten(), integers(3, 2, 5, high=9), id="integers"),
        ],
    )
