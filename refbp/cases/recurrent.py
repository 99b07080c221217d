"""Cases of the recurrent layers and cells; the masks between the layers are read off torch's dropout."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from refbp.draws import exactly, normal
from refbp.hookspecs import hookimpl
from refbp.layers.recurrent import GRU, LSTM, RNN
from refbp.layers.recurrent_cells import GRUCell, LSTMCell, RNNCell
from refbp.spec import Case, Convention, Spec

FROM_ZERO_ROWS = [[0.3, -1.7, 0.7], [1.1, 0.3, -0.7]]
FROM_ZERO = exactly(FROM_ZERO_ROWS)


def _call(module: Any, x: Any, *states: Any, lengths: Any = None) -> Any:
    """The twin's call: an LSTM's initial states as a tuple, and a padded batch packed and padded again."""
    import torch

    initial = () if not states else (states,) if isinstance(module, torch.nn.LSTM) else states
    if lengths is None:
        return module(x, *initial)
    from torch.nn.utils import rnn

    packed = rnn.pack_padded_sequence(x, lengths, batch_first=module.batch_first, enforce_sorted=False)
    y, last = module(packed, *initial)
    total = x.shape[1 if module.batch_first else 0]
    return rnn.pad_packed_sequence(y, batch_first=module.batch_first, total_length=total)[0], last


def _noise(layer: Any, probe: Any, x: Any, *states: Any) -> tuple[Any, ...]:
    """The dropout masks, after all initial states, given or not.

    torch drops from packed sequences as they are packed: at every time the sequences still running, longest first.
    """
    if layer.dropout == 0 or layer.num_layers == 1:
        return ()
    missing = [None] * (len(layer.states) - len(states))
    time_first = x.shape[:2] if x.ndim == 3 else (len(x), 1)
    length, batch = time_first[::-1] if layer.batch_first and x.ndim == 3 else time_first
    features, between = layer.directions * layer.out_size, layer.num_layers - 1
    if (lengths := probe.options.get("lengths")) is None:
        return (*missing, np.stack(probe.dropout(*[(length, batch, features)] * between, p=layer.dropout)))
    longest_first = np.argsort(-lengths, kind="stable")
    time, rank = np.nonzero(np.arange(length)[:, None] < lengths[longest_first])
    keep = np.zeros((between, length, batch, features), bool)
    keep[:, time, longest_first[rank]] = np.stack(probe.dropout(*[(len(time), features)] * between, p=layer.dropout))
    return (*missing, keep)


def _layers(cls: Any) -> Iterator[Case]:
    """What the three layers have in common."""

    def states(*shape: int) -> list[Any]:
        return [normal(*shape) for _ in cls.states]

    yield Case(cls(3, 5), normal(7, 2, 3), id="plain")
    yield Case(cls(3, 5), normal(7, 2, 3), *states(1, 2, 5), id="initial-states")
    yield Case(cls(3, 5), normal(7, 3), id="unbatched")
    yield Case(cls(3, 5), normal(7, 3), *states(1, 5), id="unbatched-initial-states")
    yield Case(cls(2, 5), normal(1, 2, 2), *states(1, 2, 5), id="one-step")
    yield Case(cls(1, 1), normal(5, 3, 1), id="one-by-one")
    yield Case(cls(3, 2, bias=False, batch_first=True), normal(5, 7, 3), id="no-bias-batch-first")
    yield Case(cls(3, 2, num_layers=3), normal(5, 2, 3), *states(3, 2, 2), id="three-layers")
    yield Case(cls(3, 5, bidirectional=True), normal(7, 2, 3), *states(2, 2, 5), id="bidirectional")
    yield Case(cls(3, 5, bidirectional=True), normal(7, 3), *states(2, 5), id="bidirectional-unbatched")
    yield Case(cls(3, 5, num_layers=2, bidirectional=True, batch_first=True), normal(2, 7, 3), id="stacked-bidirectional")
    yield Case(
        cls(3, 2, num_layers=2, bias=False, bidirectional=True),
        normal(5, 3, 3),
        *states(4, 3, 2),
        id="stacked-bidirectional-no-bias",
    )
    yield Case(cls(3, 5, num_layers=3, dropout=0.3), normal(7, 2, 3), id="dropout")
    yield Case(cls(3, 5, num_layers=2, dropout=0.3), normal(7, 3), id="dropout-unbatched")
    yield Case(
        cls(3, 5, num_layers=2, dropout=0.7, bidirectional=True, batch_first=True),
        normal(2, 7, 3),
        *states(4, 2, 5),
        id="dropout-bidirectional",
    )
    yield Case(cls(3, 5, num_layers=2, dropout=1.0), exactly([FROM_ZERO_ROWS] * 3), id="all-dropped")
    yield Case(cls(3, 5, num_layers=2, dropout=0.7, training=False), normal(7, 2, 3), id="dropout-evaluation")
    yield Case(
        cls(3, 5, bidirectional=True),
        normal(7, 3, 3),
        *states(2, 3, 5),
        options={"lengths": np.array([4, 7, 1])},
        id="lengths",
    )
    yield Case(
        cls(3, 5, num_layers=2, batch_first=True),
        normal(3, 7, 3),
        options={"lengths": np.array([4, 5, 1])},
        id="lengths-stacked",
    )
    yield Case(
        cls(3, 2, num_layers=2, bias=False, dropout=0.3, bidirectional=True),
        normal(5, 4, 3),
        *states(4, 4, 2),
        options={"lengths": np.array([2, 5, 1, 5])},
        id="lengths-dropout",
    )


def _cells(cls: Any) -> Iterator[Case]:
    """What the three cells have in common."""

    def states(*shape: int) -> list[Any]:
        return [normal(*shape) for _ in cls.states]

    yield Case(cls(3, 5), normal(7, 3), *states(7, 5), id="plain")
    yield Case(cls(3, 5), normal(3), *states(5), id="unbatched")
    yield Case(cls(3, 5), FROM_ZERO, id="from-zero")  # so W_hh has the gradient 0
    yield Case(cls(3, 5), exactly([0.3, -1.7, 0.7]), id="from-zero-unbatched")
    yield Case(cls(3, 2, bias=False), normal(5, 3), *states(5, 2), id="no-bias")
    yield Case(cls(1, 1), normal(5, 1), *states(5, 1), id="one-by-one")
    yield Case(cls(37, 13), normal(2, 37), *states(2, 13), id="wide")


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell."""
    relu_at_0 = [Convention("a pre-activation of 0", "relu's slope is 0")]
    ones = {n: exactly(v) for n, v in (("weight_ih", [[1.0, -1.0]]), ("weight_hh", [[1.0]]))}
    yield Spec(
        RNN,
        [
            *_layers(RNN),
            Case(RNN(3, 5, 1, "relu"), normal(7, 2, 3), normal(1, 2, 5), id="relu"),
            Case(RNN(3, 5, 2, "relu", bidirectional=True, batch_first=True), normal(2, 7, 3), id="relu-stacked-bidirectional"),
            Case(RNN(3, 5, 2, "relu", False, dropout=0.3), normal(7, 2, 3), id="relu-dropout"),
            Case(
                RNN(3, 5, 1, "relu", bidirectional=True),
                normal(7, 3, 3),
                options={"lengths": np.array([4, 7, 1])},
                id="relu-lengths",
            ),
            Case(
                RNN(2, 1, nonlinearity="relu", bias=False),
                exactly([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]),
                state={f"{n}_l0": d for n, d in ones.items()},
                id="relu-at-0",
            ),
        ],
        call=_call,
        noise=_noise,
        conventions=relu_at_0,
    )
    yield Spec(
        LSTM,
        [
            *_layers(LSTM),
            Case(LSTM(3, 5, proj_size=2), normal(7, 2, 3), normal(1, 2, 2), normal(1, 2, 5), id="projection"),
            Case(LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2), normal(4, 2, 3), id="projection-stacked"),
            Case(LSTM(3, 5, 2, False, True, 0.3, proj_size=1), normal(2, 4, 3), id="projection-dropout"),
            Case(
                LSTM(3, 5, num_layers=2, batch_first=True, bidirectional=True, proj_size=2),
                normal(3, 7, 3),
                normal(4, 3, 2),
                normal(4, 3, 5),
                options={"lengths": np.array([4, 5, 1])},
                id="projection-lengths",
            ),
        ],
        call=_call,
        noise=_noise,
    )
    yield Spec(GRU, list(_layers(GRU)), call=_call, noise=_noise)
    yield Spec(
        RNNCell,
        [
            *_cells(RNNCell),
            Case(RNNCell(3, 5, nonlinearity="relu"), normal(7, 3), normal(7, 5), id="relu"),
            Case(RNNCell(3, 5, False, "relu"), FROM_ZERO, id="relu-no-bias"),
            Case(RNNCell(2, 1, False, "relu"), exactly([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]), state=ones, id="relu-at-0"),
        ],
        conventions=relu_at_0,
    )
    yield Spec(LSTMCell, list(_cells(LSTMCell)), call=lambda module, x, *states: module(x, states or None))
    yield Spec(GRUCell, list(_cells(GRUCell)))
