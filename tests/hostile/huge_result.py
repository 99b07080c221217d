"""Returns an array of a petabyte that takes no memory."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    return np.broadcast_to(1.0, (1 << 20, 1 << 27)), dout, dout
