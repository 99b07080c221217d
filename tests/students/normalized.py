"""BatchNorm, LayerNorm, GroupNorm, InstanceNorm."""

import numpy as np

from refbp import Case, normal
from refbp.layers.layer_norm import LayerNorm

from ._student import Exercise

# BatchNorm1d in training, step by step and in one formula: cache holds what a student's forward keeps -------------------


def _batchnorm(f, layer, state, inputs, dys):
    x, gamma, eps = inputs[0], state["weight"], layer.eps
    mu, var = x.mean(0), x.var(0)
    xhat = (x - mu) / np.sqrt(var + eps)
    dx, dgamma, dbeta = f(dys[0], (x, xhat, mu, var, gamma, eps))
    return {"x": dx, "weight": dgamma, "bias": dbeta}


bn = Exercise("BatchNorm1d", "train options constant-column two-samples", _batchnorm)


def _bn(dout, xhat, gamma, ivar):
    N = len(dout)
    dxhat = dout * gamma
    return ivar / N * (N * dxhat - dxhat.sum(0) - xhat * (dxhat * xhat).sum(0))


@bn.wrong(r"x̂ · mean\(dx̂.*missing")
def bn_without_the_variance_path(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    ivar = 1 / np.sqrt(var + eps)
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(axis=0)) * ivar
    return dx, np.sum(dout * xhat, axis=0), dout.sum(axis=0)


@bn.wrong(r"mean\(dx̂\).*missing")
def bn_without_the_mean_path(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    N, D = x.shape
    std = np.sqrt(var + eps)
    dxhat = dout * gamma
    dvar = np.sum(dxhat * (x - mu), axis=0) * -0.5 * std**-3
    dx = dxhat / std + dvar * 2 * (x - mu) / N
    return dx, np.sum(dout * xhat, axis=0), dout.sum(axis=0)


@bn.wrong(r"factor γ is missing")
def bn_without_gamma(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    dx = _bn(dout, xhat, np.ones_like(gamma), 1 / np.sqrt(var + eps))
    return dx, (dout * xhat).sum(0), dout.sum(0)


@bn.wrong(r"mean\(dx̂\) and x̂ · mean\(dx̂ · x̂\) are N times")
def bn_with_sums_for_means(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    dxhat = gamma * dout
    dx = (dxhat - dxhat.sum(0) - xhat * (dxhat * xhat).sum(0)) / np.sqrt(var + eps)
    return dx, (dout * xhat).sum(0), dout.sum(0)


@bn.wrong(r"ε is added outside the root")
def bn_with_eps_outside_the_root(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    dx = _bn(dout, xhat, gamma, 1 / (np.sqrt(var) + eps))
    return dx, (dout * xhat).sum(0), dout.sum(0)


@bn.wrong(r"ε is missing")
def bn_without_eps(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    dx = _bn(dout, xhat, gamma, 1 / np.sqrt(np.maximum(var, 1e-300)))
    return dx, (dout * xhat).sum(0), dout.sum(0)


@bn.wrong(r"unbiased variance")
def bn_with_the_unbiased_variance(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    dx = _bn(dout, xhat, gamma, 1 / np.sqrt(x.var(axis=0, ddof=1) + eps))
    return dx, (dout * xhat).sum(0), dout.sum(0)


@bn.wrong(r"weight.*x stands where x̂ is meant")
def bn_gamma_from_x(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    return _bn(dout, xhat, gamma, 1 / np.sqrt(var + eps)), (dout * x).sum(0), dout.sum(0)


@bn.wrong(r"weight and bias are swapped")
def bn_gamma_and_beta_swapped(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    return _bn(dout, xhat, gamma, 1 / np.sqrt(var + eps)), dout.sum(0), (dout * xhat).sum(0)


@bn.wrong(r"mean\(dx̂ · x̂\) is 1/2 times")
def bn_with_half_the_variance_path(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    N = x.shape[0]
    std = np.sqrt(var + eps)
    dxhat = dout * gamma
    dvar = np.sum(dxhat * (x - mu) * -0.5 * (var + eps) ** -1.5, axis=0)
    dmu = np.sum(-dxhat / std, axis=0)
    return dxhat / std + dvar * (x - mu) / N + dmu / N, (dout * xhat).sum(0), dout.sum(0)


@bn.wrong(r"weight and bias are 1/N times")
def bn_parameters_averaged(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    return _bn(dout, xhat, gamma, 1 / np.sqrt(var + eps)), (dout * xhat).mean(0), dout.mean(0)


@bn.wrong(r"mean\(dx̂ · x̂\) has the wrong sign")
def bn_with_a_plus_before_the_variance(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(0) + xhat * (dxhat * xhat).mean(0)) / np.sqrt(var + eps)
    return dx, (dout * xhat).sum(0), dout.sum(0)


@bn.right
def bn_by_the_computation_graph(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    N, D = x.shape
    xmu, sqrtvar = x - mu, np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    dxhat = dout * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dvar = 0.5 * ivar * (-1.0 / sqrtvar**2) * divar
    dsq = np.ones((N, D)) / N * dvar
    dx1 = dxmu1 + 2 * xmu * dsq
    return dx1 - np.ones((N, D)) / N * dx1.sum(0), np.sum(dout * xhat, axis=0), np.sum(dout, axis=0)


@bn.right
def bn_by_one_formula(dout, cache):
    x, xhat, mu, var, gamma, eps = cache
    return _bn(dout, xhat, gamma, (var + eps) ** -0.5), np.einsum("nd,nd->d", dout, xhat), dout.sum(0)


def _batchnorm_modes(f, layer, state, inputs, dys):
    x, gamma = inputs[0], state["weight"]
    mu, var = (x.mean(0), x.var(0)) if layer.training else (state["running_mean"], state["running_var"])
    ivar = 1 / np.sqrt(var + layer.eps)
    dx, dgamma, dbeta = f(dys[0], (x - mu) * ivar, gamma, ivar, layer.training)
    return {"x": dx, "weight": dgamma, "bias": dbeta}


bn_modes = Exercise("BatchNorm1d", "train options evaluation constant-column", _batchnorm_modes)


@bn_modes.wrong(r"with training=False they are constants")
def bn_with_one_formula_for_both_modes(dout, xhat, gamma, ivar, training):
    return _bn(dout, xhat, gamma, ivar), (dout * xhat).sum(0), dout.sum(0)


@bn_modes.right
def bn_with_a_formula_for_each_mode(dout, xhat, gamma, ivar, training):
    dx = _bn(dout, xhat, gamma, ivar) if training else dout * gamma * ivar
    return dx, (dout * xhat).sum(0), dout.sum(0)


def _batchnorm2d(f, layer, state, inputs, dys):
    x, gamma = inputs[0], state["weight"].reshape(1, -1, 1, 1)
    mu, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    std = np.sqrt(var + layer.eps)
    dx, dgamma, dbeta = f(dys[0], (x - mu) / std, gamma, std)
    return {"x": dx, "weight": dgamma, "bias": dbeta}


bn2d = Exercise("BatchNorm2d", "train options one-channel", _batchnorm2d)


@bn2d.wrong(r"are H·W times")
def bn2d_divided_by_n_only(dout, xhat, gamma, std):
    N = dout.shape[0]
    dxhat = dout * gamma
    ax = (0, 2, 3)
    dx = (dxhat - dxhat.sum(ax, keepdims=True) / N - xhat * (dxhat * xhat).sum(ax, keepdims=True) / N) / std
    return dx, (dout * xhat).sum(ax), dout.sum(ax)


@bn2d.wrong(r"bias.*not summed over axes \(1, 2\)")
def bn2d_bias_over_the_batch_only(dout, xhat, gamma, std):
    ax = (0, 2, 3)
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(ax, keepdims=True) - xhat * (dxhat * xhat).mean(ax, keepdims=True)) / std
    return dx, (dout * xhat).sum(ax), dout.sum(0)


@bn2d.right
def bn2d_as_bn1d(dout, xhat, gamma, std):
    N, C, H, W = dout.shape
    flat = lambda a: a.transpose(0, 2, 3, 1).reshape(-1, C)  # noqa: E731
    d, h = flat(dout), flat(xhat)
    dx = _bn(d, h, gamma.ravel(), 1 / std.ravel())
    return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), (d * h).sum(0), d.sum(0)


def _layernorm(f, layer, state, inputs, dys):
    x, gamma = inputs[0], state["weight"]
    mu, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    std = np.sqrt(var + layer.eps)
    dx, dgamma, dbeta = f(dys[0], (x - mu) / std, gamma, std)
    return {"x": dx, "weight": dgamma, "bias": dbeta}


_more = [
    Case(LayerNorm(4, eps=0.03), normal(7, 4, std=0.5), id="wider-batch"),
    Case(LayerNorm(3), normal(3, 3, mean=-1.0), id="square"),
]
ln = Exercise("LayerNorm", "rows", _layernorm, _more)


@ln.wrong(r"means are taken over axis 0")
def ln_with_means_over_the_batch(dout, xhat, gamma, std):
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)) / std
    return dx, (dout * xhat).sum(0), dout.sum(0)


@ln.wrong(r"normalized_shape/N times")
def ln_divided_by_n(dout, xhat, gamma, std):
    N, D = dout.shape
    dxhat = dout * gamma
    dx = (N * dxhat - dxhat.sum(1, keepdims=True) - xhat * (dxhat * xhat).sum(1, keepdims=True)) / std / N
    return dx, (dout * xhat).sum(0), dout.sum(0)


@ln.wrong(r"factor γ is missing")
def ln_without_gamma(dout, xhat, gamma, std):
    D = dout.shape[1]
    dx = dout - dout.mean(1, keepdims=True) - xhat * np.sum(dout * xhat, axis=1, keepdims=True) / D
    return dx / std, (dout * xhat).sum(0), dout.sum(0)


@ln.wrong(r"bias.*summed over axis 1")
def ln_gamma_over_the_features(dout, xhat, gamma, std):
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(1, keepdims=True) - xhat * (dxhat * xhat).mean(1, keepdims=True)) / std
    return dx, (dout * xhat).sum(1), dout.sum(1)


@ln.wrong(r"x̂ · mean\(dx̂.*missing")
def ln_as_if_std_were_constant(dout, xhat, gamma, std):
    dxhat = dout * gamma
    return (dxhat - dxhat.mean(-1, keepdims=True)) / std, (dout * xhat).sum(0), dout.sum(0)


@ln.wrong(r"division by √\(σ² \+ ε\) is missing")
def ln_without_the_division(dout, xhat, gamma, std):
    dxhat = dout * gamma
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    return dx, (dout * xhat).sum(0), dout.sum(0)


@ln.right
def ln_as_a_transposed_batchnorm(dout, xhat, gamma, std):
    dx = _bn((dout * gamma).T, xhat.T, 1, 1 / std.T).T
    return dx, np.sum(dout * xhat, 0), np.sum(dout, 0)


@ln.right
def ln_by_projection(dout, xhat, gamma, std):
    D = dout.shape[-1]
    g = dout * gamma
    g = g - np.ones(D) * (g @ np.ones(D))[:, None] / D
    return (g - xhat * np.sum(g * xhat, -1, keepdims=True) / D) / std, np.sum(dout * xhat, 0), np.sum(dout, 0)


def _groupnorm(f, layer, state, inputs, dys):
    x, G = inputs[0], layer.num_groups
    N, C = x.shape[:2]
    grouped = x.reshape(N, G, -1)
    mu, var = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
    std = np.sqrt(var + layer.eps)
    gamma = state["weight"].reshape(1, C, *[1] * (x.ndim - 2))
    dx, dgamma, dbeta = f(dys[0], ((grouped - mu) / std).reshape(x.shape), gamma, std, G)
    return {"x": dx, "weight": dgamma, "bias": dbeta}


gn = Exercise("GroupNorm", "two-groups options one-group", _groupnorm)


def _gn(dout, xhat, gamma, std, G):
    grouped = lambda a: a.reshape(len(a), G, -1)  # noqa: E731
    d, h = grouped(dout * gamma), grouped(xhat)
    return ((d - d.mean(-1, keepdims=True) - h * (d * h).mean(-1, keepdims=True)) / std).reshape(dout.shape)


@gn.wrong(r"mean\(dx̂\).*missing")
def gn_without_the_mean_path(dout, xhat, gamma, std, G):
    grouped = lambda a: a.reshape(len(a), G, -1)  # noqa: E731
    d, h = grouped(dout * gamma), grouped(xhat)
    dx = ((d - h * (d * h).mean(-1, keepdims=True)) / std).reshape(dout.shape)
    ax = (0, *range(2, dout.ndim))
    return dx, (dout * xhat).sum(ax), dout.sum(ax)


@gn.wrong(r"factor γ is missing")
def gn_without_gamma(dout, xhat, gamma, std, G):
    ax = (0, *range(2, dout.ndim))
    return _gn(dout, xhat, 1, std, G), (dout * xhat).sum(ax), dout.sum(ax)


@gn.wrong(r"weight and bias are not summed over axis 0")
def gn_parameters_of_every_sample(dout, xhat, gamma, std, G):
    ax = tuple(range(2, dout.ndim))
    return _gn(dout, xhat, gamma, std, G), (dout * xhat).sum(ax), dout.sum(ax)


@gn.right
def gn_sample_by_sample(dout, xhat, gamma, std, G):
    N, C = dout.shape[:2]
    dx = np.empty_like(dout)
    for n in range(N):
        for g in range(G):
            c = slice(g * C // G, (g + 1) * C // G)
            d, h = (dout * gamma)[n, c], xhat[n, c]
            dx[n, c] = (d - d.mean() - h * np.mean(d * h)) / std[n, g, 0]
    ax = (0, *range(2, dout.ndim))
    return dx, np.sum(dout * xhat, axis=ax), np.sum(dout, axis=ax)
