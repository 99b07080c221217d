"""Cases of the losses of a difference."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import exactly, normal
from refbp.hookspecs import hookimpl
from refbp.losses.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss
from refbp.spec import Case, Convention, Spec


def _cases(cls: Any, *others: Any) -> list[Case]:
    return [
        *(Case(cls(reduction=r), normal(3, 5), normal(3, 5), id=r) for r in ("mean", "sum", "none")),
        Case(cls(), normal(2, 3, 5, 7), normal(2, 3, 5, 7), id="four-axes"),
        Case(cls(), normal(), normal(), id="scalar"),
        *(Case(loss, normal(3, 5, std=2.0), normal(3, 5, std=2.0), id=f"option{i}") for i, loss in enumerate(others, 1)),
        Case(cls(reduction="none"), exactly(0.5, -1.0, 2.0, 2.0), exactly(0.5, 1.0, 2.0, -3.0), id="equal"),
    ]


@hookimpl
def refbp_losses() -> Iterator[Spec]:
    """MSELoss, L1Loss, SmoothL1Loss, HuberLoss."""
    yield Spec(MSELoss, _cases(MSELoss))
    yield Spec(L1Loss, _cases(L1Loss), conventions=[Convention("input = target", "0, the sign of 0")])
    yield Spec(
        SmoothL1Loss,
        [
            *_cases(SmoothL1Loss, SmoothL1Loss(beta=0.3), SmoothL1Loss(beta=0.0), SmoothL1Loss(reduction="sum", beta=1.7)),
            Case(SmoothL1Loss(reduction="none", beta=0.0), exactly(0.5, 1.0), exactly(0.5, 0.0), id="equal-beta-zero"),
            Case(SmoothL1Loss(reduction="none", beta=0.5), exactly(0.5, -0.5, 0.25), exactly(0.0, 0.0, 0.0), id="joint"),
        ],
        conventions=[Convention("input = target, beta = 0", "0, the sign of 0")],
    )
    yield Spec(
        HuberLoss,
        [
            *_cases(HuberLoss, HuberLoss(delta=0.3), HuberLoss("sum", 1.7)),
            Case(HuberLoss(reduction="none", delta=0.5), exactly(0.5, -0.5, 0.25), exactly(0.0, 0.0, 0.0), id="joint"),
        ],
    )
