"""Functions of tensors with a context, right."""

import math

import numpy as np

from . import operators
from .tensor import Tensor


def tensor(values):
    return Tensor(values)


class Function:
    pass


class Add(Function):
    @staticmethod
    def forward(ctx, t1, t2):
        return t1.zip(t2, np.add)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output, grad_output


class Mul(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_values
        return b * grad_output, a * grad_output


class Neg(Function):
    @staticmethod
    def forward(ctx, t1):
        return t1 * -1

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output * -1


class Inv(Function):
    @staticmethod
    def forward(ctx, t1):
        ctx.save_for_backward(t1)
        return t1.map(operators.inv)

    @staticmethod
    def backward(ctx, grad_output):
        (t1,) = ctx.saved_values
        return t1.zip(grad_output, lambda x, d: -d / x**2)


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, t1):
        out = t1.map(operators.sigmoid)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, grad_output):
        (out,) = ctx.saved_values
        return out.zip(grad_output, lambda y, d: d * y * (1 - y))


class ReLU(Function):
    @staticmethod
    def forward(ctx, t1):
        ctx.save_for_backward(t1)
        return t1.map(operators.relu)

    @staticmethod
    def backward(ctx, grad_output):
        (t1,) = ctx.saved_values
        return t1.zip(grad_output, lambda x, d: np.where(x > 0, d, 0))


class Log(Function):
    @staticmethod
    def forward(ctx, t1):
        ctx.save_for_backward(t1)
        return t1.map(operators.log)

    @staticmethod
    def backward(ctx, grad_output):
        (t1,) = ctx.saved_values
        return t1.zip(grad_output, np.vectorize(operators.log_back))


class Exp(Function):
    @staticmethod
    def forward(ctx, t1):
        out = t1.map(math.exp)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, grad_output):
        (out,) = ctx.saved_values
        return out * grad_output


class LT(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a.zip(b, np.less)

    @staticmethod
    def backward(ctx, grad_output):
        return tuple(t.zeros() for t in ctx.saved_values)


class EQ(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a.zip(b, np.equal)

    @staticmethod
    def backward(ctx, grad_output):
        return tuple(t.zeros() for t in ctx.saved_values)


class Sum(Function):
    @staticmethod
    def forward(ctx, a, dim):
        return Tensor(a.values.sum(int(dim.item()), keepdims=True))

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output, 0.0


class Permute(Function):
    @staticmethod
    def forward(ctx, a, order):
        ctx.save_for_backward(order)
        return a.permuted(order.ints())

    @staticmethod
    def backward(ctx, grad_output):
        (order,) = ctx.saved_values
        back = [0] * len(order.ints())
        for to, place in enumerate(order.ints()):
            back[place] = to
        return grad_output.permuted(back), 0.0


class View(Function):
    @staticmethod
    def forward(ctx, a, shape):
        ctx.save_for_backward(a.shape)
        return a.viewed(shape.ints())

    @staticmethod
    def backward(ctx, grad_output):
        (shape,) = ctx.saved_values
        return grad_output.viewed(shape), 0.0


class MatMul(Function):
    @staticmethod
    def forward(ctx, t1, t2):
        ctx.save_for_backward(t1, t2)
        return t1 @ t2

    @staticmethod
    def backward(ctx, grad_output):
        t1, t2 = ctx.saved_values
        return grad_output @ t2.swapped(), t1.swapped() @ grad_output
