"""RNN, LSTM and GRU: cells, and a loop over time."""

import numpy as np

from refbp import Case, normal
from refbp.layers.recurrent import LSTM, RNN

from ._student import Exercise


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


# RNNCell ---------------------------------------------------------------------------------------------------------------


def _rnn_cell(f, layer, state, inputs, dys):
    x, h = inputs
    Wx, Wh = state["weight_ih"].T, state["weight_hh"].T
    b = state["bias_ih"] + state["bias_hh"]
    h_next = np.tanh(x @ Wx + h @ Wh + b)
    dx, dh, dWx, dWh, db = f(dys[0], (x, h, h_next, Wx, Wh))
    return {"x": dx, "h_0": dh, "weight_ih": dWx.T, "weight_hh": dWh.T, "bias_ih": db, "bias_hh": db}


rnn_cell = Exercise("RNNCell", "plain one-by-one wide", _rnn_cell)


@rnn_cell.wrong(r"slope φ′\(z\).*missing")
def rnn_cell_without_tanh(dh_next, cache):
    x, h, h_next, Wx, Wh = cache
    dz = dh_next
    return dz @ Wx.T, dz @ Wh.T, x.T @ dz, h.T @ dz, dz.sum(0)


@rnn_cell.wrong(r"state after the step.*W_hh")
def rnn_cell_with_the_next_state(dh_next, cache):
    x, h, h_next, Wx, Wh = cache
    dz = dh_next * (1 - h_next**2)
    return dz @ Wx.T, dz @ Wh.T, x.T @ dz, h_next.T @ dz, dz.sum(0)


@rnn_cell.wrong(r"tanh is applied twice")
def rnn_cell_with_tanh_twice(dh_next, cache):
    x, h, h_next, Wx, Wh = cache
    dz = dh_next * (1 - np.tanh(h_next) ** 2)
    return dz @ Wx.T, dz @ Wh.T, x.T @ dz, h.T @ dz, dz.sum(0)


@rnn_cell.right
def rnn_cell_step(dh_next, cache):
    x, h, h_next, Wx, Wh = cache
    dz = dh_next * (1 - h_next * h_next)
    return np.dot(dz, Wx.T), np.dot(dz, Wh.T), np.dot(x.T, dz), np.dot(h.T, dz), np.sum(dz, axis=0)


# RNN over time, one layer, x (T, N, D) ----------------------------------------------------------------------------------


def _rnn(f, layer, state, inputs, dys):
    x, h = inputs[0], inputs[1][0]
    Wx, Wh = state["weight_ih_l0"].T, state["weight_hh_l0"].T
    b = state["bias_ih_l0"] + state["bias_hh_l0"]
    hs = [h]
    for t in range(len(x)):
        hs.append(np.tanh(x[t] @ Wx + hs[-1] @ Wh + b))
    dh = dys[0].copy()
    dh[-1] += dys[1][0]
    dx, dh0, dWx, dWh, db = f(dh, (x, hs, Wx, Wh))
    grads = {"weight_ih_l0": dWx.T, "weight_hh_l0": dWh.T, "bias_ih_l0": db, "bias_hh_l0": db}
    return {"x": dx, "h_0": dh0[None]} | grads


_more = [Case(RNN(2, 3), normal(5, 4, 2), normal(1, 4, 3), id="short")]
rnn = Exercise("RNN", "initial-states one-step", _rnn, _more)


@rnn.wrong(r"recurrence is missing")
def rnn_without_the_recurrence(dh, cache):
    x, hs, Wx, Wh = cache
    dx, dWx, dWh, db = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), 0
    for t in reversed(range(len(x))):
        dz = dh[t] * (1 - hs[t + 1] ** 2)
        dx[t] = dz @ Wx.T
        dWx += x[t].T @ dz
        dWh += hs[t].T @ dz
        db += dz.sum(0)
    return dx, dz @ Wh.T, dWx, dWh, db


@rnn.wrong(r"only the first step's is left")
def rnn_with_the_weights_of_one_step(dh, cache):
    x, hs, Wx, Wh = cache
    dx, carried = np.zeros_like(x), 0
    for t in reversed(range(len(x))):
        dz = (dh[t] + carried) * (1 - hs[t + 1] ** 2)
        dx[t] = dz @ Wx.T
        dWx = x[t].T @ dz
        dWh = hs[t].T @ dz
        db = dz.sum(0)
        carried = dz @ Wh.T
    return dx, carried, dWx, dWh, db


@rnn.wrong(r"h_0 is zero")
def rnn_that_forgets_the_first_state(dh, cache):
    x, hs, Wx, Wh = cache
    dx, dWx, dWh, db, carried = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), 0, 0
    for t in reversed(range(len(x))):
        dz = (dh[t] + carried) * (1 - hs[t + 1] ** 2)
        dx[t] = dz @ Wx.T
        dWx += x[t].T @ dz
        dWh += hs[t].T @ dz
        db += dz.sum(0)
        carried = dz @ Wh.T
    return dx, np.zeros_like(hs[0]), dWx, dWh, db


@rnn.wrong(r"W_hh transposed")
def rnn_that_carries_with_the_wrong_transpose(dh, cache):
    x, hs, Wx, Wh = cache
    dx, dWx, dWh, db, carried = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), 0, 0
    for t in reversed(range(len(x))):
        dz = (dh[t] + carried) * (1 - hs[t + 1] ** 2)
        dx[t] = dz @ Wx.T
        dWx += x[t].T @ dz
        dWh += hs[t].T @ dz
        db += dz.sum(0)
        carried = dz @ Wh
    return dx, carried, dWx, dWh, db


@rnn.right
def rnn_step_by_step(dh, cache):
    x, hs, Wx, Wh = cache
    dx, dWx, dWh, db, carried = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), 0, 0
    for t in range(len(x) - 1, -1, -1):
        dz = (dh[t] + carried) * (1 - hs[t + 1] ** 2)
        dx[t], carried = dz @ Wx.T, dz @ Wh.T
        dWx += np.einsum("nd,nh->dh", x[t], dz)
        dWh += np.einsum("ng,nh->gh", hs[t], dz)
        db = db + dz.sum(0)
    return dx, carried, dWx, dWh, db


# LSTMCell: gates in torch's order, i f g o -----------------------------------------------------------------------------


def _lstm_cell(f, layer, state, inputs, dys):
    x, h, c = inputs
    z = x @ state["weight_ih"].T + h @ state["weight_hh"].T + state["bias_ih"] + state["bias_hh"]
    i, fg, g, o = np.split(z, 4, axis=1)
    i, fg, g, o = _sigmoid(i), _sigmoid(fg), np.tanh(g), _sigmoid(o)
    c_next = fg * c + i * g
    dz, dc = f(dys[0], dys[1], (i, fg, g, o, c, c_next))
    Wx, Wh = state["weight_ih"], state["weight_hh"]
    grads = {"weight_ih": dz.T @ x, "weight_hh": dz.T @ h, "bias_ih": dz.sum(0), "bias_hh": dz.sum(0)}
    return {"x": dz @ Wx, "h_0": dz @ Wh, "c_0": dc} | grads


lstm_cell = Exercise("LSTMCell", "plain one-by-one wide", _lstm_cell)


@lstm_cell.wrong(r"way of dh into dc is missing")
def lstm_cell_without_h_into_c(dh, dc, cache):
    i, f, g, o, c, c_next = cache
    do = dh * np.tanh(c_next)
    dz = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), do * o * (1 - o)], axis=1)
    return dz, dc * f


@lstm_cell.wrong(r"tanh is applied twice at gate g")
def lstm_cell_with_tanh_of_g(dh, dc, cache):
    i, f, g, o, c, c_next = cache
    do = dh * np.tanh(c_next)
    dct = dc + dh * o * (1 - np.tanh(c_next) ** 2)
    dz = [dct * g * i * (1 - i), dct * c * f * (1 - f), dct * i * (1 - np.tanh(g) ** 2), do * o * (1 - o)]
    return np.hstack(dz), dct * f


@lstm_cell.wrong(r"gates g and o are swapped")
def lstm_cell_with_gates_in_another_order(dh, dc, cache):
    i, f, g, o, c, c_next = cache
    do = dh * np.tanh(c_next)
    dct = dc + dh * o * (1 - np.tanh(c_next) ** 2)
    dz = [dct * g * i * (1 - i), dct * c * f * (1 - f), do * o * (1 - o), dct * i * (1 - g**2)]
    return np.hstack(dz), dct * f


@lstm_cell.wrong(r"c_0.*factor f is missing")
def lstm_cell_without_the_forget_gate(dh, dc, cache):
    i, f, g, o, c, c_next = cache
    do = dh * np.tanh(c_next)
    dct = dc + dh * o * (1 - np.tanh(c_next) ** 2)
    dz = [dct * g * i * (1 - i), dct * c * f * (1 - f), dct * i * (1 - g**2), do * o * (1 - o)]
    return np.hstack(dz), dct


@lstm_cell.wrong(r"slope of tanh at c′.*missing")
def lstm_cell_without_the_slope_at_c(dh, dc, cache):
    i, f, g, o, c, c_next = cache
    do = dh * np.tanh(c_next)
    dct = dc + dh * o
    dz = [dct * g * i * (1 - i), dct * c * f * (1 - f), dct * i * (1 - g**2), do * o * (1 - o)]
    return np.hstack(dz), dct * f


@lstm_cell.wrong(r"memory after the step, c′.*gate f")
def lstm_cell_with_the_new_memory(dh, dc, cache):
    i, f, g, o, c, c_next = cache
    do = dh * np.tanh(c_next)
    dct = dc + dh * o * (1 - np.tanh(c_next) ** 2)
    dz = [dct * g * i * (1 - i), dct * c_next * f * (1 - f), dct * i * (1 - g**2), do * o * (1 - o)]
    return np.hstack(dz), dct * f


@lstm_cell.right
def lstm_cell_gate_by_gate(dh, dc, cache):
    i, f, g, o, c, c_next = cache
    t = np.tanh(c_next)
    dct = dc + dh * o * (1 - t * t)
    di, df, dg, do = dct * g, dct * c, dct * i, dh * t
    dz = np.concatenate((di * (i - i * i), df * (f - f * f), dg * (1 - g * g), do * (o - o * o)), axis=1)
    return dz, dct * f


# LSTM over time --------------------------------------------------------------------------------------------------------


def _lstm(f, layer, state, inputs, dys):
    x, h, c = inputs[0], inputs[1][0], inputs[2][0]
    Wx, Wh = state["weight_ih_l0"], state["weight_hh_l0"]
    b = state["bias_ih_l0"] + state["bias_hh_l0"]
    steps, hs = [], [h]
    for t in range(len(x)):
        i, fg, g, o = np.split(x[t] @ Wx.T + hs[-1] @ Wh.T + b, 4, axis=1)
        i, fg, g, o = _sigmoid(i), _sigmoid(fg), np.tanh(g), _sigmoid(o)
        c, before = fg * c + i * g, c
        steps.append((i, fg, g, o, before, c))
        hs.append(o * np.tanh(c))
    dzs, dh, dc = f(dys[0], dys[1][0], dys[2][0], steps, Wh)
    grads = {"weight_ih_l0": sum(dz.T @ x[t] for t, dz in enumerate(dzs)), "bias_ih_l0": sum(dz.sum(0) for dz in dzs)}
    grads |= {"weight_hh_l0": sum(dz.T @ hs[t] for t, dz in enumerate(dzs)), "bias_hh_l0": grads["bias_ih_l0"]}
    return {"x": np.stack([dz @ Wx for dz in dzs]), "h_0": dh[None], "c_0": dc[None]} | grads


_more = [Case(LSTM(2, 3), normal(5, 4, 2), normal(1, 4, 3), normal(1, 4, 3), id="short")]
lstm = Exercise("LSTM", "initial-states one-step", _lstm, _more)


def _gates(dh, dc, step):
    i, f, g, o, c, c_next = step
    dct = dc + dh * o * (1 - np.tanh(c_next) ** 2)
    dz = [dct * g * i * (1 - i), dct * c * f * (1 - f), dct * i * (1 - g**2), dh * np.tanh(c_next) * o * (1 - o)]
    return np.hstack(dz), dct * f


@lstm.wrong(r"dc is not carried from step to step")
def lstm_that_forgets_to_carry_c(dy, dh, dc, steps, Wh):
    dzs = []
    for t in reversed(range(len(steps))):
        dz, dprev = _gates(dy[t] + dh, dc, steps[t])
        dh = dz @ Wh
        dc = np.zeros_like(dc)
        dzs.insert(0, dz)
    return dzs, dh, dprev


@lstm.wrong(r"only the upstream gradient of the last step")
def lstm_with_the_last_output_only(dy, dh, dc, steps, Wh):
    dzs = []
    dh = dh + dy[-1]
    for t in reversed(range(len(steps))):
        dz, dc = _gates(dh, dc, steps[t])
        dh = dz @ Wh
        dzs.insert(0, dz)
    return dzs, dh, dc


@lstm.right
def lstm_backwards_in_time(dy, dh, dc, steps, Wh):
    dzs = [None] * len(steps)
    for t in range(len(steps) - 1, -1, -1):
        dzs[t], dc = _gates(dh + dy[t], dc, steps[t])
        dh = np.einsum("nz,zh->nh", dzs[t], Wh)
    return dzs, dh, dc


# GRUCell ----------------------------------------------------------------------------------------------------------------


def _gru_cell(f, layer, state, inputs, dys):
    x, h = inputs
    zx, zh = x @ state["weight_ih"].T + state["bias_ih"], h @ state["weight_hh"].T + state["bias_hh"]
    (xr, xz, xn), (hr, hz, hn) = np.split(zx, 3, axis=1), np.split(zh, 3, axis=1)
    r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    dzx, dzh, dh = f(dys[0], (r, z, n, hn, h))
    grads = {"weight_ih": dzx.T @ x, "weight_hh": dzh.T @ h, "bias_ih": dzx.sum(0), "bias_hh": dzh.sum(0)}
    return {"x": dzx @ state["weight_ih"], "h_0": dzh @ state["weight_hh"] + dh} | grads


gru_cell = Exercise("GRUCell", "plain one-by-one wide", _gru_cell)


def _gru(dh, cache):
    r, z, n, hn, h = cache
    dn = dh * (1 - z) * (1 - n**2)
    return dn * hn * r * (1 - r), dh * (h - n) * z * (1 - z), dn


@gru_cell.wrong(r"h − n is taken the other way")
def gru_cell_with_z_the_other_way(dh, cache):
    r, z, n, hn, h = cache
    dr, dz, dn = _gru(dh, cache)
    return np.hstack([dr, -dz, dn]), np.hstack([dr, -dz, dn * r]), dh * z


@gru_cell.wrong(r"factor r is missing")
def gru_cell_without_the_reset_in_n(dh, cache):
    r, z, n, hn, h = cache
    dr, dz, dn = _gru(dh, cache)
    return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn]), dh * z


@gru_cell.wrong(r"direct path is missing")
def gru_cell_without_the_direct_path(dh, cache):
    r, z, n, hn, h = cache
    dr, dz, dn = _gru(dh, cache)
    return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r]), 0


@gru_cell.right
def gru_cell_gate_by_gate(dh, cache):
    r, z, n, hn, h = cache
    dz = dh * (h - n)
    dn = dh - dh * z
    dn_in = dn * (1 - n * n)
    dr = dn_in * hn
    dz_in, dr_in = dz * z * (1 - z), dr * r * (1 - r)
    return np.c_[dr_in, dz_in, dn_in], np.c_[dr_in, dz_in, r * dn_in], z * dh
