"""Cases of the normalisations."""

from collections.abc import Iterator
from typing import Any

from refbp.contract import Layer
from refbp.draws import Draw, exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
from refbp.spec import Case, Exempt, Spec


def _uses_batch(case: Case) -> bool:
    layer: Any = case.layer
    return bool(layer.training or not layer.track_running_stats)


COUPLED = Exempt("batch-additivity", "batch statistics couple the samples", when=_uses_batch)


def _options(cls: Any, draw: Draw, channels: int) -> list[Case]:
    make: list[tuple[str, Layer[Any]]] = [
        ("train", cls(channels)),
        ("options", cls(channels, eps=0.03, momentum=0.3)),
        ("cumulative", cls(channels, momentum=None)),
        ("frozen", cls(channels, momentum=0.0)),
        ("no-affine", cls(channels, affine=False)),
        ("no-bias", cls(channels, bias=False)),
        ("no-statistics", cls(channels, track_running_stats=False)),
        ("evaluation", cls(channels, eps=0.03, training=False)),
        ("evaluation-no-affine", cls(channels, affine=False, training=False)),
        ("evaluation-no-statistics", cls(channels, track_running_stats=False, training=False)),
    ]
    return [Case(layer, draw, id=name) for name, layer in make]


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """BatchNorm1d, BatchNorm2d, BatchNorm3d."""
    yield Spec(
        BatchNorm1d,
        [
            *_options(BatchNorm1d, normal(7, 5, mean=0.7, std=1.3), 5),
            Case(BatchNorm1d(3), normal(2, 3, 5), id="three-axes"),
            Case(BatchNorm1d(3, training=False), normal(2, 3, 5), id="three-axes-evaluation"),
            Case(BatchNorm1d(2, eps=0.3), exactly([[1.0, 2.0], [1.0, -3.0], [1.0, 0.5]]), id="constant-column"),
            Case(BatchNorm1d(5, eps=0.03), normal(2, 5), id="two-samples"),
        ],
        exempt=[COUPLED],
    )
    images, volumes = normal(2, 3, 5, 7, mean=-0.7), normal(3, 2, 5, 3, 2, std=1.7)
    one_channel = Case(BatchNorm2d(1), normal(3, 1, 2, 5), id="one-channel")
    yield Spec(BatchNorm2d, [*_options(BatchNorm2d, images, 3), one_channel], exempt=[COUPLED])
    one_channel = Case(BatchNorm3d(1), normal(3, 1, 2, 1, 5), id="one-channel")
    yield Spec(BatchNorm3d, [*_options(BatchNorm3d, volumes, 2), one_channel], exempt=[COUPLED])
