"""Course 4: convolutions and pooling."""

from __future__ import annotations

from functools import partial
from typing import Any

from refbp.contract import Array
from refbp.courses._composites import SharedMaxPool2d
from refbp.draws import exactly, normal
from refbp.layers.convolution import Conv2d
from refbp.layers.pooling import AvgPool2d, MaxPool2d
from refbp.oracle.exercise import Exercise
from refbp.oracle.observation import Observation
from refbp.spec import Case, Mistake


class PictureConv2d(Conv2d):
    r"""Conv2d, with what is commonly got wrong in the sum over one window. Shapes: as Conv2d's."""

    @property
    def output_mistakes(self) -> tuple[Mistake, ...]:
        """B in the product, and no b."""
        shift = "b is added to each product before the sum: it counts as often as the window has elements"
        return Mistake(shift, partial(_shifted, often=True)), Mistake("b is not added", partial(_shifted, often=False))


def _shifted(o: Observation, often: bool) -> dict[str, Array]:
    """Outputs to which b is added for each element of the window, or not at all."""
    more = o.state["weight"][0].size - 1 if often else -1
    return {"y": o.y + more * o.state["bias"][:, None, None]}


CHANNELS_LAST = ".transpose(0, 2, 3, 1)"
CONVOLUTION = Exercise(
    "conv_backward",
    forward="hparameters = {'stride': stride, 'pad': padding}\nZ, cache = conv_forward(A_prev, W, b, hparameters)",
    backward="dA_prev, dW, db = conv_backward(dZ, cache)",
    arrays={"A_prev": f"x{CHANNELS_LAST}", "W": "weight.transpose(2, 3, 1, 0)", "b": "bias[None, None, None]"},
    outputs={"Z": f"y{CHANNELS_LAST}"},
    tiers={
        "std": [
            Case(PictureConv2d(3, 4, 3, 1, 1), normal(2, 3, 5, 4), id="padding 1"),
            Case(PictureConv2d(3, 2, 2, 1), normal(2, 3, 4, 5), id="no padding"),
            Case(PictureConv2d(2, 3, 3, 2, 2), normal(2, 2, 5, 7), id="stride 2, padding 2"),
            Case(PictureConv2d(2, 3, 2, 3), normal(1, 2, 8, 5), id="stride 3, gaps between the windows"),
            Case(PictureConv2d(2, 3, 3, 2), normal(1, 2, 8, 6), id="a remainder"),
        ],
        "degenerate": [
            Case(PictureConv2d(1, 1, 1), normal(1, 1, 2, 3), id="one channel, a kernel of 1"),
            Case(PictureConv2d(2, 2, 3), normal(1, 2, 3, 3), id="a kernel as large as the picture"),
        ],
    },
    convention="pictures are (m, H, W, C), kernels (f, f, C_in, C_out); nothing is divided by m",
)


_TIES = exactly([[[[1.0, 1.0, 0.0, 2.0], [1.0, 0.5, 2.0, 2.0], [0.0, 1.0, 1.0, -1.0]]]])


def _pooling(mode: str, layer: Any, ties: bool, convention: str = "") -> Exercise:
    return Exercise(
        f"pool_backward ({mode})",
        forward=f"hparameters = {{'f': kernel_size, 'stride': stride}}\nA, cache = pool_forward(A_prev, hparameters, '{mode}')",
        backward=f"dA_prev = pool_backward(dA, cache, '{mode}')",
        forward_name=f"pool_forward ({mode})",
        arrays={"A_prev": f"x{CHANNELS_LAST}"},
        outputs={"A": f"y{CHANNELS_LAST}"},
        tiers={
            "std": [
                Case(layer(2, 2), normal(2, 3, 4, 6), id="side by side"),
                Case(layer(3, 1), normal(2, 2, 5, 4), id="overlapping"),
                Case(layer(3, 2), normal(2, 3, 7, 5), id="stride 2, overlapping"),
                Case(layer(2, 3), normal(1, 2, 5, 8), id="gaps between the windows"),
            ],
            "degenerate": [
                Case(layer(1, 1), normal(1, 1, 2, 3), id="windows of 1"),
                Case(layer(3, 2), normal(1, 1, 3, 3), id="one window"),
            ],
        }
        | ({"kink": [Case(layer(2, 1), _TIES, id="ties")]} if ties else {}),
        convention=convention,
    )


EXERCISES = [
    CONVOLUTION,
    _pooling("max", MaxPool2d, ties=True, convention="at a tie one of the largest gets the gradient"),
    _pooling("max", SharedMaxPool2d, ties=True, convention="at a tie every one of the largest gets the whole gradient"),
    _pooling("average", AvgPool2d, ties=False),
]
