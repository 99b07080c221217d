"""Exceptions to checks are data with a reason, and none of them is stale."""

import pytest

from refbp import registry
from refbp.conformance.checks import CHECKS
from refbp.conformance.outcome import Verdict
from refbp.conformance.trial import Trial
from refbp.conformance.verify import run_check

ENTRIES = [e for e in registry.current().entries.values() if e.spec.exempt or e.spec.waivers]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_every_exemption_and_waiver_names_a_check_gives_a_reason_and_is_needed(entry):
    for exception in (*entry.spec.exempt, *entry.spec.waivers):
        assert exception.check in CHECKS
        assert len(exception.reason) > 20
        outcomes = [
            run_check(Trial(entry.spec, i), exception.check) for i, case in enumerate(entry.spec.cases) if exception.when(case)
        ]
        met = [o for o in outcomes if o is not None]
        if not getattr(exception, "always", True):
            continue  # comes and goes with the machine
        assert any(o.verdict is Verdict.KNOWN_BAD or o.notes for o in met), (
            f"{exception.check}: “{exception.reason}” is not needed"
        )
