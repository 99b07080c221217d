r"""Computation graphs: the chain rule for values that are used once, and for values that are used several times.

One path, ``x = Sigmoid(s); z = Tanh(x)``:            dz/ds = dz/dx · dx/ds.
Several paths, ``x = Sigmoid(s); y = Tanh(s); z = x * y``:   dz/ds = ∂z/∂x · dx/ds + ∂z/∂y · dy/ds.

Both are one rule: visit the graph backward, and *add* what arrives at a value from everything that it was used for.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, State, Step
from refbp.errors import ArgumentError, RefbpError
from refbp.layers.container import drawn, noise_of, part, prefixed
from refbp.shapes import Shape


class Use(NamedTuple):
    """One layer, applied to values by name; its state entries stand under the name of its first output."""

    layer: Layer[Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its state entries are prefixed with."""
        return self.outputs[0]


@dataclass(frozen=True)
class Graph(Layer[tuple[Step, ...]]):
    r"""Values by name, each computed from values before it; backward, ∂z/∂s = Σ ∂z/∂x ∂x/∂s over the uses x of s.

    ``text`` is assignments separated by semicolons: a layer applied to values, ``h = Linear(2, 3)(x)``, or without
    arguments of its own ``h = Tanh(x)``; sums, differences, products, quotients and matrix products of values, ``+ - * / @``;
    numbers. Names that nothing is assigned to are the inputs, in order of appearance; the last assignment is the output.
    Noise that layers need in training is given after the inputs, in the order of the assignments.
    Shapes: any; state: each layer's, as ``"<value>.<entry>"``. Torch: none; its twin is a module of the parts' twins.
    """

    text: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._read  # noqa: B018  # a text that is no graph is an error now, not at the first forward

    @cached_property
    def _read(self) -> _Reader:
        return _Reader(self.text)

    @property
    def uses(self) -> tuple[Use, ...]:
        """The layers that are applied, in order."""
        return tuple(self._read.found)

    @property
    def fixed(self) -> dict[str, float]:
        """The numbers that stand in the text, under the names that they have among the values."""
        return self._read.constants

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The names of its inputs."""
        made = {name for use in self.uses for name in use.outputs} | self.fixed.keys()
        return tuple(dict.fromkeys(n for use in self.uses for n in use.inputs if n not in made))

    def inputs(self) -> dict[str, str]:
        return {name: f"any (*{name})" for name in self.leaves} | self.noise()

    def noise(self) -> dict[str, str]:
        """The inputs that are noise, by the value that is computed with them."""
        counts = {use.name: len(noise_of(use.layer)) for use in self.uses}
        names = [f"{name}.{i}" if n > 1 else name for name, n in counts.items() for i in range(n)]
        return {f"noise of {name}": f"any (*{name})" for name in names}

    @property
    def noisy(self) -> bool:
        """Where a layer in it is."""
        return bool(self.noise())

    def draw(self, rng: np.random.Generator, *shapes: Shape) -> tuple[Array, ...]:
        """The noise of one pass in training, for inputs of these shapes: a pass over zeros finds out what it must be."""
        values: dict[str, Array] = {n: np.asarray(v) for n, v in self.fixed.items()}
        values |= {n: np.zeros(s, self._kind(n)) for n, s in zip(self.leaves, shapes, strict=True)}
        state = self.init(np.random.default_rng(0))
        found: list[Array] = []
        with np.errstate(all="ignore"):
            for use in self.uses:
                noise = drawn(use.layer, rng, values[use.inputs[0]].shape)
                found += noise
                outputs = self._step(use, state, values, noise).outputs
                values |= zip(use.outputs, _flat(outputs), strict=False)
        return tuple(found)

    def _kind(self, name: str) -> Any:
        patterns = [p for use in self.uses for n, p in zip(use.inputs, use.layer.inputs().values(), strict=False) if n == name]
        return np.int64 if any("index" in p for p in patterns) else np.float64

    @staticmethod
    def _step(use: Use, state: Mapping[str, Array], values: Mapping[str, Array], noise: Sequence[Array]) -> Step:
        given = [values[n] for n in use.inputs]
        left_out = len(use.layer.inputs()) - len(given) - len(noise) if noise else 0  # masks and the like come before noise
        return use.layer(part(state, use.name), *given, *[None] * left_out, *noise)

    def outputs(self) -> dict[str, str]:
        return {name: f"any (*{name})" for name in self.uses[-1].outputs}

    def params(self) -> dict[str, Shape]:
        return {n: s for use in self.uses for n, s in prefixed(use.name, use.layer.params()).items()}

    def buffers(self) -> dict[str, Shape]:
        return {n: s for use in self.uses for n, s in prefixed(use.name, use.layer.buffers()).items()}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Each layer's own, in order."""
        made = [(use.name, use.layer.init(rng, dtype)) for use in self.uses]
        entries = {n: a for name, state in made for n, a in prefixed(name, state).items()}
        return State(entries, {f"{name}.{b}" for name, state in made for b in state.buffers})

    def forward(self, state: Mapping[str, Array], *inputs: Array) -> Forward[tuple[Step, ...]]:
        dtype = next((a.dtype for a in inputs if a.dtype.kind == "f"), np.float64)
        values = {n: np.asarray(v, dtype) for n, v in self.fixed.items()} | dict(zip(self.leaves, inputs, strict=False))
        noise = iter(inputs[len(self.leaves) :])
        steps: list[Step] = []
        updates: dict[str, Array] = {}
        for use in self.uses:
            try:
                step = self._step(use, state, values, [*islice(noise, len(noise_of(use.layer)))])
            except RefbpError as error:
                raise type(error)(f"Graph, {use.name}: {error}") from error
            steps.append(step)
            updates |= prefixed(use.name, step.updates)
            values |= zip(use.outputs, _flat(step.outputs), strict=False)
        return Forward(steps[-1].outputs, tuple(steps), updates)

    def backward(self, saved: tuple[Step, ...], *grad_outputs: Array) -> Grads:
        r"""A value s that is used for x, y, … moves z through each of them: ∂z/∂s = ∂z/∂x ∂x/∂s + ∂z/∂y ∂y/∂s + ….
        Backward, every use is visited before the value that it uses, so each sum is complete when it is needed.
        """
        arrived: dict[str, Array | None] = dict(zip(self.uses[-1].outputs, grad_outputs, strict=False))
        params: dict[str, Array] = {}
        for use, step in zip(reversed(self.uses), reversed(saved), strict=True):
            grads = step.backward(
                *(arrived.get(n) for n in use.outputs), *[None] * (len(_flat(step.outputs)) - len(use.outputs))
            )
            params |= prefixed(use.name, grads.params)
            for name, grad in zip(use.inputs, grads.inputs, strict=False):
                before = arrived.get(name)
                arrived[name] = grad if before is None else before if grad is None else np.add(before, grad)
        return Grads(*(arrived[n] for n in self.leaves), *[None] * len(self.noise()), **params)


def _flat(outputs: Any) -> tuple[Array, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


class _Reader:
    """Turns the text into uses, and an expression within an expression into a value u1, u2, … of its own."""

    def __init__(self, text: str) -> None:
        self.constants: dict[str, float] = {}
        self.found: list[Use] = []
        try:
            statements = ast.parse("\n".join(part.strip() for part in text.split(";"))).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ArgumentError(f"Graph: {text[:80]!r} cannot be read ({why}); wanted 'x = Sigmoid(s); y = x * s'.") from None
        self.known = {n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name)}
        for statement in statements:
            self._statement(statement)
        self._check()

    def _statement(self, statement: ast.stmt) -> None:
        names, value = self._parted(statement)
        taken = {name for use in self.found for name in (*use.inputs, *use.outputs)}
        if again := [n for n in names if n in taken]:
            raise ArgumentError(f"Graph: {again[0]} already has a value: give this one a name of its own.")
        layer, values = self._applied(value)
        if own := [n for n in names if n in values]:
            raise ArgumentError(f"Graph: {own[0]} = … is computed from {own[0]} itself: give one of them another name.")
        self.found.append(Use(layer, values, names))

    def _check(self) -> None:
        if not self.found:
            raise ArgumentError("Graph: it is empty; wanted assignments such as 'x = Sigmoid(s); y = x * s'.")
        read = {name for use in self.found for name in use.inputs}
        for use in self.found[:-1]:
            if not read & set(use.outputs):
                raise ArgumentError(f"Graph: {use.name} is computed and not used: use it, or leave it out.")
        if not read - self.constants.keys() - {name for use in self.found for name in use.outputs}:
            raise ArgumentError("Graph: it has no input; wanted at least one name that nothing is assigned to.")

    @staticmethod
    def _parted(statement: ast.stmt) -> tuple[tuple[str, ...], ast.expr]:
        """The names on the left of an assignment, and its right."""
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            targets = target.elts if isinstance(target, ast.Tuple) else [target]
            names = tuple(t.id for t in targets if isinstance(t, ast.Name))
            if len(names) == len(targets) == len({*names}):
                return names, statement.value
        raise ArgumentError(f"Graph: {ast.unparse(statement)[:60]!r} is no assignment to a name; wanted y = Tanh(x), say.")

    def _applied(self, node: ast.expr) -> tuple[Layer[Any], tuple[str, ...]]:
        """The layer that an expression applies, and the names of the values that it is applied to."""
        from refbp import notation  # only who writes a graph looks layers up by name

        operations = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Div: "Div", ast.MatMult: "MatMul"}
        match node:
            case ast.BinOp(left, op, right) if type(op) in operations:
                return notation.known(operations[type(op)])(), (self._value(left), self._value(right))
            case ast.BinOp(left, ast.Pow(), ast.Constant(2)):
                base = self._value(left)
                return notation.known("Mul")(), (base, base)
            case ast.UnaryOp(ast.USub(), operand):
                return notation.known("Mul")(), (self._value(ast.Constant(-1.0)), self._value(operand))
            case ast.Call(ast.Name(), args, keywords):
                try:
                    layer = notation.construct(ast.Call(node.func, [], keywords), ast.unparse(node))
                except ArgumentError as error:
                    raise ArgumentError(f"Graph: {error} A layer's own arguments come first: Linear(2, 3)(x).") from None
            case ast.Call(ast.Call() as made, args, []):
                layer = notation.construct(made, ast.unparse(made))
            case _:
                raise ArgumentError(
                    f"Graph: {ast.unparse(node)[:60]!r} applies no layer; wanted one applied to values, Tanh(x) or"
                    f" Linear(2, 3)(x), or + - * / @ between two."
                )
        wanted = len(layer.inputs()) - len(noise_of(layer))  # noise is an input of the graph, and not a value in it
        least = sum(not pattern.startswith("optional") for pattern in [*layer.inputs().values()][:wanted])
        if not least <= len(args) <= wanted:
            raise ArgumentError(
                f"Graph: {ast.unparse(node)[:60]!r}: {layer!r} is applied to {len(args)} values; wanted {least}"
                f"{'' if least == wanted else f' to {wanted}'}. Arguments of a layer's own come first: Linear(2, 3)(x)."
            )
        return layer, tuple(self._value(a) for a in args)

    def _value(self, node: ast.expr) -> str:
        """The name of an expression's value."""
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            self.constants[repr(node.value)] = float(node.value)
            return repr(node.value)
        layer, values = self._applied(node)
        name = next(n for i in range(1, 10**6) if (n := f"u{i}") not in self.known)
        self.known.add(name)
        self.found.append(Use(layer, values, (name,)))
        return name
