"""A generator, a string and a function where arrays are wanted."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    return (v for v in cache), "dw", affine_forward
