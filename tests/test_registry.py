"""Plugins: isolation, provenance, clashes, and a sentence for everything that can be wrong with one."""

import os
import sys
import textwrap

import pytest

from refbp import Case, Layer, Spec, normal, registry
from refbp.errors import PluginError, UnknownNameError

GOOD = """
from dataclasses import dataclass
from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal

@dataclass(frozen=True)
class {name}(Layer):
    "y = 2x;   dx = 2 dy."
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
    yield Spec({name}, [Case({name}(), normal(3, 5))], twin=twin)
"""

BROKEN = {
    "import_error": ("import scipyy", "ModuleNotFoundError: No module named 'scipyy' (import_error.py:1)"),
    "syntax_error": ("def broken(:", "SyntaxError: invalid syntax (syntax_error.py:1)"),
    "misspelt_hook": (
        "from refbp import hookimpl\n@hookimpl\ndef refbp_layerz():\n    return []",
        "unknown hook refbp_layerz; did you mean refbp_layers?",
    ),
    "forgotten_mark": (
        "def refbp_layers():\n    return []",
        "refbp_layers is not marked: write @hookimpl (from refbp import hookimpl) above it",
    ),
    "contributes_nothing": (
        "x = 1",
        "it contributes nothing: write refbp_layers or refbp_losses that yields Specs, or refbp_exercises",
    ),
    "raises_in_hook": (
        "from refbp import hookimpl\n@hookimpl\ndef refbp_layers():\n    yield from []\n    raise RuntimeError('half way')",
        "RuntimeError: half way (raises_in_hook.py:5)",
    ),
    "exits": ("import sys\nsys.exit(0)", "SystemExit: 0 (exits.py:2)"),
    "clash": (
        GOOD.format(name="Linear"),
        "the name Linear is already taken by plugin refbp.linear (refbp.linear): rename the class",
    ),
    "no_cases": (
        GOOD.format(name="NoCases").replace("[Case(NoCases(), normal(3, 5))]", "[]"),
        "NoCases has no cases: without one nothing is tested; give Spec at least one Case",
    ),
    "not_frozen": (
        GOOD.format(name="NotFrozen").replace("@dataclass(frozen=True)", "@dataclass"),
        "NotFrozen is not a frozen dataclass: write @dataclass(frozen=True) above it",
    ),
    "one_name_for_two": (
        GOOD.format(name="Two")
        .replace('"y = 2x', "def params(self):\n        return {'x': ()}\n    'y = 2x")
        .replace('dy."', "dy.'"),
        "Two has an input and a state entry called x: gradients go by name, rename one",
    ),
    "not_a_spec": (
        "from refbp import hookimpl\n@hookimpl\ndef refbp_layers():\n    return [1]",
        "it yields 1; wanted a Spec",
    ),
    "wrong_arguments": (
        "from refbp import hookimpl\n@hookimpl\ndef refbp_layers(config):\n    return []",
        "Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec",
    ),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.py").write_text(GOOD.format(name="Good"))
    for name, (source, _) in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    return tmp_path


def test_a_good_plugin_loads_beside_every_kind_of_broken_one(folder):
    found = registry.discover([folder], strict=False)
    assert found.get("Good").source == "good.py"
    assert {p.name for p in found.failures} == set(BROKEN)
    assert "Linear" in found.entries
    assert found.get("Linear").plugin == "refbp.linear"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_gets_a_sentence(folder, name):
    found = registry.discover([folder / f"{name}.py"], strict=False)
    (failure,) = found.failures
    assert failure.error == BROKEN[name][1]
    assert failure.entries == ()


def test_a_plugins_entries_are_taken_all_or_none(tmp_path):
    two = GOOD.format(name="First") + GOOD.format(name="Linear").replace("def refbp_layers", "def refbp_losses")
    (tmp_path / "two.py").write_text(two)
    found = registry.discover([tmp_path], strict=False)
    assert found.failures
    assert "First" not in found.entries


def test_strict_raises_on_the_first_failure(folder, monkeypatch):
    with pytest.raises(PluginError, match=r"plugin clash .* failed: the name Linear"):
        registry.discover([folder], strict=True)
    monkeypatch.setenv("REFBP_STRICT", "1")
    with pytest.raises(PluginError):
        registry.discover([folder])


def test_blocked_plugins_are_left_out(folder, monkeypatch):
    monkeypatch.setenv("REFBP_BLOCK", "good, refbp.recurrent")
    found = registry.discover([folder], strict=False)
    assert "Good" not in found.entries
    assert "LSTM" not in found.entries
    assert not {"good", "refbp.recurrent"} & {p.name for p in found.plugins}


def test_the_environment_names_folders_and_files(folder, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other") / "single.py"
    other.write_text(GOOD.format(name="Single"))
    monkeypatch.setenv("REFBP_PLUGINS", f"{folder / 'good.py'}:{other}")
    found = registry.discover(strict=False)
    assert {"Good", "Single"} <= set(found.entries)
    assert not found.failures


def test_a_missing_folder_is_a_failure_with_a_sentence(tmp_path):
    (failure,) = registry.discover([tmp_path / "nowhere"], strict=False).failures
    assert "does not exist" in failure.error


def test_two_files_of_one_name_name_both_sides(tmp_path):
    for sub in ("a", "b"):
        (tmp_path / sub).mkdir()
        (tmp_path / sub / "same.py").write_text(GOOD.format(name=f"Same{sub}"))
    found = registry.discover([tmp_path / "a", tmp_path / "b"], strict=False)
    (failure,) = found.failures
    assert str(tmp_path / "a" / "same.py") in failure.error
    assert "Samea" in found.entries


def test_an_edit_of_the_same_size_within_the_same_second_is_what_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "twice.py"
    for factor in (2.0, 3.0):
        file.write_text(GOOD.format(name="Twice").replace("2 * dy", f"{factor:.0f} * dy"))
        os.utime(file, (1e9, 1e9))
        twice = registry.discover([file]).get("Twice").spec.layer()
        assert twice.backward(None, 1.0).inputs == (factor,)
    assert [p.name for p in tmp_path.iterdir()] == ["twice.py"]


def test_an_entry_point_is_found_with_name_and_version(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(GOOD.format(name="Stranger"))
    info = tmp_path / "stranger-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[refbp]\nstranger-layers = stranger\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = registry.discover(strict=False)
    plugin = next(p for p in found.plugins if p.name == "stranger-layers")
    assert (plugin.version, plugin.origin) == ("0.3", "stranger (entry point)")
    assert found.get("Stranger").source == "stranger"


def test_a_test_registers_a_layer_and_forgets_it(tmp_path):
    from refbp.layers import ReLU

    class Mine(ReLU):
        pass

    with pytest.raises(PluginError, match="frozen dataclass"):
        registry.Registry().add(Spec(Mine, [Case(Mine(), normal(3))]))
    from refbp.layers import Tanh

    own = registry.Registry()
    own.add(Spec(Tanh, [Case(Tanh(), normal(3, 5))]), name="mine")
    assert own.get("Tanh").plugin == "mine"
    own.remove("mine")
    assert own.entries == {}


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean Linear"):
        registry.current().get("Linaer")
    with pytest.raises(UnknownNameError, match=r"no plugin is called 'refbp.liner'; did you mean refbp.linear"):
        registry.current().select(only_plugin="refbp.liner")


def test_every_registered_class_can_be_got_by_name():
    for name, entry in registry.current().entries.items():
        assert issubclass(registry.get(name), Layer)
        assert registry.get(name) is entry.spec.layer


EXERCISES = """
from refbp import Case, Linear, hookimpl, normal
from refbp.oracle.exercise import Course, Exercise

@hookimpl
def refbp_exercises():
    forward, backward = "y = dense(x, w)", "dx, dw = dense_back(dy, x, w)"
    yield Course("{name}", "a course of one exercise", [Exercise(
        "dense_back", forward, backward, arrays={{"x": "x", "w": "weight.T"}}, outputs={{"y": "y"}},
        tiers={{"{tier}": [Case(Linear(3, 5, bias=False), normal(7, 3))]}},
    )])
"""


def test_a_file_may_bring_exercises_and_one_that_contradicts_itself_is_a_plugin_that_failed(tmp_path):
    (tmp_path / "good.py").write_text(EXERCISES.format(name="mine", tier="std"))
    (tmp_path / "second.py").write_text(EXERCISES.format(name="mine", tier="std"))
    (tmp_path / "third.py").write_text(EXERCISES.format(name="other", tier="standard"))
    found = registry.discover([tmp_path])
    assert "mine" in found.courses
    assert "cs231n" in found.courses
    assert "other" not in found.courses
    errors = {p.name: p.error for p in found.failures}
    assert errors["second"] == "there is a course called mine already: give it another name"
    assert "no tier is called 'standard'" in errors["third"]
    assert next(p for p in found.plugins if p.name == "good").provides() == "exercises"
