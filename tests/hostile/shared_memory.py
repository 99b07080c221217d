"""Leaves memory behind that belongs to no process."""

from multiprocessing import shared_memory

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    shared_memory.SharedMemory(name="refbp-hostile", create=True, size=1 << 20)
    return np.zeros(3), np.zeros(3), np.zeros(3)
