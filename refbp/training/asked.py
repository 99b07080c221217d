"""What a run was asked for, as plain data that its file keeps, and optimizers from text."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

from refbp import optim
from refbp.errors import ArgumentError, RefbpError, UnknownNameError, did_you_mean, listed
from refbp.layers.container import Sequential
from refbp.optim import Optimizer


@dataclasses.dataclass(frozen=True)
class Asked:
    """Everything that makes a run what it is, beyond its data's numbers. The texts can be read again."""

    network: str
    loss: str
    optimizer: str
    data: str
    digest: str
    inputs: str | None
    targets: str | None
    test: float
    test_data: str | None
    standardize: bool
    dtype: str
    batch: int
    seed: int
    epochs: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Asked:
        """From a run's file; ArgumentError where something is missing."""
        names = [f.name for f in dataclasses.fields(cls)]
        if missing := [n for n in names if n not in data]:
            raise ArgumentError(f"the file does not say what its {listed(missing)} was: train anew.")
        return cls(**{n: data[n] for n in names})


def written(net: Sequential) -> str:
    """The network as text that reads as the network."""
    numbered = all(name == str(i) for i, (name, _) in enumerate(net.parts))
    return " ".join(repr(layer) for _, layer in net.parts) if numbered and net.parts else repr(net)


def optimizer(text: str, lr: float | None = None) -> Optimizer:
    """The optimizer that a constructor call describes, ``SGD(lr=0.1, momentum=0.9)`` or ``Adam``, with another lr if given."""
    known = [n for n in optim.__all__ if n != "Optimizer"]
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = ast.Constant(None)
    node = ast.Call(node, [], []) if isinstance(node, ast.Name) else node
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ArgumentError(f"optimizer {text[:60]!r} cannot be read; wanted SGD(lr=0.1, momentum=0.9), or Adam.")
    name = node.func.id
    if name not in known:
        raise UnknownNameError(f"no optimizer is called {name!r}{did_you_mean(name, known)}; known: {listed(known)}.")
    try:
        positional = [ast.literal_eval(a) for a in node.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
    except (ValueError, TypeError, SyntaxError):
        raise ArgumentError(
            f"optimizer {text[:60]!r}: its arguments are no literals; wanted numbers, {name}(lr=0.1)."
        ) from None
    made: Optimizer = getattr(optim, name)(*positional, **named)
    if lr is None:
        return made
    try:
        return dataclasses.replace(made, lr=lr)  # type: ignore[type-var]  # every optimizer is a dataclass
    except RefbpError as error:
        raise type(error)(f"--lr: {error}") from error
