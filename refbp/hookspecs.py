"""The hooks. Each is a plural noun without arguments and returns descriptions; a test can call it as a function.

A complete plugin::

    from refbp import Case, Spec, exactly, hookimpl, normal

    @hookimpl
    def refbp_layers():
        yield Spec(Swish, [Case(Swish(), normal(3, 5)), Case(Swish(), exactly(-1.0, 0.0, 1.0), id="origin")], twin=twin)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from refbp.spec import Spec

if TYPE_CHECKING:
    from refbp.oracle.exercise import Course

PROJECT = "refbp"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def refbp_layers() -> Iterable[Spec]:  # type: ignore[empty-body]  # a specification has no body
    """Yield one :class:`~refbp.spec.Spec` per layer."""


@hookspec
def refbp_losses() -> Iterable[Spec]:  # type: ignore[empty-body]
    """Yield one :class:`~refbp.spec.Spec` per loss: a layer whose last input is the target."""


@hookspec
def refbp_exercises() -> Iterable[Course]:  # type: ignore[empty-body]
    """Yield one :class:`~refbp.oracle.exercise.Course` per course: what its students write, and how that is called."""
