"""The folder a worker lives in: a copy of the submission, the worker's own code, and the packages it may import.

The submission is copied, so that nothing a worker does can reach the original, and so that nothing beside it is exposed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import py_compile
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refbp.errors import did_you_mean
from refbp.oracle.isolation.limits import size
from refbp.oracle.isolation.result import IsolationError, SubmissionError

INSIDE = Path(__file__).with_name("_inside")
COPIED = {".py", ".pyi", ".json", ".toml", ".txt", ".csv", ".npy", ".npz"}
ONE_FILE = 4 << 20  # bytes: what is larger is a data set, and not copied
ALL_FILES = 32 << 20
MANY = 2_000  # files that are copied
VERY_MANY = 50_000  # files and folders that are looked at
CONTRACT = (
    *("__init__.py", "contract.py", "errors.py", "arguments.py", "shapes.py", "numerics.py", "draws.py", "spec.py"),
    *("hookspecs.py", "layers/__init__.py", "layers/_elementwise.py", "losses/__init__.py", "losses/_loss.py"),
)
SKIPPED = {"__pycache__", "node_modules", "venv", "site-packages"}
GIVEN = ".given"  # a folder that no submission's can be: what is hidden is not copied


@dataclass(frozen=True)
class Room:
    """Where things are, and what the submission is called there."""

    base: Path
    module: str  # what the submission is imported as
    file: str  # the submission, below ``base / "submission"``
    path: tuple[str, ...]  # what goes in front of sys.path, below ``base / "submission"``
    packages: dict[str, str]  # what may be imported besides the standard library: name to real path
    given: tuple[str, ...] = ()  # what goes behind sys.path, below ``base / "submission"``

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.base, ignore_errors=True)


def furnish(
    submission: Path,
    root: Path | None,
    extra_modules: Sequence[str],
    stand_ins: Mapping[str, str] | None = None,
    given: Mapping[str, str] | None = None,
) -> Room:
    """A room with a copy of ``submission`` and, if given, of the Python files and small data files of ``root`` around it.

    ``stand_ins`` names, for a module that a submission compiles, the one beside it that is used in its place. ``given`` are
    files, by name, for a submission that has not its own of that name.
    """
    submission = submission.absolute()
    _readable(submission)
    ours = [m for m in extra_modules if m == "refbp"]
    packages = packages_of(("numpy", *(m for m in extra_modules if m != "refbp"), *(["pluggy"] if ours else [])))
    base = Path(tempfile.mkdtemp(prefix="refbp-"))
    try:
        for folder in ("inside/_inside/__pycache__", "site", "submission", "empty"):
            (base / folder).mkdir(parents=True)
        for name, content in _inside().items():
            (base / "inside" / "_inside" / name).write_bytes(content)
        if root is None:
            target = submission.name if submission.suffix == ".py" else f"{submission.name}.py"
            (base / "submission" / target).write_bytes(submission.read_bytes())
            module = _name(submission.stem, ())
            path: tuple[str, ...] = (".",)
        else:
            root = root.absolute()
            if not submission.resolve().is_relative_to(root.resolve()):
                raise SubmissionError(f"{submission} is not in the folder {root}: give a folder that holds it")
            relative = submission.resolve().relative_to(root.resolve())
            _copy(root, base / "submission" / root.name)
            _stand_in(base / "submission" / root.name, stand_ins or {})
            target = str(Path(root.name) / relative)
            (base / "submission" / target).write_bytes(submission.read_bytes())
            around = (root.name, *relative.parts[:-1])
            top = _package_top(root, relative)
            parts = around[top:]
            whole = all(p.isidentifier() for p in parts) and parts[0] not in sys.stdlib_module_names | {"numpy"}
            module = _name(relative.stem, parts if whole else ())
            above = [str(Path(*around[:top]))] if top else []
            path = (*above, ".", root.name, *([str(Path(target).parent)] if len(relative.parts) > 1 else []))
            path += tuple(str(Path(root.name) / name) for name in _holding_packages(root))
        if ours:
            _contract(base / "submission" / "refbp")
        for name, source in (given or {}).items():
            (base / "submission" / GIVEN / name).parent.mkdir(parents=True, exist_ok=True)
            (base / "submission" / GIVEN / name).write_text(source)
        for folder, folders, files in os.walk(base):
            for name in folders:
                os.chmod(os.path.join(folder, name), 0o755)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o644)
    except BaseException:
        shutil.rmtree(base, ignore_errors=True)
        raise
    return Room(base, module, target, path, packages, (GIVEN,) if given else ())


@functools.cache
def _inside() -> dict[str, bytes]:
    """The worker's own code and its bytecode: compiling it anew would be a sixth of a worker's start."""
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(INSIDE.glob("*.py")):
            compiled = f"{source.stem}.{sys.implementation.cache_tag}.pyc"
            target, trusted = os.path.join(folder, compiled), py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(source), target, f"_inside/{source.name}", doraise=True, invalidation_mode=trusted)
            files[source.name] = source.read_bytes()
            files[f"__pycache__/{compiled}"] = Path(target).read_bytes()
    return files


def _contract(folder: Path) -> None:
    """What a layer of refbp's kind is written with, and none of its layers: those are the answers."""
    home = Path(__file__).parents[2]
    for name in CONTRACT:
        if not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((home / name).read_bytes())


def _stand_in(folder: Path, stand_ins: Mapping[str, str]) -> None:
    """What a submission compiles is not copied, and often not there: a module of its own with the same functions is."""
    for compiled, own in stand_ins.items():
        for source in folder.rglob(f"{own}.py"):
            if not (target := source.with_name(f"{compiled}.py")).exists():
                target.write_bytes(source.read_bytes())


def _holding_packages(root: Path) -> list[str]:
    """The folders of a submission that packages lie in, such as python/ and src/, and that are none themselves."""
    folders = [f for f in sorted(root.iterdir()) if f.is_dir() and not f.is_symlink() and f.name not in SKIPPED]
    return [f.name for f in folders if f.name[0] != "." and not (f / "__init__.py").exists() and any(f.glob("*/__init__.py"))]


def _package_top(root: Path, relative: Path) -> int:
    """How many folders, the root among them, lie above the package of a file: 0 where it is in none."""
    folders = [root, *(root / p for p in list(relative.parents)[-2::-1])]
    packages = [(f / "__init__.py").is_file() for f in folders]
    if not packages[-1]:
        return 0
    return max((i + 1 for i, is_package in enumerate(packages) if not is_package), default=0)


def _readable(submission: Path) -> None:
    if submission.is_dir():
        raise SubmissionError(f"{submission} is a folder: give one of its files, and the folder as root=")
    if not submission.exists():
        beside = [p.name for p in submission.parent.glob("*.py")] if submission.parent.is_dir() else []
        raise SubmissionError(f"{submission} does not exist{did_you_mean(submission.name, beside)}")
    if not stat.S_ISREG(submission.stat().st_mode):
        raise SubmissionError(f"{submission} is not a file")
    if not os.access(submission, os.R_OK):
        raise SubmissionError(f"{submission} cannot be read: permission denied")
    if submission.stat().st_size > ONE_FILE:
        raise SubmissionError(f"{submission} is {size(submission.stat().st_size)}: a submission has at most {size(ONE_FILE)}")


def _name(stem: str, parents: tuple[str, ...]) -> str:
    """What to import a file as: its own name, unless that would hide a module that others need."""
    if parents and stem.isidentifier():
        return ".".join((*parents, stem))
    taken = stem in sys.stdlib_module_names or stem in {"numpy", "_inside"} or not stem.isidentifier()
    return f"submission_{re.sub(r'[^0-9A-Za-z_]', '_', stem)}" if taken else stem


def _copy(root: Path, target: Path) -> None:
    """Copy what code needs; no links, which could lead to what is not the submission's, nothing hidden and nothing large."""
    total = 0
    for count, file in enumerate(_files(root, iter(range(VERY_MANY))), start=1):
        total += file.stat().st_size
        if total > ALL_FILES or count > MANY:
            raise SubmissionError(
                f"{root} has more than {MANY} files or {size(ALL_FILES)} of code and small data: give a smaller folder as root="
            )
        to = target / file.relative_to(root)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
    target.mkdir(exist_ok=True)


def _files(folder: Path, patience: Iterator[int]) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if next(patience, None) is None:
            raise SubmissionError(f"{folder} is one of more than {VERY_MANY} files and folders: give a smaller folder as root=")
        if entry.is_symlink() or entry.name.startswith(".") or not os.access(entry.path, os.R_OK):
            continue
        if entry.is_dir() and entry.name not in SKIPPED:
            yield from _files(Path(entry.path), patience)
        elif entry.is_file() and Path(entry.name).suffix in COPIED and entry.stat().st_size <= ONE_FILE:
            yield Path(entry.path)


def packages_of(modules: Sequence[str]) -> dict[str, str]:
    """Where the named modules are, and those of the distributions that they depend on."""
    found: dict[str, str] = {}
    for module in modules:
        place = _place(module)
        if place is None:
            raise IsolationError(f"the module {module} is not installed here, so a worker cannot have it")
        found[os.path.basename(place)] = place
        libraries = f"{place}.libs"  # where wheels keep the shared libraries of a package
        if os.path.isdir(libraries):
            found[os.path.basename(libraries)] = libraries
    extras = [m for m in modules if m != "numpy"]
    if extras:
        found |= {os.path.basename(p): p for p in _dependencies(extras)}
    return found


def _place(module: str) -> str | None:
    loaded = sys.modules.get(module)
    try:
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return os.path.realpath(next(iter(spec.submodule_search_locations)))
    return os.path.realpath(spec.origin) if spec.origin and os.path.exists(spec.origin) else None


def _dependencies(modules: Sequence[str]) -> Iterator[str]:
    providers = importlib.metadata.packages_distributions()
    todo = [d for m in modules for d in providers.get(m, [])]
    seen: set[str] = set()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for top in {f.parts[0] for f in distribution.files or () if f.parts[0] not in {"..", "__pycache__"}}:
            place = os.path.realpath(str(distribution.locate_file(top)))
            if os.path.exists(place) and not top.endswith((".dist-info", ".pth")):
                yield place
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                todo.append(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
