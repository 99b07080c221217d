"""Backpropagation, shown: what is told, that it is torch's, that the sums that are written out come to what is said."""

import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refbp.cli import cli
from refbp.errors import ArgumentError, RefbpError
from refbp.trace import setting as settings_
from refbp.trace.parse import problem
from refbp.trace.scenes import Block, Line
from refbp.trace.setting import EXAMPLES, Given, example, setting, traced
from refbp.trace.story import story
from refbp.trace.tell import told

pytestmark = pytest.mark.usefixtures("one_registry")
TWO = "Linear(2,2) Sigmoid Linear(2,2) Sigmoid MSELoss"


def refbp(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "refbp", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def command(*arguments):
    """The command in this process: its exit code and what it printed."""
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.stdout


def lines_of(trace):
    return [line for scene in story(trace) for line in scene.lines]


# Computation graphs ---------------------------------------------------------------------------------------------------


def test_one_path_is_the_product_of_its_slopes():
    trace = setting(example("one-path")).trace()
    x = 1 / (1 + math.exp(-0.5))
    assert trace.grads["s"] == pytest.approx((1 - math.tanh(x) ** 2) * x * (1 - x), rel=1e-14)
    assert any("∂z/∂s = ∂z/∂x·∂x/∂s" in line for line in told(trace))


def test_over_several_paths_the_products_are_added_up():
    trace = setting(example("two-paths")).trace()
    x, y = 1 / (1 + math.exp(-0.5)), math.tanh(0.5)
    assert trace.grads["s"] == pytest.approx(y * x * (1 - x) + x * (1 - y * y), rel=1e-14)
    assert any("∂z/∂s = ∂z/∂x·∂x/∂s + ∂z/∂y·∂y/∂s" in line for line in told(trace))


def test_a_value_that_fans_out_has_the_sum_of_what_arrives():
    trace = setting(example("fan-out")).trace()
    a = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    u = a * b
    ((u + b) * torch.tanh(u)).backward()
    assert trace.grads["a"] == pytest.approx(a.grad.item(), rel=1e-14)
    assert trace.grads["b"] == pytest.approx(b.grad.item(), rel=1e-14)
    assert len(trace.arrived["u"]) == len(trace.arrived["b"]) == 2
    assert sum(part.grad for part in trace.arrived["u"]) == trace.grads["u"]


def test_a_value_used_twice_by_one_layer_counts_twice():
    trace = traced("z = s * s", Given(input=("s=3",)))
    assert trace.grads["s"] == 6.0
    assert any("∂z/∂s = s + s = 3 + 3 = 6" in line for line in told(trace))


# What is told is torch's ----------------------------------------------------------------------------------------------


def sigmoid_by_torch():
    """The example, by torch alone: every letter of its trace and its number."""
    text, _, entries = EXAMPLES["sigmoid"]
    assert text == TWO
    x, t = (torch.tensor(entries[n], dtype=torch.float64, requires_grad=True) for n in ("input", "target"))
    p = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in entries["state"].items()}
    z1 = x @ p["0.weight"].T + p["0.bias"]
    a1 = torch.sigmoid(z1)
    z2 = a1 @ p["2.weight"].T + p["2.bias"]
    y = torch.sigmoid(z2)
    C = torch.nn.functional.mse_loss(y, t)
    values = {"x": x, "t": t, "z¹": z1, "a¹": a1, "z²": z2, "y": y, "C": C}
    letters = {"w¹": p["0.weight"], "b¹": p["0.bias"], "w²": p["2.weight"], "b²": p["2.bias"]}
    both = values | letters
    grads = dict(zip(both, torch.autograd.grad(C, list(both.values())), strict=True))
    found = {}
    for name, tensor in both.items():
        array, grad = tensor.detach().numpy(), grads[name].numpy()
        array, grad = (a[0] if name in values and a.ndim == 2 else a for a in (array, grad))
        for index in np.ndindex(array.shape):
            letter = name + "".join("₁₂"[i] for i in index)
            found[letter] = array[index]
            found[f"∂C/∂{letter}"] = grad[index]
            if name in letters:
                found[f"{letter} after"] = array[index] - entries["lr"] * grad[index]
    return found


LINE = re.compile(r"^   (\S+) = .*?(?:= )?(\S+) = autograd ✓$")
ROW = re.compile(r"^   (\S+) +(\S+) +(\S+)(?: +(\S+))? +(?:= autograd ✓)$")


def as_float(text):
    return float(text.replace("−", "-"))


def check_printed(text, digits):
    """Every number that a printed trace of the example says is autograd's, against torch alone; how many there were."""
    expected, checked = sigmoid_by_torch(), []

    def close(got, want, more=0):
        assert abs(as_float(got) - want) <= 0.5000001 * 10.0 ** (math.floor(math.log10(abs(want) or 1)) + 1 - digits - more)

    for line in text.splitlines():
        if row := ROW.match(line):
            letter, *numbers = row.groups()
            close(numbers[0], expected[letter], 3)
            close(numbers[1], expected[f"∂C/∂{letter}"])
            if numbers[2]:
                close(numbers[2], expected[f"{letter} after"], 3)
            checked.append(letter)
        elif found := LINE.match(line):
            close(found[2], expected[found[1]])
            checked.append(found[1])
        else:
            assert "= autograd" not in line, line
    return checked


@pytest.mark.parametrize("digits", [4, 10])
def test_every_printed_number_of_the_two_layer_example_is_autograds(digits):
    trace = setting(example("sigmoid")).trace()
    checked = check_printed("\n".join(told(trace, 200, digits)), digits)
    assert len(checked) == 8 + 1 + 4 + 2 + 2 + 12 + 24  # z and a; C; ∂C/∂y, ∂C/∂z²; ∂C/∂z¹; ∂C/∂x; ∂C/∂θ; ∇L and θ¹
    assert {"z¹₁", "a¹₂", "y₁", "C", "∂C/∂y₂", "∂C/∂z²₁", "∂C/∂z¹₂", "∂C/∂w¹₁₂", "∂C/∂b²₂"} <= {*checked}


def test_the_two_cases_and_what_is_remembered_are_named():
    text = "\n".join(told(setting(example("sigmoid")).trace(), 200))
    assert "Case 1: ∂C/∂z² = ∂C/∂y·∂y/∂z²" in text
    assert "Case 2: ∂C/∂z¹ = σ′(z¹)·Σₖ w²ₖ ∂C/∂z²ₖ" in text
    assert "∂C/∂z¹₁ = σ′(z¹₁)·(w²₁₁·∂C/∂z²₁ + w²₂₁·∂C/∂z²₂) = 0.01766·(2·(−0.01608) + (−2)·0.0109)" in text
    assert "Remembered: x, which is ∂z¹/∂w¹; W¹; σ′(z¹)." in text


def test_the_losses_of_a_few_numbers_are_written_out():
    entropy = "\n".join(told(traced("Linear(2,3) CrossEntropyLoss", Given(input=("1,-1; 0.5,2",), target="2,0")), 300))
    assert "C = (log(exp(y₁₁) + exp(y₁₂) + exp(y₁₃)) − y₁₃ + log(exp(y₂₁) + exp(y₂₂) + exp(y₂₃)) − y₂₁)/2 = (log(" in entropy
    assert "Case 1, without an activation: ∂C/∂Y is the loss's slope alone." in entropy
    binary = "\n".join(told(traced("Linear(2,1) Sigmoid BCELoss", Given(input=("1,-1",), target="1")), 200))
    assert "C = −(t₁·log(y₁) + (1 − t₁)·log(1 − y₁)) = " in binary


NUMBERS = {
    "σ": lambda v: 1 / (1 + math.exp(-v)),
    "tanh": math.tanh,
    "relu": lambda v: max(v, 0.0),
    "ReLU": lambda v: max(v, 0.0),
    "log": math.log,
    "exp": math.exp,
}


def arithmetic(text):
    """What a printed formula in numbers comes to, by Python's own arithmetic."""
    python = text.replace("·", "*").replace("−", "-").replace("²", "**2")
    python = re.sub(r"(\d)e-?\d+", lambda m: m[0], python)
    return eval(python, {"__builtins__": {}}, NUMBERS)


def check_sums(trace):
    """Every sum that is written out, evaluated as it is printed; how many there were."""
    from refbp.trace.expression import text

    count = 0
    for line in lines_of(trace):
        if isinstance(line, Line):
            printed = text(line.written, numbers=True, digits=17)
            scale = max(np.abs(trace_array(trace, line.key)).max(), 1e-300)
            assert abs(arithmetic(printed) - line.value) <= 1e-9 * scale, (line.key, printed, line.value)
            count += 1
    return count


def trace_array(trace, key):
    return next(q.array for q in trace.quantities() if q.key == key)


@pytest.mark.parametrize(
    ("text", "inputs", "target", "written"),
    [
        (TWO, "1,-1; 0.5,2", "1,0; 0,1", 40),
        ("Linear(2,3) Tanh Linear(3,3) CrossEntropyLoss", "1,-1; 0.5,2", "2,0", 40),
        ("Linear(2,3) CrossEntropyLoss(reduction='sum')", "1,-1; 0.5,2", "2,0", 15),
        ("Linear(2,2) ReLU Linear(2,1) Sigmoid BCELoss", "1,-1", "1", 15),
        ("Linear(2,2) Identity Linear(2,2) BCEWithLogitsLoss", "1,-1", "1,0", 15),
        ("Linear(3,2,bias=False) MSELoss(reduction='sum')", "1,-1,2", "1,0", 8),
        ("Linear(2,2) L1Loss", "1,-1", "1,0", 6),
        ("x = a / b; z = a * x - b; C = z * z", ("a=2", "b=-0.7"), None, 7),
    ],
)
def test_every_sum_that_is_written_out_comes_to_what_is_said(text, inputs, target, written):
    trace = traced(text, Given(input=(inputs,) if isinstance(inputs, str) else inputs, target=target))
    assert not trace.wrong
    assert check_sums(trace) >= written


ACTIVATIONS = ("Sigmoid", "Tanh", "ReLU", "Softplus", "GELU", "SiLU", "LeakyReLU(0.2)", "Identity")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_of_any_chain_every_quantity_is_torchs_and_every_sum_is_right(data):
    sizes = data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=4))
    entries = []
    for a, b in itertools.pairwise(sizes):
        entries.append(f"Linear({a},{b})" if data.draw(st.booleans()) else f"Linear({a},{b},bias=False)")
        entries += data.draw(st.lists(st.sampled_from(ACTIVATIONS), max_size=2))
    loss = data.draw(st.sampled_from(["MSELoss", "CrossEntropyLoss", "BCEWithLogitsLoss", "HuberLoss(reduction='sum')"]))
    samples, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 99))
    trace = traced(" ".join([*entries, loss]), Given(input=(f"normal({samples},{sizes[0]})",), seed=seed))
    assert trace.checks
    assert trace.wrong == []
    named = {"GELU", "SiLU", "Softplus", "LeakyReLU", "gelu", "silu", "softplus", "leakyReLU"}
    if not any(n in e for n in named for e in entries):
        check_sums(trace)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (
            "Conv2d(1,2,3) BatchNorm2d(2) ReLU(inplace=True) Dropout(0.5) MaxPool2d(2) Flatten Linear(8,3) CrossEntropyLoss",
            "normal(4,1,6,6)",
        ),
        ("Embedding(5,3) Flatten Linear(6,2) CrossEntropyLoss((1.0,2.0))", "0,1; 2,4"),
        ("TransformerEncoderLayer(4,2,8) Linear(4,2) MSELoss", "normal(3,2,4)"),
        ("Linear(2,4) Dropout RReLU LayerNorm(4) Softmax(-1) MSELoss", "normal(3,2)"),
        ("Linear(2,4) Graph('h = Dropout(0.5)(x); y = x + h') Linear(4,2) MSELoss", "normal(3,2)"),
        ("y, h = GRU(3,2)(x); C = MSELoss(y, y * 2)", "normal(4,3)"),
        ("y, w = MultiheadAttention(4,2,dropout=0.5)(x, x, x); z = y * y; C = MSELoss(z, x)", "normal(3,4)"),
        ("LogSoftmax(1) NLLLoss", "1,2,3"),
        ("h = Linear(3,2)(x); n = PairwiseDistance(p=0.0)(h, 2 * h); y = n * n; C = MSELoss(y, n)", "normal(4,3)"),
        ("Linear(0,2) MSELoss", "normal(2,0)"),
    ],
)
def test_any_registered_layer_is_told_and_is_torchs(text, inputs):
    trace = traced(text, Given(input=(inputs,)))
    assert trace.checks
    assert trace.wrong == []
    assert "".join(told(trace))


def test_a_network_without_a_loss_starts_from_the_gradient_that_is_given():
    trace = traced("Linear(2,2) Sigmoid", Given(input=("1,2",), upstream="1,-1"))
    assert trace.upstream.tolist() == [[1.0, -1.0]]
    assert not trace.wrong
    with pytest.raises(ArgumentError, match="end it with a loss"):
        traced("Linear(2,2) Sigmoid", Given(input=("1,2",)))


def test_large_arrays_are_told_as_matrices_and_described():
    trace = traced("Linear(784,128) ReLU Linear(128,10) CrossEntropyLoss", Given(input=("normal(64,784)",)))
    text = list(told(trace))
    assert any("Z¹ = X W¹ᵀ + b¹ = (64, 128), from" in line for line in text)
    assert any("∂C/∂W¹ = (∂C/∂Z¹)ᵀ X = (128, 784), from" in line for line in text)
    assert any("∂C/∂Z¹ = ReLU′(Z¹) ⊙ ∂C/∂A¹" in line for line in text)
    assert len(text) < 90
    assert not trace.wrong
    assert all(isinstance(line, Line | Block) or line.summarised for line in lines_of(trace))


def test_lines_are_broken_where_the_screen_ends():
    trace = setting(example("sigmoid")).trace()
    assert max(map(len, told(trace, 66))) <= 66
    assert "".join("".join(told(trace, 66)).split()) == "".join("".join(told(trace, 200)).split())


def test_a_wrong_backward_shows_as_a_number_that_is_not_autograds(tmp_path):
    plugin = tmp_path / "wrong_slope.py"
    plugin.write_text(
        "from dataclasses import dataclass\nimport numpy as np\n"
        "from refbp import Case, Forward, Grads, Layer, Spec, hookimpl, normal\n"
        "@dataclass(frozen=True)\nclass Cube(Layer):\n    'y = x³;   dx = 2x² dy, which is wrong.'\n"
        "    def forward(self, state, x):\n        return Forward(x**3, saved=x)\n"
        "    def backward(self, saved, dy):\n        return Grads(2 * saved**2 * dy)\n"
        "def twin(layer):\n    import torch\n    class Twin(torch.nn.Module):\n        def forward(self, x):\n"
        "            return x**3\n    return Twin()\n"
        "@hookimpl\ndef refbp_layers():\n    yield Spec(Cube, [Case(Cube(), normal(3, 5))], twin=twin)\n"
    )
    code, out = command("trace", "Linear(2,2) Cube MSELoss", "--plugins-dir", str(plugin))
    assert code == 1
    assert "≠ autograd ✗" in out
    assert "∂C/∂z¹ = [" in out
    assert "quantities differ from autograd's: dz1, d0.weight, d0.bias, dx" in out
    assert "At dz1[0, " in out
    assert "torch is right." in out


def test_where_torch_is_wrong_a_numerical_derivative_says_so():
    given = Given(input=("a=0.1,0.1", "b=0.1,0.05"))
    trace = traced("y = CosineSimilarity(dim=0, eps=0.3)(a, b)", given)
    assert trace.wrong == ["da", "db"]
    assert "refbp is right. Known of torch: " in trace.opinion
    assert trace.opinion in list(told(trace))[-1]


def test_rounding_that_a_network_enlarges_is_no_mistake():
    """Next to 1, what a probability lacks of it is known to a few digits, and the slopes of unit and loss with it."""
    trace = traced("Sigmoid BCELoss", Given(input=("15",), target="0"))
    assert trace.wrong == []
    assert 8 < min(check.digits for check in trace.checks.values()) < 12


def test_a_probability_of_1_is_told_and_is_no_crash():
    assert told(traced("Sigmoid BCELoss", Given(input=("36",), target="0")))


def test_a_gradient_that_is_zero_but_for_rounding_is_zero():
    trace = traced(
        "a = Linear(3, 3)(x); b = BatchNorm1d(3)(a); C = MSELoss(b, t)", Given(input=("x=normal(5,3)", "t=normal(5,3)"))
    )
    assert np.abs(trace.params["0.a.bias"]).max() < 1e-14
    assert trace.wrong == []


def test_a_layer_without_a_twin_is_told_and_said_not_to_be_checked(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom refbp import Forward, Grads, Layer, Linear, MSELoss, Sequential\n"
        "@dataclass(frozen=True)\nclass Twice(Layer):\n    'y = 2x;   dx = 2 dy.'\n"
        "    def forward(self, state, x):\n        return Forward(2 * x, None)\n"
        "    def backward(self, saved, dy):\n        return Grads(2 * dy)\n"
        "network = Sequential(Linear(2, 2), Twice())\nloss = MSELoss()\n"
    )
    text = "\n".join(told(setting(problem(file)).trace()))
    assert "not checked against torch: no twin: no layer or loss is called 'Twice'" in text
    assert "= autograd" not in text


# Inputs, targets, state -----------------------------------------------------------------------------------------------


def test_a_target_is_numbers_of_the_predictions_shape_or_class_labels():
    def target(text, network="Linear(2,3) CrossEntropyLoss", inputs="1,2; 3,4"):
        return traced(network, Given(input=(inputs,), target=text)).values["t"]

    assert target("2,0").dtype.kind == "i"
    assert target("2,0").tolist() == [2, 0]
    assert target("0.2,0.3,0.5; 1,0,0").shape == (2, 3)
    assert target("1,0,1", "Linear(2,3) MSELoss", "1,2").tolist() == [[1.0, 0.0, 1.0]]


def test_what_is_not_given_is_drawn_from_the_seed():
    one, two, other = (traced(TWO, Given(seed=s)) for s in (3, 3, 4))
    for q, r, s in zip(one.quantities(), two.quantities(), other.quantities(), strict=True):
        assert np.array_equal(q.array, r.array)
        assert q.key in ("dC", "C") or not np.array_equal(q.array, s.array)


def test_a_state_from_a_file_is_the_state(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sigmoid(), torch.nn.Linear(2, 2), torch.nn.Sigmoid())
    np.savez(tmp_path / "w.npz", **{n: v.numpy() for n, v in net.double().state_dict().items()})
    trace = traced(TWO, Given(input=("1,-1",), target="1,0", state=str(tmp_path / "w.npz")))
    C = torch.nn.functional.mse_loss(net(torch.tensor([[1.0, -1.0]]).double()), torch.tensor([[1.0, 0.0]]).double())
    C.backward()
    np.testing.assert_allclose(trace.params["0.weight"], net[0].weight.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a network"),
        (["--example", "sigmoi"], "did you mean sigmoid"),
        ([TWO, "--example", "sigmoid"], "not both"),
        (["Linear(2,2)"], "end it with a loss"),
        ([TWO, "--input", "1,2,3"], "in_features=2"),
        ([TWO, "--input", ""], "is empty"),
        ([TWO, "--input", "1,2;3"], "as many in each"),
        ([TWO, "--input", "a,b"], "a is no number|'a' is no number"),
        ([TWO, "--input", "none.npy"], "does not exist"),
        ([TWO, "--input", "junk.npz"], "cannot be read"),
        ([TWO, "--input", "nothing.npy"], "cannot be read"),
        ([TWO, "--input", "objects.npz"], "Python objects"),
        ([TWO, "--input", "noraml(2,2)"], "did you mean normal"),
        ([TWO, "--input", "normal(99999,99999)"], "wanted at most"),
        ([TWO, "--target", "labels(2)"], "wanted labels\\(3, classes=2\\), say"),
        ([TWO, "--input", "[[1,2],[3]]"], "different lengths"),
        ([TWO, "--target", "1,2,3"], "do not belong together"),
        (["Linear(2,3) CrossEntropyLoss", "--target", "7"], "class 7; wanted 0 to 2"),
        (["Embedding(5,2) Flatten Linear(4,2) MSELoss", "--input", "1,7"], "index 7; wanted 0 to 4"),
        (["Linear(2,2)", "--target", "1,2"], "no loss that takes it"),
        (["Linear(2,2) Sigmoid", "--upstream", "1"], "wanted \\(1, 2\\)"),
        ([TWO, "--state", "short.npz"], "lacks 0.bias"),
        ([TWO, "--state", "objects.npz"], "Python objects"),
        ([TWO, "--lr", "nan"], "lr is nan"),
        (["Linear(1000000,100000) MSELoss"], "100,000,100,000 parameters; wanted at most"),
        (["Bilinear(2,2,1) MSELoss"], "takes 2 inputs"),
        (["Linear(2,2) TripletMarginLoss"], "takes 3 inputs"),
        (["z = a * b", "--input", "1"], "say which one"),
        (["z = a * b", "--input", "a=1"], "b has no value"),
        (["z = a * b", "--input", "c=1"], "no input c"),
        ([TWO, "--compare", "unknown.npz"], "'dz7' is no quantity of this network; did you mean dz"),
        ([TWO, "--compare", "objects.npz"], "Python objects"),
        ([TWO, "--svg", "no/such/folder.svg"], "does not exist"),
        ([TWO, "--html", "."], "is a folder"),
    ],
)
def test_wrong_use_gets_one_sentence(tmp_path, monkeypatch, arguments, words):
    (tmp_path / "junk.npz").write_text("junk")
    (tmp_path / "nothing.npy").write_text("")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    np.savez(tmp_path / "short.npz", **{"0.weight": np.eye(2)})
    np.savez(tmp_path / "unknown.npz", dz7=np.eye(2))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["trace", *arguments], standalone_mode=False)
    said = str(result.exception)
    assert isinstance(result.exception, RefbpError) or type(result.exception).__name__ == "UsageError"
    assert re.search(words, said), said
    assert "\n" not in said


def test_a_mistake_is_one_line_on_stderr_and_nothing_is_lost(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    run = refbp("trace", "Linear(2,2) Sigmoidd", "--html", str(page))
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert "did you mean Sigmoid" in run.stderr
    assert page.read_text() == "mine"


def test_json_holds_every_quantity_and_every_step():
    code, out = command("trace", "--example", "sigmoid", "--json")
    assert code == 0
    data = json.loads(out)
    assert data["wrong"] == []
    expected = sigmoid_by_torch()
    assert data["quantities"]["d0.weight"]["value"][1][0] == pytest.approx(expected["∂C/∂w¹₂₁"], rel=1e-12)
    assert data["quantities"]["dz2"]["autograd"] is True
    assert [s["phase"] for s in data["steps"]].count("backward") == 3
    assert data["steps"][1]["lines"][0]["forms"] == ["w¹₁₁·x₁ + w¹₁₂·x₂ + b¹₁"]


def test_json_has_no_nan_in_it():
    code, out = command("trace", "Linear(2,2) MSELoss", "--input", "nan,1", "--json")
    assert code == 0
    json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_network_too_large_for_memory_is_a_sentence(monkeypatch):
    monkeypatch.setattr(settings_.Setting, "trace", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(ArgumentError, match="does not fit into memory"):
        traced(TWO)


def test_the_readmes_trace_and_picture_are_what_the_command_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text()
    (shown,) = re.findall(r"```text\n(0\. The network.*?)```", readme, flags=re.S)
    code, out = command("trace", "--example", "sigmoid", "--svg", "sigmoid.svg")
    assert code == 0
    assert out.rpartition("\n\n")[0].rstrip() == shown.rstrip()  # the last line counts digits: that is the machine's
    assert len(check_printed(shown, 4)) == 53
    assert (root / "tests/data/sigmoid.svg").read_text() == (tmp_path / "sigmoid.svg").read_text()
    assert "(tests/data/sigmoid.svg)" in readme


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.svg").write_text("old")
    (tmp_path / "link.svg").symlink_to("real.svg")
    os.mkfifo(tmp_path / "pipe.svg")
    reader = os.open("pipe.svg", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("link.svg", "pipe.svg"):
        assert command("trace", "--example", "one-path", "--svg", name)[0] == 0
    drawn = (tmp_path / "real.svg").read_bytes()
    assert drawn.startswith(b"<svg")
    assert os.read(reader, 1 << 16) == drawn
    os.close(reader)
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "pipe.svg").is_fifo()
    assert len(os.listdir(tmp_path)) == 3
