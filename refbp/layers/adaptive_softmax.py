"""The adaptive softmax: rare classes share clusters, so that a step need not look at every class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, uniform_fan_in
from refbp.errors import ValueRangeError
from refbp.numerics import log_softmax
from refbp.shapes import Shape


class _Choice(NamedTuple):
    """A softmax that was asked for one class of each row."""

    logp: Array
    at: Array  # (rows, 1)

    def gradient(self, dy: Array) -> Array:
        r"""Of the scores, for dy of the log-probability asked for: dy (onehot − p).

        For a confident prediction 1 − p of its class has no digits left; the sum of the other p has them all.
        """
        others = -np.exp(self.logp)
        np.put_along_axis(others, self.at, 0, 1)
        np.put_along_axis(others, self.at, -others.sum(1, keepdims=True), 1)
        return dy[:, None] * others


class _Cluster(NamedTuple):
    rows: Array  # which samples have their class here
    x: Array
    hidden: Array
    choice: _Choice


class _Saved(NamedTuple):
    x: Array
    head: _Choice
    clusters: list[_Cluster]
    W: Mapping[str, Array]
    batched: bool


@dataclass(frozen=True)
class AdaptiveLogSoftmaxWithLoss(Layer[_Saved]):
    r"""log p(t) = log softmax(W x + b)[t] in the shortlist;   = log p(cluster) + log softmax(Qᵢ Pᵢ x)[t] in cluster i.

    The head scores the classes below cutoffs[0] and one entry per cluster; cluster i holds the classes from cutoffs[i]
    to the next cutoff, n_classes being the last, and scores them from in_features // div_value^{i+1} features.
    Outputs are log p(target) of every sample and the loss, −mean. Each softmax that a sample passes gives its scores
    the gradient d(log p) (onehot − p); those of a cluster reach x through Qᵢ and Pᵢ, the head's through W.
    Shapes: input (N, in_features) or (in_features), target (N) or () of classes, output (N) or (), loss ();
    head.weight (cutoffs[0] + clusters, in_features), head.bias with head_bias, tail.{i}.0.weight is Pᵢ, tail.{i}.1.weight Qᵢ.
    Torch: torch.nn.AdaptiveLogSoftmaxWithLoss. Paper: Grave et al. 2017.
    """

    in_features: int
    n_classes: int
    cutoffs: tuple[int, ...]
    div_value: float = 4.0
    head_bias: bool = False

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.in_features >= 1, "in_features", "an integer of at least 1"
        rising = all(a < b for a, b in zip((0, *self.cutoffs), (*self.cutoffs, self.n_classes), strict=True))
        yield bool(self.cutoffs) and rising, "cutoffs", f"at least one integer, rising, between 1 and {self.n_classes - 1}"
        yield self.div_value > 0, "div_value", "a number above 0"

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """Each cluster's first class, and the one after its last."""
        return list(zip(self.cutoffs, (*self.cutoffs[1:], self.n_classes), strict=True))

    def params(self) -> dict[str, Shape]:
        head = self.cutoffs[0] + len(self.cutoffs)
        shapes: dict[str, Shape] = {"head.weight": (head, self.in_features)}
        if self.head_bias:
            shapes["head.bias"] = (head,)
        for i, (low, high) in enumerate(self.bounds):
            hidden = int(self.in_features // self.div_value ** (i + 1))
            shapes |= {f"tail.{i}.0.weight": (hidden, self.in_features), f"tail.{i}.1.weight": (high - low, hidden)}
        return shapes

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Every matrix U(−1/√columns, 1/√columns), and the head's bias too."""
        shapes = self.params().items()
        return State({n: uniform_fan_in(rng, s, s[1] if len(s) > 1 else self.in_features, dtype) for n, s in shapes})

    def inputs(self) -> dict[str, str]:
        return {"input": "(N, in_features) or (in_features)", "target": "index (N) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"output": "(N) or ()", "loss": "()"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """Classes must be in range."""
        target = inputs[1]
        if target.size and not (target.min() >= 0 and target.max() < self.n_classes):
            wrong = target.min() if target.min() < 0 else target.max()
            raise ValueRangeError(f"{self!r}: target holds class {wrong}; wanted 0 to {self.n_classes - 1}.")

    def _head(self, W: Mapping[str, Array], x: Array) -> Array:
        return log_softmax(np.dot(x, W["head.weight"].T) + W.get("head.bias", 0), 1)

    def forward(self, state: Mapping[str, Array], input: Array, target: Array) -> Forward[_Saved]:
        x, classes = np.atleast_2d(input), np.atleast_1d(target)
        entry = classes.copy()  # of the head: the class itself, or its cluster's
        output = np.zeros(len(x), x.dtype)
        clusters: list[_Cluster] = []
        for i, (low, high) in enumerate(self.bounds):
            rows = np.flatnonzero((low <= classes) & (classes < high))
            entry[rows] = self.cutoffs[0] + i
            hidden = np.dot(x[rows], state[f"tail.{i}.0.weight"].T)
            choice = _Choice(log_softmax(np.dot(hidden, state[f"tail.{i}.1.weight"].T), 1), classes[rows, None] - low)
            output[rows] = np.take_along_axis(choice.logp, choice.at, 1)[:, 0]
            clusters.append(_Cluster(rows, x[rows], hidden, choice))
        head = _Choice(self._head(state, x), entry[:, None])
        output += np.take_along_axis(head.logp, head.at, 1)[:, 0]
        with np.errstate(invalid="ignore"):  # the mean of nothing is NaN, as in torch
            loss = np.divide(-output.sum(), len(x), dtype=x.dtype)
        batched = input.ndim == 2
        return Forward((output if batched else output[0], loss), _Saved(x, head, clusters, dict(state), batched))

    def backward(self, saved: _Saved, doutput: Array, dloss: Array) -> Grads:
        r"""d(log pₙ) = doutputₙ − dloss / N; it goes on to the head's scores, and to those of n's cluster if it has one."""
        x, head, clusters, W, batched = saved
        dlogp = doutput - dloss / max(len(x), 1) + np.zeros(len(x), x.dtype)
        dscores = head.gradient(dlogp)
        dx = np.dot(dscores, W["head.weight"])
        grads = {"head.weight": np.dot(dscores.T, x)}
        if self.head_bias:
            grads["head.bias"] = dscores.sum(0)
        for i, cluster in enumerate(clusters):
            P, Q = W[f"tail.{i}.0.weight"], W[f"tail.{i}.1.weight"]
            dscores = cluster.choice.gradient(dlogp[cluster.rows])
            dhidden = np.dot(dscores, Q)
            dx[cluster.rows] += np.dot(dhidden, P)
            grads[f"tail.{i}.0.weight"] = np.dot(dhidden.T, cluster.x)
            grads[f"tail.{i}.1.weight"] = np.dot(dscores.T, cluster.hidden)
        return Grads(dx if batched else dx[0], None, **grads)

    def log_prob(self, state: Mapping[str, Array], input: Array) -> Array:
        """The log p of every class, (N, n_classes), for inputs (N, in_features)."""
        head, shortlist = self._head(state, input), self.cutoffs[0]
        tails = [
            head[:, shortlist + i, None]
            + log_softmax(np.dot(np.dot(input, state[f"tail.{i}.0.weight"].T), state[f"tail.{i}.1.weight"].T), 1)
            for i in range(len(self.cutoffs))
        ]
        return np.concatenate([head[:, :shortlist], *tails], 1)
