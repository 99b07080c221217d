"""Functions of no course: what their signatures are taken for, which styles are understood, and what is said of others."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from command import refbp

import refbp as package
from refbp import registry
from refbp.errors import ArgumentError, UnknownNameError
from refbp.oracle.alike.inhand import _function, check, model
from refbp.oracle.alike.matching import LikeError, Offer
from refbp.oracle.alike.plan import plan
from refbp.oracle.callers import Local, Outcome
from refbp.oracle.isolation import Parameter

README = (Path(__file__).parent.parent / "README.md").read_text()
MEAN = "reduction='mean'"


def verdicts(*functions, like, seed=1):
    found = check(*functions, like=like, seed=seed)
    return [r.verdict for r in found.rows], " ".join(found.report.notes)


# Styles ---------------------------------------------------------------------------------------------------------------


def affine(x, W, b):
    return x @ W + b, (x, W)


def affine_back(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout, dout.sum(0)


def other_way(x, weight, bias):
    return x @ weight.T + bias


def other_way_back(grad_output, x, weight):
    return {"weight": grad_output.T @ x, "x": grad_output @ weight, "bias": grad_output.sum(axis=0)}


def columns(A_prev, W, b):
    return W @ A_prev + b, (A_prev, W)


def columns_back(dZ, cache):
    A, W = cache
    return W.T @ dZ, dZ @ A.T, dZ.sum(1, keepdims=True)


def everything(x, w, b, dout):
    return x @ w + b, dout @ w.T, x.T @ dout, dout.sum(0)


def relu(x):
    return np.maximum(x, 0)


def relu_slope(x):
    return (x > 0).astype(float)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_back(dy, y):
    return y * (dy - (dy * y).sum(-1, keepdims=True))


def mse(p, t):
    return ((p - t) ** 2).mean()


def mse_gradient(p, t):
    return 2 * (p - t) / p.size


def squares(y, t):
    return ((y - t) ** 2).sum(), 2 * (y - t)


def entropy(logits, labels):
    p = softmax(logits)
    d = p.copy()
    d[np.arange(len(p)), labels] -= 1
    return -np.log(p[np.arange(len(p)), labels]).mean(), d / len(p)


def entropy_one_hot(z, t):
    p = softmax(z)
    return -(t * np.log(p)).sum() / len(t), (p - t) / len(t)


def norm(x, gamma, beta, eps=1e-5):
    mean, var = x.mean(0), x.var(0)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta, (x_hat, gamma, var, eps)


def norm_back(dout, cache):
    x_hat, gamma, var, eps = cache
    d = dout * gamma
    dx = (d - d.mean(0) - x_hat * (d * x_hat).mean(0)) / np.sqrt(var + eps)
    return dx, (dout * x_hat).sum(0), dout.sum(0)


def norm_of_its_own(x, gamma, beta):
    return norm(x, gamma, beta, 1e-8)


def norm_param(x, gamma, beta, bn_param):
    if bn_param["mode"] == "test":
        raise ValueError
    return norm(x, gamma, beta, bn_param.get("eps", 1e-5))


def dropout(x, p):
    mask = (np.random.rand(*x.shape) >= p) / (1 - p)
    return x * mask, mask


def dropout_keeping(x, keep_prob):
    return dropout(x, 1 - keep_prob)


def dropout_back(dout, mask):
    return dout * mask


def embed(idx, W):
    return W[idx], (idx, W.shape)


def embed_back(dout, cache):
    d = np.zeros(cache[1])
    np.add.at(d, cache[0], dout)
    return d


def pool_last(x, size, stride):
    n, h, w, c = x.shape
    rows, cols = (h - size) // stride + 1, (w - size) // stride + 1
    out = np.zeros((n, rows, cols, c))
    for i in range(rows):
        for j in range(cols):
            out[:, i, j] = x[:, i * stride : i * stride + size, j * stride : j * stride + size].mean((1, 2))
    return out, (x.shape, size, stride)


def pool_last_back(dout, cache):
    shape, size, stride = cache
    dx = np.zeros(shape)
    for i in range(dout.shape[1]):
        for j in range(dout.shape[2]):
            dx[:, i * stride : i * stride + size, j * stride : j * stride + size] += dout[:, i : i + 1, j : j + 1] / size**2
    return dx


def rnn(x, h0, Wx, Wh, b):
    hs = [h0]
    for t in range(x.shape[1]):
        hs.append(np.tanh(x[:, t] @ Wx + hs[-1] @ Wh + b))
    return np.stack(hs[1:], 1), (x, Wx, Wh, hs)


def rnn_back(dh, cache):
    x, Wx, Wh, hs = cache
    dx, dWx, dWh, db, d = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(len(Wh)), 0
    for t in reversed(range(x.shape[1])):
        da = (dh[:, t] + d) * (1 - hs[t + 1] ** 2)
        dx[:, t], d = da @ Wx.T, da @ Wh.T
        dWx, dWh, db = dWx + x[:, t].T @ da, dWh + hs[t].T @ da, db + da.sum(0)
    return dx, d, dWx, dWh, db


def lstm_step(x, prev_h, prev_c, Wx, Wh, b):
    i, f, g, o = np.split(x @ Wx + prev_h @ Wh + b, 4, axis=1)
    i, f, g, o = (1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o)))
    c = f * prev_c + i * g
    return o * np.tanh(c), c, (x, prev_h, prev_c, Wx, Wh, i, f, g, o, np.tanh(c))


def lstm_step_back(dnext_h, dnext_c, cache):
    x, h, c, Wx, Wh, i, f, g, o, t = cache
    d = dnext_c + dnext_h * o * (1 - t * t)
    da = np.hstack([d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g * g), dnext_h * t * o * (1 - o)])
    return da @ Wx.T, da @ Wh.T, d * f, x.T @ da, h.T @ da, da.sum(0)


def pool_param(x, pool_param):
    return pool_last(x, pool_param["pool_height"], pool_param["stride"])


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_back(dout, x):
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2))


def huber(pred, target, delta=1.0):
    r = pred - target
    near = np.abs(r) <= delta
    loss = np.where(near, r * r / 2, delta * (np.abs(r) - delta / 2))
    return loss.mean(), np.where(near, r, delta * np.sign(r)) / r.size


STYLES = {
    "a weight (in, out)": ((affine, affine_back), "Linear", "dx, dW, db = affine_back(dout, cache)"),
    "a weight (out, in), a dict": ((other_way, other_way_back), "Linear", "a weight is (out, in)"),
    "samples in columns": ((columns, columns_back), "Linear", "samples are columns, a bias is a column (out, 1)"),
    "one function for all": ((everything,), "Linear", "out, dx, dw, db = everything(x, w, b, dout)"),
    "the local derivative": ((relu, relu_slope), "ReLU", "dx = dout * relu_slope(x)"),
    "the output is handed over": ((softmax, softmax_back), "Softmax", "dx = softmax_back(dout, out)"),
    "a loss and its gradient": ((mse, mse_gradient), "MSELoss", f"dp = mse_gradient(p, t) taken as: {MEAN}"),
    "a fused loss, a sum": ((squares,), "MSELoss", "loss, dy = squares(y, t) taken as: reduction='sum'"),
    "class indices": ((entropy,), "CrossEntropyLoss", "loss, dlogits = entropy(logits, labels)"),
    "one-hot rows": ((entropy_one_hot,), "CrossEntropyLoss", "a target is one-hot"),
    "an option": ((norm, norm_back), "BatchNorm1d", "out, cache = norm(x, gamma, beta, eps)"),
    "an eps of its own": ((norm_of_its_own, norm_back), "BatchNorm1d", "eps=1e-08"),
    "a dict of options": ((norm_param, norm_back), "BatchNorm1d", "'mode': 'train' if training else 'test'"),
    "noise, dropping": ((dropout, dropout_back), "Dropout", "p is the probability of dropping"),
    "noise, keeping": ((dropout_keeping, dropout_back), "Dropout", "dropout_keeping(x, 1 - p)"),
    "a table": ((embed, embed_back), "Embedding", "out, cache = embed(idx, W); d = embed_back(dout, cache)"),
    "channels last": ((pool_last, pool_last_back), "AvgPool2d", "channels last"),
    "one upstream gradient an output": ((lstm_step, lstm_step_back), "LSTMCell", "= lstm_step_back(dnext_h, dnext_c, cache)"),
    "a dict of sizes": ((pool_param, pool_last_back), "AvgPool2d", "'pool_height': kernel_size"),
    "an approximation": ((gelu, gelu_back), "GELU", "approximate='tanh'"),
    "an option called like a gradient": ((huber,), "HuberLoss", "loss, dpred = huber(pred, target, delta)"),
    "a sequence": ((rnn, rnn_back), "RNN", "the batch is the first axis"),
    "the very layer": ((affine, affine_back), package.Linear(4, 7), "called as"),
    "a class": ((relu, lambda dout, x: dout * (x > 0)), package.ReLU, "backward(dout, x)"),
}


@pytest.mark.parametrize("style", STYLES)
def test_a_right_solution_is_ok_in_every_style(style):
    functions, like, said = STYLES[style]
    found, notes = verdicts(*functions, like=like)
    assert set(found) == {"ok"}
    assert said in notes


def test_what_the_signature_does_not_take_is_said():
    _, notes = verdicts(pool_last, pool_last_back, like="AvgPool2d")
    assert "not varied, as the signature does not take it: padding, count_include_pad, ceil_mode" in notes


def test_a_forward_alone_is_compared_alone():
    found, notes = verdicts(relu, like="ReLU")
    assert found == ["ok"]
    assert "only the outputs are compared" in notes


# Wrong ones -----------------------------------------------------------------------------------------------------------


def mean_back(dout, cache):
    return *affine_back(dout, cache)[:2], dout.mean(0)


def short_norm_back(dout, cache):
    x_hat, gamma, var, eps = cache
    return dout * gamma / np.sqrt(var + eps), (dout * x_hat).sum(0), dout.sum(0)


def square_of(dout, cache):
    return [g**2 for g in affine_back(dout, cache)]


WRONG = {
    "a mean for a sum": ((affine, mean_back), "Linear", r"db is 1/N times what it should be"),
    "no path through the statistics": ((norm, short_norm_back), "BatchNorm1d", r"dx"),
    "a square": ((affine, square_of), "Linear", r"d"),
    "a loss twice": ((lambda p, t: 2 * mse(p, t), mse_gradient), "MSELoss", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_wrong_and_explained(name):
    functions, like, said = WRONG[name]
    found = check(*functions, like=like, seed=2)
    assert not found.ok
    assert not found
    assert any(r.wrong for r in found.rows)
    assert not said or re.search(said, found.findings[0].sentence)


def test_another_kind_of_function_is_wrong_not_an_error():
    assert verdicts(relu, like="Tanh")[0] == ["wrong"]
    assert verdicts(pool_last, like="Linear")[0] == ["raises"]


# What cannot be understood --------------------------------------------------------------------------------------------

NOT_UNDERSTOOD = {
    "no kernel": (((lambda x: x), (lambda dout, c: c)), "MaxPool2d", r"has kernel_size, .* like MaxPool2d\(kernel_size=…\)"),
    "too few arrays": ((lambda x: x,), "Linear", "nothing in the signature stands for weight"),
    "too many arrays": ((lambda x, u, v: x,), "ReLU", r"it is not clear what u is in .*\(x, u, v\): it may take x"),
    "no cache": ((relu, lambda dout, cache: dout), "Tanh", r"takes cache, .*: return \(out, cache\) there"),
    "no upstream": ((affine, lambda cache: cache), "Linear", r"takes no upstream gradient: let it take one \(dout\)"),
    "what is it": ((affine, lambda dout, cache, foo: cache), "Linear", "it is not clear what foo is in"),
    "one gradient of three": ((affine, lambda dout, cache: (dout, dout)), "Linear", "it is not clear which: return dx, dW, db"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_what_cannot_be_understood_says_how_it_would_have_to_look(name):
    functions, like, sentence = NOT_UNDERSTOOD[name]
    with pytest.raises(LikeError, match=sentence):
        check(*functions, like=like)


def test_wrong_arguments_are_one_sentence():
    with pytest.raises(UnknownNameError, match="did you mean Conv2d"):
        check(relu, like="Conv2")
    with pytest.raises(ArgumentError, match="like is 3; wanted the name"):
        check(relu, like=3)
    with pytest.raises(ArgumentError, match="3 is no function"):
        check(3, like="ReLU")


# The result -----------------------------------------------------------------------------------------------------------


def test_the_result_prints_as_table_and_words_and_repeats():
    one = package.check(affine, mean_back, like="Linear", seed=5)
    two = package.check(affine, mean_back, like="Linear", seed=5)
    text = repr(one)
    assert [r.verdict for r in one.rows] == ["ok", "wrong"]
    for part in ("seed 5", "called as: ", "function   verdict", "mean_back: wrong", "smallest failing input:", "1 to mend"):
        assert part in text
    assert text.rpartition(" · ")[0] == repr(two).rpartition(" · ")[0]  # all but the seconds
    assert "<table" in one._repr_html_()
    assert "<script" not in one._repr_html_()


def test_nothing_of_the_callers_is_changed():
    held = []

    def forward(x):
        held.append(x)
        x *= 2
        return x

    def backward(dout, y):
        return 2 * dout

    np.random.seed(3)
    found = check(forward, backward, like="ReLU", seed=1)
    assert found.rows[0].verdict == "wrong"
    assert len({id(x) for x in held}) == len(held)


def readme_example():
    code = re.search(r"```python\n(def affine_forward.*?)```", README, flags=re.S)[1]
    said = re.search(r"```text\n([^`]*?like Linear.*?)```", README, flags=re.S)[1]
    return code, said


def test_the_readmes_example_says_what_the_readme_says(tmp_path):
    code, said = readme_example()
    (tmp_path / "my.py").write_text("import numpy as np\n" + code.partition("refbp.check(")[0])
    run = refbp("check", "my.py::affine_forward,affine_backward", "--like", "Linear", "--seed", "1", cwd=tmp_path)
    assert run.returncode == 1
    shown, wanted = (
        [line for line in text.rstrip().splitlines() if not line.startswith("isolated")] for text in (run.stdout, said)
    )
    assert shown[: len(wanted)] == wanted


# What a submission says of itself is not believed ---------------------------------------------------------------------


def test_a_forged_name_does_not_become_code_here(tmp_path):
    forged = f"np.save({str(tmp_path / 'owned')!r}, np.zeros(1))"
    with pytest.raises(LikeError, match="a parameter whose name is no name"):
        _function(Forged({"forward": forged}), "forward", None)
    for odd in ({f"dx = {forged}; d": 1}, {f"dx']; {forged}; ['": 1}, {"None": 1, "def": 2}, {True: 1}):
        for functions in ((relu, lambda dout, x, o=odd: o), (lambda p, t, o=odd: (mse(p, t), o),)):
            try:
                found = check(*functions, like="MSELoss" if len(functions) == 1 else "ReLU", seed=1)
            except LikeError:
                continue
            assert not found.ok
    assert not list(tmp_path.iterdir())


class Forged(Local):
    """A caller that says of a function's parameters what a worker may say of them."""

    def parameters(self, target):
        return (Parameter(self.names[target], "positional_or_keyword"),)


def test_a_forward_that_hangs_is_not_asked_in_every_arrangement():
    class Hangs(Local):
        asked = 0

        def call(self, *args, **kwargs):
            self.asked += 1
            return Outcome("timeout", sentence="did not answer in time")

    caller = Hangs({"affine": affine})
    made = plan(model("Linear"), _function(caller, "affine", None), None, caller, 1)
    assert len(made.exercises) == 1
    assert caller.asked <= 3


# Every layer ----------------------------------------------------------------------------------------------------------

SOME = ("GELU", "Softplus", "PReLU", "AdaptiveAvgPool2d", "Add", "MatMul", "BCELoss", "NLLLoss", "Conv1d", "ConvTranspose2d",
        "CosineSimilarity", "Dropout2d", "LayerNorm", "GroupNorm", "KLDivLoss", "Bilinear", "LocalResponseNorm", "BatchNorm2d",
        "ReflectionPad2d", "MaxPool2d", "AvgPool3d", "LSTM", "GRUCell", "SmoothL1Loss", "GridSample", "PixelShuffle", "GLU",
        "MarginRankingLoss", "Upsample", "CTCLoss")  # fmt: skip


def dressed(name):
    """A layer's own forward and backward, as functions of its inputs, parameters and arguments."""
    spec = registry.current().get(name).spec
    layer = max((c.layer for c in spec.cases), key=lambda x: len(x.params()) * (getattr(x, "num_layers", 1) == 1))
    if getattr(layer, "bidirectional", False):
        layer = package.LSTM(3, 5)
    offer = Offer.of(layer)
    inputs = [n for n in offer.inputs if not layer.inputs()[n].startswith("optional")] + offer.noise * layer.noisy
    params = list(layer.params())
    skipped = {"bias", "affine", "elementwise_affine", "training", "track_running_stats", "initial", "init", "proj_size"}
    options = [n for n in offer.arguments if n not in {*inputs, *params, *skipped}]

    def forward(*given):
        arrays, chosen = given[: len(inputs) + len(params)], dict(zip(options, given[len(inputs) + len(params) :], strict=True))
        made = type(layer)(**chosen)
        dtype = next((a.dtype for a in arrays if np.asarray(a).dtype.kind == "f"), np.float64)
        state = made.init(np.random.default_rng(0), dtype)
        step = made({**state, **dict(zip(params, arrays[len(inputs) :], strict=True))}, *arrays[: len(inputs)])
        outputs = step.outputs if isinstance(step.outputs, tuple) else (step.outputs,)
        return *outputs, (step, len(outputs))

    def backward(dout, cache):
        step, n = cache
        grads = step.backward(np.asarray(dout, np.result_type(dout)), *[None] * (n - 1))
        found = {**dict(zip(layer.inputs(), grads.inputs, strict=False)), **grads.params}
        return {f"d{n}": g for n, g in found.items() if g is not None and n in {*inputs, *params}}

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    forward.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in (*inputs, *params, *options)])
    return forward, backward


@pytest.mark.parametrize("name", SOME)
def test_a_layers_own_functions_are_like_it(name):
    found = check(*dressed(name), like=name, seed=4)
    assert [r.verdict for r in found.rows] == ["ok", "ok"], found


# Whatever comes back --------------------------------------------------------------------------------------------------

ODD = {
    "None": None,
    "a number": 3,
    "a word": "s",
    "an object": object(),
    "an empty tuple": (),
    "an empty list": [],
    "an empty dict": {},
    "a dict by numbers": {1: 2},
    "objects": np.zeros((2, 2), object),
    "Nones": (None, None),
    "four": (1, 2, 3, 4),
    "complex": 1j,
    "words": np.array("x"),
    "ragged": ((1, 2), (3,)),
    "a function": max,
    "infinity": float("inf"),
    "a masked array": np.ma.zeros(3),
}


@pytest.mark.parametrize("what", ODD)
def test_whatever_comes_back_is_a_verdict_or_a_sentence(what):
    odd = ODD[what]
    tried = [
        ((lambda x: odd, relu_slope), "ReLU"),
        ((relu, lambda dout, x: odd), "ReLU"),
        ((affine, lambda dout, cache: odd), "Linear"),
        ((lambda p, t: (mse(p, t), odd),), "MSELoss"),
        ((lambda p, t: odd, lambda p, t: odd), "MSELoss"),
    ]
    for functions, like in tried:
        try:
            found = check(*functions, like=like, seed=1)
        except LikeError:
            continue
        assert not found.ok
        assert "Held" not in repr(found)
        assert found._repr_html_()
