"""The losses, one family a file. A loss is a layer whose last input is the target."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_FAMILIES = {
    "regression": ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"),
    "classification": ("BCELoss", "BCEWithLogitsLoss", "NLLLoss", "CrossEntropyLoss"),
}
_HOME = {name: family for family, names in _FAMILIES.items() for name in names}
__all__ = list(_HOME)  # noqa: PLE0605  # built from the table, so that it cannot fall behind it


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'refbp.losses' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"refbp.losses.{_HOME[name]}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from refbp.losses.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
    from refbp.losses.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss
