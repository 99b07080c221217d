"""Cases of the adaptive softmax: every kind of target, a cluster that is not used, a projection to nothing."""

from collections.abc import Iterator

from refbp.draws import exactly, labels, normal
from refbp.hookspecs import hookimpl
from refbp.layers.adaptive_softmax import AdaptiveLogSoftmaxWithLoss
from refbp.spec import Case, Spec, Waiver


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """AdaptiveLogSoftmaxWithLoss."""
    ASM = AdaptiveLogSoftmaxWithLoss
    every = exactly(0, 7, 1, 3, 2, 5, 4, 6, 2)
    yield Spec(
        ASM,
        [
            Case(ASM(5, 8, (2, 5), div_value=1.7), normal(9, 5), every, id="every-class"),
            Case(ASM(5, 8, (2, 5), div_value=1.3, head_bias=True), normal(9, 5), every, id="head-bias"),
            Case(ASM(17, 13, (3,)), normal(7, 17), labels(7, classes=13), id="one-cluster"),
            Case(ASM(7, 5, (1, 3), 1.3, True), normal(11, 7), labels(11, classes=5), id="shortlist-of-one"),
            # its single class is certain, so that nothing in it has a gradient
            Case(ASM(2, 3, (1, 2), 1.3), exactly([[0.3, -1.7], [0.7, 1.1]]), exactly(2, 1), id="clusters-of-one"),
            Case(ASM(5, 8, (2, 5), 1.7, True), normal(5), exactly(6, shape=()), id="one-sample-in-a-cluster"),
            Case(ASM(5, 8, (2, 5), 1.7), normal(5), exactly(1, shape=()), id="one-sample-in-the-shortlist"),
            Case(ASM(5, 8, (2, 5), 1.7), normal(3, 5), exactly(0, 7, 1), id="a-cluster-without-target"),
            Case(ASM(3, 8, (2, 5), head_bias=True), normal(9, 3), every, id="projection-to-nothing"),
        ],
        waivers=[
            Waiver(
                "nonfinite",
                "torch has 1 − p = NaN where p is always 1",
                when=lambda case: case.id == "clusters-of-one",
            )
        ],
    )
