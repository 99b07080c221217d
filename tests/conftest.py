"""What several test files share."""

import functools
import os

import pytest

from refbp import registry

# Commands that the tests start print what they print in a person's terminal. Where CI is set, say, pytest repeats every
# failure whole in its summary, and FORCE_COLOR puts escapes between the words
CIRCUMSTANCES = ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "COLUMNS", "PYTEST_ADDOPTS")
for _name in CIRCUMSTANCES:
    os.environ.pop(_name, None)


@functools.cache
def _without_plugins():
    return registry.discover()


@pytest.fixture
def one_registry(monkeypatch):
    """Commands that run in this process: a registry that they make their own is not kept, and without plugins it is one.

    To find every layer and its cases anew takes a tenth of a second; tests run hundreds of commands. pytest's own registry
    may have the plugins of this folder, which a command without --plugins-dir has not.
    """
    before, discover = registry.current(), registry.discover

    def found(plugins_dirs=(), strict=None):
        return discover(plugins_dirs, strict) if plugins_dirs else _without_plugins()

    registry.use(_without_plugins())
    monkeypatch.setattr(registry, "discover", found)
    yield
    registry.use(before)
