"""The benchmark runs, measures what it says, and its table in the README is the one that it prints."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command import refbp

from refbp.conformance import bench

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
