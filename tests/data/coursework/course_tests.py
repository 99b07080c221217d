"""Tests as a course writes them: one configuration, upstream gradients of ones, a numerical gradient."""

import unittest

import numpy as np
from layers import affine_backward, affine_forward, relu_backward, relu_forward


def numerical(f, x, h=1e-5):
    found = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + h
        above = f(x).sum()
        x[i] = kept - h
        below = f(x).sum()
        x[i] = kept
        found[i] = (above - below) / (2 * h)
    return found


class TestLayers(unittest.TestCase):
    def test_affine(self):
        rng = np.random.default_rng(231)
        x, w, b = rng.normal(size=(1, 6)), rng.normal(size=(6, 5)), rng.normal(size=5)
        out, cache = affine_forward(x, w, b)
        dx, dw, db = affine_backward(np.ones_like(out), cache)
        assert np.allclose(dx, numerical(lambda x: affine_forward(x, w, b)[0], x))
        assert np.allclose(dw, numerical(lambda w: affine_forward(x, w, b)[0], w))
        assert np.allclose(db, numerical(lambda b: affine_forward(x, w, b)[0], b))

    def test_relu(self):
        x = np.linspace(-0.5, 0.5, num=12).reshape(3, 4)
        out, cache = relu_forward(x)
        assert np.allclose(out, np.maximum(x, 0))
        assert np.allclose(relu_backward(np.ones_like(out), cache), x > 0)
