"""Modules that a submission imports and that are not here: it is loaded without them, and what uses them says so.

A plotting library, a data loader or a solver of the course is imported at the top of a file whose layers need none of them.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

MANY = 50  # modules that one submission may lack
USES = (
    *("call", "getitem", "iter", "next", "len", "contains", "bool", "int", "float", "index", "complex", "array", "enter"),
    *("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge"),
    *(side + op for side in ("", "r") for op in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")),
    *(side + op for side in ("", "r") for op in ("and", "or", "xor", "lshift", "rshift")),
)


class Absent:
    """What was imported from a module that is not here: its attributes are like it, and what uses it raises."""

    def __init__(self, module: str) -> None:
        vars(self)["_module"] = module

    def __getattr__(self, name: str) -> Absent:
        if name[:2] == "__":
            raise AttributeError(name)
        return Absent(vars(self)["_module"])

    def __setattr__(self, name: str, value: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()


def _used(self: Absent, *_: Any, **__: Any) -> NoReturn:
    module = vars(self)["_module"]
    raise ModuleNotFoundError(f"No module named {module!r}", name=module)


for _operation in USES:
    setattr(Absent, f"__{_operation}__", _used)


class Finder:
    """Finds, after everybody else, the modules that importing a submission has failed for before."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.starred: list[str] = []  # of which everything was imported: nobody knows what that is

    def lacks(self, error: ModuleNotFoundError) -> bool:
        """Take note of what was not found; False where that is no news, and cannot be what is wrong."""
        name = error.name
        if not name or name in self.names or len(self.names) >= MANY:
            return False
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        self.names.append(name)
        return True

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None) -> Any:
        """A spec for what is known not to be here, and for what is in it."""
        known = any(name == n or name.startswith(f"{n}.") for n in self.names)
        return ModuleSpec(name, self, is_package=True) if known else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """A module with every name in it."""
        module, top, starred = types.ModuleType(spec.name), spec.name.split(".")[0], self.starred

        def get(name: str) -> Absent:
            if name == "__all__":
                starred.append(top)
            if name[:2] == "__":
                raise AttributeError(name)
            return Absent(top)

        vars(module)["__getattr__"] = get
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is in it."""
