"""Cases of the paddings: each side its own width, as wide as allowed, negative on one side and on both, none at all."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import Draw, integers, normal
from refbp.hookspecs import hookimpl
from refbp.layers import padding as layers
from refbp.spec import Case, Spec

LINES, PLANES, VOLUMES = normal(2, 3, 7), normal(2, 3, 5, 7), normal(2, 3, 2, 5, 3)
UNBATCHED: dict[int, Draw] = {1: normal(3, 7), 2: normal(3, 5, 7), 3: normal(3, 2, 5, 3)}


def _cases(cls: Any, *value: float) -> list[Case]:
    """What every kind of padding can do, in so many dimensions."""
    unbatched = UNBATCHED[cls.rank]
    widths: dict[int, list[tuple[str, Any, Draw]]] = {
        1: [
            ("one-width", 2, LINES),
            ("two-widths", (3, 1), LINES),
            ("one-side", (0, 4), LINES),
            ("none", 0, LINES),
            ("widest", 6, LINES),
            ("crop", (-2, -3), LINES),
            ("crop-left", (-1, 3), LINES),
            ("crop-right", (2, -4), LINES),
            ("unbatched", (2, 5), unbatched),
            ("single-channel", (1, 2), normal(5, 1, 3)),
            ("integers", (1, 2), integers(2, 3, 5, low=-9, high=9)),
        ],
        2: [
            ("one-width", 2, PLANES),
            ("four-widths", (3, 1, 0, 4), PLANES),
            ("one-axis", (2, 1, 0, 0), PLANES),
            ("widest", (6, 6, 4, 4), PLANES),
            ("crop", (-2, -1, -1, -3), PLANES),
            ("crop-and-pad", (-3, 2, 1, -2), PLANES),
            ("unbatched", (2, 5, 1, 3), unbatched),
            ("integers", (1, 2, 0, 1), integers(2, 3, 5, 7, low=-9, high=9)),
        ],
        3: [
            ("one-width", 1, VOLUMES),
            ("six-widths", (2, 0, 3, 4, 1, 1), VOLUMES),
            ("widest", (2, 2, 4, 4, 1, 1), VOLUMES),
            ("crop", (-1, -1, -2, 0, 0, -1), VOLUMES),
            ("crop-and-pad", (1, -1, -3, 2, 1, 1), VOLUMES),
            ("unbatched", (1, 2, 0, 3, 1, 0), unbatched),
        ],
    }
    return [Case(cls(p, *value), draw, id=name) for name, p, draw in widths[cls.rank]]


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Constant, zero, reflection, replication and circular padding, in one, two and three dimensions."""
    for constant in (layers.ConstantPad1d, layers.ConstantPad2d, layers.ConstantPad3d):
        more = [
            Case(constant(3, -1.7), UNBATCHED[constant.rank], id="another-value"),
            Case(constant(1, 0.0), normal(2, 3, 2, 1, 3, 2), id="more-axes"),
            Case(constant((-1, 1) * constant.rank, 0.7), normal(*(5, 3, 2)[: constant.rank]), id="no-channels"),
        ]
        yield Spec(constant, [*_cases(constant, 0.3), *more])
    for zero in (layers.ZeroPad1d, layers.ZeroPad2d, layers.ZeroPad3d):
        more = [
            Case(zero(9), UNBATCHED[zero.rank], id="wider-than-x"),
            Case(zero(1), normal(2, 3, 2, 1, 3, 2), id="more-axes"),
            Case(zero((-1, 1) * zero.rank), normal(*(5, 3, 2)[: zero.rank]), id="no-channels"),
        ]
        yield Spec(zero, [*_cases(zero), *more])
    for reflection in (layers.ReflectionPad1d, layers.ReflectionPad2d, layers.ReflectionPad3d):
        yield Spec(reflection, _cases(reflection))
    for replication in (layers.ReplicationPad1d, layers.ReplicationPad2d, layers.ReplicationPad3d):
        wide = Case(replication((11, 2) * replication.rank), UNBATCHED[replication.rank], id="wider-than-x")
        yield Spec(replication, [*_cases(replication), wide])
    for circular in (layers.CircularPad1d, layers.CircularPad2d, layers.CircularPad3d):
        yield Spec(circular, _cases(circular))
