"""The layers, one family a file. A family is imported when one of its layers is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_FAMILIES = {
    "linear": ("Identity", "Linear", "Bilinear"),
    "shape": ("Flatten", "Unflatten", "PixelShuffle", "PixelUnshuffle", "ChannelShuffle", "Unfold", "Fold"),
    "activation": (
        *("ReLU", "ReLU6", "Hardtanh", "Threshold", "LeakyReLU", "ELU", "CELU", "SELU", "GELU", "Sigmoid", "LogSigmoid"),
        *("SiLU", "Mish", "Softplus", "Softsign", "Tanh", "Tanhshrink", "Hardshrink", "Softshrink", "Hardsigmoid"),
        *("Hardswish", "PReLU", "RReLU"),
    ),
    "softmax": ("Softmax", "Softmin", "LogSoftmax", "Softmax2d", "GLU"),
    "dropout": ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
    "normalization": (
        *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
        "GroupNorm",
    ),
    "layer_norm": ("LayerNorm", "RMSNorm"),
    "local_response": ("LocalResponseNorm", "CrossMapLRN2d"),
    "distance": ("PairwiseDistance", "CosineSimilarity", "Normalize"),
    "resampling": ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"),
    "sampling": ("GridSample", "AffineGrid", "GumbelSoftmax"),
    "recurrent": ("RNN", "LSTM", "GRU"),
    "recurrent_cells": ("RNNCell", "LSTMCell", "GRUCell"),
    "attention": ("ScaledDotProductAttention",),
    "multihead_attention": ("MultiheadAttention",),
    "transformer": ("TransformerEncoderLayer", "TransformerDecoderLayer"),
    "transformer_stack": ("TransformerEncoder", "TransformerDecoder", "Transformer"),
    "arithmetic": ("Add", "Sub", "Mul", "Div", "MatMul", "Concat"),
    "convolution": tuple(f"{n}{d}d" for n in ("Conv", "ConvTranspose") for d in (1, 2, 3)),
    "padding": tuple(f"{n}Pad{d}d" for n in ("Constant", "Zero", "Reflection", "Replication", "Circular") for d in (1, 2, 3)),
    "pooling": tuple(f"{n}{d}d" for n in ("MaxPool", "MaxUnpool", "AvgPool", "LPPool") for d in (1, 2, 3)),
    "adaptive_pooling": (
        *("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"),
        *("AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d"),
    ),
    "embedding": ("Embedding", "EmbeddingBag"),
    "adaptive_softmax": ("AdaptiveLogSoftmaxWithLoss",),
    "container": ("Sequential",),
    "graph": ("Graph",),
}
_HOME = {name: family for family, names in _FAMILIES.items() for name in names}
__all__ = list(_HOME)  # built from the table, so that it cannot fall behind it


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'refbp.layers' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"refbp.layers.{_HOME[name]}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from refbp.layers.activation import *  # noqa: F403
    from refbp.layers.adaptive_pooling import *  # noqa: F403
    from refbp.layers.adaptive_softmax import AdaptiveLogSoftmaxWithLoss
    from refbp.layers.arithmetic import Add, Concat, Div, MatMul, Mul, Sub
    from refbp.layers.attention import ScaledDotProductAttention
    from refbp.layers.container import Sequential
    from refbp.layers.convolution import *  # noqa: F403
    from refbp.layers.distance import CosineSimilarity, Normalize, PairwiseDistance
    from refbp.layers.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
    from refbp.layers.embedding import Embedding, EmbeddingBag
    from refbp.layers.graph import Graph
    from refbp.layers.layer_norm import LayerNorm, RMSNorm
    from refbp.layers.linear import Bilinear, Identity, Linear
    from refbp.layers.local_response import CrossMapLRN2d, LocalResponseNorm
    from refbp.layers.normalization import (
        BatchNorm1d,
        BatchNorm2d,
        BatchNorm3d,
        GroupNorm,
        InstanceNorm1d,
        InstanceNorm2d,
        InstanceNorm3d,
        SyncBatchNorm,
    )
    from refbp.layers.padding import *  # noqa: F403
    from refbp.layers.pooling import *  # noqa: F403
    from refbp.layers.recurrent import GRU, LSTM, RNN
    from refbp.layers.recurrent_cells import GRUCell, LSTMCell, RNNCell
    from refbp.layers.resampling import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
    from refbp.layers.sampling import AffineGrid, GridSample, GumbelSoftmax
    from refbp.layers.shape import ChannelShuffle, Flatten, Fold, PixelShuffle, PixelUnshuffle, Unflatten, Unfold
    from refbp.layers.softmax import *  # noqa: F403
    from refbp.layers.transformer import TransformerDecoderLayer, TransformerEncoderLayer
    from refbp.layers.transformer_stack import Transformer, TransformerDecoder, TransformerEncoder
