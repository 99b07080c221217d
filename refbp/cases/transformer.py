"""Cases of the transformer's layers; their noise is read off torch's dropout, in the order in which torch draws it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refbp.cases.attention import CAUSAL, NO_MASK_GRADIENT, PER_HEAD, causal_booleans, causal_numbers, some_blocked
from refbp.draws import exactly, mask, normal
from refbp.hookspecs import hookimpl
from refbp.layers.activation import PReLU, SiLU, Softplus, Tanh
from refbp.layers.transformer import TransformerDecoderLayer, TransformerEncoderLayer
from refbp.spec import Case, Spec, Waiver


def call(module: Any, *inputs: Any, **options: Any) -> Any:
    """The twin's call, without torch's fast path for inference: where only a mask requires a gradient, it has none."""
    import torch

    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return module(*inputs, **options)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def arguments(layer: Any) -> dict[str, Any]:
    """The twin's arguments; an activation that is a layer becomes its twin.

    torch's decoder layer forgets an activation that is a module when it is copied, and takes relu instead. So here it gets
    a function; only Tanh stays a module, to show the defect.
    """
    from refbp.conformance import twin

    given = {n: v for n, v in layer.given().items() if n != "training"}
    activation = layer.activation
    if not isinstance(activation, str):
        module = twin.of(activation)
        keeps = isinstance(layer, TransformerEncoderLayer) or isinstance(activation, Tanh)
        given["activation"] = module if keeps else module.forward
    return given


def moved(layer: Any, shapes: Sequence[tuple[int, ...]]) -> list[bool]:
    """Which masks of one or more layers lie in memory with their first axes exchanged: with batch_first, those of what
    comes out of attention. Dropout draws in the order of the memory.
    """
    each = 2 * len(layer.attentions) + 2
    return [layer.batch_first and len(s) == 3 and i % each in (1, 3)[: len(layer.attentions)] for i, s in enumerate(shapes)]


def drawn(probe: Any, p: float, shapes: Sequence[tuple[int, ...]], flips: Sequence[bool]) -> list[Any]:
    """What torch's dropout keeps, in these shapes."""
    laid = [(s[1], s[0], s[2]) if flip else s for s, flip in zip(shapes, flips, strict=True)]
    return [a.swapaxes(0, 1) if flip else a for a, flip in zip(probe.dropout(*laid, p=p), flips, strict=True)]


def noise(layer: Any, probe: Any, *inputs: Any) -> tuple[Any, ...]:
    """The noise of a layer or a stack of layers, after all masks, given or not."""
    one = getattr(layer, "layer", layer)
    shapes = layer.kept(*(x.shape for x in inputs[: len(one.attentions)]))
    missing = [None] * (layer.fixed - len(inputs))
    return (*missing, *drawn(probe, one.dropout, shapes, moved(one, shapes))) if shapes else ()


def _twin(layer: Any) -> Any:
    import torch

    return getattr(torch.nn, type(layer).__name__)(**arguments(layer))


def float_mask_alone(case: Case) -> bool:
    """Whether a mask of numbers is all there is to be added to the scores, and torch is not told that it is causal."""
    names = list(case.layer.inputs())
    given = {n: d for n, d in zip(names, case.draws, strict=False) if d is not None and "mask" in n}
    numbers = [n for n, d in given.items() if d(np.random.default_rng(0)).dtype.kind == "f"]
    found = any(case.options.values()) or case.id == "causal-found"
    return bool(numbers) and not found and not any("padding" in n for n in given)


EMPTY = Waiver("batch-of-zero", NO_MASK_GRADIENT, when=float_mask_alone)


def _encoder() -> Iterator[Case]:
    layer, plain = TransformerEncoderLayer, TransformerEncoderLayer(6, 2, 5, 0.0)
    first = layer(6, 3, 7, 0.0, "gelu", layer_norm_eps=0.03, batch_first=True, norm_first=True)
    src, batch, one = normal(5, 2, 6), normal(2, 5, 6), normal(5, 6)
    yield Case(plain, src, id="plain")
    yield Case(first, batch, id="norm-first")
    yield Case(layer(6, 2, 5, 0.0, "gelu", bias=False), src, mask(5, 5), id="no-bias-mask")
    yield Case(layer(6, 2, 5, 0.0, SiLU(), batch_first=True), batch, None, mask(2, 5), id="layer-padding")
    yield Case(layer(9, 3, 5, 0.0, PReLU(), norm_first=True), normal(5, 2, 9), id="learned-activation")
    yield Case(plain, one, mask(5, 5), mask(5), id="one-sample")
    yield Case(first, batch, some_blocked(5, 5), normal(2, 5), id="numbers")
    yield Case(plain, src, normal(4, 5, 5), mask(2, 5), id="numbers-per-head")
    yield Case(plain, src, causal_numbers(5, 5), options={"is_causal": True}, id="causal")
    yield Case(plain, src, causal_booleans(5, 5), some_blocked(2, 5), options={"is_causal": True}, id="causal-padding")
    yield Case(layer(6, 2, 5, 0.3), src, id="dropout")
    yield Case(layer(6, 3, 7, batch_first=True, norm_first=True), batch, mask(5, 5), id="dropout-norm-first")
    yield Case(layer(6, 2, 5, 0.7, batch_first=True), batch, id="dropout-batch-first")
    yield Case(layer(6, 2, 5, 0.3), one, None, normal(5), id="dropout-one-sample")
    yield Case(layer(6, 2, 5, 0.3, batch_first=True, training=False), batch, normal(5, 5), id="evaluation")
    nowhere = exactly([[False, True, False], [True, True, True]])
    yield Case(plain, normal(3, 2, 6), None, nowhere, id="nowhere")


def _decoder() -> Iterator[Case]:
    layer, plain = TransformerDecoderLayer, TransformerDecoderLayer(6, 2, 5, 0.0)
    first = layer(6, 3, 7, 0.0, "gelu", layer_norm_eps=0.03, batch_first=True, norm_first=True)
    both, square, one = (normal(3, 2, 6), normal(5, 2, 6)), (normal(5, 2, 6), normal(5, 2, 6)), (normal(3, 6), normal(5, 6))
    batch = normal(2, 3, 6), normal(2, 5, 6)
    yield Case(plain, *both, id="plain")
    yield Case(first, *batch, id="norm-first")
    yield Case(layer(6, 2, 5, 0.0, bias=False), *both, mask(3, 3), mask(3, 5), id="no-bias-masks")
    yield Case(layer(6, 2, 5, 0.0, Softplus()), *both, None, None, mask(2, 3), mask(2, 5), id="layer-padding")
    yield Case(layer(6, 2, 5, 0.0, Tanh(), norm_first=True), *both, id="module")
    yield Case(plain, *one, None, normal(3, 5), mask(3), normal(5), id="one-sample")
    yield Case(first, *batch, normal(3, 3), some_blocked(6, 3, 5), normal(2, 3), normal(2, 5), id="numbers")
    yield Case(plain, *both, causal_numbers(3, 3), options={"tgt_is_causal": True}, id="causal")
    hints = {"tgt_is_causal": True, "memory_is_causal": True}
    yield Case(plain, *square, causal_booleans(5, 5), causal_numbers(5, 5), None, normal(2, 5), options=hints, id="causal-both")
    yield Case(layer(9, 3, 5, 0.3), normal(3, 2, 9), normal(5, 2, 9), id="dropout")
    dropped = layer(6, 3, 7, batch_first=True, norm_first=True)
    yield Case(dropped, *batch, mask(3, 3), None, None, mask(2, 5), id="dropout-batch-first")
    yield Case(layer(6, 2, 5, 0.7, training=False), *both, normal(3, 3), id="evaluation")


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """TransformerEncoderLayer, TransformerDecoderLayer."""
    common: dict[str, Any] = {"twin": _twin, "call": call, "noise": noise, "exempt": [PER_HEAD]}
    yield Spec(TransformerEncoderLayer, list(_encoder()), **common, waivers=[CAUSAL, EMPTY])
    forgets = [
        Waiver(check, "a copied decoder layer of torch has relu where it had a module", when=lambda case: case.id == "module")
        for check in ("outputs", "gradients", "modes", "batch-of-one", "nonfinite")
    ]
    yield Spec(TransformerDecoderLayer, list(_decoder()), **common, waivers=[CAUSAL, EMPTY, *forgets])
