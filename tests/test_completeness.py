"""Everything that torch.nn exports is registered, or stands in one list with its reason."""

import inspect

import pytest
import torch

from refbp import absent, registry
from refbp.errors import UnknownNameError

EXPORTED = {n for n, c in vars(torch.nn).items() if inspect.isclass(c) and issubclass(c, torch.nn.Module)}
BUILT_IN = {n for n, e in registry.current().entries.items() if e.plugin.startswith("refbp.")}
BLOCKS = {
    *("Add", "Sub", "Mul", "Div", "MatMul", "Concat", "ScaledDotProductAttention"),
    *("Normalize", "GridSample", "AffineGrid", "GumbelSoftmax"),
}


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_a_class_of_torch_is_registered_or_has_a_reason(name):
    assert name in BUILT_IN or name in absent.LAZY or name in absent.NOT_LAYERS, (
        f"torch.nn.{name} is new: write it, or say why not"
    )


def test_the_list_of_what_is_absent_has_no_stale_entry():
    for name in {*absent.LAZY, *absent.NOT_LAYERS}:
        assert name not in BUILT_IN
        assert name in EXPORTED or name == "NLLLoss2d"


def test_functional_blocks_are_layers_of_their_own():
    assert BLOCKS <= BUILT_IN


def test_there_are_at_least_150_entries():
    assert len(BUILT_IN) >= 150


@pytest.mark.parametrize("name", absent.LAZY)
def test_a_lazy_name_resolves_to_its_concrete_class(name):
    assert absent.LAZY[name] in BUILT_IN
    with pytest.raises(UnknownNameError, match=f"it becomes {absent.LAZY[name]} once it has seen its first input"):
        registry.get(name)


def test_what_is_no_layer_says_why():
    with pytest.raises(UnknownNameError, match="ModuleDict is not registered: holds modules"):
        registry.get("ModuleDict")
