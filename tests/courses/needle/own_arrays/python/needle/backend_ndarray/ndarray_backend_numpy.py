"""What the compiled backend does, in NumPy."""

import numpy


def single(a):
    return numpy.atleast_1d(numpy.asarray(a, numpy.float32))


def matmul(a, b):
    return a @ b


def copied(a, shape):
    return numpy.broadcast_to(a, shape).copy()
