"""The identical torch model: built from the layer's own arguments, its state drawn anew, called, differentiated."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from refbp import registry
from refbp.contract import Layer, State, is_training
from refbp.errors import ShapeError
from refbp.spec import Case, Spec

Array = NDArray[Any]
torch.set_num_threads(1)


def build(spec: Spec, layer: Layer[Any]) -> torch.nn.Module:
    """The torch module of a layer: by the spec's own twin, or ``torch.nn.<Name>(**arguments)``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's notes on deprecated arguments are not news to who passes them
        module = spec.twin(layer) if spec.twin else _by_name(layer)
    return in_mode(module.double(), layer)


def in_mode(module: torch.nn.Module, layer: Layer[Any]) -> torch.nn.Module:
    """The module in the layer's mode; the parts of a composite that has none of its own keep theirs."""
    return module.train(is_training(layer)) if hasattr(layer, "training") else module


def _by_name(layer: Layer[Any]) -> torch.nn.Module:
    name = type(layer).__name__
    cls = getattr(torch.nn, name, None)
    if cls is None:
        raise LookupError(f"torch.nn has no {name}: give its Spec a twin, a function from the layer to a torch module")
    # only what differs from the default: an older torch may not know the newest argument
    arguments = {n: v for n, v in layer.given().items() if n != "training"}
    tensors = {n: torch.tensor(arguments[n]) for n in layer.tensors if arguments.get(n) is not None}
    return cast(torch.nn.Module, cls(**arguments | tensors))


def of(layer: Layer[Any]) -> torch.nn.Module:
    """The twin of a registered layer, for the twins of layers that are made of it."""
    return build(registry.current().get(type(layer).__name__).spec, layer)


def redraw(module: torch.nn.Module, case: Case, rng: np.random.Generator) -> None:
    """Random values for every parameter and buffer: a fresh BatchNorm, all ones and zeros, has four ways to hide a bug.

    Parameters are normal; floating buffers lie in [0.5, 2), for variances and class weights are positive; counts are
    small integers. A case's own ``state`` draws come before these.
    """
    learned = {n for n, _ in module.named_parameters()}
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            shape = tuple(tensor.shape)
            if name in case.state:
                value = np.asarray(case.state[name](rng))
                if value.shape != shape:
                    raise ShapeError(f"{case!r}: state draws {name} with shape {value.shape}; wanted {shape}.")
            elif not tensor.is_floating_point():
                value = rng.integers(1, 5, shape)
            elif name in learned:
                value = rng.normal(0, 1 / max(1.0, np.sqrt(np.prod(shape[1:]))), shape) + (len(shape) < 2)
            else:
                value = rng.uniform(0.5, 2, shape)
            tensor.copy_(torch.from_numpy(np.array(value, np.float64)).to(tensor.dtype))


def state_of(module: torch.nn.Module) -> State:
    """A module's state as NumPy arrays of their own."""
    learned = {n for n, _ in module.named_parameters()}
    arrays = {n: t.detach().numpy().copy() for n, t in module.state_dict().items()}
    return State(arrays, {n for n in arrays if n not in learned})


class TorchRun:
    """One forward and backward of the twin: outputs, gradients by name, and the state afterwards."""

    def __init__(self, trial: Any, wanted: Sequence[str] | None = None) -> None:
        spec: Spec = trial.spec
        module = in_mode(_scratch(trial), trial.layer)
        learned = {n for n, p in trial.twin.named_parameters() if p.requires_grad}  # a frozen one has no gradient to compare
        named = {n: p for n, p in module.named_parameters() if n in learned}
        with torch.no_grad():
            for n, t in module.state_dict().items():
                t.copy_(torch.from_numpy(trial.state[n]))
        inputs = [tensor(a) for a in trial.drawn]
        floats = {n: t for n, t in zip(trial.input_names, inputs, strict=False) if t is not None and t.is_floating_point()}
        for t in floats.values():
            t.requires_grad_()
        sought = {n: t for n, t in {**floats, **named}.items() if wanted is None or n in wanted}
        for n, t in {**floats, **named}.items():
            t.requires_grad_(wanted is None or n in wanted)
        seed(trial.noise_seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = call(spec, module, [None if t is None else t.clone() for t in inputs], trial.case.options)
        self.outputs = [y.detach().numpy() for y in outputs]
        self.state = {n: t.detach().numpy().copy() for n, t in module.state_dict().items()}
        self.grads: dict[str, Array | None] = {n: _numbers(None, named.get(n)) for n in sought}
        pairs = [(y, torch.from_numpy(u)) for y, u in zip(outputs, trial.upstream_for(self.outputs), strict=True)
                 if u is not None and y.requires_grad]  # fmt: skip
        if pairs and sought:
            # Σ y · u sends u, to the bit, back into y; and torch loads no symbolic algebra for it, as it does for given u
            sums = [(y * u).sum() for y, u in pairs]
            grads = torch.autograd.grad(sums, list(sought.values()), allow_unused=True)
            self.grads = {n: _numbers(g, named.get(n)) for n, g in zip(sought, grads, strict=True)}


def _scratch(trial: Any) -> torch.nn.Module:
    """A copy of the twin to run in this dtype: a run sets all of its state, so the runs of a case can share one.

    A module with buffers that its state_dict does not hold would carry something over: it is copied for every run.
    """
    module: torch.nn.Module | None = trial.memo.get(("module", trial.dtype.str))
    if module is None:
        module = copy.deepcopy(trial.twin)
        module = module.float() if trial.dtype == np.float32 else module
        if {n for n, _ in module.named_buffers()} <= set(module.state_dict()):
            trial.memo["module", trial.dtype.str] = module
    return module


def _numbers(grad: torch.Tensor | None, parameter: torch.Tensor | None) -> Array | None:
    """A gradient as an array: a sparse one made dense, and zeros for a parameter that took no part in the outputs."""
    if grad is None:
        return None if parameter is None else np.zeros_like(parameter.detach().numpy())
    return grad.to_dense().numpy()


def tensor(a: Array | None) -> torch.Tensor | None:
    """A torch tensor with its own memory; indices become int64, as torch wants them."""
    if a is None:
        return None
    return torch.from_numpy(np.array(a, np.int64 if a.dtype.kind in "iu" else a.dtype, order="C"))


def call(spec: Spec, module: torch.nn.Module, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[torch.Tensor]:
    """The module's outputs as a flat list, in the order in which the layer returns them."""
    given = {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in options.items()}
    result = spec.call(module, *inputs, **given) if spec.call else module(*inputs, **given)
    return list(_flat(result))


def _flat(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, tuple | list):
        for r in result:
            yield from _flat(r)


def seed(to: int | torch.Tensor) -> None:
    """Torch's randomness from here on: a number, or the state that torch was in.

    The processor's generator alone: ``torch.manual_seed`` notes for every accelerator, present or not, who asked.
    """
    torch.set_rng_state(to) if isinstance(to, torch.Tensor) else torch.default_generator.manual_seed(to)


def raises(run: Callable[[], Any]) -> Exception | None:
    """The exception that torch raises, if it does."""
    try:
        run()
    except Exception as error:  # whatever torch raises is its answer
        return error
    return None
