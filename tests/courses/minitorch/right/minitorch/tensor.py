"""A tensor: numbers and a shape."""

import numpy as np


class Tensor:
    def __init__(self, values):
        self.values = np.array(values, float)

    @property
    def shape(self):
        return self.values.shape

    def to_numpy(self):
        return self.values

    def item(self):
        return self.values.item()

    def ints(self):
        return tuple(int(v) for v in self.values)

    def map(self, function):
        return Tensor(np.vectorize(function)(self.values))

    def zip(self, other, function):
        return Tensor(function(self.values, other.values))

    def zeros(self):
        return Tensor(np.zeros(self.shape))

    def permuted(self, order):
        return Tensor(self.values.transpose(order))

    def viewed(self, shape):
        return Tensor(self.values.reshape(shape))

    def swapped(self):
        return Tensor(self.values.swapaxes(-1, -2))

    def __matmul__(self, other):
        return Tensor(self.values @ other.values)

    def __mul__(self, other):
        return Tensor(self.values * (other.values if isinstance(other, Tensor) else other))
