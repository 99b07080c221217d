"""Every check, on every case of every registered layer and loss: the items are generated from the registry."""

from refbp.testing.suite import *  # noqa: F403


def test_the_items_are_generated_from_the_registry(request, refbp_registry):
    from refbp.conformance.checks import CHECKS

    cases = sum(len(e.spec.cases) for e in refbp_registry.entries.values())
    items = [i for i in request.session.items if getattr(i, "originalname", "") == "test_conformance"]
    if len(request.session.items) == request.session.testscollected and items:
        assert len({i.callspec.id for i in items}) == len(items)
    assert cases > 0
    assert len(CHECKS) > 20
