"""What crosses the pipe: plain data, made anew on each side, and reports on what a call did to its arguments."""

import ast
import subprocess
import sys

import numpy as np
import pytest
from isolated import LIMITS, PACKAGE

from refbp.oracle.isolation import Handle, IsolationError, Worker
from refbp.oracle.isolation._inside import wire

ECHO = """
def echo(*args, **kwargs):
    return args, kwargs


def types(*args):
    return [type(a).__name__ for a in args]
"""


def test_values_come_back_as_they_went(submit):
    worker = submit(ECHO)
    values = [
        None, True, 0, -(2**200), 1.5, float("inf"), -0.0, 1e-320, 2 - 3j, "ü\n", (), [], {}, (1, [2, {"a": (None,)}]),
        {None: 3, "x": {"y": 4}, 1.5: 5, True: 6}, np.float32(1.5), np.int8(-3), np.bool_(True),
    ]  # fmt: skip
    back = worker.call("echo", values).value[0]
    assert back == tuple(values)
    assert [type(b) for b in back] == [type(v) for v in values]
    nan = worker.call("echo", (float("nan"),), {"a": 1}).value
    assert np.isnan(nan[0][0])
    assert nan[1] == {"a": 1}


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "g", ">f8", ">i4"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (2, 3, 4)])
def test_arrays_come_back_plain_fresh_and_in_native_order(dtype, shape, echo_worker):
    a = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    for given in (a, np.asfortranarray(a), a[..., ::-1] if a.ndim else a):
        (back,), _ = echo_worker.call("echo", (given,)).value
        assert type(back) is np.ndarray
        assert back.dtype == given.dtype.newbyteorder("=")
        assert back.dtype.isnative
        assert back.flags.writeable
        assert back.flags.owndata
        np.testing.assert_array_equal(back, given)


@pytest.fixture(scope="module")
def echo_worker(tmp_path_factory):
    file = tmp_path_factory.mktemp("echo") / "echo.py"
    file.write_text(ECHO)
    with Worker(file, limits=LIMITS) as worker:
        yield worker


@pytest.mark.parametrize("value", [object(), np.array([None]), np.array(["a"]), {(1, 2): 3}, print, b"bytes", {1}])
def test_what_is_not_data_is_not_sent(value, echo_worker):
    with pytest.raises(IsolationError, match="cannot be given to a submission: give arrays"):
        echo_worker.call("echo", (value,))


GIVES = """
import collections

import numpy as np

Point = collections.namedtuple("Point", "x y")


class Mine(np.ndarray):
    pass


class Number(float):
    pass


class Thing:
    value = 3


def gives(what):
    return {
        "matrix": lambda: np.matrix([[1.0, 2.0]]),
        "masked": lambda: np.ma.array([1.0, 2.0], mask=[False, True]),
        "subclass": lambda: np.arange(3.0).view(Mine),
        "number": lambda: Number(1.5),
        "point": lambda: Point(1, np.ones(2)),
        "counter": lambda: collections.Counter("aab"),
        "objects": lambda: np.array([Thing()]),
        "words": lambda: np.array(["a"]),
        "record": lambda: np.zeros(2, [("x", float)]),
        "date": lambda: np.datetime64("2020-01-01"),
        "bytes": lambda: b"abc",
        "set": lambda: {1},
        "thing": Thing,
        "class": lambda: Thing,
        "keys": lambda: {(1, 2): 3},
        "surrogate": lambda: "a\\ud800",
    }[what]()
"""


@pytest.mark.parametrize(
    ("what", "value", "note"),
    [
        ("matrix", np.array([[1.0, 2.0]]), "result is a subclass of numpy.ndarray"),
        ("masked", np.array([1.0, 2.0]), "result is a subclass of numpy.ndarray"),
        ("subclass", np.arange(3.0), "result is a subclass of numpy.ndarray"),
        ("number", 1.5, "result is a subclass of float"),
        ("surrogate", "a?", None),
        ("counter", {"a": 2, "b": 1}, None),
    ],
)
def test_subclasses_are_plain_on_this_side_and_noted(what, value, note, gives):
    result = gives.call("gives", (what,))
    assert type(result.value) is type(value)
    np.testing.assert_array_equal(result.value, value)
    assert result.notes == ((note,) if note else ())


@pytest.mark.parametrize("what", ["objects", "words", "record", "date", "bytes", "set", "thing", "class", "keys"])
def test_what_is_not_plain_stays_there_and_equals_only_itself(what, gives):
    handle = gives.call("gives", (what,)).value
    assert isinstance(handle, Handle)
    assert handle != gives.call("gives", (what,)).value
    assert handle not in (1, "x", None, True)


def test_a_named_tuple_is_a_tuple(gives):
    value = gives.call("gives", ("point",)).value
    assert type(value) is tuple
    assert value[0] == 1


@pytest.fixture(scope="module")
def gives(tmp_path_factory):
    file = tmp_path_factory.mktemp("gives") / "gives.py"
    file.write_text(GIVES)
    with Worker(file, limits=LIMITS) as worker:
        yield worker


CHANGES = """
import numpy as np


def scale(x, params):
    x *= 2
    params["mean"] = x.mean()
    params["seen"] += 1
    params["all"].append(x)
    return x, x[::2], x.copy(), np.zeros(2)


def consume(cache):
    cache[0][...] = 0
    return cache[0]


def make(x):
    return x + 1, (x, [x])
"""


def test_what_a_call_changes_and_shares_is_reported_and_the_callers_arrays_are_untouched(submit):
    worker = submit(CHANGES)
    x, params = np.arange(4.0), {"seen": 1, "all": [], "same": 2}
    result = worker.call("scale", (x,), {"params": params}, arguments=True)
    assert result.mutated == ("args[0]", "kwargs['params']", "kwargs['params']['all']")
    assert set(result.shared) == {("result[0]", "args[0]"), ("result[1]", "args[0]"), ("result[1]", "result[0]")}
    np.testing.assert_array_equal(x, np.arange(4.0))
    assert params == {"seen": 1, "all": [], "same": 2}
    (after,), kwargs = result.arguments
    np.testing.assert_array_equal(after, [0, 2, 4, 6])
    assert kwargs["params"]["mean"] == 3
    assert kwargs["params"]["seen"] == 2


def test_a_cache_stays_there_and_its_being_consumed_is_reported(submit):
    worker = submit(CHANGES)
    out, cache = worker.call("make", (np.ones(3),), keep=(1,)).value
    assert isinstance(cache, Handle)
    assert cache.type == "tuple"
    np.testing.assert_array_equal(out, np.full(3, 2.0))
    result = worker.call("consume", (cache,))
    assert result.mutated == ("args[0][0]", "args[0][1][0]")
    np.testing.assert_array_equal(worker.attribute(cache, "1.0").value, np.zeros(3))
    worker.release(cache)
    assert worker.call("make", (np.ones(3),)).ok


def test_what_runs_in_a_worker_needs_nothing_but_the_standard_library_and_numpy():
    for path in (PACKAGE / "oracle" / "isolation" / "_inside").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not [n for n in names if n.split(".")[0] not in sys.stdlib_module_names | {"numpy"}], path


def test_importing_isolation_imports_no_torch():
    code = "import sys, refbp.oracle.isolation; print([m for m in ('torch', 'pluggy', 'click', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_bytes_that_are_no_answer_never_do_more_than_say_so():
    rng = np.random.default_rng(11)
    encoder = wire.Encoder(lambda value: ["n"], body=1 << 20)
    tree = encoder.encode({"a": (np.ones((2, 3)), [1, 2.5, "x", None, True, 1j]), "b": np.float32(1)})
    frame = b"".join(wire.pack(b"t" * 16, {"value": tree}, encoder.blobs, 1 << 20))
    refused = 0
    for _ in range(3000):
        broken = bytearray(frame)
        for _ in range(rng.integers(1, 6)):
            broken[rng.integers(len(broken))] = rng.integers(256)
        if rng.random() < 0.2:
            broken = broken[: rng.integers(len(broken))]
        try:
            head = wire.read_head(bytes(broken[: wire.HEAD.size]).ljust(wire.HEAD.size, b"\0"))
            message, blobs = wire.unpack(head, broken[wire.HEAD.size :])
            wire.Decoder(blobs, Handle, lambda a: a).decode(message.get("value"))
        except wire.WireError:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    "tree",
    [
        None, [], ["z"], ["n", 1], ["i", "1" * 2000], ["i", "x"], ["f", "x"], ["a", 1], ["a", 0, 0], ["t", 1], ["d", 1],
        ["d", [["l"], ["n"]]], ["d", [["t", ["n"]], ["n"]]], ["g", 0], ["h", "1", "a", "b"], ["s", 1],
        ["l", ["a", 0], ["a", 0]],
    ],
)  # fmt: skip
def test_a_tree_that_was_not_agreed_on_is_refused(tree):
    with pytest.raises(wire.WireError):
        wire.Decoder([wire.to_npy(np.ones(2))], Handle, lambda a: a).decode(tree)
