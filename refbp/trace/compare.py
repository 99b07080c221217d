"""Somebody's own intermediate results beside the trace: the first that differs, in backward order, and what explains it.

What is found to differ is then taken as given: everything after it is computed anew from it, so that one mistake is
reported once, and what only follows from it is not held against its author.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refbp.contract import Array
from refbp.errors import ArgumentError, did_you_mean
from refbp.trace.explain import EXPLAINERS, Explainer
from refbp.trace.expression import number
from refbp.trace.inputs import load
from refbp.trace.program import Program
from refbp.trace.record import Quantity, Trace
from refbp.trace.setting import Setting

SAME = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}  # relative to the largest value
ROUNDED = 0.6  # of a unit in the last decimal place that was written
BY_HAND = 5e-3  # relative to the largest value: what is left of numbers that were rounded on the way
FEW = 6  # digits: what has so few was written down by hand


@dataclass(frozen=True)
class Difference:
    """One quantity that differs and does not follow from an earlier one."""

    key: str
    mine: Array
    right: Array
    why: str


@dataclass(frozen=True)
class Comparison:
    """What was compared: what agrees, what differs by itself, and what differs because of that."""

    agree: tuple[str, ...]
    differs: tuple[Difference, ...]
    follow: tuple[str, ...]
    transposed: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The comparison as plain data."""
        from refbp.trace.data import plain

        found = [{"key": d.key, "yours": plain(d.mine), "expected": plain(d.right), "why": d.why or None} for d in self.differs]
        return {"agree": [*self.agree], "differ": found, "follow": [*self.follow], "transposed": [*self.transposed]}

    def told(self, width: int, digits: int) -> Iterator[str]:
        """The comparison as text."""
        from refbp.trace.tell import filled, rows_of

        for i, d in enumerate(self.differs):
            yield f"{d.key} {'is the first that differs' if i == 0 else 'differs as well, given what comes before it'}."
            yield ""
            for label, array in (("yours", d.mine), ("expected", d.right)):
                for k, row in enumerate(rows_of(array, digits)):
                    yield f"   {label if k == 0 else '':8}  {row}"
            yield ""
            yield from filled(f"why: {d.why or 'not explained: ' + _worst(d, digits)}", "   ", width)
            yield ""
        if not self.differs:
            yield "nothing differs."
        for label, keys in (("equal", self.agree), ("follow from it, and are right given it", self.follow)):
            if keys:
                yield from filled(f"{label}: {', '.join(keys)}", "", width)
        if self.transposed:
            yield from filled(f"stored as the transpose, which is as good: {', '.join(self.transposed)}", "", width)


def _worst(d: Difference, digits: int) -> str:
    apart = np.where(d.mine == d.right, 0, np.abs(np.asarray(d.mine, float) - d.right))
    index = np.unravel_index(int(np.nan_to_num(apart, nan=np.inf).argmax()), apart.shape) if apart.size else ()
    at = f"[{', '.join(map(str, index))}]" if index else ""
    return f"yours{at} is {number(float(d.mine[index]), digits)}, expected {number(float(d.right[index]), digits)}."


def compare(setting: Setting, trace: Trace, file: Path, explainers: Sequence[Explainer] = EXPLAINERS) -> Comparison:
    """Compare the arrays of an npz file with a trace, quantity by quantity."""
    arrays, called = named(load(file), trace.program, str(file))
    return compared(setting, trace, arrays, called, explainers)


def compared(
    setting: Setting,
    trace: Trace,
    mine: Mapping[str, Array],
    called: Mapping[str, str] | None = None,
    explainers: Sequence[Explainer] = EXPLAINERS,
) -> Comparison:
    """The same for arrays by key. ``called`` are the names that their author gives them."""
    called = called or {}
    agree: list[str] = []
    follow: list[str] = []
    transposed: list[str] = []
    differ: list[Difference] = []
    instead: dict[str, Array] = {}
    loose = BY_HAND if any(map(by_hand, mine.values())) else 0.0
    truth = {q.key: q for q in trace.quantities()}
    now = trace
    for key in [k for k in truth if k in mine]:
        name = called.get(key, key)
        right = next(q for q in now.quantities() if q.key == key)
        got, turned = _fitted(mine[key], right, trace.program, transposed)
        if got.shape != right.array.shape:
            wanted = f"{name} has shape {got.shape}; wanted {right.array.shape}{_axes(got, right.array)}."
            differ.append(Difference(name, got, right.array, wanted))
            continue
        transposed += [key] if turned else []
        if same(got, truth[key].array, loose):
            agree.append(name)
        elif same(got, right.array, loose):
            follow.append(name)
        else:
            contexts = ((right, now), (truth[key], trace))
            asked = [(e, q, t, close) for close in dict.fromkeys((0.0, loose)) for e in explainers for q, t in contexts]
            why = next((w for e, q, t, close in asked if (w := e(q._replace(key=name), got, t, close))), "")
            differ.append(Difference(name, got, right.array, why))
        if not np.array_equal(got, right.array) and right.kind != "vector":
            instead[key] = got.astype(right.array.dtype)  # rounded or wrong: what comes after it is computed from it
            now = setting.trace(instead, check=False)
    return Comparison(tuple(agree), tuple(differ), tuple(follow), tuple(called.get(k, k) for k in transposed))


def by_hand(mine: Array) -> bool:
    """Whether numbers were written down with a few digits; whole numbers do not say so, for they may be exact."""
    values = [repr(float(v)) for v in mine.flat] if 0 < mine.size <= 1000 else []
    digits = [len(v.lstrip("-").partition("e")[0].replace(".", "").strip("0")) for v in values]
    return bool(values) and max(digits) <= FEW and any(not v.endswith(".0") for v in values)


def same(mine: Array, right: Array, loose: float = 0.0) -> bool:
    """Equal as far as they were written down: to rounding errors, or to half a unit of the last decimal place."""
    if mine.shape != right.shape:
        return False
    exact = mine.astype(np.float64)
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=0))
    allowed = np.full(right.shape, max(SAME.get(mine.dtype.name, 1e-9), loose) * scale)
    if mine.dtype == np.float64:
        units = np.array([_unit(float(v)) for v in mine.flat]).reshape(right.shape) if mine.size <= 10_000 else 0.0
        rounded = np.asarray(units) <= np.abs(right) / 20  # two digits at least, or anything would be near enough
        allowed = np.maximum(allowed, np.where(rounded, ROUNDED * np.asarray(units), 0.0))
    with np.errstate(invalid="ignore"):
        near = np.abs(exact - right) <= allowed
    return bool(np.all(near | (exact == right) | (np.isnan(exact) & np.isnan(right))))


def _unit(value: float) -> float:
    """The unit of the last decimal place in which a number is written; 0 for one with all its digits."""
    mantissa, _, power = repr(value).removesuffix(".0").partition("e")
    digits = mantissa.lstrip("-").replace(".", "").strip("0")
    if len(digits) > 9 or "n" in mantissa:
        return 0.0
    places = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(power or 0) - places))


def _fitted(mine: Array, right: Quantity, program: Program, transposed: list[str]) -> tuple[Array, bool]:
    """Somebody's array in the quantity's shape, and whether it was stored as the transpose, as many courses do."""
    mine = mine if mine.dtype.kind == "f" else mine.astype(np.float64)
    wanted = right.array.shape
    turned = len(wanted) == 2 and mine.shape == wanted[::-1] and right.of in program.learned
    weight = f"{right.of}" in transposed or f"d{right.of}" in transposed
    as_good = wanted[0:1] != wanted[1:2] or weight or (right.kind == "parameter" and same(mine.T, right.array))
    if turned and as_good and not same(mine, right.array):
        return mine.T, True
    if mine.shape != wanted and _squeezed(mine.shape) == _squeezed(wanted):
        return mine.reshape(wanted), False
    if mine.shape != wanted and right.kind == "vector" and mine.size == right.array.size:
        return mine.reshape(wanted), False
    return mine, False


def _axes(mine: Array, right: Array) -> str:
    if mine.ndim == right.ndim + 1 and mine.size and mine.shape[1:] == right.shape:
        word = " it is the sum over the batch that is wanted" if same(mine.sum(0), right) else ""
        return f":{word or ' sum over the first axis, which forward broadcast'}"
    return ""


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


# Names ----------------------------------------------------------------------------------------------------------------


def aliases(program: Program) -> dict[str, str]:
    """Every name that a quantity may be given: z1, Z1; W1 for 0.weight; dW1, dC/dW1, 0.weight.grad for its gradient."""
    plain: dict[str, str] = {n: n for n in (*program.leaves, *program.made)}
    for name in program.learned:
        symbol = program.symbols[name]
        letter = {"γ": "gamma", "β": "beta"}.get(symbol.base, symbol.base)
        plain |= {name: name, f"{letter}{symbol.above}": name}
    found: dict[str, str] = {"theta": "theta", "grad": "grad", "theta.next": "theta.next"}
    found |= {"theta1": "theta.next", "theta0": "theta"}
    for alias, key in plain.items():
        for word in {alias, alias.upper(), alias[:1].upper() + alias[1:]}:
            found.setdefault(word, key)
            for spelt in ("d{}", "d_{}", "dC/d{}", "dC_d{}", "dL/d{}", "dL_d{}", "{}.grad", "grad_{}"):
                found.setdefault(spelt.format(word), f"d{key}")
            if key in program.learned:
                for after in (f"{word}.next", f"{word}_next", f"{word}_new", f"new_{word}"):
                    found.setdefault(after, f"{key}.next")
    return found


def named(arrays: Mapping[str, Array], program: Program, where: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays under the keys of the trace, and what each was called; an unknown name is an error that says the known ones."""
    known = aliases(program)
    found: dict[str, Array] = {}
    called: dict[str, str] = {}
    for name, array in arrays.items():
        if name not in known:
            short = [f"{n}" for n in (*program.made, *(f"d{n}" for n in program.made))]
            params = [f"d{program.symbols[n].base.replace('w', 'W')}{program.symbols[n].above}" for n in program.learned]
            hint = (
                did_you_mean(name, [*short, *params])
                or did_you_mean(name, list(known))
                or f"; known: {', '.join([*short, *params])[:200]}, grad, theta.next"
            )
            raise ArgumentError(f"{where}: {name!r} is no quantity of this network{hint} (--npz FILE writes all of them).")
        if known[name] in found:
            raise ArgumentError(f"{where}: {name!r} is a second name for {known[name]}: give one of them.")
        if array.dtype.kind not in "fiub":
            raise ArgumentError(f"{where}: {name} holds {array.dtype}; wanted numbers.")
        found[known[name]] = array
        called[known[name]] = name
    if not found:
        raise ArgumentError(f"{where} holds no arrays: give at least one, such as dW1.")
    return found, called
