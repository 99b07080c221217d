"""How the losses of CS231n are commonly got wrong, for the explainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.layers.activation import ReLU
from refbp.numerics import softmax
from refbp.oracle.observation import Observation
from refbp.spec import Mistake

Slope = Callable[[Array, Array], Array]  # (scores, target) → the gradient of the mean loss

# Heads: what each makes of the scores ------------------------------------------------------------------------------------


def _margins(x: Array, t: Array) -> tuple[Array, tuple[Any, ...]]:
    place = np.arange(len(t)), t
    z = 1 - x[place][:, None] + x
    z[place] = 0
    return z > 0, place


def _one_less(x: Array, t: Array) -> Array:
    active, place = _margins(x, t)
    dx = active.astype(float)
    dx[place] -= 1
    return dx / len(t)


def _no_target(x: Array, t: Array) -> Array:
    return _margins(x, t)[0] / len(t)


def _every_class(x: Array, t: Array) -> Array:
    active, place = _margins(x, t)
    dx = np.ones_like(x)
    dx[place] -= active.sum(1)
    return dx / len(t)


def _target_counts(x: Array, t: Array) -> Array:
    active, place = _margins(x, t)
    dx = active.astype(float)
    dx[place] = 1 - active.sum(1)
    return dx / len(t)


def _one_hot(x: Array, t: Array) -> Array:
    return np.eye(x.shape[1])[t]


def _at_target(x: Array, t: Array, value: float) -> Array:
    p = softmax(x, 1)
    p[np.arange(len(t)), t] = value
    return np.asarray(p / len(t))


HINGES: dict[str, Slope] = {
    "the target's share is −1, where it is minus the number of classes that violate the margin": _one_less,
    "the target's share is missing: minus the number of classes that violate the margin": _no_target,
    "every class has a share, whether it violates the margin or not (max(0, z) ≥ 0 holds always)": _every_class,
    "the target counts among the classes that violate the margin": _target_counts,
}
SOFTMAXES: dict[str, Slope] = {
    "the 1 of the target's class is not subtracted: softmax(scores) stands alone": lambda x, _: softmax(x, 1) / len(x),
    "softmax(scores) is missing: only the target's −1 is there": lambda x, t: -_one_hot(x, t) / len(x),
    "the scores themselves stand where softmax(scores) is meant": lambda x, t: (x - _one_hot(x, t)) / len(x),
    "the target's 1 is added, where it is to be subtracted": lambda x, t: (softmax(x, 1) + _one_hot(x, t)) / len(x),
    "−1 stands at the target, where its softmax − 1 is meant: assigned, not subtracted": lambda x, t: _at_target(x, t, -1.0),
    "the target's class has no share: its softmax − 1 is never added": lambda x, t: _at_target(x, t, 0.0),
}


def _of_head(slope: Slope) -> Callable[[Observation], Mapping[str, Any]]:
    return lambda o: {"input": o.dy * slope(o.x, np.asarray(o.inputs[1]))}


HINGE = tuple(Mistake(words, _of_head(slope)) for words, slope in HINGES.items())

# The loss of a network: head(body(x), target) + factor · reg · Σ W² ---------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """A gradient of such a loss, in the parts that it is the sum of."""

    o: Observation

    @property
    def scores(self) -> Array:
        """What the body gives."""
        return np.asarray(self.o.outputs[1])

    @property
    def decay(self) -> dict[str, Array]:
        """The regulariser's share."""
        layer: Any = self.o.layer
        W = {n: a for n, a in self.o.state.items() if n.endswith("weight") and a.ndim > 1}
        return {n: 2 * layer.factor * layer.reg * self.o.dy * w for n, w in W.items()}

    def body(self, dscores: Array, skipped: int = -1) -> dict[str, Array]:
        """What goes back through the body; the slope of its ``skipped``-th ReLU may be left out."""
        layer: Any = self.o.layer
        steps = layer.body(self.o.state, self.o.x).saved
        found: dict[str, Array] = {}
        relus = sum(isinstance(part, ReLU) for _, part in layer.body.parts)
        for (name, part), step in zip(reversed(layer.body.parts), reversed(steps), strict=True):
            if isinstance(part, ReLU):
                relus -= 1
                if relus == skipped:
                    continue
            grads = step.backward(dscores)
            found |= {f"{name}.{n}": g for n, g in grads.params.items()}
            dscores = grads.inputs[0]
        return found | {"x": dscores}

    @property
    def dscores(self) -> Array:
        """The scores' gradient, as it should be."""
        layer: Any = self.o.layer
        head = layer.head({}, self.scores, np.asarray(self.o.inputs[1]))
        return np.asarray(head.backward(np.asarray(self.o.dy)).inputs[0])


def _sum(a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, Array]:
    return {n: g + b[n] if n in b else g for n, g in a.items()}


def _decayed(words: str, change: Callable[[_Parts, Array], Any]) -> Mistake:
    """Another share of the regulariser."""

    def gradients(o: Observation) -> Mapping[str, Any]:
        parts = _Parts(o)
        return {n: o.expected[n] - d + change(parts, d) for n, d in parts.decay.items() if n in o.expected}

    return Mistake(words, gradients)


def _biased(o: Observation) -> Mapping[str, Any]:
    layer: Any = o.layer
    biases = {n: a for n, a in o.state.items() if n in o.expected and n.endswith("bias") and a.ndim == 1}
    return {n: o.expected[n] + 2 * layer.factor * layer.reg * o.dy * b for n, b in biases.items()}


def _constant(parts: _Parts, decay: Array) -> Any:
    layer: Any = parts.o.layer
    return 2 * layer.factor * layer.reg * parts.o.dy * np.ones_like(decay)


def _summed(_parts: _Parts, decay: Array) -> Any:
    return decay.sum() * np.ones_like(decay)


def of_loss() -> Iterator[Mistake]:
    """How the value of such a loss is commonly got wrong: in its regulariser."""
    yield Mistake("the regulariser is missing in the loss", partial(_penalised, penalty=_nothing))
    yield Mistake("the regulariser is reg √Σ W², a norm that is not squared", partial(_penalised, penalty=_norm, alone=True))
    yield Mistake("the regulariser is reg Σ W: W is not squared", partial(_penalised, penalty=_sum_of, alone=True))
    yield Mistake("the regulariser is reg Σ |W|: W is not squared", partial(_penalised, penalty=_absolute, alone=True))
    yield Mistake("the regulariser is divided by N", partial(_penalised, penalty=lambda W, n: _total(W, 2) / n))
    yield Mistake("the biases are regularised too: only the weights are meant", partial(_penalised, penalty=_all, biases=True))


def _total(W: Mapping[str, Array], power: int) -> float:
    return sum(float((w**power).sum()) for w in W.values())


def _sum_of(W: Mapping[str, Array], _: int) -> float:
    return _total(W, 1)


def _nothing(_W: Mapping[str, Array], _: int) -> float:
    return 0.0


def _norm(W: Mapping[str, Array], _: int) -> float:
    return sum(float(np.sqrt((w * w).sum())) for w in W.values())


def _absolute(W: Mapping[str, Array], _: int) -> float:
    return sum(float(np.abs(w).sum()) for w in W.values())


def _all(W: Mapping[str, Array], _: int) -> float:
    return _total(W, 2)


def _penalised(
    o: Observation, penalty: Callable[[Mapping[str, Array], int], float], biases: bool = False, alone: bool = False
) -> Mapping[str, Any]:
    """The loss with another regulariser, of the matrices and kernels or of the biases as well, without its factor if alone."""
    layer: Any = o.layer
    W = {n: a for n, a in o.state.items() if (n.endswith("weight") and a.ndim > 1) or (biases and n.endswith("bias"))}
    right = layer.factor * _total({n: a for n, a in W.items() if a.ndim > 1}, 2)
    share = penalty(W, len(o.x)) * (1.0 if alone else layer.factor)
    return {"loss": np.asarray(np.asarray(o.outputs[0]) + layer.reg * (share - right))}


def of_penalty(layer: Any) -> Iterator[Mistake]:
    """The mistakes of one such loss."""
    yield _decayed("the regulariser is missing in the gradient", lambda _, d: 0 * d)
    yield _decayed("the regulariser's share is half of what its loss says: the derivative of W² is 2 W", lambda _, d: d / 2)
    yield _decayed("the regulariser's share is twice what its loss says: the derivative of ½ W² is W", lambda _, d: 2 * d)
    yield _decayed("the regulariser's share is divided by N, as in the loss it is not", lambda p, d: d / len(p.o.x))
    yield _decayed("the regulariser is subtracted", lambda _, d: -d)
    yield _decayed("reg stands alone where reg · W is meant", _constant)
    yield _decayed("the sum of all of W stands where W is meant in the regulariser's share", _summed)
    yield Mistake("the biases are regularised too: only the weights are meant", _biased)
    slopes = HINGES if layer.hinge else SOFTMAXES
    for words, slope in slopes.items():
        yield Mistake(words, partial(_headed, slope=slope))
    yield Mistake(
        "the division by N is missing in the loss's share: a sum where a mean is meant",
        lambda o: _sum(_Parts(o).body(_Parts(o).dscores * len(o.x)), _Parts(o).decay),
    )
    for i in range(sum(isinstance(part, ReLU) for _, part in layer.body.parts)):
        which = f"the slope of ReLU {i + 1} is missing: what goes back passes only where its input was positive"
        yield Mistake(which, partial(_unmasked, skipped=i))


def _headed(o: Observation, slope: Slope) -> Mapping[str, Any]:
    """Another gradient of the scores."""
    parts = _Parts(o)
    return _sum(parts.body(o.dy * slope(parts.scores, np.asarray(o.inputs[1]))), parts.decay)


def _unmasked(o: Observation, skipped: int) -> Mapping[str, Any]:
    """The right gradient of the scores, which goes back without one slope."""
    parts = _Parts(o)
    return _sum(parts.body(parts.dscores, skipped), parts.decay)
