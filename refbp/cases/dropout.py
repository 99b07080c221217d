"""Cases of dropout; the noise is read off the twin under the same seed: what differs between zeros in and ones was kept."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from refbp.draws import Draw, constant, normal
from refbp.hookspecs import hookimpl
from refbp.layers.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
from refbp.spec import Case, Spec


def _noise(layer: Any, probe: Any, x: Any) -> tuple[Any, ...]:
    """What was kept: of a whole channel, the first value stands for all."""
    kept = layer.kept(x.shape)
    differs = np.asarray(probe(np.ones_like(x)) != probe(np.zeros_like(x)))
    return (differs.reshape(*kept, math.prod(x.shape[len(kept) :]))[..., 0],)


def _cases(cls: Any, batch: Draw, other: Draw) -> list[Case]:
    return [
        Case(cls(), batch, id="half"),
        Case(cls(0.3), other, id="three-tenths"),
        Case(cls(0.7, inplace=True), batch, id="in-place"),
        Case(cls(0.0), other, id="none-dropped"),
        Case(cls(1.0), constant(0.7, *other.shape), id="all-dropped"),
        Case(cls(0.3, training=False), batch, id="evaluation"),
        Case(cls(0.7, training=False), other, id="evaluation-other"),
    ]


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Dropout of elements and of channels, to zero and to SELU's least value."""
    scalar = Case(Dropout(0.3), normal(), id="scalar")
    yield Spec(Dropout, [*_cases(Dropout, normal(3, 5), normal(2, 3, 5)), scalar], noise=_noise)
    yield Spec(Dropout1d, _cases(Dropout1d, normal(3, 5, 7), normal(7, 2)), noise=_noise)
    yield Spec(Dropout2d, _cases(Dropout2d, normal(3, 5, 2, 7), normal(3, 5, 2)), noise=_noise)
    yield Spec(Dropout3d, _cases(Dropout3d, normal(3, 5, 2, 1, 3), normal(7, 2, 3, 1)), noise=_noise)
    yield Spec(AlphaDropout, _cases(AlphaDropout, normal(3, 5), normal(2, 3, 5)), noise=_noise)
    yield Spec(FeatureAlphaDropout, _cases(FeatureAlphaDropout, normal(3, 5, 2), normal(3, 5, 2, 1, 3)), noise=_noise)
