"""refbp check: verdicts that must be earned, what cannot be read, and what a command line does when things go wrong."""

import numpy as np
import pytest

from refbp import Case, Hardshrink, MaxPool2d, ReLU, exactly, normal
from refbp.oracle.callers import Local
from refbp.oracle.checking import Asked, check_exercise
from refbp.oracle.exercise import Exercise


def exercise(layer, usual, kink):
    """One layer as an exercise, with a case at the kink."""
    return Exercise(
        "back",
        forward="y, cache = forward(x)",
        backward="dx = back(dout, cache)",
        arrays={"x": "x"},
        outputs={"y": "y"},
        upstream={"dout": "y"},
        tiers={"std": [Case(layer, usual)], "kink": [Case(layer, kink)]},
    )


def verdicts(ex, forward, back):
    return [r.verdict for r in check_exercise(ex, Local({"forward": forward, "back": back}), None, None, Asked(7))]


# Another convention at a kink is between the one-sided derivatives ----------------------------------------------------

RELU = exercise(ReLU(), normal(3, 4), exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.0]]))
SLOPES = {
    "one": (1.0, "kink-only"),
    "half": (0.5, "kink-only"),
    "torchs": (0.0, "ok"),
    "three": (3.0, "wrong"),
    "negative": (-0.5, "wrong"),
    "nan": (np.nan, "wrong"),
}


@pytest.mark.parametrize("name", SLOPES)
def test_a_slope_at_zero_is_a_convention_between_the_slopes_beside_it_and_wrong_beyond(name):
    slope, verdict = SLOPES[name]
    found = verdicts(RELU, lambda x: (np.maximum(x, 0), x), lambda dy, x: dy * np.where(x == 0, slope, x > 0))
    assert found == ["ok", verdict]


def pool(x):
    n, c, h, w = x.shape
    windows = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    return windows.max(-1), windows


def unpool(share):
    def back(dy, windows):
        dx = share(windows == windows.max(-1, keepdims=True)) * dy[..., None]
        n, c, h, w, _ = dx.shape
        return dx.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)

    return back


def test_at_ties_any_share_of_the_gradient_is_a_convention_and_twice_of_it_is_wrong():
    ex = exercise(MaxPool2d(2), normal(2, 3, 4, 6), exactly(np.ones((1, 1, 4, 4)).tolist()))
    assert verdicts(ex, pool, unpool(lambda m: m)) == ["ok", "kink-only"]
    assert verdicts(ex, pool, unpool(lambda m: m / m.sum(-1, keepdims=True))) == ["ok", "kink-only"]
    assert verdicts(ex, pool, unpool(lambda m: m * np.where(m.sum(-1, keepdims=True) > 1, 2, 1))) == ["ok", "wrong"]


def test_a_forward_may_choose_at_a_jump_and_not_elsewhere():
    ex = exercise(Hardshrink(0.5), normal(3, 4), exactly(0.5, -0.5, 2.0))
    for at, verdict in ((0.0, "ok"), (0.25, "kink-only"), (0.7, "wrong")):
        forward = lambda x: (np.where(np.abs(x) > 0.5, x, np.where(np.abs(x) == 0.5, np.sign(x) * at, 0)), x)  # noqa: B023, E731
        assert verdicts(ex, forward, lambda dy, x: dy * (np.abs(x) > 0.5))[0] == verdict
