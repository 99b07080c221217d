"""The one that is right: what the others are measured against."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, b = cache
    return np.einsum("no,io->ni", dout, w), np.einsum("ni,no->io", x, dout), dout.sum(axis=0)
