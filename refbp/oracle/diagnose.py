"""The explainer: given a reference layer and somebody's gradients on several cases, what is wrong with them.

Every witness below looks at all observations together and offers findings, or none. A finding is kept only if it accounts
for every observation: a factor must be the same function of the dimensions in all of them, a mutant must give what was got
in all of them. What the evidence does not single out is not claimed: "not explained" is an answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.contract import Layer, State, Step
from refbp.shapes import parse

Array = NDArray[Any]
CLOSE = 1e-9  # relative to the largest value: what two computations of one formula agree to
NEAR = 1e-4  # … and what single precision or a finite difference would


@dataclass(frozen=True)
class Observation:
    """One case: a layer with its state, inputs and upstream gradients, and what somebody got for its gradients.

    ``expected`` are the reference's gradients by name (inputs and parameters); ``got`` those that were computed.
    """

    layer: Layer[Any]
    state: State
    inputs: tuple[Any, ...]
    upstream: tuple[Any, ...]
    got: Mapping[str, Any]
    expected: Mapping[str, Any]
    id: str = ""
    options: Mapping[str, Any] | None = None

    @property
    def named_inputs(self) -> dict[str, Any]:
        """The inputs by forward's names."""
        return dict(zip(self.layer.inputs(), self.inputs, strict=False))

    @property
    def dimensions(self) -> dict[str, int]:
        """Every size that has a name: N, in_features, the axes of patterns, and how many elements an output has."""
        sizes: dict[str, int] = {}
        patterns = {**self.layer.inputs(), **self.layer.outputs()}
        arrays = [*self.inputs, *self.upstream]
        for pattern, a in zip(patterns.values(), arrays, strict=False):
            axes = None if a is None else parse(pattern).axes(np.shape(a), self.layer.sizes)
            for axis, size in zip(axes or (), np.shape(a) if a is not None else (), strict=False):
                if not axis.isdigit() and not axis.startswith("*"):
                    sizes.setdefault(axis, size)
        x = next((a for a in self.inputs if a is not None and np.ndim(a)), None)
        if x is not None:
            for i, size in enumerate(np.shape(x)):
                if size not in sizes.values():
                    sizes[f"x.shape[{i}]"] = size
            sizes["the number of elements"] = int(np.size(x))
        return {n: s for n, s in sizes.items() if s > 0}

    def wrong(self) -> list[str]:
        """The gradients that are not what they should be."""
        return [n for n, e in self.expected.items() if n in self.got and not same(self.got[n], e)]


@dataclass(frozen=True)
class Finding:
    """One explanation: a sentence, the evidence for it, and how sure it is (0 to 1)."""

    kind: str
    sentence: str
    evidence: str
    confidence: float


def same(got: Any, expected: Any, tolerance: float = CLOSE) -> bool:
    """Equal in shape and, relative to the largest value, in every element."""
    if got is None or expected is None:
        return got is None and expected is None
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or got.dtype.kind not in "fiub":
        return False
    got, expected = got.astype(float), expected.astype(float)
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0)) or 1.0
    with np.errstate(all="ignore"):
        close = np.abs(got - expected) <= tolerance * scale
    return bool((close | (got == expected) | (np.isnan(got) & np.isnan(expected))).all())


def diagnose(
    observations: Sequence[Observation], rerun: Callable[[Observation, tuple[Any, ...]], Mapping[str, Any]] | None = None
) -> list[Finding]:
    """At most three findings, the most specific first; none where nothing is wrong or nothing explains it.

    ``rerun(observation, upstream)`` computes somebody's gradients anew for another upstream gradient, where that is possible.
    """
    failing = [o for o in observations if o.wrong()]
    if not failing:
        return []
    names = list(dict.fromkeys(n for o in failing for n in o.wrong()))
    found: list[Finding] = []
    for witness in (_shapes, _integers, _upstream, _mutants, _ratios, _residuals, _places, _precision):
        found += witness(observations, failing, names, rerun)
        if found and found[0].confidence >= 0.9:
            break
    found += _separation(observations, failing, names, rerun)
    ranked = sorted(found, key=lambda f: -f.confidence)
    return list({f.sentence: f for f in ranked}.values())[:3]


Rerun = Callable[[Observation, "tuple[Any, ...]"], Mapping[str, Any]] | None


def _pairs(failing: Sequence[Observation], name: str) -> list[tuple[Array, Array]]:
    """What was got and what was expected of one gradient, wherever it is wrong."""
    return [
        (np.asarray(o.got[name]), np.asarray(o.expected[name]))
        for o in failing
        if name in o.wrong() and o.got[name] is not None and o.expected[name] is not None
    ]


def _count(failing: Sequence[Observation]) -> str:
    return f"in {len(failing)} of {len(failing)} wrong cases"


# Shape and dtype -----------------------------------------------------------------------------------------------------


def _shapes(_: Any, failing: Sequence[Observation], names: Sequence[str], __: Rerun) -> Iterator[Finding]:
    for name in names:
        missing = [o for o in failing if name in o.wrong() and o.got[name] is None]
        if missing:
            yield Finding("missing", f"the gradient of {name} is None", _count(missing), 1.0)
            continue
        pairs = _pairs(failing, name)
        other = [(g, e) for g, e in pairs if g.shape != e.shape]
        if len(other) < len(pairs) or not pairs:
            if pairs and all(g.ndim == 2 and g.T.shape == e.shape and same(g.T, e) for g, e in pairs):
                yield Finding("transpose", f"the gradient of {name} is transposed", _count(failing), 1.0)
            continue
        for g_rank, e_rank in [(other[0][0].ndim, other[0][1].ndim)]:
            if all(g.size == e.size and same(g.reshape(e.shape), e) for g, e in pairs):
                yield Finding(
                    "shape", f"only the shape of the gradient of {name} is wrong: {pairs[0][0].shape} for {pairs[0][1].shape}",
                    "its values are right", 1.0,
                )  # fmt: skip
            elif all(sorted(g.shape) == sorted(e.shape) for g, e in pairs):
                for axes in itertools.permutations(range(g_rank)):
                    if all(g.ndim == g_rank and same(g.transpose(axes), e) for g, e in pairs):
                        how = "is transposed" if g_rank == 2 else f"has its axes in another order, {axes}"
                        yield Finding("transpose", f"the gradient of {name} {how}", _count(failing), 1.0)
            elif g_rank >= e_rank:
                yield from _unreduced(name, pairs)


def _unreduced(name: str, pairs: Sequence[tuple[Array, Array]]) -> Iterator[Finding]:
    rank = pairs[0][0].ndim
    for r in range(1, rank + 1):
        for axes in itertools.combinations(range(rank), r):
            if all(g.ndim == rank and _reshaped_same(g.sum(axes), e) for g, e in pairs):
                which = f"axis {axes[0]}" if r == 1 else f"axes {axes}"
                yield Finding(
                    "unreduced",
                    f"the gradient of {name} is not summed over {which}, over which forward broadcast it",
                    f"summed, it is right; shape {pairs[0][0].shape} for {pairs[0][1].shape}",
                    1.0,
                )
                return


def _reshaped_same(g: Array, e: Array) -> bool:
    return g.size == e.size and same(g.reshape(e.shape), e)


def _integers(_: Any, failing: Sequence[Observation], names: Sequence[str], __: Rerun) -> Iterator[Finding]:
    for name in names:
        pairs = _pairs(failing, name)
        if pairs and all(g.dtype.kind in "iu" for g, _ in pairs):
            yield Finding(
                "dtype", f"the gradient of {name} is an integer array, which cuts off every fraction",
                f"dtype {pairs[0][0].dtype}: make it with a floating dtype", 0.99,
            )  # fmt: skip


# Upstream ------------------------------------------------------------------------------------------------------------


def reference(o: Observation, upstream: tuple[Any, ...]) -> dict[str, Any]:
    """The reference's gradients by name for an upstream gradient."""
    step: Step = o.layer(o.state, *o.inputs, **(o.options or {}))
    with np.errstate(all="ignore"):
        grads = step.backward(*upstream)
    return dict(zip(o.layer.inputs(), grads.inputs, strict=False)) | grads.params


def _upstream(_: Any, failing: Sequence[Observation], names: Sequence[str], rerun: Rerun) -> Iterator[Finding]:
    ones = [reference(o, tuple(None if u is None else np.ones_like(u) for u in o.upstream)) for o in failing]
    for name in names:
        if all(same(o.got[name], r[name]) for o, r in zip(failing, ones, strict=True) if name in o.wrong()):
            yield Finding(
                "upstream", f"the gradient of {name} ignores the upstream gradient: it is what an upstream of ones gives",
                _count(failing), 0.98,
            )  # fmt: skip
    if rerun is None:
        return
    for name in names:
        zero = [rerun(o, tuple(None if u is None else np.zeros_like(u) for u in o.upstream)) for o in failing[:2]]
        if all(z.get(name) is not None and np.any(np.asarray(z[name])) for z in zero):
            yield Finding("upstream", f"the gradient of {name} is not zero for a zero upstream gradient", "tried", 0.8)
            continue
        double = [rerun(o, tuple(None if u is None else -2 * u for u in o.upstream)) for o in failing[:2]]
        if any(not same(d[name], -2 * np.asarray(o.got[name])) for o, d in zip(failing, double, strict=False) if d.get(name) is not None):
            yield Finding(
                "nonlinear", f"the gradient of {name} is not linear in the upstream gradient, as every backward pass is:"
                f" a mask or a square is taken of the upstream", "minus twice the upstream does not give minus twice the gradient", 0.8,
            )  # fmt: skip


# The reference's own mutants -----------------------------------------------------------------------------------------


def _mutants(_: Any, failing: Sequence[Observation], names: Sequence[str], __: Rerun) -> Iterator[Finding]:
    """What a wrong version of the reference would give; it must give what was got, wherever that is wrong."""
    from refbp.conformance.mutants import mutants

    matches = []
    for mutant in mutants(type(failing[0].layer)):
        explained = {n for n in names if _explains(mutant, failing, n)}
        if explained:
            matches.append((mutant, explained))
    if not matches:
        return
    best = max(len(e) for _, e in matches)
    matches = [m for m in matches if len(m[1]) == best]
    order = ("backward", "df", "f")
    matches.sort(key=lambda m: (order.index(m[0].function) if m[0].function in order else 9, len(m[0].before)))
    shapes = len({tuple(np.shape(i) for i in o.inputs) for o in failing})
    confidence = 0.97 if best == len(names) else 0.85
    for mutant, explained in matches[:3]:
        yield Finding(
            mutant.kind,
            f"your {_and(sorted(explained))} {'is' if len(explained) == 1 else 'are'} what you get when {mutant.sentence}",
            f"{mutant.where}; the same {_count(failing)}, over {shapes} {'shapes' if shapes > 1 else 'shape'}",
            confidence - 0.01 * (len(matches) - 1 if len(matches) < 4 else 4) - (0.1 if shapes == 1 and len(failing) == 1 else 0),
        )


def _and(names: Sequence[str]) -> str:
    return " and ".join(f"gradient of {n}" for n in names)


def _explains(mutant: Any, failing: Sequence[Observation], name: str) -> bool:
    try:
        with mutant.place():
            return all(
                same(reference(o, o.upstream).get(name), o.got[name]) for o in failing if name in o.wrong()
            ) and any(name in o.wrong() for o in failing)
    except Exception:  # a mutant may crash in any way: then it explains nothing
        return False


# Numbers -------------------------------------------------------------------------------------------------------------


def _ratios(_: Any, failing: Sequence[Observation], names: Sequence[str], __: Rerun) -> Iterator[Finding]:
    for name in names:
        seen: list[tuple[float, dict[str, int]]] = []
        for o in failing:
            if name not in o.wrong():
                continue
            ratio = _ratio(np.asarray(o.got[name]), np.asarray(o.expected[name]))
            if ratio is None:
                break
            seen.append((ratio, o.dimensions))
        else:
            if seen:
                yield from _named_ratio(name, seen)


def _ratio(got: Array, expected: Array) -> float | None:
    if got.shape != expected.shape or got.dtype.kind not in "fiu":
        return None
    usable = np.abs(expected) > 1e-6 * (np.abs(expected).max(initial=0) or 1)
    if not usable.any() or not np.isfinite(got).all():
        return None
    ratios = got[usable] / expected[usable]
    middle = float(np.median(ratios))
    return middle if same(got, middle * expected) else None


def _named_ratio(name: str, seen: Sequence[tuple[float, dict[str, int]]]) -> Iterator[Finding]:
    constant = all(abs(r - seen[0][0]) <= 1e-9 * abs(seen[0][0]) for r, _ in seen)
    if constant and len({tuple(sorted(d.items())) for _, d in seen}) > 1 or (constant and seen[0][0] in (2.0, 0.5, -1.0)):
        factor = seen[0][0]
        words = {0.0: "zero", -1.0: "the wrong sign"}.get(round(factor, 12))
        what = f"is {words}" if words == "zero" else f"has {words}" if words else f"is {factor:.6g} times what it should be"
        yield Finding("factor", f"the gradient of {name} {what}", f"in {len(seen)} of {len(seen)} wrong cases", 0.95)
        return
    fits = [
        (label, rank)
        for label, rank, value in _candidates(seen[0][1])
        if all(_value(label, d) is not None and abs(r - (_value(label, d) or 0)) <= 1e-9 * abs(r) for r, d in seen)
        and abs(seen[0][0] - value) <= 1e-9 * abs(value)
    ]
    if fits:
        least = min(rank for _, rank in fits)
        labels = [label for label, rank in fits if rank == least]
        sure = 0.95 if len(labels) == 1 else 0.7
        yield Finding(
            "factor",
            f"the gradient of {name} is {' or '.join(labels)} times what it should be",
            f"in {len(seen)} of {len(seen)} wrong cases, with {', '.join(f'{r:.4g}' for r, _ in seen[:4])}",
            sure,
        )


def _candidates(dims: Mapping[str, int]) -> Iterator[tuple[str, int, float]]:
    """Ratios by name, simple ones first: k, 1/k, 2/k, j/k, (k − 1)/k …"""
    for a in dims:
        for rank, label in enumerate((a, f"1/{a}", f"2/{a}", f"{a}/2", f"({a} − 1)/{a}", f"{a}/({a} − 1)", f"1/({a} − 1)")):
            value = _value(label, dims)
            if value is not None:
                yield label, 0 if rank < 2 else 1, value
    for a, b in itertools.permutations(dims, 2):
        for label in (f"{a}/{b}",):
            value = _value(label, dims)
            if value is not None:
                yield label, 2, value
    for a, b in itertools.combinations(dims, 2):
        for label in (f"{a}·{b}", f"1/({a}·{b})", f"2/({a}·{b})"):
            value = _value(label, dims)
            if value is not None:
                yield label, 3, value


def _value(label: str, dims: Mapping[str, int]) -> float | None:
    """A label's value for other dimensions; None where a name is not among them."""
    text = label
    for n in sorted(dims, key=len, reverse=True):
        text = text.replace(n, str(dims[n]))
    text = text.replace("−", "-").replace("·", "*")
    if not set(text) <= set("0123456789()*/-+. "):
        return None
    try:
        return float(eval(text))  # noqa: S307  # digits and operators only, as the line above made sure
    except ZeroDivisionError:
        return None


def _residuals(_: Any, failing: Sequence[Observation], names: Sequence[str], __: Rerun) -> Iterator[Finding]:
    """got = expected + c · T, with T an array that is around and c the same everywhere."""
    for name in names:
        relevant = [o for o in failing if name in o.wrong() and np.shape(o.got[name]) == np.shape(o.expected[name])]
        if not relevant or len(relevant) < sum(name in o.wrong() for o in failing):
            continue
        for label in _terms(relevant[0]):
            factors = []
            for o in relevant:
                term, rest = _terms(o).get(label), np.asarray(o.got[name]) - np.asarray(o.expected[name])
                if term is None or np.shape(term) != rest.shape or not np.any(term):
                    break
                c = float(np.vdot(term, rest) / np.vdot(term, term))
                if not c or not same(np.asarray(c * term), rest, 1e-7):
                    break
                factors.append(c)
            else:
                if len(factors) == 1 or max(factors) - min(factors) <= 1e-7 * max(map(abs, factors)):
                    yield Finding(
                        "residual", f"the gradient of {name} is what it should be plus {factors[0]:.6g} · {label}",
                        _count(relevant), 0.9 if len(factors) > 1 else 0.7,
                    )  # fmt: skip


def _terms(o: Observation) -> dict[str, Any]:
    terms: dict[str, Any] = {n: a for n, a in o.named_inputs.items() if a is not None and np.asarray(a).dtype.kind == "f"}
    terms |= {n: a for n, a in o.state.items() if a.dtype.kind == "f"}
    for i, u in enumerate(o.upstream):
        if u is not None:
            terms["the upstream gradient" if len(o.upstream) == 1 else f"upstream gradient {i}"] = u
    for n, a in list(terms.items()):
        terms[f"sign({n})"] = np.sign(a)
    for e in o.expected.values():
        if e is not None:
            terms.setdefault("a constant", np.ones_like(e))
    return terms


# Where, and in which cases -------------------------------------------------------------------------------------------


def _places(_: Any, failing: Sequence[Observation], names: Sequence[str], __: Rerun) -> Iterator[Finding]:
    """All wrong elements are in one kind of place, and all elements in that place are wrong in some case."""
    for name in names:
        masks = []
        for o in failing:
            if name not in o.wrong():
                continue
            g, e = np.asarray(o.got[name]), np.asarray(o.expected[name])
            if g.shape != e.shape or not g.ndim:
                return
            scale = float(np.abs(e).max(initial=0)) or 1.0
            masks.append((o, np.abs(g.astype(float) - e) > CLOSE * scale))
        if not masks:
            continue
        for label, place in _PLACES:
            marked = [(place(o, name, m.shape), m) for o, m in masks]
            if all(p is not None and not (m & ~p).any() and not p.all() for p, m in marked):
                covered = sum(int((m & p).sum()) for p, m in marked if p is not None) / max(1, sum(int(p.sum()) for p, _ in marked if p is not None))
                if covered > 0.5:
                    yield Finding("place", f"the gradient of {name} is wrong only {label}", _count(failing), 0.75)
                    break


def _where_zero(o: Observation, name: str, shape: Any) -> Array | None:
    x = next((a for a in o.inputs if a is not None and np.shape(a) == shape), None)
    return None if x is None else np.asarray(x) == 0


def _step(which: int) -> Callable[[Observation, str, Any], Array | None]:
    def place(o: Observation, name: str, shape: Any) -> Array | None:
        if len(shape) < 2 or shape[0] < 3:
            return None
        mask = np.zeros(shape, bool)
        mask[which] = True
        return mask

    return place


def _block(k: int, of: int) -> Callable[[Observation, str, Any], Array | None]:
    def place(o: Observation, name: str, shape: Any) -> Array | None:
        if getattr(o.layer, "gates", 0) != of or name not in o.state or shape[0] % of:
            return None
        mask = np.zeros(shape, bool)
        mask[k * shape[0] // of : (k + 1) * shape[0] // of] = True
        return mask

    return place


def _border(o: Observation, name: str, shape: Any) -> Array | None:
    if len(shape) < 3 or min(shape[2:]) < 3:
        return None
    mask = np.ones(shape, bool)
    mask[(slice(None), slice(None), *[slice(1, -1)] * (len(shape) - 2))] = False
    return mask


_PLACES: list[tuple[str, Callable[[Observation, str, Any], Array | None]]] = [
    ("where the input is 0: at a kink it takes the other side's slope", _where_zero),
    ("in the last step (axis 0)", _step(-1)),
    ("in the first step (axis 0)", _step(0)),
    *[(f"in the rows of gate {g}", _block(k, 4)) for k, g in enumerate("ifgo")],
    *[(f"in the rows of gate {g}", _block(k, 3)) for k, g in enumerate("rzn")],
    ("at the border", _border),
]


def _precision(_: Any, failing: Sequence[Observation], names: Sequence[str], __: Rerun) -> Iterator[Finding]:
    for name in names:
        pairs = _pairs(failing, name)
        if pairs and all(same(g, e, NEAR) for g, e in pairs):
            yield Finding(
                "precision", f"the gradient of {name} is right to a few digits only: computed in float32, with a rounded"
                f" constant, or by finite differences", "relative errors below 1e-4", 0.6,
            )  # fmt: skip


def _separation(
    observations: Sequence[Observation], failing: Sequence[Observation], names: Sequence[str], _: Rerun
) -> Iterator[Finding]:
    """The smallest condition on arguments and dimensions that is true of all wrong cases and of no right one."""
    right = [o for o in observations if not o.wrong()]
    if not right or len(failing) < 2:
        return
    facts = [_facts(o) for o in observations]
    wrong_facts = [f for o, f in zip(observations, facts, strict=True) if o.wrong()]
    right_facts = [f for o, f in zip(observations, facts, strict=True) if not o.wrong()]
    common = set.intersection(*map(set, wrong_facts)) - set.union(*map(set, right_facts))
    if common:
        condition = min(common, key=lambda c: (len(c), c))
        yield Finding(
            "cases",
            f"wrong in all {len(failing)} cases with {condition}, right in all {len(right)} without",
            f"gradients of {', '.join(names)}",
            0.65,
        )


def _facts(o: Observation) -> list[str]:
    facts = []
    for n, v in o.layer.arguments().items():
        if isinstance(v, bool | str) or v is None:
            facts.append(f"{n}={v!r}")
        elif isinstance(v, int | float):
            facts += [f"{n} > {b}" for b in (0, 1) if v > b] + [f"{n} = {b}" for b in (0, 1) if v == b]
        elif isinstance(v, tuple) and all(isinstance(k, int) for k in v):
            facts += [f"{n} > {b}" for b in (0, 1) if max(v, default=0) > b]
            facts.append(f"{n} {'not ' if len(set(v)) > 1 else ''}the same on every axis")
    dims = {n: s for n, s in o.dimensions.items() if n != "the number of elements"}
    facts += [f"{a} ≠ {b}" if dims[a] != dims[b] else f"{a} = {b}" for a, b in itertools.combinations(sorted(dims), 2)]
    facts += [f"{a} > 1" if s > 1 else f"{a} = 1" for a, s in dims.items()]
    for n, a in o.named_inputs.items():
        if a is not None and np.asarray(a).dtype.kind in "iu" and np.size(a):
            facts.append(f"{'repeated' if len(np.unique(a)) < np.size(a) else 'distinct'} values in {n}")
        elif a is not None and np.size(a):
            facts.append(f"{'' if np.any(np.asarray(a) == 0) else 'no '}zeros in {n}")
            facts.append(f"{'ties' if len(np.unique(a)) < np.size(a) else 'no ties'} in {n}")
    return facts
