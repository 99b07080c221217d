"""The operators, right."""

import numpy

from .autograd import Tensor, TensorOp


def undo_broadcast(grad, shape):
    """The sum over everything that was copied."""
    extra = len(grad.shape) - len(shape)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1)
    return (grad.sum(axes) if axes else grad).reshape(shape)


def with_ones(shape, axes):
    """The shape with 1 where axes were summed away."""
    gone = range(len(shape)) if axes is None else [a % len(shape) for a in axes]
    return tuple(1 if i in gone else n for i, n in enumerate(shape))


class EWiseAdd(TensorOp):
    def compute(self, a, b):
        return b + a

    def gradient(self, out_grad, node):
        return out_grad, out_grad


class AddScalar(TensorOp):
    def __init__(self, scalar):
        self.scalar = scalar

    def compute(self, a):
        return self.scalar + a

    def gradient(self, out_grad, node):
        return out_grad


class EWiseMul(TensorOp):
    def compute(self, a, b):
        return b * a

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return b * out_grad, a * out_grad


class MulScalar(TensorOp):
    def __init__(self, scalar):
        self.scalar = scalar

    def compute(self, a):
        return self.scalar * a

    def gradient(self, out_grad, node):
        return out_grad * self.scalar


class PowerScalar(TensorOp):
    def __init__(self, scalar):
        self.scalar = scalar

    def compute(self, a):
        return numpy.power(a, self.scalar)

    def gradient(self, out_grad, node):
        (a,) = node.inputs
        return out_grad * PowerScalar(self.scalar - 1)(a) * self.scalar


class EWisePow(TensorOp):
    def compute(self, a, b):
        return numpy.power(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return out_grad * b * node / a, out_grad * node * Log()(a)


class EWiseDiv(TensorOp):
    def compute(self, a, b):
        return numpy.divide(a, b)

    def gradient(self, out_grad, node):
        _, b = node.inputs
        return out_grad / b, -out_grad * node / b


class DivScalar(TensorOp):
    def __init__(self, scalar):
        self.scalar = scalar

    def compute(self, a):
        return a * (1 / self.scalar)

    def gradient(self, out_grad, node):
        return out_grad * (1 / self.scalar)


class Negate(TensorOp):
    def compute(self, a):
        return numpy.negative(a)

    def gradient(self, out_grad, node):
        return out_grad * -1


class Log(TensorOp):
    def compute(self, a):
        return numpy.log(a)

    def gradient(self, out_grad, node):
        return out_grad / node.inputs[0]


class Exp(TensorOp):
    def compute(self, a):
        return numpy.exp(a)

    def gradient(self, out_grad, node):
        return node * out_grad


class ReLU(TensorOp):
    def compute(self, a):
        return numpy.maximum(a, 0)

    def gradient(self, out_grad, node):
        return out_grad * Tensor(node.numpy() > 0)


class Tanh(TensorOp):
    def compute(self, a):
        return numpy.tanh(a)

    def gradient(self, out_grad, node):
        return out_grad - out_grad * node * node


class Transpose(TensorOp):
    def __init__(self, axes=None):
        self.axes = axes

    def compute(self, a):
        return numpy.swapaxes(a, *(self.axes or (a.ndim - 2, a.ndim - 1)))

    def gradient(self, out_grad, node):
        return Transpose(self.axes)(out_grad)


class Reshape(TensorOp):
    def __init__(self, shape):
        self.shape = shape

    def compute(self, a):
        return numpy.reshape(a, self.shape)

    def gradient(self, out_grad, node):
        return out_grad.reshape(node.inputs[0].shape)


class BroadcastTo(TensorOp):
    def __init__(self, shape):
        self.shape = shape

    def compute(self, a):
        return numpy.array(numpy.broadcast_to(a, self.shape))

    def gradient(self, out_grad, node):
        return undo_broadcast(out_grad, node.inputs[0].shape)


class Summation(TensorOp):
    def __init__(self, axes=None):
        self.axes = axes

    def compute(self, a):
        return numpy.sum(a, axis=self.axes)

    def gradient(self, out_grad, node):
        shape = node.inputs[0].shape
        return out_grad.reshape(with_ones(shape, self.axes)).broadcast_to(shape)


class Flip(TensorOp):
    def __init__(self, axes=None):
        self.axes = axes

    def compute(self, a):
        return numpy.flip(a, self.axes).copy()

    def gradient(self, out_grad, node):
        return Flip(self.axes)(out_grad)


class Dilate(TensorOp):
    def __init__(self, axes, dilation):
        self.axes, self.dilation = axes, dilation

    def compute(self, a):
        step = self.dilation + 1
        out = numpy.zeros([n * step if i in self.axes else n for i, n in enumerate(a.shape)])
        out[tuple(slice(None, None, step) if i in self.axes else slice(None) for i in range(a.ndim))] = a
        return out

    def gradient(self, out_grad, node):
        step, grad = self.dilation + 1, out_grad.numpy()
        return Tensor(grad[tuple(slice(None, None, step) if i in self.axes else slice(None) for i in range(grad.ndim))])


class MatMul(TensorOp):
    def compute(self, a, b):
        return numpy.matmul(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        da = out_grad @ b.transpose()
        db = a.transpose() @ out_grad
        return undo_broadcast(da, a.shape), undo_broadcast(db, b.shape)


class Conv(TensorOp):
    def __init__(self, stride=1, padding=0):
        self.stride, self.padding = stride, padding

    def places(self, h, w, k):
        for i in range((h - k) // self.stride + 1):
            for j in range((w - k) // self.stride + 1):
                yield i, j, slice(i * self.stride, i * self.stride + k), slice(j * self.stride, j * self.stride + k)

    def padded(self, a):
        p = self.padding
        return numpy.pad(a, ((0, 0), (p, p), (p, p), (0, 0)))

    def compute(self, a, b):
        a, k = self.padded(a), b.shape[0]
        spots = list(self.places(a.shape[1], a.shape[2], k))
        out = numpy.zeros((len(a), 1 + spots[-1][0], 1 + spots[-1][1], b.shape[3]))
        for i, j, rows, columns in spots:
            out[:, i, j] = numpy.einsum("nhwi,hwio->no", a[:, rows, columns], b)
        return out

    def gradient(self, out_grad, node):
        a, b = (t.numpy() for t in node.inputs)
        wide, grad, p = self.padded(a), out_grad.numpy(), self.padding
        da, db = numpy.zeros_like(wide), numpy.zeros_like(b)
        for i, j, rows, columns in self.places(wide.shape[1], wide.shape[2], b.shape[0]):
            da[:, rows, columns] += numpy.einsum("no,hwio->nhwi", grad[:, i, j], b)
            db += numpy.einsum("nhwi,no->hwio", wide[:, rows, columns], grad[:, i, j])
        return Tensor(da[:, p : da.shape[1] - p, p : da.shape[2] - p]), Tensor(db)


class LogSumExp(TensorOp):
    def __init__(self, axes=None):
        self.axes = axes

    def compute(self, a):
        top = numpy.max(a, axis=self.axes, keepdims=True)
        return numpy.log(numpy.exp(a - top).sum(axis=self.axes)) + top.squeeze(self.axes)

    def gradient(self, out_grad, node):
        (a,) = node.inputs
        kept = with_ones(a.shape, self.axes)
        wide = node.reshape(kept).broadcast_to(a.shape)
        return out_grad.reshape(kept).broadcast_to(a.shape) * Exp()(a - wide)


class LogSoftmax(TensorOp):
    def compute(self, a):
        moved = a - a.max(axis=1, keepdims=True)
        return moved - numpy.log(numpy.exp(moved).sum(axis=1, keepdims=True))

    def gradient(self, out_grad, node):
        total = out_grad.sum((1,)).reshape(with_ones(node.shape, (1,))).broadcast_to(node.shape)
        return out_grad - Exp()(node) * total
