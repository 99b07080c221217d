"""What may cross to a worker, and descriptions that come back from one made into this side's own objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from refbp.oracle.isolation._inside import wire
from refbp.oracle.isolation.result import Definition, Handle, IsolationError, Parameter, text


def handles_in(value: Any) -> Iterator[Handle]:
    """Every handle in a value, as deep as it goes."""
    if isinstance(value, Handle):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from handles_in(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from handles_in(v)


def cannot_send(value: Any) -> wire.Tree:
    """The tree of a handle; IsolationError for anything else that is not plain data."""
    if isinstance(value, Handle):
        return ["h", value.id, value.type, value.module]
    raise IsolationError(
        f"a {type(value).__name__} cannot be given to a submission: give arrays, numbers, strings, None, "
        "handles, and tuples, lists and dicts of them"
    )


def strings(values: Any) -> tuple[str, ...]:
    """A list of somebody else's strings."""
    if not isinstance(values, list):
        raise wire.WireError("not a list")
    return tuple(text(v, 500) for v in values[:1000])


def definition(name: str, said: dict[str, Any]) -> Definition:
    """One entry of what a worker says of its submission."""
    return Definition(
        name=name,
        kind=text(said["kind"], 20),
        parameters=tuple(
            Parameter(text(p["name"], 200), text(p["kind"], 30), bool(p["has_default"]), p["default"])
            for p in said["parameters"]
        ),
        line=int(said["line"]),
        stub=text(said["stub"], 30),
        empty=tuple(text(e, 200) for e in said["empty"]),
        here=bool(said.get("here", True)),
        methods={text(n, 200): definition(text(n, 200), m) for n, m in said.get("methods", {}).items()},
        bases=tuple(text(b, 200) for b in said.get("bases", ())),
    )
