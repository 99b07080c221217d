"""Cases of the likelihoods: counts of zero, a variance below its floor, one variance for a row."""

from collections.abc import Iterator

import numpy as np

from refbp.draws import Draw, exactly, normal, probabilities, signed, special, uniform
from refbp.hookspecs import hookimpl
from refbp.losses._loss import BatchReduction, Reduction
from refbp.losses.likelihood import GaussianNLLLoss, KLDivLoss, PoissonNLLLoss
from refbp.spec import Case, Convention, Spec, Waiver

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")
BATCH_REDUCTIONS: tuple[BatchReduction, ...] = ("mean", "sum", "none", "batchmean")


def log_probabilities(*shape: int) -> Draw:
    """Logarithms of distributions along the last axis."""
    p = probabilities(*shape, axis=-1)
    return special(f"log_{p.text}", shape, lambda rng: np.log(p(rng)))


@hookimpl
def refbp_losses() -> Iterator[Spec]:
    """KLDivLoss, PoissonNLLLoss, GaussianNLLLoss."""
    x, p, logp = log_probabilities(3, 5), probabilities(3, 5, axis=-1), log_probabilities(3, 5)
    yield Spec(
        KLDivLoss,
        [
            *(Case(KLDivLoss(reduction=r), x, p, id=r) for r in BATCH_REDUCTIONS),
            *(Case(KLDivLoss(reduction=r, log_target=True), x, logp, id=f"log-{r}") for r in BATCH_REDUCTIONS),
            Case(KLDivLoss(reduction="batchmean"), log_probabilities(2, 3, 5, 7), probabilities(2, 3, 5, 7, axis=-1)),
            Case(KLDivLoss(reduction="batchmean"), log_probabilities(5), probabilities(5, axis=-1), id="one-axis"),
            Case(KLDivLoss(reduction="batchmean"), normal(), uniform(), id="scalar"),
            Case(KLDivLoss(reduction="none"), exactly(-0.5, -1.0, -2.0), exactly(0.0, 1.0, 0.3), id="one-hot"),
        ],
        conventions=[Convention("target = 0", "NaN for the target: its slope is −∞ on one side, and the other does not exist")],
    )
    rate, count = uniform(3, 5, low=0.3, high=3.0), special("counts(3, 5)", (3, 5), lambda rng: rng.poisson(2.0, (3, 5)) + 0.3)
    yield Spec(
        PoissonNLLLoss,
        [
            *(Case(PoissonNLLLoss(reduction=r), normal(3, 5), count, id=r) for r in REDUCTIONS),
            *(Case(PoissonNLLLoss(log_input=False, reduction=r), rate, count, id=f"rate-{r}") for r in REDUCTIONS),
            Case(PoissonNLLLoss(full=True), normal(3, 5), count, id="full"),
            Case(PoissonNLLLoss(False, True, eps=0.3, reduction="sum"), rate, count, id="rate-full-eps"),
            Case(PoissonNLLLoss(False, eps=0.7), rate, count, id="rate-eps"),
            Case(PoissonNLLLoss(full=True), normal(2, 3, 5, 7), uniform(2, 3, 5, 7, high=5.0), id="four-axes"),
            Case(PoissonNLLLoss(), normal(), uniform(), id="scalar"),
            Case(PoissonNLLLoss(full=True, reduction="none"), exactly(0.3, -0.5), exactly(1.0, 2.0), id="count-of-one"),
            Case(PoissonNLLLoss(full=True, reduction="none"), exactly(0.3, -0.5), exactly(0.0, 2.0), id="count-of-zero"),
            Case(PoissonNLLLoss(False, reduction="none"), exactly(0.3, 0.0), exactly(0.0, 0.0), id="rate-of-zero"),
        ],
        conventions=[Convention("target = 1, full", "Stirling's term begins beyond 1, with a jump: at 1 it has no slope")],
        waivers=[
            Waiver(
                "gradients",
                "torch's Stirling term is log 0 times zero, NaN, for a count of 0, where it has no part in the loss",
                when=lambda case: case.id == "count-of-zero",
            ),
            Waiver(
                "nonfinite",
                "torch's Stirling term has the slope ∞/∞ at a count of ∞",
                when=lambda case: "full=True" in repr(case.layer),
            ),
        ],
    )
    one, var = normal(3, 5), uniform(3, 5, low=0.3, high=2.0)
    yield Spec(
        GaussianNLLLoss,
        [
            *(Case(GaussianNLLLoss(reduction=r), one, one, var, id=r) for r in REDUCTIONS),
            *(Case(GaussianNLLLoss(full=True, reduction=r), one, one, var, id=f"full-{r}") for r in REDUCTIONS),
            Case(GaussianNLLLoss(), one, one, uniform(3, 1, low=0.3), id="variance-of-a-row"),
            Case(GaussianNLLLoss(reduction="none"), one, one, uniform(3, low=0.3), id="variance-without-last-axis"),
            Case(GaussianNLLLoss(), one, one, uniform(1, 5, low=0.3), id="variance-of-a-column"),
            Case(GaussianNLLLoss(reduction="sum"), normal(2, 3, 5), normal(2, 1, 5), uniform(2, 3, 1, low=0.3), id="broadcast"),
            Case(GaussianNLLLoss(), one, normal(1, 5), var, id="target-of-a-column"),
            Case(GaussianNLLLoss(full=True), normal(5), normal(5), uniform(low=0.3), id="one-variance"),
            Case(GaussianNLLLoss(), normal(), normal(), uniform(low=0.3), id="scalar"),
            Case(GaussianNLLLoss(eps=0.3), normal(2, 3, 5, 7), normal(2, 3, 5, 7), uniform(2, 3, 5, 7, low=0.4), id="eps"),
            Case(
                GaussianNLLLoss(reduction="none", eps=0.25),
                exactly(1.0, 2.0, -1.0),
                exactly(0.5, 0.0, 0.0),
                exactly(0.1, 0.3, 0.0),
                id="below-eps",
            ),
            Case(
                GaussianNLLLoss(reduction="none", eps=0.25),
                exactly(1.0, 2.0),
                exactly(0.7, 0.0),
                exactly(0.25, 0.25),
                id="at-eps",
            ),
            Case(GaussianNLLLoss(reduction="none"), signed(7), signed(7), uniform(7, low=0.3), id="one-axis"),
        ],
        conventions=[Convention("var = eps", "the slope above it")],
        waivers=[
            Waiver(
                "gradients",
                "torch clamps without recording it: below eps the gradient of var is not its forward's derivative",
                when=lambda case: case.id == "below-eps",
                thread="pytorch #50473",
            ),
            Waiver(
                "nonfinite",
                "torch lets a NaN through to a var below eps, on which the loss does not depend",
                when=lambda case: case.id == "below-eps",
                always=False,  # if the element that is made NaN stands with such a var
            ),
        ],
    )
