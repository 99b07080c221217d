"""Right numbers in the wrong types: half precision, integers, objects."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, b = cache
    return (dout @ w.T).astype(np.float16), (x.T @ dout).astype(int), dout.sum(0).astype(object)
