"""Formulas as small trees, so that one formula is written in letters, in numbers, as text and as MathML alike.

Every leaf knows its value. ``text(tree)`` is the formula in letters, ``text(tree, numbers=True)`` the same with every
letter replaced by its number, ``mathml`` likewise, ``value(tree)`` what it comes to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from refbp.trace.program import Symbol

DIGITS = 4
_ABOVE = str.maketrans("0123456789nTabcdefghij", "⁰¹²³⁴⁵⁶⁷⁸⁹ⁿᵀᵃᵇᶜᵈᵉᶠᵍʰⁱʲ")
_LETTERS = {"k": "ₖ", "n": "ₙ"}
_JOINTS = {"·": "·", "": " ", "⊙": " ⊙ "}
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Num:
    """A number that stands in a formula as it is."""

    value: float


@dataclass(frozen=True)
class Sym:
    """An element of a value or a parameter, or the whole where ``index`` is empty; ``upper`` for a matrix."""

    symbol: Symbol
    index: tuple[int, ...] = ()
    value: float = math.nan
    upper: bool = False
    transposed: bool = False


@dataclass(frozen=True)
class Slope:
    """∂C/∂of: what is differentiated and with respect to what."""

    cost: Symbol
    of: Sym
    value: float = math.nan
    transposed: bool = False


@dataclass(frozen=True)
class Fn:
    """A function of something. Its derivative, or an element of it, is one number: σ′(z) is 0.25, but σ(z) is σ(0)."""

    name: str
    of: Any
    value: float = math.nan
    prime: bool = False
    index: tuple[int, ...] = ()
    one: bool = False  # written as one number although it is neither


@dataclass(frozen=True)
class Sum:
    """Terms added up."""

    terms: tuple[Any, ...]


@dataclass(frozen=True)
class Series:
    """A sum over an index that is not written out."""

    index: str
    of: Any


@dataclass(frozen=True)
class Difference:
    """One term less another."""

    left: Any
    right: Any


@dataclass(frozen=True)
class Product:
    """Factors multiplied; ``elementwise`` writes ⊙, and between matrices nothing is written."""

    factors: tuple[Any, ...]
    sign: str = "·"


@dataclass(frozen=True)
class Quotient:
    """One thing over another."""

    over: Any
    under: Any


@dataclass(frozen=True)
class Square:
    """Something squared."""

    of: Any


@dataclass(frozen=True)
class Minus:
    """Something with a minus sign before it."""

    of: Any


@dataclass(frozen=True)
class Words:
    """What is not a formula of this language, as it is: a layer's own notation."""

    text: str


def total(terms: Sequence[Any]) -> Any:
    """A sum, or its only term."""
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def count(tree: Any) -> int:
    """How many letters a tree holds: how long it would be, written out."""
    match tree:
        case Sum(parts) | Product(parts):
            return sum(map(count, parts))
        case Difference(a, b) | Quotient(a, b):
            return count(a) + count(b)
        case Square(a) | Minus(a) | Fn(_, a):
            return count(a)
        case Num():
            return 0
    return 1


def value(tree: Any) -> float:
    """What a tree comes to."""
    match tree:
        case Sum(terms):
            return math.fsum(map(value, terms)) if all(map(math.isfinite, map(value, terms))) else sum(map(value, terms))
        case Product(factors):
            return math.prod(map(value, factors))
        case Difference(a, b):
            return value(a) - value(b)
        case Quotient(a, b):
            return value(a) / value(b) if value(b) else math.nan
        case Square(a):
            return value(a) ** 2
        case Minus(a):
            return -value(a)
        case Fn("log" | "exp" as name, a, x) if math.isnan(x):
            return _applied(name, value(a))
        case Words():
            return math.nan
    return float(tree.value)


def _applied(name: str, x: float) -> float:
    """Its number; NaN where there is none."""
    try:
        return math.log(x) if name == "log" else math.exp(x)
    except (ValueError, OverflowError):
        return math.nan


# Numbers and letters --------------------------------------------------------------------------------------------------


def number(x: float, digits: int = DIGITS) -> str:
    """A number to so many significant digits, with a real minus sign."""
    if not math.isfinite(x):
        return {math.inf: "∞", -math.inf: "−∞"}.get(x, "nan")
    mantissa, _, power = f"{x:.{digits}g}".partition("e")
    return (f"{mantissa}e{int(power)}" if power else mantissa if float(mantissa) else "0").replace("-", "−")


def above(text: str) -> str:
    """The text as a superscript."""
    return text.translate(_ABOVE)


def letter(symbol: Symbol, index: tuple[int, ...] = (), upper: bool = False, transposed: bool = False) -> str:
    """A symbol as text: z¹₂, W², x₁; indices above nine, and a sample's, stand in brackets."""
    base = symbol.base.upper() if upper and len(symbol.base) == 1 else symbol.base
    base += above(symbol.above) + "ᵀ" * transposed
    base += _LETTERS.get(symbol.below, symbol.below)
    if not index:
        return base
    if max(index) < 9 and len(index) <= 2:
        return base + "".join(str(i + 1) for i in index).translate(_BELOW)
    return f"{base}[{','.join(str(i + 1) for i in index)}]"


def text(tree: Any, numbers: bool = False, digits: int = DIGITS) -> str:
    """A tree as one line of text, in letters or in numbers."""

    def inner(t: Any) -> str:
        return text(t, numbers, digits)

    match tree:
        case Num(x):
            return number(x, digits)
        case Words(words):
            return words
        case Sum(terms):
            first, *rest = terms
            return " + ".join([inner(first), *(_term(t, inner, numbers) for t in rest)])
        case Difference(a, b):
            return f"{inner(a)} − {_bracketed(b, inner, numbers)}"
        case Product(factors, sign):
            first, *rest = factors
            head = _bracketed(first, inner, numbers, negative=False)
            return _JOINTS[sign].join([head, *(_bracketed(f, inner, numbers) for f in rest)])
        case Quotient(a, b):
            under = _bracketed(b, inner, numbers)
            return f"{_bracketed(a, inner, numbers)}/{f'({under})' if isinstance(b, Product) else under}"
        case Square(a):
            return f"{_bracketed(a, inner, numbers)}²"
        case Series(over, a):
            return f"Σ{_LETTERS.get(over, over)} {inner(a)}"
        case Minus(a):
            return f"−{_bracketed(a, inner, numbers)}"
        case Fn(name, of, _, False, (), False):
            return f"{name}({inner(of)})"
    if numbers:
        return number(tree.value, digits)
    match tree:
        case Sym(symbol, index, _, upper, transposed):
            return letter(symbol, index, upper, transposed)
        case Slope(cost, of, _, transposed):
            slope = f"∂{letter(cost)}/∂{inner(of)}"
            return f"({slope})ᵀ" if transposed else slope
        case Fn(name, of, _, prime, index):
            return f"{name}{'′' * prime}({inner(of)})" + "".join(str(i + 1) for i in index).translate(_BELOW)
    raise TypeError(f"{tree!r} is no formula")


def _term(tree: Any, inner: Callable[[Any], str], numbers: bool) -> str:
    """A term after a plus sign: a product's first factor is bracketed where it is negative, and not the whole."""
    if isinstance(tree, Product):
        return _JOINTS[tree.sign].join(_bracketed(f, inner, numbers) for f in tree.factors)
    return _bracketed(tree, inner, numbers, sums=False)


def _bracketed(tree: Any, inner: Callable[[Any], str], numbers: bool, negative: bool = True, sums: bool = True) -> str:
    """In brackets where a sum is multiplied, or where a minus sign would meet another sign."""
    written = inner(tree)
    needs = sums and isinstance(tree, Sum | Difference)
    if needs or (negative and written.startswith("−") and (numbers or isinstance(tree, Num | Minus))):
        return f"({written})"
    return written


# MathML ---------------------------------------------------------------------------------------------------------------


def mathml(tree: Any, numbers: bool = False, digits: int = DIGITS) -> str:
    """The same tree as MathML, without the enclosing <math>."""

    def inner(t: Any) -> str:
        return mathml(t, numbers, digits)

    def fenced(t: Any, negative: bool = True, sums: bool = True) -> str:
        plain = text(t, numbers, digits)
        needs = sums and isinstance(t, Sum | Difference)
        if needs or (negative and plain.startswith("−") and (numbers or isinstance(t, Num | Minus))):
            return f"<mrow><mo>(</mo>{inner(t)}<mo>)</mo></mrow>"
        return inner(t)

    def term(t: Any) -> str:
        return _row(_joint_ml(t.sign).join(map(fenced, t.factors))) if isinstance(t, Product) else fenced(t, sums=False)

    match tree:
        case Num(x):
            return _number_ml(x, digits)
        case Words(words):
            return f"<mtext>{escape(words)}</mtext>"
        case Sum(terms):
            return _row("<mo>+</mo>".join([inner(terms[0]), *map(term, terms[1:])]))
        case Difference(a, b):
            return _row(f"{inner(a)}<mo>−</mo>{fenced(b)}")
        case Product(factors, sign):
            joint = _joint_ml(sign)
            return _row(joint.join([fenced(factors[0], negative=False), *map(fenced, factors[1:])]))
        case Quotient(a, b):
            return f"<mfrac>{_row(inner(a))}{_row(inner(b))}</mfrac>"
        case Square(a):
            return f"<msup>{fenced(a)}<mn>2</mn></msup>"
        case Series(over, a):
            return _row(f"<munder><mo>∑</mo><mi>{escape(over)}</mi></munder>{inner(a)}")
        case Minus(a):
            return _row(f"<mo>−</mo>{fenced(a)}")
        case Fn(name, of, _, False, (), False):
            return _applied_ml(f"<mi>{escape(name)}</mi>", inner(of))
    if numbers:
        return _number_ml(tree.value, digits)
    match tree:
        case Sym(symbol, index, _, upper, transposed):
            return letter_ml(symbol, index, upper, transposed)
        case Slope(cost, of, _, transposed):
            slope = f"<mfrac><mrow><mo>∂</mo>{letter_ml(cost)}</mrow><mrow><mo>∂</mo>{inner(of)}</mrow></mfrac>"
            return f"<msup><mrow><mo>(</mo>{slope}<mo>)</mo></mrow><mi>T</mi></msup>" if transposed else slope
        case Fn(name, of, _, prime, index):
            head = f"<mi>{escape(name)}</mi>"
            head = f'<msup>{head}<mo lspace="0" rspace="0">′</mo></msup>' if prime else head
            applied = _applied_ml(head, inner(of))
            return f"<msub>{applied}{_index_ml(index)}</msub>" if index else applied
    raise TypeError(f"{tree!r} is no formula")


def _joint_ml(sign: str) -> str:
    return f"<mo>{sign}</mo>" if sign else "<mo>&#x2062;</mo>"


def letter_ml(symbol: Symbol, index: tuple[int, ...] = (), upper: bool = False, transposed: bool = False) -> str:
    """A symbol as MathML."""
    base = f"<mi>{escape(symbol.base.upper() if upper and len(symbol.base) == 1 else symbol.base)}</mi>"
    marks = (f"<mn>{escape(symbol.above)}</mn>" if symbol.above else "") + ("<mi>T</mi>" if transposed else "")
    top = _row(marks) if marks else ""
    low = _index_ml(index) if index else f"<mi>{escape(symbol.below)}</mi>" if symbol.below else ""
    if low and top:
        return f"<msubsup>{base}{low}{top}</msubsup>"
    if low:
        return f"<msub>{base}{low}</msub>"
    return f"<msup>{base}{top}</msup>" if top else base


def _index_ml(index: tuple[int, ...]) -> str:
    if max(index) < 9 and len(index) <= 2:
        return f"<mn>{''.join(str(i + 1) for i in index)}</mn>"
    return _row("<mo>,</mo>".join(f"<mn>{i + 1}</mn>" for i in index))


def _number_ml(x: float, digits: int) -> str:
    shown = number(x, digits)
    mantissa, _, power = shown.partition("e")
    sign, mantissa = ("<mo>−</mo>", mantissa[1:]) if mantissa.startswith("−") else ("", mantissa)
    if power:
        exponent = f"<mrow><mo>−</mo><mn>{power[1:]}</mn></mrow>" if power.startswith("−") else f"<mn>{power}</mn>"
        return _row(f"{sign}<mn>{mantissa}</mn><mo>·</mo><msup><mn>10</mn>{exponent}</msup>")
    return _row(f"{sign}<mn>{mantissa}</mn>") if sign else f"<mn>{mantissa}</mn>"


def _applied_ml(head: str, of: str) -> str:
    return _row(f"{head}<mrow><mo>(</mo>{of}<mo>)</mo></mrow>")


def _row(content: str) -> str:
    return f"<mrow>{content}</mrow>"
