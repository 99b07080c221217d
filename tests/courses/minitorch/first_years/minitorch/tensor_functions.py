"""The functions on tensors, made for one kind of operations or another."""

import numpy as np

from .autodiff import FunctionBase


class Tensor:
    def __init__(self, a, backend=None):
        self.a, self.backend = np.asarray(a, float), backend

    @property
    def shape(self):
        return self.a.shape

    def to_numpy(self):
        return self.a


class TensorOps:
    @staticmethod
    def matrix_multiply(a, b):
        raise NotImplementedError("these multiply no matrices")


class Function(FunctionBase):
    pass


def make_tensor_backend(tensor_ops):
    class Backend:
        class Mul(Function):
            @staticmethod
            def forward(ctx, a, b):
                ctx.save_for_backward(a, b)
                return Tensor(a.a * b.a)

            @staticmethod
            def backward(ctx, d):
                a, b = ctx.saved_values
                return Tensor(d.a * b.a), Tensor(d.a * a.a)

        class Sum(Function):
            @staticmethod
            def forward(ctx, a, dim):
                return Tensor(a.a.sum(dim, keepdims=True))

            @staticmethod
            def backward(ctx, d):
                return d

        class Permute(Function):
            @staticmethod
            def forward(ctx, a, order):
                ctx.save_for_backward(order)
                return Tensor(a.a.transpose(order))

            @staticmethod
            def backward(ctx, d):
                order = ctx.saved_values
                return Tensor(d.a.transpose([order.index(i) for i in range(len(order))]))

        class MatMul(Function):
            @staticmethod
            def forward(ctx, a, b):
                ctx.save_for_backward(a, b)
                return tensor_ops.matrix_multiply(a, b)

            @staticmethod
            def backward(ctx, d):
                a, b = ctx.saved_values
                turned = [Tensor(t.a.swapaxes(-1, -2)) for t in (a, b)]
                return tensor_ops.matrix_multiply(d, turned[1]), tensor_ops.matrix_multiply(turned[0], d)

    return Backend


TensorFunctions = make_tensor_backend(TensorOps)


def tensor(ls, backend=TensorFunctions):
    return Tensor(ls, backend)
