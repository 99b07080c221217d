"""What ``refbp verify`` says of a wrong layer beyond its numbers: why, the smallest input, a script that repeats it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wrong_layers
from command import run

from refbp import registry
from refbp.conformance import explain
from refbp.conformance.report import explanation, summary
from refbp.conformance.verify import verify
from refbp.registry import Entry

README = (Path(__file__).parents[1] / "README.md").read_text()
DOUBLED = '''
from dataclasses import dataclass
from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal

@dataclass(frozen=True)
class Doubled(Layer):
    """y = 3x;   dx = 2 dy, which is wrong."""
    def inputs(self):
        return {"x": "(N, *) or ()"}
    def forward(self, state, x):
        return Forward(3 * x, saved=None)
    def backward(self, saved, dy):
        return Grads(2 * dy)

def twin(layer):
    import torch
    class Twin(torch.nn.Module):
        def forward(self, x):
            return 3 * x
    return Twin()

@hookimpl
def refbp_layers():
    yield Spec(Doubled, [Case(Doubled(), normal(3, 5), id="matrix"), Case(Doubled(), normal(4), id="vector")], twin=twin)
'''


def alone(script, cwd):
    """In a process that imports what there is from the folder."""
    return subprocess.run([sys.executable, script], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def doubled(tmp_path):
    (tmp_path / "doubled.py").write_text(DOUBLED)
    return tmp_path


def entry(name):
    spec = next(s for _, s in wrong_layers.WRONG if s.name == name)
    return Entry(spec, "layer", "wrong", "wrong_layers.py")


def explained(name, checks=("gradients",)):
    return explain.explained(entry(name), verify(entry(name), checks=checks))


def test_verify_says_why_and_shows_the_smallest_input_as_the_readme_has_it(doubled):
    done = run("refbp", "verify", "Doubled", "--plugins-dir", "doubled.py", cwd=doubled)
    assert done.returncode == 1
    block = next(b for b in README.split("```") if "class" not in b and "Doubled ·" in b)
    for line in block.strip().removeprefix("text\n").splitlines():
        assert line.split(" …")[0].strip() in done.stdout, line
    assert done.stdout.count("why:") == 1


def test_the_explanation_is_in_json_and_in_junit(doubled):
    arguments = ("refbp", "verify", "Doubled", "--plugins-dir", "doubled.py", "--json", "r.json", "--junit", "r.xml")
    assert run(*arguments, cwd=doubled).returncode == 1
    told = json.loads((doubled / "r.json").read_text())["layers"][0]["explanation"]
    assert told["case"] == "matrix"
    assert told["findings"][0]["kind"] == "repair"
    assert told["findings"][0]["gradients"] == ["x"]
    assert told["smallest_input"] == "Doubled(), x = 1, dy = 1"
    assert "why:" in (doubled / "r.xml").read_text()


def test_the_script_repeats_the_failure_without_torch(doubled):
    arguments = ("refbp", "verify", "Doubled", "--plugins-dir", "doubled.py", "--script", "again.py")
    assert run(*arguments, cwd=doubled).returncode == 1
    text = (doubled / "again.py").read_text()
    assert "torch" not in text
    (doubled / "torch.py").write_text("raise ImportError('no torch here')")
    again = alone("again.py", cwd=doubled)
    assert again.returncode == 1
    assert "got      2.0" in again.stdout
    assert "expected 3.0" in again.stdout
    assert "AssertionError" in again.stderr
    (doubled / "doubled.py").write_text(DOUBLED.replace("2 * dy)", "3 * dy)"))
    assert alone("again.py", cwd=doubled).returncode == 0


def test_no_script_is_written_where_nothing_is_wrong_and_that_is_said(tmp_path):
    (tmp_path / "mine.py").write_text("keep me")
    done = run("refbp", "verify", "Identity", "--script", "mine.py", cwd=tmp_path)
    assert done.returncode == 0
    assert "no script was written to mine.py" in done.stderr
    assert (tmp_path / "mine.py").read_text() == "keep me"


def test_a_script_that_cannot_be_written_is_one_sentence(doubled):
    done = run("refbp", "verify", "Doubled", "--plugins-dir", "doubled.py", "--script", "nowhere/again.py", cwd=doubled)
    assert done.returncode == 2
    assert "nowhere does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_pytest_says_it_once_for_each_layer(doubled):
    (doubled / "test_it.py").write_text("from refbp.testing.suite import *\n")
    done = run("pytest", "-q", "-p", "no:cacheprovider", "--refbp-plugins-dir", "doubled.py", "-k", "Doubled", cwd=doubled)
    if done.returncode == 4:  # the option's name is the pytest plugin's
        done = run("pytest", "-q", "-p", "no:cacheprovider", "-k", "Doubled", cwd=doubled, REFBP_PLUGINS="doubled.py")
    assert done.returncode == 1
    assert done.stdout.count("why: the gradient of x would be right if") == 1


def test_a_right_layer_is_not_explained():
    one = registry.current().get("Linear")
    results, said = explain.verify_and_explain(one, cases=["matrix"], checks=["gradients"])
    assert said is None
    assert summary(one, results, said).data()["explanation"] is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MeanedBias", "bias is 1/N times"),
        ("UnreducedBias", "bias is not summed over axis 0"),
        ("ForgottenTranspose", "if `saved[1].T` were `saved[1]`"),
        ("MissingParameter", "bias is missing"),
        ("ZeroSoftmax", "x is zero"),
        ("DiagonalSoftmax", "only the diagonal of the Jacobian"),
        ("PerRowForgotten", "over the whole array, not over each row"),
        ("NotAveraged", "N times what it should be"),
        ("SlopeOneAtZero", "if `x >= 0` were `x > 0`"),
        ("MaskOnUpstream", "not linear in the upstream gradient"),
        ("IgnoresUpstream", "bias ignores the upstream gradient"),
        ("UnscaledDropout", "(1 − p) times what it should be"),
    ],
)
def test_wrong_layers_are_explained_against_torchs_gradient(name, words):
    said = explained(name)
    assert said is not None
    assert words in said.findings[0].sentence
    assert said.lines()[0] == f"why: {said.findings[0].sentence}"


def test_the_smallest_input_is_small():
    said = explained("FlippedSign")
    assert said.example == ("FlippedSign(1, 1), x = [1], weight = [[1]], dy = [1]", "dx: yours [-1]   expected [1]")


@pytest.mark.parametrize("name", ["UnknownParameter", "TanhGelu", "RightWithAWrongTwin", "RightTogetherOnly"])
def test_what_is_no_wrong_number_of_a_gradient_is_not_explained(name):
    assert explained(name, checks=("gradients", "gradients-alone")) is None


def test_an_explanation_that_fails_leaves_the_result_standing(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("in the explainer")

    monkeypatch.setattr(explain, "diagnose", broken)
    said = explained("FlippedSign")
    assert "the search for an explanation failed: ZeroDivisionError" in said.lines()[0]
    result = verify(entry("FlippedSign"), checks=["gradients"])[0]
    text = explanation(result, said)
    assert "gradient of x, worst element" in text
    assert text.splitlines()[-1].strip().startswith("again: refbp verify FlippedSign")


def test_the_explanation_stands_with_its_own_result_only():
    results = verify(entry("FlippedSign"), checks=["gradients", "witness"])
    said = explain.explained(entry("FlippedSign"), results)
    assert "why:" in explanation(results[0], said)
    assert "why:" not in explanation(results[1], said)


def test_a_long_example_is_cut_in_the_report_and_whole_in_the_data():
    said = explain.Explained("case", "gradients", (), ("x" * 1000, "y"), "script")
    assert len(said.lines()[1]) < 500
    assert said.lines()[0] == "why: not explained"
    assert said.data()["smallest_input"] == "x" * 1000
