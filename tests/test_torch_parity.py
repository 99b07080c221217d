"""What torch.nn has under the same name, refbp has with the same constructor; and every argument is exercised."""

import dataclasses
import inspect
import typing

import pytest
import torch

from refbp import registry
from refbp.layers._elementwise import Elementwise

ENTRIES = list(registry.current().entries.values())
BUILT_IN = [e for e in ENTRIES if e.plugin.startswith("refbp.")]
IN_TORCH = [e for e in BUILT_IN if hasattr(torch.nn, e.name)]
OURS = {"device", "dtype", "training", "self"}
# torch's recurrent layers pass their arguments on as *args, **kwargs: these are the documented ones
DOCUMENTED = {
    "RNN": "input_size, hidden_size, num_layers=1, nonlinearity='tanh', bias=True, batch_first=False, dropout=0.0,"
    " bidirectional=False",
    "GRU": "input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False",
    "LSTM": "input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,"
    " proj_size=0",
}


def _arguments(parameters):
    """Name, kind where it matters, default; a function as a default (torch's relu) is given by name in refbp."""
    return [
        (p.name, p.kind if "VAR" in p.kind.name else None, getattr(p.default, "__name__", p.default))
        for p in parameters
        if p.name not in OURS
    ]


@pytest.mark.parametrize("entry", IN_TORCH, ids=lambda e: e.name)
def test_the_constructor_is_torchs(entry):
    ours = _arguments(inspect.signature(entry.spec.layer).parameters.values())
    if entry.name in DOCUMENTED:
        scope = {}
        exec(f"def f({DOCUMENTED[entry.name]}): ...", scope)
        theirs = _arguments(inspect.signature(scope["f"]).parameters.values())
    else:
        cls = getattr(torch.nn, entry.name)
        inherited = cls.__init__ is torch.nn.Module.__init__  # takes nothing, though its signature says *args, **kwargs
        theirs = [] if inherited else _arguments(inspect.signature(cls).parameters.values())
    assert ours == theirs


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda e: e.name)
def test_every_argument_takes_two_values_over_the_cases(entry):
    layers = [case.layer for case in entry.spec.cases]
    for field in dataclasses.fields(entry.spec.layer):
        values = {repr(getattr(layer, field.name)) for layer in layers}
        if field.name in ("size_average", "reduce"):
            continue  # deprecated spellings of reduction: tests/test_losses.py
        if len(typing.get_args(typing.get_type_hints(entry.spec.layer)[field.name])) == 1:
            continue  # torch takes one value only, as a transposed convolution's padding_mode
        if not any(hasattr(layer, field.name) for layer in layers):
            continue
        assert len(values) > 1, f"{entry.name}.{field.name} is {values.pop()} in every case"


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda e: e.name)
def test_a_repr_is_the_constructor_call(entry):
    scope = {e.name: e.spec.layer for e in ENTRIES} | {"inf": float("inf"), "nan": float("nan")}
    for case in entry.spec.cases:
        assert eval(repr(case.layer), scope) == case.layer


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda e: e.name)
def test_the_docstring_gives_formula_shapes_and_torch_page(entry):
    doc = inspect.getdoc(entry.spec.layer) or ""
    assert "Shapes:" in doc or issubclass(entry.spec.layer, Elementwise)  # whose output has the input's shape
    assert "Torch:" in doc or "torch." in doc
