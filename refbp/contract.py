"""The contract: a layer is a frozen dataclass of hyperparameters with two sibling pure methods.

``forward(state, *inputs)`` returns a :class:`Forward`: the outputs, what ``backward`` must remember, and new buffer
values. ``backward(saved, *grad_outputs)`` returns a :class:`Grads`: one gradient per input in forward's order, and one
per parameter under its ``state_dict`` name. Both are pure: nothing received is written to, nothing is kept on ``self``.

Calling a layer, ``layer(state, x)``, is the checked entrance. It says in one sentence what is wrong with a state or an
input, and returns a :class:`Step`, whose ``backward`` checks the upstream gradient the same way.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from refbp import arguments
from refbp.errors import ArgumentError, DtypeError, RefbpError, ShapeError, StateError, did_you_mean, listed
from refbp.shapes import Shape, check_arrays

Array = NDArray[Any]
Outputs = Array | tuple[Array, ...]
Saved = TypeVar("Saved")


class State(dict[str, Array]):
    """Arrays under torch's ``state_dict`` names, knowing which of them are buffers rather than parameters."""

    def __init__(self, entries: Mapping[str, Array], buffers: frozenset[str] | set[str] = frozenset()) -> None:
        super().__init__(entries)
        self.buffers = frozenset(buffers)

    @property
    def parameters(self) -> dict[str, Array]:
        """The entries that gradient descent moves, in torch's order."""
        return {name: array for name, array in self.items() if name not in self.buffers}

    def updated(self, entries: Mapping[str, Array]) -> State:
        """A state with some entries replaced; this one is left as it is."""
        return State({**self, **entries}, self.buffers)


@dataclass(frozen=True)
class Forward(Generic[Saved]):
    """What ``forward`` returns: one array or a flat tuple, what to remember, and new buffer values by name."""

    outputs: Outputs
    saved: Saved
    updates: Mapping[str, Array] = field(default_factory=dict)


class Grads:
    """What ``backward`` returns: ``inputs``, one per input of forward, and ``params``, by state name.

    ``None`` for an input says that no gradient exists there (class indices, a mask); it is not a zero.
    ``None`` for a parameter says that this layer has no such parameter (``bias=False``), and leaves no entry.
    """

    __slots__ = ("inputs", "params")

    def __init__(self, *inputs: Array | None, **params: Array | None) -> None:
        self.inputs = tuple(None if grad is None else np.asarray(grad) for grad in inputs)
        self.params: dict[str, Array] = {n: np.asarray(grad) for n, grad in params.items() if grad is not None}

    def __iter__(self) -> Iterator[Array | None]:
        return iter(self.inputs)

    def __repr__(self) -> str:
        shown = ["None" if g is None else str(np.shape(g)) for g in self.inputs]
        return f"Grads({', '.join(shown + [f'{n}={np.shape(g)}' for n, g in self.params.items()])})"


class Step:
    """One forward pass that happened: ``outputs``, ``updates`` of buffers, and ``backward``."""

    __slots__ = ("_run", "layer", "outputs", "updates")

    def __init__(self, layer: Layer[Any], run: Forward[Any]) -> None:
        self.layer = layer
        self._run = run
        self.outputs: Outputs = (
            tuple(map(np.asarray, run.outputs)) if isinstance(run.outputs, tuple) else np.asarray(run.outputs)
        )
        self.updates = run.updates

    @property
    def saved(self) -> Any:
        """What forward remembered, so that backward can answer."""
        return self._run.saved

    def backward(self, *grad_outputs: Array | None) -> Grads:
        """The gradients, given one upstream gradient per output; ``None`` for an output that was not used."""
        outputs = self.outputs if isinstance(self.outputs, tuple) else (self.outputs,)
        name = type(self.layer).__name__
        if len(grad_outputs) != len(outputs):
            raise ShapeError(
                f"{name}: {len(grad_outputs)} upstream gradients given, wanted {len(outputs)}:"
                f" one for each output, None for one that was not used."
            )
        return self.layer.backward(
            self._run.saved, *(_upstream(name, i, dy, y) for i, (dy, y) in enumerate(zip(grad_outputs, outputs, strict=True)))
        )

    def __repr__(self) -> str:
        return f"Step({self.layer!r}, outputs {_shapes(self.outputs)})"


def _shapes(outputs: Outputs) -> str:
    return ", ".join(str(y.shape) for y in outputs) if isinstance(outputs, tuple) else str(outputs.shape)


def _upstream(name: str, i: int, dy: Array | None, y: Array) -> Array:
    if dy is None:
        return np.zeros_like(y)
    dy = np.asarray(dy)
    if dy.shape != y.shape:
        raise ShapeError(
            f"{name}: the upstream gradient of output {i} has shape {dy.shape}; wanted {y.shape}, the output's own."
        )
    if dy.dtype != y.dtype:
        raise DtypeError(
            f"{name}: the upstream gradient of output {i} has dtype {dy.dtype}; wanted {y.dtype}, the output's own:"
            f" pass dy.astype({y.dtype})."
        )
    return dy


class _Checked(type):
    """Turns a call that does not fit the constructor into a sentence; costs nothing when it fits."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except TypeError as error:
            if isinstance(error, RefbpError):
                raise
            signature = inspect.signature(cls)
            try:
                signature.bind(*args, **kwargs)
            except TypeError as misfit:
                names = list(signature.parameters)
                hint = "".join(did_you_mean(k, names) for k in kwargs if k not in names)
                raise ArgumentError(f"{cls.__name__}: {misfit}; wanted {_call(cls.__name__, signature)}{hint}.") from None
            raise

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's, which this metaclass's own ``__call__`` would otherwise hide."""
        own = inspect.signature(cls.__init__)  # type: ignore[misc]  # of this very class
        return own.replace(parameters=list(own.parameters.values())[1:], return_annotation=inspect.Signature.empty)


def _call(name: str, signature: inspect.Signature) -> str:
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return f"{name}{signature.replace(parameters=bare)}"


class Layer(Generic[Saved], metaclass=_Checked):
    """The base of every layer and loss. Subclass as a frozen dataclass; write ``forward`` and ``backward``.

    Say what goes in and out with ``inputs()`` and ``outputs()`` (the language of :mod:`refbp.shapes`), what is learned
    with ``params()`` and what is only remembered with ``buffers()``, each from a name to a shape.
    """

    tensors: ClassVar[tuple[str, ...]] = ()  # fields that torch takes as a tensor, and keeps in its state_dict

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__repr__" not in cls.__dict__:  # before @dataclass would write its own, which spells out every default
            cls.__repr__ = super(cls, cls).__repr__  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        arguments.check(self)

    def __repr__(self) -> str:
        """The constructor call: required arguments by position, the others where they differ from the default."""
        required = inspect.signature(type(self)).parameters
        shown = [
            repr(value) if required[name].default is inspect.Parameter.empty else f"{name}={value!r}"
            for name, value in self.given().items()
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def given(self) -> dict[str, Any]:
        """The constructor's arguments that are required or differ from their default."""
        defaults = {n: p.default for n, p in inspect.signature(type(self)).parameters.items()}
        return {n: v for n, v in self.arguments().items() if defaults.get(n) is inspect.Parameter.empty or v != defaults.get(n)}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by torch's names; a field named otherwise says so in its metadata."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {f.metadata.get("argument", f.name): getattr(self, f.name) for f in fields}

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        """What must hold of the arguments beyond their types: ``yield 0 <= self.p <= 1, "p", "a probability"``."""
        return iter(())

    def params(self) -> dict[str, Shape]:
        """Learned parameters, name to shape, in torch's order."""
        return {}

    def buffers(self) -> dict[str, Shape]:
        """Arrays that are kept but not learned, name to shape, in torch's order."""
        return {}

    def inputs(self) -> dict[str, str]:
        """The inputs of ``forward``, name to pattern; read off its signature where a layer says nothing."""
        return _inputs_by_signature(type(self))

    def outputs(self) -> dict[str, str]:
        """The outputs of ``forward``, name to pattern."""
        return {}

    def dims(self) -> dict[str, int]:
        """Sizes that patterns may name and that are no fields, such as twice a hidden size."""
        return {}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Every size that a pattern may name: integer fields and ``dims()``."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {n: v for n, v in fields.items() if isinstance(v, int) and not isinstance(v, bool)} | self.dims()

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """A fresh state. Parameters are U(−1/√fan_in, 1/√fan_in) unless a layer knows better; buffers are zero."""
        params = {n: uniform_fan_in(rng, shape, math.prod(shape[1:]), dtype) for n, shape in self.params().items()}
        buffers = {n: np.zeros(shape, dtype) for n, shape in self.buffers().items()}
        return State(params | buffers, set(buffers))

    def forward(self, state: Mapping[str, Array], *inputs: Any, **options: Any) -> Forward[Saved]:
        """The outputs of one pass, and what ``backward`` needs."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def backward(self, saved: Saved, *grad_outputs: Any) -> Grads:
        """The gradient of Σ ⟨upstream, output⟩ with respect to every input and parameter."""
        raise NotImplementedError(f"{type(self).__name__} must define backward")

    def __call__(self, state: Mapping[str, Array], *inputs: Any, **options: Any) -> Step:
        """The checked entrance: raises a :class:`RefbpError` that names layer, argument, given and wanted."""
        held = self._held(state, inputs)
        self.check(*held, **options)
        try:
            run = self.forward(state, *held, **options)
        except (ValueError, IndexError, TypeError) as error:
            if isinstance(error, RefbpError):
                raise
            given = ", ".join(f"{n} {np.shape(a)}" for n, a in zip(self._patterns, held, strict=False) if a is not None)
            raise ShapeError(f"{self!r}: forward cannot take {given}: {error}.") from error
        return Step(self, run)

    def _held(self, state: Mapping[str, Array], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs as arrays that fit the patterns, the state and each other; shapes that fitted once fit again."""
        name = type(self).__name__
        dtype = _check_state(name, self._entries, state)
        seen = (dtype, *[(a.shape, a.dtype) if type(a) is np.ndarray else type(a) for a in inputs])
        if seen in self._fitting:
            return inputs
        held = check_arrays(name, self._patterns, inputs, self.sizes)
        for label, array in zip(self._patterns, held, strict=False):
            if array is not None and array.dtype.kind == "f":
                dtype = dtype or array.dtype
                if array.dtype != dtype:
                    raise DtypeError(
                        f"{name}: {label} is {array.dtype}, the arrays before it are {dtype}; wanted one dtype:"
                        f" pass {label}.astype({dtype})."
                    )
        if all(a is None or type(a) is np.ndarray for a in inputs) and len(self._fitting) < 64:
            self._fitting.add(seen)
        return held

    @cached_property
    def _fitting(self) -> set[Any]:
        return set()

    @cached_property
    def _patterns(self) -> dict[str, str]:
        return self.inputs()

    @cached_property
    def _entries(self) -> dict[str, Shape]:
        return {**self.params(), **self.buffers()}

    @property
    def noisy(self) -> bool:
        """Whether a pass takes noise, made by ``draw``, as an input after the others."""
        return hasattr(self, "draw") and is_training(self)

    def check(self, *inputs: Any, **options: Any) -> None:
        """What must hold of the inputs beyond shape and dtype, such as class indices in range; raises RefbpError."""


def _inputs_by_signature(cls: type[Layer[Any]]) -> dict[str, str]:
    patterns = {}
    for parameter in list(inspect.signature(cls.forward).parameters.values())[2:]:
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            given = parameter.default is inspect.Parameter.empty
            patterns[parameter.name] = f"any (*{parameter.name})" if given else f"optional any (*{parameter.name})"
    return patterns


def _check_state(name: str, wanted: Mapping[str, Shape], state: Mapping[str, Array]) -> Any:
    """The dtype of the state's floating entries, or the sentence that says what is wrong with it."""
    if not isinstance(state, Mapping):
        raise StateError(f"{name}: state is {type(state).__name__}; wanted a mapping from names to arrays.")
    if len(state) != len(wanted) or state.keys() != wanted.keys():
        missing = [n for n in wanted if n not in state]
        extra = [n for n in state if n not in wanted]
        what = "; ".join(
            [f"{listed(missing)} missing"] * bool(missing)
            + [f"{listed(extra)} unknown{did_you_mean(extra[0], missing) if extra else ''}"] * bool(extra)
        )
        entries = ", ".join(f"{n} {shape}" for n, shape in wanted.items()) or "an empty mapping"
        raise StateError(f"{name}: {what} in state; wanted {entries} (layer.init(rng) makes one).")
    dtype = None
    for n, shape in wanted.items():
        array = state[n]
        if not isinstance(array, np.ndarray | np.generic):
            raise StateError(f"{name}: state[{n!r}] is {type(array).__name__}; wanted a NumPy array of shape {shape}.")
        if array.shape != shape:
            raise ShapeError(f"{name}: state[{n!r}] has shape {array.shape}; wanted {shape}.")
        if array.dtype.kind == "f":
            dtype = dtype or array.dtype
            if array.dtype != dtype:
                raise DtypeError(f"{name}: state[{n!r}] is {array.dtype}, the entries before it are {dtype}; wanted one dtype.")
        elif array.dtype.kind not in "iub":
            raise DtypeError(f"{name}: state[{n!r}] has dtype {array.dtype}; wanted floating-point numbers.")
    return dtype


def uniform_fan_in(rng: np.random.Generator, shape: Shape, fan_in: int, dtype: Any) -> Array:
    """U(−1/√fan_in, 1/√fan_in): what torch's ``kaiming_uniform_(a=√5)`` comes to, for weights and biases alike."""
    bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    return np.asarray(rng.uniform(-bound, bound, shape), dtype)


def is_training(layer: Any) -> bool:
    """Whether a layer behaves as in training; a layer with one behaviour does always."""
    return bool(getattr(layer, "training", True))


Twin = Callable[[Any], Any]
