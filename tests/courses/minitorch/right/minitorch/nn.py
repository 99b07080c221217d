"""What networks need, right."""

import numpy as np

from .tensor_functions import Function, Tensor


class Max(Function):
    @staticmethod
    def forward(ctx, a, dim):
        axis = int(dim.item())
        first = a.values.argmax(axis)
        ctx.save_for_backward(np.moveaxis(np.eye(a.shape[axis])[first], -1, axis))
        return Tensor(a.values.max(axis, keepdims=True))

    @staticmethod
    def backward(ctx, grad_output):
        (mask,) = ctx.saved_values
        return grad_output * Tensor(mask), 0.0
