"""HW2P1: resampling, convolutions, pooling. A stride is a convolution of stride 1 and downsampling after it."""

from __future__ import annotations

from typing import Any

from refbp.courses._composites import BiasedBatchNorm2d
from refbp.courses.cmu11785.hw1 import batchnorm
from refbp.courses.cmu11785.references import Subsampling, UpsampledConvolution, ZeroInsertion
from refbp.draws import constant, exactly, normal
from refbp.layers.convolution import Conv1d, Conv2d
from refbp.layers.pooling import AvgPool2d, MaxPool2d
from refbp.layers.shape import Flatten
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

# Resampling ----------------------------------------------------------------------------------------------------------


def _resampling(name: str, layer: Any, rank: int) -> Exercise:
    """Up- or downsampling of one or two axes, with lengths that the factor divides and lengths that it does not."""
    one, two = ((3,), (7,)) if rank == 1 else ((3, 5), (7, 6))
    return Exercise(
        f"{name}.backward",
        forward=f"layer = {name}(factor)\nZ = layer.forward(A)",
        backward="dLdA = layer.backward(dLdZ)",
        arrays={"A": "x"},
        outputs={"Z": "y"},
        tiers={
            "std": [
                Case(layer(2, rank), normal(2, 3, *two), id="factor 2"),
                Case(layer(3, rank), normal(2, 3, *one), id="factor 3"),
                Case(layer(3, rank), normal(1, 2, *two), id="factor 3, a remainder"),
            ],
            "degenerate": [
                Case(layer(1, rank), normal(2, 1, *one), id="factor 1"),
                Case(layer(4, rank), normal(1, 1, *one), id="factor 4"),
            ],
        },
    )


RESAMPLING = [
    _resampling(f"{direction}{rank}d", layer, rank)
    for direction, layer in (("Upsample", ZeroInsertion), ("Downsample", Subsampling))
    for rank in (1, 2)
]

# Convolutions --------------------------------------------------------------------------------------------------------

_CONV: dict[str, Any] = {"arrays": {"A": "x", "W": "weight", "b": "bias"}, "outputs": {"Z": "y"}}


def _calls(made: str, inner: str = "") -> dict[str, Any]:
    """How a convolution is called; ``inner`` is the part that holds its parameters."""
    part = f"conv.{inner}" if inner else "conv"
    return {
        "forward": f"conv = {made}\n{part}.W = W\n{part}.b = b\nZ = conv.forward(A)",
        "backward": f"dLdA = conv.backward(dLdZ)\ndLdW = {part}.dLdW\ndLdb = {part}.dLdb",
    }


_SIZES = "in_channels, out_channels, kernel_size"


def _stride1(rank: int) -> Exercise:
    conv: Any = Conv1d if rank == 1 else Conv2d
    space: Any = [(7,), (5,), (3,)] if rank == 1 else [(7, 5), (4, 6), (3, 3)]
    return Exercise(
        f"Conv{rank}d_stride1.backward",
        **_calls(f"Conv{rank}d_stride1({_SIZES})"),
        **_CONV,
        tiers={
            "std": [
                Case(conv(3, 4, 3), normal(2, 3, *space[0]), id="kernel 3"),
                Case(conv(2, 5, 2), normal(3, 2, *space[1]), id="kernel 2"),
            ],
            "degenerate": [
                Case(conv(2, 3, 1), normal(1, 2, *space[2]), id="kernel 1"),
                Case(conv(1, 2, 3), normal(2, 1, *space[2]), id="a kernel as large as the input"),
            ],
        },
    )


def _strided(rank: int, padded: bool) -> Exercise:
    conv: Any = Conv1d if rank == 1 else Conv2d
    space: Any = [(9,), (8,), (7,)] if rank == 1 else [(9, 7), (8, 6), (7, 6)]
    std = [
        Case(conv(3, 4, 3, 2), normal(2, 3, *space[0]), id="stride 2"),
        Case(conv(2, 5, 2, 3), normal(2, 2, *space[1]), id="stride 3, gaps between the windows"),
        Case(conv(2, 3, 3, 2), normal(1, 2, *space[1]), id="stride 2, a remainder"),
    ]
    if rank == 2:
        std.append(Case(conv(2, 3, 3, 2), normal(2, 2, 7, 7), id="stride 2 on a square"))
    if padded:
        std += [
            Case(conv(2, 3, 3, 2, 1), normal(2, 2, *space[2]), id="stride 2, padding 1"),
            Case(conv(2, 3, 3, 1, 2), normal(1, 2, *space[2]), id="stride 1, padding 2"),
        ]
    name = f"Conv{rank}d"
    calls = _calls(f"{name}({_SIZES}, stride{', padding=padding' if padded else ''})", f"conv{rank}d_stride1")
    if not padded:
        calls["forward"] = f"without('{name}', 'padding')\n{calls['forward']}"
    return Exercise(
        f"{name}.backward",
        **calls,
        **_CONV,
        tiers={"std": std, "degenerate": [Case(conv(2, 3, 1), normal(1, 2, *space[2]), id="kernel 1, stride 1")]},
        convention="zeros are padded" if padded else "2022 and before: there is no padding",
    )


def _transposed(rank: int) -> Exercise:
    layer = UpsampledConvolution
    space: Any = [(5,), (4,)] if rank == 1 else [(3, 5), (4, 3)]
    return Exercise(
        f"ConvTranspose{rank}d.backward",
        **_calls(f"ConvTranspose{rank}d({_SIZES}, upsampling_factor)", f"conv{rank}d_stride1"),
        **_CONV,
        tiers={
            "std": [
                Case(layer(3, 4, 3, 2, rank), normal(2, 3, *space[0]), id="factor 2"),
                Case(layer(2, 5, 2, 3, rank), normal(2, 2, *space[1]), id="factor 3"),
                Case(layer(3, 2, 3, 2, rank), normal(2, 3, *space[1][:1] * rank), id="as long as wide"),
            ],
            "degenerate": [Case(layer(2, 3, 2, 1, rank), normal(1, 2, *space[1]), id="factor 1")],
        },
        convention="zeros are inserted, then a convolution of stride 1: its kernel is not turned round, as torch's is",
    )


CONVOLUTIONS = [
    *(_stride1(rank) for rank in (1, 2)),
    *(_strided(rank, padded) for rank in (1, 2) for padded in (True, False)),
    *(_transposed(rank) for rank in (1, 2)),
]

# Pooling, and the rest -----------------------------------------------------------------------------------------------


def _pooling(name: str, layer: Any, kink: bool) -> list[Exercise]:
    common: dict[str, Any] = {
        "backward": "dLdA = pool.backward(dLdZ)",
        "arrays": {"A": "x"},
        "outputs": {"Z": "y"},
    }
    ties = exactly([[[[1.0, 1.0, 0.0, 2.0], [1.0, 0.5, 2.0, 2.0], [0.0, 1.0, 1.0, -1.0]]]])
    return [
        Exercise(
            f"{name}_stride1.backward",
            **common,
            forward=f"pool = {name}_stride1(kernel_size)\nZ = pool.forward(A)",
            tiers={
                "std": [
                    Case(layer(3, 1), normal(2, 3, 7, 5), id="windows of 3"),
                    Case(layer(2, 1), normal(3, 2, 3, 4), id="windows of 2"),
                ],
                "degenerate": [
                    Case(layer(1, 1), normal(1, 2, 3, 2), id="windows of 1"),
                    Case(layer(3, 1), normal(1, 1, 3, 3), id="one window"),
                ],
            }
            | ({"kink": [Case(layer(2, 1), ties, id="ties")]} if kink else {}),
        ),
        Exercise(
            f"{name}.backward",
            **common,
            forward=f"pool = {name}(kernel_size, stride)\nZ = pool.forward(A)",
            tiers={
                "std": [
                    Case(layer(2, 2), normal(2, 3, 6, 4), id="side by side"),
                    Case(layer(3, 2), normal(2, 3, 7, 9), id="overlapping"),
                    Case(layer(2, 3), normal(1, 2, 8, 6), id="gaps between the windows"),
                    Case(layer(3, 2), normal(1, 2, 8, 6), id="a remainder"),
                ],
                "degenerate": [Case(layer(1, 1), normal(1, 2, 3, 2), id="windows of 1")],
            }
            | ({"kink": [Case(layer(2, 2), ties, id="ties")]} if kink else {}),
        ),
    ]


def _flatten(convention: str, *more: Case) -> Exercise:
    return Exercise(
        "Flatten.backward",
        forward="flat = Flatten()\nZ = flat.forward(A)",
        backward="dLdA = flat.backward(dLdZ)",
        arrays={"A": "x"},
        outputs={"Z": "y"},
        tiers={
            "std": [Case(Flatten(), normal(2, 3, 5), id="three axes"), *more],
            "degenerate": [Case(Flatten(), normal(1, 1, 3), id="one sample")],
        },
        convention=convention,
    )


_BN = BiasedBatchNorm2d
REST = [
    *_pooling("MaxPool2d", MaxPool2d, kink=True),
    *_pooling("MeanPool2d", AvgPool2d, kink=False),
    _flatten("of any number of axes", Case(Flatten(), normal(3, 2, 4, 5), id="four axes")),
    _flatten("2022 and before: of three axes, as Conv1d gives them"),
    *batchnorm(
        "BatchNorm2d",
        {
            "std": [
                Case(_BN(3, eps=1e-8), normal(2, 3, 5, 4, mean=1.0), id="ε = 1e-8"),
                Case(_BN(2, eps=0.01, momentum=0.3), normal(3, 2, 2, 5, mean=2.0, std=0.3), id="ε = 0.01"),
            ],
            "degenerate": [Case(_BN(3, eps=0.01), normal(1, 3, 2, 2), id="one picture")],
            "stability": [Case(_BN(2, eps=1e-8), constant(3.0, 2, 2, 3, 2), id="constant channels")],
        },
        "None, :, None, None",
        Case(_BN(3, eps=0.01, training=False), normal(2, 3, 2, 4), id="evaluation"),
    ),
]

EXERCISES = [*RESAMPLING, *CONVOLUTIONS, *REST]
