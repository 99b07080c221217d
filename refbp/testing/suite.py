"""The conformance suite, to be imported by a test file: ``from refbp.testing.suite import *``."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from refbp.conformance.explain import Explained
    from refbp.conformance.trial import Trial
    from refbp.conformance.verify import Result
    from refbp.registry import Plugin, Registry

__all__ = ["test_conformance", "test_the_plugin_loads", "test_there_is_something_to_test"]


@lru_cache(maxsize=2)
def _trial(name: str, index: int, seed: int) -> Trial:
    """Items of one case follow each other, and share what was computed."""
    from refbp import registry
    from refbp.conformance.trial import Trial

    return Trial(registry.current().get(name).spec, index, seed)


_EXPLAINED: set[str] = set()


def _explained(result: Result) -> Explained | None:
    """Why a gradient is wrong: said once for each layer, for it takes seconds."""
    from refbp import registry
    from refbp.conformance.explain import CHECKS, explained

    if result.check not in CHECKS or result.layer in _EXPLAINED:
        return None
    _EXPLAINED.add(result.layer)
    return explained(registry.current().get(result.layer), [result], result.seed)


def test_conformance(refbp_item: tuple[str, int, str], refbp_seed: int) -> None:
    """One check on one case of one layer."""
    from refbp.conformance.outcome import Verdict
    from refbp.conformance.report import explanation
    from refbp.conformance.verify import Result, run_check

    name, index, check = refbp_item
    trial = _trial(name, index, refbp_seed)
    outcome = run_check(trial, check)
    if outcome is None:
        pytest.skip("the check does not concern this case")
    if outcome.verdict is Verdict.NOT_TESTED:
        pytest.skip(f"not tested: {outcome.message}")
    if outcome.wrong:
        result = Result(name, trial.id, check, refbp_seed, outcome)
        pytest.fail(explanation(result, _explained(result)), pytrace=False)


def test_the_plugin_loads(refbp_plugin: Plugin) -> None:
    """A plugin that cannot be used is a failed test, with the sentence that ``refbp plugins`` shows."""
    if refbp_plugin.error is not None:
        pytest.fail(f"plugin {refbp_plugin.name} ({refbp_plugin.origin}) failed: {refbp_plugin.error}", pytrace=False)


def test_there_is_something_to_test(refbp_registry: Registry) -> None:
    """An empty registry is not a pass."""
    assert refbp_registry.entries
