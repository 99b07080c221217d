"""The numerical witness, itself cross-checked: against closed forms of 40 digits, and one precision against the other."""

import dataclasses

import mpmath
import numpy as np
import pytest

from refbp import Case, Grads, Spec, exactly, normal, registry, uniform
from refbp.conformance import witness
from refbp.conformance.trial import Trial
from refbp.conformance.verify import run_check
from refbp.conformance.witness import Witness
from refbp.draws import special
from refbp.layers import activation as act

mpmath.mp.dps = 40

CLOSED_FORMS = {
    act.Tanh(): lambda x: 1 - mpmath.tanh(x) ** 2,
    act.Sigmoid(): lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2,
    act.GELU(): lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x),
    act.Softplus(0.3): lambda x: 1 / (1 + mpmath.exp(mpmath.mpf(-0.3) * x)),
    act.Mish(): lambda x: mpmath.diff(lambda s: s * mpmath.tanh(mpmath.log1p(mpmath.exp(s))), x),
}
POINTS = (-6.0, -1.3, -0.2, 0.7, 5.0)


def _witness(layer, *values, extended):
    trial = Trial(Spec(type(layer), [Case(layer, exactly(*values))]), 0)
    made = Witness.of(trial)
    if not extended:
        made._wide, made.extended, made.step = np.float64, False, 0.02
        made._at = {n: a.astype(np.float64) for n, a in made._at.items()}
        made._base = made._outputs({})
    return made, trial.upstream[0]


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "float64"])
@pytest.mark.parametrize("layer", CLOSED_FORMS, ids=repr)
def test_slopes_equal_closed_forms_of_forty_digits(layer, extended):
    if extended and not witness.EXTENDED:
        pytest.skip("this machine has no extended precision")
    numeric, upstream = _witness(layer, *POINTS, extended=extended)
    for i, x in enumerate(POINTS):
        expected = float(CLOSED_FORMS[layer](mpmath.mpf(x)) * mpmath.mpf(float(upstream[i])))
        slope = numeric.at("x", (i,))
        assert slope.value == pytest.approx(expected, abs=1e-11)
        assert slope.uncertainty < 1e-10


def test_one_sided_slopes_at_a_kink_and_at_a_jump():
    numeric, upstream = _witness(act.LeakyReLU(0.3), 0.0, 1.0, extended=True)
    left, right = numeric.sides_at("x", (0,))
    assert (left / upstream[0], right / upstream[0]) == (pytest.approx(0.3, abs=1e-11), pytest.approx(1.0, abs=1e-11))
    numeric, _ = _witness(act.Hardshrink(), 0.5, extended=True)
    left, right = numeric.sides_at("x", (0,))
    assert abs(left) < 1e-9
    assert abs(right) > 1e3


def test_extended_precision_survives_every_built_in_forward():
    """A forward that computes in float64 whatever it is given would leave the witness with five digits less."""
    if not witness.EXTENDED:
        pytest.skip("this machine has no extended precision")
    shortened = []
    for entry in registry.current().entries.values():
        if entry.plugin.startswith("refbp."):
            trial = Trial(entry.spec, 0)
            if any(y.dtype.kind == "f" for y in trial.outputs) and not Witness.of(trial).extended:
                shortened.append(entry.name)
    assert shortened == []


def test_a_tiny_value_moves_by_its_own_size():
    from refbp.losses import BCELoss

    trial = Trial(Spec(BCELoss, [Case(BCELoss(reduction="sum"), exactly(1e-13), exactly(1.0))]), 0)
    slope = Witness.of(trial).at("input", (0,))
    assert slope.value / float(trial.upstream[0]) == pytest.approx(-1e13, rel=1e-9)


def test_a_direction_moves_inputs_and_parameters_together():
    from refbp.layers import Linear

    trial = Trial(Spec(Linear, [Case(Linear(3, 2), normal(5, 3))]), 0)
    grads = {n: g for n, g in trial.own_grads.items() if g is not None}
    rng = np.random.default_rng(0)
    direction = {n: rng.normal(size=g.shape) for n, g in grads.items()}
    expected = sum(np.vdot(g, direction[n]) for n, g in grads.items())
    assert Witness.of(trial).slope(direction).value == pytest.approx(float(expected), rel=1e-12)


FLAT = uniform(17, low=-30.0, high=-20.0)


def _outcome(layer, draw, check):
    spec = registry.current().get(type(layer).__name__).spec
    return run_check(Trial(dataclasses.replace(spec, cases=[Case(layer, draw, id="flat")]), 0), check)


def test_where_forward_is_flat_the_witness_says_that_it_cannot_tell_and_accuses_nobody():
    """1 − 10⁻¹¹ and its neighbour differ in the last digits that there are: no difference of them is a derivative."""
    for layer in (act.ELU(), act.SELU(), act.Tanh()):
        found = _outcome(layer, FLAT, "witness")
        assert not found.wrong, found.message
    assert "no digits to give" in _outcome(act.Tanh(), FLAT, "witness").message
    found = _outcome(act.Sigmoid(), uniform(17, low=20.0, high=30.0), "gradients")  # where torch's y (1 − y) has lost them
    assert "too flat for the numerical witness to tell who is right" in found.message


def test_a_wrong_gradient_where_forward_is_flat_is_still_contradicted(monkeypatch):
    right = act.ELU.backward
    monkeypatch.setattr(act.ELU, "backward", lambda self, saved, dy: Grads(1.01 * right(self, saved, dy).inputs[0]))
    found = _outcome(act.ELU(), FLAT, "witness")
    assert found.wrong
    assert "the numerical witness" in found.message


def test_a_slope_that_does_not_exist_contradicts_nothing():
    nan = witness.Slope(float("nan"), float("inf"), 0.0)
    assert not nan.contradicts(1.0, 1.0, 1e-8)
    assert witness.Slope(1.0, 0.0, 0.0).contradicts(1.0 + 1e-10, 1.0, 1e-8)
    assert not witness.Slope(1.0, 0.0, 1e-10).contradicts(1.0 + 1e-10, 1.0, 1e-8)
    assert witness.Slope(1.0, 1.0, 0.0).contradicts(1.1, 1.0, 1e-8)  # an uncertainty excuses only so much


def test_a_bend_in_one_gradient_excuses_no_other(monkeypatch):
    """x bends within a step of the difference quotient; the slope of the weight is smooth, and wrong."""
    right = act.PReLU.backward

    def wrong(self, saved, dy):
        grads = right(self, saved, dy)
        return Grads(*grads.inputs, weight=1.1 * grads.params["weight"])

    layer, x = act.PReLU(init=0.3), special("near its kink", (4,), lambda _: np.array([3e-6, -4.0, 2.0, -3.0]))
    assert not _outcome(layer, x, "witness").wrong
    assert "bends too sharply" in _outcome(layer, x, "witness").message
    monkeypatch.setattr(act.PReLU, "backward", wrong)
    found = _outcome(layer, x, "witness")
    assert found.wrong
    assert "gradient of weight" in found.message
