"""refbp: every backward pass by hand, in NumPy, proven against PyTorch, and able to say what is wrong with yours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public names and where they live. Nothing is imported until it is asked for, so `import refbp` costs nothing:
# neither NumPy, nor torch, nor a plugin.
_HOME = {
    **dict.fromkeys(("Layer", "Forward", "Grads", "Step", "State"), "refbp.contract"),
    **dict.fromkeys(("Spec", "Case", "Convention", "Waiver", "Exempt", "Mistake"), "refbp.spec"),
    **dict.fromkeys(
        ("normal", "uniform", "signed", "probabilities", "integers", "labels", "mask", "exactly", "constant", "special"),
        "refbp.draws",
    ),
    **dict.fromkeys(("RefbpError", "ArgumentError", "ShapeError", "DtypeError", "StateError"), "refbp.errors"),
    **dict.fromkeys(("ValueRangeError", "UnknownNameError", "PluginError"), "refbp.errors"),
    "hookimpl": "refbp.hookspecs",
    "get": "refbp.registry",
    "check": "refbp.oracle.alike.inhand",
    **dict.fromkeys(("theta", "from_theta", "grad_vector", "total_loss", "gradient", "per_sample_gradients"), "refbp.network"),
}
_MODULES = ("layers", "losses", "optim", "numerics", "registry", "testing", "conformance")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        return importlib.import_module(f"refbp.{name}")
    elif name.startswith("_"):
        raise AttributeError(f"module 'refbp' has no attribute {name!r}")
    else:
        from refbp import layers, losses

        value = getattr(layers, name, None) or getattr(losses, name, None)
        if value is None:
            from refbp.errors import did_you_mean

            raise AttributeError(f"module 'refbp' has no attribute {name!r}{did_you_mean(name, __dir__())}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from refbp import layers, losses

    return sorted({"__version__", *_HOME, *_MODULES, *layers.__all__, *losses.__all__})


if TYPE_CHECKING:
    from refbp import registry
    from refbp.contract import Forward, Grads, Layer, State, Step
    from refbp.draws import (
        constant,
        exactly,
        integers,
        labels,
        mask,
        normal,
        probabilities,
        signed,
        special,
        uniform,
    )
    from refbp.errors import (
        ArgumentError,
        DtypeError,
        PluginError,
        RefbpError,
        ShapeError,
        StateError,
        UnknownNameError,
        ValueRangeError,
    )
    from refbp.hookspecs import hookimpl
    from refbp.layers import *  # noqa: F403  # the layers are public names here too: refbp.Linear
    from refbp.losses import *  # noqa: F403
    from refbp.network import from_theta, grad_vector, gradient, per_sample_gradients, theta, total_loss
    from refbp.oracle.alike.inhand import check
    from refbp.registry import get
    from refbp.spec import Case, Convention, Exempt, Mistake, Spec, Waiver
