"""Fills all memory with arrays."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    hoard = []
    for _ in range(24):
        hoard.append(np.ones(1 << 24))
    return hoard
