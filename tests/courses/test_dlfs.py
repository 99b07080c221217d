"""Deep Learning from Scratch: what is right is ok, what is wrong is caught and named."""

from pathlib import Path

import pytest
from courses._course import Wrong, checked, enough, found, hold

HERE = Path(__file__).with_name("dlfs") / "right"
ONE, TWO = HERE / "volume1.py", HERE / "volume2.py"

FIRST = [
    Wrong("Affine.backward", 'einsum("ni,no->io", self.flat, dout)', 'einsum("ni,no->oi", self.flat, dout)', "transposed"),
    Wrong("Affine.backward", "np.add.reduce(dout)", "dout.mean(axis=0)", r"db is 1/N times"),
    Wrong("Affine.backward", "np.add.reduce(dout)", "dout", r"not summed|summed over axis 0|dout itself|sum"),
    Wrong("Affine.backward", "np.add.reduce(dout)", "dout.sum(axis=1)", r"axis"),
    Wrong("Relu.backward", "return dout * self.on", "return self.on", r"upstream|dout"),
    Wrong("Relu.backward", "return dout * self.on", "return dout * (dout > 0)", r"dout|upstream"),
    Wrong("Sigmoid.backward", "self.out - self.out**2", "self.out", r"slope f′"),
    Wrong(
        "SoftmaxWithLoss.backward",
        "slope = self.y / n\n        slope[range(n), self.t] -= 1 / n",
        "slope = self.y.copy()\n        slope[range(n), self.t] -= 1",
        r"N times",
    ),
    Wrong(
        "SoftmaxWithLoss.backward",
        "slope[range(n), self.t] -= 1 / n",
        "slope[range(n), self.t] -= 1",
        r"one-hot row is N times",
    ),
    Wrong(
        "BatchNormalization.backward",
        "n * dout - self.dbeta - self.xn * self.dgamma",
        "n * dout - self.dbeta",
        r"x̂ · mean.* is missing",
    ),
    Wrong("BatchNormalization.backward", "n * dout - self.dbeta - self.xn * self.dgamma", "n * dout", r"mean.* missing"),
    Wrong("BatchNormalization.backward", "self.gamma / (n * self.std)", "1 / (n * self.std)", r"γ"),
    Wrong(
        "BatchNormalization.backward",
        "mu, var = x.mean(axis=0), x.var(axis=0)",
        "mu, var = x.mean(axis=0), x.var(axis=0, ddof=1)",
        "unbiased variance",
        row="BatchNormalization.forward",
    ),
    Wrong(
        "Dropout.backward",
        "return self.mask * dout",
        "return self.mask * dout / (1 - self.dropout_ratio)",
        r"1/\(1 − p\)|1 − p",
    ),
    Wrong(
        "BatchNormalization.backward",
        "keep * self.running_mean + (1 - keep) * mu",
        "(1 - keep) * self.running_mean + keep * mu",
        "old value has the share of the new one",
        row="BatchNormalization.forward",
    ),
    Wrong("Dropout.backward", "return self.mask * dout", "return dout", r"mask keep is missing"),
    Wrong("Convolution.backward", "+= patch", "= patch", r"overlap|added|\+="),
    Wrong("Convolution.backward", "dout.sum(axis=(0, 2, 3))", "dout.sum(axis=(0, 2))[:, 0]", r"first entry along W_out"),
    Wrong("Convolution.backward", "dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p]", "dx", r"shape|pad"),
    Wrong("Pooling.backward", "+= dout[:, :, i, j]", "= dout[:, :, i, j]", r"overlap|added|\+=|stride"),
    Wrong("MulLayer.backward", "return y * dout, x * dout", "return x * dout, y * dout", r"swapped"),
    Wrong("TwoLayerNet.gradient", '"W1": first.dW, "b1": first.db', '"W1": first.dW, "b1": second.db', r"shape"),
]
SECOND = [
    Wrong("MatMul.backward", "dout.dot(W.T)", "dout.dot(W.T) / len(dout)", r"1/N"),
    Wrong("Embedding.backward", "dW[i] += row", "dW[i] = row", r"more than once|repeated|twice|several"),
    Wrong("EmbeddingDot.backward", "return dout[:, None] * rows", "return dout[:, None] * h"),
    Wrong(
        "Softmax.backward",
        "return weighted - self.out * weighted.sum(axis=1, keepdims=True)",
        "return weighted * (1 - self.out)",
        r"diagonal of the Jacobian",
    ),
    Wrong(
        "SigmoidWithLoss.backward",
        "dout * (self.y - self.t) / len(self.t)",
        "dout * (self.t - self.y) / len(self.t)",
        r"−1|sign|minus",
    ),
    Wrong("RNN.backward", "dz = dh_next - dh_next * h_next**2", "dz = dh_next - dh_next * h_next", r"square is missing"),
    Wrong("RNN.backward", "h_prev.T @ dz", "h_next.T @ dz", r"state after the step"),
    Wrong(
        "LSTM.backward",
        "dc_next + dh_next * o * (1 - tc**2)",
        "dh_next * o * (1 - tc**2)",
        r"upstream gradient of c′ is not added",
    ),
    Wrong("LSTM.backward", "dg = dc * i * (1 - g**2)", "dg = dc * i", r"slope of gate g"),
    Wrong("LSTM.backward", "dg = dc * i * (1 - g**2)", "dg = dc * i * (1 - np.tanh(g) ** 2)", r"tanh is applied twice"),
    Wrong("LSTM.backward", "di = dc * g * i * (1 - i)", "di = dc * c_prev * i * (1 - i)", r"gate i"),
    Wrong("TimeRNN.backward", "backward(dhs[:, k] + dh)", "backward(dhs[:, k])", r"recurrence is missing"),
    Wrong(
        "TimeRNN.backward",
        "total = [a + g for a, g in zip(total, self.layers[k].grads, strict=False)]",
        "total = [g + 0 for g in self.layers[k].grads]",
        r"overwrite each other",
    ),
    Wrong("TimeLSTM.backward", "backward(dhs[:, k] + dh, dc)", "backward(dhs[:, k] + dh, 0 * dc)", r"c′ is not added"),
    Wrong(
        "TimeEmbedding.backward",
        "np.add.at(total, self.xs, dout)",
        "total[self.xs] += dout",
        r"more than once|repeated|twice|several",
    ),
    Wrong("TimeSoftmaxWithLoss.backward", "dout * dx * mask[:, :, None] / mask.sum()", "dout * dx / mask.sum()", r"ignored"),
    Wrong(
        "TimeSoftmaxWithLoss.backward",
        "dout * dx * mask[:, :, None] / mask.sum()",
        "dout * dx * mask[:, :, None] / mask.size",
        r"count",
    ),
    Wrong("AttentionWeight.backward", "ds = self.softmax.backward(da)", "ds = da"),
]

ALL = [(FIRST, ONE), (SECOND, TWO)]
MISTAKES = [(path, wrong) for wrongs, path in ALL for wrong in wrongs]


@pytest.mark.parametrize("path", [ONE, TWO], ids=lambda p: p.stem)
def test_a_right_solution_is_ok_in_every_tier(path):
    report = checked("dlfs", path)
    assert {r.name: (r.verdict, r.note) for r in report.rows if not r.ok} == {}
    assert len(report.rows) > 20


@pytest.mark.parametrize(("path", "wrong"), MISTAKES, ids=[str(w) for _, w in MISTAKES])
def test_a_wrong_solution_is_caught(path, wrong):
    hold(found("dlfs", path, wrong), wrong)


def test_nine_of_ten_are_explained():
    enough([w for _, w in MISTAKES])
