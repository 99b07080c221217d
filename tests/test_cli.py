"""The command line, as a user meets it: what it prints, its exit codes, JSON and JUnit, pipes and mistakes."""

import json
import os
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from command import refbp

WRONG = '''
from dataclasses import dataclass
from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal

@dataclass(frozen=True)
class Wrong(Layer):
    """y = 3x;   dx = 2 dy, which is wrong."""
    def inputs(self):
        return {"x": "(N, *)"}
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
    yield Spec(Wrong, [Case(Wrong(), normal(3, 5), id="matrix")], twin=twin)
'''


@pytest.fixture
def wrong(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG)
    return path


def test_verify_prints_a_table_and_exits_with_0():
    command = [sys.executable, "-m", "refbp", "verify", "Linear", "MSELoss"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert lines[0].startswith("refbp ")
    assert "torch 2." in lines[0]
    assert [line.split()[0] for line in lines[2:5]] == ["layer", "Linear", "MSELoss"]
    assert "0 wrong" in lines[-1]


def test_a_wrong_layer_ends_with_1_and_names_layer_case_gradient_and_how_to_repeat_it(wrong):
    run = refbp("verify", "Wrong", "--plugins-dir", wrong)
    assert run.returncode == 1
    for part in (
        'Wrong · case "matrix" · check gradients',
        "gradient of x",
        "worst element x[",
        "yours",
        "expected",
        "budget",
        "WRONG",
    ):
        assert part in run.stdout
    command = next(line for line in run.stdout.splitlines() if "again:" in line).partition("again: refbp ")[2]
    again = refbp(*command.split())
    assert again.returncode == 1
    assert "1 of 1 checks" in again.stdout


def test_json_and_junit_hold_everything(wrong, tmp_path):
    run = refbp("verify", "Wrong", "ReLU", "--plugins-dir", wrong, "--json", tmp_path / "r.json", "--junit", tmp_path / "r.xml")
    assert run.returncode == 1
    data = json.loads((tmp_path / "r.json").read_text())
    by_name = {layer["name"]: layer for layer in data["layers"]}
    assert by_name["ReLU"]["verdict"] == "agree"
    assert by_name["Wrong"]["verdict"] == "WRONG"
    first = by_name["Wrong"]["wrong"][0]
    assert {"case", "check", "verdict", "message", "difference", "seed", "again"} <= set(first)
    assert data["totals"]["wrong"] == len(by_name["Wrong"]["wrong"])
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    failures = root.findall(".//testsuite[@name='Wrong']/testcase/failure")
    assert len(failures) == data["totals"]["wrong"]
    printed = refbp("verify", "ReLU", "--json", "-")
    assert json.loads(printed.stdout)["layers"][0]["name"] == "ReLU"


def test_two_processes_say_what_one_says(wrong):
    one = refbp("verify", "Wrong", "Tanh", "Linear", "--plugins-dir", wrong, "--jobs", 1)
    two = refbp("verify", "Wrong", "Tanh", "Linear", "--plugins-dir", wrong, "--jobs", 2)
    assert one.stdout.rpartition("·")[0] == two.stdout.rpartition("·")[0]
    assert two.returncode == 1


def test_a_layer_that_kills_its_process_is_that_layers_verdict(tmp_path):
    path = tmp_path / "deadly.py"
    path.write_text(WRONG.replace("return Forward(3 * x, saved=None)", "import os; os._exit(3)"))
    run = refbp("verify", "Wrong", "Tanh", "Linear", "--plugins-dir", path, "--jobs", 2)
    assert run.returncode == 1
    assert "the process that ran it died" in run.stdout
    assert [line.split()[0] for line in run.stdout.splitlines()[3:6]] == ["Wrong", "Tanh", "Linear"]


def test_a_broken_plugin_fails_the_whole_run_but_not_a_named_layer(tmp_path):
    (tmp_path / "broken.py").write_text("import nonsense_module")
    named = refbp("verify", "Tanh", "--plugins-dir", tmp_path)
    assert named.returncode == 0
    assert "could not load broken" in named.stderr
    only = refbp("verify", "--only-plugin", "broken", "--plugins-dir", tmp_path)
    assert only.returncode == 2
    assert "No module named 'nonsense_module'" in only.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verify", "Linaer"], "no layer or loss is called 'Linaer'; did you mean Linear?"),
        (["verify", "Linear", "--case", "matrx"], "no case is called 'matrx'; did you mean matrix?"),
        (["verify", "Linear", "--check", "gradient"], "no check is called 'gradient'; did you mean gradients?"),
        (["verify", "--only-plugin", "nobody"], "no plugin is called 'nobody'"),
        (["verify", "--jobs", "0"], "0 is not in the range"),
        (["verify", "--seed", "x"], "'x' is not a valid integer range"),
        (["verify", "Linear", "--json", "no/such/folder/r.json"], "the folder no/such/folder does not exist"),
        (["show", "Linaer"], "did you mean Linear?"),
        (["verfy"], "no command is called 'verfy'; did you mean verify?"),
        (["list", "--nonsense"], "No such option"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(arguments, sentence):
    run = refbp(*arguments)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


def test_list_and_plugins_work_beside_a_broken_plugin(tmp_path):
    (tmp_path / "typo.py").write_text("from refbp import hookimpl\n@hookimpl\ndef refbp_layerz(): return []")
    listed = refbp("list", "--plugins-dir", tmp_path)
    assert listed.returncode == 0
    assert "1 plugins FAILED" in listed.stdout
    shown = refbp("plugins", "--plugins-dir", tmp_path)
    assert shown.returncode == 0
    assert "FAILED  unknown hook refbp_layerz; did you mean refbp_layers?" in shown.stdout
    data = json.loads(refbp("plugins", "--json", "--plugins-dir", tmp_path).stdout)
    assert next(p for p in data if p["name"] == "typo")["error"].startswith("unknown hook")


def test_list_json_names_every_layer():
    from refbp import registry

    data = json.loads(refbp("list", "--json").stdout)
    assert {d["name"] for d in data} == {n for n, e in registry.current().entries.items() if e.plugin.startswith("refbp.")}
    assert all(d["formula"] for d in data)


def test_show_gives_formula_derivation_fields_shapes_state_twin_and_source():
    text = refbp("show", "Linear").stdout
    for part in (
        *("y = x Wᵀ + b", "derivation", "in_features: int", "bias: bool = True", "(*, in_features)"),
        *("weight  (5, 3)", "torch.nn.Linear", "def forward", "def backward", "np.dot(rows_dy.T, rows_x)"),
    ):
        assert part in text
    data = json.loads(refbp("show", "BatchNorm1d", "--json").stdout)
    assert data["buffers"]["running_mean"]
    assert data["fields"]["eps"]["default"] == "1e-05"


def test_a_plugins_prints_do_not_end_up_in_json(tmp_path):
    (tmp_path / "chatty.py").write_text("print('hello')\nimport nonsense_module")
    assert json.loads(refbp("list", "--json", "--plugins-dir", tmp_path).stdout)


def test_a_closed_pipe_is_no_traceback():
    run = subprocess.run(
        f"{sys.executable} -m refbp show LSTM | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert run.stdout.startswith("LSTM")
    assert run.stderr == ""


def test_new_writes_a_plugin_that_passes_and_never_overwrites(tmp_path):
    for kind, name, file in (("layer", "SoftClip", "soft_clip.py"), ("loss", "LogCosh", "log_cosh.py")):
        made = refbp("new", kind, name, cwd=tmp_path)
        assert made.returncode == 0
        assert f"refbp verify {name} --plugins-dir {file}" in made.stdout
        proven = refbp("verify", name, "--plugins-dir", file, cwd=tmp_path)
        assert proven.returncode == 0, proven.stdout
        assert "0 not tested" in proven.stdout
        (tmp_path / file).write_text("mine")
        again = refbp("new", kind, name, cwd=tmp_path)
        assert again.returncode == 2
        assert "was left as it is" in again.stderr
        assert (tmp_path / file).read_text() == "mine"


@pytest.mark.parametrize("name", ["soft", "Soft Clip", "../Evil", "Linear", "1st", ""])
def test_new_refuses_what_is_no_class_name_or_is_taken(tmp_path, name):
    run = refbp("new", "layer", name, cwd=tmp_path)
    assert run.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_gives_torchs_value_and_the_one_sided_slopes():
    rows = json.loads(refbp("ledger", "ReLU", "CELU", "--json").stdout)
    kink = next(r for r in rows if r["op"] == "ReLU")
    assert (kink["point"], kink["torch"], kink["slopes"]) == ("x = 0", "0", "0 | 1")
    waiver = next(r for r in rows if r["op"] == "CELU" and "alpha" in r["what"])
    assert waiver["torch"] != waiver["witness"]
    assert waiver["torch"][:6] == waiver["witness"][:6]


def test_an_interrupt_while_processes_are_starting_is_one_line():
    asked = [sys.executable, "-m", "refbp", "verify", "--jobs", "2"]
    run = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout.readline().startswith("refbp")  # by then a server for the others is importing torch
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert said.split() == ["refbp:", "interrupted."]
