"""Recurrent cells: how one step of time turns an input and a state into the next state.

A cell hears zx = W_ih x + b_ih from its input and zh = W_hh h + b_hh from its state, one slice per gate. Its ``step`` is
everything between those and the new state; ``unstep`` is the way back. They are written once here: a Cell takes the
step, and the layers of :mod:`refbp.layers.recurrent` take it at every time. Slopes are computed from z and not, as is
usual, from the rounded σ(z) or tanh(z): in a gate that is open or shut for good, those have no digits of them left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, uniform_fan_in
from refbp.errors import ShapeError
from refbp.numerics import sigmoid_and_slope, tanh_slope
from refbp.shapes import Shape

States = tuple[Array, ...]
Nonlinearity = Literal["tanh", "relu"]


class Back(NamedTuple):
    """What ``unstep`` sends back."""

    dzx: Sequence[Array]  # to zx, gate by gate
    dzh: Sequence[Array] | None  # to zh, where that is something else
    dh: Array | None  # to h, past zh, where there is such a way
    others: States = ()  # to the other states


class Recurrence:
    """What a cell is, whether it steps once or along time."""

    gates: ClassVar[int] = 1
    gates_add: ClassVar[bool] = True  # whether every gate hears zx + zh and no more
    states: ClassVar[tuple[str, ...]] = ("h",)

    def step(self, zx: Array, zh: Array, *states: Array) -> tuple[States, Any]:
        """The new states, h first, and what ``unstep`` must remember."""
        raise NotImplementedError

    def unstep(self, saved: Any, *dstates: Array) -> Back:
        """The gradients of what ``step`` was given, from those of the states that it returned."""
        raise NotImplementedError

    def together(self, given: list[bool]) -> None:
        """Initial states come all or none."""
        if any(given) and not (all(given) and len(given) == len(self.states)):
            names = " and ".join(f"{s}_0" for s in self.states)
            raise ShapeError(f"{self!r}: one initial state given; wanted {names} together, or neither.")


def _split(z: Array, gates: int) -> Array:
    """(N, gates·H) → (gates, N, H), a view to unpack."""
    return z.reshape(len(z), gates, z.shape[1] // gates).swapaxes(0, 1)


class Elman(Recurrence):
    """h′ = φ(zx + zh), φ = tanh or relu."""

    nonlinearity: Nonlinearity

    def step(self, zx: Array, zh: Array, *states: Array) -> tuple[States, Array]:
        """Saved is the slope. That of relu is 0 at 0, and 1 at NaN, as torch's."""
        z = zx + zh
        return ((np.tanh(z),), tanh_slope(z)) if self.nonlinearity == "tanh" else ((np.maximum(z, 0),), ~(z <= 0))

    def unstep(self, saved: Array, *dstates: Array) -> Back:
        """Through φ:   dz = dh φ′(z)."""
        return Back([dstates[0] * saved], None, None)


class LongShortTerm(Recurrence):
    """i, f, o = σ(·), g = tanh(·) of zx + zh;   c′ = f c + i g,   h′ = o tanh(c′)."""

    gates: ClassVar[int] = 4
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    def step(self, zx: Array, zh: Array, *states: Array) -> tuple[States, tuple[Array, Array, Array, Array]]:
        """Saved are the slopes of c′ by the z of i, f and g, and of h′ by that of o; then o, c′ and f."""
        _, c = states
        z = np.add(_split(zx, 4), _split(zh, 4), order="C")
        g = np.tanh(z[2])
        z[2] *= 2  # for tanh′(z) = 4 σ′(2z): one exponential does for all four
        (i, f, _, o), slopes = sigmoid_and_slope(z)
        c_next = f * c + i * g
        tanh_c = np.tanh(c_next)
        slopes[0] *= g
        slopes[1] *= c
        slopes[2] *= 4 * i
        slopes[3] *= tanh_c
        return (o * tanh_c, c_next), (slopes, o, c_next, f)

    def unstep(self, saved: tuple[Array, Array, Array, Array], *dstates: Array) -> Back:
        """Through h′:   dc′ += dh o tanh′(c′),   dzo = dh tanh(c′) σ′(zo).

        Through c′:   dzi = dc′ g σ′(zi),   dzf = dc′ c σ′(zf),   dzg = dc′ i tanh′(zg); and the old memory gets dc′ f:
        no weight, no squashing, which is why an LSTM remembers for long.
        """
        slopes, o, c_next, f = saved
        dh, dc = dstates
        dc = dc + dh * o * tanh_slope(c_next)
        return Back([*(dc * slopes[:3]), dh * slopes[3]], None, None, (dc * f,))


class Gated(Recurrence):
    """r, z = σ(zx + zh),   n = tanh(zx + r zh);   h′ = (1 − z) n + z h."""

    gates: ClassVar[int] = 3
    gates_add: ClassVar[bool] = False

    def step(self, zx: Array, zh: Array, *states: Array) -> tuple[States, tuple[Array, Array, Array, Array, Array]]:
        """Saved are slopes: of zn by r's z, of h′ by z's and by zn, of zn by zh's share of it, of h′ by h."""
        (h,) = states
        zx, zh = _split(zx, 3), _split(zh, 3)
        (r, z), (slope_r, slope_z) = sigmoid_and_slope(np.add(zx[:2], zh[:2], order="C"))
        zn = zx[2] + r * zh[2]
        n = np.tanh(zn)
        return (n + z * (h - n),), (zh[2] * slope_r, (h - n) * slope_z, (1 - z) * tanh_slope(zn), r, z)

    def unstep(self, saved: tuple[Array, Array, Array, Array, Array], *dstates: Array) -> Back:
        """Through h′:   dzz = dh (h − n) σ′(zz),   dzn = dh (1 − z) tanh′(zn),   and dh z goes to h at once.

        Through zn, which hears the state by way of r:   dzr = dzn zh σ′(zr), and zh gets dzn r where zx gets dzn.
        """
        slope_r, slope_z, slope_n, r, z = saved
        (dh,) = dstates
        dzn = dh * slope_n
        dzr, dzz = dzn * slope_r, dh * slope_z
        return Back([dzr, dzz, dzn], [dzr, dzz, dzn * r], dh * z)


class _Saved(NamedTuple):
    x: Array  # (N, input_size), N = 1 for one sample
    states: States
    cell: Any
    W: Mapping[str, Array]
    batched: bool
    given: bool  # whether there were initial states


class _Cell(Recurrence, Layer[_Saved]):
    input_size: int
    hidden_size: int
    bias: bool

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield self.input_size >= 0, "input_size", "an integer of at least 0"
        yield self.hidden_size >= 0, "hidden_size", "an integer of at least 0"

    def params(self) -> dict[str, Shape]:
        rows = self.gates * self.hidden_size
        shapes: dict[str, Shape] = {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size)}
        return shapes | ({"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else {})

    def init(self, rng: np.random.Generator, dtype: object = np.float64) -> State:
        """Everything, biases too, U(−1/√hidden_size, 1/√hidden_size)."""
        return State({n: uniform_fan_in(rng, s, self.hidden_size, dtype) for n, s in self.params().items()})

    def inputs(self) -> dict[str, str]:
        x = {"x": "(N, input_size) or (input_size)"}
        return x | {f"{s}_0": "optional (N, hidden_size) or (hidden_size)" for s in self.states}

    def outputs(self) -> dict[str, str]:
        return {f"{s}_1": "(N, hidden_size) or (hidden_size)" for s in self.states}

    def check(self, *inputs: Any, **options: Any) -> None:
        """The states that are given must be all there are."""
        self.together([a is not None for a in inputs[1:]])

    def forward(self, state: Mapping[str, Array], x: Array, *initial: Array | None) -> Forward[_Saved]:
        rows = np.atleast_2d(x)
        given = [np.atleast_2d(s) for s in initial if s is not None]
        states = tuple(given or [np.zeros((len(rows), self.hidden_size), x.dtype) for _ in self.states])
        zx = np.dot(rows, state["weight_ih"].T) + state.get("bias_ih", 0)
        zh = np.dot(states[0], state["weight_hh"].T) + state.get("bias_hh", 0)
        new, cell = self.step(zx, zh, *states)
        outputs = tuple(s if x.ndim == 2 else s[0] for s in new)
        saved = _Saved(rows, states, cell, state, x.ndim == 2, bool(given))
        return Forward(outputs if len(outputs) > 1 else outputs[0], saved)

    def backward(self, saved: _Saved, *dstates: Array) -> Grads:
        r"""With the dzx and dzh of ``unstep``:   dx = W_ihᵀ dzx,   dh = W_hhᵀ dzh + what goes past the weights;

        dW_ih = Σₙ dzx xᵀ,   dW_hh = Σₙ dzh hᵀ,   db_ih = Σₙ dzx,   db_hh = Σₙ dzh.
        """
        x, states, cell, W, batched, given = saved
        back = self.unstep(cell, *map(np.atleast_2d, dstates))
        dzx = np.concatenate(back.dzx, 1)
        dzh = dzx if back.dzh is None else np.concatenate(back.dzh, 1)
        dh = np.dot(dzh, W["weight_hh"]) + (0 if back.dh is None else back.dh)
        dx, *d0 = (d if batched else d[0] for d in (np.dot(dzx, W["weight_ih"]), dh, *back.others))
        return Grads(
            dx,
            *(d0 if given else [None] * len(d0)),
            weight_ih=np.dot(dzx.T, x),
            weight_hh=np.dot(dzh.T, states[0]),
            bias_ih=dzx.sum(0) if self.bias else None,
            bias_hh=dzh.sum(0) if self.bias else None,
        )


@dataclass(frozen=True)
class RNNCell(Elman, _Cell):
    r"""h′ = φ(W_ih x + b_ih + W_hh h + b_hh), φ = tanh or relu;   dz = dh′ φ′(z),   dx = W_ihᵀ dz,   dh = W_hhᵀ dz.

    Shapes: x (N, input_size) or (input_size), h_0 (N, hidden_size) or (hidden_size), zero if not given; h_1 as h_0;
    weight_ih (hidden_size, input_size), weight_hh (hidden_size, hidden_size), bias_ih and bias_hh (hidden_size).
    Torch: torch.nn.RNNCell. Paper: Elman 1990. relu has slope 0 at 0.
    """

    input_size: int
    hidden_size: int
    bias: bool = True
    nonlinearity: Nonlinearity = "tanh"


@dataclass(frozen=True)
class LSTMCell(LongShortTerm, _Cell):
    r"""i, f, o = σ(·), g = tanh(·) of W_ih x + b_ih + W_hh h + b_hh;   c′ = f c + i g,   h′ = o tanh(c′).

    do = dh′ tanh(c′),   dc′ += dh′ o tanh′(c′);   di = dc′ g,   df = dc′ c,   dg = dc′ i,   dc = dc′ f;
    each through its activation to dz, then dx = W_ihᵀ dz and dh = W_hhᵀ dz.
    Shapes: x (N, input_size) or (input_size), h_0 and c_0 (N, hidden_size) or (hidden_size), zero if not given;
    h_1, c_1 as h_0. weight_ih, weight_hh, bias_ih, bias_hh stack the gates i, f, g, o.
    Torch: torch.nn.LSTMCell. Papers: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 for f.
    """

    input_size: int
    hidden_size: int
    bias: bool = True


@dataclass(frozen=True)
class GRUCell(Gated, _Cell):
    r"""r, z = σ(W_ih x + b_ih + W_hh h + b_hh),   n = tanh(W_ih x + b_ih + r (W_hh h + b_hh));   h′ = (1 − z) n + z h.

    dz = dh′ (h − n),   dn = dh′ (1 − z),   dh = dh′ z + W_hhᵀ dzh, where dzh is dzx but for n's share, which is r dzx.
    Shapes: as RNNCell; weight_ih, weight_hh, bias_ih, bias_hh stack the gates r, z, n. The reset r multiplies
    W_hh h + b_hh, so b_ih and b_hh, alike in r and z, are two different things in n.
    Torch: torch.nn.GRUCell. Paper: Cho et al. 2014, where r multiplies h.
    """

    input_size: int
    hidden_size: int
    bias: bool = True
