"""A run as data: every value, every gradient, each beside torch's.

Quantities have names: a value's own (``z1``), the gradient of C with respect to it (``dz1``), a parameter's in the state
(``0.weight``), its gradient (``d0.weight``), its value after one step (``0.weight.next``); ``theta``, ``grad`` and
``theta.next`` are the parameters, their gradients and the parameters after the step as one vector each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Layer, State, Step
from refbp.errors import ArgumentError, RefbpError, ShapeError
from refbp.layers.container import drawn
from refbp.trace.program import Program

GROWN = 5.0  # digits that must be left of a number in which rounding has grown, to call it equal
ROUNDED = "Every layer equals its twin on the very numbers that it met: this is rounding, which the network enlarges."


class Check(NamedTuple):
    """One quantity against torch's: whether it agrees, and to how many digits."""

    agrees: bool
    digits: float


class Arrived(NamedTuple):
    """What one use of a value contributes to its gradient: the node, the place among its inputs, the gradient."""

    node: int
    place: int
    grad: Array


class Quantity(NamedTuple):
    """One recorded array. ``kind``: value, gradient, parameter's gradient, parameter, step or vector."""

    key: str
    kind: str
    of: str  # the value or parameter that it is, or belongs to
    array: Array


@dataclass(frozen=True)
class Trace:
    """Everything that one forward pass, one backward pass and one step of gradient descent computed."""

    program: Program
    state: State
    values: Mapping[str, Array]
    steps: tuple[Step, ...]
    upstream: Array
    grads: Mapping[str, Array]
    arrived: Mapping[str, tuple[Arrived, ...]]
    params: Mapping[str, Array]
    after: Mapping[str, Array]
    lr: float
    checks: Mapping[str, Check]
    unchecked: str = ""  # why torch was not asked
    opinion: str = ""  # where something differs: who is right, by a numerical derivative
    composed: tuple[str, ...] = ()  # the gradients that the network's own backward, of all layers at once, finds otherwise

    @property
    def wrong(self) -> list[str]:
        """The quantities that differ from torch's."""
        return [key for key, check in self.checks.items() if not check.agrees]

    def vector(self, arrays: Mapping[str, Array]) -> Array:
        """Arrays by parameter, stacked in θ's order."""
        parts = [np.ravel(arrays[n]) for n in self.program.learned if n in arrays]
        return np.concatenate(parts) if parts else np.zeros(0)

    def quantities(self) -> Iterator[Quantity]:
        """Every quantity: forward in order, then backward in the order in which backpropagation finds them."""
        for name in self.values:
            if name not in self.program.fixed:
                yield Quantity(name, "value", name, self.values[name])
        for name in self.program.learned:
            yield Quantity(name, "parameter", name, self.state[name])
        done = set()
        for node in reversed(self.program.nodes):
            for name in node.outputs:
                if name in self.grads:
                    yield Quantity(f"d{name}", "gradient", name, self.grads[name])
            for name in node.parameters:
                done.add(name)
                yield Quantity(f"d{name}", "parameter gradient", name, self.params[name])
        for name in self.program.leaves:
            if name in self.grads:
                yield Quantity(f"d{name}", "gradient", name, self.grads[name])
        if done:
            yield Quantity("theta", "vector", "", self.vector(self.state))
            yield Quantity("grad", "vector", "", self.vector(self.params))
            for name in self.program.learned:
                yield Quantity(f"{name}.next", "step", name, self.after[name])
            yield Quantity("theta.next", "vector", "", self.vector(self.after))


def record(
    program: Program,
    state: State,
    given: Mapping[str, Array],
    upstream: Array | None = None,
    lr: float = 0.1,
    seed: int = 0,
    instead: Mapping[str, Array] | None = None,
    check: bool = True,
) -> Trace:
    """Run a program forward and backward. ``upstream`` is ∂C/∂output, one unless given.

    ``instead`` replaces quantities by key as soon as they are computed: what follows, follows from them.
    """
    instead = instead or {}
    state = state.updated({n: instead[n] for n in program.learned if n in instead})
    beside, why = _beside(program, state, seed) if check else (None, "not asked for")
    fixed = {n: np.asarray(v, np.float64) for n, v in program.fixed.items()}
    values = {**given, **fixed}
    values |= {n: a for n, a in instead.items() if n in values}
    steps: list[Step] = []
    with np.errstate(all="ignore"):
        for i, node in enumerate(program.nodes):
            inputs = [values[n] for n in node.inputs]
            random = beside.noise(i, inputs) if beside is not None else noise(node.layer, inputs, seed + i)
            entries = {own: state[name] for name, own in node.entries.items()}
            try:
                step = node.layer(entries, *inputs, *random)
            except RefbpError as error:
                raise type(error)(f"computing {', '.join(node.outputs)}: {error}") from error
            steps.append(step)
            outputs = step.outputs if isinstance(step.outputs, tuple) else (step.outputs,)
            values |= {n: instead.get(n, y) for n, y in zip(node.outputs, outputs, strict=False)}
        upstream = _upstream(values[program.output], upstream)
        grads, arrived, params = _backward(program, steps, upstream, instead)
        after = {n: instead.get(f"{n}.next", state[n] - lr * params[n]) for n in program.learned}
    trace = Trace(program, state, values, tuple(steps), upstream, grads, arrived, params, after, lr, {}, why)
    if beside is None:
        return trace
    from refbp.conformance.beside import Judge

    try:
        judge = Judge(beside, {**given, **fixed}, program.output, upstream, lr)
        checks = dict(_checks(trace, judge))
        if not all(c.agrees for c in checks.values()) and judge.right_alone(_passes(trace)):
            checks = {key: Check(c.agrees or c.digits >= GROWN, c.digits) for key, c in checks.items()}
            trace = _with(trace, opinion="" if all(c.agrees for c in checks.values()) else ROUNDED)
    except Exception as error:  # whatever torch refuses, with its first line
        return _with(trace, unchecked=f"torch refuses: {str(error).splitlines()[0][:200] if str(error) else error!r}")
    trace = _with(trace, checks=checks)
    if not trace.wrong or trace.opinion:
        return trace
    from refbp.conformance.beside import known_defects
    from refbp.trace.witness import opinion

    return _with(trace, opinion=opinion(trace, lambda kind, name: getattr(judge.run, kind).get(name), known_defects))


def _with(trace: Trace, **entries: Any) -> Trace:
    import dataclasses

    return dataclasses.replace(trace, **entries)


def _beside(program: Program, state: Mapping[str, Array], seed: int) -> tuple[Any, str]:
    """The twins of a program's layers; or None, and why there are none."""
    from refbp.conformance.beside import Beside

    try:
        return Beside(program.nodes, state, seed), ""
    except LookupError as error:  # not registered, or torch.nn has none by its name
        return None, f"no twin: {str(error).rstrip('.')}"
    except Exception as error:
        return None, f"torch refuses: {str(error).splitlines()[0][:200] if str(error) else error!r}"


def noise(layer: Layer[Any], inputs: Sequence[Array], seed: int) -> tuple[Array | None, ...]:
    """A random layer's noise where there is no twin to take it from, after the inputs that are left out."""
    found = drawn(layer, np.random.default_rng(seed), inputs[0].shape)
    return (*[None] * (len(layer.inputs()) - len(inputs) - len(found)), *found) if found else ()


def _upstream(output: Array, given: Array | None) -> Array:
    if given is None:
        if output.size != 1:
            raise ArgumentError(
                f"the network ends in {output.shape} numbers, and a gradient is of one: end it with a loss, such as MSELoss,"
                f" or give the upstream gradient of its output."
            )
        return np.ones(output.shape, output.dtype)
    if given.shape != output.shape and given.size == output.size:
        given = given.reshape(output.shape)
    if given.shape != output.shape:
        raise ShapeError(f"the upstream gradient has shape {given.shape}; wanted {output.shape}, the output's own.")
    return given.astype(output.dtype)


def _backward(
    program: Program, steps: list[Step], upstream: Array, instead: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, tuple[Arrived, ...]], dict[str, Array]]:
    """Every value's gradient, as the sum of what its uses contribute, and every parameter's."""
    grads: dict[str, Array] = {}
    arrived: dict[str, list[Arrived]] = {}
    params: dict[str, Array] = {}

    def total(name: str) -> Array | None:
        parts = [a.grad for a in arrived.get(name, ())]
        if name == program.output:
            parts.insert(0, upstream)
        if not parts:
            return None
        grads[name] = instead.get(f"d{name}", np.asarray(sum(parts[1:], parts[0])))
        return grads[name]

    for i, node in reversed(list(enumerate(program.nodes))):
        outputs = steps[i].outputs
        unused = (len(outputs) if isinstance(outputs, tuple) else 1) - len(node.outputs)
        found = steps[i].backward(*map(total, node.outputs), *[None] * unused)
        for name, own in node.parameters.items():
            params[name] = instead.get(f"d{name}", found.params[own])
        for place, (name, grad) in enumerate(zip(node.inputs, found.inputs, strict=False)):
            if grad is not None and name not in program.fixed:
                arrived.setdefault(name, []).append(Arrived(i, place, grad))
    for name in program.leaves:
        total(name)
    return grads, {n: tuple(reversed(a)) for n, a in arrived.items()}, params


def _passes(trace: Trace) -> list[Any]:
    """What every layer met and made of it, for a check of each alone."""
    from refbp.conformance.beside import Pass

    found = []
    for node, step in zip(trace.program.nodes, trace.steps, strict=True):
        outputs = step.outputs if isinstance(step.outputs, tuple) else (step.outputs,)
        ups = [trace.grads.get(n) for n in node.outputs]
        own: dict[str, Any] = {f"y{k}": y for k, y in enumerate(outputs)}
        if any(u is not None for u in ups):
            grads = step.backward(*ups, *[None] * (len(outputs) - len(ups)))
            own |= {f"x{k}": g for k, g in enumerate(grads.inputs) if g is not None} | dict(grads.params)
        found.append(Pass([trace.values[n] for n in node.inputs], ups, own))
    return found


def _checks(trace: Trace, judge: Any) -> Iterator[tuple[str, Check]]:
    kinds = {"value": "values", "gradient": "grads", "parameter gradient": "params", "step": "after"}
    vectors: dict[str, list[Check]] = {"grad": [], "theta.next": []}
    for quantity in trace.quantities():
        kind = kinds.get(quantity.kind)
        if quantity.of in trace.program.leaves and kind == "values":
            continue  # given to both
        found = judge(kind, quantity.of, quantity.array) if kind else None
        if found is not None:
            yield quantity.key, Check(found.agrees, found.digits)
            for key, of in (("grad", "params"), ("theta.next", "after")):
                if kind == of:
                    vectors[key].append(found)
    for key, parts in vectors.items():
        if parts:
            yield key, Check(all(p.agrees for p in parts), min(p.digits for p in parts))
