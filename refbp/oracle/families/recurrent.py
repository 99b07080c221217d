"""Recurrent cells and layers: backpropagation through time as a textbook writes it, with one thing done wrongly.

A *slip* is a word that the walk below looks for in the one place where it matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from refbp.numerics import sigmoid
from refbp.oracle.families._family import Family, slips
from refbp.oracle.observation import Array, Observation

KINDS = {"RNN": "RNN", "RNNCell": "RNN", "LSTM": "LSTM", "LSTMCell": "LSTM", "GRU": "GRU", "GRUCell": "GRU"}


class _Step(NamedTuple):
    """What one step of time leaves behind."""

    h: Array
    c: Array
    h_next: Array
    c_next: Array
    zh: Array
    gates: tuple[Array, ...]


class _Back(NamedTuple):
    """What goes back through one step: the gradients of W_ih x and of W_hh h, and what passes both by."""

    zx: Array
    zh: Array
    h: Any
    c: Any


def _kind(o: Observation) -> str:
    return next(KINDS[cls.__name__] for cls in type(o.layer).__mro__ if cls.__name__ in KINDS)


def _forward(kind: str, relu: bool, state: Mapping[str, Array], x: Array, h: Array, c: Array) -> _Step:
    zx = x @ state["weight_ih"].T + state.get("bias_ih", 0)
    zh = h @ state["weight_hh"].T + state.get("bias_hh", 0)
    z = zx + zh
    if kind == "RNN":
        return _Step(h, c, np.maximum(z, 0) if relu else np.tanh(z), c, zh, (z,))
    if kind == "LSTM":
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_next = f * c + i * g
        return _Step(h, c, o * np.tanh(c_next), c_next, zh, (i, f, g, o))
    r, u = (sigmoid(a) for a in np.split(z, 3, axis=1)[:2])
    zh_n = np.split(zh, 3, axis=1)[2]
    n = np.tanh(np.split(zx, 3, axis=1)[2] + r * zh_n)
    return _Step(h, c, (1 - u) * n + u * h, c, zh_n, (r, u, n))


def _slope(y: Array, slip: str, once: str = "") -> Array:
    """tanh′, from the output of tanh."""
    if slip == "twice" + once:
        y = np.tanh(y)
    return np.ones_like(y) if slip == "no slope" + once else 1 - y * (y if slip != "no square" else 1)


def _rnn(step: _Step, slip: str, dh: Array, relu: bool) -> _Back:
    dz = dh * ((step.gates[0] > 0) if relu and slip != "no slope" else _slope(step.h_next, slip))
    return _Back(dz, dz, 0, 0)


def _lstm(step: _Step, slip: str, dh: Array, dc: Array) -> _Back:
    i, f, g, o = step.gates
    through = dh * o * _slope(np.tanh(step.c_next), slip, " at c")
    if slip == "c for tanh c":
        through = dh * o * (1 - step.c_next**2)
    dct = dc + (0 if slip == "h not into c" else through) if slip != "dc lost" else through
    if slip == "c after dc":
        dct = dc
    c = step.c_next if slip == "new memory" else step.c
    do = dh * (step.c_next if slip == "o of c" else np.tanh(step.c_next))
    squashed = [v * (1 - v) if slip != "no gate slopes" else 1 for v in (i, f, o)]
    dz = [dct * g * squashed[0], dct * c * squashed[1], dct * i * _slope(g, slip, " at g"), do * squashed[2]]
    if slip.startswith("order "):
        dz = [dz[int(k)] for k in slip.split()[1]]
    whole = np.concatenate(dz, 1)
    return _Back(whole, whole, 0, dct * (f if slip != "no forget gate" else 1))


def _gru(step: _Step, slip: str, dh: Array) -> _Back:
    r, u, n = step.gates
    dn = dh * (u if slip == "z for 1 − z" else 1 - u) * _slope(n, slip, " at n")
    dr = dn * step.zh * r * (1 - r)
    dz = dh * ((n - step.h) if slip == "n − h" else (step.h - n)) * u * (1 - u)
    if slip == "r unheard":
        dr = np.zeros_like(dr)
    parts = [dr, dz, dn]
    if slip.startswith("order "):
        parts = [parts[int(k)] for k in slip.split()[1]]
    reset = [p if k != 2 or slip == "no reset" else p * r for k, p in enumerate(parts)]
    direct = {"no direct path": 0, "z for 1 − z": dh * (1 - u)}.get(slip, dh * u)
    return _Back(np.concatenate(parts, 1), np.concatenate(reset, 1), direct, 0)


def _gradients(o: Observation, slip: str) -> Mapping[str, Array]:
    """All gradients with one slip; nothing for what a textbook does not have: layers, directions, projections, lengths."""
    layer: Any = o.layer
    timed = hasattr(layer, "num_layers")
    if timed and (
        layer.num_layers > 1 or layer.bidirectional or layer.proj_size or (o.options or {}).get("lengths") is not None
    ):
        return {}
    suffix = "_l0" if timed else ""
    state = {n.removesuffix(suffix): a for n, a in o.state.items()}
    kind, relu = _kind(o), getattr(layer, "nonlinearity", "tanh") == "relu"
    whole = timed and o.x.ndim == 3
    x = (o.x.swapaxes(0, 1) if layer.batch_first else o.x) if whole else o.x[:, None] if timed else np.atleast_2d(o.x)[None]
    dy, *ends = (None if u is None else np.asarray(u) for u in o.upstream)
    assert dy is not None
    if timed:
        dy = (dy.swapaxes(0, 1) if layer.batch_first else dy) if whole else dy[:, None]
    names = ["h_0", "c_0"][: 2 if kind == "LSTM" else 1]
    given = [a for a in o.inputs[1 : 1 + len(names)] if a is not None]
    size = (x.shape[1], layer.hidden_size)
    h, c = [np.reshape(a, size) for a in given] + [np.zeros(size)] * (2 - len(given))
    steps = []
    for x_t in x:
        steps.append(_forward(kind, relu, state, x_t, h, c))
        h, c = steps[-1].h_next, steps[-1].c_next
    dh, dc = np.zeros(size), np.zeros(size)
    last = [np.zeros(size) if u is None else np.reshape(u, size) for u in ends]
    if timed:
        dh, dc = (last + [dc])[:2]
    elif last:
        dc = last[0]
    sums: dict[str, Array] = {}
    dx = np.zeros_like(x)
    for t in reversed(range(len(steps))):
        new = dy[t] if timed else np.reshape(dy, size)
        dh = dh + (new if slip != "last output" or t == len(steps) - 1 else 0)
        step = steps[t]
        back = (
            _rnn(step, slip, dh, relu)
            if kind == "RNN"
            else _gru(step, slip, dh)
            if kind == "GRU"
            else _lstm(step, slip, dh, dc)
        )
        dx[t] = back.zx @ state["weight_ih"]
        _add(sums, slip, t in (0, len(steps) - 1), t, _weights(back, steps[t], x[t], slip))
        W = state["weight_hh"].T if slip == "transposed" and kind == "RNN" else state["weight_hh"]
        dh, dc = back.zh @ W + back.h, back.c + np.zeros(size)
        if t and slip in ("no carry", "no carry of h"):
            dh = np.zeros(size)
        if t and slip in ("no carry", "no carry of c"):
            dc = np.zeros(size)
    found = {"x": dx.swapaxes(0, 1) if whole and layer.batch_first else dx}
    found |= {n + suffix: a for n, a in sums.items()} | dict(zip(names, (dh, dc), strict=False))
    return {n: a.reshape(o.expected[n].shape) for n, a in found.items() if n in o.expected}


def _weights(back: _Back, step: _Step, x: Array, slip: str) -> dict[str, Array]:
    h = step.h_next if slip == "new state" else step.h
    return {"weight_ih": back.zx.T @ x, "weight_hh": back.zh.T @ h, "bias_ih": back.zx.sum(0), "bias_hh": back.zh.sum(0)}


def _add(sums: dict[str, Array], slip: str, end: bool, t: int, new: dict[str, Array]) -> None:
    if (slip == "first step" and t) or (slip == "last step" and (sums or not end)):
        return
    for name, a in new.items():
        sums[name] = sums[name] + a if name in sums else a


def _slips(layers: tuple[str, ...], words: Mapping[str, str]) -> Family:
    return Family(layers, mistakes=slips(_gradients, words))


FAMILIES = (
    _slips(
        ("RNN", "RNNCell"),
        {
            "no slope": "the slope φ′(z) of the nonlinearity is missing: 1 − h′² for tanh",
            "twice": "tanh is applied twice: the slope is 1 − h′², for h′ is tanh(z) already, not 1 − tanh²(h′)",
            "no square": "the square is missing: the slope is 1 − h′², not 1 − h′",
            "transposed": "dh is multiplied by W_hh transposed: the other order of the recurrent weight's axes",
        },
    ),
    _slips(
        ("LSTM", "LSTMCell"),
        {
            "h not into c": "the way of dh into dc is missing: the term dh o (1 − tanh²(c′)) is not added to dc′",
            "c after dc": "dc′ is what came from the next step alone: dh o (1 − tanh²(c′)) is missing",
            "dc lost": "the upstream gradient of c′ is not added: only dh o (1 − tanh²(c′)) is there",
            "no slope at c": "the slope of tanh at c′, 1 − tanh²(c′), is missing in dc′",
            "twice at c": "tanh is applied twice at c′",
            "c for tanh c": "c′ stands where tanh(c′) is meant in the slope: 1 − c′² in place of 1 − tanh²(c′)",
            "o of c": "c′ stands where tanh(c′) is meant in the gradient of gate o",
            "new memory": "the memory after the step, c′, stands in the gradient of gate f where c, before it, is meant",
            "no forget gate": "the factor f is missing in dc: the old memory reaches the new one through the forget gate",
            "no gate slopes": "the slopes σ(1 − σ) of gates i, f and o are missing",
            "no slope at g": "the slope of gate g, 1 − g², is missing",
            "twice at g": "tanh is applied twice at gate g: g is tanh already, so its slope is 1 − g², not 1 − tanh²(g)",
            "order 0132": "gates g and o are swapped: the order is i, f, g, o",
            "order 0213": "gates f and g are swapped: the order is i, f, g, o",
            "order 1023": "gates i and f are swapped: the order is i, f, g, o",
        },
    ),
    _slips(
        ("GRU", "GRUCell"),
        {
            "n − h": "h − n is taken the other way round in the gradient of gate z",
            "no reset": "the factor r is missing: W_hh h + b_hh reaches n through the reset gate",
            "r unheard": "the gradient of the reset gate r is missing",
            "no direct path": "the direct path is missing: h reaches h′ also past all weights, which adds dh z",
            "z for 1 − z": "z and 1 − z are exchanged",
            "no slope at n": "the slope of n, 1 − n², is missing",
            "twice at n": "tanh is applied twice at n: its slope is 1 − n², not 1 − tanh²(n)",
            "order 102": "gates r and z are swapped: the order is r, z, n",
        },
    ),
    _slips(
        tuple(KINDS),
        {"new state": "the state after the step, h′, stands in the gradient of W_hh where h, before it, is meant"},
    ),
    _slips(
        ("LSTM",),
        {"no carry of c": "dc is not carried from step to step: what a later step sends back to the memory is missing"},
    ),
    _slips(
        ("RNN", "LSTM", "GRU"),
        {
            "no carry of h": "the recurrence is missing: what a later step sends back to h is not added to dh",
            "no carry": "nothing is carried from step to step: what a later step sends back to h and c is missing",
            "first step": "the steps' gradients of a weight overwrite each other: only the first step's is left, not their sum",
            "last step": "the steps' gradients of a weight are not added up: only the last step's is left",
            "last output": "only the upstream gradient of the last step's output is used",
        },
    ),
)
