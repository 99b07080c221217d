"""Layers in refbp's own style: what is right is ok, what is wrong is caught and named; the answers are out of reach."""

from pathlib import Path

import pytest
from courses._course import Wrong, checked, course, enough, found, hold

from refbp.oracle import submission
from refbp.oracle.isolation import Worker

RIGHT = Path(__file__).with_name("refbp") / "right" / "layers.py"
MISTAKES = [
    Wrong("ReLU.backward", "np.where(saved, dy, 0)", "np.where(saved, 1, 0)", "upstream"),
    Wrong("Sigmoid.backward", "saved * (1 - saved) * dy", "saved * dy", "slope"),
    Wrong("SiLU.backward", "(s + s * x - x * s**2)", "(s + s * x)", "s is used where ds is meant"),
    Wrong("Linear.backward", "weight=back.T @ rows", "weight=rows.T @ back", "transposed"),
    Wrong("Linear.backward", "bias=back.sum(axis=0)", "bias=back.mean(axis=0)", "times what it should be"),
    Wrong("Mul.backward", "to_shape(x2 * dy, x1.shape)", "x2 * dy", "not summed"),
    Wrong("Add.backward", "Grads(*(to_shape(dy, s) for s in saved))", "Grads(dy, dy)", "not summed"),
    Wrong("Softmax.backward", "weighted - saved * weighted.sum(self.dim, keepdims=True)", "weighted * (1 - saved)", "diagonal"),
    Wrong("LogSoftmax.backward", "dy - saved * dy.sum(self.dim, keepdims=True)", "dy - saved", "Σ|missing|upstream|sum"),
    Wrong("Dropout.backward", "Grads(saved * dy, None)", "Grads((saved > 0) * dy, None)", "1 − p"),
    Wrong(
        "BatchNorm1d.backward",
        "(dy - dbeta / len(dy) - x_hat * dgamma / len(dy))",
        "(dy - dbeta / len(dy))",
        "mean.* is missing",
    ),
    Wrong("LayerNorm.backward", "(d - first - x_hat * second) / std", "(d - x_hat * second) / std", "mean"),
    Wrong("Conv2d.backward", "dwide[:, :, rows, columns] +=", "dwide[:, :, rows, columns] =", r"\+="),
    Wrong("MaxPool2d.backward", "+= dy[:, :, i, j]", "= dy[:, :, i, j]", r"\+=", function="MaxPool2d"),
    Wrong("AvgPool2d.backward", "dy[:, :, i, j, None, None] / size", "dy[:, :, i, j, None, None]", "times|divi"),
    Wrong(
        "Embedding.backward",
        "one_hot.T @ dy.reshape(-1, shape[1])",
        "(one_hot / one_hot.sum(0).clip(1)).T @ dy.reshape(-1, shape[1])",
        "row|more than once",
    ),
    Wrong("RNNCell.backward", "dz = dh - dh * new * new", "dz = dh", "slope"),
    Wrong("LSTMCell.backward", "total = dc + dh * o * (1 - t**2)", "total = dh * o * (1 - t**2)", "c′ is not added"),
    Wrong("GRUCell.backward", 'of_h @ state["weight_hh"] + dh * z', 'of_h @ state["weight_hh"]', "direct path"),
    Wrong("MSELoss.backward", "d = 2 * dy / saved.size * saved", "d = dy / saved.size * saved", "1/2"),
    Wrong("CrossEntropyLoss.backward", "d * dy / len(target)", "d * dy", "N times"),
    Wrong("CrossEntropyLoss.backward", "d * dy / len(target)", "d / len(target)", "upstream"),
]


def test_a_right_solution_is_recognised_by_its_import_and_ok_in_every_tier():
    courses = [course("cmu11785"), course("refbp")]
    assert submission.recognised(submission.read(RIGHT), courses, None).name == "refbp"
    report = checked("refbp", RIGHT)
    assert {r.name: (r.verdict, r.note) for r in report.rows if not r.ok} == {}
    assert len(report.rows) > 40


def test_without_the_import_it_is_another_course_s(tmp_path):
    text = RIGHT.read_text().replace("from refbp import Forward, Grads, Layer", "Layer = Elementwise = object")
    (tmp_path / "layers.py").write_text(text.replace("from refbp.layers._elementwise import Elementwise", ""))
    courses = [course("cmu11785"), course("refbp")]
    assert submission.recognised(submission.read(tmp_path / "layers.py"), courses, None).name == "cmu11785"


def test_tuples_and_dicts_do_without_the_import(tmp_path):
    (tmp_path / "layers.py").write_text(
        "class Linear:\n    def __init__(self, in_features, out_features): pass\n"
        "    def forward(self, state, x):\n        return x @ state['weight'].T + state['bias'], (x, state['weight'])\n"
        "    def backward(self, saved, dy):\n        x, W = saved\n        batch = tuple(range(dy.ndim - 1))\n"
        "        import numpy as np\n"
        "        return dy @ W, {'weight': np.tensordot(dy, x, (batch, batch)), 'bias': dy.sum(axis=batch)}\n"
    )
    assert [r.verdict for r in checked("refbp", tmp_path / "layers.py").rows] == ["ok", "ok"]


def test_the_contract_is_importable_there_and_the_answers_are_not(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text("from refbp import Layer, hookimpl, normal, Spec\nfrom refbp.numerics import sigmoid\n")
    with Worker(path, extra_modules=("refbp",)) as worker:
        assert worker.loaded.ok, worker.loaded.sentence()
    for line, use in (
        ("from refbp import Linear", "Linear(2, 3)"),
        ("from refbp.layers.linear import Linear", "Linear(2, 3)"),
        ("import refbp.oracle.diagnose", "refbp.oracle.diagnose.diagnose([])"),
        ("import torch", "torch.ones(3)"),
    ):
        path.write_text(f"{line}\n\n\ndef answer():\n    return {use}\n")
        with Worker(path, extra_modules=("refbp",)) as worker:
            assert "No module named" in worker.call("answer").sentence(), line


@pytest.mark.parametrize("wrong", MISTAKES, ids=str)
def test_a_wrong_solution_is_caught(wrong):
    hold(found("refbp", RIGHT, wrong), wrong)


def test_nine_of_ten_are_explained():
    enough(MISTAKES)
