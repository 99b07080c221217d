"""The layers, one family a file. A family is imported when one of its layers is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_FAMILIES = {
    "linear": ("Identity", "Linear", "Bilinear"),
    "shape": ("Flatten",),
    "activation": (
        *("ReLU", "ReLU6", "Hardtanh", "Threshold", "LeakyReLU", "ELU", "CELU", "SELU", "GELU", "Sigmoid", "LogSigmoid"),
        *("SiLU", "Mish", "Softplus", "Softsign", "Tanh", "Tanhshrink", "Hardshrink", "Softshrink", "Hardsigmoid"),
        *("Hardswish", "PReLU", "RReLU"),
    ),
    "softmax": ("Softmax", "Softmin", "LogSoftmax", "Softmax2d", "GLU"),
    "dropout": ("Dropout",),
    "normalization": ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
    "recurrent": ("LSTM",),
    "container": ("Sequential",),
}
_HOME = {name: family for family, names in _FAMILIES.items() for name in names}
__all__ = list(_HOME)  # noqa: PLE0605  # built from the table, so that it cannot fall behind it


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'refbp.layers' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"refbp.layers.{_HOME[name]}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from refbp.layers.activation import *  # noqa: F403
    from refbp.layers.container import Sequential
    from refbp.layers.dropout import Dropout
    from refbp.layers.linear import Bilinear, Identity, Linear
    from refbp.layers.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
    from refbp.layers.recurrent import LSTM
    from refbp.layers.shape import Flatten
    from refbp.layers.softmax import *  # noqa: F403
