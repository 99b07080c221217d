"""A system-call filter (seccomp) for the rest of the process's life: no processes, no network, no reaching others.

It needs no privilege and no program, so it is on wherever Linux runs on x86-64 or arm64. A refused call fails with EPERM,
which Python raises as PermissionError: whoever tried gets an ordinary traceback.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

# name: (x86-64, arm64); None where the architecture has no such call
Numbers = dict[str, tuple[int | None, int | None]]

PROCESSES: Numbers = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "setsid": (112, 157), "setpgid": (109, 154),
}  # fmt: skip
OTHERS: Numbers = {  # reading, stopping, tracing or slowing down another process
    "ptrace": (101, 117), "kcmp": (312, 272), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
}  # fmt: skip
NETWORK: Numbers = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}  # fmt: skip
MEMORY: Numbers = {  # that no limit on the address space sees, or that outlives the process
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180),
}  # fmt: skip
KERNEL: Numbers = {  # nothing that an array function needs
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "fsmount": (432, 432),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "personality": (135, 92), "quotactl": (179, 60), "fanotify_init": (300, 262),
}  # fmt: skip
METADATA: Numbers = {  # changes to files that Landlock does not guard
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip
WRITING: Numbers = {  # refused where neither bubblewrap nor Landlock guards the files
    "creat": (85, None), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None),
    "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "truncate": (76, 45), "mknod": (133, None),
    "mknodat": (259, 33),
}  # fmt: skip
OPEN = (2, None)
OPENAT = (257, 56)
OPENAT2 = (437, 437)
CLONE = (56, 220)
CLONE3 = (435, 435)
KILL = (62, 129)
TGKILL = (234, 131)
FCNTL = (72, 25)
PRLIMIT = (302, 261)
PRCTL = (157, 167)

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW = 0x7FFF0000
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def supported() -> bool:
    """Whether this is a kernel and a processor whose system calls are known here."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES and sys.maxsize > 2**32


def install(seal_files: bool) -> bool:
    """Put the filter on this thread and all it will start; False where it is not supported or refused.

    ``seal_files`` refuses everything that writes to a file system too.
    """
    if not supported():
        return False
    column, architecture = _ARCHITECTURES[platform.machine()]
    program = b"".join(_program(column, architecture, os.getpid(), seal_files))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0):
        return False
    return bool(libc.prctl(set_seccomp, mode_filter, ctypes.byref(Program(len(program) // 8, program)), 0, 0) == 0)


def _program(column: int, architecture: int, pid: int, seal_files: bool) -> list[bytes]:
    allow = _step(_RETURN, _ALLOW)
    refuse = _step(_RETURN, 0x00050000 | errno.EPERM)
    missing = _step(_RETURN, 0x00050000 | errno.ENOSYS)
    steps = [_step(_LOAD, 4), _step(_EQUAL, architecture, 1, 0), refuse, _step(_LOAD, 0)]
    if column == 0:
        steps += [_step(_AT_LEAST, _X32, 0, 1), refuse]

    def rule(numbers: tuple[int | None, int | None], *body: bytes) -> None:
        number = numbers[column]
        if number is not None:
            steps.extend([_step(_EQUAL, number, 0, len(body)), *body])

    def argument(i: int) -> bytes:
        return _step(_LOAD, 16 + 8 * i)  # its lower half: both architectures are little-endian

    groups = [PROCESSES, OTHERS, NETWORK, MEMORY, KERNEL, METADATA, *([WRITING] if seal_files else [])]
    for group in groups:
        for numbers in group.values():
            rule(numbers, refuse)
    # A thread is a clone that says so; clone3 hides its flags in memory, and the C library falls back to clone
    rule(CLONE, argument(0), _step(_ANY_BIT, _CLONE_THREAD, 0, 1), allow, refuse)
    rule(CLONE3, missing)
    for numbers in (KILL, TGKILL):  # itself it may kill
        rule(numbers, argument(0), _step(_EQUAL, pid, 0, 1), allow, refuse)
    rule(PRLIMIT, argument(0), _step(_EQUAL, 0, 1, 0), _step(_EQUAL, pid, 0, 1), allow, refuse)
    # F_SETOWN, F_SETSIG and F_SETOWN_EX make the kernel send a signal to anybody
    owner = [_step(_EQUAL, command, 0, 1) + refuse for command in (8, 10, 15)]
    rule(FCNTL, argument(1), *_split(owner), allow)
    rule(PRCTL, argument(0), _step(_EQUAL, 1, 0, 1), refuse, allow)  # the signal that its parent's death sends
    if seal_files:
        rule(OPEN, argument(1), _step(_ANY_BIT, _WRITE_FLAGS, 0, 1), refuse, allow)
        rule(OPENAT, argument(2), _step(_ANY_BIT, _WRITE_FLAGS, 0, 1), refuse, allow)
        rule(OPENAT2, missing)
    return [*steps, allow]


def _split(pairs: list[bytes]) -> list[bytes]:
    return [pair[i : i + 8] for pair in pairs for i in (0, 8)]


def _step(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k)
