"""What a worker gives up before it runs anybody's code: privileges, files, resources, system calls. In this order.

Everything here is applied by the worker to itself, so it needs no helper program; bubblewrap, where there is one, has
already been around it. ``enter`` says what took effect, and the parent believes only that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

from . import syscalls

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _WRITE_FILE, _READ_DIR = 1 << 2, 1 << 1, 1 << 3


def enter(config: dict[str, Any]) -> dict[str, Any]:
    """Apply what ``config`` asks for; what took effect, by name."""
    done: dict[str, Any] = {"limits": [], "landlock": 0, "uid": None, "filter": False}
    if config["confine"] == "landlock":
        # Before the user is changed: paths that only root reaches are opened by root
        done["landlock"] = _landlock(config["readable"], config["masked"])
        if not done["landlock"]:
            raise OSError("this kernel has no Landlock")
    if config["uid"] is not None:
        done["uid"] = _become(config["uid"])
    done["limits"] = _limit(config["limits"])
    if sys.platform == "linux":
        _die_with_parent(config["parent"])
    # A new user's own processes only are counted, and a system-call filter counts none: the rest is a bound on threads
    done["filter"] = syscalls.install(seal_files=config["confine"] == "hooks")
    if config["confine"] == "hooks" or not done["filter"]:
        _audit(config["readable"], config["masked"])
    return done


def _become(uid: int) -> int | None:
    """Stop being root. On root no limit on processes binds, and root reads everybody's files."""
    try:
        os.setgroups([])
        os.setgid(uid)  # from root these change the saved ids too: there is no way back
        os.setuid(uid)
    except OSError:
        return None
    return uid


def _limit(limits: dict[str, int]) -> list[str]:
    import resource

    done = []
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name}", None)
        if number is None:
            continue
        with contextlib.suppress(OSError, ValueError):
            hard = resource.getrlimit(number)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (bound, bound))
            done.append(name)
    return done


def cpu_until(seconds: float) -> None:
    """Move the soft limit of processor time to ``seconds`` from now: a call that outlives its time-out ends itself."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _die_with_parent(parent: int | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, 9, 0, 0, 0)
    if parent is not None and os.getppid() != parent:  # it died before this line
        os._exit(1)


# Landlock


def _landlock(readable: list[str], masked: list[str]) -> int:
    """Reading below ``readable``, less ``masked``, and nothing else; the version of the interface, or 0 if there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    version = int(libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))
    if version < 1:
        return 0
    files = (1 << 13) - 1 | (version >= 2) << 13 | (version >= 3) << 14 | (version >= 5) << 15
    attributes = struct.pack("=Q", files)
    if version >= 4:
        attributes += struct.pack("=Q", 0b11)  # TCP: neither bind nor connect
    if version >= 6:
        attributes += struct.pack("=Q", 0b11)  # neither abstract sockets nor signals out of here
    rules = int(libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    if rules < 0:
        return 0

    def allow(path: str, rights: int) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                rights &= ~_READ_DIR
            libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", rights, fd), 0)
            os.close(fd)

    for root in readable:
        for path, deep in _less(root, masked):
            allow(path, _READ_FILE | _READ_DIR if deep else _READ_DIR)
    allow("/dev/null", _READ_FILE | _WRITE_FILE)
    for device in ("/dev/urandom", "/dev/zero"):
        allow(device, _READ_FILE)
    no_new_privileges = 38
    libc.prctl(no_new_privileges, 1, 0, 0, 0)
    failed = libc.syscall(_LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)
    return 0 if failed else version


def _less(root: str, masked: list[str]) -> Iterable[tuple[str, bool]]:
    """The parts of a tree that leave ``masked`` out: (path, whether all below it); rules of Landlock only ever add."""
    real = os.path.realpath(root)
    inside = [m for m in masked if m == real or m.startswith(real.rstrip("/") + "/")]
    if real in inside:
        return
    if not inside:
        yield root, True
        return
    yield root, False
    try:
        children = sorted(os.listdir(root))
    except OSError:
        return
    for child in children:
        path = os.path.join(root, child)
        # A link that leads out of the tree would bring in what it leads to
        if os.path.realpath(path).startswith(real.rstrip("/") + "/"):
            yield from _less(path, masked)


# Python's own hooks: what there is where the kernel offers nothing

_FORBIDDEN = (
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile", "subprocess.", "pty.",
    "socket.", "os.kill", "os.killpg", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr", "os.chflags", "shutil.",
    "tempfile.", "ctypes.dlsym", "ctypes.set_errno", "sqlite3.", "resource.prlimit", "syslog.", "webbrowser.", "ftplib.",
)  # fmt: skip


def _audit(readable: list[str], masked: list[str]) -> None:
    roots = tuple(os.path.realpath(r) for r in readable) + ("/dev/null", "/dev/urandom", "/dev/zero")
    hidden = tuple(masked)
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    forbidden, realpath, fsdecode, path_types = _FORBIDDEN, os.path.realpath, os.fsdecode, (str, bytes, os.PathLike)

    def below(path: str, tops: tuple[str, ...]) -> bool:
        return any(path == t or path.startswith(t.rstrip("/") + "/") for t in tops)

    def refuse(path: str) -> None:
        raise PermissionError(1, "not permitted in a worker", path)

    def read(path: object) -> None:
        if isinstance(path, path_types):
            real = realpath(fsdecode(path))
            # The longest match decides: NumPy lies below a folder of packages that is hidden
            seen = max((len(t) for t in roots if below(real, (t,))), default=-1)
            if seen < max((len(t) for t in hidden if below(real, (t,))), default=0):
                refuse(real)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int) or path is None:
                return
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & writing):
                if fsdecode(path) != "/dev/null":
                    refuse(fsdecode(path))
            else:
                read(path)
        elif event == "import" and args[1] is not None:
            read(args[1])
        elif event == "ctypes.dlopen" and args[0] is not None:
            read(args[0])
        elif event.startswith(forbidden):
            raise PermissionError(1, f"{event} is not permitted in a worker")

    _add_hook(hook)


def _add_hook(hook: Callable[[str, tuple[Any, ...]], None]) -> None:
    sys.addaudithook(hook)
