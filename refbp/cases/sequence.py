"""Cases of CTC: padded and concatenated targets, repeated labels, empty ones, alignments that do not fit, any blank."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from refbp.cases.likelihood import log_probabilities
from refbp.draws import Draw, exactly, special
from refbp.hookspecs import hookimpl
from refbp.losses._loss import Reduction
from refbp.losses.sequence import CTCLoss
from refbp.spec import Case, Convention, Exempt, Spec, Waiver

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")
PADDED = exactly([[1, 2, 1], [3, 3, 4], [2, 4, 3]])
LENGTHS = exactly(2, 3, 1)
SIX, THREE = exactly(6, shape=()), exactly(3, shape=())
UNEVEN = (*REDUCTIONS, "concatenated", "unread-frames", "blank", "empty-target", "zero-infinity")


def unread(*shape: int, frames: tuple[int, ...]) -> Draw:
    """Log-probabilities that are NaN after the last frame of each sequence."""

    def make(rng: Any) -> Any:
        x = log_probabilities(*shape)(rng)
        x[np.arange(shape[0])[:, None] >= frames] = np.nan
        return x

    return special(f"unread{shape}", shape, make)


@hookimpl
def refbp_losses() -> Iterator[Spec]:
    """CTCLoss."""
    x, frames = log_probabilities(7, 3, 5), exactly(7, 6, 5)
    yield Spec(
        CTCLoss,
        [
            *(Case(CTCLoss(reduction=r), x, PADDED, frames, LENGTHS, id=r) for r in REDUCTIONS),
            Case(CTCLoss(), x, exactly(1, 2, 3, 3, 4, 2), frames, LENGTHS, id="concatenated"),
            Case(CTCLoss(2), log_probabilities(7, 2, 3), exactly([[0, 1], [0, 0]]), exactly(7, 5), exactly(1, 2), id="blank"),
            Case(CTCLoss(reduction="none"), log_probabilities(7, 5), exactly(1, 1, 2), SIX, THREE, id="one-sequence"),
            Case(CTCLoss(4), log_probabilities(5, 2, 5), exactly([[1], [2]]), exactly(5, 0), exactly(0, 0), id="no-labels"),
            Case(CTCLoss(), unread(7, 3, 5, frames=(7, 6, 5)), PADDED, frames, LENGTHS, id="unread-frames"),
            Case(CTCLoss(), log_probabilities(5, 3, 5), PADDED, exactly(5, 5, 0), exactly(0, 2, 0), id="empty-target"),
            Case(CTCLoss(), log_probabilities(3, 2, 5), exactly([[1, 2], [1, 1]]), exactly(2, 3), exactly(2, 2), id="tight"),
            Case(
                CTCLoss(reduction="none"),
                log_probabilities(3, 3, 5),
                exactly([[1, 2], [1, 1], [3, 4]]),
                exactly(1, 2, 3),
                exactly(2, 2, 2),
                id="too-few-frames",
            ),
            Case(
                CTCLoss(zero_infinity=True),
                log_probabilities(3, 3, 5),
                exactly([[1, 2], [1, 1], [3, 4]]),
                exactly(1, 2, 3),
                exactly(1, 2, 2),
                id="zero-infinity",
            ),
        ],
        conventions=[Convention("too few frames for the labels", "the loss is ∞ and its gradient NaN")],
        waivers=[
            Waiver(
                "gradients",
                "torch returns exp(log_probs) − γ: the true gradient −γ plus what a log-softmax before it would take away",
                size=2.0,
                thread="pytorch #52241",
            ),
            Waiver(
                "nonfinite",
                "torch's added exp(log_probs) makes NaN the gradient of a class that no label asks for",
                always=False,  # if such a class is drawn
            ),
        ],
        exempt=[
            Exempt(
                "reductions",
                "the mean divides each loss by the length of its own target",
                when=lambda case: case.id in UNEVEN,
            )
        ],
    )
