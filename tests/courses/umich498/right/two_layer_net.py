"""A network of two layers as functions of a dict of parameters."""

import torch


def nn_forward_pass(params, X):
    hidden = (X.mm(params["W1"]) + params["b1"]).clamp(min=0)
    return hidden.mm(params["W2"]) + params["b2"], hidden


def nn_forward_backward(params, X, y=None, reg=0.0):
    W1, W2 = params["W1"], params["W2"]
    n = X.shape[0]
    scores, h1 = nn_forward_pass(params, X)
    if y is None:
        return scores
    shifted = scores - scores.max(dim=1, keepdim=True).values
    log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    rows = torch.arange(n)
    loss = -log_p[rows, y].sum() / n + reg * ((W1 * W1).sum() + (W2 * W2).sum())
    d = log_p.exp()
    d[rows, y] -= 1
    d /= n
    grads = {"W2": h1.t().mm(d) + 2 * reg * W2, "b2": d.sum(dim=0)}
    dh = d.mm(W2.t())
    dh[h1 <= 0] = 0
    grads["W1"] = X.t().mm(dh) + 2 * reg * W1
    grads["b1"] = dh.sum(dim=0)
    return loss, grads
