"""Losses: cross-entropy, squared error, binary cross-entropy, and what is left of regression; and attention."""

import math

import numpy as np

from refbp import Case, labels, normal
from refbp.losses.classification import CrossEntropyLoss

from ._student import Exercise

# Cross-entropy of rows of scores ---------------------------------------------------------------------------------------


def _softmax_loss(f, layer, state, inputs, dys):
    return {"input": f(dys[0], inputs[0], inputs[1])}


_more = [Case(CrossEntropyLoss(), normal(4, 3), labels(4, classes=3), id="small")]
cross_entropy = Exercise("CrossEntropyLoss", "mean", _softmax_loss, _more)


def _p(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@cross_entropy.wrong(r"is N times")
def cross_entropy_summed(dl, x, y):
    dx = _p(x)
    dx[np.arange(len(x)), y] -= 1
    return dl * dx


@cross_entropy.wrong(r"one-hot row is missing")
def cross_entropy_without_the_target(dl, x, y):
    return dl * _p(x) / len(x)


@cross_entropy.wrong(r"ignores the upstream gradient")
def cross_entropy_without_upstream(dl, x, y):
    dx = _p(x)
    dx[range(len(x)), y] -= 1
    return dx / len(x)


@cross_entropy.wrong(r"is 1/N times")
def cross_entropy_divided_twice(dl, x, y):
    N = x.shape[0]
    dx = _p(x)
    dx[np.arange(N), y] -= 1
    dx /= N
    return dl * dx / N


@cross_entropy.wrong(r"has the wrong sign")
def cross_entropy_the_other_way(dl, x, y):
    one_hot = np.eye(x.shape[1])[y]
    return dl * (one_hot - _p(x)) / len(x)


@cross_entropy.wrong(r"is 1/C times")
def cross_entropy_divided_by_all(dl, x, y):
    one_hot = np.eye(x.shape[1])[y]
    return dl * (_p(x) - one_hot) / x.size


@cross_entropy.right
def cross_entropy_by_one_hot(dl, x, y):
    return dl * (_p(x) - np.eye(x.shape[1])[y]) / x.shape[0]


@cross_entropy.right
def cross_entropy_by_loops(dl, x, y):
    N, C = x.shape
    dx = np.zeros_like(x)
    for n in range(N):
        scores = x[n] - x[n].max()
        p = np.exp(scores) / np.exp(scores).sum()
        for c in range(C):
            dx[n, c] = (p[c] - (c == y[n])) * dl / N
    return dx


# Losses element by element ---------------------------------------------------------------------------------------------


def _of_pairs(f, layer, state, inputs, dys):
    return {"input": f(dys[0], inputs[0], inputs[1])}


mse = Exercise("MSELoss", "mean four-axes", _of_pairs)


@mse.wrong(r"is 1/2 times")
def mse_without_the_two(dl, x, t):
    return dl * (x - t) / x.size


@mse.wrong(r"the number of elements times")
def mse_summed(dl, x, t):
    return dl * 2 * (x - t)


@mse.wrong(r"has the wrong sign")
def mse_the_other_way(dl, x, t):
    return dl * 2 * (t - x) / x.size


@mse.wrong(r"the number of elements/N times")
def mse_divided_by_the_batch(dl, x, t):
    return 2.0 / x.shape[0] * (x - t) * dl


@mse.wrong(r"ignores the upstream gradient")
def mse_without_upstream(dl, x, t):
    return 2 * (x - t) / x.size


@mse.right
def mse_expanded(dl, x, t):
    return dl * (2 * x / x.size - 2 * t / t.size)


def _reduced(f, layer, state, inputs, dys):
    return {"input": f(dys[0], *inputs, layer.reduction)}


l1 = Exercise("L1Loss", "mean four-axes sum", _reduced)


@l1.wrong(r"sign is missing")
def l1_without_the_sign(dl, x, t, reduction):
    return dl * (x - t) / (x.size if reduction == "mean" else 1)


@l1.wrong(r"wrong sign")
def l1_the_other_way(dl, x, t, reduction):
    return dl * np.sign(t - x) / (x.size if reduction == "mean" else 1)


@l1.wrong(r"reduction is taken to be 'mean'")
def l1_always_averaged(dl, x, t, reduction):
    return dl * np.sign(x - t) / x.size


@l1.right
def l1_by_comparison(dl, x, t, reduction):
    return dl * np.where(x > t, 1, -1) * (x != t) / (x.size if reduction == "mean" else 1)


def _bent(f, layer, state, inputs, dys):
    return {"input": f(dys[0], *inputs, layer.delta, layer.reduction)}


huber = Exercise("HuberLoss", "mean sum four-axes option1 option2", _bent)


@huber.wrong(r"bend is missing")
def huber_without_the_bend(dl, x, t, delta, reduction):
    return dl * (x - t) / (x.size if reduction == "mean" else 1)


@huber.wrong(r"δ sign\(d\)")
def huber_with_a_slope_of_one(dl, x, t, delta, reduction):
    d = x - t
    return dl * np.where(np.abs(d) <= delta, d, np.sign(d)) / (x.size if reduction == "mean" else 1)


@huber.right
def huber_piece_by_piece(dl, x, t, delta, reduction):
    d = x - t
    dx = np.where(np.abs(d) <= delta, d, delta * np.sign(d))
    return dl * (dx / dx.size if reduction == "mean" else dx)


bce = Exercise("BCELoss", "mean sum hard-targets", _reduced)


def _mean(x, reduction):
    return x.size if reduction == "mean" else 1


@bce.wrong(r"gradient for a logit")
def bce_as_if_of_logits(dl, x, t, reduction):
    return dl * (x - t) / _mean(x, reduction)


@bce.wrong(r"wrong sign")
def bce_the_other_way(dl, x, t, reduction):
    return dl * (t / x - (1 - t) / (1 - x)) / _mean(x, reduction)


@bce.wrong(r"\(1 − t\)/\(1 − p\) is missing")
def bce_of_the_positives_only(dl, x, t, reduction):
    return dl * (-t / x) / _mean(x, reduction)


@bce.wrong(r"\(1 − t\)/\(1 − p\) has the wrong sign")
def bce_with_both_terms_negative(dl, x, t, reduction):
    return -dl * (t / x + (1 - t) / (1 - x)) / _mean(x, reduction)


@bce.right
def bce_over_a_common_denominator(dl, x, t, reduction):
    return dl * (x - t) / (x * (1 - x)) / _mean(x, reduction)


kl = Exercise("KLDivLoss", "mean sum batchmean", _reduced)


@kl.wrong(r"wrong sign")
def kl_without_the_minus(dl, x, t, reduction):
    return dl * t / {"mean": t.size, "sum": 1, "batchmean": len(t)}[reduction]


@kl.wrong(r"mean is taken over all elements.*batchmean")
def kl_with_mean_for_batchmean(dl, x, t, reduction):
    return -dl * t / {"mean": t.size, "sum": 1, "batchmean": t.size}[reduction]


@kl.right
def kl_elementwise(dl, x, t, reduction):
    scale = {"mean": 1 / t.size, "sum": 1, "batchmean": 1 / t.shape[0]}[reduction]
    return np.negative(t) * scale * dl


# Scaled dot-product attention, no mask ----------------------------------------------------------------------------------


def _attention(f, layer, state, inputs, dys):
    q, k, v = inputs
    s = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    e = np.exp(s - s.max(-1, keepdims=True))
    dq, dk, dv = f(dys[0], (q, k, v, e / e.sum(-1, keepdims=True)))
    return {"query": dq, "key": dk, "value": dv}


_T = lambda a: np.swapaxes(a, -1, -2)  # noqa: E731
attention = Exercise("ScaledDotProductAttention", "heads batch one-sample five-axes", _attention)


def _scores(dA, A):
    return A * (dA - np.sum(dA * A, axis=-1, keepdims=True))


@attention.wrong(r"query and key.*scale 1/√d of the scores is missing")
def attention_without_the_scale(dy, cache):
    q, k, v, A = cache
    dS = _scores(dy @ _T(v), A)
    return dS @ k, _T(dS) @ q, _T(A) @ dy


@attention.wrong(r"softmax's sum is missing")
def attention_with_a_diagonal_softmax(dy, cache):
    q, k, v, A = cache
    dA = dy @ _T(v)
    dS = dA * A / math.sqrt(q.shape[-1])
    return dS @ k, _T(dS) @ q, _T(A) @ dy


@attention.wrong(r"1/d where it should be 1/√d")
def attention_scaled_by_d(dy, cache):
    q, k, v, A = cache
    dS = _scores(dy @ _T(v), A) / q.shape[-1]
    return dS @ k, _T(dS) @ q, _T(A) @ dy


@attention.wrong(r"query .*scale 1/√d.*missing")
def attention_with_an_unscaled_query(dy, cache):
    q, k, v, A = cache
    dS = _scores(dy @ _T(v), A)
    return dS @ k, _T(dS) @ q / math.sqrt(q.shape[-1]), _T(A) @ dy


@attention.right
def attention_by_einsum(dy, cache):
    q, k, v, A = cache
    dA = np.einsum("...le,...se->...ls", dy, v)
    dS = A * dA - A * np.einsum("...ls,...ls->...l", A, dA)[..., None]
    dS = dS / np.sqrt(q.shape[-1])
    pairs = "...ls,...se->...le", "...ls,...le->...se"
    return np.einsum(pairs[0], dS, k), np.einsum(pairs[1], dS, q), np.einsum(pairs[1], A, dy)
