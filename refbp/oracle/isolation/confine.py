"""How a worker is started for each kind of confinement: the command line, and what the worker is told to give up.

Root is a case of its own. No limit on processes binds root, and root reads everybody's files, so a worker that root starts
becomes a user that nobody else is: one of the ids that systems leave for such use, a different one for each worker, so that
one submission can neither signal nor trace another's. Interpreters that only root reaches (below /root, say) are then
reached through open descriptors of their folders. Someone who is not root gets a user namespace from bubblewrap, in which
the processes are counted apart; without bubblewrap it is still the same user, and a system-call filter does the rest.
"""

from __future__ import annotations

import functools
import glob
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refbp.oracle.isolation.limits import Confinement, Limits
from refbp.oracle.isolation.room import Room

UIDS = range(61184, 65520)  # what systemd hands out for the time of one service
SYSTEM = ("/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/lib32")
HOME = "/worker"  # of the room, where bubblewrap shows it
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from _inside import boot; boot.main(sys.argv[2])"
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@dataclass
class Launch:
    """A command to start, and what must be kept open while it runs."""

    command: list[str]
    descriptors: list[int] = field(default_factory=list)  # to be inherited, and closed here once it runs
    lock: socket.socket | None = None  # the user id is taken as long as this is open
    info: int | None = None  # where bubblewrap says which process is the first inside
    root: str = ""  # the submission's folder as the worker sees it, with a slash at the end


def why_not(confinement: Confinement) -> str:
    """Why a confinement cannot even be tried, or an empty string."""
    if confinement == "bubblewrap" and shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    if confinement == "landlock" and sys.platform != "linux":
        return "Landlock is Linux's"
    return ""


def launch(
    confinement: Confinement, room: Room, limits: Limits, options: dict[str, Any], pipes: tuple[int, int, int], token: bytes
) -> Launch:
    """What starts a worker in ``room``; ``pipes`` are its ends: requests, replies, trace."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    uid, lock = _claim_uid() if is_root else (None, None)
    made = Launch([], [*pipes], lock)
    try:
        if confinement == "bubblewrap":
            base, python = HOME, interpreter()
            made.info, theirs = os.pipe()
            made.descriptors.append(theirs)
            prefix = _bubblewrap(room, is_root, theirs)
        else:
            base, python = _settle(room, uid, made)
            prefix = []
        made.root = f"{base}/submission/"
        config = {
            "confine": confinement,
            "requests": pipes[0],
            "replies": pipes[1],
            "trace": pipes[2],
            "token": token.hex(),
            "uid": uid,
            "parent": os.getpid() if confinement != "bubblewrap" else None,
            "limits": _rlimits(limits, is_root, confinement),
            "body": limits.reply,
            "site": f"{base}/site",
            "root": made.root,
            "module": room.module,
            "file": made.root + room.file,
            "path": [os.path.normpath(made.root + p) for p in room.path],
            "given": [os.path.normpath(made.root + p) for p in room.given],
            "readable": [*exposed(), *room.packages.values(), *(f"{base}/{d}" for d in ("inside", "site", "submission"))],
            "masked": masked(),
            **options,
        }
        flags = ["-I", "-S", "-B", "-X", "utf8"]
        made.command = [*prefix, python, *flags, "-c", BOOT, f"{base}/inside", json.dumps(config)]
    except BaseException:
        release(made)
        raise
    return made


def release(made: Launch) -> None:
    """Close what is open here and let go of the user id."""
    for fd in made.descriptors:
        os.close(fd)
    made.descriptors.clear()
    if made.info is not None:
        os.close(made.info)
        made.info = None
    if made.lock is not None:
        made.lock.close()


# What can be read


@functools.cache
def interpreter() -> str:
    """The real interpreter, not a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@functools.cache
def exposed() -> tuple[str, ...]:
    """The folders that Python needs to start and to import its standard library; none inside another."""
    standard = os.path.dirname(os.__file__)
    wanted = [os.path.join(p, d) for p in (sys.base_prefix, sys.base_exec_prefix) for d in ("lib", "lib64")]
    wanted += [standard, *(p for p in sys.path if os.path.basename(p) == "lib-dynload")]
    if sys.platform == "linux":
        wanted += SYSTEM
    else:
        wanted += [interpreter(), sys.base_prefix, "/usr/lib", "/System/Library"]
    real = sorted({os.path.realpath(p) for p in wanted if os.path.exists(p)})
    return tuple(p for p in real if not any(p != q and _below(p, q) for q in real))


@functools.cache
def masked() -> tuple[str, ...]:
    """What lies below the exposed folders and must not be read: every folder of installed packages, and refbp."""
    patterns = ("site-packages", "dist-packages", "python*/site-packages", "python*/dist-packages")
    found = [p for root in exposed() for pattern in patterns for p in glob.glob(f"{root}/{pattern}")]
    standard = {os.path.realpath(os.path.dirname(os.__file__)), *exposed()}
    found += [p for p in sys.path if os.path.isdir(p) and os.path.basename(p) != "lib-dynload"]
    found.append(str(Path(__file__).parents[2]))
    real = {os.path.realpath(p) for p in found} - standard
    return tuple(sorted(p for p in real if any(_below(p, root) for root in exposed())))


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


# bubblewrap


def _bubblewrap(room: Room, is_root: bool, info: int) -> list[str]:
    command = [str(shutil.which("bwrap")), "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL", "--info-fd", str(info)]
    # A user namespace that root makes holds root alone, and root could not become anybody else in it
    command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if is_root else ["--unshare-user"]
    # Made first and one by one: a folder that bubblewrap makes on the way to another can be entered by root alone
    shown = [*exposed(), interpreter(), f"{HOME}/site/numpy", "/dev/null", "/etc/alternatives"]
    folders = {str(folder) for path in shown for folder in Path(path).parents}
    for folder in sorted(folders - {"/"}):
        command += ["--dir", folder]
    for path in exposed():
        command += ["--ro-bind", path, path]
    for path in SYSTEM:
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
    command += ["--ro-bind", interpreter(), interpreter()]
    for path in ("/etc/ld.so.cache", "/etc/alternatives"):
        command += ["--ro-bind-try", path, path]
    for path in masked():
        command += ["--ro-bind", str(room.base / "empty"), path]
    for device in ("null", "zero", "urandom", "random"):
        command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for folder in ("inside", "submission"):
        command += ["--ro-bind", str(room.base / folder), f"{HOME}/{folder}"]
    for name, place in room.packages.items():
        command += ["--ro-bind", place, f"{HOME}/site/{name}"]
    return [*command, "--dir", "/tmp", "--chdir", "/", "--remount-ro", "/", "--"]


# No bubblewrap


def _settle(room: Room, uid: int | None, made: Launch) -> tuple[str, str]:
    """The room and the interpreter as paths that the worker can follow, whoever it has become."""
    python, targets = interpreter(), dict(room.packages)
    base = str(room.base)
    if uid is not None:
        os.chmod(room.base, 0o750)  # its user enters by the group; other workers' users do not
        os.chown(room.base, 0, uid)
        if sys.platform == "linux" and not all(_open_to_all(p) for p in (sys.base_prefix, base, *targets.values())):
            base = _by_descriptor(base, made)
            python = os.path.join(
                _by_descriptor(sys.base_prefix, made), os.path.relpath(python, os.path.realpath(sys.base_prefix))
            )
            targets = {n: _by_descriptor(p, made) if os.path.isdir(p) else p for n, p in targets.items()}
    site = room.base / "site"
    for name, place in targets.items():
        (site / name).unlink(missing_ok=True)
        if os.path.isfile(place):  # a module of one file: its folder may be closed to whom the worker becomes
            shutil.copyfile(place, site / name)
            os.chmod(site / name, 0o644)
        else:
            (site / name).symlink_to(place)
    return base, python


def _by_descriptor(folder: str, made: Launch) -> str:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    made.descriptors.append(fd)
    return f"/proc/self/fd/{fd}"


def _open_to_all(path: str) -> bool:
    """Whether any user can walk down to a path; the last step is the room's own business."""
    return all(os.stat(p).st_mode & 0o001 for p in Path(os.path.realpath(path)).parents)


def _claim_uid() -> tuple[int, socket.socket | None]:
    """A user id that no other worker has: a name in the kernel's abstract namespace, gone with whoever holds it."""
    uid = secrets.choice(UIDS)
    if sys.platform != "linux":
        return uid, None
    for _ in range(32):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0refbp-worker-{uid}")
        except OSError:
            lock.close()
            uid = secrets.choice(UIDS)
        else:
            return uid, lock
    return uid, None


def _rlimits(limits: Limits, is_root: bool, confinement: Confinement) -> dict[str, int]:
    bounds = {
        "AS": limits.memory,
        "FSIZE": limits.file_size,
        "NOFILE": limits.descriptors,
        "CPU": limits.cpu_seconds,
        "CORE": 0,
        "MSGQUEUE": 0,
    }
    if is_root or confinement == "bubblewrap":
        bounds["NPROC"] = limits.processes
    else:
        mine = _my_processes()
        if mine is not None:
            bounds["NPROC"] = mine + limits.processes
    return bounds


def _my_processes() -> int | None:
    """How many tasks this user has: without a user of its own, a worker's are counted with everybody else's."""
    tasks = 0
    try:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    if entry.stat().st_uid == os.getuid():
                        tasks += os.stat(f"/proc/{entry.name}/task").st_nlink - 2
                except OSError:
                    continue
    except OSError:
        return None
    return tasks


def reasons(tried: Sequence[tuple[Confinement, str]]) -> str:
    """Why better confinements were not used, and what to do."""
    if not tried:
        return ""
    why = "; ".join(f"{name}: {reason}" for name, reason in tried)
    hint = " (Debian, Ubuntu: apt-get install bubblewrap)" if any("not installed" in r for _, r in tried) else ""
    return f"Not used: {why}{hint}"
