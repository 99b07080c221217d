"""The benchmark runs, measures what it says, and its table in the README is the one that it prints."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command import refbp

from refbp import registry
from refbp.conformance import bench, growth
from refbp.conformance.trial import Trial

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_there_are_twelve_workloads_of_distinct_names():
    names = [w.name for w in bench.workloads()]
    assert len(set(names)) == 12


def test_the_table_in_the_readme_has_a_row_for_every_workload_and_names_the_machine():
    table = README.partition("<!-- made by: refbp bench --markdown -->")[2]
    rows = re.findall(r"^\| (.*?) \|", table, flags=re.M)
    assert rows[1:13] == [w.name for w in bench.workloads()]
    assert rows[13] == "geometric mean"
    assert re.search(r"Measured with `refbp bench --markdown` on .*, refbp .*, torch .*, numpy .*, one thread", table)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_sides_compute_the_same_gradient(dtype):
    workload = next(w for w in bench.workloads() if w.name.startswith("MLP 4-8-3"))
    ours, theirs = bench._ours(workload, np.dtype(dtype))(), bench._theirs(workload, np.dtype(dtype))()
    np.testing.assert_allclose(ours.inputs[0], theirs[0].numpy(), rtol=0, atol=1e-6)
    for own, other in zip(ours.params.values(), theirs[1:], strict=False):
        assert own.dtype == np.dtype(dtype)
        assert own.size in {t.numel() for t in theirs[1:]}
        assert other is not None


def test_the_command_prints_ratios_and_json():
    run = refbp("bench", "--only", "4-8-3", "--seconds", "0.05", "--json", "-")
    assert run.returncode == 0
    data = json.loads(run.stdout)
    assert {t["dtype"] for t in data["timings"]} == {"float32", "float64"}
    assert all(t["ratio"] == pytest.approx(t["refbp_s"] / t["torch_s"]) for t in data["timings"])
    wrong = refbp("bench", "--only", "nothing")
    assert wrong.returncode == 2
    assert "no workload's name contains 'nothing'" in wrong.stderr


def test_growth_is_read_off_two_sizes_and_steep_only_beside_torch():
    squared = growth.Growth("L", "case", "N", (64, 512), (1.0, 64.0), (2.0, 16.0))
    assert squared.powers == pytest.approx((2.0, 1.0))
    assert squared.steep
    assert not growth.Growth("L", "case", "N", (64, 512), (1.0, 64.0), (1.0, 64.0)).steep  # attention, say
    assert not growth.Growth("L", "case", "N", (64, 512), (1.0, 12.0), (1.0, 2.0)).steep  # torch is not even linear yet


def test_an_axis_is_lengthened_in_every_input_that_has_it_and_nowhere_else():
    trial = Trial(registry.current().get("CrossEntropyLoss").spec, 0)
    assert growth.open_axes(trial) == ["N", "C"]
    scores, target = growth.resized(trial, "N", 23).inputs
    assert scores.shape == (23, trial.inputs[0].shape[1])
    assert target.shape == (23,)
    np.testing.assert_array_equal(scores[: len(trial.inputs[0])], trial.inputs[0])
    np.testing.assert_array_equal(scores[len(trial.inputs[0])], trial.inputs[0][0])
    assert "in_features" not in growth.open_axes(Trial(registry.current().get("Linear").spec, 0))


def test_the_command_measures_growth_along_every_open_axis():
    run = refbp("bench", "--growth", "--only", "LSTMCell", "--json", "-")
    assert run.returncode == 0, run.stderr
    data = json.loads(run.stdout)["growth"]
    assert [(g["layer"], g["axis"]) for g in data] == [("LSTMCell", "N")]
    for g in data:
        assert g["sizes"][1] == 8 * g["sizes"][0]
        assert g["power"] == pytest.approx(np.log(g["refbp_s"][1] / g["refbp_s"][0]) / np.log(8))
    wrong = refbp("bench", "--growth", "--dtype", "float32")
    assert wrong.returncode == 2
    assert "one table, in float32" in wrong.stderr
