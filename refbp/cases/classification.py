"""Cases of the cross-entropies: every option, targets as indices and as probabilities, confident and clamped ends."""

from collections.abc import Iterator
from typing import Any

from refbp.draws import Draw, exactly, labels, normal, probabilities, special
from refbp.hookspecs import hookimpl
from refbp.losses._loss import Reduction
from refbp.losses.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, LinearCrossEntropyLoss, NLLLoss
from refbp.spec import Case, Exempt, Spec, Waiver

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")
CLASS_WEIGHTS = (0.3, 1.7, 0.7, 1.1, 2.3)
ROW = (CLASS_WEIGHTS,)


IGNORED_NAN = Waiver(
    "nonfinite",
    "torch multiplies an ignored row's NaN by zero, where the row has no gradient",
    when=lambda case: "ignored" in f"{case.id} {case.draws[1]}",
    always=False,  # if the element that is made NaN lies in such a row
)


@hookimpl
def refbp_losses() -> Iterator[Spec]:
    """BCELoss, BCEWithLogitsLoss, NLLLoss, CrossEntropyLoss, LinearCrossEntropyLoss."""
    yield Spec(
        BCELoss,
        [
            *(Case(BCELoss(reduction=r), probabilities(3, 5), probabilities(3, 5), id=r) for r in REDUCTIONS),
            Case(BCELoss(), probabilities(2, 3, 5), labels_as_floats(2, 3, 5), id="hard-targets"),
            Case(BCELoss(weight=CLASS_WEIGHTS), probabilities(3, 5), probabilities(3, 5), id="weight"),
            Case(BCELoss(ROW, reduction="sum"), probabilities(3, 5), probabilities(3, 5), id="weight-row"),
            Case(BCELoss(reduction="none"), exactly(1e-13, 0.5, 1e-3), exactly(1.0, 0.3, 0.0), id="below-torch-clamp"),
            Case(BCELoss(reduction="none"), exactly(0.25, 0.5), exactly(0.0, 1.0), id="plain-ends"),
            Case(BCELoss(reduction="none"), exactly(1e-45, 0.5), exactly(1.0, 0.3), id="clamped"),
            Case(BCELoss(reduction="none"), exactly(1.0, 0.5), exactly(0.0, 0.3), id="wrong-for-certain"),
        ],
        waivers=[
            Waiver(
                "gradients",
                "torch divides by max(x(1 − x), 1e-12), which is not its forward's derivative",
                when=lambda case: case.id in ("below-torch-clamp", "clamped"),
                thread="pytorch #103316",
            )
        ],
        exempt=[
            Exempt(check, "at an input of 1 the loss jumps to its clamp", when=lambda case: case.id == "wrong-for-certain")
            for check in ("gradients", "gradients-alone", "witness", "batch-of-one")
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
        Case(CrossEntropyLoss(label_smoothing=0.3), normal(5), labels(classes=5), id="smoothing-one-sample"),
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
        Case(CrossEntropyLoss(label_smoothing=0.3), normal(5), probabilities(5, axis=0), id="probabilities-one-sample"),
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
        waivers=[IGNORED_NAN],
    )
    yield Spec(
        LinearCrossEntropyLoss,
        _projected(),
        twin=_linear_cross_entropy,
        waivers=[
            IGNORED_NAN,
            Waiver(
                "batch-of-one",
                "torch's chunked path has the gradient 0/0 where all targets are ignored; its plain path has 0",
                when=lambda case: case.id == "chunks-mean",
            ),
        ],
    )


def labels_as_floats(*shape: int) -> Draw:
    """Targets that are 0.0 or 1.0."""
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


def _projected() -> list[Case]:
    def loss(**options: Any) -> LinearCrossEntropyLoss:
        return LinearCrossEntropyLoss(3, 5, **options)

    x, t, p, ignored = normal(7, 3), labels(7, classes=5), probabilities(7, 5, axis=1), labels(7, classes=5, ignored=2)
    return [
        *(Case(loss(reduction=r), x, t, id=r) for r in REDUCTIONS),
        *(Case(loss(bias=True, weight=CLASS_WEIGHTS, reduction=r), x, t, id=f"bias-weight-{r}") for r in REDUCTIONS),
        *(Case(loss(ignore_index=2, bias=True, reduction=r), x, ignored, id=f"ignored-{r}") for r in REDUCTIONS),
        Case(loss(weight=CLASS_WEIGHTS, label_smoothing=0.3), x, labels(7, classes=5, ignored=-100), id="smoothing"),
        Case(loss(weight=CLASS_WEIGHTS, bias=True, label_smoothing=0.7), x, p, id="probabilities"),
        Case(loss(reduction="none"), x, p, id="probabilities-none"),
        Case(loss(out_features=(2,), bias=True), x, labels(7, 2, classes=5), id="positions"),
        Case(loss(out_features=(2, 3), weight=CLASS_WEIGHTS, reduction="none"), x, labels(7, 2, 3, classes=5), id="grid"),
        Case(loss(out_features=(2,), bias=True), x, probabilities(7, 5, 2, axis=1), id="probabilities-positions"),
        Case(LinearCrossEntropyLoss(2, 3, bias=True), normal(2), labels(classes=3), id="one-sample"),
        Case(loss(bias=True), normal(3), probabilities(5, axis=0), id="one-sample-probabilities"),
        *(
            Case(loss(bias=True, ignore_index=2, options={"batch_chunk_size": 2}, reduction=r), x, ignored, id=f"chunks-{r}")
            for r in REDUCTIONS
        ),
    ]


def _linear_cross_entropy(layer: Any) -> Any:
    """The twin: options and weight are objects of torch's."""
    import torch

    given = layer.given()
    if "options" in given:
        given["options"] = torch.nn.LinearCrossEntropyOptions(**given["options"], allow_retain_graph=True)
    if "weight" in given:
        given["weight"] = torch.tensor(given["weight"])
    return torch.nn.LinearCrossEntropyLoss(**given)
