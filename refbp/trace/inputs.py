"""What a network is given: inputs and targets as numbers, files or draws, a state, and what is made where nothing is said.

Numbers are given as they are written down: ``1,-1`` is one sample of two features, ``1,-1; 0,2`` two of them. Whether a
number is a real one or an index, and a list a target or class labels, is settled by asking the network: the first
reading that its layers accept is meant.
"""

from __future__ import annotations

import ast
import itertools
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refbp import draws
from refbp.contract import Array, Layer, State
from refbp.errors import ArgumentError, DtypeError, RefbpError, ShapeError, StateError, ValueRangeError, did_you_mean
from refbp.layers.container import Sequential
from refbp.notation import literal
from refbp.trace.program import Program

MOST = 20_000_000  # parameters: a network of more would take minutes and gigabytes to show nothing that can be read
DRAWS = ("normal", "uniform", "signed", "probabilities", "integers", "labels", "constant")


def read(what: str, given: Any, rng: np.random.Generator) -> tuple[Array, bool]:
    """An array from text, a file, a draw or data, and whether it was written as plain numbers, which leave the shape open."""
    if not isinstance(given, str):
        return _array(what, given), False
    text = given.strip()
    if text.endswith((".npy", ".npz")):
        return _array(what, _of_file(what, Path(text))), False
    if "(" in text:
        return _array(what, _drawn(what, text, rng)), False
    if text.startswith("["):
        try:
            listed = literal(text)
        except ArgumentError:
            raise ArgumentError(f"{what}: {text[:60]!r} is no list of numbers; wanted [[1, -1], [0, 2]], say.") from None
        return _array(what, listed), False
    rows = [row for row in text.replace("\n", ";").split(";") if row.strip()]
    try:
        numbers = [[float(n) for n in row.replace(",", " ").split()] for row in rows]
    except ValueError as error:
        word = str(error).rpartition(": ")[2]
        raise ArgumentError(
            f"{what}: {word} is no number; wanted numbers such as 1,-1 (rows apart by ;), a .npy or .npz file, or a draw"
            f" such as normal(3, 2)."
        ) from None
    if not numbers or not all(numbers):
        raise ArgumentError(f"{what} is empty; wanted numbers such as 1,-1.")
    if len({len(row) for row in numbers}) > 1:
        raise ArgumentError(f"{what}: its rows have {', '.join(str(len(r)) for r in numbers)} numbers; wanted as many in each.")
    array = np.array(numbers if len(numbers) > 1 or ";" in text else numbers[0])
    return array.reshape(()) if array.size == 1 and ";" not in text and "," not in text else array, True


def _array(what: str, data: Any) -> Array:
    try:
        array = np.asarray(data)
    except ValueError:
        raise ArgumentError(f"{what}: its rows have different lengths; wanted as many numbers in each.") from None
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{what} holds {array.dtype}; wanted numbers.")
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def load(path: Path) -> dict[str, Array]:
    """The arrays of an npz file by name, or of an npy file under the empty name."""
    if not path.is_file():
        raise ArgumentError(f"{path} does not exist or is no file: give one that numpy.savez or numpy.save has written.")
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return {"": found} if isinstance(found, np.ndarray) else {n: found[n] for n in found.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = "it holds Python objects, not numbers" if "pickle" in str(error) else "it is no NumPy file"
        raise ArgumentError(
            f"{path} cannot be read: {reason}; wanted what numpy.savez writes from arrays of numbers."
        ) from None


def _of_file(what: str, path: Path) -> Array:
    arrays = load(path)
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    name = what.removeprefix("--")
    wanted = next((n for n in (name, {"input": "x", "target": "t"}.get(name, "")) if n in arrays), None)
    if wanted is None:
        raise ArgumentError(f"{path} holds {', '.join(arrays) or 'nothing'}; wanted an array called {name}, or only one.")
    return arrays[wanted]


def _drawn(what: str, text: str, rng: np.random.Generator) -> Array:
    name = text.partition("(")[0]
    if name not in DRAWS:
        hint = did_you_mean(name, DRAWS) or f"; known: {', '.join(DRAWS)}."
        raise ArgumentError(f"{what}: {name!r} is no draw{hint}")
    try:
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Call)
        positional = [ast.literal_eval(a) for a in node.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
        shape = [n for n in positional if isinstance(n, int)]
        if math.prod(shape) > MOST:
            raise ArgumentError(f"{what}: {text} is {math.prod(shape):,} numbers; wanted at most {MOST:,}.")
        return getattr(draws, name)(*positional, **named)(rng)  # type: ignore[no-any-return]
    except RefbpError:
        raise
    except Exception as error:  # a wrong argument, a shape that is none
        raise ArgumentError(f"{what}: {text!r} cannot be drawn ({error}); wanted {_example_of(name)}, say.") from None


def _example_of(draw: str) -> str:
    """A call of a draw that works."""
    needed = {"integers": "integers(3, 2, high=5)", "labels": "labels(3, classes=2)", "constant": "constant(0.5, 3, 2)"}
    return needed.get(draw, f"{draw}(3, 2)")


def state(network: Sequential, loss: Layer[Any] | None, given: Any, seed: int) -> State:
    """The network's state, drawn from the seed or given, and the weights that the loss was constructed with."""
    size = sum(math.prod(s) for s in network.params().values())
    if size > MOST:
        raise ArgumentError(f"the network has {size:,} parameters; wanted at most {MOST:,} for a trace.")
    made = network.init(np.random.default_rng(seed))
    if given is not None:
        made = _filled(made, given)
    extra = {f"loss.{n}": a for n, a in loss.init(np.random.default_rng(seed)).items()} if loss is not None else {}
    return State({**made, **extra}, made.buffers | extra.keys())


def _filled(made: State, given: Any) -> State:
    """A state of the given arrays, checked entry by entry; buffers may be left out."""
    where = "state"
    if isinstance(given, str | Path):
        where = f"state {given}"
        given = load(Path(given))
    if not isinstance(given, Mapping):
        raise StateError(f"{where} is {type(given).__name__}; wanted names with arrays, such as 0.weight.")
    given = {n: np.asarray(a) for n, a in given.items() if not n.startswith("train/")}  # what a run of refbp train adds
    missing = [n for n in made.parameters if n not in given]
    extra = [n for n in given if n not in made]
    if missing or extra:
        hint = did_you_mean(extra[0], missing or list(made)) if extra else ""
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]!r}, which the network has not{hint}"
        names = ", ".join(f"{n} {a.shape}" for n, a in made.items()) or "no entries"
        raise StateError(f"{where} {what}; wanted {names[:300]}.")
    entries = {}
    for name, array in given.items():
        if array.shape != made[name].shape:
            raise ShapeError(f"{where}: {name} has shape {array.shape}; wanted {made[name].shape}.")
        if array.dtype.kind not in "fiu":
            raise DtypeError(f"{where}: {name} holds {array.dtype}; wanted numbers.")
        entries[name] = array.astype(made[name].dtype)
    return made.updated(entries)


def readings(array: Array, open_shape: bool, chain: bool) -> list[Array]:
    """What an input may mean: one sample or the array itself, real numbers or indices."""
    shaped = [array]
    if open_shape and chain and array.ndim < 2:
        shaped = [array.reshape(1, -1), np.atleast_1d(array)]
    whole = array.size > 0 and bool(np.all(array == np.round(array))) and bool(np.abs(array).max() < 2**53)
    found = [a.astype(np.float64) if a.dtype.kind in "iu" else a for a in shaped]
    return found + [a.astype(np.int64) for a in shaped if whole]


def targets(array: Array, open_shape: bool, y: Array) -> list[Array]:
    """What a target may mean, next to a prediction: numbers of its shape, class labels, or the array itself."""
    found = []
    if array.size == y.size and (open_shape or array.shape == y.shape):
        found.append(array.reshape(y.shape).astype(np.float64))
    labels = array.reshape(-1) if open_shape else array
    if labels.size and np.all(labels == np.round(labels)):
        found.append(labels.astype(np.int64))
        found += [labels.reshape(()).astype(np.int64)] if labels.size == 1 else []
    return [*found, array.astype(np.float64), *([labels.astype(np.float64)] if open_shape else [])]


def settle(program: Program, held: State, candidates: Mapping[str, Sequence[Array]]) -> dict[str, Array]:
    """The first combination of readings that the layers accept; if they accept none, the complaint that says most."""
    names = list(candidates)
    complaints: list[RefbpError] = []
    for chosen in itertools.islice(itertools.product(*candidates.values()), 64):
        try:
            run(program, held, dict(zip(names, chosen, strict=True)))
        except RefbpError as error:
            complaints.append(error)
        else:
            return dict(zip(names, chosen, strict=True))
    # one that got as far as the values knew the right dtype and shape, and one about the shape the right dtype
    telling = (ValueRangeError, ShapeError, RefbpError)
    raise next(error for kind in telling for error in complaints if isinstance(error, kind))


def run(program: Program, held: State, given: Mapping[str, Array], until: int | None = None) -> dict[str, Array]:
    """The values of a forward pass, up to a node, with some noise: only shapes and dtypes matter here."""
    from refbp.trace.record import noise

    values = {**given, **{n: np.asarray(v, np.float64) for n, v in program.fixed.items()}}
    with np.errstate(all="ignore"):
        for node in program.nodes[:until]:
            inputs = [values[n] for n in node.inputs]
            entries = {own: held[name] for name, own in node.entries.items()}
            try:
                outputs = node.layer(entries, *inputs, *noise(node.layer, inputs, 0)).outputs
            except RefbpError as error:
                raise type(error)(f"computing {', '.join(node.outputs)}: {error}") from error
            values |= zip(node.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=False)
    return values


def default_input(layer: Layer[Any], rng: np.random.Generator) -> Array | None:
    """One sample, in tenths, for a layer that says how many features it wants."""
    wanted = getattr(layer, "in_features", None)
    return None if wanted is None else np.round(rng.normal(size=(1, wanted)), 1)


def default_targets(y: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Class labels, or numbers between zero and one: the first that the loss accepts is taken."""
    if y.ndim > 1 and y.shape[1]:
        yield rng.integers(0, y.shape[1], (len(y), *y.shape[2:]))
    yield np.round(rng.uniform(0, 1, y.shape), 1)
