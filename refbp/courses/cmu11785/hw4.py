"""HW4P1: the linear layer of any number of axes, attention of one head and of several; and the attention of earlier years."""

from __future__ import annotations

from typing import Any

from refbp.draws import exactly, normal
from refbp.layers.attention import ScaledDotProductAttention
from refbp.layers.graph import Graph
from refbp.layers.linear import Linear
from refbp.layers.multihead_attention import MultiheadAttention
from refbp.oracle.exercise import Exercise
from refbp.spec import Case

LINEAR = Exercise(
    "Linear.backward",
    forward="layer = Linear(in_features, out_features)\nlayer.init_weights(W, b)\nZ = layer.forward(A)",
    backward="dLdA = layer.backward(dLdZ)\ndLdW = layer.dLdW\ndLdb = layer.dLdb",
    arrays={"A": "x", "W": "weight", "b": "bias"},
    outputs={"Z": "y"},
    tiers={
        "std": [
            Case(Linear(5, 3), normal(2, 7, 5), id="three axes"),
            Case(Linear(2, 4), normal(3, 2), id="two axes"),
            Case(Linear(3, 2), normal(2, 1, 5, 3), id="four axes"),
        ],
        "degenerate": [Case(Linear(4, 1), normal(1, 1, 4), id="one row")],
    },
    convention="HW4: any number of axes, b is (out_features,)",
)

_SDPA = ScaledDotProductAttention()
_LOOKS = exactly([[True, False, True], [True, True, False], [False, True, True], [True, True, True]])
_CAUSAL = exactly([[True, False, False, False], [True, True, False, False]])
ATTENTION = Exercise(
    "ScaledDotProductAttention.backward",
    forward="attention = ScaledDotProductAttention()\noutput = attention.forward(Q, K, V, mask)",
    backward="d_Q, d_K, d_V = attention.backward(d_output)",
    arrays={"Q": "query", "K": "key", "V": "value", "mask": "~attn_mask"},
    outputs={"output": "y"},
    upstream={"d_output": "output"},
    values={"mask": None},
    tiers={
        "std": [
            Case(_SDPA, normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 6), id="no mask"),
            Case(_SDPA, normal(2, 2, 4, 5), normal(2, 2, 3, 5), normal(2, 2, 3, 2), _LOOKS, id="a mask"),
            Case(_SDPA, normal(1, 2, 2, 3), normal(1, 2, 4, 3), normal(1, 2, 4, 5), _CAUSAL, id="a causal mask"),
        ],
        "degenerate": [
            Case(_SDPA, normal(1, 1, 1, 3), normal(1, 1, 4, 3), normal(1, 1, 4, 2), id="one query"),
            Case(_SDPA, normal(1, 1, 3, 2), normal(1, 1, 1, 2), normal(1, 1, 1, 3), id="one key"),
        ],
        "stability": [
            Case(
                _SDPA,
                exactly([[[[30.0, 30.0], [30.0, 29.0]]]]),
                exactly([[[[30.0, 30.0], [30.1, 29.8], [30.0, 30.05]]]]),
                normal(1, 1, 3, 2),
                id="scores above 1000",
            )
        ],
    },
    convention="in the mask True says that a query may not look there",
)

_PROJECTIONS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}


def _heads() -> Exercise:
    arrays = {
        "query": "query",
        "key": "key",
        "value": "value",
        "key_padding_mask": "key_padding_mask",
        "attn_mask": "attn_mask",
    }
    for i, n in enumerate("qkv"):
        rows = f"[{i} * embed_dim:{i + 1} * embed_dim]"
        arrays |= {f"W{n}": f"in_proj_weight{rows}", f"b{n}": f"in_proj_bias{rows}"}
    arrays |= {"Wo": "out_proj_weight", "bo": "out_proj_bias"}
    grads = {"d_q": "query", "d_k": "key", "d_v": "value"}
    lines = ["d_q, d_k, d_v = attention.backward(d_output)"]
    for n, part in _PROJECTIONS.items():
        grads |= {f"dW{n}": f"W{n}"}
        lines += [f"dW{n} = attention.{part}.dLdW", f"of_b{n} = attention.{part}.dLdb"]
    # No softmax changes where bk is added to every key: its gradient is zero but for rounding, and told beside the others
    lines += ["db = np.concatenate([of_bq, of_bk, of_bv])"]
    arrays |= {"b": "in_proj_bias"}
    grads |= {"db": "b", "of_bo": "bo"}
    quiet = {"need_weights": False}
    one, two = MultiheadAttention(6, 2, batch_first=True), MultiheadAttention(6, 3, batch_first=True)
    return Exercise(
        "MultiHeadAttention.backward",
        forward="attention = MultiHeadAttention(embed_dim, num_heads)\n"
        "attention.init_weights(Wq, bq, Wk, bk, Wv, bv, Wo, bo)\n"
        "output = attention.forward(query, key, value, key_padding_mask, attn_mask)",
        backward="\n".join(lines),
        arrays=arrays,
        grads=grads,
        outputs={"output": "y"},
        upstream={"d_output": "output"},
        tiers={
            "std": [
                Case(
                    one,
                    normal(2, 5, 6),
                    normal(2, 4, 6),
                    normal(2, 4, 6),
                    exactly([[False, False, True, True], [False, False, False, True]]),
                    exactly(
                        [
                            [False, True, False, False],
                            [True, False, False, False],
                            [False, False, True, False],
                            [False, False, False, True],
                            [False, False, False, False],
                        ]
                    ),
                    id="two heads",
                    options=quiet,
                ),
                Case(
                    two,
                    normal(3, 4, 6),
                    normal(3, 5, 6),
                    normal(3, 5, 6),
                    exactly([[False] * 4 + [True]] * 3),
                    exactly([[False] * 5] * 4),
                    id="three heads",
                    options=quiet,
                ),
            ],
            "degenerate": [
                Case(
                    MultiheadAttention(2, 1, batch_first=True),
                    normal(1, 1, 2),
                    normal(1, 3, 2),
                    normal(1, 3, 2),
                    exactly([[False, False, False]]),
                    exactly([[False, True, False]]),
                    id="one head, one query",
                    options=quiet,
                )
            ],
        },
        convention="in both masks True says that nobody may look there; every projection is a Linear of HW4",
    )


def _self_attention(causal: bool) -> Exercise:
    """The attention of 2022 and 2023, on torch tensors: single-headed, its weights are given."""
    arrays: dict[str, Any] = {"X": "x", "W_k": "k_weight.T", "W_q": "q_weight.T", "W_v": "v_weight.T"}

    def layer(D: int, K: int, V: int) -> Graph:
        return Graph(
            f"q = Linear({D}, {K}, bias=False)(x); k = Linear({D}, {K}, bias=False)(x); v = Linear({D}, {V}, bias=False)(x);"
            f" y = ScaledDotProductAttention(is_causal={causal})(q, k, v)"
        )

    return Exercise(
        "Attention.backward",
        forward="attention = Attention(W_k, W_q, W_v)\nX_new = attention.forward(X)",
        backward="dLdX = attention.backward(dLdXnew)\n"
        "dLdWk = attention.dLdWk\ndLdWq = attention.dLdWq\ndLdWv = attention.dLdWv",
        arrays=arrays,
        outputs={"X_new": "y"},
        upstream={"dLdXnew": "X_new"},
        grads={"dLdX": "X", "dLdWk": "W_k", "dLdWq": "W_q", "dLdWv": "W_v"},
        tiers={
            "std": [
                Case(layer(5, 3, 4), normal(2, 6, 5), id="six steps"),
                Case(layer(3, 2, 2), normal(3, 4, 3), id="four steps"),
            ],
            "degenerate": [Case(layer(3, 2, 4), normal(1, 1, 3), id="one step")],
        },
        tensors=True,
        modules=("torch",),
        rtol=1e-5,
        convention=f"2022 and 2023, on torch tensors; {'a step sees those before it' if causal else 'every step sees all'}",
    )


EXERCISES = [LINEAR, ATTENTION, _heads(), _self_attention(causal=True), _self_attention(causal=False)]
