"""``refbp new``: a plugin file that passes conformance before its author changes a line."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click

from refbp import registry
from refbp.cli._common import fitted

LAYER = '''"""{name}: y = a tanh(x), with a learned amplitude a. Replace this formula by your own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp import Case, Forward, Grads, Layer, Spec, State, exactly, hookimpl, normal
from refbp.numerics import tanh_slope


@dataclass(frozen=True)
class {name}(Layer[tuple[Any, Any, Any]]):
    r"""y = a tanh(x);   dx = dy a tanh′(x),   da = Σ dy tanh(x).

    Shapes: x (N, *), y (N, *); amplitude ().
    """

    initial: float = 1.0

    def params(self) -> dict[str, tuple[int, ...]]:
        return {{"amplitude": ()}}

    def inputs(self) -> dict[str, str]:
        return {{"x": "(N, *)"}}  # an axis named N is the batch: batches of one and none are tested too

    def outputs(self) -> dict[str, str]:
        return {{"y": "(N, *)"}}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        return State({{"amplitude": np.asarray(self.initial, dtype)}})

    def forward(self, state: Mapping[str, Any], x: Any) -> Forward[tuple[Any, Any, Any]]:
        a, t = state["amplitude"], np.tanh(x)
        return Forward(a * t, saved=(x, t, a))

    def backward(self, saved: tuple[Any, Any, Any], dy: Any) -> Grads:
        x, t, a = saved
        return Grads(dy * a * tanh_slope(x), amplitude=(dy * t).sum())


def twin(layer: {name}) -> Any:
    """The same layer in torch: what autograd differentiates."""
    import torch

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.amplitude = torch.nn.Parameter(torch.tensor(layer.initial))

        def forward(self, x: Any) -> Any:
            return self.amplitude * torch.tanh(x)

    return Twin()


@hookimpl
def refbp_layers() -> Any:
    yield Spec(
        {name},
        cases=[
            Case({name}(), normal(3, 5), id="matrix"),
            Case({name}(0.3), normal(7, 2, 3), id="three-axes"),
            Case({name}(), exactly([-2.0, 0.0, 0.5]), id="points"),
        ],
        twin=twin,
    )
'''

LOSS = '''"""{name}: l = log cosh(x − t). Replace this formula by your own."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp import Case, Forward, Grads, Spec, exactly, hookimpl, normal
from refbp.losses import Loss, Reduction
from refbp.numerics import softplus


@dataclass(frozen=True)
class {name}(Loss[tuple[Any, ...]]):
    r"""l = log cosh(x − t);   ∂l/∂x = tanh(x − t) = −∂l/∂t.

    Shapes: input (N, *), target (N, *), loss () or (N, *) for reduction="none".
    """

    reduction: Reduction = "mean"

    def inputs(self) -> dict[str, str]:
        return {{"input": "(N, *)", "target": "(N, *)"}}

    def outputs(self) -> dict[str, str]:
        return {{"loss": "(N, *)" if self.reduction == "none" else "()"}}

    def forward(self, state: Mapping[str, Any], input: Any, target: Any) -> Forward[tuple[Any, ...]]:
        d = input - target
        losses = np.abs(d) + softplus(-2 * np.abs(d)) - math.log(2)  # log cosh d, without overflow
        return Forward(self.reduced(losses), saved=(d,))

    def backward(self, saved: tuple[Any, ...], dy: Any) -> Grads:
        (d,) = saved
        dx = self.spread(dy, d.shape) * np.tanh(d)  # spread is the transpose of reduced: dy/N for a mean
        return Grads(dx, -dx)


def twin(loss: {name}) -> Any:
    """The same loss in torch: what autograd differentiates."""
    import torch

    class Twin(torch.nn.Module):
        def forward(self, x: Any, t: Any) -> Any:
            d = (x - t).abs()
            losses = d + torch.nn.functional.softplus(-2 * d) - math.log(2)
            return {{"none": lambda v: v, "mean": torch.mean, "sum": torch.sum}}[loss.reduction](losses)

    return Twin()


@hookimpl
def refbp_losses() -> Any:
    yield Spec(
        {name},
        cases=[
            *(Case({name}(r), normal(3, 5), normal(3, 5), id=r) for r in ("mean", "sum", "none")),
            Case({name}("none"), exactly([0.5, 2.0]), exactly([0.5, -1.0]), id="points"),
        ],
        twin=twin,
    )
'''


@click.group("new", short_help="Write a plugin file that passes conformance from the start.")
def new_command() -> None:
    """Write a plugin file that passes conformance before a line of it is changed."""


def _write(name: str, folder: str, template: str) -> None:
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or keyword.iskeyword(name):
        raise click.UsageError(f"{fitted(name, 60)!r} was given; wanted a class name such as Swish or SoftClip.")
    if name in registry.current().entries:
        taken = registry.current().get(name)
        raise click.UsageError(f"the name {name} is already taken by plugin {taken.plugin}: choose another.")
    path = Path(folder) / f"{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}.py"
    if not path.parent.is_dir():
        raise click.UsageError(f"the folder {path.parent} does not exist: make it, or name another with --dir.")
    try:
        with path.open("x", encoding="utf-8") as file:  # "x": what is there is never overwritten
            file.write(template.format(name=name))
    except FileExistsError:
        raise click.UsageError(f"{path} exists and was left as it is: choose another name, or another --dir.") from None
    click.echo(f"{path} written. Prove it:  refbp verify {name} --plugins-dir {path}")


_dir = click.option("--dir", "folder", default=".", metavar="FOLDER", help="Where to write it.  [default: here]")


@new_command.command("layer")
@click.argument("name")
@_dir
def new_layer(name: str, folder: str) -> None:
    """Write NAME, a layer with a learned parameter, its twin and its cases."""
    _write(name, folder, LAYER)


@new_command.command("loss")
@click.argument("name")
@_dir
def new_loss(name: str, folder: str) -> None:
    """Write NAME, a loss with the three reductions, its twin and its cases."""
    _write(name, folder, LOSS)
