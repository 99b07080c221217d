"""Cases of the margin losses: scores on both sides of the hinge and on its corner, labels listed twice, no label at all."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import Draw, exactly, labels, normal, probabilities, signed, special
from refbp.hookspecs import hookimpl
from refbp.losses._loss import Reduction
from refbp.losses.margin import (
    HingeEmbeddingLoss,
    MarginRankingLoss,
    MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss,
    MultiMarginLoss,
    SoftMarginLoss,
)
from refbp.spec import Case, Convention, Spec, Waiver

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")
CLASS_WEIGHTS = (0.3, 1.7, 0.7, 1.1, 2.3)


def either(*shape: int, integer: bool = False) -> Draw:
    """Targets that are 1 or −1, both of them present."""

    def make(rng: Any) -> Any:
        t = rng.choice([-1, 1] if integer else [-1.0, 1.0], shape)
        if t.size > 1:
            t.reshape(-1)[:2] = 1, -1
        return t

    return special(f"plus_or_minus_one{shape}", shape, make)


def listed(*shape: int, classes: int) -> Draw:
    """Rows of distinct labels, each ended by −1 where it is not full; after the −1 stands a label that does not count."""

    def make(rng: Any) -> Any:
        rows = rng.permuted(rng.permuted(range(classes)) + 0 * rng.integers(1, size=(*shape[:-1], 1)), axis=-1)
        for i, row in enumerate(rows.reshape(-1, classes)):
            row[1 + i % (classes - 1)] = -1
        return rows

    return special(f"listed_labels{shape}", shape, make)


@hookimpl
def refbp_losses() -> Iterator[Spec]:
    """The hinges on a score or a pair of scores, the multi-class and multi-label margins."""
    yield Spec(
        HingeEmbeddingLoss,
        [
            *(Case(HingeEmbeddingLoss(reduction=r), normal(3, 5), either(3, 5), id=r) for r in REDUCTIONS),
            Case(HingeEmbeddingLoss(0.3), normal(2, 3, 5, 7), either(2, 3, 5, 7), id="margin"),
            Case(HingeEmbeddingLoss(-1.7, reduction="sum"), normal(7, std=3.0), either(7, integer=True), id="negative-margin"),
            Case(HingeEmbeddingLoss(), normal(), either(), id="scalar"),
            Case(HingeEmbeddingLoss(1.7, reduction="none"), normal(7), signed(7), id="other-targets"),
            Case(HingeEmbeddingLoss(reduction="none"), exactly(1.0, 1.0, 1.0), exactly(1.0, -1.0, 0.0), id="corner"),
        ],
        conventions=[Convention("input = margin", "the full slope, as torch's clamp has it")],
    )
    yield Spec(
        SoftMarginLoss,
        [
            *(Case(SoftMarginLoss(reduction=r), normal(3, 5, std=2.0), either(3, 5), id=r) for r in REDUCTIONS),
            Case(SoftMarginLoss(), normal(2, 3, 5, 7), signed(2, 3, 5, 7), id="other-targets"),
            Case(SoftMarginLoss(reduction="sum"), normal(), either(), id="scalar"),
            Case(SoftMarginLoss(reduction="none"), exactly(40.0, -38.0, 39.0), exactly(1.0, -1.0, 1.0), id="confident"),
            Case(SoftMarginLoss(reduction="none"), exactly(2.0, -1000.0), exactly(1.0, 1.0), id="beyond-torch"),
        ],
        call=_without_target_gradient,
        waivers=[
            *(
                Waiver(check, "torch's e^(−tx) overflows", when=lambda case: case.id == "beyond-torch", thread="pytorch #77529")
                for check in ("outputs", "gradients")
            ),
            Waiver("nonfinite", "torch divides ∞ by ∞ at a score of −∞, where the slope is −t"),
        ],
    )
    yield Spec(
        MarginRankingLoss,
        [
            *(Case(MarginRankingLoss(reduction=r), normal(3, 5), normal(3, 5), either(3, 5), id=r) for r in REDUCTIONS),
            Case(MarginRankingLoss(0.3), normal(2, 3, 5, 7), normal(2, 3, 5, 7), signed(2, 3, 5, 7), id="margin"),
            Case(MarginRankingLoss(1.7, reduction="sum"), normal(7), normal(7), either(7), id="margin-sum"),
            Case(MarginRankingLoss(3.7), normal(), normal(), either(), id="scalar"),
            Case(
                MarginRankingLoss(0.5, reduction="none"),
                exactly(1.0, 1.0, 2.0),
                exactly(0.5, 1.5, 2.0),
                exactly(1.0, -1.0, 1.0),
                id="corner",
            ),
        ],
        conventions=[Convention("target (input1 − input2) = margin", "the full slope, as torch's clamp has it")],
    )
    yield Spec(
        MultiMarginLoss,
        [
            *(Case(MultiMarginLoss(reduction=r), normal(7, 5), labels(7, classes=5), id=r) for r in REDUCTIONS),
            *(Case(MultiMarginLoss(2, reduction=r), normal(7, 5), labels(7, classes=5), id=f"squared-{r}") for r in REDUCTIONS),
            Case(MultiMarginLoss(1, 0.3, CLASS_WEIGHTS), normal(7, 5), labels(7, classes=5), id="weight"),
            Case(MultiMarginLoss(2, 1.7, CLASS_WEIGHTS, reduction="sum"), normal(3, 5), labels(3, classes=5), id="all"),
            Case(MultiMarginLoss(2, 2.3, CLASS_WEIGHTS, reduction="none"), normal(5), labels(classes=5), id="one-sample"),
            Case(MultiMarginLoss(margin=2.3), normal(5), labels(classes=5), id="one-sample-margin"),
            Case(MultiMarginLoss(), normal(3, 2), labels(3, classes=2), id="two-classes"),
            Case(MultiMarginLoss(reduction="none"), exactly([[1.0, 0.0, 0.5], [0.0, 0.0, -2.0]]), exactly(0, 2), id="corner"),
            Case(MultiMarginLoss(2, reduction="none"), exactly([[1.0, 0.0, 0.5]]), exactly([0]), id="squared-corner"),
        ],
        conventions=[Convention("input[target] − input[j] = margin, p = 1", "slope 0")],
        waivers=[_empty_batch()],
    )
    yield Spec(
        MultiLabelMarginLoss,
        [
            *(Case(MultiLabelMarginLoss(reduction=r), normal(7, 5), listed(7, 5, classes=5), id=r) for r in REDUCTIONS),
            Case(MultiLabelMarginLoss(), normal(7), listed(7, classes=7), id="one-sample"),
            Case(MultiLabelMarginLoss(reduction="none"), normal(3, 5), exactly(_ROWS), id="none-all-and-twice"),
            Case(MultiLabelMarginLoss(reduction="none"), exactly(1.0, 0.0, 0.5), exactly(0, -1, 0), id="corner"),
        ],
        conventions=[Convention("input[label] − input[other] = 1", "slope 0")],
        waivers=[_empty_batch()],
    )
    x, t = normal(3, 5, std=2.0), probabilities(3, 5)
    yield Spec(
        MultiLabelSoftMarginLoss,
        [
            *(Case(MultiLabelSoftMarginLoss(reduction=r), x, t, id=r) for r in REDUCTIONS),
            *(Case(MultiLabelSoftMarginLoss(CLASS_WEIGHTS, reduction=r), x, t, id=f"weight-{r}") for r in REDUCTIONS),
            Case(MultiLabelSoftMarginLoss((CLASS_WEIGHTS,)), normal(2, 3, 5), probabilities(2, 3, 5), id="three-axes"),
            Case(MultiLabelSoftMarginLoss((0.7,)), normal(5), probabilities(5), id="one-sample"),
            Case(MultiLabelSoftMarginLoss(reduction="none"), exactly([[30.0, -40.0]]), exactly([[1.0, 0.0]]), id="confident"),
        ],
    )


_ROWS = [[-1, 1, 0, 2, 4], [4, 0, 2, 3, 1], [3, 3, 0, -1, 3]]


def _empty_batch() -> Waiver:
    return Waiver(
        "batch-of-zero",
        "torch's mean and sum over an empty batch are uninitialised memory",
        when=lambda case: len(case.draws[0].shape) == 2,  # type: ignore[union-attr]
        always=False,
    )


def _without_target_gradient(twin: Any, input: Any, target: Any) -> Any:
    """The twin refuses a target that asks for a gradient."""
    return twin(input, target.detach())
