"""The cases of a layer that somebody's functions can be tried on: what their signature does not take stays as torch has it."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refbp.contract import Layer, is_training
from refbp.errors import RefbpError, listed
from refbp.oracle.alike.matching import LikeError, Matched
from refbp.shapes import parse
from refbp.spec import Case

USUAL, KINKS, LARGE = 5, 2, 1  # how many cases a tier has at most
HUGE, ABSURD, TINY = 50.0, 1e6, 1e-6  # a chosen value beyond these is there for stability; for nobody's functions
# What the shapes of the arrays say anyhow
SHOWN = {"in_features", "out_features", "in_channels", "out_channels", "num_features", "num_channels", "num_embeddings",
         "embedding_dim", "input_size", "hidden_size", "in1_features", "in2_features", "num_classes", "n_classes", "embed_dim",
         "d_model", "num_parameters", "normalized_shape"}  # fmt: skip
# What changes neither an output nor a gradient
SILENT = {"momentum", "track_running_stats", "inplace", "size_average", "reduce", "sparse", "return_indices", "process_group",
          "bias", "affine", "elementwise_affine", "training", "add_bias_kv", "enable_nested_tensor", "mask_check"}  # fmt: skip
WINDOWS = ("kernel_size", "stride", "padding", "dilation", "output_padding")
RECOVERED = {"Dropout": (), "Dropout1d": (2,), "Dropout2d": (2, 3), "Dropout3d": (2, 3, 4)}  # the axes that a mask lacks


@dataclass
class Cases:
    """Cases by tier, and what had to be left out of them."""

    tiers: dict[str, list[Case]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)  # arguments that stay as they are by default
    reasons: list[str] = field(default_factory=list)  # why others could not be taken
    noise: Any = None

    @property
    def all(self) -> list[Case]:
        """Every case, the usual ones first."""
        return [c for cases in self.tiers.values() for c in cases]


def takeable(cases: Sequence[Case], matched: Matched, pinned: Layer[Any] | None, upstream: bool, loss: bool) -> Cases:
    """The cases that functions with these parameters can be put to, made so where it takes a default only.

    ``pinned`` is the very layer that they are, in place of what the signature does not take; ``upstream`` says whether the
    backward takes an upstream gradient. LikeError where there is no case.
    """
    found = Cases()
    kept: dict[Any, tuple[str, Case]] = {}
    for case in cases:
        taken = _taken(case, matched, pinned, found)
        if taken is None or (loss and not upstream and not _scalar(taken)):
            continue
        key = (repr(taken.layer), *(None if d is None else (d.shape, d.text if d.exact else "") for d in taken.draws))
        kept.setdefault(key, (_tier(taken), taken))
    usual = _spread([c for t, c in kept.values() if t == "std"], USUAL)
    if not usual:
        reasons = list(dict.fromkeys(found.reasons))[:3]
        why = listed(reasons) if reasons else "none of its registered cases fits them"
        raise LikeError(f"{type(cases[0].layer).__name__} cannot be tried on these functions: {why}.")
    found.tiers = {"std": usual}
    for tier, most in (("kink", KINKS), ("stability", LARGE)):
        if some := _spread([c for t, c in kept.values() if t == tier], most):
            found.tiers[tier] = some
    found.tiers["dtype"] = [renamed(next((c for c in usual if _mild(c)), usual[0]), "float32")]
    modes = [c for c in found.all if not getattr(c.layer, "training", True)]
    if modes and len(modes) < len(found.all):
        found.tiers = {t: [c for c in cs if c not in modes] for t, cs in found.tiers.items()} | {"mode": modes}
        found.tiers = {t: cs for t, cs in found.tiers.items() if cs}
    found.left = list(dict.fromkeys(found.left))
    return found


def renamed(case: Case, id: str) -> Case:
    """The case under another name."""
    return Case(case.layer, *case.draws, id=id, options=case.options, state=case.state)


def _mild(case: Case) -> bool:
    """Whether float32 has digits enough for a case: more than two samples, and no mean that is large beside the deviation."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(d(rng)) for d in case.draws if d is not None]
    return all((not a.ndim or len(a) > 2) and (a.dtype.kind != "f" or np.abs(a).max(initial=0) < 10) for a in arrays)


def _tier(case: Case) -> str:
    rng = np.random.default_rng(0)
    chosen = [np.asarray(d(rng)) for d in (*case.draws, *case.state.values()) if d is not None and d.exact]
    floating = [a for a in chosen if a.dtype.kind == "f"]
    if not floating:
        return "std"
    return "stability" if any(np.abs(a).max(initial=0) > HUGE for a in floating) else "kink"


def _spread(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many cases, those first that show a value of an argument, or a number of axes, that none before shows."""
    seen: set[Any] = set()
    found: list[Case] = []
    left = sorted(cases, key=_size)
    while left and len(found) < most:
        best = max(left, key=lambda c: len(_shows(c) - seen))
        left.remove(best)
        found.append(best)
        seen |= _shows(best)
    return found


def _shows(case: Case) -> set[Any]:
    shows: set[Any] = {(n, repr(v)) for n, v in case.layer.arguments().items() if n not in SHOWN}
    return shows | {("axes", i, len(d.shape), min(d.shape, default=1) == 1) for i, d in enumerate(case.draws) if d is not None}


def _size(case: Case) -> tuple[bool, int]:
    # a side that is square hides a transpose, and a batch of one hides a mean
    square = any(len(set(d.shape)) < len(d.shape) or 1 in d.shape for d in case.draws if d is not None)
    return square, sum(math.prod(d.shape) for d in case.draws if d is not None)


def _scalar(case: Case) -> bool:
    return str(getattr(case.layer, "reduction", "mean")) != "none"


def _taken(case: Case, matched: Matched, pinned: Layer[Any] | None, found: Cases) -> Case | None:
    layer = case.layer if pinned is None else pinned
    draws = list(case.draws)
    fitted = _as_signature(layer, matched, pinned is not None, found)
    if fitted is None:
        return None
    layer = fitted
    inputs = list(layer.inputs())
    if len(draws) > len(inputs) or not _batched(layer, draws, matched) or not _ordinary(layer, draws, matched):
        return None
    for i, name in enumerate(inputs[: len(draws)]):
        optional = parse(layer.inputs()[name]).optional
        if name not in matched.arrays.values() and draws[i] is not None:
            if not optional:
                found.reasons.append(f"nothing in the signature stands for {name}")
                return None
            draws[i] = None
            found.left.append(name)
    if layer.noisy:
        layer, extra = _noise(layer, draws, matched, found)
        draws += extra
        if layer is None:
            return None
    while draws and draws[-1] is None:
        draws.pop()
    given = {n for n, d in zip(inputs, draws, strict=False) if d is not None} | {*layer.params(), *layer.buffers()}
    if missing := [n for n in matched.arrays.values() if n not in given]:
        found.reasons.append(f"it takes {missing[0]}, which the layer's cases do not have")
        return None
    lacking = [n for n in layer.params() if n not in matched.arrays.values() and not n.startswith("bias_hh")]
    if lacking and pinned is None:
        found.reasons.append(f"nothing in the signature stands for {lacking[0]}")
        return None
    made = Case(layer, *draws, id=case.id, state=case.state if set(case.state) <= {*layer.params(), *layer.buffers()} else {})
    return made if _runs(made) else None


def _runs(case: Case) -> bool:
    rng = np.random.default_rng(0)
    try:
        arrays = [None if d is None else np.asarray(d(rng)) for d in case.draws]
        drawing: Any = case.layer
        if drawing.noisy and len(arrays) < len(drawing.inputs()):
            arrays.append(np.asarray(drawing.draw(rng, case.draws[0].shape if case.draws[0] is not None else ())))
        if any(a is not None and not a.size for a in arrays):
            return False
        with np.errstate(all="ignore"):
            case.layer(case.layer.init(rng), *arrays)
    except RefbpError:
        return False
    return True


def _as_signature(layer: Layer[Any], matched: Matched, pinned: bool, found: Cases) -> Layer[Any] | None:
    """The layer with what the signature does not take as it is by default, and sizes of windows as one number each.

    None where there is no such layer.
    """
    defaults = {n: p.default for n, p in inspect.signature(type(layer)).parameters.items()}
    names = {f.metadata.get("argument", f.name): f.name for f in dataclasses.fields(layer)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, value in layer.arguments().items():
        default = defaults.get(name, inspect.Parameter.empty)
        if name == "return_indices":
            changes[name] = False
        elif name in matched.used:
            changes |= _handed(layer, name, value, matched.defaults.get(name))
        elif name in {"bias", "affine", "elementwise_affine"} and isinstance(value, bool):
            wanted = "bias" if name == "bias" else "weight"
            changes[name] = any(n.startswith(wanted) for n in matched.arrays.values())
        elif (
            pinned or name in SHOWN or name in matched.arrays.values() or (name == "kernel_size" and "weight" in layer.params())
        ):
            continue
        elif name == "dim" and default in (None, 1, -1):
            changes[name] = -1  # what a function without an axis does: along the last
        elif default is inspect.Parameter.empty:
            raise LikeError(
                f"{type(layer).__name__} has {name}, which nothing in the signature stands for: let the functions take {name},"
                f" or say which one they have: like {type(layer).__name__}({name}=…)."
            )
        elif value != default:
            changes[name] = default
            if name not in SILENT | {"eps", "reduction"} and not name.startswith("_"):
                found.left.append(name)
    changes = {names[n]: v for n, v in changes.items() if n in names and getattr(layer, names[n]) != v}
    try:
        return dataclasses.replace(layer, **changes) if changes else layer  # type: ignore[type-var]
    except RefbpError:
        return None


def _handed(layer: Layer[Any], name: str, value: Any, default: Any) -> dict[str, Any]:
    """An argument as students' functions take it: one number where all axes have the same, a stride that is said."""
    if (
        isinstance(value, tuple)
        and value
        and name in {*WINDOWS, *["output_size"] * type(layer).__name__.startswith("Adaptive")}
    ):
        return {name: value[0]}
    if name == "stride" and value is None:
        kernel = layer.arguments().get("kernel_size")
        return {name: kernel[0] if isinstance(kernel, tuple) else kernel}
    if isinstance(value, str) and name == "padding":
        return {name: 0}
    if value is None and isinstance(default, int | float):  # what is None for torch is a number in the signature
        return {name: default}
    if value is None and name == "eps":
        return {name: 1e-5}
    return {}


def _batched(layer: Layer[Any], draws: Sequence[Any], matched: Matched) -> bool:
    """Whether the first input has the axes that functions are written for: a batch, and those of the first pattern."""
    if not draws or draws[0] is None:
        return False
    shape = draws[0].shape
    patterns = parse(next(iter(layer.inputs().values()))).alternatives
    axes = next((a for a in patterns if a == ("N", "C", "H", "W")), patterns[0])
    star = next((a for a in axes if a.startswith("*")), None)
    if star is None:
        return len(shape) == len(axes)
    if axes == ("N", star):
        return len(shape) >= 1
    if len(axes) == 1:
        along = "dim" in layer.arguments() and "dim" not in matched.used
        return len(shape) == 2 if along else len(shape) >= 2
    if len(axes) > 2 and star == "*":
        return len(shape) == 4 if "num_channels" in axes or "num_features" in axes else len(shape) >= len(axes) - 1
    return len(shape) == 2


def _ordinary(layer: Layer[Any], draws: Sequence[Any], matched: Matched) -> bool:
    """Whether a case is one that functions are written for: classes as indices, none of them ignored; one axis normalised."""
    rng = np.random.default_rng(0)
    if not is_training(layer) and layer.buffers() and not {*layer.buffers()} & {*matched.arrays.values()}:
        return False
    if parse(next(iter(layer.inputs().values()))).kind == "any" and np.asarray(draws[0](rng)).dtype.kind != "f":
        return False
    for d in draws:
        a = np.abs(np.asarray(d(rng))) if d is not None and d.exact else np.zeros(1)
        if a.dtype.kind == "f" and not (np.isfinite(a).all() and ((a == 0) | ((a >= TINY) & (a <= ABSURD))).all()):
            return False
    if type(layer).__name__ == "BCELoss" and draws[0].exact:  # at 0 and 1 everybody clips where he likes
        return False
    if type(layer).__name__ in RECOVERED and getattr(layer, "p", 0) >= 1:
        return False
    if "ignore_index" in layer.arguments() and len(draws) > 1 and draws[1] is not None:
        target = np.asarray(draws[1](np.random.default_rng(0)))
        return target.dtype.kind in "iu" and (not target.size or int(target.min()) >= 0 or "ignore_index" in matched.used)
    over = layer.arguments().get("normalized_shape")
    return not isinstance(over, tuple) or len(over) == 1 or "normalized_shape" in matched.used


def _noise(layer: Layer[Any], draws: Sequence[Any], matched: Matched, found: Cases) -> tuple[Any, list[Any]]:
    """The noise as an input where it is taken, read off the outputs where that is possible, else none."""
    from refbp.draws import special

    names = [n for n in layer.inputs() if n in {"keep", "slope", "samples", "gumbel"}]
    drawing: Any = layer
    if names and names[0] in matched.arrays.values():
        shape = draws[0].shape
        probe = np.asarray(drawing.draw(np.random.default_rng(0), shape))
        gap = [None] * (list(layer.inputs()).index(names[0]) - len(draws))
        return layer, [*gap, special("noise", probe.shape, lambda rng: np.asarray(drawing.draw(rng, shape)))]
    if type(layer).__name__ in RECOVERED:
        found.noise = kept
        return layer, []
    off = {n: 0.0 for n in ("dropout", "dropout_p") if getattr(layer, n, 0.0)}
    if not off:
        found.reasons.append(f"what {type(layer).__name__} draws at random is no parameter of the functions")
        return None, []
    found.left += list(off)
    return dataclasses.replace(layer, **off), []  # type: ignore[type-var]


def kept(layer: Layer[Any], inputs: Sequence[Any], outputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a dropout kept, seen from what it gave: an input that is not 0 was dropped where its output is."""
    x, y = np.asarray(inputs[0]), np.asarray(next(iter(outputs.values())))
    if y.shape != x.shape:
        raise ValueError(f"its output has shape {y.shape}, its input {x.shape}")
    axes = RECOVERED[type(layer).__name__]
    seen = (y != 0) | (x == 0)
    return (seen.all(axes) if axes else seen,) if layer.noisy else ()


def resized(cases: Iterable[Case], layer: Layer[Any]) -> list[Case]:
    """The cases with their inputs in the sizes of one particular layer."""
    found = []
    for case in cases:
        patterns = list(layer.inputs().values())
        draws = [_fitted(d, p, case.layer, layer) for d, p in zip(case.draws, patterns, strict=False)]
        found.append(Case(layer, *draws, id=case.id))
    return found


def _fitted(draw: Any, pattern: str, before: Layer[Any], after: Layer[Any]) -> Any:
    if draw is None:
        return None
    axes = parse(pattern).axes(draw.shape, before.sizes)
    if axes is None:
        return draw
    shape = tuple(after.sizes.get(a, n) for a, n in zip(axes, draw.shape, strict=True))
    return draw if shape == draw.shape else _drawn(draw, shape, after)


def _drawn(draw: Any, shape: tuple[int, ...], layer: Layer[Any]) -> Any:
    """A draw of another shape: integers below the layer's count, other numbers normally distributed."""
    from refbp.draws import integers, normal

    if np.asarray(draw(np.random.default_rng(0))).dtype.kind in "iu":
        high = next((layer.sizes[n] for n in ("num_embeddings", "n_classes", "num_classes") if n in layer.sizes), 2)
        return integers(*shape, high=high)
    return normal(*shape)
