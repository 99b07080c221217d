"""A submission with two mistakes: a mean for a sum, and a ReLU that lets everything pass."""

import numpy as np


def affine_forward(x, w, b):
    return np.dot(x.reshape(len(x), -1), w) + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return dout.dot(w.T).reshape(x.shape), x.reshape(len(x), -1).T.dot(dout), np.mean(dout, axis=0)


def relu_forward(x):
    return x * (x > 0), x


def relu_backward(dout, cache):
    return dout
