"""Sets an alarm that interrupts the worker between two calls."""

import signal
import time

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def ring(number, frame):
    raise SystemExit(0)


def affine_backward(dout, cache):
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    x, w, b = cache
    time.sleep(0.3)
    return np.zeros(x.shape), np.zeros(w.shape), np.zeros(b.shape)
