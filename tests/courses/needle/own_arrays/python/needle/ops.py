"""Operators on arrays of its own."""

from .autograd import Tensor, TensorOp


class EWiseAdd(TensorOp):
    def compute(self, a, b):
        return a.of(lambda x, y: x + y, b)

    def gradient(self, out_grad, node):
        return out_grad, out_grad


class EWiseMul(TensorOp):
    def compute(self, a, b):
        return a.of(lambda x, y: x * y, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return out_grad * b, out_grad * a


class EWisePow(TensorOp):
    def compute(self, a, b):
        return a.of(lambda x, y: x**y, b)

    def gradient(self, out_grad, node):
        if not all(isinstance(i, int) for i in node.inputs):
            raise ValueError("Both inputs must be tensors (NDArray).")


class MatMul(TensorOp):
    def compute(self, a, b):
        return a @ b

    def gradient(self, out_grad, node):
        a, b = (Tensor(i.cached_data.swapped()) for i in node.inputs)
        return out_grad @ b, a @ out_grad


class Summation(TensorOp):
    def __init__(self, axes=None):
        self.axes = axes

    def compute(self, a):
        return a.sum(self.axes)

    def gradient(self, out_grad, node):
        shape = node.inputs[0].shape
        ones = [1 if self.axes is None or i in self.axes else n for i, n in enumerate(shape)]
        return Tensor(out_grad.cached_data.reshape(ones).broadcast_to(shape))
