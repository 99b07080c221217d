"""minitorch: what is right is ok, what is wrong is caught and named."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from courses._course import Wrong, checked, course, edited, enough, hold, rows, words

from refbp.oracle import submission

HERE = Path(__file__).with_name("minitorch") / "right"
OPERATORS, NUMBERS, TENSORS, NN, CONV = (
    HERE / "minitorch" / f"{n}.py" for n in ("operators", "scalar_functions", "tensor_functions", "nn", "fast_conv")
)
MISTAKES = [
    (OPERATORS, Wrong("log_back", "d * (1.0 / (EPS + x))", "1.0 / (EPS + x)", "upstream")),
    (OPERATORS, Wrong("inv_back", "-d * x**-2", "d * x**-2", "wrong sign")),
    (OPERATORS, Wrong("relu_back", "float(x > 0)", "float(d > 0)", "upstream")),
    (OPERATORS, Wrong("relu_back", "float(x > 0)", "float(x >= 0)", "zero", "kink-only")),
    (NUMBERS, Wrong("Mul.backward", "return b * d_output, a * d_output", "return a * d_output, b * d_output", "swapped")),
    (NUMBERS, Wrong("Add.backward", "return d_output, d_output", "return 1.0, 1.0", "upstream", function="Add")),
    (NUMBERS, Wrong("Inv.backward", "-d_output / (a * a)", "-d_output / a", "factor y is missing")),
    (NUMBERS, Wrong("Neg.backward", "return 0 - d_output", "return d_output", "wrong sign")),
    (NUMBERS, Wrong("Sigmoid.backward", "d_output * (out - out**2)", "d_output * out", "slope")),
    (NUMBERS, Wrong("Exp.backward", "return out * d_output", "return d_output", "is missing")),
    (TENSORS, Wrong("Mul.backward (tensors)", "return b * grad_output, a * grad_output", "return b, a", "upstream")),
    (TENSORS, Wrong("Inv.backward (tensors)", "-d / x**2", "d / x**2", "wrong sign")),
    (TENSORS, Wrong("Sigmoid.backward (tensors)", "d * y * (1 - y)", "d * (1 - y)", "factor y is missing")),
    (TENSORS, Wrong("ReLU.backward (tensors)", "np.where(x > 0, d, 0)", "np.where(d > 0, d, 0)", "upstream")),
    (
        TENSORS,
        Wrong(
            "Permute.backward (tensors)",
            "grad_output.permuted(back)",
            "grad_output.permuted(order.ints())",
            "axes in another order",
        ),
    ),
    (
        TENSORS,
        Wrong(
            "Permute.backward (tensors)",
            "return grad_output.permuted(back), 0.0",
            "return grad_output.viewed([grad_output.shape[i] for i in back]), 0.0",
            "is reshaped",
        ),
    ),
    (TENSORS, Wrong("View.backward (tensors)", "grad_output.viewed(shape), 0.0", "grad_output, 0.0", "raise|shape")),
    (
        TENSORS,
        Wrong(
            "MatMul.backward (tensors)",
            "grad_output @ t2.swapped(), t1.swapped() @ grad_output",
            "t1.swapped() @ grad_output, grad_output @ t2.swapped()",
            "raise|swapped|shape",
        ),
    ),
    (TENSORS, Wrong("MatMul.backward (tensors)", "grad_output @ t2.swapped()", "grad_output * 2 @ t2.swapped()", "2 times")),
    (TENSORS, Wrong("Sum.backward (tensors)", "return grad_output, 0.0", "return grad_output * (1 / 7), 0.0", "times what")),
    (NN, Wrong("Max.backward (tensors)", "grad_output * Tensor(mask)", "Tensor(mask)", "upstream")),
    (
        CONV,
        Wrong("Conv1dFun.backward (tensors)", '+= np.einsum("now,oc->ncw"', '= np.einsum("now,oc->ncw"', r"\+=|added|overwrit"),
    ),
    (
        CONV,
        Wrong(
            "Conv2dFun.backward (tensors)",
            "Tensor(dx[:, :, :h, :width]), Tensor(dw)",
            "Tensor(dx[:, :, :h, :width]), Tensor(dw / len(x))",
            "1/2 times",
        ),
    ),
]


@pytest.fixture(scope="module")
def framework():
    """The solution's own package, importable for a while."""
    sys.path.insert(0, str(HERE))
    yield importlib.import_module("minitorch")
    sys.path.remove(str(HERE))
    for name in [n for n in sys.modules if n.split(".")[0] == "minitorch"]:
        del sys.modules[name]


def _row(path, wrong):
    space = {"__name__": "minitorch.edited", "__package__": "minitorch"}
    exec(compile(edited(path.read_text(), wrong), str(path), "exec"), space)
    return rows("minitorch", space, wrong.exercise)[-1]


def test_a_right_solution_is_recognised_and_ok_in_every_tier():
    assert submission.recognised(submission.read(HERE), [course("dlfs"), course("minitorch")], None).name == "minitorch"
    report = checked("minitorch", HERE)
    assert {r.name: (r.verdict, r.note) for r in report.rows if not r.ok} == {}
    assert len(report.rows) > 50


@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize(("path", "wrong"), MISTAKES, ids=[str(w) for _, w in MISTAKES])
def test_a_wrong_solution_is_caught(path, wrong):
    hold(_row(path, wrong), wrong)


def test_the_place_of_a_function_of_tensors_is_told():
    row = checked("minitorch", HERE, ["Permute.backward (tensors)"]).rows[-1]
    assert (row.name, Path(row.where).name, row.line > 0) == ("Permute.backward (tensors)", "tensor_functions.py", True)


FIRST = HERE.with_name("first_years")


@pytest.fixture(scope="module")
def first_years():
    return {r.name: r for r in checked("minitorch", FIRST).rows}


def test_classes_that_a_function_makes_are_found_and_given_numbers_and_tuples(first_years):
    assert {n: (r.verdict, r.note) for n, r in first_years.items() if not r.ok and r.verdict != "not implemented"} == {}
    assert {"Mul.backward", "Mul.backward (tensors)", "Sum.backward (tensors)", "Permute.backward (tensors)"} <= set(
        first_years
    )


def test_matrices_are_multiplied_by_the_fast_operations_without_a_compiler(first_years):
    assert first_years["MatMul.backward (tensors)"].verdict == "ok"


def test_an_epsilon_in_a_divisor_is_nobody_s_mistake(first_years):
    assert [first_years[f"{n}.backward"].verdict for n in ("Log", "Inv")] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("arrived.get(id(used), 0.0) + d", "d", "other uses: = stands for"),
        ("arrived.get(id(used), 0.0) + d", "arrived.get(id(used), d)", "only what arrives first at a value counts"),
    ],
)
def test_a_pass_backward_that_loses_a_use_is_explained(old, new, says, tmp_path):
    shutil.copytree(FIRST, tmp_path / "minitorch")
    engine = tmp_path / "minitorch" / "minitorch" / "autodiff.py"
    assert old in engine.read_text()
    engine.write_text(engine.read_text().replace(old, new))
    row = checked("minitorch", tmp_path / "minitorch", ["backpropagate"], explain=True).rows[-1]
    assert row.verdict == "wrong"
    assert says in words(row)


def test_nine_of_ten_are_explained():
    enough([w for _, w in MISTAKES])


def test_a_file_of_tensors_lacks_none_of_the_functions_on_numbers():
    rows = checked("minitorch", TENSORS, ["Add.backward", "Add.backward (tensors)", "Max.backward (tensors)"]).rows
    assert [r.name for r in rows] == ["Add.forward (tensors)", "Add.backward (tensors)"]
