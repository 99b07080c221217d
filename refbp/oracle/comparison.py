"""One array, got and expected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.oracle.observation import differs

Array = NDArray[Any]
SINGLE = 1e-4  # relative to the largest element: what float32 results are held to


@dataclass(frozen=True, eq=False)
class Comparison:
    """One array, got and expected. ``status`` is ok, shape, none, dtype, nonfinite or wrong."""

    name: str
    got: Any
    expected: Array
    status: str
    digits: float

    @property
    def ok(self) -> bool:
        """Whether it is what it should be."""
        return self.status == "ok"


def plain(value: Any) -> Array | None:
    """Whatever came back, as an array of numbers; None where it is none."""
    if value is None:
        return None
    try:
        a = np.asarray(value)
    except (ValueError, TypeError):
        return None
    return a if a.dtype.kind in "fiub" else None


def compared(name: str, got: Any, expected: Array, rtol: float) -> Comparison:
    """Got and expected, of one shape and equal within rounding; a scalar may come as an array of one element."""
    value = plain(got)
    if value is None:
        return Comparison(name, got, expected, "none", 0.0)
    if value.shape != expected.shape and value.size == expected.size == 1:
        value = value.reshape(expected.shape)
    if value.shape != expected.shape:
        same_numbers = value.size == expected.size and not apart(value.reshape(expected.shape), expected, rtol)
        return Comparison(name, value, expected, "shape" if same_numbers else "wrong", 0.0)
    digits = _digits(value, expected)
    if not apart(value, expected, rtol):
        return Comparison(name, value, expected, "ok", digits)
    if np.isfinite(expected).all() and not np.isfinite(value).all():
        return Comparison(name, value, expected, "nonfinite", digits)
    truncated = value.dtype.kind in "iu" and not apart(value, np.trunc(expected), rtol)
    return Comparison(name, value, expected, "dtype" if truncated else "wrong", digits)


def apart(got: Array, expected: Array, rtol: float) -> bool:
    """Whether numbers differ by more than rounding, in the dtype in which they came."""
    close = max(rtol, SINGLE) if got.dtype in (np.float32, np.float16) else rtol
    return bool(differs(got, expected, close).any())


def _digits(got: Array, expected: Array) -> float:
    """How many digits of the largest element agree everywhere."""
    with np.errstate(all="ignore"):
        scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0)) or 1.0
        off = np.abs(got.astype(float) - expected.astype(float))
        off = np.where(got == expected, 0.0, off)
        worst = float(off.max(initial=0)) / scale if off.size else 0.0
    if not math.isfinite(worst):
        return 0.0
    return 16.0 if worst == 0 else float(min(16.0, max(0.0, -math.log10(worst))))
