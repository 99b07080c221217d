"""HW3P1: the cells of recurrent networks, and connectionist temporal classification."""

from __future__ import annotations

from typing import Any

from refbp.courses.cmu11785.references import PosteriorCTC
from refbp.draws import exactly, normal, probabilities
from refbp.layers.recurrent_cells import GRUCell, RNNCell
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

_PARAMETERS = {"W_ih": "weight_ih", "W_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
_RNN: dict[str, Any] = {
    "forward": "cell = RNNCell(input_size, hidden_size)\n"
    + "".join(f"cell.{n} = {n}\n" for n in _PARAMETERS)
    + "h_t = cell.forward(x, h_prev_t)",
    "backward": "dx, dh_prev_t = cell.backward(delta, h_t, x, h_prev_t)\n"
    + "\n".join(f"d{n} = cell.d{n}" for n in _PARAMETERS),
    "arrays": {"x": "x", "h_prev_t": "h_0", **_PARAMETERS},
    "outputs": {"h_t": "h_1"},
    "tiers": {
        "std": [
            Case(RNNCell(5, 3), normal(7, 5), normal(7, 3), id="seven rows"),
            Case(RNNCell(2, 4), normal(3, 2), normal(3, 4), id="three rows"),
        ],
        "degenerate": [
            Case(RNNCell(3, 2), normal(1, 3), normal(1, 2), id="one row"),
            Case(RNNCell(3, 3), normal(3, 3), normal(3, 3), id="all sizes alike"),
        ],
    },
}
RNN = [
    Exercise(
        "RNNCell.backward",
        **_RNN,
        factors={f"d{n}": "1/N" for n in _PARAMETERS},
        convention="the gradients of weights and biases are divided by N, those of x and h are not",
    ),
]

GATES = {"r": 0, "z": 1, "n": 2}


def _gru(biases: str, row: bool, delta: str = "delta") -> Exercise:
    """A GRU of single vectors; ``biases`` says how they are called in that year, ``row`` that gradients have a first axis.

    ``delta`` is how the upstream gradient is given, as a vector or as a row.
    """
    arrays = {"x": "x", "h_prev_t": "h_0"}
    for gate, k in GATES.items():
        rows = f"[{k} * hidden_size:{k + 1} * hidden_size]"
        names = (f"b{gate}x", f"b{gate}h") if biases == "brx" else (f"bi{gate}", f"bh{gate}")
        arrays |= {f"W{gate}x": f"weight_ih{rows}", f"W{gate}h": f"weight_hh{rows}"}
        arrays |= {names[0]: f"bias_ih{rows}", names[1]: f"bias_hh{rows}"}
    parameters = [n for n in arrays if n not in ("x", "h_prev_t")]
    grads = {f"d{n}": n for n in arrays}
    if row:
        arrays |= {"x_row": "x[None]", "h_row": "h_0[None]"}
        grads |= {"dx": "x_row", "dh_prev_t": "h_row"}
    year = "brx, brh, …" if biases == "brx" else "2021: bir, bhr, …"
    return Exercise(
        "GRUCell.backward",
        forward="cell = GRUCell(input_size, hidden_size)\n"
        + "".join(f"cell.{n} = {n}\n" for n in parameters)
        + "h_t = cell.forward(x, h_prev_t)",
        backward=f"dx, dh_prev_t = cell.backward({delta})\n" + "\n".join(f"d{n} = cell.d{n}" for n in parameters),
        arrays=arrays,
        grads=grads,
        outputs={"h_t": "h_1"},
        tiers={
            "std": [
                Case(GRUCell(5, 3), normal(5), normal(3), id="5 to 3"),
                Case(GRUCell(2, 4), normal(2), normal(4), id="2 to 4"),
            ],
            "degenerate": [
                Case(GRUCell(3, 1), normal(3), normal(1), id="one hidden unit"),
                Case(GRUCell(3, 3), normal(3), normal(3), id="all sizes alike"),
            ],
        },
        convention=f"biases are called {year}; dx is {'(1, d)' if row else '(d,)'},"
        f" delta {'(h,)' if delta == 'delta' else '(1, h)'}; nothing is divided by N",
    )


GRU = [
    _gru(biases, row, delta)
    for biases in ("brx", "bir")
    for row, delta in ((False, "delta"), (True, "delta"), (True, "delta[None]"))
]

CTC = [
    Exercise(
        "CTCLoss.backward",
        forward="criterion = CTCLoss()\nloss = criterion.forward(logits, target, input_lengths, target_lengths)",
        backward="dlogits = u * criterion.backward()",
        arrays={"logits": "y", "target": "target", "input_lengths": "input_lengths", "target_lengths": "target_lengths"},
        outputs={"loss": "loss", "nll": "nll"},
        upstream={"u": "nll"},
        factors={"dlogits": "N"},
        tiers={
            "std": [
                Case(
                    PosteriorCTC(),
                    probabilities(7, 3, 5, axis=2),
                    exactly([[1, 4, 4], [2, 3, 0], [1, 2, 1]]),
                    exactly([7, 5, 6]),
                    exactly([3, 2, 3]),
                    id="three sequences",
                ),
                Case(
                    PosteriorCTC(),
                    probabilities(5, 2, 4, axis=2),
                    exactly([[3, 3], [1, 2]]),
                    exactly([5, 4]),
                    exactly([2, 2]),
                    id="two sequences",
                ),
            ],
            "degenerate": [
                Case(
                    PosteriorCTC(),
                    probabilities(3, 1, 3, axis=2),
                    exactly([[2]]),
                    exactly([3]),
                    exactly([1]),
                    id="one sequence of one label",
                )
            ],
        },
        convention="the value is −Σ γ log y, averaged over the batch; backward is −γ / y, which is the gradient of −Σ log P",
    ),
]

EXERCISES = [*RNN, *GRU, *CTC]
