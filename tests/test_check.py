"""refbp check: verdicts that must be earned, what cannot be read, and what a command line does when things go wrong."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from command import refbp

from refbp import Case, Hardshrink, MaxPool2d, ReLU, exactly, normal, registry
from refbp.oracle import checking, submission
from refbp.oracle.callers import Local
from refbp.oracle.checking import Asked, check_exercise
from refbp.oracle.exercise import Exercise
from refbp.oracle.isolation import Limits


def exercise(layer, usual, kink):
    """One layer as an exercise, with a case at the kink."""
    return Exercise(
        "back",
        forward="y, cache = forward(x)",
        backward="dx = back(dout, cache)",
        arrays={"x": "x"},
        outputs={"y": "y"},
        upstream={"dout": "y"},
        tiers={"std": [Case(layer, usual)], "kink": [Case(layer, kink)]},
    )


def verdicts(ex, forward, back):
    return [r.verdict for r in check_exercise(ex, Local({"forward": forward, "back": back}), None, None, Asked(7))]


# Another convention at a kink is between the one-sided derivatives ----------------------------------------------------

RELU = exercise(ReLU(), normal(3, 4), exactly([[0.0, 1.0, -1.0], [2.0, 0.0, -0.0]]))
SLOPES = {
    "one": (1.0, "kink-only"),
    "half": (0.5, "kink-only"),
    "torchs": (0.0, "ok"),
    "three": (3.0, "wrong"),
    "negative": (-0.5, "wrong"),
    "nan": (np.nan, "wrong"),
}


@pytest.mark.parametrize("name", SLOPES)
def test_a_slope_at_zero_is_a_convention_between_the_slopes_beside_it_and_wrong_beyond(name):
    slope, verdict = SLOPES[name]
    found = verdicts(RELU, lambda x: (np.maximum(x, 0), x), lambda dy, x: dy * np.where(x == 0, slope, x > 0))
    assert found == ["ok", verdict]


def pool(x):
    n, c, h, w = x.shape
    windows = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    return windows.max(-1), windows


def unpool(share):
    def back(dy, windows):
        dx = share(windows == windows.max(-1, keepdims=True)) * dy[..., None]
        n, c, h, w, _ = dx.shape
        return dx.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)

    return back


def test_at_ties_any_share_of_the_gradient_is_a_convention_and_twice_of_it_is_wrong():
    ex = exercise(MaxPool2d(2), normal(2, 3, 4, 6), exactly(np.ones((1, 1, 4, 4)).tolist()))
    assert verdicts(ex, pool, unpool(lambda m: m)) == ["ok", "kink-only"]
    assert verdicts(ex, pool, unpool(lambda m: m / m.sum(-1, keepdims=True))) == ["ok", "kink-only"]
    assert verdicts(ex, pool, unpool(lambda m: m * np.where(m.sum(-1, keepdims=True) > 1, 2, 1))) == ["ok", "wrong"]


def test_a_forward_may_choose_at_a_jump_and_not_elsewhere():
    ex = exercise(Hardshrink(0.5), normal(3, 4), exactly(0.5, -0.5, 2.0))
    for at, verdict in ((0.0, "ok"), (0.25, "kink-only"), (0.7, "wrong")):
        forward = lambda x: (np.where(np.abs(x) > 0.5, x, np.where(np.abs(x) == 0.5, np.sign(x) * at, 0)), x)  # noqa: B023, E731
        assert verdicts(ex, forward, lambda dy, x: dy * (np.abs(x) > 0.5))[0] == verdict


# What cannot be read: one sentence, exit code 2 -----------------------------------------------------------------------

RELU_FILE = """import numpy as np
def relu_forward(x):
    return np.maximum(x, 0), x
def relu_backward(dout, cache):
    return dout * (cache > 0)
"""
UNREADABLE = {
    "missing": ("nothing.py", None, r"nothing\.py does not exist"),
    "folder without Python": ("empty/", None, "is a folder without Python files: give the folder that has them"),
    "empty file": ("layers.py", b"", r"layers\.py is empty: there is nothing to check"),
    "no functions": ("layers.py", b"x = 1\n", "is a file without functions and classes"),
    "syntax error": ("layers.py", b"def f(:\n", r"layers\.py:1 is not Python that can be read: invalid syntax"),
    "Python 2": ("layers.py", b"def f():\n    print 'hi'\n", r"layers\.py:2 .* it is written for Python 2 \(print without"),
    "tabs and spaces": ("layers.py", b"def f():\n\tif 1:\n        return 1\n", "it mixes tabs and spaces"),
    "binary": ("layers.py", b"\x7fELF\x00\x00", "it is a binary file, or not in UTF-8"),
    "another encoding": ("layers.py", "d\u00e9f".encode("utf-16"), "it is a binary file, or not in UTF-8"),
    "no such encoding": ("layers.py", b"# -*- coding: nonsense -*-\n", "unknown encoding: nonsense"),
    "notebook": ("a.ipynb", b'{"cells": [{"cell_type": "code"}]}', r"is a notebook \(1 code cells\): .* refbp\.check\(forward"),
    "broken notebook": ("a.ipynb", b"{", "is a notebook that cannot be read"),
    "no Python": ("layers.txt", b"def f(): pass", "is no Python file"),
    "of no course": (
        "layers.py",
        b"def hello(): pass\n",
        "no course has functions called hello: name the course .*--like",
    ),
    "missing function": ("layers.py::relu_forwrd", RELU_FILE.encode(), "defines no relu_forwrd; did you mean relu_forward"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_one_sentence(what, tmp_path):
    name, content, sentence = UNREADABLE[what]
    path = tmp_path / name.split("::")[0]
    if content is not None:
        path.write_bytes(content)
    elif name.endswith("/"):
        path.mkdir()
    run = refbp("check", tmp_path / name)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("refbp: ")
    assert run.stderr.count("\n") == 1
    assert re.search(sentence, run.stderr)


def test_a_pipe_and_a_folder_that_may_not_be_entered_are_one_sentence(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(submission.UnreadableError, match=r"pipe\.py is no file"):
        submission.read(tmp_path / "pipe.py")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may enter any
    with pytest.raises(submission.UnreadableError, match="cannot be read: permission denied"):
        submission.read(tmp_path)


def test_one_broken_file_of_a_folder_does_not_stop_the_others(tmp_path):
    (tmp_path / "good.py").write_text(RELU_FILE)
    (tmp_path / "broken.py").write_text("def f(:")
    found = submission.read(tmp_path)
    assert [bool(f.error) for f in found.files] == [True, False]
    assert found.home(("relu_forward", "relu_backward")).path == tmp_path / "good.py"


WRONG_USE = {
    "--course nope": "no course is called 'nope'; known: ",
    "--as nope": "cs231n has no exercise 'nope'",
    "--like Conv3": "no layer or loss is called 'Conv3'; did you mean Conv3d",
    "--like Conv2d(1": "'Conv2d(1' cannot be read",
    "--like ReLU --course cs231n": "--like is for functions of no course: leave out --course and --as",
    "--seed -1": "-1 is not in the range",
}


@pytest.mark.parametrize("options", WRONG_USE)
def test_wrong_use_is_one_sentence_and_exit_code_2(options, tmp_path):
    (tmp_path / "layers.py").write_text(RELU_FILE)
    run = refbp("check", tmp_path / "layers.py", *options.split(" "))
    assert run.returncode == 2
    assert WRONG_USE[options] in run.stderr
    assert "Traceback" not in run.stderr


# What goes wrong inside -----------------------------------------------------------------------------------------------

TROUBLE = """import sys, time
import numpy as np
def relu_forward(x):
    return np.maximum(x.astype(np.float), 0), x
def relu_backward(dout, cache):
    return dout * (cache > 0)
def affine_forward(x, w, b):
    print("y" * 20_000_000)
    return x.reshape(len(x), -1) @ w + b, (x, w)
def affine_backward(dout, cache):
    return dout, dout, dout
def dropout_forward(x, dropout_param):
    sys.exit(0)
def dropout_backward(dout, cache):
    return dout
def word_embedding_forward(x, W):
    return W[x], (x, W)
def word_embedding_backward(dout, cache):
    time.sleep(1e9)
def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    pass
def lstm_step_backward(dnext_h, dnext_c, cache):
    raise NotImplementedError
"""
VERDICTS = {
    "relu_forward": ("environment", "np.float was removed from NumPy: write float"),
    "affine_forward": ("raises", "gives or prints too much"),
    "dropout_forward": ("raises", "raises SystemExit"),
    "word_embedding_backward": ("timeout", "did not answer in time: stopped after 0.7 s"),
    "lstm_step_forward": ("not implemented", "its body is pass"),
}


def test_each_trouble_has_its_verdict_and_stops_nothing_else(tmp_path):
    (tmp_path / "layers.py").write_text(TROUBLE)
    found = submission.read(tmp_path / "layers.py")
    course = registry.current().courses["cs231n"]
    limits = Limits(seconds=0.7, load_seconds=20)
    report = checking.check(found, course, course.select([]), Asked(1, explain=False, limits=limits))
    rows = {r.name: r for r in report.rows}
    for name, (verdict, note) in VERDICTS.items():
        assert rows[name].verdict == verdict, rows[name]
        assert note in rows[name].note
    assert rows["word_embedding_forward"].verdict == "ok"
    assert not any(r.ok for r in report.rows if r.name != "word_embedding_forward")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [("from json import nothere", "cannot import name"), ("import sys; sys.exit(0)", "SystemExit")],
)
def test_a_file_that_cannot_be_imported_says_why_once(line, sentence, tmp_path):
    (tmp_path / "layers.py").write_text(f"{line}\n{RELU_FILE}")
    run = refbp("check", tmp_path / "layers.py", "--hints", "1")
    assert run.returncode == 1
    said = run.stdout.split("\n\n", 2)[2]
    assert said.count(sentence) == 1
    assert 'layers.py", line 1' in said


def test_what_fails_between_the_functions_of_a_script_is_left_out_and_said(tmp_path):
    script = f"import numpy as np\nimport plotting\nplotting.figure()\n{RELU_FILE}\nassert 1 == 2, 'my test'\n"
    (tmp_path / "layers.py").write_text(script)
    run = refbp("check", tmp_path / "layers.py")
    assert run.returncode == 0, run.stdout
    assert "line 3 ends in ModuleNotFoundError: No module named 'plotting', and 1 more statement" in " ".join(
        run.stdout.split()
    )


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "old.py").write_text("def affine_forward(x, w, b):\n    print 'x'\n")
    run = refbp("check", tmp_path, "--course", "cs231n")
    assert run.returncode == 2
    assert "old.py:2 is not Python that can be read: it is written for Python 2" in " ".join(run.stderr.split())
    (tmp_path / "layers.py").write_text(RELU_FILE)
    run = refbp("check", tmp_path)
    assert run.returncode == 0
    assert "note: " in run.stdout
    assert "old.py:2 is not Python that can be read" in " ".join(run.stdout.split())


def test_an_interrupt_leaves_no_process_behind(tmp_path):
    name = f"sleeper_{os.getpid()}"
    path = tmp_path / f"{name}.py"
    path.write_text(f"import time\n{RELU_FILE.replace('    return dout', '    time.sleep(1e9)')}")
    command = [sys.executable, "-m", "refbp", "check", path]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 60
        while not workers(name) and time.monotonic() < until:
            time.sleep(0.05)
        assert workers(name)
        run.send_signal(signal.SIGINT)
        _, stderr = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode == 130
    assert stderr.strip() == "refbp: interrupted."
    until = time.monotonic() + 10
    while workers(name) and time.monotonic() < until:
        time.sleep(0.05)
    assert not workers(name)


def workers(name):
    """The processes, but for the command itself, whose command line has a name in it."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = place.read_bytes()
            if f'"module": "{name}"'.encode() in words:
                found.append(place)
    return found


def test_on_forty_columns_no_line_is_longer(tmp_path, monkeypatch):
    from refbp.cli import _common, check

    (tmp_path / "layers.py").write_text(RELU_FILE.replace("(cache > 0)", "2 * (cache > 0)"))
    monkeypatch.setattr(_common, "width", lambda: 40)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(check.check_command, ["layers.py", "--seed", "1"])
    assert max(map(len, run.output.splitlines())) <= 40
    assert "2 times what it should be" in " ".join(run.output.split())


# Attacks: the verdict is formed on this side --------------------------------------------------------------------------

ATTACKS = """import numpy as np
class Loose(np.ndarray):
    def __array_ufunc__(self, *args, **kwargs): return np.ones(1, bool)
    def __array_function__(self, *args, **kwargs): return True
class Equal:
    shape, dtype, ndim, size = (7, 5), np.dtype(float), 2, 35
    def __eq__(self, other): return True
    def __array__(self, *args, **kwargs): return np.zeros((7, 5))
    __ne__ = __lt__ = __sub__ = __abs__ = lambda self, *a: self
np.allclose = np.array_equal = lambda *a, **k: True
np.testing.assert_allclose = lambda *a, **k: None
np.abs = np.absolute = lambda a, *b, **k: np.zeros_like(a)
def relu_forward(x): return np.maximum(x, 0), x
def relu_backward(dout, cache): return np.zeros_like(dout).view(Loose)
def affine_forward(x, w, b): return x.reshape(len(x), -1) @ w + b, (x, w)
def affine_backward(dout, cache): return Equal(), Equal(), Equal()
def layernorm_forward(x, gamma, beta, ln_param):
    m, s = x.mean(1, keepdims=True), np.sqrt(x.var(1, keepdims=True) + ln_param.get("eps", 1e-5))
    return gamma * (x - m) / s + beta, (x, gamma, beta, ln_param)
def layernorm_backward(dout, cache): return [np.full(a.shape, np.nan) for a in cache[:3]]
def batchnorm_forward(x, gamma, beta, bn_param):
    m, s = x.mean(0), np.sqrt(x.var(0) + bn_param.get("eps", 1e-5))
    return gamma * (x - m) / s + beta, (x, gamma, beta, bn_param)
def batchnorm_backward(dout, cache):
    grads = []
    for k in range(3):
        a, g = cache[k], np.zeros(cache[k].shape)
        for i in np.ndindex(a.shape):
            old, sums = a[i], []
            for h in (1e-5, -1e-5):
                a[i] = old + h
                sums.append((batchnorm_forward(*cache)[0] * dout).sum())
            a[i], g[i] = old, (sums[0] - sums[1]) / 2e-5
        grads.append(g)
    return tuple(grads)
def word_embedding_forward(x, W): return W[x], (x, W)
def word_embedding_backward(dout, cache):
    x, W = cache
    x[...] = 0
    W[...] = 0
    dout[...] = 0
    return W
"""


def test_no_trick_gets_a_verdict_that_passes(tmp_path):
    (tmp_path / "layers.py").write_text(ATTACKS)
    found = submission.read(tmp_path / "layers.py")
    course = registry.current().courses["cs231n"]
    names = [n for n in found.names if n.endswith("_backward")]
    report = checking.check(found, course, course.select(names), Asked(1, explain=False))
    rows = {r.name: r for r in report.rows if r.name.endswith("_backward")}
    assert set(names) <= set(rows)
    for row in rows.values():
        assert row.wrong, row
        assert row.points({}) < 0.5, row.name
    assert rows["batchnorm_backward"].verdict == "finite differences"


def test_the_courses_are_listed_as_the_readme_has_them_and_one_shows_its_calls():
    import json

    assert refbp("courses").stdout in (Path(__file__).parents[1] / "README.md").read_text()
    shown = refbp("courses", "deeplearning_ai").stdout
    assert "dA_prev, dW, db = linear_backward(dZ, cache)" in shown
    assert "dW is 1/N times the derivative" in shown
    data = json.loads(refbp("courses", "--json").stdout)
    assert {c["name"] for c in data} == set(registry.current().courses)
    assert all(c["exercises"] and c["about"] for c in data)
    unknown = refbp("courses", "cs231")
    assert unknown.returncode == 2
    assert "no course is called 'cs231'; did you mean cs231n" in unknown.stderr
