"""CS231n: what is right is right in every tier, what is wrong is caught, and nine of ten mistakes are explained."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from courses._course import caught, checked, course, edited, found, told, words
from courses.cs231n.wrong import TO_LARGEST, WRONG

from refbp import optim
from refbp.contract import State
from refbp.courses._composites import BiasedBatchNorm1d
from refbp.courses.cs231n import layers
from refbp.courses.cs231n.references import HingeLoss, Regularised
from refbp.courses.cs231n.updates import Descent, Moments, Momentum, RootMeanSquare
from refbp.layers import Linear, ReLU, Sequential
from refbp.oracle.submission import UnreadableError, read, recognised

RIGHT = Path(__file__).parent / "cs231n" / "right"
FILES = sorted(p.name for p in RIGHT.glob("*.py"))
EXPLAINED = 0.9  # of the mistakes, by the first thing that is said


@pytest.fixture(scope="module")
def rows():
    """Every file of the right solution, checked in its worker: (file, row)."""
    return [(name, row) for name in FILES for row in checked("cs231n", RIGHT / name).rows if row.tried]


@pytest.fixture(scope="module")
def mistakes():
    """Every mistake, with the row that is made of it."""
    return [(w, found("cs231n", RIGHT / w.file, w)) for w in WRONG]


def test_a_right_solution_is_ok_in_every_tier(rows):
    assert [(name, r.name, r.verdict, r.note) for name, r in rows if not r.ok] == []
    assert {score for _, r in rows for score in r.scores.values()} == {1.0}


def test_every_exercise_has_a_right_solution(rows):
    assert {r.exercise.name for _, r in rows} == {e.name for e in course("cs231n").exercises}


def test_every_mistake_is_caught(mistakes):
    assert len(mistakes) > 90
    assert [str(w) for w, row in mistakes if not caught(row)] == []


def test_what_is_expected_to_be_said_is_said(mistakes):
    said = [(str(w), row.verdict, words(row)) for w, row in mistakes if w.says and not told(row, w)]
    assert said == []


def test_nine_of_ten_mistakes_are_explained(mistakes):
    assert sum(told(row, w) for w, row in mistakes) >= EXPLAINED * len(mistakes)


def test_mistakes_are_made_in_every_file_of_the_course():
    assert set(Counter(w.file for w in WRONG)) == set(FILES) - {"layer_utils.py"}


def test_a_mistake_is_told_with_the_smallest_input_that_shows_it(tmp_path):
    wrong = next(w for w in WRONG if w.exercise == "affine_backward")
    path = tmp_path / "layers.py"
    path.write_text(edited((RIGHT / wrong.file).read_text(), wrong))
    row = checked("cs231n", path, [wrong.exercise], explain=True, seconds=10.0).rows[-1]
    assert told(row, wrong)
    assert row.line > 0
    given, seen = row.example
    assert "dout = " in given
    assert "expected" in seen
    assert "from layers import affine_backward, affine_forward" in row.script


def test_what_is_filled_through_a_view_is_written(tmp_path):
    wrong = next(w for w in WRONG if w.new == TO_LARGEST)
    path = tmp_path / "layers.py"
    path.write_text(edited((RIGHT / wrong.file).read_text(), wrong))
    assert checked("cs231n", path, [wrong.exercise]).rows[-1].verdict == "wrong"


def test_a_backward_without_its_forward_is_told_what_it_lacks(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text("def conv_backward_naive(dout, cache):\n    return dout\n")
    with pytest.raises(UnreadableError, match="conv_backward_naive, which cs231n tries together with conv_forward_naive"):
        recognised(read(path), [course("cs231n")], None)


def test_a_name_that_is_nearly_right_is_pointed_at(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text((RIGHT / "layers.py").read_text().replace("def layernorm_forward", "def layernom_forward"))
    row = checked("cs231n", path, ["layernorm_backward"]).rows[-1]
    assert row.note == "layernorm_forward is missing: is it layernom_forward?"


# Conventions that a submission decides


def _one(tmp_path, file, edit, exercise):
    """The row of one exercise, of a right solution edited into another that is right as well."""
    source = (RIGHT / file).read_text()
    for old, new in edit:
        assert old in source
        source = source.replace(old, new)
    path = tmp_path / file
    path.write_text(source)
    return checked("cs231n", path, [exercise]).rows[-1]


def test_dropout_that_drops_with_probability_p_is_as_right_as_one_that_keeps(tmp_path):
    row = _one(tmp_path, "layers.py", [("(np.random.rand(*x.shape) < p) / p", "(np.random.rand(*x.shape) > p) / (1 - p)")],
               "dropout_backward")  # fmt: skip
    assert row.ok
    assert "dropped" in row.exercise.convention


def test_the_regulariser_may_have_a_half(tmp_path):
    row = _one(
        tmp_path,
        "classifiers.py",
        [("reg * np.sum(W * W)", "0.5 * reg * np.sum(W * W)"), ("2 * reg * W", "reg * W")],
        "softmax_loss_vectorized",
    )
    assert row.ok
    assert "½" in row.exercise.convention


def test_a_classifier_may_have_its_samples_in_columns(tmp_path):
    signature, gradient = "def softmax_loss_vectorized(W, X, y, reg):", "X.T.dot(p) / n + 2 * reg * W\n    return loss, dW"
    edit = [(signature, f"{signature}\n    W, X = W.T, X.T"), (gradient, f"{gradient}.T")]
    row = _one(tmp_path, "classifiers.py", edit, "softmax_loss_vectorized")
    assert row.ok
    assert "(C, D)" in row.exercise.convention


def test_the_logarithm_of_probabilities_of_shifted_scores_is_stable(tmp_path):
    edit = [("(np.log(np.exp(scores).sum(axis=1)) - scores[range(n), y]).mean()", "-np.log(p[range(n), y]).mean()")]
    assert _one(tmp_path, "classifiers.py", edit, "softmax_loss_vectorized").ok


def test_the_smallest_input_of_a_loss_is_one_of_the_loss_itself(tmp_path):
    path = tmp_path / "classifiers.py"
    wrong = next(w for w in WRONG if w.new == "            dW[:, j] += (j != y[i]) * (")
    path.write_text(edited((RIGHT / wrong.file).read_text(), wrong))
    row = checked("cs231n", path, [wrong.exercise], explain=True, seconds=10.0).rows[-1]
    space = {}
    exec((RIGHT / wrong.file).read_text(), space)
    names = dict(space)
    exec(row.script.split("expected = ")[0].replace("from classifiers import", "# "), names)
    exec("import numpy as np\nexpected = " + row.script.split("expected = ")[1].split("\n\n")[0], names)
    _, dW = space[wrong.exercise](names["W"], names["X"], names["y"], names["reg"])
    np.testing.assert_allclose(names["expected"], dW, rtol=1e-12)


def test_group_norm_may_have_its_parameters_by_channel(tmp_path):
    edit = [
        ("return gamma * xhat + beta, (xhat, std, gamma, G)",
         "gamma, beta = gamma.reshape(1, c, 1, 1), beta.reshape(1, c, 1, 1)\n"
         "    return gamma * xhat + beta, (xhat, std, gamma, G)"),
        ("(0, 2, 3), keepdims=True)", "(0, 2, 3))"),
    ]  # fmt: skip
    assert _one(tmp_path, "layers.py", edit, "spatial_groupnorm_backward").ok


def test_a_network_may_still_say_use_batchnorm(tmp_path):
    for name in ("layers.py", "layer_utils.py"):
        (tmp_path / name).write_text((RIGHT / name).read_text())
    edit = [
        ("normalization=None", "use_batchnorm=False"),
        ("self.normalization = normalization", "normalization = self.normalization = 'batchnorm' if use_batchnorm else None"),
    ]
    row = _one(tmp_path, "nets.py", edit, "FullyConnectedNet.loss (batchnorm)")
    assert row.ok
    row = checked("cs231n", tmp_path / "nets.py", ["FullyConnectedNet.loss (layernorm)"]).rows[-1]
    assert row.verdict == "not implemented"  # of the years before 2018, nobody was asked for it


def test_adam_may_count_from_one_as_it_was_handed_out_once(tmp_path):
    row = _one(tmp_path, "optim.py", [('config.setdefault("t", 0)', 'config.setdefault("t", 1)')], "adam")
    assert row.ok
    assert "2017" in row.exercise.convention


def test_moments_that_are_updated_after_their_use_are_told(tmp_path):
    source = (RIGHT / "optim.py").read_text()
    used = '    m, v = config["m"] / (1 - b1**t), config["v"] / (1 - b2**t)\n'
    source = source.replace(used, "").replace('    config["m"] = b1', f'{used}    config["m"] = b1')
    path = tmp_path / "optim.py"
    path.write_text(source)
    row = checked("cs231n", path, ["adam"], explain=True).rows[-1]
    assert "updated too late" in words(row)


@pytest.mark.parametrize("mask", ["np.random.rand(*x.shape) < 0.5", "np.random.rand(x.shape[-1]) < p"])
def test_a_mask_that_is_drawn_wrongly_is_seen(mask):
    rng = np.random.default_rng(0)
    layer = layers.KEEPS.tiers["std"][0].layer
    x = rng.normal(size=(29, 23))
    p = 1 - layer.p
    wrong = x * (rng.random(x.shape) < 0.5 if "0.5" in mask else rng.random(23) < p) / p
    with pytest.raises(ValueError, match="elements are"):
        layers.kept(layer, (x,), {"out": wrong})


# The course's own references are proven here, against torch


def _gradients(loss, *tensors):
    return [g.numpy() for g in torch_().autograd.grad(loss, tensors)]


def torch_():
    import torch

    return torch


def test_the_hinge_loss_is_torchs_times_the_number_of_classes():
    torch = torch_()
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(7, 4)), rng.integers(0, 4, 7)
    step = HingeLoss()({}, x, t)
    tensor = torch.tensor(x, requires_grad=True)
    loss = 4 * torch.nn.functional.multi_margin_loss(tensor, torch.tensor(t))
    (dx,) = _gradients(-1.7 * loss, tensor)
    np.testing.assert_allclose(step.outputs, loss.item(), rtol=1e-13)
    np.testing.assert_allclose(step.backward(np.asarray(-1.7)).inputs[0], dx, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("hinge", [False, True])
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_a_regularised_network_is_what_autograd_makes_of_it(factor, hinge):
    torch = torch_()
    rng = np.random.default_rng(2)
    layer = Regularised(Sequential(Linear(5, 6), ReLU(), Linear(6, 4)), 0.3, factor, hinge)
    state = layer.init(rng)
    x, t = rng.normal(size=(7, 5)), rng.integers(0, 4, 7)
    dloss, dscores = np.asarray(-1.3), rng.normal(size=(7, 4))
    step = layer(state, x, t)
    tensors = {n: torch.tensor(a, requires_grad=True) for n, a in {"x": x, **state}.items()}
    hidden = torch.relu(tensors["x"] @ tensors["0.weight"].T + tensors["0.bias"])
    scores = hidden @ tensors["2.weight"].T + tensors["2.bias"]
    functional = torch.nn.functional
    head = (
        4 * functional.multi_margin_loss(scores, torch.tensor(t))
        if hinge
        else functional.cross_entropy(scores, torch.tensor(t))
    )
    loss = head + factor * 0.3 * (tensors["0.weight"].square().sum() + tensors["2.weight"].square().sum())
    total = dloss.item() * loss + (torch.tensor(dscores) * scores).sum()
    expected = dict(zip(tensors, _gradients(total, *tensors.values()), strict=True))
    grads = step.backward(dloss, dscores)
    np.testing.assert_allclose(step.outputs[0], loss.item(), rtol=1e-13)
    for name, got in {"x": grads.inputs[0], **grads.params}.items():
        np.testing.assert_allclose(got, expected[name], rtol=1e-11, atol=1e-14)


def test_the_running_variance_of_the_course_is_biased():
    layer = BiasedBatchNorm1d(3, momentum=0.2)
    state = State({**layer.init(np.random.default_rng(0)), "running_var": np.array([1.0, 2.0, 3.0])}, set(layer.buffers()))
    x = np.random.default_rng(3).normal(size=(5, 3))
    updates = layer(state, x).updates
    np.testing.assert_allclose(updates["running_var"], 0.8 * state["running_var"] + 0.2 * x.var(0), rtol=1e-13)
    np.testing.assert_allclose(updates["running_mean"], 0.2 * x.mean(0), rtol=1e-13)


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        (Descent(0.3), optim.SGD(0.3)),
        (Momentum(0.3, 0.8), optim.SGD(0.3, momentum=0.8)),
        (RootMeanSquare(0.3, 0.8, 1e-2), optim.RMSprop(0.3, alpha=0.8, eps=1e-2)),
        (Moments(0.3, 0.8, 0.9, 1e-2), optim.Adam(0.3, betas=(0.8, 0.9), eps=1e-2)),
    ],
    ids=lambda a: type(a).__name__,
)
def test_two_steps_of_a_rule_are_those_of_the_optimizer(rule, optimizer):
    w, *dws = np.random.default_rng(4).normal(size=(3, 4, 5))
    state = State({"w": w})
    memory = optimizer.start(state)
    for got, dw in zip(rule({}, w, *dws).outputs, dws, strict=True):
        state, memory = optimizer.step(state, {"w": dw}, memory)
        np.testing.assert_allclose(got, state["w"], rtol=1e-12)
