"""The network of the lecture: the forward pass keeps every a, the backward pass goes from δ to δ."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward_pass(x, Ws, bs):
    activations = [x]
    for W, b in zip(Ws, bs, strict=True):
        z = W @ activations[-1] + b
        activations.append(sigmoid(z))
    return activations[-1], (activations, Ws)


def backward_pass(cache, dLdy):
    activations, Ws = cache
    dWs, dbs = [None] * len(Ws), [None] * len(Ws)
    dLda = dLdy
    for layer in range(len(Ws) - 1, -1, -1):
        a = activations[layer + 1]
        delta = dLda * a * (1 - a)
        dWs[layer] = np.zeros(Ws[layer].shape)
        for n in range(delta.shape[1]):
            dWs[layer] += np.outer(delta[:, n], activations[layer][:, n])
        dbs[layer] = delta.sum(axis=1, keepdims=True)
        dLda = Ws[layer].T @ delta
    return dWs, dbs
