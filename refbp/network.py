"""Networks, in the words of the theory: θ, the total loss L(θ) = Σₙ Cⁿ(θ), its gradient ∇L, and ∂Cⁿ/∂θ for each n.

θ = {w₁, w₂, …, b₁, b₂, …} is one vector: every parameter of a state, flattened, in the order of torch's
``parameters()``. Gradient descent is then θᵗ⁺¹ = θᵗ − η ∇L(θᵗ); :mod:`refbp.optim` has the steps that are used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from refbp.contract import Array, Grads, Layer, State
from refbp.errors import ArgumentError, ShapeError, StateError


class Gradient(NamedTuple):
    """A loss and its gradient: the value, the gradients by parameter name, the network's output, buffer updates."""

    loss: Array
    grads: dict[str, Array]
    output: Array
    updates: Mapping[str, Array]


def _parameters(state: Mapping[str, Array], layer: Layer[Any] | None = None) -> dict[str, Array]:
    if layer is not None:
        names = layer.params()
        if missing := [n for n in names if n not in state]:
            raise StateError(f"theta: state lacks {missing[0]}, a parameter of {layer!r}.")
        return {n: state[n] for n in names}
    if isinstance(state, State):
        return state.parameters
    raise StateError(
        f"theta: state is a {type(state).__name__}, which does not say which entries are buffers; wanted a State"
        f" (layer.init(rng) makes one), or the layer as a second argument: theta(state, layer)."
    )


def theta(state: Mapping[str, Array], layer: Layer[Any] | None = None) -> Array:
    """The parameters as one vector (P,), named and ordered as torch's ``parameters()``; buffers are not in it.

    A plain mapping does not say which of its entries are buffers: then ``layer`` does.
    """
    parts = [np.ravel(a) for a in _parameters(state, layer).values()]
    return np.concatenate(parts) if parts else np.zeros(0)


def from_theta(vector: Array, like: State) -> State:
    """A state with the parameters of the vector (P,) and the buffers of ``like``: the inverse of :func:`theta`."""
    parameters = like.parameters
    wanted = sum(a.size for a in parameters.values())
    if np.shape(vector) != (wanted,):
        raise ShapeError(f"from_theta: vector has shape {np.shape(vector)}; wanted ({wanted},), the parameters of the state.")
    entries, at = {}, 0
    for name, a in parameters.items():
        entries[name] = np.array(vector[at : at + a.size], a.dtype).reshape(a.shape)
        at += a.size
    return like.updated(entries)


def grad_vector(grads: Mapping[str, Array] | Grads, state: State) -> Array:
    """∇L as one vector (P,), in θ's order; a parameter without a gradient contributes zeros."""
    given = grads.params if isinstance(grads, Grads) else grads
    parameters = state.parameters
    if extra := [n for n in given if n not in parameters]:
        raise StateError(f"grad_vector: there is a gradient of {extra[0]}, which is no parameter of the state.")
    parts = [np.ravel(given[n]) if n in given else np.zeros(a.size, a.dtype) for n, a in parameters.items()]
    return np.concatenate(parts) if parts else np.zeros(0)


def total_loss(net: Layer[Any], loss: Layer[Any], state: Mapping[str, Array], x: Array, target: Array) -> Array:
    """L(θ): the loss of the network's output for inputs x and targets, reduced as the loss reduces."""
    y = net(state, x).outputs
    return np.asarray(loss(_loss_state(loss), _single(net, y), target).outputs)


def gradient(net: Layer[Any], loss: Layer[Any], state: Mapping[str, Array], x: Array, target: Array, *noise: Array) -> Gradient:
    """L(θ) and ∇L(θ): forward through the network and the loss, then backward through both.

    ``loss`` must reduce to one number (reduction "mean" or "sum"). ``noise`` goes to the network, where it needs some.
    """
    step = net(state, x, *noise)
    cost = loss(_loss_state(loss), _single(net, step.outputs), target)
    value = np.asarray(cost.outputs)
    if value.shape != ():
        raise ArgumentError(f"gradient: {loss!r} returns {value.shape} losses; wanted one number: reduction='mean' or 'sum'.")
    dy = cost.backward(np.ones((), value.dtype)).inputs[0]  # dL/dL = 1: the loss is what is differentiated
    grads = step.backward(dy)
    return Gradient(value, grads.params, np.asarray(step.outputs), step.updates)


def evaluation(net: Layer[Any]) -> Layer[Any]:
    """The network as it is used once it has learned: every part that has two behaviours, at any depth, with training=False."""
    made: Callable[..., Layer[Any]] = type(net)
    if uses := getattr(net, "uses", ()):  # a Graph
        said = [f"{', '.join(u.outputs)} = {evaluation(u.layer)!r}({', '.join(u.inputs)})" for u in uses]
        return made("; ".join(said)) if any(evaluation(u.layer) != u.layer for u in uses) else net
    if hasattr(net, "parts"):  # a Sequential
        return made({name: evaluation(part) for name, part in net.parts})
    fields = {f.name: getattr(net, f.name) for f in dataclasses.fields(net)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {n: evaluation(v) for n, v in fields.items() if isinstance(v, Layer)}
    changes |= {"training": False} if "training" in fields else {}
    return dataclasses.replace(net, **changes) if changes else net  # type: ignore[type-var]  # every layer is a dataclass


def per_sample_gradients(net: Layer[Any], loss: Layer[Any], state: State, x: Array, target: Array, *noise: Array) -> Array:
    """∂Cⁿ/∂θ for every sample n: a matrix (N, P) whose rows sum to the gradient of Σₙ Cⁿ.

    Each row is the gradient of one sample alone, so a network that couples its samples (batch normalisation in
    training) has none: that is an error, for the rows would be those of another function.
    """
    if coupled := _coupling(net):
        raise ArgumentError(
            f"per_sample_gradients: {coupled!r} computes with statistics of the whole batch, so no sample has a loss"
            f" of its own; wanted a network without it, or with training=False."
        )
    if len(x) != len(target):
        raise ShapeError(f"per_sample_gradients: x has {len(x)} samples and target {len(target)}; wanted as many.")
    rows = []
    for n in range(len(x)):
        alone = [np.take(a, [n], 0) for a in noise]
        rows.append(grad_vector(gradient(net, loss, state, x[n : n + 1], target[n : n + 1], *alone).grads, state))
    return np.stack(rows) if rows else np.zeros((0, theta(state).size))


def _coupling(net: Layer[Any]) -> Layer[Any] | None:
    """The first layer, at any depth, that uses the batch's own statistics."""
    parts: tuple[tuple[str, Layer[Any]], ...] = getattr(net, "parts", ())
    if parts:
        return next(filter(None, (_coupling(part) for _, part in parts)), None)
    name = type(net).__name__
    from_batch = getattr(net, "training", False) or not getattr(net, "track_running_stats", True)
    return net if "BatchNorm" in name and from_batch else None


def _single(net: Layer[Any], outputs: Any) -> Array:
    if isinstance(outputs, tuple):
        raise ArgumentError(f"{net!r} has {len(outputs)} outputs; wanted one, the prediction.")
    return np.asarray(outputs)


def _loss_state(loss: Layer[Any]) -> State:
    """A loss's state is the weights that it was constructed with."""
    return loss.init(np.random.default_rng(0))
