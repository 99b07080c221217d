"""Numerics that several layers share, each stable where the textbook formula is not. Every function keeps its dtype."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.shapes import Shape

Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    """σ(x) = 1 / (1 + e⁻ˣ), without overflow and with full relative accuracy in both tails."""
    return np.asarray(np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))))


def sigmoid_slope(x: Array) -> Array:
    """σ′(x) = e / (1 + e)², e = e^−|x|: digits are kept where σ(1 − σ) has lost them all."""
    e = np.exp(-np.abs(x))
    return np.asarray(e / ((1 + e) * (1 + e)))


def tanh_slope(x: Array) -> Array:
    """tanh′(x) = 4e / (1 + e)², e = e^−2|x|: digits are kept where 1 − tanh² has lost them all."""
    e = np.exp(-2 * np.abs(x))
    return np.asarray(4 * e / ((1 + e) * (1 + e)))


def softplus(x: Array) -> Array:
    """log(1 + eˣ) = max(x, 0) + log1p(e^−|x|)."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def softmax(x: Array, axis: int) -> Array:
    """eˣ / Σ eˣ, shifted by the maximum."""
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return np.asarray(e / e.sum(axis, keepdims=True))


def log_softmax(x: Array, axis: int) -> Array:
    """x − log Σ eˣ, shifted by the maximum."""
    shifted = x - x.max(axis, keepdims=True, initial=-np.inf)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)))


def sum_to_shape(grad: Array, shape: Shape) -> Array:
    """The gradient of a broadcast: sum over the axes that were added or stretched."""
    if grad.shape == shape:
        return grad
    grad = grad.sum(tuple(range(grad.ndim - len(shape))))
    stretched = tuple(i for i, (g, s) in enumerate(zip(grad.shape, shape, strict=True)) if s == 1 and g != 1)
    return np.asarray(grad.sum(stretched, keepdims=True) if stretched else grad)


def all_but(axis: int, array: Array) -> tuple[int, ...]:
    """Every axis except one."""
    return tuple(i for i in range(array.ndim) if i != axis % max(array.ndim, 1))


def along(vector: Array, axis: int, array: Array) -> Array:
    """A vector shaped to broadcast along one axis of an array: (C,) → (1, C, 1, 1)."""
    return vector.reshape([-1 if i == axis % array.ndim else 1 for i in range(array.ndim)])


# erfc ----------------------------------------------------------------------------------------------------------------
#
# For z ≥ 0, erfc(z) = e^(−z²) g(t) / (1 + 2z) with t = (z − 3)/(z + 3): g is smooth and nearly constant over the whole
# half line, so one Chebyshev series serves every z (the form is that of Shepherd & Laframboise 1981). The coefficients
# are those of g, computed with 50 digits; each dtype takes as many as it can use.

_ERFC = tuple(
    np.longdouble(c)
    for c in (
        "1.177562574196560046281", "0.005353904539615676770720", "-0.09377550342284209052069", "0.05436652555744322049660",
        "-0.01897659670784520738438", "0.004453426061462711570714", "-0.0006335531710553146928090", "0.00001766171952317159296726",
        "0.00001284153286405667179343", "-0.000002007228565905990447983", "-1.807522790414827842563e-7", "7.549828343825177875561e-8",
        "1.885668523839372518726e-9", "-2.699519049797679764518e-9", "-1.460079119879653026278e-11", "1.036160744601960367150e-10",
        "1.475715977028144094709e-12", "-4.277340064091203528876e-12", "-2.079224926549402668467e-13", "1.813450201345167798938e-13",
        "1.973425574544951017115e-14", "-7.287943840335586616053e-15", "-1.516988073877304647876e-15", "2.351408168847486663476e-16",
        "1.000607122513511376478e-16", "-2.057753952702909009531e-18", "-5.609202733816563899546e-18", "-5.553727013643323872277e-19",
        "2.435503917043116722789e-19", "6.361076579399577087773e-20", "-6.079205024550866806513e-21", "-5.584818482415464897880e-21",
        "-1.456906531227600305403e-21",
    )
)
_ERFC_TERMS = {"float16": 7, "float32": 12, "float64": 27}


@lru_cache(maxsize=8)
def _erfc_coefficients(dtype: str) -> tuple[Any, ...]:
    kind = np.dtype(dtype).type
    return tuple(kind(c) for c in _ERFC[: _ERFC_TERMS.get(dtype, len(_ERFC))])


def erfc(x: Array) -> Array:
    """1 − erf(x), with full relative accuracy where it is small; the error grows as x² ulp there, as e^(−x²)'s does."""
    x = np.asarray(x)
    z = np.abs(x)
    t = 1 - 6 / (z + 3)
    coefficients = _erfc_coefficients(x.dtype.name)
    ahead, last = np.zeros_like(t), np.full_like(t, coefficients[-1])
    for c in coefficients[-2:0:-1]:  # Clenshaw's recurrence
        ahead, last = last, 2 * t * last - ahead + c
    half_line = np.exp(-(z * z)) * ((t * last - ahead + coefficients[0]) / (1 + 2 * z))
    return np.asarray(np.where(x < 0, 2 - half_line, half_line))
