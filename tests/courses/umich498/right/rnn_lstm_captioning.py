"""A plain recurrent network on tensors."""

import torch


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = torch.tanh(x.mm(Wx) + prev_h.mm(Wh) + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h * next_h)
    return da.mm(Wx.t()), da.mm(Wh.t()), x.t().mm(da), prev_h.t().mm(da), da.sum(dim=0)


def rnn_forward(x, h0, Wx, Wh, b):
    hs, caches, h = [], [], h0
    for t in range(x.shape[1]):
        h, cache = rnn_step_forward(x[:, t], h, Wx, Wh, b)
        hs.append(h)
        caches.append(cache)
    return torch.stack(hs, dim=1), caches


def rnn_backward(dh, cache):
    dxs, dprev_h = [], torch.zeros_like(dh[:, 0])
    dWx = dWh = db = 0
    for t in reversed(range(dh.shape[1])):
        dx, dprev_h, a, b, c = rnn_step_backward(dh[:, t] + dprev_h, cache[t])
        dxs.append(dx)
        dWx, dWh, db = dWx + a, dWh + b, db + c
    return torch.stack(dxs[::-1], dim=1), dprev_h, dWx, dWh, db


def temporal_softmax_loss(x, y, ignore_index=None):
    n, t, v = x.shape
    flat = x.reshape(n * t, v)
    return torch.nn.functional.cross_entropy(flat, y.reshape(-1), ignore_index=ignore_index, reduction="sum") / n
