"""The parent's end of a worker: pipes with sizes and deadlines, and the end of the whole process group."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import time
from typing import Literal, NamedTuple

from refbp.oracle.isolation._inside import wire
from refbp.oracle.isolation.confine import ENVIRONMENT, Launch, release
from refbp.oracle.isolation.limits import Limits, size

CHUNK = 1 << 16


class Reply(NamedTuple):
    """A frame, or how there came to be none."""

    kind: Literal["frame", "timeout", "died", "garbage", "too much output", "memory"]
    head: wire.Head | None = None
    data: bytes = b""
    reason: str = ""


class Captured:
    """The first bytes of a stream, and how many there were."""

    def __init__(self, fd: int, keep: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.keep = keep
        self.open = True
        self.clear()

    def clear(self) -> None:
        """Forget what was said before."""
        self.kept = bytearray()
        self.total = 0

    def drain(self, at_most: int = 1 << 24) -> None:
        """Read all that is there."""
        while self.open and at_most > 0:
            try:
                part = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            self.open = bool(part)
            self.total += len(part)
            at_most -= len(part)
            self.kept += part[: max(0, self.keep - len(self.kept))]

    def text(self) -> str:
        """What was kept, with a line that says how much was not."""
        plain = bytes(self.kept).decode(errors="replace")
        return plain + (f"\n[{size(self.total - len(self.kept))} more]" if self.total > len(self.kept) else "")


class Process:
    """A worker's process from outside. Not to be shared between threads, and ended in the one that started it."""

    def __init__(self, made: Launch, requests: int, replies: int, trace: int, limits: Limits) -> None:
        self._lock = made.lock
        self._inside: int | None = None  # a descriptor of the first process inside bubblewrap
        self._requests, self._replies = requests, replies
        self._limits = limits
        try:
            self._popen = subprocess.Popen(
                made.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=made.descriptors,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # a group of its own, which can be ended whole
            )
        except OSError:
            for fd in (requests, replies, trace):
                os.close(fd)
            release(made)
            raise
        info, made.info, made.lock = made.info, None, None
        release(made)
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        for fd in (requests, replies):
            os.set_blocking(fd, False)
        self.out = Captured(self._popen.stdout.fileno(), limits.output)
        self.err = Captured(self._popen.stderr.fileno(), limits.output)
        self.trace = Captured(trace, limits.output)
        self.alive = True
        try:
            self._inside = None if info is None else _first_inside(info, limits.start_seconds)
        except BaseException:
            self.end()
            raise
        finally:
            if info is not None:
                os.close(info)

    def ask(self, parts: list[bytes], token: bytes, seconds: float) -> Reply:
        """Send a frame and wait for the one that answers it; anything but a frame ends the process."""
        self.trace.drain()
        for stream in (self.out, self.err, self.trace):
            stream.clear()
        try:
            reply = self._exchange(b"".join(parts), token, time.monotonic() + seconds)
        except BaseException:  # Ctrl-C among them: no worker stays behind
            self.end()
            raise
        if reply.kind != "frame":
            reply = self._how_it_ended(reply)
            self.end()
        return reply

    def _exchange(self, request: bytes, token: bytes, deadline: float) -> Reply:
        unsent = memoryview(request)
        answer = _Answer(token, self._limits.reply)
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            for stream in (self.out, self.err):
                if stream.open:
                    selector.register(stream.fd, selectors.EVENT_READ, stream)
            if unsent:
                selector.register(self._requests, selectors.EVENT_WRITE)
            while True:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return Reply("timeout")
                exited = self._exit_code() is not None
                for key, _ in selector.select(0 if exited else min(remaining, 0.1)):
                    if isinstance(key.data, Captured):
                        key.data.drain(CHUNK)
                        if not key.data.open:
                            selector.unregister(key.fd)
                    elif key.fd == self._requests:
                        try:
                            unsent = unsent[os.write(self._requests, unsent[: 1 << 20]) :]
                        except BlockingIOError:
                            continue
                        except OSError:  # nobody reads: the replies will tell why
                            unsent = unsent[len(unsent) :]
                        if not unsent:
                            selector.unregister(self._requests)
                    else:
                        reply = answer.read(self._replies)
                        if reply is not None:
                            self.out.drain(self._limits.flood)
                            self.err.drain(self._limits.flood)
                            if self.out.total + self.err.total <= self._limits.flood or reply.kind != "frame":
                                return reply
                if self.out.total + self.err.total > self._limits.flood:
                    return Reply("too much output", reason=f"it prints more than {size(self._limits.flood)}")
                if exited:
                    reply = answer.read(self._replies)
                    return reply if reply is not None else Reply("died")

    def _how_it_ended(self, reply: Reply) -> Reply:
        if reply.kind != "died":
            return reply
        code = self._wait(0.5)
        if code is None:
            return reply._replace(reason="it closed the pipe that its answer was to come through")
        number = -code if code < 0 else code - 128  # bubblewrap says 128 + n of a signal
        try:
            name = signal.Signals(number).name if number > 0 else ""
        except ValueError:
            name = ""
        if name == "SIGXCPU":
            return reply._replace(kind="timeout", reason="it used up its processor time")
        if name == "SIGKILL":
            return reply._replace(kind="memory", reason="the system killed it")
        if name:
            hint = ": often a recursion without end" if name == "SIGSEGV" else ""
            return reply._replace(reason=f"{name}{hint}")
        return reply._replace(reason=f"exit code {code}")

    def _exit_code(self) -> int | None:
        """How the process ended, as subprocess says it, without taking its number from it; None while it runs.

        The number is the process group's too. Once somebody has waited for it, it may be given to anybody.
        """
        if not hasattr(os, "waitid"):
            return self._popen.poll()
        ended = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _wait(self, seconds: float) -> int | None:
        patience = time.monotonic() + seconds
        while (code := self._exit_code()) is None and time.monotonic() < patience:
            time.sleep(0.002)
        return code

    def end(self) -> None:
        """Kill the whole process group, and close everything."""
        if not self.alive:
            return
        self.alive = False
        if self._inside is not None:
            # All inside die with it, and bubblewrap, seeing that, cleans up and ends by itself
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._inside, signal.SIGKILL)
            os.close(self._inside)
            self._wait(2)
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.kill()
        self.trace.drain()
        for fd in (self._requests, self._replies, self.trace.fd):
            os.close(fd)
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()
        self.out.open = self.err.open = self.trace.open = False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)
        if self._lock is not None:
            self._lock.close()


def _first_inside(info: int, seconds: float) -> int | None:
    """A descriptor of the process that bubblewrap names; None if it names none: it did not come up, and will say why."""
    said, patience = b"", time.monotonic() + seconds
    while select.select([info], [], [], max(0.0, patience - time.monotonic()))[0]:
        part = os.read(info, CHUNK)
        said += part
        try:
            return os.pidfd_open(json.loads(said)["child-pid"])
        except ValueError:  # not all of it yet
            if not part:
                break
        except (KeyError, TypeError, AttributeError, OSError):  # an old bubblewrap, kernel or Python
            break
    return None


class _Answer:
    """A frame that comes in pieces, judged as early as it can be."""

    def __init__(self, token: bytes, body: int) -> None:
        self._token = token
        self._body = body
        self._data = bytearray()
        self._head: wire.Head | None = None

    def read(self, fd: int) -> Reply | None:
        """What the pipe holds; None while the frame is not complete."""
        while True:
            missing = (wire.HEAD.size if self._head is None else self._head.header + self._head.body) - len(self._data)
            try:
                part = os.read(fd, min(missing, 1 << 20)) if missing else b""
            except BlockingIOError:
                return None
            except OSError:
                return Reply("died")
            if missing and not part:
                return Reply("died")
            self._data += part
            if len(part) < missing:
                continue
            if self._head is not None:
                return Reply("frame", self._head, bytes(self._data))
            try:
                self._head = wire.read_head(bytes(self._data))
            except wire.WireError as error:
                return Reply("garbage", reason=f"what came through the pipe is {error}")
            self._data.clear()
            if self._head.token != self._token:  # an answer prepared before the question was asked
                return Reply("garbage", reason="what came through the pipe does not answer what was asked")
            if self._head.header > wire.HEADER or self._head.body > self._body:
                return Reply("too much output", reason=f"it returns more than {size(self._body)}")
