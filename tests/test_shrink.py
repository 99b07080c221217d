"""The smallest failing input: small, plain, still failing in the same way, and repeated by a script."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from student_gradients import GROUPS
from students._student import STUDENTS

from refbp import Linear, State, registry
from refbp.layers.activation import ReLU
from refbp.layers.convolution import Conv2d
from refbp.oracle.shrink import Example, judge, shrink
from refbp.oracle.written import described, literal, script, shown

assert GROUPS  # which registers the students
PLAIN = {float(v) for v in range(-40, 41)}


def right(example):
    step = example.layer(example.state, *example.inputs, **example.options)
    grads = step.backward(*example.upstream)
    return dict(zip(example.layer.inputs(), grads.inputs, strict=False)) | grads.params


def mine(student):
    def gradients(example):
        inputs, upstream = ([None if a is None else np.array(a) for a in some] for some in (example.inputs, example.upstream))
        return student.gradients(example.layer, {n: a.copy() for n, a in example.state.items()}, inputs, upstream)

    return gradients


def failing(student):
    """The first case in which a student's gradient is wrong and not merely another exception, and its judge."""
    for o in student.observations():
        if o.wrong and not o.error:
            example = Example(o.layer, dict(o.state), o.inputs, o.upstream, dict(o.options or {}))
            for clear in (1e-3, 1e-7):
                judged = judge(o.wrong[0], mine(student), right, clear)
                if judged(example) is not None:
                    return example, judged
    return None


SOME = [s for s in STUDENTS if not s.right][::4]


@pytest.mark.parametrize("student", SOME, ids=lambda s: s.name)
def test_a_students_failure_becomes_small_and_plain_and_still_fails(student):
    found = failing(student)
    if found is None:
        pytest.skip("it is wrong by raising an error, or in a last digit")
    example, judged = found
    smallest, failure = shrink(example, judged, seconds=20)
    assert judged(smallest) is not None
    before, after = (sum(a.size for a in e.arrays) for e in (example, smallest))
    assert after <= before
    assert after <= 120
    assert max(n for a in smallest.arrays for n in (0, *a.shape)) <= 8
    weights = [a for a in smallest.arrays if a.dtype.kind == "f"]
    plain = sum(int(np.isin(a, list(PLAIN)).sum()) for a in weights)
    assert plain >= 0.8 * sum(a.size for a in weights)
    lines = described(smallest, failure, judged)
    assert repr(smallest.layer) in lines[0]
    assert "yours" in lines[1]


def linear_example(n=7, features=5):
    rng = np.random.default_rng(0)
    state = State({"weight": rng.normal(size=(3, features)), "bias": rng.normal(size=3)})
    return Example(Linear(features, 3), state, (rng.normal(size=(n, features)),), (rng.normal(size=(n, 3)),))


def averaged(example):
    return {"bias": np.atleast_2d(example.upstream[0]).mean(0)}


def test_a_mean_for_a_sum_needs_two_samples_of_one_feature():
    judged = judge("bias", averaged, right)
    smallest, failure = shrink(linear_example(), judged)
    assert smallest.layer == Linear(1, 1)
    assert smallest.inputs[0].shape == (2, 1)
    example, gives = described(smallest, failure, judged)
    assert example.startswith("Linear(1, 1), x = [[")
    assert example.endswith("dy = [[0], [1]]")  # the weight and the bias do not matter, and are not shown
    assert gives == "dbias: yours [0.5]   expected [1]"


def test_what_does_not_fail_has_no_smallest_failure():
    assert shrink(linear_example(), judge("bias", right, right)) is None


def test_the_first_example_is_left_as_it_is():
    example = linear_example()
    before = [a.copy() for a in example.arrays]
    shrink(example, judge("bias", averaged, right))
    assert all(np.array_equal(a, b) for a, b in zip(before, example.arrays, strict=True))


def test_no_kink_and_no_tie_is_acquired():
    """x = 0 would fail too, for another reason: at a kink."""

    def halved(example):
        return {"x": example.upstream[0] * np.where(example.inputs[0] >= 0, 0.5, 0)}

    x = np.array([[0.3, -1.2, 2.5], [0.7, 1.1, -0.4]])
    smallest, failure = shrink(Example(ReLU(), State({}), (x,), (np.ones((2, 3)),)), judge("x", halved, right))
    assert (smallest.inputs[0] != 0).all()
    assert failure.got != failure.expected


def test_a_wrong_shape_stays_a_wrong_shape_and_a_wrong_number_a_wrong_number():
    def unreduced(example):
        return {"bias": np.array(example.upstream[0])}

    _, failure = shrink(linear_example(), judge("bias", unreduced, right))
    assert failure.misshapen
    assert failure.expected.any()
    _, number = shrink(linear_example(), judge("bias", averaged, right))
    assert not number.misshapen


def test_arguments_go_back_to_their_defaults_where_the_failure_does_not_need_them():
    rng = np.random.default_rng(0)
    layer = Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, dilation=2)
    state = State({"weight": rng.normal(size=(6, 2, 3, 2)), "bias": rng.normal(size=6)})
    x = rng.normal(size=(2, 4, 8, 7))
    y = layer(state, x).outputs
    example = Example(layer, state, (x,), (rng.normal(size=y.shape),))
    smallest, _ = shrink(example, judge("bias", lambda e: {"bias": e.upstream[0].sum((0, 2, 3)) * 3}, right), seconds=20)
    assert repr(smallest.layer) == "Conv2d(1, 1, 1)"


def test_an_empty_gradient_is_a_failure_too():
    def empty(example):
        return {"x": np.zeros((0, 5))}

    smallest, failure = shrink(linear_example(), judge("x", empty, right))
    assert "an empty array of shape (0, 5)" in described(smallest, failure)[1]


def test_a_search_without_time_returns_the_example_itself():
    example = linear_example()
    smallest, _ = shrink(example, judge("bias", averaged, right), seconds=0)
    assert smallest is example


def test_a_script_runs_with_numpy_alone(tmp_path):
    example, failure = shrink(linear_example(), judge("bias", averaged, right))
    text = script(example, failure, [], ["got = dy.mean(0)"])
    path = tmp_path / "again.py"
    path.write_text(text)
    imports = [line for line in text.splitlines() if "import" in line]
    assert imports == ["import numpy as np"]
    run = subprocess.run([sys.executable, "-I", str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "got      [0.5]" in run.stdout
    path.write_text(script(example, failure, [], ["got = dy.sum(0)"]))
    assert subprocess.run([sys.executable, "-I", str(path)], capture_output=True, check=False).returncode == 0


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int64, np.bool_]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
    )
)
def test_an_array_written_down_is_the_same_when_it_is_read(a):
    read = eval(literal(a), {"np": np})
    assert read.shape == a.shape
    assert read.dtype == a.dtype
    assert np.array_equal(read, a, equal_nan=a.dtype.kind == "f")


def test_arrays_are_shown_as_short_as_they_can_be():
    assert shown(np.array([[1.0, -0.0], [0.5, 1 / 3]])) == "[[1, 0], [0.5, 0.333333]]"
    assert shown(np.array(True)) == "True"
    assert shown(np.array(np.inf)) == "inf"


def test_layers_of_every_family_are_made_small():
    """A gradient that is three times too large fails at any size, so that the smallest input is the layer's smallest."""
    for name in (
        "LSTM",
        "MultiheadAttention",
        "BatchNorm2d",
        "EmbeddingBag",
        "CrossEntropyLoss",
        "MaxPool2d",
        "Bilinear",
        "GRU",
    ):
        student = None
        from refbp.conformance.trial import Trial

        trial = Trial(registry.current().get(name).spec, 0)
        gradient = next(n for n, g in trial.own_grads.items() if g is not None)
        example = Example(trial.layer, trial.state, trial.inputs, tuple(trial.upstream), dict(trial.case.options))
        judged = judge(gradient, lambda e, g=gradient: {g: 3 * right(e)[g]}, right)
        smallest, _ = shrink(example, judged, seconds=20)
        assert sum(a.size for a in smallest.arrays) <= 40, (name, smallest)
        assert student is None
        assert dataclasses.is_dataclass(smallest)
