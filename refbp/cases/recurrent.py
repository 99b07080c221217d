"""Cases of the recurrent layers; the masks between the layers are read off torch's dropout under the same seed."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from refbp.draws import normal
from refbp.hookspecs import hookimpl
from refbp.layers.recurrent import LSTM
from refbp.spec import Case, Spec


def _call(module: Any, x: Any, *states: Any, lengths: Any = None) -> Any:
    """The twin's call: initial states as a tuple, and a padded batch packed and padded again."""
    if lengths is not None:
        import torch.nn.utils.rnn as rnn

        total = x.shape[1 if module.batch_first else 0]
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=module.batch_first, enforce_sorted=False)
        y, last = module(packed, states or None) if states else module(packed)
        y, _ = rnn.pad_packed_sequence(y, batch_first=module.batch_first, total_length=total)
        return y, last
    return module(x, states) if states else module(x)


def _noise(layer: Any, probe: Any, x: Any, *states: Any) -> tuple[Any, ...]:
    """The dropout masks after all initial states, given or not."""
    if layer.dropout == 0 or layer.num_layers == 1:
        return ()
    missing = [None] * (len(layer.states) - len(states))
    length, batch = (x.shape[1], x.shape[0]) if layer.batch_first else x.shape[:2]
    shape = (length, batch, layer.directions * layer.out_size)
    return (*missing, np.stack(probe.dropout(*[shape] * (layer.num_layers - 1), p=layer.dropout)))


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """LSTM."""
    yield Spec(
        LSTM,
        [
            Case(LSTM(3, 5), normal(7, 2, 3), id="plain"),
            Case(LSTM(3, 5), normal(7, 2, 3), normal(1, 2, 5), normal(1, 2, 5), id="initial-states"),
            Case(LSTM(3, 5), normal(7, 3), id="unbatched"),
            Case(LSTM(3, 5), normal(7, 3), normal(1, 5), normal(1, 5), id="unbatched-initial-states"),
            Case(LSTM(2, 5), normal(1, 2, 2), normal(1, 2, 5), normal(1, 2, 5), id="one-step"),
            Case(LSTM(3, 2, bias=False, batch_first=True), normal(5, 7, 3), id="no-bias-batch-first"),
            Case(LSTM(3, 2, num_layers=3), normal(5, 2, 3), normal(3, 2, 2), normal(3, 2, 2), id="three-layers"),
            Case(LSTM(3, 5, bidirectional=True), normal(7, 2, 3), normal(2, 2, 5), normal(2, 2, 5), id="bidirectional"),
            Case(LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True), normal(2, 7, 3), id="stacked-bidirectional"),
            Case(LSTM(3, 5, proj_size=2), normal(7, 2, 3), normal(1, 2, 2), normal(1, 2, 5), id="projection"),
            Case(LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2), normal(4, 2, 3), id="projection-stacked"),
            Case(LSTM(3, 5, num_layers=3, dropout=0.3), normal(7, 2, 3), id="dropout"),
            Case(LSTM(3, 5, num_layers=2, dropout=0.7, training=False), normal(7, 2, 3), id="dropout-evaluation"),
            Case(
                LSTM(3, 5, bidirectional=True),
                normal(7, 3, 3),
                normal(2, 3, 5),
                normal(2, 3, 5),
                options={"lengths": np.array([4, 7, 1])},
                id="lengths",
            ),
            Case(
                LSTM(3, 5, num_layers=2, batch_first=True, proj_size=2),
                normal(3, 7, 3),
                options={"lengths": np.array([4, 5, 1])},
                id="lengths-stacked",
            ),
        ],
        call=_call,
        noise=_noise,
    )
