"""What several test files share."""

import pytest

from refbp import registry


@pytest.fixture
def one_registry(monkeypatch):
    """Commands that run in this process: a registry that they make their own is not kept, and without plugins it is this one.

    To find every layer and its cases anew takes a tenth of a second; tests run hundreds of commands.
    """
    before, discover = registry.current(), registry.discover

    def found(plugins_dirs=(), strict=None):
        return discover(plugins_dirs, strict) if plugins_dirs else before

    monkeypatch.setattr(registry, "discover", found)
    yield
    registry.use(before)
