"""Networks and computation graphs from text and from files, and the sentence that each mistake gets."""

import numpy as np
import pytest

from refbp import Graph, Linear, MSELoss, Sequential, Sigmoid, registry
from refbp.errors import ArgumentError, RefbpError, UnknownNameError
from refbp.trace.parse import network, problem
from refbp.trace.setting import Given, setting

TWO = "Linear(2,2) Sigmoid Linear(2,2) Sigmoid MSELoss"


def test_a_network_is_layers_separated_by_spaces_and_its_loss():
    net, loss = network(
        "Linear(2, 3, bias=False)   Sequential(ReLU, Tanh()) Conv1d(1, 2, 3, padding='same') MSELoss(reduction='sum')"
    )
    assert repr(net) == "Sequential(Linear(2, 3, bias=False), Sequential(ReLU(), Tanh()), Conv1d(1, 2, 3, padding='same'))"
    assert repr(loss) == "MSELoss(reduction='sum')"
    assert network("Linear(2,2)")[1] is None


def test_what_a_network_prints_is_a_network_again():
    for text in (TWO, "Sequential({'a': Linear(2, 2), 'b': Sequential(Tanh())})", "LPPool1d(inf, 2) Threshold(-inf, 0.0)"):
        net, loss = network(text)
        assert network(f"{net!r} {loss!r}" if loss else repr(net)) == (net, loss)


def test_an_assignment_makes_it_a_graph_and_an_equals_sign_in_brackets_does_not():
    net, loss = network("h = Linear(2, 3)(x); y = h + Tanh(h)")
    assert isinstance(net[0], Graph)
    assert loss is None
    assert isinstance(network("Linear(2, 3, bias=True)")[0][0], Linear)
    net, loss = network("Graph('h = Linear(2,2)(x); y = h + x') Linear(2, 1) MSELoss")
    assert isinstance(net[0], Graph)
    assert loss == MSELoss()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Linear(2,2) Sigmoidd", "entry 2.*did you mean Sigmoid"),
        ("linear(2,2)", "did you mean Linear"),
        ("", "the network is empty"),
        ("Linear(2,2 Sigmoid", "is never closed"),
        ("Linear(2,2))", "closes nothing"),
        ("Linear(2,2), ReLU", "separated by spaces"),
        ("Linear(2,2) -> ReLU", "separated by spaces"),
        ("MSELoss Linear(2,2)", "wanted it last"),
        ("Linear(2)", "missing a required argument: 'out_features'"),
        ("Linear(2,2,outt=3)", "wanted Linear"),
        ("Conv2d(1,2,3,padding=same)", "quote a word, padding='same'"),
        ("Linear(10**9,2)", "is not a literal"),
        ("Linear(*[2,2])", "is not a literal"),
        ("Linear(**{'in_features': 2})", "each argument by its name"),
        ("__import__('os').getcwd()", "is no layer"),
        ("Linear(2,open('f'))", "no layer or loss is called 'open'"),
        ("lambda:0", "is no layer"),
        ("Linear(\0)", "cannot be read"),
        ("(" * 4000 + ")" * 4000, "cannot be read"),
        ("'Linear", "is never closed"),
    ],
)
def test_a_text_that_is_no_network_gets_one_sentence(text, words):
    with pytest.raises(RefbpError, match=words) as caught:
        network(text)
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) < 400


def test_a_toml_file_holds_a_network_and_what_it_is_run_with(tmp_path):
    file = tmp_path / "net.toml"
    file.write_text(
        'network = "Linear(2,2) Sigmoid"\nloss = "MSELoss"\ninput = [[1, -1]]\ntarget = [[1, 0]]\nlr = 0.5\n'
        '[state]\n"0.weight" = [[1, -2], [-1, 1]]\n"0.bias" = [1, 0]\n'
    )
    trace = setting(problem(file)).trace()
    assert trace.values["z1"].tolist() == [[4.0, -2.0]]
    assert trace.lr == 0.5
    assert setting(problem(file), Given(input=("2,0",), lr=0.25)).trace().values["z1"].tolist() == [[3.0, -2.0]]


def test_a_python_file_holds_a_network_of_layers_or_of_text(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "import numpy as np\nfrom refbp import Linear, MSELoss, Sequential, Tanh\n"
        "network = Sequential({'hidden': Linear(2, 3), 'act': Tanh(), 'out': Linear(3, 1)})\nloss = MSELoss()\n"
        "input = np.array([[1.0, 2.0]])\ntarget = np.array([[0.5]])\n"
    )
    trace = setting(problem(file)).trace()
    assert not trace.wrong
    assert "hidden.weight" in trace.state
    file.write_text("network = ['Linear(2, 1)', 'MSELoss']\n")
    assert network(file) == (Sequential(Linear(2, 1)), MSELoss())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.toml", "network = [", "is not TOML"),
        ("a.toml", 'network = "Linear(2,2)"\ninputs = [1]', "did you mean input"),
        ("a.toml", "lr = 1\n", "there is no network in it"),
        ("a.toml", "network = 3\n", "network is int"),
        ("a.toml", 'network = "Linear(2,2) MSELoss"\nloss = "MSELoss"', "two losses"),
        ("a.toml", 'network = "Linear(2,2)"\nloss = "ReLU"', "a layer; wanted a loss"),
        ("a.py", "import nothing_of_that_name", "could not be run: ModuleNotFoundError"),
        ("a.py", "1/0", "could not be run: ZeroDivisionError"),
        ("a.py", "x = (", "could not be run: SyntaxError"),
        ("a.py", "raise SystemExit(3)", "could not be run: SystemExit"),
        ("a.py", "y = 3", "defines no network"),
    ],
)
def test_a_file_that_holds_no_network_gets_one_sentence_with_its_name(tmp_path, name, content, words):
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(RefbpError, match=words) as caught:
        problem(file)
    assert name in str(caught.value)
    with pytest.raises(ArgumentError, match="does not exist"):
        problem(tmp_path / f"no_{name}")


def test_layers_are_looked_up_while_plugins_are_loaded_without_loading_them_again(tmp_path):
    file = tmp_path / "uses_a_graph.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom refbp import Case, Graph, Spec, Tanh, hookimpl, normal\n"
        "@dataclass(frozen=True)\nclass Own(Tanh):\n    pass\n"
        "@hookimpl\ndef refbp_layers():\n    Graph('y = Linear(2,2)(x)')\n"
        "    try:\n        Graph('y = Unheard(x)')\n    except LookupError:\n"
        "        yield Spec(Own, [Case(Own(), normal(2))])\n"
    )
    assert [p.error for p in registry.discover([tmp_path]).plugins if p.name == "uses_a_graph"] == [None]


# Computation graphs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("y = x", "applies no layer"),
        ("y = Linear(2,3)", "Linear\\(2, 3\\)\\(x\\)"),
        ("y = Linear(2,3)(x, x)", "applied to 2 values; wanted 1"),
        ("y = tanh(x)", "did you mean Tanh"),
        ("x = Tanh(x)", "computed from x itself"),
        ("y = Tanh(x); y = Tanh(y)", "already has a value"),
        ("y = Tanh(x); z = Tanh(x)", "computed and not used"),
        ("y = 1 + 2", "no input"),
        ("y == x", "no assignment"),
        ("y[0] = x", "no assignment"),
        ("import os", "no assignment"),
        ("y = x ** 3", "applies no layer"),
        ("y = x.T * 2", "applies no layer"),
        ("y = Tanh(x; 3)", "cannot be read"),
    ],
)
def test_a_text_that_is_no_graph_gets_one_sentence(text, words):
    with pytest.raises(RefbpError, match=words):
        Graph(text)


def test_noise_in_a_graph_is_an_input_of_the_graph():
    graph = Graph("h = Linear(3, 3)(x); d = Dropout(0.5)(h); y = x + d")
    rng = np.random.default_rng(0)
    state, x, dy = graph.init(rng), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    (keep,) = graph.draw(rng, x.shape)
    assert keep.dtype == bool
    step = graph(state, x, keep)
    h = x @ state["h.weight"].T + state["h.bias"]
    np.testing.assert_allclose(step.outputs, x + h * keep * 2, rtol=1e-14)
    grads = step.backward(dy)
    np.testing.assert_allclose(grads.inputs[0], dy + (dy * keep * 2) @ state["h.weight"], rtol=1e-13)
    assert grads.inputs[1] is None
    in_a_chain = Sequential(graph, Sigmoid())
    assert in_a_chain.noisy
    assert in_a_chain.draw(rng, (4, 3))[0].shape == (4, 3)


def test_the_registry_is_asked_for_an_unknown_layer_by_name():
    with pytest.raises(UnknownNameError):
        network("NoSuchLayer")
