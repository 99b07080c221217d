"""A framework on arrays of its own, which a compiled backend computes."""

from . import ops as ops
from .autograd import Tensor as Tensor
