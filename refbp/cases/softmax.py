"""Cases of the softmax family and the gated linear unit."""

from collections.abc import Iterator

from refbp.draws import constant, exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.softmax import GLU, LogSoftmax, Softmax, Softmax2d, Softmin
from refbp.spec import Case, Spec, Waiver


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Softmax, Softmin, LogSoftmax, Softmax2d, GLU."""
    for cls in (Softmax, Softmin, LogSoftmax):
        yield Spec(
            cls,
            [
                Case(cls(dim=1), normal(3, 5), id="rows"),
                Case(cls(dim=0), normal(3, 5), id="columns"),
                Case(cls(dim=-2), normal(2, 3, 5, 7), id="inner"),
                Case(cls(), normal(3, 5), id="no-dim-two-axes"),
                Case(cls(), normal(3, 5, 2), id="no-dim-three-axes"),
                Case(cls(dim=1), exactly([[0.3], [-2.0], [7.0]]), id="one-class"),
                Case(cls(dim=-1), exactly([[30.0, 0.0, -30.0], [0.0, 0.0, 0.0], [-700.0, 1.0, 2.0]]), id="confident"),
                Case(cls(dim=1), constant(0.3, 2, 5), id="ties"),
            ],
        )
    yield Spec(
        Softmax2d,
        [
            Case(Softmax2d(), normal(2, 3, 5, 7), id="batch"),
            Case(Softmax2d(), normal(3, 5, 7), id="one-image"),
            Case(Softmax2d(), exactly(0.3, -2.0, 7.0, 0.0, shape=(2, 1, 1, 2)), id="one-channel"),
        ],
    )
    yield Spec(
        GLU,
        [
            Case(GLU(), normal(3, 10), id="last"),
            Case(GLU(dim=1), normal(3, 4, 5), id="channels"),
            Case(GLU(0), normal(6, 5), id="first"),
            Case(GLU(), normal(14), id="vector"),
            Case(GLU(), exactly([[2.0, -1.0, 40.0, -40.0]]), id="saturated"),
        ],
        waivers=[
            Waiver(
                "nonfinite",
                "torch's σ (1 − σ) is 0 where σ rounds to 1, and ∞ · 0 is NaN",
                when=lambda case: case.id == "saturated",
                always=False,  # if the element that is made infinite has such a gate
            )
        ],
    )
