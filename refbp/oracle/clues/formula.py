"""Known mistakes, and the terms of a formula: which of them is missing, or stands there with another sign or factor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from refbp.errors import listed
from refbp.oracle.clues import scale
from refbp.oracle.families import mistakes, quantities, terms
from refbp.oracle.finding import Evidence, Finding, Fit, Guess, agreeing
from refbp.oracle.observation import Array, Observation, same, tolerance
from refbp.spec import Mistake

Claims = Iterator[tuple[str, str, str, Fit]]


def clue(e: Evidence) -> list[Finding]:
    """Findings from known mistakes and from what is left when the right gradient is subtracted."""
    if not e.answered:
        return []
    claims = [*_mistakes(e), *(c for name in e.numeric for c in _terms(e, name))]
    known = {name for name, *_ in claims}
    claims += [c for name in e.numeric if name not in known for c in _residual(e, name)]
    return e.merged(claims)


def _mistakes(e: Evidence) -> Claims:
    for mistake in mistakes(e.answered[0]):
        held: dict[int, Any] = {}
        for name in e.numeric:
            if fit := e.fit(name, _guess(mistake, name, held), 0.98 if _spares_what_is_right(mistake, e) else 0.93):
                yield name, "mistake", "{is} what you get when " + mistake.words, fit
        if e.late:
            return


def _spares_what_is_right(mistake: Mistake, e: Evidence) -> bool:
    """Whether a mistake leaves alone the gradients that are right: another one may explain the wrong ones as well, and do."""
    o = e.answered[0]
    try:
        changed = mistake.gradients(o)
    except Exception:  # then it does not fit either
        return False
    return all(same(g, o.expected[n]) for n, g in changed.items() if n in o.got and n not in o.wrong and n in o.expected)


def _guess(mistake: Mistake, name: str, held: dict[int, Any]) -> Guess:
    """One of a mistake's gradients; they are computed once for all their names. What it leaves alone is right."""

    def guess(o: Observation) -> Any:
        if id(o) not in held:
            held[id(o)] = mistake.gradients(o)
        return held[id(o)].get(name, o.expected[name])

    return guess


# Terms -----------------------------------------------------------------------------------------------------------------


def _terms(e: Evidence, name: str) -> Claims:
    """Whether got = Σ factor · term: each factor a number with a name, and one of them not 1."""
    solved = []
    for o in e.where(name):
        parts = terms(o).get(name)
        got = np.asarray(o.got[name])
        if not parts or got.shape != np.shape(o.expected[name]) or got.dtype.kind not in "fiu":
            return
        if got.size <= len(parts):
            continue  # more unknowns than equations: it can only be checked
        solution = _factors(got, parts)
        if solution is None:
            return
        if not solution:
            continue  # terms that are alike here: it can only be checked
        solved.append((o, solution))
    if not solved or any(f.keys() != solved[0][1].keys() for _, f in solved):  # cases of different formulas
        return
    said_of: dict[str, list[str]] = {}
    factors: dict[str, Any] = {}
    for label in solved[0][1]:
        seen: list[tuple[float, Mapping[str, float]]] = [(f[label], o.sizes) for o, f in solved]
        said = scale.number(seen)
        factors[label] = said.value
        if all(abs(r) < 1e-6 for r, _ in seen):
            said_of.setdefault("{is} missing", []).append(label)
        elif not all(abs(r - 1) < 1e-6 for r, _ in seen):
            if said.value is None or said.sure < 0.5:
                return
            said_of.setdefault(said.words, []).append(label)
    alike = all(abs(v - next(iter(f.values()))) < 1e-6 for _, f in solved for v in f.values())
    off = sum(map(len, said_of.values()))
    if not off or off == len(factors) > 2 or alike:  # all alike is a factor of the whole
        return
    words = [agreeing(f"the term{'s' * (len(of) > 1)} {listed(of)} {what}", len(of) > 1) for what, of in said_of.items()]

    def guess(o: Observation) -> Any:
        parts = terms(o).get(name)
        return o.expected[name] if parts is None else sum(f(o.sizes) * parts[n] for n, f in factors.items() if f)

    if fit := e.fit(name, guess, 0.97):
        yield name, "term", "{is} what you get when " + " and ".join(words), fit


def _factors(got: Array, parts: Any) -> dict[str, float] | None:
    """The factor of each term, where together they give what was got; none where they depend on each other."""
    arrays = [np.broadcast_to(t, got.shape) for t in parts.values() if np.size(t) in (1, got.size)]
    if len(arrays) < len(parts) or got.dtype.kind not in "fiu" or not np.isfinite(got).all():
        return None
    matrix = np.stack([a.ravel() for a in arrays], 1).astype(float)
    norms = np.linalg.norm(matrix, axis=0)
    if not np.isfinite(matrix).all():
        return None
    if len(matrix) <= len(arrays) or not norms.all():
        return {}
    solution, _, rank, singular = np.linalg.lstsq(matrix / norms, got.ravel().astype(float), rcond=None)
    if rank < len(arrays) or singular[-1] < 1e-6 * singular[0]:
        return {}
    solution = solution / norms
    if not same(got, (matrix @ solution).reshape(got.shape), max(tolerance(got), 1e-8)):
        return None
    return dict(zip(parts, solution.tolist(), strict=True))


# What is left ----------------------------------------------------------------------------------------------------------


def _residual(e: Evidence, name: str) -> Claims:
    """Whether got = expected + c · T, with T an array that is around and c a number with a name: a regulariser, say."""
    wrong = e.where(name)
    if any(np.shape(o.got[name]) != np.shape(o.expected[name]) for o in wrong):
        return
    if all(scale.ratio(o.got[name], o.expected[name]) is not None for o in wrong):
        return  # a factor, which says more
    for label in _around(wrong[0], name):
        seen = []
        for o in wrong:
            term = _around(o, name).get(label)
            c = None if term is None else _coefficient(o, name, term)
            if c is None:
                break
            seen.append((c, o.sizes))
        else:
            values = [c for c, _ in seen]
            constant = max(values) - min(values) <= 1e-6 * max(map(abs, values))
            if not constant or sum(np.size(o.got[name]) for o in wrong) < 3:
                continue
            fit = e.test(name, lambda *_: True, 0.9 if len(seen) > 1 else 0.7)
            if fit:
                yield name, "residual", f"{{is}} what {{it}} should be plus {values[0]:.6g} · {label}", fit
                return


def _coefficient(o: Observation, name: str, term: Array) -> float | None:
    rest = np.asarray(o.got[name], float) - np.asarray(o.expected[name], float)
    if term.shape != rest.shape or not np.any(term) or not np.isfinite(rest).all():
        return None
    c = float(np.vdot(term, rest) / np.vdot(term, term))
    return c if c and same(c * term, rest, 1e-6) else None


def _around(o: Observation, name: str) -> dict[str, Array]:
    like = np.shape(o.expected[name])
    found = {n: np.asarray(a, float) for n, a in quantities(o).items() if np.shape(a) == like}
    for n, a in list(found.items()):
        found[f"sign({n})"] = np.sign(a)
    found["1, a constant"] = np.ones(like)
    for other, g in o.expected.items():
        if other != name and np.shape(g) == like:
            found[f"the gradient of {other}"] = np.asarray(g, float)
    return found
