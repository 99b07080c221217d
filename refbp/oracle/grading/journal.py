"""What has been graded, a line for each, so that an interrupted run goes on where it was.

Lines are appended whole, by one write each, and a line that is not whole (the power went) counts as not written. A line is
found again by its key: the submission's content, the seed, the course and what the rubric has tried.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from refbp import __version__
from refbp.errors import RefbpError
from refbp.oracle.grading.grade import Graded

NAME = "journal.jsonl"


class JournalError(RefbpError):
    """The journal is somebody else's, or cannot be written: nothing is lost that was in it."""


class Journal:
    """One course's gradings in one folder. Held by one run at a time."""

    def __init__(self, folder: Path, course: str, tried: str, fresh: bool = False) -> None:
        """``tried`` is the rubric's fingerprint; ``fresh`` puts what was there aside."""
        self.path, self.course, self.tried = folder / NAME, course, tried
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise JournalError(f"the journal {self.path} cannot be opened: {error.strerror}.") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise JournalError(
                f"another run is grading into {folder}: wait for it, or write to another folder (--out)."
            ) from None
        if fresh and os.fstat(self._fd).st_size:
            self._put_aside()
        self._done: dict[str, Graded] = {}
        self.seed: int | None = None  # of the last run that tried the same
        for entry in self._lines():
            self._take(entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)

    def _put_aside(self) -> None:
        """Keep the old journal under another name, and begin an empty one."""
        number = 1
        while (old := self.path.with_name(f"journal.{number}.jsonl")).exists():
            number += 1
        content = self.path.read_bytes()
        old.write_bytes(content)
        os.ftruncate(self._fd, 0)

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry

    def _take(self, entry: dict[str, Any]) -> None:
        if (entry.get("course"), entry.get("tried"), entry.get("refbp")) != (self.course, self.tried, __version__):
            return
        try:
            if "graded" in entry:
                self._done[str(entry["key"])] = Graded.of(entry["graded"])
            else:
                self.seed = int(entry["seed"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return  # not a line of this version's: it is graded again

    def begin(self, seed: int) -> None:
        """Write down which seed this run has."""
        if seed != self.seed:
            self._append({"seed": seed})
            self.seed = seed

    def key(self, digest: str, seed: int) -> str:
        """What finds a grading again."""
        return hashlib.sha256(f"{digest} {seed} {self.course} {self.tried}".encode()).hexdigest()

    def get(self, digest: str, seed: int) -> Graded | None:
        """What was found of this content before."""
        return self._done.get(self.key(digest, seed))

    def add(self, name: str, digest: str, seed: int, graded: Graded) -> None:
        """Write down what was found; JournalError where the disk does not take it."""
        self._append({"key": self.key(digest, seed), "name": name, "seed": seed, "graded": graded.data()})
        self._done[self.key(digest, seed)] = graded

    def _append(self, entry: dict[str, Any]) -> None:
        entry = {"course": self.course, "tried": self.tried, "refbp": __version__, **entry}
        # The newline in front ends a line that another run was killed in
        line = b"\n" + json.dumps(entry, ensure_ascii=True).encode() + b"\n"
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(28, "the disk took a part of it only")
            os.fsync(self._fd)
        except OSError as error:
            raise JournalError(f"the journal {self.path} cannot be written: {error.strerror}; run it again to go on.") from None
