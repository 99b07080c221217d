"""Who makes the calls: a worker, for other people's files, or this process, for functions that one has in hand."""

from __future__ import annotations

import copy
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from refbp.oracle.isolation import Handle, Parameter, Result, Worker, environment

Keep = bool | Sequence[int | str]


@dataclass(frozen=True)
class Outcome:
    """How one call ended.

    ``kind`` is "ok", or how it failed: what :class:`~refbp.oracle.isolation.Result` knows, "environment" where the code is
    only too old, "not implemented", "empty" where nothing but None came back, "misfit" where what came back cannot be used,
    "refused" where a convention is not for this submission.
    """

    kind: str
    value: Any = None
    sentence: str = ""
    traceback: str = ""
    mutated: tuple[str, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    arguments: tuple[Any, ...] | None = None


@dataclass(frozen=True, eq=False)
class Held:
    """An object of this process that the notation does not look into."""

    value: Any


def is_handle(value: Any) -> bool:
    """Whether a value is an object that stays with its caller."""
    return isinstance(value, Handle | Held)


class Caller(Protocol):
    """Calls functions and methods, and reads and sets attributes, of a submission."""

    def call(self, target: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Call a function, class or static method by its path."""

    def method(self, handle: Any, path: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Call a method of an object."""

    def run(self, code: str, target: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Call a function that ``code`` defines, beside the submission."""

    def attribute(self, handle: Any, path: str, keep: Keep = ()) -> Outcome:
        """Read an attribute or item."""

    def assign(self, handle: Any, path: str, value: Any) -> Outcome:
        """Set an attribute or item."""

    def parameters(self, target: str) -> tuple[Parameter, ...]:
        """The parameters of a function, or of a class's constructor; empty where it is not known."""


class Isolated:
    """A caller whose calls are made in a :class:`~refbp.oracle.isolation.Worker`."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def call(self, target: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Call it there; a class is made, and stays there."""
        definition = self.worker.loaded.value.get(target) if self.worker.loaded.ok else None
        if definition is not None and definition.kind == "class":
            asked["keep"] = True
        return _outcome(self.worker.call(target, args, kwargs, **asked))

    def method(self, handle: Any, path: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Call it there."""
        return _outcome(self.worker.method(handle, path, args, kwargs, **asked))

    def run(self, code: str, target: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Run it there."""
        return _outcome(self.worker.run(code, target, args, kwargs, **asked))

    def attribute(self, handle: Any, path: str, keep: Keep = ()) -> Outcome:
        """Read it there."""
        return _outcome(self.worker.attribute(handle, path, keep=keep))

    def assign(self, handle: Any, path: str, value: Any) -> Outcome:
        """Set it there."""
        return _outcome(self.worker.assign(handle, path, value))

    def parameters(self, target: str) -> tuple[Parameter, ...]:
        """As the worker's survey found them."""
        if not self.worker.loaded.ok:
            return ()
        first, _, rest = target.partition(".")
        definition = self.worker.loaded.value.get(first)
        if definition is not None and rest:
            definition = definition.methods.get(rest)
        return tuple(p for p in definition.parameters if p.name != "self") if definition else ()


def _outcome(result: Result) -> Outcome:
    kind: str = result.kind
    sentence = result.sentence()
    if kind == "raised":
        if result.environment:
            kind, sentence = "environment", result.environment
        elif result.error == "NotImplementedError":
            kind, sentence = "not implemented", _unwritten(result.message)
        elif result.error == "Refused":  # by a driver
            kind, sentence = "refused", result.message
    after = result.arguments[0] if result.arguments is not None else None
    return Outcome(kind, result.value, sentence, result.traceback, result.mutated, result.calls, after)


def _unwritten(message: str) -> str:
    return f"raises NotImplementedError: {message}" if message else "raises NotImplementedError"


class Local:
    """A caller for functions and classes of this very process, by name; they get copies."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = dict(names)

    def call(self, target: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Call it here."""
        first, _, path = target.partition(".")
        return self._run(lambda: _walk(self.names[first], path), args, kwargs, **asked)

    def method(self, handle: Any, path: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Call it here."""
        return self._run(lambda: _walk(handle.value, path), args, kwargs, **asked)

    def run(self, code: str, target: str, args: Sequence[Any], kwargs: Mapping[str, Any], **asked: Any) -> Outcome:
        """Run it here."""
        scope: dict[str, Any] = {"__name__": "driver", "submission": SimpleNamespace(**self.names), "np": np}

        def find() -> Any:
            exec(compile(code, "<driver>", "exec"), scope)  # a course's own
            return _walk(scope[target.partition(".")[0]], target.partition(".")[2])

        return self._run(find, args, kwargs, **asked)

    def attribute(self, handle: Any, path: str, keep: Keep = ()) -> Outcome:
        """Read it here."""
        return self._run(lambda: lambda: _walk(handle.value, path), (), {}, keep=keep)

    def assign(self, handle: Any, path: str, value: Any) -> Outcome:
        """Set it here."""
        before, _, last = path.rpartition(".")
        return self._run(lambda: lambda v: _put(_walk(handle.value, before), last, v), (value,), {}, keep=True)

    def parameters(self, target: str) -> tuple[Parameter, ...]:
        """By its signature."""
        import inspect

        first, _, path = target.partition(".")
        try:
            found = inspect.signature(_walk(self.names[first], path)).parameters.values()
        except (TypeError, ValueError):
            return ()
        return tuple(
            Parameter(p.name, str(p.kind.name).lower(), p.default is not p.empty, None if p.default is p.empty else p.default)
            for p in found
            if p.name != "self"
        )

    def _run(
        self,
        find: Callable[[], Callable[..., Any]],
        args: Iterable[Any],
        kwargs: Mapping[str, Any],
        keep: Keep = (),
        seed: int | None = None,
        count: bool = False,
        arguments: bool = False,
    ) -> Outcome:
        given = [_copied(a) for a in args]
        named = {n: _copied(a) for n, a in kwargs.items()}
        before = [a.tobytes() if isinstance(a, np.ndarray) else None for a in given]
        if seed is not None:
            np.random.seed(seed)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                value = find()(*given, **named)
        except Exception as error:
            name = type(error).__name__
            if old := environment(name, str(error)):
                return Outcome("environment", sentence=old)
            if name == "NotImplementedError":
                return Outcome("not implemented", sentence=_unwritten(str(error)))
            if name == "Refused":
                return Outcome("refused", sentence=str(error))
            frames = "".join(traceback.format_tb(error.__traceback__)[1:])
            return Outcome("raised", sentence=f"raises {name}: {error}", traceback=frames)
        mutated = tuple(
            f"args[{i}]" for i, (a, b) in enumerate(zip(given, before, strict=True)) if b is not None and a.tobytes() != b
        )
        return Outcome("ok", _held(value, keep), mutated=mutated, arguments=tuple(given) if arguments else None)


def _walk(value: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        try:
            value = getattr(value, part)
        except AttributeError:
            if not hasattr(type(value), "__getitem__"):
                raise
            value = value[int(part) if part.lstrip("-").isdigit() else part]
    return value


def _put(holder: Any, last: str, value: Any) -> None:
    if hasattr(type(holder), "__setitem__") and not hasattr(holder, last):
        holder[int(last) if last.lstrip("-").isdigit() else last] = value
    else:
        setattr(holder, last, value)


def _copied(value: Any) -> Any:
    if isinstance(value, Held):
        return value.value
    return copy.deepcopy(value)


def _held(value: Any, keep: Keep) -> Any:
    """The value, with what is kept as it is and everything else as plain data."""
    if keep is True:
        return Held(value)
    if isinstance(value, tuple | list):
        return type(value)(Held(v) if i in (keep or ()) else _plain(v) for i, v in enumerate(value))
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.array(value, subok=False)
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_plain(v) for v in value)
    if value is None or isinstance(value, bool | int | float | complex | str | np.generic):
        return value
    return Held(value)
