"""Somebody else's functions and classes, called in a process of their own.

with Worker("layers.py") as w:
    w.names()["affine_forward"].parameters
    forward = w.call("affine_forward", (x, weight, b), keep=(1,))        # the cache stays in the worker
    backward = w.call("affine_backward", (dout, forward.value[1]))
    backward.kind, backward.value, backward.mutated
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import secrets
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from refbp.oracle.isolation import confine
from refbp.oracle.isolation._inside import wire
from refbp.oracle.isolation.channel import Process, Reply
from refbp.oracle.isolation.crossing import cannot_send, definition, handles_in, strings
from refbp.oracle.isolation.limits import Confinement, Limits, Protections, size
from refbp.oracle.isolation.result import Definition, Handle, IsolationError, Kind, Result, SubmissionError, text
from refbp.oracle.isolation.room import Room, furnish

ORDER: tuple[Confinement, ...] = ("bubblewrap", "landlock", "hooks")
_KINDS: tuple[Kind, ...] = ("ok", "raised", "memory", "garbage", "too much output")
_owners = itertools.count(1)
_failed: dict[Confinement, str] = {}  # what was tried in vain in this process, and why: not tried again for every worker
_worked: set[Confinement] = set()  # what did not: from then on nobody gets less


class Worker:
    """One submission in a process of its own, which is started when first needed and again after it was ended.

    ``submission`` is a Python file; ``root`` the folder that it may import from, of which code and small data files are
    copied. ``extra_modules`` can be imported besides the standard library and NumPy ("torch", "scipy"), with what their
    distributions depend on; torch needs ``Limits(memory=…)`` of several GiB. With ``tensors``, arrays become torch tensors
    inside and come back as arrays. ``mend_numpy`` brings back the names that NumPy has removed. ``stand_ins`` says which
    modules of the submission are used in place of those that it compiles. ``given`` are files that it can import where it
    has none of that name. Modules that are not here are no reason not to load it: what uses them says so. ``confine``
    insists on a confinement; without it the best that works here is used, and ``protections`` says which that is.

    Not for several threads at once: a worker is ended with the thread that started it.
    """

    def __init__(
        self,
        submission: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] | None = None,
        extra_modules: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        tensors: bool = False,
        mend_numpy: bool = False,
        stand_ins: Mapping[str, str] | None = None,
        given: Mapping[str, str] | None = None,
        confine: Confinement | None = None,
    ) -> None:
        if os.name != "posix":
            raise IsolationError("submissions can be isolated on Linux and macOS; on Windows, use WSL")
        self.limits = limits
        self._options = {"past": True, "mend": mend_numpy, "tensors": tensors}
        self._confine: Confinement | None = confine
        self._owner = next(_owners)
        self._life = 0
        self._process: Process | None = None
        self._protections: Protections | None = None
        self._submission_root = ""
        self._loaded: Result | None = None
        self._loaded_in = 0  # which of its lives
        folder = None if root is None else Path(root)
        self._room: Room = furnish(Path(submission), folder, extra_modules, stand_ins, given)
        self._remove = weakref.finalize(self, self._room.remove)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its room."""
        self.end()
        self._remove()

    def end(self) -> None:
        """End the process; the next call starts a fresh one, in which no object of this one is left."""
        if self._process is not None:
            self._process.end()
            self._process = None
            self._finish.detach()

    @property
    def protections(self) -> Protections:
        """What holds around the submission; starts the worker, runs nothing of it."""
        self._start()
        assert self._protections is not None
        return self._protections

    # What the submission has

    @property
    def loaded(self) -> Result:
        """How importing the submission ended; its value is what ``names`` gives."""
        if self._loaded is None:
            self._load()
        assert self._loaded is not None
        return self._loaded

    def names(self) -> dict[str, Definition]:
        """The functions and classes of the submission; SubmissionError if it cannot be imported."""
        if not self.loaded.ok:
            raise SubmissionError(self.loaded.sentence(), self.loaded)
        names: dict[str, Definition] = self.loaded.value
        return names

    def call(
        self,
        target: str,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        keep: bool | Sequence[int | str] = (),
        seed: int | None = None,
        count: bool = False,
        arguments: bool = False,
        seconds: float | None = None,
    ) -> Result:
        """Call a function or a static method ("affine_forward", "Linear.forward").

        Arguments are plain data, arrays and handles, in tuples, lists and dicts; the submission gets copies. ``keep`` leaves
        the value, or these items of it, in the worker as handles. ``seed`` seeds NumPy's and Python's generators there: never
        the seed that made the inputs. ``count`` counts calls of the submission's functions, ``arguments`` sends back the
        arguments as they are after the call.
        """
        flags = {"keep": keep, "seed": seed, "count": count, "arguments": arguments}
        return self._ask("call", target, args, kwargs, flags, seconds=seconds)

    def construct(self, target: str, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **flags: Any) -> Result:
        """Make an object of a class; the value is its handle."""
        return self.call(target, args, kwargs, keep=True, **flags)

    def method(
        self,
        handle: Handle,
        target: str,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        keep: bool | Sequence[int | str] = (),
        seed: int | None = None,
        count: bool = False,
        arguments: bool = False,
        seconds: float | None = None,
    ) -> Result:
        """Call a method of an object that stays in the worker ("forward", "layers.0.backward")."""
        flags = {"keep": keep, "seed": seed, "count": count, "arguments": arguments}
        return self._ask("method", target, args, kwargs, flags, handle, seconds=seconds)

    def attribute(self, handle: Handle, path: str, *, keep: bool | Sequence[int | str] = ()) -> Result:
        """An attribute or item of an object: "dW", "conv2d_stride1.dLdW", "layers.0.weight", "grads.W1"; "" is itself."""
        return self._ask("attribute", path, (), None, {"keep": keep}, handle)

    def assign(self, handle: Handle, path: str, value: Any) -> Result:
        """Set an attribute or item of an object, named as for ``attribute``."""
        return self._ask("assign", path, (value,), None, {}, handle)

    def run(
        self,
        code: str,
        target: str,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        keep: bool | Sequence[int | str] = (),
        seed: int | None = None,
        count: bool = False,
        seconds: float | None = None,
    ) -> Result:
        """Call ``target``, defined by ``code``, beside the submission: for styles that take more than one call to drive.

        ``code`` is yours, not the submission's; it sees the module as ``submission`` and NumPy as ``np``.
        """
        flags = {"keep": keep, "seed": seed, "count": count, "code": code}
        return self._ask("run", target, args, kwargs, flags, seconds=seconds)

    def release(self, *handles: Handle) -> None:
        """Let go of objects that are no longer needed."""
        mine = [h.id for h in handles if self._has(h)]
        if mine and self._process is not None and self._process.alive:
            self._ask("release", "", (), None, {"handles": mine})

    # One question

    def _has(self, handle: Handle) -> bool:
        alive = self._process is not None and self._process.alive
        return alive and handle.owner == self._owner and handle.life == self._life

    def _ask(
        self,
        op: str,
        target: str,
        args: Iterable[Any],
        kwargs: Mapping[str, Any] | None,
        flags: dict[str, Any],
        handle: Handle | None = None,
        seconds: float | None = None,
    ) -> Result:
        args, kwargs = tuple(args), dict(kwargs or {})
        for given in handles_in((handle, args, kwargs)):
            if given.owner != self._owner:
                raise IsolationError(f"the {given.type} object is another worker's: objects stay where they were made")
            if not self._has(given):
                return Result("died", message=f"the {given.type} object went with the process that held it")
        if not self._alive() or self._loaded_in != self._life:
            self._load()
        assert self._loaded is not None
        if not self._loaded.ok:
            return self._loaded
        flags = {**flags, "keep": flags["keep"] if flags.get("keep") is True else list(flags.get("keep") or ())}
        return self._exchange(op, target, args, kwargs, flags, handle, seconds or self.limits.seconds)

    def _alive(self) -> bool:
        return self._process is not None and self._process.alive

    def _load(self) -> None:
        if self._loaded is not None and not self._loaded.ok:
            return  # it would not end otherwise a second time, and may take long to
        self._start()
        self._loaded_in = self._life
        result = self._exchange("load", "", (), {}, {"keep": []}, None, self.limits.load_seconds)
        if result.ok:
            try:
                names = {text(n, 200): definition(text(n, 200), d) for n, d in result.value.items()}
                self._loaded = dataclasses.replace(result, value=names)
                return
            except (KeyError, TypeError, AttributeError, ValueError):
                result = Result("garbage", message="it cannot be described")
        self._loaded = Result(**{**vars(result), "importing": True})

    def _exchange(
        self,
        op: str,
        target: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        flags: dict[str, Any],
        handle: Handle | None,
        seconds: float,
    ) -> Result:
        process = self._process
        assert process is not None
        encoder = wire.Encoder(cannot_send, body=1 << 40)
        message: dict[str, Any] = {"keep": [], "seed": None, "count": False, "arguments": False, **flags}
        message |= {"op": op, "target": target, "seconds": seconds, "handle": handle.id if handle else None}
        message["args"] = encoder.encode(list(args))
        message["kwargs"] = encoder.encode(kwargs)
        token = secrets.token_bytes(wire.TOKEN)
        began = time.monotonic()
        reply = process.ask(wire.pack(token, message, encoder.blobs, 1 << 40), token, seconds)
        streams: dict[str, Any] = {"stdout": text(process.out.text(), 1 << 20), "stderr": text(process.err.text(), 1 << 20)}
        streams["seconds"] = time.monotonic() - began
        if reply.kind == "frame":
            try:
                return self._result(reply, streams)
            except Exception as error:  # whatever they sent, and however deep it goes
                self.end()
                said = str(error) if isinstance(error, wire.WireError) else "not an answer"
                return Result("garbage", message=text(f"what came through the pipe is {said}"), **streams)
        reasons = {"timeout": f"stopped after {seconds:g} s", "memory": ""}
        why = reply.reason or reasons.get(reply.kind, "")
        where = self._where(process.trace.text()) if reply.kind == "timeout" else ""
        return Result(reply.kind, message=why, traceback=where, **streams)

    def _result(self, reply: Reply, streams: dict[str, Any]) -> Result:
        assert reply.head is not None
        message, blobs = wire.unpack(reply.head, reply.data)
        kind: Kind = message["kind"]
        if kind not in _KINDS:
            raise wire.WireError("not an answer")
        if kind == "memory":
            return Result("memory", message=f"it may have {size(self.limits.memory)}", **streams)
        if kind == "too much output":
            return Result(kind, message=f"it returns more than {size(self.limits.reply)}", **streams)
        said: dict[str, Any] = {k: text(message.get(k, "")) for k in ("error", "message", "traceback")}
        if kind != "ok":
            return Result(kind, **said, **streams)
        decoder = wire.Decoder(blobs, self._handle, lambda a: a)
        value = decoder.decode(message["value"])
        after = [decoder.decode(t) for t in message["arguments"]] if "arguments" in message else None
        return Result(
            "ok",
            value,
            mutated=strings(message["mutated"]),
            shared=tuple((a, b) for a, b in map(strings, message["shared"])),
            calls={text(k, 200): int(v) for k, v in message["calls"].items()},
            arguments=(tuple(after[0]), dict(after[1])) if after else None,
            notes=strings(message["notes"]),
            **streams,
        )

    def _handle(self, number: int, kind: str, module: str) -> Handle:
        return Handle(number, text(kind, 100), text(module, 100), self._life, self._owner)

    def _where(self, dump: str) -> str:
        """The submission's frames of a dump of the interpreter's, innermost last."""
        pattern = re.compile(rf'File "{re.escape(self._submission_root)}([^"\n]+)", line (\d+) in (\S+)')
        frames = pattern.findall(dump)[:20]
        return "".join(f'  File "{text(f)}", line {n}, in {text(name)}\n' for f, n, name in reversed(frames))

    # The process

    def _start(self) -> None:
        if self._alive():
            return
        if not self._remove.alive:
            raise IsolationError("this worker has been closed: make another")
        order = ORDER if self._confine is None else (self._confine,)
        tried: list[tuple[Confinement, str]] = []
        for confinement in order:
            last = confinement == order[-1]
            reason = confine.why_not(confinement) or ("" if last else _failed.get(confinement, ""))
            if not reason:
                reason = self._try(confinement, tried)
            if not reason:
                return
            if confinement in _worked:
                raise IsolationError(f"no worker could be started: {confinement}, which worked before: {reason}")
            tried.append((confinement, reason))
            _failed[confinement] = reason
        raise IsolationError(f"no worker could be started: {'; '.join(f'{c}: {r}' for c, r in tried)}")

    def _try(self, confinement: Confinement, tried: list[tuple[Confinement, str]]) -> str:
        """Start a process; why it did not come up, or an empty string."""
        token = secrets.token_bytes(wire.TOKEN)
        ends = [*os.pipe(), *os.pipe(), *os.pipe()]
        theirs, ours = (ends[0], ends[3], ends[5]), (ends[1], ends[2], ends[4])
        try:
            made = confine.launch(confinement, self._room, self.limits, self._options, theirs, token)
        except BaseException:  # which has closed theirs
            for fd in ours:
                os.close(fd)
            raise
        try:
            process = Process(made, *ours, self.limits)
        except OSError as error:
            return str(error)
        reply = process.ask([], token, self.limits.start_seconds)
        if reply.kind == "timeout":
            raise IsolationError(f"no worker came up within {self.limits.start_seconds:g} s: is this machine overloaded?")
        if reply.kind != "frame" or reply.head is None:
            lines = process.err.text().strip().splitlines()
            return text(lines[-1] if lines else reply.reason or reply.kind, 300)
        done = wire.unpack(reply.head, reply.data)[0]["protections"]
        _worked.add(confinement)
        self._process = process
        self._finish = weakref.finalize(self, process.end)  # for whoever forgets to close it
        self._submission_root = made.root
        self._life += 1
        self._protections = Protections(
            confinement=confinement,
            landlock_version=int(done["landlock"]),
            filter=bool(done["filter"]),
            uid=done["uid"],
            root=os.geteuid() == 0 and done["uid"] is None,
            rlimits=tuple(done["limits"]),
            limits=self.limits,
            reason=confine.reasons(tried) if confinement != "bubblewrap" and self._confine is None else "",
        )
        return ""
