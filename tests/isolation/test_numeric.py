"""Finite differences dressed up as a backward are recognised, and nothing else is taken for them."""

import numpy as np
import pytest
from isolated import LIMITS, hostile, problem

from refbp.oracle.isolation import Attempt, Worker, finite_differences


def _attempts(name, tmp_path, scene):
    with Worker(hostile(name, scene, tmp_path), limits=LIMITS) as worker:

        def attempt(scale):
            (x, w, b), dout, _ = problem()
            x = x * scale
            forward = worker.call("affine_forward", (x, w, b), keep=(1,))
            backward = worker.call("affine_backward", (dout, forward.value[1]), count=True)
            names = ("dx", "dw", "db")
            expected = dict(zip(names, (dout @ w.T, x.T @ dout, dout.sum(0)), strict=True))
            return Attempt(dict(zip(names, backward.value, strict=True)), expected, backward.calls) if backward.ok else None

        return finite_differences(attempt, ("affine_forward",))


def test_finite_differences_are_recognised(tmp_path, scene):
    suspicion = _attempts("finite_differences", tmp_path, scene)
    assert suspicion.certain
    assert suspicion.sentence.startswith("a finite difference, not a derivative: dx is right to ")
    assert "inputs times 1e+13, where a formula stays as right as it was" in suspicion.sentence
    assert "it calls affine_forward 44 times" in suspicion.sentence


@pytest.mark.parametrize("name", ["honest", "nan", "guesses_the_seed", "wrong_dtypes"])
def test_what_is_no_finite_difference_is_not_taken_for_one(name, tmp_path, scene):
    assert _attempts(name, tmp_path, scene) is None


def _tanh(step):
    """dx of tanh by a formula, by a central difference or by a complex step, as ``step`` says."""

    def attempt(scale):
        x = np.linspace(-2, 2, 7) * scale
        if step is None:
            dx, calls = 1 - np.tanh(x) ** 2, 1
        elif step == "complex":
            dx, calls = np.tanh(x + 1e-30j).imag / 1e-30, 7
        else:
            dx, calls = (np.tanh(x + step) - np.tanh(x - step)) / (2 * step), 14
        return Attempt({"dx": dx}, {"dx": 1 - np.tanh(x) ** 2}, {"tanh": calls})

    return attempt


@pytest.mark.parametrize(("step", "found"), [(None, False), (1e-5, True), ("complex", True)])
def test_where_the_gradient_vanishes_at_large_inputs_the_calls_tell(step, found):
    assert (finite_differences(_tanh(step), ("tanh",)) is not None) == found


def test_an_overflow_is_not_taken_for_a_finite_difference():
    def attempt(scale):
        x = np.linspace(-2, 2, 7) * scale
        with np.errstate(all="ignore"):
            naive = np.exp(x) / (1 + np.exp(x))
        return Attempt({"dx": naive}, {"dx": 1 / (1 + np.exp(-np.clip(x, -700, 700)))})

    assert finite_differences(attempt) is None
