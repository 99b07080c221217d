"""Cases of the layers that rearrange."""

import math
from collections.abc import Iterator
from typing import Any

from refbp.draws import Draw, integers, normal
from refbp.hookspecs import hookimpl
from refbp.layers.shape import ChannelShuffle, Flatten, Fold, PixelShuffle, PixelUnshuffle, Unflatten, Unfold
from refbp.spec import Case, Spec, Waiver


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Flatten and Unflatten, the pixel and channel shuffles, Unfold and Fold."""
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
    yield Spec(
        Unflatten,
        [
            Case(Unflatten(1, (2, 5)), normal(3, 10), id="two-axes"),
            Case(Unflatten(0, (5, 1, 3)), normal(15, 2), id="three-axes"),
            Case(Unflatten(-2, (2, 3)), normal(5, 6, 7), id="negative"),
            Case(Unflatten(2, (3, -1)), normal(2, 5, 21), id="whatever-is-left"),
            Case(Unflatten(1, (7,)), normal(3, 7), id="one-axis"),
            Case(Unflatten(0, (2, 3)), normal(6), id="vector"),
            Case(Unflatten(1, (2, 3)), integers(5, 6, high=9), id="integers"),
        ],
    )
    yield Spec(
        PixelShuffle,
        [
            Case(PixelShuffle(2), normal(3, 20, 2, 7), id="two"),
            Case(PixelShuffle(3), normal(2, 18, 5, 1), id="three"),
            Case(PixelShuffle(1), normal(2, 3, 5, 7), id="one"),
            Case(PixelShuffle(2), normal(12, 3, 5), id="one-image"),
            Case(PixelShuffle(2), normal(2, 3, 4, 5, 3), id="five-axes"),
            Case(PixelShuffle(2), integers(3, 4, 2, 3, high=9), id="integers"),
        ],
    )
    yield Spec(
        PixelUnshuffle,
        [
            Case(PixelUnshuffle(2), normal(3, 5, 4, 14), id="two"),
            Case(PixelUnshuffle(3), normal(2, 2, 15, 3), id="three"),
            Case(PixelUnshuffle(1), normal(2, 3, 5, 7), id="one"),
            Case(PixelUnshuffle(2), normal(3, 6, 10), id="one-image"),
            Case(PixelUnshuffle(2), normal(2, 3, 1, 10, 6), id="five-axes"),
            Case(PixelUnshuffle(2), integers(3, 1, 4, 6, high=9), id="integers"),
        ],
        waivers=[
            Waiver(
                "batch-of-zero",
                "torch's output for an empty batch is not rearranged (for floating-point numbers its backward then raises)",
                when=lambda case: case.id == "integers",
                thread="pytorch PR #192816",
            )
        ],
    )
    yield Spec(
        ChannelShuffle,
        [
            Case(ChannelShuffle(2), normal(3, 10, 7), id="two"),
            Case(ChannelShuffle(3), normal(2, 15, 3, 5), id="three"),
            Case(ChannelShuffle(1), normal(3, 5, 2), id="one-group"),
            Case(ChannelShuffle(5), normal(3, 5, 2), id="groups-of-one"),
            Case(ChannelShuffle(3), normal(2, 6, 2, 3, 5), id="five-axes"),
            Case(ChannelShuffle(2), integers(3, 6, 5, high=9), id="integers"),
        ],
    )
    # kernel, dilation, padding, stride, image: windows that overlap, that leave gaps, that hang over, that miss the rim
    windows: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
        ("plain", {"kernel_size": 2}, (5, 7)),
        ("overlapping", {"kernel_size": (3, 2), "padding": (1, 0), "stride": (2, 1)}, (5, 4)),
        ("gapped", {"kernel_size": 2, "stride": 3}, (7, 6)),
        ("dilated", {"kernel_size": (2, 3), "dilation": (3, 2), "padding": 2}, (5, 3)),
        ("everything", {"kernel_size": (2, 3), "dilation": 2, "padding": (1, 2), "stride": (1, 3)}, (4, 7)),
        ("one-tap", {"kernel_size": 1, "stride": (2, 1)}, (3, 5)),
        ("one-window", {"kernel_size": (3, 5)}, (3, 5)),
    ]
    yield Spec(
        Unfold,
        [
            *(Case(Unfold(**window), normal(2, 3, *image), id=name) for name, window, image in windows),
            Case(Unfold((3, 2), 1, (1, 0), (2, 1)), normal(3, 5, 4), id="one-image"),
        ],
    )
    yield Spec(
        Fold,
        [
            *(Case(Fold(image, **window), columns(Fold(image, **window)), id=name) for name, window, image in windows),
            Case(Fold(5, 3, 1, 1, 2), normal(18, 9), id="one-image"),
        ],
    )


def columns(fold: Fold) -> Draw:
    """Two samples of three channels: a row for every tap, a column for every window."""
    image = fold.output_size if isinstance(fold.output_size, tuple) else (fold.output_size, fold.output_size)
    return normal(2, 3 * math.prod(fold.windows.k), math.prod(fold.windows.grid(image)))
