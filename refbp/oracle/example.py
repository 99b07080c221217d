"""The smallest input for which somebody's gradient is wrong, in their own names, and a script that repeats it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refbp.oracle import layout
from refbp.oracle.attempt import attempt
from refbp.oracle.callers import Caller
from refbp.oracle.calls import called, lines, parsed
from refbp.oracle.comparison import plain
from refbp.oracle.problem import Problem
from refbp.oracle.shrink import Example, judge, shrink
from refbp.oracle.verdict import Row
from refbp.oracle.written import literal, shown

SHOWN = 12  # arrays of more elements are not worth reading
Pair = tuple[tuple[str, str], str]


def smallest(row: Row, caller: Caller, seconds: float) -> Pair | None:
    """Two lines and a script; None where the failure has no example that one could make smaller."""
    exercise = row.exercise
    if row.phase == "forward":
        return _of_outputs(row)
    if exercise.noise is not None or row.verdict in {"raises", "forward wrong"}:
        return None
    order = sorted((a for a in row.attempts if a.failed is None and not a.backward_ok), key=_size)
    seen = next((a for a in order if a.observation is not None and a.observation.wrong and a.forward_ok), None)
    if seen is None or seen.observation is None:
        return _of_outputs(row) if row.phase == "both" else None
    o = seen.observation

    def both(e: Example) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        found = attempt(_problem(seen.problem, e), caller)
        if found.failed is not None or found.observation is None or not found.forward_ok:
            return {}, {}
        return found.observation.got, found.observation.expected

    memo: dict[int, tuple[Example, Any]] = {}

    def once(e: Example) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        if id(e) not in memo:
            memo.clear()
            memo[id(e)] = (e, both(e))
        found: tuple[Mapping[str, Any], Mapping[str, Any]] = memo[id(e)][1]
        return found

    example = Example(o.layer, o.state, o.inputs, o.upstream, dict(o.options or {}))
    judged = judge(o.wrong[0], lambda e: once(e)[0], lambda e: once(e)[1])
    found = shrink(example, judged, seconds)
    if found is None:
        return None
    return _told(row, _problem(seen.problem, found[0]), caller)


def _size(a: Any) -> int:
    return sum(int(np.size(x)) for x in a.problem.inputs if x is not None)


def _problem(problem: Problem, e: Example) -> Problem:
    # A function that is passed no upstream gradient has none that could be made plainer: its own is what it is
    upstream = e.upstream if problem.exercise.upstreams else None
    return dataclasses.replace(problem, layer=e.layer, state=e.state, inputs=e.inputs, options=e.options, upstream=upstream)


def _told(row: Row, problem: Problem, caller: Caller) -> Pair | None:
    found = attempt(problem, caller)
    if found.failed is not None:
        return None
    wrong = next((c for c in found.grads if not c.ok), None)
    if wrong is None:
        return None
    given = _given(problem)
    text = ", ".join(f"{n} = {_text(v)}" for n, v in given.items())
    return (text, f"{wrong.name}: yours {_text(wrong.got)}   expected {_text(wrong.expected)}"), _script(row, given, wrong)


def _text(v: Any) -> str:
    if isinstance(v, dict):
        return "{" + ", ".join(f"{k!r}: {_text(x)}" for k, x in v.items()) + "}"
    if v is None or isinstance(v, str | bool):
        return repr(v)
    a = plain(v)
    if a is None:
        return "something that is no array of numbers"
    if a.size > 4 * SHOWN:
        return f"an array of shape {a.shape}"
    return shown(a) if a.size else f"an empty array of shape {a.shape}"


def _given(problem: Problem) -> dict[str, Any]:
    """What the lines of the exercise read, by their names: arrays, sizes, settings, upstream gradients."""
    from refbp.oracle.attempt import Run
    from refbp.oracle.attempt import _given as there
    from refbp.oracle.calls import Scene

    exercise = problem.exercise
    values: dict[str, Any] = dict(problem.names)
    values |= {n: layout.there(e, problem.arrays, problem.names) for n, e in exercise.arrays.items() if there(e, problem)}
    run = Run(problem, Scene(None, values))  # type: ignore[arg-type]
    values |= run.theirs(run.upstream())
    return {n: values[n] for n in _read(f"{exercise.forward}\n{exercise.backward}") if n in values}


def _read(source: str) -> list[str]:
    import ast

    found = []
    for statement in parsed(source):
        found += [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    return list(dict.fromkeys(found))


def _module(where: str) -> tuple[str, str]:
    """What a file is imported as, with the packages around it, and what has to lie beside a script that does so."""
    if not where:
        return "submission", "submission.py"
    path = Path(where)
    parts = [path.stem]
    while (path.parent / "__init__.py").is_file():
        path = path.parent
        parts.insert(0, path.name)
    return ".".join(parts), f"the folder {path.name}" if len(parts) > 1 else path.name


def _script(row: Row, given: Mapping[str, Any], wrong: Any) -> str:
    """A script that imports the submission and repeats the failure."""
    exercise = row.exercise
    module, beside = _module(row.where)
    names = sorted({c.split(".")[0] for c in called(f"{exercise.forward}\n{exercise.backward}")} - exercise.helpers)
    body = [
        f'"""The smallest input found for which {wrong.name} of {row.name} is wrong. Run it beside {beside}."""',
        "",
        "import numpy as np",
        *([f"from {module} import {', '.join(names)}"] if names else []),
        *([f"import {module} as submission", "", "", *exercise.driver.strip().splitlines(), ""] if exercise.driver else []),
        "",
        *(f"{n} = {_literal(v)}" for n, v in given.items()),
        f"expected = {literal(wrong.expected)}",
        "",
        *lines(exercise.forward),
        *lines(exercise.backward),
        "",
        f'print("yours   ", np.asarray({wrong.name}).tolist())',
        'print("expected", expected.tolist())',
        f"np.testing.assert_allclose({wrong.name}, expected, rtol=1e-6, atol=1e-9, strict=True)",
    ]
    return "\n".join(body) + "\n"


def _literal(v: Any) -> str:
    if isinstance(v, np.ndarray):
        return literal(v)
    return repr(v)


def _of_outputs(row: Row) -> Pair | None:
    """The smallest case in which an output is wrong, as it was drawn."""
    order = sorted((a for a in row.attempts if a.failed is None and any(not c.ok for c in a.outputs)), key=_size)
    if not order:
        return None
    a = order[0]
    wrong = next(c for c in a.outputs if not c.ok)
    if np.size(wrong.expected) > SHOWN:
        return None
    given = ", ".join(f"{n} = {_text(v)}" for n, v in _given(a.problem).items())
    return (given, f"{wrong.name}: yours {_text(wrong.got)}   expected {_text(wrong.expected)}"), ""
