"""Snake, y = x + sin²(ax) / a, with one learned frequency per channel."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp import Case, Forward, Grads, Layer, Spec, State, exactly, hookimpl, normal


class Saved(NamedTuple):
    """What backward remembers."""

    x: Any
    a: Any


@dataclass(frozen=True)
class Snake(Layer[Saved]):
    r"""y = x + sin²(ax) / a;   dx = dy (1 + sin(2ax)),   da = Σ dy (x sin(2ax) − sin²(ax) / a) / a.

    Shapes: x (N, channels, *), y (N, channels, *); a (channels).
    Paper: Liu, Hartwig & Ueda 2020.
    """

    channels: int

    def params(self) -> dict[str, tuple[int, ...]]:
        return {"a": (self.channels,)}

    def inputs(self) -> dict[str, str]:
        return {"x": "(N, channels, *)"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, channels, *)"}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        return State({"a": np.ones(self.channels, dtype)})

    def forward(self, state: Mapping[str, Any], x: Any) -> Forward[Saved]:
        a = state["a"].reshape(-1, *[1] * (x.ndim - 2))
        return Forward(x + np.sin(a * x) ** 2 / a, Saved(x, a))

    def backward(self, saved: Saved, dy: Any) -> Grads:
        r"""d(sin²u)/du = 2 sin u cos u = sin 2u, with u = ax."""
        x, a = saved
        da = dy * (x * np.sin(2 * a * x) - np.sin(a * x) ** 2 / a) / a
        return Grads(dy * (1 + np.sin(2 * a * x)), a=da.sum((0, *range(2, dy.ndim))))


def twin(layer: Snake) -> Any:
    """The same layer in torch: what autograd differentiates."""
    import torch

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Parameter(torch.ones(layer.channels))

        def forward(self, x: Any) -> Any:
            a = self.a.reshape(-1, *[1] * (x.ndim - 2))
            return x + torch.sin(a * x) ** 2 / a

    return Twin()


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """Snake."""
    yield Spec(
        Snake,
        [
            Case(Snake(5), normal(3, 5), id="matrix"),
            Case(Snake(3), normal(2, 3, 5, 7), id="images"),
            Case(Snake(2), exactly([[0.0, -1.0], [2.0, 0.5]]), id="points"),
        ],
        twin=twin,
    )
