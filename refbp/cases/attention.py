"""Cases of attention; the mask of the dropped weights is read off torch's dropout under the same seed."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refbp.draws import Draw, constant, exactly, mask, normal, special
from refbp.hookspecs import hookimpl
from refbp.layers.attention import ScaledDotProductAttention, additive, causal
from refbp.layers.multihead_attention import MultiheadAttention
from refbp.spec import Case, Convention, Exempt, Spec, Waiver


def causal_booleans(length: int, keys: int) -> Draw:
    """The causal mask, True above the diagonal."""
    return special(f"causal_booleans({length}, {keys})", (length, keys), lambda _: causal(length, keys))


def causal_numbers(length: int, keys: int) -> Draw:
    """The same as numbers to be added: −∞ above the diagonal, else 0."""
    return special(f"causal_numbers({length}, {keys})", (length, keys), lambda _: additive(causal(length, keys), float))


def some_blocked(*shape: int) -> Draw:
    """Numbers to be added to the scores, a few of them −∞, never a whole row."""

    def make(rng: np.random.Generator) -> Any:
        m = rng.normal(size=shape)
        m[..., 1:][rng.random((*shape[:-1], shape[-1] - 1)) < 0.3] = -np.inf
        return m

    return special(f"some_blocked{shape}", shape, make)


def inputs(length: int, keys: int, *lead: int, features: int = 6, key: int = 0, value: int = 0) -> tuple[Draw, Draw, Draw]:
    """A query, a key and a value; as the time comes first in MultiheadAttention, ``lead`` stands between time and features."""
    return normal(length, *lead, features), normal(keys, *lead, key or features), normal(keys, *lead, value or features)


# ScaledDotProductAttention --------------------------------------------------------------------------------------------


def _function(layer: Any) -> Any:
    """The torch function as a module; in evaluation nothing is dropped, as its documentation asks of the caller."""
    import torch

    class Attention(torch.nn.Module):
        def forward(self, query: Any, key: Any, value: Any, attn_mask: Any = None) -> Any:
            options = {"is_causal": layer.is_causal, "scale": layer.scale, "enable_gqa": layer.enable_gqa}
            p = layer.dropout_p if self.training else 0.0
            return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask, p, **options)

    return Attention()


def _function_noise(layer: Any, probe: Any, query: Any, key: Any, *rest: Any) -> tuple[Any, ...]:
    if layer.dropout_p == 0:
        return ()
    missing = [None] * (2 - len(rest))
    return (*missing, *probe.dropout((*query.shape[:-1], key.shape[-2]), p=layer.dropout_p))


def _functions() -> Iterator[Case]:
    plain, causal_ones = ScaledDotProductAttention(), ScaledDotProductAttention(is_causal=True)
    qkv = normal(2, 3, 5, 7), normal(2, 3, 11, 7), normal(2, 3, 11, 2)
    yield Case(plain, *qkv, id="heads")
    yield Case(plain, normal(3, 5, 2), normal(3, 7, 2), normal(3, 7, 2), id="batch")
    yield Case(plain, normal(5, 3), normal(7, 3), normal(7, 2), id="one-sample")
    yield Case(plain, constant(0.7, 2, 1, 3), normal(2, 1, 3), normal(2, 1, 3), id="one-key")
    yield Case(plain, normal(2, 3, 2, 5, 2), normal(2, 3, 2, 3, 2), normal(2, 3, 2, 3, 7), id="five-axes")
    yield Case(plain, normal(2, 3, 5, 2), normal(2, 1, 7, 2), normal(2, 1, 7, 2), id="one-key-head")
    yield Case(plain, normal(2, 3, 5, 2), normal(3, 7, 2), normal(1, 1, 7, 2), id="keys-for-all")
    yield Case(plain, constant(0.0, 2, 3, 2), constant(0.0, 2, 3, 2), exactly([[[1.0, 2.0]] * 3] * 2), id="all-alike")
    yield Case(plain, constant(0.0, 2, 3, 0), constant(0.0, 2, 5, 0), normal(2, 5, 3), id="no-features")
    # masks
    yield Case(plain, *qkv, mask(5, 11, p=0.7), id="booleans")
    yield Case(plain, *qkv, mask(2, 1, 1, 11, p=0.7), id="booleans-per-sample")
    yield Case(plain, *qkv, some_blocked(5, 11), id="numbers")
    yield Case(plain, *qkv, normal(2, 3, 5, 11), id="numbers-everywhere")
    yield Case(plain, *qkv, normal(2, 1, 1, 11), id="numbers-per-sample")
    yield Case(plain, *qkv, normal(3, 1, 11), id="numbers-per-head")
    nowhere = exactly([[True, False, True], [False, False, False], [True, True, True]])
    yield Case(plain, normal(3, 2), normal(3, 2), normal(3, 2), nowhere, id="nowhere")
    yield Case(causal_ones, normal(3, 5, 2), normal(3, 5, 2), normal(3, 5, 2), id="causal")
    yield Case(causal_ones, normal(7, 2), normal(3, 2), normal(3, 5), id="causal-tall")
    yield Case(ScaledDotProductAttention(is_causal=True, scale=0.3), *qkv, id="causal-wide")
    # options
    yield Case(ScaledDotProductAttention(scale=1.7), *qkv, id="scale")
    yield Case(ScaledDotProductAttention(scale=-0.3), *qkv, normal(5, 11), id="negative-scale")
    grouped = normal(2, 6, 5, 7), normal(2, 2, 3, 7), normal(2, 2, 3, 5)
    one = normal(6, 5, 2), normal(3, 7, 2), normal(1, 7, 2)
    yield Case(ScaledDotProductAttention(enable_gqa=True), *grouped, id="groups")
    yield Case(ScaledDotProductAttention(enable_gqa=True, is_causal=True, scale=0.3), *grouped, id="groups-causal")
    yield Case(ScaledDotProductAttention(enable_gqa=True), *one, normal(5, 7), id="groups-one-sample")
    yield Case(ScaledDotProductAttention(0.3), *qkv, id="dropout")
    yield Case(ScaledDotProductAttention(0.3, enable_gqa=True), *grouped, some_blocked(5, 3), id="dropout-groups")
    yield Case(ScaledDotProductAttention(0.7, is_causal=True), normal(5, 3), normal(7, 3), normal(7, 2), id="dropout-causal")
    yield Case(ScaledDotProductAttention(0.3, training=False), *qkv, id="evaluation")
    yield Case(ScaledDotProductAttention(1.0), *qkv, id="dropout-of-all")


# MultiheadAttention ---------------------------------------------------------------------------------------------------


def _call(module: Any, query: Any, key: Any, value: Any, padding: Any = None, attn_mask: Any = None, **options: Any) -> Any:
    """The twin's call: between its two masks torch has an option."""
    return module(query, key, value, key_padding_mask=padding, attn_mask=attn_mask, **options)


def _noise(layer: Any, probe: Any, query: Any, key: Any, *rest: Any) -> tuple[Any, ...]:
    if layer.dropout == 0:
        return ()
    missing = [None] * (3 - len(rest))
    return (*missing, *probe.dropout(layer.scores(query.shape, key.shape), p=layer.dropout))


SHORT, EACH, HINT = {"need_weights": False}, {"average_attn_weights": False}, {"is_causal": True}


def _multihead() -> Iterator[Case]:
    plain, three, first = MultiheadAttention(6, 2), MultiheadAttention(6, 3), MultiheadAttention(6, 2, batch_first=True)
    qkv, one, square = inputs(5, 7, 2), inputs(5, 7), inputs(5, 5, 2)
    yield Case(plain, *qkv, id="plain")
    yield Case(plain, *qkv, options=SHORT, id="no-weights")
    yield Case(three, *qkv, options=EACH, id="weights-of-each-head")
    yield Case(MultiheadAttention(5, 1, bias=False), *inputs(3, 2, 2, features=5), id="one-head-no-bias")
    yield Case(MultiheadAttention(3, 3), *inputs(5, 7, 2, features=3), options=EACH, id="one-feature-heads")
    yield Case(first, normal(2, 5, 6), normal(2, 7, 6), normal(2, 7, 6), id="batch-first")
    yield Case(MultiheadAttention(6, 2, kdim=3, vdim=5), *inputs(5, 7, 2, key=3, value=5), id="sizes")
    yield Case(MultiheadAttention(6, 3, bias=False, vdim=5), *inputs(5, 7, 2, value=5), options=SHORT, id="value-size-no-bias")
    yield Case(MultiheadAttention(6, 2, kdim=6, vdim=6), *qkv, id="sizes-alike")
    # one sample
    yield Case(plain, *one, id="one-sample")
    yield Case(three, *one, normal(7), normal(3, 5, 7), options=EACH, id="one-sample-masks")
    yield Case(three, *one, mask(7), options=SHORT, id="one-sample-padding")
    # masks
    yield Case(plain, *qkv, mask(2, 7), id="padding")
    yield Case(plain, *qkv, mask(2, 7), mask(5, 7), options=SHORT, id="padding-and-mask")
    yield Case(plain, *qkv, None, mask(5, 7), options=EACH, id="mask")
    yield Case(plain, *qkv, None, mask(4, 5, 7), id="mask-per-head")
    yield Case(plain, *qkv, some_blocked(2, 7), options=SHORT, id="numbers-padding")
    yield Case(plain, *qkv, normal(2, 7), some_blocked(5, 7), id="numbers-both")
    yield Case(three, *qkv, None, normal(6, 5, 7), options=SHORT, id="numbers-per-head")
    yield Case(plain, *qkv, mask(2, 7), normal(5, 7), options=SHORT, id="booleans-and-numbers")
    # a hint
    yield Case(plain, *square, None, causal_booleans(5, 5), options=HINT | SHORT, id="causal")
    yield Case(plain, *square, None, causal_numbers(5, 5), options=HINT | SHORT, id="causal-numbers")
    yield Case(plain, *square, None, causal_numbers(5, 5), options=HINT, id="causal-with-weights")
    yield Case(plain, *square, normal(2, 5), causal_numbers(5, 5), options=HINT | SHORT, id="causal-and-padding")
    yield Case(plain, *qkv, None, causal_booleans(5, 7), options=HINT | SHORT, id="causal-wide")


def _with_added_keys() -> Iterator[Case]:
    qkv, one, square = inputs(5, 7, 2), inputs(5, 7), inputs(5, 5, 2)
    learned, both = MultiheadAttention(6, 2, add_bias_kv=True), MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True)
    yield Case(learned, *qkv, options=EACH, id="learned-key")
    yield Case(MultiheadAttention(6, 3, add_zero_attn=True), *qkv, options=SHORT, id="zero-key")
    yield Case(both, *qkv, normal(2, 7), normal(4, 5, 7), id="both-keys-masks")
    yield Case(both, *one, None, mask(5, 7), id="both-keys-one-sample")
    wide = MultiheadAttention(6, 2, bias=False, add_bias_kv=True, kdim=3, batch_first=True)
    yield Case(wide, normal(2, 5, 6), normal(2, 7, 3), normal(2, 7, 6), mask(2, 7), options=SHORT, id="learned-key-batch-first")
    yield Case(learned, *square, None, causal_booleans(5, 5), options=HINT | SHORT, id="causal-learned-key")


def _dropping() -> Iterator[Case]:
    qkv = inputs(5, 7, 2)
    yield Case(MultiheadAttention(6, 2, dropout=0.3), *qkv, id="dropout")
    yield Case(MultiheadAttention(6, 3, 0.7, add_bias_kv=True), *qkv, mask(2, 7), options=SHORT, id="dropout-no-weights")
    first, batch = MultiheadAttention(6, 2, 0.3, batch_first=True, add_zero_attn=True), (normal(2, s, 6) for s in (5, 7, 7))
    yield Case(first, *batch, None, normal(5, 7), options=EACH, id="dropout-batch-first")
    yield Case(MultiheadAttention(6, 2, dropout=0.3), *inputs(5, 7), id="dropout-one-sample")
    yield Case(MultiheadAttention(6, 2, dropout=0.3, training=False), *qkv, mask(2, 7), id="evaluation")


def _looking_nowhere() -> Iterator[Case]:
    nowhere = exactly([[False, False, True], [True, True, True]])
    plain, both = MultiheadAttention(6, 2), MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True)
    yield Case(plain, *inputs(2, 3, 2), nowhere, id="nowhere")
    yield Case(plain, *inputs(2, 3, 2), nowhere, options=SHORT, id="nowhere-no-weights")
    yield Case(both, *inputs(2, 3, 2), nowhere, options=SHORT, id="nowhere-but-added-keys")


def per_head(case: Case) -> bool:
    """Whether a batched case has a mask for every head of every sample."""
    names = list(case.layer.inputs())
    masks = [d for n, d in zip(names, case.draws, strict=False) if d is not None and "mask" in n]
    return len(case.draws[0].shape) == 3 and any(len(d.shape) == 3 for d in masks)  # type: ignore[union-attr]


def _is(*ids: str) -> Callable[[Case], bool]:
    return lambda case: case.id in ids


PER_HEAD = Exempt("batch-additivity", "a mask for every head of every sample has no axis that is the batch", when=per_head)
MASKED_NAN = "with is_causal torch takes a kernel that does not look at masked scores; else NaN − ∞ is NaN in torch, too"
CAUSAL = Waiver("nonfinite", MASKED_NAN, when=lambda case: "causal" in str(case.id), always=False)
NO_MASK_GRADIENT = "of an empty batch torch returns no gradient of a mask; it is zero"
MASKS_ADDED_KEYS = "with is_causal torch masks the keys that it added itself; the mask that the hint stands for does not"


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """ScaledDotProductAttention, MultiheadAttention."""
    numbers = _is("numbers", "numbers-everywhere", "numbers-per-sample", "numbers-per-head", "negative-scale", "dropout-groups")
    yield Spec(
        ScaledDotProductAttention,
        list(_functions()),
        twin=_function,
        noise=_function_noise,
        waivers=[Waiver("batch-of-zero", NO_MASK_GRADIENT, when=numbers)],
    )
    yield Spec(
        MultiheadAttention,
        [*_multihead(), *_with_added_keys(), *_dropping(), *_looking_nowhere()],
        call=_call,
        noise=_noise,
        conventions=[Convention("a row of which everything is masked", "NaN where weights are returned, else 0")],
        exempt=[
            PER_HEAD,
            Exempt("outputs-alone", "torch does not differentiate what is not used; here 0 · NaN is met", when=_is("nowhere")),
        ],
        waivers=[
            *(
                Waiver(check, MASKS_ADDED_KEYS, when=_is("causal-learned-key"))
                for check in ("outputs", "gradients", "modes", "batch-of-one")
            ),
            CAUSAL,
            Waiver(
                "nonfinite",
                "without weights torch takes a kernel whose maximum passes over NaN: a row of them gives 0",
                when=_is("no-weights"),
                always=False,  # if the element that is made infinite gives ∞ − ∞ in all of a head's scores
            ),
        ],
    )
