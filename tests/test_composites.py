"""A torch model's state_dict loads as it is, and gives the same outputs and gradients."""

import numpy as np
import pytest
import torch

from refbp import State, layers
from refbp.layers.container import part, prefixed

N = torch.nn


def _state(module, buffers=()):
    return State({n: t.detach().numpy().copy() for n, t in module.state_dict().items()}, set(buffers))


def _signed(rng, shape):
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


def _close(ours, theirs, names=""):
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * scale, err_msg=names)


class Block(N.Module):
    """The basic block of a residual network, as torch's users write it."""

    def __init__(self):
        super().__init__()
        self.conv1 = N.Conv2d(3, 5, 3, stride=2, padding=1, bias=False)
        self.bn1 = N.BatchNorm2d(5)
        self.conv2 = N.Conv2d(5, 5, 3, padding=1, bias=False)
        self.bn2 = N.BatchNorm2d(5)
        self.downsample = N.Sequential(N.Conv2d(3, 5, 1, stride=2, bias=False), N.BatchNorm2d(5))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


def test_a_residual_block():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    module = Block().double()
    x, dy = rng.normal(size=(2, 3, 7, 9)), _signed(rng, (2, 5, 4, 5))
    state = _state(module)
    trunk = layers.Sequential(
        {
            "conv1": layers.Conv2d(3, 5, 3, stride=2, padding=1, bias=False),
            "bn1": layers.BatchNorm2d(5),
            "relu": layers.ReLU(),
            "conv2": layers.Conv2d(5, 5, 3, padding=1, bias=False),
            "bn2": layers.BatchNorm2d(5),
        }
    )
    shortcut = layers.Sequential(layers.Conv2d(3, 5, 1, stride=2, bias=False), layers.BatchNorm2d(5))
    main = trunk({n: a for n, a in state.items() if not n.startswith("downsample")}, x)
    side = shortcut(part(state, "downsample"), x)
    joined = layers.Add()({}, main.outputs, side.outputs)
    last = layers.ReLU()({}, joined.outputs)

    tx = torch.from_numpy(x).requires_grad_()
    ty = module(tx)
    theirs = torch.autograd.grad(ty, [tx, *module.parameters()], torch.from_numpy(dy))
    _close(last.outputs, ty.detach().numpy())
    a, b = joined.backward(last.backward(dy).inputs[0]).inputs
    g_main, g_side = main.backward(a), side.backward(b)
    _close(g_main.inputs[0] + g_side.inputs[0], theirs[0].numpy())  # x is used twice: its gradients add up
    ours = {**g_main.params, **prefixed("downsample", g_side.params)}
    for (name, _), grad in zip(module.named_parameters(), theirs[1:], strict=True):
        _close(ours[name], grad.numpy(), name)
    updated = {**main.updates, **prefixed("downsample", side.updates)}
    for name, value in module.state_dict().items():
        if name in updated:
            _close(updated[name], value.numpy(), name)


def test_a_bidirectional_two_layer_lstm():
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    module = N.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True).double()
    layer = layers.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True)
    x = rng.normal(size=(2, 7, 3))
    step = layer(_state(module), x)
    dys = [_signed(rng, y.shape) for y in step.outputs]
    grads = step.backward(*dys)
    tx = torch.from_numpy(x).requires_grad_()
    ty, (th, tc) = module(tx)
    theirs = torch.autograd.grad([ty, th, tc], [tx, *module.parameters()], [torch.from_numpy(d) for d in dys])
    for own, other in zip(step.outputs, (ty, th, tc), strict=True):
        _close(own, other.detach().numpy())
    _close(grads.inputs[0], theirs[0].numpy())
    for (name, _), grad in zip(module.named_parameters(), theirs[1:], strict=True):
        _close(grads.params[name], grad.numpy(), name)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch says so of its own fast path
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer(norm_first):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    options = {"dim_feedforward": 12, "dropout": 0.0, "norm_first": norm_first, "batch_first": True}
    module = N.Transformer(8, 2, 2, 2, **options).double()
    layer = layers.Transformer(8, 2, 2, 2, **options)
    src, tgt = rng.normal(size=(3, 5, 8)), rng.normal(size=(3, 4, 8))
    dy = _signed(rng, (3, 4, 8))
    step = layer(_state(module), src, tgt)
    grads = step.backward(dy)
    ts, tt = torch.from_numpy(src).requires_grad_(), torch.from_numpy(tgt).requires_grad_()
    ty = module(ts, tt)
    theirs = torch.autograd.grad(ty, [ts, tt, *module.parameters()], torch.from_numpy(dy))
    _close(step.outputs, ty.detach().numpy())
    _close(grads.inputs[0], theirs[0].numpy())
    _close(grads.inputs[1], theirs[1].numpy())
    for (name, _), grad in zip(module.named_parameters(), theirs[2:], strict=True):
        _close(grads.params[name], grad.numpy(), name)
