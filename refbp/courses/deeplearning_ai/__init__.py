"""deeplearning.ai's Deep Learning Specialization: networks of columns, convolutions of channels-last pictures, RNN and LSTM.

A sample is a column. The 1/m sits in the parameters' gradients, so that what is passed on, dA_prev, is that of the sum of the
losses; convolutions and recurrent cells have none.
"""

from __future__ import annotations

from collections.abc import Iterator

from refbp.courses.deeplearning_ai import dense, pictures, recurrent, steps
from refbp.courses.deeplearning_ai.given import GIVEN
from refbp.hookspecs import hookimpl
from refbp.oracle.exercise import Course

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
        [*dense.EXERCISES, *steps.EXERCISES, *pictures.EXERCISES, *recurrent.EXERCISES],
        conventions=CONVENTIONS,
        given=GIVEN,
        url="https://www.deeplearning.ai",
    )
