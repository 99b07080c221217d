"""The explainer: what it says of wrong gradients, what it does not say, and that it says nothing of right ones."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from student_gradients import GROUPS, MISSED, first_finding, of, table
from students._student import STUDENTS

from refbp import Case, Linear, Spec, normal, registry
from refbp.conformance.trial import Trial
from refbp.layers.activation import ReLU, Sigmoid
from refbp.layers.normalization import BatchNorm1d
from refbp.oracle import condition, notation
from refbp.oracle.diagnose import diagnose
from refbp.oracle.families import mistakes, terms
from refbp.oracle.finding import Evidence
from refbp.oracle.observation import Observation, same
from refbp.spec import Mistake

README = (Path(__file__).parents[1] / "README.md").read_text()
WRONG = [s for s in STUDENTS if not s.right]
RIGHT = [s for s in STUDENTS if s.right]


def named(students):
    return [pytest.param(s, id=f"{s.layer}-{s.name}") for s in students]


# Students ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("student", named(s for s in WRONG if s.name not in MISSED))
def test_the_first_finding_explains_a_wrong_gradient(student):
    finding = first_finding(student)
    assert finding is not None
    assert student.explained(finding.sentence), finding.sentence


@pytest.mark.parametrize("student", named(s for s in WRONG if s.name in MISSED))
def test_where_nothing_explains_it_nothing_is_claimed(student):
    assert any(o.wrong for o in student.observations())
    assert first_finding(student) is None


@pytest.mark.parametrize("student", named(RIGHT))
def test_a_right_gradient_written_differently_draws_no_finding(student):
    observations = student.observations()
    assert not any(o.error for o in observations)
    assert diagnose(observations) == []


def test_there_are_enough_students_on_enough_layers_and_most_are_explained():
    assert len(WRONG) >= 60
    assert len({s.layer for s in WRONG}) >= 20
    assert len(RIGHT) >= 40
    assert len({s.name for s in STUDENTS}) == len(STUDENTS)
    assert len(MISSED & {s.name for s in WRONG}) == len(MISSED)
    assert len(MISSED) <= 0.1 * len(WRONG)


def test_every_student_is_in_one_group_of_the_table():
    assert sum(len(of(label)) for label in GROUPS) == len(STUDENTS)


def test_the_table_in_the_readme_is_the_one_that_the_command_prints():
    for line in table():
        assert " ".join(line.split()) in [" ".join(row.split()) for row in README.splitlines()], "\n".join(table())


# The mathematics of each family --------------------------------------------------------------------------------------------

SPECIAL = ("huge", "tiny", "clamped", "confident")  # where the textbook's formula has lost its digits


def _right(spec, index):
    trial = Trial(spec, index)
    grads = {n: g for n, g in trial.own_grads.items() if g is not None}
    return Observation(
        trial.layer, trial.state, trial.inputs, tuple(trial.upstream), grads, grads, trial.id, trial.case.options
    )


def _with_terms():
    for name, entry in registry.current().entries.items():
        if entry.plugin.startswith("refbp.") and terms(_right(entry.spec, 0)):
            yield name


def test_the_terms_of_a_gradient_sum_to_it():
    found = list(_with_terms())
    assert {"BatchNorm1d", "LayerNorm", "Softmax", "GELU", "CrossEntropyLoss", "BCELoss"} <= set(found)
    for name in found:
        spec = registry.current().get(name).spec
        for index, case in enumerate(spec.case_ids()):
            if case not in SPECIAL:
                o = _right(spec, index)
                for gradient, parts in terms(o).items():
                    assert same(sum(parts.values()), o.expected[gradient], 1e-6), (name, case, gradient)


def test_known_mistakes_have_the_shapes_of_the_gradients_and_are_wrong_somewhere():
    harmless = []
    for name in ("BatchNorm1d", "Softmax", "LSTMCell", "GRU", "Conv2d", "MaxPool2d", "Embedding", "MultiheadAttention"):
        spec = registry.current().get(name).spec
        seen = [_right(spec, i) for i, case in enumerate(spec.case_ids()) if case not in (*SPECIAL, "nonfinite")]
        for mistake in mistakes(seen[0]):
            wrong = False
            for o in seen:
                with np.errstate(all="ignore"):
                    made = mistake.gradients(o)
                for gradient, g in made.items():
                    if gradient in o.expected:
                        assert np.shape(g) == np.shape(o.expected[gradient]), (name, o.id, mistake.words)
                        wrong = wrong or not same(g, o.expected[gradient])
            harmless += [] if wrong else [(name, mistake.words)]
    # an axis that no case has, or the same axis by another name; scores that no case has as many of as queries
    known = ("means are taken over", "sum goes over axis", "is not transposed")
    assert all(any(k in words for k in known) for _, words in harmless), harmless


# What is said --------------------------------------------------------------------------------------------------------------


def observe(layer, wrong, *shapes, names=None, **changes):
    """Observations of a layer over inputs of some shapes; ``wrong(gradients, observation)`` changes the right ones."""
    found = []
    for shape in shapes:
        one = layer(*shape) if callable(layer) and not hasattr(layer, "forward") else layer
        trial = Trial(Spec(type(one), [Case(one, normal(*shape), id=str(shape))]), 0)
        right = {n: g for n, g in trial.own_grads.items() if g is not None}
        o = Observation(one, trial.state, trial.inputs, tuple(trial.upstream), {}, right, trial.id, **changes)
        found.append(dataclasses.replace(o, got={**right, **wrong(dict(right), o)}))
    return found


def linear(*shape):
    return Linear(shape[-1], 5)


def test_nothing_wrong_nothing_said():
    assert diagnose(observe(linear, lambda g, o: {}, (7, 3), (4, 2))) == []
    assert diagnose([]) == []


def test_gradients_are_called_what_the_reader_calls_them():
    seen = observe(linear, lambda g, o: {"weight": g["weight"] / len(o.x), "bias": g["bias"] / len(o.x)}, (7, 3), (4, 2))
    assert diagnose(seen)[0].sentence.startswith("the gradients of weight and bias are 1/N times")
    assert diagnose(seen, names={"weight": "dw", "bias": "db"})[0].sentence.startswith("dw and db are 1/N times")


def test_a_factor_that_two_names_fit_is_given_both():
    seen = observe(lambda *s: Linear(s[-1], 4), lambda g, o: {"bias": g["bias"] * 7}, (7, 7))
    finding = diagnose(seen)[0]
    assert "in_features or N times" in finding.sentence
    assert finding.confidence < 0.8


def test_two_causes_are_two_findings():
    seen = observe(linear, lambda g, o: {"weight": g["weight"].T, "bias": -g["bias"]}, (7, 3), (4, 2))
    sentences = [f.sentence for f in diagnose(seen)]
    assert "the gradient of weight is transposed" in sentences
    assert "the gradient of bias has the wrong sign" in sentences


def test_a_mutant_that_is_wrong_where_the_gradient_is_right_is_not_claimed():
    """With x > -1 for x > 0 the kink is explained too, but not the case beside it that is right."""
    spec = registry.current().get("ReLU").spec
    seen = [_right(spec, i) for i in range(len(spec.cases))]
    kink = next(o for o in seen if o.id == "kink")
    seen[seen.index(kink)] = dataclasses.replace(kink, got={"x": kink.dy * (kink.x >= 0)})
    sentences = [f.sentence for f in diagnose(seen)]
    assert any("x > 0 stands as x ≥ 0" in s for s in sentences)
    assert not any("stands as -1" in s for s in sentences)


def test_a_condition_is_named_only_if_it_separates():
    wrong = lambda g, o: {"x": g["x"] * (2.5 if o.layer.bias else 1)}  # noqa: E731
    seen = [o for bias in (True, False) for o in observe(lambda *s: Linear(s[-1], 5, bias), wrong, (7, 3), (4, 2))]  # noqa: B023
    found = diagnose(seen)
    assert any("where there is a bias" in f.sentence or "bias=True" in f.sentence for f in found)
    with_bias, without = [o for o in seen if o.layer.bias], [o for o in seen if not o.layer.bias]
    assert condition.separating(with_bias, without)
    assert condition.separating(with_bias, with_bias) == ""
    assert condition.separating(with_bias, []) == ""


def test_an_error_is_said_with_the_cases_in_which_it_is_raised():
    right = observe(linear, lambda g, o: {}, (7, 3), (4, 2))
    raised = [
        dataclasses.replace(o, got={}, error="ValueError: shapes") for o in observe(linear, lambda g, o: {}, (3, 3), (2, 2))
    ]
    finding = diagnose([*right, *raised])[0]
    assert finding.kind == "error"
    assert "N = in_features" in finding.sentence
    assert "ValueError: shapes" in finding.sentence


def test_what_the_call_has_overwritten_is_said_even_where_every_gradient_is_right():
    finding = diagnose([dataclasses.replace(o, changed=("x",)) for o in observe(linear, lambda g, o: {}, (7, 3))])[0]
    assert "x is overwritten by the call" in finding.sentence


def test_a_second_call_that_gives_something_else_is_said():
    calls = []

    def again(upstream):
        calls.append(1)
        return {"x": np.full((7, 3), float(len(calls)))}

    seen = [dataclasses.replace(o, again=again) for o in observe(linear, lambda g, o: {"x": g["x"] ** 2 + 1}, (7, 3))]
    assert any("another one when the same is computed again" in f.sentence for f in diagnose(seen))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda g, o: {"x": None}, "x is missing"),
        (lambda g, o: {"x": np.trunc(g["x"]).astype(int)}, "array of integers"),
        (lambda g, o: {"x": g["x"].astype("U9")}, "no array of real numbers"),
        (lambda g, o: {"x": g["x"].astype(np.float32)}, "computed in float32"),
        (lambda g, o: {"x": g["x"] * (1 + 1e-6 * np.arange(g["x"].size).reshape(g["x"].shape))}, "to a few digits only"),
        (lambda g, o: {"x": np.where(g["x"] > 0, g["x"], np.nan)}, "NaN or infinite"),
        (lambda g, o: {"x": g["x"][None]}, "only its shape is wrong"),
        (lambda g, o: {"x": g["x"] + 0.5}, "plus 0.5 · 1, a constant"),
        (lambda g, o: {"weight": g["weight"] + 0.1 * np.sign(o.state["weight"])}, "plus 0.1 · sign(weight)"),
        (lambda g, o: {"x": g["x"] * np.r_[np.ones(g["x"].shape[1] - 1), 3.0]}, "only in the last entry along in_features"),
        (lambda g, o: {"bias": g["bias"] * 0}, "bias is zero"),
    ],
)  # fmt: skip
def test_signatures(wrong, words):
    sentences = [f.sentence for f in diagnose(observe(linear, wrong, (7, 3), (4, 2)))]
    assert any(words in s for s in sentences), sentences


def test_noise_is_not_explained():
    rng = np.random.default_rng(0)
    seen = observe(linear, lambda g, o: {"x": rng.normal(size=g["x"].shape)}, (7, 3), (4, 2))
    assert diagnose(seen) == []


def test_there_are_at_most_three_findings_each_with_evidence_and_confidence_and_it_is_data():
    for student in WRONG[::7]:
        found = diagnose(student.observations())
        assert len(found) <= 3
        for f in found:
            assert f.evidence
            assert 0 < f.confidence <= 1
            assert f.data()["sentence"] == f.sentence


def test_nothing_that_was_observed_is_written_to():
    """The mutants that are tried may write to anything they are given."""
    spec = registry.current().get("BatchNorm1d").spec
    seen = [_right(spec, i) for i in range(3)]
    seen = [dataclasses.replace(o, got={**o.got, "x": o.got["x"] * np.arange(len(o.x))[:, None]}) for o in seen]
    arrays = [a for o in seen for a in (*o.inputs, *o.upstream, *o.state.values(), *o.expected.values())]
    before = [a.copy() for a in arrays]
    diagnose(seen)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


def test_the_search_ends_when_its_time_is_up():
    student = next(s for s in WRONG if s.name == "hardswish_with_a_sixth")
    assert diagnose(student.observations(), seconds=0) == []
    assert Evidence(student.observations(), None, 0).late


def test_a_plugins_own_mistake_is_named():
    class Doubled(Sigmoid):
        """A layer of a plugin."""

    cls = dataclasses.dataclass(frozen=True)(Doubled)
    known = Mistake("the slope is cubed, as many do here", lambda case: {"x": case.dy * (case.y * (1 - case.y)) ** 3})
    cases = [Case(cls(), normal(3, 5)), Case(cls(), normal(2, 3))]
    spec = Spec(cls, cases, twin=lambda _: torch.nn.Sigmoid(), mistakes=[known])
    registry.add(spec, name="cubed")
    try:
        seen = [_right(spec, i) for i in range(2)]
        seen = [dataclasses.replace(o, got=known.gradients(o)) for o in seen]
        assert "as many do here" in diagnose(seen)[0].sentence
    finally:
        registry.remove("cubed")


def test_the_mistake_in_the_plugins_readme_is_found(one_registry):
    import importlib.util

    root = Path(__file__).parents[1] / "plugins"
    block = next(b for b in (root / "README.md").read_text().split("```python\n") if b.startswith("forgotten"))
    module = importlib.util.spec_from_file_location("swish_of_the_readme", root / "swish.py")
    swish = importlib.util.module_from_spec(module)
    sys.modules[module.name] = swish  # where dataclasses looks it up
    module.loader.exec_module(swish)
    scope = {**vars(swish), "Mistake": Mistake, "cases": [Case(swish.Swish(), normal(3, 5)), Case(swish.Swish(), normal(2, 3))]}
    exec(block.split("```")[0], scope)
    registry.add(scope["spec"], name="readme")
    try:
        seen = [_right(scope["spec"], i) for i in range(2)]
        seen = [dataclasses.replace(o, got={**o.got, **scope["forgotten"].gradients(o)}) for o in seen]
        assert "the slope of the gate is missing" in diagnose(seen)[0].sentence
    finally:
        registry.remove("readme")


def test_a_wrong_layer_of_ones_own_is_told_which_change_makes_it_right():
    import wrong_layers

    spec = next(s for _, s in wrong_layers.WRONG if s.name == "ForgottenTranspose")
    trial = Trial(spec, 0)
    o = Observation(
        trial.layer,
        trial.state,
        trial.inputs,
        tuple(trial.upstream),
        trial.own_grads,
        trial.torch.grads,
        reference=lambda u: {"x": u[0] @ trial.state["weight"]},
    )
    finding = diagnose([o])[0]
    assert "would be right if `saved[1].T` were `saved[1]`" in finding.sentence
    assert "wrong_layers.py" in finding.evidence


def test_right_layers_of_the_registry_are_left_alone():
    for cls in (ReLU, BatchNorm1d):
        spec = registry.current().get(cls.__name__).spec
        assert diagnose([_right(spec, i) for i in range(len(spec.cases))]) == []


# Source as mathematics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "formula"),
    [
        ("(dx_hat * x_hat).mean(axes, keepdims=True)", "mean(dx̂ · x̂)"),
        ("x_hat * (dx_hat * x_hat).mean(0)", "x̂ · mean(dx̂ · x̂)"),
        ("np.dot(dy, W)", "dy W"),
        ("np.dot(rows_dy.T, rows_x)", "rows_dyᵀ rows_x"),
        ("(a + b) * c", "(a + b) · c"),
        ("a - (b - c)", "a − (b − c)"),
        ("-(a * b) / (c * d)", "−a · b / (c · d)"),
        ("a - -b", "a − (−b)"),
        ("x > 0", "x > 0"),
        ("(x > 0) & (x <= 6)", "(x > 0) and (x ≤ 6)"),
        ("h ** 2", "h²"),
        ("gamma[:, None]", "γ"),
        ("state['weight']", "weight"),
        ("np.sqrt(var + eps)", "√(var + ε)"),
        ("dy.reshape(-1, 3)", "dy"),
        ("dA -= np.vecdot(dA, A)[..., None]", "dA −= Σ dA · A"),
        ("dx += d", "dx += d"),
        ("y = x", "y = x"),
        ("self.mean(self.sum(c))", "mean(Σ c)"),
        ("x[1:]", None),
        ("f(x) if y else z", None),
        ("not (a", None),
    ],
)
def test_source_is_written_as_a_formula_where_it_is_one(code, formula):
    assert notation.written(code) == formula
