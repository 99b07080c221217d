"""Cases of pooling to a given size. Fractional pooling's samples are those that its twin draws under the same seed."""

from collections.abc import Iterator
from typing import Any

from refbp.cases.pooling import NO_DERIVATIVE, TIES, nonfinite, space, tied
from refbp.draws import Draw, constant, normal, uniform
from refbp.hookspecs import hookimpl
from refbp.layers import adaptive_pooling as pool
from refbp.spec import Case, Exempt, Spec


def _sizes(cls: Any) -> list[tuple[str, Any, Draw]]:
    rank: int = cls.rank
    x, one = normal(2, 3, *space(rank)), normal(3, *space(rank))
    sizes: list[tuple[str, Any, Draw]] = [
        ("one", 1, x),
        ("sharing-positions", 3, x),
        ("dividing", 2, normal(3, 2, *(6, 4, 2)[:rank])),
        ("by-axis", (2, 3, 5)[:rank], one),
        ("more-than-there-are", (13, 2, 4)[:rank], one),
    ]
    if rank > 1:
        sizes += [("as-it-is", (None, 3, 2)[:rank], x), ("all-as-they-are", (None, None, None)[:rank], one)]
    return sizes


def _fractional_cases(cls: Any) -> list[Case]:
    rank: int = cls.rank
    size = (7, 11, 6)[:rank]
    x, one = normal(2, 3, *size), normal(3, *size)
    fixed = (((0.5,) * rank,) * 3,) * 3
    samples = {"_random_samples": uniform(3, 3, rank)}
    return [
        Case(cls(2, 3), x, id="size"),
        Case(cls(2, (3, 5, 4)[:rank]), x, id="size-by-axis"),
        Case(cls((3, 2, 1)[:rank], (2, 7, 3)[:rank], return_indices=True), x, id="kernel-by-axis-indices"),
        Case(cls(2, output_ratio=0.6), one, id="one-image-ratio"),
        Case(cls(3, output_ratio=(0.5, 0.7, 0.3)[:rank], return_indices=True), one, id="one-image-ratio-by-axis-indices"),
        Case(cls(2, 1), x, id="one-window"),
        Case(cls(1, 2), x, id="single-values"),
        Case(cls(2, 3, _random_samples=fixed), x, id="given-samples", state=samples),
        Case(cls(2, output_ratio=0.6, _random_samples=fixed), one, id="one-image-given-samples", state=samples),
        Case(cls(2, 2, return_indices=True), tied(*size), id="ties"),
        Case(cls(3, 3, return_indices=True), constant(0.3, 2, 3, 7, *(6, 8)[: rank - 1]), id="ties-overlapping"),
        Case(cls(2, 2, return_indices=True), nonfinite(*size), id="nonfinite"),
    ]


def _samples(layer: Any, probe: Any, x: Any) -> tuple[Any, ...]:
    """The samples that torch draws; an image without a batch is to torch a batch of one."""
    if layer.buffers():
        return ()
    lead = x.shape[: -layer.rank]
    return (probe.uniform(*(1, *lead)[-2:], layer.rank).reshape(*lead, layer.rank),)


def _call(twin: Any, x: Any) -> Any:
    """Samples are drawn in x's dtype; in float32 torch is given what it draws in float64, for the same windows."""
    import torch

    rank = len(twin.kernel_size)
    if twin._random_samples is None and x.dtype == torch.float32:
        lead = (1, *x.shape[:-rank])[-2:]
        twin._random_samples = torch.rand(*lead, rank, dtype=torch.float64).to(x.dtype)
    return twin(x)


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """AdaptiveMaxPool and AdaptiveAvgPool in one, two and three dimensions; FractionalMaxPool in two and three."""
    for avg in (pool.AdaptiveAvgPool1d, pool.AdaptiveAvgPool2d, pool.AdaptiveAvgPool3d):
        yield Spec(avg, [Case(avg(size), x, id=name) for name, size, x in _sizes(avg)])
    for cls in (pool.AdaptiveMaxPool1d, pool.AdaptiveMaxPool2d, pool.AdaptiveMaxPool3d):
        apart = 1 if cls.rank == 1 else (None, 1, 1)[: cls.rank]
        cases = [Case(cls(size, i % 2 == 1), x, id=name) for i, (name, size, x) in enumerate(_sizes(cls))]
        cases += [
            Case(cls(apart, return_indices=True), tied(*space(cls.rank)), id="ties"),
            Case(cls(3, True), constant(0.3, 2, 3, *space(cls.rank)), id="ties-overlapping"),
            Case(cls(2, return_indices=True), nonfinite(*space(cls.rank)), id="nonfinite"),
        ]
        yield Spec(cls, cases, conventions=TIES, exempt=NO_DERIVATIVE)
    by_place = Exempt(
        "batch-additivity", "given samples belong to places in the batch", when=lambda case: case.id == "given-samples"
    )
    for fractional in (pool.FractionalMaxPool2d, pool.FractionalMaxPool3d):
        yield Spec(
            fractional,
            _fractional_cases(fractional),
            call=_call,
            noise=_samples,
            conventions=TIES,
            exempt=[*NO_DERIVATIVE, by_place],
        )
