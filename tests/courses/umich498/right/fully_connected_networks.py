"""Layers as classes of static methods, networks of them, and update rules."""

import torch


class Linear:
    @staticmethod
    def forward(x, w, b):
        out = x.reshape(x.shape[0], -1).mm(w) + b
        return out, (x, w, b)

    @staticmethod
    def backward(dout, cache):
        x, w, _ = cache
        dx = dout.mm(w.t()).view(*x.shape)
        dw = x.reshape(x.shape[0], -1).t().mm(dout)
        db = dout.sum(dim=0)
        return dx, dw, db


class ReLU:
    @staticmethod
    def forward(x):
        return x.clamp(min=0), x

    @staticmethod
    def backward(dout, cache):
        dx = dout.clone()
        dx[cache <= 0] = 0
        return dx


class Linear_ReLU:  # noqa: N801
    @staticmethod
    def forward(x, w, b):
        a, fc = Linear.forward(x, w, b)
        out, relu = ReLU.forward(a)
        return out, (fc, relu)

    @staticmethod
    def backward(dout, cache):
        fc, relu = cache
        return Linear.backward(ReLU.backward(dout, relu), fc)


def softmax_loss(x, y):
    n = x.shape[0]
    log_p = x - x.logsumexp(dim=1, keepdim=True)
    rows = torch.arange(n)
    dx = log_p.exp()
    dx[rows, y] -= 1
    return -log_p[rows, y].mean(), dx / n


class TwoLayerNet:
    def __init__(
        self,
        input_dim=3 * 32 * 32,
        hidden_dim=100,
        num_classes=10,
        weight_scale=1e-3,
        reg=0.0,
        dtype=torch.float32,
        device="cpu",
    ):
        self.reg = reg
        self.params = {
            "W1": weight_scale * torch.randn(input_dim, hidden_dim, dtype=dtype, device=device),
            "b1": torch.zeros(hidden_dim, dtype=dtype, device=device),
            "W2": weight_scale * torch.randn(hidden_dim, num_classes, dtype=dtype, device=device),
            "b2": torch.zeros(num_classes, dtype=dtype, device=device),
        }

    def loss(self, X, y=None):
        p = self.params
        hidden, first = Linear_ReLU.forward(X, p["W1"], p["b1"])
        scores, second = Linear.forward(hidden, p["W2"], p["b2"])
        if y is None:
            return scores
        loss, d = softmax_loss(scores, y)
        loss += self.reg * sum((p[k] ** 2).sum() for k in ("W1", "W2"))
        grads = {}
        d, grads["W2"], grads["b2"] = Linear.backward(d, second)
        _, grads["W1"], grads["b1"] = Linear_ReLU.backward(d, first)
        for k in ("W1", "W2"):
            grads[k] += 2 * self.reg * p[k]
        return loss, grads


class FullyConnectedNet:
    def __init__(
        self,
        hidden_dims,
        input_dim=3 * 32 * 32,
        num_classes=10,
        dropout=0.0,
        reg=0.0,
        weight_scale=1e-2,
        seed=None,
        dtype=torch.float,
        device="cpu",
    ):
        self.reg = reg
        self.dtype = dtype
        self.num_layers = 1 + len(hidden_dims)
        sizes = [input_dim, *hidden_dims, num_classes]
        self.params = {}
        for i in range(self.num_layers):
            self.params[f"W{i + 1}"] = weight_scale * torch.randn(sizes[i], sizes[i + 1], dtype=dtype, device=device)
            self.params[f"b{i + 1}"] = torch.zeros(sizes[i + 1], dtype=dtype, device=device)

    def loss(self, X, y=None):
        X = X.to(self.dtype)
        p, L = self.params, self.num_layers
        caches, h = [], X
        for i in range(1, L):
            h, cache = Linear_ReLU.forward(h, p[f"W{i}"], p[f"b{i}"])
            caches.append(cache)
        scores, last = Linear.forward(h, p[f"W{L}"], p[f"b{L}"])
        if y is None:
            return scores
        loss, d = softmax_loss(scores, y)
        grads = {}
        d, grads[f"W{L}"], grads[f"b{L}"] = Linear.backward(d, last)
        for i in range(L - 1, 0, -1):
            d, grads[f"W{i}"], grads[f"b{i}"] = Linear_ReLU.backward(d, caches[i - 1])
        for i in range(1, L + 1):
            loss += self.reg * (p[f"W{i}"] ** 2).sum()
            grads[f"W{i}"] += 2 * self.reg * p[f"W{i}"]
        return loss, grads


class Dropout:
    @staticmethod
    def forward(x, dropout_param):
        p, mode = dropout_param["p"], dropout_param["mode"]
        if "seed" in dropout_param:
            torch.manual_seed(dropout_param["seed"])
        mask = None
        if mode == "train":
            mask = (torch.rand_like(x) > p).to(x.dtype) / (1 - p)
            out = x * mask
        else:
            out = x
        return out, (dropout_param, mask)

    @staticmethod
    def backward(dout, cache):
        dropout_param, mask = cache
        return dout * mask if dropout_param["mode"] == "train" else dout


def sgd_momentum(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("momentum", 0.9)
    v = config.get("velocity", torch.zeros_like(w))
    v = config["momentum"] * v - config["learning_rate"] * dw
    config["velocity"] = v
    return w + v, config


def rmsprop(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("decay_rate", 0.99)
    config.setdefault("epsilon", 1e-8)
    config.setdefault("cache", torch.zeros_like(w))
    rho = config["decay_rate"]
    config["cache"] = rho * config["cache"] + (1 - rho) * dw * dw
    return w - config["learning_rate"] * dw / (config["cache"].sqrt() + config["epsilon"]), config


def adam(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-3)
    config.setdefault("beta1", 0.9)
    config.setdefault("beta2", 0.999)
    config.setdefault("epsilon", 1e-8)
    config.setdefault("m", torch.zeros_like(w))
    config.setdefault("v", torch.zeros_like(w))
    config.setdefault("t", 0)
    b1, b2 = config["beta1"], config["beta2"]
    config["t"] += 1
    config["m"] = b1 * config["m"] + (1 - b1) * dw
    config["v"] = b2 * config["v"] + (1 - b2) * dw**2
    m = config["m"] / (1 - b1 ** config["t"])
    v = config["v"] / (1 - b2 ** config["t"])
    return w - config["learning_rate"] * m / (v.sqrt() + config["epsilon"]), config
