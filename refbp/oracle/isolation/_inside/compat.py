"""What code of other years expects to find: the ``past`` package, the abstract classes of ``collections``, and, if asked for,
names that NumPy has removed.
"""

from __future__ import annotations

import sys
import types
from typing import Any

REMOVED: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "complex": complex, "object": object, "str": str, "unicode": str, "long": int,
    "float_": "float64", "complex_": "complex128", "bool8": "bool_", "unicode_": "str_", "string_": "bytes_", "Inf": "inf",
    "Infinity": "inf", "infty": "inf", "PINF": "inf", "NaN": "nan", "product": "prod", "cumproduct": "cumprod",
    "sometrue": "any", "alltrue": "all", "in1d": "isin", "row_stack": "vstack", "trapz": "trapezoid", "round_": "round",
    "mat": "asmatrix",
}  # fmt: skip


def stub_past() -> None:
    """``from past.builtins import xrange`` and ``from past.utils import old_div``, without the package."""
    builtins = types.ModuleType("past.builtins")
    names: dict[str, Any] = {"xrange": range, "basestring": str, "unicode": str, "long": int, "raw_input": input}
    names |= {n: getattr(__import__("builtins"), n) for n in ("range", "map", "filter", "zip", "str", "dict", "chr", "input")}
    vars(builtins).update(names)
    utils = types.ModuleType("past.utils")
    vars(utils)["old_div"] = lambda a, b: a // b if isinstance(a, int) and isinstance(b, int) else a / b
    past = types.ModuleType("past")
    past.__path__ = []
    vars(past).update(builtins=builtins, utils=utils)
    sys.modules.update({"past": past, "past.builtins": builtins, "past.utils": utils})


def mend_collections() -> None:
    """``from collections import Iterable`` and its like, which have been in collections.abc alone since Python 3.10."""
    import collections
    import collections.abc

    for name in collections.abc.__all__:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))


def mend_numpy() -> list[str]:
    """Bring back the names that NumPy has removed and that have an exact successor; which ones."""
    import numpy as np

    # vars(), because asking NumPy for a removed name warns
    missing = [name for name in REMOVED if name not in vars(np)]
    for name in missing:
        now = REMOVED[name]
        value = getattr(np, now, None) if isinstance(now, str) else now
        if value is not None:
            setattr(np, name, value)
    return missing


def one_element(error: BaseException, frame: types.FrameType | None, line: int) -> bool:
    """Whether what could not be put in an array's place is an array of one element, of which NumPy once made a number.

    The error says the same of every array: so what the line assigns is worked out once more, in the frame that raised it.
    """
    import ast
    import linecache

    import numpy as np

    if frame is None or "only 0-dimensional arrays can be converted" not in f"{error} {error.__cause__}":
        return False
    lines = linecache.getlines(frame.f_code.co_filename)
    try:
        assigned = [n for n in ast.walk(ast.parse("".join(lines))) if isinstance(n, ast.Assign) and n.lineno <= line]
        last = max(assigned, key=lambda n: n.lineno)
        code = compile(ast.Expression(last.value), "<value>", "eval")
        value = eval(code, frame.f_globals, frame.f_locals) if line <= (last.end_lineno or 0) else None
    except Exception:  # whatever it does the second time
        return False
    return isinstance(value, np.ndarray) and value.ndim > 0 and value.size == 1
