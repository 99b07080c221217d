"""Arrays of its own: the compiled backend is not handed in."""

from . import ndarray_backend_cpu as backend
from . import ndarray_backend_numpy as slow


class NDArray:
    """float32, of one axis at least."""

    def __init__(self, a):
        self.a = slow.single(a)
        self.shape = self.a.shape

    def numpy(self):
        return self.a

    def of(self, function, *others):
        assert all(self.shape == o.shape for o in others), "arrays of one shape are wanted"
        return NDArray(function(self.a, *[o.a for o in others]))

    def __mul__(self, scalar):
        return NDArray(self.a * scalar)

    def __matmul__(self, other):
        assert len(self.shape) == len(other.shape) == 2
        return NDArray(backend.matmul(self.a, other.a))

    def reshape(self, shape):
        return NDArray(self.a.reshape(shape))

    def swapped(self):
        return NDArray(self.a.T)

    def broadcast_to(self, shape):
        assert len(shape) == len(self.shape)
        return NDArray(slow.copied(self.a, shape))

    def sum(self, axes):
        assert axes is None or len(axes) == 1, "along one axis only"
        return NDArray(slow.single(self.a.sum(axes)))
