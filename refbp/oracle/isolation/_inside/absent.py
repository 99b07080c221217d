"""Modules that a submission imports and that are not here: it is loaded without them, and what uses them says so.

A plotting library, a data loader or a solver of the course is imported at the top of a file whose layers need none of them.
"""

from __future__ import annotations

import importlib
import re
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

    def __init__(self, error: ImportError) -> None:
        vars(self)["_error"] = error

    def __getattr__(self, name: str) -> Absent:
        if name[:2] == "__":
            raise AttributeError(name)
        return Absent(vars(self)["_error"])

    def __setattr__(self, name: str, value: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()


def _used(self: Absent, *_: Any, **__: Any) -> NoReturn:
    error = vars(self)["_error"]
    raise type(error)(*error.args, name=error.name)  # anew: a traceback grows with every raise


for _operation in USES:
    setattr(Absent, f"__{_operation}__", _used)


class Finder:
    """Finds, after everybody else, the modules that importing a submission has failed for before."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.starred: list[str] = []  # of which everything was imported: nobody knows what that is
        self.parts: list[tuple[str, str, ImportError]] = []  # modules that are here, and names that are not in them

    def lacks(self, error: BaseException, root: str) -> bool:
        """Take note of what was not found; False where that is no news, and cannot be what is wrong."""
        if not isinstance(error, ImportError) or len(self.names) + len(self.parts) >= MANY:
            return False
        name = error.name if isinstance(error, ModuleNotFoundError) else self._part(error, root)
        if not name or name in self.names:
            return False
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        self.names.append(name)
        return True

    def _part(self, error: ImportError, root: str) -> str:
        """What a module under ``root`` has not, by its full name; a module that is half loaded may have it yet."""
        found = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
        module = sys.modules.get(found[2]) if found else None
        if found is None or module is None:
            return ""
        places = getattr(module, "__path__", None)
        if not all(str(p).startswith(root) for p in places or [getattr(module, "__file__", "")]):
            return ""
        if places is None:  # a package may have lacked a file, and that is found by its name
            self.parts.append((found[2], found[1], ImportError(found[0])))
        return f"{found[2]}.{found[1]}"

    def complete(self) -> None:
        """Put what they lack into the modules that are here."""
        for module, name, error in self.parts:
            setattr(importlib.import_module(module), name, Absent(error))

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None) -> Any:
        """A spec for what is known not to be here, and for what is in it."""
        known = self._known(name)
        return ModuleSpec(name, self, is_package=True) if known else None  # type: ignore[arg-type]

    def _known(self, name: str) -> str:
        """The module that was not found when it, or what is in it, was asked for."""
        return next((n for n in self.names if name == n or name.startswith(f"{n}.")), "")

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """A module with every name in it."""
        module, starred, missing = types.ModuleType(spec.name), self.starred, self._known(spec.name)
        error = ModuleNotFoundError(f"No module named {missing!r}", name=missing)

        def get(name: str) -> Absent:
            if name == "__all__":
                starred.append(missing)
            if name[:2] == "__":
                raise AttributeError(name)
            return Absent(error)

        vars(module)["__getattr__"] = get
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is in it."""
