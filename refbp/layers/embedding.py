"""Embeddings: rows of a table looked up by index, one by one or in bags; backward gives every row what it was used for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from refbp.contract import Array, Forward, Grads, Layer, Saved, State
from refbp.errors import ShapeError, ValueRangeError
from refbp.shapes import Shape

Table = tuple[Any, ...] | None


def add_rows(index: Array, values: Array, count: int) -> Array:
    """Zeros (count, D) with values[k] added to row index[k], as often as it occurs: the transpose of a lookup.

    ``np.add.at`` is quick along one axis only, so rows are laid end to end; and it takes two numbers at once as one
    complex number.
    """
    values = np.ascontiguousarray(values)
    total = np.zeros((count, values.shape[1]), values.dtype)
    pair = np.result_type(values.dtype, np.complex64)
    kind = pair if pair.itemsize == 2 * values.itemsize and values.shape[1] % 2 == 0 else values.dtype
    sums, rows = total.view(kind), values.view(kind)
    at = index[:, None] * rows.shape[1] + np.arange(rows.shape[1])
    np.add.at(sums.reshape(-1), at.reshape(-1), rows.reshape(-1))
    return total


def _times(index: Array, dtype: Any) -> Array:
    """How often each entry occurs."""
    return np.bincount(index)[index].astype(dtype)


class _Table(Layer[Saved]):
    """A table of rows to look up."""

    tensors: ClassVar[tuple[str, ...]] = ("_weight",)

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    sparse: bool
    _weight: Table

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        rows, size, p = self.num_embeddings, self.embedding_dim, self.padding_idx
        yield rows >= 0, "num_embeddings", "an integer of at least 0"
        yield size >= 0, "embedding_dim", "an integer of at least 0"
        yield p is None or -rows <= p < rows, "padding_idx", f"a row of the table, {-rows} to {rows - 1}"
        fits = self._weight is None or np.asarray(self._weight).shape == (rows, size)
        yield fits, "_weight", f"a table of shape {(rows, size)}"
        yield not (self.sparse and self.scale_grad_by_freq), "sparse", "False with scale_grad_by_freq, as torch wants it"

    def params(self) -> dict[str, Shape]:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> State:
        """Standard normal, and zero in the padding row; or the table that was given."""
        if self._weight is not None:
            return State({"weight": np.array(self._weight, dtype)})
        weight = np.asarray(rng.normal(size=self.params()["weight"]), dtype)
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        return State({"weight": weight})

    def check(self, *inputs: Any, **options: Any) -> None:
        """Indices must be rows of the table."""
        index = inputs[0]
        if index.size and not (index.min() >= 0 and index.max() < self.num_embeddings):
            wrong = index.min() if index.min() < 0 else index.max()
            raise ValueRangeError(f"{self!r}: input holds index {wrong}; wanted 0 to {self.num_embeddings - 1}.")

    def _renormalised(self, W: Array, index: Array) -> tuple[Array, dict[str, Array]]:
        """The table in which every row that is used has at most the norm max_norm, and the update that says so.

        The new table replaces the old one as a step of the user's would: no gradient flows through the norm.
        """
        if self.max_norm is None:
            return W, {}
        used = np.unique(index)
        norm = np.linalg.norm(W[used], self.norm_type, axis=1, keepdims=True)
        W = W.copy()
        W[used] *= np.where(norm > self.max_norm, self.max_norm / (norm + 1e-7), 1)
        return W, {"weight": W}


@dataclass(frozen=True)
class Embedding(_Table[Array]):
    r"""yₙ = W[iₙ];   dW[r] = Σ dyₙ over the n with iₙ = r.

    The row padding_idx has no gradient, though its value is used. scale_grad_by_freq divides dW[r] by how often r occurs.
    max_norm scales every row that is used, and longer than that by norm_type, down to it: forward returns the new weight
    as an update, and the gradient is that of the lookup in the new table. sparse=True changes nothing here, where every
    gradient is dense. A table of one's own goes in as ``_weight``, and ``_freeze=True`` lets it have no gradient.
    Shapes: input (*) of integers, y (*, embedding_dim); weight (num_embeddings, embedding_dim). Torch: torch.nn.Embedding.
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool = False
    _weight: Table = None
    _freeze: bool = False

    @classmethod
    def from_pretrained(cls, embeddings: Array, freeze: bool = True, **arguments: Any) -> Embedding:
        """The layer of a table that is there already, ``init`` included."""
        rows, size = np.shape(embeddings)
        return cls(rows, size, _weight=np.asarray(embeddings).tolist(), _freeze=freeze, **arguments)

    def inputs(self) -> dict[str, str]:
        return {"input": "index (N, *) or ()"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, *, embedding_dim) or (embedding_dim)"}

    def forward(self, state: Mapping[str, Array], input: Array) -> Forward[Array]:
        index = input.astype(np.intp)
        W, updates = self._renormalised(state["weight"], index)
        return Forward(np.take(W, index, axis=0), saved=index.reshape(-1), updates=updates)

    def backward(self, saved: Array, dy: Array) -> Grads:
        r"""∂yₙ/∂W[r] = [iₙ = r]: what forward copied n times comes back as a sum of n."""
        if self._freeze:
            return Grads(None)
        rows = dy.reshape(len(saved), self.embedding_dim)
        if self.scale_grad_by_freq:
            rows = rows / _times(saved, dy.dtype)[:, None]
        dW = add_rows(saved, rows, self.num_embeddings)
        if self.padding_idx is not None:
            dW[self.padding_idx] = 0
        return Grads(None, weight=dW)


class _Shares(NamedTuple):
    """What a sum is made of, use by use; indices of padding are left out."""

    at: Array  # (K): the row that is used
    bag: Array  # (K): the bag that it goes into
    share: Array  # (K): the factor with which it does
    rows: Array | None  # (K, D): its value, where the factor has a gradient
    kept: Array  # which of the given indices are no padding, shaped like them


class _Winners(NamedTuple):
    """What a maximum is made of."""

    at: Array  # (bags that are not empty, D): the row that each number is from
    bags: Array  # those bags


@dataclass(frozen=True)
class EmbeddingBag(_Table["_Shares | _Winners"]):
    r"""y_b = Σ aₖ W[iₖ] over the k in bag b, a = 1, or per_sample_weights, or 1 / (size of b) for the mean; or the maximum.

    dW[r] = Σ aₖ dy_b over the k with iₖ = r,   daₖ = ⟨dy_b, W[iₖ]⟩; a maximum gives dy to the first row that has it.
    An empty bag is zero. Indices equal to padding_idx are in no bag. The other arguments are as Embedding's.
    Shapes: input (N, L), a bag a row; or (K) with offsets (B), where each bag begins, and one more, K, with
    include_last_offset; per_sample_weights as input, for mode="sum"; y (N, embedding_dim) or (B, embedding_dim);
    weight (num_embeddings, embedding_dim). Torch: torch.nn.EmbeddingBag, whose scale_grad_by_freq takes other rows' counts.
    """

    num_embeddings: int
    embedding_dim: int
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    mode: Literal["sum", "mean", "max"] = "mean"
    sparse: bool = False
    _weight: Table = None
    include_last_offset: bool = False
    padding_idx: int | None = None

    def rules(self) -> Iterator[tuple[bool, str, str]]:
        yield from super().rules()
        yield not (self.mode == "max" and self.scale_grad_by_freq), "scale_grad_by_freq", "False with mode='max'"
        yield not (self.mode == "max" and self.sparse), "sparse", "False with mode='max'"

    def inputs(self) -> dict[str, str]:
        bags = "(N, L) or (K)"
        return {"input": f"index {bags}", "offsets": "optional index (B)", "per_sample_weights": f"optional {bags}"}

    def outputs(self) -> dict[str, str]:
        return {"y": "(N, embedding_dim)"}

    def check(self, *inputs: Any, **options: Any) -> None:
        """Bags must follow each other and hold all indices; only sums are weighted."""
        super().check(*inputs)
        index, offsets, weights = (*inputs, None, None)[:3]
        if weights is not None and self.mode != "sum":
            raise ShapeError(f"{self!r}: per_sample_weights is given; wanted None: weights are for mode='sum'.")
        if index.ndim == 2:
            if offsets is not None:
                raise ShapeError(f"{self!r}: offsets is given; wanted None for input {index.shape}, whose rows are the bags.")
            if index.shape[1] == 0:
                raise ShapeError(f"{self!r}: input has shape {index.shape}; wanted rows of at least one index.")
            return
        if offsets is None:
            raise ShapeError(f"{self!r}: offsets is missing; wanted where each bag begins in input {index.shape}.")
        ends = offsets.tolist() + [len(index)] * (not self.include_last_offset)
        if ends != sorted(ends) or ends[:1] + ends[-1:] != [0, len(index)]:
            last = f", the last being {len(index)}" if self.include_last_offset else ""
            raise ValueRangeError(
                f"{self!r}: offsets are {offsets.tolist()}; wanted 0 first, then none smaller than the one before it,"
                f" up to {len(index)}, the number of indices{last}."
            )

    def _sizes(self, index: Array, offsets: Array | None) -> Array:
        """How many indices each bag has."""
        if offsets is None:
            return np.full(len(index), index.shape[1])
        ends = np.append(offsets.astype(np.intp), len(index))
        return np.diff(ends)[: len(offsets) - self.include_last_offset]

    def forward(
        self, state: Mapping[str, Array], input: Array, offsets: Array | None = None, per_sample_weights: Array | None = None
    ) -> Forward[_Shares | _Winners]:
        W, updates = self._renormalised(state["weight"], input)
        sizes = self._sizes(input, offsets)
        kept = input != (-1 if self.padding_idx is None else self.padding_idx % self.num_embeddings)
        at, bag = input[kept].astype(np.intp), np.repeat(np.arange(len(sizes)), sizes).reshape(input.shape)[kept]
        rows = np.take(W, at, axis=0)
        if self.mode == "max":
            y, bags = np.zeros((len(sizes), self.embedding_dim), W.dtype), np.unique(bag)
            winner = _first_largest(rows, bag)
            y[bags] = np.take_along_axis(rows, winner, 0)
            return Forward(y, _Winners(at[winner], bags), updates)
        share = 1 / _times(bag, W.dtype) if self.mode == "mean" else np.ones(len(at), W.dtype)
        if per_sample_weights is not None:
            share = per_sample_weights[kept]
        y = add_rows(bag, share[:, None] * rows, len(sizes))
        return Forward(y, _Shares(at, bag, share, None if per_sample_weights is None else rows, kept), updates)

    def backward(self, saved: Any, dy: Array) -> Grads:
        r"""With A the sparse matrix of bags and rows that holds the shares a:   y = A W,   dW = Aᵀ dy,   dA = dy Wᵀ.

        The maximum is a lookup too, number by number: each y is one number of W, and gives its gradient to it alone.
        """
        shape = rows, size = self.num_embeddings, self.embedding_dim
        if self.mode == "max":
            numbers = (saved.at * size + np.arange(size)).reshape(-1)
            return Grads(None, None, None, weight=add_rows(numbers, dy[saved.bags].reshape(-1, 1), rows * size).reshape(shape))
        dys = np.take(dy, saved.bag, axis=0)
        each = saved.share / _times(saved.at, dy.dtype) if self.scale_grad_by_freq else saved.share
        dW = add_rows(saved.at, each[:, None] * dys, rows)
        if saved.rows is None:
            return Grads(None, None, None, weight=dW)
        da = np.zeros(saved.kept.shape, dy.dtype)
        da[saved.kept] = (dys * saved.rows).sum(1)
        return Grads(None, None, da, weight=dW)


def _first_largest(rows: Array, bag: Array) -> Array:
    """For each bag that is not empty, and each column, the first of its rows with the largest number there."""
    begins = np.flatnonzero(np.diff(bag, prepend=-1))
    if not len(begins):
        return np.zeros((0, rows.shape[1]), np.intp)
    largest = np.repeat(np.maximum.reduceat(rows, begins), np.diff(begins, append=len(bag)), axis=0)
    found: Array = np.minimum.reduceat(np.where(rows < largest, len(bag), np.arange(len(bag))[:, None]), begins)
    return found
