"""What goes wrong in one link of a chain of layers: each mistake is recognised by the gradients that it gives, all the way."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from refbp import BCELoss, Linear, Sequential, Sigmoid, Tanh
from refbp.courses._composites import Scored
from refbp.oracle.diagnose import Observation, diagnose
from refbp.oracle.families import _own, chain, terms


def observed(layer, samples, got=None, upstream=None):
    rng = np.random.default_rng(samples)
    state = {n: a + 0.3 * rng.standard_normal(a.shape) for n, a in layer.init(rng).items()}
    inputs = (rng.normal(size=(samples, 3)),)
    scored = isinstance(layer, Scored)
    if scored:
        inputs = (*inputs, rng.integers(0, 2, (samples, 2)).astype(float))
    step = layer(state, *inputs)
    dy = (np.zeros((samples, 2)), np.asarray(1.7)) if scored else (rng.normal(size=(samples, 2)),)
    grads = step.backward(*dy)
    expected = {n: g for n, g in zip(layer.inputs(), grads.inputs, strict=True) if g is not None} | grads.params
    return Observation(layer, state, inputs, dy, expected if got is None else got, expected)


BODY = Sequential(Linear(3, 4), Tanh(), Linear(4, 5), Tanh(), Linear(5, 2), Sigmoid())
LAYERS = {"chain": BODY, "scored": Scored(BODY, BCELoss(reduction="sum"), 0.7)}


@cache
def mistakes(name):
    return list(chain.mistakes(observed(LAYERS[name], 5), _own, terms))


@pytest.mark.parametrize("name", LAYERS)
def test_a_right_chain_is_not_explained(name):
    assert not diagnose([observed(LAYERS[name], n) for n in (5, 3, 2)])


@pytest.mark.parametrize("name", LAYERS)
def test_every_mistake_of_a_chain_is_named(name):
    assert len(mistakes(name)) > 20
    for mistake in mistakes(name)[:: 1 if name == "chain" else 3]:
        seen = [observed(LAYERS[name], n) for n in (5, 3, 2)]
        wrong = [observed(LAYERS[name], o.x.shape[0], o.expected | dict(mistake.gradients(o))) for o in seen]
        found = diagnose(wrong, seconds=60.0)
        same = [m.words for m in mistakes(name) if _alike(m, mistake, seen)]
        assert found, mistake.words
        assert any(w in f.sentence for w in same for f in found) or found[0].confidence > 0.9, (mistake.words, found)


def _alike(a, b, seen):
    def gradients(m, o):
        return o.expected | dict(m.gradients(o))

    return all(np.allclose(gradients(a, o)[n], gradients(b, o)[n]) for o in seen for n in o.wrong or o.expected)


def test_a_regularisers_share_is_a_term_of_its_own():
    o = observed(LAYERS["scored"], 5)
    for name, parts in chain.shares(o).items():
        np.testing.assert_allclose(sum(parts.values()), o.expected[name], rtol=1e-12)
        np.testing.assert_allclose(parts["λ W"], 1.7 * 0.7 / 5 * o.state[name], rtol=1e-12)
    assert set(chain.shares(o)) == {"0.weight", "2.weight", "4.weight"}
    assert not chain.shares(observed(LAYERS["chain"], 5))
