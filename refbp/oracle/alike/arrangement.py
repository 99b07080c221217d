"""How somebody may have laid out what a layer is given: which way round a weight lies, where the channels are, what p means."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refbp.contract import Layer
from refbp.oracle.alike.matching import Matched
from refbp.oracle.problem import readable

MOST = 64
EPSILONS = (1e-8, 1e-5, 1e-6, 1e-7, 1e-10, 1e-12, 1e-3, 0.0)  # what functions that take no eps have in them
LAST = {3: "0, 2, 1", 4: "0, 2, 3, 1", 5: "0, 2, 3, 4, 1"}  # channels from the second axis to the last
KERNELS = {3: ("2, 1, 0", "0, 2, 1"), 4: ("2, 3, 1, 0", "0, 2, 3, 1"), 5: ("2, 3, 4, 1, 0", "0, 2, 3, 4, 1")}


@dataclass(frozen=True)
class Arrangement:
    """Layouts by the reference's names ("weight": "weight.T"), and what else differs; ``words`` say it."""

    words: tuple[str, ...] = ()
    arrays: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the layer's fields
    passed: Mapping[str, str] = field(default_factory=dict)  # parameter to expression

    def with_(self, other: Arrangement) -> Arrangement:
        """Both."""
        return Arrangement(
            self.words + other.words,
            {**self.arrays, **other.arrays},
            {**self.outputs, **other.outputs},
            {**self.changes, **other.changes},
            {**self.passed, **other.passed},
        )


def arrangements(layer: Layer[Any], matched: Matched, axes: Mapping[str, int], pinned: bool) -> Iterator[Arrangement]:
    """All that are tried, the usual one first. ``axes`` are the numbers of axes of the inputs and the state's entries."""
    names = [n for n in matched.arrays.values() if n in axes]
    choices = [_matrices(layer, names, axes), _images(layer, names, axes), _sequences(layer, names, axes)]
    choices += [_targets(layer, axes), _probability(layer, matched), _reduction(layer, matched, pinned)]
    choices += [_approximation(layer, matched, pinned), _epsilon(layer, matched, pinned)]
    made = (_combined(parts) for parts in itertools.product(*choices))
    return itertools.islice(made, MOST)


def _combined(parts: Sequence[Arrangement]) -> Arrangement:
    whole = Arrangement()
    for part in parts:
        whole = whole.with_(part)
    return whole


def _matrices(layer: Layer[Any], names: list[str], axes: Mapping[str, int]) -> list[Arrangement]:
    """A matrix the other way round, a bias as a row, samples in columns."""
    found = [Arrangement()]
    matrices = [n for n in names if n in layer.params() and axes[n] == 2]
    vectors = [n for n in names if n in layer.params() and axes[n] == 1 and "bias" in n]
    if not matrices or "num_embeddings" in layer.arguments():
        return found
    turned = Arrangement(("a weight is (in, out)",), {n: f"{readable(n)}.T" for n in matrices})
    row = Arrangement(("a bias is a row (1, out)",), {n: f"{readable(n)}[None, :]" for n in vectors})
    column = Arrangement(("a bias is a column (out, 1)",), {n: f"{readable(n)}[:, None]" for n in vectors})
    found = [turned, Arrangement(("a weight is (out, in)",))]
    if vectors:
        found += [a.with_(row) for a in found]
    inputs = [n for n in names if n in layer.inputs()]
    if all(axes[n] == 2 for n in inputs):
        columns = Arrangement(
            ("samples are columns",), {n: f"{readable(n)}.T" for n in inputs}, {n: f"{readable(n)}.T" for n in layer.outputs()}
        )
        found += [columns.with_(column) if vectors else columns, columns.with_(turned).with_(column)]
    return found


def _images(layer: Layer[Any], names: list[str], axes: Mapping[str, int]) -> list[Arrangement]:
    """Channels last, and kernels to go with them; a norm's γ and β with the axes of the image."""
    pattern = next(iter(layer.inputs().values()))
    first = next(iter(layer.inputs()))
    n = axes.get(first, 0)
    spatial = any(a in pattern for a in (" H", " L", " D,")) or "num_channels" in pattern or "num_features, *" in pattern
    if n not in LAST or not spatial or first not in names:
        return [Arrangement()]
    vectors = [v for v in names if v in layer.params() and axes[v] == 1]
    kernels = [v for v in names if v in layer.params() and axes[v] == n]
    found = [Arrangement(("channels first",))]
    if not kernels and vectors:
        spread = ", ".join(["None", ":", *["None"] * (n - 2)])
        found.append(Arrangement(("channels first",), {v: f"{readable(v)}[{spread}]" for v in vectors}))
    out = {o: f"{readable(o)}.transpose({LAST[n]})" for o in layer.outputs()}
    last = Arrangement(("channels last",), {first: f"{readable(first)}.transpose({LAST[n]})"}, out)
    orders = KERNELS[n] if kernels else ("",)
    found += [last.with_(Arrangement((), {v: f"{readable(v)}.transpose({o})" for v in kernels})) for o in orders]
    if kernels and vectors:
        found.append(
            Arrangement(
                ("channels first", "a bias is a column"), {v: f"{readable(v)}[:, None]" for v in vectors if "bias" in v}
            )
        )
    return found


def _sequences(layer: Layer[Any], names: list[str], axes: Mapping[str, int]) -> list[Arrangement]:
    """Time as the first axis, as torch has it, or as the second; one layer's state without an axis for layers."""
    first = next(iter(layer.inputs()))
    if not hasattr(layer, "batch_first") or axes.get(first) != 3:
        return [Arrangement()]
    states = [n for n in names if n in {"h_0", "c_0"}]
    ends = [o for o in layer.outputs() if o in {"h_n", "c_n"}]
    flat = Arrangement((), {n: f"{n}[0]" for n in states}, {o: f"{o}[0]" for o in ends})
    inputs = [n for n in names if n in layer.inputs() and n not in states and axes[n] == 3]
    turned = Arrangement(
        ("the batch is the first axis",),
        {n: f"{n}.transpose(1, 0, 2)" for n in inputs},
        {o: f"{o}.transpose(1, 0, 2)" for o in layer.outputs() if o not in ends},
    )
    time = Arrangement(("time is the first axis",))
    one = getattr(layer, "num_layers", 1) == 1 and not getattr(layer, "bidirectional", False)
    return [turned.with_(flat), time.with_(flat), time, turned] if one and (states or ends) else [turned, time]


def _targets(layer: Layer[Any], axes: Mapping[str, int]) -> list[Arrangement]:
    """Class indices, or one-hot rows."""
    first, *rest = layer.inputs()
    if type(layer).__name__ not in {"CrossEntropyLoss", "NLLLoss"} or "target" not in rest or axes.get("target") != 1:
        return [Arrangement()]
    hot = f"np.eye({readable(first)}.shape[1])[target]"
    return [Arrangement(), Arrangement(("a target is one-hot",), {"target": hot})]


def _probability(layer: Layer[Any], matched: Matched) -> list[Arrangement]:
    """What p is the probability of."""
    name = next((p for p, a in matched.arguments.items() if a in {"p", "dropout_p"} and matched.passed.get(p) == a), "")
    if "Dropout" not in type(layer).__name__ or not name:
        return [Arrangement()]
    other = Arrangement((f"{name} is the probability of keeping",), passed={name: f"1 - {matched.arguments[name]}"})
    return [Arrangement((f"{name} is the probability of dropping",)), other]


def _reduction(layer: Layer[Any], matched: Matched, pinned: bool) -> list[Arrangement]:
    """A mean, or a sum."""
    if not hasattr(layer, "reduction") or "reduction" in matched.used or pinned:
        return [Arrangement()]
    own = str(layer.reduction)
    others = ["mean", "sum", *["batchmean"] * (type(layer).__name__ == "KLDivLoss")]
    return [
        Arrangement((f"reduction={own!r}",)),
        *(Arrangement((f"reduction={r!r}",), changes={"reduction": r}) for r in others if r != own),
    ]


def _approximation(layer: Layer[Any], matched: Matched, pinned: bool) -> list[Arrangement]:
    """A formula, or what is close to it: two functions of one name."""
    if not hasattr(layer, "approximate") or "approximate" in matched.used or pinned:
        return [Arrangement()]
    return [Arrangement((f"approximate={a!r}",), changes={"approximate": a}) for a in ("none", "tanh")]


def _epsilon(layer: Layer[Any], matched: Matched, pinned: bool) -> list[Arrangement]:
    """The ε that functions have which take none."""
    if not isinstance(getattr(layer, "eps", None), float) or "eps" in matched.used or pinned:
        return [Arrangement()]
    others = [e for e in EPSILONS if e != layer.eps]  # type: ignore[attr-defined]
    return [Arrangement(), *(Arrangement((f"eps={e:g}",), changes={"eps": e}) for e in others)]
