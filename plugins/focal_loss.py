"""Focal loss: a cross-entropy that turns down what is already classified well. A loss with integer targets."""

from dataclasses import dataclass

import numpy as np

from refbp import Case, Forward, Grads, Spec, exactly, hookimpl, labels, normal
from refbp.errors import ValueRangeError
from refbp.losses import Loss, Reduction
from refbp.numerics import log_softmax


@dataclass(frozen=True)
class FocalLoss(Loss):
    r"""l = −(1 − pₜ)^γ log pₜ,   p = softmax(x), t the target's class;   dx = l′(pₜ) pₜ ([c = t] − p).

    l′(pₜ) = γ (1 − pₜ)^{γ − 1} log pₜ − (1 − pₜ)^γ / pₜ.
    Shapes: input (N, C), target (N) of class indices, loss () or (N) for reduction="none".
    Paper: Lin et al. 2017.
    """

    gamma: float = 2.0
    reduction: Reduction = "mean"

    def rules(self):
        yield self.gamma >= 1, "gamma", "a number of at least 1, below which the slope at pₜ = 1 is infinite"

    def inputs(self):
        return {"input": "(N, C)", "target": "index (N)"}

    def outputs(self):
        return {"loss": "(N)" if self.reduction == "none" else "()"}

    def check(self, x, target):
        if target.size and not (target.min() >= 0 and target.max() < x.shape[1]):
            raise ValueRangeError(
                f"FocalLoss: target holds classes {target.min()} to {target.max()}; wanted 0 to {x.shape[1] - 1}."
            )

    def forward(self, state, input, target):
        logp = log_softmax(input, 1)
        t = target[:, None]
        log_pt = np.take_along_axis(logp, t, 1)[:, 0]
        losses = -((1 - np.exp(log_pt)) ** self.gamma) * log_pt
        return Forward(self.reduced(losses), saved=(np.exp(logp), log_pt, t))

    def backward(self, saved, dy):
        r"""∂pₜ/∂x = pₜ (e_t − p), the row of the softmax's Jacobian; pₜ l′(pₜ) is written so that nothing divides by pₜ."""
        p, log_pt, t = saved
        pt, g = np.exp(log_pt), self.gamma
        slope = g * (1 - pt) ** (g - 1) * log_pt * pt - (1 - pt) ** g
        one_hot_minus_p = -p
        np.put_along_axis(one_hot_minus_p, t, 1 - pt[:, None], 1)
        return Grads((self.spread(dy, pt.shape) * slope)[:, None] * one_hot_minus_p, None)


def twin(loss):
    """The same loss in torch: what autograd differentiates."""
    import torch

    class Twin(torch.nn.Module):
        def forward(self, x, t):
            log_pt = torch.log_softmax(x, 1).gather(1, t[:, None])[:, 0]
            losses = -((1 - log_pt.exp()) ** loss.gamma) * log_pt
            return {"none": lambda v: v, "mean": torch.mean, "sum": torch.sum}[loss.reduction](losses)

    return Twin()


@hookimpl
def refbp_losses():
    """FocalLoss."""
    yield Spec(
        FocalLoss,
        [
            *(Case(FocalLoss(reduction=r), normal(7, 5), labels(7, classes=5), id=r) for r in ("mean", "sum", "none")),
            Case(FocalLoss(1.7), normal(5, 3), labels(5, classes=3), id="gamma"),
            Case(FocalLoss(1.0, "none"), exactly([[2.0, 0.0], [0.0, 0.0]]), exactly(0, 1), id="points"),
        ],
        twin=twin,
    )
