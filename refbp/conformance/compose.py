"""Random networks: layers of the registered cases, fitted to what reaches them; chains, branches, residual additions; a loss.

Nothing is listed here by name: a layer takes part because it is registered. Its hyperparameters are those of one of its
cases, with the sizes that its input patterns name set to the sizes of what reaches it; whether it fits is found out by
running it. Where it does not, a linear layer between two reshapes leads to the shape of its case. A layer of several
inputs joins as many branches; a loss is the end, with the targets of its own case.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from refbp.conformance.problem import Item, Problem, Split
from refbp.contract import Layer, Step
from refbp.draws import normal
from refbp.errors import RefbpError
from refbp.layers import Add, Flatten, Linear, LogSoftmax, Sigmoid, Softmax, Softplus, Unflatten
from refbp.layers.container import drawn, noise_of
from refbp.registry import Entry, Registry
from refbp.shapes import Shape, parse
from refbp.spec import Case, Spec

Array = NDArray[Any]
T = TypeVar("T")
COMPOSITES = ("Sequential", "Graph")
LARGEST = 2000  # elements of a value
WIDEST = 4000  # weights of a linear layer that leads from one shape to another
_AXIS = re.compile(r"(\w+)(?:\[(\d+)\])?")


class Choices(Protocol):
    """Who decides: a seeded generator here, Hypothesis in :mod:`refbp.testing.strategies`."""

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, *seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """Each equally likely."""
        return int(self._rng.integers(low, high + 1))

    def pick(self, options: Sequence[T]) -> T:
        """Each equally likely."""
        return options[self.integer(0, len(options) - 1)]


@dataclass(frozen=True)
class Candidate:
    """A layer of a case, the shapes of the inputs that it needs, and examples of them."""

    spec: Spec
    layer: Layer[Any]
    case: Case
    examples: tuple[Array, ...]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What it takes in its case."""
        return tuple(a.shape for a in self.examples)


class Composer:
    """Makes problems of what a registry has; every second choice among its layers falls on a favourite, if there are any."""

    def __init__(self, registry: Registry, most_layers: int = 6, favourites: Sequence[str] = ()) -> None:
        self.most, self.favourites = most_layers, tuple(favourites)
        self.chained: dict[str, list[Candidate]] = {}  # one floating input
        self.indexed: dict[str, list[Candidate]] = {}  # one input of integers: only a network can start with it
        self.joining: dict[str, list[Candidate]] = {}  # several floating inputs
        self.losses: dict[str, list[Candidate]] = {}
        for entry in registry.entries.values():
            for found in _offered(entry):
                self._sorted(entry, found)

    def _sorted(self, entry: Entry, found: Candidate) -> None:
        kinds = [a.dtype.kind for a in found.examples]
        if entry.kind == "loss":
            of_one = len(kinds) == 2 and found.examples[0].ndim and not found.case.exact
            group = self.losses if of_one and kinds[0] == "f" and "()" in found.layer.outputs().values() else None
        elif kinds == ["f"]:
            group = self.chained
        elif len(kinds) == 1 and kinds[0] in "iu":
            group = self.indexed
        elif len(kinds) > 1 and set(kinds) == {"f"}:
            group = self.joining
        else:
            group = None
        if group is not None:
            group.setdefault(entry.name, []).append(found)

    @property
    def names(self) -> set[str]:
        """Every layer and loss that can take part."""
        return {*self.chained, *self.indexed, *self.joining, *self.losses}

    def problem(self, choices: Choices, seed: int) -> Problem | None:
        """A network, or None where the choices led nowhere."""
        end = self._one(choices, self.losses)
        wanted, batch = end.shapes[0], end.shapes[0][0]
        items: list[Item] = []
        rng = np.random.default_rng(seed)
        if self.indexed and choices.integer(0, 15) == 0:
            first = self._one(choices, self.indexed)
            x = rng.choice(first.examples[0].reshape(-1), (batch, *first.shapes[0][1:]))
            if (y := value_of(first.layer, [x])) is None:
                return None
            items, value = [first.layer], y
        else:
            rest = [choices.integer(1, 6) for _ in range(choices.integer(0, 4))]
            x = value = rng.normal(size=(batch, *rest))
        items, value = self._chain(choices, items, value, choices.integer(1, self.most), depth=0)
        ended = led_to(items, value, wanted)
        if ended is None:
            return None
        items = [*ended[0], *_into_domain(end.examples[0])]
        return Problem(tuple(items), end.layer, x, end.examples[1], seed)

    def _one(self, choices: Choices, group: dict[str, list[Candidate]]) -> Candidate:
        favoured = [n for n in self.favourites if n in group]
        names = favoured if favoured and choices.integer(0, 1) else list(group)
        return choices.pick(group[choices.pick(names)])

    def _chain(
        self, choices: Choices, items: Sequence[Item], value: Array, length: int, depth: int
    ) -> tuple[list[Item], Array]:
        """So many layers more, as far as they fit."""
        items = list(items)
        for _ in range(length):
            joins = 5 if any(n in self.joining for n in self.favourites) else 2
            kind = choices.integer(0, 9) if depth < 2 else 9
            more = (
                self._residual(choices, value, depth)
                if kind == 0
                else self._joined(choices, value, depth)
                if kind <= joins and self.joining
                else self._single(choices, value)
            )
            if more is not None and more[1].ndim and 0 < more[1].size <= LARGEST and np.abs(more[1]).max() < 1e4:
                items, value = [*items, *more[0]], more[1]
        return items, value

    def _single(self, choices: Choices, value: Array) -> tuple[list[Item], Array] | None:
        """One layer more: as it is, fitted to what reaches it, or with a linear layer before it."""
        found = self._one(choices, self.chained)
        for layer in (found.layer, *fitted(found.layer, value.shape)):
            y = None if _waived(found, layer, [value]) else value_of(layer, [value])
            if y is not None:
                return [layer], y
        led = led_to([], value, (value.shape[0], *found.shapes[0][1:])) if found.shapes[0] else None
        if led is None or choices.integer(0, 1) or _waived(found, found.layer, [led[1]]):
            return None
        y = value_of(found.layer, [led[1]])
        return None if y is None else ([*led[0], found.layer], y)

    def _residual(self, choices: Choices, value: Array, depth: int) -> tuple[list[Item], Array] | None:
        """A sum of the value and of what layers make of it."""
        body = led_to(*self._chain(choices, [], value, choices.integer(1, 3), depth + 1), value.shape)
        return None if body is None else ([Split(Add(), (tuple(body[0]), ()))], body[1] + value)

    def _joined(self, choices: Choices, value: Array, depth: int) -> tuple[list[Item], Array] | None:
        """As many branches as a layer has inputs."""
        found = self._one(choices, self.joining)
        starts = {s[:1] for s in found.shapes}
        shapes = [(value.shape[0], *s[1:]) for s in found.shapes] if len(starts) == 1 and starts != {()} else found.shapes
        bodies = [self._chain(choices, [], value, choices.integer(0, 2), depth + 1) for _ in shapes]
        for wanted in (shapes, found.shapes):
            led = [led_to(*body, shape) for body, shape in zip(bodies, wanted, strict=True)]
            reached = [b for b in led if b is not None]
            if len(reached) < len(led) or _waived(found, found.layer, [b[1] for b in reached]):
                continue
            y = value_of(found.layer, [b[1] for b in reached])
            if y is not None:
                return [Split(found.layer, tuple(tuple(b[0]) for b in reached))], y
        return None


_OFFERED: dict[int, tuple[Spec, tuple[Candidate, ...]]] = {}  # the spec is kept: as long as it lives, no other has its id


def _offered(entry: Entry) -> tuple[Candidate, ...]:
    """The same once per process: every case is run for it, and a composer is made for every set of favourites."""
    key = id(entry.spec)
    if key not in _OFFERED:
        _OFFERED[key] = entry.spec, tuple(_candidates(entry))
    return _OFFERED[key][1]


def _candidates(entry: Entry) -> Iterator[Candidate]:
    """What one entry's cases offer; layers that text cannot say are none, for a network is passed on as text."""
    from refbp import notation

    if entry.name in COMPOSITES:
        return
    for case in entry.spec.cases:
        layer, noise = case.layer, noise_of(case.layer)
        if getattr(layer, "inplace", False):  # torch would overwrite what another branch has yet to read
            layer = replaced(layer, inplace=False) or layer
        needed = [i for i, (n, p) in enumerate(layer.inputs().items()) if n not in noise and not p.startswith("optional")]
        draws = [case.draws[i] for i in needed if i < len(case.draws)]
        if len(draws) < len(needed) or needed != list(range(len(needed))) or any(d is None for d in draws):
            continue
        examples = tuple(np.asarray(d(np.random.default_rng(0))) for d in draws if d is not None)
        try:
            readable = notation.layer(repr(layer)) == layer
        except RefbpError:
            readable = False
        if readable and all(a.size for a in examples) and _has_gradients(entry, layer, examples):
            yield Candidate(entry.spec, layer, case, examples)


def _has_gradients(entry: Entry, layer: Layer[Any], examples: Sequence[Array]) -> bool:
    """Whether every floating input gets a gradient, but for a target: what leads to one without would not be tested."""
    step = _step(layer, examples)
    if step is None:
        return True  # it takes others
    outputs = step.outputs if isinstance(step.outputs, tuple) else (step.outputs,)
    with np.errstate(all="ignore"):  # whether there is a gradient, not what it is: no number of it is looked at
        grads = step.backward(*(y.copy() if y.dtype.kind == "f" else None for y in outputs)).inputs
    needed = examples[:1] if entry.kind == "loss" else examples
    return not any(g is None and a.dtype.kind == "f" for g, a in zip(grads, needed, strict=False))


def fitted(layer: Layer[Any], shape: Shape) -> Iterator[Layer[Any]]:
    """The layer with the sizes that its first input's pattern names set to those of the shape, where that is another layer."""
    pattern = next(iter(layer.inputs().values()), "any (*)")
    axes = parse(pattern).axes(shape, {})
    changes: dict[str, Any] = {}
    for axis, size in zip(axes or (), shape, strict=False):
        named = _AXIS.fullmatch(axis)
        now = getattr(layer, named[1], None) if named else None
        if named and named[2] and isinstance(now, tuple) and int(named[2]) < len(now):
            sizes = list(changes.get(named[1], now))
            sizes[int(named[2])] = size
            changes[named[1]] = tuple(sizes)
        elif named and isinstance(now, int) and not isinstance(now, bool):
            changes[named[1]] = size
    if changed := replaced(layer, **changes):
        yield changed


def replaced(layer: Layer[Any], **changes: Any) -> Layer[Any] | None:
    """The layer with other arguments; None where they are its own, or impossible."""
    try:
        new: Layer[Any] = dataclasses.replace(layer, **changes)  # type: ignore[type-var]  # every layer is a dataclass
    except (RefbpError, TypeError, ValueError):
        return None
    return None if new == layer else new


def _step(layer: Layer[Any], inputs: Sequence[Array]) -> Step | None:
    """The layer's pass over the inputs, with noise where it needs some; None where it does not take them."""
    rng = np.random.default_rng(0)
    try:
        with np.errstate(all="ignore"):
            noise = drawn(layer, rng, inputs[0].shape)
            gap = [None] * (len(layer.inputs()) - len(inputs) - len(noise)) if noise else []
            return layer(layer.init(rng), *inputs, *gap, *noise)
    except Exception:  # a layer that does not take these inputs; refbp verify sees to it that it says so well
        return None


def value_of(layer: Layer[Any], inputs: Sequence[Array]) -> Array | None:
    """What the layer makes of the inputs, its first output where there are several; None where that is of no use."""
    step = _step(layer, inputs)
    if step is None:
        return None
    y = np.asarray(step.outputs[0] if isinstance(step.outputs, tuple) else step.outputs)
    return y if y.dtype.kind == "f" and np.isfinite(y).all() else None


def _waived(found: Candidate, layer: Layer[Any], inputs: Sequence[Array]) -> bool:
    """Whether torch is known to be wrong here: a network of such a layer would say nothing of the others."""
    case = Case(layer, *(normal(*a.shape) for a in inputs), id=found.case.id)
    for waiver in found.spec.waivers:
        if waiver.check in ("outputs", "gradients", "buffers"):
            try:
                if waiver.when(case):
                    return True
            except (IndexError, TypeError, ValueError, AttributeError):  # it asks for inputs that are left out here
                return True
    return False


def led_to(items: Sequence[Item], value: Array, wanted: Shape) -> tuple[list[Item], Array] | None:
    """The chain led on to a shape: reshaped, through a linear layer, and reshaped; the batch is kept where it can be."""
    shape = value.shape
    if shape == wanted:
        return list(items), value
    if not wanted or not shape:
        return None
    kept = 1 if len(wanted) > 1 and len(shape) > 1 and shape[0] == wanted[0] else 0
    if len(shape) > 1 and shape[:-1] == wanted[:-1]:
        more: list[Layer[Any]] = [Linear(shape[-1], wanted[-1])]
    else:
        into, out = math.prod(shape[kept:]), math.prod(wanted[kept:])
        more = [Flatten(kept)] if len(shape) > kept + 1 else []
        more += [Linear(into, out)] if into != out else []
        more += [Unflatten(kept, wanted[kept:])] if len(wanted) > kept + 1 else []
        if into * out > WIDEST:
            return None
    for layer in more:
        y = value_of(layer, [value])
        if y is None:
            return None
        value = y
    return [*items, *more], value


def _into_domain(example: Array) -> list[Layer[Any]]:
    """What leads from any number to those that a loss takes, judged by an example: probabilities, their logarithms, rates."""
    if (example < 0).all():
        sums = [i for i in range(example.ndim) if np.allclose(np.exp(example).sum(i), 1)]
        return [LogSoftmax(dim=sums[0])] if sums else []
    if (example > 0).all() and (example < 1).all():
        sums = [i for i in range(example.ndim) if np.allclose(example.sum(i), 1)]
        return [Softmax(dim=sums[0])] if sums else [Sigmoid()]
    return [Softplus()] if (example > 0).all() else []
