"""One case on both sides, every piece computed once and when first asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from refbp.conformance import budget
from refbp.contract import Grads, Layer, State, Step, is_training
from refbp.spec import Case, Spec

if TYPE_CHECKING:
    import torch

    from refbp.conformance.twin import TorchRun

Array = NDArray[Any]
SEED = 20260101
JUMP = 1e3  # what moves by more roundings than these, when it is given one, has jumped


class Trial:
    """A case drawn from a seed, in one dtype: the layer's run, the twin's run, and variations of both.

    ``drawn`` are the inputs that the case describes; ``inputs`` adds a random layer's noise, which only the layer is
    given. ``float32`` is the same trial with everything rounded, and ``rounded`` that one's values back in float64.
    """

    def __init__(self, spec: Spec, index: int, seed: int = SEED, dtype: Any = np.float64, round_to: Any = None) -> None:
        self.spec = spec
        self.index = index
        self.case: Case = spec.cases[index]
        self.id = spec.case_ids()[index]
        self.seed = seed
        self.dtype = np.dtype(dtype)
        self.round_to = np.dtype(round_to or dtype)
        self.layer: Layer[Any] = self.case.layer
        self.only: int | None = None  # the one output that is used, where the others are not
        self.memo: dict[Any, Any] = {}  # what torch said, shared with the trials that vary this one

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, the same in every process."""
        return np.random.default_rng([self.seed, *(zlib.crc32(s.encode()) for s in (self.spec.name, self.id, purpose))])

    @cached_property
    def noise_seed(self) -> int:
        """Torch's seed for the run."""
        return int(self.rng("noise").integers(2**31))

    @cached_property
    def drawn(self) -> tuple[Array, ...]:
        """The inputs that the case describes."""
        rng = self.rng("inputs")
        return self.draw(rng)

    def draw(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """The case's inputs from any generator; None where the case leaves one out."""
        return tuple(None if d is None else self._cast(np.asarray(d(rng))) for d in self.case.draws)  # type: ignore[misc]

    def _cast(self, a: Array) -> Array:
        if a.dtype.kind != "f":
            return a
        with np.errstate(over="ignore"):  # a case of huge values is infinite in float32, and is to be
            return a.astype(self.round_to).astype(self.dtype)

    @cached_property
    def input_names(self) -> list[str]:
        """What forward calls its inputs."""
        names = list(self.layer.inputs())
        return names + [f"input{i}" for i in range(len(names), len(self.case.draws))]

    @cached_property
    def twin(self) -> torch.nn.Module:
        """The torch module, its state drawn anew."""
        from refbp.conformance import twin

        module = twin.build(self.spec, self.layer)
        twin.redraw(module, self.case, self.rng("state"))
        return module

    @cached_property
    def state(self) -> State:
        """The twin's state: the layer must understand it as it is."""
        from refbp.conformance import twin

        state = twin.state_of(self.twin)
        return State({n: self._cast(a) for n, a in state.items()}, state.buffers)

    @cached_property
    def noise(self) -> tuple[Array, ...]:
        """A random layer's noise, recovered from its twin."""
        recover = self.spec.noise
        if recover is None or not is_training(self.layer):
            return ()

        def probed() -> tuple[Any, ...]:
            from refbp.conformance.probe import Probe

            probe = Probe(self.twin, self.layer, self.spec, self.noise_seed, self.case.options)
            return recover(self.layer, probe, *(_wide(a) for a in self.drawn))

        return tuple(None if a is None else self._cast(a) for a in self._once("noise", probed))  # type: ignore[misc]

    @cached_property
    def inputs(self) -> tuple[Array, ...]:
        """What the layer is given: the drawn inputs, and its noise where it has some."""
        return self.drawn + self.noise

    @cached_property
    def torch(self) -> TorchRun:
        """The twin's run."""
        return self.torch_for(None)

    def torch_for(self, wanted: Sequence[str] | None) -> TorchRun:
        """The twin's run in which only these inputs and parameters require a gradient, or all do."""

        def run() -> TorchRun:
            from refbp.conformance.twin import TorchRun

            return TorchRun(self, wanted)

        return cast("TorchRun", self._once(None if wanted is None else tuple(wanted), run))

    def _once(self, what: Any, run: Callable[[], Any]) -> Any:
        """What torch says to these inputs is asked once, however often a layer's own code changes (mutants)."""
        drawn = tuple(None if a is None else (a.shape, a.dtype.str, a.tobytes()) for a in self.drawn)
        key = (what, self.dtype.str, self.round_to.str, self.only, is_training(self.layer), drawn)
        if key not in self.memo:
            try:
                self.memo[key] = run()
            except Exception as error:  # torch's refusal is an answer too
                self.memo[key] = error
        found = self.memo[key]
        if isinstance(found, Exception):
            raise found
        return found

    def fresh(self) -> Trial:
        """The same trial for another version of the layer's code: what torch said is kept, what the layer said is not.

        The arrays are copies: a version that writes to what it is given must not leave that to the next.
        """
        other = Trial(self.spec, self.index, self.seed, self.dtype, self.round_to)
        other.layer, other.only, other.memo = self.layer, self.only, self.memo
        known = self.__dict__
        if "twin" in known:
            other.__dict__["twin"] = known["twin"]
        if "state" in known:
            other.__dict__["state"] = State({n: a.copy(order="K") for n, a in self.state.items()}, self.state.buffers)
        if "drawn" in known:
            other.__dict__["drawn"] = tuple(None if a is None else a.copy(order="K") for a in self.drawn)
        for name in ("float32", "rounded"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name].fresh()
        return other

    def step(self, inputs: Sequence[Any] | None = None, state: Any = None) -> Step:
        """The layer's forward, through the checked entrance."""
        with np.errstate(all="ignore"):
            return self.layer(
                self.state if state is None else state, *(self.inputs if inputs is None else inputs), **self.case.options
            )

    @cached_property
    def own(self) -> Step:
        """The layer's run."""
        return self.step()

    @cached_property
    def outputs(self) -> list[Array]:
        """Its outputs, as a list."""
        return as_list(self.own.outputs)

    @cached_property
    def upstream(self) -> list[Array | None]:
        """One random signed upstream gradient per floating output."""
        return self.upstream_for(self.outputs)

    def upstream_for(self, outputs: Sequence[Array], purpose: str = "upstream") -> list[Array | None]:
        """The same for outputs of these shapes; ``None`` for an output of integers, or one that is not used."""
        rng = self.rng(purpose)
        drawn = [
            None
            if y.dtype.kind != "f"
            else self._cast(np.asarray(rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)))
            for y in outputs
        ]
        return [u if self.only in (None, i) else None for i, u in enumerate(drawn)]

    def pull(self, step: Step, upstream: Sequence[Array | None]) -> Grads:
        """A step's backward, with NumPy's warnings off: NaN and infinity are compared, not announced."""
        with np.errstate(all="ignore"):
            return step.backward(*upstream)

    @cached_property
    def pulled(self) -> Grads:
        """What the layer's backward returns."""
        return self.pull(self.own, self.upstream)

    @cached_property
    def own_grads(self) -> dict[str, Array | None]:
        """The layer's gradients by name, inputs first."""
        return named(self.pulled, self.input_names)

    @cached_property
    def float32(self) -> Trial:
        """The same trial with inputs and state rounded to float32."""
        return self.in_dtype(np.float32)

    @cached_property
    def rounded(self) -> Trial:
        """The float32 trial's values, computed with in float64: what float32 results are measured against."""
        return self.in_dtype(np.float64)

    def in_dtype(self, dtype: Any) -> Trial:
        """The same case, its values rounded to float32, computed with in another dtype."""
        other = Trial(self.spec, self.index, self.seed, dtype, round_to=np.float32)
        other.layer, other.memo = self.layer, self.memo
        other.__dict__["twin"] = self.twin  # only its structure and names matter: each run sets its state
        return other

    def off_by_a_rounding(self, rng: np.random.Generator) -> Trial:
        """The same trial, all that is given off by up to eps, and smaller for it: a zero stays one, and a probability."""

        def off(a: Array | None) -> Any:
            if a is None or a.dtype.kind != "f":
                return a
            return np.asarray(a * (1 - np.finfo(a.dtype).eps * rng.uniform(0, 1, a.shape)), a.dtype)

        other = Trial(self.spec, self.index, self.seed, self.dtype, self.round_to)
        other.layer, other.only = self.layer, self.only
        state = State({n: off(a) for n, a in self.state.items()}, self.state.buffers)
        other.__dict__.update(twin=self.twin, state=state, drawn=tuple(off(a) for a in self.drawn))
        return other

    @cached_property
    def moves(self) -> dict[tuple[str, Any], float]:
        """How far each of torch's results moves when all that it is given is off by a rounding, in units of eps.

        That much is in nobody's hands. A jump is not counted: at a kink, the values beside it are not its own.
        """
        return cast("dict[tuple[str, Any], float]", self._once("moves", lambda: self._moved(Trial._theirs)))

    @cached_property
    def own_moves(self) -> dict[tuple[str, Any], float]:
        """The same of the layer's own: how far two runs of one layer may be apart."""
        return self._moved(Trial._mine)

    def _theirs(self) -> dict[tuple[str, Any], Array | None]:
        run = self.torch
        named = {**{("grads", n): g for n, g in run.grads.items()}, **{("state", n): a for n, a in run.state.items()}}
        return {**{("outputs", i): y for i, y in enumerate(run.outputs)}, **named}

    def _mine(self) -> dict[tuple[str, Any], Array | None]:
        named = {("grads", n): g for n, g in self.own_grads.items()}
        return {**{("outputs", i): y for i, y in enumerate(self.outputs)}, **named}

    def _moved(self, results: Callable[[Trial], dict[tuple[str, Any], Array | None]]) -> dict[tuple[str, Any], float]:
        rng, eps, found = self.rng("rounding"), float(np.finfo(self.dtype).eps), dict[tuple[str, Any], float]()
        still = results(self)
        for _ in range(4):
            try:
                moved = results(self.off_by_a_rounding(rng))
            except Exception:  # values a rounding away from these are refused
                continue
            for key, a in still.items():
                b = moved.get(key)
                if a is not None and b is not None and a.shape == b.shape and a.dtype.kind == "f":
                    far = budget.error(b, a)
                    if far <= JUMP * eps * budget.norm(a):
                        found[key] = max(found.get(key, 0.0), far / eps)
        return found

    @cached_property
    def fan(self) -> int:
        """The size of the largest array that takes part."""
        return max([1, *(a.size for a in (*self.inputs, *self.state.values(), *self.outputs) if a is not None)])


def _wide(a: Array | None) -> Array | None:
    return a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a


def as_list(outputs: Any) -> list[Array]:
    """One array or a tuple of them, as a list."""
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def named(grads: Grads, input_names: Sequence[str]) -> dict[str, Array | None]:
    """Gradients by name: the inputs', then the parameters'."""
    return dict(zip(input_names, grads.inputs, strict=False)) | grads.params
