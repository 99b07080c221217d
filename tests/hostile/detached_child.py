"""A child in a session of its own, which outlives a killed process group."""

import os
import time

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    if os.fork() == 0:
        os.setsid()
        time.sleep(20)
        os._exit(0)
    return np.zeros(3), np.zeros(3), np.zeros(3)
