"""CMU 11-785: what is right is ok in both generations, what is wrong is caught and named; the composites agree with torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from courses._course import Wrong, caught, checked, course, enough, found, hold, words

from refbp.courses._composites import BiasedBatchNorm1d, BiasedBatchNorm2d
from refbp.courses.cmu11785.references import (
    MomentumSteps,
    PosteriorCTC,
    ResetFirstGRU,
    Subsampling,
    Swish,
    UpsampledConvolution,
    ZeroInsertion,
)
from refbp.oracle.present import lines

HERE = Path(__file__).with_name("cmu11785") / "right"
FILES = ("hw1", "old", "hw2", "hw3", "hw4", "early")

BY_POWERS = "(np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))"
HW1 = [
    Wrong("Linear.backward", "dLdZ.T @ self.A\n", "(dLdZ.T @ self.A).T\n", "dLdW is transposed"),
    Wrong("Linear.backward", "dLdZ.T @ self.Ones", "dLdZ.mean(axis=0)[:, None]", "dLdb is 1/N times"),
    Wrong("Linear.backward", "dLdZ.T @ self.Ones", "dLdZ.sum(axis=0)", r"shape is wrong: \(\d+,\) for", "shape-only"),
    Wrong("Linear.backward", "dLdZ.T @ self.A\n", "dLdZ.T @ self.A / self.N\n", "dLdW is 1/N times"),
    Wrong("Linear.backward", "return dLdZ @ self.W\n", "return dLdZ @ self.W / self.N\n", "dLdA is 1/N times"),
    Wrong("Sigmoid.backward", "return dLdA * dAdZ", "return dAdZ", "ignores the upstream gradient", function="Sigmoid"),
    Wrong("Sigmoid.backward", "self.A - self.A * self.A", "self.A", "f.x. stands where its slope"),
    Wrong("Tanh.backward", "1 - self.A**2", "1 - np.tanh(self.A) ** 2", "f is applied twice"),
    Wrong("Tanh.backward", "np.tanh(Z)", BY_POWERS, r"^dLdZ is NaN.* e to a large power, where \|x\| > 300", "unstable"),
    Wrong("Tanh.backward", "1 - self.A**2", "1 + self.A**2", "y² has the wrong sign"),
    Wrong("ReLU.backward", "self.A > 0, dLdA", "dLdA > 0, dLdA", "the mask is taken of the upstream"),
    Wrong("ReLU.backward", "self.A > 0", "self.A >= 0", "slope f′.x. is missing"),
    Wrong("ReLU.backward", "np.where(self.A > 0, dLdA, 0)", "self.A * dLdA", "f.x. stands where its slope"),
    Wrong("GELU.backward", "(self.Phi + self.Z * density)", "self.Phi", "φ.x. is missing"),
    Wrong("GELU.backward", "/ np.sqrt(2 * np.pi)", "/ (2 * np.pi)", "φ.x. is 0.398942 times"),
    Wrong("Swish.backward", "self.beta * self.Z * dsig", "self.Z * dsig", "factor β is missing"),
    Wrong("Softmax.backward", "else -a[m] * a[n]", "else 0", "only the diagonal of the Jacobian"),
    Wrong("Softmax.backward", "else -a[m] * a[n]", "else a[m] * a[n]"),
    Wrong("Softmax.backward", "np.exp(Z - Z.max(axis=1, keepdims=True))", "np.exp(Z)", "NaN or infinite", "unstable"),
    Wrong("MSELoss.backward", "2 * (self.A", "(self.A", "1/the number of elements times", function="MSELoss.backward"),
    Wrong("MSELoss.backward", "/ (self.N * self.C)", "/ self.N", "C times", function="MSELoss.backward"),
    Wrong("MSELoss.backward", "(self.A - self.Y)", "(self.Y - self.A)", "wrong sign", function="MSELoss.backward"),
    Wrong("CrossEntropyLoss.backward", "(self.softmax - self.Y)", "self.softmax", "the target.* is missing"),
    Wrong("CrossEntropyLoss.backward", "self.Y) / self.N", "self.Y) / self.C", "N/C times"),
    Wrong("BatchNorm1d.backward", "dLdBZ * self.NZ, axis=0", "dLdBZ * self.Z, axis=0", "x stands where x̂ is meant"),
    Wrong("BatchNorm1d.backward", " + dLdM / self.N", "", "mean.d.*missing"),
    Wrong(
        "BatchNorm1d.backward",
        "+ (1 - self.alpha) * self.M",
        "+ (1 - self.alpha * self.M)",
        "a bracket closes too late",
        row="BatchNorm1d.forward",
    ),
    Wrong(
        "BatchNorm1d.backward",
        "+ (1 - self.alpha) * self.M",
        "+ self.M",
        "the batch's own value has no factor",
        row="BatchNorm1d.forward",
    ),
    Wrong(
        "BatchNorm1d.backward",
        "self.dLdBb = np.sum(dLdBZ, axis=0, keepdims=True)",
        "self.dLdBW = np.sum(dLdBZ, axis=0)",
        "^dLdBW and dLdBb are swapped",
        also=(("self.dLdBW = np.sum(dLdBZ * self.NZ, axis=0, keepdims=True)", "self.dLdBb = np.sum(dLdBZ * self.NZ, axis=0)"),),
    ),
    Wrong(
        "BatchNorm1d.backward",
        "2 / self.N * dLdV * centred",
        "2 / self.N * dLdV * self.NZ",
        r"divided by √\(σ² \+ ε\) once too often: x̂ stands where x − μ is meant",
    ),
    Wrong("BatchNorm1d.backward", "2 / self.N * dLdV * centred", "dLdV * centred / self.N", r"mean\(dx̂ · x̂\) is 1/2 times"),
    Wrong("BatchNorm1d.backward", "centred / sd**3", "centred / sd", "not divided by √"),
    Wrong("BatchNorm1d.backward", "dLdNZ = dLdBZ * self.BW", "dLdNZ = dLdBZ", "factor γ is missing"),
    Wrong(
        "BatchNorm1d.backward",
        "np.sqrt(self.V + self.eps)",
        "(np.sqrt(self.V) + self.eps)",
        "ε is added outside the root",
        function="BatchNorm1d.backward",
    ),
    Wrong(
        "BatchNorm1d.forward in evaluation",
        "/ np.sqrt(self.running_V + self.eps)",
        "/ np.sqrt(self.running_V) + self.eps",
        "ε is added to the quotient",
    ),
    Wrong("Dropout.backward", "self.mask * delta / (1 - self.p)", "delta / (1 - self.p)", "mask keep is missing"),
    Wrong("Dropout.backward", "self.mask * delta / (1 - self.p)", "self.mask * delta / self.p", r"\(1 − p\)/p times"),
    Wrong("MLP4.backward", "for layer in reversed(self.layers)", "for layer in self.layers", "error is raised", "raises"),
    Wrong(
        "MLP1.backward", "self.layers[2].backward(dLdZ1)", "self.layers[2].backward(dLdA2)", "slope f′.x. is missing.*ReLU 2"
    ),
    Wrong("SGD.step", "self.mu * self.v_W[i] + layer", "self.mu * self.v_W[i] + (1 - self.mu) * layer"),
]
OLD = [
    Wrong("Linear.backward", "dLdW / self.N", "dLdW", "1/N times"),
    Wrong("Sigmoid.backward", "self.A * (1 - self.A)", "self.A * (1 + self.A)", "y² has the wrong sign"),
    Wrong("Conv1d.backward", "full[:, :, :: self.stride] =", "full[:, :, : dLdZ.shape[2]] =", "stride is forgotten"),
]
HW2 = [
    Wrong("Upsample1d.backward", ":: self.upsampling_factor", "1 :: self.upsampling_factor", "has the shape"),
    Wrong("Downsample1d.backward", "C, self.W_in)", "C, self.downsampling_factor * (W - 1) + 1)", "has the shape"),
    Wrong("Downsample2d.backward", "::k, ::k] = dLdZ", ": dLdZ.shape[2], : dLdZ.shape[3]] = dLdZ", "wrong where factor > 1"),
    Wrong("Conv1d_stride1.backward", "self.W[:, :, ::-1]", "self.W", "kernel is flipped"),
    Wrong("Conv1d_stride1.backward", "np.sum(dLdZ, axis=(0, 2))", "np.sum(dLdZ, axis=(1, 2))", r"summed over axes \(1, 2\)"),
    Wrong("Conv2d_stride1.backward", "j + K] += np.tensordot(d, self.W", "j + K] = np.tensordot(d, self.W", "overwrit"),
    Wrong("Conv2d_stride1.backward", "self.dLdW += np.tensordot", "self.dLdW = np.tensordot", "share of the last window"),
    Wrong("Conv2d_stride1.backward", "np.sum(dLdZ, axis=(0, 2, 3))", "np.mean(dLdZ, axis=(0, 2, 3))", "a mean"),
    Wrong("Conv1d.backward", "self.pad : dLdA.shape[2] - self.pad", "self.pad : -self.pad", "empty where the padding is 0"),
    Wrong(
        "Conv2d.backward",
        "dLdA[:, :, p : dLdA.shape[2] - p, p : dLdA.shape[3] - p]",
        "dLdA",
        "still has the padding",
    ),
    Wrong("Conv1d.backward", "self.downsample1d.backward(dLdZ)", "dLdZ", "raised where stride > 1", "raises"),
    Wrong(
        "ConvTranspose1d.backward",
        "return self.upsample1d.backward(self.conv1d_stride1.backward(dLdZ))",
        "return self.conv1d_stride1.backward(dLdZ)",
        "upsampling_factor > 1",
    ),
    Wrong("Flatten.backward", "dLdZ.reshape(self.shape)", "dLdZ.reshape(self.shape[::-1])", "shape is wrong", "shape-only"),
    Wrong("MaxPool2d_stride1.backward", "j + b] += dLdZ", "j + b] = dLdZ", "overwrit"),
    Wrong("MaxPool2d.backward", "j + b] += dLdZ", "j + b] = dLdZ"),
    Wrong("MeanPool2d_stride1.backward", "/ K**2", "/ K", "kernel_size.*times"),
    Wrong("BatchNorm2d.backward", "dLdV * 2 / self.count", "dLdV * 2 / len(self.Z)", "H·W times"),
    Wrong("BatchNorm2d.backward", " + dLdM / self.count", "", "mean.d.*missing"),
    Wrong(
        "BatchNorm2d.backward",
        "dLdV * 2 / self.count *",
        "dLdV * 2 / self.Z.shape[0] * self.Z.shape[2] * self.Z.shape[3] *",
        r"\(H·W\)² times",
    ),
]
HW3 = [
    Wrong("RNNCell.backward", "h_prev_l / batch_size", "h_prev_l", "dW_ih is N times"),
    Wrong("RNNCell.backward", "dz.T @ h_prev_t / batch_size", "dz.T @ h_t / batch_size", "state after the step"),
    Wrong(
        "RNNCell.backward",
        "self.activation.backward(delta, state=h_t)",
        "delta * (1 - np.tanh(h_t) ** 2)",
        "tanh is applied twice",
    ),
    Wrong("RNNCell.backward", "dh_prev_t = dz @ self.W_hh", "dh_prev_t = dz @ self.W_hh.T", "W_hh transposed"),
    Wrong("RNNCell.backward", "db_hh += np.sum(dz, axis=0)", "db_hh += np.sum(dz, axis=1)", "error is raised", "raises"),
    Wrong("GRUCell.backward", "dh_prev_t = delta * self.z", "dh_prev_t = 0", "direct path is missing"),
    Wrong(
        "GRUCell.backward", "np.outer(dn_in * self.r, self.hidden)", "np.outer(dn_in, self.hidden)", "dWnh.*factor r is missing"
    ),
    Wrong("GRUCell.backward", "delta * (self.hidden - self.n)", "delta * (self.n - self.hidden)", "the other way round"),
    Wrong("GRUCell.backward", "(dn_in * self.r) @ self.Wnh", "dn_in @ self.Wnh", "dh_prev_t.*factor r is missing"),
    Wrong("GRUCell.backward", "dr_in = self.r_act.backward(dr)", "dr_in = dr", "factor σ′.r. is missing"),
    Wrong("GRUCell.backward", "self.dbnh = dn_in * self.r", "self.dbnh = dn_in", "dbnh.*factor r is missing"),
    Wrong("CTCLoss.backward", "dY[t, b, symbol] -= ", "dY[t, b, symbol] = -"),
    Wrong("CTCLoss.backward", " / self.logits[t, b, symbol]", "", "factor y is there once too often"),
    Wrong("CTCLoss.backward", "        return dY", "        return dY / B", "it is the derivative itself", "convention"),
]
NEARLY_ONE = (("self.softmax.forward(scores)", "self.softmax.forward(scores) / (1 + 1e-8)"),)  # harmless, but not to the digit
HW4 = [
    Wrong("Linear.backward", "rows.sum(axis=0)", "rows.mean(axis=0)", "in_features/the number of elements times"),
    Wrong("Linear.backward", "rows.sum(axis=0)", "dLdZ.sum(axis=0)", "summed over axis 0"),
    Wrong("Softmax.backward", "np.diag(rows[i]) - np.outer(rows[i], rows[i])", "np.diag(rows[i])", "y Σ dy y is missing"),
    Wrong("ScaledDotProductAttention.backward", "-2)) / np.sqrt(self.Q.shape[-1])", "-2))", "scale 1/√d"),
    Wrong(
        "ScaledDotProductAttention.backward", "self.eps = 1e10", "self.eps = 1e-4", "where attn_mask is given", also=NEARLY_ONE
    ),
    Wrong("ScaledDotProductAttention.backward", "return d_Q, d_K, d_V", "return d_K, d_Q, d_V", "d_Q and d_K are swapped"),
    Wrong(
        "ScaledDotProductAttention.backward",
        "self.softmax.backward(d_output @ np.swapaxes(self.V, -1, -2))",
        "(d_output @ np.swapaxes(self.V, -1, -2))",
        "softmax is left out",
    ),
    Wrong("MultiHeadAttention.backward", "d_k = self.k_proj", "d_k = self.q_proj", "raised in every case", "raises"),
]
EARLY = [
    Wrong("Linear.backward", "self.x, delta) / batch", "self.x, delta) / batch**2", "dW is 1/N times"),
    Wrong("Tanh.derivative", "1 - self.state**2", "1 - self.state", "", function="Tanh"),
    Wrong("SoftmaxCrossEntropy.derivative", "self.softmax - self.labels", "self.softmax", "the target.* is missing"),
    Wrong("BatchNorm.backward", " + dmean / batch", "", "mean.d.*missing"),
    Wrong("Conv1D.backward", "dx[:, :, at : at + self.kernel_size] +=", "dx[:, :, at : at + self.kernel_size] =", "overwrit"),
    Wrong("Conv2D.backward", "dx[window] +=", "dx[window] =", "overwrit"),
    Wrong("MaxPoolLayer.backward", "+= delta[n, c, i, j]", "= delta[n, c, i, j]", "overwrit"),
    Wrong("MeanPoolLayer.backward", "delta / self.kernel**2", "delta / self.kernel", "kernel_size.* times"),
    Wrong("GRU_Cell.backward", "dr = through * h * self", "dr = through * self"),
    Wrong("GRU_Cell.backward", "delta * (1 - self.z) + dz", "delta * self.z + dz"),
]
ALL = [("hw1", HW1), ("old", OLD), ("hw2", HW2), ("hw3", HW3), ("hw4", HW4), ("early", EARLY)]
MISTAKES = [(file, wrong) for file, wrongs in ALL for wrong in wrongs]


@pytest.fixture(scope="module")
def reports():
    return {file: checked("cmu11785", HERE / f"{file}.py") for file in FILES}


@pytest.mark.parametrize("file", FILES)
def test_a_right_solution_is_ok_in_every_tier(reports, file):
    rows = [r for r in reports[file].rows if r.verdict != "not implemented"]
    assert {r.name: (r.verdict, r.note) for r in rows if not r.ok} == {}
    assert len(rows) >= 8


def test_every_exercise_on_arrays_has_a_right_solution(reports):
    tried = {r.name for report in reports.values() for r in report.rows if r.ok}
    assert {e.name for e in course("cmu11785").exercises if not e.tensors} <= tried


def test_factors_of_the_course_that_deviate_from_autograd_are_reported(reports):
    deviates = {(file, r.name) for file in FILES for r in reports[file].rows if r.autograd == "no"}
    assert deviates == {
        ("old", "Linear.backward"),
        ("old", "MSELoss.backward"),
        ("old", "CrossEntropyLoss.backward"),
        ("old", "Dropout.backward"),
        ("old", "MLP1.backward"),
        ("early", "Linear.backward"),
        ("hw3", "RNNCell.backward"),
        ("hw3", "CTCLoss.backward"),
    }


@pytest.mark.parametrize(("file", "wrong"), MISTAKES, ids=[str(w) for _, w in MISTAKES])
def test_a_wrong_solution_is_caught(file, wrong):
    hold(found("cmu11785", HERE / f"{file}.py", wrong), wrong)


def test_nine_of_ten_are_explained():
    enough([w for _, w in MISTAKES])


def test_a_tie_that_goes_to_the_last_is_another_convention():
    wrong = Wrong("MaxPool2d.backward", "window.argmax(axis=2)", "K * K - 1 - window[:, :, ::-1].argmax(axis=2)")
    assert found("cmu11785", HERE / "hw2.py", wrong).verdict == "kink-only"


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ("np.random.binomial(1, 1 - self.p, (1, x.shape[1])) + 0 * x", "dropped alike"),
        ("np.random.binomial(1, 1 - self.p**4, x.shape)", "are kept, wanted about"),
    ],
)
def test_a_dropout_that_draws_otherwise_is_wrong_though_its_gradient_fits(mask, says):
    wrong = Wrong("Dropout.backward", "np.random.binomial(1, 1 - self.p, x.shape)", mask, row="Dropout.forward")
    row = found("cmu11785", HERE / "hw1.py", wrong)
    assert caught(row)
    assert says in row.note


def test_a_convention_without_a_parameter_is_not_for_those_who_have_it():
    wrong = Wrong("Conv2d.backward", "self.conv2d_stride1", "self.inner", function="Conv2d")
    assert "no attribute 'conv2d_stride1'" in found("cmu11785", HERE / "hw2.py", wrong).note


OF_SQUARES = """import numpy as np
from resampling import Downsample2d


class Inner:
    def __init__(self, kernel_size):
        self.kernel_size = kernel_size

    def forward(self, A):
        K, n = self.kernel_size, A.shape[2] - self.kernel_size + 1
        self.shape = A.shape
        columns = [A[:, :, i : i + K, j : j + K].reshape(len(A), -1) for i in range(n) for j in range(n)]
        Z = np.stack([c @ self.W.reshape(len(self.W), -1).T for c in columns], -1)
        return Z.reshape(len(A), -1, n, A.shape[3] - K + 1) + self.b[:, None, None]

    def backward(self, dLdZ):
        return np.zeros(self.shape)


class Conv2d:
    def __init__(self, in_channels, out_channels, kernel_size, stride, weight_init_fn=None, bias_init_fn=None):
        self.conv2d_stride1 = Inner(kernel_size)
        self.downsample2d = Downsample2d(stride)

    def forward(self, A):
        return self.downsample2d.forward(self.conv2d_stride1.forward(A))

    def backward(self, dLdZ):
        return self.conv2d_stride1.backward(self.downsample2d.backward(dLdZ))
"""


def test_of_two_generations_that_are_both_wrong_the_one_is_meant_whose_arguments_are_taken(tmp_path):
    resampling = "class Downsample2d:\n    def __init__(self, k):\n        self.k = k\n\n    def forward(self, A):\n"
    resampling += "        return A[:, :, :: self.k, :: self.k]\n\n    def backward(self, dLdZ):\n        return dLdZ\n"
    (tmp_path / "resampling.py").write_text(resampling)
    (tmp_path / "conv.py").write_text(OF_SQUARES)
    report = checked("cmu11785", tmp_path, ["Conv2d.backward"], explain=True)
    forward, backward = report.rows
    assert forward.right == 1
    assert "unexpected keyword" not in forward.note
    assert "where H ≠ W" in words(forward)
    said = "\n".join(lines(backward))
    assert backward.note.startswith("its forward raises ValueError")
    assert "not explained" not in said


def test_attention_on_tensors_is_given_tensors():
    report = checked("cmu11785", HERE / "attention_on_tensors.py")
    assert {r.name: r.verdict for r in report.rows} == dict.fromkeys(
        ("Softmax.forward", "Softmax.backward", "Attention.forward", "Attention.backward"), "ok"
    )


def test_gelu_needs_no_scipy_beside_it(tmp_path):
    (tmp_path / "activation.py").write_text(
        "import numpy as np\nimport scipy\nfrom scipy.special import erf\n\n\nclass GELU:\n"
        "    def forward(self, Z):\n        self.Z = Z\n"
        "        return 0.5 * Z * (1 + scipy.special.erf(Z / np.sqrt(2)))\n\n"
        "    def backward(self, dLdA):\n        phi = np.exp(-0.5 * self.Z**2) / np.sqrt(2 * np.pi)\n"
        "        return dLdA * (0.5 * (1 + erf(self.Z / np.sqrt(2))) + self.Z * phi)\n"
    )
    assert {r.verdict for r in checked("cmu11785", tmp_path / "activation.py").rows} == {"ok"}


# The composites, held against torch autograd ---------------------------------------------------------------------------


def derivative(layer, function, *inputs, state=(), used=0):
    """The layer's outputs and gradients beside those of a torch function of the same arrays, for a random signed upstream."""
    rng = np.random.default_rng(7)
    held = {n: rng.normal(size=a.shape) for n, a in layer.init(rng).items()} | dict(state)
    step = layer(held, *inputs)
    ours = step.outputs if isinstance(step.outputs, tuple) else (step.outputs,)
    leaves = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    params = {n: torch.tensor(a, requires_grad=True) for n, a in held.items() if n in layer.params()}
    theirs = function(*leaves, **params)
    theirs = theirs if isinstance(theirs, tuple) else (theirs,)
    dy = rng.uniform(0.5, 1.5, ours[used].shape) * rng.choice([-1.0, 1.0], ours[used].shape)
    theirs[used].backward(torch.tensor(dy))
    grads = step.backward(*(dy if i == used else None for i in range(len(ours))))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-12, atol=1e-12)
    for a, leaf in zip(grads.inputs, leaves, strict=True):
        assert (a is None) == (leaf.grad is None)
        if a is not None:
            np.testing.assert_allclose(a, leaf.grad.numpy(), rtol=1e-11, atol=1e-12)
    for n, leaf in params.items():
        np.testing.assert_allclose(grads.params[n], leaf.grad.numpy(), rtol=1e-11, atol=1e-12)


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def inserted(x, factor, rank):
    lengths = [(n - 1) * factor + 1 for n in x.shape[2:]]
    y = torch.zeros(*x.shape[:2], *lengths, dtype=x.dtype)
    y[(..., *[slice(None, None, factor)] * rank)] = x
    return y


@pytest.mark.parametrize(("rank", "space"), [(1, (7,)), (2, (5, 4))])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_resampling_is_torchs(rank, space, factor):
    x = normal(2, 3, *space)
    derivative(ZeroInsertion(factor, rank), lambda t: inserted(t, factor, rank), x)
    derivative(Subsampling(factor, rank), lambda t: t[(..., *[slice(None, None, factor)] * rank)] * 1.0, x)
    conv = torch.nn.functional.conv1d if rank == 1 else torch.nn.functional.conv2d
    derivative(
        UpsampledConvolution(3, 4, 2, factor, rank),
        lambda t, weight, bias: conv(inserted(t, factor, rank), weight, bias),
        x,
    )


def gru_of_2019(x, h, Wzx, Wrx, Wx, Wzh, Wrh, Wh):
    z, r = torch.sigmoid(Wzx @ x + Wzh @ h), torch.sigmoid(Wrx @ x + Wrh @ h)
    return h + z * (torch.tanh(Wx @ x + Wh @ (r * h)) - h)


def test_the_gru_of_2019_is_differentiated_as_torch_does_it():
    derivative(ResetFirstGRU(5, 3), gru_of_2019, normal(5), normal(3))


def test_swish_is_torchs():
    derivative(Swish(), lambda x, beta: x * torch.sigmoid(beta * x), normal(3, 5))


@pytest.mark.parametrize(("layer", "shape"), [(BiasedBatchNorm1d(3, eps=0.01), (5, 3)), (BiasedBatchNorm2d(3), (2, 3, 4, 2))])
def test_running_statistics_are_biased(layer, shape):
    x, state = normal(*shape), layer.init(np.random.default_rng(0))
    step = layer(state, x)
    axes = tuple(i for i in range(len(shape)) if i != 1)
    np.testing.assert_allclose(step.updates["running_mean"], 0.1 * x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(step.updates["running_var"], 0.9 + 0.1 * x.var(axes), rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_two_steps_are_torchs(momentum):
    W, *g = (normal(3, n) for n in (4, 4, 4))
    p = torch.nn.Parameter(torch.tensor(W))
    optimizer, found = torch.optim.SGD([p], lr=0.03, momentum=momentum), []
    for gradient in g:
        p.grad = torch.tensor(gradient)
        optimizer.step()
        found.append(p.detach().numpy().copy())
    for ours, theirs in zip(MomentumSteps(0.03, momentum)({}, W, *g).outputs, found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def test_the_gradient_of_ctc_is_that_of_the_likelihood():
    rng = np.random.default_rng(3)
    y = rng.uniform(0.1, 1.0, (7, 3, 5))
    y /= y.sum(2, keepdims=True)
    target, frames, lengths = np.array([[1, 4, 4], [2, 3, 0], [1, 2, 1]]), np.array([7, 5, 6]), np.array([3, 2, 3])
    step = PosteriorCTC()({}, y, target, frames, lengths)
    logits = torch.log(torch.tensor(y)).requires_grad_()
    losses = torch.nn.functional.ctc_loss(
        torch.log_softmax(logits, 2), torch.tensor(target), torch.tensor(frames), torch.tensor(lengths), reduction="none"
    )
    np.testing.assert_allclose(step.outputs[1], losses.mean().item(), rtol=1e-12)
    losses.mean().backward()
    # Logits reach y through a softmax, whose own backward turns ∂/∂y into what torch has computed
    dy = step.backward(None, np.ones(())).inputs[0]
    np.testing.assert_allclose(y * (dy - (dy * y).sum(2, keepdims=True)), logits.grad.numpy(), atol=1e-12)
    assert step.outputs[0] > step.outputs[1]  # the value that the course reports is another one
