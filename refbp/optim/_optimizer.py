"""What every optimizer shares: the step over a state, the memory, the checks. An optimizer is its ``update``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from refbp import arguments
from refbp.contract import Array, Grads, State, _Checked
from refbp.errors import DtypeError, ShapeError, StateError, did_you_mean, listed

Memory = dict[str, Array]
Slots = dict[str, Array]


class Optimizer(metaclass=_Checked):
    """The base of every optimizer. Subclass as a frozen dataclass of hyperparameters; write ``slots`` and ``update``.

    ``start(state)`` makes the memory, ``step(state, grads, memory)`` returns a new state and a new memory. The memory's
    names are the parameter's and the slot's, ``weight.exp_avg``; ``weight.step`` counts the gradients ``weight`` had.
    """

    lr: float
    weight_decay: float
    decoupled_weight_decay: bool = False
    maximize: bool

    def __post_init__(self) -> None:
        arguments.check(self)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        """What must hold of the hyperparameters beyond their types, as ``Layer.rules`` says it."""
        return iter(())

    def at_least_zero(self, *names: str) -> Iterator[tuple[bool, str, str]]:
        """The most common rule."""
        for name in names:
            yield getattr(self, name) >= 0, name, "a number of at least 0"

    def slots(self, x: Array) -> Mapping[str, float | Array]:
        """What is remembered of a parameter x. A number is what every element starts as; an array starts as it is."""
        return {}

    def update(self, x: Array, g: Array, t: int, memory: Slots) -> tuple[Array, Slots]:
        """The new x and the new slots, at the t-th gradient g of this parameter; g points uphill, whatever maximize is."""
        raise NotImplementedError(f"{type(self).__name__} must define update")

    def decayed(self, x: Array, g: Array) -> tuple[Array, Array]:
        """Weight decay λ: λx joins the gradient, or, decoupled from it, x itself shrinks by the factor 1 − ηλ."""
        if self.weight_decay == 0:
            return x, g
        if self.decoupled_weight_decay:
            return x * (1 - self.lr * self.weight_decay), g
        return x, g + self.weight_decay * x

    def start(self, state: Mapping[str, Array]) -> Memory:
        """The memory before the first step."""
        memory: Memory = {}
        for name, x in _parameters(state).items():
            memory[f"{name}.step"] = np.zeros((), np.int64)
            for slot, value in self.slots(x).items():
                memory[f"{name}.{slot}"] = value if isinstance(value, np.ndarray) else np.full_like(x, value)
        return memory

    def step(
        self, state: Mapping[str, Array], grads: Grads | Mapping[str, Array | None], memory: Mapping[str, Array]
    ) -> tuple[State, Memory]:
        """The state and the memory one step later. Buffers, and parameters without a gradient, are left as they are."""
        params = _parameters(state)
        moved: dict[str, Array] = {}
        remembered: Memory = {}
        for name, g in self._checked(params, grads):
            x = params[name]
            slots = self._remembered(name, x, memory)
            t = int(memory[f"{name}.step"]) + 1
            new_x, new_slots = self.update(x, -g if self.maximize else g, t, slots)
            moved[name] = np.asarray(new_x, x.dtype)
            remembered[f"{name}.step"] = np.asarray(t, np.int64)
            remembered |= {f"{name}.{slot}": np.asarray(new_slots[slot], was.dtype) for slot, was in slots.items()}
        kept = state if isinstance(state, State) else State(state)
        return kept.updated(moved), {**memory, **remembered}

    def _checked(self, params: Mapping[str, Array], grads: Any) -> Iterator[tuple[str, Array]]:
        """The gradients that are there, each of them its parameter's in name, shape and dtype."""
        own = type(self).__name__
        grads = grads.params if isinstance(grads, Grads) else grads
        if not isinstance(grads, Mapping):
            raise StateError(f"{own}: grads is {type(grads).__name__}; wanted a Grads or a mapping from names to arrays.")
        for name, grad in grads.items():
            if name not in params:
                raise StateError(
                    f"{own}: a gradient of {name!r} was given; wanted gradients of the state's parameters,"
                    f" which are {listed(list(params))}{did_you_mean(str(name), list(params))}."
                )
            if grad is None:
                continue
            x, g = params[name], np.asarray(grad)
            if g.shape != x.shape:
                raise ShapeError(f"{own}: the gradient of {name} has shape {g.shape}; wanted {x.shape}, the parameter's own.")
            if g.dtype != x.dtype:
                raise DtypeError(
                    f"{own}: the gradient of {name} has dtype {g.dtype}; wanted {x.dtype}, the parameter's own:"
                    f" pass grad.astype({x.dtype})."
                )
            yield name, g

    def _remembered(self, name: str, x: Array, memory: Mapping[str, Array]) -> Slots:
        """The slots of one parameter, by their own names."""
        wanted = {slot: value.shape if isinstance(value, np.ndarray) else x.shape for slot, value in self.slots(x).items()}
        for slot, shape in {"step": (), **wanted}.items():
            key = f"{name}.{slot}"
            given = f"shape {np.shape(memory[key])}" if key in memory else "no such entry"
            if given != f"shape {shape}":
                raise StateError(
                    f"{type(self).__name__}: memory[{key!r}] has {given}; wanted shape {shape}:"
                    f" pass what start(state) of an optimizer with these options made, or its last step returned."
                )
        return {slot: np.asarray(memory[f"{name}.{slot}"]) for slot in wanted}


def _parameters(state: Mapping[str, Array]) -> dict[str, Array]:
    return state.parameters if isinstance(state, State) else dict(state)
