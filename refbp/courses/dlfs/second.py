"""Volume 2: matrix products, embeddings, and layers over time; the gradients are the list ``layer.grads``."""

from __future__ import annotations

from refbp.draws import exactly, integers, labels, normal
from refbp.layers.arithmetic import MatMul
from refbp.layers.embedding import Embedding
from refbp.layers.graph import Graph
from refbp.layers.linear import Linear
from refbp.layers.recurrent import LSTM, RNN
from refbp.layers.recurrent_cells import LSTMCell, RNNCell
from refbp.layers.softmax import Softmax
from refbp.losses.classification import BCEWithLogitsLoss, CrossEntropyLoss
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

MATMUL = Exercise(
    "MatMul.backward",
    "layer = MatMul(W)\nout = layer.forward(x)",
    "dx = layer.backward(dout)\ndW = layer.grads[0]",
    arrays={"x": "x1", "W": "x2"},
    outputs={"out": "y"},
    tiers={
        "std": [Case(MatMul(), normal(7, 5), normal(5, 3), id="seven rows"), Case(MatMul(), normal(2, 3), normal(3, 11))],
        "degenerate": [Case(MatMul(), normal(1, 4), normal(4, 1), id="one row")],
    },
)
EMBEDDING = Exercise(
    "Embedding.backward",
    "layer = Embedding(W)\nout = layer.forward(idx)",
    "layer.backward(dout)\ndW = layer.grads[0]",
    arrays={"idx": "input", "W": "weight"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Embedding(7, 3), exactly([4, 2, 0, 6]), id="rows once"),
            Case(Embedding(7, 3), exactly([1, 5, 1, 1, 2]), id="a row three times"),
        ],
        "degenerate": [Case(Embedding(3, 2), exactly([1]), id="one row")],
    },
)
SIGMOID_LOSS = Exercise(
    "SigmoidWithLoss.backward",
    "layer = SigmoidWithLoss()\nloss = layer.forward(x, t)",
    "dx = layer.backward()",
    arrays={"x": "input", "t": "target.astype(np.int64)"},
    outputs={"loss": "loss"},
    rtol=1e-5,  # the book takes log(y + 1e-7)
    convention="mean over the batch",
    tiers={
        "std": [
            Case(BCEWithLogitsLoss(), normal(7), exactly(0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0), id="seven rows"),
            Case(BCEWithLogitsLoss(), normal(2), exactly(1.0, 0.0), id="two rows"),
        ],
        "degenerate": [Case(BCEWithLogitsLoss(), normal(1), exactly([1.0]), id="one row")],
    },
)
GATES = "np.concatenate([{0}[H:2*H], {0}[2*H:3*H], {0}[:H], {0}[3*H:]])".replace("H", "hidden_size")
_CELL = {"Wx": "weight_ih", "Wh": "weight_hh", "b": "bias_ih"}


def _weights(gates: bool, suffix: str = "") -> dict[str, str]:
    """The three arrays of a recurrent layer: features in rows, gates side by side in the book's order."""
    named = {n: GATES.format(f"{w}{suffix}") if gates else f"{w}{suffix}" for n, w in _CELL.items()}
    return {n: e if n == "b" else f"{e}.T" for n, e in named.items()}


_CELL_GRADS = "\ndWx = layer.grads[0]\ndWh = layer.grads[1]\ndb = layer.grads[2]"
RNN_CELL = Exercise(
    "RNN.backward",
    "layer = RNN(Wx, Wh, b)\nh_next = layer.forward(x, h_prev)",
    "dx, dh_prev = layer.backward(dh_next)" + _CELL_GRADS,
    arrays={"x": "x", "h_prev": "h_0", **_weights(gates=False)},
    outputs={"h_next": "h_1"},
    fixed={"bias_hh": 0.0},
    tiers={
        "std": [
            Case(RNNCell(5, 3), normal(7, 5), normal(7, 3), id="seven rows"),
            Case(RNNCell(2, 11), normal(3, 2), normal(3, 11), id="three rows"),
        ],
        "degenerate": [Case(RNNCell(2, 1), normal(1, 2), normal(1, 1), id="one row")],
    },
)
LSTM_CELL = Exercise(
    "LSTM.backward",
    "layer = LSTM(Wx, Wh, b)\nh_next, c_next = layer.forward(x, h_prev, c_prev)",
    "dx, dh_prev, dc_prev = layer.backward(dh_next, dc_next)" + _CELL_GRADS,
    arrays={"x": "x", "h_prev": "h_0", "c_prev": "c_0", **_weights(gates=True)},
    outputs={"h_next": "h_1", "c_next": "c_1"},
    fixed={"bias_hh": 0.0},
    convention="gates side by side in the order f, g, i, o",
    tiers={
        "std": [
            Case(LSTMCell(5, 3), normal(7, 5), normal(7, 3), normal(7, 3), id="seven rows"),
            Case(LSTMCell(2, 5), normal(3, 2), normal(3, 5), normal(3, 5), id="three rows"),
        ],
        "degenerate": [Case(LSTMCell(2, 1), normal(1, 2), normal(1, 1), normal(1, 1), id="one row")],
    },
)


def over_time(name: str, layer: type[RNN | LSTM], gates: bool, convention: str = "") -> Exercise:
    """A recurrent layer over a whole sequence, its state zero at the start."""
    return Exercise(
        f"{name}.backward",
        f"layer = {name}(Wx, Wh, b)\nhs = layer.forward(xs)",
        "dxs = layer.backward(dhs)" + _CELL_GRADS,
        arrays={"xs": "x", **_weights(gates, suffix="_l0")},
        outputs={"hs": "y"},
        fixed={"bias_hh_l0": 0.0},
        convention=convention,
        tiers={
            "std": [
                Case(layer(5, 3, batch_first=True), normal(7, 2, 5), id="two steps"),
                Case(layer(2, 3, batch_first=True), normal(3, 5, 2), id="five steps"),
            ],
            "degenerate": [Case(layer(3, 2, batch_first=True), normal(2, 1, 3), id="one step")],
        },
    )


TIME_RNN = over_time("TimeRNN", RNN, gates=False)
TIME_RNN_STATEFUL = Exercise(
    "TimeRNN.backward (stateful)",
    "layer = TimeRNN(Wx, Wh, b, True)\nlayer.set_state(h)\nhs = layer.forward(xs)",
    "dxs = layer.backward(dhs)\ndh = layer.dh" + _CELL_GRADS,
    arrays={"xs": "x", "h": "h_0[0]", **_weights(gates=False, suffix="_l0")},
    outputs={"hs": "y"},
    fixed={"bias_hh_l0": 0.0},
    forward_name="TimeRNN.forward (stateful)",
    tiers={"std": [Case(RNN(2, 3, batch_first=True), normal(5, 4, 2), normal(1, 5, 3), id="four steps")]},
)
TIME_LSTM = over_time("TimeLSTM", LSTM, gates=True, convention="gates side by side in the order f, g, i, o")
TIME_AFFINE = Exercise(
    "TimeAffine.backward",
    "layer = TimeAffine(W, b)\nout = layer.forward(x)",
    "dx = layer.backward(dout)\ndW = layer.grads[0]\ndb = layer.grads[1]",
    arrays={"x": "x", "W": "weight.T", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Linear(5, 3), normal(7, 2, 5), id="two steps"),
            Case(Linear(2, 11), normal(3, 5, 2), id="five steps"),
        ],
        "degenerate": [Case(Linear(3, 2), normal(1, 1, 3), id="one step")],
    },
)
TIME_EMBEDDING = Exercise(
    "TimeEmbedding.backward",
    "layer = TimeEmbedding(W)\nout = layer.forward(xs)",
    "layer.backward(dout)\ndW = layer.grads[0]",
    arrays={"xs": "input", "W": "weight"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Embedding(7, 3), exactly([[4, 2, 0], [6, 1, 3]]), id="rows once"),
            Case(Embedding(5, 2), integers(4, 7, high=5), id="rows again and again"),
        ],
        "degenerate": [Case(Embedding(3, 2), exactly([[1]]), id="one step")],
    },
)
TIME_LOSS = Exercise(
    "TimeSoftmaxWithLoss.backward",
    "layer = TimeSoftmaxWithLoss()\nloss = layer.forward(xs, ts)",
    "dxs = layer.backward()",
    arrays={"xs": "input.transpose(0, 2, 1)", "ts": "target"},
    outputs={"loss": "loss"},
    convention="mean over every step whose target is not −1",
    tiers={
        "std": [
            Case(CrossEntropyLoss(ignore_index=-1), normal(3, 5, 2), labels(3, 2, classes=5), id="two steps"),
            Case(CrossEntropyLoss(ignore_index=-1), normal(2, 3, 7), labels(2, 7, classes=3, ignored=-1), id="some ignored"),
        ],
        "degenerate": [Case(CrossEntropyLoss(ignore_index=-1), normal(1, 3, 1), labels(1, 1, classes=3), id="one step")],
    },
)
WEIGHT_SUM = Exercise(
    "WeightSum.backward",
    "layer = WeightSum()\nc = layer.forward(hs, a)",
    "dhs, da = layer.backward(dc)",
    arrays={"hs": "hs", "a": "a[:, 0]"},
    outputs={"c": "c[:, 0]"},
    tiers={
        "std": [Case(Graph("c = a @ hs"), normal(3, 1, 5), normal(3, 5, 2), id="five steps")],
        "degenerate": [Case(Graph("c = a @ hs"), normal(1, 1, 1), normal(1, 1, 3), id="one step")],
    },
)
ATTENTION_WEIGHT = Exercise(
    "AttentionWeight.backward",
    "layer = AttentionWeight()\na = layer.forward(hs, h)",
    "dhs, dh = layer.backward(da)",
    arrays={"hs": "hs", "h": "h[:, :, 0]"},
    outputs={"a": "a[:, :, 0]"},
    tiers={
        "std": [Case(Graph("s = hs @ h; a = Softmax(1)(s)"), normal(3, 5, 2), normal(3, 2, 1), id="five steps")],
        "degenerate": [Case(Graph("s = hs @ h; a = Softmax(1)(s)"), normal(2, 1, 3), normal(2, 3, 1), id="one step")],
    },
)


def dot(words: int, size: int) -> Graph:
    """The inner product of each row of h with a row that is looked up."""
    return Graph(f"w = Embedding({words}, {size})(idx); u = Unflatten(1, ({size}, 1))(w); out = h @ u")


EMBEDDING_DOT = Exercise(
    "EmbeddingDot.backward",
    "layer = EmbeddingDot(W)\nout = layer.forward(h, idx)",
    "dh = layer.backward(dout)\ndW = layer.grads[0]",
    arrays={"h": "h[:, 0]", "idx": "idx", "W": "w_weight"},
    outputs={"out": "out[:, 0, 0]"},
    tiers={
        "std": [
            Case(dot(7, 3), exactly([4, 2, 0, 6]), normal(4, 1, 3), id="rows once"),
            Case(dot(5, 2), exactly([1, 4, 1, 1, 2]), normal(5, 1, 2), id="a row three times"),
        ],
        "degenerate": [Case(dot(3, 2), exactly([1]), normal(1, 1, 2), id="one row")],
    },
)
SOFTMAX = Exercise(
    "Softmax.backward",
    "layer = Softmax()\nout = layer.forward(x)",
    "dx = layer.backward(dout)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={
        "std": [Case(Softmax(1), normal(7, 5), id="seven rows"), Case(Softmax(1), normal(2, 3), id="two rows")],
        "degenerate": [Case(Softmax(1), normal(3, 1), id="one class")],
        "stability": [Case(Softmax(1), normal(3, 4, mean=1000.0), id="large values")],
    },
)

EXERCISES = [
    MATMUL,
    EMBEDDING,
    SIGMOID_LOSS,
    RNN_CELL,
    LSTM_CELL,
    TIME_RNN,
    TIME_RNN_STATEFUL,
    TIME_LSTM,
    TIME_AFFINE,
    EMBEDDING_DOT,
    TIME_EMBEDDING,
    TIME_LOSS,
    WEIGHT_SUM,
    ATTENTION_WEIGHT,
    SOFTMAX,
]
