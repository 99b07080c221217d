"""Why a gradient is what it is: the usual mistakes, each computed, and the one that gives what somebody got.

An explainer is a function of the quantity, what somebody got for it, the trace (in which everything before it is theirs),
and how near, relative to the largest value, a guess must come (0: as near as rounding errors); it returns a sentence, or
nothing. ``EXPLAINERS`` are asked in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array
from refbp.layers._elementwise import Elementwise
from refbp.layers.linear import Linear
from refbp.trace.program import Node
from refbp.trace.record import Quantity, Trace
from refbp.trace.writers import name_of

Explainer = Callable[[Quantity, Array, Trace, float], "str | None"]
Guess = tuple[str, Any]
LIKELY = 0.8  # how sure the oracle must be, of one case


class _At(NamedTuple):
    """Where a quantity stands: the trace, and what its letters are."""

    trace: Trace
    key: str
    of: str
    right: Array


def usual(quantity: Quantity, mine: Array, trace: Trace, close: float = 0.0) -> str | None:
    """The usual mistakes of a network: each guess is computed, and the first that gives what was got is it."""
    at = _At(trace, quantity.key, quantity.of, quantity.array)
    with np.errstate(all="ignore"):
        if not np.isfinite(mine).all() and np.isfinite(quantity.array).all():
            what = "NaN" if np.isnan(mine).any() else "an infinity"
            return f"{quantity.key} holds {what}: something was divided by zero, or overflowed."
        if not mine.any():
            return f"{quantity.key} is zero everywhere: it is never written, or not added up."
        for words, guessed in _guesses(at, quantity.kind):
            if guessed is None:
                continue
            guess = np.asarray(guessed, np.float64)
            if _alike(mine, guess, close) and _apart(mine, guess) <= _apart(mine, quantity.array) / 4:
                return words
    return None


def _alike(mine: Array, guess: Array, close: float) -> bool:
    from refbp.trace.compare import same

    return guess.shape == mine.shape and same(mine, guess, close)


def _apart(a: Array, b: Array) -> float:
    return float(np.nan_to_num(np.abs(a - b), nan=np.inf).max(initial=0))


def _guesses(at: _At, kind: str) -> Iterator[Guess]:
    specific = {
        "value": _forward,
        "gradient": _gradient,
        "parameter gradient": _parameter,
        "step": _step,
        "vector": _vector,
    }.get(kind)
    if specific is not None:
        yield from specific(at)
    yield from _general(at)


# Anything -------------------------------------------------------------------------------------------------------------


def _general(at: _At) -> Iterator[Guess]:
    """Sign, transpose, a constant factor, another order."""
    right, key = at.right, at.key
    yield f"{key} has the wrong sign.", -right
    if right.ndim == 2 and right.shape[0] == right.shape[1]:
        yield f"{key} is the transpose of what it should be.", right.T
    for words, factor in _factors(at.trace):
        yield f"{key} is {words}.", right * factor
        yield f"{key} is {words}, and has the wrong sign.", -right * factor
    if 1 < right.size <= 64:
        yield f"{key} has the right numbers, first and last exchanged.", np.flip(right)


def _factors(trace: Trace) -> Iterator[tuple[str, float]]:
    """Factors that mean something: the batch, the number of outputs, two, η."""
    y = trace.values[trace.program.prediction]
    sizes: dict[int, list[str]] = {2: []}
    for name, n in (("the size of the batch", len(y) if y.ndim else 1), ("the number of elements of y", y.size)):
        if n > 1:
            sizes.setdefault(n, []).append(name)
    for n, names in sizes.items():
        meaning = f" ({n} is {' and '.join(names)}: " if names else ""
        yield f"{n} times too large{f'{meaning}a sum where a mean is wanted?)' if names else ''}", n
        less = "half of what it should be" if n == 2 else f"{n} times too small"
        yield f"{less}{f'{meaning}a mean where a sum is wanted?)' if names else ''}", 1 / n
    if trace.lr not in (0.0, 1.0):
        yield f"multiplied by η = {trace.lr:g}, which belongs to the step and not to the gradient", trace.lr


# Forward --------------------------------------------------------------------------------------------------------------


def _forward(at: _At) -> Iterator[Guess]:
    node = at.trace.program.maker(at.of)
    if node is None:
        return
    x = at.trace.values[node.inputs[0]]
    if isinstance(node.layer, Linear):
        W, b = _held(at, node, "weight"), _held(at, node, "bias") if node.layer.bias else 0.0
        yield f"the bias is missing from {at.key}.", at.right - b
        yield f"the bias is subtracted in {at.key}, not added.", at.right - 2 * b
        yield f"the bias is added twice in {at.key}.", at.right + b
        if W.shape[0] == W.shape[1]:
            yield f"{at.key} is computed with the transpose of the weights.", x @ W + b
        for name in _others(at, x):
            yield f"{at.key} is computed from {name} in place of {node.inputs[0]}.", at.trace.values[name] @ W.T + b
    if isinstance(node.layer, Elementwise):
        yield f"the activation is missing: {at.key} is {node.inputs[0]}.", x
        for other in _activations():
            if type(other) is not type(node.layer):
                yield f"{at.key} is what {type(other).__name__} gives, not {type(node.layer).__name__}.", other({}, x).outputs
    if at.of == at.trace.program.output and len(node.inputs) > 1:
        d = x - at.trace.values[node.inputs[1]] if x.shape == at.trace.values[node.inputs[1]].shape else None
        if d is not None:
            yield "C is the sum of the squares, not their mean.", (d * d).sum()
            yield "C is half the sum of the squares: that is another loss.", (d * d).sum() / 2
            yield "C is the mean of the absolute differences, not of their squares.", np.abs(d).mean()
            yield "C is the square root of what it should be.", np.sqrt(at.right)


def _activations() -> list[Elementwise]:
    from refbp.layers.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh

    return [Sigmoid(), Tanh(), ReLU(), LeakyReLU(), Softplus(), SiLU(), GELU(), ELU()]


# Backward -------------------------------------------------------------------------------------------------------------


def _gradient(at: _At) -> Iterator[Guess]:
    """Of a value: by each way in which the layers that use it could have been gone through wrongly."""
    program = at.trace.program
    uses = program.uses(at.of)
    arrived = at.trace.arrived.get(at.of, ())
    if len(arrived) > 1:
        outs = [program.nodes[a.node].outputs[0] for a in arrived]
        for part, out in zip(arrived, outs, strict=True):
            yield f"only the path through {out} is counted: what arrives from {' and '.join(outs)} must be added up.", part.grad
        for part, out in zip(arrived, outs, strict=True):
            yield f"the path through {out} is missing from the sum.", at.right - part.grad
        if all(a.grad.shape == arrived[0].grad.shape for a in arrived):
            yield (
                "the paths are multiplied; what arrives over several paths is added.",
                np.prod([a.grad for a in arrived], axis=0),
            )
            yield "the paths are averaged; they must be added up.", at.right / len(arrived)
    for i, place in uses:
        node = program.nodes[i]
        if node.outputs[0] == program.output and len(node.inputs) > 1 and place == 0:
            yield from _loss(at, node)
        elif isinstance(node.layer, Elementwise):
            yield from _unit(at, node)
        elif isinstance(node.layer, Linear):
            yield from _linear(at, node, lambda a: a, f"{at.key} ")


def _loss(at: _At, node: Node) -> Iterator[Guess]:
    y, t = (at.trace.values[n] for n in node.inputs[:2])
    if y.shape == t.shape:
        d = y - t
        n = y.size
        yield f"{at.key} is (y − t)/{n}: the factor 2, of the square's derivative, is missing.", d / n
        yield f"{at.key} is 2(t − y)/{n}: the sign is wrong.", -2 * d / n
        yield f"{at.key} is y − t, not the derivative of the loss: a factor, or the slope of the loss, is missing.", d
        yield f"{at.key} is t − y: the sign is wrong, and the derivative's factor is missing.", -d
        yield f"{at.key} is 2(y − t), not divided by the number of elements that the mean is over.", 2 * d
        yield f"{at.key} is the loss of each element, not its derivative.", d * d
    if t.dtype.kind in "iu" and y.ndim == 2 and t.shape == (len(y),):
        hot = np.zeros_like(y)
        hot[np.arange(len(y)), t] = 1
        e = np.exp(y - y.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        for words, guess in (
            ("softmax(y): the 1 of the right class is not subtracted", p),
            ("y less the 1 of the right class: the softmax is missing", y - hot),
            ("softmax(y) plus the 1 of the right class: it must be subtracted", p + hot),
            ("minus the 1 of the right class alone: softmax(y) is missing", -hot),
            ("softmax(y) − 1 everywhere: the 1 belongs to the right class alone", p - 1),
        ):
            yield f"{at.key} is {words}.", guess / len(y)
            yield f"{at.key} is {words}; and the mean over the batch is missing.", guess


def _unit(at: _At, node: Node) -> Iterator[Guess]:
    """Through an activation: its slope missing, squared, taken of or at the wrong thing; then what fed the upstream."""
    trace, out = at.trace, node.outputs[0]
    x, y, up = trace.values[node.inputs[0]], trace.values[out], _arrived(trace, out)
    name = name_of(node.layer)

    def slope(v: Array) -> Array:
        return np.asarray(node.layer({}, v).backward(np.ones_like(v)).inputs[0])

    prime = f"{name}′({node.inputs[0]})"
    yield f"{prime} is missing: {at.key} is ∂C/∂{out} as it is.", up
    yield f"{prime} alone: it is not multiplied by ∂C/∂{out}.", slope(x)
    yield f"{at.key} is multiplied by {prime} twice.", up * slope(x) ** 2
    yield f"{at.key} is multiplied by {name}({node.inputs[0]}) where {prime} is meant.", up * y
    yield f"the slope is taken at {out} in place of {node.inputs[0]}: {name}′({out}).", up * slope(y)
    yield f"{at.key} is divided by {prime}, not multiplied.", up / slope(x)
    z = node.inputs[0]
    yield f"{at.key} has the slope {z}(1 − {z}); σ′ is σ(1 − σ), of the output and not of {z}.", up * x * (1 - x)
    yield f"the slope is 1 − {out}: the factor {out} of σ′ = {out}(1 − {out}) is missing.", up * (1 - y)
    for other in _activations():
        if type(other) is not type(node.layer):
            yield (
                f"{at.key} has the slope of {type(other).__name__}, not of {type(node.layer).__name__}.",
                (other({}, x).backward(up).inputs[0]),
            )
    for i, _ in trace.program.uses(out):
        behind = trace.program.nodes[i]
        if isinstance(behind.layer, Linear):
            yield from _linear(at, behind, lambda a: a * slope(x), f"in {at.key}, ∂C/∂{out} ")


def _linear(at: _At, node: Node, then: Callable[[Array], Array], what: str) -> Iterator[Guess]:
    """Back through a matrix: transposed, already updated, a term or the last slope missing."""
    trace, out = at.trace, node.outputs[0]
    W, up = _held(at, node, "weight"), _arrived(trace, out)
    name = f"{node.prefix}weight"
    letter = f"{trace.program.symbols[name].base.upper()}{trace.program.symbols[name].above}"
    if W.shape[0] == W.shape[1]:
        yield f"{what}is computed with the transpose: backward needs {letter}ᵀ where forward used {letter}.", then(up @ W.T)
    yield f"{what}is computed with the {letter} of after the step: every gradient belongs to θ⁰.", then(up @ trace.after[name])
    following = next((trace.program.nodes[i] for i, _ in trace.program.uses(out)), None)
    if following is not None and isinstance(following.layer, Elementwise) and following.outputs[0] in trace.grads:
        above = trace.grads[following.outputs[0]]
        a = following.outputs[0]
        yield f"{what}is computed from ∂C/∂{a} in place of ∂C/∂{out}: the slope of the layer above is missing.", then(above @ W)
    for o in range(min(W.shape[0], 64) if W.shape[0] > 1 else 0):
        term = up[..., o : o + 1] * W[o]
        yield f"{what}lacks the term of unit {o + 1}: w·∂C/∂{out}[{o + 1}] must be added too.", then(up @ W - term)
        yield f"{what}is the term of unit {o + 1} alone: the sum goes over every unit that is fed.", then(term)
    yield (
        f"{what}lacks the weights: it is the sum of ∂C/∂{out}, each times 1.",
        then(np.broadcast_to(up.sum(-1, keepdims=True), (*up.shape[:-1], W.shape[1]))),
    )
    yield f"{what}has the absolute values of {letter}.", then(up @ np.abs(W))


# Parameters -----------------------------------------------------------------------------------------------------------


def _parameter(at: _At) -> Iterator[Guess]:
    trace, program = at.trace, at.trace.program
    node = program.learned[at.of]
    if not isinstance(node.layer, Linear):
        return
    out, source = node.outputs[0], node.inputs[0]
    up, x = _rows(_arrived(trace, out)), _rows(trace.values[source])
    following = next((program.nodes[i] for i, _ in program.uses(out)), None)
    above = following.outputs[0] if following is not None and isinstance(following.layer, Elementwise) else None
    behind = _rows(trace.grads[above]) if above is not None and above in trace.grads else None
    if at.of.endswith("bias"):
        if behind is not None:
            yield (
                f"{at.key} is the sum of ∂C/∂{above}, not of ∂C/∂{out}: the slope of the activation is missing.",
                behind.sum(0),
            )
        yield from _samples(at, [up[n] for n in range(len(up))])
        yield (
            f"{at.key} is multiplied by the input, as a weight's gradient is; a bias has the input 1.",
            (up * x.sum(1)[:, None]).sum(0),
        )
        return
    yield f"{at.key} is the transpose: it must have the shape of the weights.", (up.T @ x).T
    if behind is not None:
        yield f"{at.key} is made of ∂C/∂{above} in place of ∂C/∂{out}: the slope of the activation is missing.", behind.T @ x
    for name in _others(at, trace.values[source]):
        yield f"{at.key} is made of {name} in place of {source}, the layer's input.", up.T @ _rows(trace.values[name])
    yield f"{at.key} is the input alone: it is not multiplied by ∂C/∂{out}.", np.ones_like(up).T @ x
    yield f"{at.key} is ∂C/∂{out} alone: it is not multiplied by the input {source}.", up.T @ np.ones_like(x)
    yield from _samples(at, [np.outer(up[n], x[n]) for n in range(len(up))])


def _samples(at: _At, terms: list[Array]) -> Iterator[Guess]:
    """Sums over the batch that lost some of it."""
    if not 1 < len(terms) <= 64:
        return
    for n, term in enumerate(terms):
        yield f"{at.key} is that of sample {n + 1} alone: the gradients of all samples must be added up.", term
        yield f"{at.key} lacks sample {n + 1}.", at.right - term


def _step(at: _At) -> Iterator[Guess]:
    yield from _stepped(at, at.trace.state[at.of], at.trace.params[at.of])


def _vector(at: _At) -> Iterator[Guess]:
    """θ¹ or ∇L: a wrong step, or the right numbers in another order than θ's."""
    trace = at.trace
    found = [a for a in (trace.after, trace.params, trace.state) if np.array_equal(trace.vector(a), at.right, equal_nan=True)]
    if not found:
        return
    if found[0] is trace.after:
        yield from _stepped(at, trace.vector(trace.state), trace.vector(trace.params))
    parts = [np.asarray(found[0][n]) for n in trace.program.learned if n in found[0]]
    for words, ordered in (
        ("has each matrix column by column; θ is row by row", [a.T for a in parts]),
        ("begins with the last layer's; θ begins with the first's", parts[::-1]),
        ("has all biases before all weights; θ goes layer by layer", sorted(parts, key=lambda a: a.ndim)),
        ("has all weights before all biases; θ goes layer by layer", sorted(parts, key=lambda a: -a.ndim)),
    ):
        yield f"{at.key} {words}.", np.concatenate([a.ravel() for a in ordered]) if parts else None


def _stepped(at: _At, before: Array, grad: Array) -> Iterator[Guess]:
    lr = at.trace.lr
    yield f"{at.key} goes along the gradient, uphill: θ¹ = θ⁰ − η∇L, with a minus.", before + lr * grad
    yield f"{at.key} is a step of η = 1: the gradient is not multiplied by η = {lr:g}.", before - grad
    yield f"{at.key} is the parameter before the step.", before
    yield f"{at.key} is the step itself, −η∇L: it is not added to θ⁰.", -lr * grad
    yield f"{at.key} is divided by η, not multiplied.", before - grad / lr if lr else None
    yield f"{at.key} is two steps.", before - 2 * lr * grad


# ----------------------------------------------------------------------------------------------------------------------


def _held(at: _At, node: Node, own: str) -> Array:
    return at.trace.state[f"{node.prefix}{own}"]


def _arrived(trace: Trace, name: str) -> Array:
    """A value's gradient; zeros where nothing sends one."""
    return trace.grads.get(name, np.zeros_like(trace.values[name]))


def _rows(a: Array) -> Array:
    return a.reshape(-1, a.shape[-1])


def _others(at: _At, x: Array) -> list[str]:
    """Other values of the same shape, that could be meant for this one."""
    values = at.trace.values
    return [n for n, v in values.items() if v.shape == x.shape and v is not x and n != at.trace.program.output]


def layerwise(quantity: Quantity, mine: Array, trace: Trace, close: float = 0.0) -> str | None:
    """The oracle's explainer, for one layer: what a mutant of its backward, or a wrong shape or scale, would give."""
    if close:
        return None  # it takes numbers with all their digits
    try:
        from refbp.oracle.diagnose import ASIDE, diagnose
        from refbp.oracle.observation import Observation
    except ImportError:
        return None
    program = trace.program
    if quantity.kind == "parameter gradient":
        node = program.learned[quantity.of]
        name = node.parameters[quantity.of]
    elif quantity.kind == "gradient" and len(program.uses(quantity.of)) == 1:
        i, place = program.uses(quantity.of)[0]
        node = program.nodes[i]
        name = list(node.layer.inputs())[place]
    else:
        return None
    if any(n not in trace.grads for n in node.outputs):
        return None
    observation = Observation(
        node.layer,
        {own: trace.state[n] for n, own in node.entries.items()},
        tuple(trace.values[n] for n in node.inputs),
        tuple(trace.grads[n] for n in node.outputs),
        {name: mine},
        {name: quantity.array},
    )
    try:
        found = diagnose([observation], {name: quantity.key}, seconds=5.0)
    except Exception:  # an explanation is a courtesy: where it fails, the difference is still reported
        return None
    # of one case only what is wrong can be told, and not when: nothing is said that one case does not prove
    return next((f.sentence for f in found if f.confidence >= LIKELY and f.kind not in ASIDE), None)


EXPLAINERS: tuple[Explainer, ...] = (usual, layerwise)
