"""Assignment 3 until 2024: recurrent layers by hand."""

import numpy as np


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x.dot(Wx) + prev_h.dot(Wh) + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h**2)
    return da.dot(Wx.T), da.dot(Wh.T), x.T.dot(da), prev_h.T.dot(da), da.sum(axis=0)


def rnn_forward(x, h0, Wx, Wh, b):
    n, t, d = x.shape
    hs = np.zeros((n, t, h0.shape[1]), dtype=x.dtype)
    caches = []
    h = h0
    for i in range(t):
        h, cache = rnn_step_forward(x[:, i], h, Wx, Wh, b)
        hs[:, i] = h
        caches.append(cache)
    return hs, caches


def rnn_backward(dh, cache):
    n, t, h = dh.shape
    x, _, Wx, Wh, _ = cache[0]
    dx = np.zeros((n, t, x.shape[1]), dtype=dh.dtype)
    dWx, dWh = np.zeros_like(Wx), np.zeros_like(Wh)
    db = np.zeros(h, dtype=dh.dtype)
    dprev = np.zeros((n, h), dtype=dh.dtype)
    for i in reversed(range(t)):
        dx[:, i], dprev, a, b, c = rnn_step_backward(dh[:, i] + dprev, cache[i])
        dWx += a
        dWh += b
        db += c
    return dx, dprev, dWx, dWh, db


def word_embedding_forward(x, W):
    return W[x], (x, W.shape)


def word_embedding_backward(dout, cache):
    x, shape = cache
    dW = np.zeros(shape, dtype=dout.dtype)
    np.add.at(dW, x, dout)
    return dW


def sigmoid(x):
    pos = x >= 0
    z = np.exp(np.where(pos, -x, x))
    return np.where(pos, 1, z) / (1 + z)


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    H = prev_h.shape[1]
    a = x.dot(Wx) + prev_h.dot(Wh) + b
    i, f, o = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), sigmoid(a[:, 2 * H : 3 * H])
    g = np.tanh(a[:, 3 * H :])
    next_c = f * prev_c + i * g
    tc = np.tanh(next_c)
    next_h = o * tc
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, tc)


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, tc = cache
    do = dnext_h * tc
    dc = dnext_c + dnext_h * o * (1 - tc**2)
    di, df, dg = dc * g, dc * prev_c, dc * i
    dprev_c = dc * f
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
    return da.dot(Wx.T), da.dot(Wh.T), dprev_c, x.T.dot(da), prev_h.T.dot(da), da.sum(axis=0)


def lstm_forward(x, h0, Wx, Wh, b):
    h, c = h0, np.zeros_like(h0)
    hs, caches = [], []
    for i in range(x.shape[1]):
        h, c, cache = lstm_step_forward(x[:, i], h, c, Wx, Wh, b)
        hs.append(h)
        caches.append(cache)
    return np.stack(hs, axis=1), caches


def lstm_backward(dh, cache):
    n, t, h = dh.shape
    dprev_h, dprev_c = np.zeros((n, h), dtype=dh.dtype), np.zeros((n, h), dtype=dh.dtype)
    dxs, dWx, dWh, db = [], 0, 0, 0
    for i in reversed(range(t)):
        dx, dprev_h, dprev_c, a, b, c = lstm_step_backward(dh[:, i] + dprev_h, dprev_c, cache[i])
        dxs.insert(0, dx)
        dWx, dWh, db = dWx + a, dWh + b, db + c
    return np.stack(dxs, axis=1), dprev_h, dWx, dWh, db


def temporal_affine_forward(x, w, b):
    n, t, d = x.shape
    return (x.reshape(n * t, d).dot(w) + b).reshape(n, t, -1), (x, w)


def temporal_affine_backward(dout, cache):
    x, w = cache
    n, t, d = x.shape
    flat = dout.reshape(n * t, -1)
    return flat.dot(w.T).reshape(x.shape), x.reshape(n * t, d).T.dot(flat), flat.sum(axis=0)


def temporal_softmax_loss(x, y, mask, verbose=False):
    n, t, v = x.shape
    flat, labels, m = x.reshape(n * t, v), y.reshape(n * t), mask.reshape(n * t)
    p = np.exp(flat - flat.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.sum(m * np.log(p[np.arange(n * t), labels])) / n
    p[np.arange(n * t), labels] -= 1
    return loss, (p * m[:, None] / n).reshape(n, t, v)
