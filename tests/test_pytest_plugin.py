"""The pytest plugin, as a stranger meets it: one line gives the suite, and a run that does not want it pays nothing."""

import os
import re
import subprocess
import sys

import command
import pytest

PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # importing hypothesis takes longer than the suite
GOOD = """
from dataclasses import dataclass
from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal

@dataclass(frozen=True)
class Double(Layer):
    "y = 2x;   dx = 2 dy."
    def inputs(self):
        return {"x": "(N, *)"}
    def outputs(self):
        return {"y": "(N, *)"}
    def forward(self, state, x):
        return Forward(2 * x, saved=None)
    def backward(self, saved, dy):
        return Grads(2 * dy)

def twin(layer):
    import torch
    class Twin(torch.nn.Module):
        def forward(self, x):
            return 2 * x
    return Twin()

@hookimpl
def refbp_layers():
    yield Spec(Double, [Case(Double(), normal(3, 5), id="matrix")], twin=twin)
"""


@pytest.fixture
def package(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nrefbp_plugins = double.py\nrefbp_only_plugin = double\n")
    (tmp_path / "double.py").write_text(GOOD)
    (tmp_path / "test_suite.py").write_text("from refbp.testing.suite import *\n")
    return tmp_path


def run(folder, *arguments):
    return command.run("pytest", *PLAIN, *arguments, cwd=folder)


def counts(text):
    return {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|deselected)", text.splitlines()[-1])}


def test_one_line_gives_every_check_of_every_case_and_no_other_layers(package):
    from refbp.conformance.checks import CHECKS

    listed = run(package, "--collect-only", "-q").stdout
    ids = re.findall(r"test_conformance\[(.*)\]", listed)
    assert ids == [f"Double-matrix-{check}" for check in CHECKS]
    result = run(package)
    assert result.returncode == 0, result.stdout
    assert counts(result.stdout)["passed"] > 15


def test_items_are_selected_with_k(package):
    assert counts(run(package, "-k", "Double-matrix-gradients").stdout)["passed"] >= 1


def test_a_wrong_layer_fails_with_the_report_that_verify_prints_alone_and_in_parallel(package):
    (package / "double.py").write_text(GOOD.replace("Grads(2 * dy)", "Grads(3 * dy)"))
    alone, parallel = run(package), run(package, "-n", "2")
    for result in (alone, parallel):
        assert result.returncode == 1
        assert "FAILED test_suite.py::test_conformance[Double-matrix-gradients]" in result.stdout
        for part in (
            'Double · case "matrix" · check gradients',
            "worst element x[",
            "again: refbp verify Double --case matrix",
        ):
            assert part in result.stdout
    assert counts(alone.stdout) == counts(parallel.stdout)
    assert len(counts(alone.stdout)) == 3  # passed, failed, skipped


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import scipyy", "ModuleNotFoundError: No module named 'scipyy' (broken.py:1)"),
        (
            "from refbp import hookimpl\n@hookimpl\ndef refbp_layerz(): ...",
            "unknown hook refbp_layerz; did you mean refbp_layers?",
        ),
        ("def refbp_layers(): ...", "refbp_layers is not marked: write @hookimpl"),
        (GOOD, "the name Double is already taken by plugin"),
    ],
)
def test_a_broken_plugin_fails_with_the_sentence_that_plugins_shows(package, source, sentence):
    (package / "broken.py").write_text(source)
    (package / "pytest.ini").write_text("[pytest]\nrefbp_plugins =\n    broken.py\n    double.py\n")
    result = run(package, "-k", "loads", "--refbp-layer", "Double")
    assert result.returncode == 1
    assert sentence in result.stdout
    shown = command.refbp("plugins", "--plugins-dir", "broken.py", "--plugins-dir", "double.py", cwd=package)
    assert shown.returncode == 0
    assert sentence in shown.stdout


def test_an_unknown_selection_is_a_usage_error_that_names_the_nearest(package):
    result = run(package, "--refbp-only-plugin", "doubel")
    assert result.returncode != 0
    assert "no plugin is called 'doubel'; did you mean double" in result.stdout + result.stderr
    result = run(package, "--refbp-layer", "Doubel")
    assert "did you mean Double" in result.stdout + result.stderr


def test_an_empty_selection_is_not_a_pass(package):
    result = run(package, "--refbp-only-plugin", "double", "--refbp-layer", "Linear")
    assert result.returncode != 0
    assert "an empty suite is not a pass" in result.stdout + result.stderr


def test_an_unrelated_run_imports_neither_numpy_nor_torch(tmp_path):
    (tmp_path / "test_unrelated.py").write_text(
        "import sys\n\ndef test_nothing_heavy():\n"
        "    assert 'refbp.testing.plugin' in sys.modules\n"
        "    heavy = ('numpy', 'torch', 'pluggy._never', 'refbp.registry', 'refbp.contract', 'click', 'rich')\n"
        "    assert [m for m in heavy if m in sys.modules] == []\n"
    )
    # other installed plugins may import what they like: only refbp's is looked at
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "refbp.testing.plugin", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert result.returncode == 0, result.stdout


def test_the_example_package_passes_its_own_suite(tmp_path):
    """Installed as it stands: found by entry point, and its one-line test file tests it and nothing else."""
    import shutil
    from pathlib import Path

    source = Path(__file__).parents[1] / "plugins" / "refbp-example"
    shutil.copytree(source, tmp_path / "example")
    info = tmp_path / "site" / "refbp_example-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: refbp-example\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[refbp]\nrefbp-example = refbp_example\n")
    path = f"{tmp_path / 'site'}:{tmp_path / 'example' / 'src'}"
    result = command.run("pytest", "-q", *PLAIN, cwd=tmp_path / "example", PYTHONPATH=path)
    assert result.returncode == 0, result.stdout
    assert counts(result.stdout)["passed"] > 40
