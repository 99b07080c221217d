"""Carnegie Mellon's 11-785, Introduction to Deep Learning: mytorch, HW1P1 to HW4P1, in three generations of its hand-outs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from refbp.courses.cmu11785 import early, hw1, hw1_networks, hw2, hw3, hw4
from refbp.hookspecs import hookimpl
from refbp.oracle.exercise import Course

CONVENTIONS = (
    "Rows are samples; W is (out, in), b is (out, 1), and (out,) from HW2 on; pictures are (N, C, H, W).",
    "2023 and later: the losses' backward holds the 1/N; activations take their upstream gradient.",
    "2021 and 2022: Linear divides dLdW and dLdb by N, losses return A − Y, activations their own derivative.",
    "2019 to spring 2021: the same, W is (in, out), the layers are called Conv1D, BatchNorm, SoftmaxCrossEntropy, GRU_Cell.",
    "RNNCell divides the gradients of its parameters by N, GRUCell does not; CTCLoss averages its value and not its gradient.",
)

SCIPY = {  # as much of it as GELU needs, where it is not installed
    "scipy/__init__.py": "from . import special\n",
    "scipy/special.py": "import math\n\nimport numpy as np\n\n\ndef erf(x):\n"
    "    return np.vectorize(math.erf, otypes=[np.result_type(x, np.float32)])(x)\n",
}


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    installed = importlib.util.find_spec("scipy") is not None
    yield Course(
        "cmu11785",
        "Carnegie Mellon 11-785, Introduction to Deep Learning: mytorch, HW1P1 to HW4P1",
        [*hw1.EXERCISES, *hw1_networks.EXERCISES, *hw2.EXERCISES, *hw3.EXERCISES, *hw4.EXERCISES, *early.EXERCISES],
        conventions=CONVENTIONS,
        modules=("scipy",) if installed else (),
        given={} if installed else SCIPY,
        url="https://deeplearning.cs.cmu.edu",
    )
