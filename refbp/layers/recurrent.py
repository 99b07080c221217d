"""Recurrent layers: one cell applied along time, and a backward pass that walks time the other way.

:class:`_Recurrent` stacks layers and directions and knows nothing of gates; each subclass brings the step of its cell
from :mod:`refbp.layers.recurrent_cells`. Sequences of unequal length are packed: at every time only the rows of the
sequences that are running take the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, uniform_fan_in
from refbp.errors import ShapeError, ValueRangeError
from refbp.layers.recurrent_cells import Elman, Gated, LongShortTerm, Nonlinearity, Recurrence, States
from refbp.shapes import Shape

Weights = dict[str, Array]


class _Moment(NamedTuple):
    """One time of one scan."""

    on: Any  # which sequences are running: their indices, or all of them as a slice
    h: Array  # the state that the step started from
    m: Array  # the cell's output before a projection
    cell: Any  # what the cell saved


class _Scan(NamedTuple):
    """One layer in one direction."""

    suffix: str  # of its names in the state, such as _l0_reverse
    W: Weights
    rows: Array  # the packed input: the running rows of the first time, then of the second, …
    active: Array  # (L, N): where they stand in the padded one
    moments: list[_Moment]


class _Saved(NamedTuple):
    scans: list[list[_Scan]]  # layer by layer; in each, direction by direction
    keep: Array | None  # scaled masks between the layers, (num_layers − 1, L, N, D·H_out)
    batched: bool
    given: bool  # whether there were initial states


class _Recurrent(Recurrence, Layer[_Saved]):
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int = 0
    training: bool

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.input_size >= 1, "input_size", "an integer of at least 1"
        yield self.hidden_size >= 1, "hidden_size", "an integer of at least 1"
        yield self.num_layers >= 1, "num_layers", "an integer of at least 1"
        yield 0 <= self.dropout <= 1, "dropout", "a probability between 0 and 1"
        yield 0 <= self.proj_size < self.hidden_size, "proj_size", f"0, or less than hidden_size={self.hidden_size}"

    @property
    def directions(self) -> int:
        """D: 2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def out_size(self) -> int:
        """H_out, the size of one direction's output."""
        return self.proj_size or self.hidden_size

    def dims(self) -> dict[str, int]:
        return {
            "D*num_layers": self.directions * self.num_layers,
            "D*H_out": self.directions * self.out_size,
            "H_out": self.out_size,
            "num_layers-1": self.num_layers - 1,
        }

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse")[: self.directions]

    def params(self) -> dict[str, Shape]:
        rows = self.gates * self.hidden_size
        shapes: dict[str, Shape] = {}
        for layer, suffix in ((k, s) for k in range(self.num_layers) for s in self._suffixes(k)):
            features = self.input_size if layer == 0 else self.directions * self.out_size
            shapes |= {f"weight_ih{suffix}": (rows, features), f"weight_hh{suffix}": (rows, self.out_size)}
            if self.bias:
                shapes |= {f"bias_ih{suffix}": (rows,), f"bias_hh{suffix}": (rows,)}
            if self.proj_size:
                shapes[f"weight_hr{suffix}"] = (self.out_size, self.hidden_size)
        return shapes

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Everything, biases too, U(−1/√hidden_size, 1/√hidden_size)."""
        return State({n: uniform_fan_in(rng, s, self.hidden_size, dtype) for n, s in self.params().items()})

    def _state_patterns(self, ending: str) -> dict[str, str]:
        sizes = {"h": "H_out", "c": "hidden_size"}
        return {f"{s}{ending}": f"(D*num_layers, N, {sizes[s]}) or (D*num_layers, {sizes[s]})" for s in self.states}

    def inputs(self) -> dict[str, str]:
        x = {"x": f"{'(N, L, input_size)' if self.batch_first else '(L, N, input_size)'} or (L, input_size)"}
        initial = {n: f"optional {p}" for n, p in self._state_patterns("_0").items()}
        keep = "optional mask (num_layers-1, L, N, D*H_out) or (num_layers-1, L, 1, D*H_out)"
        return x | initial | {"keep": keep}

    def outputs(self) -> dict[str, str]:
        y = {"y": f"{'(N, L, D*H_out)' if self.batch_first else '(L, N, D*H_out)'} or (L, D*H_out)"}
        return y | self._state_patterns("_n")

    @property
    def noisy(self) -> bool:
        """Whether anything is dropped: between layers, so one alone drops nothing."""
        return self.training and self.dropout > 0 and self.num_layers > 1

    def draw(self, rng: np.random.Generator, shape: Shape) -> Array:
        """The noise of one pass in training, for an x of this shape: which outputs are kept between the layers."""
        length, batch = (shape[0], 1) if len(shape) == 2 else (shape[1], shape[0]) if self.batch_first else shape[:2]
        return rng.random((self.num_layers - 1, length, batch, self.directions * self.out_size)) >= self.dropout

    def check(self, *inputs: Any, **options: Any) -> None:
        """Noise is needed where dropout is at work; lengths must fit the batch."""
        x, *rest = inputs
        self.together([a is not None for a in rest[: len(self.states)]])
        length = x.shape[1] if self.batch_first and x.ndim == 3 else x.shape[0]
        if length == 0:
            raise ShapeError(f"{self!r}: x has shape {x.shape}; wanted a sequence of at least one step.")
        if self.noisy and (len(rest) <= len(self.states) or rest[-1] is None):
            raise ShapeError(f"{self!r}: keep is missing; wanted the dropout masks: pass keep=layer.draw(rng, x.shape).")
        if options.get("lengths") is not None:
            lengths = np.asarray(options["lengths"])
            if x.ndim != 3:
                raise ShapeError(f"{self!r}: lengths is given with x {x.shape}, one sequence; wanted a batch: leave it out.")
            batch = x.shape[0 if self.batch_first else 1]
            if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
                raise ShapeError(
                    f"{self!r}: lengths is {lengths.dtype} {lengths.shape}; wanted an integer for each sequence, ({batch},)."
                )
            if batch and not (lengths.min() >= 1 and lengths.max() <= length):
                raise ValueRangeError(
                    f"{self!r}: lengths go from {lengths.min()} to {lengths.max()}; wanted 1 to {length}, the steps in x."
                )

    def forward(
        self, state: Mapping[str, Array], x: Array, *rest: Array | None, lengths: Array | None = None
    ) -> Forward[_Saved]:
        batched = x.ndim == 3
        x = self._time_first(x)
        initial = [a for a in rest[: len(self.states)] if a is not None]
        starts = [a if batched else a[:, None] for a in initial] or [
            np.zeros((self.directions * self.num_layers, x.shape[1], size), x.dtype)
            for size in (self.out_size, self.hidden_size)[: len(self.states)]
        ]
        keep = self._scaled(rest[len(self.states)] if len(rest) > len(self.states) else None, x.dtype)
        ends = np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths)
        active = np.arange(len(x))[:, None] < ends
        scans: list[list[_Scan]] = [[] for _ in range(self.num_layers)]
        finals: list[States] = []
        for layer in range(self.num_layers):
            outs: list[Array] = []
            for suffix in self._suffixes(layer):
                flip = _flip(suffix)
                W = {n.removesuffix(suffix): a for n, a in state.items() if n.endswith(suffix)}
                y, final, scan = self._scan(suffix, W, x[flip], tuple(s[len(finals)] for s in starts), active[flip])
                outs.append(y[flip])
                finals.append(final)
                scans[layer].append(scan)
            x = np.concatenate(outs, 2)
            if keep is not None and layer < self.num_layers - 1:
                x *= keep[layer]
        last = [np.stack(s) if batched else np.stack(s)[:, 0] for s in zip(*finals, strict=True)]
        return Forward((self._time_back(x, batched), *last), _Saved(scans, keep, batched, bool(initial)))

    def backward(self, saved: _Saved, dy: Array, *dlast: Array) -> Grads:
        r"""Layers last to first; in each, ``_unscan`` walks the time that ``_scan`` walked, the other way.

        The output of two directions is theirs side by side, so dy is split; both read one input, so their dx add up.
        """
        dx = self._time_first(dy)
        ends = [d if saved.batched else d[:, None] for d in dlast]
        starts: list[States] = [()] * len(ends[0])
        params: Weights = {}
        for layer in reversed(range(self.num_layers)):
            if saved.keep is not None and layer < self.num_layers - 1:
                dx = dx * saved.keep[layer]
            halves, dxs = np.split(dx, self.directions, 2), []
            for i, (scan, half) in enumerate(zip(saved.scans[layer], halves, strict=True), layer * self.directions):
                flip = _flip(scan.suffix)
                dx_i, starts[i], dW = self._unscan(scan, half[flip], tuple(e[i] for e in ends))
                dxs.append(dx_i[flip])
                params |= {f"{n}{scan.suffix}": g for n, g in dW.items()}
            dx = sum(dxs[1:], dxs[0])
        d0 = [np.stack(s) if saved.batched else np.stack(s)[:, 0] for s in zip(*starts, strict=True)]
        return Grads(self._time_back(dx, saved.batched), *(d0 if saved.given else [None] * len(d0)), None, **params)

    def _scan(self, suffix: str, W: Weights, x: Array, states: States, active: Array) -> tuple[Array, States, _Scan]:
        """One layer in one direction over x (L, N, features): outputs, final states, what ``_unscan`` needs.

        The input's share of every gate is one matrix product over all of time: only the recurrence must wait.
        """
        rows = x[active]
        zx = np.dot(rows, W["weight_ih"].T)
        if self.bias:
            zx += W["bias_ih"] + W["bias_hh"] if self.gates_add else W["bias_ih"]
        y = np.zeros((*x.shape[:2], self.out_size), x.dtype)
        moments: list[_Moment] = []
        counts: Array = active.sum(1)
        running = [slice(None) if n == len(on) else on.nonzero()[0] for n, on in zip(counts, active, strict=True)]
        for t, (zx_t, on) in enumerate(zip(np.split(zx, counts.cumsum()[:-1]), running, strict=True)):
            before = _taken(states, on)
            zh = np.dot(before[0], W["weight_hh"].T)
            if self.bias and not self.gates_add:
                zh += W["bias_hh"]
            (m, *others), cell = self.step(zx_t, zh, *before)
            h = np.dot(m, W["weight_hr"].T) if self.proj_size else m
            states = _placed(states, on, (h, *others))
            y[t, on] = h
            moments.append(_Moment(on, before[0], m, cell))
        return y, states, _Scan(suffix, W, rows, active, moments)

    def _unscan(self, scan: _Scan, dy: Array, dstates: States) -> tuple[Array, States, Weights]:
        r"""Backwards through time: h reaches the loss through its own output and through every later step.

        So dh at t is dy at t, plus what the step after t sends back: W_hhᵀ dzh, and what passes that step by without
        a weight. W_ih and W_hh are used at every time, and their gradients sum over it: dW_ih = Σ dzx xᵀ,
        dW_hh = Σ dzh hᵀ, each one matrix product at the end. So do the biases': db_ih = Σ dzx, db_hh = Σ dzh.
        """
        W, moments = scan.W, scan.moments
        dzx = np.empty((len(scan.rows), len(W["weight_ih"])), dy.dtype)
        dzh = dzx if self.gates_add else np.empty_like(dzx)
        dhs: list[Array] = []
        stop = len(dzx)
        for t in reversed(range(len(moments))):
            on, _, m, cell = moments[t]
            dh, *dothers = _taken(dstates, on)
            dh = dh + dy[t, on]
            dhs.append(dh)
            back = self.unstep(cell, np.dot(dh, W["weight_hr"]) if self.proj_size else dh, *dothers)
            here, stop = slice(stop - len(m), stop), stop - len(m)
            np.concatenate(back.dzx, 1, out=dzx[here])
            if back.dzh is not None:
                np.concatenate(back.dzh, 1, out=dzh[here])
            dh = np.dot(dzh[here], W["weight_hh"])
            if back.dh is not None:
                dh += back.dh
            dstates = _placed(dstates, on, (dh, *back.others))
        grads = {"weight_ih": np.dot(dzx.T, scan.rows), "weight_hh": np.dot(dzh.T, np.concatenate([m.h for m in moments]))}
        if self.bias:
            grads |= {"bias_ih": dzx.sum(0), "bias_hh": dzh.sum(0)}
        if self.proj_size:
            grads["weight_hr"] = np.dot(np.concatenate(dhs[::-1]).T, np.concatenate([m.m for m in moments]))
        dx = np.zeros((*dy.shape[:2], scan.rows.shape[1]), dy.dtype)
        dx[scan.active] = np.dot(dzx, W["weight_ih"])
        return dx, dstates, grads

    def _time_first(self, x: Array) -> Array:
        return x[:, None] if x.ndim == 2 else x.swapaxes(0, 1) if self.batch_first else x

    def _time_back(self, x: Array, batched: bool) -> Array:
        return np.ascontiguousarray(x[:, 0] if not batched else x.swapaxes(0, 1) if self.batch_first else x)

    def _scaled(self, keep: Array | None, dtype: Any) -> Array | None:
        if keep is None or not self.training or self.dropout == 0:
            return None
        return np.asarray(keep * np.asarray(1 / (1 - self.dropout) if self.dropout < 1 else 0, dtype))


def _flip(suffix: str) -> slice:
    return slice(None, None, -1 if suffix.endswith("reverse") else 1)


def _taken(states: States, on: Any) -> States:
    """The states of the sequences that are running."""
    return states if isinstance(on, slice) else tuple(s[on] for s in states)


def _placed(states: States, on: Any, new: States) -> States:
    """The states after a step; a sequence that has ended, or not begun, keeps its own."""
    if isinstance(on, slice):
        return new
    kept = tuple(s.copy() for s in states)
    for k, n in zip(kept, new, strict=True):
        k[on] = n
    return kept


@dataclass(frozen=True)
class RNN(Elman, _Recurrent):
    r"""h′ = φ(W_ih x + b_ih + W_hh h + b_hh), φ = tanh or relu;   dh += W_hhᵀ dz,   dz = dh′ φ′(z).

    Shapes: x (L, N, input_size), or (N, L, input_size) with batch_first, or (L, input_size);
    h_0 (D·num_layers, N, hidden_size); outputs y (L, N, D·hidden_size) and h_n as h_0. D = 2 when bidirectional.
    ``keep`` holds the dropout masks between the layers; the option ``lengths`` (N) packs sequences of unequal length.
    Torch: torch.nn.RNN. Paper: Elman 1990.
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    nonlinearity: Nonlinearity = "tanh"
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    training: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class LSTM(LongShortTerm, _Recurrent):
    r"""i, f, o = σ(·), g = tanh(·) of W_ih x + b_ih + W_hh h + b_hh;   c′ = f c + i g,   h′ = o tanh(c′).

    dc′ += dh′ o tanh′(c′), and dc = dc′ f: the memory's gradient passes from step to step without a weight.
    Shapes: x (L, N, input_size), or (N, L, input_size) with batch_first, or (L, input_size); h_0 (D·num_layers, N, H_out),
    c_0 (D·num_layers, N, hidden_size); outputs y (L, N, D·H_out), h_n, c_n as h_0, c_0. D = 2 when bidirectional;
    H_out = proj_size, or hidden_size where that is 0. weight_ih_l{k} and weight_hh_l{k} stack the gates i, f, g, o.
    ``keep`` holds the dropout masks between the layers; the option ``lengths`` (N) packs sequences of unequal length.
    Torch: torch.nn.LSTM. Papers: Hochreiter & Schmidhuber 1997; Sak, Senior & Beaufays 2014 for proj_size.
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    training: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class GRU(Gated, _Recurrent):
    r"""r, z = σ(W_ih x + b_ih + W_hh h + b_hh),   n = tanh(W_ih x + b_ih + r (W_hh h + b_hh));   h′ = (1 − z) n + z h.

    dh = dh′ z + W_hhᵀ dzh: the state's gradient passes by the weights as far as z lets the state through.
    Shapes: as RNN; weight_ih_l{k} and weight_hh_l{k} stack the gates r, z, n. The reset r multiplies W_hh h + b_hh, as
    in cuDNN, so b_ih and b_hh, alike in r and z, are two different things in n.
    Torch: torch.nn.GRU. Paper: Cho et al. 2014, where r multiplies h.
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    training: bool = field(default=True, kw_only=True)
