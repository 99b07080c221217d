"""Cases of the embeddings: repeated and padded indices, rows that are too long, empty bags, ties of a maximum."""

from collections.abc import Iterator

import numpy as np

from refbp.draws import exactly, integers, normal
from refbp.hookspecs import hookimpl
from refbp.layers.embedding import Embedding, EmbeddingBag
from refbp.spec import Case, Convention, Exempt, Spec

TABLE = ((0.3, -1.7, 0.7), (1.1, 2.3, -0.3), (-0.7, 0.3, 1.7), (2.3, 1.1, -1.1), (0.7, 0.3, 0.3))
TIED = exactly([[0.3, 1.7, -0.7], [1.1, 1.7, -0.7], [1.1, 0.3, -0.7], [0.3, 0.3, -0.7], [0.3, 0.3, 0.7]])
NINE = [1, 4, 4, 0, 2, 4, 1, 3, 4]
OFFSETS = exactly(0, 3, 3, 4, 9)  # bags of 3, 0, 1, 5, 0 indices
ENDS = exactly(0, 2, 2, 9)  # bags of 2, 0, 7


def _long(case: Case) -> bool:
    return case.layer.max_norm is not None  # type: ignore[attr-defined]


def _padded(case: Case) -> bool:
    return case.layer.padding_idx is not None  # type: ignore[attr-defined]


def _shared(case: Case) -> bool:
    return bool(case.layer.scale_grad_by_freq)  # type: ignore[attr-defined]


NO_DERIVATIVE = [
    Exempt("witness", "the gradient is that of the lookup in rows already scaled: none flows through their norm", when=_long),
    Exempt("witness", "a gradient divided by how often its row is used is no derivative", when=_shared),
]


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Embedding, EmbeddingBag."""
    yield Spec(
        Embedding,
        [
            Case(Embedding(5, 3), integers(7, high=5), id="vector"),
            Case(Embedding(5, 2), integers(7, 3, high=5), id="matrix"),
            Case(Embedding(5, 3), integers(high=5), id="scalar"),
            Case(Embedding(5, 3), integers(2, 3, 5, high=5), id="three-axes"),
            Case(Embedding(37, 13), integers(2, 7, high=37), id="most-rows-unused"),
            Case(Embedding(1, 1), integers(5, high=1), id="one-row"),
            Case(Embedding(5, 3, padding_idx=4), exactly(NINE), id="padding"),
            Case(Embedding(5, 2, padding_idx=-5, sparse=True), exactly([[0, 1], [3, 0]]), id="padding-from-the-end"),
            Case(Embedding(5, 3, max_norm=0.7), integers(2, 3, high=5), id="max-norm"),
            Case(Embedding(5, 3, 2, 1.3, 1.7), exactly([[2, 4], [1, 2]]), id="max-norm-padding"),
            Case(Embedding(5, 4, max_norm=0.3, norm_type=float("inf"), sparse=True), integers(7, high=5), id="max-norm-sparse"),
            Case(Embedding(5, 3, scale_grad_by_freq=True), exactly(NINE), id="frequency"),
            Case(Embedding(5, 2, 1, 1.7, 1.0, True), exactly([NINE[:4], NINE[4:8]]), id="frequency-padding-max-norm"),
            Case(Embedding(5, 3, sparse=True), integers(7, high=5), id="sparse"),
            Case(Embedding(5, 3, _weight=TABLE), integers(7, high=5), id="pretrained"),
            Case(Embedding(5, 3, max_norm=1.3, _weight=TABLE, _freeze=True), integers(7, high=5), id="frozen"),
        ],
        exempt=[
            *NO_DERIVATIVE,
            Exempt("witness", "the padding row is looked up as any other, and has no gradient", when=_padded),
            Exempt("batch-additivity", "how often a row is used is a matter of the whole batch", when=_shared),
        ],
    )
    yield Spec(
        EmbeddingBag,
        [
            Case(EmbeddingBag(5, 3), integers(2, 7, high=5), id="mean"),
            Case(EmbeddingBag(37, 2, mode="sum"), integers(2, 7, high=37), id="sum"),
            Case(EmbeddingBag(5, 3, mode="max"), integers(2, 7, high=5), id="max"),
            *(Case(EmbeddingBag(5, 3, mode=m), exactly(NINE), OFFSETS, id=f"{m}-offsets") for m in ("sum", "mean", "max")),
            *(
                Case(EmbeddingBag(5, 2, mode=m, include_last_offset=True), exactly(NINE), ENDS, id=f"{m}-last-offset")
                for m in ("sum", "mean", "max")
            ),
            *(
                Case(EmbeddingBag(5, 3, mode=m, padding_idx=4), exactly(NINE), exactly(0, 1, 3, 5), id=f"{m}-padding")
                for m in ("sum", "mean", "max")
            ),
            *(
                Case(EmbeddingBag(5, 2, mode=m, padding_idx=-4), exactly([[1, 1], [1, 2], [4, 2]]), id=f"{m}-all-padding")
                for m in ("sum", "mean", "max")
            ),
            Case(EmbeddingBag(5, 3, mode="sum"), integers(2, 7, high=5), None, normal(2, 7), id="weights"),
            Case(EmbeddingBag(5, 2, mode="sum"), exactly(NINE), OFFSETS, normal(9), id="weights-offsets"),
            Case(
                EmbeddingBag(5, 3, mode="sum", padding_idx=4, include_last_offset=True),
                exactly(NINE),
                exactly(0, 3, 9),
                normal(9),
                id="weights-padding",
            ),
            Case(EmbeddingBag(5, 3, mode="sum", sparse=True), integers(3, 5, high=5), None, normal(3, 5), id="weights-sparse"),
            Case(EmbeddingBag(5, 3, sparse=True, padding_idx=1), integers(3, 5, high=5), id="mean-sparse"),
            Case(EmbeddingBag(5, 3, 0.7), integers(3, 5, high=5), id="max-norm"),
            Case(EmbeddingBag(5, 3, 0.4, 1.7, mode="max", padding_idx=0), integers(3, 5, high=5), id="max-norm-max"),
            Case(EmbeddingBag(5, 2, 0.3, 1.0, mode="sum"), integers(3, 5, high=5), None, normal(3, 5), id="max-norm-weights"),
            # torch counts rightly where only the last row of the table that is used is used more than once
            Case(EmbeddingBag(5, 3, scale_grad_by_freq=True, mode="sum"), exactly([[3, 0], [3, 1], [3, 3]]), id="frequency"),
            Case(EmbeddingBag(5, 3, scale_grad_by_freq=True), exactly(3, 0, 3, 1, 3), exactly(0, 2), id="frequency-mean"),
            Case(EmbeddingBag(5, 3, None, 2.0, True, "sum"), exactly([[1, 3], [1, 0]]), id="frequency-miscounted"),
            Case(EmbeddingBag(5, 3, _weight=TABLE), integers(3, 5, high=5), id="pretrained"),
            Case(EmbeddingBag(5, 3, mode="max"), exactly([[1, 0, 1], [4, 3, 2]]), state={"weight": TIED}, id="ties"),
            Case(EmbeddingBag(5, 3), exactly(np.zeros(0, int)), exactly(0, 0), id="nothing-but-empty-bags"),
            Case(EmbeddingBag(5, 3, mode="max"), exactly(np.zeros(0, int)), exactly(0, 0), id="nothing-but-empty-bags-max"),
        ],
        conventions=[Convention("a tie for the maximum of a bag", "the first row in the bag takes the whole gradient")],
        exempt=[
            *NO_DERIVATIVE,
            Exempt("batch-additivity", "how often a row is used is a matter of the whole batch", when=_shared),
            Exempt(
                "gradients",
                "torch divides by how often another row is used (pytorch #190063)",
                when=lambda case: case.id == "frequency-miscounted",
            ),
        ],
    )
