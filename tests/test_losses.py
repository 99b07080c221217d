"""Losses: torch's deprecated spellings of a reduction, and where refbp and torch part on purpose, to the last term."""

import dataclasses
import inspect
import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from refbp import registry
from refbp.conformance.trial import Trial
from refbp.conformance.verify import run_check
from refbp.errors import RefbpError
from refbp.losses import (
    BCELoss,
    CrossEntropyLoss,
    CTCLoss,
    LinearCrossEntropyLoss,
    SoftMarginLoss,
    TripletMarginWithDistanceLoss,
)
from refbp.spec import Case

LOSSES = [e for e in registry.current().entries.values() if e.kind == "loss" and e.plugin.startswith("refbp.")]
DEPRECATED = [e for e in LOSSES if "size_average" in inspect.signature(e.spec.layer).parameters]
SPELLINGS = list(itertools.product((None, True, False), repeat=2))


def quietly(build):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build()


# The deprecated arguments size_average and reduce -------------------------------------------------------------------------


def test_every_loss_that_has_the_deprecated_arguments_in_torch_has_them_here():
    classes = {n: getattr(torch.nn, n) for n in dir(torch.nn) if n.endswith("Loss")}
    theirs = {n for n, cls in classes.items() if "size_average" in inspect.signature(cls).parameters}
    assert {e.name for e in DEPRECATED} == theirs


@pytest.mark.parametrize("entry", DEPRECATED, ids=lambda e: e.name)
@pytest.mark.parametrize(("size_average", "reduce"), SPELLINGS)
def test_a_deprecated_spelling_means_the_reduction_that_it_means_in_torch_and_warns(entry, size_average, reduce):
    arguments = {"size_average": size_average, "reduce": reduce, "reduction": "sum"}
    meant = quietly(lambda: getattr(torch.nn, entry.name)(**arguments)).reduction
    if size_average is None and reduce is None:
        loss = entry.spec.layer(**arguments)  # were there a warning, it would be an error
    else:
        with pytest.warns(DeprecationWarning, match=rf"write {entry.name}\(reduction='{meant}'\)") as caught:
            loss = entry.spec.layer(**arguments)
        assert caught[0].filename == __file__
    assert loss.reduction == meant


@pytest.mark.parametrize("entry", DEPRECATED, ids=lambda e: e.name)
@pytest.mark.parametrize(("size_average", "reduce"), SPELLINGS)
def test_a_deprecated_spelling_gives_torchs_loss_and_gradients(entry, size_average, reduce):
    given = entry.spec.cases[0]
    loss = quietly(lambda: dataclasses.replace(given.layer, size_average=size_average, reduce=reduce))
    case = Case(loss, *given.draws, id=given.id, options=given.options, state=given.state)
    trial = Trial(dataclasses.replace(entry.spec, cases=[case]), 0)
    for check in ("outputs", "gradients"):
        outcome = run_check(trial, check)
        assert not outcome.wrong, outcome.message


# Where refbp is right and torch is not ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_torchs_ctc_gradient_is_the_true_one_plus_the_probabilities(reduction, zero_infinity):
    rng = np.random.default_rng(0)
    x = np.log(rng.dirichlet(np.ones(5), (7, 4)))
    targets = rng.integers(1, 5, (4, 3))
    frames, lengths = np.array([7, 6, 2, 5]), np.array([3, 2, 3, 0])  # two frames are too few for three labels
    log_probs = torch.from_numpy(x.copy()).requires_grad_()
    theirs = torch.nn.CTCLoss(0, reduction, zero_infinity)(log_probs, *map(torch.from_numpy, (targets, frames, lengths)))
    ours = CTCLoss(0, reduction, zero_infinity)({}, x, targets, frames, lengths)
    dy = np.asarray(rng.uniform(0.5, 1.5, theirs.shape))
    (wrong,) = torch.autograd.grad(theirs, log_probs, torch.from_numpy(dy))
    right = ours.backward(dy).inputs[0]

    possible = np.array([True, True, False, True])
    share = np.broadcast_to(dy, 4) / (4 * np.maximum(lengths, 1) if reduction == "mean" else 1)
    added = np.where(np.arange(7)[:, None] < frames, share, 0)[:, :, None] * np.exp(x)
    np.testing.assert_allclose((wrong.numpy() - right)[:, possible], added[:, possible], rtol=1e-11, atol=1e-14)
    undefined = np.full((2, 5), 0 if zero_infinity else np.nan)
    np.testing.assert_array_equal(right[:, 2], np.concatenate([undefined, np.zeros((5, 5))]))
    np.testing.assert_array_equal(wrong[:, 2].numpy(), right[:, 2])


def test_a_ctc_posterior_adds_up_to_one_in_every_frame():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3, 7)).astype(np.float32)
    step = CTCLoss(reduction="none")({}, x, rng.integers(1, 7, (3, 20)), np.array([50, 49, 45]), np.array([20, 3, 0]))
    posterior = -step.backward(np.ones(3, np.float32)).inputs[0].sum(2)
    np.testing.assert_allclose(posterior, np.arange(50)[:, None] < [50, 49, 45], atol=1e-5)


def test_the_loss_and_gradient_of_a_confident_prediction_keep_their_digits():
    """In float32 torch's loss of such a row is 0, and its gradient for the target too."""
    logits = np.array([[20.0, 0.0, -3.0]], np.float32)
    step = CrossEntropyLoss()({}, logits, np.array([0]))
    others = [math.exp(-20), math.exp(-23)]
    loss = math.log1p(sum(others))
    p = [o / (1 + sum(others)) for o in others]
    np.testing.assert_allclose(step.outputs, loss, rtol=1e-6)
    np.testing.assert_allclose(step.backward(np.ones((), np.float32)).inputs[0], [[-sum(p), *p]], rtol=1e-6)
    assert torch.nn.CrossEntropyLoss()(torch.from_numpy(logits), torch.tensor([0])) == 0


def test_a_clamped_logarithm_has_no_slope_at_the_ends_of_the_unit_interval():
    """There torch's binary cross-entropy has the gradient (x − t) / 1e-12, and the same loss."""
    x, t = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.3, 0.7, 1.0, 0.0])
    step = BCELoss(reduction="none")({}, x, t)
    theirs = torch.nn.BCELoss(reduction="none")(torch.from_numpy(x), torch.from_numpy(t))
    np.testing.assert_allclose(step.outputs, theirs.numpy())
    dx, dt = step.backward(np.ones(4)).inputs
    np.testing.assert_allclose(dx, [-0.3, 0.3, -1, 1])
    np.testing.assert_allclose(dt, [-100, 100, -100, 100])


def test_the_soft_margin_is_finite_where_torch_overflows():
    x, t = np.array([-1000.0, -1000.0, 1000.0]), np.array([1.0, -1.0, -1.0])
    step = SoftMarginLoss(reduction="none")({}, x, t)
    np.testing.assert_array_equal(step.outputs, [1000, 0, 1000])
    np.testing.assert_array_equal(step.backward(np.ones(3)).inputs[0], [-1, 0, 1])


# What cannot be a case: constructors and inputs that are refused ----------------------------------------------------------


FRAMES = np.zeros((4, 1, 3))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: TripletMarginWithDistanceLoss(distance_function=lambda a, b: abs(a - b).sum(-1)), "wanted Layer or None"),
        (lambda: TripletMarginWithDistanceLoss(margin=0.0), "margin=0.0 was given; wanted a positive number"),
        (lambda: LinearCrossEntropyLoss(3, 5, weight=(1.0, 2.0)), "wanted 5 numbers, one for each class"),
        (lambda: CTCLoss(-1), "blank=-1 was given; wanted a class index of at least 0"),
        (lambda: CTCLoss()({}, FRAMES, [[1, 0]], [4], [2]), "targets holds 0; wanted classes from 0 to 2 other than blank=0"),
        (lambda: CTCLoss()({}, FRAMES, [[1, 2]], [5], [2]), r"input_lengths is \[5\]; wanted each at least 0 and at most 4"),
        (lambda: CTCLoss()({}, FRAMES, [1, 2], [4], [1]), r"wanted targets \(1\), one after another"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(wrong, said):
    with pytest.raises(RefbpError, match=said):
        wrong()
