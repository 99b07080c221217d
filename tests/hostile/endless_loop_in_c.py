"""Never answers, and never comes back to the interpreter either."""

import itertools


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    return sum(itertools.repeat(1, 10**15))
