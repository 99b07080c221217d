"""A failing example, written down: as the lines that a report shows, and as a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from refbp.oracle.observation import Array
from refbp.oracle.shrink import Example, Failure, Judge, changed_state


def shown(a: Any) -> str:
    """An array as nested lists of short numbers."""
    a = np.asarray(a)
    if a.ndim == 0:
        return _number(a.item())
    return f"[{', '.join(shown(row) for row in a)}]"


def _number(v: Any) -> str:
    if isinstance(v, bool):
        return str(v)
    return f"{v + 0.0:.6g}" if math.isfinite(v) else str(v)  # + 0.0 makes −0 a 0


def arrays(example: Example) -> dict[str, Array]:
    """The inputs and the state by their names, then the upstream gradients as d of each output."""
    found = {n: a for n, a in zip(example.layer.inputs(), example.inputs, strict=False) if a is not None}
    found |= dict(example.state)
    names = list(example.layer.outputs()) or ["y"]
    found |= {f"d{names[i] if i < len(names) else f'y{i}'}": u for i, u in enumerate(example.upstream) if u is not None}
    return {n: np.asarray(a) for n, a in found.items()}


def described(example: Example, failure: Failure, judged: Judge | None = None) -> tuple[str, str]:
    """Two lines: the example, and what came of it. A state that a judge does not need is not shown."""
    unused = _unused(example, failure, judged) if judged else set()
    parts = [repr(example.layer), *(f"{n} = {shown(a)}" for n, a in arrays(example).items() if n not in unused)]
    parts += [f"{n} = {shown(v) if isinstance(v, np.ndarray) else repr(v)}" for n, v in example.options.items()]
    got = shown(failure.got) if failure.got.size else f"an empty array of shape {failure.got.shape}"
    return ", ".join(parts), f"d{failure.gradient}: yours {got}   expected {shown(failure.expected)}"


def _unused(example: Example, failure: Failure, judged: Judge) -> set[str]:
    found = set()
    for name, a in example.state.items():
        other = judged(changed_state(example, name, np.full_like(a, np.nan) if a.dtype.kind == "f" else a + 1))
        if other is not None and np.array_equal(other.got, failure.got) and np.array_equal(other.expected, failure.expected):
            found.add(name)
    return found


def script(example: Example, failure: Failure, imports: Sequence[str], call: Sequence[str], about: str = "") -> str:
    """A script that repeats the failure. ``call`` are its lines that compute ``got`` from the arrays, by their names, with
    what ``imports`` imports.
    """
    about = about or f"The smallest input found for which the gradient of {failure.gradient} is wrong: {example.layer!r}."
    lines = [
        f'"""{about}"""',
        "",
        "import numpy as np",
        *imports,
        "",
        *(f"{identifier(n)} = {literal(a)}" for n, a in arrays(example).items()),
        *(f"{identifier(n)} = {literal(v) if isinstance(v, np.ndarray) else repr(v)}" for n, v in example.options.items()),
        f"expected = {literal(failure.expected)}",
        "",
        *call,
        "",
        'print("got     ", np.asarray(got).tolist())',
        'print("expected", expected.tolist())',
        "np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9, strict=True)",
    ]
    return "\n".join(lines) + "\n"


def identifier(name: str) -> str:
    """A state's name as a Python name."""
    return name.replace(".", "_")


def literal(a: Any) -> str:
    """An array as Python that NumPy evaluates to it again; an empty one by its shape."""
    a = np.asarray(a)
    if not a.size:
        return f"np.zeros({a.shape}, {a.dtype.name!r})"
    plain = "" if a.dtype in (np.float64, np.int64, np.bool_) else f", np.{a.dtype.name}"
    values = repr(a.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    return f"np.array({values}{plain})"
