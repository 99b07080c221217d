"""Cases of the element-wise activations: generic points, every kink by its exact value, and the tails."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refbp.draws import exactly, normal, signed, uniform
from refbp.hookspecs import hookimpl
from refbp.layers import activation as act
from refbp.spec import Case, Convention, Spec, Waiver

FLAT = "slope 0: the flat side wins"
LEFT = "the slope of x ≤ 0"
NAN_TAIL = Waiver(
    "nonfinite",
    "torch's gradient at a NaN differs between its vectorised body and its scalar tail",
    thread="pytorch #195075",
    always=False,
)
AT_INFINITY = Waiver(
    "nonfinite", "torch's gradient at ±∞ is NaN, where the limit exists", thread="pytorch #185770", always=False
)


def _cases(*layers: Any, kinks: Sequence[float] = (0.0,), smooth: bool = False, root: bool = False) -> list[Case]:
    """The same inputs for every element-wise layer: two and four axes, a scalar, kinks, and the tails of a smooth one.

    Errors are judged beside an array's largest value: a tail that nears 0, and what lies around a root, show the digits that
    they have kept only where nothing larger stands beside them.
    """
    first, *others = layers
    return [
        Case(first, normal(3, 5, std=2.0), id="matrix"),
        *(Case(layer, normal(5, 3, std=2.0), id=f"option{i}") for i, layer in enumerate(others, 1)),
        Case(first, normal(2, 3, 5, 7, std=3.0), id="four-axes"),
        Case(first, uniform(low=0.6, high=0.9), id="scalar"),
        *([Case(first, uniform(17, low=-9.0, high=-4.0), id="left-tail")] if smooth else []),
        *([Case(first, uniform(17, low=4.0, high=9.0), id="right-tail")] if smooth else []),
        *([Case(first, signed(17, low=1e-4, high=1e-3), id="near-zero")] if root else []),
        Case(first, exactly(*sorted({-1.0, 1.0, 0.0, -0.0, *kinks})), id="kink"),
    ]


def _inexact(case: Case) -> bool:
    """Whether 1/alpha is no float32 number."""
    inverse = 1 / case.layer.arguments()["alpha"]
    return float(np.float32(inverse)) != float(inverse)


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Every element-wise activation of torch.nn."""
    zero_flat = [Convention("x = 0", FLAT)]
    zero_left = [Convention("x = 0", LEFT)]
    yield Spec(act.ReLU, _cases(act.ReLU(), act.ReLU(inplace=True)), conventions=zero_flat)
    yield Spec(
        act.ReLU6,
        _cases(act.ReLU6(), act.ReLU6(inplace=True), kinks=(0.0, 6.0)),
        conventions=[Convention("x = 0 and x = 6", FLAT)],
        waivers=[NAN_TAIL],
    )
    yield Spec(
        act.Hardtanh,
        [
            *_cases(act.Hardtanh(), act.Hardtanh(-0.3, 1.7), act.Hardtanh(inplace=True), kinks=(-1.0, 1.0)),
            Case(act.Hardtanh(min_value=-2.0, max_value=0.7), normal(7, std=2.0), id="former-names"),
            Case(act.Hardtanh(-0.5, 2.0), exactly(-0.5, 2.0), id="kink-at-others"),
        ],
        conventions=[Convention("x = min_val and x = max_val", FLAT)],
        waivers=[NAN_TAIL],
    )
    yield Spec(
        act.Threshold,
        [
            *_cases(act.Threshold(0.3, 2.3), act.Threshold(-0.7, -0.7), act.Threshold(0.1, 20.0, inplace=True)),
            Case(act.Threshold(0.5, 2.3), exactly(0.5), id="jump"),
            Case(act.Threshold(0.5, 0.5), exactly(0.5, 1.0), id="kink-without-jump"),
        ],
        conventions=[Convention("x = threshold", FLAT)],
    )
    yield Spec(
        act.LeakyReLU,
        _cases(act.LeakyReLU(), act.LeakyReLU(0.3), act.LeakyReLU(0.7, inplace=True), act.LeakyReLU(1.7)),
        conventions=zero_left,
    )
    yield Spec(
        act.ELU,
        [
            *_cases(act.ELU(), act.ELU(0.3), act.ELU(1.7, inplace=True), root=True),
            Case(act.ELU(0.3), exactly(-1.0, 0.0, 1.0), id="kink-of-slopes"),
        ],
        conventions=[Convention("x = 0, alpha ≠ 1", "alpha, " + LEFT)],
        waivers=[NAN_TAIL],
    )
    yield Spec(
        act.CELU,
        [
            *_cases(act.CELU(), act.CELU(2.0), act.CELU(inplace=True), root=True),
            Case(act.CELU(0.3), exactly(-10.0, -1.3, -0.2, 0.7), id="alpha-rounded-by-torch"),
            Case(act.CELU(0.7), normal(5, 3, std=2.0), id="alpha-rounded-by-torch-too"),
        ],
        waivers=[
            NAN_TAIL,
            Waiver(
                "gradients",
                "torch's gradient rounds 1/alpha to float32",
                when=_inexact,
                size=1e-5,
            ),
        ],
    )
    yield Spec(
        act.SELU,
        _cases(act.SELU(), act.SELU(inplace=True), root=True),
        conventions=[Convention("x = 0", f"{act.SELU_SCALE * act.SELU_ALPHA:.10f}, {LEFT}")],
        waivers=[NAN_TAIL],
    )
    yield Spec(act.GELU, _cases(act.GELU(), act.GELU("tanh"), act.GELU(approximate="tanh"), smooth=True), waivers=[AT_INFINITY])
    yield Spec(act.Sigmoid, _cases(act.Sigmoid(), smooth=True))
    yield Spec(act.LogSigmoid, _cases(act.LogSigmoid(), smooth=True))
    blocks = Case(act.SiLU(), normal(2, 16389), id="more-than-one-block")  # large arrays are computed in parts
    yield Spec(act.SiLU, [*_cases(act.SiLU(), act.SiLU(inplace=True), smooth=True), blocks], waivers=[AT_INFINITY])
    yield Spec(act.Mish, _cases(act.Mish(), act.Mish(inplace=True), smooth=True), waivers=[AT_INFINITY])
    yield Spec(
        act.Softplus,
        [
            *_cases(act.Softplus(), act.Softplus(0.3), act.Softplus(1.7, threshold=2.3), act.Softplus(-1.3, 1.7), smooth=True),
            Case(act.Softplus(2.0, threshold=3.0), exactly(1.0, 1.5, 2.0), id="at-the-threshold"),
        ],
        conventions=[Convention("beta x = threshold, where y jumps", "σ(threshold), the slope of beta x ≤ threshold")],
    )
    yield Spec(act.Softsign, _cases(act.Softsign(), smooth=True), waivers=[AT_INFINITY])
    yield Spec(act.Tanh, _cases(act.Tanh(), smooth=True))
    yield Spec(act.Tanhshrink, _cases(act.Tanhshrink(), smooth=True))
    yield Spec(
        act.Hardshrink,
        _cases(act.Hardshrink(), act.Hardshrink(0.3), act.Hardshrink(0.0), kinks=(-0.5, 0.5)),
        conventions=[Convention("x = ±lambd, where y jumps", "slope 0")],
        waivers=[NAN_TAIL],
    )
    yield Spec(
        act.Softshrink,
        _cases(act.Softshrink(), act.Softshrink(0.3), act.Softshrink(0.0), kinks=(-0.5, 0.5)),
        conventions=[Convention("x = ±lambd", FLAT)],
        waivers=[NAN_TAIL],
    )
    yield Spec(
        act.Hardsigmoid,
        _cases(act.Hardsigmoid(), act.Hardsigmoid(inplace=True), kinks=(-3.0, 3.0)),
        conventions=[Convention("x = ±3", FLAT)],
        waivers=[Waiver("gradients", "torch's gradient is float32(1/6) also in float64", size=1e-7)],
    )
    yield Spec(
        act.Hardswish,
        _cases(act.Hardswish(), act.Hardswish(inplace=True), kinks=(-3.0, 3.0)),
        conventions=[Convention("x = −3 and x = 3", "slope 0 and slope 1: the outer side wins")],
        waivers=[NAN_TAIL],
    )
    yield Spec(
        act.PReLU,
        [
            Case(act.PReLU(), normal(3, 5), id="shared"),
            Case(act.PReLU(), normal(2, 3, 5, 7), id="shared-four-axes"),
            Case(act.PReLU(), normal(), id="scalar"),
            Case(act.PReLU(5, init=0.3), normal(3, 5), id="per-channel"),
            Case(act.PReLU(3, 0.7), normal(2, 3, 5, 7), id="per-channel-four-axes"),
            Case(act.PReLU(), exactly(-1.0, 0.0, -0.0, 1.0), id="kink", state={"weight": exactly(0.3, shape=(1,))}),
        ],
        conventions=[Convention("x = 0", "weight, " + LEFT)],
    )
    yield Spec(
        act.RReLU,
        [
            Case(act.RReLU(), normal(3, 5), id="matrix"),
            Case(act.RReLU(0.3, 0.7), normal(2, 3, 5), id="wide"),
            Case(act.RReLU(0.3, 0.3), normal(7), id="one-slope"),
            Case(act.RReLU(0.1, 0.7, inplace=True), normal(5, 3), id="in-place"),
            Case(act.RReLU(0.1, 0.7, training=False), normal(5, 3), id="evaluation"),
            Case(act.RReLU(), exactly(-1.0, 0.0, 1.0), id="kink"),
        ],
        # torch draws a slope only where x ≤ 0, so the probe must be positive in the same places
        noise=lambda _layer, probe, x: (np.where(x > 0, 1, -probe(np.where(x > 0, 1.0, -1.0))),),
        conventions=[Convention("x = 0", LEFT)],
    )
