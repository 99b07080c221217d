"""Error budgets: how far two results may be apart, with no tolerance written by anyone who uses refbp.

The error is normwise, the largest difference of a tensor over its largest value: element-wise relative error is
unbounded wherever terms cancel. In float64 a result may differ by

    C · eps · √fan · max(‖reference‖, condition)

where fan is the size of the largest array that took part (rounding errors of a sum of n terms grow as √n), and the
condition is measured, not guessed: it is torch's own float32 error on the same case in units of float32's eps. A case
that torch loses digits on in float32 loses as many in float64. In float32 a result may be at most K times as far from
the float64 result of the same, already rounded inputs as torch's float32 result is, and C · eps · √fan in any case.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance.outcome import Difference

Array = NDArray[Any]

C = 8.0
K = 8.0
MOST_DIGITS = {"float64": 16.0, "float32": 7.5}


def norm(a: Array) -> float:
    """The largest finite magnitude."""
    finite = np.abs(a[np.isfinite(a)]) if a.dtype.kind == "f" else np.abs(a)
    return float(finite.max(initial=0))


def error(got: Array, reference: Array) -> float:
    """The largest difference; infinite where one has a NaN or an infinity that the other has not."""
    if got.size == 0:
        return 0.0
    if got.dtype.kind != "f":
        return float(np.abs(got.astype(float) - reference.astype(float)).max(initial=0))
    with np.errstate(all="ignore"):
        apart = np.abs(got.astype(np.float64) - reference.astype(np.float64))
    same = (got == reference) | (np.isnan(got) & np.isnan(reference))
    apart = np.where(same, 0, np.where(np.isfinite(apart), apart, np.inf))
    return float(apart.max(initial=0))


def tolerance(dtype: Any, fan: int, scale: float) -> float:
    """C · eps · √fan · scale."""
    return C * float(np.finfo(dtype).eps) * math.sqrt(max(fan, 1)) * scale


def digits(error_: float, scale: float, dtype: Any = np.float64) -> float:
    """Decimal digits of agreement, normwise."""
    most = MOST_DIGITS.get(np.dtype(dtype).name, 16.0)
    if error_ == 0:
        return most
    if scale == 0 or not math.isfinite(error_):
        return 0.0
    return min(most, max(0.0, -math.log10(error_ / scale)))


def difference(what: str, got: Array, reference: Array, allowed: float, dtype: Any = np.float64) -> Difference:
    """The worst element of two arrays of the same shape."""
    with np.errstate(all="ignore"):
        apart = np.abs(got.astype(np.float64) - reference.astype(np.float64))
    same = (got == reference) | (np.isnan(got) & np.isnan(reference))
    apart = np.where(same, 0, np.where(np.isnan(apart), np.inf, apart))
    index = np.unravel_index(int(apart.argmax()), apart.shape) if apart.ndim else ()
    scale = norm(reference) or norm(got)
    return Difference(
        what,
        tuple(int(i) for i in index),
        got[index].item(),
        reference[index].item(),
        digits(float(apart.max(initial=0)), scale, dtype),
        digits(allowed, scale, dtype) if allowed else MOST_DIGITS.get(np.dtype(dtype).name, 16.0),
    )
