"""Connectionist temporal classification: the likelihood of a label sequence, over every way to align it with the frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads
from refbp.errors import ShapeError, ValueRangeError
from refbp.losses._loss import Loss, Reduction
from refbp.numerics import softmax


class _Aligned(NamedTuple):
    emitted: Array  # (T, N, S): the log-probability that a frame emits what a state stands for
    alpha: Array  # (T + 1, N, S): log P(the first t frames, ending in state s)
    states: Array  # (N, S): the class that each state stands for
    skips: Array  # (N, S): whether a state may follow the one before the last
    losses: Array  # (N): −log P, infinite where no alignment fits
    frames: Array  # (N): how many frames count
    lengths: Array  # (N): how many labels
    shape: tuple[int, ...]  # of log_probs as it was given


@dataclass(frozen=True)
class CTCLoss(Loss[_Aligned]):
    r"""l = −log P(labels) = −log Σ_π Π_t p_t(π_t), over every path π that reads as the labels; ∂l/∂log p_t(k) = −γ_t(k).

    A path names a class for every frame; it is read by merging repeats, then dropping blanks. γ_t(k) is the posterior
    probability that frame t is class k: alignments that explain the labels well pull on it in proportion.
    "mean" divides each loss by its number of labels (at least 1), then averages. Where there are too few frames for the
    labels the loss is ∞ and its gradient NaN; zero_infinity makes both 0.
    Shapes: log_probs (T, N, C) or (T, C); targets (N, S) padded, or (Σ target_lengths) one after another;
    input_lengths, target_lengths (N) or (); loss () or (N) for reduction="none".
    Torch: torch.nn.CTCLoss, whose gradient is p_t(k) − γ_t(k): right once it has passed through a log-softmax, which
    takes the difference away. Paper: Graves et al. 2006.
    """

    blank: int = 0
    reduction: Reduction = "mean"
    zero_infinity: bool = False

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.blank >= 0, "blank", "a class index of at least 0"

    def inputs(self) -> dict[str, str]:
        return {
            "log_probs": "(T, N, C) or (T, C)",
            "targets": "index (N, S) or (S) or (1, S)",
            "input_lengths": "index (N) or ()",
            "target_lengths": "index (N) or ()",
        }

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N) or ()" if self.reduction == "none" else "()"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """Lengths must fit the arrays, and targets must be classes other than the blank."""
        log_probs, targets, frames, lengths = inputs
        steps, classes = log_probs.shape[0], log_probs.shape[-1]
        if self.blank >= classes:
            raise ValueRangeError(f"CTCLoss: blank={self.blank} was given; log_probs has classes from 0 to {classes - 1}.")
        if not log_probs.size:
            raise ShapeError(f"CTCLoss: log_probs has shape {log_probs.shape}; wanted at least one frame and one sequence.")
        for name, values, most in (("input_lengths", frames, steps), ("target_lengths", lengths, None)):
            if values.min() < 0 or (most is not None and values.max() > most):
                bound = "" if most is None else f" and at most {most}, the frames of log_probs"
                raise ValueRangeError(f"CTCLoss: {name} is {values.tolist()}; wanted each at least 0{bound}.")
        padded = targets.ndim == 2
        wanted = int(lengths.max() if padded else lengths.sum())
        if (targets.shape[-1] < wanted) if padded else (targets.shape[-1] != wanted):
            raise ShapeError(
                f"CTCLoss: targets has shape {targets.shape} and target_lengths is {lengths.tolist()}; wanted targets"
                f" {f'(N, {wanted} or more), a padded row for each sequence' if padded else f'({wanted}), one after another'}."
            )
        labels = self._padded(targets, np.atleast_1d(lengths))[1]
        if (wrong := (labels < 0) | (labels >= classes) | (labels == self.blank)).any():
            raise ValueRangeError(
                f"CTCLoss: targets holds {labels[wrong][0]}; wanted classes from 0 to {classes - 1} other than"
                f" blank={self.blank}."
            )

    def _padded(self, targets: Array, lengths: Array) -> tuple[Array, Array]:
        """The labels as rows with blanks after their ends, and all of them one after another."""
        kept = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
        rows = np.full(kept.shape, self.blank)
        rows[kept] = labels = targets[:, : kept.shape[1]][kept] if targets.ndim == 2 else targets[: kept.sum()]
        return rows, labels

    def forward(
        self, state: Mapping[str, Array], log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array
    ) -> Forward[_Aligned]:
        logp = log_probs if log_probs.ndim == 3 else log_probs[:, None]
        frames, lengths = np.atleast_1d(input_lengths), np.atleast_1d(target_lengths)
        labels, _ = self._padded(targets, lengths)
        steps, batch, _ = logp.shape
        rows = np.arange(batch)

        # The states a path walks through: start, blank, l₁, blank, l₂, …, blank. It may stay, go on by one, or skip the
        # blank between two labels that differ. Nothing is emitted in the start state, so nothing returns to it.
        states = np.full((batch, 2 * labels.shape[1] + 2), self.blank)
        states[:, 2::2] = labels
        skips = np.zeros(states.shape, bool)
        skips[:, 2::2] = np.diff(labels, axis=1, prepend=self.blank) != 0
        emitted = logp[:, rows[:, None], states]
        emitted[:, :, 0] = -np.inf

        alpha = np.full((steps + 1, *states.shape), -np.inf, logp.dtype)
        alpha[0, :, 0] = 0
        for t in range(steps):
            alpha[t + 1] = emitted[t] + _from_before(alpha[t], skips)
        last = 2 * lengths
        likelihood = np.logaddexp(alpha[frames, rows, last], alpha[frames, rows, last + 1])
        losses = -likelihood
        saved = _Aligned(emitted, alpha, states, skips, losses, frames, lengths, log_probs.shape)
        if self.zero_infinity:
            losses = np.where(losses == np.inf, 0, losses)
        if self.reduction == "mean":
            losses = losses / np.maximum(lengths, 1).astype(logp.dtype)
        return Forward(self.reduced(losses.reshape(input_lengths.shape)), saved)

    def backward(self, saved: _Aligned, dy: Array) -> Grads:
        r"""∂ log P/∂ log p_t(k) = Σ_{π: π_t = k} P(π) / P: the share of the paths that emit k in frame t, γ_t(k).

        With α_t(s) the log-probability of the first t frames, ending in state s, and β_t(s) that of all frames after t,
        starting from s, the paths through s weigh e^{α_t(s) + β_t(s)}: P, when added up over s, in any frame. Hence the
        posterior of the states is a softmax of α_t + β_t, and that of a class adds up the states that stand for it.
        """
        emitted, alpha, states, skips, losses, frames, lengths, shape = saved
        steps, batch, _ = emitted.shape
        rows, last = np.arange(batch), 2 * lengths
        counts = np.arange(steps)[:, None] < frames
        dl = self.spread(dy, shape[1:-1]).reshape(batch)
        if self.reduction == "mean":
            dl = dl / np.maximum(lengths, 1).astype(dl.dtype)

        beta = np.full(alpha.shape, -np.inf, alpha.dtype)
        for t in reversed(range(steps)):
            ends = rows[frames == t + 1]
            beta[t + 1, ends] = -np.inf  # whatever stands in the frames after it
            beta[t + 1, ends, last[ends]] = beta[t + 1, ends, last[ends] + 1] = 0
            beta[t] = _from_behind(emitted[t] + beta[t + 1], skips)
        with np.errstate(invalid="ignore"):  # a frame through which no path leads has no posterior
            gamma = softmax(alpha[1:] + beta[1:], 2)
        gamma = np.where((counts & np.isfinite(losses))[:, :, None], gamma, 0)

        dlogp = np.zeros((steps, batch, shape[-1]), dy.dtype)
        np.add.at(dlogp, (np.arange(steps)[:, None, None], rows[:, None], states), -dl[:, None] * gamma)
        undefined = np.isnan(losses) if self.zero_infinity else ~np.isfinite(losses)
        dlogp[counts & undefined] = np.nan
        return Grads(dlogp.reshape(shape), None, None, None)


def _from_before(alpha: Array, skips: Array) -> Array:
    """The log-sum over the states from which each state is entered: itself, the one before, the one before that."""
    entered = alpha.copy()
    entered[:, 1:] = np.logaddexp(entered[:, 1:], alpha[:, :-1])
    entered[:, 2:] = np.logaddexp(entered[:, 2:], np.where(skips[:, 2:], alpha[:, :-2], -np.inf))
    return entered


def _from_behind(beta: Array, skips: Array) -> Array:
    """The transpose of :func:`_from_before`: the log-sum over the states that each state leads to."""
    left = beta.copy()
    left[:, :-1] = np.logaddexp(left[:, :-1], beta[:, 1:])
    left[:, :-2] = np.logaddexp(left[:, :-2], np.where(skips[:, 2:], beta[:, 2:], -np.inf))
    return left
