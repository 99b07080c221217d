"""Noise, recovered: what a random layer's twin drew, read off other runs under the same seed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refbp.conformance import twin
from refbp.conformance.recording import Recording, Seen, array
from refbp.contract import Layer
from refbp.layers.container import noise_of
from refbp.spec import Spec

Array = NDArray[Any]


class Probe:
    """How a layer's noise is read off its twin: the same seed, other inputs. A seed is a number, or torch's random state."""

    def __init__(
        self,
        module: torch.nn.Module,
        layer: Layer[Any],
        spec: Spec,
        seed: int | torch.Tensor,
        options: Mapping[str, Any],
    ) -> None:
        self._module, self._layer = module, layer
        self._spec, self._seed, self._options = spec, seed, options

    def __call__(self, *inputs: Array) -> Array:
        """The twin's first output for other inputs, under the seed of the run that is checked."""
        module = twin.in_mode(copy.deepcopy(self._module), self._layer)
        twin.seed(self._seed)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return twin.call(self._spec, module, [twin.tensor(a) for a in inputs], self._options)[0].numpy()

    def of_parts(self, *inputs: Array) -> tuple[Array | None, ...]:
        """The noise of every part of a network, in order, under the seed of the run that is checked."""
        module = copy.deepcopy(self._module)
        with Recording(self._layer, module) as recording, torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin.seed(self._seed)
            twin.call(self._spec, module, [twin.tensor(a) for a in inputs], self._options)
        return noise_of_parts(recording)

    @property
    def options(self) -> Mapping[str, Any]:
        """The case's options, which forward is given too."""
        return self._options

    def dropout(self, *shapes: Sequence[int], p: float) -> list[Array]:
        """The masks that torch's dropout draws, one after the other, under the seed of the run that is checked."""
        twin.seed(self._seed)
        return [torch.nn.functional.dropout(torch.ones(*s, dtype=torch.float64), p).numpy() != 0 for s in shapes]

    def uniform(self, *shape: int) -> Array:
        """What torch.rand draws first in float64, under the seed of the run that is checked."""
        twin.seed(self._seed)
        return torch.rand(*shape, dtype=torch.float64).numpy()

    def gumbel(self, shape: Sequence[int]) -> Array:
        """The noise −log E, E exponential, that torch's gumbel_softmax draws under the seed of the run that is checked."""
        twin.seed(self._seed)
        return -torch.empty(*shape, dtype=torch.float64).exponential_().log().numpy()


def noise_of_part(seen: Seen) -> tuple[Array | None, ...]:
    """The noise that a part's pass drew, recovered from torch's random state before it."""
    recover = seen.spec.noise
    if recover is None or seen.random is None:
        return ()
    probe = Probe(seen.module, seen.layer, seen.spec, seen.random, {})
    kept = torch.get_rng_state()
    arrays = recover(seen.layer, probe, *(array(t) for t in seen.inputs))
    torch.set_rng_state(kept)
    dtype = next((t.detach().numpy().dtype for t in seen.outputs if t.is_floating_point()), np.dtype(np.float64))
    return tuple(a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in arrays)


def noise_of_parts(recording: Recording) -> tuple[Array, ...]:
    """The noise of a whole network, in the order of its inputs."""
    found: list[Array] = []
    for seen in recording.seen.values():
        if count := len(noise_of(seen.layer)):
            found += [np.asarray(a) for a in noise_of_part(seen)[-count:]]
    return tuple(found)
