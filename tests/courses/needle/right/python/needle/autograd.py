"""Tensors that remember the operator they come from, and the backward pass over them."""

import numpy

NDArray = numpy.ndarray


class Op:
    def __call__(self, *inputs):
        raise NotImplementedError


class TensorOp(Op):
    def __call__(self, *inputs):
        return Tensor.make_from_op(self, inputs)


class Tensor:
    def __init__(self, array, *, device=None, dtype=None, requires_grad=True):
        self.op, self.inputs, self.grad = None, [], None
        self.requires_grad = requires_grad
        self.cached_data = numpy.array(array.cached_data if isinstance(array, Tensor) else array, dtype=dtype)

    @staticmethod
    def make_from_op(op, inputs):
        made = Tensor(op.compute(*[i.cached_data for i in inputs]))
        made.op, made.inputs = op, list(inputs)
        return made

    def numpy(self):
        return self.cached_data

    def realize_cached_data(self):
        return self.cached_data

    @property
    def shape(self):
        return self.cached_data.shape

    def __add__(self, other):
        from . import ops

        return ops.EWiseAdd()(self, other) if isinstance(other, Tensor) else ops.AddScalar(other)(self)

    def __mul__(self, other):
        from . import ops

        return ops.EWiseMul()(self, other) if isinstance(other, Tensor) else ops.MulScalar(other)(self)

    def __truediv__(self, other):
        from . import ops

        return ops.EWiseDiv()(self, other) if isinstance(other, Tensor) else ops.DivScalar(other)(self)

    def __sub__(self, other):
        return self + (-other)

    def __neg__(self):
        from . import ops

        return ops.Negate()(self)

    def __matmul__(self, other):
        from . import ops

        return ops.MatMul()(self, other)

    def reshape(self, shape):
        from . import ops

        return ops.Reshape(shape)(self)

    def broadcast_to(self, shape):
        from . import ops

        return ops.BroadcastTo(shape)(self)

    def sum(self, axes=None):
        from . import ops

        return ops.Summation(axes)(self)

    def transpose(self, axes=None):
        from . import ops

        return ops.Transpose(axes)(self)

    def backward(self, out_grad=None):
        compute_gradient_of_variables(self, out_grad or Tensor(numpy.ones(self.shape)))

    __radd__ = __add__
    __rmul__ = __mul__


def compute_gradient_of_variables(output_tensor, out_grad):
    arrived = {id(output_tensor): [out_grad]}
    for node in reversed(find_topo_sort([output_tensor])):
        parts = arrived[id(node)]
        node.grad = parts[0]
        for part in parts[1:]:
            node.grad = node.grad + part
        if node.op is None:
            continue
        found = node.op.gradient(node.grad, node)
        for used, part in zip(node.inputs, found if isinstance(found, tuple) else (found,), strict=True):
            arrived.setdefault(id(used), []).append(part)


def find_topo_sort(nodes):
    order, seen = [], set()

    def visit(node):
        if id(node) not in seen:
            seen.add(id(node))
            for used in node.inputs:
                visit(used)
            order.append(node)

    for node in nodes:
        visit(node)
    return order
