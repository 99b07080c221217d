"""The third witness: the derivative of a layer's own forward, by differences, independent of torch and of backward.

With φ(t) = Σ ⟨upstream, forward(θ + t v)⟩, the slope φ′(0) must equal ⟨backward's gradients, v⟩. Central differences of
fourth order, 8(φ(h) − φ(−h)) − (φ(2h) − φ(−2h)) over 12h, are computed in extended precision (64-bit mantissa), where
h = 1e-5 leaves a truncation error of h⁴ ≈ 1e-20 and a rounding error of 1e-19 / h = 1e-14. Where there is no extended
precision (the machine has none, or a forward computes in float64 whatever it is given) the same is done in float64
with a stencil of eighth order and h = 0.02, good to about 1e-12 of φ's size. Every slope is taken at two step widths,
and their difference is its uncertainty. Its resolution is what rounding φ itself amounts to: in the tail of a sigmoid, where y
is 1 but for its last digits, a difference of two of them has no digits to give, and the two step widths may well agree on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance.trial import Trial, as_list
from refbp.contract import Layer, State

Array = NDArray[Any]

# Central differences: weights of φ(kh) − φ(−kh) for k = 1, 2, …
_FOURTH = (8 / 12, -1 / 12)
_EIGHTH = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
# One-sided differences of third order: weights of φ(0), φ(h), φ(2h), φ(3h)
_ONE_SIDED = (-11 / 6, 3.0, -3 / 2, 1 / 3)
AGREE = 1e-11  # how well a gradient must agree, relative to its norm
BLUNT = 1e-6  # a resolution above this, relative to the gradient's norm, decides nothing
EXTENDED = np.finfo(np.longdouble).eps < 1e-18


@dataclass(frozen=True)
class Slope:
    """A numerical slope, how far two step widths are apart, and what rounding alone may have made of it."""

    value: float
    uncertainty: float
    resolution: float

    def contradicts(self, value: float, scale: float, doubt: float) -> bool:
        """Whether a gradient of this scale cannot have this value; the uncertainty excuses at most ``doubt`` of the scale.

        NaN contradicts nothing: beside the −∞ of a mask there is no difference to take.
        """
        return abs(value - self.value) > AGREE * scale + 10 * (min(self.uncertainty, doubt * scale) + self.resolution)

    def decides(self, scale: float) -> bool:
        """Whether it has digits enough to tell a wrong gradient of this scale from a right one."""
        return self.resolution <= BLUNT * scale


class Witness:
    """Numerical slopes of one function: a layer, a state, inputs and upstream gradients that stay as they are."""

    def __init__(
        self,
        layer: Layer[Any],
        state: State,
        inputs: Mapping[str, Array],
        upstream: Sequence[Array | None],
        options: Mapping[str, Any],
    ) -> None:
        self._layer, self._options = layer, options
        self._names = list(inputs)
        self._upstream = upstream
        self._wide = np.longdouble if EXTENDED else np.float64
        self._at = {**self._widened(inputs), **self._widened(state)}
        base = self._outputs({})
        if any(y.dtype.kind == "f" and y.dtype != self._wide for y in base):
            self._wide = np.float64
            self._at = {**self._widened(inputs), **self._widened(state)}
            base = self._outputs({})
        self._base = base
        self.extended = self._wide is not np.float64
        self.step = 1e-5 if self.extended else 0.02

    @classmethod
    def of(cls, trial: Trial) -> Witness:
        """The witness of a trial's own forward."""
        inputs = dict(zip(trial.input_names, trial.inputs, strict=False))
        return cls(trial.layer, trial.state, inputs, trial.upstream, trial.case.options)

    def _widened(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {n: a.astype(self._wide) if a is not None and a.dtype.kind == "f" else a for n, a in arrays.items()}

    def _outputs(self, moved: Mapping[str, Array]) -> list[Array]:
        at = {**self._at, **moved}
        state = {n: a for n, a in at.items() if n not in self._names}
        with np.errstate(all="ignore"):
            run = self._layer.forward(state, *(at[n] for n in self._names), **self._options)
        return [np.asarray(y) for y in as_list(run.outputs)]

    def _change(self, direction: Mapping[str, Array], t: float) -> Any:
        """φ(t) − φ(0), summed element by element so that what does not move cancels exactly."""
        step: Any = self._wide(t)
        moved = {n: self._at[n] + step * v.astype(self._wide) for n, v in direction.items()}
        total: Any = self._wide(0)
        for y, y0, u in zip(self._outputs(moved), self._base, self._upstream, strict=True):
            if u is not None and y.size:
                still = (y == y0) | (np.isnan(y) & np.isnan(y0))
                with np.errstate(all="ignore"):
                    total = total + np.sum(np.where(still, 0, y - y0) * u)
        return total

    def _central(self, direction: Mapping[str, Array], h: float) -> float:
        weights = _FOURTH if self.extended else _EIGHTH
        pairs = enumerate(weights, start=1)
        return float(
            sum(w * (self._change(direction, k * h) - self._change(direction, -k * h)) for k, w in pairs) / self._wide(h)
        )

    def slope(self, direction: Mapping[str, Array]) -> Slope:
        """φ′(0) along a direction: name to array, in the inputs' and parameters' shapes."""
        coarse, fine = self._central(direction, self.step), self._central(direction, self.step / 2)
        apart = abs(fine - coarse) if np.isfinite([fine, coarse]).all() else float("inf")
        return Slope(fine, apart, self._rounding / (self.step / 2))

    @cached_property
    def _rounding(self) -> float:
        """What rounding every output may move φ by: half a unit in the last place each, as errors of chance add up."""
        units = [np.spacing(np.abs(y)) * u for y, u in zip(self._base, self._upstream, strict=True) if u is not None and y.size]
        finite = [v[np.isfinite(v)] for v in units]
        return float(np.sqrt(sum(np.sum(v * v) for v in finite))) / 2

    def one_sided(self, direction: Mapping[str, Array]) -> tuple[float, float]:
        """The slopes from the left and from the right; NaN where the function does not exist on that side."""
        h = 1e-5 if self.extended else 1e-3
        sides = []
        for sign in (-1, 1):
            changes = [self._change(direction, sign * k * h) for k in range(1, len(_ONE_SIDED))]
            sides.append(float(sign * sum(w * c for w, c in zip(_ONE_SIDED[1:], changes, strict=True)) / self._wide(h)))
        return sides[0], sides[1]

    def _element(self, name: str, index: tuple[int, ...]) -> tuple[dict[str, Array], float]:
        """The direction of one element. A tiny one moves by its own size, for a step must not leave its neighbourhood; a
        huge one too, for it must be felt.
        """
        e, here = np.zeros(self._at[name].shape), abs(float(self._at[name][index]))
        e[index] = size = here if 0 < here < 1e-4 or here > 1e12 else 1.0
        return {name: e}, size

    def at(self, name: str, index: tuple[int, ...]) -> Slope:
        """The partial derivative with respect to one element."""
        direction, size = self._element(name, index)
        slope = self.slope(direction)
        return Slope(slope.value / size, slope.uncertainty / size, slope.resolution / size)

    def quick(self, name: str, index: tuple[int, ...]) -> float:
        """The partial derivative at one step width only, with no uncertainty to go with it."""
        direction, size = self._element(name, index)
        return self._central(direction, self.step / 2) / size

    def sides_at(self, name: str, index: tuple[int, ...]) -> tuple[float, float]:
        """Its one-sided derivatives."""
        direction, size = self._element(name, index)
        left, right = self.one_sided(direction)
        return left / size, right / size
