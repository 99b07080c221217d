"""Cases of pooling over windows on a grid: overlapping, touching and gapped windows, each with every other option."""

from collections.abc import Iterator, Sequence
from math import inf, nan, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.draws import Draw, constant, exactly, integers, normal, special, uniform
from refbp.hookspecs import hookimpl
from refbp.layers import pooling as pool
from refbp.spec import Case, Convention, Exempt, Spec, Waiver

TIES = [
    Convention("equal values in a window", "the first of them, row by row, has all of the slope"),
    Convention("NaN in a window", "the last one is the largest"),
]
NO_DERIVATIVE = [
    Exempt("witness", "at NaN and ±∞ there is no derivative", when=lambda case: case.id == "nonfinite"),
    Exempt(
        "witness",
        "an x that ties in two windows may be chosen in one of them: half of what happens on either side",
        when=lambda case: case.id == "ties-overlapping",
    ),
]


def space(rank: int) -> tuple[int, ...]:
    """Sizes that no kernel below divides, different along each axis."""
    return {1: (11,), 2: (7, 5), 3: (5, 7, 3)}[rank]


def tied(*size: int) -> Draw:
    """A batch of small integers: many windows hold their largest value several times."""
    shape = (2, 2, *size)
    return special(f"tied{shape}", shape, lambda rng: rng.integers(0, 3, shape).astype(float), exact=True)


def nonfinite(*size: int) -> Draw:
    """Windows with one NaN and with two, NaN and infinity, and nothing but −∞."""
    values = np.resize([nan, 1.0, nan, 2.0, inf, inf, -inf, 0.0, nan, 3.0, -inf], (1, 2, *size))
    values[:, 1] = -inf
    return special(f"nonfinite{values.shape}", values.shape, lambda _: values.copy(), exact=True)


def _max_cases(cls: Any) -> list[Case]:
    rank: int = cls.rank
    x, one = normal(2, 3, *space(rank)), normal(3, *space(rank))
    several = [(3, 2, 2)[:rank], (2, 3, 1)[:rank], (1, 0, 1)[:rank], (1, 2, 2)[:rank]]
    return [
        Case(cls(2), x, id="touching"),
        Case(cls(3, 2, 1), x, id="overlapping"),
        Case(cls(2, 3, ceil_mode=True, return_indices=True), x, id="gapped-ceil-indices"),
        Case(cls(3, 1, 1, return_indices=True), x, id="padded-indices"),
        Case(cls(2, 1, 1, dilation=2), x, id="dilated-padded"),
        Case(cls(2, 2, dilation=2, ceil_mode=True), x, id="dilated-ceil"),
        Case(cls(3, stride=2, padding=1, ceil_mode=True), one, id="one-image-padded-ceil"),
        Case(cls(2, return_indices=True), one, id="one-image-indices"),
        Case(cls(1, 2), x, id="single-values"),
        Case(cls(2, 3, 1, ceil_mode=True), normal(2, 2, *(5, 2, 8)[:rank]), id="no-window-in-the-padding-behind"),
        Case(cls(several[0], several[1], several[2], return_indices=True), x, id="by-axis"),
        Case(cls(several[0], dilation=several[3], ceil_mode=True), one, id="by-axis-dilated"),
        Case(cls(2, ceil_mode=True, return_indices=True), tied(*space(rank)), id="ties"),
        Case(cls(3, 2, 1, return_indices=True), constant(0.3, 2, 3, *space(rank)), id="ties-overlapping"),
        Case(cls(3, 2, 1, return_indices=True, ceil_mode=True), nonfinite(*space(rank)), id="nonfinite"),
    ]


def _places(*shape: int, size: Sequence[int]) -> Draw:
    """Indices into planes of a size, no two equal in a plane."""
    n, rank = prod(shape[-len(size) :]), len(size)

    def make(rng: np.random.Generator) -> NDArray[Any]:
        planes = [rng.permutation(prod(size))[:n] for _ in range(prod(shape[:-rank]))]
        return np.reshape(planes, shape)

    return special(f"places{shape}", shape, make)


def _unpool_cases(cls: Any) -> list[Case]:
    rank: int = cls.rank
    small = (5, 3, 2)[:rank]

    def case(layer: Any, size: Sequence[int], id: str, lead: tuple[int, ...] = (2, 3), **options: Any) -> Case:
        return Case(layer, normal(*lead, *small), _places(*lead, *small, size=size), id=id, options=options)

    axes = (3, 2, 2)[:rank], (2, 3, 1)[:rank], (1, 0, 0)[:rank]
    larger = tuple(2 * n + 1 for n in small)
    last_but_one = np.zeros((2, 1, *small), np.int64)
    last_but_one.reshape(2, -1)[:, 1::2] = np.arange(last_but_one[0].size // 2)
    return [
        case(cls(2), [2 * n for n in small], "touching"),
        case(cls(3, 2, 1), [2 * n - 1 for n in small], "overlapping"),
        case(cls(2, 3, padding=1), [3 * n - 3 for n in small], "gapped"),
        case(cls(2), [2 * n for n in small], "one-image", (3,)),
        case(cls(*axes), [(n - 1) * s + k - 2 * p for n, k, s, p in zip(small, *axes, strict=True)], "by-axis"),
        case(cls(2), larger, "larger", output_size=larger),
        case(cls(2), larger, "larger-with-batch", output_size=(2, 3, *larger)),
        case(cls(3, 2), [2 * n for n in small], "smaller-one-image", (2,), output_size=tuple(2 * n for n in small)),
        Case(cls(2), normal(2, 1, *small), exactly(last_but_one), id="overwritten"),
        Case(cls(2), normal(3, 2, *small), integers(3, 2, *small, high=2), id="overwritten-often"),
    ]


def _avg_cases(cls: Any) -> list[Case]:
    rank: int = cls.rank
    x, one = normal(2, 3, *space(rank)), normal(3, *space(rank))
    several = [(3, 2, 2)[:rank], (2, 3, 1)[:rank], (1, 0, 1)[:rank]]
    cases = [
        Case(cls(2), x, id="touching"),
        Case(cls(3, 2, 1), x, id="overlapping-padded"),
        Case(cls(3, 2, 1, count_include_pad=False), x, id="padding-not-counted"),
        Case(cls(2, 3, ceil_mode=True), x, id="gapped-ceil"),
        Case(cls(3, 2, 1, ceil_mode=True), normal(2, 2, *(6, 4, 3)[:rank]), id="hanging-over"),
        Case(cls(3, 2, 1, True, False), normal(2, 2, *(6, 4, 3)[:rank]), id="hanging-over-padding-not-counted"),
        Case(cls(2, 3, 1, ceil_mode=True), normal(2, 2, *(5, 2, 8)[:rank]), id="no-window-in-the-padding-behind"),
        Case(cls(several[0], several[1], several[2], ceil_mode=True), one, id="one-image-by-axis"),
        Case(cls(3, stride=1, padding=1, count_include_pad=False), one, id="one-image-padding-not-counted"),
        Case(cls(1, 2), x, id="single-values"),
    ]
    if rank > 1:
        cases += [
            Case(cls(2, divisor_override=3), x, id="divisor"),
            Case(cls(3, 2, 1, ceil_mode=True, count_include_pad=False, divisor_override=-7), x, id="divisor-at-borders"),
        ]
    return cases


def _tiny(case: Case) -> bool:
    return case.id == "tiny"


LP_WAIVERS = [
    Waiver(
        "gradients",
        "torch's gradient is 0 where a window's powers sum to 0, also for p = 1, where y is the sum itself",
        when=lambda case: case.id == "zero-sum",
    ),
    *(
        Waiver(check, "torch raises x to the power p as it is: where that underflows, y and its gradient are 0", when=_tiny)
        for check in ("outputs", "gradients")
    ),
    Waiver(
        "nonfinite",
        "torch's gradient of a NaN that no window covers is NaN, though no y depends on it",
        when=lambda case: abs(case.layer.norm_type) < inf,  # type: ignore[attr-defined]
        always=False,
    ),
]


def _lp_cases(cls: Any) -> list[Case]:
    rank: int = cls.rank
    x, one = normal(2, 3, *space(rank)), normal(3, *space(rank))
    positive = uniform(2, 3, *space(rank), low=0.5, high=2.0)
    kernel, stride = (3, 2, 2)[:rank], (2, 3, 1)[:rank]
    by_axis = (kernel[0], stride[0]) if rank == 1 else (kernel, stride)  # torch's LPPool1d takes no tuples
    sums = np.resize([1.0, -1.0, 2.0, 3.0, -0.5, 0.5], (2, 1, *(2, 2, 6)[-rank:]))
    return [
        Case(cls(2, 2), x, id="length"),
        Case(cls(1, 3, 2), x, id="sum"),
        Case(cls(3, 2, 1), positive, id="cubes"),
        Case(cls(1.7, 2, 3, ceil_mode=True), positive, id="gapped-ceil"),
        Case(cls(0.7, 3, 2), positive, id="less-than-one"),
        Case(cls(-1.3, 2), positive, id="negative"),
        Case(cls(4, 3, 2, True), normal(3, *(10, 6, 4)[:rank]), id="one-image-hanging-over"),
        Case(cls(2.0, *by_axis, ceil_mode=True), one, id="one-image-by-axis"),
        Case(cls(inf, 3, 2), x, id="largest"),
        Case(cls(-inf, 2, ceil_mode=True), one, id="smallest"),
        Case(cls(2, 2), exactly(np.resize([0.0, 0.0, 0.3, -0.7], (2, 1, *(4, 2, 2)[:rank]))), id="zero"),
        Case(cls(inf, 2), exactly(np.resize([0.0, 0.0, -0.3, 0.3], (2, 1, *(4, 2, 2)[:rank]))), id="largest-ties"),
        Case(cls(inf, 3, 2), nonfinite(*space(rank)), id="nonfinite"),
        Case(cls(1, 2), exactly(sums), id="zero-sum"),
        Case(cls(3, 2), exactly(np.resize([1.0, -1.0], (2, *(4, 2, 2)[:rank]))), id="zero-sum-of-cubes"),
        Case(cls(2, 2), exactly(np.resize([3e-170, -4e-170, 5e-171], (2, *(4, 2, 2)[:rank]))), id="tiny"),
    ]


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """MaxPool, MaxUnpool, AvgPool and LPPool, each in one, two and three dimensions."""
    cls: Any
    for cls in (pool.MaxPool1d, pool.MaxPool2d, pool.MaxPool3d):
        yield Spec(cls, _max_cases(cls), conventions=TIES, exempt=NO_DERIVATIVE)
    overwritten = Waiver(
        "gradients",
        "torch gives the gradient of a place to every x that was written there, though only the last is in y",
        when=lambda case: str(case.id).startswith("overwritten"),
        thread="pytorch #80204, #80827, #67660",
    )
    for cls in (pool.MaxUnpool1d, pool.MaxUnpool2d, pool.MaxUnpool3d):
        yield Spec(cls, _unpool_cases(cls), waivers=[overwritten])
    for cls in (pool.AvgPool1d, pool.AvgPool2d, pool.AvgPool3d):
        yield Spec(cls, _avg_cases(cls))
    for cls in (pool.LPPool1d, pool.LPPool2d, pool.LPPool3d):
        yield Spec(
            cls,
            _lp_cases(cls),
            conventions=[Convention("a window of zeros, p > 1", "slope 0"), *TIES[:1]],
            waivers=LP_WAIVERS,
            exempt=[
                NO_DERIVATIVE[0],
                Exempt("witness", "a cube root's slope at 0 is infinite", when=lambda case: case.id == "zero-sum-of-cubes"),
            ],
        )
