"""Every optimizer takes torch.optim's steps: from the same parameters, by the same gradients, to the same places."""

import dataclasses
import inspect
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

import refbp
from refbp import optim
from refbp.contract import Grads, State
from refbp.errors import ArgumentError, DtypeError, RefbpError, ShapeError, StateError
from refbp.optim import ASGD, SGD, Adadelta, Adafactor, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop

OPTIMIZERS = [getattr(optim, name) for name in optim.__all__ if name != "Optimizer"]
ADAM = {"lr": 0.1, "betas": (0.7, 0.97), "eps": 0.1, "weight_decay": 0.1, "maximize": True}

# Each argument's second value, beside its default. Without a learning rate of some size, the parameters would hardly move.
OTHER = {
    SGD: {"lr": 0.1, "momentum": 0.7, "dampening": 0.3, "weight_decay": 0.1, "nesterov": True, "maximize": True},
    ASGD: {"lr": 0.1, "lambd": 0.3, "alpha": 0.6, "t0": 7, "weight_decay": 0.1, "maximize": True},
    Rprop: {"lr": 0.1, "etas": (0.3, 1.7), "step_sizes": (0.003, 0.2), "maximize": True},
    Adagrad: {"lr": 0.1, "lr_decay": 0.03, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 0.1, "maximize": True},
    RMSprop: {"lr": 0.1, "alpha": 0.7, "eps": 0.1, "weight_decay": 0.1, "momentum": 0.7, "centered": True, "maximize": True},
    Adadelta: {"lr": 3.0, "rho": 0.7, "eps": 0.1, "weight_decay": 0.1, "maximize": True},
    Adafactor: {"lr": 0.3, "beta2_decay": -0.6, "eps": (0.03, 0.1), "d": 1.3, "weight_decay": 0.1, "maximize": True},
    Adam: {**ADAM, "amsgrad": True, "decoupled_weight_decay": True},
    AdamW: {**ADAM, "weight_decay": 0.3, "amsgrad": True},
    Adamax: ADAM,
    NAdam: {**ADAM, "momentum_decay": 0.3, "decoupled_weight_decay": True},
    RAdam: {**ADAM, "decoupled_weight_decay": True},
}


def _settings():
    """The defaults, every argument alone, every two together, and all of them; less what the constructor refuses."""
    for cls, other in OTHER.items():
        for n in (0, 1, 2, len(other)):
            for names in itertools.combinations(other, n):
                try:
                    yield cls(**{name: other[name] for name in names})
                except ArgumentError:
                    assert cls is SGD
                    assert "nesterov" in names
    yield SGD(lr=0.1, momentum=0.7, nesterov=True)
    yield SGD(lr=0.1, momentum=0.7, nesterov=True, weight_decay=0.1, maximize=True)
    yield RAdam(betas=(0.9, 0.6))  # ρ never exceeds 5: no step is rectified


def _id(optimizer):
    given = {n: v for n, v in _arguments(optimizer).items() if v != getattr(type(optimizer), n)}
    return f"{type(optimizer).__name__}({', '.join(f'{n}={v}' for n, v in given.items())})"


def _arguments(optimizer):
    return {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer) if f.init}


def _changed(optimizer):
    return sum(value != getattr(type(optimizer), name) for name, value in _arguments(optimizer).items())


SETTINGS = list(_settings())
NOT_PAIRS = [s for s in SETTINGS if _changed(s) != 2]
FEW = [s for s in NOT_PAIRS if _changed(s) != 1]  # one or two of each class, for what no single option decides

SHAPES = {"0.weight": (3, 5), "0.bias": (5,), "stack": (2, 3, 2), "scale": (), "frozen": (2,)}
STEPS = 50


def _state(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    params = {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}
    return State({**params, "mean": np.ones(5, dtype), "count": np.asarray(3)}, {"mean", "count"})


def _gradients(dtype=np.float64, steps=STEPS, seed=1):
    """Random and signed; zero here and there; none for the bias in every third step, and never one for ``frozen``."""
    rng = np.random.default_rng(seed)
    for t in range(steps):
        grads = {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items() if name != "frozen"}
        grads["0.weight"][rng.random((3, 5)) < 0.1] = 0
        if t == 0:
            grads |= {name: np.zeros_like(grads[name]) for name in ("stack", "scale")}
        yield {**grads, "0.bias": None} if t % 3 == 0 else grads


def _run(optimizer, state, gradients, memory=None):
    memory = optimizer.start(state) if memory is None else memory
    for grads in gradients:
        state, memory = optimizer.step(state, grads, memory)
    return state, memory


class Twin:
    """torch's optimizer of the same name and arguments, on the same parameters."""

    def __init__(self, optimizer, state):
        self.params = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in state.parameters.items()}
        self.optimizer = getattr(torch.optim, type(optimizer).__name__)(self.params.values(), **_arguments(optimizer))

    def step(self, grads):
        for name, p in self.params.items():
            p.grad = None if grads.get(name) is None else torch.tensor(grads[name])
        self.optimizer.step()

    def memory(self):
        kept = {f"{n}.{slot}": v for n, p in self.params.items() for slot, v in self.optimizer.state[p].items()}
        return {key: np.asarray(v) for key, v in kept.items() if v is not None}


@pytest.fixture
def torch_in_float64():
    """torch keeps some optimizers' scalars in its default dtype, whatever the parameters' dtype is."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _assert_close(ours, theirs, ulps, what, scale=0.0):
    """Within some units in the last place of the array's largest element, or of ``scale``, the largest it has had."""
    scale = max(scale, np.max(np.abs(theirs)))
    error = np.max(np.abs(ours - theirs))
    assert error <= ulps * np.finfo(theirs.dtype).eps * scale, f"{what}: {error / scale:.1e} of the largest element apart"
    return scale


def _assert_same_steps(optimizer, dtype, ulps):
    state, scales = _state(dtype), {}
    memory, twin = optimizer.start(state), Twin(optimizer, state)
    for t, grads in enumerate(_gradients(dtype), 1):
        state, memory = optimizer.step(state, grads, memory)
        twin.step(grads)
        known = {name: (state[name], p.detach().numpy()) for name, p in twin.params.items()}
        known |= {key: (memory[key], kept) for key, kept in twin.memory().items() if key in memory}
        for key, (ours, theirs) in known.items():
            scales[key] = _assert_close(ours, theirs, ulps, f"step {t}, {key}", scales.get(key, 0.0))
    for name in SHAPES:
        assert np.array_equal(state[name], _state(dtype)[name]) == (name == "frozen")


@pytest.mark.usefixtures("torch_in_float64")
@pytest.mark.parametrize("optimizer", SETTINGS, ids=_id)
def test_every_step_is_torchs_in_float64(optimizer):
    _assert_same_steps(optimizer, np.float64, ulps=32)


@pytest.mark.parametrize("optimizer", NOT_PAIRS, ids=_id)
def test_every_step_is_torchs_in_float32(optimizer):
    _assert_same_steps(optimizer, np.float32, ulps=32)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda c: c.__name__)
def test_every_hyperparameter_takes_two_values(cls):
    settings = [_arguments(s) for s in SETTINGS if type(s) is cls]
    assert len(settings) > len(settings[0])
    for name in settings[0]:
        assert len({repr(s[name]) for s in settings}) >= 2, f"{cls.__name__}.{name} is the same in every setting"


def test_every_optimizer_is_in_the_table():
    assert set(OTHER) == set(OPTIMIZERS)


def test_what_torch_exports_is_here_or_left_out_with_a_reason():
    known = set(optim.__all__) | set(optim.LEFT_OUT)
    exported = set(torch.optim.__all__)
    assert exported <= known
    assert known == exported or torch.__version__ < torch.torch_version.TorchVersion("2.13")
    assert not set(optim.__all__) & set(optim.LEFT_OUT)


SWITCHES = {"self", "params", "foreach", "fused", "capturable", "differentiable"}


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda c: c.__name__)
def test_the_constructor_is_torchs(cls):
    theirs = list(inspect.signature(getattr(torch.optim, cls.__name__)).parameters.values())[1:]
    ours = list(inspect.signature(cls).parameters.values())
    assert {p.name: p.default for p in ours} == {p.name: p.default for p in theirs if p.name not in SWITCHES}
    positional = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [p.name for p in theirs][: len(positional)]  # the same place means the same argument


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda c: c.__name__)
def test_the_docstring_gives_formula_paper_and_torch_page(cls):
    doc = cls.__doc__
    assert "xₜ = " in doc.splitlines()[0]
    assert f"Torch: torch.optim.{cls.__name__}" in doc
    assert "Paper: " in doc


@pytest.mark.parametrize("optimizer", FEW, ids=_id)
def test_a_repr_is_the_constructor_call(optimizer):
    assert eval(repr(optimizer), {type(optimizer).__name__: type(optimizer)}) == optimizer


@pytest.mark.parametrize("steps_before", [0, 2])
@pytest.mark.parametrize("optimizer", FEW, ids=_id)
def test_a_step_is_pure(optimizer, steps_before):
    state, memory = _run(optimizer, _state(), _gradients(steps=steps_before))
    (grads,) = _gradients(steps=1, seed=2)
    grads["0.bias"] = np.ones(5)
    received = [*state.values(), *memory.values(), *(g for g in grads.values() if g is not None)]
    before = [a.copy() for a in received]
    for array in received:
        array.flags.writeable = False
    new_state, new_memory = optimizer.step(state, grads, memory)
    again = optimizer.step(state, grads, memory)
    for array, copy in zip(received, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    for one, other in zip([new_state, new_memory], again, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)
    made = [new_state[name] for name in grads] + [a for key, a in new_memory.items() if not key.startswith("frozen.")]
    for i, array in enumerate(made):
        assert array.flags.writeable
        assert not any(np.shares_memory(array, other) for other in received + made[:i])


@pytest.mark.parametrize("optimizer", FEW, ids=_id)
def test_buffers_and_parameters_without_a_gradient_are_left_as_they_are(optimizer):
    state = _state()
    new, memory = optimizer.step(state, {"scale": np.asarray(0.3), "frozen": None}, optimizer.start(state))
    assert list(new) == list(state)
    assert new.buffers == state.buffers == {"mean", "count"}
    assert [name for name in state if not np.array_equal(new[name], state[name])] == ["scale"]
    assert {key: int(a) for key, a in memory.items() if key.endswith(".step")} == {
        f"{name}.step": int(name == "scale") for name in SHAPES
    }


@pytest.mark.parametrize("optimizer", FEW, ids=_id)
def test_a_run_goes_on_from_a_saved_memory(optimizer, tmp_path):
    gradients = list(_gradients(np.float32, steps=14))
    state, memory = _run(optimizer, _state(np.float32), gradients[:7])
    np.savez(tmp_path / "memory.npz", **memory)
    with np.load(tmp_path / "memory.npz", allow_pickle=False) as file:
        resumed = _run(optimizer, state, gradients[7:], dict(file))
    straight = _run(optimizer, _state(np.float32), gradients)
    for one, other in zip(resumed, straight, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert one[key].dtype == other[key].dtype
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("optimizer", FEW, ids=_id)
def test_the_dtype_stays_whatever_kind_of_number_a_hyperparameter_is(optimizer, dtype):
    for opt in (optimizer, dataclasses.replace(optimizer, lr=np.float64(0.1)), dataclasses.replace(optimizer, lr=1)):
        state, memory = _run(opt, _state(dtype), _gradients(dtype, steps=3))
        assert {state[name].dtype for name in SHAPES} == {np.dtype(dtype)}
        scalars = ("step", "mu_product")
        assert {a.dtype for key, a in memory.items() if key.rpartition(".")[2] not in scalars} <= {np.dtype(dtype)}


@pytest.mark.parametrize("optimizer", [s for s in FEW if not s.maximize], ids=_id)
def test_maximizing_the_negative_is_minimizing(optimizer):
    down, _ = _run(optimizer, _state(), _gradients(steps=5))
    negated = [{n: None if g is None else -g for n, g in grads.items()} for grads in _gradients(steps=5)]
    up, _ = _run(dataclasses.replace(optimizer, maximize=True), _state(), negated)
    assert all(np.array_equal(up[name], down[name]) for name in SHAPES)


@pytest.mark.usefixtures("torch_in_float64")
@pytest.mark.parametrize("cls", [c for c in OPTIMIZERS if c not in (ASGD, Rprop)], ids=lambda c: c.__name__)
def test_a_schedule_is_a_replaced_learning_rate(cls):  # ASGD has a schedule of its own; Rprop only starts from lr
    state, gradients = _state(), list(_gradients(steps=9))
    memory, twin = cls().start(state), Twin(cls(), state)
    for t, grads in enumerate(gradients):
        lr = 0.1 / (1 + t)
        twin.optimizer.param_groups[0]["lr"] = lr
        twin.step(grads)
        state, memory = dataclasses.replace(cls(), lr=lr).step(state, grads, memory)
    for name, p in twin.params.items():
        _assert_close(state[name], p.detach().numpy(), 32, name)


@pytest.mark.parametrize(
    ("optimizer", "smaller"),
    [
        (SGD(lr=0.1), 1e-3),
        (SGD(lr=0.1, momentum=0.9, nesterov=True), 1e-3),
        (ASGD(lr=0.1), 1e-3),
        (Rprop(), 1e-3),
        (Adagrad(lr=0.5), 1e-3),
        (RMSprop(lr=0.03), 1e-3),
        (Adadelta(lr=10.0), 1e-3),
        (Adafactor(lr=0.1), 1e-2),
        (Adam(lr=0.1), 1e-3),
        (AdamW(lr=0.1, weight_decay=1e-4), 1e-3),
        (Adamax(lr=0.1), 1e-3),
        (NAdam(lr=0.1), 1e-3),
        (RAdam(lr=0.1), 1e-3),
    ],
    ids=lambda v: _id(v) if isinstance(v, optim.Optimizer) else "",
)
def test_a_quadratic_becomes_smaller(optimizer, smaller):
    target = {"W": np.array([[1.0, -2.0], [0.5, 3.0]]), "b": np.array([-1.0, 0.3])}
    curvature = {"W": np.array([[1.0, 0.3], [2.0, 0.5]]), "b": np.array([1.0, 0.7])}

    def loss(state):
        return sum(float(np.sum(curvature[n] * (state[n] - target[n]) ** 2) / 2) for n in target)

    state = State({"W": np.zeros((2, 2)), "b": np.zeros(2)})
    start, memory = loss(state), optimizer.start(state)
    for _ in range(300):
        grads = {n: curvature[n] * (state[n] - target[n]) for n in target}
        state, memory = optimizer.step(state, grads, memory)
    assert loss(state) < smaller * start


def test_the_table_of_quadratics_has_every_optimizer():
    (mark,) = (m for m in test_a_quadratic_becomes_smaller.pytestmark if m.name == "parametrize")
    assert {type(optimizer) for optimizer, _ in mark.args[1]} == set(OPTIMIZERS)


def test_what_a_layer_returns_is_what_an_optimizer_takes():
    layer, rng = refbp.BatchNorm1d(3), np.random.default_rng(0)
    state = layer.init(rng)
    step = layer(state, rng.normal(size=(7, 3)))
    grads = step.backward(rng.normal(size=(7, 3)))
    optimizer = SGD(lr=0.3)
    new, _ = optimizer.step(state.updated(step.updates), grads, optimizer.start(state))
    np.testing.assert_array_equal(new["weight"], state["weight"] - 0.3 * grads.params["weight"])
    np.testing.assert_array_equal(new["running_mean"], step.updates["running_mean"])


def test_a_plain_mapping_is_a_state_of_parameters():
    state = {"w": np.ones(2)}
    new, memory = SGD(lr=0.5).step(state, Grads(w=np.ones(2)), SGD().start(state))
    assert isinstance(new, State)
    np.testing.assert_array_equal(new["w"], [0.5, 0.5])
    assert memory == {"w.step": 1}


def test_no_weight_decay_leaves_an_infinite_parameter_infinite():
    state, twin = State({"x": np.array([np.inf])}), Twin(SGD(), State({"x": np.array([np.inf])}))
    twin.step({"x": np.ones(1)})
    new, _ = SGD().step(state, {"x": np.ones(1)}, SGD().start(state))
    assert new["x"] == twin.params["x"].item() == np.inf  # 0 · ∞ would be NaN


# Where torch is wrong, and where this must say so as soon as it is right -----------------------------------------------


@pytest.mark.parametrize("optimizer", [ASGD(lr=0.1, lambd=0.3), NAdam(lr=0.1)], ids=_id)
def test_torch_rounds_these_to_its_default_dtype(optimizer):
    state, memory, twin = _state(), optimizer.start(_state()), Twin(optimizer, _state())
    for grads in _gradients(steps=9):
        state, memory = optimizer.step(state, grads, memory)
        twin.step(grads)
    apart = np.max(np.abs(state["0.weight"] - twin.params["0.weight"].detach().numpy()))
    assert 1e-12 < apart < 1e-6


def test_a_centered_variance_is_never_negative():
    optimizer, x = RMSprop(lr=0.1, alpha=1.0, eps=0.5, centered=True), np.zeros(1)
    memory = {"x.square_avg": np.array([1 - 2.0**-20]), "x.grad_avg": np.ones(1), "x.step": np.asarray(1)}
    twin = Twin(optimizer, State({"x": x}))
    slots = {slot: torch.tensor(memory[f"x.{slot}"]) for slot in ("square_avg", "grad_avg")}
    twin.optimizer.state[twin.params["x"]] = {**slots, "step": torch.tensor(1.0)}
    twin.step({"x": np.ones(1)})
    assert twin.params["x"].isnan().all()
    state, _ = optimizer.step(State({"x": x}), {"x": np.ones(1)}, memory)
    np.testing.assert_allclose(state["x"], -0.1 / 0.5, rtol=1e-15)


def test_rprop_sees_the_signs_of_tiny_gradients():
    grads = [{"x": np.full(1, g, np.float32)} for g in (1e-30, -1e-30)]
    state = State({"x": np.zeros(1, np.float32)})
    twin = Twin(Rprop(), state)
    for g in grads:
        twin.step(g)
    assert twin.params["x"].item() == 0  # back again at full step size, as though the sign had not changed
    new, memory = _run(Rprop(), state, grads)
    assert new["x"] == np.float32(-0.01)
    assert memory["x.step_size"] == np.float32(0.005)


# What is refused, and in which words -----------------------------------------------------------------------------------

IMPOSSIBLE = {
    SGD: {"lr": -0.1, "momentum": -0.1, "weight_decay": -0.1, "nesterov": True},
    ASGD: {"lr": -0.1, "weight_decay": -0.1},
    Rprop: {"lr": -0.1, "etas": (1.2, 0.5), "step_sizes": (1.0, 0.1)},
    Adagrad: {"lr": -0.1, "lr_decay": -0.1, "weight_decay": -0.1, "initial_accumulator_value": -0.1, "eps": -0.1},
    RMSprop: {"lr": -0.1, "alpha": -0.1, "eps": -0.1, "weight_decay": -0.1, "momentum": -0.1},
    Adadelta: {"lr": -0.1, "rho": 1.1, "eps": -0.1, "weight_decay": -0.1},
    Adafactor: {"lr": -0.1, "beta2_decay": 0.1, "eps": (None, -0.1), "d": 0.9, "weight_decay": -0.1},
    Adam: {"lr": -0.1, "betas": (0.9, 1.0), "eps": -0.1, "weight_decay": -0.1},
    AdamW: {"lr": -0.1, "betas": (0.9, 1.0), "eps": -0.1, "weight_decay": -0.1},
    Adamax: {"lr": -0.1, "betas": (-0.1, 0.9), "eps": -0.1, "weight_decay": -0.1},
    NAdam: {"lr": float("nan"), "betas": (1.0, 0.9), "eps": -0.1, "weight_decay": -0.1, "momentum_decay": -0.1},
    RAdam: {"lr": -0.1, "betas": (0.9, 1.0), "eps": -0.1, "weight_decay": -0.1},
}


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [(cls, name, value) for cls, bad in IMPOSSIBLE.items() for name, value in bad.items()],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_an_impossible_hyperparameter_is_refused_by_name(cls, name, value):
    with pytest.raises(ArgumentError) as ours:
        cls(**{name: value})
    assert str(ours.value).startswith(f"{cls.__name__}: {name}={value!r} was given; wanted ")
    if name != "step_sizes":  # torch takes them in either order, and clamps every step to the second
        with pytest.raises(ValueError):  # noqa: PT011  # torch's words are its own
            getattr(torch.optim, cls.__name__)([torch.nn.Parameter(torch.zeros(1))], **{name: value})


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda c: c.__name__)
def test_a_hyperparameter_of_a_wrong_type_is_refused_by_name(cls):
    with pytest.raises(ArgumentError, match=f"{cls.__name__}: lr='fast' was given; wanted a number"):
        cls(lr="fast")
    with pytest.raises(ArgumentError, match=f"{cls.__name__}: maximize=1 was given; wanted True or False"):
        cls(maximize=1)
    with pytest.raises(ArgumentError, match=f"{cls.__name__}: .*'maximise'; wanted .*did you mean maximize"):
        cls(maximise=True)


def _step(grads, memory=None, **options):
    state, optimizer = _state(), Adam(**options)
    return optimizer.step(state, grads, optimizer.start(state) if memory is None else memory)


BIAS = {"0.bias": np.ones(5)}
REFUSED = {
    "an unknown name": (lambda: _step({"0.wieght": np.ones((3, 5))}), StateError, ["'0.wieght'", "did you mean 0.weight?"]),
    "no gradient of an unknown name": (lambda: _step({"bias": None}), StateError, ["'bias'", "0.weight, 0.bias, stack"]),
    "a buffer": (lambda: _step({"mean": np.ones(5)}), StateError, ["'mean'", "the state's parameters"]),
    "a shape": (lambda: _step({"0.bias": np.ones(3)}), ShapeError, ["0.bias has shape (3,)", "wanted (5,)"]),
    "a shape that would broadcast": (lambda: _step({"0.bias": np.ones(1)}), ShapeError, ["shape (1,)", "wanted (5,)"]),
    "a dtype": (lambda: _step({"0.bias": np.ones(5, np.float32)}), DtypeError, ["float32", "grad.astype(float64)"]),
    "no mapping": (lambda: _step([np.ones(5)]), StateError, ["grads is list", "a mapping"]),
    "an empty memory": (lambda: _step(BIAS, {}), StateError, ["memory['0.bias.step'] has no such entry", "start(state)"]),
    "a memory of fewer options": (
        lambda: _step(BIAS, Adam().start(_state()), amsgrad=True),
        StateError,
        ["memory['0.bias.max_exp_avg_sq'] has no such entry"],
    ),
    "a memory of another state": (
        lambda: _step(BIAS, Adam().start({"0.bias": np.ones(7)})),
        StateError,
        ["memory['0.bias.exp_avg'] has shape (7,)", "wanted shape (5,)"],
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_a_step_that_cannot_be_taken_is_refused_in_one_sentence(call, error, words):
    with pytest.raises(RefbpError) as refusal:
        call()
    said = str(refusal.value)
    assert type(refusal.value) is error
    assert said.startswith("Adam: ")
    assert said.endswith(".")
    assert "\n" not in said
    for word in words:
        assert word in said


def test_optimizers_need_no_torch_and_the_module_no_numpy():
    code = (
        "import sys, refbp.optim; assert not {'torch', 'numpy'} & set(sys.modules);"
        "[getattr(refbp.optim, n) for n in refbp.optim.__all__]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
