"""Cases of dropout; its noise is read off the twin, with ones in, under the same seed."""

from collections.abc import Iterator

import numpy as np

from refbp.draws import normal
from refbp.hookspecs import hookimpl
from refbp.layers.dropout import Dropout
from refbp.spec import Case, Spec


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Dropout."""
    yield Spec(
        Dropout,
        [
            Case(Dropout(), normal(3, 5), id="half"),
            Case(Dropout(0.3), normal(2, 3, 5), id="three-axes"),
            Case(Dropout(0.7, inplace=True), normal(13), id="in-place"),
            Case(Dropout(0.0), normal(3, 5), id="none-dropped"),
            Case(Dropout(0.3, training=False), normal(3, 5), id="evaluation"),
        ],
        noise=lambda layer, probe, x: (probe(np.ones_like(x)) != 0,),
    )
