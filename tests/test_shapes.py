"""The language in which shapes are written."""

import numpy as np
import pytest

from refbp.errors import ShapeError
from refbp.shapes import check_arrays, parse


@pytest.mark.parametrize(
    ("pattern", "shape", "fits"),
    [
        ("(N, C)", (2, 3), True),
        ("(N, C)", (2, 3, 4), False),
        ("(N, three)", (2, 3), True),
        ("(N, three)", (2, 4), False),
        ("(*, three)", (3,), True),
        ("(*, three)", (5, 2, 3), True),
        ("(N, *)", (), False),
        ("()", (), True),
        ("(N, 1)", (5, 1), True),
        ("(N, 1)", (5, 2), False),
        ("(N, N)", (5, 5), True),
        ("(N, N)", (5, 4), False),
        ("(C, L) or (N, C, L)", (2, 3, 4), True),
        ("(N, *d, three)", (2, 7, 8, 3), True),
    ],
)
def test_a_pattern_fits_what_it_says(pattern, shape, fits):
    assert any(True for _ in parse(pattern).matches(shape, {"three": 3}, {})) is fits


def test_a_name_means_the_same_size_wherever_it_stands():
    patterns = {"x": "(N, *d)", "t": "index (N, *d)"}
    check_arrays("Loss", patterns, [np.zeros((2, 3)), np.zeros((2, 3), int)], {})
    with pytest.raises(ShapeError, match="do not belong together"):
        check_arrays("Loss", patterns, [np.zeros((2, 3)), np.zeros((3, 2), int)], {})


def test_equally_many_alternatives_are_taken_together():
    patterns = {"x": "(N, C) or (C)", "t": "index (N) or ()"}
    check_arrays("Loss", patterns, [np.zeros(3), np.zeros((), int)], {})
    with pytest.raises(ShapeError):
        check_arrays("Loss", patterns, [np.zeros(3), np.zeros(1, int)], {})


def test_a_pattern_that_is_none_is_refused():
    for text in ("N, C", "(N", "float (N)", ""):
        with pytest.raises(ValueError, match="not a shape pattern"):
            parse(text)
