"""θ, L(θ), ∇L, per-sample gradients and gradient descent, held beside torch."""

from pathlib import Path

import numpy as np
import pytest
import torch

import refbp
from refbp import Linear, ReLU, Sequential, Sigmoid, State, network
from refbp.errors import ArgumentError, ShapeError, StateError
from refbp.layers import BatchNorm1d, Tanh
from refbp.losses import CrossEntropyLoss, MSELoss
from refbp.optim import SGD

MLP = Sequential(Linear(7, 5), Tanh(), BatchNorm1d(5), Linear(5, 3))


def _torch_mlp():
    n = torch.nn
    return n.Sequential(n.Linear(7, 5), n.Tanh(), n.BatchNorm1d(5), n.Linear(5, 3)).double()


def _state(module, net):
    return State({n: t.detach().numpy().copy() for n, t in module.state_dict().items()}, set(net.buffers()))


def test_theta_is_torchs_parameter_vector():
    module = _torch_mlp()
    state = _state(module, MLP)
    theirs = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    assert np.array_equal(refbp.theta(state), theirs)
    assert np.array_equal(refbp.theta(dict(state), MLP), theirs)
    assert list(MLP.init(np.random.default_rng(0)).parameters) == [n for n, _ in module.named_parameters()]


def test_theta_and_back():
    state = MLP.init(np.random.default_rng(3))
    vector = refbp.theta(state)
    back = refbp.from_theta(vector + 1, state)
    assert np.array_equal(refbp.theta(back), vector + 1)
    assert np.array_equal(back["2.running_mean"], state["2.running_mean"])
    assert list(back) == list(state)
    assert np.array_equal(refbp.theta(state), vector)
    with pytest.raises(ShapeError, match="wanted"):
        refbp.from_theta(vector[:-1], state)


def test_a_plain_mapping_does_not_say_what_its_buffers_are():
    with pytest.raises(StateError, match=r"theta\(state, layer\)"):
        refbp.theta(dict(MLP.init(np.random.default_rng(0))))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradient_is_autograds_as_one_vector(reduction):
    rng = np.random.default_rng(5)
    module = _torch_mlp()
    x, t = rng.normal(size=(11, 7)), rng.integers(0, 3, 11)
    loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(t), reduction=reduction)
    theirs = torch.cat([g.ravel() for g in torch.autograd.grad(loss, list(module.parameters()))]).numpy()
    state = _state(_torch_mlp(), MLP)
    state = state.updated({n: p.detach().numpy() for n, p in module.named_parameters()})
    found = refbp.gradient(MLP, CrossEntropyLoss(reduction=reduction), state, x, t)
    assert found.loss == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(refbp.grad_vector(found.grads, state), theirs, rtol=0, atol=1e-14 * max(1, abs(theirs).max()))
    assert set(found.updates) == set(MLP.buffers())


def test_the_total_loss_is_the_sum_over_samples():
    rng = np.random.default_rng(7)
    net = Sequential(Linear(3, 2), Sigmoid())
    state, x, t = net.init(rng), rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    each = [refbp.total_loss(net, MSELoss(reduction="sum"), state, x[n : n + 1], t[n : n + 1]) for n in range(5)]
    assert sum(each) == pytest.approx(refbp.total_loss(net, MSELoss(reduction="sum"), state, x, t), rel=1e-14)


def test_per_sample_gradients_sum_to_the_batchs_and_equal_torchs():
    rng = np.random.default_rng(11)
    net, loss = Sequential(Linear(3, 5), ReLU(), Linear(5, 2)), CrossEntropyLoss(reduction="sum")
    state, x, t = net.init(rng), rng.normal(size=(7, 3)), rng.integers(0, 2, 7)
    rows = refbp.per_sample_gradients(net, loss, state, x, t)
    assert rows.shape == (7, refbp.theta(state).size)
    batch = refbp.grad_vector(refbp.gradient(net, loss, state, x, t).grads, state)
    np.testing.assert_allclose(rows.sum(0), batch, rtol=0, atol=1e-14 * abs(batch).max() * 7)
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)).double()
    module.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()})
    for n in range(7):
        cost = torch.nn.functional.cross_entropy(module(torch.from_numpy(x[n : n + 1])), torch.from_numpy(t[n : n + 1]))
        theirs = torch.cat([g.ravel() for g in torch.autograd.grad(cost, list(module.parameters()))]).numpy()
        np.testing.assert_allclose(rows[n], theirs, rtol=0, atol=1e-14)


def test_a_network_that_couples_its_samples_has_no_per_sample_gradients():
    state = MLP.init(np.random.default_rng(0))
    with pytest.raises(ArgumentError, match=r"BatchNorm1d.*statistics of the whole batch"):
        network.per_sample_gradients(MLP, CrossEntropyLoss(reduction="sum"), state, np.zeros((3, 7)), np.zeros(3, int))


def test_a_loss_must_be_one_number():
    net = Linear(3, 2)
    state = net.init(np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="wanted one number"):
        refbp.gradient(net, MSELoss(reduction="none"), state, np.zeros((4, 3)), np.zeros((4, 2)))


def digits():
    """The UCI handwritten digits, scaled to [0, 1]: 1,437 to train on, 360 to test on."""
    with np.load(Path(__file__).parent / "data" / "digits.npz") as data:
        order = np.random.default_rng(0).permutation(len(data["labels"]))
        x, t = data["images"][order] / 16, data["labels"][order].astype(np.int64)
    return x[:1437], t[:1437], x[1437:], t[1437:]


def test_an_mlp_learns_the_digits_step_by_step_as_torchs_does():
    """200 steps of gradient descent from one θ⁰ on the same batches: θ agrees to 1e-10 at every step."""
    x, t, x_test, t_test = digits()
    n = torch.nn
    torch.manual_seed(0)
    module = n.Sequential(n.Linear(64, 48), n.ReLU(), n.Linear(48, 32), n.Sigmoid(), n.Linear(32, 10)).double()
    net = Sequential(Linear(64, 48), ReLU(), Linear(48, 32), Sigmoid(), Linear(32, 10))
    state = _state(module, net)
    ours = SGD(lr=0.3, momentum=0.9, weight_decay=1e-4)
    theirs = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-4)
    memory, rng, worst = ours.start(state), np.random.default_rng(1), 0.0
    for _ in range(200):
        batch = rng.choice(len(x), 64, replace=False)
        found = refbp.gradient(net, CrossEntropyLoss(), state, x[batch], t[batch])
        state, memory = ours.step(state, found.grads, memory)
        theirs.zero_grad()
        n.functional.cross_entropy(module(torch.from_numpy(x[batch])), torch.from_numpy(t[batch])).backward()
        theirs.step()
        vector = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
        worst = max(worst, abs(refbp.theta(state) - vector).max())
        assert worst < 1e-10
    accuracy = (net(state, x_test).outputs.argmax(1) == t_test).mean()
    assert accuracy > 0.95
