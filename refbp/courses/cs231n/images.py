"""layers.py with pictures: convolution, max pooling, the spatial normalisations, and the given sandwiches."""

from __future__ import annotations

from dataclasses import replace

from refbp.courses._composites import BiasedBatchNorm2d
from refbp.courses.cs231n.layers import NEW, OLD, STATISTICS
from refbp.draws import constant, exactly, normal
from refbp.layers.activation import ReLU
from refbp.layers.container import Sequential
from refbp.layers.convolution import Conv2d
from refbp.layers.normalization import GroupNorm
from refbp.layers.pooling import MaxPool2d
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

CONVOLUTION = Exercise(
    "conv_backward_naive",
    forward="conv_param = {'stride': stride, 'pad': padding}\nout, cache = conv_forward_naive(x, w, b, conv_param)",
    backward="dx, dw, db = conv_backward_naive(dout, cache)",
    arrays={"x": "x", "w": "weight", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Conv2d(3, 2, 3, padding=1), normal(2, 3, 5, 4), id="3×3, stride 1, pad 1"),
            Case(Conv2d(2, 3, 3), normal(2, 2, 5, 6), id="no pad"),
            Case(Conv2d(2, 1, 3, padding=1), normal(1, 2, 4, 4), id="a square picture"),
            Case(Conv2d(2, 3, 3, stride=2, padding=1), normal(3, 2, 5, 7), id="stride 2"),
            Case(Conv2d(2, 3, (2, 3), padding=2), normal(2, 2, 3, 4), id="2×3, pad 2"),
            Case(Conv2d(2, 1, (3, 2), stride=3), normal(1, 2, 6, 8), id="windows with gaps between"),
        ],
        "degenerate": [
            Case(Conv2d(1, 1, 1), normal(1, 1, 1, 1), id="one pixel"),
            Case(Conv2d(3, 2, (4, 5)), normal(2, 3, 4, 5), id="one window"),
        ],
        "dtype": [Case(Conv2d(3, 2, 3, padding=1), normal(2, 3, 5, 4), id="float32")],
    },
)
MAX_POOL = Exercise(
    "max_pool_backward_naive",
    forward="pool_param = {'pool_height': kernel_size[0], 'pool_width': kernel_size[1], 'stride': stride}\n"
    "out, cache = max_pool_forward_naive(x, pool_param)",
    backward="dx = max_pool_backward_naive(dout, cache)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(MaxPool2d((2, 2), stride=2), normal(2, 3, 4, 6), id="2×2, stride 2"),
            Case(MaxPool2d((3, 3), stride=2), normal(2, 2, 5, 7), id="overlapping windows"),
            Case(MaxPool2d((2, 3), stride=1), normal(2, 1, 4, 5), id="2×3, stride 1"),
            Case(MaxPool2d((2, 2), stride=3), normal(1, 2, 5, 8), id="windows with gaps between"),
        ],
        "degenerate": [
            Case(MaxPool2d((1, 1), stride=1), normal(2, 3, 2, 3), id="windows of one pixel"),
            Case(MaxPool2d((3, 4), stride=2), normal(1, 2, 3, 4), id="one window"),
        ],
        "kink": [
            Case(MaxPool2d((2, 2), stride=2), exactly([[[[1.0, 1, 2, 0], [0, 1, 2, 2]]]]), id="ties"),
            Case(MaxPool2d((2, 2), stride=1), constant(0.5, 1, 2, 3, 3), id="all alike"),
        ],
        "dtype": [Case(MaxPool2d((2, 2), stride=2), normal(2, 3, 4, 6), id="float32")],
    },
)
SPATIAL_BATCHNORM = Exercise(
    "spatial_batchnorm_backward",
    forward=STATISTICS.replace("batchnorm_forward", "spatial_batchnorm_forward"),
    backward="dx, dgamma, dbeta = spatial_batchnorm_backward(dout, cache)",
    arrays={"x": "x", "gamma": "weight", "beta": "bias", **OLD},
    outputs=NEW,
    tiers={
        "std": [
            Case(BiasedBatchNorm2d(3), normal(2, 3, 4, 5), id="eps 1e-5"),
            Case(BiasedBatchNorm2d(2, eps=0.01, momentum=0.3), normal(3, 2, 5, 4, mean=2.0, std=0.3), id="eps 0.01"),
        ],
        "degenerate": [
            Case(BiasedBatchNorm2d(3, eps=0.01), normal(1, 3, 2, 5), id="one picture"),
            Case(BiasedBatchNorm2d(3, eps=0.01), normal(5, 3, 1, 1), id="one pixel"),
        ],
        "dtype": [Case(BiasedBatchNorm2d(3, eps=0.01), normal(2, 3, 4, 5), id="float32")],
    },
)
SPATIAL_BATCHNORM_TEST = Exercise(
    "spatial_batchnorm_forward (test)",
    forward="bn_param = {'mode': 'test', 'eps': eps, 'momentum': 0.9, 'running_mean': running_mean,"
    " 'running_var': running_var}\n"
    "out, cache = spatial_batchnorm_forward(x, gamma, beta, bn_param)",
    arrays={"x": "x", "gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"},
    outputs={"out": "y"},
    tiers={"mode": [Case(BiasedBatchNorm2d(3, eps=0.01, training=False), normal(2, 3, 4, 5), id="test")]},
    forward_name="spatial_batchnorm_forward",
)
GROUPNORM = Exercise(
    "spatial_groupnorm_backward",
    forward="gn_param = {'eps': eps}\nout, cache = spatial_groupnorm_forward(x, gamma, beta, num_groups, gn_param)",
    backward="dx, dgamma, dbeta = spatial_groupnorm_backward(dout, cache)",
    arrays={"x": "x", "gamma": "weight[None, :, None, None]", "beta": "bias[None, :, None, None]"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(GroupNorm(2, 6), normal(2, 6, 4, 5), id="two groups"),
            Case(GroupNorm(3, 6, eps=0.01), normal(3, 6, 2, 3, mean=2.0, std=0.3), id="three groups, eps 0.01"),
        ],
        "degenerate": [
            Case(GroupNorm(1, 3, eps=0.01), normal(1, 3, 2, 5), id="one group, one picture"),
            Case(GroupNorm(3, 3, eps=0.01), normal(2, 3, 4, 1), id="a group for each channel"),
        ],
        "dtype": [Case(GroupNorm(2, 6, eps=0.01), normal(2, 6, 4, 5), id="float32")],
    },
    convention="γ, β and their gradients have shape (1, C, 1, 1)",
)
GROUPNORM_BY_CHANNEL = replace(
    GROUPNORM, arrays={"x": "x", "gamma": "weight", "beta": "bias"}, convention="γ, β and their gradients have shape (C,)"
)
_WEIGHTS = {"x": "x", "w": "_0_weight", "b": "_0_bias"}
CONV_RELU = Exercise(
    "conv_relu_backward",
    forward="conv_param = {'stride': stride, 'pad': padding}\nout, cache = conv_relu_forward(x, w, b, conv_param)",
    backward="dx, dw, db = conv_relu_backward(dout, cache)",
    arrays=_WEIGHTS,
    outputs={"out": "y"},
    tiers={"std": [Case(Sequential(Conv2d(3, 2, 3, padding=1), ReLU()), normal(2, 3, 4, 5), id="pad 1")]},
)
CONV_RELU_POOL = Exercise(
    "conv_relu_pool_backward",
    forward="conv_param = {'stride': stride, 'pad': padding}\n"
    "pool_param = {'pool_height': 2, 'pool_width': 2, 'stride': 2}\n"
    "out, cache = conv_relu_pool_forward(x, w, b, conv_param, pool_param)",
    backward="dx, dw, db = conv_relu_pool_backward(dout, cache)",
    arrays=_WEIGHTS,
    outputs={"out": "y"},
    tiers={"std": [Case(Sequential(Conv2d(3, 2, 3, padding=1), ReLU(), MaxPool2d(2)), normal(2, 3, 4, 6), id="pad 1")]},
)
CONV_BN_RELU = Exercise(
    "conv_bn_relu_backward",
    forward="conv_param = {'stride': stride, 'pad': padding}\n"
    "bn_param = {'mode': 'train', 'eps': 0.01}\n"
    "out, cache = conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param)",
    backward="dx, dw, _, dgamma, dbeta = conv_bn_relu_backward(dout, cache)",  # db is a rounding error: the mean takes b away
    arrays={**_WEIGHTS, "gamma": "_1_weight", "beta": "_1_bias"},
    outputs={"out": "y"},
    tiers={
        "std": [
            Case(Sequential(Conv2d(3, 2, 3, padding=1), BiasedBatchNorm2d(2, eps=0.01), ReLU()), normal(2, 3, 4, 5), id="pad 1")
        ]
    },
)
EXERCISES = [
    CONVOLUTION,
    MAX_POOL,
    SPATIAL_BATCHNORM,
    SPATIAL_BATCHNORM_TEST,
    GROUPNORM,
    GROUPNORM_BY_CHANNEL,
    CONV_RELU,
    CONV_RELU_POOL,
    CONV_BN_RELU,
]
