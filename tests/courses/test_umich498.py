"""EECS 498: tensors in, tensors out; what is right is right in every tier, what is wrong is caught and explained."""

from pathlib import Path

import pytest
import torch
from courses._course import caught, checked, course, found, names, rows, told, words
from courses.umich498.wrong import WRONG

from refbp.oracle import submission

RIGHT = Path(__file__).parent / "umich498" / "right"
FILES = sorted(RIGHT.glob("*.py"))


@pytest.fixture(scope="module")
def defined():
    """What each file of the right solution defines, in this process."""
    return {path.name: names(path) for path in FILES}


@pytest.fixture(scope="module")
def mistakes():
    """Every mistake, with the row that is made of it."""
    return [(w, found("umich498", RIGHT / w.file, w)) for w in WRONG]


@pytest.mark.parametrize("exercise", dict.fromkeys(e.name for e in course("umich498").exercises))
def test_a_right_solution_is_ok_in_every_tier(defined, exercise):
    for made in (e for e in course("umich498").exercises if e.name == exercise):
        home = next(space for space in defined.values() if all(n.split(".")[0] in space for n in made.needs))
        found_ = rows("umich498", home, exercise)
        assert [(r.name, r.verdict, r.note) for r in found_ if not r.ok] == []
        assert {score for r in found_ for score in r.scores.values()} == {1.0}


def test_a_worker_has_torch_and_sees_the_file_beside():
    report = checked("umich498", RIGHT / "convolutional_networks.py", ["Conv.backward", "ThreeLayerConvNet.loss"])
    assert {r.name: r.verdict for r in report.rows} == {
        "Conv.forward": "ok",
        "Conv.backward": "ok",
        "ThreeLayerConvNet.loss": "ok",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_tensors_are_told_from_arrays_though_functions_have_the_same_names(path):
    courses = [course("cs231n"), course("umich498")]
    assert submission.recognised(submission.read(path), courses, None).name == "umich498"
    numpy = path.parents[2] / "cs231n" / "right" / {"linear_classifier.py": "classifiers.py"}.get(path.name, "rnn_layers.py")
    assert submission.recognised(submission.read(numpy), courses, None).name == "cs231n"


def test_every_mistake_is_caught(mistakes):
    assert len(mistakes) > 30
    assert [str(w) for w, row in mistakes if not caught(row)] == []


def test_every_mistake_is_explained(mistakes):
    assert [(str(w), row.verdict, words(row)) for w, row in mistakes if not told(row, w)] == []


def test_what_the_course_hands_out_need_not_lie_beside_a_solution(tmp_path):
    source = (RIGHT / "fully_connected_networks.py").read_text()
    start = source.index("def softmax_loss")
    source = source[:start] + source[source.index("class TwoLayerNet") :]
    source = f"from a3_helper import softmax_loss, svm_loss\nfrom eecs598 import Solver\n{source}"
    source += "\n\ndef solver(model):\n    return Solver(model)\n"
    (tmp_path / "fully_connected_networks.py").write_text(source)
    report = checked("umich498", tmp_path / "fully_connected_networks.py", ["Linear.backward", "TwoLayerNet.loss"])
    assert {r.verdict for r in report.rows} == {"ok"}
    assert len(report.rows) == 3


def test_the_losses_that_are_handed_out_are_torchs():
    space = {}
    exec(course("umich498").given["a3_helper.py"], space)
    for name, loss in (("softmax_loss", torch.nn.CrossEntropyLoss()), ("svm_loss", torch.nn.MultiMarginLoss())):
        x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
        y = torch.tensor([0, 2, 1, 1, 0])
        classes = 3 if name == "svm_loss" else 1  # torch averages margins over the classes
        wanted = classes * loss(x, y)
        wanted.backward()
        value, dx = space[name](x.detach(), y)
        torch.testing.assert_close(value, wanted.detach())
        torch.testing.assert_close(dx, x.grad)


ON_A_CARD = """import torch


class TwoLayerNet:
    def __init__(self, input_size, hidden_size, output_size, dtype=torch.float32, device="cuda", std=1e-4):
        self.params = {
            "W1": std * torch.randn(input_size, hidden_size, dtype=dtype, device=device),
            "b1": torch.zeros(hidden_size, dtype=dtype, device=device),
            "W2": std * torch.randn(hidden_size, output_size, dtype=dtype, device=device),
            "b2": torch.zeros(output_size, dtype=dtype, device=device),
        }

    def loss(self, X, y=None, reg=0.0):
        return nn_forward_backward(self.params, X, y, reg)
"""


def test_a_network_that_is_made_for_a_graphics_card_is_made_without_one(tmp_path):
    source = (RIGHT / "two_layer_net.py").read_text()
    source = source[: source.index("class TwoLayerNet")] if "class TwoLayerNet" in source else source
    (tmp_path / "two_layer_net.py").write_text(f"{ON_A_CARD}\n\n{source}")
    report = checked("umich498", tmp_path / "two_layer_net.py", ["TwoLayerNet.loss"])
    assert [(r.name, r.verdict) for r in report.rows] == [("TwoLayerNet.loss", "ok")]
