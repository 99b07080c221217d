"""The references that are no layers of refbp's own: each against torch's autograd."""

import numpy as np
import pytest
import torch

from refbp.courses import _operations as op

THREE, TWO = (2, 3, 5), (7, 5)
CASES = [
    (op.Exp(), [THREE], torch.exp),
    (op.Log(), [TWO], torch.log),
    (op.Log(1e-6), [TWO], lambda x: torch.log(x + 1e-6)),
    (op.Negate(), [TWO], torch.neg),
    (op.Reciprocal(), [TWO], torch.reciprocal),
    (op.AddScalar(2.5), [TWO], lambda x: x + 2.5),
    (op.MulScalar(2.5), [TWO], lambda x: x * 2.5),
    (op.DivScalar(2.5), [TWO], lambda x: x / 2.5),
    (op.PowerScalar(3), [TWO], lambda x: x**3),
    (op.Power(), [TWO, TWO], torch.pow),
    (op.Summation((0, 2)), [THREE], lambda x: x.sum((0, 2))),
    (op.Summation((1,), keepdims=True), [TWO], lambda x: x.sum(1, keepdim=True)),
    (op.Summation(), [TWO], torch.sum),
    (op.LogSumExp((0, 2)), [THREE], lambda x: torch.logsumexp(x, (0, 2))),
    (op.LogSumExp(), [TWO], lambda x: torch.logsumexp(x, (0, 1))),
    (op.BroadcastTo((3, 7, 5)), [(1, 7, 1)], lambda x: x.expand(3, 7, 5)),
    (op.BroadcastTo((3, 5)), [(5,)], lambda x: x.expand(3, 5)),
    (op.Reshape((3, 10)), [THREE], lambda x: x.reshape(3, 10)),
    (op.Permute((2, 0, 1)), [THREE], lambda x: x.permute(2, 0, 1)),
    (op.SwapAxes(), [THREE], lambda x: x.mT),
    (op.SwapAxes((0, 2)), [THREE], lambda x: x.transpose(0, 2)),
    (op.Flip((0, 2)), [THREE], lambda x: x.flip(0, 2)),
    (op.Dilate((1,), 1), [TWO], lambda x: torch.stack([x, torch.zeros_like(x)], 2).reshape(7, 10)),
    (op.Step(), [TWO, TWO], lambda a, b: (a < b).to(a) + 0 * a + 0 * b),
    (op.Step(equal=True), [TWO, TWO], lambda a, b: (a == b).to(a) + 0 * a + 0 * b),
    (op.Maximum(1), [THREE], lambda x: x.max(1, keepdim=True).values),
]


@pytest.mark.parametrize(("layer", "shapes", "twin"), CASES, ids=[repr(c[0]) for c in CASES])
def test_an_operation_agrees_with_autograd(layer, shapes, twin):
    rng = np.random.default_rng(5)
    inputs = [rng.uniform(0.5, 2.0, s) for s in shapes]
    if isinstance(layer, op.Negate | op.PowerScalar):
        inputs = [a - 1.2 for a in inputs]
    step = layer({}, *inputs)
    theirs = [torch.tensor(a, requires_grad=True) for a in inputs]
    y = twin(*theirs)
    dy = rng.normal(size=tuple(y.shape))
    np.testing.assert_allclose(step.outputs, y.detach().numpy(), rtol=1e-13, strict=True)
    wanted = torch.autograd.grad(y, theirs, torch.tensor(dy))
    for got, right in zip(step.backward(np.asarray(dy)), wanted, strict=True):
        np.testing.assert_allclose(got, right.numpy(), rtol=1e-12, atol=1e-15, strict=True)
