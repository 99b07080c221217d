"""Recurrent layers: one cell applied along time, and a backward pass that walks time the other way.

:class:`_Recurrent` stacks layers and directions, and knows nothing of gates. A subclass knows one sequence: ``scan``
runs its cell over time, ``unscan`` walks back, carrying the gradient of the state from each step to the one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, uniform_fan_in
from refbp.errors import ShapeError, ValueRangeError
from refbp.numerics import sigmoid, sigmoid_slope, tanh_slope
from refbp.shapes import Shape

States = tuple[Array, ...]
Weights = dict[str, Array]


class _Scanned(NamedTuple):
    """One layer, one direction: its suffix in the state's names, what its scan saved, and whether time ran backwards."""

    suffix: str
    saved: Any
    reverse: bool


class _Saved(NamedTuple):
    scans: list[list[_Scanned]]
    keep: Array | None  # scaled masks between the layers, (num_layers − 1, L, N, D·H_out)
    batched: bool
    given: int  # how many initial states were given


@dataclass(frozen=True)
class _Recurrent(Layer[_Saved]):
    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    training: bool = field(default=True, kw_only=True)

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.input_size >= 1, "input_size", "an integer of at least 1"
        yield self.hidden_size >= 1, "hidden_size", "an integer of at least 1"
        yield self.num_layers >= 1, "num_layers", "an integer of at least 1"
        yield 0 <= self.dropout <= 1, "dropout", "a probability between 0 and 1"

    @property
    def out_size(self) -> int:
        """The size of one direction's output, H_out."""
        return getattr(self, "proj_size", 0) or self.hidden_size

    @property
    def directions(self) -> int:
        """2 when bidirectional, else 1: D."""
        return 2 if self.bidirectional else 1

    def dims(self) -> dict[str, int]:
        return {
            "D*num_layers": self.directions * self.num_layers,
            "D*H_out": self.directions * self.out_size,
            "H_out": self.out_size,
            "num_layers-1": self.num_layers - 1,
        }

    def _suffixes(self) -> Iterator[tuple[int, str]]:
        for layer in range(self.num_layers):
            yield layer, f"_l{layer}"
            if self.bidirectional:
                yield layer, f"_l{layer}_reverse"

    def params(self) -> dict[str, Shape]:
        rows = self.gates * self.hidden_size
        shapes: dict[str, Shape] = {}
        for layer, suffix in self._suffixes():
            shapes[f"weight_ih{suffix}"] = (rows, self.input_size if layer == 0 else self.directions * self.out_size)
            shapes[f"weight_hh{suffix}"] = (rows, self.out_size)
            if self.bias:
                shapes |= {f"bias_ih{suffix}": (rows,), f"bias_hh{suffix}": (rows,)}
            if self.out_size != self.hidden_size or getattr(self, "proj_size", 0):
                shapes[f"weight_hr{suffix}"] = (self.out_size, self.hidden_size)
        return shapes

    def inputs(self) -> dict[str, str]:
        x = "(N, L, input_size)" if self.batch_first else "(L, N, input_size)"
        sizes = {"h": "H_out", "c": "hidden_size"}
        patterns = {"x": f"{x} or (L, input_size)"}
        for s in self.states:
            patterns[f"{s}_0"] = f"optional (D*num_layers, N, {sizes[s]}) or (D*num_layers, {sizes[s]})"
        return patterns | {"keep": "optional mask (num_layers-1, L, N, D*H_out)"}

    def outputs(self) -> dict[str, str]:
        y = "(N, L, D*H_out)" if self.batch_first else "(L, N, D*H_out)"
        sizes = {"h": "H_out", "c": "hidden_size"}
        patterns = {"y": f"{y} or (L, D*H_out)"}
        for s in self.states:
            patterns[f"{s}_n"] = f"(D*num_layers, N, {sizes[s]}) or (D*num_layers, {sizes[s]})"
        return patterns

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Everything, biases too, U(−1/√hidden_size, 1/√hidden_size)."""
        return State({n: uniform_fan_in(rng, s, self.hidden_size, dtype) for n, s in self.params().items()})

    def draw(self, rng: np.random.Generator, shape: Shape) -> Array:
        """The noise of one pass in training, for an x of this shape: which outputs are kept between the layers."""
        length, batch = (shape[0], 1) if len(shape) == 2 else (shape[1], shape[0]) if self.batch_first else shape[:2]
        return rng.random((self.num_layers - 1, length, batch, self.directions * self.out_size)) >= self.dropout

    def check(self, *inputs: Any, **options: Any) -> None:
        """Noise is needed where dropout is at work; lengths must fit the batch."""
        x, keep = inputs[0], inputs[1 + len(self.states)] if len(inputs) > 1 + len(self.states) else None
        given = [i is not None for i in inputs[1 : 1 + len(self.states)]]
        if any(given) and not all([*given, len(given) == len(self.states)]):
            names = " and ".join(f"{s}_0" for s in self.states)
            raise ShapeError(f"{self!r}: one initial state given; wanted {names} together, or neither.")
        if x.shape[0 if x.ndim == 2 or not self.batch_first else 1] == 0:
            raise ShapeError(f"{self!r}: x has shape {x.shape}; wanted a sequence of at least one step.")
        if self.training and self.dropout > 0 and self.num_layers > 1 and keep is None:
            raise ShapeError(f"{self!r}: keep is missing; wanted the dropout masks: pass keep=layer.draw(rng, x.shape).")
        lengths = options.get("lengths")
        if lengths is not None:
            lengths, (length, batch) = np.asarray(lengths), (x.shape[1::-1] if self.batch_first else x.shape[:2])
            if x.ndim != 3 or lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
                raise ShapeError(f"{self!r}: lengths has shape {lengths.shape}; wanted one integer per sequence, ({batch},).")
            if batch and not (1 <= lengths.min() and lengths.max() <= length):
                raise ValueRangeError(
                    f"{self!r}: lengths go from {lengths.min()} to {lengths.max()}; wanted 1 to {length}, the steps in x."
                )

    def scan(self, W: Weights, x: Array, states: States, active: Array | None) -> tuple[Array, States, Any]:
        """One layer in one direction over x (L, N, features): outputs, final states, what ``unscan`` needs."""
        raise NotImplementedError

    def unscan(self, saved: Any, dy: Array, dstates: States) -> tuple[Array, States, Weights]:
        """The gradients of ``scan``'s x, initial states and weights."""
        raise NotImplementedError

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
        active = None if lengths is None else np.arange(len(x))[:, None] < np.asarray(lengths)
        scans: list[list[_Scanned]] = [[] for _ in range(self.num_layers)]
        outs: list[Array] = []
        finals: list[States] = []
        for i, (layer, suffix) in enumerate(self._suffixes()):
            reverse = suffix.endswith("reverse")
            W = {n.removesuffix(suffix): a for n, a in state.items() if n.endswith(suffix)}
            flip = slice(None, None, -1 if reverse else 1)
            y, final, saved = self.scan(
                W, x[flip], tuple(s[i] for s in starts), None if active is None else active[flip]
            )
            outs.append(y[flip])
            finals.append(final)
            scans[layer].append(_Scanned(suffix, saved, reverse))
            if len(outs) == self.directions:
                x = outs[0] if len(outs) == 1 else np.concatenate(outs, -1)
                outs = []
                if keep is not None and layer < self.num_layers - 1:
                    x = x * keep[layer]
        last = tuple(np.stack(s) if batched else np.stack(s)[:, 0] for s in zip(*finals, strict=True))
        return Forward((np.ascontiguousarray(self._time_back(x, batched)), *last), _Saved(scans, keep, batched, len(initial)))

    def backward(self, saved: _Saved, dy: Array, *dlast: Array) -> Grads:
        r"""Layers last to first; in each, ``unscan`` walks the time that ``scan`` walked, the other way.

        A layer's two directions read the same input, so their dx add up; a bidirectional output is split in halves.
        """
        dx = self._time_first(dy)
        ends = [d if saved.batched else d[:, None] for d in dlast]
        starts: list[States] = [()] * len(ends[0])
        params: dict[str, Array] = {}
        for layer in reversed(range(self.num_layers)):
            if saved.keep is not None and layer < self.num_layers - 1:
                dx = dx * saved.keep[layer]
            halves = np.split(dx, self.directions, -1)
            dx = np.zeros(())
            for d, (scanned, dout) in enumerate(zip(saved.scans[layer], halves, strict=True)):
                i = layer * self.directions + d
                flip = slice(None, None, -1 if scanned.reverse else 1)
                dx_d, starts[i], dW = self.unscan(scanned.saved, dout[flip], tuple(e[i] for e in ends))
                dx = dx_d[flip] if d == 0 else dx + dx_d[flip]
                params |= {f"{n}{scanned.suffix}": g for n, g in dW.items()}
        d0 = [np.stack(s) if saved.batched else np.stack(s)[:, 0] for s in zip(*starts, strict=True)]
        none_given = [None] * len(self.states)
        return Grads(np.ascontiguousarray(self._time_back(dx, saved.batched)), *(d0 if saved.given else none_given), None, **params)

    def _time_first(self, x: Array) -> Array:
        return x[:, None] if x.ndim == 2 else x.swapaxes(0, 1) if self.batch_first else x

    def _time_back(self, x: Array, batched: bool) -> Array:
        return x[:, 0] if not batched else x.swapaxes(0, 1) if self.batch_first else x

    def _scaled(self, keep: Array | None, dtype: Any) -> Array | None:
        if keep is None or not self.training or self.dropout == 0:
            return None
        return np.asarray(keep * np.asarray(1 / (1 - self.dropout) if self.dropout < 1 else 0, dtype))


class _LSTMScan(NamedTuple):
    x: Array
    h: Array  # (L + 1, N, H_out): h[t] is the state before step t
    c: Array  # (L + 1, N, H)
    z: Array  # (L, N, 4, H): the gates before their activation, in the order i, f, g, o
    a: Array  # (L, N, 4, H): and after
    W: Weights
    active: Array | None


@dataclass(frozen=True)
class LSTM(_Recurrent):
    r"""i, f, o = σ(·), g = tanh(·) of W_ih x + b_ih + W_hh h + b_hh;   c′ = f c + i g,   h′ = o tanh(c′).

    Shapes: x (L, N, input_size), or (N, L, input_size) with batch_first, or (L, input_size); h_0 (D·num_layers, N, H_out),
    c_0 (D·num_layers, N, hidden_size); outputs y (L, N, D·H_out), h_n, c_n as h_0, c_0. D = 2 when bidirectional;
    H_out = proj_size, or hidden_size where that is 0. weight_ih_l{k} and weight_hh_l{k} stack the gates i, f, g, o.
    ``keep`` holds the dropout masks between the layers; the option ``lengths`` (N) packs sequences of unequal length.
    Torch: torch.nn.LSTM. Papers: Hochreiter & Schmidhuber 1997; Sak, Senior & Beaufays 2014 for proj_size.
    """

    gates: ClassVar[int] = 4
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    proj_size: int = 0

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        yield 0 <= self.proj_size < self.hidden_size, "proj_size", f"0, or less than hidden_size={self.hidden_size}"

    def scan(self, W: Weights, x: Array, states: States, active: Array | None) -> tuple[Array, States, _LSTMScan]:
        length, batch, H = len(x), x.shape[1], self.hidden_size
        h = np.empty((length + 1, batch, self.out_size), x.dtype)
        c = np.empty((length + 1, batch, H), x.dtype)
        h[0], c[0] = states
        if active is not None:
            x = np.where(active[:, :, None], x, 0)  # what is only padding takes no part, NaN or not
        z = np.dot(x, W["weight_ih"].T)  # every step's input at once: only the recurrence must wait
        if self.bias:
            z += W["bias_ih"] + W["bias_hh"]
        a = np.empty((length, batch, 4, H), x.dtype)
        for t in range(length):
            z[t] += np.dot(h[t], W["weight_hh"].T)
            gates = z[t].reshape(batch, 4, H)
            a[t] = sigmoid(gates)
            a[t, :, 2] = np.tanh(gates[:, 2])
            i, f, g, o = (a[t, :, k] for k in range(4))
            c[t + 1] = f * c[t] + i * g
            out = o * np.tanh(c[t + 1])
            h[t + 1] = np.dot(out, W["weight_hr"].T) if self.proj_size else out
            if active is not None:  # a sequence that has ended, or not begun, keeps its state
                on = active[t, :, None]
                h[t + 1], c[t + 1] = np.where(on, h[t + 1], h[t]), np.where(on, c[t + 1], c[t])
        y = h[1:].copy() if active is None else np.where(active[:, :, None], h[1:], 0)
        return y, (h[-1].copy(), c[-1].copy()), _LSTMScan(x, h, c, z.reshape(a.shape), a, W, active)

    def unscan(self, saved: _LSTMScan, dy: Array, dstates: States) -> tuple[Array, States, Weights]:
        r"""Backwards through time. At each step dh is what the output says plus what the step after sent back.

        do = dh tanh(c′),   dc += dh o tanh′(c′);   di = dc g,   df = dc c,   dg = dc i,   and c gets dc f.
        Through the activations to dz, then dh = dz W_hh for the step before. The weights' gradients sum over time:
        one matrix product at the end. b_ih and b_hh are added in forward, so their gradients are the same.
        """
        x, h, c, z, a, W, active = saved
        dz = np.empty_like(a)
        douts: list[Array] = []
        dh, dc = dstates
        for t in reversed(range(len(x))):
            i, f, g, o = (a[t, :, k] for k in range(4))
            off = None if active is None else ~active[t, :, None]
            dh_t = dh + dy[t] if off is None else np.where(off, 0, dh + dy[t])
            dc_t = dc if off is None else np.where(off, 0, dc)
            dout = np.dot(dh_t, W["weight_hr"]) if self.proj_size else dh_t
            new_c = f * c[t] + i * g if active is not None else c[t + 1]
            tanh_c = np.tanh(new_c)
            dc_t = dc_t + dout * o * tanh_slope(new_c)
            dz[t, :, 0] = dc_t * g * sigmoid_slope(z[t, :, 0])
            dz[t, :, 1] = dc_t * c[t] * sigmoid_slope(z[t, :, 1])
            dz[t, :, 2] = dc_t * i * tanh_slope(z[t, :, 2])
            dz[t, :, 3] = dout * tanh_c * sigmoid_slope(z[t, :, 3])
            if off is not None:
                dz[t] = np.where(off[:, :, None], 0, dz[t])
            if self.proj_size:
                douts.append(np.dot(dh_t.T, o * tanh_c))
            back = np.dot(dz[t].reshape(len(dh), 4 * self.hidden_size), W["weight_hh"])
            dh = back if off is None else np.where(off, dh, back)
            dc = dc_t * f if off is None else np.where(off, dc, dc_t * f)
        rows = dz.reshape(-1, 4 * self.hidden_size)
        grads = {
            "weight_ih": np.dot(rows.T, x.reshape(len(rows), x.shape[2])),
            "weight_hh": np.dot(rows.T, h[:-1].reshape(len(rows), self.out_size)),
        }
        if self.bias:
            grads |= {"bias_ih": rows.sum(0), "bias_hh": rows.sum(0)}
        if self.proj_size:
            grads["weight_hr"] = np.sum(douts, 0)
        dx = np.dot(rows, W["weight_ih"]).reshape(x.shape)
        return dx, (dh, dc), grads
