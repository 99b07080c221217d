"""What a submission has in it, whether it can be imported, and what it was written for."""

import os
import types

import numpy as np
import pytest
from isolated import HOSTILE, LIMITS

from refbp.oracle.isolation import IsolationError, Limits, Result, SubmissionError, Worker, environment

NAMES = '''
"""A file as a course hands it out."""
import numpy as np
from numpy import zeros
from past.builtins import xrange


def written(x, w, eps=1e-5, mode="train", *rest, out=None, **more):
    return x * eps


def pass_forward(x):
    """Docstring."""
    pass


def dots(x): ...


def none_forward(x, w, b):
    out = None
    ###########
    pass
    ###########
    cache = (x, w, b)
    return out, cache


def none_backward(dout, cache):
    x, w, b = cache
    dx, dw, db = None, None, None
    pass
    return dx, dw, db


def dropout_forward(x, p):
    mask = None
    out = None
    if p["mode"] == "train":
        pass
    cache = (p, mask)
    out = out.astype(x.dtype, copy=False)
    return out, cache


def zeros_loss(W, X):
    loss = 0.0
    dW = np.zeros_like(W)
    pass
    return loss, dW


def half_loss(W, X):
    loss, dW = 0.0, np.zeros(W.shape)
    for i in range(3):
        loss += 1
    return loss / 3, dW


def scatter(dout, idx):
    dW = np.zeros((3, 3))
    np.add.at(dW, idx, dout)
    return dW


def fills(dout, x):
    dx = np.zeros_like(x)
    dx[0] = dout
    return dx


def unset(A, W):
    # YOUR CODE STARTS HERE
    # YOUR CODE ENDS HERE
    cache = (A, W)
    return Z, cache


def raises_forward(x):
    y = 1
    raise NotImplementedError("write me")


class Layer:
    def __init__(self, n, bias=True):
        self.n = n

    def forward(self, x):
        raise NotImplementedError

    @staticmethod
    def backward(dout, cache):
        return dout

    def loss(self, X):
        scores = None
        pass
        if X is None:
            return scores
        loss, grads = 0, {}
        return loss, grads


class Child(Layer):
    def forward(self, x):
        return x
'''


def test_names_have_signatures_and_say_what_is_not_written_yet(submit):
    names = submit(NAMES).names()
    stubs = {n: d.stub for n, d in names.items() if d.kind == "function"}
    assert stubs == {
        "written": "",
        "pass_forward": "pass",
        "dots": "pass",
        "none_forward": "None",
        "none_backward": "None",
        "dropout_forward": "None",
        "zeros_loss": "zeros",
        "half_loss": "",
        "scatter": "",
        "fills": "",
        "unset": "None",
        "raises_forward": "NotImplementedError",
    }
    assert names["half_loss"].empty == ("dW",)
    written = {p.name: p for p in names["written"].parameters}
    assert [*written] == ["x", "w", "eps", "mode", "rest", "out", "more"]
    assert (written["eps"].default, written["mode"].default) == (1e-5, "train")
    assert not written["x"].has_default
    assert written["rest"].kind == "var_positional"
    layer = names["Layer"]
    assert {n: (m.kind, m.stub) for n, m in layer.methods.items()} == {
        "__init__": ("method", ""),
        "forward": ("method", "NotImplementedError"),
        "backward": ("staticmethod", ""),
        "loss": ("method", "zeros"),
    }
    assert [p.name for p in layer.parameters] == ["n", "bias"]
    assert names["Child"].bases == ("Layer",)
    assert names["Child"].methods["forward"].stub == ""
    assert "zeros" not in names
    assert "xrange" not in names


# Submissions that do not get as far as that


@pytest.mark.parametrize(
    ("source", "sentence", "where"),
    [
        ("def f(:\n    pass\n", "importing it raises SyntaxError: ", 'File "submission.py", line 1'),
        ("import no_name\nno_name.f()\n", "importing it raises ModuleNotFoundError: ", "line 2, in <module>"),
        ("x = 1\ny = x / 0\n", "importing it raises ZeroDivisionError: division by zero", "line 2, in <module>"),
        ("print 'hello'\n", "importing it raises SyntaxError: ", "line 1"),
        ("raise SystemExit(3)\n", "importing it raises SystemExit: 3", "line 1"),
        ("import os\nos._exit(3)\n", "importing it ended its process: exit code 3", ""),
        ("\0", "importing it raises ", ""),
        ("(" * 3000, "importing it raises ", ""),
    ],
)
def test_a_submission_that_cannot_be_imported_says_why_and_is_not_tried_again(source, sentence, where, submit):
    worker = submit(source)
    result = worker.call("affine_forward", (np.ones(2),))
    assert result.importing
    assert result.sentence().startswith(sentence)
    assert where in result.traceback
    with pytest.raises(SubmissionError, match="importing it ") as caught:
        worker.names()
    assert caught.value.result is result


def test_an_empty_submission_has_no_names(submit):
    assert submit("").names() == {}
    missing = submit("", "other.py").call("affine_forward")
    assert missing.error == "AttributeError"
    assert not missing.importing


def test_what_is_not_a_file_is_said_before_anything_starts(tmp_path):
    (tmp_path / "layers.py").write_text("")
    with pytest.raises(SubmissionError, match=r"layer\.py does not exist; did you mean layers\.py\?"):
        Worker(tmp_path / "layer.py")
    with pytest.raises(SubmissionError, match="is a folder: give one of its files"):
        Worker(tmp_path)
    with pytest.raises(SubmissionError, match="is not in the folder"):
        Worker(HOSTILE / "honest.py", root=tmp_path)
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(SubmissionError, match="is not a file"):
        Worker(tmp_path / "pipe.py")
    (tmp_path / "large.py").write_bytes(b"#" * (5 << 20))
    with pytest.raises(SubmissionError, match="5 MiB: a submission has at most 4 MiB"):
        Worker(tmp_path / "large.py")
    with pytest.raises(IsolationError, match="the module nothing_of_that_name is not installed here"):
        Worker(tmp_path / "layers.py", extra_modules=("nothing_of_that_name",))


@pytest.mark.parametrize("name", ["numpy.py", "random.py", "my layers (1).py", "submission", "class.py", "test.py"])
def test_a_file_may_have_any_name(name, submit):
    worker = submit(
        "import random\nimport numpy as np\n\ndef f():\n    return float(np.ones(1)[0]), random.random() < 1\n", name
    )
    assert worker.call("f").value == (1.0, True)


def test_a_submission_imports_its_own_files_and_nothing_beside_them(tmp_path):
    course = tmp_path / "cs231n"
    (course / "classifiers").mkdir(parents=True)
    (course / "layers.py").write_text("def affine(x):\n    return 2 * x\n")
    (course / "optim.py").write_text("from .layers import affine\n")
    (course / "data.json").write_text("[1]")
    (course / "big.npy").write_bytes(b"0" * (5 << 20))
    (course / "classifiers" / "net.py").write_text(
        "import os\n\nimport layers\nfrom cs231n.layers import affine\nfrom ..optim import affine as same\n\n\n"
        "def net(x):\n    return affine(x) + same(x) + layers.affine(x)\n\n\n"
        "def files():\n    top = os.path.dirname(os.path.dirname(__file__))\n    return sorted(os.listdir(top))\n"
    )
    (tmp_path / "secret.py").write_text("answer = 42\n")
    (course / "link.py").symlink_to(tmp_path / "secret.py")
    with Worker(course / "classifiers" / "net.py", root=course, limits=LIMITS) as worker:
        assert worker.call("net", (1,)).value == 6
        assert worker.call("files").value == ["classifiers", "data.json", "layers.py", "optim.py"]
        assert not worker.names()["affine"].here
        assert worker.names()["net"].here
    with Worker(course / "optim.py", root=course, limits=LIMITS) as worker:
        assert worker.call("affine", (1,)).value == 2
    assert (course / "layers.py").read_text() == "def affine(x):\n    return 2 * x\n"


def test_starters_find_past_and_removed_names_only_if_asked(submit):
    source = "import numpy as np\nfrom past.builtins import xrange\n\n"
    source += "def f():\n    return np.zeros(2, np.int).dtype.kind, list(xrange(2))\n"
    plain = submit(source).call("f")
    assert plain.error == "AttributeError"
    assert plain.environment == "np.int was removed from NumPy: write int"
    assert submit(source, "b.py", mend_numpy=True).call("f").value == ("i", [0, 1])


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("print 'x'\n", "it is written for Python 2 (print without parentheses)"),
        ("for i in xrange(3): pass\n", "xrange is Python 2: write range"),
        ("import cPickle\ncPickle.dumps(1)\n", "cPickle is Python 2: write pickle"),
        ("{}.iteritems()\n", "iteritems is Python 2: write items"),
        ("import numpy as np\nnp.float_\n", "np.float_ was removed from NumPy: write np.float64"),
        ("import numpy as np\nnp.bool8\n", "np.bool8 was removed from NumPy"),
        ("import numpy as np\nnp.ones(2).itemset(0, 1)\n", "ndarray.itemset was removed from NumPy"),
        ("import scipy.special\nscipy.special.erf(1)\n", "it needs the module scipy, which is not here"),
        ("import numpy as np\nnp.nothing_of_that_name\n", ""),
        ("nothing_of_that_name\n", ""),
        ("1 / 0\n", ""),
    ],
)
def test_code_from_another_time_is_told_from_wrong_code(source, sentence, submit):
    result = submit(source).loaded
    assert result.kind == "raised"
    assert result.environment.startswith(sentence)
    assert bool(result.environment) == bool(sentence)


LACKING = """
import matplotlib.pyplot as plt
import course.solver
from course.data import *
from course.helper import loss as course_loss
from numba import jit
try:
    import cupy as np
except ImportError:
    import numpy as np

plt.rcParams["figure.figsize"] = (10, 8)


class Net(plt.Axes):
    def double(self, x):
        return 2 * x


def double(x):
    return np.asarray(x) * 2


def through_a_class(x):
    return Net().double(x)


def through_its_loss(x):
    return course_loss(x) + 1


def times(x):
    return x * course_loss


def through_a_star(x):
    return everything_in_it(x)


def solve(x):
    return course.solver.Solver(x).train()
"""


def test_what_is_not_here_is_missed_by_those_who_use_it(submit):
    worker = submit(LACKING)
    assert worker.loaded.ok
    assert worker.call("double", (2.5,)).value == 5.0
    assert worker.call("through_a_class", (2.5,)).value == 5.0
    for name in ("through_its_loss", "times", "solve"):
        for _ in range(2):
            result = worker.call(name, (2.5,))
            assert (result.kind, result.environment) == ("raised", "it needs the module course, which is not here")
            assert result.traceback.count("File") == 1
    starred = worker.call("through_a_star", (2.5,)).environment
    assert starred == "everything_in_it is not defined, unless by course, which is not here"
    decorated = submit("from numba import jit\n\n@jit\ndef f(x):\n    return x\n", "b.py").loaded
    assert decorated.environment == "it needs the module numba, which is not here"
    assert submit("def f(x):\n    return undefined\n", "c.py").call("f", (1,)).error == "NameError"


def test_a_script_that_trains_for_long_is_broken_off_and_its_functions_are_checked(tmp_path):
    (tmp_path / "net.py").write_text(
        "steps = [0]\n\ndef f():\n    return 2\n\nwhile steps[0] >= 0:\n    steps[0] += f()\n\nY = f()\n\n"
        "def g():\n    return Y\n\nwhile True:\n    try:\n        f()\n    except ValueError:\n        pass\n"
    )
    with Worker(tmp_path / "net.py", limits=Limits(load_seconds=30.0)) as worker:
        assert worker.loaded.ok
        assert worker.loaded.notes[0].startswith("line 6 ends in TimeoutError: it takes longer than 2 s")
        assert (worker.call("f").value, worker.call("g").value) == (2, 2)


def test_an_import_may_take_longer_than_what_a_script_does(tmp_path, monkeypatch):
    from refbp.oracle.isolation._inside import script

    module, file = types.ModuleType("net"), tmp_path / "net.py"
    (tmp_path / "slow_to_import.py").write_text("import time\n\ntime.sleep(0.3)\nA = 1\n")
    file.write_text("from slow_to_import import A\n")
    monkeypatch.syspath_prepend(tmp_path)
    with script.limited(str(file), 0.1):
        exec(compile(file.read_text(), str(file), "exec"), vars(module))
    assert module.A == 1
    with pytest.raises(TimeoutError, match=r"longer than 0.1 s"), script.limited(str(file), 0.1):
        exec(compile("while True: pass", str(file), "exec"), vars(module))


def test_a_file_that_lacks_a_module_is_loaded_once_more_with_those_beside_it(tmp_path):
    (tmp_path / "layers.py").write_text("import plots\n\n\ndef affine(x):\n    return 2 * x\n")
    (tmp_path / "optim.py").write_text("import layers\nfrom course_data import *\nfrom layers import affine\n")
    with Worker(tmp_path / "optim.py", root=tmp_path, limits=LIMITS) as worker:
        assert worker.call("affine", (1,)).value == 2


def test_what_a_module_beside_a_file_has_not_is_missed_by_those_who_use_it(tmp_path):
    (tmp_path / "layers.py").write_text("from solvers import Solver\n\n\ndef affine(x):\n    return 2 * x\n")
    (tmp_path / "optim.py").write_text(
        "from layers import affine, adam, Solver\nfrom . import plots\nfrom .plots import show\n\n\n"
        "def step(x):\n    return affine(x) - adam(x)\n\n\ndef twice(x):\n    return affine(affine(x))\n"
    )
    (tmp_path / "__init__.py").touch()
    with Worker(tmp_path / "optim.py", root=tmp_path, limits=LIMITS) as worker:
        assert worker.call("twice", (1,)).value == 4
        result = worker.call("step", (1,))
    assert (result.error, result.message) == ("ImportError", "cannot import name 'adam' from 'layers'")


def test_what_a_course_hands_out_is_used_where_a_submission_has_not_its_own(submit, tmp_path):
    given = {"handed_out.py": "def loss(x):\n    return 'given'\n", "bundle/__init__.py": "", "bundle/part.py": "A = 1\n"}
    source = "from handed_out import loss\nfrom bundle.part import A\n\ndef f(x):\n    return loss(x), A\n"
    assert submit(source, given=given).call("f", (1,)).value == ("given", 1)
    own = tmp_path / "own"
    own.mkdir()
    (own / "f.py").write_text(source)
    (own / "handed_out.py").write_text("def loss(x):\n    return 'own'\n")
    with Worker(own / "f.py", root=own, given=given, limits=LIMITS) as worker:
        assert worker.call("f", (1,)).value == ("own", 1)


def test_what_uses_a_name_that_could_not_be_bound_is_told_why(submit):
    source = "import numpy as np\n\nEPS = np.float_(1e-8)\n\ndef f(x):\n    return x + EPS\n\ndef g(x):\n    return 2 * x\n"
    worker = submit(source)
    assert worker.loaded.ok
    assert worker.loaded.notes[0].startswith("line 3 ends in AttributeError")
    assert worker.call("g", (3.0,)).value == 6.0
    assert worker.call("f", (3.0,)).environment == "np.float_ was removed from NumPy: write np.float64"
    source = "import data\n\nparts = data.load()\ntrain = parts[0]\n\ndef f():\n    return train\n"
    assert submit(source, "b.py").call("f").environment == "it needs the module data, which is not here"


def test_an_import_that_fails_is_not_left_out(submit):
    result = submit("from json import nothing_of_that_name\n\ndef f():\n    return 1\n").loaded
    assert result.error == "ImportError"


@pytest.mark.parametrize(("value", "old"), [("np.ones((1, 1))", True), ("np.ones(2)", False), ("[1, 2]", False)])
def test_an_array_of_one_element_in_a_place_of_another_is_an_old_way(value, old, submit):
    result = submit(f"import numpy as np\n\ndef f():\n    a = np.zeros(3)\n    a[0] = {value}\n").call("f")
    assert result.error == "ValueError"
    assert bool(result.environment) == old


def test_an_ok_result_has_no_environment():
    assert Result("ok").environment == ""
    assert environment("ValueError", "name 'xrange' is wrong") == ""


TENSORS = """
import torch


class Linear:
    @staticmethod
    def forward(x, w):
        assert isinstance(x, torch.Tensor)
        return x @ w, (x, w)

    @staticmethod
    def backward(dout, cache):
        x, w = cache
        dout *= 2
        return dout @ w.T / 2, x.T @ dout / 2, dout
"""


def test_torch_is_there_if_asked_for_and_tensors_cross_as_arrays(confine, submit):
    worker = submit(
        TENSORS,
        confine=confine,
        extra_modules=("torch",),
        tensors=True,
        limits=Limits(seconds=60, load_seconds=120, memory=8 << 30),
    )
    x, w, dout = np.ones((2, 3)), np.arange(12.0).reshape(3, 4), np.ones((2, 4))
    out, cache = worker.call("Linear.forward", (x, w), keep=(1,)).value
    np.testing.assert_allclose(out, x @ w)
    result = worker.call("Linear.backward", (dout, cache))
    assert [type(v) for v in result.value] == [np.ndarray] * 3
    np.testing.assert_allclose(result.value[0], dout @ w.T)
    assert result.shared == (("result[2]", "args[0]"),)
    assert result.mutated == ("args[0]",)
