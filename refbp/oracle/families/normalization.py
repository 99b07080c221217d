"""Normalisation: dx = (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂)) / √(σ² + ε), dx̂ = γ dy, and what becomes of it without a term."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from refbp.errors import listed
from refbp.oracle.families._family import Family, Terms
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake

LAYERS = ("_BatchNorm", "_InstanceNorm", "GroupNorm", "LayerNorm", "RMSNorm")


@dataclass(frozen=True)
class _Norm:
    """x and dy seen so that each mean goes over ``axes``; γ broadcasts to them; ``learned`` are the axes that dγ sums over."""

    x: Array
    dy: Array
    gamma: Array
    axes: tuple[int, ...]
    learned: tuple[int, ...]
    mean: Array | None  # running statistics, or None where x's own are used
    var: Array | None
    eps: float
    centred: bool

    @property
    def moving(self) -> bool:
        """Whether μ and σ are those of x."""
        return self.mean is None

    def over(self, a: Array) -> Array:
        """A mean over the axes."""
        return np.asarray(a.mean(self.axes, keepdims=True))

    @property
    def c(self) -> Array:
        """The difference x − μ."""
        if self.mean is not None:
            return self.x - self.mean
        return self.x - self.over(self.x) if self.centred else self.x

    @property
    def variance(self) -> Array:
        """σ², biased."""
        return self.var if self.var is not None else self.over(self.c**2)

    @property
    def inv(self) -> Array:
        """1 / √(σ² + ε)."""
        return 1 / np.sqrt(self.variance + self.eps)

    def terms(self, inv: Array | None = None, x_hat: Array | None = None, gamma: Any = None) -> dict[str, Array]:
        """The terms of dx, for any 1/σ, x̂ and γ."""
        inv = self.inv if inv is None else inv
        x_hat = self.c * inv if x_hat is None else x_hat
        d = self.dy * (self.gamma if gamma is None else gamma)
        found = {"dx̂": d * inv}
        if self.moving and self.centred:
            found["mean(dx̂)"] = -self.over(d) * inv + 0 * d
        if self.moving:
            found["x̂ · mean(dx̂ · x̂)"] = -x_hat * self.over(d * x_hat) * inv
        return found

    def dx(self, **other: Any) -> Array:
        """Their sum."""
        return np.asarray(sum(self.terms(**other).values()))


def _norm(o: Observation) -> _Norm:
    layer: Any = o.layer
    x, dy = o.x, o.dy if o.upstream else np.zeros_like(o.x)
    name = {cls.__name__ for cls in type(layer).__mro__}
    gamma, eps = o.state.get("weight", np.ones(())), layer.eps
    if name & {"LayerNorm", "RMSNorm"}:
        last = tuple(range(-len(layer.shape), 0))
        lead = tuple(range(x.ndim - len(layer.shape)))
        return _Norm(x, dy, gamma, last, lead, None, None, layer.epsilon(x), "LayerNorm" in name)
    if "_InstanceNorm" in name and x.ndim == layer.rank + 1:
        x, dy = x[None], dy[None]
    channels = gamma.reshape(-1, *[1] * (x.ndim - 2)) if gamma.ndim else gamma
    learned = (0, *range(2, x.ndim))
    if "GroupNorm" in name:
        groups = layer.num_groups
        cut = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        gamma = channels.reshape(groups, -1, *[1] * (x.ndim - 2)) if gamma.ndim else gamma
        axes = tuple(range(2, x.ndim + 1))
        return _Norm(x.reshape(cut), dy.reshape(cut), gamma, axes, (0, *range(3, x.ndim + 1)), None, None, eps, True)
    axes = learned if "_BatchNorm" in name else tuple(range(2, x.ndim))
    mean = var = None
    if not (layer.training or not layer.track_running_stats):
        mean, var = (o.state[n].reshape(-1, *[1] * (x.ndim - 2)) for n in ("running_mean", "running_var"))
    return _Norm(x, dy, channels, axes, learned, mean, var, eps, True)


def _terms(o: Observation) -> Terms:
    n = _norm(o)
    return {"x": {label: t.reshape(o.x.shape) for label, t in n.terms().items()}} if n.moving else {}


def _quantities(o: Observation) -> Mapping[str, Array]:
    n = _norm(o)
    found = {"γ": n.gamma + 0 * n.x, "√(σ² + ε)": 1 / n.inv + 0 * n.x, "x̂": n.c * n.inv, "x − μ": n.c}
    return {label: a.reshape(o.x.shape) for label, a in found.items() if a.size == o.x.size}


def _dx(words: str, make: Callable[[_Norm], Any]) -> Mistake:
    def gradients(o: Observation) -> Mapping[str, Array]:
        dx = make(_norm(o))
        return {} if dx is None else {"x": np.asarray(dx).reshape(o.x.shape)}

    return Mistake(words, gradients)


def _dgamma(words: str, make: Callable[[_Norm], Any]) -> Mistake:
    """Σ dy · (something in place of x̂)."""

    def gradients(o: Observation) -> Mapping[str, Array]:
        n = _norm(o)
        if "weight" not in o.state:
            return {}
        return {"weight": (n.dy * make(n)).sum(n.learned).reshape(o.state["weight"].shape)}

    return Mistake(words, gradients)


def _all(words: str, inv: Callable[[_Norm], Any]) -> Mistake:
    """Another 1/σ, in dx and in dγ alike."""

    def gradients(o: Observation) -> Mapping[str, Array]:
        n = _norm(o)
        held = inv(n)
        found = {"x": n.dx(inv=held).reshape(o.x.shape)}
        if "weight" in o.state:
            found["weight"] = (n.dy * n.c * held).sum(n.learned).reshape(o.state["weight"].shape)
        return found

    return Mistake(words, gradients)


def _unbiased(n: _Norm) -> Any:
    m = math.prod(n.x.shape[a] for a in n.axes)
    return 1 / np.sqrt(n.variance * m / (m - 1) + n.eps)


def _right_x_hat(words: str, inv: Callable[[_Norm], Any]) -> Mistake:
    """Another 1/σ outside, and the right x̂."""
    return _dx(words, lambda n: n.dx(inv=inv(n), x_hat=n.c * n.inv))


RUNNING = ("running_mean", "running_var")
OUTSIDE, MISSING, UNBIASED = (
    "ε is added outside the root: √(σ²) + ε in place of √(σ² + ε)",
    "ε is missing: √(σ²) in place of √(σ² + ε)",
    "σ² is the unbiased variance, divided by m − 1, where forward divides by m",
)
EPS = tuple(
    make(words, inv)
    for words, inv in (
        (OUTSIDE, lambda n: 1 / (np.sqrt(n.variance) + n.eps)),
        (MISSING, lambda n: 1 / np.sqrt(np.maximum(n.variance, 1e-300))),
        (UNBIASED, _unbiased),
    )
    for make in (_all, _right_x_hat)
)


def _over_axis(axes: tuple[int, ...]) -> Mistake:
    def dx(n: _Norm) -> Any:
        if not n.moving or n.axes == axes or any(not -n.x.ndim <= a < n.x.ndim for a in axes):
            return None
        x_hat, d = n.c * n.inv, n.dy * n.gamma
        return (d - d.mean(axes, keepdims=True) - x_hat * (d * x_hat).mean(axes, keepdims=True)) * n.inv

    which = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
    return _dx(f"the means are taken over {which}, not over the axes that share a μ and a σ", dx)


def _misread(words: str, incoming: bool) -> Mistake:
    """Pictures (N, C, H, W) and rows (N·H·W, C) told apart by a reshape alone, which moves no channel."""

    def as_rows(a: Array) -> Array:
        """The elements in the order of rows, each row taken for the channels of one position."""
        return np.moveaxis(a.reshape(a.shape[0], *a.shape[2:], a.shape[1]), -1, 1)

    def gradients(o: Observation) -> Mapping[str, Array]:
        if o.x.ndim < 3 or "num_features" not in o.layer.arguments():
            return {}
        if not incoming:
            dx = np.asarray(o.expected["x"])
            return {"x": np.moveaxis(dx, 1, -1).reshape(dx.shape)}
        misread = dataclasses.replace(o, upstream=(as_rows(o.dy),))
        return misread.right(misread.upstream)

    return Mistake(words, gradients)


def _evaluated(n: _Norm) -> Any:
    """In evaluation the formula of training."""
    if n.moving:
        return None
    x_hat, d = n.c * n.inv, n.dy * n.gamma
    return (d - n.over(d) - x_hat * n.over(d * x_hat)) * n.inv


def _other_axis(n: _Norm, *crossed: str) -> Any:
    """Of a table, some sums taken along the other axis, and divided by the right count all the same."""
    if not (n.moving and n.centred) or n.x.ndim != 2:
        return None
    x_hat, d = n.c * n.inv, n.dy * n.gamma
    count = n.x.shape[n.axes[0]]

    def mean(a: Array, label: str) -> Array:
        return np.asarray((a.sum(1 - n.axes[0] % 2, keepdims=True) / count) if label in crossed else n.over(a))

    return (d - mean(d, "d") - x_hat * mean(d * x_hat, "dx")) * n.inv


def _chained(n: _Norm, *crossed: str) -> Any:
    """The same by way of dσ² and dμ, as the paper has it: their sums have 1/σ in them, which differs along the other axis."""
    if not (n.moving and n.centred) or n.x.ndim != 2:
        return None
    d, count = n.dy * n.gamma, n.x.shape[n.axes[0]]

    def total(a: Array, label: str) -> Array:
        return np.asarray(a.sum(1 - n.axes[0] % 2 if label in crossed else n.axes, keepdims=True))

    dvar, dmean = total(-0.5 * d * n.c * n.inv**3, "dσ²"), total(-d * n.inv, "dμ")
    return d * n.inv + dvar * 2 * n.c / count + dmean / count


def _power(term: str, power: int) -> Callable[[_Norm], Any]:
    """One term with another power of 1/σ."""

    def dx(n: _Norm) -> Any:
        terms = n.terms()
        return sum(t * n.inv**power if label == term else t for label, t in terms.items()) if term in terms else None

    return dx


def _own_mean(n: _Norm) -> Array:
    if n.moving:
        raise ValueError("it is the batch's own mean that is wanted")
    return n.x - n.over(n.x)


def _own_inv(n: _Norm) -> Array:
    c = _own_mean(n)
    return 1 / np.sqrt(n.over(c * c) + n.eps)


def _shifted(o: Observation, scaled: Array) -> Array:
    """γ x̂ in the shape of x, and β added."""
    beta = o.state.get("bias", np.zeros(()))
    by_channel = o.x.ndim > 2 and beta.ndim == 1 and "shape" not in dir(o.layer)
    return scaled.reshape(o.x.shape) + (beta.reshape(-1, *[1] * (o.x.ndim - 2)) if by_channel else beta)


def _y(words: str, inv: Callable[[_Norm], Any], c: Callable[[_Norm], Array] = lambda n: n.c) -> Mistake:
    """The output with another 1/σ, or another x − μ."""

    def outputs(o: Observation) -> Mapping[str, Array]:
        n = _norm(o)
        return {"y": _shifted(o, n.gamma * c(n) * inv(n))}

    return Mistake(words, outputs)


def _statistics(words: str, change: Callable[[Observation, Array, Array], Array], *names: str) -> Mistake:
    """New running statistics, of the old ones and of the batch's own."""

    def outputs(o: Observation) -> Mapping[str, Array]:
        layer: Any = o.layer
        found = {}
        for name, new in o.step.updates.items():
            if name in names and layer.momentum:
                old = np.asarray(o.state[name])
                found[f"new_{name}"] = change(o, old, (new - (1 - layer.momentum) * old) / layer.momentum)
        return found

    return Mistake(words, outputs)


def _forgetful(o: Observation, old: Array, own: Array) -> Array:  # noqa: ARG001  # the old value is what is forgotten
    return own


def _with_eps(o: Observation, old: Array, own: Array) -> Array:
    layer: Any = o.layer
    return np.asarray((1 - layer.momentum) * old + layer.momentum * (own + layer.eps))


def _as_it_was(o: Observation, old: Array, own: Array) -> Array:  # noqa: ARG001  # the batch's own is what is left out
    return old


def _bracketed(o: Observation, old: Array, own: Array) -> Array:
    layer: Any = o.layer
    keep = 1 - layer.momentum
    return np.asarray(keep * old + (1 - keep * own))


def _unshared(o: Observation, old: Array, own: Array) -> Array:
    layer: Any = o.layer
    return np.asarray((1 - layer.momentum) * old + own)


def _as_rows(words: str, back: bool) -> Mistake:
    """A picture (N, C, H, W) taken for rows (N·H·W, C) by a reshape alone; with ``back`` the way back moves channels."""

    def outputs(o: Observation) -> Mapping[str, Array]:
        n = _norm(o)
        if o.x.ndim < 3 or not n.moving or "num_features" not in o.layer.arguments():
            return {}
        rows = o.x.reshape(-1, o.x.shape[1])
        mean, var = rows.mean(0), rows.var(0)
        y = (rows - mean) / np.sqrt(var + n.eps) * n.gamma.ravel() + o.state.get("bias", np.zeros(()))
        if back:
            y = np.moveaxis(y.reshape(len(o.x), *o.x.shape[2:], -1), -1, 1)
        layer: Any = o.layer
        found = {"y": y.reshape(o.x.shape)}
        for name, own in (("running_mean", mean), ("running_var", var)):
            if name in o.step.updates:
                found[f"new_{name}"] = (1 - layer.momentum) * o.state[name] + layer.momentum * own
        return found

    return Mistake(words, outputs)


AXES = {2: ("the rows", "the columns"), 4: ("N", "C", "H", "W"), 5: ("N", "the groups", "the channels of a group", "H", "W")}


def _over_others() -> Iterator[Mistake]:
    """μ and σ over other axes than they should be."""
    for rank, names in AXES.items():
        for count in range(1, rank + 1):
            for axes in itertools.combinations(range(rank), count):
                words = f"μ and σ are taken over {listed([names[a] for a in axes])}, which are not the axes that share them"
                yield Mistake(words, partial(_over_these, rank=rank, axes=axes))


def _over_these(o: Observation, rank: int, axes: tuple[int, ...]) -> Mapping[str, Array]:
    n = _norm(o)
    if n.x.ndim != rank or not (n.moving and n.centred) or axes == tuple(sorted(a % rank for a in n.axes)):
        return {}
    n = dataclasses.replace(n, axes=axes)
    return {"y": _shifted(o, n.gamma * n.c * n.inv)}


FAMILIES = (
    Family(
        LAYERS,
        _terms,
        _quantities,
        (
            *EPS,
            _dx("the factor γ is missing: the formula holds for dx̂ = γ dy, not for dy", lambda n: n.dx(gamma=1)),
            _dx("the factor γ is there twice", lambda n: n.dx(gamma=n.gamma**2)),
            _dx("the division by √(σ² + ε) is missing", lambda n: n.dx() / n.inv),
            _dx("y stands where x̂ is meant", lambda n: n.dx(x_hat=n.gamma * n.c * n.inv)),
            _dx("x − μ stands where x̂ is meant: it is not divided by √(σ² + ε)", lambda n: n.dx(x_hat=n.c)),
            *(
                _dx(f"the term {term} is divided by √(σ² + ε) once too {often}{also}", _power(term, power))
                for term, meant in (("mean(dx̂)", ""), ("x̂ · mean(dx̂ · x̂)", ": {} stands where {} is meant"))
                for often, power, also in (
                    ("often", 1, meant.format("x̂", "x − μ")),
                    ("seldom", -1, meant.format("x − μ", "x̂")),
                )
            ),
            _dx(
                "the term x̂ · mean(dx̂ · x̂) is divided by √(σ² + ε) twice too often: x̂ stands, twice, where x − μ is meant",
                _power("x̂ · mean(dx̂ · x̂)", 2),
            ),
            _dx("the sum in mean(dx̂) is taken along the other axis", lambda n: _other_axis(n, "d")),
            _dx("the sum in x̂ · mean(dx̂ · x̂) is taken along the other axis", lambda n: _other_axis(n, "dx")),
            _dx("the sums in mean(dx̂) and in mean(dx̂ · x̂) are taken along the other axis", lambda n: _other_axis(n, "d", "dx")),
            _dx("dσ² is summed along the other axis", lambda n: _chained(n, "dσ²")),
            _dx("dμ is summed along the other axis", lambda n: _chained(n, "dμ")),
            _dx("dσ² and dμ are summed along the other axis", lambda n: _chained(n, "dσ²", "dμ")),
            _misread("dy is reshaped into rows of channels without moving its channels to the last axis first", True),
            _misread("the rows of dx are reshaped into pictures without moving the channels back from the last axis", False),
            _dx("μ and σ are taken as functions of x, though with training=False they are constants", _evaluated),
            *(_over_axis(axes) for axes in ((0,), (1,), (-1,), (2,), (0, 1), (1, 2), (2, 3), (1, 2, 3), (0, 2, 3))),
            _dgamma("x stands where x̂ is meant: Σ dy · x in place of Σ dy · x̂", lambda n: n.x),
            _dgamma("x − μ stands where x̂ is meant: it is not divided by √(σ² + ε)", lambda n: n.c),
            _dgamma("y stands where x̂ is meant: Σ dy · y in place of Σ dy · x̂", lambda n: n.gamma * n.c * n.inv),
        ),
        (
            _y(OUTSIDE, lambda n: 1 / (np.sqrt(n.variance) + n.eps)),
            _y(MISSING, lambda n: 1 / np.sqrt(np.maximum(n.variance, 1e-300))),
            _y(
                "ε is added to the quotient: √(σ²) + ε has no brackets where x − μ is divided by it",
                lambda n: 1 / np.sqrt(np.maximum(n.variance, 1e-300)),
                lambda n: n.c + n.eps * np.sqrt(n.variance),
            ),
            _y("σ² is the unbiased variance, divided by m − 1, where it should be divided by m", _unbiased),
            _y("the division is by the variance, not by its root", lambda n: 1 / (n.variance + n.eps)),
            _y("the batch's own mean is subtracted, where the running one should be", lambda n: n.inv, _own_mean),
            _y("the batch's own mean and variance are used, where the running ones should be", _own_inv, _own_mean),
            _statistics("the running value is the batch's own alone: the old one has no share in it", _forgetful, *RUNNING),
            _statistics("the running value is not updated: the old one stands there", _as_it_was, *RUNNING),
            _statistics(
                "1 − α·new stands where (1 − α)·new is meant, α being the old value's share: a bracket closes too late",
                _bracketed,
                *RUNNING,
            ),
            _statistics(
                "the batch's own value has no factor: its share is 1 where it should be 1 − that of the old one",
                _unshared,
                *RUNNING,
            ),
            _statistics("ε is in the running variance: it belongs under the root alone", _with_eps, "running_var"),
            _as_rows("x is reshaped into rows of channels without moving its channels to the last axis first", True),
            _as_rows("x is reshaped into rows of channels, and back, without moving its channels to the last axis", False),
            *_over_others(),
        ),
    ),
)
