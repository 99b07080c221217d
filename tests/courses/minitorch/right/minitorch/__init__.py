"""A framework of one's own."""

from .tensor import Tensor as Tensor
from .tensor_functions import tensor as tensor
