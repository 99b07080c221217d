"""Cases of metric learning: pairs and triplets on both sides of the margin, swapped ones, distances with parameters."""

from collections.abc import Iterator
from typing import Any

from refbp.cases.margin import either
from refbp.draws import exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.distance import CosineSimilarity, PairwiseDistance
from refbp.layers.linear import Bilinear
from refbp.losses._loss import Reduction
from refbp.losses.metric import CosineEmbeddingLoss, TripletMarginLoss, TripletMarginWithDistanceLoss
from refbp.spec import Case, Convention, Exempt, Spec

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")


@hookimpl
def refbp_losses() -> Iterator[Spec]:
    """CosineEmbeddingLoss, TripletMarginLoss, TripletMarginWithDistanceLoss."""
    yield Spec(
        CosineEmbeddingLoss,
        [
            *(Case(CosineEmbeddingLoss(reduction=r), normal(7, 5), normal(7, 5), either(7), id=r) for r in REDUCTIONS),
            Case(CosineEmbeddingLoss(0.3), normal(7, 2), normal(7, 2), either(7, integer=True), id="margin"),
            Case(CosineEmbeddingLoss(-0.7, reduction="sum"), normal(7, 3), normal(7, 3), either(7), id="negative-margin"),
            Case(CosineEmbeddingLoss(-0.7), normal(5), normal(5), exactly(-1.0, shape=()), id="one-pair"),
            Case(
                CosineEmbeddingLoss(reduction="none"),
                exactly([[1.0, 0.0], [1.0, 2.0], [1.0, 2.0]]),
                exactly([[0.0, 1.0], [0.3, 0.4], [2.0, 3.0]]),
                exactly(-1.0, 0.5, 1.0),
                id="corner",
            ),
            Case(CosineEmbeddingLoss(), exactly([[0.0, 0.0]]), exactly([[0.3, 0.4]]), exactly([1.0]), id="zero-vector"),
        ],
        conventions=[Convention("cos = margin", "the full slope, as torch's clamp has it")],
        exempt=[
            Exempt(
                "witness",
                "at the zero vector the cosine turns within √ε = 10⁻⁶, less than the witness's step",
                when=lambda case: case.id == "zero-vector",
            )
        ],
    )
    triplet = normal(7, 5), normal(7, 5), normal(7, 5)
    corner = exactly([[0.0, 0.0]]), exactly([[0.0, 2.0]]), exactly([[3.0, 0.0]])
    equilateral = exactly([[0.0, 0.0]]), exactly([[2.0, 0.0]]), exactly([[1.0, 3.0]])
    conventions = [
        Convention("d(a, p) + margin = d(a, n)", "the full slope, as torch's clamp has it"),
        Convention("d(a, n) = d(p, n), swap", "half the slope to each"),
    ]
    yield Spec(
        TripletMarginLoss,
        [
            *(Case(TripletMarginLoss(reduction=r), *triplet, id=r) for r in REDUCTIONS),
            *(Case(TripletMarginLoss(0.3, swap=True, reduction=r), *triplet, id=f"swap-{r}") for r in REDUCTIONS),
            *(
                Case(TripletMarginLoss(1.7, p, 0.3, swap, reduction="none"), *triplet, id=f"p{p}-{swap}")
                for p, swap in ((1.0, True), (1.5, False), (3.0, True), (0.5, False), (float("inf"), True))
            ),
            Case(TripletMarginLoss(2.3, 0.0), *triplet, id="p0"),
            Case(TripletMarginLoss(3.7), normal(5), normal(5), normal(5), id="one-triplet"),
            Case(TripletMarginLoss(swap=True, reduction="sum"), *(normal(2, 3, 5),) * 3, id="three-axes"),
            Case(TripletMarginLoss(1.0, eps=0.0, reduction="none"), *corner, id="corner"),
            Case(TripletMarginLoss(1.7, eps=0.0, swap=True, reduction="none"), *equilateral, id="tie"),
        ],
        conventions=conventions,
    )
    yield Spec(
        TripletMarginWithDistanceLoss,
        [
            *(Case(TripletMarginWithDistanceLoss(reduction=r), *triplet, id=r) for r in REDUCTIONS),
            *(
                Case(
                    TripletMarginWithDistanceLoss(distance_function=distance, margin=1.7, swap=swap, reduction=reduction),
                    *triplet,
                    id=f"{type(distance).__name__}-{reduction}",
                )
                for distance in (PairwiseDistance(p=1.0), CosineSimilarity(), Bilinear(5, 5, 1, bias=False))
                for reduction, swap in zip(REDUCTIONS, (True, False, True), strict=True)
            ),
            Case(TripletMarginWithDistanceLoss(margin=3.7), normal(5), normal(5), normal(5), id="one-triplet"),
            Case(
                TripletMarginWithDistanceLoss(distance_function=CosineSimilarity(), swap=True),
                *(normal(2, 5, 3),) * 3,
                id="second-axis",
            ),
            Case(
                TripletMarginWithDistanceLoss(distance_function=PairwiseDistance(eps=0.0), margin=1.7, swap=True),
                *equilateral,
                id="tie",
            ),
        ],
        twin=_with_distance,
        conventions=conventions,
    )


def _with_distance(layer: Any) -> Any:
    """The twin: its distance is the twin of the layer's."""
    import torch

    from refbp.conformance import twin

    given = layer.given()
    if "distance_function" in given:
        given["distance_function"] = twin.of(layer.distance_function)
    return torch.nn.TripletMarginWithDistanceLoss(**given)
