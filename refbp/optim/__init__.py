"""Gradient descent and its descendants, θᵗ⁺¹ = θᵗ − η∇L(θᵗ), as pure steps on a state.

    optimizer = Adam(lr=1e-2)
    memory = optimizer.start(state)
    for x, target in batches:
        grads = ...                                             # a Grads, or a mapping from parameter names to arrays
        state, memory = optimizer.step(state, grads, memory)

Nothing that was received is written to: an earlier state is still there to return to. ``memory`` is a plain dict of
arrays, so ``np.savez(file, **memory)`` keeps it and ``dict(np.load(file))`` goes on from it. A learning rate that
changes is ``dataclasses.replace(optimizer, lr=...)``; parameters with options of their own are two optimizers, each
given its own part of the gradients, since a parameter without a gradient is left as it is.

A family is imported when one of its optimizers is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_FAMILIES = {
    "_optimizer": ("Optimizer",),
    "sgd": ("SGD", "ASGD"),
    "rprop": ("Rprop",),
    "adaptive": ("Adagrad", "RMSprop", "Adadelta", "Adafactor"),
    "adam": ("Adam", "AdamW", "Adamax", "NAdam", "RAdam"),
}
_HOME = {name: family for family, names in _FAMILIES.items() for name in names}

LEFT_OUT = {
    "LBFGS": "evaluates the loss many times within one step; what is here moves along one gradient that it is given",
    "Muon": "iterates in bfloat16, whose rounding NumPy cannot repeat: nothing exact is there to be proven against",
    "SparseAdam": "takes sparse gradients only; every gradient here is dense",
    "lr_scheduler": "a module, not an optimizer: a schedule is dataclasses.replace(optimizer, lr=...) between steps",
    "swa_utils": "a module that averages models after the steps; ASGD averages within them",
    "swap_in_optimizer_params_and_state": "exchanges the tensors of a torch optimizer; a state here is an argument",
}
"""What torch.optim exports and refbp.optim does not, each with its reason."""

__all__ = list(_HOME)  # built from the table, so that it cannot fall behind it


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'refbp.optim' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"refbp.optim.{_HOME[name]}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from refbp.optim._optimizer import Optimizer
    from refbp.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
    from refbp.optim.adaptive import Adadelta, Adafactor, Adagrad, RMSprop
    from refbp.optim.rprop import Rprop
    from refbp.optim.sgd import ASGD, SGD
