"""Waits for somebody to type the answer."""


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    return input("gradient? ")
