"""Calls in every style, and how they end."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from isolated import HOSTILE, LIMITS, attack, right

from refbp.oracle.isolation import IsolationError, Limits, Worker

SMALL = """
def make(x):
    return x + 1, (x, [x])


def consume(cache):
    cache[0][...] = 0
    return cache[0]


def slowly(x):
    return [one(v) for v in x]


def one(v):
    return v * v
"""


def test_an_object_goes_with_its_process_and_belongs_to_its_worker(submit):
    worker, other = submit(SMALL, "a.py"), submit(SMALL, "b.py")
    handle = worker.call("make", (np.ones(3),), keep=True).value
    with pytest.raises(IsolationError, match="another worker's"):
        other.call("consume", (handle,))
    worker.end()
    gone = worker.call("consume", (handle,))
    assert gone.kind == "died"
    assert "went with the process" in gone.sentence()
    assert worker.call("make", (np.ones(3),)).ok


def test_calls_of_the_submissions_functions_are_counted_if_asked(submit):
    worker = submit(SMALL)
    assert worker.call("slowly", (np.ones(5),), count=True).calls == {"slowly": 1, "one": 5}
    assert worker.call("slowly", (np.ones(5),)).calls == {}


STYLES = """
import numpy as np


class Linear:
    def __init__(self, n, m):
        self.W = np.zeros((m, n))
        self.inner = [{"dW": None}]
        self.grads = {}

    def forward(self, A):
        self.A = A
        return A @ self.W.T

    def backward(self, dLdZ):
        self.dLdW = dLdZ.T @ self.A
        self.inner[0]["dW"] = self.dLdW
        self.grads["W"] = self.dLdW
        return dLdZ @ self.W


class Square:
    @staticmethod
    def forward(ctx, x):
        ctx.saved = x
        return x * x

    @classmethod
    def backward(cls, ctx, dy):
        return 2 * ctx.saved * dy


class Value:
    def __init__(self, data):
        self.data, self.grad = data, 0.0

    def __mul__(self, other):
        out = Value(self.data * other.data)
        out.parents = self, other
        return out

    def backward(self):
        a, b = self.parents
        a.grad += b.data
        b.grad += a.data


loss = lambda x, y: (((x - y) ** 2).sum(), 2 * (x - y))
"""


def test_a_class_with_state_is_driven(submit):
    worker = submit(STYLES)
    rng = np.random.default_rng(3)
    x, weight, dz = rng.standard_normal((4, 3)), rng.standard_normal((2, 3)), rng.standard_normal((4, 2))
    layer = worker.construct("Linear", (3, 2)).value
    assert layer.type == "Linear"
    assert worker.assign(layer, "W", weight).ok
    np.testing.assert_allclose(worker.method(layer, "forward", (x,)).value, x @ weight.T)
    np.testing.assert_allclose(worker.method(layer, "backward", (dz,)).value, dz @ weight)
    for path in ("dLdW", "inner.0.dW", "grads.W"):
        np.testing.assert_allclose(worker.attribute(layer, path).value, dz.T @ x)
    assert worker.assign(layer, "grads.W", 0).ok
    assert worker.attribute(layer, "grads").value == {"W": 0}
    assert worker.attribute(layer, "dLdV").error == "AttributeError"
    assert worker.attribute(layer, "grads.V").error == "KeyError"


def test_a_static_class_with_a_context_a_fused_loss_and_an_engine_are_driven(submit):
    worker = submit(STYLES)
    code = """
class Context: pass

def square(x, dy):
    ctx = Context()
    return submission.Square.forward(ctx, x), submission.Square.backward(ctx, dy)

def product(a, b):
    a, b = submission.Value(a), submission.Value(b)
    (a * b).backward()
    return a.grad, b.grad

def wrong():
    return submission.Square.forward(None)
"""
    y, dx = worker.run(code, "square", (np.array([3.0]), np.array([-1.0]))).value
    assert (y[0], dx[0]) == (9, -6)
    assert worker.run(code, "product", (2.0, 5.0)).value == (5.0, 2.0)
    assert worker.call("loss", (np.array([3.0]), np.array([1.0]))).value[0] == 4
    assert worker.run(code, "wrong").error == "TypeError"


def test_a_traceback_has_the_submissions_frames_only(submit):
    worker = submit("import numpy as np\n\ndef f(x):\n    return g(x)\n\ndef g(x):\n    return np.linalg.inv(x)\n")
    result = worker.call("f", (np.zeros((2, 2)),))
    assert result.sentence() == "raises LinAlgError: Singular matrix"
    assert result.traceback == (
        '  File "submission.py", line 4, in f\n    return g(x)\n'
        '  File "submission.py", line 7, in g\n    return np.linalg.inv(x)\n'
    )
    assert worker.call("f", (1, 2)).traceback == ""


def test_a_time_out_says_where_it_was(confine, submit):
    worker = submit("def f():\n    return g()\n\ndef g():\n    while True:\n        pass\n", confine=confine)
    result = worker.call("f", seconds=0.5)
    assert result.sentence() == "did not answer in time: stopped after 0.5 s"
    assert 'File "submission.py", line 2, in f\n  File "submission.py", line ' in result.traceback
    assert result.seconds < 5


def test_what_is_printed_is_kept_up_to_a_limit_and_made_safe(submit):
    worker = submit(
        "import sys\n\ndef f(n):\n    print('a' * n)\n    print('b', file=sys.stderr)\n\n"
        "def g():\n    print('\\x1b[31mred\\x07')\n",
        limits=Limits(output=1000),
    )
    result = worker.call("f", (5000,))
    assert result.stdout == "a" * 1000 + "\n[3.91 KiB more]"
    assert result.stderr == "b\n"
    assert worker.call("g").stdout == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}\n"
    escaped = submit((HOSTILE / "terminal_escapes.py").read_text(), "b.py").call("affine_backward", (1, 2))
    assert not [c for c in escaped.sentence() + escaped.stdout if not (c.isprintable() or c == "\n")]


def test_the_same_seed_gives_the_same_draws(submit):
    worker = submit("import random\nimport numpy as np\n\ndef f():\n    return np.random.rand(3).tolist(), random.random()\n")
    assert worker.call("f", seed=7).value == worker.call("f", seed=7).value != worker.call("f", seed=8).value


def test_ctrl_c_ends_the_worker_and_the_next_call_starts_another(submit):
    worker = submit("import time\n\ndef f(t):\n    time.sleep(t)\n    return 1\n")
    assert worker.call("f", (0,)).value == 1
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        worker.call("f", (30,))
    timer.join()
    assert worker.call("f", (0,)).value == 1


def test_nothing_is_left_behind(confine, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = tmp_path / "sleeps.py"
    source.write_text("import os, time\n\ndef f():\n    time.sleep(60)\n\ndef g():\n    return 1\n")
    before = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else set()
    with Worker(source, limits=LIMITS, confine=confine) as worker:
        assert worker.call("f", seconds=0.2).kind == "timeout"
        assert worker.call("g").ok
        process = worker._process._popen.pid
        assert len(list(tmp_path.glob("refbp-*"))) == 1
    assert not list(tmp_path.glob("refbp-*"))
    with pytest.raises(ProcessLookupError):
        os.killpg(process, 0)
    if before:
        assert set(os.listdir("/proc/self/fd")) <= before | {str(max(map(int, before)) + 1)}
    with pytest.raises(IsolationError, match="has been closed"):
        worker.call("g")


def test_a_worker_that_cannot_start_is_nobodys_fault(monkeypatch, tmp_path):
    from refbp.oracle.isolation import confine as module

    monkeypatch.setattr(module, "interpreter", lambda: "/nonexistent/python")
    with pytest.raises(IsolationError, match="no worker could be started: "), Worker(HOSTILE / "honest.py") as worker:
        worker.call("affine_forward")


def test_workers_run_side_by_side():
    results = []

    def work():
        with Worker(HOSTILE / "honest.py", limits=LIMITS) as worker:
            results.append(right(*attack(worker)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 4
