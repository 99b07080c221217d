"""A right solution in the style of volume 2: parameters and gradients in lists, layers over whole sequences."""

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))


def store(layer, *grads):
    for kept, new in zip(layer.grads, grads, strict=False):
        kept[...] = new


class MatMul:
    def __init__(self, W):
        self.params = [W]
        self.grads = [np.zeros_like(W)]
        self.x = None

    def forward(self, x):
        (W,) = self.params
        self.x = x
        return x.dot(W)

    def backward(self, dout):
        (W,) = self.params
        store(self, self.x.T.dot(dout))
        return dout.dot(W.T)


class Affine:
    def __init__(self, W, b):
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]
        self.x = None

    def forward(self, x):
        W, b = self.params
        self.x = x
        return x.dot(W) + b

    def backward(self, dout):
        store(self, self.x.T.dot(dout), dout.sum(axis=0))
        return dout.dot(self.params[0].T)


class Softmax:
    def __init__(self):
        self.params, self.grads = [], []
        self.out = None

    def forward(self, x):
        self.out = softmax(x)
        return self.out

    def backward(self, dout):
        weighted = dout * self.out
        return weighted - self.out * weighted.sum(axis=1, keepdims=True)


class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.params, self.grads = [], []
        self.dropout_ratio = dropout_ratio
        self.mask = None

    def forward(self, x, train_flg=True):
        if not train_flg:
            return x
        on = np.random.rand(*x.shape) > self.dropout_ratio
        self.mask = on / (1.0 - self.dropout_ratio)
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


class SigmoidWithLoss:
    def __init__(self):
        self.params, self.grads = [], []
        self.loss = self.y = self.t = None

    def forward(self, x, t):
        self.t, self.y = t, sigmoid(x)
        self.loss = -np.mean(np.log(np.where(t == 1, self.y, 1 - self.y) + 1e-7))
        return self.loss

    def backward(self, dout=1):
        return dout * (self.y - self.t) / len(self.t)


class Embedding:
    def __init__(self, W):
        self.params = [W]
        self.grads = [np.zeros_like(W)]
        self.idx = None

    def forward(self, idx):
        self.idx = idx
        return self.params[0][idx]

    def backward(self, dout):
        dW = self.grads[0]
        dW[...] = 0
        for i, row in zip(self.idx, dout, strict=False):
            dW[i] += row


class EmbeddingDot:
    def __init__(self, W):
        self.embed = Embedding(W)
        self.params, self.grads = self.embed.params, self.embed.grads
        self.cache = None

    def forward(self, h, idx):
        rows = self.embed.forward(idx)
        self.cache = h, rows
        return np.einsum("nd,nd->n", h, rows)

    def backward(self, dout):
        h, rows = self.cache
        self.embed.backward(dout[:, None] * h)
        return dout[:, None] * rows


class RNN:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.cache = None

    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        h_next = np.tanh(x @ Wx + h_prev @ Wh + b)
        self.cache = x, h_prev, h_next
        return h_next

    def backward(self, dh_next):
        Wx, Wh, _ = self.params
        x, h_prev, h_next = self.cache
        dz = dh_next - dh_next * h_next**2
        store(self, x.T @ dz, h_prev.T @ dz, dz.sum(axis=0))
        return dz @ Wx.T, dz @ Wh.T


class LSTM:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.cache = None

    def forward(self, x, h_prev, c_prev):
        Wx, Wh, b = self.params
        f, g, i, o = np.split(x @ Wx + h_prev @ Wh + b, 4, axis=1)
        f, g, i, o = sigmoid(f), np.tanh(g), sigmoid(i), sigmoid(o)
        c_next = c_prev * f + i * g
        self.cache = x, h_prev, c_prev, f, g, i, o, np.tanh(c_next)
        return o * self.cache[-1], c_next

    def backward(self, dh_next, dc_next):
        Wx, Wh, _ = self.params
        x, h_prev, c_prev, f, g, i, o, tc = self.cache
        dc = dc_next + dh_next * o * (1 - tc**2)
        df = dc * c_prev * f * (1 - f)
        dg = dc * i * (1 - g**2)
        di = dc * g * i * (1 - i)
        do = dh_next * tc * o * (1 - o)
        dA = np.concatenate([df, dg, di, do], axis=1)
        store(self, x.T @ dA, h_prev.T @ dA, dA.sum(axis=0))
        return dA @ Wx.T, dA @ Wh.T, dc * f


class TimeRNN:
    def __init__(self, Wx, Wh, b, stateful=False):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.layers = None
        self.h = self.dh = None
        self.stateful = stateful

    def set_state(self, h):
        self.h = h

    def reset_state(self):
        self.h = None

    def forward(self, xs):
        n, t, _ = xs.shape
        if self.h is None or not self.stateful:
            self.h = np.zeros((n, self.params[1].shape[0]))
        self.layers, hs = [], []
        for k in range(t):
            cell = RNN(*self.params)
            self.h = cell.forward(xs[:, k], self.h)
            self.layers.append(cell)
            hs.append(self.h)
        return np.stack(hs, axis=1)

    def backward(self, dhs):
        dxs, total = [], [0, 0, 0]
        dh = np.zeros_like(dhs[:, 0])
        for k in reversed(range(len(self.layers))):
            dx, dh = self.layers[k].backward(dhs[:, k] + dh)
            dxs.insert(0, dx)
            total = [a + g for a, g in zip(total, self.layers[k].grads, strict=False)]
        store(self, *total)
        self.dh = dh
        return np.stack(dxs, axis=1)


class TimeLSTM:
    def __init__(self, Wx, Wh, b, stateful=False):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.layers = None
        self.h = self.c = self.dh = None
        self.stateful = stateful

    def forward(self, xs):
        n, t, _ = xs.shape
        size = self.params[1].shape[0]
        if self.h is None or not self.stateful:
            self.h = np.zeros((n, size))
        if self.c is None or not self.stateful:
            self.c = np.zeros((n, size))
        self.layers, hs = [], np.empty((n, t, size), dtype="f")
        for k in range(t):
            cell = LSTM(*self.params)
            self.h, self.c = cell.forward(xs[:, k], self.h, self.c)
            self.layers.append(cell)
            hs[:, k] = self.h
        return hs

    def backward(self, dhs):
        dxs, total = [], [0, 0, 0]
        dh = dc = np.zeros_like(dhs[:, 0])
        for k in reversed(range(len(self.layers))):
            dx, dh, dc = self.layers[k].backward(dhs[:, k] + dh, dc)
            dxs.insert(0, dx)
            total = [a + g for a, g in zip(total, self.layers[k].grads, strict=False)]
        store(self, *total)
        self.dh = dh
        return np.stack(dxs, axis=1)


class TimeEmbedding:
    def __init__(self, W):
        self.params = [W]
        self.grads = [np.zeros_like(W)]
        self.xs = None

    def forward(self, xs):
        self.xs = xs
        return self.params[0][xs]

    def backward(self, dout):
        total = np.zeros_like(self.params[0])
        np.add.at(total, self.xs, dout)
        store(self, total)


class TimeAffine:
    def __init__(self, W, b):
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]
        self.x = None

    def forward(self, x):
        W, b = self.params
        self.x = x
        return x @ W + b

    def backward(self, dout):
        rows = self.x.reshape(-1, self.x.shape[-1])
        flat = dout.reshape(-1, dout.shape[-1])
        store(self, rows.T @ flat, flat.sum(axis=0))
        return dout @ self.params[0].T


class TimeSoftmaxWithLoss:
    def __init__(self):
        self.params, self.grads = [], []
        self.cache = None
        self.ignore_label = -1

    def forward(self, xs, ts):
        ys, mask = softmax(xs), ts != self.ignore_label
        n, t = np.nonzero(mask)
        self.cache = ys, ts, mask
        return -np.log(ys[n, t, ts[n, t]]).sum() / mask.sum()

    def backward(self, dout=1):
        ys, ts, mask = self.cache
        dx = ys.copy()
        n, t = np.indices(ts.shape)
        dx[n, t, ts] -= 1
        return dout * dx * mask[:, :, None] / mask.sum()


class WeightSum:
    def __init__(self):
        self.params, self.grads = [], []
        self.cache = None

    def forward(self, hs, a):
        self.cache = hs, a
        return np.einsum("nth,nt->nh", hs, a)

    def backward(self, dc):
        hs, a = self.cache
        return np.einsum("nh,nt->nth", dc, a), np.einsum("nh,nth->nt", dc, hs)


class AttentionWeight:
    def __init__(self):
        self.params, self.grads = [], []
        self.softmax = Softmax()
        self.cache = None

    def forward(self, hs, h):
        self.cache = hs, h
        return self.softmax.forward(np.einsum("nth,nh->nt", hs, h))

    def backward(self, da):
        hs, h = self.cache
        ds = self.softmax.backward(da)
        return np.einsum("nt,nh->nth", ds, h), np.einsum("nt,nth->nh", ds, hs)
