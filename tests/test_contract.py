"""The contract: errors that say what was given, what was wanted and how to mend it; representation; purity of a step."""

import dataclasses

import numpy as np
import pytest

import refbp
from refbp import ArgumentError, DtypeError, Grads, Layer, ShapeError, StateError, ValueRangeError
from refbp.layers import GLU, LSTM, BatchNorm1d, Dropout, Flatten, Linear, PReLU, ReLU, Sequential, Softmax
from refbp.losses import BCELoss, CrossEntropyLoss, MSELoss, NLLLoss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 3))
LINEAR, STATE = Linear(3, 5), Linear(3, 5).init(RNG)


@pytest.mark.parametrize(
    ("make", "error", "parts"),
    [
        (lambda: Linear(3), ArgumentError, ["Linear", "out_features", "wanted Linear(in_features, out_features, bias=True)"]),
        (lambda: Linear(3, 5, biass=True), ArgumentError, ["Linear", "biass", "did you mean bias?"]),
        (lambda: Linear(3, 5, True, 7), ArgumentError, ["Linear", "too many positional arguments"]),
        (lambda: Linear("3", 5), ArgumentError, ["Linear", "in_features='3'", "wanted an integer"]),
        (lambda: Linear(True, 5), ArgumentError, ["in_features=True", "wanted an integer"]),
        (lambda: Linear(-1, 5), ArgumentError, ["in_features=-1", "at least 0"]),
        (lambda: Dropout(1.3), ArgumentError, ["Dropout", "p=1.3", "a probability between 0 and 1"]),
        (lambda: MSELoss(reduction="avg"), ArgumentError, ["reduction='avg'", "'none' or 'mean' or 'sum'"]),
        (lambda: LSTM(3, 5, proj_size=5), ArgumentError, ["proj_size=5", "less than hidden_size=5"]),
        (lambda: Sequential(ReLU), ArgumentError, ["part 0", "wanted a layer, constructed"]),
        (lambda: LINEAR(STATE, X[:, :2]), ShapeError, ["x has shape (7, 2)", "(*, in_features=3)", "in_features=2"]),
        (lambda: LINEAR(STATE), ShapeError, ["0 inputs given, wanted 1"]),
        (lambda: LINEAR(STATE, X, X), ShapeError, ["2 inputs given, wanted 1"]),
        (lambda: LINEAR(STATE, None), ShapeError, ["x is None"]),
        (lambda: LINEAR(STATE, X.astype(int)), DtypeError, ["x has dtype int64", "x.astype(float)"]),
        (lambda: LINEAR(STATE, X.astype(np.float32)), DtypeError, ["x is float32", "float64"]),
        (lambda: LINEAR({}, X), StateError, ["weight and bias missing", "layer.init(rng)"]),
        (lambda: LINEAR({**STATE, "W": X}, X), StateError, ["W unknown"]),
        (lambda: LINEAR(STATE.updated({"weight": X}), X), ShapeError, ["state['weight'] has shape (7, 3)", "(5, 3)"]),
        (lambda: LINEAR(STATE.updated({"weight": X.tolist()}), X), StateError, ["state['weight'] is list"]),
        (lambda: LINEAR(None, X), StateError, ["state is NoneType", "a mapping"]),
        (lambda: LINEAR(STATE, X).backward(X), ShapeError, ["upstream gradient of output 0", "(7, 3)", "(7, 5)"]),
        (lambda: LINEAR(STATE, X).backward(X, X), ShapeError, ["2 upstream gradients given, wanted 1"]),
        (
            lambda: LINEAR(STATE, X).backward(np.zeros((7, 5), np.float32)),
            DtypeError,
            ["upstream gradient", "float32", "float64"],
        ),
        (
            lambda: BatchNorm1d(3)(BatchNorm1d(3).init(RNG), X[:1]),
            ValueRangeError,
            ["BatchNorm1d(3)", "(1, 3)", "more than one", "training=False"],
        ),
        (lambda: BatchNorm1d(3)(BatchNorm1d(3).init(RNG), X[0]), ShapeError, ["(3,)", "2 or 3 axes"]),
        (lambda: GLU()({}, X), ShapeError, ["even size on axis -1"]),
        (lambda: Softmax(dim=2)({}, X), ShapeError, ["axis 2", "within -2 to 1"]),
        (lambda: Flatten(2)({}, X), ShapeError, ["(7, 3)", "start_dim"]),
        (lambda: PReLU(5)(PReLU(5).init(RNG), X), ShapeError, ["num_parameters=5"]),
        (lambda: MSELoss()({}, X, X[:5]), ShapeError, ["input (7, 3)", "target (5, 3)", "do not belong together"]),
        (lambda: CrossEntropyLoss()({}, X, np.full(7, 3)), ValueRangeError, ["class 3", "0 to 2"]),
        (
            lambda: CrossEntropyLoss()({}, X, np.zeros((7, 1), int)),
            ShapeError,
            ["target (7, 1)", "(N, *d)", "do not belong together"],
        ),
        (lambda: NLLLoss()({}, X, np.zeros(7)), DtypeError, ["target has dtype float64", "integers"]),
        (lambda: NLLLoss(weight=(0.3, 0.7))(NLLLoss(weight=(0.3, 0.7)).init(RNG), X, np.zeros(7, int)), ShapeError, ["C=2"]),
        (lambda: BCELoss()({}, X, X), ValueRangeError, ["wanted probabilities between 0 and 1", "BCEWithLogitsLoss"]),
        (lambda: Dropout(0.3)({}, X), ShapeError, ["1 inputs given, wanted 2", "keep"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_layer_given_and_wanted(make, error, parts):
    with pytest.raises(error) as caught:
        make()
    message = str(caught.value)
    assert isinstance(caught.value, refbp.RefbpError)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_broadcasting_traceback_becomes_a_sentence():
    @dataclasses.dataclass(frozen=True)
    class Undeclared(Layer):
        def forward(self, state, x):
            return refbp.Forward(x + np.zeros(4), saved=None)

    with pytest.raises(ShapeError, match=r"Undeclared\(\): forward cannot take x \(7, 3\)"):
        Undeclared()({}, X)


def test_a_repr_is_the_shortest_constructor_call():
    assert repr(Linear(3, 5)) == "Linear(3, 5)"
    assert repr(Linear(3, 5, bias=False)) == "Linear(3, 5, bias=False)"
    assert repr(PReLU(init=0.3)) == "PReLU(init=0.3)"
    assert repr(BatchNorm1d(3, training=False)) == "BatchNorm1d(3, training=False)"
    assert repr(Sequential(Linear(3, 2), ReLU())) == "Sequential(Linear(3, 2), ReLU())"
    assert repr(CrossEntropyLoss(weight=np.array([0.5, 1.5]))) == "CrossEntropyLoss(weight=(0.5, 1.5))"


def test_a_layer_is_a_value():
    assert Linear(3, 5) == Linear(3, 5)
    assert hash(CrossEntropyLoss(weight=[0.5, 1.5])) == hash(CrossEntropyLoss(weight=(0.5, 1.5)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Linear(3, 5).bias = False
    assert dataclasses.replace(BatchNorm1d(3), training=False).training is False


def test_an_unused_output_takes_none():
    lstm = LSTM(3, 5)
    step = lstm(lstm.init(RNG), RNG.normal(size=(4, 2, 3)))
    y, h, c = step.outputs
    dy = RNG.normal(size=y.shape)
    with_none = step.backward(dy, None, None)
    with_zeros = step.backward(dy, np.zeros_like(h), np.zeros_like(c))
    assert np.array_equal(with_none.inputs[0], with_zeros.inputs[0])


def test_grads_leave_out_parameters_that_do_not_exist():
    g = Grads(X, None, weight=X, bias=None)
    assert g.inputs[1] is None
    assert set(g.params) == {"weight"}
    assert list(g) == [g.inputs[0], None]


def test_integers_have_no_gradient():
    step = Flatten()({}, np.arange(24).reshape(2, 3, 4))
    assert step.backward(np.zeros((2, 12), int)).inputs == (None,)


def test_a_training_layer_needs_its_noise_and_an_evaluating_one_none():
    drop = Dropout(0.3)
    keep = drop.draw(np.random.default_rng(1), X.shape)
    np.testing.assert_allclose(drop({}, X, keep).outputs, X * keep / 0.7, rtol=1e-15)
    assert np.array_equal(dataclasses.replace(drop, training=False)({}, X).outputs, X)
    net = Sequential(Linear(3, 2), Dropout(0.3))
    state = net.init(RNG)
    keep = drop.draw(RNG, (7, 2))
    step = net(state, X, keep)
    assert np.array_equal(step.outputs == 0, ~keep)
    assert len(step.backward(np.ones((7, 2))).inputs) == 2
