"""A factor too many or too few: a constant, a named number, or a named array."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from refbp.oracle.families import quantities
from refbp.oracle.finding import GUESSED, Evidence, Finding, Fit
from refbp.oracle.observation import Array, Observation, same, tolerance

Claims = Iterator[tuple[str, str, str, Fit]]


def clue(e: Evidence) -> list[Finding]:
    """Findings from the ratio of what was got to what was expected."""
    return e.merged(claim for name in e.numeric for claim in _of(e, name))


def _of(e: Evidence, name: str) -> Claims:
    ratios = [(o, ratio(o.got[name], o.expected[name])) for o in e.where(name)]
    if any(r is None for _, r in ratios):
        yield from _arrays(e, name)
        return
    said = number([(r, o.sizes) for o, r in ratios if r is not None])
    values = ", ".join(f"{r:.4g}" for _, r in ratios[:4])
    if said.value is None:
        fit = e.test(name, lambda *_: True, said.sure)
    else:
        value = said.value
        fit = e.fit(name, lambda o: value(o.sizes) * np.asarray(o.expected[name]), said.sure)
        if fit is None:  # it is right where that factor would not be 1, and nothing tells those cases apart
            fit = e.test(name, lambda *_: True, 0.5)
    if fit:
        yield name, "factor", said.words, Fit(f"{fit.evidence}; the factors are {values}", fit.confidence, fit.condition)


def ratio(got: Any, expected: Any) -> float | None:
    """The one number by which all of ``expected`` was multiplied, if there is one."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or got.dtype.kind not in "fiu" or not np.isfinite(expected).all():
        return None
    usable = np.abs(expected) > 1e-6 * (np.abs(expected).max(initial=0) or 1)
    if not usable.any():
        return None
    if not np.isfinite(got[usable]).any():
        return math.inf  # divided by zero
    if not np.isfinite(got).all():
        return None
    middle = float(np.median(got[usable] / expected[usable]))
    if abs(middle - 1) < 1e-6:
        return None  # right but for rounding, or not a factor
    return middle if same(got, middle * expected, max(tolerance(got), GUESSED)) else None


# Numbers with a name ---------------------------------------------------------------------------------------------------

Form = tuple[str, Callable[[float], float]]
PLAIN: tuple[Form, ...] = (("{}", lambda v: v), ("1/{}", lambda v: 1 / v))
LESS_PLAIN: tuple[Form, ...] = (
    ("2/{}", lambda v: 2 / v),
    ("{}/2", lambda v: v / 2),
    ("2·{}", lambda v: 2 * v),
    ("1/(2·{})", lambda v: 0.5 / v),
    ("√{}", math.sqrt),
    ("1/√{}", lambda v: 1 / math.sqrt(v)),
    ("(1 − {})", lambda v: 1 - v),
    ("1/(1 − {})", lambda v: 1 / (1 - v)),
    ("(1 − {0})/{0}", lambda v: (1 - v) / v),
    ("{0}/(1 − {0})", lambda v: v / (1 - v)),
    ("({} − 1)", lambda v: v - 1),
    ("1/({} − 1)", lambda v: 1 / (v - 1)),
    ("({0} − 1)/{0}", lambda v: (v - 1) / v),
    ("{0}/({0} − 1)", lambda v: v / (v - 1)),
    ("{}²", lambda v: v * v),
    ("1/{}²", lambda v: 1 / v / v),
)
PAIRS: tuple[tuple[str, Callable[[float, float], float]], ...] = (
    ("{}/{}", lambda a, b: a / b),
    ("{}·{}", lambda a, b: a * b),
    ("1/({}·{})", lambda a, b: 1 / a / b),
)


class Said(NamedTuple):
    """What a factor is called, as words after "the gradient"; how sure that is; and what it is for other sizes."""

    words: str
    sure: float
    value: Callable[[Mapping[str, float]], float] | None


def number(seen: list[tuple[float, Mapping[str, float]]]) -> Said:
    """What a factor is called that was seen with these sizes."""
    factors = [r for r, _ in seen]
    first, sign = factors[0], "minus " if factors[0] < 0 else ""
    constant = all(_close(r, first) for r in factors)
    several = len({tuple(sorted(sizes.items())) for _, sizes in seen}) > 1
    if constant and abs(first) < 1e-12:
        return Said("{is} zero", 0.95, lambda _: 0.0)
    if constant and _close(first, -1):
        return Said("{has} the wrong sign", 0.96, lambda _: -1.0)
    if constant and any(_close(abs(first), v) for v in (2, 0.5)):
        what = f"{{is}} {sign}{'2' if abs(first) > 1 else '1/2'} times what {{it}} should be"
        return Said(what, 0.95 if several else 0.85, lambda _: first)
    names = named(seen)
    if 0 < len(names) <= 3 and (not constant or len(names) == 1 or not several):
        label, value = names[0]
        meaning = _meaning(label) if len(names) == 1 and not sign else ""
        words = f"{{is}} {sign}{' or '.join(n for n, _ in names)} times what {{it}} should be{meaning}"
        return Said(words, 0.95 if len(names) == 1 else 0.75, lambda s: math.copysign(_value(value, s), first))
    if constant:
        return Said(f"{{is}} {first:.6g} times what {{it}} should be", 0.8 if several else 0.6, lambda _: first)
    return Said("{is} what {it} should be, times a number that is not the same in every case", 0.3, None)


def _meaning(name: str) -> str:
    if name in ("1/N", "1/the number of elements") or name.startswith("1/N·"):
        return ": a mean where a sum is meant, or divided once too often"
    if name in ("N", "the number of elements") or name.startswith("N·"):
        return ": a sum where a mean is meant, or a division forgotten"
    return ""


Value = Callable[[Mapping[str, float]], float]


def named(seen: list[tuple[float, Mapping[str, float]]]) -> list[tuple[str, Value]]:
    """The simplest names that a factor has in all cases: N, 1/N, 2/N, √E, N/C …; several where nothing decides."""
    common = set.intersection(*(set(sizes) for _, sizes in seen))
    usable = [n for n in seen[0][1] if n in common]
    for forms in (PLAIN, LESS_PLAIN):
        found: list[tuple[str, Value]] = []
        for n, (text, form) in itertools.product(usable, forms):
            value = _of_one(form, n)
            if _all_close(seen, value):
                found.append((text.format(f"({n})" if "·" in n and text.endswith("²") else n), value))
        if found:
            return found
    for text, pair in PAIRS:
        for a, b in (itertools.permutations if text == "{}/{}" else itertools.combinations)(usable, 2):
            value = _of_two(pair, a, b)
            if _all_close(seen, value):
                found.append((text.format(a, b), value))
    return found


def _of_one(form: Callable[[float], float], name: str) -> Value:
    return lambda sizes: form(sizes[name])


def _of_two(form: Callable[[float, float], float], a: str, b: str) -> Value:
    return lambda sizes: form(sizes[a], sizes[b])


def _all_close(seen: list[tuple[float, Mapping[str, float]]], value: Value) -> bool:
    return all(_close(abs(r), _value(value, sizes)) for r, sizes in seen)


def _value(value: Value, sizes: Mapping[str, float]) -> float:
    try:
        return value(sizes)
    except ZeroDivisionError:
        return math.inf
    except (ValueError, OverflowError, KeyError):
        return math.nan


def _close(a: float, b: float) -> bool:
    return a == b or (math.isfinite(a - b) and abs(a - b) <= 1e-7 * max(abs(a), abs(b)))


# Arrays with a name ----------------------------------------------------------------------------------------------------


def _arrays(e: Evidence, name: str) -> Claims:
    """A factor that is an array: γ forgotten, the mask forgotten, σ applied twice."""
    first = e.where(name)[0]
    for label in quantities(first):

        def of(o: Observation, label: str = label) -> Array | None:
            return _shaped(quantities(o).get(label), o.expected[name])

        tests: tuple[tuple[str, Callable[[Array, Array, Array], bool]], ...] = (
            (f"the factor {label} is missing", lambda g, x, q: same(g * q, x, tolerance(g) * 10) and _alive(g, x, q)),
            (f"the factor {label} is there once too often", lambda g, x, q: same(g, x * q, tolerance(g))),
            (f"{label} is a factor where {{it}} should be a divisor", lambda g, x, q: same(g, x * q * q, tolerance(g))),
            (
                f"{label} is a divisor where {{it}} should be a factor",
                lambda g, x, q: same(g * q * q, x, tolerance(g) * 10) and _alive(g, x, q),
            ),
        )
        for words, test in tests:

            def holds(g: Array, x: Array, o: Observation, test: Any = test, of: Any = of) -> bool:
                q = of(o)
                return q is not None and g.shape == x.shape and bool(test(g.astype(float), x, q))

            if fit := e.test(name, holds, 0.94):
                text = words.replace("{it}", "it")
                yield name, "factor", f"{{is}} what you get when {text}", fit
                return


def _alive(g: Array, x: Array, q: Array) -> bool:
    """Whether a missing factor explains every element: where it is 0, what was got is not, or nearly never."""
    zero = q == 0
    return not zero.any() or bool((g[zero] != x[zero]).mean() > 0.9)


def _shaped(q: Array | None, like: Any) -> Array | None:
    """A quantity that broadcasts to the gradient and is no single number."""
    if q is None or np.size(q) < 2:
        return None
    try:
        return np.broadcast_to(q, np.shape(like))
    except ValueError:
        return None
