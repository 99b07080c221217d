"""Hypothesis strategies: random networks of the registered layers. Needs Hypothesis, which refbp itself does without.

@given(networks())
@settings(deadline=None)
def test_networks_are_torchs(problem):
    assert_agrees(problem)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import assume
from hypothesis import strategies as st

if TYPE_CHECKING:
    from refbp.conformance.problem import Problem

T = TypeVar("T")


class _Drawn:
    """Choices that Hypothesis makes, and makes simpler when something fails."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]


@st.composite
def networks(draw: st.DrawFn, most_layers: int = 6, favourites: Sequence[str] = ()) -> Problem:
    """Networks of the process's registry, each with a loss, an input and a target: branches, residual additions, noise.

    ``problem.network`` and ``problem.loss`` are layers; ``problem.x`` and ``problem.target`` their inputs.
    """
    from refbp.conformance.many import Recipe

    composer = Recipe(0, most_layers, tuple(favourites)).composer
    problem = composer.problem(_Drawn(draw), draw(st.integers(0, 2**31 - 1)))
    assume(problem is not None)
    assert problem is not None
    return problem


def assert_agrees(problem: Problem) -> None:
    """Loss, gradients and buffers are torch's; an AssertionError names the wrong layer and the command that shows it."""
    from refbp.conformance.fuzz import Verdict, examine

    finding = examine(problem)
    assert finding.verdict is not Verdict.WRONG, f"{finding.layer}: {finding.sentence}\n{problem.command()}"
