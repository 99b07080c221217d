"""Data sets: read from CSV or npz, checked number by number, split into a part to learn from and a part to test on.

A CSV file is rows of numbers, one sample each, with or without a heading; the last column is the target unless columns are
named. An npz file holds one array of inputs and one of targets, a sample each along the first axis.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refbp.contract import Array
from refbp.errors import ArgumentError, DtypeError, RefbpError, ShapeError, ValueRangeError, did_you_mean, listed

INPUTS = ("x", "inputs", "input", "images", "data", "features")
TARGETS = ("y", "t", "targets", "target", "labels", "label", "classes")


@dataclass(frozen=True)
class Data:
    """Inputs (N, …) and targets (N, …) as they were read: floating-point numbers or integers."""

    source: str
    x: Array
    target: Array
    order: Array | None = None  # where each sample stood in the file, where that is another order

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Array) -> Data:
        """The samples of these numbers."""
        return Data(self.source, self.x[rows], self.target[rows], rows if self.order is None else self.order[rows])

    def place(self, sample: int) -> int:
        """Which sample of the file it is, counted from 1."""
        return 1 + (sample if self.order is None else int(self.order[sample]))

    @property
    def digest(self) -> str:
        """What tells this data set from another: its numbers, wherever the file lies."""
        hashed = hashlib.sha256()
        for array in (self.x, self.target):
            hashed.update(f"{array.dtype.str}{array.shape}".encode())
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()


def read(path: str | Path, inputs: str | None = None, targets: str | None = None) -> Data:
    """The data set in a file. ``inputs`` and ``targets`` name arrays of an npz file or columns of a CSV file.

    ``targets`` may also be a number: so many columns of a CSV file, counted from the right.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise ArgumentError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: give a .csv or .npz file.")
    if path.suffix == ".npz":
        return _of_npz(path, inputs, targets)
    if path.suffix in (".csv", ".tsv", ".txt"):
        return _of_csv(path, inputs, targets)
    raise ArgumentError(f"{path} is neither .csv nor .npz: save the data as rows of numbers, or with numpy.savez.")


# npz ------------------------------------------------------------------------------------------------------------------


def _of_npz(path: Path, inputs: str | None, targets: str | None) -> Data:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # closed also where it is no archive
            arrays = {n: file[n] for n in file.files}
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:  # TypeError: an npy file
        why = (
            "it holds Python objects, not numbers" if "pickle" in str(error) and "allow_pickle" in str(error) else "no npz file"
        )
        why = "it is empty" if path.stat().st_size == 0 else why
        raise ArgumentError(f"{path} cannot be read ({why}); wanted what numpy.savez writes from arrays of numbers.") from None
    x = arrays[_chosen(path, arrays, inputs, INPUTS, 0, "inputs")]
    target = arrays[_chosen(path, arrays, targets, TARGETS, 1, "targets")]
    return _checked(Data(str(path), _numbers(path, "inputs", x), _numbers(path, "targets", target)))


def _chosen(path: Path, arrays: dict[str, Array], given: str | None, usual: Sequence[str], place: int, what: str) -> str:
    if given is not None:
        if given not in arrays:
            raise ArgumentError(
                f"{path} has no array {given!r}{did_you_mean(given, list(arrays))}; it holds {listed(list(arrays))}."
            )
        return given
    known = [n for n in arrays if n.lower() in usual]
    if len(known) == 1:
        return known[0]
    if len(arrays) == 2 and not known:
        return list(arrays)[place]
    raise ArgumentError(f"{path} holds {listed(list(arrays))}: say which array has the {what}, --{what} NAME.")


def _numbers(path: Path, what: str, array: Array) -> Array:
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{path}: the {what} are {array.dtype}; wanted numbers.")
    if array.ndim == 0:
        raise ShapeError(f"{path}: the {what} are a single number; wanted an array with a sample for each entry.")
    return array.astype(np.float64) if array.dtype.kind == "f" else array.astype(np.int64)


def _checked(data: Data) -> Data:
    if len(data.x) != len(data.target):
        raise ShapeError(f"{data.source} has {len(data.x)} inputs and {len(data.target)} targets; wanted as many of both.")
    if data.x.size == 0 or data.target.size == 0:
        raise ShapeError(f"{data.source} holds no samples.")
    for what, array in (("inputs", data.x), ("targets", data.target)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            at = f"[{', '.join(map(str, place))}]"
            raise ValueRangeError(f"{data.source}: the {what} hold {array[place]} at {at}; wanted finite numbers only.")
    return data


# CSV ------------------------------------------------------------------------------------------------------------------


def _of_csv(path: Path, inputs: str | None, targets: str | None) -> Data:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ArgumentError(f"{path} is not text in UTF-8; wanted rows of numbers.") from None
    lines = [(n, row) for n, row in _rows(path, text) if any(cell.strip() for cell in row)]
    if not lines:
        raise ArgumentError(f"{path} is empty; wanted rows of numbers, one sample each.")
    heading = [cell.strip() for cell in lines[0][1]]
    headed = not any(map(_is_number, filter(None, heading)))  # a heading has no number in it, a faulty row some
    lines = lines[1:] if headed else lines
    if not lines:
        raise ArgumentError(f"{path} has a heading and no rows of numbers under it.")
    names = heading if headed else [f"column {i + 1}" for i in range(len(heading))]
    table = np.array([_row(path, n, row, names) for n, row in lines])
    last = _columns(path, names, targets, headed)
    first = [i for i in range(len(names)) if i not in last] if inputs is None else _named(path, names, inputs, headed)
    if not first:
        raise ShapeError(f"{path} has {len(names)} columns, all of them targets; wanted at least one input beside them.")
    return Data(str(path), _whole(table[:, first]), _whole(table[:, last]))


def _rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """The lines with their numbers, cut at commas, or at semicolons or tabs where the first line has those instead."""
    first = text.lstrip().partition("\n")[0]
    cut = next((c for c in (",", ";", "\t") if c in first), ",")
    reader = csv.reader(io.StringIO(text), delimiter=cut)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ArgumentError(f"{path}, line {reader.line_num}: {error}; wanted rows of numbers.") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(path: Path, line: int, row: list[str], names: list[str]) -> list[float]:
    if len(row) != len(names):
        raise ShapeError(f"{path}, line {line}: {len(row)} columns; wanted {len(names)}, as in the first line.")
    values = []
    for i, cell in enumerate(row):
        where = f"{path}, line {line}, column {i + 1}" + ("" if names[i] == f"column {i + 1}" else f" ({names[i]})")
        if not cell.strip():
            raise ValueRangeError(f"{where}: nothing is there; wanted a number.")
        if not _is_number(cell):
            raise DtypeError(f"{where}: {cell.strip()[:40]!r} is no number; wanted one in every column under the heading.")
        value = float(cell)
        if not np.isfinite(value):
            raise ValueRangeError(f"{where}: {cell.strip()} is given; wanted finite numbers only: leave such rows out.")
        values.append(value)
    return values


def _columns(path: Path, names: list[str], targets: str | None, headed: bool) -> list[int]:
    if targets is None or targets.isdigit():
        count = 1 if targets is None else int(targets)
        if not 0 < count < len(names):
            raise ShapeError(
                f"{path} has {len(names)} column{'s' * (len(names) > 1)}; wanted at least {max(count, 1) + 1}:"
                f" inputs, and then {max(count, 1)} of targets."
            )
        return list(range(len(names) - count, len(names)))
    return _named(path, names, targets, headed)


def _named(path: Path, names: list[str], given: str, headed: bool) -> list[int]:
    if not headed:
        raise ArgumentError(f"{path} has no heading, so no column is called {given!r}: give a number of columns, or a heading.")
    wanted = [n.strip() for n in given.split(",")]
    if unknown := [n for n in wanted if n not in names]:
        raise ArgumentError(f"{path} has no column {unknown[0]!r}{did_you_mean(unknown[0], names)}; it has {listed(names)}.")
    return [names.index(n) for n in wanted]


def _whole(array: Array) -> Array:
    """Integers, where all numbers are whole: they may be labels or indices."""
    whole = bool(np.all(array == np.round(array))) and bool(np.abs(array).max(initial=0) < 2**53)
    return array.astype(np.int64) if whole else array


# What a network takes -------------------------------------------------------------------------------------------------


def split(data: Data, fraction: float, rng: np.random.Generator) -> tuple[Data, Data | None]:
    """The samples in random order: those to learn from, and that fraction to test on, or None where it is 0."""
    if not 0 <= fraction < 1:
        raise ArgumentError(f"the fraction to test on is {fraction}; wanted at least 0 and less than 1, such as 0.2.")
    order = rng.permutation(len(data))
    tested = round(len(data) * fraction)
    if fraction and not 0 < tested < len(data):
        raise ShapeError(f"{data.source} has {len(data)} samples; wanted enough for {fraction:g} of them to be tested on.")
    return data[order[tested:]], data[order[:tested]] if tested else None


@dataclass(frozen=True)
class Scale:
    """What is taken from every input, and what it is then divided by: nothing and 1 unless standardised."""

    mean: Array
    std: Array

    @classmethod
    def of(cls, x: Array) -> Scale:
        """Mean 0 and standard deviation 1 for every feature of these inputs; a feature that never changes is only centred."""
        std = x.std(0)
        return cls(np.asarray(x.mean(0)), np.asarray(np.where(std > 0, std, 1)))

    def __call__(self, x: Array) -> Array:
        return np.asarray((x - self.mean) / self.std)


def meant(target: Array, y: Array, takes: str) -> list[Array]:
    """What targets may mean next to a prediction, the likeliest first: class indices, or numbers of its shape.

    ``takes`` is what the loss's pattern says of a target: "index", "any", or "" for floating-point numbers.
    """
    found = []
    if target.dtype.kind in "iu" and takes in ("index", "any"):
        found += [target[:, 0]] if target.ndim == 2 and target.shape[1] == 1 else []
        found += [target]
    if takes != "index" and target.size == y.size:
        found.append(target.reshape(y.shape).astype(y.dtype))
    return found


def check_labels(data: Data, labels: Array, classes: int, ignored: int | None) -> None:
    """Class indices must be those of the network's outputs; the sentence says which sample's is not."""
    wrong = (labels < 0) | (labels >= classes)
    wrong &= labels != ignored if ignored is not None else True
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueRangeError(
            f"{data.source}: sample {data.place(place[0])} has the label {labels[place]}; wanted 0 to {classes - 1},"
            f" for the network has {classes} outputs."
        )


def explained(data: Data, error: RefbpError) -> RefbpError:
    """The sentence of a layer that does not take this data, with what the data is."""
    shape = f"inputs {data.x.shape[1:] or '()'} and targets {data.target.shape[1:] or '()'} for each of {len(data)} samples"
    return type(error)(f"{data.source} has {shape}, and the network does not take them: {error}")
