"""A second set that was written before it was run: rarer layers, other slips."""

import numpy as np

from refbp import Case, integers, normal, uniform
from refbp.layers.embedding import EmbeddingBag
from refbp.layers.padding import ReplicationPad1d
from refbp.losses.likelihood import PoissonNLLLoss

from ._student import Exercise


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _plain(f, layer, state, inputs, dys):
    return {"x": f(dys[0], inputs[0])}


log_sigmoid = Exercise("LogSigmoid", "matrix four-axes", _plain)


@log_sigmoid.wrong(r"gradient of Sigmoid")
def log_sigmoid_as_sigmoid(dy, x):
    return dy * _sigmoid(x) * _sigmoid(-x)


@log_sigmoid.wrong(r"gradient of Softplus")
def log_sigmoid_with_the_wrong_argument(dy, x):
    return dy * _sigmoid(x)


@log_sigmoid.right
def log_sigmoid_by_fraction(dy, x):
    return dy / (1 + np.exp(x))


celu = Exercise("CELU", "matrix option1", lambda f, layer, state, inputs, dys: {"x": f(dys[0], inputs[0], layer.alpha)})


@celu.wrong(r"gradient of ELU")
def celu_as_elu(dy, x, alpha):
    return dy * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


@celu.wrong(r"alpha is taken to be 1\.0")
def celu_without_alpha(dy, x, alpha):
    return dy * np.where(x > 0, 1, np.exp(np.minimum(x, 0)))


hardswish = Exercise("Hardswish", "matrix four-axes", _plain)


@hardswish.wrong(r"term 0\.5 is missing")
def hardswish_without_the_half(dy, x):
    return dy * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3))


@hardswish.wrong(r"x / 6|6 stands|1/6")
def hardswish_with_a_sixth(dy, x):
    return dy * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 6 + 0.5))


mish = Exercise("Mish", "matrix four-axes", _plain)


@mish.wrong(r"term near .* is missing")
def mish_with_a_constant_gate(dy, x):
    return dy * np.tanh(np.log1p(np.exp(x)))


@mish.right
def mish_by_the_chain_rule(dy, x):
    t = np.tanh(np.log1p(np.exp(x)))
    return dy * (t + x * (1 - t * t) / (1 + np.exp(-x)))


# Distances ---------------------------------------------------------------------------------------------------------------


def _cosine(f, layer, state, inputs, dys):
    d1, d2 = f(dys[0], *inputs)
    return {"x1": d1, "x2": d2}


cosine = Exercise("CosineSimilarity", "rows", _cosine, [])


@cosine.wrong(r"y · u1 is missing")
def cosine_with_constant_norms(dy, a, b):
    na, nb = np.linalg.norm(a, axis=1, keepdims=True), np.linalg.norm(b, axis=1, keepdims=True)
    return dy[:, None] * b / (na * nb), dy[:, None] * a / (na * nb)


@cosine.wrong(r"x1 and x2 are swapped")
def cosine_swapped(dy, a, b):
    na, nb = np.linalg.norm(a, axis=1, keepdims=True), np.linalg.norm(b, axis=1, keepdims=True)
    c = np.sum(a * b, 1, keepdims=True) / (na * nb)
    return dy[:, None] * (a / (na * nb) - c * b / nb**2), dy[:, None] * (b / (na * nb) - c * a / na**2)


@cosine.right
def cosine_by_units(dy, a, b):
    na, nb = np.linalg.norm(a, axis=1, keepdims=True), np.linalg.norm(b, axis=1, keepdims=True)
    u, v = a / na, b / nb
    c = np.sum(u * v, 1, keepdims=True)
    return dy[:, None] * (v - c * u) / na, dy[:, None] * (u - c * v) / nb


# Adaptive pooling, upsampling, padding ---------------------------------------------------------------------------------


def _bins(n, m):
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def _adaptive(f, layer, state, inputs, dys):
    return {"x": f(dys[0], inputs[0].shape)}


adaptive = Exercise("AdaptiveAvgPool2d", "one sharing-positions dividing by-axis", _adaptive)


def _spread(dy, shape, weight, add=True):
    dx = np.zeros(shape)
    for i, (a, b) in enumerate(_bins(shape[-2], dy.shape[-2])):
        for j, (c, d) in enumerate(_bins(shape[-1], dy.shape[-1])):
            share = dy[..., i, j][..., None, None] * weight(b - a, d - c)
            if add:
                dx[..., a:b, c:d] += share
            else:
                dx[..., a:b, c:d] = share
    return dx


@adaptive.wrong(r"overwrites where it should add up")
def adaptive_that_overwrites(dy, shape):
    return _spread(dy, shape, lambda h, w: 1 / (h * w), add=False)


@adaptive.wrong(r"division by .* is missing")
def adaptive_undivided(dy, shape):
    return _spread(dy, shape, lambda h, w: 1)


@adaptive.right
def adaptive_by_bins(dy, shape):
    return _spread(dy, shape, lambda h, w: 1 / h / w)


pad = Exercise(
    "ReplicationPad1d",
    "",
    _adaptive,
    [Case(ReplicationPad1d((2, 1)), normal(2, 3, 5), id="uneven"), Case(ReplicationPad1d(1), normal(3, 2, 4), id="even")],
)
pad.call = lambda f, layer, state, inputs, dys: {
    "x": f(dys[0], layer.padding if isinstance(layer.padding, tuple) else (layer.padding,) * 2)
}


@pad.wrong(r"gradient of ZeroPad1d")
def pad_that_only_crops(dy, p):
    return dy[..., p[0] : dy.shape[-1] - p[1]].copy()


@pad.right
def pad_that_collects(dy, p):
    dx = dy[..., p[0] : dy.shape[-1] - p[1]].copy()
    dx[..., 0] += dy[..., : p[0]].sum(-1)
    dx[..., -1] += dy[..., dy.shape[-1] - p[1] :].sum(-1)
    return dx


# Bags, counts -----------------------------------------------------------------------------------------------------------


def _bag(f, layer, state, inputs, dys):
    return {"weight": f(dys[0], inputs[0], state["weight"].shape, layer.mode)}


_bags = [
    Case(EmbeddingBag(5, 3, mode="sum"), integers(4, 2, high=5), id="sums"),
    Case(EmbeddingBag(6, 2), integers(3, 7, high=6), id="means"),
]
bags = Exercise("EmbeddingBag", "", _bag, _bags)


@bags.wrong(r"mode is taken to be 'sum'")
def bag_never_averaged(dy, index, shape, mode):
    dW = np.zeros(shape)
    for row, g in zip(index, dy, strict=True):
        np.add.at(dW, row, g)
    return dW


@bags.wrong(r"more than once in one bag")
def bag_by_fancy_addition(dy, index, shape, mode):
    dW = np.zeros(shape)
    for row, g in zip(index, dy, strict=True):
        dW[row] += g / (len(row) if mode == "mean" else 1)
    return dW


@bags.right
def bag_by_one_hot(dy, index, shape, mode):
    counts = np.stack([np.bincount(row, minlength=shape[0]) for row in index]).astype(float)
    return (counts / (index.shape[1] if mode == "mean" else 1)).T @ dy


_counts = [
    Case(PoissonNLLLoss(), normal(3, 4), uniform(3, 4, high=5.0), id="log"),
    Case(
        PoissonNLLLoss(log_input=False, reduction="sum"), uniform(2, 3, low=0.5, high=2.0), uniform(2, 3, high=4.0), id="rate"
    ),
]
poisson = Exercise(
    "PoissonNLLLoss", "mean rate-sum", lambda f, layer, state, inputs, dys: {"input": f(dys[0], *inputs, layer)}, _counts
)


def _share(dl, x, layer):
    return dl / x.size if layer.reduction == "mean" else dl


@poisson.wrong(r"log_input is taken to be True")
def poisson_always_of_logs(dl, x, t, layer):
    return _share(dl, x, layer) * (np.exp(x) - t)


@poisson.wrong(r"has the wrong sign")
def poisson_with_a_minus(dl, x, t, layer):
    return _share(dl, x, layer) * ((t - np.exp(x)) if layer.log_input else (t / x - 1))


@poisson.right
def poisson_for_both(dl, x, t, layer):
    return _share(dl, x, layer) * ((np.exp(x) - t) if layer.log_input else (1 - t / (x + layer.eps)))


# Recurrent layers once more ---------------------------------------------------------------------------------------------


def _gru(f, layer, state, inputs, dys):
    x, h = inputs[0], inputs[1][0]
    Wx, Wh, bx, bh = (state[f"{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    steps, hs = [], [h]
    for t in range(len(x)):
        zx, zh = x[t] @ Wx.T + bx, hs[-1] @ Wh.T + bh
        H = h.shape[1]
        r, z = _sigmoid(zx[:, :H] + zh[:, :H]), _sigmoid(zx[:, H : 2 * H] + zh[:, H : 2 * H])
        n = np.tanh(zx[:, 2 * H :] + r * zh[:, 2 * H :])
        steps.append((r, z, n, zh[:, 2 * H :], hs[-1]))
        hs.append((1 - z) * n + z * hs[-1])
    dh, out = dys[1][0], []
    for t in reversed(range(len(x))):
        dzx, dzh, direct = f(dh + dys[0][t], steps[t])
        dh = dzh @ Wh + direct
        out.insert(0, (dzx, dzh))
    grads = {"weight_ih_l0": sum(a.T @ x[t] for t, (a, _) in enumerate(out)), "bias_ih_l0": sum(a.sum(0) for a, _ in out)}
    grads |= {"weight_hh_l0": sum(b.T @ hs[t] for t, (_, b) in enumerate(out)), "bias_hh_l0": sum(b.sum(0) for _, b in out)}
    return {"x": np.stack([a @ Wx for a, _ in out]), "h_0": dh[None]} | grads


gru = Exercise("GRU", "initial-states one-step", _gru)


@gru.wrong(r"z and 1 − z are exchanged")
def gru_with_z_for_one_minus_z(dh, step):
    r, z, n, hn, h = step
    dn = dh * z * (1 - n * n)
    dr, dz = dn * hn * r * (1 - r), dh * (h - n) * z * (1 - z)
    return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r]), dh * (1 - z)


@gru.wrong(r"term z is missing")
def gru_without_the_update_gate_in_n(dh, step):
    r, z, n, hn, h = step
    dn = dh * (1 - n * n)
    dr, dz = dn * hn * r * (1 - r), dh * (h - n) * z * (1 - z)
    return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r]), dh * z


@gru.wrong(r"factor σ′\(z\) is missing")
def gru_without_the_slope_of_z(dh, step):
    r, z, n, hn, h = step
    dn = dh * (1 - z) * (1 - n * n)
    dr, dz = dn * hn * r * (1 - r), dh * (h - n)
    return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r]), dh * z


@gru.right
def gru_step_by_step(dh, step):
    r, z, n, hn, h = step
    dn = (dh - z * dh) * (1 - n**2)
    dr, dz = (r - r * r) * hn * dn, (z - z * z) * (h - n) * dh
    return np.c_[dr, dz, dn], np.c_[dr, dz, r * dn], z * dh


# Weighted sums of losses --------------------------------------------------------------------------------------------------


gaussian = Exercise(
    "GaussianNLLLoss",
    "mean sum",
    lambda f, layer, state, inputs, dys: dict(
        zip(("input", "target", "var"), f(dys[0], *inputs, layer.reduction), strict=True)
    ),
)


@gaussian.wrong(r"var has the wrong sign")
def gaussian_var_with_the_wrong_sign(dl, x, t, v, reduction):
    dl = dl / x.size if reduction == "mean" else dl
    return dl * (x - t) / v, -dl * (x - t) / v, dl * ((x - t) ** 2 / v**2 - 1 / v) / 2


@gaussian.wrong(r"term 1 / v is missing")
def gaussian_var_without_the_logarithm(dl, x, t, v, reduction):
    dl = dl / x.size if reduction == "mean" else dl
    return dl * (x - t) / v, -dl * (x - t) / v, -dl * (x - t) ** 2 / v**2 / 2


@gaussian.wrong(r"input and target.*factor var is there once too often")
def gaussian_undivided(dl, x, t, v, reduction):
    dl = dl / x.size if reduction == "mean" else dl
    return dl * (x - t), -dl * (x - t), dl * (1 / v - (x - t) ** 2 / v**2) / 2


@gaussian.right
def gaussian_by_terms(dl, x, t, v, reduction):
    s = dl / x.size if reduction == "mean" else dl
    z = (x - t) / v
    return s * z, -s * z, s * 0.5 * (1 / v - z * z)
