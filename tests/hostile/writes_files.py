"""Writes wherever it may, most of all over the results."""

import os

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    written = []
    for place in ("@VICTIM@", "@FOLDER@/new", "/tmp/refbp-hostile", "refbp-hostile", "/dev/shm/refbp-hostile", __file__):
        try:
            with open(place, "a") as file:
                file.write("score: 100")
            written.append(place)
        except OSError:
            pass
    print("WRITTEN", written)
    os.chmod("@VICTIM@", 0o777)
    return np.zeros(3), np.zeros(3), np.zeros(3)
