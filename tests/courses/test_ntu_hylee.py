"""Hung-yi Lee's course: what is right is ok, what is wrong is caught and named."""

from pathlib import Path

import pytest
from courses._course import Wrong, checked, course, enough, found, hold

HERE = Path(__file__).with_name("ntu_hylee") / "right"
FILES = ("logistic", "columns", "lecture")

LOGISTIC = [
    Wrong("_gradient", "-np.sum(pred_error * X.T, 1)", "np.sum(pred_error * X.T, 1)", "w_grad has the wrong sign"),
    Wrong("_gradient", "-np.sum(pred_error)", "np.sum(pred_error)", "b_grad has the wrong sign"),
    Wrong("_gradient", "-np.sum(pred_error)", "-np.mean(pred_error)", "b_grad is 1/N times"),
    Wrong("_gradient", "-np.sum(pred_error * X.T, 1)", "-np.mean(pred_error * X.T, 1)", "w_grad is 1/N times"),
    Wrong("_gradient", "-np.sum(pred_error * X.T, 1)", "-np.sum(pred_error * X.T, 0)"),
    Wrong("_gradient", "-np.sum(pred_error * X.T, 1)", "-np.sum(pred_error * X.T)", "summed over axis 0, which should stay"),
    Wrong("_gradient", "Y_label - y_pred", "(Y_label - y_pred) * y_pred * (1 - y_pred)", "squared, in the Sigmoid"),
    Wrong("_gradient", "Y_label - y_pred", "2 * (Y_label - y_pred)", "are 2 times"),
    Wrong("_gradient", "-np.sum(pred_error)\n", "-pred_error\n", "not summed over axis 0"),
    Wrong("_cross_entropy_loss", " - np.dot((1", " + np.dot((1", "wrong sign"),
    Wrong("_cross_entropy_loss", "np.dot((1 - Y_label), np.log(1 - y_pred))", "0", "missing"),
    Wrong(
        "_f on large inputs",
        "np.clip(1 / (1.0 + np.exp(-z)), 1e-8, 1 - (1e-8))",
        "np.exp(z) / (1 + np.exp(z))",
        "NaN or infin",
        "unstable",
    ),
]
LECTURE = [
    Wrong("backward_pass", "dLda * a * (1 - a)", "dLda * a", "f.x. stands where its slope.*every Sigmoid"),
    Wrong("backward_pass", "dLda * a * (1 - a)", "dLda", "slope f′.x. is missing.*every Sigmoid"),
    Wrong(
        "backward_pass",
        "dLda = Ws[layer].T @ delta",
        "dLda = Ws[layer].T @ dLda",
        "every Linear sends back a gradient that has not been through the slope",
    ),
    Wrong("backward_pass", "dWs[layer] += np.outer", "dWs[layer] = np.outer", "last sample's share"),
    Wrong("backward_pass", "delta.sum(axis=1, keepdims", "delta.mean(axis=1, keepdims", "db1 and db2 are 1/N times"),
    Wrong("backward_pass", "delta.sum(axis=1", "delta.sum(axis=0", "has the shape"),
    Wrong("backward_pass", "delta.sum(axis=1, keepdims=True)", "delta.sum(axis=1)", "shape is wrong", "shape-only"),
    Wrong(
        "backward_pass",
        "np.outer(delta[:, n], activations[layer][:, n])",
        "2 * np.outer(delta[:, n], activations[layer][:, n])",
        "are 2 times",
    ),
    Wrong("backward_pass", "activations[layer][:, n])", "activations[layer][:, 0])"),
    Wrong("backward_pass", "activations[layer][:, n])", "activations[layer + 1][:, n])", "error is raised", "raises"),
    Wrong("backward_pass, three layers", "a = activations[layer + 1]", "a = activations[-1]", "error is raised", "raises"),
    Wrong(
        "backward_pass, three layers",
        "dLda * a * (1 - a)",
        "dLda * (a * (1 - a) if layer == 2 else 1)",
        "slope f′.x. is missing",
    ),
]
ALL = [("logistic", LOGISTIC), ("lecture", LECTURE)]
MISTAKES = [(file, wrong) for file, wrongs in ALL for wrong in wrongs]


@pytest.fixture(scope="module")
def reports():
    return {file: checked("ntu_hylee", HERE / f"{file}.py") for file in FILES}


@pytest.mark.parametrize("file", FILES)
def test_a_right_solution_is_ok_in_every_tier(reports, file):
    assert {r.name: (r.verdict, r.note) for r in reports[file].rows if not r.ok} == {}


def test_every_exercise_has_a_right_solution(reports):
    assert {e.name for e in course("ntu_hylee").exercises} <= {r.name for rep in reports.values() for r in rep.rows}


def test_a_mean_in_both_gradients_is_another_years_convention():
    both = (("-np.sum(pred_error)\n", "-np.mean(pred_error)\n"),)
    row = found(
        "ntu_hylee",
        HERE / "logistic.py",
        Wrong("_gradient", "-np.sum(pred_error * X.T, 1)", "-np.mean(pred_error * X.T, 1)", also=both),
    )
    assert (row.verdict, row.autograd) == ("ok", "no")


@pytest.mark.parametrize(("file", "wrong"), MISTAKES, ids=[str(w) for _, w in MISTAKES])
def test_a_wrong_solution_is_caught(file, wrong):
    hold(found("ntu_hylee", HERE / f"{file}.py", wrong), wrong)


def test_labels_and_weights_may_be_columns(reports):
    row = next(r for r in reports["columns"].rows if r.name == "_gradient")
    assert row.exercise.convention.endswith("columns, (N, 1) and (D, 1)")
    assert "X_train" in " ".join(reports["columns"].notes) or "line 5" in " ".join(reports["columns"].notes)


def test_nine_of_ten_are_explained():
    enough([w for _, w in MISTAKES])
