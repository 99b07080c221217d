"""Gradient descent: θ ← θ − η∇L(θ), or another optimizer's step, over the batches of a data set, epoch after epoch.

Nothing depends on anything but what was asked for and the epoch's number: the batches and the noise of an epoch are drawn
from the seed and that number. So a run that is taken up again goes exactly where it would have gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from refbp.contract import Array, Layer, State
from refbp.errors import ArgumentError, DtypeError, RefbpError, ShapeError, listed
from refbp.layers.container import Sequential, drawn
from refbp.network import evaluation, gradient
from refbp.optim import Optimizer
from refbp.shapes import parse
from refbp.training import data as data_
from refbp.training.checkpoint import Checkpoint, Epoch
from refbp.training.data import Data

ORDER, NOISE, SPLIT = 1, 2, 3  # what is drawn from the seed, besides the state
AT_ONCE = 512  # samples that are evaluated together
GROWN = 1e6  # times the first loss, or 1: what has grown so far does not come back


class DivergedError(RefbpError):
    """The loss has grown beyond all measure, or is no longer a number."""


class Companion(Protocol):
    """Somebody who takes the same steps: torch, where it is asked to."""

    def noise(self, x: Array, target: Array) -> tuple[Array, ...]:
        """The noise of the next step, as it draws it."""

    def step(self, number: int, x: Array, target: Array, state: State, memory: Mapping[str, Array], after: State) -> None:
        """Takes the step itself, from ``state`` and ``memory``, and compares with what came after."""


@dataclass(frozen=True)
class Problem:
    """A network, a loss, and samples to learn from and to test on, ready to be used."""

    net: Sequential
    loss: Layer[Any]
    learn: Data
    test: Data | None
    classes: int | None  # of how many labels a target is one, and None where targets are no labels

    @cached_property
    def evaluated(self) -> Layer[Any]:
        """The network in evaluation."""
        return evaluation(self.net)

    def mean_loss(self, state: State, samples: Data) -> tuple[float, float | None]:
        """The mean loss over samples, and the share whose label is the largest output."""
        total, right = 0.0, 0
        loss_state = self.loss.init(np.random.default_rng(0))
        rng = np.random.default_rng(0)
        with np.errstate(all="ignore"):
            for start in range(0, len(samples), AT_ONCE):
                batch = samples[np.arange(start, min(start + AT_ONCE, len(samples)))]
                noise = _noise(self.evaluated, rng, batch.x)
                y = np.asarray(self.evaluated(state, batch.x, *noise).outputs)
                total += float(np.asarray(self.loss(loss_state, y, batch.target).outputs)) * self.weight(len(batch))
                right += int((y.argmax(1) == batch.target).sum()) if self.classes else 0
        return total / len(samples), right / samples.target.size if self.classes else None

    def weight(self, samples: int) -> int:
        """What a batch's loss is multiplied by to be the sum over its samples."""
        return 1 if getattr(self.loss, "reduction", "mean") == "sum" else samples


def prepared(net: Sequential, loss: Layer[Any], learn: Data, test: Data | None, state: State, dtype: Any) -> Problem:
    """The data as the network and the loss take it, found out by running them; an error names the file and what it holds."""
    if len(loss.inputs()) != 2:
        raise ArgumentError(f"{loss!r} takes {listed(list(loss.inputs()))}; wanted a loss of one prediction and one target.")
    if getattr(loss, "reduction", "mean") == "none":
        raise ArgumentError(f"{loss!r} returns a loss for every sample; wanted one number: reduction='mean' or 'sum'.")
    first = next(iter(net.inputs().values()))
    learn = replace(learn, x=_as_input(learn, first, dtype))
    test = None if test is None else replace(test, x=_as_input(test, first, dtype))
    with np.errstate(all="ignore"):
        y = _prediction(net, learn, state)
        takes = parse(list(loss.inputs().values())[-1]).kind
        reading, classes = _reading(loss, learn, test, y, takes, dtype)
    read = [None if d is None else _read_as(d, y, takes, reading, classes, loss) for d in (learn, test)]
    assert read[0] is not None
    return Problem(net, loss, read[0], read[1], classes)


def _prediction(net: Sequential, samples: Data, state: State) -> Array:
    """What the network makes of the first two samples, or of the only one."""
    tried = evaluation(net)
    x = samples.x[:2]
    try:
        y = tried(state, x, *_noise(tried, np.random.default_rng(0), x)).outputs
    except RefbpError as error:
        raise data_.explained(samples, error) from error
    if isinstance(y, tuple):
        raise ArgumentError(f"{net!r} has {len(y)} outputs; wanted one, the prediction.")
    if len(y) != len(x):
        raise ShapeError(
            f"the network returns {y.shape} for {len(x)} samples; wanted {len(x)} predictions, along the first axis."
        )
    return y


def _reading(loss: Layer[Any], learn: Data, test: Data | None, y: Array, takes: str, dtype: Any) -> tuple[int, int | None]:
    """Which of the readings of a target the loss takes, and of how many classes it is a label, if it is one."""
    target, held = learn.target[: len(y)], loss.init(np.random.default_rng(0), dtype)
    readings = data_.meant(target, y, takes)
    complaint: RefbpError | None = None
    for reading, candidate in enumerate(readings):
        classes = _classes(loss, y, candidate)
        if classes is not None:  # before the loss complains of the first samples' labels without saying whose they are
            for d in filter(None, (learn, test)):
                labels = d.target[:, 0] if d.target.ndim > candidate.ndim else d.target
                data_.check_labels(d, labels, classes, getattr(loss, "ignore_index", None))
        try:
            loss(held, y, candidate)
        except RefbpError as error:
            complaint = complaint or error
            continue
        return reading, classes
    if complaint is not None:
        raise data_.explained(learn, complaint) from complaint
    per, out = (math.prod(a.shape[1:]) for a in (target, y))
    if takes != "" and target.dtype.kind == "f" and per == 1:
        raise DtypeError(
            f"{learn.source}: targets such as {target.flat[0]:.4g} are no whole numbers; {loss!r} wants class labels, 0 to"
            f" {out - 1} for {out} outputs."
        )
    raise ShapeError(
        f"{learn.source}: a target is {per} number{'s' * (per != 1)} and a prediction {out}; wanted as many"
        f" (--targets {out} takes so many columns of a CSV file), or a loss of class labels, such as CrossEntropyLoss."
    )


def _as_input(samples: Data, pattern: str, dtype: Any) -> Array:
    """Integers for a layer that takes indices, and floating-point numbers for all others."""
    if pattern.startswith("index") and samples.x.dtype.kind in "iu":
        return samples.x
    return samples.x.astype(dtype)


def _classes(loss: Layer[Any], y: Array, target: Array) -> int | None:
    """How many classes there are, where the targets are labels of them: what the loss's pattern calls C."""
    axes = parse(next(iter(loss.inputs().values()))).axes(y.shape, {})
    labelled = target.dtype.kind in "iu" and target.ndim == y.ndim - 1 and axes is not None and "C" in axes and y.ndim > 1
    return y.shape[1] if labelled else None


def _read_as(samples: Data, y: Array, takes: str, reading: int, classes: int | None, loss: Layer[Any]) -> Data:
    """All targets, read as the first few were."""
    like = np.broadcast_to(y[:1], (len(samples), *y.shape[1:]))
    target = data_.meant(samples.target, like, takes)[reading]
    if classes is not None:
        data_.check_labels(samples, target, classes, getattr(loss, "ignore_index", None))
    return replace(samples, target=target)


def _noise(net: Layer[Any], rng: np.random.Generator, x: Array) -> tuple[Array, ...]:
    kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    return tuple(a.astype(kind) if a.dtype.kind == "f" else a for a in drawn(net, rng, x.shape))


@dataclass(frozen=True)
class Loop:
    """How a problem is learned: by which optimizer, in batches of how many, from which seed."""

    problem: Problem
    optimizer: Optimizer
    batch: int
    seed: int

    @property
    def steps(self) -> int:
        """How many batches an epoch has. They are of equal size, to one sample: a last one of a few would be noise."""
        return math.ceil(len(self.problem.learn) / self.batch)

    def epoch(self, number: int, begun: Checkpoint, beside: Companion | None = None) -> Iterator[float | Checkpoint]:
        """The loss of each step of one epoch, and at last the run after it."""
        state, memory, total = begun.state, begun.memory, 0.0
        first = begun.history[0].loss if begun.history else None
        order = np.random.default_rng([self.seed, ORDER, number]).permutation(len(self.problem.learn))
        rng = np.random.default_rng([self.seed, NOISE, number])
        for i, rows in enumerate(np.array_split(order, self.steps)):
            batch, step = self.problem.learn[rows], begun.steps + i + 1
            noise = _noise(self.problem.net, rng, batch.x) if beside is None else beside.noise(batch.x, batch.target)
            with np.errstate(all="ignore"):
                found = gradient(self.problem.net, self.problem.loss, state, batch.x, batch.target, *noise)
                loss = float(found.loss)
                first = loss if first is None else first
                if not abs(loss) <= GROWN * max(1.0, abs(first)):
                    raise DivergedError(self.diverged(f"the loss is {loss:.3g} at step {step}, in epoch {number}"))
                moved, remembered = self.optimizer.step(state, found.grads, memory)
                moved = moved.updated(found.updates)
            if beside is not None:
                beside.step(step, batch.x, batch.target, state, memory, moved)
            state, memory = moved, remembered
            total += loss * self.problem.weight(len(batch))
            yield loss
        if broken := [n for n, a in state.items() if not np.isfinite(a).all()]:
            raise DivergedError(self.diverged(f"{broken[0]} is no longer finite after epoch {number}"))
        tested: tuple[float | None, float | None] = (None, None)
        if self.problem.test is not None:
            tested = self.problem.mean_loss(state, self.problem.test)
        done = Epoch(number, total / len(self.problem.learn), *tested)
        yield replace(begun, state=state, memory=memory, history=(*begun.history, done), steps=begun.steps + self.steps)

    def diverged(self, what: str) -> str:
        """The sentence, with a way out."""
        lr = self.optimizer.lr
        return f"{what}: with lr={lr:g} gradient descent diverges; try a smaller one, --lr {lr / 10:g}."


def started(optimizer: Optimizer, state: State, asked: Mapping[str, Any]) -> Checkpoint:
    """A run before its first epoch."""
    return Checkpoint(state, optimizer.start(state), (), asked)
