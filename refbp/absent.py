"""What torch.nn exports and refbp does not register, each with its reason, in one place.

``tests/test_completeness.py`` compares this and the registry with what the installed torch exports: a class that a newer
torch adds fails it by name.
"""

from __future__ import annotations

# Lazy modules: the class that each becomes once it has seen its first input.
LAZY = {
    **{f"LazyConv{d}d": f"Conv{d}d" for d in (1, 2, 3)},
    **{f"LazyConvTranspose{d}d": f"ConvTranspose{d}d" for d in (1, 2, 3)},
    **{f"LazyBatchNorm{d}d": f"BatchNorm{d}d" for d in (1, 2, 3)},
    **{f"LazyInstanceNorm{d}d": f"InstanceNorm{d}d" for d in (1, 2, 3)},
    "LazyLinear": "Linear",
}

NOT_LAYERS = {
    "Module": "the base class: refbp.Layer is its counterpart",
    "Container": "a deprecated base class without a forward",
    "RNNBase": "the base class of RNN, LSTM and GRU, which are registered",
    "RNNCellBase": "the base class of the recurrent cells, which are registered",
    "ModuleList": "holds modules and has no forward: a Python tuple of layers does that here",
    "ModuleDict": "holds modules and has no forward: a Python dict of layers does that here",
    "ParameterList": "holds parameters and has no forward: a state is a mapping of arrays",
    "ParameterDict": "holds parameters and has no forward: a state is a mapping of arrays",
    "DataParallel": "distributes a module over devices and computes nothing of its own",
    "NLLLoss2d": "a deprecated name of NLLLoss, which takes inputs with any number of axes",
}


def explanation(name: str) -> str | None:
    """Why a class of torch.nn is not registered, and what to use instead; None for a name that is not one of them."""
    if name in LAZY:
        return (
            f"{name} is not a layer of its own: it becomes {LAZY[name]} once it has seen its first input;"
            f" write {LAZY[name]} with its sizes"
        )
    if name in NOT_LAYERS:
        return f"{name} is not registered: {NOT_LAYERS[name]}"
    return None
