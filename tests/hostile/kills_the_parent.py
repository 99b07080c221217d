"""Signals whoever started it, and everybody else."""

import os
import signal

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    reached = []
    # The tests must not end anybody even if all else fails: their own process catches this signal, and 0 is none
    for pid, number in ((int("@PARENT@"), signal.SIGUSR2), (-1, 0), (0, 0)):
        try:
            os.kill(pid, number)
            reached.append(pid)
        except OSError:
            pass
    print("REACHED", reached)
    return np.zeros(3), np.zeros(3), np.zeros(3)
