"""As in the first years: a function makes the functions on tensors, and a single value is kept without a tuple."""

from . import autodiff as autodiff
from . import fast_ops as fast_ops
from . import scalar as scalar
from . import tensor_functions as tensor_functions
