"""What a plugin says of a layer: its class, its cases, its twin, and what is known to differ, each with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from refbp.contract import Layer
from refbp.draws import Draw


@dataclass(frozen=True, init=False)
class Case:
    """A constructed layer and its inputs, under a short name that ``-k`` and ``--case`` select.

    ``None`` in place of a draw leaves out an optional input before one that is given. ``options`` are forward's keyword
    arguments; ``state`` draws an entry of the state where its value is the point.
    """

    layer: Layer[Any]
    draws: tuple[Draw | None, ...]
    id: str | None
    options: Mapping[str, Any]
    state: Mapping[str, Draw]

    def __init__(
        self,
        layer: Layer[Any],
        *draws: Draw | None,
        id: str | None = None,
        options: Mapping[str, Any] | None = None,
        state: Mapping[str, Draw] | None = None,
    ) -> None:
        for name, value in (("layer", layer), ("draws", draws), ("id", id)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "options", dict(options or {}))
        object.__setattr__(self, "state", dict(state or {}))

    @property
    def exact(self) -> bool:
        """Whether a value was chosen for being special, so that a kink may be met on purpose."""
        return any(d is not None and d.exact for d in (*self.draws, *self.state.values()))

    def __repr__(self) -> str:
        extra = [f"options={self.options!r}"] if self.options else []
        return f"Case({', '.join([repr(self.layer), *map(repr, self.draws), *extra])})"


@dataclass(frozen=True)
class Convention:
    """A kink or tie at which several values are defensible, and the one that is chosen, in words."""

    point: str
    choice: str


@dataclass(frozen=True)
class Waiver:
    """Where torch is wrong, and refbp is right: it holds for the cases that ``when`` selects, and expires by itself.

    ``check`` is the check that differs. ``size`` bounds how wrong torch is, relative to the gradient's norm, so that
    a waiver for a rounding error does not hide a wrong sign. ``versions`` is the version of torch in which the defect was
    first seen here: in an older one it may be there or not, in a newer one the waiver must still be needed.
    ``always=False`` is for a defect that comes and goes with the machine (vectorised body or scalar tail): such a
    waiver cannot expire by itself.
    """

    check: str
    reason: str
    when: Callable[[Case], bool] = lambda _: True
    size: float = float("inf")
    thread: str | None = None
    versions: str = "2.13"
    always: bool = True


@dataclass(frozen=True)
class Exempt:
    """A check that a layer fails for a good reason. It is strict: where the check passes, the exemption is stale."""

    check: str
    reason: str
    when: Callable[[Case], bool] = lambda _: True


@dataclass(frozen=True)
class Mistake:
    """A way in which a layer's gradient is commonly got wrong.

    ``words`` complete "this gradient is what you get when …". ``gradients(case)`` are those that come out wrong then, by
    name, or nothing where the mistake cannot be made; the case has ``layer``, ``state``, ``inputs``, ``upstream``, and for
    short ``x``, ``y`` and ``dy``: the first input, output and upstream gradient.
    """

    words: str
    gradients: Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True)
class Spec:
    """One registered layer.

    ``twin(layer)`` builds the torch module; left out, it is ``torch.nn.<Name>(**fields)``. ``call(twin, *inputs)`` calls
    it where its inputs are nested. ``noise(probe, *inputs)`` recovers a random layer's noise from its twin, as the
    inputs that follow the drawn ones: ``probe(array)`` maps an array through the twin under the same seed.
    """

    layer: type[Layer[Any]]
    cases: Sequence[Case]
    twin: Callable[[Any], Any] | None = None
    call: Callable[..., Any] | None = None
    noise: Callable[..., tuple[Any, ...]] | None = None
    conventions: Sequence[Convention] = ()
    waivers: Sequence[Waiver] = ()
    exempt: Sequence[Exempt] = ()
    mistakes: Sequence[Mistake] = ()
    about: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        """The name it is registered under: the class's."""
        return self.layer.__name__

    def case_ids(self) -> list[str]:
        """One distinct id per case: the given one, else the layer's arguments; numbered where two are alike."""
        return list(self._case_ids)

    @cached_property
    def _case_ids(self) -> list[str]:
        ids: list[str] = []
        for case in self.cases:
            base = case.id or _slug(case)
            same = sum(i == base or i.startswith(f"{base}~") for i in ids)
            ids.append(f"{base}~{same + 1}" if same else base)
        return ids


def _slug(case: Case) -> str:
    arguments = repr(case.layer).partition("(")[2].rpartition(")")[0]
    shapes = ",".join("none" if d is None else "x".join(map(str, d.shape)) or "scalar" for d in case.draws)
    words = f"{arguments} {shapes}" if arguments else shapes
    return "-".join(words.replace("'", "").replace(", ", "-").replace(" ", "-").split("/"))[:72]
