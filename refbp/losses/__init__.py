"""The losses, one family a file. A loss is a layer whose last input is the target."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_FAMILIES = {
    "regression": ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"),
    "likelihood": ("KLDivLoss", "PoissonNLLLoss", "GaussianNLLLoss"),
    "classification": ("BCELoss", "BCEWithLogitsLoss", "NLLLoss", "CrossEntropyLoss", "LinearCrossEntropyLoss"),
    "margin": (
        *("HingeEmbeddingLoss", "MarginRankingLoss", "MultiMarginLoss", "MultiLabelMarginLoss"),
        *("SoftMarginLoss", "MultiLabelSoftMarginLoss"),
    ),
    "metric": ("CosineEmbeddingLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss"),
    "sequence": ("CTCLoss",),
}
_HOME = {name: family for family, names in _FAMILIES.items() for name in names}
__all__ = list(_HOME)  # built from the table, so that it cannot fall behind it


_BASES = ("Loss", "Pointwise", "Reduction")  # for losses of one's own


def __getattr__(name: str) -> Any:
    if name in _BASES:
        return getattr(importlib.import_module("refbp.losses._loss"), name)
    if name not in _HOME:
        raise AttributeError(f"module 'refbp.losses' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"refbp.losses.{_HOME[name]}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from refbp.losses._loss import Loss, Pointwise, Reduction
    from refbp.losses.classification import *  # noqa: F403
    from refbp.losses.likelihood import GaussianNLLLoss, KLDivLoss, PoissonNLLLoss
    from refbp.losses.margin import *  # noqa: F403
    from refbp.losses.metric import CosineEmbeddingLoss, TripletMarginLoss, TripletMarginWithDistanceLoss
    from refbp.losses.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss
    from refbp.losses.sequence import CTCLoss
