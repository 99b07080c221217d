"""Reads where nothing is."""

import ctypes


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    ctypes.string_at(1)
