"""Cases as text: ``Linear(3, 5): normal(7, 3)``, a layer, a colon, and the draws of its inputs."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from refbp import draws, notation
from refbp.draws import Draw
from refbp.errors import ArgumentError, RefbpError, did_you_mean, listed
from refbp.spec import Case

DRAWS: dict[str, Callable[..., Draw]] = {
    f.__name__: f
    for f in (
        *(draws.normal, draws.uniform, draws.signed, draws.probabilities, draws.integers, draws.labels, draws.mask),
        *(draws.exactly, draws.constant),
    )
}
KEYS = ("layer", "inputs", "id", "options", "state")
SHAPE = "Linear(3, 5): normal(7, 3)"


def case(given: Any) -> Case:
    """A case from its text, or from a table of layer, inputs, id, options and state; RefbpError says what is wrong."""
    if isinstance(given, str):
        return _from_text(given)
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{given!r:.60} is no case; wanted text such as {SHAPE!r}, or a table with layer and inputs.")
    if unknown := [k for k in given if k not in KEYS]:
        raise ArgumentError(f"{unknown[0]} is no key of a case{did_you_mean(unknown[0], KEYS)}; its keys are {listed(KEYS)}.")
    if not isinstance(given.get("layer"), str):
        raise ArgumentError('a case needs layer = "Linear(3, 5)", a layer in quotes.')
    inputs = given.get("inputs", [])
    if isinstance(inputs, str):
        inputs = list(notation.split(inputs, ","))
    if not isinstance(inputs, list) or not all(isinstance(i, str) for i in inputs):
        raise ArgumentError('inputs of a case are a list of draws in quotes, such as ["normal(7, 3)"].')
    options, state = given.get("options", {}), given.get("state", {})
    if (
        not isinstance(options, Mapping)
        or not isinstance(state, Mapping)
        or not all(isinstance(s, str) for s in state.values())
    ):
        raise ArgumentError(
            'options and state of a case are tables; of state, each value is a draw in quotes: "constant(0, 3)".'
        )
    if not isinstance(given.get("id", ""), str):
        raise ArgumentError("id of a case is text.")
    drawn = {n: _fixed(draw(s), n) for n, s in state.items()}
    layer = notation.layer(given["layer"])
    if strange := [n for n in drawn if n not in {**layer.params(), **layer.buffers()}]:
        known = list({**layer.params(), **layer.buffers()})
        raise ArgumentError(f"{layer!r} has no {strange[0]}{did_you_mean(strange[0], known)}; its state is {listed(known)}.")
    return Case(layer, *map(draw, inputs), id=given.get("id"), options=dict(options), state=drawn)


def _from_text(text: str) -> Case:
    parts = list(notation.split(text, ":"))
    if len(parts) != 2 or len(re.findall(r"\S", text)) < 3:
        raise ArgumentError(f"{text!r} is no case; wanted a layer, a colon and the draws of its inputs, such as {SHAPE!r}.")
    return Case(notation.layer(parts[0]), *(draw(d) for d in notation.split(parts[1], ",")))


def _fixed(d: Draw | None, name: str) -> Draw:
    if d is None:
        raise ArgumentError(f"state {name} cannot be none; wanted a draw, such as constant(0, 3).")
    return d


def draw(text: str) -> Draw | None:
    """A draw from its text; none leaves out an optional input."""
    if text.strip().lower() == "none":
        return None
    node = notation.expression(text)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ArgumentError(f"{text.strip()!r} is no draw; wanted one such as normal(7, 3), or none for an input left out.")
    name = node.func.id
    if name not in DRAWS:
        raise ArgumentError(
            f"no draw is called {name!r}{did_you_mean(name, list(DRAWS))}; the draws are {listed(list(DRAWS))}."
        )
    try:
        args = [notation.literal(ast.unparse(a)) for a in node.args]
        named = {k.arg: notation.literal(ast.unparse(k.value)) for k in node.keywords if k.arg}
        made = DRAWS[name](*args, **named)
    except RefbpError:
        raise
    except Exception as error:  # whatever the arguments are
        raise ArgumentError(f"{text.strip()!r} cannot be drawn: {error}.") from None
    if not all(type(n) is int and n >= 0 for n in made.shape):
        raise ArgumentError(f"{text.strip()!r} has the shape {made.shape}; wanted whole numbers.")
    return made
