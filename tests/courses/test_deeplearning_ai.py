"""deeplearning.ai: what is right is ok, what is wrong is caught and named; the composites agree with torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from courses._course import Wrong, checked, course, enough, found, hold

from refbp import BCELoss, Linear, MSELoss, Sequential, Sigmoid, Tanh
from refbp.courses._composites import Scored, SharedMaxPool2d

HERE = Path(__file__).with_name("deeplearning_ai") / "right"
FILES = ("dense", "planar", "regularized", "optimizers", "pictures", "recurrent")

REGULAR = "backward_propagation_with_regularization"
DENSE = [
    Wrong("linear_backward", "np.dot(dZ, A_prev.T) / m", "np.dot(dZ, A_prev.T)", "dW is N times"),
    Wrong(
        "linear_backward", "np.sum(dZ, axis=1, keepdims=True) / m", "np.sum(dZ) / m", r"summed over axes \(0, 1\)|has the shape"
    ),
    Wrong("linear_backward", "axis=1, keepdims=True) / m", "axis=1) / m", "only its shape is wrong", "shape-only"),
    Wrong("linear_backward", "np.sum(dZ, axis=1, ", "np.sum(dZ, axis=0, ", r"db has the shape"),
    Wrong("linear_backward", "dA_prev = np.dot(W.T, dZ)", "dA_prev = np.dot(W.T, dZ) / m", "dA_prev is 1/N times"),
    Wrong("linear_backward", "np.dot(dZ, A_prev.T) / m", "np.dot(A_prev, dZ.T) / m", "dW is transposed"),
    Wrong("linear_backward", "m = A_prev.shape[1]", "m = A_prev.shape[0]", "N/in_features times"),
    Wrong("sigmoid_backward", "dA * s * (1 - s)", "s * (1 - s)", "ignores the upstream gradient"),
    Wrong("sigmoid_backward", "dA * s * (1 - s)", "dA * s", "f.x. stands where its slope"),
    Wrong("sigmoid_backward", "dA * s * (1 - s)", "dA * cache * (1 - cache)", "x stands where y is meant"),
    Wrong("relu_backward", "dZ[cache <= 0] = 0", "dZ[dZ <= 0] = 0", "mask is taken of the upstream"),
    Wrong("relu_backward", "dZ[cache <= 0] = 0", "dZ[cache < 0] = 0", "wrong only where x is 0", "kink-only"),
    Wrong("relu_backward", "np.array(dA, copy=True)", "dA", "dA is overwritten", "mutates its arguments"),
    Wrong("linear_activation_backward (relu)", "relu_backward(dA, activation_cache)", "dA", "slope f′.x. is missing.*the ReLU"),
    Wrong(
        "linear_activation_backward (sigmoid)", "sigmoid_backward(dA, activation_cache)", "relu_backward(dA, activation_cache)"
    ),
    Wrong("L_model_backward", "dA = -(np", "dA = (np", "wrong sign"),
    Wrong(
        "L_model_backward", "(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))", "np.divide(Y, AL)", r"\(1 − t\)/\(1 − p\).*missing"
    ),
    Wrong("L_model_backward", "/ m\n    dA_prev", "\n    dA_prev", "N times"),
    Wrong(
        "L_model_backward", '"sigmoid" if layer == L - 1 else "relu"', '"relu"', "slope.*Sigmoid", function="L_model_backward"
    ),
    Wrong("compute_cost", "-1 / m * np.sum", "-np.sum", "N times", "convention"),
    Wrong("compute_cost", "-1 / m * np.sum", "1 / m * np.sum", "wrong sign"),
    Wrong("compute_cost", "np.squeeze(cost)", "np.mean((Y - AL) ** 2)", "cost is the output of MSELoss, not of BCELoss"),
    Wrong("sigmoid_backward", "np.exp(-Z)", "np.exp(Z)", "exponent has the wrong sign", row="sigmoid"),
    Wrong("compute_cost", " + np.multiply(1 - Y, np.log(1 - AL))", "", "missing"),
]
PLANAR = [
    Wrong("propagate", "np.dot(X, (A - Y).T) / m", "np.dot(X, (A - Y).T)", "dw is N times"),
    Wrong("propagate", "np.dot(X, (A - Y).T) / m", "np.dot(X, (Y - A).T) / m", "dw has the wrong sign"),
    Wrong("propagate", "np.sum(A - Y) / m", "np.sum(A - Y)", "db is N times"),
    Wrong("propagate", "np.sum(A - Y) / m", "np.sum(A - Y, axis=0) / m", "db is not summed over axis 0"),
    Wrong("backward_propagation", '(1 - np.power(cache["A1"], 2))', '(1 - cache["A1"])', "the square is missing.*the Tanh"),
    Wrong("backward_propagation", '(1 - np.power(cache["A1"], 2))', 'cache["A1"] * (1 - cache["A1"])', "sigmoid.*the Tanh"),
    Wrong("backward_propagation", "np.dot(dZ1, X.T) / m", "np.dot(dZ1, X.T)", "dW1 is N times"),
    Wrong("backward_propagation", 'np.dot(dZ2, cache["A1"].T)', 'np.dot(dZ2, cache["Z1"].T)', "z where a is meant"),
    Wrong("backward_propagation", "db1 = np.sum(dZ1, axis=1, keepdims=True)", "db1 = np.sum(dZ1)", "has the shape"),
]
REGULARIZED = [
    Wrong(REGULAR, "(dZ2 @ A1.T) + lambd / m * W2", "(dZ2 @ A1.T)", "dW2.*lambd|dW2.*λ W is missing"),
    Wrong(REGULAR, "lambd / m", "lambd", "λ W is N times"),
    Wrong(REGULAR, "lambd / m", "lambd / (2 * m)", "λ W is 1/2 times"),
    Wrong(REGULAR, "np.int64(A2 > 0)", "np.int64(Z1 > 0)", "error is raised", "raises"),
]
GD, MOMENTUM, ADAM = (f"update_parameters_with_{rule}" for rule in ("gd", "momentum", "adam"))
OPTIMIZERS = [
    Wrong(GD, "- learning_rate * grads", "+ learning_rate * grads", "the step is added"),
    Wrong(MOMENTUM, "(1 - beta) * grads[d]", "grads[d]", "factor 1 − β of the gradient is missing"),
    Wrong(MOMENTUM, "learning_rate * v[d]", "learning_rate * grads[d]", "the gradient is subtracted, where v is meant"),
    Wrong(MOMENTUM, "beta * v[d] + ", "", "v is not kept from step to step"),
    Wrong(MOMENTUM, "- learning_rate * v[d]", "+ learning_rate * v[d]", "the step is added"),
    Wrong(ADAM, "v_corrected[d] / (np", "v[d] / (np", ""),
    Wrong(ADAM, "(1 - beta2**t)", "(1 - beta2)", ""),
    Wrong(ADAM, "(np.sqrt(s_corrected[d]) + epsilon)", "np.sqrt(s_corrected[d] + epsilon)", "ε is under the root"),
    Wrong(ADAM, "(1 - beta2) * grads[d] ** 2", "(1 - beta2) * grads[d]", ""),
    Wrong("update_parameters", "- learning_rate", "+ learning_rate", "the step is added"),
]
PICTURES = [
    Wrong(
        "conv_backward",
        "W) + float(b.item())",
        "W + float(b.item()))",
        "b is added to each product before the sum",
        row="conv_forward",
    ),
    Wrong("conv_backward", " + float(b.item())", "", "b is not added", row="conv_forward"),
    Wrong("conv_backward", "cols, :] += W", "cols, :] = W", "dA_prev is overwritten"),
    Wrong("conv_backward", "dW[:, :, :, c] += ", "dW[:, :, :, c] = ", "dW is overwritten"),
    Wrong("conv_backward", "db[:, :, :, c] += ", "db[:, :, :, c] = ", "db is overwritten"),
    Wrong(
        "conv_backward",
        "[:, pad : pad + n_H_prev, pad : pad + n_W_prev, :]",
        "[:, pad:-pad, pad:-pad, :]",
        "empty where the padding is 0",
    ),
    Wrong("conv_backward", "dA_prev_pad[:, pad : pad + n_H_prev, pad : pad + n_W_prev, :]", "dA_prev_pad", "padding > 0"),
    Wrong(
        "conv_backward",
        "slice(h * stride, h * stride + f), slice(w * stride, w * stride + f)",
        "slice(h, h + f), slice(w, w + f)",
        "stride is forgotten",
        function="conv_backward",
    ),
    Wrong("conv_backward", "A_prev_pad[i, rows", "A_prev_pad[0, rows", "wrong where N > 1"),
    Wrong("conv_backward", "return dA_prev, dW, db", "return dA_prev, dW / m, db / m", "1/2 times.*N > 1"),
    Wrong(
        "conv_backward",
        "slice(w * stride, w * stride + f)",
        "slice(h * stride, h * stride + f)",
        "error is raised",
        "raises",
        function="conv_backward",
    ),
    Wrong("pool_backward (max)", "cols, c] += mask", "cols, c] = mask"),
    Wrong("pool_backward (max)", "mask * dA[i, h, w, c]", "mask", "no upstream gradient multiplies"),
    Wrong(
        "pool_backward (max)",
        "slice(h * stride, h * stride + f), slice(w * stride, w * stride + f)",
        "slice(h, h + f), slice(w, w + f)",
        "stride is forgotten",
        function="pool_backward",
    ),
    Wrong("pool_backward (average)", "/ (n_H * n_W)", "", "product of kernel_size times"),
    Wrong("pool_backward (average)", "+= distribute", "= distribute", "overwritten"),
]
RECURRENT = [
    Wrong("rnn_cell_backward", "(1 - a_next**2) * da_next", "da_next", "slope φ′.z. of the nonlinearity is missing"),
    Wrong("rnn_cell_backward", "(1 - a_next**2)", "(1 - np.tanh(a_next) ** 2)", "tanh is applied twice"),
    Wrong("rnn_cell_backward", 'parameters["Waa"].T @ dz', 'parameters["Waa"] @ dz', "W_hh transposed"),
    Wrong("rnn_cell_backward", "dWaa = dz @ a_prev.T", "dWaa = dz @ a_next.T", "state after the step"),
    Wrong("rnn_cell_backward", "dz, axis=1, keepdims=True", "dz, axis=1", "only its shape is wrong", "shape-only"),
    Wrong("rnn_backward", "da[:, :, t] + da_prevt", "da[:, :, t]", "recurrence is missing", function="rnn_backward"),
    Wrong("rnn_backward", "dWax += gradients", "dWax = gradients", "overwrite each other"),
    Wrong("rnn_backward", '"da0": da_prevt, "dWax"', '"da0": 0 * da_prevt, "dWax"', "upstream gradient of y is ignored|zero"),
    Wrong("lstm_cell_backward", "(1 - cct**2)", "(1 - np.tanh(cct) ** 2)", "tanh is applied twice at gate g"),
    Wrong("lstm_cell_backward", "+ da_next * ot * (1 - np.tanh(c_next) ** 2)", "", "way of dh into dc is missing"),
    Wrong("lstm_cell_backward", "dc * c_prev * ft", "dc * c_next * ft", "memory after the step"),
    Wrong("lstm_cell_backward", "(1 - np.tanh(c_next) ** 2)", "(1 - c_next**2)", "1 − c′² in place of"),
    Wrong(
        "lstm_cell_backward",
        '["dc_prev"] = dc * ft',
        '["dc_prev"] = dc_next * ft',
        "dc_prev.*(way of dh into dc|upstream gradient of h_1 is ignored)",
    ),
    Wrong("lstm_cell_backward", "np.tanh(c_next) * ot * (1 - ot)", "np.tanh(c_next)", "dWo"),
    Wrong("lstm_backward", "da[:, :, t] + da_prevt", "da[:, :, t]", "recurrence is missing", function="lstm_backward"),
    Wrong("lstm_backward", "da_prevt, dc_prevt = gradients", "da_prevt, _ = gradients", "upstream gradient of c′ is not added"),
]
ALL = [
    ("dense", DENSE),
    ("planar", PLANAR),
    ("regularized", REGULARIZED),
    ("optimizers", OPTIMIZERS),
    ("pictures", PICTURES),
    ("recurrent", RECURRENT),
]
MISTAKES = [(file, wrong) for file, wrongs in ALL for wrong in wrongs]


@pytest.fixture(scope="module")
def reports():
    return {file: checked("deeplearning_ai", HERE / f"{file}.py") for file in FILES}


@pytest.mark.parametrize("file", FILES)
def test_a_right_solution_is_ok_in_every_tier(reports, file):
    rows = [r for r in reports[file].rows if r.verdict != "not implemented"]
    assert {r.name: (r.verdict, r.note) for r in rows if not r.ok} == {}
    assert len(rows) >= 3


def test_every_exercise_has_a_right_solution(reports):
    tried = {r.name for report in reports.values() for r in report.rows if r.ok}
    assert {e.name for e in course("deeplearning_ai").exercises} <= tried


def test_the_1_by_m_of_dense_layers_is_reported_as_the_courses(reports):
    deviates = {r.name for report in reports.values() for r in report.rows if r.autograd == "no"}
    assert deviates == {"linear_backward", "linear_activation_backward (relu)", "linear_activation_backward (sigmoid)"}


def test_a_mode_may_be_told_by_its_identity(tmp_path):
    """``activation is "relu"`` is true of the strings in a program: a worker's are the same objects."""
    path = tmp_path / "dense.py"
    path.write_text((HERE / "dense.py").read_text().replace('activation == "', 'activation is "'))
    assert ' is "relu"' in path.read_text()
    report = checked("deeplearning_ai", path, ["linear_activation_backward (relu)", "linear_activation_backward (sigmoid)"])
    assert [r.verdict for r in report.rows] == ["ok"] * 4


def test_a_script_may_import_what_the_course_hands_out_and_test_itself(tmp_path):
    source = (HERE / "dense.py").read_text()
    names = ("sigmoid", "relu", "relu_backward", "sigmoid_backward")
    for name in names:
        start = source.index(f"def {name}(")
        end = source.find("\n\n\n", start)
        source = source[:start] + source[end + 3 :]
    own = f"from testCases_v2 import *\nfrom dnn_utils_v2 import {', '.join(names)}\n"
    (tmp_path / "dnn.py").write_text(
        source.replace("import numpy as np\n", f"import numpy as np\n{own}") + "\nprint(a_test_case())\n"
    )
    report = checked("deeplearning_ai", tmp_path / "dnn.py")
    assert {r.name: r.verdict for r in report.rows if r.tried and not r.ok} == {}
    assert "L_model_backward" in {r.name for r in report.rows if r.ok}
    assert "a_test_case" in report.notes[0]


def test_a_backward_whose_forward_is_handed_out_is_checked_alone(tmp_path):
    source = (HERE / "regularized.py").read_text()
    alone = "import numpy as np\n\n\n" + source[source.index(f"def {REGULAR}(") :]
    (tmp_path / "reg.py").write_text(alone)
    (row,) = checked("deeplearning_ai", tmp_path / "reg.py", [REGULAR]).rows
    assert (row.verdict, row.name) == ("ok", REGULAR)
    row = found("deeplearning_ai", tmp_path / "reg.py", Wrong(REGULAR, "lambd / m", "lambd"))
    assert row.verdict == "wrong"
    assert "λ W is N times" in row.findings[0].sentence
    (tmp_path / "reg.py").write_text(f"def {REGULAR}(X, Y, cache, lambd):\n    pass\n")
    (row,) = checked("deeplearning_ai", tmp_path / "reg.py", [REGULAR]).rows
    assert (row.verdict, row.note) == ("not implemented", "its body is pass")


def test_adam_may_take_its_settings_in_another_order_or_give_back_less(tmp_path):
    source = (HERE / "optimizers.py").read_text()
    for old, new in (
        ("learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon", "beta1=0.9, beta2=0.999, learning_rate=0.01, epsilon"),
        ("v, s, v_corrected, s_corrected\n", "v, s\n"),
    ):
        assert old in source
        source = source.replace(old, new)
        (tmp_path / "optimizers.py").write_text(source)
        (row,) = checked("deeplearning_ai", tmp_path / "optimizers.py", [ADAM]).rows
        assert row.ok


def test_at_a_tie_one_may_get_the_gradient_or_all(reports):
    (row,) = (r for r in reports["pictures"].rows if r.name == "pool_backward (max)")
    assert row.ok
    assert "every one of the largest" in row.exercise.convention
    first = "np.arange(x.size).reshape(x.shape) == x.argmax()"
    row = found("deeplearning_ai", HERE / "pictures.py", Wrong("pool_backward (max)", "x == np.max(x)", first))
    assert row.ok
    assert "one of the largest gets" in row.exercise.convention


@pytest.mark.parametrize(("file", "wrong"), MISTAKES, ids=[str(w) for _, w in MISTAKES])
def test_a_wrong_solution_is_caught(file, wrong):
    hold(found("deeplearning_ai", HERE / f"{file}.py", wrong), wrong)


def test_nine_of_ten_are_explained():
    enough([w for _, w in MISTAKES])


# The composites, held against torch autograd ---------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("lambd", [0.0, 0.7])
@pytest.mark.parametrize("square", [False, True])
def test_a_scored_network_is_torchs(reduction, lambd, square):
    rng = np.random.default_rng(5)
    layer = Scored(
        Sequential(Linear(4, 3), Tanh(), Linear(3, 2), Sigmoid()),
        MSELoss(reduction=reduction) if square else BCELoss(reduction=reduction),
        lambd,
    )
    state, x, t = layer.init(rng), rng.normal(size=(5, 4)), rng.uniform(size=(5, 2))
    dy, dloss = rng.normal(size=(5, 2)), np.asarray(-1.3)
    step = layer(state, x, t)
    grads = step.backward(dy, dloss)

    W = {n: torch.tensor(a, requires_grad=True) for n, a in state.items()}
    a = torch.tensor(x, requires_grad=True)
    y = torch.sigmoid(torch.tanh(a @ W["0.weight"].T + W["0.bias"]) @ W["2.weight"].T + W["2.bias"])
    head = torch.nn.functional.mse_loss if square else torch.nn.functional.binary_cross_entropy
    loss = head(y, torch.tensor(t), reduction=reduction)
    loss = loss + lambd / 10 * sum((w**2).sum() for n, w in W.items() if n.endswith("weight"))
    torch.autograd.backward([y, loss], [torch.tensor(dy), torch.tensor(dloss)])
    np.testing.assert_allclose(step.outputs[1], loss.item(), rtol=1e-13)
    np.testing.assert_allclose(grads.inputs[0], a.grad.numpy(), rtol=1e-10, atol=1e-13)
    for n, w in W.items():
        np.testing.assert_allclose(grads.params[n], w.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_a_maximum_that_shares_is_torchs_where_nothing_ties():
    layer, x = SharedMaxPool2d(3, 2), np.random.default_rng(1).normal(size=(2, 3, 7, 5))
    step = layer({}, x)
    dy = np.random.default_rng(2).normal(size=step.outputs.shape)
    a = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.max_pool2d(a, 3, 2)
    y.backward(torch.tensor(dy))
    np.testing.assert_allclose(step.outputs, y.detach().numpy(), rtol=0)
    np.testing.assert_allclose(step.backward(dy).inputs[0], a.grad.numpy(), rtol=1e-13)
    ties = SharedMaxPool2d(2)({}, np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(ties.backward(np.full((1, 1, 1, 1), 3.0)).inputs[0], np.full((1, 1, 2, 2), 3.0))
