"""Layers made of layers: the chain rule, one link at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, Step
from refbp.errors import ArgumentError, RefbpError
from refbp.layers.linear import Identity
from refbp.shapes import Shape


def part(state: Mapping[str, Array], name: str) -> dict[str, Array]:
    """The entries of one part of a composite, under the part's own names: ``"0.weight"`` becomes ``"weight"``."""
    prefix = f"{name}."
    return {n.removeprefix(prefix): array for n, array in state.items() if n.startswith(prefix)}


def prefixed(name: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`part`."""
    return {f"{name}.{n}": entry for n, entry in entries.items()}


def noise_of(layer: Layer[Any]) -> dict[str, str]:
    """The inputs of a layer that are noise, drawn anew for every pass; they are its last. A layer may have several."""
    if hasattr(layer, "noise"):
        return dict(layer.noise())
    return dict(list(layer.inputs().items())[-1:]) if layer.noisy else {}


def drawn(layer: Layer[Any], rng: np.random.Generator, shape: Shape) -> tuple[Array, ...]:
    """That noise, for an x of this shape; none where the layer needs none."""
    if not noise_of(layer):
        return ()
    noise = layer.draw(rng, shape)  # type: ignore[attr-defined]  # a layer with noise has it
    return noise if isinstance(noise, tuple) else (noise,)


@dataclass(frozen=True, init=False)
class Sequential(Layer[tuple[Step, ...]]):
    r"""y = fₙ(… f₂(f₁(x)) …);   dx = f₁ᵀ f₂ᵀ … fₙᵀ dy: the parts' backward passes, last to first.

    Parts are numbered, or named where a mapping is given; their state entries are ``"<part>.<entry>"``.
    Noise that parts need in training is given after x, in the order of the parts: ``*layer.draw(rng, x.shape)``.
    Shapes: x as the first part's, y as the last part's. Torch: torch.nn.Sequential.
    """

    parts: tuple[tuple[str, Layer[Any]], ...]

    def __init__(self, *args: Layer[Any] | Mapping[str, Layer[Any]]) -> None:
        first = args[0] if args else {}
        named = first.items() if isinstance(first, Mapping) and len(args) <= 1 else [(str(i), a) for i, a in enumerate(args)]
        for name, layer in named:
            if not isinstance(layer, Layer):
                raise ArgumentError(f"Sequential: part {name} is {layer!r:.60}; wanted a layer, constructed: ReLU(), not ReLU.")
        object.__setattr__(self, "parts", tuple(named))

    def __repr__(self) -> str:
        if all(name == str(i) for i, (name, _) in enumerate(self.parts)):
            return f"{type(self).__name__}({', '.join(repr(layer) for _, layer in self.parts)})"
        return f"{type(self).__name__}({dict(self.parts)!r})"

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Layer[Any]:
        return self.parts[index][1]

    def params(self) -> dict[str, Shape]:
        return {n: s for name, layer in self.parts for n, s in prefixed(name, layer.params()).items()}

    def buffers(self) -> dict[str, Shape]:
        return {n: s for name, layer in self.parts for n, s in prefixed(name, layer.buffers()).items()}

    def inputs(self) -> dict[str, str]:
        x = next(iter(self.parts[0][1].inputs().values()), "any (*)") if self.parts else "any (*)"
        return {"x": x} | self.noise()

    def outputs(self) -> dict[str, str]:
        if not self.parts:
            return {"y": "any (*)"}
        last = self.parts[-1][1]
        # names are the last part's, and other parts may have the same: numbers say which are meant
        return {n: re.sub(r"\w+", lambda m: str(last.sizes.get(m[0], m[0])), p) for n, p in last.outputs().items()}

    def noise(self) -> dict[str, str]:
        """The inputs that are noise, by the part that needs them."""
        found: dict[str, str] = {}
        for name, layer in self.parts:
            own = list(noise_of(layer))
            inner = [n.removeprefix("noise of ") for n in own] if isinstance(layer, Sequential) else own
            dotted = [f"{name}.{n}" for n in inner] if len(own) > 1 or isinstance(layer, Sequential) else [name] * len(own)
            found |= {f"noise of {n}": f"any (*{n})" for n in dotted}
        return found

    @property
    def noisy(self) -> bool:
        """Where a part is."""
        return bool(self.noise())

    def draw(self, rng: np.random.Generator, shape: Shape) -> tuple[Array, ...]:
        """The noise of one pass in training, for an x of this shape: each part's, in order."""
        if shape not in self._reached:
            self._reached[shape] = self._shapes(shape)
        return tuple(a for (_, layer), s in zip(self.parts, self._reached[shape], strict=False) for a in drawn(layer, rng, s))

    @cached_property
    def _reached(self) -> dict[Shape, list[Shape]]:
        return {}

    def _shapes(self, shape: Shape) -> list[Shape]:
        """What shape reaches each part, up to the last that needs noise: a pass over zeros finds out."""
        rng, shapes = np.random.default_rng(0), []
        state = self.init(rng)
        x = np.zeros(shape, np.int64 if self.inputs()["x"].startswith("index") else np.float64)
        last = max((i for i, (_, layer) in enumerate(self.parts) if noise_of(layer)), default=-1)
        for i, (name, layer) in enumerate(self.parts[: last + 1]):
            shapes.append(x.shape)
            if i < last:
                with np.errstate(all="ignore"):
                    own = {short: state[full] for full, short in self._names[name]}
                    x = np.asarray(layer(own, x, *self._given[name], *drawn(layer, rng, x.shape)).outputs)
        return shapes

    @cached_property
    def _given(self) -> dict[str, list[None]]:
        """For each part, the optional inputs between x and its noise, which nobody gives."""
        noisy = {name: noise_of(layer) for name, layer in self.parts}
        return {n: [None] * (len(layer.inputs()) - 1 - len(noisy[n])) if noisy[n] else [] for n, layer in self.parts}

    @cached_property
    def _noise_count(self) -> dict[str, int]:
        return {name: len(noise_of(layer)) for name, layer in self.parts}

    @property
    def sizes(self) -> dict[str, int]:
        """The first part's: x is its input."""
        return self.parts[0][1].sizes if self.parts else {}

    @cached_property
    def _names(self) -> dict[str, list[tuple[str, str]]]:
        """For each part, its entries under their name in the whole and in the part."""
        entries = {name: {**layer.params(), **layer.buffers()} for name, layer in self.parts}
        return {name: [(f"{name}.{n}", n) for n in own] for name, own in entries.items()}

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Each part's own, in order."""
        made = [(name, layer.init(rng, dtype)) for name, layer in self.parts]
        entries = {n: a for name, state in made for n, a in prefixed(name, state).items()}
        return State(entries, {f"{name}.{b}" for name, state in made for b in state.buffers})

    def forward(self, state: Mapping[str, Array], x: Array, *noise: Array) -> Forward[tuple[Step, ...]]:
        steps: list[Step] = []
        updates: dict[str, Array] = {}
        ahead = iter(noise)
        for name, layer in self.parts:
            try:
                own = {short: state[full] for full, short in self._names[name]}
                step = layer(own, x, *self._given[name], *islice(ahead, self._noise_count[name]))
            except RefbpError as error:
                raise type(error)(f"Sequential, part {name}: {error}") from error
            if isinstance(step.outputs, tuple):
                raise ArgumentError(
                    f"Sequential: part {name} ({layer!r}) has several outputs; wanted one, the next part's input:"
                    f" Graph('y = {layer!r}(x); z = Identity(y)') returns the first."
                )
            steps.append(step)
            updates |= prefixed(name, step.updates)
            x = step.outputs
        return Forward(x.copy() if not steps else x, tuple(steps), updates)

    def backward(self, saved: tuple[Step, ...], dy: Array) -> Grads:
        r"""∂y/∂x = Jₙ … J₂ J₁, so dyᵀ ∂y/∂x is evaluated from the left: each part turns the gradient of its output
        into the gradient of its input, which is the gradient of the part before's output.
        """
        params: dict[str, Array] = {}
        dx: Array | None = dy
        for (name, layer), step in zip(reversed(self.parts), reversed(saved), strict=True):
            if dx is None:
                raise ArgumentError(
                    f"Sequential: the part after {name} ({layer!r}) has no gradient for its input; only the first may."
                )
            grads = step.backward(dx)
            params |= prefixed(name, grads.params)
            dx = grads.inputs[0]
        return Grads(
            Identity().backward(None, dy).inputs[0] if not saved else dx,
            *[None] * sum(self._noise_count.values()),
            **params,
        )
