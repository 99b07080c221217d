"""Random networks: what they are made of, that they agree with torch, and that what is wrong is found, named and shrunk."""

import json
import os
import re
import shlex
from dataclasses import dataclass

import click
import numpy as np
import pytest
import torch
from hypothesis import find, given, settings

from refbp import registry
from refbp.cli import cli
from refbp.conformance import compose, many, parallel
from refbp.conformance.fuzz import NETWORK, PROCESS, Beside, Verdict, examine
from refbp.conformance.inside import wrong
from refbp.conformance.many import Recipe, tally
from refbp.conformance.problem import Problem, Split, count, rendered
from refbp.conformance.recording import Recording
from refbp.conformance.shrink import shrunk
from refbp.contract import Grads
from refbp.draws import normal
from refbp.errors import UnknownNameError
from refbp.layers import (
    Add,
    BatchNorm1d,
    Dropout,
    Graph,
    Linear,
    RReLU,
    Sequential,
    Sigmoid,
    Sub,
    Tanh,
    TransformerEncoderLayer,
)
from refbp.losses import CrossEntropyLoss, MSELoss
from refbp.spec import Case, Spec
from refbp.testing.strategies import assert_agrees, networks
from refbp.trace.parse import network

pytestmark = pytest.mark.usefixtures("one_registry")
WRONG = '''
from dataclasses import dataclass
import numpy as np
from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal

@dataclass(frozen=True)
class Squash(Layer):
    """y = tanh(x);   dx = dy (1 − y), which is wrong: y is not squared."""
    def inputs(self):
        return {"x": "(N, *)"}
    def outputs(self):
        return {"y": "(N, *)"}
    def forward(self, state, x):
        y = np.tanh(x)
        return Forward(y, saved=y)
    def backward(self, saved, dy):
        return Grads(dy * (1 - saved))

def twin(layer):
    import torch
    return torch.nn.Tanh()

@hookimpl
def refbp_layers():
    yield Spec(Squash, [Case(Squash(), normal(3, 5), id="matrix")], twin=twin)
'''
KILLER = WRONG.replace("Grads(dy * (1 - saved))", "__import__('os')._exit(1)").replace("Squash", "Killer")

# What cannot be in a network of one input and one target, and why
LEFT_OUT = {
    **dict.fromkeys(("Sequential", "Graph"), "what networks are put together with"),
    **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"), "one of the inputs is where a maximum was"),
    **dict.fromkeys(("CTCLoss", "GaussianNLLLoss", "MarginRankingLoss", "CosineEmbeddingLoss"), "more than one target"),
    **dict.fromkeys(("TripletMarginLoss", "TripletMarginWithDistanceLoss"), "more than one prediction"),
    "AdaptiveLogSoftmaxWithLoss": "a layer that takes the target",
}


def refbp(*arguments):
    """The command in this process; its exit code."""
    return cli.main([*map(str, arguments)], standalone_mode=False)


@dataclass(frozen=True)
class Late(Tanh):
    """y = tanh(x)."""


# What networks are made of -------------------------------------------------------------------------------------------


def test_every_layer_and_loss_can_take_part_or_has_a_reason():
    names = compose.Composer(registry.current()).names
    built_in = {n for n, e in registry.current().entries.items() if e.plugin.startswith("refbp.")}
    assert built_in - names == set(LEFT_OUT)


def test_a_number_means_the_same_network_whoever_composes_it(monkeypatch):
    monkeypatch.setattr(compose, "_OFFERED", {})  # each finds out for itself what there is
    first, other = Recipe().composer, compose.Composer(registry.current())
    for index in range(20):
        one, two = (c.problem(compose.Seeded(7, index), index) for c in (first, other))
        assert repr(one) == repr(two)
        if one is not None:
            assert np.array_equal(one.x, two.x)
            assert np.array_equal(one.target, two.target)
    assert Recipe(7).problem(3).text != Recipe(8).problem(3).text


def test_a_networks_text_reads_as_the_network():
    problems = [Recipe(3).problem(i) for i in range(40)]
    for problem in problems:
        assert network(problem.text) == (problem.network, problem.loss)
    assert any(isinstance(item, Split) for p in problems for item in p.items)
    assert len({type(p.loss) for p in problems}) > 8


def test_branches_additions_and_several_outputs_are_written_as_graphs():
    twice = Split(Sub(), ((Linear(3, 3), Tanh()), ()))
    assert repr(rendered(twice)) == "Graph('y = Tanh()(Linear(3, 3)(x)) - x')"
    inner = Split(Add(), ((Split(Sub(), ((), (Tanh(),))), Tanh()), (twice,)))
    assert rendered(inner).text == "y = Tanh()((x - Tanh()(x))) + (Tanh()(Linear(3, 3)(x)) - x)"
    gru = registry.get("GRU")(3, 2)
    assert rendered(gru).text == "h1 = GRU(3, 2)(x); z = Identity(h1)"
    assert count([inner]) == 8 - 1


def test_a_layer_is_fitted_to_what_reaches_it():
    conv = registry.get("Conv2d")(3, 5, 3)
    assert [layer.in_channels for layer in compose.fitted(conv, (2, 7, 9, 9))] == [7]
    norm = registry.get("LayerNorm")((3, 5))
    assert [layer.normalized_shape for layer in compose.fitted(norm, (2, 4, 6))] == [(4, 6)]
    assert list(compose.fitted(conv, (2, 3, 9, 9))) == []
    assert list(compose.fitted(registry.get("GroupNorm")(2, 6), (2, 7, 4))) == []  # 7 channels are no 2 groups


# That they agree ------------------------------------------------------------------------------------------------------


def test_random_networks_agree_with_torch():
    found = tally(Recipe(11), range(40))
    assert found.wrong == {}
    assert found.verdicts[Verdict.AGREE] >= 30
    assert found.verdicts[Verdict.REFUSED] == 0
    assert len(found.layers) > 60


@given(networks())
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_hypothesis_finds_no_network_that_disagrees(problem):
    assert_agrees(problem)


def test_the_noise_of_a_networks_parts_is_recovered_from_torch():
    inner = Sequential(RReLU(), Dropout(0.7))
    net = Sequential(Dropout(0.3), inner, Graph("y = x + Dropout(x, p=0.6)"), TransformerEncoderLayer(6, 2, 5, 0.3))
    x = np.random.default_rng(0).normal(size=(4, 3, 6))
    beside = Beside(net, MSELoss(), x, x, seed=5)
    assert len(beside.noise) == 8 == len(net.draw(np.random.default_rng(0), x.shape))
    with Recording(net, beside.module) as recording:
        beside.forward()
    last = list(recording.seen.values())[-1].outputs[0].detach().numpy()
    np.testing.assert_allclose(net(beside.state, x, *beside.noise).outputs, last, rtol=0, atol=1e-13)


def test_a_difference_that_rounding_explains_is_no_mistake():
    """A bias before a batch normalisation has the gradient zero: what is computed is the rounding error of a sum."""
    rng = np.random.default_rng(1)
    items = (Linear(3, 4), BatchNorm1d(4))
    found = examine(Problem(items, MSELoss(), 100 * rng.normal(size=(7, 3)), rng.normal(size=(7, 4)), 0))
    assert found.verdict is Verdict.ROUNDING
    assert "gradient of 0.bias" in found.sentence


def test_what_torch_has_no_gradient_or_no_number_for_is_not_tested():
    x = np.ones((3, 2))
    assert examine(Problem((Dropout(1.0),), MSELoss(), x, x, 0)).verdict is Verdict.VACUOUS
    assert examine(Problem((Linear(2, 2),), MSELoss(), 1e200 * x, x, 0)).verdict is Verdict.VACUOUS


# What is wrong is found, named and shrunk -----------------------------------------------------------------------------


def _scaled(backward, **factors):
    """A backward whose gradients are too large: of the input by ``x``, of a parameter by its name."""

    def wrong(self, saved, *dys):
        grads = backward(self, saved, *dys)
        params = {n: g * factors.get(n, 1) for n, g in grads.params.items()}
        return Grads(*(g if g is None else g * factors.get("x", 1) for g in grads.inputs), **params)

    return wrong


def _overwriting(backward):
    """Fan-out without addition: a value that is used several times gets the gradient of one use."""

    def wrong(self, saved, *dys):
        arrived = dict(zip(self.uses[-1].outputs, dys, strict=False))
        params = {}
        for use, step in zip(reversed(self.uses), reversed(saved), strict=True):
            count = len(step.outputs) if isinstance(step.outputs, tuple) else 1
            grads = step.backward(*[arrived.get(n) for n in use.outputs], *[None] * (count - len(use.outputs)))
            params |= {f"{use.name}.{n}": g for n, g in grads.params.items()}
            arrived |= dict(zip(use.inputs, grads.inputs, strict=False))
        return Grads(*(arrived[n] for n in self.leaves), *[None] * len(self.noise()), **params)

    return wrong


def _negated_second(backward):
    def wrong(self, saved, dy):
        first, second = backward(self, saved, dy).inputs
        return Grads(first, -second)

    return wrong


PLANTED = {
    "Sigmoid": (Sigmoid, lambda b: _scaled(b, x=1.001)),
    "Linear": (Linear, lambda b: _scaled(b, bias=2.0)),
    "BatchNorm1d": (BatchNorm1d, lambda b: _scaled(b, x=1.01)),
    "Sub": (Sub, _negated_second),
    "CrossEntropyLoss": (CrossEntropyLoss, lambda b: _scaled(b, x=1.5)),
    NETWORK: (Graph, _overwriting),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_wrong_backward_is_found_and_shrunk_to_at_most_three_layers(name, monkeypatch, capsys):
    cls, wrong = PLANTED[name]
    monkeypatch.setattr(cls, "backward", wrong(cls.backward))
    recipe = Recipe(0, favourites=(cls.__name__,) if name != NETWORK else ("Mul",))
    for index in range(60):
        problem = recipe.problem(index)
        found = examine(problem)
        if found.verdict is Verdict.WRONG and found.layer == name:
            break
    else:
        pytest.fail(f"{name} was not found in 60 networks")
    small, why = shrunk(problem, found)
    assert count(small.items) <= 3
    assert count(small.items) <= count(problem.items)
    assert why.layer == name
    assert "gradient" in why.sentence
    # the command that is printed shows it: refbp trace marks each quantity as torch's or not, and exits with 1
    assert small.fresh
    _, _, *arguments = shlex.split(small.command())
    shown = cli.main(["trace", *arguments], standalone_mode=False)
    assert shown == 1
    if name == NETWORK:
        assert "each layer is right; put together by Graph.backward, other numbers are found for d" in capsys.readouterr().out


def test_hypothesis_shrinks_a_planted_mistake_too(monkeypatch):
    monkeypatch.setattr(Tanh, "backward", _scaled(Tanh.backward, x=1.1))
    smallest = find(
        networks(most_layers=2, favourites=("Tanh",)),
        lambda problem: examine(problem).layer == "Tanh",
        settings=settings(max_examples=200, deadline=None, database=None, derandomize=True),
    )
    assert count(smallest.items) <= 8
    with pytest.raises(AssertionError, match=r"Tanh: (.|\n)*refbp trace"):
        assert_agrees(smallest)


def test_the_right_layers_of_a_wrong_network_are_not_named(monkeypatch):
    """The wrong gradient of one layer goes through all layers below it; only that one is wrong on what its twin was given."""
    monkeypatch.setattr(Sigmoid, "backward", _scaled(Sigmoid.backward, x=1.5))
    rng = np.random.default_rng(0)
    items = (Linear(4, 5), Tanh(), Split(Add(), ((Linear(5, 5), Sigmoid()), ())), Linear(5, 2))
    beside = Beside.of(Problem(items, MSELoss(), rng.normal(size=(6, 4)), rng.normal(size=(6, 2)), 0))
    assert [(path, type(layer).__name__) for path, layer, _ in wrong(beside.recording)] == [("2.u2", "Sigmoid")]


def test_an_error_that_only_refbp_raises_is_found(monkeypatch):
    def broken(self, saved, dy):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Tanh, "backward", broken)
    rng = np.random.default_rng(0)
    problem = Problem((Linear(3, 3), Tanh()), MSELoss(), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), 0)
    found = examine(problem)
    assert (found.verdict, found.layer) == (Verdict.WRONG, "Tanh")
    assert "ZeroDivisionError: planted" in found.sentence


# The command line -----------------------------------------------------------------------------------------------------


def test_fuzz_prints_the_trace_command_and_exits_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.py").write_text(WRONG)
    assert refbp("fuzz", "--count", 6, "--with", "Squash", "--plugins-dir", "wrong.py") == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert "Squash is wrong" in said.out
    command = next(line.strip() for line in said.out.splitlines() if line.strip().startswith("refbp trace"))
    assert re.match(
        r"refbp trace 'Squash\(\) MSELoss\(\)' --input '\[\[-?\d\.\d\]\]' --target '\[\[-?\d\.\d\]\]' --plug", command
    )
    assert refbp(*shlex.split(command)[1:]) == 1
    assert "≠ autograd ✗" in capsys.readouterr().out


def test_fuzz_says_what_it_did_as_json_whatever_process_did_it(monkeypatch, capsys):
    monkeypatch.setattr(many, "CHUNK", 4)  # that there are two parts to join
    monkeypatch.setattr(many, "pool", lambda _, plugins_dirs: parallel.pool(1, plugins_dirs))  # one start of torch is enough
    assert refbp("fuzz", "--count", 8, "--seed", 4, "--jobs", 2, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["networks"] == 8 == sum(data["verdicts"].values())
    assert data["wrong"] == data["shrunk"] == []
    alone = tally(Recipe(4), range(8))
    assert data["verdicts"] == dict(alone.verdicts)
    assert data["layers"] == dict(alone.layers)
    assert not set(data["did_not_take_part"]) & {"Sequential", "Graph"}


def test_a_network_that_kills_its_process_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "killer.py").write_text(KILLER)
    assert refbp("fuzz", "--count", 1, "--jobs", 2, "--with", "Killer", "--plugins-dir", "killer.py", "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert data["networks"] == 1
    assert [w["layer"] for w in data["wrong"]] == [PROCESS]


def test_wrong_use_of_fuzz_is_one_sentence():
    with pytest.raises(
        UnknownNameError, match=r"^no layer or loss is called 'Linaer'; did you mean Linear\? \(refbp list"
    ) as e:
        refbp("fuzz", "--with", "Linaer")
    assert "\n" not in str(e.value)
    with pytest.raises(click.UsageError, match="0 is not in the range x>=1"):
        refbp("fuzz", "--count", 0)


def test_a_state_that_no_seed_makes_is_written_to_a_new_file(tmp_path, monkeypatch):
    from refbp.cli.fuzz import _command

    monkeypatch.chdir(tmp_path)
    x = np.ones((2, 3))
    problem = Problem((Linear(3, 3),), MSELoss(), x, x, 7)
    first, second = (_command(problem, "fuzz-0-7", ()) for _ in range(2))
    assert "--state fuzz-0-7.npz" in first
    assert "--state fuzz-0-7-2.npz" in second
    assert sorted(os.listdir(tmp_path)) == ["fuzz-0-7-2.npz", "fuzz-0-7.npz"]
    assert cli.main(["trace", *shlex.split(first)[2:]], standalone_mode=False) == 0


def test_a_layer_that_is_registered_later_takes_part():
    before = Recipe().composer
    assert Recipe().composer is before
    registry.add(Spec(Late, [Case(Late(), normal(3, 5))], twin=lambda _: torch.nn.Tanh()), name="late")
    try:
        assert "Late" in Recipe().composer.names
        assert "Late" not in before.names
        found = tally(Recipe(favourites=("Late",)), range(3))
        assert found.layers["Late"]
        assert found.wrong == {}
    finally:
        registry.remove("late")
    assert "Late" not in Recipe().composer.names


def test_a_known_defect_of_torch_is_counted_and_does_not_fail():
    """torch divides by how often another row is used (pytorch #190063); the ledger says so of a case with that argument."""
    bag = registry.get("EmbeddingBag")
    x = np.array([[1], [1], [1], [3], [1], [3]])
    target = np.random.default_rng(0).normal(size=(6, 1))
    found = examine(Problem((bag(5, 1, scale_grad_by_freq=True),), MSELoss(), x, target, 0))
    assert (found.verdict, found.layer) == (Verdict.KNOWN, "EmbeddingBag")
    assert examine(Problem((bag(5, 1),), MSELoss(), x, target, 0)).verdict is Verdict.AGREE
