"""Element-wise activations: long arrays, which are computed in blocks, and the digits that the tails keep."""

import math

import mpmath
import numpy as np
import pytest

from refbp import registry
from refbp.layers import GELU
from refbp.layers._elementwise import Elementwise
from refbp.numerics import exps, in_blocks, log1p, mills, normal

LAYERS = [e.spec.cases[0].layer for e in registry.current().entries.values() if issubclass(e.spec.layer, Elementwise)]
EXTENDED = np.finfo(np.longdouble).eps < 1e-18


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_long_array_gives_what_its_parts_give(layer):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(0, 3, (2, 3, 25_000))[..., ::2]
    whole = layer({}, x)
    assert whole.outputs.shape == x.shape
    for row, y, dx, dy_row in zip(x, whole.outputs, *whole.backward(dy), dy, strict=True):
        part = layer({}, row)
        np.testing.assert_allclose(y, part.outputs, rtol=1e-13)
        np.testing.assert_allclose(dx, part.backward(dy_row).inputs[0], rtol=1e-13)


@pytest.mark.parametrize("length", [0, 1, 6, 7, 8, 14, 15])
def test_blocks_cover_every_element_once(length):
    a = np.arange(length, dtype=np.float32)
    double, even = in_blocks(lambda a, b: (a + b, a % 2 == 0), a, a, size=7)
    np.testing.assert_array_equal(double, 2 * a)
    np.testing.assert_array_equal(even, a % 2 == 0)
    assert double.dtype == np.float32
    assert even.dtype == bool


@pytest.mark.parametrize(("dtype", "lowest"), [(np.float32, -10), (np.float64, -30)])
def test_the_left_tail_of_gelu_keeps_its_digits(dtype, lowest):
    x = np.linspace(lowest, -1, 200).astype(dtype)
    got = zip(x, *GELU().f_df(x), strict=True)
    with mpmath.workdps(50):
        for v, y, slope in got:
            at = mpmath.mpf(float(v))
            cumulative = mpmath.erfc(-at / mpmath.sqrt(2)) / 2
            exact = at * cumulative, cumulative + at * mpmath.npdf(at)
            # e^(−x²/2) costs x²/2 rounding errors; the rest a few
            allowed = float(np.finfo(dtype).eps) * (float(at) ** 2 / 2 + 8)
            for mine, true in zip((y, slope), exact, strict=True):
                assert abs(mpmath.mpf(float(mine)) / true - 1) < allowed


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_mills_ratio_is_right_to_the_last_digits(dtype):
    if dtype is np.longdouble and not EXTENDED:
        pytest.skip("this machine has no extended precision")
    a = np.concatenate([[0.0], np.geomspace(1e-6, 60, 100)]).astype(dtype)
    with mpmath.workdps(60):
        for at, got in zip(a, mills(a), strict=True):
            z = _exact(at)
            true = mpmath.ncdf(-z) / mpmath.npdf(z)
            assert abs(_exact(got) / true - 1) < 4 * float(np.finfo(dtype).eps)


def _exact(number):
    high = float(number)
    return mpmath.mpf(high) + mpmath.mpf(float(number - type(number)(high)))


def test_the_normal_distribution_at_its_ends():
    with np.errstate(over="ignore"):
        cumulative, density = normal(np.array([-np.inf, -1e200, -0.0, 0.0, 1e200, np.inf]))
    np.testing.assert_allclose(cumulative, [0, 0, 0.5, 0.5, 1, 1], atol=1e-16)
    np.testing.assert_allclose(density, [0, 0, *[1 / math.sqrt(2 * math.pi)] * 2, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_and_exponentials_keep_their_digits_near_their_roots(dtype):
    rng = np.random.default_rng(0)
    small = (10.0 ** rng.uniform(-30, 0, 20_000)).astype(dtype)
    wide, eps = small.astype(np.longdouble), np.finfo(dtype).eps
    np.testing.assert_allclose(log1p(small).astype(np.longdouble), np.log1p(wide), rtol=3 * eps, atol=0)
    below = -100 * small
    power, less = exps(below)
    np.testing.assert_allclose(less.astype(np.longdouble), np.expm1(below.astype(np.longdouble)), rtol=3 * eps, atol=0)
    np.testing.assert_array_equal(power, np.exp(below))
    assert log1p(small).dtype == less.dtype == dtype


def test_logarithms_and_exponentials_at_the_ends():
    with np.errstate(all="ignore"):
        power, less = exps(np.array([0.0, -0.0, -np.inf, np.inf, np.nan]))
    np.testing.assert_array_equal(power, [1, 1, 0, np.inf, np.nan])
    np.testing.assert_array_equal(less, [0, 0, -1, np.inf, np.nan])
    np.testing.assert_array_equal(log1p(np.array([0.0, 1.0, np.nan])), [0, np.log(2), np.nan])
