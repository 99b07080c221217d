"""The right gradient of something else: of another argument, another state, another input, another layer.

Somebody who fixes an argument at its default, forgets γ, or writes the derivative of another function computes a gradient
that is right for a layer that is not this one. The reference is asked what it would give for that one.
"""

from __future__ import annotations

import dataclasses
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from refbp.contract import Layer
from refbp.oracle.finding import Evidence, Finding, Fit
from refbp.oracle.observation import Array, Observation

Claims = Iterator[tuple[str, str, str, Fit]]
Change = Callable[[Observation], "Observation | None"]


def clue(e: Evidence) -> list[Finding]:
    """Findings from layers that are almost the reference; none where the layer itself may be what is wrong."""
    if not e.answered or e.own:
        return []
    return e.merged(claim for words, kind, sure, change in _changes(e) for claim in _of(e, words, kind, sure, change))


def _of(e: Evidence, words: str, kind: str, sure: float, change: Change) -> Claims:
    held: dict[int, Any] = {}

    def gradients(o: Observation) -> Any:
        if id(o) not in held:
            other = change(o)
            held[id(o)] = o.expected if other is None else _asked(other)
        return held[id(o)]

    for name in e.numeric:
        if not e.late and (fit := e.fit(name, lambda o, name=name: gradients(o)[name], sure)):  # type: ignore[misc]
            yield name, kind, words, fit


def _asked(o: Observation) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return o.right(o.upstream)


def _changes(e: Evidence) -> Iterator[tuple[str, str, float, Change]]:
    """What to ask for: words, the kind of finding, how sure one is, and the case changed."""
    first = e.answered[0]
    layer: Layer[Any] = first.layer
    for name in dict.fromkeys(n for o in e.answered for n in o.layer.given()):
        default = _default(layer, name)
        if default is not dataclasses.MISSING:
            words = f"{{is}} what you get when {name} is taken to be {default!r}, its default"
            yield words, "argument", 0.96, partial(_with_argument, name=name, value=default)
    for name, choice in _choices(type(layer)):
        words = f"{{is}} what you get when {name} is taken to be {choice!r}"
        yield words, "argument", 0.96, partial(_with_argument, name=name, value=choice)
    for name, value in layer.arguments().items():
        if isinstance(value, bool) and name not in NO_FORMULA:
            words = f"{{is}} what you get when {name} is taken to be the other way: False for True, True for False"
            yield words, "argument", 0.94, partial(_flipped, name=name)
        elif name == "momentum" and isinstance(value, float):
            yield "{is} what you get when the old value has the share of the new one", "argument", 0.95, _other_share
        elif name == "eps" and value is not None:
            yield "{is} what you get when ε is missing", "argument", 0.94, partial(_with_argument, name=name, value=0.0)
    for name in first.state:
        for words, change in STATES:
            yield words.format(name=name), "state", 0.93, partial(_with_state, name=name, change=change)
    for cls in _others(layer):
        words = (
            f"{{is}} {'the output' if first.of_outputs else 'the gradient'} of {cls.__name__}, not of {type(layer).__name__}"
        )
        yield words, "another layer", 0.92, partial(_as_layer, cls=cls)


NO_FORMULA = ("inplace", "bias", "affine", "sparse", "batch_first")  # switches that change no number of a gradient
STATES: tuple[tuple[str, Callable[[Array], Array | None]], ...] = (
    ("{{is}} what you get when {name} is missing: as if it were 1", np.ones_like),
    ("{{is}} what you get when {name} is transposed", lambda a: a.T if a.ndim == 2 and a.shape[0] == a.shape[1] else None),
    (
        "{{is}} what you get when the kernel {name} is flipped (turned by 180°)",
        lambda a: np.flip(a, tuple(range(2, a.ndim))) if a.ndim > 2 else None,
    ),
    ("{{is}} what you get when {name} has the other sign", np.negative),
    ("{{is}} what you get when {name} is squared", np.square),
)


def _choices(cls: type[Layer[Any]]) -> Iterator[tuple[str, Any]]:
    """Every argument that is one of a few words, and each of the words."""
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]  # every layer is a dataclass
        hint = typing.get_type_hints(cls).get(f.name)
        for kind in (hint, *typing.get_args(hint)):
            if typing.get_origin(kind) is typing.Literal:
                yield from ((f.metadata.get("argument", f.name), choice) for choice in typing.get_args(kind))


def _default(layer: Layer[Any], name: str) -> Any:
    for f in dataclasses.fields(layer):  # type: ignore[arg-type]  # every layer is a dataclass
        if f.metadata.get("argument", f.name) == name:
            return f.default
    return dataclasses.MISSING


def _with_argument(o: Observation, name: str, value: Any) -> Observation | None:
    """The case with another argument; None where it has that one already, an error where it cannot."""
    if getattr(o.layer, name) == value:
        return None
    layer: Any = dataclasses.replace(o.layer, **{name: value})
    wanted = {**layer.params(), **layer.buffers()}
    return dataclasses.replace(o, layer=layer, state={n: a for n, a in o.state.items() if n in wanted})


def _other_share(o: Observation) -> Observation | None:
    """1 − momentum in place of momentum: for running statistics, whose old and new values share 1."""
    return _with_argument(o, "momentum", 1 - o.layer.momentum)


def _flipped(o: Observation, name: str) -> Observation | None:
    return _with_argument(o, name, not getattr(o.layer, name))


def _with_state(o: Observation, name: str, change: Callable[[Array], Array | None]) -> Observation | None:
    if name not in o.state:
        return None
    changed = change(o.state[name])
    return None if changed is None else dataclasses.replace(o, state={**o.state, name: changed})


def _others(layer: Layer[Any]) -> Sequence[type[Layer[Any]]]:
    """The other registered layers, or losses, that take as many inputs."""
    from refbp import registry

    entries = registry.current().entries
    own = entries.get(type(layer).__name__)
    if own is None:
        return []
    count = len(layer.inputs())
    alike = [c.spec for c in entries.values() if c.kind == own.kind and c.spec.layer is not type(layer)]
    return [s.layer for s in alike if len(s.cases[0].layer.inputs()) == count]


def _as_layer(o: Observation, cls: type[Layer[Any]]) -> Observation:
    """The case of another layer, with the arguments that both have; an error where that cannot be."""
    names = {f.metadata.get("argument", f.name) for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    layer: Any = cls(**{n: v for n, v in o.layer.arguments().items() if n in names})
    return dataclasses.replace(o, layer=layer)
