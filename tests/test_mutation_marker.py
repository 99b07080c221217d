"""The marker that lets the author of a plugin hold a mutation score."""

import re

from command import run

LAYER = '''
from dataclasses import dataclass
import numpy as np
from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal

@dataclass(frozen=True)
class Cut(Layer):
    """y is x, at most 50 and at least −50;   dx = dy where |x| < 50."""
    def inputs(self):
        return {"x": "(N, *)"}
    def outputs(self):
        return {"y": "(N, *)"}
    def forward(self, state, x):
        return Forward(np.clip(x, -50, 50), saved=x)
    def backward(self, saved, dy):
        return Grads(dy * (np.abs(saved) < 50))

def twin(layer):
    import torch
    class Twin(torch.nn.Module):
        def forward(self, x):
            return x.clamp(-50, 50)
    return Twin()

@hookimpl
def refbp_layers():
    yield Spec(Cut, [Case(Cut(), normal(3, 5, std=STD), id="case")], twin=twin)
'''
TEST = """
@pytest.mark.refbp_mutation_score({})
def test_{}(tmp_path):
    (tmp_path / "ran").write_text("")
"""


def suite(folder, std, *marks):
    (folder / "pytest.ini").write_text(
        "[pytest]\nrefbp_plugins = cut.py\nrefbp_only_plugin = cut\naddopts = --strict-markers\n"
    )
    (folder / "cut.py").write_text(LAYER.replace("STD", std))
    tests = [TEST.format(mark, "abcdef"[i]) for i, mark in enumerate(marks)]
    (folder / "test_cut.py").write_text("\n".join(["import pytest", *tests]))
    return run("pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp=out", cwd=folder).stdout


def test_a_score_that_is_held_lets_the_test_run_and_a_wrong_mark_is_a_sentence(tmp_path):
    told = suite(
        tmp_path,
        "50.0",
        '"Cut", at_least=95',
        "at_least=100",
        '"Cut", at_least=0.95',
        '"Cut"',
        '"Cut", least=95',
        '"Cu", at_least=95',
    )
    assert "4 failed, 2 passed" in told, told
    assert {path.parent.name for path in tmp_path.glob("out/*0/ran")} == {"test_a0", "test_b0"}
    wanted = "wanted names of layers, and at_least, a percentage such as 95."
    assert f"refbp_mutation_score('Cut', at_least=0.95): {wanted}" in told
    assert f"refbp_mutation_score('Cut', at_least=None): {wanted}" in told
    assert f"refbp_mutation_score('Cut', at_least=None, least=95): {wanted}" in told
    assert "no layer or loss is called 'Cu'" in told
    assert "Traceback" not in told


def test_a_score_that_is_not_held_fails_with_the_mutants_that_nothing_notices(tmp_path):
    told = suite(tmp_path, "1.0", '"Cut", at_least=95', "at_least=95", '"Cut", at_least=10')
    assert "2 failed, 1 passed" in told, told
    assert len(re.findall(r"Cut: a mutation score of \d\d\.\d %, wanted 95 %\. No check notices", told)) == 2
    assert re.search(r"cut\.py:\d+  `50` → `\d+`   every check passes: add a case that tells them apart", told)
    assert {path.parent.name for path in tmp_path.glob("out/*0/ran")} == {"test_c0"}
