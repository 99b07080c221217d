"""needle: what is right is ok, what is wrong is caught and named."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from courses._course import Wrong, checked, course, edited, enough, hold, rows, words

from refbp.oracle import submission

HERE = Path(__file__).with_name("needle") / "right"
OPS, LOOPS = HERE / "python/needle/ops.py", HERE / "apps/simple_ml.py"

MISTAKES = [
    (OPS, Wrong("EWiseMul.gradient", "return b * out_grad, a * out_grad", "return a * out_grad, b * out_grad", "swapped")),
    (OPS, Wrong("EWiseMul.gradient", "return b * out_grad, a * out_grad", "return b, a", "upstream")),
    (OPS, Wrong("EWiseDiv.gradient", "-out_grad * node / b", "out_grad * node / b", "wrong sign")),
    (OPS, Wrong("EWiseDiv.gradient", "-out_grad * node / b", "-out_grad * node", "factor x2")),
    (
        OPS,
        Wrong(
            "PowerScalar.gradient",
            "PowerScalar(self.scalar - 1)(a) * self.scalar",
            "PowerScalar(self.scalar - 1)(a)",
            r"1/scalar|scalar",
        ),
    ),
    (OPS, Wrong("EWisePow.gradient", "out_grad * node * Log()(a)", "out_grad * node", "log")),
    (OPS, Wrong("Log.gradient", "out_grad / node.inputs[0]", "out_grad", "factor x")),
    (OPS, Wrong("Exp.gradient", "return node * out_grad", "return node.inputs[0] * out_grad", "exp is missing")),
    (OPS, Wrong("ReLU.gradient", "Tensor(node.numpy() > 0)", "Tensor(out_grad.numpy() > 0)", "upstream")),
    (OPS, Wrong("Tanh.gradient", "out_grad - out_grad * node * node", "out_grad - out_grad * node", "square|1 − y|y²|slope")),
    (OPS, Wrong("BroadcastTo.gradient", "undo_broadcast(out_grad, node.inputs[0].shape)", "out_grad", "has the shape")),
    (
        OPS,
        Wrong(
            "BroadcastTo.gradient",
            "if n == 1 and grad.shape[extra + i] != 1",
            "if False",
            "cannot reshape",
            function="undo_broadcast",
        ),
    ),
    (
        OPS,
        Wrong(
            "Summation.gradient",
            "return out_grad.reshape(with_ones(shape, self.axes)).broadcast_to(shape)",
            "return out_grad.reshape(with_ones(shape, self.axes)).broadcast_to(shape) / shape[0]",
            "1/|divided",
        ),
    ),
    (
        OPS,
        Wrong("Summation.gradient", "return out_grad.reshape(with_ones(shape, self.axes))", "return out_grad", "raise|shape"),
    ),
    (OPS, Wrong("MatMul.gradient", "da = out_grad @ b.transpose()", "da = out_grad * 1 @ b.transpose() * 2", "2 times")),
    (OPS, Wrong("MatMul.gradient", "undo_broadcast(da, a.shape), undo_broadcast(db, b.shape)", "da, db", "not summed")),
    (OPS, Wrong("Conv.gradient", '+= numpy.einsum("no,hwio->nhwi"', '= numpy.einsum("no,hwio->nhwi"', r"\+=")),
    (OPS, Wrong("Conv.gradient", "da[:, p : da.shape[1] - p, p : da.shape[2] - p]", "da", "shape|pad")),
    (
        OPS,
        Wrong(
            "LogSoftmax.gradient",
            "out_grad - Exp()(node) * total",
            "out_grad - Exp()(node) * out_grad",
            "Σ|sum|diagonal|missing",
        ),
    ),
    (OPS, Wrong("LogSumExp.gradient", "* Exp()(a - wide)", "* Exp()(a)", "term y is missing")),
    (LOOPS, Wrong("softmax_regression_epoch", "theta -= lr * x.T @ G / len(t)", "theta -= lr * x.T @ G", "N times")),
    (
        LOOPS,
        Wrong("softmax_regression_epoch", "theta -= lr * x.T @ G / len(t)", "theta += lr * x.T @ G / len(t)", "wrong sign"),
    ),
    (LOOPS, Wrong("nn_epoch", "(Z > 0) * (G2 @ W2.T)", "G2 @ W2.T")),
    (LOOPS, Wrong("nn_epoch", "W2 -= lr * Z.T @ G2 / len(t)", "W2 -= lr * Z.T @ G2 / len(t) / len(t)", "1/N")),
]


@pytest.fixture(scope="module")
def framework():
    """The solution's own package, importable for a while."""
    sys.path.insert(0, str(HERE / "python"))
    yield importlib.import_module("needle")
    sys.path.remove(str(HERE / "python"))
    for name in [n for n in sys.modules if n == "needle" or n.startswith("needle.")]:
        del sys.modules[name]


def _row(path, wrong):
    space = {"__name__": "needle.edited", "__package__": "needle"}
    exec(compile(edited(path.read_text(), wrong), str(path), "exec"), space)
    return rows("needle", space, wrong.exercise)[-1]


def test_a_right_solution_is_recognised_and_ok_in_every_tier():
    assert submission.recognised(submission.read(HERE), [course("dlfs"), course("needle")], None).name == "needle"
    report = checked("needle", HERE)
    assert {r.name: (r.verdict, r.note) for r in report.rows if not r.ok} == {}
    assert len(report.rows) > 40


@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize(("path", "wrong"), MISTAKES, ids=[str(w) for _, w in MISTAKES])
def test_a_wrong_solution_is_caught(path, wrong):
    hold(_row(path, wrong), wrong)


def test_an_engine_that_forgets_a_use_is_caught(tmp_path):
    shutil.copytree(HERE, tmp_path / "needle")
    engine = tmp_path / "needle" / "python" / "needle" / "autograd.py"
    engine.write_text(engine.read_text().replace("node.grad = node.grad + part", "node.grad = part"))
    row = checked("needle", tmp_path / "needle", ["compute_gradient_of_variables"], explain=True).rows[-1]
    assert row.verdict == "wrong"
    assert "da" in words(row)


@pytest.fixture(scope="module")
def own_arrays():
    return checked("needle", HERE.with_name("own_arrays"))


def test_arrays_of_its_own_are_asked_for_what_they_can_do_and_a_compiled_backend_is_stood_in_for(own_arrays):
    rows = {r.name: r for r in own_arrays.rows}
    assert {n: (r.verdict, r.note) for n, r in rows.items() if not r.ok and r.verdict != "not implemented"} == {}
    assert "own arrays" in rows["MatMul.gradient"].exercise.convention
    assert "softmax_regression_epoch" not in rows


def test_a_package_that_imports_itself_has_each_of_its_classes_once(own_arrays):
    assert [r.verdict for r in own_arrays.rows if r.name == "compute_gradient_of_variables"] == ["ok"]


def test_the_first_homework_s_loss_and_epoch_are_on_tensors(own_arrays):
    rows = {r.name: r for r in own_arrays.rows}
    assert (rows["softmax_loss"].verdict, rows["nn_epoch"].verdict) == ("ok", "ok")
    assert "one-hot" in rows["nn_epoch"].exercise.convention


def test_what_refuses_every_tensor_as_it_is_handed_out_is_nobody_s_mistake(own_arrays):
    row = next(r for r in own_arrays.rows if r.name == "EWisePow.gradient")
    assert (row.verdict, "handed out" in row.note) == ("not implemented", True)


def test_only_numpy_s_arrays_are_asked_for_all_and_single_precision_is_no_finding(tmp_path):
    shutil.copytree(HERE.with_name("own_arrays"), tmp_path / "needle")
    engine = tmp_path / "needle" / "python" / "needle" / "autograd.py"
    engine.write_text(engine.read_text().replace("found[i]", "found[node.inputs.index(used)]"))
    row = checked("needle", tmp_path / "needle", ["compute_gradient_of_variables"], explain=True).rows[-1]
    assert (row.verdict, row.note) == ("wrong", "da wrong")
    assert "given one value twice sends back its first gradient" in words(row)
    row = next(r for r in checked("needle", HERE, ["MatMul"]).rows if r.name == "MatMul.gradient")
    assert (row.verdict, row.tried) == ("ok", 5)


def test_a_gradient_that_is_no_tensor_is_told(tmp_path):
    shutil.copytree(HERE, tmp_path / "needle")
    ops = tmp_path / "needle" / "python" / "needle" / "ops.py"
    ops.write_text(ops.read_text().replace("return node * out_grad", "return node.numpy() * out_grad.numpy()"))
    row = next(r for r in checked("needle", tmp_path / "needle", ["Exp"]).rows if r.name == "Exp.gradient")
    assert "where a Tensor is wanted" in row.note


def test_nine_of_ten_are_explained():
    enough([w for _, w in MISTAKES])
