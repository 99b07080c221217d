"""Gradients that add up until they are flushed, right."""

import numpy as np


class Layer:
    def __init__(self):
        self.parameters, self.gradients, self.X = {}, {}, []

    def forward(self, X, retain_derived=True):
        raise NotImplementedError

    def flush_gradients(self):
        self.X = []
        self.gradients = {n: np.zeros_like(p) for n, p in self.parameters.items()}


class FullyConnected(Layer):
    def __init__(self, n_out):
        super().__init__()
        self.n_out = n_out

    def forward(self, X, retain_derived=True):
        if not self.parameters:
            self.parameters = {"W": np.random.randn(X.shape[1], self.n_out), "b": np.zeros((1, self.n_out))}
            self.flush_gradients()
        if retain_derived:
            self.X.append(X)
        return X @ self.parameters["W"] + self.parameters["b"]

    def backward(self, dLdy):
        self.gradients["W"] += self.X[-1].T @ dLdy
        self.gradients["b"] += dLdy.sum(axis=0, keepdims=True)
        return dLdy @ self.parameters["W"].T


class BatchNorm1D(Layer):
    axis = 0

    def __init__(self, epsilon=1e-5):
        super().__init__()
        self.epsilon = epsilon

    def _normalised(self, X):
        std = np.sqrt(X.var(axis=self.axis, keepdims=True) + self.epsilon)
        return (X - X.mean(axis=self.axis, keepdims=True)) / std, std

    def forward(self, X, retain_derived=True):
        if not self.parameters:
            self.parameters = {"scaler": np.random.rand(X.shape[1]), "intercept": np.zeros(X.shape[1])}
            self.flush_gradients()
        if retain_derived:
            self.X.append(X)
        return self.parameters["scaler"] * self._normalised(X)[0] + self.parameters["intercept"]

    def backward(self, dLdy):
        xhat, std = self._normalised(self.X[-1])
        self.gradients["scaler"] += (dLdy * xhat).sum(axis=0)
        self.gradients["intercept"] += dLdy.sum(axis=0)
        d = dLdy * self.parameters["scaler"]
        centred = d - d.mean(axis=self.axis, keepdims=True)
        return (centred - xhat * (d * xhat).mean(axis=self.axis, keepdims=True)) / std


class LayerNorm1D(BatchNorm1D):
    axis = 1


class Conv2D(Layer):
    def __init__(self, out_ch, kernel_shape, pad=0, stride=1):
        super().__init__()
        self.out_ch, self.kernel_shape, self.pad, self.stride = out_ch, kernel_shape, pad, stride

    def _windows(self, X):
        (h, w), p, s = self.kernel_shape, self.pad, self.stride
        padded = np.pad(X, ((0, 0), (p, p), (p, p), (0, 0)))
        rows, columns = (padded.shape[1] - h) // s + 1, (padded.shape[2] - w) // s + 1
        places = [(i, j, slice(i * s, i * s + h), slice(j * s, j * s + w)) for i in range(rows) for j in range(columns)]
        return padded, places, (len(X), rows, columns, self.out_ch)

    def forward(self, X, retain_derived=True):
        if not self.parameters:
            self.parameters = {"W": np.random.randn(*self.kernel_shape, X.shape[3], self.out_ch)}
            self.parameters["b"] = np.zeros((1, 1, 1, self.out_ch))
            self.flush_gradients()
        if retain_derived:
            self.X.append(X)
        padded, places, shape = self._windows(X)
        Y = np.empty(shape)
        for i, j, r, c in places:
            Y[:, i, j] = np.einsum("nhwc,hwco->no", padded[:, r, c], self.parameters["W"])
        return Y + self.parameters["b"]

    def backward(self, dLdy):
        padded, places, _ = self._windows(self.X[-1])
        dX = np.zeros_like(padded)
        for i, j, r, c in places:
            self.gradients["W"] += np.einsum("nhwc,no->hwco", padded[:, r, c], dLdy[:, i, j])
            dX[:, r, c] += np.einsum("no,hwco->nhwc", dLdy[:, i, j], self.parameters["W"])
        self.gradients["b"] += dLdy.sum(axis=(0, 1, 2), keepdims=True)
        p = self.pad
        return dX[:, p : dX.shape[1] - p, p : dX.shape[2] - p]


class Softmax:
    def forward(self, X):
        e = np.exp(X - X.max(axis=1, keepdims=True))
        self.Y = e / e.sum(axis=1, keepdims=True)
        return self.Y

    def backward(self, dLdy):
        return self.Y * (dLdy - (dLdy * self.Y).sum(axis=1, keepdims=True))
