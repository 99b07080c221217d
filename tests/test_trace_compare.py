"""Somebody's own results beside a trace: the first mistake is found, named, and what only follows from it is not counted."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from refbp.cli import cli
from refbp.errors import ArgumentError
from refbp.trace.compare import compare, compared, named
from refbp.trace.parse import problem
from refbp.trace.setting import Given, example, setting, traced


@pytest.fixture(scope="module")
def two():
    """The example with other numbers in it, three samples at once: nothing is equal by accident."""
    given = Given(input=("1,-1; 0.5,2; -1.5,0.25",), target="1,0; 0,1; 0.5,0.5", seed=5, lr=0.3)
    made = setting(problem("Linear(2,2) Sigmoid Linear(2,2) Sigmoid MSELoss"), given)
    trace = made.trace()
    return made, trace, {q.key: q.array for q in trace.quantities()}


def against(two, **mine):
    made, trace, _ = two
    return compared(made, trace, *named({n: np.asarray(a) for n, a in mine.items()}, trace.program, "mine.npz"))


def sigma(z):
    return 1 / (1 + np.exp(-z))


THETA = ("0.weight", "0.bias", "2.weight", "2.bias")
ORDER = ("0.weight", "2.weight", "0.bias", "2.bias")
MISTAKES = {
    "the transpose of the weights": (
        "dz1",
        "computed with the transpose",
        lambda q: (q["dz2"] @ q["2.weight"].T) * q["a1"] * (1 - q["a1"]),
    ),
    "no slope": ("dz1", "σ′\\(z1\\) is missing", lambda q: q["da1"]),
    "the activation for its slope": ("dz1", "σ\\(z1\\) where σ′\\(z1\\) is meant", lambda q: q["da1"] * q["a1"]),
    "the slope twice": ("dz1", "multiplied by σ′\\(z1\\) twice", lambda q: q["da1"] * (q["a1"] * (1 - q["a1"])) ** 2),
    "the slope at the output": (
        "dz1",
        "taken at a1 in place of z1",
        lambda q: q["da1"] * sigma(q["a1"]) * (1 - sigma(q["a1"])),
    ),
    "z for sigma of z": ("dz1", "has the slope z1\\(1 − z1\\)", lambda q: q["da1"] * q["z1"] * (1 - q["z1"])),
    "the slope of another activation": (
        "dz1",
        "the slope of Tanh, not of Sigmoid",
        lambda q: q["da1"] * (1 - np.tanh(q["z1"]) ** 2),
    ),
    "weights after the step": (
        "dz1",
        "of after the step: every gradient belongs to θ⁰",
        lambda q: (q["dz2"] @ q["2.weight.next"]) * q["a1"] * (1 - q["a1"]),
    ),
    "one unit forgotten": ("da1", "the term of unit 1 alone", lambda q: q["dz2"][:, :1] @ q["2.weight"][:1]),
    "the slope above forgotten": ("da1", "∂C/∂y in place of ∂C/∂z2", lambda q: q["dy"] @ q["2.weight"]),
    "no weights": ("da1", "lacks the weights", lambda q: np.repeat(q["dz2"].sum(1, keepdims=True), 2, 1)),
    "the other sign": ("dz2", "the wrong sign", lambda q: -q["dz2"]),
    "the factor of the square": ("dy", "the factor 2, of the square's derivative, is missing", lambda q: q["dy"] / 2),
    "no mean": ("dy", "not divided by the number of elements", lambda q: q["dy"] * 6),
    "the transposed gradient": ("dW2", "the transpose", lambda q: q["d2.weight"].T),
    "z for a": ("dW2", "made of z1 in place of a1", lambda q: q["dz2"].T @ q["z1"]),
    "its own output": ("dW2", "made of z2 in place of a1", lambda q: q["dz2"].T @ q["z2"]),
    "no slope in a weight's gradient": ("dW2", "∂C/∂y in place of ∂C/∂z2", lambda q: q["dy"].T @ q["a1"]),
    "the mean over the batch": ("dW1", "3 times too small \\(3 is the size of the batch", lambda q: q["d0.weight"] / 3),
    "one sample alone": ("dW1", "sample 2 alone", lambda q: np.outer(q["dz1"][1], q["x"][1])),
    "one sample lost": ("dW1", "lacks sample 3", lambda q: q["dz1"][:2].T @ q["x"][:2]),
    "a bias with an input": ("db1", "a bias has the input 1", lambda q: (q["dz1"] * q["x"].sum(1)[:, None]).sum(0)),
    "a bias that is not summed": ("db1", "it is the sum over the batch that is wanted", lambda q: q["dz1"]),
    "nothing": ("db1", "zero everywhere", lambda q: np.zeros(2)),
    "not a number": ("db1", "holds NaN", lambda q: np.full(2, np.nan)),
    "eta in the gradient": ("dW1", "multiplied by η = 0.3", lambda q: q["d0.weight"] * 0.3),
    "uphill": ("W1_new", "uphill", lambda q: q["0.weight"] + 0.3 * q["d0.weight"]),
    "no eta": ("W1_new", "a step of η = 1", lambda q: q["0.weight"] - q["d0.weight"]),
    "all of it uphill": ("theta1", "uphill", lambda q: q["theta"] + 0.3 * q["grad"]),
    "all of it without eta": ("theta1", "a step of η = 1", lambda q: q["theta"] - q["grad"]),
    "by columns": ("grad", "column by column", lambda q: np.concatenate([q[f"d{n}"].T.ravel() for n in THETA])),
    "weights first": ("grad", "all weights before all biases", lambda q: np.concatenate([q[f"d{n}"].ravel() for n in ORDER])),
    "another activation": ("a1", "what Tanh gives, not Sigmoid", lambda q: np.tanh(q["z1"])),
    "no activation": ("a1", "the activation is missing", lambda q: q["z1"]),
    "no bias": ("z1", "the bias is missing", lambda q: q["z1"] - q["0.bias"]),
    "forward transposed": ("z2", "the transpose of the weights", lambda q: q["a1"] @ q["2.weight"] + q["2.bias"]),
    "a sum for the mean": ("C", "the sum of the squares, not their mean", lambda q: q["C"] * 6),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_usual_mistake_is_named(two, mistake):
    name, words, wrong = MISTAKES[mistake]
    found = against(two, **{name: wrong(two[2])})
    assert [d.key for d in found.differs] == [name]
    assert re.search(words, found.differs[0].why), found.differs[0].why


def test_what_follows_from_a_mistake_is_not_held_against_its_author(two):
    q = two[2]
    up, slope = q["dz2"], q["a1"] * (1 - q["a1"])
    dz1 = (up @ q["2.weight"].T) * slope
    found = against(two, y=q["y"], dz2=up, dz1=dz1, dW1=dz1.T @ q["x"], db1=dz1.sum(0), dW2=q["d2.weight"])
    assert [d.key for d in found.differs] == ["dz1"]
    assert set(found.follow) == {"dW1", "db1"}
    assert set(found.agree) == {"y", "dz2", "dW2"}


def test_a_second_mistake_is_found_behind_the_first(two):
    q = two[2]
    dz1 = -q["dz1"]
    found = against(two, dz1=dz1, dW1=dz1.T @ q["x"] / 3, db1=dz1.sum(0))
    assert [d.key for d in found.differs] == ["dz1", "dW1"]
    assert "3 times too small" in found.differs[1].why
    assert found.follow == ("db1",)


def test_the_first_in_backward_order_comes_first(two):
    q = two[2]
    found = against(two, db1=-q["d0.bias"], dz2=2 * q["dz2"], dW2=-q["d2.weight"])
    assert [d.key for d in found.differs] == ["dz2", "dW2", "db1"]


def test_the_right_numbers_are_right_under_every_name_and_to_the_digits_that_were_written(two):
    q = two[2]
    mine = {"Z1": q["z1"], "A1": q["a1"].astype(np.float32), "dC_dW2": q["d2.weight"], "d_b2": q["d2.bias"].reshape(2, 1)}
    mine |= {"0.weight.grad": q["d0.weight"].round(5), "dL/dz1": q["dz1"], "grad": q["grad"]}
    found = against(two, **mine, **{"theta1": q["theta.next"], "0.bias.next": q["0.bias.next"]})
    assert found.differs == ()
    assert len(found.agree) == 9


def test_numbers_that_were_rounded_on_the_way_are_right_and_their_mistakes_are_still_named(two):
    q = two[2]
    dz2, slope = q["dz2"].round(4), (q["a1"] * (1 - q["a1"])).round(3)
    assert against(two, dz2=dz2, dz1=(dz2 @ q["2.weight"].round(3)) * slope).differs == ()
    found = against(two, dz2=dz2, dz1=(dz2 @ q["2.weight"].T.round(3)) * slope)
    assert "computed with the transpose" in found.differs[0].why


def test_a_small_difference_in_full_precision_is_a_difference(two):
    found = against(two, dz1=two[2]["dz1"] * (1 + 1e-4))
    assert [d.key for d in found.differs] == ["dz1"]


def test_weights_stored_as_in_x_times_w_are_as_good():
    made = setting(problem("Linear(2,3) Tanh Linear(3,2) MSELoss"), Given(input=("1,-1; 0,2",), target="1,0; 0,1"))
    trace = made.trace()
    q = {x.key: x.array for x in trace.quantities()}
    arrays, called = named({"W1": q["0.weight"].T, "dW1": q["d0.weight"].T, "dW2": q["d2.weight"].T}, trace.program, "m")
    found = compared(made, trace, arrays, called)
    assert found.differs == ()
    assert found.transposed == ("W1", "dW2", "dW1")


def test_a_value_that_fans_out_and_was_not_added_up_is_named():
    made = setting(example("fan-out"))
    trace = made.trace()
    parts = {trace.program.nodes[a.node].outputs[0]: a.grad for a in trace.arrived["u"]}
    for name, grad in parts.items():
        found = compared(made, trace, {"du": grad})
        assert f"only the path through {name} is counted" in found.differs[0].why
    assert "are multiplied" in compared(made, trace, {"du": parts["v"] * parts["w"]}).differs[0].why


def test_softmax_and_its_usual_mistakes_are_named():
    made = setting(problem("Linear(2,3) CrossEntropyLoss"), Given(input=("1,-1; 0,2",), target="2,0"))
    trace = made.trace()
    y, e = trace.values["y"], np.exp(trace.values["y"])
    p, hot = e / e.sum(1, keepdims=True), np.eye(3)[[2, 0]]
    for guess, words in ((p / 2, "the 1 of the right class is not subtracted"), (p - hot, "2 times too large"),
                         ((y - hot) / 2, "the softmax is missing"), ((p - 1) / 2, "− 1 everywhere")):  # fmt: skip
        assert words in compared(made, trace, {"dy": guess}).differs[0].why


def test_the_oracles_explainer_is_asked_of_layers_that_the_usual_mistakes_do_not_know():
    made = setting(problem("Linear(2,4) LayerNorm(4) Linear(4,2) MSELoss"), Given(input=("1,-1; 0.5,2; 3,1",), seed=1))
    trace = made.trace()
    x, dy, gamma = trace.values["z1"], trace.grads["z2"], trace.state["1.weight"]
    std = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    d = dy * gamma
    found = compared(made, trace, {"dz1": (d - d.mean(1, keepdims=True)) / std})
    assert "x̂ · mean(dx̂ · x̂) is missing" in found.differs[0].why


def test_explainers_are_a_parameter(two):
    made, trace, q = two
    seen = []

    def mine(quantity, got, context, close):
        seen.append((quantity.key, got.shape, type(context).__name__, close))
        return "because I say so."

    found = compared(made, trace, {"dz1": -q["dz1"]}, explainers=(mine,))
    assert found.differs[0].why == "because I say so."
    assert seen == [("dz1", (3, 2), "Trace", 0.0)]


def test_what_is_not_explained_is_said_with_the_worst_element(two):
    made, trace, q = two
    wrong = q["dz1"] + np.array([[0, 0], [0, 0.3], [0.1, 0]])
    text = "\n".join(compared(made, trace, {"dz1": wrong}).told(100, 4))
    assert "why: not explained: yours[1, 1] is" in text


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"dz9": np.zeros(2)}, "'dz9' is no quantity of this network; did you mean dz2"),
        ({"qqqq": np.zeros(2)}, "known: z1, a1, z2, y, C"),
        ({"dW1": np.array(["a"])}, "dW1 holds <U1"),
        ({"dW1": np.eye(2), "d0.weight": np.eye(2)}, "is a second name for"),
        ({}, "holds no arrays"),
    ],
)
def test_a_file_that_cannot_be_compared_gets_one_sentence(two, tmp_path, arrays, words):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ArgumentError, match=words):
        compare(two[0], two[1], tmp_path / "mine.npz")


def test_everything_that_a_trace_writes_agrees_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = ["trace", "Linear(2,3) Tanh Linear(3,2) CrossEntropyLoss", "--input", "1,-1; 0,2", "--target", "1,0"]
    assert CliRunner().invoke(cli, [*network, "--npz", "all.npz"], standalone_mode=False).return_value == 0
    same = CliRunner().invoke(cli, [*network, "--compare", "all.npz"], standalone_mode=False)
    assert same.return_value == 0
    assert same.output.startswith("nothing differs.")
    other = CliRunner().invoke(cli, [*network, "--seed", "1", "--compare", "all.npz", "--json"], standalone_mode=False)
    assert other.return_value == 1
    assert '"key": "z1"' in other.output or '"key": "0.weight"' in other.output


def test_the_readmes_comparison_is_what_the_command_says(tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (shown,) = re.findall(r"```text\n(dz1 is the first.*?)```", readme, flags=re.S)
    W = np.array([[2.0, -1.0], [-2.0, -1.0]])
    above, slope = np.array([-0.0161, 0.0109]), np.array([0.0177, 0.105])
    np.savez(tmp_path / "mine.npz", dz2=above, dz1=slope * (W @ above))
    run = CliRunner().invoke(
        cli, ["trace", "--example", "sigmoid", "--compare", str(tmp_path / "mine.npz")], standalone_mode=False
    )
    assert run.return_value == 1
    assert run.output == shown


def test_traced_is_the_short_way():
    assert traced("Linear(2,1)", Given(input=("1,2",)), check=False).checks == {}
