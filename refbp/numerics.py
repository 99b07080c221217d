"""Numerics that several layers share, each stable where the textbook formula is not. Every function keeps its dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.shapes import Shape

Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    """σ(x) = 1 / (1 + e⁻ˣ), without overflow and with full relative accuracy in both tails."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.maximum(e, x >= 0) / (1 + e))


def sigmoid_slope(x: Array) -> Array:
    """σ′(x) = e / (1 + e)², e = e^−|x|: digits are kept where σ(1 − σ) has lost them all."""
    e = np.exp(-np.abs(x))
    q = 1 + e
    return np.asarray(e / (q * q))


def sigmoid_and_slope(x: Array) -> tuple[Array, Array]:
    """σ(x) and σ′(x) at the price of one exponential, e = e^−|x|: with q = 1 / (1 + e) they are q or e q, and e q²."""
    e = np.asarray(np.exp(-np.abs(x)))
    q = 1 / (1 + e)
    value = np.maximum(e, x >= 0)
    value *= q
    e *= q
    e *= q
    return value, e


def tanh_slope(x: Array) -> Array:
    """tanh′(x) = 4e / (1 + e)², e = e^−2|x|: digits are kept where 1 − tanh² has lost them all."""
    e = np.exp(-2 * np.abs(x))
    q = 1 + e
    return np.asarray(4 * e / (q * q))


def sigmoids(x: Array) -> tuple[Array, Array]:
    """σ(x) and σ(−x) at the price of one exponential, each with full relative accuracy where 1 − the other has none."""
    e = np.exp(-np.abs(x))
    q = 1 + e
    return np.asarray(np.maximum(e, x >= 0) / q), np.asarray(np.maximum(e, x < 0) / q)


def log1p(e: Array) -> Array:
    """log(1 + e) for 0 ≤ e ≤ 1, with full relative accuracy.

    log u, u = 1 + e rounded, misses what the rounding took, e − (u − 1) to the bit. NumPy's own log1p takes numbers one by
    one, and its log several at once.
    """
    u = 1 + e
    return np.asarray(np.log(u) + (e - (u - 1)))


def exps(x: Array) -> tuple[Array, Array]:
    """eˣ, and eˣ − 1 = tanh(x/2) (eˣ + 1), a product of which no factor has lost digits."""
    e = np.exp(x)
    return np.asarray(e), np.asarray(np.tanh(x / 2) * (e + 1))


def softplus(x: Array) -> Array:
    """log(1 + eˣ) = max(x, 0) + log1p(e^−|x|)."""
    return np.asarray(np.maximum(x, 0) + log1p(np.exp(-np.abs(x))))


def softpluses(x: Array) -> tuple[Array, Array]:
    """log(1 + eˣ) and log(1 + e⁻ˣ), which differ by x, at the price of one."""
    tail = log1p(np.exp(-np.abs(x)))
    return np.asarray(np.maximum(x, 0) + tail), np.asarray(np.maximum(-x, 0) + tail)


def softmax(x: Array, axis: int) -> Array:
    """eˣ / Σ eˣ, shifted by the maximum."""
    e = x - x.max(axis, keepdims=True, initial=-np.inf)
    np.exp(e, out=e)
    e /= e.sum(axis, keepdims=True)
    return np.asarray(e)


def log_softmax(x: Array, axis: int) -> Array:
    """The logarithm of softmax, x − log Σ eˣ, shifted by the maximum."""
    shifted = x - x.max(axis, keepdims=True, initial=-np.inf)
    shifted -= np.log(np.exp(shifted).sum(axis, keepdims=True))
    return np.asarray(shifted)


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


# The normal distribution ----------------------------------------------------------------------------------------------
#
# Mills' ratio M(a) = (1 − Φ(a)) / φ(a) falls from √(π/2) as 1/a. With d = 8 / (a + 4), M(a) = d · P(1 − d), and P is so
# smooth on the whole half line that one Chebyshev series serves every a ≥ 0. Its coefficients were computed with 70
# digits; each dtype takes as many as it can use, as a polynomial in 1 − d ∈ [−1, 1].

_MILLS = tuple(
    np.longdouble(c)
    for c in (
        *("0.3040700535643800707763", "-0.2355318218224354321384", "0.06961958113704770614833", "-0.01520199651802557150013"),
        *("0.002170088517965971428039", "-0.0001004526500912457006471", "-0.00003150436685067941567911"),
        *("0.000005922964908822646691654", "3.165736420748532268406e-7", "-1.925508729989124899019e-7"),
        *("-1.059370078757711986447e-9", "6.481673251368340324543e-9", "-3.53516165957531221662e-11"),
        *("-2.435820797361384501283e-10", "-3.114931871034458901933e-12", "9.946560899311057985629e-12"),
        *("5.77301772394402409033e-13", "-4.113570155280481157443e-13", "-5.456730054762162431384e-14"),
        *("1.537588979904096781127e-14", "4.051771697760847666999e-15", "-3.816549448415708159335e-16"),
        *("-2.522967534463419150101e-16", "-8.962744376778234554718e-18", "1.271194049754817756422e-17"),
        *("2.195305285066694873479e-18", "-4.197585305034595091158e-19", "-1.909973951471536754622e-19"),
    )
)
_MILLS_TERMS = {"float16": 7, "float32": 10, "float64": 23}


@lru_cache(maxsize=8)
def _mills_polynomial(dtype: str) -> tuple[Any, ...]:
    powers = np.polynomial.chebyshev.cheb2poly(np.asarray(_MILLS[: _MILLS_TERMS.get(dtype, len(_MILLS))]))
    return tuple(np.dtype(dtype).type(c) for c in powers)


def mills(a: Array) -> Array:
    """Mills' ratio (1 − Φ(a)) / φ(a) for a ≥ 0, to the last digit or two."""
    d = np.asarray(8 / (a + 4))
    t = 1 - d
    *lower, p = _mills_polynomial(d.dtype.name)
    for c in reversed(lower):
        p = p * t
        p += c
    return np.asarray(d * p)


def normal(x: Array) -> tuple[Array, Array]:
    """Φ(x) and φ(x), the normal distribution's cumulative and density, each with the relative accuracy of e^(−x²/2).

    The tail beyond |x| is φ · M(|x|): it is Φ on the left, where 1 + erf would have no digits left, and 1 − Φ on the right.
    """
    density = np.exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))
    return np.abs((x >= 0) - density * mills(np.abs(x))), density


# Memory ---------------------------------------------------------------------------------------------------------------


def in_blocks(f: Callable[..., tuple[Array, ...]], *arrays: Array, size: int = 1 << 15) -> tuple[Array, ...]:
    """Apply f, element by element, to so few elements at a time that what it makes on the way stays in the cache."""
    shape, length = arrays[0].shape, arrays[0].size
    if length <= size:
        return tuple(map(np.asarray, f(*arrays)))
    flat = [a.reshape(-1) for a in arrays]
    made: list[Array] = []
    for start in range(0, length, size):
        parts = f(*(a[start : start + size] for a in flat))
        made = made or [np.empty(length, part.dtype) for part in parts]
        for whole, part in zip(made, parts, strict=True):
            whole[start : start + size] = part
    return tuple(whole.reshape(shape) for whole in made)
