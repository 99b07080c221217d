"""Gradient descent on data sets: what is read, what is refused, what is learned, what is kept, and torch beside it."""

import dataclasses
import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from refbp import notation, optim
from refbp.cli import cli
from refbp.conformance import alongside
from refbp.conformance.alongside import Alongside
from refbp.errors import ArgumentError, RefbpError, UnknownNameError
from refbp.layers import (
    BatchNorm1d,
    Conv2d,
    Dropout,
    Flatten,
    Graph,
    Linear,
    ReLU,
    Sequential,
    Tanh,
    TransformerEncoder,
    TransformerEncoderLayer,
    Unflatten,
)
from refbp.losses import CrossEntropyLoss, MSELoss
from refbp.network import evaluation
from refbp.optim import SGD, Adam
from refbp.training import asked, checkpoint, curve, data, loop
from refbp.training.checkpoint import Checkpoint, Epoch

pytestmark = pytest.mark.usefixtures("one_registry")
DIGITS = Path(__file__).parent / "data" / "digits.npz"
MLP = "Linear(64,64) ReLU Linear(64,10) CrossEntropyLoss"
NOISY = "Linear(64,32) BatchNorm1d(32) ReLU Dropout(0.2) Linear(32,10) CrossEntropyLoss"


def train(*arguments):
    """The command in this process; its exit code."""
    return cli.main(["train", *map(str, arguments)], standalone_mode=False)


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {n: file[n] for n in file.files}


def assert_same_run(one, other):
    ours, theirs = arrays(one), arrays(other)
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        if name == "train/about":
            assert json.loads(str(array)) == json.loads(str(theirs[name]))
        else:
            assert np.array_equal(array, theirs[name], equal_nan=True), name


@pytest.fixture
def table(tmp_path):
    """Sixty rows of three features, a number that depends on them, and a label."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    rows = np.c_[x, x @ [1.0, -2.0, 0.5] + 0.1]
    np.savetxt(tmp_path / "numbers.csv", rows, delimiter=",", header="a,b,c,y", comments="")
    np.savetxt(tmp_path / "labels.csv", np.c_[x, rng.integers(0, 3, 60)], delimiter=";")
    return tmp_path


# Reading --------------------------------------------------------------------------------------------------------------

WRONG_CSV = {
    "a,b,y\n1,2,0\n3,foo,1\n": r"line 3, column 2 \(b\): 'foo' is no number",
    "1,2,0\n3,nan,1\n": r"line 2, column 2: nan is given; wanted finite numbers",
    "1,2,0\n3,inf,1\n": r"line 2, column 2: inf is given",
    "1,2,0\n3,,1\n": r"line 2, column 2: nothing is there",
    "1,2,0\n3,1\n": r"line 2: 2 columns; wanted 3",
    "": r"is empty; wanted rows of numbers",
    "\n\n": r"is empty",
    "a,b,c\n": r"has a heading and no rows",
    "1\n2\n": r"has 1 column; wanted at least 2",
}


@pytest.mark.parametrize("text", WRONG_CSV)
def test_a_mistake_in_a_csv_file_is_said_with_its_place(text, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(RefbpError, match=WRONG_CSV[text]) as caught:
        data.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_NPZ = {
    "objects": ({"x": np.array([1, "a"], object), "y": np.zeros(2)}, "holds Python objects"),
    "three": ({"a": np.ones((2, 2)), "b": np.ones(2), "c": np.ones(2)}, "holds a, b and c: say which array has the inputs"),
    "lengths": ({"x": np.ones((3, 2)), "y": np.ones(2)}, "has 3 inputs and 2 targets"),
    "nan": ({"x": np.array([[1.0, np.nan]]), "y": np.ones(1)}, r"the inputs hold nan at \[0, 1\]"),
    "text": ({"x": np.array(["a", "b"]), "y": np.ones(2)}, "the inputs are <U1; wanted numbers"),
    "none": ({"x": np.ones((0, 2)), "y": np.ones(0)}, "holds no samples"),
    "scalar": ({"x": np.ones(()), "y": np.ones(2)}, "the inputs are a single number"),
}


@pytest.mark.parametrize("name", WRONG_NPZ)
def test_a_mistake_in_an_npz_file_is_said(name, tmp_path):
    content, sentence = WRONG_NPZ[name]
    np.savez(tmp_path / "data.npz", **content)
    with pytest.raises(RefbpError, match=sentence):
        data.read(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.npz", None, "does not exist"),
        ("empty.npz", b"", "it is empty"),
        ("bad.npz", b"PK\x03\x04 no archive", "no npz file"),
        ("bad.csv", b"\xff\xfe\x00", "not text in UTF-8"),
        ("data.xlsx", b"", "neither .csv nor .npz"),
        (".", None, "is a folder"),
    ],
)
def test_a_file_that_is_no_data_set_is_said(name, content, sentence, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RefbpError, match=sentence):
        data.read(tmp_path / name)


def test_columns_and_arrays_are_taken_by_name_or_by_place(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n4,5.5,6\n")
    assert data.read(tmp_path / "t.csv").target.tolist() == [[3], [6]]
    assert data.read(tmp_path / "t.csv", targets="2").target.tolist() == [[2.0, 3.0], [5.5, 6.0]]
    named = data.read(tmp_path / "t.csv", inputs="c,a", targets="b")
    assert named.x.tolist() == [[3, 1], [6, 4]]
    assert named.x.dtype == np.int64
    assert named.target.dtype == np.float64
    with pytest.raises(ArgumentError, match=r"no column 'd'.*it has a, b and c"):
        data.read(tmp_path / "t.csv", targets="d")
    np.savez(tmp_path / "t.npz", images=np.ones((2, 3)), other=np.zeros(2), labels=np.arange(2))
    assert data.read(tmp_path / "t.npz").target.tolist() == [0, 1]
    assert data.read(tmp_path / "t.npz", targets="other").target.tolist() == [0, 0]
    with pytest.raises(ArgumentError, match="no array 'lable'; did you mean labels"):
        data.read(tmp_path / "t.npz", targets="lable")


@pytest.mark.parametrize(
    ("network", "file", "sentence"),
    [
        ("Linear(4,3) CrossEntropyLoss", "labels.csv", r"inputs \(3,\) and targets \(1,\).*wanted \(\*, in_features=4\)"),
        (
            "Linear(3,2) CrossEntropyLoss",
            "labels.csv",
            r"sample \d+ has the label 2; wanted 0 to 1, for the network has 2 outputs",
        ),
        ("Linear(3,3) MSELoss", "labels.csv", "a target is 1 number and a prediction 3; wanted as many"),
        ("Linear(3,3) CrossEntropyLoss", "numbers.csv", "are no whole numbers; CrossEntropyLoss.. wants class labels, 0 to 2"),
        ("Linear(3,3)", "labels.csv", "the network has no loss"),
        ("Linear(3,3) TripletMarginLoss", "labels.csv", "takes anchor, positive and negative; wanted a loss of one prediction"),
        ("Linear(3,1) MSELoss(reduction='none')", "numbers.csv", "wanted one number: reduction='mean' or 'sum'"),
        ("LSTM(3,3) MSELoss", "numbers.csv", r"has several outputs.*Graph\('y = LSTM\(3, 3.*\)\(x\); z = Identity\(y\)'\)"),
        ("Linear(3,3) Flatten(0) MSELoss", "numbers.csv", r"returns \(6,\) for 2 samples; wanted 2 predictions"),
    ],
)
def test_data_that_a_network_does_not_take_is_one_sentence_and_nothing_is_written(network, file, sentence, table, monkeypatch):
    monkeypatch.chdir(table)
    before = sorted(os.listdir(table))
    with pytest.raises(RefbpError, match=sentence) as caught:
        train(network, "--data", file)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(table)) == before


def test_the_label_that_is_out_of_range_is_named_by_its_place_in_the_file(table, monkeypatch):
    monkeypatch.chdir(table)
    lines = (table / "labels.csv").read_text().splitlines()
    lines[40] = ";".join([*lines[40].split(";")[:3], "9"])
    (table / "labels.csv").write_text("\n".join(lines))
    with pytest.raises(RefbpError, match="sample 41 has the label 9; wanted 0 to 2"):
        train("Linear(3,3) CrossEntropyLoss", "--data", "labels.csv", "--no-save")


@pytest.mark.parametrize("text", ["SGDD", "SGD(lr=x)", "SGD(lrr=1)", "SGD(lr=-1)", "SGD(", "optim.SGD()", "Optimizer()", ""])
def test_an_optimizer_that_is_none_is_one_sentence(text):
    with pytest.raises((ArgumentError, UnknownNameError), match=r"wanted|known"):
        asked.optimizer(text)


def test_an_optimizer_reads_as_it_is_written():
    assert asked.optimizer("SGD(lr=0.1, momentum=0.9)") == SGD(lr=0.1, momentum=0.9)
    assert asked.optimizer("Adam", lr=0.5) == Adam(lr=0.5)
    for name in (n for n in optim.__all__ if n != "Optimizer"):
        made = getattr(optim, name)()
        assert asked.optimizer(repr(made)) == made


# Learning -------------------------------------------------------------------------------------------------------------


def test_the_digits_are_learned_to_97_percent_beside_torch(tmp_path, monkeypatch, capsys):
    """By the very command of the README."""
    root = Path(__file__).parents[1]
    (line,) = re.findall(r"^\$ refbp (train .* --against torch .*)$", (root / "README.md").read_text(), flags=re.M)
    arguments = [str(DIGITS) if word == "tests/data/digits.npz" else word for word in shlex.split(line)]
    monkeypatch.chdir(tmp_path)
    assert train(*arguments[1:], "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["history"][-1]["accuracy"] >= 0.97
    assert found["samples"] + found["tested"] == 1797
    beside = found["against_torch"]
    assert beside["steps"] == 20 * 45
    assert beside["apart_over_first_200"] < 1e-10
    assert beside["parting"] is None or beside["parting"]["wrong"] == ""
    assert sorted(os.listdir(tmp_path)) == ["curve.svg", "run.npz"]


def test_training_needs_no_torch_and_no_rich():
    code = (
        f"import sys; from refbp.cli import cli; cli.main(['train', {MLP!r}, '--data', {str(DIGITS)!r}, '--epochs', '1',"
        " '--no-save'], standalone_mode=False); print([m for m in ('torch', 'rich') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_a_regression_finds_the_line(table, monkeypatch, capsys):
    monkeypatch.chdir(table)
    assert train("Linear(3,1) MSELoss", "--data", "numbers.csv", "--optimizer", "SGD(lr=0.1)", "--save", "line.npz") == 0
    learned = arrays("line.npz")
    np.testing.assert_allclose(learned["0.weight"], [[1.0, -2.0, 0.5]], atol=0.02)
    np.testing.assert_allclose(learned["0.bias"], [0.1], atol=0.02)
    out = capsys.readouterr().out
    assert "4 parameters" in out
    assert "epoch 30/30  loss" in out
    assert "line.npz holds the run after epoch 30" in out


def _loop(net, loss, samples, optimizer, batch=8, seed=0):
    state = net.init(np.random.default_rng(seed))
    problem = loop.prepared(net, loss, samples, None, state, np.float64)
    return loop.Loop(problem, optimizer, batch, seed), loop.started(optimizer, state, {})


def test_every_sample_is_learned_from_once_an_epoch_in_batches_of_equal_size():
    x = np.arange(21.0).reshape(21, 1)
    run, begun = _loop(Sequential(Linear(1, 1)), MSELoss(), data.Data("numbers", x, x), SGD(lr=0.0), batch=8)
    met = []

    class Companion:
        def noise(self, x, target):
            met.append(x[:, 0])
            return ()

        def step(self, *_):
            pass

    *_, after = run.epoch(1, begun, Companion())
    assert sorted(len(b) for b in met) == [7, 7, 7]
    assert sorted(np.concatenate(met)) == list(range(21))
    first = [b.tolist() for b in met]
    *_, _ = run.epoch(2, after, Companion())
    assert [b.tolist() for b in met[3:]] != first
    assert after.steps == 3


def test_standardised_inputs_have_mean_0_and_deviation_1_and_constants_stay_finite():
    x = np.c_[np.arange(5.0), np.full(5, 3.0)]
    scaled = data.Scale.of(x)(x)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(scaled.std(0), [1, 0], atol=1e-15)


def test_evaluation_turns_every_part_at_any_depth():
    layer = TransformerEncoderLayer(4, 2, 8)
    net = Sequential(
        Dropout(0.5), Sequential(BatchNorm1d(4)), Graph("y = x + Dropout(Linear(4, 4)(x))"), TransformerEncoder(layer, 2)
    )
    quiet = evaluation(net)
    assert net.noisy
    assert not quiet.noisy
    assert repr(quiet).count("training=False") == 4
    assert list(quiet.params()) == list(net.params())
    plain = Sequential(Linear(2, 2), Graph("y = x + Tanh(x)"))
    assert evaluation(plain) == plain


def test_images_and_tokens_are_taken_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("images.npz", images=rng.normal(size=(40, 1, 8, 8)), labels=rng.integers(0, 3, 40))
    np.savez("tokens.npz", x=rng.integers(0, 7, (40, 5)), y=rng.integers(0, 3, 40))
    conv = "Conv2d(1,4,3) BatchNorm2d(4) ReLU Dropout2d(0.2) Flatten Linear(144,3) CrossEntropyLoss"
    assert train(conv, "--data", "images.npz", "--epochs", 2, "--against", "torch", "--no-save") == 0
    tokens = 'Embedding(7,4) Graph("y = GRU(4,6,batch_first=True)(x); z = Identity(y)") Flatten Linear(30,3) CrossEntropyLoss'
    assert train(tokens, "--data", "tokens.npz", "--epochs", 2, "--against", "torch", "--no-save", "--dtype", "float32") == 0


@pytest.mark.parametrize("lr", ["1000", "1e300"])
def test_a_diverging_learning_rate_is_one_sentence_and_loses_nothing(lr, table, monkeypatch):
    monkeypatch.chdir(table)
    arguments = ("Linear(3,8) Tanh Linear(8,1) MSELoss", "--data", "numbers.csv", "--optimizer", "SGD")
    assert train(*arguments, "--lr", 0.1, "--epochs", 2, "--save", "good.npz") == 0
    kept = (table / "good.npz").read_bytes()
    with pytest.raises(
        RefbpError, match=r"with lr=.* gradient descent diverges; try a smaller one.*good.npz holds the run after"
    ):
        train("--resume", "good.npz", "--lr", lr, "--epochs", 9)
    assert (table / "good.npz").read_bytes() == kept
    with pytest.raises(RefbpError, match="diverges"):
        train(*arguments, "--lr", lr, "--save", "bad.npz")
    assert not (table / "bad.npz").exists()


# Keeping --------------------------------------------------------------------------------------------------------------


def test_a_run_that_is_taken_up_again_goes_exactly_where_it_would_have_gone(tmp_path, monkeypatch):
    """With batch statistics, noise, momentum: state, buffers, memory, history are equal bit by bit."""
    monkeypatch.chdir(tmp_path)
    arguments = (NOISY, "--data", DIGITS, "--standardize", "--optimizer", "NAdam(lr=0.003)", "--seed", 3)
    assert train(*arguments, "--epochs", 4, "--save", "whole.npz") == 0
    assert train(*arguments, "--epochs", 2, "--save", "half.npz") == 0
    assert train("--resume", "half.npz", "--epochs", 4) == 0
    assert_same_run("half.npz", "whole.npz")
    assert [e.number for e in checkpoint.read("whole.npz").history] == [1, 2, 3, 4]


def test_the_file_is_plain_arrays_and_trace_takes_it_as_a_state(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train(NOISY, "--data", DIGITS, "--epochs", 1) == 0
    found = arrays("run.npz")
    assert all(a.dtype.kind in "fiuU" for a in found.values())
    assert {"0.weight", "1.running_mean", "1.num_batches_tracked", "train/memory/0.weight.exp_avg"} <= set(found)
    kept = checkpoint.read("run.npz")
    assert kept.state.buffers == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    capsys.readouterr()
    quiet = NOISY.replace("BatchNorm1d(32)", "BatchNorm1d(32,training=False)").replace("Dropout(0.2)", "Identity")
    command = ["trace", quiet, "--input", "normal(2, 64)", "--target", "1;2", "--state", "run.npz"]
    assert cli.main(command, standalone_mode=False) == 0


def _interrupted(tmp_path, how, after):
    """A run of many epochs, ended from outside as soon as it says that an epoch is done."""
    command = [sys.executable, "-m", "refbp", "train", NOISY, "--data", str(DIGITS), "--epochs", "500", "--save", "cut.npz"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith(f"epoch   {after}/500"):
            process.send_signal(how)
            break
    out, err = process.communicate()
    return process.returncode, out, err


def test_ctrl_c_loses_at_most_one_epoch(tmp_path, monkeypatch):
    code, out, err = _interrupted(tmp_path, signal.SIGINT, 3)
    assert code == 130
    assert err.strip() == "refbp: interrupted."
    monkeypatch.chdir(tmp_path)
    kept = checkpoint.read("cut.npz")
    assert kept.epoch >= 3
    assert f"interrupted: cut.npz holds the run after epoch {kept.epoch}; refbp train --resume cut.npz" in out
    assert os.listdir(tmp_path) == ["cut.npz"]
    assert train("--resume", "cut.npz", "--epochs", kept.epoch + 1) == 0
    assert train(NOISY, "--data", DIGITS, "--epochs", kept.epoch + 1, "--save", "whole.npz") == 0
    ours, theirs = arrays("cut.npz"), arrays("whole.npz")
    assert all(np.array_equal(ours[n], theirs[n]) for n in theirs if n != "train/about")


def test_a_killed_run_loses_at_most_one_epoch(tmp_path):
    _interrupted(tmp_path, signal.SIGKILL, 2)
    assert checkpoint.read(tmp_path / "cut.npz").epoch >= 2


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_file_is_replaced_whole_or_not_at_all(where, tmp_path, monkeypatch):
    run = Checkpoint(Linear(2, 2).init(np.random.default_rng(0)), {}, (Epoch(1, 0.5),), {"batch": 8}, 3)
    checkpoint.write(tmp_path / "run.npz", run)
    before = (tmp_path / "run.npz").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, where, full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path / "run.npz", dataclasses.replace(run, steps=9))
    assert os.listdir(tmp_path) == ["run.npz"]
    assert (tmp_path / "run.npz").read_bytes() == before


def test_no_file_of_the_users_is_overwritten(table, monkeypatch):
    monkeypatch.chdir(table)
    arguments = ("Linear(3,1) MSELoss", "--data", "numbers.csv", "--epochs", 1)
    (table / "run.npz").write_text("mine")
    assert train(*arguments) == 0
    assert (table / "run.npz").read_text() == "mine"
    assert checkpoint.read("run-2.npz").epoch == 1
    with pytest.raises(Exception, match=r"run.npz exists: --resume run.npz goes on with it"):
        train(*arguments, "--save", "run.npz")
    with pytest.raises(Exception, match=r"run.npz exists: save to another file"):
        train("--resume", "run-2.npz", "--epochs", 2, "--save", "run.npz")
    with pytest.raises(Exception, match="the folder nowhere does not exist"):
        train(*arguments, "--save", "nowhere/run.npz")
    with pytest.raises(FileExistsError):
        checkpoint.write(Path("run.npz"), checkpoint.read("run-2.npz"), new=True)
    assert (table / "run.npz").read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--batch", 16], "was begun with --batch 8: leave --batch out"),
        (["--optimizer", "SGD"], "was begun with --optimizer Adam"),
        (["--epochs", 2], "has all its 2 epochs: --epochs 4 goes on"),
        (["Linear(3,2) Linear(2,1) MSELoss", "--epochs", 4], "leave the network out"),
        (["--data", "labels.csv", "--epochs", 4], "is not what the run was begun with"),
        (["--against", "torch", "--epochs", 4], "leave one of them out"),
    ],
)
def test_a_run_is_resumed_as_it_was_begun(given, sentence, table, monkeypatch):
    monkeypatch.chdir(table)
    assert train("Linear(3,1) MSELoss", "--data", "numbers.csv", "--epochs", 2, "--batch", 8) == 0
    kept = (table / "run.npz").read_bytes()
    with pytest.raises(Exception, match=sentence):
        train(*given[: len(given) % 2], "--resume", "run.npz", *given[len(given) % 2 :])
    assert (table / "run.npz").read_bytes() == kept


@pytest.mark.parametrize("what", ["not an archive", "another archive", "cut short", "another network"])
def test_a_file_that_holds_no_run_is_one_sentence(what, table, monkeypatch):
    monkeypatch.chdir(table)
    assert train("Linear(3,1) MSELoss", "--data", "numbers.csv", "--epochs", 1) == 0
    path = table / "run.npz"
    if what == "not an archive":
        path.write_text("hello")
    elif what == "another archive":
        np.savez(path, x=np.ones(3))
    elif what == "cut short":
        path.write_bytes(path.read_bytes()[:-300])
    else:
        np.savez(path, **{**arrays(path), "0.weight": np.ones((2, 2))})
    with pytest.raises(RefbpError, match=r"is no run of refbp train|holds 0\.weight \(2, 2\), the network \(1, 3\)"):
        train("--resume", "run.npz", "--epochs", 2)


# The curve ------------------------------------------------------------------------------------------------------------

HISTORY = [Epoch(n, 2.0 * 0.7**n, 1.0 + 1.0 / n, 0.5) for n in range(1, 31)]


@pytest.mark.parametrize("width", [40, 72, 10_000])
def test_the_curve_fits_and_falls(width):
    lines = curve.text(HISTORY, width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[0].strip() == "● loss  ○ test loss (log)"
    first = next(i for i, line in enumerate(lines[1:]) if "●" in line)
    last = max(i for i, line in enumerate(lines[1:]) if "●" in line)
    assert first == 0
    assert last == 9
    assert lines[-1].split() == ["1", "30"]
    assert curve.text(HISTORY[:3]) == ""


def test_a_flat_curve_and_one_without_a_test_are_drawn():
    flat = [Epoch(n, 0.0) for n in range(1, 6)]
    assert "○" not in curve.text(flat)
    assert curve.text(flat).count("●") == 5 + 1
    ElementTree.fromstring(curve.svg(flat, "flat"))


def test_the_picture_is_svg_with_both_curves_and_says_what_it_shows():
    root = ElementTree.fromstring(curve.svg(HISTORY, 'Linear(2, 2) <&> "loss"'))
    name = "{http://www.w3.org/2000/svg}"
    lines = [line.get("points").split() for line in root.iter(f"{name}polyline")]
    assert [len(points) for points in lines] == [30, 30]
    heights = [float(p.split(",")[1]) for p in lines[0]]
    assert heights == sorted(heights)
    assert root.find(f"{name}title").text == 'Linear(2, 2) <&> "loss"'
    assert "prefers-color-scheme: dark" in root.find(f"{name}style").text


def test_svg_and_json_are_written(table, monkeypatch, capsys):
    monkeypatch.chdir(table)
    arguments = (
        "Linear(3,3) CrossEntropyLoss",
        "--data",
        "labels.csv",
        "--epochs",
        5,
        "--no-save",
        "--svg",
        "curve.svg",
        "--json",
    )
    assert train(*arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert [e["number"] for e in found["history"]] == [1, 2, 3, 4, 5]
    assert found["parameters"] == 12
    assert found["saved"] is None
    assert ElementTree.parse("curve.svg").getroot().tag.endswith("svg")
    with pytest.raises(Exception, match="the folder nowhere does not exist"):
        train(*arguments[:-3], "--svg", "nowhere/curve.svg")


# Torch beside it ------------------------------------------------------------------------------------------------------


def _beside(net, optimizer, steps, loss=None, dtype=np.float64, seed=0):
    """So many steps on the digits, with torch beside them."""
    digits = data.read(DIGITS)
    digits = dataclasses.replace(digits, x=digits.x / 16)  # else units saturate, where torch's tanh has no slope left
    loss = loss or CrossEntropyLoss()
    state = net.init(np.random.default_rng(seed), dtype)
    problem = loop.prepared(net, loss, digits[np.arange(320)], None, state, dtype)
    run = loop.Loop(problem, optimizer, 32, seed)
    torch = Alongside(net, loss, optimizer, state, seed)
    now, number = loop.started(optimizer, state, {}), 0
    while torch.steps < steps and not torch.wrong:
        number += 1
        for found in run.epoch(number, now, torch):
            now = found if isinstance(found, Checkpoint) else now
            if torch.wrong or torch.steps >= steps:
                break
    return torch


@pytest.mark.parametrize("name", [n for n in optim.__all__ if n != "Optimizer"])
def test_torch_takes_the_same_steps_with_every_optimizer(name):
    net = Sequential(Linear(64, 16), Tanh(), Linear(16, 10))
    torch = _beside(net, getattr(optim, name)(), 20)
    assert torch.steps == 20
    assert torch.first < 1e-10
    assert torch.parting is None


def test_torch_takes_the_same_steps_with_noise_buffers_and_branches():
    net = Sequential(
        Unflatten(1, (1, 8, 8)), Conv2d(1, 3, 3), ReLU(), Flatten(), Linear(108, 12), BatchNorm1d(12), Dropout(0.3),
        Graph("y = x + Dropout(Tanh(Linear(12, 12)(x)), p=0.4)"), Linear(12, 10),
    )  # fmt: skip
    torch = _beside(net, SGD(lr=0.05, momentum=0.9), 60)
    assert torch.steps == 60
    assert torch.worst < 1e-10
    assert torch.parting is None


def test_a_wrong_layer_is_named_at_the_step_where_the_trajectories_part(monkeypatch):
    right = Tanh.backward
    monkeypatch.setattr(Tanh, "backward", lambda self, saved, dy: type(g := right(self, saved, dy))(g.inputs[0] * 1.001))
    torch = _beside(Sequential(Linear(64, 16), Tanh(), Linear(16, 10)), SGD(lr=0.01), 5)
    assert torch.wrong
    assert (torch.parting.step, torch.parting.wrong) == (1, "Tanh")
    assert torch.parting.why.startswith("Tanh, part 1: torch autograd and the numerical witness agree")


def test_a_mistake_that_shows_late_is_named_when_it_shows(monkeypatch):
    """Right at first: what is wrong appears once a unit saturates."""
    right = Tanh.backward

    def late(self, saved, dy):
        grads = right(self, saved, dy)
        late.calls += 1
        return type(grads)(grads.inputs[0] * (1.5 if late.calls > 40 else 1))

    late.calls = 0
    monkeypatch.setattr(Tanh, "backward", late)
    torch = _beside(Sequential(Linear(64, 16), Tanh(), Linear(16, 10)), SGD(lr=0.01), 60)
    assert torch.parting.wrong == "Tanh"
    assert 20 < torch.parting.step < 60


def test_a_wrong_optimizer_is_named(monkeypatch):
    right = SGD.update

    def wrong(self, x, g, t, memory):
        new, slots = right(self, x, g, t, memory)
        return x + 1.01 * (new - x), slots

    monkeypatch.setattr(SGD, "update", wrong)
    torch = _beside(Sequential(Linear(64, 16), Tanh(), Linear(16, 10)), SGD(lr=0.01, momentum=0.9), 5)
    assert torch.parting.wrong == "SGD"
    assert "by the same gradient its step of" in torch.parting.why


def test_trajectories_that_part_by_rounding_are_said_to(monkeypatch):
    monkeypatch.setitem(alongside.APART, "float64", 1e-15)
    torch = _beside(Sequential(Linear(64, 16), Tanh(), Linear(16, 10)), Adam(lr=0.01), 60)
    assert torch.steps == 60
    assert not torch.wrong
    assert torch.parting.why.startswith("rounding: at one θ")
    assert torch.parting.entry
    assert torch.parting.step > 1


def test_the_command_names_a_wrong_layer_and_exits_with_1(tmp_path, monkeypatch, capsys):
    from test_fuzz import WRONG

    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.py").write_text(WRONG)
    network = "Linear(64,16) Squash Linear(16,10) CrossEntropyLoss"
    assert train(network, "--data", DIGITS, "--against", "torch", "--plugins-dir", "wrong.py") == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert "they part at step 1" in said.out
    assert "Squash, part 1" in said.out
    assert set(os.listdir(tmp_path)) - {"__pycache__"} == {"wrong.py"}


def test_what_is_printed_can_be_read_again():
    assert notation.layer("Sequential(Linear(2, 2))") == Sequential(Linear(2, 2))
    assert asked.written(Sequential(Linear(2, 2), Tanh())) == "Linear(2, 2) Tanh()"
    assert asked.written(Sequential({"first": Tanh()})) == "Sequential({'first': Tanh()})"
