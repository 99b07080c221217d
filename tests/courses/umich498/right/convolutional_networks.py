"""Convolution, pooling and normalisation on tensors, and the networks that are made of them."""

import torch
from fully_connected_networks import Linear, Linear_ReLU, ReLU, softmax_loss


class Conv:
    @staticmethod
    def forward(x, w, b, conv_param):
        stride, pad = conv_param["stride"], conv_param["pad"]
        n, _, h, wd = x.shape
        f, _, hh, ww = w.shape
        xp = torch.nn.functional.pad(x, (pad, pad, pad, pad))
        out = x.new_zeros(n, f, 1 + (h + 2 * pad - hh) // stride, 1 + (wd + 2 * pad - ww) // stride)
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                window = xp[:, :, i * stride : i * stride + hh, j * stride : j * stride + ww]
                out[:, :, i, j] = window.reshape(n, -1).mm(w.view(f, -1).t()) + b
        return out, (x, w, b, conv_param)

    @staticmethod
    def backward(dout, cache):
        x, w, b, conv_param = cache
        stride, pad = conv_param["stride"], conv_param["pad"]
        n, f, h_out, w_out = dout.shape
        hh, ww = w.shape[2:]
        xp = torch.nn.functional.pad(x, (pad, pad, pad, pad))
        dxp, dw = torch.zeros_like(xp), torch.zeros_like(w)
        for i in range(h_out):
            for j in range(w_out):
                rows, cols = slice(i * stride, i * stride + hh), slice(j * stride, j * stride + ww)
                for k in range(f):
                    d = dout[:, k, i, j].view(n, 1, 1, 1)
                    dw[k] += (xp[:, :, rows, cols] * d).sum(dim=0)
                    dxp[:, :, rows, cols] += w[k] * d
        dx = dxp[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]
        return dx, dw, dout.sum(dim=(0, 2, 3))


class MaxPool:
    @staticmethod
    def forward(x, pool_param):
        hh, ww, stride = (pool_param[k] for k in ("pool_height", "pool_width", "stride"))
        n, c, h, w = x.shape
        out = x.new_zeros(n, c, 1 + (h - hh) // stride, 1 + (w - ww) // stride)
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                window = x[:, :, i * stride : i * stride + hh, j * stride : j * stride + ww]
                out[:, :, i, j] = window.amax(dim=(2, 3))
        return out, (x, pool_param)

    @staticmethod
    def backward(dout, cache):
        x, pool_param = cache
        hh, ww, stride = (pool_param[k] for k in ("pool_height", "pool_width", "stride"))
        dx = torch.zeros_like(x)
        n, c, h_out, w_out = dout.shape
        for m in range(n):
            for k in range(c):
                for i in range(h_out):
                    for j in range(w_out):
                        window = x[m, k, i * stride : i * stride + hh, j * stride : j * stride + ww]
                        at = int(window.reshape(-1).argmax())
                        dx[m, k, i * stride + at // ww, j * stride + at % ww] += dout[m, k, i, j]
        return dx


class BatchNorm:
    @staticmethod
    def forward(x, gamma, beta, bn_param):
        eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
        running_mean = bn_param.get("running_mean", x.new_zeros(x.shape[1]))
        running_var = bn_param.get("running_var", x.new_zeros(x.shape[1]))
        if bn_param["mode"] == "test":
            return gamma * (x - running_mean) / (running_var + eps).sqrt() + beta, None
        mu = x.mean(dim=0)
        var = ((x - mu) ** 2).mean(dim=0)
        std = (var + eps).sqrt()
        xhat = (x - mu) / std
        bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mu
        bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
        return gamma * xhat + beta, (xhat, std, gamma)

    @staticmethod
    def backward(dout, cache):
        xhat, std, gamma = cache
        dgamma, dbeta = (dout * xhat).sum(dim=0), dout.sum(dim=0)
        dxhat = dout * gamma
        dvar = -0.5 * (dxhat * xhat).sum(dim=0) / std**2
        dmu = -dxhat.sum(dim=0) / std
        n = dout.shape[0]
        dx = dxhat / std + dvar * 2 * xhat * std / n + dmu / n
        return dx, dgamma, dbeta

    @staticmethod
    def backward_alt(dout, cache):
        xhat, std, gamma = cache
        dgamma, dbeta = (dout * xhat).sum(dim=0), dout.sum(dim=0)
        n = dout.shape[0]
        return gamma / std * (dout - dbeta / n - xhat * dgamma / n), dgamma, dbeta


class SpatialBatchNorm:
    @staticmethod
    def forward(x, gamma, beta, bn_param):
        n, c, h, w = x.shape
        flat, cache = BatchNorm.forward(x.permute(0, 2, 3, 1).reshape(-1, c), gamma, beta, bn_param)
        return flat.view(n, h, w, c).permute(0, 3, 1, 2), cache

    @staticmethod
    def backward(dout, cache):
        n, c, h, w = dout.shape
        flat, dgamma, dbeta = BatchNorm.backward(dout.permute(0, 2, 3, 1).reshape(-1, c), cache)
        return flat.view(n, h, w, c).permute(0, 3, 1, 2), dgamma, dbeta


POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


class ThreeLayerConvNet:
    def __init__(
        self,
        input_dims=(3, 32, 32),
        num_filters=32,
        filter_size=7,
        hidden_dim=100,
        num_classes=10,
        weight_scale=1e-3,
        reg=0.0,
        dtype=torch.float,
        device="cpu",
    ):
        c, h, w = input_dims
        self.reg, self.dtype = reg, dtype
        shapes = {
            "W1": (num_filters, c, filter_size, filter_size),
            "W2": (num_filters * (h // 2) * (w // 2), hidden_dim),
            "W3": (hidden_dim, num_classes),
        }
        self.params = {k: weight_scale * torch.randn(*s, dtype=dtype, device=device) for k, s in shapes.items()}
        for k, size in (("b1", num_filters), ("b2", hidden_dim), ("b3", num_classes)):
            self.params[k] = torch.zeros(size, dtype=dtype, device=device)

    def loss(self, X, y=None):
        X, p = X.to(self.dtype), self.params
        a, conv = Conv.forward(X, p["W1"], p["b1"], {"stride": 1, "pad": (p["W1"].shape[2] - 1) // 2})
        r, relu = ReLU.forward(a)
        m, pool = MaxPool.forward(r, POOL)
        h, hidden = Linear_ReLU.forward(m, p["W2"], p["b2"])
        scores, last = Linear.forward(h, p["W3"], p["b3"])
        if y is None:
            return scores
        loss, d = softmax_loss(scores, y)
        grads = {}
        d, grads["W3"], grads["b3"] = Linear.backward(d, last)
        d, grads["W2"], grads["b2"] = Linear_ReLU.backward(d, hidden)
        d = ReLU.backward(MaxPool.backward(d, pool), relu)
        _, grads["W1"], grads["b1"] = Conv.backward(d, conv)
        for k in ("W1", "W2", "W3"):
            loss += self.reg * (p[k] ** 2).sum()
            grads[k] += 2 * self.reg * p[k]
        return loss, grads


class DeepConvNet:
    def __init__(
        self,
        input_dims=(3, 32, 32),
        num_filters=(8, 8, 8, 8, 8),
        max_pools=(0, 1, 2, 3, 4),
        batchnorm=False,
        num_classes=10,
        weight_scale=1e-3,
        reg=0.0,
        weight_initializer=None,
        dtype=torch.float,
        device="cpu",
    ):
        self.reg, self.dtype, self.max_pools = reg, dtype, max_pools
        self.num_layers = len(num_filters) + 1
        c, h, w = input_dims
        self.params = {}
        for i, f in enumerate(num_filters, 1):
            self.params[f"W{i}"] = weight_scale * torch.randn(f, c, 3, 3, dtype=dtype, device=device)
            self.params[f"b{i}"] = torch.zeros(f, dtype=dtype, device=device)
            c = f
            if i - 1 in max_pools:
                h, w = h // 2, w // 2
        L = self.num_layers
        self.params[f"W{L}"] = weight_scale * torch.randn(c * h * w, num_classes, dtype=dtype, device=device)
        self.params[f"b{L}"] = torch.zeros(num_classes, dtype=dtype, device=device)

    def loss(self, X, y=None):
        a, p, L = X.to(self.dtype), self.params, self.num_layers
        caches = []
        for i in range(1, L):
            a, conv = Conv.forward(a, p[f"W{i}"], p[f"b{i}"], {"stride": 1, "pad": 1})
            a, relu = ReLU.forward(a)
            pool = None
            if i - 1 in self.max_pools:
                a, pool = MaxPool.forward(a, POOL)
            caches.append((conv, relu, pool))
        scores, last = Linear.forward(a, p[f"W{L}"], p[f"b{L}"])
        if y is None:
            return scores
        loss, d = softmax_loss(scores, y)
        grads = {}
        d, grads[f"W{L}"], grads[f"b{L}"] = Linear.backward(d, last)
        for i in range(L - 1, 0, -1):
            conv, relu, pool = caches[i - 1]
            if pool is not None:
                d = MaxPool.backward(d, pool)
            d, grads[f"W{i}"], grads[f"b{i}"] = Conv.backward(ReLU.backward(d, relu), conv)
        for i in range(1, L + 1):
            loss += self.reg * (p[f"W{i}"] ** 2).sum()
            grads[f"W{i}"] += 2 * self.reg * p[f"W{i}"]
        return loss, grads
