"""A framework of one's own."""

from . import ops as ops
from .autograd import Tensor as Tensor
