"""Cases of the normalisations whose γ belongs to a channel."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refbp.contract import Layer
from refbp.draws import Draw, exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    SyncBatchNorm,
)
from refbp.spec import Case, Exempt, Spec, Waiver

HUGE, TINY, SANE = (1e160, -3e160, 2e160), (1e-170, -3e-170, 2e-170), (1.0, 2.0, -0.5)  # the first two have no squares


def squared(*checks: str) -> list[Waiver]:
    """What is said of the cases called huge and tiny."""
    reason = "torch squares x: where x² is no number, or 0, y and its gradients are 0, infinite or NaN, and should not be"
    return [Waiver(c, reason, when=lambda case: case.id in ("huge", "tiny"), thread="pytorch #193006") for c in checks]


def lone(case_id: str) -> Waiver:
    """What is said of a case that normalises single elements, each by itself: y does not depend on x."""
    reason = "torch's gradient of a single element is what rounding has left of 0"
    return Waiver("gradients", reason, when=lambda case: case.id == case_id, always=False)  # it may have left nothing


def _from_batch(case: Case) -> bool:
    layer: Any = case.layer
    return bool(layer.training or not layer.track_running_stats)


COUPLED = Exempt("batch-additivity", "batch statistics couple the samples", when=_from_batch)


def _half_constant(cls: Any, *shape: int) -> Case:
    """Two channels, one of them far from 0 and constant: what the rounding of its mean leaves behind is all there is."""
    x = np.full(shape, 10000.1)
    x[:, 1] = np.resize([0.5, -1.0, 2.0, 0.3, -0.7, 1.1, -2.0], x[:, 1].shape)
    return Case(cls(2), exactly(x), id="half-constant")


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
        ("evaluation-no-bias", cls(channels, bias=False, training=False)),
        ("evaluation-no-statistics", cls(channels, track_running_stats=False, training=False)),
    ]
    return [Case(layer, draw, id=name) for name, layer in make]


def _instance_options(cls: Any, channels: int, *spatial: int) -> Sequence[Case]:
    batch, sample = normal(2, channels, *spatial, mean=0.7, std=1.3), normal(channels, *spatial, std=1.7)
    tracking = {"track_running_stats": True}
    return [
        Case(cls(channels), batch, id="plain"),
        Case(cls(channels, eps=0.03, affine=True), batch, id="affine"),
        Case(cls(channels, affine=True, bias=False), batch, id="no-bias"),
        Case(cls(channels, momentum=0.3, **tracking), batch, id="tracking"),
        Case(cls(channels, momentum=0.3, affine=True, **tracking), sample, id="tracking-one-sample"),
        Case(cls(channels, momentum=None, **tracking), batch, id="frozen"),
        Case(cls(channels, affine=True), sample, id="one-sample"),
        Case(cls(channels, affine=True, training=False), batch, id="evaluation-no-statistics"),
        Case(cls(channels, eps=0.03, affine=True, training=False, **tracking), batch, id="evaluation"),
        Case(cls(channels, training=False, **tracking), sample, id="evaluation-one-sample"),
        _half_constant(cls, 1, 2, *(7, 1, 1)[: len(spatial)]),
    ]


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, GroupNorm."""
    yield Spec(
        BatchNorm1d,
        [
            *_options(BatchNorm1d, normal(7, 5, mean=0.7, std=1.3), 5),
            Case(BatchNorm1d(3), normal(2, 3, 5), id="three-axes"),
            Case(BatchNorm1d(3, training=False), normal(2, 3, 5), id="three-axes-evaluation"),
            Case(BatchNorm1d(2, eps=0.3), exactly([[1.0, 2.0], [1.0, -3.0], [1.0, 0.5]]), id="constant-column"),
            Case(BatchNorm1d(5, eps=0.03), normal(2, 5), id="two-samples"),
            Case(BatchNorm1d(3), normal(7, 3, mean=1e5), id="far-from-zero"),
            _half_constant(BatchNorm1d, 7, 2),
            Case(BatchNorm1d(1), exactly(*HUGE, 5e160, shape=(4, 1)), id="huge"),
        ],
        waivers=squared("outputs", "gradients"),
        exempt=[COUPLED],
    )
    images, volumes = normal(2, 3, 5, 7, mean=-0.7), normal(3, 2, 5, 3, 2, std=1.7)
    one_channel = Case(BatchNorm2d(1), normal(3, 1, 2, 5), id="one-channel")
    yield Spec(
        BatchNorm2d, [*_options(BatchNorm2d, images, 3), one_channel, _half_constant(BatchNorm2d, 7, 2, 1, 1)], exempt=[COUPLED]
    )
    one_channel = Case(BatchNorm3d(1), normal(3, 1, 2, 1, 5), id="one-channel")
    yield Spec(
        BatchNorm3d,
        [*_options(BatchNorm3d, volumes, 2), one_channel, _half_constant(BatchNorm3d, 7, 2, 1, 1, 1)],
        exempt=[COUPLED],
    )
    yield Spec(
        SyncBatchNorm,
        [
            *_options(SyncBatchNorm, images, 3),
            Case(SyncBatchNorm(5, process_group="trainers"), normal(7, 5), id="group"),
            Case(SyncBatchNorm(2), normal(3, 2, 5, 1, 2, 3), id="six-axes"),
            _half_constant(SyncBatchNorm, 7, 2),
        ],
        exempt=[COUPLED],
    )
    yield Spec(
        InstanceNorm1d,
        [*_instance_options(InstanceNorm1d, 3, 5), Case(InstanceNorm1d(1), exactly(HUGE, shape=(1, 3)), id="huge")],
        waivers=squared("outputs", "gradients", "modes"),
    )
    one_channel = Case(InstanceNorm2d(1), normal(2, 1, 5, 1), id="one-channel")
    yield Spec(InstanceNorm2d, [*_instance_options(InstanceNorm2d, 3, 5, 7), one_channel])
    one_channel = Case(InstanceNorm3d(1), normal(2, 1, 1, 5, 1), id="one-channel")
    yield Spec(InstanceNorm3d, [*_instance_options(InstanceNorm3d, 2, 5, 1, 3), one_channel])
    yield Spec(
        GroupNorm,
        [
            Case(GroupNorm(2, 6), normal(3, 6, 5, mean=0.7), id="two-groups"),
            Case(GroupNorm(3, 6, eps=0.03), normal(2, 6, 5, 7, std=1.7), id="options"),
            Case(GroupNorm(1, 5), normal(3, 5), id="one-group"),
            Case(GroupNorm(5, 5), normal(2, 5, 3, 1, 2), id="a-group-each"),
            Case(GroupNorm(2, 6, affine=False), normal(3, 6, 5), id="no-affine"),
            Case(GroupNorm(2, 6, bias=False), normal(3, 6, 5), id="no-bias"),
            Case(GroupNorm(2, 2), *_half_constant(BatchNorm1d, 1, 2, 7).draws, id="half-constant"),
            Case(GroupNorm(3, 3, eps=0.3), exactly([[0.0, 1.0, -2.0], [0.5, -1.0, 0.3]]), id="a-value-each"),
            Case(GroupNorm(2, 2), exactly(HUGE, SANE, shape=(1, 2, 3)), id="huge"),
        ],
        waivers=[*squared("outputs", "gradients", "batch-of-one"), lone("a-value-each")],
        exempt=[
            Exempt(
                "batch-additivity",
                "torch takes groups of one value from several samples, and refuses them from one",
                when=lambda case: case.id == "a-value-each",
            )
        ],
    )
