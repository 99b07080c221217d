"""The pytest plugin. It imports neither NumPy nor torch nor a refbp plugin until a test asks for a conformance case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from refbp.registry import Registry

_registry = pytest.StashKey["Registry"]()
_MARKER = "refbp_mutation_score"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where plugins are, and what to select."""
    group = parser.getgroup("refbp", "refbp conformance")
    group.addoption(
        "--refbp-plugins-dir", action="append", default=[], metavar="PATH", help="A folder of plugin files, or one file."
    )
    group.addoption("--refbp-only-plugin", default=None, metavar="PLUGIN", help="Only what this plugin provides.")
    group.addoption("--refbp-layer", action="append", default=[], metavar="NAME", help="Only this layer or loss.")
    group.addoption("--refbp-seed", type=int, default=None, metavar="N", help="The seed of every random draw.")
    parser.addini("refbp_plugins", "Folders of plugin files, or files, relative to the root.", type="paths", default=[])
    parser.addini("refbp_only_plugin", "Only what this plugin provides.", default="")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, known to ``--strict-markers``."""
    about = "at least so many percent of these layers' mutants, or of all selected layers', are noticed by their own cases"
    config.addinivalue_line("markers", f"{_MARKER}(*names, at_least): {about}")


def registry_of(config: pytest.Config) -> Registry:
    """The run's registry, discovered once, made the process's own."""
    if _registry not in config.stash:
        from refbp import registry

        paths = [*config.getini("refbp_plugins"), *config.getoption("--refbp-plugins-dir")]
        config.stash[_registry] = registry.use(registry.discover(paths, strict=False))
    return config.stash[_registry]


def _selected(config: pytest.Config) -> list[Any]:
    from refbp.errors import RefbpError

    only = config.getoption("--refbp-only-plugin") or config.getini("refbp_only_plugin") or None
    try:
        entries = registry_of(config).select(config.getoption("--refbp-layer"), only)
    except RefbpError as error:
        raise pytest.UsageError(f"refbp: {error}") from None
    if not entries:
        raise pytest.UsageError(f"refbp: nothing is selected (plugin {only}): an empty suite is not a pass.")
    return entries


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for every layer, case and check; one for every plugin."""
    if "refbp_item" in metafunc.fixturenames:
        from refbp.conformance.checks import CHECKS

        items, ids = [], []
        for entry in _selected(metafunc.config):
            for index, case_id in enumerate(entry.spec.case_ids()):
                for check in CHECKS:
                    items.append((entry.name, index, check))
                    ids.append(f"{entry.name}-{case_id}-{check}")
        metafunc.parametrize("refbp_item", items, ids=ids)
    if "refbp_plugin" in metafunc.fixturenames:
        plugins = registry_of(metafunc.config).plugins
        metafunc.parametrize("refbp_plugin", plugins, ids=[p.name for p in plugins])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A check in a worker of pytest-xdist is run as any item is, and sends home its verdict and nothing else.

    Six messages about each of tens of thousands of items would cost more than the checks. What fails, in whichever
    phase, is sent as always.
    """
    if not hasattr(item.config, "workerinput") or "refbp_item" not in getattr(item, "fixturenames", ()):
        return None
    from _pytest.runner import runtestprotocol

    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


@pytest.fixture(scope="session")
def refbp_registry(pytestconfig: pytest.Config) -> Registry:
    """The registry that the conformance items were made from."""
    return registry_of(pytestconfig)


@pytest.fixture(scope="session")
def refbp_seed(pytestconfig: pytest.Config) -> int:
    """The seed of every random draw."""
    from refbp.conformance.trial import SEED

    given = pytestconfig.getoption("--refbp-seed")
    return SEED if given is None else int(given)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Before a marked test runs, the mutation score that it is marked with must hold."""
    for mark in pyfuncitem.iter_markers(_MARKER):
        _hold_score(pyfuncitem.config, *mark.args, **mark.kwargs)


def _hold_score(config: pytest.Config, *names: str, at_least: object = None, **others: object) -> None:
    from refbp.conformance import mutate
    from refbp.conformance.trial import SEED
    from refbp.errors import RefbpError

    wanted = at_least if isinstance(at_least, int | float) else 0
    if others or not 1 < wanted <= 100:
        given = ", ".join([*map(repr, names), f"at_least={at_least!r}", *(f"{n}={v!r}" for n, v in others.items())])
        pytest.fail(f"{_MARKER}({given}): wanted names of layers, and at_least, a percentage such as 95.", pytrace=False)
    try:
        known = registry_of(config)
        entries = [known.get(n) for n in names] if names else _selected(config)
    except (RefbpError, pytest.UsageError) as error:
        pytest.fail(str(error), pytrace=False)
    seed = config.getoption("--refbp-seed")
    for entry in entries:
        score = mutate.score(entry, SEED if seed is None else seed)
        if score.percent is None:
            pytest.fail(f"{entry.name} has no mutation score: {score.problem or 'its source has no mutants'}.", pytrace=False)
        if score.percent < wanted:
            head = f"{entry.name}: a mutation score of {score.percent:.1f} %, wanted {wanted:g} %. No check notices"
            pytest.fail("\n  ".join([head, *(f.sentence for f in score.survivors)]), pytrace=False)
