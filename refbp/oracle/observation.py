"""What is known of one case: a layer, its arrays, and two sets of gradients: somebody's and the right ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refbp.contract import Step
from refbp.shapes import parse

Array = NDArray[Any]
Upstream = Sequence[Any]
Gradients = Mapping[str, Any]
CLOSE = 1e-9  # relative to the largest value: what two computations of one formula agree to
SINGLE = 2e-5  # … and what they do in float32
ROUGH = 1e-4  # … and a finite difference


@dataclass(frozen=True, eq=False)
class Observation:
    """One case: a layer with its state, inputs and upstream gradients, and what somebody got for its gradients.

    ``expected`` are the right gradients by name (inputs and parameters), ``got`` those that were computed. Where the layer
    itself is what may be wrong, ``reference`` computes the right ones for an upstream gradient; else the layer does.
    ``again`` computes somebody's gradients anew for an upstream gradient, where that is possible. ``error`` is what was
    raised instead of an answer, ``changed`` names what the call has overwritten.
    """

    layer: Any  # a Layer, of whatever fields
    state: Mapping[str, Array]
    inputs: tuple[Any, ...]
    upstream: tuple[Any, ...]
    got: Gradients
    expected: Gradients
    id: str = ""
    options: Mapping[str, Any] | None = None
    reference: Callable[[Upstream], Gradients] | None = None
    again: Callable[[Upstream], Gradients] | None = None
    error: str = ""
    changed: tuple[str, ...] = ()
    of_outputs: ClassVar[bool] = False  # whether it is a forward's outputs that are told, in place of gradients

    def __post_init__(self) -> None:
        """Whatever was got is held as arrays; what no array can be made of, as one of objects."""
        object.__setattr__(self, "got", {n: None if g is None else _array(g) for n, g in self.got.items()})

    @cached_property
    def wrong(self) -> tuple[str, ...]:
        """The gradients that are not what they should be."""
        if self.error:
            return tuple(self.expected)
        return tuple(n for n, e in self.expected.items() if n in self.got and not same(self.got[n], e, CLOSE))

    @cached_property
    def step(self) -> Step:
        """The layer's own forward pass."""
        with np.errstate(all="ignore"):
            step: Step = self.layer(self.state, *self.inputs, **(self.options or {}))
        return step

    @cached_property
    def outputs(self) -> tuple[Array, ...]:
        """Its outputs."""
        return self.step.outputs if isinstance(self.step.outputs, tuple) else (self.step.outputs,)

    @property
    def arrays(self) -> dict[str, Array]:
        """The floating inputs by forward's names, then the state."""
        inputs = zip(self.layer.inputs(), self.inputs, strict=False)
        found = {n: np.asarray(a) for n, a in (*inputs, *self.state.items()) if a is not None}
        return {n: a for n, a in found.items() if a.dtype.kind == "f"}

    @property
    def x(self) -> Array:
        """The first input."""
        return np.asarray(self.inputs[0])

    @property
    def y(self) -> Array:
        """The first output."""
        return self.outputs[0]

    @property
    def dy(self) -> Array:
        """The first upstream gradient."""
        return np.asarray(self.upstream[0])

    def right(self, upstream: Upstream) -> Gradients:
        """The right gradients for another upstream gradient."""
        if self.reference is not None:
            return self.reference(upstream)
        with np.errstate(all="ignore"):
            grads = self.step.backward(*upstream)
        return dict(zip(self.layer.inputs(), grads.inputs, strict=False)) | grads.params

    def anew(self) -> Gradients:
        """What the layer gives as its code is at this moment; on copies, for a mutant may write to what it is given."""
        inputs, upstream = ([None if a is None else np.array(a) for a in arrays] for arrays in (self.inputs, self.upstream))
        step: Step = self.layer({n: a.copy() for n, a in self.state.items()}, *inputs, **(self.options or {}))
        grads = step.backward(*upstream)
        return dict(zip(self.layer.inputs(), grads.inputs, strict=False)) | grads.params

    def axes(self, name: str) -> tuple[str, ...]:
        """What the axes of an input, or of its gradient, are called; of a parameter, their numbers."""
        patterns = self.layer.inputs()
        shape = np.shape(self.expected[name])
        if name in patterns:
            return axis_names(patterns[name], shape, self.layer.sizes)
        return tuple(f"axis {i}" for i in range(len(shape)))

    @cached_property
    def sizes(self) -> dict[str, float]:
        """Every number that has a name and may be a factor: sizes of axes, numeric arguments, what they come to together."""
        found: dict[str, float] = {}
        patterns = [*self.layer.inputs().values(), *self.layer.outputs().values()]
        for pattern, a in zip(patterns, [*self.inputs, *self.upstream], strict=False):
            if a is not None:
                named = zip(axis_names(pattern, np.shape(a), self.layer.sizes), np.shape(a), strict=True)
                for axis, size in named:
                    if not axis.startswith("axis ") and not axis.isdigit():
                        found.setdefault(axis, size)
        for name, value in {**self.layer.sizes, **self.layer.arguments()}.items():
            if isinstance(value, float | int) and not isinstance(value, bool):
                found.setdefault(name, value)
        return {n: float(v) for n, v in (found | self._counts(found)).items() if math.isfinite(v)}

    def _counts(self, sizes: Mapping[str, float]) -> dict[str, float]:
        """How many samples, rows, positions and elements there are, and how many a window has."""
        found: dict[str, float] = {}
        if self.inputs and self.inputs[0] is not None and self.x.ndim:
            names = axis_names(next(iter(self.layer.inputs().values())), self.x.shape, self.layer.sizes)
            rows = [n for name, n in zip(names, self.x.shape, strict=True) if name.startswith("axis ")]
            if "N" not in sizes and names[0] == "axis 0" and len(names) > 1:
                found["N"] = rows[0]
                if 1 < len(rows) < len(names):
                    found["the number of rows"] = math.prod(rows)
            if names[0] == "N" and rows and not names[1].startswith("axis "):  # (N, C, *): what comes after the channels
                found["the number of positions"] = math.prod(rows)
            space = [axis for axis in ("D", "H", "W", "L") if axis in names and axis in sizes]
            if len(space) > 1:
                found["·".join(space)] = math.prod(sizes[a] for a in space)
            if space and "N" in names:
                found["·".join(["N", *space])] = math.prod(sizes[a] for a in ("N", *space))
            found["the number of elements"] = self.x.size
        for name, value in self.layer.arguments().items():
            if name == "normalized_shape":
                found[name] = math.prod(value) if isinstance(value, tuple) else value
            elif name == "kernel_size":
                window = value if isinstance(value, tuple) else (value,) * getattr(self.layer, "rank", 1)
                found |= {f"kernel_size[{i}]": v for i, v in enumerate(window)}
                found["the product of kernel_size"] = math.prod(window)
        return found


def _array(value: Any) -> Array:
    try:
        return np.asarray(value)
    except (ValueError, TypeError):  # a ragged list
        return np.array([value], object)


def axis_names(pattern: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The name of each axis; one that a ``*`` stands for is called by its number."""
    axes = parse(pattern).axes(shape, dict(sizes)) or ("*",) * len(shape)
    return tuple(f"axis {i}" if a.startswith("*") else a for i, a in enumerate(axes))


def tolerance(got: Array) -> float:
    """How close what was got must come to a guess: single precision has fewer digits."""
    return SINGLE if got.dtype in (np.float32, np.float16) else CLOSE


def same(got: Any, expected: Any, close: float | None = None) -> bool:
    """Equal in shape and, relative to the largest value, in every element; as close as what was got can come."""
    if got is None or expected is None:
        return got is None and expected is None
    got, expected = np.asarray(got), np.asarray(expected)
    close = tolerance(got) if close is None else close
    return got.shape == expected.shape and got.dtype.kind in "fiub" and not differs(got, expected, close).any()


def differs(got: Array, expected: Array, close: float = CLOSE) -> Array:
    """Which elements of two arrays of one shape are apart."""
    got, expected = got.astype(float), expected.astype(float)
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0)) or 1.0
    with np.errstate(all="ignore"):
        near = np.abs(got - expected) <= close * scale
    return np.asarray(~(near | (got == expected) | (np.isnan(got) & np.isnan(expected))))
