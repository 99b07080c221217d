"""HW1P1 as it was handed out in 2021 and 2022."""
# ruff: noqa: N801  # the names are the course's

import numpy as np


class Linear:
    def __init__(self, in_features, out_features, debug=False):
        self.W = np.zeros((out_features, in_features))
        self.b = np.zeros((out_features, 1))

    def forward(self, A):
        self.A = A
        self.N = A.shape[0]
        self.Ones = np.ones((self.N, 1))
        return A @ self.W.T + self.Ones @ self.b.T

    def backward(self, dLdZ):
        dZdA = self.W.T
        dLdA = dLdZ @ dZdA.T
        dLdW = dLdZ.T @ self.A
        dLdb = dLdZ.T @ self.Ones
        self.dLdW = dLdW / self.N
        self.dLdb = dLdb / self.N
        return dLdA


class Identity:
    def forward(self, Z):
        self.A = Z
        return self.A

    def backward(self):
        return np.ones(self.A.shape, dtype="f")


class Sigmoid:
    def forward(self, Z):
        self.A = 1 / (1 + np.exp(-np.clip(Z, -700, 700)))
        return self.A

    def backward(self):
        return self.A * (1 - self.A)


class Tanh:
    def forward(self, Z):
        self.A = np.tanh(Z)
        return self.A

    def backward(self):
        return 1 - self.A * self.A


class ReLU:
    def forward(self, Z):
        self.A = np.where(Z > 0, Z, 0)
        return self.A

    def backward(self):
        return (self.A > 0).astype(float)


class MSELoss:
    def forward(self, A, Y):
        self.A, self.Y = A, Y
        N, C = A.shape
        return np.sum((A - Y) ** 2) / (2 * N * C)

    def backward(self):
        return self.A - self.Y


class CrossEntropyLoss:
    def forward(self, A, Y):
        self.Y = Y
        N = A.shape[0]
        shifted = A - A.max(axis=1, keepdims=True)
        total = np.exp(shifted).sum(axis=1, keepdims=True)
        self.softmax = np.exp(shifted) / total
        return -np.sum(Y * (shifted - np.log(total))) / N

    def backward(self):
        return self.softmax - self.Y


class Dropout:
    def __init__(self, p=0.5):
        self.p = p

    def forward(self, x, train=True):
        if train:
            self.mask = np.random.binomial(1, self.p, x.shape)
            return x * self.mask / self.p
        return x

    def backward(self, delta):
        return self.mask * delta


class BatchNorm1d:
    def __init__(self, num_features, alpha=0.9):
        self.alpha = alpha
        self.eps = 1e-8
        self.BW = np.ones((1, num_features))
        self.Bb = np.zeros((1, num_features))
        self.running_M = np.zeros((1, num_features))
        self.running_V = np.ones((1, num_features))

    def forward(self, Z, eval=False):
        if eval:
            return self.BW * (Z - self.running_M) / np.sqrt(self.running_V + self.eps) + self.Bb
        self.M = np.mean(Z, axis=0)
        self.V = np.var(Z, axis=0)
        self.sd = np.sqrt(self.V + self.eps)
        self.NZ = (Z - self.M) / self.sd
        self.running_M = self.alpha * self.running_M + (1 - self.alpha) * self.M
        self.running_V = self.alpha * self.running_V + (1 - self.alpha) * self.V
        return self.BW * self.NZ + self.Bb

    def backward(self, dLdBZ):
        N = len(dLdBZ)
        self.dLdBW = np.sum(dLdBZ * self.NZ, axis=0)
        self.dLdBb = np.sum(dLdBZ, axis=0)
        dLdNZ = dLdBZ * self.BW
        inner = N * dLdNZ - dLdNZ.sum(axis=0) - self.NZ * (dLdNZ * self.NZ).sum(axis=0)
        return inner / (N * self.sd)


class MLP1:
    def __init__(self, debug=False):
        self.layers = [Linear(2, 3), Linear(3, 2)]
        self.f = [ReLU(), ReLU()]

    def forward(self, A0):
        A = A0
        for layer, f in zip(self.layers, self.f, strict=True):
            A = f.forward(layer.forward(A))
        return A

    def backward(self, dLdA2):
        dLdA = dLdA2
        for layer, f in zip(self.layers[::-1], self.f[::-1], strict=True):
            dLdA = layer.backward(dLdA * f.backward())
        return dLdA


class Conv1d_stride1:
    def __init__(self, in_channels, out_channels, kernel_size, weight_init_fn=None, bias_init_fn=None):
        self.kernel_size = kernel_size
        shape = (out_channels, in_channels, kernel_size)
        self.W = np.random.normal(0, 1.0, shape) if weight_init_fn is None else weight_init_fn(*shape)
        self.b = np.zeros(out_channels) if bias_init_fn is None else bias_init_fn(out_channels)

    def forward(self, A):
        self.A = A
        K = self.kernel_size
        size = A.shape[2] - K + 1
        Z = np.empty((len(A), len(self.b), size))
        for t in range(size):
            Z[:, :, t] = np.tensordot(A[:, :, t : t + K], self.W, axes=([1, 2], [1, 2])) + self.b
        return Z

    def backward(self, dLdZ):
        K = self.kernel_size
        self.dLdW = np.zeros(self.W.shape)
        self.dLdb = dLdZ.sum(axis=(0, 2))
        dLdA = np.zeros(self.A.shape)
        for t in range(dLdZ.shape[2]):
            self.dLdW += np.tensordot(dLdZ[:, :, t], self.A[:, :, t : t + K], axes=(0, 0))
            dLdA[:, :, t : t + K] += np.tensordot(dLdZ[:, :, t], self.W, axes=(1, 0))
        return dLdA


class Conv1d:
    def __init__(self, in_channels, out_channels, kernel_size, stride, weight_init_fn=None, bias_init_fn=None):
        self.stride = stride
        self.conv1d_stride1 = Conv1d_stride1(in_channels, out_channels, kernel_size, weight_init_fn, bias_init_fn)

    def forward(self, A):
        Z = self.conv1d_stride1.forward(A)
        self.size = Z.shape[2]
        return Z[:, :, :: self.stride]

    def backward(self, dLdZ):
        full = np.zeros((*dLdZ.shape[:2], self.size))
        full[:, :, :: self.stride] = dLdZ
        return self.conv1d_stride1.backward(full)
