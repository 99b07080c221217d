"""Cases of LayerNorm and RMSNorm."""

from collections.abc import Iterator

from refbp.cases.normalization import HUGE, SANE, TINY, lone, squared
from refbp.draws import constant, exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.layer_norm import LayerNorm, RMSNorm
from refbp.spec import Case, Spec, Waiver


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """LayerNorm and RMSNorm."""
    yield Spec(
        LayerNorm,
        [
            Case(LayerNorm(5), normal(3, 5, mean=0.7), id="rows"),
            Case(LayerNorm((3, 5)), normal(2, 3, 5, std=1.7), id="two-axes"),
            Case(LayerNorm((5,), eps=0.03), normal(2, 3, 7, 5), id="four-axes"),
            Case(LayerNorm((3, 5)), normal(3, 5), id="one-sample"),
            Case(LayerNorm(5, elementwise_affine=False), normal(3, 5), id="no-affine"),
            Case(LayerNorm((2, 3), bias=False), normal(5, 2, 3), id="no-bias"),
            Case(LayerNorm(5, eps=0.03, elementwise_affine=False, bias=False), normal(3, 5), id="nothing"),
            Case(LayerNorm(1, eps=0.3), exactly([[1.0], [-2.0]]), id="one-element"),
            Case(LayerNorm(7), constant(10000.1, 3, 7), id="constant-rows"),
            Case(LayerNorm(3), exactly(HUGE, SANE, shape=(2, 3)), id="huge"),
            Case(LayerNorm(3, eps=0.0), exactly([TINY]), id="tiny"),
        ],
        waivers=[
            *squared("outputs", "gradients", "batch-of-one"),
            lone("one-element"),
        ],
    )
    cubed = "torch multiplies by the cube of 1/√(mean(x²) + ε), which underflows long before the gradient does"
    large = Waiver("gradients", cubed, when=lambda case: case.id == "large")
    yield Spec(
        RMSNorm,
        [
            Case(RMSNorm(5), normal(3, 5, mean=0.7), id="rows"),
            Case(RMSNorm((3, 5)), normal(2, 3, 5, std=1.7), id="two-axes"),
            Case(RMSNorm((5,), eps=0.03), normal(2, 3, 7, 5), id="four-axes"),
            Case(RMSNorm((3, 5), eps=1.7), normal(3, 5), id="one-sample"),
            Case(RMSNorm(5, elementwise_affine=False), normal(3, 5), id="no-affine"),
            Case(RMSNorm(5), exactly([[1e-8, -3e-8, 2e-8, 5e-9, -1e-8]]), id="as-small-as-eps"),
            Case(RMSNorm(3, eps=0.3), exactly([[0.0, 0.0, 0.0], [1.0, 0.0, -2.0]]), id="zero-row"),
            Case(RMSNorm(1, eps=0.3), exactly([[1.0], [-2.0]]), id="one-element"),
            Case(RMSNorm(3), exactly([[1e130, -3e130, 2e130]]), id="large"),
            Case(RMSNorm(3), exactly([HUGE]), id="huge"),
            Case(RMSNorm(3, eps=0.0), exactly([TINY]), id="tiny"),
        ],
        waivers=[*squared("outputs", "gradients", "batch-of-one"), large],
    )
