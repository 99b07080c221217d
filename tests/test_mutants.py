"""Mutants and their fates: what they are, what becomes of them, and that they leave nothing behind."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from command import refbp

from refbp import Case, Forward, Grads, Layer, Spec, normal, registry
from refbp.conformance import mutate
from refbp.conformance.mutants import mutants
from refbp.conformance.trial import Trial
from refbp.conformance.verify import run_check


def shared(x, twice):
    if twice:
        return x + x
    return x * 1.5


class Shared(Layer):
    def inputs(self):
        return {"x": "(N, *)"}

    def outputs(self):
        return {"y": "(N, *)"}


@dataclass(frozen=True)
class Twice(Shared):
    def forward(self, state, x):
        return Forward(shared(x, True), saved=None)

    def backward(self, saved, dy):
        return Grads(shared(dy, True))


@dataclass(frozen=True)
class Half(Shared):
    def forward(self, state, x):
        return Forward(shared(x, False), saved=None)

    def backward(self, saved, dy):
        return Grads(shared(dy, False))


@dataclass(frozen=True)
class Writes(Shared):
    """One of its mutants, without np.where, writes to x."""

    def forward(self, state, x):
        y = np.where(x > 0, x, x)
        y *= 3
        return Forward(y, saved=None)

    def backward(self, saved, dy):
        return Grads(3 * dy)


def twin(factor):
    import torch

    class Twin(torch.nn.Module):
        def forward(self, x):
            return x * factor

    return lambda layer: Twin()


def spec(cls, factor):
    return Spec(cls, [Case(cls(), normal(3, 5), id="matrix")], twin=twin(factor))


@pytest.fixture
def registered():
    plugin = registry.current().add(spec(Twice, 2.0), spec(Half, 1.5), spec(Writes, 3.0), name="mutated")
    yield registry.current()
    registry.current().remove(plugin.name)


def fates(name):
    return {(f.mutant.function, f.mutant.before, f.mutant.after): f for f in mutate.score(registry.current().get(name)).fates}


def test_a_mutant_of_shared_code_is_elsewhere_where_only_another_layer_goes(registered):
    assert fates("Twice")["shared", "1.5", "3.0"].fate == mutate.ELSEWHERE
    assert fates("Twice")["shared", "1.5", "3.0"].layer == "Half"
    assert fates("Half")["shared", "1.5", "3.0"].fate == mutate.KILLED
    assert fates("Half")["shared", "x + x", "x - x"].fate == mutate.ELSEWHERE


def test_a_mutant_where_no_layer_goes_is_a_survivor(registered):
    registered.remove("mutated")
    registered.add(spec(Twice, 2.0), name="mutated")
    fate = fates("Twice")["shared", "1.5", "3.0"]
    assert fate.fate == mutate.UNREACHED
    assert fate.alive
    assert fate.advice == "no case reaches it: add one"


def test_a_mutant_that_writes_to_its_input_does_not_spoil_the_next(registered):
    """Without np.where y is x itself, and 3 is multiplied into it."""
    found = fates("Writes")
    assert found["forward", "np.where(x > 0, x, x)", "x"].fate == mutate.KILLED
    assert found["backward", "3 * dy", "dy"].fate == mutate.KILLED
    assert not [f for f in found.values() if f.alive and f.mutant.function == "backward"]
    trial = Trial(spec(Writes, 3.0), 0)
    before = [a.copy() for a in trial.inputs]
    bench = mutate._Bench(registry.current().get("Writes"), [trial])
    for mutant in mutants(Writes):
        bench.fate(mutant)
    assert all(np.array_equal(a, b) for a, b in zip(trial.inputs, before, strict=True))


def test_a_backward_with_too_few_gradients_is_noticed():
    @dataclass(frozen=True)
    class Sum(Layer):
        def forward(self, state, a, b, c):
            return Forward(a + b + 0 * c, saved=None)

        def backward(self, saved, dy):
            return Grads(dy, dy)

    trial = Trial(Spec(Sum, [Case(Sum(), normal(3), normal(3), normal(3), id="three")]), 0)
    trial.__dict__.update(state={}, noise=())
    outcome = run_check(trial, "gradients")
    assert outcome.wrong
    assert "backward returns 2 gradients of inputs; wanted 3" in outcome.message


def test_a_nan_is_a_nan_and_a_zero_a_zero():
    nans = np.array([np.nan, -np.nan, 0.0, -0.0])
    assert mutate._bits(nans) == mutate._bits(-nans)
    assert mutate._bits(np.array([1.0])) != mutate._bits(np.array([-1.0]))


def test_all_of_a_plugins_mutants_leave_the_layer_as_it_was(registered):
    before = {n: f for n, f in vars(Twice).items() if callable(f)}
    mutate.score(registered.get("Twice"))
    assert {n: f for n, f in vars(Twice).items() if callable(f)} == before
    assert shared(2, True) == 4


def test_the_command_prints_scores_and_reviewed_survivors_and_json():
    found = refbp("mutate", "Bilinear", "ReLU", "--equivalent", "--json", "-")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    bilinear, relu = told["layers"]
    assert (bilinear["survived"], bilinear["reviewed"], relu["percent"]) == (2, 2, 100.0)
    counts = sum(told["total"][n] for n in ("killed", "equivalent", "elsewhere", "survived"))
    assert counts == told["total"]["mutants"] == len(bilinear["fates"]) + len(relu["fates"])
    reasons = {f["reason"] for f in bilinear["fates"] if f["fate"] == "survived"}
    assert reasons == {"The order in which einsum contracts decides about time and rounding only."}


def test_the_command_fails_under_a_score_and_sums_up():
    found = refbp("mutate", "Bilinear", "ReLU", "--summary", "--fail-under", "99.9")
    assert found.returncode == 1, found.stderr
    heading, *rows = (line.split() for line in found.stdout.splitlines())
    assert heading == ["layers", *("mutants", "killed", "equivalent", "elsewhere", "survived"), "score"]
    assert [row[:2] for row in rows] == [["activation", "1"], ["linear", "1"], ["all", "2"]]
    assert rows[-1][6] == "2"


def test_the_options_of_two_tables_do_not_go_together():
    found = refbp("mutate", "ReLU", "--compare", "--summary")
    assert found.returncode == 2
    assert "--compare prints another table than the score" in found.stderr


def test_a_layers_mutants_shared_out_among_processes_have_the_same_fates():
    entry = registry.current().get("ReLU")
    alone, shared = mutate.score(entry), mutate.in_parts(entry, mutate.SEED, 2, ())
    assert shared is not None
    assert [f.data() for f in shared.fates] == [f.data() for f in alone.fates]


WRONG_IN_A_ROW_OF_ITS_OWN = '''
from dataclasses import dataclass
from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal

@dataclass(frozen=True)
class Odd(Layer):
    """y = 2x;   dx = 2 dy."""
    def forward(self, state, x):
        return Forward(2 * x, saved=len(x) == 7)
    def backward(self, saved, dy):
        return Grads(3 * dy if saved else 2 * dy)

def twin(layer):
    import torch
    class Twin(torch.nn.Module):
        def forward(self, x):
            return 2 * x
    return Twin()

@hookimpl
def refbp_layers():
    yield Spec(Odd, [Case(Odd(), normal(3, 5), id="three"), Case(Odd(), normal(7, 5), id="seven")], twin=twin)
'''


def test_a_layer_that_is_wrong_as_it_stands_is_so_in_whichever_process_its_case_falls(tmp_path):
    (tmp_path / "odd.py").write_text(WRONG_IN_A_ROW_OF_ITS_OWN)
    entry = registry.discover([tmp_path / "odd.py"]).get("Odd")
    shared = mutate.in_parts(entry, mutate.SEED, 2, [str(tmp_path / "odd.py")])
    assert shared is not None
    assert shared.problem == mutate.score(entry).problem
    assert shared.problem.startswith("it is wrong as it stands (case seven, check ")


def test_a_case_of_huge_values_warns_nobody():
    done = refbp("mutate", "LayerNorm", "--summary", "--jobs", "2")
    assert done.returncode == 0
    assert done.stderr == ""
