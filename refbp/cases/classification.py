"""Cases of the cross-entropies: every option, targets as indices and as probabilities, confident and clamped ends."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import exactly, labels, normal, probabilities
from refbp.hookspecs import hookimpl
from refbp.losses.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from refbp.spec import Case, Spec, Waiver

REDUCTIONS = ("mean", "sum", "none")
CLASS_WEIGHTS = (0.3, 1.7, 0.7, 1.1, 2.3)
ROW = [[0.3, 1.7, 0.7, 1.1, 2.3]]


@hookimpl
def refbp_losses() -> Iterator[Spec]:
    """BCELoss, BCEWithLogitsLoss, NLLLoss, CrossEntropyLoss."""
    yield Spec(
        BCELoss,
        [
            *(Case(BCELoss(reduction=r), probabilities(3, 5), probabilities(3, 5), id=r) for r in REDUCTIONS),
            Case(BCELoss(), probabilities(2, 3, 5), labels_as_floats(2, 3, 5), id="hard-targets"),
            Case(BCELoss(weight=CLASS_WEIGHTS), probabilities(3, 5), probabilities(3, 5), id="weight"),
            Case(BCELoss(ROW, reduction="sum"), probabilities(3, 5), probabilities(3, 5), id="weight-row"),
            Case(BCELoss(reduction="none"), exactly(1e-13, 0.5, 1e-3), exactly(1.0, 0.3, 0.0), id="below-torch-clamp"),
            Case(BCELoss(reduction="none"), exactly(0.25, 0.5), exactly(0.0, 1.0), id="plain-ends"),
        ],
        waivers=[
            Waiver(
                "gradients",
                "torch divides by max(x(1 − x), 1e-12), which is not its forward's derivative",
                when=lambda case: "1e-13" in repr(case.draws),
                thread="pytorch #103316",
            )
        ],
    )
    yield Spec(
        BCEWithLogitsLoss,
        [
            *(Case(BCEWithLogitsLoss(reduction=r), normal(3, 5, std=2.0), probabilities(3, 5), id=r) for r in REDUCTIONS),
            Case(BCEWithLogitsLoss(), normal(2, 3, 5), labels_as_floats(2, 3, 5), id="hard-targets"),
            Case(BCEWithLogitsLoss(weight=CLASS_WEIGHTS), normal(3, 5), probabilities(3, 5), id="weight"),
            Case(BCEWithLogitsLoss(pos_weight=CLASS_WEIGHTS), normal(3, 5), probabilities(3, 5), id="pos-weight"),
            Case(
                BCEWithLogitsLoss(ROW, reduction="sum", pos_weight=CLASS_WEIGHTS),
                normal(3, 5),
                probabilities(3, 5),
                id="both-weights",
            ),
            Case(BCEWithLogitsLoss(), normal(), probabilities(), id="scalar"),
            Case(BCEWithLogitsLoss(reduction="none"), exactly(30.0, 40.0, -30.0), exactly(1.0, 1.0, 0.0), id="confident"),
        ],
        waivers=[
            Waiver(
                "outputs",
                "torch adds t·x back to (1 − t)·x, and has lost the digits of a confident right prediction",
                when=lambda case: case.exact,
            ),
            Waiver("nonfinite", "torch adds −∞ and ∞ at an input of −∞, where the loss is ∞"),
            Waiver(
                "gradients",
                "torch subtracts from a rounded σ(x), and has lost the digits of a confident right prediction",
                when=lambda case: case.exact,
                size=0.1,
            ),
        ],
    )
    yield Spec(NLLLoss, _indexed(NLLLoss))
    smooth = [
        Case(CrossEntropyLoss(label_smoothing=0.3), normal(7, 5), labels(7, classes=5), id="smoothing"),
        Case(
            CrossEntropyLoss(CLASS_WEIGHTS, label_smoothing=0.3),
            normal(7, 5),
            labels(7, classes=5, ignored=-100),
            id="smoothing-weight-ignored",
        ),
        Case(
            CrossEntropyLoss(CLASS_WEIGHTS, reduction="none", label_smoothing=0.7),
            normal(2, 5, 3),
            labels(2, 3, classes=5),
            id="smoothing-none",
        ),
        Case(CrossEntropyLoss(label_smoothing=1.0), normal(7, 5), labels(7, classes=5), id="all-smoothing"),
    ]
    soft = [
        *(
            Case(CrossEntropyLoss(reduction=r), normal(7, 5), probabilities(7, 5, axis=1), id=f"probabilities-{r}")
            for r in REDUCTIONS
        ),
        Case(
            CrossEntropyLoss(CLASS_WEIGHTS, label_smoothing=0.3),
            normal(7, 5),
            probabilities(7, 5, axis=1),
            id="probabilities-weight-smoothing",
        ),
        Case(CrossEntropyLoss(), normal(2, 5, 3), probabilities(2, 5, 3, axis=1), id="probabilities-images"),
        Case(CrossEntropyLoss(), normal(5), probabilities(5, axis=0), id="probabilities-one-sample"),
        Case(CrossEntropyLoss(), normal(7, 5), normal(7, 5), id="unnormalised"),
    ]
    confident = Case(
        CrossEntropyLoss(reduction="none"),
        exactly([[20.0, 0.0, -20.0], [0.0, 0.0, 0.0]]),
        exactly(0, 2),
        id="confident",
    )
    yield Spec(
        CrossEntropyLoss,
        [*_indexed(CrossEntropyLoss), *smooth, *soft, confident],
        waivers=[
            Waiver(
                "nonfinite",
                "torch multiplies an ignored row's NaN by zero, where the row has no gradient",
                when=lambda case: "ignored" in (case.id or ""),
                always=False,
            )
        ],
    )


def labels_as_floats(*shape: int) -> Any:
    """Targets that are 0.0 or 1.0."""
    from refbp.draws import special

    return special(f"zeros_or_ones{shape}", shape, lambda rng: rng.integers(0, 2, shape).astype(float))


def _indexed(cls: Any) -> list[Case]:
    return [
        *(Case(cls(reduction=r), normal(7, 5), labels(7, classes=5), id=r) for r in REDUCTIONS),
        *(Case(cls(CLASS_WEIGHTS, reduction=r), normal(7, 5), labels(7, classes=5), id=f"weight-{r}") for r in REDUCTIONS),
        *(
            Case(cls(ignore_index=2, reduction=r), normal(7, 5), labels(7, classes=5, ignored=2), id=f"ignored-{r}")
            for r in REDUCTIONS
        ),
        Case(cls(CLASS_WEIGHTS), normal(7, 5), labels(7, classes=5, ignored=-100), id="weight-ignored"),
        Case(cls(), normal(2, 5, 3), labels(2, 3, classes=5), id="sequences"),
        Case(cls(CLASS_WEIGHTS), normal(2, 5, 3, 7), labels(2, 3, 7, classes=5, ignored=-100), id="images"),
        Case(cls(), normal(5), labels(classes=5), id="one-sample"),
        Case(cls(), exactly([[0.5, 1.0], [2.0, -1.0]]), exactly(-100, -100), id="all-ignored"),
    ]
