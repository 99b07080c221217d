"""Cases of distances and norms: every p, broadcast inputs, zero vectors, ties, and lengths whose squares overflow."""

from collections.abc import Iterator
from math import inf
from typing import Any

from refbp.cases.normalization import lone
from refbp.draws import exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.distance import CosineSimilarity, Normalize, PairwiseDistance
from refbp.spec import Case, Convention, Spec, Waiver

HUGE, TINY = ([[4e160, -3e160]], [[-1e160, -1e160]]), ([[4e-170, -3e-170]], [[1e-170, 1e-170]])
POWERS = "torch raises components to the power p as they are: where that overflows or underflows, norm and gradient are wrong"
ZEROS = [
    Convention("a component of 0", "0, the sign of 0"),
    Convention("p = ±∞, components of equal size", "each gets an equal share"),
]


def _beyond(*checks: str) -> list[Waiver]:
    return [Waiver(c, POWERS, when=lambda case: case.id in ("huge", "tiny"), thread="pytorch #193006") for c in checks]


def normalize_twin(layer: Any) -> Any:
    """torch.nn.functional.normalize as a module."""
    import torch

    class Twin(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.normalize(x, layer.p, layer.dim, layer.eps)

    return Twin()


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """PairwiseDistance, CosineSimilarity, Normalize."""
    rows = normal(3, 5)
    zeros, flat = exactly([[0.0, 1.0, -2.0], [0.0, 0.0, 0.0], [2.0, -2.0, 1.0]]), exactly(0.0, shape=(1,))
    yield Spec(
        PairwiseDistance,
        [
            *(Case(PairwiseDistance(p), rows, rows, id=f"p={p}") for p in (2.0, 1.0, 3.0, 1.7, 0.3, inf, -1.7, -inf, 0.0)),
            Case(PairwiseDistance(3, eps=0.3, keepdim=True), rows, rows, id="keepdim"),
            Case(PairwiseDistance(), normal(5), normal(5), id="vectors"),
            Case(PairwiseDistance(1.7, keepdim=True), normal(5), normal(5), id="vectors-keepdim"),
            Case(PairwiseDistance(eps=0.3), normal(2, 3, 5), normal(2, 3, 5), id="three-axes"),
            Case(PairwiseDistance(), rows, normal(5), id="rows-and-a-vector"),
            Case(PairwiseDistance(1.7), normal(1, 5), normal(3, 1), id="broadcast"),
            Case(PairwiseDistance(), normal(), normal(), id="scalars"),
            *(Case(PairwiseDistance(p, eps=0.0), zeros, flat, id=f"zeros-p={p}") for p in (2, 1, 3, 0.3, inf, -inf, -1)),
            *(Case(PairwiseDistance(eps=0.0), *map(exactly, v), id=i) for v, i in ((HUGE, "huge"), (TINY, "tiny"))),
        ],
        conventions=ZEROS,
        waivers=_beyond("outputs", "gradients", "batch-of-one"),
    )
    frozen = (
        "torch clamps the norm to ε where autograd does not see it: below ε it divides by ε, and still sends a gradient"
        " through the norm"
    )
    below = Waiver("gradients", frozen, when=lambda case: case.id in ("below-eps", "one-below-eps"), thread="pytorch #50473")
    yield Spec(
        CosineSimilarity,
        [
            Case(CosineSimilarity(), rows, rows, id="rows"),
            Case(CosineSimilarity(), normal(2, 5, 3), normal(2, 5, 3), id="inner"),
            Case(CosineSimilarity(dim=-1, eps=0.3), normal(2, 3, 5), normal(2, 3, 5), id="last"),
            Case(CosineSimilarity(dim=0), rows, rows, id="columns"),
            Case(CosineSimilarity(dim=0), normal(5), normal(5), id="vectors"),
            Case(CosineSimilarity(), rows, normal(5), id="rows-and-a-vector"),
            Case(CosineSimilarity(), normal(1, 5), rows, id="broadcast"),
            Case(CosineSimilarity(dim=-1), exactly(0.5), exactly(-2.0), id="scalars"),
            Case(CosineSimilarity(eps=10.0), rows, rows, id="below-eps"),
            Case(CosineSimilarity(eps=0.7), normal(3, 5, std=0.1), normal(3, 5, std=3.0), id="one-below-eps"),
            Case(CosineSimilarity(eps=5.0), exactly([[3.0, 4.0]]), exactly([[6.0, 7.0]]), id="norm=eps"),
            Case(CosineSimilarity(eps=0.3), exactly([[0.0, 0.0]]), exactly([[1.0, 2.0]]), id="zero"),
            *(Case(CosineSimilarity(eps=0.0), *map(exactly, v), id=i) for v, i in ((HUGE, "huge"), (TINY, "tiny"))),
        ],
        conventions=[Convention("‖x‖ = ε", "the gradient of x / ‖x‖")],
        waivers=[below, *_beyond("outputs", "gradients", "batch-of-one")],
    )
    yield Spec(
        Normalize,
        [
            *(Case(Normalize(p), rows, id=f"p={p}") for p in (2.0, 1.0, 3.0, 1.7, 0.3, inf, -1.7, -inf, 0.0)),
            Case(Normalize(dim=-1), normal(2, 3, 5), id="last"),
            Case(Normalize(3, dim=0), rows, id="columns"),
            Case(Normalize(1.7, dim=(0, 2)), normal(2, 3, 5), id="two-axes"),
            Case(Normalize(dim=0), normal(5), id="vector"),
            Case(Normalize(1.7, dim=0), exactly(0.7), id="scalar"),
            Case(Normalize(eps=10.0), rows, id="below-eps"),
            *(Case(Normalize(p, eps=0.3), zeros, id=f"zeros-p={p}") for p in (2, 1, 3, 0.3, inf)),
            Case(Normalize(0), exactly([[1.0, 1.0, -2.0]]), id="ones-p=0"),
            Case(Normalize(eps=5.0), exactly([[3.0, 4.0], [6.0, 7.0]]), id="norm=eps"),
            *(Case(Normalize(eps=0.0), exactly(v[0]), id=i) for v, i in ((HUGE, "huge"), (TINY, "tiny"))),
        ],
        twin=normalize_twin,
        conventions=[*ZEROS, Convention("‖x‖ = ε", "the gradient of x / ‖x‖")],
        waivers=[
            *_beyond("outputs", "gradients", "batch-of-one"),
            lone("scalar"),
        ],
    )
