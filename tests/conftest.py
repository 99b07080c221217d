"""What several test files share."""

import functools

import pytest

from refbp import registry


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
