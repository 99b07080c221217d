"""What comes back from a worker: plain data, made in this process, and sentences about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from refbp.errors import RefbpError
from refbp.oracle.isolation._inside.compat import REMOVED

Kind = Literal["ok", "raised", "timeout", "memory", "died", "garbage", "too much output"]


class IsolationError(RefbpError):
    """No worker could be started, or not as confined as was asked for: nobody's submission is to blame."""


class SubmissionError(RefbpError):
    """The submission could not be read or imported; ``result`` says how that ended, where it got so far."""

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Handle:
    """An object that stays in the worker: a cache, a layer, whatever is not plain data. Equal only to itself."""

    id: int
    type: str
    module: str = ""
    life: int = 0  # of the worker that holds it: objects end with their worker
    owner: int = 0


@dataclass(frozen=True)
class Parameter:
    """One parameter of a signature; a default that is not plain data is its type in angle brackets."""

    name: str
    kind: str
    has_default: bool = False
    default: Any = None


@dataclass(frozen=True)
class Definition:
    """A function, class or method of the submission.

    ``stub`` is what says that it is not written yet ("pass", "NotImplementedError", "None", "zeros"), or empty; ``empty``
    names what it returns that was only ever set to a placeholder. ``here`` is False for what it imports from its own files.
    """

    name: str
    kind: str
    parameters: tuple[Parameter, ...] = ()
    line: int = 0
    stub: str = ""
    empty: tuple[str, ...] = ()
    here: bool = True
    methods: Mapping[str, Definition] = field(default_factory=dict)
    bases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """How a call ended.

    ``value`` holds tuples, lists and dicts of fresh plain arrays, NumPy scalars, numbers, strings, None and handles.
    ``traceback`` has the submission's own frames only; on a time-out, where it was. ``mutated`` names the arguments that the
    call changed ("args[0]", "kwargs['bn_param']['mode']"), ``shared`` the results that live in the memory of an argument or
    of an earlier result, ``calls`` how often each of the submission's functions was called, ``notes`` what was made plain on
    the way ("result[0] is a subclass of numpy.ndarray"). ``arguments`` are (args, kwargs) after the call, if asked for.
    """

    kind: Kind
    value: Any = None
    error: str = ""
    message: str = ""
    traceback: str = ""
    stdout: str = ""
    stderr: str = ""
    mutated: tuple[str, ...] = ()
    shared: tuple[tuple[str, str], ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    importing: bool = False  # it ended while the submission was being imported, before anything was called

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.kind == "ok"

    @property
    def environment(self) -> str:
        """A sentence where not the code but its age is at fault: Python 2, a name that NumPy has removed; else empty."""
        return environment(self.error, self.message) if self.kind == "raised" else ""

    def sentence(self) -> str:
        """One line: what happened."""
        what = {
            "ok": "answered",
            "raised": f"raises {self.error}" + (f": {self.message}" if self.message else ""),
            "timeout": f"did not answer in time: {self.message}",
            "memory": f"needs too much memory: {self.message}",
            "died": f"ended its process: {self.message}",
            "garbage": f"did not answer with data: {self.message or self.error}",
            "too much output": f"gives or prints too much: {self.message}",
        }[self.kind]
        line = what.splitlines()[0] if what else ""
        return f"importing it {line}" if self.importing and not self.ok else line


def text(value: object, limit: int = 4_000) -> str:
    """Somebody else's text, safe to print: no control characters, no direction marks, no lone surrogates, not too long."""
    plain = str(value)[:limit].encode(errors="replace").decode()
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in plain)


_PYTHON2 = {
    "xrange": "range", "unicode": "str", "basestring": "str", "raw_input": "input", "long": "int", "reduce": "functools.reduce",
    "unichr": "chr", "file": "open", "execfile": "exec", "cPickle": "pickle", "Queue": "queue", "urllib2": "urllib.request",
    "StringIO": "io.StringIO", "ConfigParser": "configparser", "iteritems": "items", "itervalues": "values",
    "iterkeys": "keys", "has_key": "the operator in",
}  # fmt: skip


def environment(error: str, message: str) -> str:
    """What an exception says about the Python or NumPy that the code was written for; empty where it says nothing."""
    if error in {"SyntaxError", "TabError", "IndentationError"}:
        old = re.search(
            r"Missing parentheses in call to '(print|exec)'|multiple exception types must be parenthesized", message
        )
        if old:
            return f"it is written for Python 2 ({old[1] or 'except A, e'} without parentheses): run it through 2to3 or mend it"
        if error == "TabError":
            return "it mixes tabs and spaces, which Python 2 allowed: indent with spaces"
    if numpy := re.search(r"module 'numpy' has no attribute '(\w+)'|`np\.(\w+)` was removed", message):
        return _removed(numpy[1] or numpy[2], by_numpy=bool(numpy[2]))
    name = re.search(r"(?:name|No module named|has no attribute) '([\w.]+)'", message)
    if "has no attribute 'itemset'" in message:
        return "ndarray.itemset was removed from NumPy: write a[i] = value"
    if "unexpected keyword argument 'newshape'" in message:
        return "np.reshape(newshape=…) was removed from NumPy: write shape=…"
    if "only 0-dimensional arrays can be converted" in message or "only length-1 arrays can be converted" in message:
        return "NumPy no longer turns an array of one element into a Python number: write a.item()"
    if name and name[1] in _PYTHON2 and error in {"NameError", "ImportError", "ModuleNotFoundError", "AttributeError"}:
        return f"{name[1]} is Python 2: write {_PYTHON2[name[1]]}"
    if error == "NameError" and (
        star := re.search(r"name '(\w+)' is not defined, unless by ([\w.]+), which is not here", message)
    ):
        return f"{star[1]} is not defined, unless by {star[2]}, which is not here"
    if name and error == "ModuleNotFoundError":
        return f"it needs the module {name[1]}, which is not here"
    return ""


def _removed(name: str, by_numpy: bool) -> str:
    now = REMOVED.get(name)
    if now is None:
        return f"np.{name} was removed from NumPy" if by_numpy else ""  # else it may never have been there
    return f"np.{name} was removed from NumPy: write {now.__name__ if isinstance(now, type) else f'np.{now}'}"
