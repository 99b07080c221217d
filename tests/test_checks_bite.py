"""Who checks the checks: every wrong layer is noticed by the check that is named for it, every check notices one."""

import inspect

import pytest
from wrong_layers import WRONG

from refbp.conformance.checks import CHECKS
from refbp.conformance.outcome import Verdict
from refbp.conformance.trial import Trial
from refbp.conformance.verify import run_check


@pytest.mark.parametrize(("check", "spec"), WRONG, ids=[spec.name for _, spec in WRONG])
def test_a_wrong_layer_is_noticed_by_the_check_named_for_it(check, spec):
    outcomes = [run_check(Trial(spec, i), check) for i in range(len(spec.cases))]
    assert any(o is not None and o.wrong for o in outcomes), f"{check} lets {spec.name} pass: {spec.layer.__doc__}"


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_notices_a_wrong_layer(check):
    assert check in {c for c, _ in WRONG}


def test_there_are_at_least_forty_wrong_layers_and_each_says_what_is_wrong():
    assert len(WRONG) >= 40
    assert len({spec.name for _, spec in WRONG}) == len(WRONG)
    for _, spec in WRONG:
        assert inspect.getdoc(spec.layer)


@pytest.mark.parametrize(("check", "spec"), WRONG, ids=[spec.name for _, spec in WRONG])
def test_where_another_check_notices_it_too_the_docstring_says_why_this_one_stands(check, spec):
    cheaper = [name for name in CHECKS if name != check and name in ("outputs", "gradients")]
    also = [n for n in cheaper if any((o := run_check(Trial(spec, i), n)) and o.wrong for i in range(len(spec.cases)))]
    if also and check not in ("outputs", "gradients"):
        assert any(word in spec.layer.__doc__ for word in ("too;", "only", "Only", "whatever", "another", "before")), also


def test_the_verdict_says_who_is_wrong():
    by_name = {spec.name: (check, spec) for check, spec in WRONG}
    expected = {
        "FlippedSign": Verdict.BACKWARD,
        "TanhGelu": Verdict.FORWARD,
        "RightWithAWrongTwin": Verdict.TORCH,
        "AgreesWithAWrongTwin": Verdict.BACKWARD,
        "WritesToUpstream": Verdict.CONTRACT,
    }
    for name, verdict in expected.items():
        check, spec = by_name[name]
        outcome = run_check(Trial(spec, 0), check)
        assert outcome is not None
        assert outcome.verdict is verdict


def test_a_mismatch_names_gradient_element_values_digits_and_budget():
    spec = next(spec for _, spec in WRONG if spec.name == "FlippedSign")
    outcome = run_check(Trial(spec, 0), "gradients")
    assert outcome is not None
    assert outcome.difference is not None
    assert outcome.difference.what == "gradient of x"
    assert outcome.difference.index is not None
    assert outcome.difference.yours == pytest.approx(-outcome.difference.expected)
    for part in ("gradient of x", "worst element x[", "yours", "expected", "digits", "budget", "numerical slope"):
        assert part in outcome.message
