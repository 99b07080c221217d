"""Other ways to check a gradient, on the same mutants: what the README says of them is what the command prints."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import wrong_layers

from refbp import registry
from refbp.conformance import rivals
from refbp.conformance.trial import Trial

README = (Path(__file__).parents[1] / "README.md").read_text()


def trials(spec):
    return [Trial(spec, i) for i in range(len(spec.cases))]


def wrong(name):
    return trials(next(s for _, s in wrong_layers.WRONG if s.name == name))


@pytest.fixture(scope="module")
def readme():
    """The command of the README, and the lines that it prints there and here."""
    command = re.search(r"`refbp (mutate [A-Za-z0-9 ]+ --compare)`", README)[1]
    block = next(b for b in README.split("```") if "ones upstream, np.allclose" in b)
    run = subprocess.run([sys.executable, "-m", "refbp", *command.split()], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return block.strip().removeprefix("text\n").splitlines(), run.stdout.splitlines()


def untimed(line):
    """The line without its last column, the seconds, where it has one."""
    return re.sub(r"\s+[\d.]+$", "", line.rstrip()).split()


def test_the_readmes_comparison_is_what_the_command_prints_but_for_the_seconds(readme):
    stands, printed = readme
    assert [untimed(line) for line in stands if line] == [untimed(line) for line in printed if line], "\n".join(printed)


def test_refbps_checks_notice_at_least_what_every_other_way_does(readme):
    _, printed = readme
    noticed = {line[:44].strip(): int(line[44:].split()[0]) for line in printed if " % " in line}
    assert len(noticed) == len(rivals.RIVALS)
    assert noticed["refbp's checks"] == max(noticed.values())


@pytest.mark.parametrize("way", rivals.RIVALS)
def test_no_way_objects_to_a_right_layer_on_generic_inputs(way):
    spec = registry.current().get("Linear").spec
    assert not rivals.RIVALS[way](trials(spec)[:3])


@pytest.mark.parametrize("way", rivals.RIVALS)
def test_every_way_objects_to_a_wrong_sign(way):
    assert rivals._timed(rivals.RIVALS[way], wrong("FlippedSign"))[0]


def test_gradcheck_is_given_a_faithful_wrapper():
    """Autograd's engine would sum what was not summed."""
    assert rivals._timed(rivals.RIVALS["torch.autograd.gradcheck"], wrong("UnreducedBias"))[0]


def test_an_upstream_of_ones_lets_a_softmax_of_zeros_pass():
    assert not rivals.RIVALS["ones upstream, np.allclose"](wrong("ZeroSoftmax"))
    assert rivals.RIVALS["torch.autograd.gradcheck"](wrong("ZeroSoftmax"))


def test_a_kink_is_a_false_alarm_of_finite_differences_and_its_case_is_taken_from_them():
    found = rivals.compare(registry.current().get("ReLU"))
    assert found.found["torch.autograd.gradcheck"].false_alarms == 1
    assert found.found["refbp's checks"].false_alarms == 0
    assert found.wrong > 0
    assert found.found["refbp's checks"].noticed == found.wrong


def test_the_comparison_is_json_too(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "refbp", "mutate", "ReLU", "--compare", "--json", str(tmp_path / "c.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0
    told = json.loads((tmp_path / "c.json").read_text())
    assert told["total"]["wrong_gradients"] == told["layers"][0]["wrong_gradients"] > 0
    assert set(told["total"]["ways"]) == set(rivals.RIVALS)
