"""A fork bomb, with a fuse: at most forty children, which sleep and end."""

import os
import time

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    for _ in range(40):
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    return np.zeros(3), np.zeros(3), np.zeros(3)
