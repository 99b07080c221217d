"""Speed, as a ratio to torch in the same run: forward and backward of twelve workloads.

Both sides compute the same gradients of the same inputs with one thread. Repetitions are interleaved (torch, refbp, torch,
refbp, …) so that a machine that slows down slows both, after a warm-up that is not counted; medians are compared.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from refbp import layers, losses
from refbp.conformance import twin
from refbp.contract import Layer, State

torch.set_num_threads(1)


@dataclass(frozen=True)
class Workload:
    """One timed case: a layer, its inputs by a generator, an optional loss on top, and how torch calls its twin."""

    name: str
    layer: Layer[Any]
    inputs: Callable[[np.random.Generator], tuple[Any, ...]]
    loss: Layer[Any] | None = None
    target: Callable[[np.random.Generator], Any] | None = None


def _normal(*shape: int) -> Callable[[np.random.Generator], tuple[Any, ...]]:
    return lambda rng: (rng.normal(size=shape),)


def _classes(count: int, *shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.integers(0, count, shape)


def workloads() -> list[Workload]:
    """The twelve."""
    L, relu = layers, layers.ReLU
    mlp = L.Sequential(L.Linear(784, 256), relu(), L.Linear(256, 128), relu(), L.Linear(128, 10))
    tiny = L.Sequential(L.Linear(4, 8), relu(), L.Linear(8, 3))
    cross_entropy = losses.CrossEntropyLoss()
    attention = L.MultiheadAttention(128, 8, batch_first=True)
    return [
        Workload("MLP 784-256-128-10, batch 64, cross-entropy", mlp, _normal(64, 784), cross_entropy, _classes(10, 64)),
        Workload("MLP 4-8-3, batch 8, cross-entropy", tiny, _normal(8, 4), cross_entropy, _classes(3, 8)),
        Workload("Conv2d 32×16×32×32, 32 filters 3×3, pad 1", L.Conv2d(16, 32, 3, padding=1), _normal(32, 16, 32, 32)),
        Workload("BatchNorm2d 32×32×28×28", L.BatchNorm2d(32), _normal(32, 32, 28, 28)),
        Workload("MaxPool2d 2×2, 32×32×28×28", L.MaxPool2d(2), _normal(32, 32, 28, 28)),
        Workload("LSTM T 50, B 16, D 64, H 128", L.LSTM(64, 128), _normal(50, 16, 64)),
        Workload("MultiheadAttention B 8, T 64, E 128, 8 heads", attention, lambda r: (r.normal(size=(8, 64, 128)),) * 3),
        Workload("LayerNorm 64×512", L.LayerNorm(512), _normal(64, 512)),
        Workload("GELU (erf) 1e6", L.GELU(), _normal(1_000_000)),
        Workload("GELU (tanh) 1e6", L.GELU("tanh"), _normal(1_000_000)),
        Workload("Embedding 10000×128, 64×50 indices", L.Embedding(10_000, 128), lambda r: (_classes(10_000, 64, 50)(r),)),
        Workload("CrossEntropyLoss 1024×1000", cross_entropy, lambda r: (r.normal(size=(1024, 1000)), _classes(1000, 1024)(r))),
    ]


@dataclass(frozen=True)
class Timing:
    """Medians in seconds, and their ratio."""

    name: str
    dtype: str
    refbp: float
    torch: float

    @property
    def ratio(self) -> float:
        """The time of refbp over that of torch: below 1 is faster."""
        return self.refbp / self.torch

    def data(self) -> dict[str, Any]:
        """The timing as plain data."""
        return {"workload": self.name, "dtype": self.dtype, "refbp_s": self.refbp, "torch_s": self.torch, "ratio": self.ratio}


def time_all(dtype: Any, seconds: float, only: str = "") -> Iterator[Timing]:
    """One timing per workload whose name contains ``only``, each given about so many seconds."""
    for workload in workloads():
        if only.lower() in workload.name.lower():
            yield measure(workload, np.dtype(dtype), seconds)


def measure(workload: Workload, dtype: Any, seconds: float) -> Timing:
    """Interleaved medians of one workload."""
    ours, theirs = _ours(workload, dtype), _theirs(workload, dtype)
    for run in (ours, theirs) * 2:
        run()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for run, kept in zip((theirs, ours), times, strict=True):
            start = time.perf_counter()
            run()
            kept.append(time.perf_counter() - start)
    return Timing(workload.name, dtype.name, statistics.median(times[1]), statistics.median(times[0]))


def _drawn(workload: Workload, dtype: Any) -> tuple[State, tuple[Any, ...], Any]:
    rng = np.random.default_rng(0)
    state = workload.layer.init(rng, dtype)
    inputs = tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in workload.inputs(rng))
    return state, inputs, workload.target(rng) if workload.target else None


def _ours(workload: Workload, dtype: Any) -> Callable[[], Any]:
    state, inputs, target = _drawn(workload, dtype)
    layer, loss = workload.layer, workload.loss
    upstream = None if loss else _upstream(layer(state, *inputs).outputs)

    def run() -> Any:
        step = layer(state, *inputs)
        if loss is not None:
            cost = loss(State({}), step.outputs, target)
            return step.backward(cost.backward(np.ones((), dtype)).inputs[0])
        return step.backward(*upstream or ())

    return run


def _upstream(outputs: Any) -> tuple[Any, ...]:
    rng = np.random.default_rng(1)
    many = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(rng.uniform(0.5, 1.5, y.shape).astype(y.dtype) for y in many)


def _theirs(workload: Workload, dtype: Any) -> Callable[[], Any]:
    state, inputs, target = _drawn(workload, dtype)
    module = twin.of(workload.layer).to(torch.from_numpy(np.zeros(0, dtype)).dtype)
    module.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()})
    tensors = [torch.from_numpy(a) for a in inputs]
    wanted = [t.requires_grad_() for t in tensors[:1] if t.is_floating_point()] + list(module.parameters())
    answer = None if target is None else torch.from_numpy(target)
    upstream = None

    def run() -> Any:
        nonlocal upstream
        y = module(*tensors)
        if answer is not None:
            return torch.autograd.grad(torch.nn.functional.cross_entropy(y, answer), wanted)
        ys = list(_flat(y))
        if upstream is None:
            upstream = [torch.from_numpy(u) for u in _upstream(tuple(t.detach().numpy() for t in ys))]
        return torch.autograd.grad(ys, wanted, upstream)

    return run


def _flat(y: Any) -> Iterator[torch.Tensor]:
    if isinstance(y, torch.Tensor):
        yield y
    else:
        for part in y:
            yield from _flat(part)


def geometric_mean(timings: list[Timing]) -> float:
    """The geometric mean of the ratios."""
    return math.exp(sum(math.log(t.ratio) for t in timings) / len(timings))


def machine() -> str:
    """What the numbers were measured on: processor and BLAS matter more than anything else."""
    import platform
    from pathlib import Path

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line for line in lines if line.startswith("flags")), "")
    wide = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2" if flags else "unknown vector width"
    return f"{model or platform.machine()}, {wide}, Python {platform.python_version()}"
