"""From what a user writes to a recorded run: the network parsed, its inputs, target and state settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refbp.contract import Array, State
from refbp.errors import ArgumentError, did_you_mean
from refbp.layers.container import Sequential
from refbp.trace import inputs
from refbp.trace.composed import apart
from refbp.trace.parse import Problem, problem
from refbp.trace.program import Program, program
from refbp.trace.record import Trace, record

SEED, LR = 0, 0.1

EXAMPLES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sigmoid": (
        "Linear(2,2) Sigmoid Linear(2,2) Sigmoid MSELoss",
        "two layers of two units each, by whole numbers",
        {
            "input": [[1.0, -1.0]],
            "target": [[1.0, 0.0]],
            "lr": 0.5,
            "state": {
                "0.weight": [[1.0, -2.0], [-1.0, 1.0]],
                "0.bias": [1.0, 0.0],
                "2.weight": [[2.0, -1.0], [-2.0, -1.0]],
                "2.bias": [0.0, 0.0],
            },
        },
    ),
    "one-path": ("x = Sigmoid(s); z = Tanh(x)", "the chain rule: s moves z through x alone", {"input": {"s": 0.5}}),
    "two-paths": (
        "x = Sigmoid(s); y = Tanh(s); z = x * y",
        "the chain rule: s moves z through x and through y",
        {"input": {"s": 0.5}},
    ),
    "fan-out": (
        "u = a * b; v = u + b; w = Tanh(u); z = v * w",
        "a computation graph: a value that is used twice has the sum of two gradients",
        {"input": {"a": 0.5, "b": -2.0}},
    ),
}


@dataclass(frozen=True)
class Given:
    """What the command line says; None where it says nothing, and a file or an example may."""

    input: Sequence[str] = ()
    target: str | None = None
    upstream: str | None = None
    state: str | Path | None = None
    seed: int | None = None
    lr: float | None = None


def example(name: str) -> Problem:
    """A network that comes with refbp, with its input, target and state."""
    if name not in EXAMPLES:
        hint = did_you_mean(name, list(EXAMPLES)) or f"; known: {', '.join(EXAMPLES)}."
        raise ArgumentError(f"no example is called {name!r}{hint}")
    text, _, entries = EXAMPLES[name]
    found = problem(text)
    return Problem(found.network, found.loss, entries)


@dataclass(frozen=True)
class Setting:
    """A program with everything that it is run with."""

    network: Sequential
    program: Program
    state: State
    given: Mapping[str, Array]
    upstream: Array | None
    lr: float
    seed: int

    def trace(self, instead: Mapping[str, Array] | None = None, check: bool = True) -> Trace:
        """Run it. ``instead`` replaces quantities by key."""
        trace = record(self.program, self.state, self.given, self.upstream, self.lr, self.seed, instead, check)
        return dataclasses.replace(trace, composed=apart(trace, self.network)) if check and not instead else trace


def setting(what: Problem, given: Given = Given()) -> Setting:
    """Settle everything that a run needs: the command line first, then the file, then what the seed draws."""
    entries = what.given
    seed = _number("seed", given.seed, entries, SEED)
    lr = _number("lr", given.lr, entries, LR)
    if seed != int(seed) or seed < 0:
        raise ArgumentError(f"seed is {seed}; wanted an integer of at least 0.")
    seed = int(seed)
    made = program(what.network, what.loss)
    held = inputs.state(what.network, what.loss, given.state if given.state is not None else entries.get("state"), seed)
    rng = np.random.default_rng([seed, 1])
    candidates = _inputs(made, given.input or entries.get("input"), rng)
    if "t" in made.leaves and not made.graph:
        first = inputs.settle(_without_loss(made), held, candidates)
        y = inputs.run(made, held, first, until=len(made.nodes) - 1)[made.prediction]
        wanted = given.target if given.target is not None else entries.get("target")
        if wanted is None:
            readings = list(inputs.default_targets(y, rng))
        else:
            readings = inputs.targets(*inputs.read("--target", wanted, rng), y)
        candidates = {**{n: [a] for n, a in first.items()}, "t": readings}
    elif given.target is not None or entries.get("target") is not None:
        hint = "give it as an input, --input t=1" if made.graph else "end the network with one, such as MSELoss"
        raise ArgumentError(f"a target is given, and the network has no loss that takes it: {hint}.")
    settled = inputs.settle(made, held, candidates)
    upstream = given.upstream if given.upstream is not None else entries.get("upstream")
    up = None if upstream is None else inputs.read("--upstream", upstream, rng)[0].astype(np.float64)
    return Setting(what.network, made, held, settled, up, lr, seed)


def _number(name: str, given: float | None, entries: Mapping[str, Any], default: float) -> float:
    value = given if given is not None else entries.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ArgumentError(f"{name} is {value!r}; wanted a finite number.")
    return value


def _without_loss(made: Program) -> Program:
    return dataclasses.replace(made, nodes=made.nodes[:-1])


def _inputs(made: Program, given: Any, rng: np.random.Generator) -> dict[str, list[Array]]:
    """The readings of every input."""
    leaves = [n for n in made.leaves if made.graph or n != "t"]
    named = _named(given, leaves)
    if extra := [n for n in named if n not in leaves]:
        hint = did_you_mean(extra[0], leaves) or f"; wanted {', '.join(leaves)}."
        raise ArgumentError(f"there is no input {extra[0]}{hint}")
    found = {}
    for name in leaves:
        if name in named:
            array, open_shape = inputs.read(f"--input {name}" if made.graph else "--input", named[name], rng)
            found[name] = inputs.readings(array, open_shape, chain=not made.graph)
            continue
        default = None if made.graph else inputs.default_input(made.nodes[0].layer, rng)
        if default is None:
            how = f"--input {name}=0.5" if made.graph else "--input 1,-1, a .npy file, or a draw: --input 'normal(2, 3)'"
            raise ArgumentError(f"{name} has no value: give {how}.")
        found[name] = [default]
    return found


def _named(given: Any, leaves: Sequence[str]) -> dict[str, Any]:
    """Inputs by name: ``s=0.5`` each, or one without a name for the only one there is."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, str) or not (isinstance(given, list | tuple) and all(isinstance(g, str) for g in given)):
        given = [given]
    named: dict[str, Any] = {}
    for entry in given:
        name, equals, rest = entry.partition("=") if isinstance(entry, str) and "(" not in entry.split("=")[0] else ("", "", "")
        key = name.strip() if equals else leaves[0]
        if not equals and len(leaves) > 1:
            raise ArgumentError(f"there are {len(leaves)} inputs, {', '.join(leaves)}: say which one, --input {leaves[0]}=0.5.")
        if key in named:
            raise ArgumentError(f"{key} is given twice: give it once, its rows apart by ; as in --input '1,-1; 0,2'.")
        named[key] = rest if equals else entry
    return named


def traced(text: str, given: Given = Given(), check: bool = True) -> Trace:
    """A network from text or a file, run: the short way for a program."""
    try:
        return setting(problem(text), given).trace(check=check)
    except MemoryError:
        raise ArgumentError("the network does not fit into memory: trace a smaller one, or fewer samples.") from None
