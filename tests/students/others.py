"""Layers that few courses set: written after the explainer stood, to see how it does on what it was not made for."""

import numpy as np

from refbp import Case, normal
from refbp.layers.layer_norm import RMSNorm
from refbp.layers.normalization import InstanceNorm2d
from refbp.layers.pooling import MaxPool1d

from ._student import Exercise


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


# PReLU, Softplus, Hardtanh, Softsign ------------------------------------------------------------------------------------


def _prelu(f, layer, state, inputs, dys):
    dx, da = f(
        dys[0],
        inputs[0],
        state["weight"].reshape(-1, *[1] * (inputs[0].ndim - 2)) if len(state["weight"]) > 1 else state["weight"],
    )
    return {"x": dx, "weight": np.reshape(da, state["weight"].shape)}


prelu = Exercise("PReLU", "shared shared-four-axes kink", _prelu)


@prelu.wrong(r"weight.*minimum is missing around x")
def prelu_slope_from_all_x(dy, x, a):
    return dy * np.where(x > 0, 1, a), np.sum(dy * x)


@prelu.wrong(r"weight is 1/the number of elements times")
def prelu_slope_averaged(dy, x, a):
    return dy * np.where(x > 0, 1, a), np.mean(dy * np.minimum(x, 0))


@prelu.right
def prelu_by_masks(dy, x, a):
    negative = x <= 0
    return dy * (1 - negative) + a * dy * negative, (dy * x)[negative].sum()


softplus = Exercise(
    "Softplus", "matrix option1 four-axes", lambda f, layer, state, inputs, dys: {"x": f(dys[0], inputs[0], layer.beta)}
)


@softplus.wrong(r"beta is taken to be 1\.0")
def softplus_without_beta_inside(dy, x, beta):
    return dy * _sigmoid(x)


@softplus.wrong(r"is beta times")
def softplus_with_beta_outside(dy, x, beta):
    return dy * beta * _sigmoid(beta * x)


@softplus.wrong(r"f\(x\) stands where its slope")
def softplus_as_its_own_slope(dy, x, beta):
    return dy * np.log1p(np.exp(beta * x)) / beta


@softplus.right
def softplus_by_exponentials(dy, x, beta):
    return dy / (1 + np.exp(-beta * x))


hardtanh = Exercise(
    "Hardtanh",
    "matrix option1 four-axes kink",
    lambda f, layer, state, inputs, dys: {"x": f(dys[0], inputs[0], layer.min_val, layer.max_val)},
)


@hardtanh.wrong(r"x is -1 or 1: at a kink")
def hardtanh_that_counts_the_ends(dy, x, low, high):
    dx = dy.copy()
    dx[(x < low) | (x > high)] = 0
    return dx


@hardtanh.wrong(r"only x > min_val is asked")
def hardtanh_without_an_upper_end(dy, x, low, high):
    return dy * (x > low)


@hardtanh.right
def hardtanh_by_clipping(dy, x, low, high):
    return np.where(np.clip(x, low, high) == x, dy, 0) * ((x != low) & (x != high))


softsign = Exercise("Softsign", "matrix four-axes", lambda f, layer, state, inputs, dys: {"x": f(dys[0], inputs[0])})


@softsign.wrong(r"factor root is missing")
def softsign_without_the_square(dy, x):
    return dy / (1 + np.abs(x))


@softsign.wrong(r"abs is missing around x")
def softsign_without_the_absolute_value(dy, x):
    return dy / (1 + x) ** 2


# RMSNorm, InstanceNorm2d ------------------------------------------------------------------------------------------------


def _rms(f, layer, state, inputs, dys):
    x = inputs[0]
    r = np.sqrt(np.mean(x**2, -1, keepdims=True) + layer.epsilon(x))
    dx, dw = f(dys[0], x, r, state["weight"])
    return {"x": dx, "weight": dw}


rms = Exercise("RMSNorm", "rows four-axes", _rms, [Case(RMSNorm(3), normal(7, 3), id="narrow")])


@rms.wrong(r"x̂ · mean\(dx̂.*missing")
def rms_as_if_the_root_were_constant(dy, x, r, w):
    return dy * w / r, np.sum(dy * x / r, axis=tuple(range(x.ndim - 1)))


@rms.wrong(r"mean\(dx̂ · x̂\) is normalized_shape times")
def rms_with_a_sum(dy, x, r, w):
    h, d = x / r, dy * w
    return (d - h * np.sum(d * h, -1, keepdims=True)) / r, np.sum(dy * h, axis=tuple(range(x.ndim - 1)))


@rms.wrong(r"weight.*x stands where x̂ is meant")
def rms_weight_from_x(dy, x, r, w):
    h, d = x / r, dy * w
    return (d - h * np.mean(d * h, -1, keepdims=True)) / r, np.sum(dy * x, axis=tuple(range(x.ndim - 1)))


@rms.right
def rms_with_a_cube(dy, x, r, w):
    D = x.shape[-1]
    d = dy * w
    return d / r - x * np.sum(d * x, -1, keepdims=True) / (D * r**3), np.sum(dy * x / r, axis=tuple(range(x.ndim - 1)))


def _instance(f, layer, state, inputs, dys):
    x = inputs[0]
    mu, var = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    std = np.sqrt(var + layer.eps)
    dx, dw, db = f(dys[0], (x - mu) / std, std, state["weight"].reshape(1, -1, 1, 1))
    return {"x": dx, "weight": dw, "bias": db}


_more = [Case(InstanceNorm2d(2, affine=True), normal(3, 2, 4, 3), id="small")]
instance = Exercise("InstanceNorm2d", "affine", _instance, _more)


@instance.wrong(r"means are taken over axes \(0, 2, 3\)")
def instance_as_batch(dy, h, std, w):
    d = dy * w
    ax = (0, 2, 3)
    return (d - d.mean(ax, keepdims=True) - h * (d * h).mean(ax, keepdims=True)) / std, (dy * h).sum(ax), dy.sum(ax)


@instance.wrong(r"weight and bias are not summed over axis 0")
def instance_parameters_per_sample(dy, h, std, w):
    d = dy * w
    ax = (2, 3)
    return (d - d.mean(ax, keepdims=True) - h * (d * h).mean(ax, keepdims=True)) / std, (dy * h).sum(ax), dy.sum(ax)


# Bilinear, ConvTranspose2d, MaxPool1d, GLU, PixelShuffle ----------------------------------------------------------------


def _bilinear(f, layer, state, inputs, dys):
    d1, d2, dW, db = f(dys[0], inputs[0], inputs[1], state["weight"])
    return {"x1": d1, "x2": d2, "weight": dW} | ({"bias": db} if "bias" in state else {})


bilinear = Exercise("Bilinear", "matrix no-bias", _bilinear)


@bilinear.wrong(r"weight has its axes in another order")
def bilinear_weight_turned(dy, x1, x2, W):
    return (np.einsum("nk,kij,nj->ni", dy, W, x2), np.einsum("nk,kij,ni->nj", dy, W, x1),
            np.einsum("nk,ni,nj->kji", dy, x1, x2), dy.sum(0))  # fmt: skip


@bilinear.wrong(r"weight is 1/N times")
def bilinear_weight_averaged(dy, x1, x2, W):
    return (np.einsum("nk,kij,nj->ni", dy, W, x2), np.einsum("nk,kij,ni->nj", dy, W, x1),
            np.einsum("nk,ni,nj->kij", dy, x1, x2) / len(dy), dy.sum(0))  # fmt: skip


@bilinear.right
def bilinear_slice_by_slice(dy, x1, x2, W):
    d1 = sum(dy[:, k : k + 1] * (x2 @ W[k].T) for k in range(len(W)))
    d2 = sum(dy[:, k : k + 1] * (x1 @ W[k]) for k in range(len(W)))
    return d1, d2, np.stack([(x1 * dy[:, k : k + 1]).T @ x2 for k in range(len(W))]), dy.sum(0)


def _up(f, layer, state, inputs, dys):
    k = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
    s = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,) * 2
    dx, dw, db = f(dys[0], inputs[0], state["weight"], k, s)
    return {"x": dx, "weight": dw, "bias": db}


transposed = Exercise("ConvTranspose2d", "plain few-channels", _up)


def _transposed(dy, x, w, k, s):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, j in np.ndindex(*x.shape[2:]):
        window = dy[:, :, i * s[0] : i * s[0] + k[0], j * s[1] : j * s[1] + k[1]]
        dx[:, :, i, j] = np.einsum("nohw,iohw->ni", window, w)
        dw += np.einsum("nohw,ni->iohw", window, x[:, :, i, j])
    return dx, dw, dy.sum((0, 2, 3))


@transposed.wrong(r"kernel weight is flipped")
def transposed_with_a_flipped_kernel(dy, x, w, k, s):
    return _transposed(dy, x, w[:, :, ::-1, ::-1], k, s)


@transposed.wrong(r"weight.*last sample alone")
def transposed_weight_of_the_last_sample(dy, x, w, k, s):
    dx, dw, db = _transposed(dy, x, w, k, s)
    return dx, _transposed(dy[-1:], x[-1:], w, k, s)[1], db


@transposed.right
def transposed_by_loops(dy, x, w, k, s):
    return _transposed(dy, x, w, k, s)


_more = [Case(MaxPool1d(3, stride=1), normal(2, 2, 9), id="sliding"), Case(MaxPool1d(2, stride=2), normal(3, 2, 8), id="pairs")]
pool1d = Exercise(
    "MaxPool1d",
    "touching",
    lambda f, layer, state, inputs, dys: {"x": f(dys[0], inputs[0], layer.kernel_size, layer.stride or layer.kernel_size)},
    _more,
)


@pool1d.wrong(r"overwritten.*window \(they overlap\)")
def pool1d_that_overwrites(dy, x, k, s):
    dx = np.zeros_like(x)
    for i in range(dy.shape[2]):
        at = x[:, :, i * s : i * s + k].argmax(2)
        n, c = np.indices(at.shape)
        dx[n, c, i * s + at] = dy[:, :, i]
    return dx


@pool1d.wrong(r"smallest value of each window")
def pool1d_to_the_smallest(dy, x, k, s):
    dx = np.zeros_like(x)
    for i in range(dy.shape[2]):
        at = x[:, :, i * s : i * s + k].argmin(2)
        n, c = np.indices(at.shape)
        dx[n, c, i * s + at] += dy[:, :, i]
    return dx


glu = Exercise(
    "GLU",
    "last channels first",
    lambda f, layer, state, inputs, dys: {"x": f(dys[0], *np.split(inputs[0], 2, layer.dim), layer.dim)},
)


@glu.wrong(r"factor a is missing")
def glu_without_a(dy, a, b, axis):
    s = _sigmoid(b)
    return np.concatenate([dy * s, dy * s * (1 - s)], axis)


@glu.wrong(r"factor σ′\(b\) is missing")
def glu_without_the_slope(dy, a, b, axis):
    return np.concatenate([dy * _sigmoid(b), dy * a], axis)


@glu.wrong(r"two halves swapped")
def glu_with_its_halves_swapped(dy, a, b, axis):
    s = _sigmoid(b)
    return np.concatenate([dy * a * s * (1 - s), dy * s], axis)


@glu.right
def glu_half_by_half(dy, a, b, axis):
    s = 1 / (1 + np.exp(-b))
    return np.concatenate([s * dy, (s - s * s) * a * dy], axis)


# Attention with several heads: x (L, N, E), no masks, weights returned --------------------------------------------------


def _heads(f, layer, state, inputs, dys):
    E, h = layer.embed_dim, layer.num_heads
    q, k, v = (
        x @ w.T + b
        for x, w, b in zip(inputs, np.split(state["in_proj_weight"], 3), np.split(state["in_proj_bias"], 3), strict=True)
    )
    split = lambda a: a.reshape(len(a), -1, h, E // h).transpose(1, 2, 0, 3)  # noqa: E731
    q, k, v = split(q), split(k), split(v)
    s = q @ k.swapaxes(-1, -2) / np.sqrt(E // h)
    e = np.exp(s - s.max(-1, keepdims=True))
    A = e / e.sum(-1, keepdims=True)
    join = lambda a: a.transpose(2, 0, 1, 3).reshape(a.shape[2], -1, E)  # noqa: E731
    joined = join(A @ v)
    dy = dys[0]
    dq, dk, dv = (join(d) for d in f(split(dy @ state["out_proj.weight"]), q, k, v, A))
    flat = lambda a: a.reshape(-1, E)  # noqa: E731
    weights = [flat(d).T @ flat(x) for d, x in zip((dq, dk, dv), inputs, strict=True)]
    W = np.split(state["in_proj_weight"], 3)
    return {
        "query": dq @ W[0], "key": dk @ W[1], "value": dv @ W[2],
        "in_proj_weight": np.concatenate(weights),
        "in_proj_bias": np.concatenate([flat(d).sum(0) for d in (dq, dk, dv)]),
        "out_proj.weight": flat(dy).T @ flat(joined), "out_proj.bias": flat(dy).sum(0),
    }  # fmt: skip


heads = Exercise("MultiheadAttention", "no-weights", _heads)


@heads.wrong(r"scale 1/√d of the scores is missing")
def heads_without_the_scale(dy, q, k, v, A):
    dA = dy @ v.swapaxes(-1, -2)
    dS = A * (dA - (dA * A).sum(-1, keepdims=True))
    return dS @ k, dS.swapaxes(-1, -2) @ q, A.swapaxes(-1, -2) @ dy


@heads.wrong(r"softmax's sum is missing")
def heads_without_the_softmax_sum(dy, q, k, v, A):
    dS = A * (dy @ v.swapaxes(-1, -2)) / np.sqrt(q.shape[-1])
    return dS @ k, dS.swapaxes(-1, -2) @ q, A.swapaxes(-1, -2) @ dy


@heads.right
def heads_by_einsum(dy, q, k, v, A):
    dA = np.einsum("nhld,nhsd->nhls", dy, v)
    dS = A * (dA - np.einsum("nhls,nhls->nhl", dA, A)[..., None]) / np.sqrt(q.shape[-1])
    return np.einsum("nhls,nhsd->nhld", dS, k), np.einsum("nhls,nhld->nhsd", dS, q), np.einsum("nhls,nhld->nhsd", A, dy)
