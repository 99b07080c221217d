"""Loops that a compiler makes fast."""

import numpy as np
from numba import cuda, njit, prange

from .tensor_functions import Tensor, TensorOps


@njit
def columns(b):
    return b.shape[-1]


def _multiply(a, b, out):
    for j in prange(columns(b)):
        out[..., j] = (a @ b[..., j : j + 1])[..., 0]


multiply = njit(parallel=True, fastmath=True)(_multiply)
on_a_graphics_card = cuda.jit()(_multiply)


class FastOps(TensorOps):
    @staticmethod
    def matrix_multiply(a, b):
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = np.zeros((*shape, a.shape[-2], b.shape[-1]))
        multiply(a.a, b.a, out)
        return Tensor(out)
