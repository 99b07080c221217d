"""The file that a run is kept in: θ and the buffers, the optimizer's memory, the epochs so far, and what was asked for.

It is an npz file without pickled objects. The state's entries have their own names, so that ``numpy.load`` gives a state as
it is; all else stands under ``train/``, and what is not an array as JSON. A file is replaced whole or not at all.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refbp.contract import Array, Layer, State
from refbp.errors import ArgumentError, StateError

PREFIX = "train/"
VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: the mean loss over the samples learned from, and over those tested on with the share right."""

    number: int
    loss: float
    test_loss: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A run after some epoch. ``asked`` is everything that a run needs beyond its arrays, as plain data."""

    state: State
    memory: dict[str, Array]
    history: tuple[Epoch, ...]
    asked: Mapping[str, Any]
    steps: int = 0
    arrays: Mapping[str, Array] = field(default_factory=dict)  # of the scale of the inputs

    @property
    def epoch(self) -> int:
        """The last one that is in it."""
        return self.history[-1].number if self.history else 0


def content(checkpoint: Checkpoint) -> bytes:
    """The file's bytes."""
    about = {"version": VERSION, "steps": checkpoint.steps, "buffers": sorted(checkpoint.state.buffers), **checkpoint.asked}
    numbers = [[e.number, e.loss, _or_nan(e.test_loss), _or_nan(e.accuracy)] for e in checkpoint.history]
    arrays: dict[str, Any] = dict(checkpoint.state)
    arrays |= {f"{PREFIX}memory/{n}": a for n, a in checkpoint.memory.items()}
    arrays |= {f"{PREFIX}{n}": a for n, a in checkpoint.arrays.items()}
    arrays |= {f"{PREFIX}history": np.array(numbers).reshape(-1, 4), f"{PREFIX}about": np.array(json.dumps(about))}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def write(path: Path, checkpoint: Checkpoint, new: bool = False) -> None:
    """Write the file whole or not at all, and on the disk before it takes the old one's place.

    A ``new`` one takes nobody's place: where a file of that name has come to be, FileExistsError.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content(checkpoint))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        if new:
            os.link(temporary, path)
            os.unlink(temporary)
        else:
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def free_name(stem: str = "run") -> Path:
    """run.npz, or run-2.npz where that is taken, and so on."""
    return next(p for i in range(1, 10**6) if not (p := Path(f"{stem}{'' if i == 1 else f'-{i}'}.npz")).exists())


def read(path: str | Path) -> Checkpoint:
    """The run in a file; ArgumentError where it holds none."""
    path = Path(path)
    if not path.is_file():
        raise ArgumentError(f"{path} does not exist or is no file: give one that refbp train has saved.")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {n: file[n] for n in file.files}
        about = json.loads(str(arrays.pop(f"{PREFIX}about")))
        history = _history(arrays.pop(f"{PREFIX}history"))
        if about.pop("version") != VERSION:
            raise ArgumentError(f"{path} was saved by another version of refbp: train anew.")
        buffers, steps = set(about.pop("buffers")), int(about.pop("steps"))
    except ArgumentError:
        raise
    except (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        raise ArgumentError(f"{path} is no run of refbp train, or a damaged one; give a file that it has saved.") from None
    memory = {n.removeprefix(f"{PREFIX}memory/"): a for n, a in arrays.items() if n.startswith(f"{PREFIX}memory/")}
    rest = {n.removeprefix(PREFIX): a for n, a in arrays.items() if n.startswith(PREFIX) and "/memory/" not in n}
    state = State({n: a for n, a in arrays.items() if not n.startswith(PREFIX)}, buffers)
    return Checkpoint(state, memory, history, about, steps, rest)


def _history(rows: Array) -> tuple[Epoch, ...]:
    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    return tuple(Epoch(int(n), float(loss), known(test), known(right)) for n, loss, test, right in rows)


def check_state(path: str | Path, found: Checkpoint, net: Layer[Any]) -> None:
    """The state must be the network's."""
    wanted = {**net.params(), **net.buffers()}
    given = {n: a.shape for n, a in found.state.items()}
    if given != wanted:
        differs: Sequence[str] = [n for n in {**wanted, **given} if given.get(n) != wanted.get(n)]
        name = differs[0] if differs else "the order of its entries"
        raise StateError(
            f"{path} holds {name} {given.get(name, 'nowhere')}, the network {wanted.get(name, 'nowhere')}:"
            f" resume a run with the network that it began with."
        )
