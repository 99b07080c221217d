"""Raises what is meant for whoever sits at the keyboard."""


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    raise KeyboardInterrupt
