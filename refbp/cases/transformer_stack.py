"""Cases of the stacks of transformer layers."""

from collections.abc import Iterator
from typing import Any

from refbp.cases.attention import CAUSAL, PER_HEAD, causal_booleans, causal_numbers, some_blocked
from refbp.cases.transformer import EMPTY, arguments, call, drawn, moved, noise
from refbp.draws import mask, normal
from refbp.hookspecs import hookimpl
from refbp.layers.activation import SiLU
from refbp.layers.layer_norm import LayerNorm, RMSNorm
from refbp.layers.transformer import TransformerDecoderLayer, TransformerEncoderLayer
from refbp.layers.transformer_stack import Transformer, TransformerDecoder, TransformerEncoder
from refbp.spec import Case, Spec, Waiver


def _stack(layer: Any) -> Any:
    """A stack's twin, made of its layer's and its norm's."""
    import torch

    from refbp.conformance import twin

    given = {n: twin.of(v) if n in ("encoder_layer", "decoder_layer", "norm") else v for n, v in layer.given().items()}
    return getattr(torch.nn, type(layer).__name__)(**given)


def _transformer(layer: Any) -> Any:
    import torch

    from refbp.conformance import twin

    custom = {n: twin.of(v) for n, v in layer.given().items() if n.startswith("custom")}
    return torch.nn.Transformer(**arguments(layer) | custom)


def _noise(layer: Any, probe: Any, src: Any, tgt: Any, *masks: Any) -> tuple[Any, ...]:
    encoder, decoder = layer.encoder, layer.decoder
    first, second = encoder.kept(src.shape), decoder.kept(tgt.shape, src.shape)
    if not first + second:
        return ()
    flips = moved(encoder.layer, first) + moved(decoder.layer, second)
    return (*[None] * (6 - len(masks)), *drawn(probe, layer.dropout, first + second, flips))


def _encoders() -> Iterator[Case]:
    layer = TransformerEncoderLayer(6, 2, 5, 0.0)
    first = TransformerEncoderLayer(6, 3, 7, 0.0, "gelu", batch_first=True, norm_first=True)
    src, batch, one = normal(5, 2, 6), normal(2, 5, 6), normal(5, 6)
    yield Case(TransformerEncoder(layer, 2), src, id="two")
    yield Case(TransformerEncoder(first, 3, LayerNorm(6, 0.03)), batch, id="three-norm-first")
    yield Case(TransformerEncoder(layer, 1, RMSNorm(6, eps=0.3), mask_check=False), one, mask(5, 5), mask(5), id="one-sample")
    yield Case(TransformerEncoder(layer, 2, enable_nested_tensor=False), src, some_blocked(5, 5), normal(2, 5), id="numbers")
    yield Case(TransformerEncoder(first, 2), batch, normal(6, 5, 5), id="numbers-per-head")
    yield Case(TransformerEncoder(layer, 2), src, causal_numbers(5, 5), id="causal-found")
    yield Case(TransformerEncoder(layer, 2), src, causal_booleans(5, 5), options={"is_causal": True}, id="causal")
    yield Case(TransformerEncoder(layer, 2), src, causal_numbers(5, 5), options={"is_causal": False}, id="causal-denied")
    dropped = TransformerEncoderLayer(6, 2, 5, 0.3, batch_first=True)
    yield Case(TransformerEncoder(dropped, 2, LayerNorm(6)), batch, mask(5, 5), id="dropout")
    evaluated = TransformerEncoderLayer(6, 2, 5, 0.3, batch_first=True, training=False)
    yield Case(TransformerEncoder(evaluated, 2), batch, None, mask(2, 5), id="evaluation")


def _decoders() -> Iterator[Case]:
    layer = TransformerDecoderLayer(6, 2, 5, 0.0)
    first = TransformerDecoderLayer(6, 3, 7, 0.0, "gelu", batch_first=True, norm_first=True)
    both, batch, one = (normal(3, 2, 6), normal(5, 2, 6)), (normal(2, 3, 6), normal(2, 5, 6)), (normal(3, 6), normal(5, 6))
    masks = normal(3, 3), some_blocked(4, 3, 5), normal(2, 3), normal(2, 5)
    yield Case(TransformerDecoder(layer, 2), *both, id="two")
    yield Case(TransformerDecoder(first, 3, LayerNorm(6, 0.03)), *batch, mask(3, 3), None, mask(2, 3), id="three-norm-first")
    yield Case(TransformerDecoder(layer, 1), *one, normal(3, 3), normal(3, 5), None, normal(5), id="one-sample")
    yield Case(TransformerDecoder(layer, 2), *both, *masks, id="numbers")
    yield Case(TransformerDecoder(layer, 2), *both, causal_numbers(3, 3), causal_booleans(3, 5), id="causal-found")
    yield Case(TransformerDecoder(layer, 2), *both, causal_numbers(3, 3), options={"tgt_is_causal": False}, id="causal-denied")
    dropped = TransformerDecoderLayer(6, 2, 5, 0.3, batch_first=True, norm_first=True)
    yield Case(TransformerDecoder(dropped, 2, LayerNorm(6)), *batch, None, mask(3, 5), id="dropout")


def _wholes() -> Iterator[Case]:
    both, batch = (normal(5, 2, 6), normal(3, 2, 6)), (normal(2, 5, 6), normal(2, 3, 6))
    plain = Transformer(6, 2, 1, 1, 5, 0.0, layer_norm_eps=0.3)
    yield Case(Transformer(9, 3, 2, 2, 5, 0.0, layer_norm_eps=0.03), normal(5, 2, 9), normal(3, 2, 9), id="plain")
    first = Transformer(6, 3, 1, 1, 7, 0.0, "gelu", layer_norm_eps=0.3, batch_first=True, norm_first=True)
    # keys that differ by more than the bias that all of them share: else attention hardly depends on them
    yield Case(first, *batch, state={"encoder.norm.bias": normal(6, std=0.3)}, id="norm-first")
    no_bias = Transformer(6, 2, 1, 1, 5, 0.0, SiLU(), layer_norm_eps=0.3, bias=False)
    yield Case(no_bias, *both, mask(5, 5), mask(3, 3), mask(3, 5), id="no-bias-masks")
    padding = normal(2, 5), mask(2, 3), normal(2, 5)
    yield Case(plain, *both, normal(5, 5), causal_numbers(3, 3), some_blocked(3, 5), *padding, id="causal-padding")
    yield Case(plain, normal(5, 6), normal(3, 6), None, None, None, mask(5), None, normal(5), id="one-sample")
    hints = {"src_is_causal": True, "tgt_is_causal": True, "memory_is_causal": True}
    yield Case(plain, *both, causal_booleans(5, 5), causal_booleans(3, 3), causal_numbers(3, 5), options=hints, id="causal")
    yield Case(Transformer(6, 2, 1, 1, 5, batch_first=True, layer_norm_eps=0.3), *batch, None, mask(3, 3), id="dropout")
    yield Case(Transformer(6, 2, 1, 1, 5, 0.3, layer_norm_eps=0.3, training=False), *both, id="evaluation")
    encoder = TransformerEncoder(TransformerEncoderLayer(6, 3, 2, 0.0, "gelu", layer_norm_eps=0.3), 1)
    decoder = TransformerDecoder(TransformerDecoderLayer(6, 1, 7, 0.0, layer_norm_eps=0.3), 1, LayerNorm(6, 0.3))
    custom = Transformer(6, 2, 1, 1, 5, 0.3, custom_encoder=encoder, custom_decoder=decoder)
    yield Case(custom, *both, normal(5, 5), id="custom")


NAN = Waiver(
    "nonfinite",
    "where relu is off, a gradient that is NaN becomes 0 in torch, and 0 · NaN here",
    when=lambda case: "causal" not in str(case.id) and "relu" in str(case.layer.arguments()),
    always=False,
)


@hookimpl
def refbp_layers() -> Iterator[Spec]:
    """TransformerEncoder, TransformerDecoder, Transformer."""
    common: dict[str, Any] = {"call": call, "waivers": [NAN, CAUSAL, EMPTY]}
    yield Spec(TransformerEncoder, list(_encoders()), twin=_stack, noise=noise, exempt=[PER_HEAD], **common)
    yield Spec(TransformerDecoder, list(_decoders()), twin=_stack, noise=noise, exempt=[PER_HEAD], **common)
    yield Spec(Transformer, list(_wholes()), twin=_transformer, noise=_noise, **common)
