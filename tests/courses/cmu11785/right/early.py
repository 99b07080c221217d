"""HW1P1 to HW3P1 as they were handed out from 2019 to the spring of 2021."""
# ruff: noqa: N801  # the names are the course's

import numpy as np


class Activation:
    def __init__(self):
        self.state = None

    def __call__(self, x):
        return self.forward(x)

    def forward(self, x):
        raise NotImplementedError

    def derivative(self):
        raise NotImplementedError


class Identity(Activation):
    def forward(self, x):
        self.state = x
        return x

    def derivative(self):
        return 1.0


class Sigmoid(Activation):
    def forward(self, x):
        self.state = 0.5 * (1 + np.tanh(x / 2))
        return self.state

    def derivative(self):
        return self.state * (1 - self.state)


class Tanh(Activation):
    def forward(self, x):
        self.state = np.tanh(x)
        return self.state

    def derivative(self):
        return 1 - self.state**2


class ReLU(Activation):
    def forward(self, x):
        self.state = np.where(x > 0, x, 0.0)
        return self.state

    def derivative(self):
        return np.where(self.state > 0, 1.0, 0.0)


class SoftmaxCrossEntropy:
    def forward(self, x, y):
        self.labels = y
        shifted = x - x.max(axis=1, keepdims=True)
        self.logsum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.softmax = np.exp(shifted - self.logsum)
        return -np.sum(y * (shifted - self.logsum), axis=1)

    def derivative(self):
        return self.softmax - self.labels

    def backward(self):
        return self.derivative()


class Linear:
    def __init__(self, in_feature, out_feature, weight_init_fn, bias_init_fn):
        self.W = weight_init_fn(in_feature, out_feature)
        self.b = bias_init_fn(out_feature)
        self.dW = np.zeros(self.W.shape)
        self.db = np.zeros(self.b.shape)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, delta):
        batch = len(delta)
        self.dW = np.einsum("ni,no->io", self.x, delta) / batch
        self.db = delta.mean(axis=0, keepdims=True)
        return delta @ self.W.T


class BatchNorm:
    def __init__(self, in_feature, alpha=0.9):
        self.alpha = alpha
        self.eps = 1e-8
        self.gamma = np.ones((1, in_feature))
        self.beta = np.zeros((1, in_feature))
        self.running_mean = np.zeros((1, in_feature))
        self.running_var = np.ones((1, in_feature))

    def forward(self, x, eval=False):
        if eval:
            return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + self.beta
        self.x = x
        self.mean = x.mean(axis=0, keepdims=True)
        self.var = x.var(axis=0, keepdims=True)
        self.norm = (x - self.mean) / np.sqrt(self.var + self.eps)
        self.running_mean = self.alpha * self.running_mean + (1 - self.alpha) * self.mean
        self.running_var = self.alpha * self.running_var + (1 - self.alpha) * self.var
        return self.gamma * self.norm + self.beta

    def backward(self, delta):
        batch = len(delta)
        self.dgamma = np.sum(delta * self.norm, axis=0, keepdims=True)
        self.dbeta = np.sum(delta, axis=0, keepdims=True)
        dnorm = delta * self.gamma
        sd = np.sqrt(self.var + self.eps)
        dvar = -0.5 * np.sum(dnorm * (self.x - self.mean), axis=0, keepdims=True) / sd**3
        dmean = -np.sum(dnorm, axis=0, keepdims=True) / sd
        return dnorm / sd + 2 / batch * dvar * (self.x - self.mean) + dmean / batch


class Conv1D:
    def __init__(self, in_channel, out_channel, kernel_size, stride, weight_init_fn=None, bias_init_fn=None):
        self.kernel_size = kernel_size
        self.stride = stride
        self.W = np.random.normal(0, 1.0, (out_channel, in_channel, kernel_size))
        self.b = np.zeros(out_channel)

    def forward(self, x):
        self.x = x
        length = (x.shape[2] - self.kernel_size) // self.stride + 1
        out = np.zeros((len(x), len(self.W), length))
        for i in range(length):
            at = i * self.stride
            out[:, :, i] = np.tensordot(x[:, :, at : at + self.kernel_size], self.W, axes=([1, 2], [1, 2])) + self.b
        return out

    def backward(self, delta):
        self.db = delta.sum(axis=(0, 2))
        self.dW = np.zeros(self.W.shape)
        dx = np.zeros(self.x.shape)
        for i in range(delta.shape[2]):
            at = i * self.stride
            self.dW += np.tensordot(delta[:, :, i], self.x[:, :, at : at + self.kernel_size], axes=(0, 0))
            dx[:, :, at : at + self.kernel_size] += np.tensordot(delta[:, :, i], self.W, axes=(1, 0))
        return dx


class Conv2D:
    def __init__(self, in_channel, out_channel, kernel_size, stride, weight_init_fn=None, bias_init_fn=None):
        self.kernel_size = kernel_size
        self.stride = stride
        self.W = np.random.normal(0, 1.0, (out_channel, in_channel, kernel_size, kernel_size))
        self.b = np.zeros(out_channel)

    def _places(self, shape):
        for i in range((shape[2] - self.kernel_size) // self.stride + 1):
            for j in range((shape[3] - self.kernel_size) // self.stride + 1):
                rows = slice(i * self.stride, i * self.stride + self.kernel_size)
                yield i, j, (slice(None), slice(None), rows, slice(j * self.stride, j * self.stride + self.kernel_size))

    def forward(self, x):
        self.x = x
        height, width = ((n - self.kernel_size) // self.stride + 1 for n in x.shape[2:])
        out = np.zeros((len(x), len(self.W), height, width))
        for i, j, window in self._places(x.shape):
            out[:, :, i, j] = np.einsum("nchw,ochw->no", x[window], self.W) + self.b
        return out

    def backward(self, delta):
        self.db = delta.sum(axis=(0, 2, 3))
        self.dW = np.zeros(self.W.shape)
        dx = np.zeros(self.x.shape)
        for i, j, window in self._places(self.x.shape):
            self.dW += np.einsum("no,nchw->ochw", delta[:, :, i, j], self.x[window])
            dx[window] += np.einsum("no,ochw->nchw", delta[:, :, i, j], self.W)
        return dx


class MaxPoolLayer:
    def __init__(self, kernel, stride):
        self.kernel = kernel
        self.stride = stride

    def forward(self, x):
        self.x = x
        height, width = ((n - self.kernel) // self.stride + 1 for n in x.shape[2:])
        out = np.zeros((*x.shape[:2], height, width))
        self.best = np.zeros(out.shape, int)
        for i in range(height):
            for j in range(width):
                top, left = i * self.stride, j * self.stride
                window = x[:, :, top : top + self.kernel, left : left + self.kernel].reshape(*x.shape[:2], -1)
                self.best[:, :, i, j] = window.argmax(axis=2)
                out[:, :, i, j] = window.max(axis=2)
        return out

    def backward(self, delta):
        dx = np.zeros(self.x.shape)
        for n, c, i, j in np.ndindex(delta.shape):
            row, column = divmod(self.best[n, c, i, j], self.kernel)
            dx[n, c, i * self.stride + row, j * self.stride + column] += delta[n, c, i, j]
        return dx


class MeanPoolLayer:
    def __init__(self, kernel, stride):
        self.kernel = kernel
        self.stride = stride

    def forward(self, x):
        self.x = x
        height, width = ((n - self.kernel) // self.stride + 1 for n in x.shape[2:])
        out = np.zeros((*x.shape[:2], height, width))
        for i in range(height):
            for j in range(width):
                top, left = i * self.stride, j * self.stride
                out[:, :, i, j] = x[:, :, top : top + self.kernel, left : left + self.kernel].mean(axis=(2, 3))
        return out

    def backward(self, delta):
        dx = np.zeros(self.x.shape)
        share = delta / self.kernel**2
        for i in range(delta.shape[2]):
            for j in range(delta.shape[3]):
                top, left = i * self.stride, j * self.stride
                dx[:, :, top : top + self.kernel, left : left + self.kernel] += share[:, :, i : i + 1, j : j + 1]
        return dx


class GRU_Cell:
    def __init__(self, in_dim, hidden_dim):
        self.d, self.h = in_dim, hidden_dim
        for name in ("Wzh", "Wrh", "Wh", "Wzx", "Wrx", "Wx"):
            shape = (hidden_dim, hidden_dim if name.endswith("h") else in_dim)
            setattr(self, name, np.random.randn(*shape))
            setattr(self, f"d{name}", np.zeros(shape))
        self.z_act, self.r_act, self.h_act = Sigmoid(), Sigmoid(), Tanh()

    def forward(self, x, h):
        self.x, self.hidden = x, h
        self.z = self.z_act(self.Wzh @ h + self.Wzx @ x)
        self.r = self.r_act(self.Wrh @ h + self.Wrx @ x)
        self.h_tilda = self.h_act(self.Wh @ (self.r * h) + self.Wx @ x)
        return (1 - self.z) * h + self.z * self.h_tilda

    def backward(self, delta):
        delta, x, h = delta.reshape(1, -1), self.x.reshape(1, -1), self.hidden.reshape(1, -1)
        dz = delta * (self.h_tilda - h) * self.z_act.derivative()
        dn = delta * self.z * self.h_act.derivative()
        through = dn @ self.Wh
        dr = through * h * self.r_act.derivative()
        self.dWzx += dz.T @ x
        self.dWzh += dz.T @ h
        self.dWrx += dr.T @ x
        self.dWrh += dr.T @ h
        self.dWx += dn.T @ x
        self.dWh += dn.T @ (self.r * h)
        dx = dz @ self.Wzx + dr @ self.Wrx + dn @ self.Wx
        dh = delta * (1 - self.z) + dz @ self.Wzh + dr @ self.Wrh + through * self.r
        return dx, dh


class Flatten:
    def forward(self, x):
        self.b, self.c, self.w = x.shape
        return x.reshape(self.b, self.c * self.w)

    def backward(self, delta):
        return delta.reshape(self.b, self.c, self.w)
