"""Course 5: recurrent cells and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refbp.courses.deeplearning_ai.dense import dictionary
from refbp.draws import normal, special
from refbp.layers.recurrent import LSTM, RNN
from refbp.layers.recurrent_cells import LSTMCell, RNNCell
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

_READOUT = "Wya = np.ones((2, hidden_size))\nby = np.zeros((2, 1))\n"
_RNN_NAMES = ("Wax", "Waa", "Wya", "ba", "by")
_SEQUENCE = ".transpose(2, 1, 0)"


def _taken(*names: str) -> str:
    """The entries of the dict of gradients."""
    return "\n".join(f"{n} = gradients['{n}']" for n in names)


def _lstm(suffix: str, readout: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The parameters dict, and where each of its entries is: columns of a_prev first, then those of xt."""
    arrays = {}
    for letter, k in {"i": 0, "f": 1, "c": 2, "o": 3}.items():
        rows = f"[{k} * hidden_size:{k + 1} * hidden_size]"
        arrays[f"W{letter}"] = f"np.concatenate([weight_hh{suffix}{rows}, weight_ih{suffix}{rows}], 1)"
        arrays[f"b{letter}"] = f"bias_ih{suffix}{rows}[:, None]"
    return dictionary([*arrays, *readout]), arrays


_LSTM_READOUT = "Wy = np.ones((2, hidden_size))\nby = np.zeros((2, 1))\n"
_CELL_PARAMETERS, _CELL_ARRAYS = _lstm("", ("Wy", "by"))
_LAYER_PARAMETERS, _LAYER_ARRAYS = _lstm("_l0", ("Wy", "by"))
_GATES = [f"d{n}" for n in _CELL_ARRAYS]


def _start(steps: int, batch: int, features: int, hidden: int, layer: Any, **options: Any) -> Case:
    """A sequence from a state that is drawn; an LSTM's memory begins with zeros."""
    draws = [normal(steps, batch, features), normal(1, batch, hidden)]
    if layer is LSTM:
        draws.append(special(f"zeros(1, {batch}, {hidden})", (1, batch, hidden), lambda _: np.zeros((1, batch, hidden))))
    return Case(layer(features, hidden), *draws, **options)


EXERCISES = [
    Exercise(
        "rnn_cell_backward",
        forward=_READOUT + dictionary(_RNN_NAMES) + "a_next, _, cache = rnn_cell_forward(xt, a_prev, parameters)",
        backward="gradients = rnn_cell_backward(da_next, cache)\n" + _taken("dxt", "da_prev", "dWax", "dWaa", "dba"),
        arrays={"xt": "x.T", "a_prev": "h_0.T", "Wax": "weight_ih", "Waa": "weight_hh", "ba": "bias_ih[:, None]"},
        outputs={"a_next": "h_1.T"},
        fixed={"bias_hh": 0.0},
        tiers={
            "std": [
                Case(RNNCell(5, 3), normal(7, 5), normal(7, 3), id="seven samples"),
                Case(RNNCell(2, 4), normal(3, 2), normal(3, 4), id="three samples"),
            ],
            "degenerate": [Case(RNNCell(3, 1), normal(1, 3), normal(1, 1), id="one sample, one unit")],
        },
        convention="samples are columns; nothing is divided by m",
    ),
    Exercise(
        "rnn_backward",
        forward=_READOUT + dictionary(_RNN_NAMES) + "a, _, caches = rnn_forward(x, a0, parameters)",
        backward="gradients = rnn_backward(da, caches)\n" + _taken("dx", "da0", "dWax", "dWaa", "dba"),
        arrays={
            "x": f"x{_SEQUENCE}",
            "a0": "h_0[0].T",
            "Wax": "weight_ih_l0",
            "Waa": "weight_hh_l0",
            "ba": "bias_ih_l0[:, None]",
        },
        outputs={"a": f"y{_SEQUENCE}"},
        fixed={"bias_hh_l0": 0.0},
        tiers={
            "std": [_start(4, 3, 2, 5, RNN, id="four steps"), _start(2, 2, 5, 3, RNN, id="two steps")],
            "degenerate": [_start(1, 2, 3, 4, RNN, id="one step"), _start(3, 1, 2, 1, RNN, id="one sample, one unit")],
        },
        convention="sequences are (n, m, T); nothing is divided by m",
    ),
    Exercise(
        "lstm_cell_backward",
        forward=_LSTM_READOUT
        + _CELL_PARAMETERS
        + "a_next, c_next, _, cache = lstm_cell_forward(xt, a_prev, c_prev, parameters)",
        backward="gradients = lstm_cell_backward(da_next, dc_next, cache)\n" + _taken("dxt", "da_prev", "dc_prev", *_GATES),
        arrays={"xt": "x.T", "a_prev": "h_0.T", "c_prev": "c_0.T", **_CELL_ARRAYS},
        outputs={"a_next": "h_1.T", "c_next": "c_1.T"},
        fixed={"bias_hh": 0.0},
        tiers={
            "std": [
                Case(LSTMCell(5, 3), normal(7, 5), normal(7, 3), normal(7, 3), id="seven samples"),
                Case(LSTMCell(2, 4), normal(3, 2), normal(3, 4), normal(3, 4), id="three samples"),
            ],
            "degenerate": [Case(LSTMCell(3, 1), normal(1, 3), normal(1, 1), normal(1, 1), id="one sample, one unit")],
        },
        convention="W takes a_prev above xt; nothing is divided by m",
    ),
    Exercise(
        "lstm_backward",
        forward=_LSTM_READOUT + _LAYER_PARAMETERS + "a, _, _, caches = lstm_forward(x, a0, parameters)",
        backward="gradients = lstm_backward(da, caches)\n" + _taken("dx", "da0", *_GATES),
        arrays={"x": f"x{_SEQUENCE}", "a0": "h_0[0].T", **_LAYER_ARRAYS},
        outputs={"a": f"y{_SEQUENCE}"},
        fixed={"bias_hh_l0": 0.0},
        tiers={
            "std": [_start(4, 3, 2, 5, LSTM, id="four steps"), _start(2, 2, 5, 3, LSTM, id="two steps")],
            "degenerate": [_start(1, 2, 3, 4, LSTM, id="one step")],
        },
        convention="the memory begins with zeros; what comes from the step after is added to da (an early hand-out forgets it)",
    ),
]
