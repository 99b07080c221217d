"""Submissions as they come: a file, a folder or a zip archive, copied to where nothing else lies.

Copied, because a file beside a classmate's could import it; and only code and small data, never a link, nothing hidden.
What is wrong with an archive is wrong with the submission: UnreadableError, which is its verdict.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from refbp.errors import RefbpError, did_you_mean
from refbp.oracle.isolation.limits import size
from refbp.oracle.isolation.result import text
from refbp.oracle.isolation.room import ALL_FILES, COPIED, MANY, ONE_FILE, SKIPPED, VERY_MANY
from refbp.oracle.submission import UnreadableError

LEFT_OUT = {*SKIPPED, "__MACOSX", ".venv", "build", "dist"}


class IntakeError(RefbpError):
    """What was named is nothing that could be a submission: the command is wrong, not a student."""


@dataclass(frozen=True)
class Source:
    """One submission, by the name that it goes by in every list."""

    name: str
    path: Path


def sources(targets: Sequence[str]) -> list[Source]:
    """What was named, each once, under names that tell them apart; IntakeError for what is not there."""
    paths: dict[Path, Path] = {}
    for target in targets:
        path = Path(target)
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise IntakeError(f"{target} does not exist{did_you_mean(path.name, beside)}; nothing was graded.")
        paths.setdefault(path.resolve(), path)
    given = [Path(os.path.abspath(p)) for p in paths.values()]
    depth, names = 1, [_name(p, 1) for p in given]
    while depth < 12 and max(Counter(names).values(), default=0) > 1:
        depth += 1
        twice = {n for n, count in Counter(names).items() if count > 1}
        names = [_name(p, depth) if n in twice else n for p, n in zip(given, names, strict=True)]
    seen: Counter[str] = Counter()
    found = []
    for name, path in zip(names, paths.values(), strict=True):
        seen[name] += 1
        found.append(Source(name if seen[name] == 1 else f"{name} ({seen[name]})", path))
    return found


def _name(path: Path, depth: int) -> str:
    last = path.stem if path.suffix in {".py", ".zip", ".ipynb"} and path.is_file() else path.name
    return text("/".join([*path.parts[1:-1], last][-depth:]) or "submission", 300)  # which a terminal is to show


def stage(source: Path, folder: Path) -> Path:
    """Copy a submission into an empty folder: the file in it, or the folder, that is to be read."""
    folder.mkdir(parents=True)
    if source.is_dir():
        return _written(_of_folder(source), folder / (source.resolve().name or "submission"), source)
    if zipfile.is_zipfile(source) and source.suffix != ".py":
        return _within(_written(_of_archive(source), folder / "submission", source))
    if source.suffix == ".zip":
        raise UnreadableError(f"{source.name} is no zip archive that can be read: is it complete?")
    if source.suffix in {".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz"}:
        raise UnreadableError(f"{source.name} is an archive of another kind than zip: unpack it, and give the folder.")
    if not source.is_file():
        raise UnreadableError(f"{source.name} is neither a file nor a folder.")
    if source.stat().st_size > ONE_FILE:
        raise UnreadableError(f"{source.name} is {size(source.stat().st_size)}: a submission has at most {size(ONE_FILE)}.")
    (folder / source.name).write_bytes(source.read_bytes())
    return folder / source.name


def digest(staged: Path) -> str:
    """A hash of every file's name and content."""
    found = hashlib.sha256()
    files = sorted(p for p in staged.rglob("*") if p.is_file()) if staged.is_dir() else [staged]
    for file in files:
        name = str(file.relative_to(staged.parent if file == staged else staged)).encode(errors="surrogateescape")
        content = file.read_bytes()
        found.update(b"%d %d " % (len(name), len(content)) + name + content)
    return found.hexdigest()


def _written(files: Iterator[tuple[PurePosixPath, bytes]], target: Path, source: Path) -> Path:
    target.mkdir()
    total = count = 0
    for name, content in files:
        total, count = total + len(content), count + 1
        if total > ALL_FILES or count > MANY:
            raise UnreadableError(f"{source.name} has more than {MANY} files or {size(ALL_FILES)} of code and small data.")
        place = target / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "xb") as file:
                file.write(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise UnreadableError(f"{source.name} has two entries for {name}.") from None
    return target


def _within(folder: Path) -> Path:
    """The one folder in which an archive's files lie, if there is no other."""
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder


def _wanted(name: PurePosixPath) -> bool:
    outside = any(p in LEFT_OUT or p.startswith(".") for p in name.parts)
    return not outside and name.suffix in COPIED | {".ipynb"}


def _of_folder(folder: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    patience = iter(range(VERY_MANY))
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for entry in sorted(os.scandir(here), key=lambda e: e.name):
            if next(patience, None) is None:
                raise UnreadableError(f"{folder.name} has more than {VERY_MANY} files and folders.")
            name = PurePosixPath(Path(entry.path).relative_to(folder))
            if entry.is_symlink() or entry.name.startswith(".") or entry.name in LEFT_OUT:
                continue
            if entry.is_dir():
                waiting.append(Path(entry.path))
            elif entry.is_file() and _wanted(name) and entry.stat().st_size <= ONE_FILE:
                yield name, Path(entry.path).read_bytes()


def _of_archive(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of an archive. A name that leads out of it, a link or a bomb refuses the whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > VERY_MANY:
                raise UnreadableError(f"{path.name} has more than {VERY_MANY} entries.")
            for entry in entries:
                name = _safe(entry, path.name)
                if entry.is_dir() or not _wanted(name) or entry.file_size > ONE_FILE:  # which zipfile reads no further than
                    continue
                if entry.flag_bits & 1:
                    raise UnreadableError(f"{path.name} is encrypted: hand it in without a password.")
                yield name, archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UnreadableError(f"{path.name} is no zip archive that can be read: {error}.") from None


def _safe(entry: zipfile.ZipInfo, archive: str) -> PurePosixPath:
    called = entry.filename.replace("\\", "/")
    name = PurePosixPath(called)
    drive = len(called) > 1 and called[1] == ":"
    if name.is_absolute() or ".." in name.parts or drive or "\0" in entry.orig_filename or not name.parts:
        raise UnreadableError(f"{archive} has an entry that leads out of it: {entry.orig_filename!r:.80}.")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnreadableError(f"{archive} has an entry that is a link or a device: {entry.orig_filename!r:.80}.")
    if len(called) > 1_000 or len(name.parts) > 40 or any(len(p.encode(errors="replace")) > 200 for p in name.parts):
        raise UnreadableError(f"{archive} has an entry with too long a name.")
    if called != called.encode(errors="replace").decode():
        raise UnreadableError(f"{archive} has an entry whose name is no text: {entry.orig_filename!r:.80}.")
    return name
