"""Deep Learning from Scratch: what is right is ok, what is wrong is caught and named."""

from pathlib import Path

import numpy as np
import pytest
from courses._course import Wrong, checked, course, enough, found, hold

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


ALONE = """import sys
sys.path.append("..")
from common.np import *
from common.config import GPU
import cupy as cp
from common.functions import sigmoid, softmax
from common.util import im2col, col2im


class ReLU:
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)

    def backward(self, dout):
        return np.where(self.mask, 0, dout)


class Softmax:
    def forward(self, x):
        self.out = softmax(x)
        return self.out

    def backward(self, dout):
        return self.out * (dout - cp.sum(self.out * dout, axis=1, keepdims=True))


class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad

    def forward(self, x):
        FN, C, FH, FW = self.W.shape
        out_h, out_w = ((n + 2 * self.pad - f) // self.stride + 1 for n, f in ((x.shape[2], FH), (x.shape[3], FW)))
        self.shape, self.col = x.shape, im2col(x, FH, FW, self.stride, self.pad)
        out = self.col @ self.W.reshape(FN, -1).T + self.b
        return out.reshape(len(x), out_h, out_w, FN).transpose(0, 3, 1, 2)

    def backward(self, dout):
        FN, C, FH, FW = self.W.shape
        dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        self.db = dout.sum(axis=0)
        self.dW = (dout.T @ self.col).reshape(self.W.shape)
        return col2im(dout @ self.W.reshape(FN, -1), self.shape, FH, FW, self.stride, self.pad)


class Embedding:
    def __init__(self, W):
        self.params, self.grads = [W], [np.zeros_like(W)]

    def forward(self, idx):
        self.idx = idx
        return self.params[0][idx]

    def backward(self, dout):
        dW, = self.grads
        dW[...] = 0
        dW[self.idx] = dout
        return None
"""


def test_layers_are_checked_without_the_books_folder_and_without_a_graphics_card(tmp_path):
    (tmp_path / "layers.py").write_text(ALONE)
    found_ = {r.name: r for r in checked("dlfs", tmp_path / "layers.py").rows}
    names = ("ReLU", "Softmax", "Convolution")
    assert {found_[f"{n}.{phase}"].verdict for n in names for phase in ("forward", "backward")} == {"ok"}
    assert found_["Embedding.backward"].verdict == "wrong"  # nothing is read of what it returns: None says nothing


def test_what_the_books_hand_out_does_what_theirs_does():
    space = {}
    exec(course("dlfs").given["common/functions.py"], space)
    x = np.random.default_rng(0).normal(size=(4, 3))
    t = np.array([0, 2, 1, 1])
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(space["softmax"](x), p)
    np.testing.assert_allclose(space["softmax"](x[0]), p[0])
    loss = -np.mean(np.log(p[range(4), t] + 1e-7))
    assert space["cross_entropy_error"](p, t) == pytest.approx(loss)
    assert space["cross_entropy_error"](p, np.eye(3)[t]) == pytest.approx(loss)
    assert space["cross_entropy_error"](p[0], np.eye(3)[0]) == pytest.approx(-np.log(p[0, 0] + 1e-7))
    assert space["cross_entropy_error"](p[:, :2], t[:, None] % 2) == pytest.approx(-np.mean(np.log(p[range(4), t % 2] + 1e-7)))


def test_a_gradient_that_is_kept_nowhere_is_told_where_it_is_looked_for(tmp_path):
    (tmp_path / "layers.py").write_text(ALONE.replace("self.db = dout", "self.dB = dout"))
    row = next(r for r in checked("dlfs", tmp_path / "layers.py", explain=True).rows if r.name == "Convolution.backward")
    assert row.verdict == "raises"
    assert row.findings[0].sentence.startswith("backward leaves no db, or leaves it under another name")
    assert not any("in every case" in f.sentence for f in row.findings)
