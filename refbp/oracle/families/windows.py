"""Convolutions and pooling: what each window sends back to the positions that it read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from refbp.oracle.families._family import Family
from refbp.oracle.observation import Array, Observation
from refbp.spec import Mistake

Place = tuple[Any, ...]


def _geometry(o: Observation) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernel, stride, padding and dilation, a number per axis."""
    layer: Any = o.layer
    stride = layer.stride if layer.stride is not None else layer.kernel_size
    padding = layer.padding if not isinstance(layer.padding, str) else 0
    sizes = layer.kernel_size, stride, padding, getattr(layer, "dilation", 1)
    kernel, stride, padding, dilation = (v if isinstance(v, tuple) else (v,) * layer.rank for v in sizes)
    return kernel, stride, padding, dilation


def _plain(o: Observation) -> bool:
    """Whether the layer is what textbooks have: zero padding by numbers, one group, no ceil_mode."""
    layer: Any = o.layer
    odd = isinstance(layer.padding, str) or getattr(layer, "groups", 1) != 1 or getattr(layer, "ceil_mode", False)
    return not odd and getattr(layer, "padding_mode", "zeros") == "zeros" and o.x.ndim == layer.rank + 2


def _positions(o: Observation, stride: tuple[int, ...], dilation: tuple[int, ...]) -> Iterator[tuple[Place, Place]]:
    """Each window's number, and the positions in the padded x that it would read with this stride and dilation."""
    kernel = _geometry(o)[0]
    for window in itertools.product(*map(range, o.dy.shape[2:])):
        taps = (np.arange(k) * d + w * s for w, k, s, d in zip(window, kernel, stride, dilation, strict=True))
        yield (..., *window), (slice(None), slice(None), *np.ix_(*taps))


def _cropped(o: Observation, dx: Array) -> Array:
    inner = [slice(p, p + n) for p, n in zip(_geometry(o)[2], o.x.shape[2:], strict=True)]
    return dx[:, :, *inner]


def _padded(o: Observation, value: float = 0.0) -> Array:
    return np.pad(o.x, [(0, 0), (0, 0), *((p, p) for p in _geometry(o)[2])], constant_values=value)


def _convolved(o: Observation, W: Array, stride: tuple[int, ...], dilation: tuple[int, ...]) -> Mapping[str, Array]:
    """The gradients of a convolution with another kernel, stride or dilation."""
    image = _padded(o)
    dx, dW = np.zeros_like(image), np.zeros_like(W)
    for window, place in _positions(o, stride, dilation):
        dy = o.dy[window]
        dx[place] += np.tensordot(dy, W, 1)
        dW += np.tensordot(dy, image[place], ((0,), (0,)))
    return {"x": _cropped(o, dx), "weight": dW}


def _unstrided(o: Observation) -> Mapping[str, Array]:
    _, stride, _, dilation = _geometry(o)
    if not _plain(o) or max(stride) == 1:
        return {}
    return _convolved(o, o.state["weight"], (1,) * len(stride), dilation)


def _undilated(o: Observation) -> Mapping[str, Array]:
    _, stride, _, dilation = _geometry(o)
    if not _plain(o) or max(dilation) == 1:
        return {}
    return _convolved(o, o.state["weight"], stride, (1,) * len(stride))


def _turned(o: Observation) -> Mapping[str, Array]:
    kernel, stride, _, dilation = _geometry(o)
    if not _plain(o) or max(kernel) == 1:
        return {}
    W = o.state["weight"]
    return {"x": _convolved(o, np.flip(W, tuple(range(2, W.ndim))), stride, dilation)["x"]}


def _turned_weight(o: Observation) -> Mapping[str, Array]:
    W = np.asarray(o.expected["weight"])
    return {"weight": np.flip(W, tuple(range(2, W.ndim)))} if math.prod(W.shape[2:]) > 1 else {}


def _counted(o: Observation, round_: Callable[[float], int]) -> Mapping[str, Array]:
    """What comes out where windows are counted along x, stride by stride: those further on are never made."""
    y = np.array(o.outputs[0])
    stride = _geometry(o)[1]
    if not _plain(o):
        return {}
    for axis, (n, s) in enumerate(zip(o.x.shape[2:], stride, strict=True), 2):
        y[(slice(None),) * axis + (slice(round_(n / s), None),)] = 0
    return {"y": y}


TOO_FEW = (
    Mistake(
        "windows are counted along x, as range(0, H, stride) does, and not along the output: those further on stay 0",
        lambda o: _counted(o, math.ceil),
    ),
    Mistake(
        "windows are counted as H // stride and W // stride, and not along the output: those further on stay 0",
        lambda o: _counted(o, math.floor),
    ),
)
CONVOLUTION = Family(
    ("_Conv",),
    mistakes=(
        Mistake("the stride is forgotten: windows are taken one position apart", _unstrided),
        Mistake("the dilation is forgotten: the taps of a window are taken side by side", _undilated),
        Mistake("the kernel is flipped (turned by 180°), as it is not where dy is spread back window by window", _turned),
        Mistake("the gradient of the kernel is flipped (turned by 180°)", _turned_weight),
    ),
    of_outputs=TOO_FEW,
)


# Pooling ---------------------------------------------------------------------------------------------------------------


def _chosen(o: Observation, share: str, stride: tuple[int, ...] | None = None, kept: str = "") -> Mapping[str, Array]:
    """What a max pooling sends back where each window's dy goes to other positions than the first of the largest.

    ``kept``: "window" where each window overwrites the whole of its part of dx, "largest" where it overwrites what it gives
    dy to, and only that.
    """
    if not _plain(o):
        return {}
    _, right_stride, _, dilation = _geometry(o)
    image = _padded(o, -math.inf)
    dx = np.zeros_like(image)
    for window, place in _positions(o, stride or right_stride, dilation):
        values, dy = image[place], o.dy[window]
        lead = values.shape[:2]
        flat = values.reshape(*lead, -1)
        largest = flat == flat.max(-1, keepdims=True)
        if share == "all":
            part = largest * dy[..., None]
        elif share == "equally":
            part = largest / largest.sum(-1, keepdims=True) * dy[..., None]
        elif share == "mean":
            part = np.ones_like(flat) / flat.shape[-1] * dy[..., None]
        else:
            last = flat.shape[-1] - 1 - flat[..., ::-1].argmax(-1)
            at = {"last": last, "smallest": flat.argmin(-1)}.get(share, flat.argmax(-1))
            part = (np.arange(flat.shape[-1]) == at[..., None]) * dy[..., None]
        given = (part != 0 if kept == "largest" else np.ones_like(largest)).reshape(values.shape)
        dx[place] = np.where(given, 0 if kept else dx[place], dx[place]) + part.reshape(values.shape)
    return {"x": _cropped(o, dx)}


def _overlapping(o: Observation) -> bool:
    kernel, stride, _, dilation = _geometry(o)
    return any(s < d * (k - 1) + 1 for k, s, d in zip(kernel, stride, dilation, strict=True))


def _replaced(o: Observation, share: str, kept: str) -> Mapping[str, Array]:
    """The same where windows overwrite; as it should be up to ties where none overlap."""
    return _chosen(o, share, kept=kept if _overlapping(o) else "")


ALL_TIED = ", and at ties all of the equal largest values get dy"
OVER_WINDOW = (
    "each window overwrites (=) its whole part of dx, zeros included, where the shares of windows that overlap should be"
    " added up (+=)"
)
OVER_LARGEST = (
    "it is overwritten (=) where it should be added up (+=): where more than one window (they overlap) has a share, only the"
    " last one's is kept"
)


def _unstrided_pool(o: Observation) -> Mapping[str, Array]:
    stride = _geometry(o)[1]
    return _chosen(o, "first", (1,) * len(stride)) if max(stride) > 1 else {}


MAX_POOLING = Family(
    ("_MaxPool",),
    mistakes=(
        Mistake("at ties all of the equal largest values get dy, where the first of them should", lambda o: _chosen(o, "all")),
        Mistake("at ties the equal largest values share dy, where the first gets all of it", lambda o: _chosen(o, "equally")),
        Mistake("at ties the last of the equal largest values gets dy, where the first should", lambda o: _chosen(o, "last")),
        Mistake(OVER_WINDOW, lambda o: _replaced(o, "first", "window")),
        Mistake(OVER_WINDOW + ALL_TIED, lambda o: _replaced(o, "all", "window")),
        Mistake(OVER_LARGEST, lambda o: _replaced(o, "first", "largest")),
        Mistake(OVER_LARGEST + ALL_TIED, lambda o: _replaced(o, "all", "largest")),
        Mistake(
            "dy is spread over every position of a window, as for a mean, where the largest alone gets it",
            lambda o: _chosen(o, "mean"),
        ),
        Mistake("the smallest value of each window gets dy, where the largest should", lambda o: _chosen(o, "smallest")),
        Mistake("the stride is forgotten: windows are taken one position apart", _unstrided_pool),
    ),
    of_outputs=TOO_FEW,
)
FAMILIES = (CONVOLUTION, MAX_POOLING)
