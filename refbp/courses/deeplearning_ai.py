"""deeplearning.ai's Deep Learning Specialization: networks of columns, convolutions of channels-last pictures, RNN and LSTM.

A sample is a column. The 1/m sits in the parameters' gradients, so that what is passed on, dA_prev, is that of the sum of the
losses; convolutions and recurrent cells have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refbp.contract import Array, Layer
from refbp.courses._composites import RowLinear, Scored, SharedMaxPool2d
from refbp.draws import Draw, exactly, normal, probabilities, special
from refbp.hookspecs import hookimpl
from refbp.layers.activation import ReLU, Sigmoid, Tanh
from refbp.layers.container import Sequential
from refbp.layers.convolution import Conv2d
from refbp.layers.pooling import AvgPool2d, MaxPool2d
from refbp.layers.recurrent import LSTM, RNN
from refbp.layers.recurrent_cells import LSTMCell, RNNCell
from refbp.losses.classification import BCELoss
from refbp.oracle.exercise import Course, Exercise
from refbp.spec import Case


def zeros_and_ones(m: int) -> Draw:
    """Labels of m samples as the loss takes them, (m, 1), both of which occur."""

    def make(rng: np.random.Generator) -> Array:
        t = rng.integers(0, 2, (m, 1)).astype(float)
        t[:2, 0] = rng.permutation(2)[: min(m, 2)]
        return t

    return special(f"zeros_and_ones({m})", (m, 1), make)


# Course 1: logistic regression and networks --------------------------------------------------------------------------


def network(widths: Sequence[int], *hidden: Layer[Any], lambd: float = 0.0) -> Scored:
    """Linear layers with these activations between them and a sigmoid at the end, scored by the mean cross-entropy."""
    parts: list[Layer[Any]] = []
    for a, b, f in zip(widths[:-1], widths[1:], [*hidden, Sigmoid()], strict=True):
        parts += [RowLinear(a, b), f]
    return Scored(Sequential(*parts), BCELoss(), lambd)


def _parameters(layers: int) -> dict[str, str]:
    """W1, b1, … in terms of the network's state."""
    found: dict[str, str] = {}
    for i in range(layers):
        found |= {f"W{i + 1}": f"_{2 * i}_weight", f"b{i + 1}": f"_{2 * i}_bias[:, None]"}
    return found


def _dictionary(names: Sequence[str]) -> str:
    return "parameters = {" + ", ".join(f"'{n}': {n}" for n in names) + "}\n"


def _model(
    name: str, forward: str, call: str, widths: Sequence[int], hidden: Sequence[Layer[Any]], output: str, lambd: float = 0.0
) -> Exercise:
    """A whole network: forward with a dict of parameters, backward with a dict of gradients."""
    names = _parameters(len(widths) - 1)
    grads = {f"d{n}": n for n in names}
    body = network(widths, *hidden, lambd=lambd)
    return Exercise(
        name,
        forward=_dictionary(list(names)) + forward,
        backward=f"grads = {call}\n" + "\n".join(f"{g} = u * grads['{g}']" for g in grads),
        arrays={"X": "x.T", "Y": "target.T", **names},
        outputs={output: "y.T", "cost": "loss"},
        upstream={"u": "cost"},
        grads=grads,
        tiers={
            "std": [
                Case(body, normal(7, widths[0]), zeros_and_ones(7), id="seven samples"),
                Case(body, normal(2, widths[0]), zeros_and_ones(2), id="two samples"),
            ],
            "degenerate": [Case(body, normal(1, widths[0]), zeros_and_ones(1), id="one sample")],
        },
        convention="the cost is a mean over the samples, and these are its derivatives: the 1/m is in dW and db",
    )


_LOGISTIC = network((5, 1))
PROPAGATE = Exercise(
    "propagate",
    forward="grads, cost = propagate(w, b, X, Y)\ndw = grads['dw']\ndb = grads['db']",
    arrays={"w": "_0_weight.T", "b": "_0_bias[0]", "X": "x.T", "Y": "target.T"},
    outputs={"cost": "loss"},
    tiers={
        "std": [
            Case(_LOGISTIC, normal(7, 5), zeros_and_ones(7), id="seven samples"),
            Case(network((3, 1)), normal(2, 3), zeros_and_ones(2), id="two samples"),
        ],
        "degenerate": [Case(_LOGISTIC, normal(1, 5), zeros_and_ones(1), id="one sample")],
    },
    convention="the cost is a mean over the samples, and these are its derivatives",
)
_COST: dict[str, Any] = {
    "arrays": {"AL": "input.T", "Y": "target.T"},
    "outputs": {"cost": "loss"},
    "tiers": {
        "std": [
            Case(BCELoss(), probabilities(7, 1), zeros_and_ones(7), id="seven samples"),
            Case(BCELoss(), probabilities(2, 1), zeros_and_ones(2), id="two samples"),
        ],
    },
}
COST = [
    Exercise("compute_cost", **_COST, forward="cost = compute_cost(AL, Y)"),
    Exercise("compute_cost", **_COST, forward="cost = compute_cost(AL, Y, parameters)", values={"parameters": {}}),
]
AVERAGED = {"dW": "1/N", "db": "1/N"}
_ONE: dict[str, Any] = {
    "factors": AVERAGED,
    "convention": "dW and db are divided by m, dA_prev is not",
}
LINEAR = Exercise(
    "linear_backward",
    **_ONE,
    forward="Z, cache = linear_forward(A_prev, W, b)",
    backward="dA_prev, dW, db = linear_backward(dZ, cache)",
    arrays={"A_prev": "x.T", "W": "weight", "b": "bias[:, None]"},
    outputs={"Z": "y.T"},
    tiers={
        "std": [
            Case(RowLinear(5, 3), normal(7, 5), id="seven samples"),
            Case(RowLinear(2, 11), normal(3, 2), id="three samples"),
        ],
        "degenerate": [
            Case(RowLinear(4, 1), normal(1, 4), id="one sample"),
            Case(RowLinear(3, 3), normal(3, 3), id="sizes alike"),
        ],
        "dtype": [Case(RowLinear(5, 3), normal(7, 5), id="float32")],
    },
)


def _activation(name: str, layer: Layer[Any]) -> Exercise:
    tiers: dict[str, Sequence[Case]] = {
        "std": [Case(layer, normal(7, 5), id="7×5"), Case(layer, normal(3, 2, std=3.0), id="3×2")],
        "degenerate": [Case(layer, normal(1, 1), id="one number")],
    }
    if name == "relu":
        tiers["kink"] = [Case(layer, exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.5]]), id="zeros")]
    return Exercise(
        f"{name}_backward",
        forward=f"A, cache = {name}(Z)",
        backward=f"dZ = {name}_backward(dA, cache)",
        arrays={"Z": "x.T"},
        outputs={"A": "y.T"},
        tiers=tiers,
    )


def _activated(name: str, f: Layer[Any]) -> Exercise:
    def layer(a: int, b: int) -> Sequential:
        return Sequential(RowLinear(a, b), f)

    return Exercise(
        f"linear_activation_backward ({name})",
        **_ONE,
        forward=f"A, cache = linear_activation_forward(A_prev, W, b, '{name}')",
        backward=f"dA_prev, dW, db = linear_activation_backward(dA, cache, '{name}')",
        forward_name=f"linear_activation_forward ({name})",
        arrays={"A_prev": "x.T", "W": "_0_weight", "b": "_0_bias[:, None]"},
        outputs={"A": "y.T"},
        tiers={
            "std": [Case(layer(5, 3), normal(7, 5), id="seven samples"), Case(layer(2, 4), normal(3, 2), id="three samples")],
            "degenerate": [Case(layer(4, 1), normal(1, 4), id="one sample")],
        },
    )


NETWORKS = [
    PROPAGATE,
    *COST,
    LINEAR,
    _activation("sigmoid", Sigmoid()),
    _activation("relu", ReLU()),
    _activated("sigmoid", Sigmoid()),
    _activated("relu", ReLU()),
    _model(
        "L_model_backward",
        "AL, caches = L_model_forward(X, parameters)",
        "L_model_backward(AL, Y, caches)",
        (5, 4, 3, 1),
        [ReLU(), ReLU()],
        "AL",
    ),
    _model(
        "backward_propagation",
        "A2, cache = forward_propagation(X, parameters)",
        "backward_propagation(parameters, cache, X, Y)",
        (2, 4, 1),
        [Tanh()],
        "A2",
    ),
    _model(
        "backward_propagation",
        "A3, cache = forward_propagation(X, parameters)",
        "backward_propagation(X, Y, cache)",
        (5, 4, 3, 1),
        [ReLU(), ReLU()],
        "A3",
    ),
    _model(
        "backward_propagation_with_regularization",
        "A3, cache = forward_propagation(X, parameters)",
        "backward_propagation_with_regularization(X, Y, cache, 0.7)",
        (5, 4, 3, 1),
        [ReLU(), ReLU()],
        "A3",
        lambd=0.7,
    ),
]

# Course 4: convolutions and pooling ----------------------------------------------------------------------------------

CHANNELS_LAST = ".transpose(0, 2, 3, 1)"
CONVOLUTION = Exercise(
    "conv_backward",
    forward="hparameters = {'stride': stride, 'pad': padding}\nZ, cache = conv_forward(A_prev, W, b, hparameters)",
    backward="dA_prev, dW, db = conv_backward(dZ, cache)",
    arrays={"A_prev": f"x{CHANNELS_LAST}", "W": "weight.transpose(2, 3, 1, 0)", "b": "bias[None, None, None]"},
    outputs={"Z": f"y{CHANNELS_LAST}"},
    tiers={
        "std": [
            Case(Conv2d(3, 4, 3, 1, 1), normal(2, 3, 5, 4), id="padding 1"),
            Case(Conv2d(3, 2, 2, 1), normal(2, 3, 4, 5), id="no padding"),
            Case(Conv2d(2, 3, 3, 2, 2), normal(2, 2, 5, 7), id="stride 2, padding 2"),
            Case(Conv2d(2, 3, 2, 3), normal(1, 2, 8, 5), id="stride 3, gaps between the windows"),
            Case(Conv2d(2, 3, 3, 2), normal(1, 2, 8, 6), id="a remainder"),
        ],
        "degenerate": [
            Case(Conv2d(1, 1, 1), normal(1, 1, 2, 3), id="one channel, a kernel of 1"),
            Case(Conv2d(2, 2, 3), normal(1, 2, 3, 3), id="a kernel as large as the picture"),
        ],
    },
    convention="pictures are (m, H, W, C), kernels (f, f, C_in, C_out); nothing is divided by m",
)


_TIES = exactly([[[[1.0, 1.0, 0.0, 2.0], [1.0, 0.5, 2.0, 2.0], [0.0, 1.0, 1.0, -1.0]]]])


def _pooling(mode: str, layer: Any, ties: bool, convention: str = "") -> Exercise:
    return Exercise(
        f"pool_backward ({mode})",
        forward=f"hparameters = {{'f': kernel_size, 'stride': stride}}\nA, cache = pool_forward(A_prev, hparameters, '{mode}')",
        backward=f"dA_prev = pool_backward(dA, cache, '{mode}')",
        forward_name=f"pool_forward ({mode})",
        arrays={"A_prev": f"x{CHANNELS_LAST}"},
        outputs={"A": f"y{CHANNELS_LAST}"},
        tiers={
            "std": [
                Case(layer(2, 2), normal(2, 3, 4, 6), id="side by side"),
                Case(layer(3, 1), normal(2, 2, 5, 4), id="overlapping"),
                Case(layer(3, 2), normal(2, 3, 7, 5), id="stride 2, overlapping"),
                Case(layer(2, 3), normal(1, 2, 5, 8), id="gaps between the windows"),
            ],
            "degenerate": [
                Case(layer(1, 1), normal(1, 1, 2, 3), id="windows of 1"),
                Case(layer(3, 2), normal(1, 1, 3, 3), id="one window"),
            ],
        }
        | ({"kink": [Case(layer(2, 1), _TIES, id="ties")]} if ties else {}),
        convention=convention,
    )


PICTURES = [
    CONVOLUTION,
    _pooling("max", MaxPool2d, ties=True, convention="at a tie one of the largest gets the gradient"),
    _pooling("max", SharedMaxPool2d, ties=True, convention="at a tie every one of the largest gets the whole gradient"),
    _pooling("average", AvgPool2d, ties=False),
]

# Course 5: recurrent cells and sequences -----------------------------------------------------------------------------

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
    return _dictionary([*arrays, *readout]), arrays


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


RECURRENT = [
    Exercise(
        "rnn_cell_backward",
        forward=_READOUT + _dictionary(_RNN_NAMES) + "a_next, _, cache = rnn_cell_forward(xt, a_prev, parameters)",
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
        forward=_READOUT + _dictionary(_RNN_NAMES) + "a, _, caches = rnn_forward(x, a0, parameters)",
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

# What comes with the assignments, and solutions import ----------------------------------------------------------------

_DENSE = """import numpy as np


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z)), Z


def relu(Z):
    return np.maximum(0, Z), Z


def relu_backward(dA, cache):
    return np.where(cache > 0, dA, 0)


def sigmoid_backward(dA, cache):
    s = sigmoid(cache)[0]
    return dA * s * (1 - s)
"""
_PLAIN = """import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(0, x)


def softmax(x):
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)
"""
GIVEN = {
    **dict.fromkeys(("dnn_utils.py", "dnn_utils_v2.py", "dnn_app_utils_v2.py", "dnn_app_utils_v3.py"), _DENSE),
    **dict.fromkeys(("planar_utils.py", "reg_utils.py", "init_utils.py", "opt_utils.py", "rnn_utils.py"), _PLAIN),
}

CONVENTIONS = (
    "A sample is a column, (n, m); W is (n_out, n_in), b is (n_out, 1). Pictures are (m, H, W, C), sequences (n, m, T).",
    "dW and db of dense layers hold the 1/m, dA_prev does not: with dAL = −(Y/AL − (1 − Y)/(1 − AL)) they are the cost's own.",
    "Convolutions, pooling and recurrent layers divide nothing by m.",
)


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    yield Course(
        "deeplearning_ai",
        "deeplearning.ai, the Deep Learning Specialization: networks, convolutions and recurrent layers by hand",
        [*NETWORKS, *PICTURES, *RECURRENT],
        conventions=CONVENTIONS,
        given=GIVEN,
        url="https://www.deeplearning.ai",
    )
