"""Cases of local response normalisation: odd and even windows, narrower and wider than the channels."""

from collections.abc import Iterator

from refbp.draws import exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.local_response import CrossMapLRN2d, LocalResponseNorm
from refbp.spec import Case, Spec, Waiver


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """LocalResponseNorm and CrossMapLRN2d."""
    yield Spec(
        LocalResponseNorm,
        [
            Case(LocalResponseNorm(3), normal(2, 5, 3, std=30.0), id="three-axes"),
            Case(LocalResponseNorm(3, alpha=0.3, beta=0.7, k=1.3), normal(2, 7, 3, 5), id="odd"),
            Case(LocalResponseNorm(2, alpha=1.7, beta=1.3), normal(2, 5, 3, 2), id="even"),
            Case(LocalResponseNorm(4, alpha=1.7, k=0.3), normal(2, 7, 2, 3, 2), id="even-five-axes"),
            Case(LocalResponseNorm(1, alpha=0.3), normal(2, 3, 5), id="alone"),
            Case(LocalResponseNorm(7, alpha=0.3), normal(2, 3, 5), id="wider-than-the-channels"),
            Case(LocalResponseNorm(4, alpha=0.3), normal(2, 1, 5), id="one-channel"),
            Case(LocalResponseNorm(3, alpha=0.3), exactly(0.0, 0.0, 2.0, -1.0, 0.0, 3.0, shape=(1, 3, 2)), id="zeros"),
        ],
        waivers=[
            Waiver(
                "nonfinite",
                "torch multiplies 0 and ∞ where a neighbour is infinite and β > 1: its gradient is NaN, where the limit is 0",
                when=lambda case: case.layer.beta > 1,  # type: ignore[attr-defined]
                always=False,  # if the element that is made infinite has a neighbour in its window
            )
        ],
    )
    wrong = (
        "torch's window never drops the first channel, and in its backward the window is one channel off: y is not"
        " LocalResponseNorm's, and the gradient is that of neither"
    )
    checks = ("outputs", "gradients", "batch-of-one", "nonfinite")
    yield Spec(
        CrossMapLRN2d,
        [
            Case(CrossMapLRN2d(3, alpha=0.3, beta=0.7, k=1.3), normal(2, 7, 3, 5), id="odd"),
            Case(CrossMapLRN2d(5, alpha=1.7), normal(2, 7, 2, 3), id="wide"),
            Case(CrossMapLRN2d(2, alpha=1.7), normal(2, 5, 3, 2), id="even"),
            Case(CrossMapLRN2d(3), normal(1, 5, 3, 2, std=30.0), id="defaults"),
        ],
        waivers=[Waiver(c, wrong) for c in checks],
    )
