"""Stanford's CS231n, assignments 1 to 3, in every year's version of them."""

from __future__ import annotations

from collections.abc import Iterator

from refbp.courses.cs231n import images, layers, models, sequences, updates
from refbp.hookspecs import hookimpl
from refbp.oracle.exercise import Course

CONVENTIONS = (
    "Rows are samples; w is (D, M), the kernel of a convolution (F, C, HH, WW), pictures are (N, C, H, W).",
    "The 1/N sits in the losses alone: every other backward is the derivative as it is.",
    "The regulariser is ½ reg Σ W² or reg Σ W², as the loss that was written has it.",
    "Dropout's p is the probability of dropping (until 2017) or of keeping (from 2018 on), as the outputs show.",
)


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course(
        "cs231n",
        "Stanford CS231n, assignments 1 to 3: layers.py, the classifiers and networks, rnn_layers.py, optim.py",
        [*layers.EXERCISES, *images.EXERCISES, *sequences.EXERCISES, *models.EXERCISES, *updates.EXERCISES],
        conventions=CONVENTIONS,
        url="https://cs231n.github.io",
    )
