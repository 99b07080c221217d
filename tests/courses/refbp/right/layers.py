"""Layers written as refbp's plugins are, right, and not as refbp writes them."""

import math
from dataclasses import dataclass, field

import numpy as np

from refbp import Forward, Grads, Layer
from refbp.layers._elementwise import Elementwise


def to_shape(a, shape):
    """The sum over what was broadcast."""
    while a.ndim > len(shape):
        a = a.sum(axis=0)
    for i, n in enumerate(shape):
        if n == 1:
            a = a.sum(axis=i, keepdims=True)
    return a


def squash(x):
    return 0.5 * (np.tanh(0.5 * x) + 1)


@dataclass(frozen=True)
class ReLU(Layer):
    def forward(self, state, x):
        on = x > 0
        return Forward(np.where(on, x, 0), saved=on)

    def backward(self, saved, dy):
        return Grads(np.where(saved, dy, 0))


@dataclass(frozen=True)
class Sigmoid(Layer):
    def forward(self, state, x):
        y = squash(x)
        return Forward(y, saved=y)

    def backward(self, saved, dy):
        return Grads(saved * (1 - saved) * dy)


@dataclass(frozen=True)
class Tanh(Elementwise):
    def f(self, x):
        return np.tanh(x)

    def df(self, x, y):
        return 1 / np.cosh(x) ** 2


@dataclass(frozen=True)
class SiLU(Layer):
    def forward(self, state, x):
        s = squash(x)
        return Forward(s * x, saved=(s, x))

    def backward(self, saved, dy):
        s, x = saved
        return Grads(dy * (s + s * x - x * s**2))


@dataclass(frozen=True)
class GELU(Layer):
    approximate: str = "none"

    def forward(self, state, x):
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (x + 0.044715 * x**3))
        return Forward(x * (1 + t) / 2, saved=(x, t))

    def backward(self, saved, dy):
        x, t = saved
        inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return Grads(dy * ((1 + t) / 2 + x / 2 * (1 - t**2) * inner))


@dataclass(frozen=True)
class Linear(Layer):
    in_features: int
    out_features: int
    bias: bool = True

    def forward(self, state, x):
        return Forward(np.einsum("...i,oi->...o", x, state["weight"]) + state["bias"], saved=(x, state["weight"]))

    def backward(self, saved, dy):
        x, W = saved
        rows, back = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        return Grads(np.einsum("...o,oi->...i", dy, W), weight=back.T @ rows, bias=back.sum(axis=0))


@dataclass(frozen=True)
class Add(Layer):
    def forward(self, state, x1, x2):
        return Forward(x1 + x2, saved=(x1.shape, x2.shape))

    def backward(self, saved, dy):
        return Grads(*(to_shape(dy, s) for s in saved))


@dataclass(frozen=True)
class Mul(Layer):
    def forward(self, state, x1, x2):
        return Forward(x1 * x2, saved=(x1, x2))

    def backward(self, saved, dy):
        x1, x2 = saved
        return Grads(to_shape(x2 * dy, x1.shape), to_shape(x1 * dy, x2.shape))


@dataclass(frozen=True)
class Softmax(Layer):
    dim: int

    def forward(self, state, x):
        e = np.exp(x - x.max(self.dim, keepdims=True))
        y = e / e.sum(self.dim, keepdims=True)
        return Forward(y, saved=y)

    def backward(self, saved, dy):
        weighted = dy * saved
        return Grads(weighted - saved * weighted.sum(self.dim, keepdims=True))


@dataclass(frozen=True)
class LogSoftmax(Layer):
    dim: int

    def forward(self, state, x):
        moved = x - x.max(self.dim, keepdims=True)
        y = moved - np.log(np.exp(moved).sum(self.dim, keepdims=True))
        return Forward(y, saved=np.exp(y))

    def backward(self, saved, dy):
        return Grads(dy - saved * dy.sum(self.dim, keepdims=True))


@dataclass(frozen=True)
class Dropout(Layer):
    p: float = 0.5

    def forward(self, state, x, keep):
        scale = keep / (1 - self.p)
        return Forward(x * scale, saved=scale)

    def backward(self, saved, dy):
        return Grads(saved * dy, None)


@dataclass(frozen=True)
class BatchNorm1d(Layer):
    num_features: int
    eps: float = 1e-5
    momentum: float = 0.1
    training: bool = field(default=True, kw_only=True)

    def forward(self, state, x):
        if not self.training:
            std = np.sqrt(state["running_var"] + self.eps)
            x_hat = (x - state["running_mean"]) / std
            return Forward(state["weight"] * x_hat + state["bias"], saved=(x_hat, state["weight"] / std))
        n = len(x)
        mu = x.sum(axis=0) / n
        var = ((x - mu) ** 2).sum(axis=0) / n
        std = np.sqrt(var + self.eps)
        x_hat = (x - mu) / std
        m = self.momentum
        new = {
            "running_mean": (1 - m) * state["running_mean"] + m * mu,
            "running_var": (1 - m) * state["running_var"] + m * var * n / (n - 1),
            "num_batches_tracked": state["num_batches_tracked"] + 1,
        }
        return Forward(state["weight"] * x_hat + state["bias"], saved=(x_hat, state["weight"] / std), updates=new)

    def backward(self, saved, dy):
        x_hat, scale = saved
        dgamma, dbeta = np.einsum("nc,nc->c", dy, x_hat), dy.sum(axis=0)
        dx = scale * dy
        if self.training:
            dx = scale * (dy - dbeta / len(dy) - x_hat * dgamma / len(dy))
        return Grads(dx, weight=dgamma, bias=dbeta)


@dataclass(frozen=True)
class LayerNorm(Layer):
    normalized_shape: object
    eps: float = 1e-5

    def axes(self):
        return tuple(range(-np.size(self.normalized_shape), 0))

    def forward(self, state, x):
        mu = x.mean(self.axes(), keepdims=True)
        std = np.sqrt(((x - mu) ** 2).mean(self.axes(), keepdims=True) + self.eps)
        x_hat = (x - mu) / std
        return Forward(x_hat * state["weight"] + state["bias"], saved=(x_hat, std, state["weight"]))

    def backward(self, saved, dy):
        x_hat, std, gamma = saved
        d = dy * gamma
        first, second = (a.mean(self.axes(), keepdims=True) for a in (d, d * x_hat))
        batch = tuple(range(dy.ndim - gamma.ndim))
        return Grads((d - first - x_hat * second) / std, weight=(dy * x_hat).sum(batch), bias=dy.sum(batch))


def pair(n):
    return n if isinstance(n, tuple) else (n, n)


def spots(shape, kernel, stride):
    """Every window: its place in the output, and the slices of it in the input."""
    (kh, kw), (sh, sw) = kernel, stride
    for i in range((shape[-2] - kh) // sh + 1):
        for j in range((shape[-1] - kw) // sw + 1):
            yield i, j, slice(i * sh, i * sh + kh), slice(j * sw, j * sw + kw)


@dataclass(frozen=True)
class Conv2d(Layer):
    in_channels: int
    out_channels: int
    kernel_size: object
    stride: object = 1
    padding: object = 0

    def forward(self, state, x):
        (ph, pw), W = pair(self.padding), state["weight"]
        wide = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        where = list(spots(wide.shape, W.shape[2:], pair(self.stride)))
        y = np.zeros((len(x), len(W), where[-1][0] + 1, where[-1][1] + 1), x.dtype)
        for i, j, rows, columns in where:
            y[:, :, i, j] = np.einsum("ncij,fcij->nf", wide[:, :, rows, columns], W) + state["bias"]
        return Forward(y, saved=(wide, W, where))

    def backward(self, saved, dy):
        wide, W, where = saved
        ph, pw = pair(self.padding)
        dwide, dW = np.zeros_like(wide), np.zeros_like(W)
        for i, j, rows, columns in where:
            dwide[:, :, rows, columns] += np.einsum("nf,fcij->ncij", dy[:, :, i, j], W)
            dW += np.einsum("nf,ncij->fcij", dy[:, :, i, j], wide[:, :, rows, columns])
        h, w = wide.shape[2:]
        return Grads(dwide[:, :, ph : h - ph, pw : w - pw], weight=dW, bias=dy.sum(axis=(0, 2, 3)))


@dataclass(frozen=True)
class MaxPool2d(Layer):
    kernel_size: object
    stride: object = None

    def forward(self, state, x):
        where = list(spots(x.shape, pair(self.kernel_size), pair(self.stride or self.kernel_size)))
        y = np.zeros((*x.shape[:2], where[-1][0] + 1, where[-1][1] + 1))
        for i, j, rows, columns in where:
            y[:, :, i, j] = x[:, :, rows, columns].max(axis=(2, 3))
        return Forward(y, saved=(x, where))

    def backward(self, saved, dy):
        x, where = saved
        dx, (n, c) = np.zeros_like(x), np.indices(x.shape[:2])
        width = pair(self.kernel_size)[1]
        for i, j, rows, columns in where:
            first = x[:, :, rows, columns].reshape(*x.shape[:2], -1).argmax(-1)
            dx[n, c, rows.start + first // width, columns.start + first % width] += dy[:, :, i, j]
        return Grads(dx)


@dataclass(frozen=True)
class AvgPool2d(Layer):
    kernel_size: object
    stride: object = None

    def forward(self, state, x):
        where = list(spots(x.shape, pair(self.kernel_size), pair(self.stride or self.kernel_size)))
        y = np.zeros((*x.shape[:2], where[-1][0] + 1, where[-1][1] + 1))
        for i, j, rows, columns in where:
            y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
        return Forward(y, saved=(x.shape, where))

    def backward(self, saved, dy):
        shape, where = saved
        dx = np.zeros(shape)
        size = np.prod(pair(self.kernel_size))
        for i, j, rows, columns in where:
            dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / size
        return Grads(dx)


@dataclass(frozen=True)
class Embedding(Layer):
    num_embeddings: int
    embedding_dim: int

    def forward(self, state, input):
        return Forward(state["weight"][input], saved=(input, state["weight"].shape))

    def backward(self, saved, dy):
        index, shape = saved
        one_hot = np.eye(shape[0])[index.reshape(-1)]
        return Grads(None, weight=one_hot.T @ dy.reshape(-1, shape[1]))


@dataclass(frozen=True)
class RNNCell(Layer):
    input_size: int
    hidden_size: int

    def forward(self, state, x, h):
        z = x @ state["weight_ih"].T + state["bias_ih"] + h @ state["weight_hh"].T + state["bias_hh"]
        new = np.tanh(z)
        return Forward(new, saved=(x, h, new, state))

    def backward(self, saved, dh):
        x, h, new, state = saved
        dz = dh - dh * new * new
        b = dz.sum(axis=0)
        return Grads(
            dz @ state["weight_ih"], dz @ state["weight_hh"], weight_ih=dz.T @ x, weight_hh=dz.T @ h, bias_ih=b, bias_hh=b
        )


@dataclass(frozen=True)
class LSTMCell(Layer):
    input_size: int
    hidden_size: int

    def forward(self, state, x, h, c):
        z = x @ state["weight_ih"].T + state["bias_ih"] + h @ state["weight_hh"].T + state["bias_hh"]
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, g, o = squash(i), squash(f), np.tanh(g), squash(o)
        new = f * c + i * g
        return Forward((o * np.tanh(new), new), saved=(x, h, c, i, f, g, o, new, state))

    def backward(self, saved, dh, dc):
        x, h, c, i, f, g, o, new, state = saved
        t = np.tanh(new)
        total = dc + dh * o * (1 - t**2)
        gates = [total * g * i * (1 - i), total * c * f * (1 - f), total * i * (1 - g**2), dh * t * o * (1 - o)]
        dz = np.concatenate(gates, axis=1)
        b = dz.sum(axis=0)
        weights = {"weight_ih": dz.T @ x, "weight_hh": dz.T @ h, "bias_ih": b, "bias_hh": b}
        return Grads(dz @ state["weight_ih"], dz @ state["weight_hh"], total * f, **weights)


@dataclass(frozen=True)
class GRUCell(Layer):
    input_size: int
    hidden_size: int

    def forward(self, state, x, h):
        zx = np.split(x @ state["weight_ih"].T + state["bias_ih"], 3, axis=1)
        zh = np.split(h @ state["weight_hh"].T + state["bias_hh"], 3, axis=1)
        r, z = squash(zx[0] + zh[0]), squash(zx[1] + zh[1])
        n = np.tanh(zx[2] + r * zh[2])
        return Forward(n + z * (h - n), saved=(x, h, r, z, n, zh[2], state))

    def backward(self, saved, dh):
        x, h, r, z, n, hidden, state = saved
        dn = dh * (1 - z) * (1 - n**2)
        dr = dn * hidden * r * (1 - r)
        dz = dh * (h - n) * z * (1 - z)
        of_x, of_h = (np.concatenate([dr, dz, last], axis=1) for last in (dn, dn * r))
        return Grads(
            of_x @ state["weight_ih"],
            of_h @ state["weight_hh"] + dh * z,
            weight_ih=of_x.T @ x,
            weight_hh=of_h.T @ h,
            bias_ih=of_x.sum(axis=0),
            bias_hh=of_h.sum(axis=0),
        )


@dataclass(frozen=True)
class MSELoss(Layer):
    def forward(self, state, input, target):
        return Forward(np.mean((input - target) ** 2), saved=input - target)

    def backward(self, saved, dy):
        d = 2 * dy / saved.size * saved
        return Grads(d, -d)


@dataclass(frozen=True)
class CrossEntropyLoss(Layer):
    def forward(self, state, input, target):
        moved = input - input.max(axis=1, keepdims=True)
        log = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
        return Forward(-log[range(len(target)), target].mean(), saved=(log, target))

    def backward(self, saved, dy):
        log, target = saved
        d = np.exp(log) - np.eye(log.shape[1])[target]
        return Grads(d * dy / len(target), None)
