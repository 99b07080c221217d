"""A right solution in the style of volume 1: layers with forward and backward, gradients as attributes."""

import numpy as np


class MulLayer:
    def __init__(self):
        self.pair = None

    def forward(self, x, y):
        self.pair = x, y
        return y * x

    def backward(self, dout):
        x, y = self.pair
        return y * dout, x * dout


class AddLayer:
    def forward(self, x, y):
        return y + x

    def backward(self, dout):
        return 1 * dout, 1 * dout


class Relu:
    def __init__(self):
        self.on = None

    def forward(self, x):
        self.on = (x > 0).astype(float)
        return x * self.on

    def backward(self, dout):
        return dout * self.on


class Sigmoid:
    def __init__(self):
        self.out = None

    def forward(self, x):
        self.out = 0.5 * (1 + np.tanh(x / 2))
        return self.out

    def backward(self, dout):
        return dout * (self.out - self.out**2)


class Affine:
    def __init__(self, W, b):
        self.W = W
        self.b = b
        self.flat = None
        self.shape = None
        self.dW = None
        self.db = None

    def forward(self, x):
        self.shape = x.shape
        self.flat = x.reshape(x.shape[0], -1)
        return self.flat @ self.W + self.b

    def backward(self, dout):
        self.dW = np.einsum("ni,no->io", self.flat, dout)
        self.db = np.add.reduce(dout)
        return np.einsum("no,io->ni", dout, self.W).reshape(self.shape)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def as_indices(t, y):
    return t.argmax(axis=1) if t.size == y.size and t.ndim == y.ndim else t


class SoftmaxWithLoss:
    def __init__(self):
        self.loss = self.y = self.t = None

    def forward(self, x, t):
        self.y = softmax(x)
        self.t = as_indices(t, self.y)
        picked = self.y[range(len(x)), self.t]
        self.loss = -np.log(picked + 1e-7).mean()
        return self.loss

    def backward(self, dout=1):
        n = len(self.t)
        slope = self.y / n
        slope[range(n), self.t] -= 1 / n
        return dout * slope


class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var
        self.xn = self.std = self.dgamma = self.dbeta = None

    def forward(self, x, train_flg=True):
        if self.running_mean is None:
            self.running_mean = np.zeros(x.shape[1])
            self.running_var = np.zeros(x.shape[1])
        if not train_flg:
            return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + 10e-7) + self.beta
        mu, var = x.mean(axis=0), x.var(axis=0)
        self.std = np.sqrt(var + 10e-7)
        self.xn = (x - mu) / self.std
        keep = self.momentum
        self.running_mean = keep * self.running_mean + (1 - keep) * mu
        self.running_var = keep * self.running_var + (1 - keep) * var
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        n = len(dout)
        self.dbeta = dout.sum(axis=0)
        self.dgamma = (dout * self.xn).sum(axis=0)
        return self.gamma / (n * self.std) * (n * dout - self.dbeta - self.xn * self.dgamma)


class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.dropout_ratio = dropout_ratio
        self.mask = None

    def forward(self, x, train_flg=True):
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.mask = np.random.rand(*x.shape) > self.dropout_ratio
        return x * self.mask

    def backward(self, dout):
        return self.mask * dout


class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.x = self.dW = self.db = None

    def windows(self, padded):
        fh, fw = self.W.shape[2:]
        every = np.lib.stride_tricks.sliding_window_view(padded, (fh, fw), axis=(2, 3))
        return every[:, :, :: self.stride, :: self.stride]

    def forward(self, x):
        p = self.pad
        self.x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        out = np.einsum("nchwij,fcij->nfhw", self.windows(self.x), self.W)
        return out + self.b[:, None, None]

    def backward(self, dout):
        self.db = dout.sum(axis=(0, 2, 3))
        self.dW = np.einsum("nfhw,nchwij->fcij", dout, self.windows(self.x))
        dx = np.zeros_like(self.x)
        s, p = self.stride, self.pad
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                patch = np.einsum("nf,fcij->ncij", dout[:, :, i, j], self.W)
                dx[:, :, i * s : i * s + patch.shape[2], j * s : j * s + patch.shape[3]] += patch
        return dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p]


class Pooling:
    def __init__(self, pool_h, pool_w, stride=1, pad=0):
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad
        self.x = None

    def places(self):
        h, w = self.x.shape[2:]
        for i in range(1 + (h - self.pool_h) // self.stride):
            for j in range(1 + (w - self.pool_w) // self.stride):
                yield i, j, i * self.stride, j * self.stride

    def forward(self, x):
        self.x = x
        found = {}
        for i, j, top, left in self.places():
            found[i, j] = x[:, :, top : top + self.pool_h, left : left + self.pool_w].max(axis=(2, 3))
        rows, columns = (1 + max(k[a] for k in found) for a in (0, 1))
        return np.stack([np.stack([found[i, j] for j in range(columns)], -1) for i in range(rows)], -2)

    def backward(self, dout):
        dx = np.zeros(self.x.shape)
        n, c = np.indices(self.x.shape[:2])
        for i, j, top, left in self.places():
            window = self.x[:, :, top : top + self.pool_h, left : left + self.pool_w]
            first = window.reshape(*window.shape[:2], -1).argmax(-1)
            dx[n, c, top + first // self.pool_w, left + first % self.pool_w] += dout[:, :, i, j]
        return dx


class TwoLayerNet:
    def __init__(self, input_size, hidden_size, output_size, weight_init_std=0.01):
        self.params = {
            "W1": weight_init_std * np.random.randn(input_size, hidden_size),
            "b1": np.zeros(hidden_size),
            "W2": weight_init_std * np.random.randn(hidden_size, output_size),
            "b2": np.zeros(output_size),
        }
        p = self.params
        self.layers = [Affine(p["W1"], p["b1"]), Relu(), Affine(p["W2"], p["b2"])]
        self.last = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.last.forward(self.predict(x), t)

    def gradient(self, x, t):
        self.loss(x, t)
        back = self.last.backward(1)
        for layer in reversed(self.layers):
            back = layer.backward(back)
        first, _, second = self.layers
        return {"W1": first.dW, "b1": first.db, "W2": second.dW, "b2": second.db}
