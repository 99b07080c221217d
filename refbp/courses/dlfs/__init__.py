"""Deep Learning from Scratch 1 and 2 (O'Reilly Japan): layers as objects with forward and backward.

Where the two books differ, both are tried: the first keeps a gradient as ``layer.dW``, the second as ``layer.grads[0]``.
"""

from __future__ import annotations

from collections.abc import Iterator

from refbp.courses.dlfs import first, second
from refbp.courses.dlfs.given import GIVEN
from refbp.hookspecs import hookimpl
from refbp.oracle.exercise import Course


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """Both volumes."""
    yield Course(
        "dlfs",
        "Deep Learning from Scratch 1 and 2",
        [*first.EXERCISES, *second.EXERCISES],
        conventions=(
            "A weight is (in, out), a bias (out,), images are NCHW.",
            "Losses are means over the batch, and their backward gives the gradient of the mean: no layer divides again.",
            "dropout_ratio is the probability that an element is dropped.",
            "Running averages keep momentum of the old and take 1 − momentum of the new; the variance is the biased one.",
        ),
        given=GIVEN,
        url="https://github.com/oreilly-japan/deep-learning-from-scratch",
    )
