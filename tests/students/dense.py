"""Linear, softmax, dropout, embedding."""

import numpy as np

from refbp import Case, normal
from refbp.layers.softmax import Softmax

from ._student import Exercise

# Linear, as in CS231n: w is (in, out), and x has any number of axes ----------------------------------------------------


def _affine(f, layer, state, inputs, dys):
    x, w = inputs[0], state["weight"].T
    dx, dw, db = f(dys[0], (x, w, state["bias"]))
    return {"x": dx, "weight": np.asarray(dw).T, "bias": db}


affine = Exercise("Linear", "matrix one-by-one wide lecture", _affine)
affine_nd = Exercise("Linear", "matrix three-axes four-axes", _affine)


@affine.wrong(r"bias is 1/N times")
def mean_of_the_bias(dout, cache):
    x, w, b = cache
    return dout @ w.T, x.T @ dout, np.mean(dout, axis=0)


@affine.wrong(r"weight is 1/N times")
def weights_divided_by_n(dout, cache):
    x, w, b = cache
    N = x.shape[0]
    dw = np.zeros(w.shape)
    for i in range(N):
        dw += np.outer(x[i], dout[i]) / N
    return np.dot(dout, w.T), dw, dout.sum(0)


@affine.wrong(r"bias is not summed over axis 0")
def bias_of_every_sample(dout, cache):
    x, w, b = cache
    return dout.dot(w.T), x.T.dot(dout), dout * np.ones_like(b)


@affine.wrong(r"weight is transposed")
def weights_the_other_way_round(dout, cache):
    x, w, b = cache
    return np.dot(dout, np.transpose(w)), np.dot(dout.T, x), np.sum(dout, axis=0)


@affine.wrong(r"weight is what it should be plus 0\.1 · weight")
def regularised_though_nobody_asked(dout, cache):
    x, w, b = cache
    reg = 0.1
    return dout @ w.T, x.T @ dout + reg * w, dout.sum(axis=0)


@affine.wrong(r"bias is the upstream gradient summed over axis 1")
def bias_summed_over_features(dout, cache):
    x, w, b = cache
    return dout @ w.T, x.T @ dout, np.sum(dout, axis=1)


@affine.wrong(r"weight ignores the upstream gradient")
def weights_without_upstream(dout, cache):
    x, w, b = cache
    return dout @ w.T, np.tile(x.sum(0)[:, None], (1, w.shape[1])), dout.sum(0)


@affine_nd.wrong(r"x has the right values, and only its shape")
def flattened_input(dout, cache):
    x, w, b = cache
    flat = x.reshape(-1, x.shape[-1])
    d = dout.reshape(-1, dout.shape[-1])
    return d @ w.T, flat.T @ d, d.sum(0)


@affine_nd.wrong(r"bias.*not summed over axis 0")
def bias_of_three_axes(dout, cache):
    x, w, b = cache
    flat = x.reshape(-1, x.shape[-1])
    d = dout.reshape(-1, dout.shape[-1])
    return (d @ w.T).reshape(x.shape), flat.T @ d, dout.sum(-2) if dout.ndim == 3 else d.sum(0)


@affine.wrong(r"x, weight and bias have the wrong sign")
def negative_everything(dout, cache):
    x, w, b = cache
    return -(dout @ w.T), -(x.T @ dout), -dout.sum(0)


@affine_nd.right
def affine_with_einsum(dout, cache):
    x, w, b = cache
    flat, d = x.reshape(-1, len(w)), dout.reshape(-1, len(b))
    return np.einsum("...o,io->...i", dout, w), np.einsum("ni,no->io", flat, d), np.einsum("no->o", d)


@affine.right
def affine_with_loops(dout, cache):
    x, w, b = cache
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for n in range(x.shape[0]):
        for j in range(w.shape[1]):
            dx[n] += dout[n, j] * w[:, j]
            dw[:, j] += dout[n, j] * x[n]
            db[j] += dout[n, j]
    return dx, dw, db


@affine_nd.right
def affine_with_tensordot(dout, cache):
    x, w, b = cache
    lead = tuple(range(x.ndim - 1))
    return np.tensordot(dout, w, axes=([-1], [1])), np.tensordot(x, dout, axes=(lead, lead)), dout.sum(axis=lead)


# Softmax, one matrix of rows ------------------------------------------------------------------------------------------


def _rows(f, layer, state, inputs, dys):
    x = inputs[0]
    y = np.asarray(layer(state, x).outputs)
    axis = layer.axis(x)
    move = lambda a: np.moveaxis(a, axis, -1)  # noqa: E731
    return {"x": np.moveaxis(f(move(dys[0]), move(y)), -1, axis)}


softmax = Exercise("Softmax", "rows columns inner no-dim-two-axes", _rows)


@softmax.wrong(r"only the diagonal of the Jacobian")
def softmax_as_if_elementwise(dout, p):
    return dout * p * (1 - p)


_more = [Case(Softmax(dim=1), normal(4, 3), id="narrow"), Case(Softmax(dim=1), normal(2, 7), id="long")]
softmax_2d = Exercise("Softmax", "rows", _rows, _more)


@softmax_2d.wrong(r"over axis 0")
def softmax_summed_down_the_columns(dout, p):
    return p * (dout - np.sum(dout * p, axis=0, keepdims=True))


@softmax.wrong(r"factor y is missing in the sum")
def softmax_sum_of_the_upstream(dout, p):
    return p * (dout - dout.sum(-1, keepdims=True))


@softmax.wrong(r"Σ dy y is missing")
def softmax_without_the_sum(dout, p):
    return p * dout


@softmax.wrong(r"is zero")
def softmax_of_ones(dout, p):
    ones = np.ones_like(dout)
    return p * (ones - np.sum(ones * p, axis=-1, keepdims=True)) * 0


@softmax.right
def softmax_by_jacobians(dout, p):
    d, q = dout.reshape(-1, dout.shape[-1]), p.reshape(-1, p.shape[-1])
    dx = np.array([(np.diag(row) - np.outer(row, row)) @ up for row, up in zip(q, d, strict=True)])
    return dx.reshape(p.shape)


@softmax.right
def softmax_expanded(dout, p):
    g = dout * p
    return g - p * np.sum(g, axis=-1, keepdims=True)


log_softmax = Exercise("LogSoftmax", "rows columns inner no-dim-two-axes", _rows)


@log_softmax.wrong(r"y stands where eʸ is meant")
def log_softmax_without_exp(dout, logp):
    return dout - logp * dout.sum(-1, keepdims=True)


@log_softmax.wrong(r"diagonal.*sum Σ dy")
def log_softmax_of_each_alone(dout, logp):
    return dout - np.exp(logp) * dout


@log_softmax.wrong(r"eʸ Σ dy is missing")
def log_softmax_passes_it_on(dout, logp):
    return dout


@log_softmax.right
def log_softmax_by_rows(dout, logp):
    p = np.exp(logp)
    dx = np.empty_like(p)
    for i in np.ndindex(p.shape[:-1]):
        dx[i] = dout[i] - p[i] * sum(dout[i])
    return dx


# Dropout and embedding ------------------------------------------------------------------------------------------------


def _dropout(f, layer, state, inputs, dys):
    return {"x": f(dys[0], inputs[1], layer.p)}


dropout = Exercise("Dropout", "half three-tenths in-place none-dropped", _dropout)


@dropout.wrong(r"is \(1 − p\) times")
def dropout_without_rescaling(dout, keep, p):
    return dout * keep


@dropout.wrong(r"mask keep is missing")
def dropout_without_a_mask(dout, keep, p):
    return dout / (1 - p)


@dropout.wrong(r"\(1 − p\)/p times")
def dropout_that_takes_p_for_the_kept(dout, keep, p):
    return dout * keep / p


@dropout.wrong(r"is 1/\(1 − p\) times")
def dropout_rescaled_twice(dout, keep, p):
    mask = keep / (1 - p)
    return dout * mask / (1 - p)


@dropout.right
def dropout_with_an_inverted_mask(dout, keep, p):
    dx = dout / (1.0 - p)
    dx[~keep] = 0
    return dx


def _embedding(f, layer, state, inputs, dys):
    return {"weight": f(dys[0], inputs[0], state["weight"].shape, layer.padding_idx)}


embedding = Exercise("Embedding", "vector matrix three-axes most-rows-unused one-row padding padding-from-the-end", _embedding)


@embedding.wrong(r"more than once is overwritten")
def embedding_by_assignment(dout, x, shape, padding):
    dW = np.zeros(shape)
    dW[x] = dout
    if padding is not None:
        dW[padding] = 0
    return dW


@embedding.wrong(r"more than once is overwritten")
def embedding_by_fancy_addition(dout, x, shape, padding):
    dW = np.zeros(shape)
    dW[x.ravel()] += dout.reshape(-1, shape[1])
    if padding is not None:
        dW[padding] = 0
    return dW


@embedding.wrong(r"row of padding_idx gets a gradient")
def embedding_that_learns_the_padding(dout, x, shape, padding):
    dW = np.zeros(shape)
    np.add.at(dW, x, dout)
    return dW


@embedding.wrong(r"divided by how often it occurs")
def embedding_averaged(dout, x, shape, padding):
    dW = np.zeros(shape)
    np.add.at(dW, x, dout)
    count = np.bincount(x.ravel(), minlength=shape[0])
    if padding is not None:
        dW[padding] = 0
    return dW / np.maximum(count, 1)[:, None]


@embedding.right
def embedding_by_one_hot_product(dout, x, shape, padding):
    one_hot = np.eye(shape[0])[x.reshape(-1)]
    if padding is not None:
        one_hot[:, padding] = 0
    return one_hot.T @ dout.reshape(-1, shape[1])


@embedding.right
def embedding_with_a_loop(dout, x, shape, padding):
    dW = np.zeros(shape)
    for index, row in zip(x.reshape(-1), dout.reshape(-1, shape[1]), strict=True):
        if padding is None or index != padding % shape[0]:
            dW[index] += row
    return dW
