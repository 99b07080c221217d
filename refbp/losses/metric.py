"""Losses of metric learning: vectors that belong together should be close, others apart, by a margin.

They are hinges of a similarity or a distance, at whose corner torch takes the full slope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State
from refbp.layers.distance import PairwiseDistance
from refbp.losses._loss import Loss, Reduction
from refbp.shapes import Shape


class _Cosine(NamedTuple):
    a: Array
    b: Array
    cos: Array  # (N, 1) or (1), as are the next
    norms: tuple[Array, Array]
    slope: Array  # ∂l/∂cos


_EPS = float(np.float32(1e-12))  # torch's constant is a float32 whatever the inputs are


@dataclass(frozen=True)
class CosineEmbeddingLoss(Loss[_Cosine]):
    r"""l = 1 − cos(a, b) where t = 1, max(0, cos(a, b) − margin) where t = −1, 0 for any other t.

    cos = a·b / (|a| |b|), |a|² = Σ a² + ε, ε = 10⁻¹²;   ∂cos/∂a = (b/|b| − cos a/|a|) / |a|, and so for b.
    Shapes: input1, input2 (N, D) or (D), target (N) or (), loss () or as target for reduction="none".
    Torch: torch.nn.CosineEmbeddingLoss, which adds to the squares what torch.nn.CosineSimilarity takes as a floor.
    """

    margin: float = 0.0
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {"input1": "(N, D) or (D)", "input2": "(N, D) or (D)", "target": "any (N) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N) or ()" if self.reduction == "none" else "()"}

    def forward(self, state: Mapping[str, Array], input1: Array, input2: Array, target: Array) -> Forward[_Cosine]:
        a, b, alike, apart = input1, input2, target == 1, target == -1
        norms = np.sqrt((a * a).sum(-1) + _EPS), np.sqrt((b * b).sum(-1) + _EPS)
        cos = (a * b).sum(-1) / norms[0] / norms[1]
        excess = cos - self.margin
        losses = np.where(alike, 1 - cos, 0) + np.where(apart, np.maximum(excess, 0), 0)
        slope = (apart & (excess >= 0)).astype(a.dtype) - alike
        return Forward(self.reduced(losses), _Cosine(a, b, cos[..., None], (norms[0][..., None], norms[1][..., None]), slope))

    def backward(self, saved: _Cosine, dy: Array) -> Grads:
        r"""The quotient rule on a·b/(|a| |b|): b over both norms, less the part of it along a, which only lengthens a."""
        a, b, cos, (norm_a, norm_b), slope = saved
        dcos = (self.spread(dy, slope.shape) * slope)[..., None]
        unit_a, unit_b = a / norm_a, b / norm_b
        return Grads(dcos * (unit_b - cos * unit_a) / norm_a, dcos * (unit_a - cos * unit_b) / norm_b, None)


class _Compared(NamedTuple):
    pairs: list[Any]  # what the distance saved of (anchor, positive), (anchor, negative) and, with swap, (positive, negative)
    active: Array  # where the hinge is not slack
    share: Array | float  # of d(a, n) in the smaller of two distances: 1, 0, or ½ where they tie


class _Triplet(Loss[_Compared]):
    """max(0, d(a, p) − d(a, n) + margin) for any distance d that is a layer of two inputs."""

    margin: float
    swap: bool

    @property
    def distance(self) -> Layer[Any]:
        """The layer that measures how far apart two inputs are."""
        raise NotImplementedError

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.margin > 0, "margin", "a positive number"

    def inputs(self) -> dict[str, str]:
        return dict.fromkeys(("anchor", "positive", "negative"), "(N, *, D) or (D)")

    def outputs(self) -> dict[str, str]:
        return {"loss": "(N, *each) or ()" if self.reduction == "none" else "()"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The distance must be able to take them."""
        self.distance.check(*inputs[:2])

    def forward(self, state: Mapping[str, Array], anchor: Array, positive: Array, negative: Array) -> Forward[_Compared]:
        pairs = [(anchor, positive), (anchor, negative), (positive, negative)][: 2 + self.swap]
        runs = [self.distance.forward(state, *pair) for pair in pairs]
        near, far, *swapped = (np.asarray(run.outputs) for run in runs)
        share: Array | float = 1.0
        if swapped:
            share = (~(far > swapped[0])).astype(far.dtype) - (far == swapped[0]) / np.asarray(2, far.dtype)
            far = np.minimum(far, swapped[0])
        z = self.margin + near - far
        return Forward(self.reduced(np.maximum(z, 0)), _Compared([run.saved for run in runs], z >= 0, share))

    def backward(self, saved: _Compared, dy: Array) -> Grads:
        r"""Where the hinge pulls, d(a, p) has slope 1 and the smaller of the other distances −1; each knows the rest."""
        return Grads(*_added_up(self._pulls(saved, dy)))

    def _pulls(self, saved: _Compared, dy: Array) -> list[Grads]:
        """What each distance pulls on its two ends."""
        dz = self.spread(dy, saved.active.shape) * saved.active
        slopes = dz, -dz * saved.share, -dz * (1 - saved.share)
        return [self.distance.backward(pair, slope) for pair, slope in zip(saved.pairs, slopes, strict=False)]


def _added_up(pulls: list[Grads]) -> list[Array | None]:
    """The gradients of anchor, positive and negative: each is an end of two distances, or, without swap, of one."""
    added: list[Array | None] = [None, None, None]
    for ends, pull in zip(((0, 1), (0, 2), (1, 2)), pulls, strict=False):
        for end, grad in zip(ends, pull.inputs, strict=True):
            before = added[end]
            added[end] = grad if before is None or grad is None else before + grad
    return added


@dataclass(frozen=True)
class TripletMarginLoss(_Triplet):
    r"""l = max(0, d(a, p) − d(a, n) + margin), d(x, y) = ‖x − y + ε‖_p; da, dp, dn through the distances, each as it is used.

    The anchor a should be closer to the positive p than to the negative n, by the margin. With swap, n may be close to
    neither: min(d(a, n), d(p, n)) takes the place of d(a, n).
    Shapes: anchor, positive, negative (*, D), loss () or (*) for reduction="none". Torch: torch.nn.TripletMarginLoss.
    Papers: Schroff, Kalenichenko & Philbin 2015; Balntas et al. 2016 for swap.
    """

    margin: float = 1.0
    p: float = 2.0
    eps: float = 1e-6
    swap: bool = False
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: Reduction = "mean"

    @property
    def distance(self) -> Layer[Any]:
        return PairwiseDistance(self.p, self.eps)


@dataclass(frozen=True)
class TripletMarginWithDistanceLoss(_Triplet):
    r"""l = max(0, d(a, p) − d(a, n) + margin) for any distance d; the gradients are d's, with slope 1 and −1.

    ``distance_function`` is a layer of two inputs, since it must know its gradient: PairwiseDistance(), which is what
    None stands for, or one of your own. If it has parameters, they belong to the loss's, and are learned.
    Shapes: anchor, positive, negative (*, D), as the distance takes them; loss () or the distance's output for
    reduction="none"; distance_function.* as its parameters. Torch: torch.nn.TripletMarginWithDistanceLoss.
    """

    distance_function: Layer[Any] | None = field(default=None, kw_only=True)
    margin: float = field(default=1.0, kw_only=True)
    swap: bool = field(default=False, kw_only=True)
    reduction: Reduction = field(default="mean", kw_only=True)

    @property
    def distance(self) -> Layer[Any]:
        return PairwiseDistance() if self.distance_function is None else self.distance_function

    def params(self) -> dict[str, Shape]:
        return {_PREFIX + n: shape for n, shape in self.distance.params().items()}

    def buffers(self) -> dict[str, Shape]:
        return {_PREFIX + n: shape for n, shape in self.distance.buffers().items()}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """The distance's."""
        fresh = self.distance.init(rng, dtype)
        return State({_PREFIX + n: array for n, array in fresh.items()}, {_PREFIX + n for n in fresh.buffers})

    def forward(self, state: Mapping[str, Array], anchor: Array, positive: Array, negative: Array) -> Forward[_Compared]:
        own = {n.removeprefix(_PREFIX): array for n, array in state.items()}
        return super().forward(own, anchor, positive, negative)

    def backward(self, saved: _Compared, dy: Array) -> Grads:
        r"""As for any distance; its parameters served every pair, so their gradients add up too."""
        pulls = self._pulls(saved, dy)
        params = {_PREFIX + n: np.sum([pull.params[n] for pull in pulls], 0) for n in self.distance.params()}
        return Grads(*_added_up(pulls), **params)


_PREFIX = "distance_function."
