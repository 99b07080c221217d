"""Networks from text, from TOML and from Python files.

A text is layers separated by spaces, each as in Python, the loss last::

    Linear(2, 2) Sigmoid Linear(2, 2) Sigmoid MSELoss

or a computation graph, assignments separated by semicolons, each value from values before it::

    x = Sigmoid(s); y = Tanh(s); z = x * y
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from refbp.contract import Layer
from refbp.errors import ArgumentError, PluginError, RefbpError, did_you_mean
from refbp.layers.container import Sequential
from refbp.layers.graph import Graph
from refbp.notation import construct, expression, is_loss, split

KEYS = ("network", "loss", "input", "target", "upstream", "state", "seed", "lr")


@dataclass(frozen=True)
class Problem:
    """A network, its loss, and whatever else a file gives: inputs, targets, state, seed, learning rate."""

    network: Sequential
    loss: Layer[Any] | None
    given: Mapping[str, Any]  # the entries of KEYS but network and loss, as they stand in the file


def network(text_or_path: str | os.PathLike[str]) -> tuple[Sequential, Layer[Any] | None]:
    """The network, and its loss or None, of a text or of a ``.toml`` or ``.py`` file."""
    found = problem(text_or_path)
    return found.network, found.loss


def problem(text_or_path: str | os.PathLike[str]) -> Problem:
    """The same, with the input, target, state, seed and learning rate that a file may give."""
    text = os.fspath(text_or_path)
    if not text.endswith((".toml", ".py")):
        return Problem(*of_text(text), {})
    path = Path(text)
    if not path.is_file():
        raise ArgumentError(
            f"{path} does not exist or is no file: give a file that does, or a network such as 'Linear(2,2) ReLU'."
        )
    entries = _of_toml(path) if path.suffix == ".toml" else _of_python(path)
    try:
        net, loss = _network_of(entries)
    except RefbpError as error:
        raise ArgumentError(f"{path}: {error}") from error
    return Problem(net, loss, {k: v for k, v in entries.items() if k not in ("network", "loss")})


def of_text(text: str) -> tuple[Sequential, Layer[Any] | None]:
    """A network from text: its layers in order, and the loss where the last entry is one."""
    if "=" in _outside(text):
        return Sequential(Graph(text)), None
    layers: list[Layer[Any]] = []
    entries = list(split(text))
    for i, entry in enumerate(entries):
        bare = entry.rstrip(",;")
        if bare != entry or entry in ("->", "→", "+"):
            raise ArgumentError(f"network, entry {i + 1}: {entry!r}: entries are separated by spaces alone, Linear(2,2) ReLU.")
        try:
            layers.append(construct(expression(entry), entry))
        except RefbpError as error:
            raise type(error)(f"network, entry {i + 1}: {error}") from error
    return _parted(layers)


def _outside(text: str) -> str:
    """What is left of a text without what stands in brackets or quotes: an = there is an assignment, not an argument."""
    left, depth, quote = "", 0, ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        else:
            depth += (c in "([{") - (c in ")]}")
            left += "" if depth else c
    return left


def _parted(layers: Sequence[Layer[Any]]) -> tuple[Sequential, Layer[Any] | None]:
    if not layers:
        raise ArgumentError("the network is empty; wanted layers separated by spaces, such as 'Linear(2,2) Sigmoid MSELoss'.")
    for i, layer in enumerate(layers[:-1]):
        if is_loss(layer):
            raise ArgumentError(
                f"network, entry {i + 1}: {layer!r} is a loss and {len(layers) - i - 1} entries follow; wanted it last."
            )
    loss = layers[-1] if is_loss(layers[-1]) else None
    rest = layers[:-1] if loss else layers
    if len(rest) == 1 and isinstance(rest[0], Sequential):  # a repr is a network as it stands
        return rest[0], loss
    return Sequential(*rest), loss


def _network_of(entries: Mapping[str, Any]) -> tuple[Sequential, Layer[Any] | None]:
    if unknown := [k for k in entries if k not in KEYS]:
        hint = did_you_mean(unknown[0], KEYS) or f"; known: {', '.join(KEYS)}."
        raise ArgumentError(f"{unknown[0]} is no entry{hint}")
    if "network" not in entries:
        raise ArgumentError('there is no network in it; wanted network = "Linear(2,2) Sigmoid MSELoss", say.')
    given = entries["network"]
    if isinstance(given, str):
        net, loss = of_text(given)
    elif isinstance(given, list | tuple):
        net, loss = _parted([_layer(g, f"network[{i}]") for i, g in enumerate(given)])
    else:
        net, loss = _parted([_layer(given, "network")])
    if "loss" not in entries or entries["loss"] is None:
        return net, loss
    if loss is not None:
        raise ArgumentError(f"there are two losses, {loss!r} at the end of the network and an entry loss: keep one.")
    loss = _layer(entries["loss"], "loss")
    if not is_loss(loss):
        raise ArgumentError(f"loss is {loss!r}, a layer; wanted a loss, such as MSELoss (refbp list shows all).")
    return net, loss


def _layer(given: Any, what: str) -> Layer[Any]:
    if isinstance(given, Layer):
        return given
    if isinstance(given, str):
        return construct(expression(given), given)
    raise ArgumentError(f"{what} is {type(given).__name__}; wanted a layer, or its constructor call as text.")


def _of_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(
            f'{path} is not TOML: {error}; wanted network = "Linear(2,2) MSELoss", input = [[1, -1]].'
        ) from None


def _of_python(path: Path) -> dict[str, Any]:
    """The names of KEYS that a Python file defines; it is run, as any program of its author's is."""
    module = ModuleType(f"refbp_network_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses looks a class's module up while the class is made
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # the user's own file
    except RefbpError as error:
        raise ArgumentError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{path} could not be run: {type(error).__name__}: {error}.") from error
    found = {k: getattr(module, k) for k in KEYS if hasattr(module, k)}
    if "network" not in found:
        raise ArgumentError(f"{path} defines no network; wanted network = Sequential(Linear(2, 2), Sigmoid()), say.")
    return found
