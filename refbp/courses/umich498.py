"""Michigan's EECS 498-007 / 598-005, Deep Learning for Computer Vision: CS231n's exercises in tensors, without autograd.

Layers are classes with two static methods; everything else is as in CS231n, whose cases these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from refbp.courses.cs231n import images, layers, models, sequences, updates
from refbp.courses.cs231n.references import Regularised
from refbp.draws import labels, normal
from refbp.hookspecs import hookimpl
from refbp.layers.activation import ReLU
from refbp.layers.container import Sequential
from refbp.layers.convolution import Conv2d
from refbp.layers.linear import Linear
from refbp.layers.pooling import MaxPool2d
from refbp.layers.shape import Flatten
from refbp.losses.classification import CrossEntropyLoss
from refbp.oracle.exercise import Course, Exercise
from refbp.spec import Case

TENSORS: Mapping[str, Any] = {"tensors": True, "modules": ("torch",)}


def _static(exercise: Exercise, name: str, forward: str, backward: str, method: str = "backward") -> Exercise:
    """An exercise of CS231n whose functions are static methods of a class here."""
    calls = exercise.forward.replace(forward, f"{name}.forward"), exercise.backward.replace(backward, f"{name}.{method}")
    return replace(
        exercise, name=f"{name}.{method}", forward=calls[0], backward=calls[1], forward_name=f"{name}.forward", **TENSORS
    )


def _tested(exercise: Exercise, name: str, forward: str) -> Exercise:
    """The same of what is tried in evaluation only."""
    return replace(
        exercise,
        name=f"{name}.forward (test)",
        forward=exercise.forward.replace(forward, f"{name}.forward"),
        forward_name=f"{name}.forward",
        **TENSORS,
    )


LAYERS = [
    _static(layers.AFFINE, "Linear", "affine_forward", "affine_backward"),
    _static(layers.RELU, "ReLU", "relu_forward", "relu_backward"),
    _static(layers.AFFINE_RELU, "Linear_ReLU", "affine_relu_forward", "affine_relu_backward"),
    replace(
        _static(layers.DROPS, "Dropout", "dropout_forward", "dropout_backward"),
        convention="p is the probability that an element is dropped",
    ),
    _static(layers.BATCHNORM, "BatchNorm", "batchnorm_forward", "batchnorm_backward"),
    _static(layers.BATCHNORM_ALT, "BatchNorm", "batchnorm_forward", "batchnorm_backward_alt", "backward_alt"),
    _tested(layers.BATCHNORM_TEST, "BatchNorm", "batchnorm_forward"),
    _static(images.CONVOLUTION, "Conv", "conv_forward_naive", "conv_backward_naive"),
    _static(images.MAX_POOL, "MaxPool", "max_pool_forward_naive", "max_pool_backward_naive"),
    _static(images.SPATIAL_BATCHNORM, "SpatialBatchNorm", "spatial_batchnorm_forward", "spatial_batchnorm_backward"),
    _tested(images.SPATIAL_BATCHNORM_TEST, "SpatialBatchNorm", "spatial_batchnorm_forward"),
]
FUNCTIONS = [
    replace(e, **TENSORS)
    for e in (*models.CLASSIFIERS, *updates.EXERCISES, sequences.RNN_STEP, sequences.RNN_SEQUENCE)
    if e.name != "sgd"  # which is given
]

# Networks ---------------------------------------------------------------------------------------------------------------

# A float64 network: its dtype is that of the parameters which it was given
_DOUBLE = "model.dtype = model.params.W1.dtype\n"


def _network(exercise: Exercise, made: str) -> Exercise:
    """A network of CS231n, made and told its dtype as it is here."""
    _, params, rest = exercise.forward.split("\n", 2)
    rest = rest.replace("model.dtype = 'float64'\n", "")
    return replace(exercise, forward=f"model = {made}\n{params}\n{_DOUBLE}{rest}", **TENSORS)


TWO_LAYERS = models.TWO_LAYERS_LATER
NN = Exercise(
    "nn_forward_backward",
    forward=f"params = {models.given(models.TWO)}\n"
    "loss, grads = nn_forward_backward(params, X, y, reg)\n"
    f"{models.read(models.TWO)}",
    arrays=TWO_LAYERS.arrays,
    outputs={"loss": "loss"},
    tiers=models.TWO_LAYERS_CASES,
    **TENSORS,
)


def _deep(filters: Sequence[int], pools: Sequence[int], shape: tuple[int, ...], classes: int, id: str) -> Case:
    """Kernels of 3×3 with a padding of 1, pooling after some of them, and one affine layer."""
    parts: dict[str, Any] = {}
    channels, h, w = shape[1:]
    for i, f in enumerate(filters):
        parts |= {f"conv{i + 1}": Conv2d(channels, f, 3, padding=1), f"relu{i + 1}": ReLU()}
        channels = f
        if i in pools:
            parts[f"pool{i + 1}"] = MaxPool2d(2)
            h, w = h // 2, w // 2
    parts |= {"flat": Flatten(), "last": Linear(channels * h * w, classes)}
    return Case(Regularised(Sequential(parts), 0.3), normal(*shape), labels(shape[0], classes=classes), id=id)


_DEEP = {
    "W1": "conv1_weight",
    "b1": "conv1_bias",
    "W2": "conv2_weight",
    "b2": "conv2_bias",
    "W3": "last_weight.T",
    "b3": "last_bias",
}
DEEP_CONV_NET = Exercise(
    "DeepConvNet.loss",
    forward="model = DeepConvNet(input_dims=X.shape[1:], num_filters=[W1.shape[0], W2.shape[0]], max_pools=[1],"
    " num_classes=W3.shape[1])\n"
    f"model.params = {models.given(_DEEP)}\n{_DOUBLE}"
    f"model.reg = reg\nloss, grads = model.loss(X, y)\nscores = model.loss(X)\n{models.read(_DEEP)}",
    arrays={"X": "x", "y": "target", **_DEEP},
    outputs={"loss": "loss", "scores": "scores"},
    tiers={"std": [_deep((3, 2), (1,), (2, 2, 4, 6), 4, "two kernels"), _deep((2, 3), (1,), (1, 1, 2, 4), 3, "one picture")]},
    **TENSORS,
)
NETWORKS = [
    NN,
    _network(TWO_LAYERS, "TwoLayerNet(W1.shape[0], W1.shape[1], W2.shape[1])"),
    # of the second assignment: its device is a graphics card unless one says otherwise, and its loss is told reg
    _network(models.TWO_LAYERS_2016, "TwoLayerNet(W1.shape[0], W1.shape[1], W2.shape[1], device='cpu')"),
    _network(
        models.FULLY_CONNECTED,
        "FullyConnectedNet([W1.shape[1], W2.shape[1]], input_dim=W1.shape[0], num_classes=W3.shape[1])",
    ),
    _network(
        models.CONV_NET,
        "ThreeLayerConvNet(input_dims=X.shape[1:], num_filters=W1.shape[0], filter_size=W1.shape[2],"
        " hidden_dim=W2.shape[1], num_classes=W3.shape[1])",
    ),
    DEEP_CONV_NET,
]
_NULL = 0
_IGNORING = CrossEntropyLoss(reduction="sum", ignore_index=_NULL)
TEMPORAL_SOFTMAX = Exercise(
    "temporal_softmax_loss",
    forward=f"loss = temporal_softmax_loss(x, y, ignore_index={_NULL})",
    arrays={"x": "input.transpose(0, 2, 1)", "y": "target"},
    outputs={"loss": "loss"},
    output_factors={"loss": "1 / N"},
    tiers={
        "std": [
            Case(_IGNORING, normal(3, 4, 5), labels(3, 5, classes=4, ignored=_NULL), id="some words ignored"),
            Case(_IGNORING, normal(2, 7, 3), labels(2, 3, classes=7, ignored=_NULL), id="three steps"),
        ],
        "stability": [
            Case(_IGNORING, normal(3, 4, 2, mean=900.0), labels(3, 2, classes=4, ignored=_NULL), id="scores near 900")
        ],
    },
    convention="the loss is summed over time and averaged over the batch, the ignored words included in its size",
    **TENSORS,
)
# What comes with the third assignment and is imported by every solution of it
HELPER = """import torch


def softmax_loss(x, y):
    log_p = x - torch.logsumexp(x, 1, keepdim=True)
    rows = torch.arange(x.shape[0])
    dx = log_p.exp()
    dx[rows, y] -= 1
    return -log_p[rows, y].mean(), dx / x.shape[0]


def svm_loss(x, y):
    rows = torch.arange(x.shape[0])
    margins = (x - x[rows, y][:, None] + 1).clamp(min=0)
    margins[rows, y] = 0
    dx = (margins > 0).to(x.dtype)
    dx[rows, y] = -dx.sum(1)
    return margins.sum() / x.shape[0], dx / x.shape[0]
"""
CONVENTIONS = (
    "Everything is a torch tensor, and nobody's autograd is asked: gradients are compared as numbers.",
    "Rows are samples; w is (D, M), the kernel of a convolution (F, C, HH, WW), pictures are (N, C, H, W).",
    "The 1/N sits in the losses alone: every other backward is the derivative as it is.",
    "The regulariser is reg Σ W², as the hand-out has it, or ½ reg Σ W², as the loss that was written has it.",
    "Dropout's p is the probability of dropping.",
)


def _regularised(exercise: Exercise) -> list[Exercise]:
    """Both factors of the regulariser, the hand-out's first."""
    return sorted(models.either(exercise), key=lambda e: "½" in e.convention) if _penalises(exercise) else [exercise]


def _penalises(exercise: Exercise) -> bool:
    return isinstance(exercise.layer, Regularised)


@hookimpl
def refbp_exercises() -> Iterator[Course]:
    """The course."""
    exercises = [*LAYERS, *(a for e in (*FUNCTIONS, *NETWORKS) for a in _regularised(e)), TEMPORAL_SOFTMAX]
    yield Course(
        "umich498",
        "Michigan EECS 498/598: linear classifiers, networks, convolutions and a plain RNN, in torch tensors",
        exercises,
        conventions=CONVENTIONS,
        modules=("torch",),
        given={"a3_helper.py": HELPER},
        url="https://web.eecs.umich.edu/~justincj/teaching/eecs498/",
    )
