"""rnn_layers.py: embedding, the steps and sequences of a plain RNN and of an LSTM, and the layers applied at every time."""

from __future__ import annotations

from refbp.draws import constant, integers, labels, normal
from refbp.layers.embedding import Embedding
from refbp.layers.linear import Linear
from refbp.layers.recurrent import LSTM, RNN
from refbp.layers.recurrent_cells import LSTMCell, RNNCell
from refbp.losses.classification import CrossEntropyLoss
from refbp.oracle.exercise import Exercise
from refbp.spec import Case


def _transposed(weight: str) -> str:
    """A weight of an LSTM as the course has it: (inputs, 4H), and the gates in the order i, f, o, g."""
    return f"{_reordered(weight)}.T"


def _reordered(entry: str) -> str:
    H = "hidden_size"
    return f"np.concatenate([{entry}[:2 * {H}], {entry}[3 * {H}:], {entry}[2 * {H}:3 * {H}]])"


EMBEDDING = Exercise(
    "word_embedding_backward",
    forward="out, cache = word_embedding_forward(x, W)",
    backward="dW = word_embedding_backward(dout, cache)",
    arrays={"x": "input", "W": "weight"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Embedding(7, 3), integers(2, 5, high=7), id="some words twice"),
            Case(Embedding(3, 4), integers(5, 7, high=3), id="every word many times"),
        ],
        "degenerate": [
            Case(Embedding(5, 2), integers(1, 1, high=5), id="one word"),
            Case(Embedding(5, 3), integers(3, 4, low=2, high=3), id="one word, again and again"),
        ],
    },
)
RNN_STEP = Exercise(
    "rnn_step_backward",
    forward="next_h, cache = rnn_step_forward(x, prev_h, Wx, Wh, b)",
    backward="dx, dprev_h, dWx, dWh, db = rnn_step_backward(dnext_h, cache)",
    arrays={"x": "x", "prev_h": "h_0", "Wx": "weight_ih.T", "Wh": "weight_hh.T", "b": "bias_ih"},
    outputs={"next_h": "h_1"},
    fixed={"bias_hh": 0.0},
    tiers={
        "std": [
            Case(RNNCell(3, 5), normal(7, 3), normal(7, 5), id="seven rows"),
            Case(RNNCell(4, 4), normal(4, 4), normal(4, 4), id="all sizes equal"),
        ],
        "degenerate": [Case(RNNCell(2, 1), normal(1, 2), normal(1, 1), id="one row, one unit")],
        "dtype": [Case(RNNCell(3, 5), normal(7, 3), normal(7, 5), id="float32")],
    },
)
RNN_SEQUENCE = Exercise(
    "rnn_backward",
    forward="h, cache = rnn_forward(x, h0, Wx, Wh, b)",
    backward="dx, dh0, dWx, dWh, db = rnn_backward(dh, cache)",
    arrays={"x": "x", "h0": "h_0[0]", "Wx": "weight_ih_l0.T", "Wh": "weight_hh_l0.T", "b": "bias_ih_l0"},
    outputs={"h": "y"},
    fixed={"bias_hh_l0": 0.0},
    tiers={
        "std": [
            Case(RNN(3, 5, batch_first=True), normal(2, 4, 3), normal(1, 2, 5), id="four steps"),
            Case(RNN(4, 2, batch_first=True), normal(3, 7, 4), normal(1, 3, 2), id="seven steps"),
        ],
        "degenerate": [
            Case(RNN(3, 5, batch_first=True), normal(2, 1, 3), normal(1, 2, 5), id="one step"),
            Case(RNN(3, 2, batch_first=True), normal(1, 3, 3), normal(1, 1, 2), id="one row"),
        ],
        "dtype": [Case(RNN(3, 5, batch_first=True), normal(2, 4, 3), normal(1, 2, 5), id="float32")],
    },
)
LSTM_STEP = Exercise(
    "lstm_step_backward",
    forward="next_h, next_c, cache = lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b)",
    backward="dx, dprev_h, dprev_c, dWx, dWh, db = lstm_step_backward(dnext_h, dnext_c, cache)",
    arrays={
        "x": "x",
        "prev_h": "h_0",
        "prev_c": "c_0",
        "Wx": _transposed("weight_ih"),
        "Wh": _transposed("weight_hh"),
        "b": _reordered("bias_ih"),
    },
    outputs={"next_h": "h_1", "next_c": "c_1"},
    fixed={"bias_hh": 0.0},
    tiers={
        "std": [
            Case(LSTMCell(3, 5), normal(7, 3), normal(7, 5), normal(7, 5), id="seven rows"),
            Case(LSTMCell(4, 2), normal(3, 4), normal(3, 2), normal(3, 2), id="three rows"),
        ],
        "degenerate": [Case(LSTMCell(2, 1), normal(1, 2), normal(1, 1), normal(1, 1), id="one row, one unit")],
        "dtype": [Case(LSTMCell(3, 5), normal(7, 3), normal(7, 5), normal(7, 5), id="float32")],
    },
    convention="the gates lie in the order input, forget, output, block input",
)


def _lstm(inputs: int, hidden: int, n: int, t: int, id: str) -> Case:
    layer = LSTM(inputs, hidden, batch_first=True)
    return Case(layer, normal(n, t, inputs), normal(1, n, hidden), constant(0.0, 1, n, hidden), id=id)


LSTM_SEQUENCE = Exercise(
    "lstm_backward",
    forward="h, cache = lstm_forward(x, h0, Wx, Wh, b)",
    backward="dx, dh0, dWx, dWh, db = lstm_backward(dh, cache)",
    arrays={
        "x": "x",
        "h0": "h_0[0]",
        "Wx": _transposed("weight_ih_l0"),
        "Wh": _transposed("weight_hh_l0"),
        "b": _reordered("bias_ih_l0"),
    },
    outputs={"h": "y"},
    fixed={"bias_hh_l0": 0.0},
    tiers={
        "std": [_lstm(3, 5, 2, 4, "four steps"), _lstm(4, 2, 3, 7, "seven steps")],
        "degenerate": [_lstm(3, 5, 2, 1, "one step"), _lstm(3, 2, 1, 3, "one row")],
        "dtype": [_lstm(3, 5, 2, 4, "float32")],
    },
    convention="the memory starts as 0, and the gates lie in the order input, forget, output, block input",
)
TEMPORAL_AFFINE = Exercise(
    "temporal_affine_backward",
    forward="out, cache = temporal_affine_forward(x, w, b)",
    backward="dx, dw, db = temporal_affine_backward(dout, cache)",
    arrays={"x": "x", "w": "weight.T", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Linear(4, 5), normal(2, 3, 4), id="three steps"),
            Case(Linear(3, 2), normal(5, 7, 3), id="seven steps"),
        ],
        "degenerate": [Case(Linear(4, 5), normal(1, 1, 4), id="one step of one row")],
    },
)
IGNORED = -1  # where the mask is False; there y is the last class, which −1 is to NumPy
_MASKED = CrossEntropyLoss(reduction="sum", ignore_index=IGNORED)
TEMPORAL_SOFTMAX = Exercise(
    "temporal_softmax_loss",
    forward="loss, dx = temporal_softmax_loss(x, y, mask)",
    arrays={
        "x": "input.transpose(0, 2, 1)",
        "y": "target % input.shape[1]",
        "mask": f"target != {IGNORED}",
    },
    outputs={"loss": "loss"},
    output_factors={"loss": "1 / N"},
    tiers={
        "std": [
            Case(_MASKED, normal(3, 4, 5), labels(3, 5, classes=4, ignored=IGNORED), id="some times masked"),
            Case(_MASKED, normal(2, 7, 3), labels(2, 3, classes=7), id="nothing masked"),
        ],
        "degenerate": [Case(_MASKED, normal(1, 5, 1), labels(1, 1, classes=5), id="one step of one row")],
        "stability": [
            Case(_MASKED, normal(3, 4, 2, mean=900.0), labels(3, 2, classes=4, ignored=IGNORED), id="scores near 900")
        ],
    },
    convention="the loss is summed over time and averaged over the batch",
)
EXERCISES = [EMBEDDING, RNN_STEP, RNN_SEQUENCE, LSTM_STEP, LSTM_SEQUENCE, TEMPORAL_AFFINE, TEMPORAL_SOFTMAX]
