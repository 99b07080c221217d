"""Requests come in, the submission's code is run, plain data goes out.

The submission runs in this very process and can do to it whatever it likes, so nothing here is a secret and nothing here
decides anything: no reference, no comparison, no result. The worst it can do is to answer with data of its own choosing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import io
import os
import random
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import absent, compat, jail, script, wire
from .survey import survey

TEXT = 4_000
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}  # functions to the interpreter only
ITEMS = 4_096  # of one container
WORK: Any = 10_000  # to find out whether two arrays overlap


class Gone(Exception):  # noqa: N818 - the parent went away, which is no error
    """The other end of the pipe is closed."""


class Worker:
    """One submission, loaded once, called many times."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.root: str = config["root"]
        self.module: types.ModuleType | None = None
        self.objects: dict[int, Any] = {}
        self.next = 0
        self.tensor: Any = None
        self.absent = absent.Finder()
        self.skipped: list[script.Skipped] = []

    def run(self, protections: dict[str, Any]) -> None:
        """Say hello, then serve until the parent hangs up."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        hello = {"kind": "hello", "protections": protections, "numpy": np.__version__}
        self._send(wire.pack(bytes.fromhex(self.config["token"]), hello, [], 0))
        while True:
            try:
                head = wire.read_head(self._receive(wire.HEAD.size))
                message, blobs = wire.unpack(head, self._receive(head.header + head.body))
            except Gone:
                os._exit(0)
            self._send(self._answer(head.token, message, blobs))

    # The pipe

    def _receive(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(self.config["requests"], min(size, 1 << 20))
            if not part:
                raise Gone
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _send(self, parts: list[bytes]) -> None:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(self.config["replies"], view) :]

    def _answer(self, token: bytes, message: dict[str, Any], blobs: list[bytes]) -> list[bytes]:
        encoder = wire.Encoder(self._keep, self.config["body"], self.tensor)
        try:
            reply = self._perform(message, blobs, encoder)
        except MemoryError:
            reply, encoder.blobs = {"kind": "memory"}, []
        except wire.TooLarge as error:
            reply, encoder.blobs = {"kind": "too much output", "message": str(error)}, []
        except BaseException as error:  # the value could not be looked at: an object that raises when it is
            reply, encoder.blobs = {"kind": "garbage", **self._explain(error)}, []
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(BaseException):  # whatever the submission put there
                stream.flush()  # type: ignore[union-attr]
        try:
            return wire.pack(token, reply, encoder.blobs, self.config["body"])
        except wire.TooLarge as error:
            return wire.pack(token, {"kind": "too much output", "message": str(error)}, [], 0)

    # A request

    def _perform(self, message: dict[str, Any], blobs: list[bytes], encoder: wire.Encoder) -> dict[str, Any]:
        jail.cpu_until(message["seconds"])
        decoder = wire.Decoder(blobs, lambda i, *_: self.objects[i], self._wrap)
        args = decoder.decode(message["args"])
        kwargs = decoder.decode(message["kwargs"])
        if message["seed"] is not None:
            np.random.seed(message["seed"])
            random.seed(message["seed"])
        target = getattr(self, "_op_" + message["op"])
        before = _arrays_and_containers(args, kwargs)
        copies = [_image(v) for _, v in before]
        counts: dict[str, int] = {}
        # Where an endless loop sits: written a moment before the parent loses patience
        faulthandler.dump_traceback_later(0.85 * message["seconds"], file=self.config["trace"])
        try:
            if message["count"]:
                sys.setprofile(self._counter(counts))
            value = target(message, args, kwargs)
        except MemoryError:
            return {"kind": "memory", "message": "MemoryError"}
        except BaseException as error:
            return {"kind": "raised", **self._explain(error)}
        finally:
            sys.setprofile(None)
            faulthandler.cancel_dump_traceback_later()
        reply: dict[str, Any] = {"kind": "ok", "calls": dict(list(counts.items())[:1000])}
        reply["mutated"] = [path for (path, v), was in zip(before, copies, strict=True) if _image(v) != was]
        reply["shared"] = _shared(before, _arrays_and_containers_of(value, "result"))
        reply["value"] = self._encode(value, message["keep"], encoder)
        if message["arguments"]:
            reply["arguments"] = [encoder.encode(args, "args"), encoder.encode(kwargs, "kwargs")]
        left_out = [f"line {s.line} ends in {type(s.error).__name__}: {s.error}"[:200] for s in self.skipped[:1]]
        more = len(self.skipped) - 1
        left_out += [f"and {more} more statement{'s' * (more > 1)}"] if more > 0 else []
        reply["notes"] = left_out if message["op"] == "load" else encoder.notes[:20]
        return reply

    def _encode(self, value: Any, keep: bool | list[Any], encoder: wire.Encoder) -> wire.Tree:
        """The value, of which what is in ``keep`` stays here: all of it, or some items of a tuple, list or dict."""
        if keep is True:
            return self._keep(value)
        if keep and issubclass(type(value), (tuple, list)):
            items = [self._keep(v) if i in keep else encoder.encode(v, f"result[{i}]", 1) for i, v in enumerate(value)]
            return ["t" if issubclass(type(value), tuple) else "l", *items]
        if keep and issubclass(type(value), dict):
            pairs = dict.items(value)
            return ["d", *([["s", str(k)], self._keep(v) if k in keep else encoder.encode(v, depth=1)] for k, v in pairs)]
        return encoder.encode(value)

    def _keep(self, value: Any) -> wire.Tree:
        self.next += 1
        self.objects[self.next] = value
        return ["h", self.next, str(type(value).__name__)[:100], str(type(value).__module__)[:100]]

    def _wrap(self, a: wire.Array) -> Any:
        return a if self.tensor is None else sys.modules["torch"].from_numpy(a)

    def _counter(self, counts: dict[str, int]) -> Callable[[types.FrameType, str, Any], None]:
        root = self.root

        def profile(frame: types.FrameType, event: str, _: Any) -> None:
            code = frame.f_code
            if event == "call" and code.co_filename.startswith(root) and code.co_name not in COMPREHENSIONS:
                counts[code.co_qualname] = counts.get(code.co_qualname, 0) + 1

        return profile

    # What can be asked for

    def _op_load(self, message: dict[str, Any], args: Any, kwargs: Any) -> Any:
        config = self.config
        if config["past"]:
            compat.stub_past()
            compat.mend_collections()
        if config["mend"]:
            compat.mend_numpy()
        if config["tensors"]:
            self.tensor = importlib.import_module("torch").Tensor
        sys.path[:0] = config["path"]
        sys.path += config["given"]  # after the submission's own and what is installed
        load = self._executed
        while True:
            try:
                self.module = self._imported(load)
                return survey(self.module, self.root)
            except Exception as error:
                if self.absent.lacks(error, self.root):
                    pass  # from now on it is there
                elif load == self._executed and script.defines(config["file"]):
                    load = self._without_what_fails
                else:
                    raise
            for name in [n for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(self.root)]:
                del sys.modules[name]  # half of it is there

    def _executed(self, module: types.ModuleType) -> None:
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        with script.limited(self.config["file"]):
            module.__spec__.loader.exec_module(module)

    def _without_what_fails(self, module: types.ModuleType) -> None:
        self.skipped = script.execute(module, self.config["file"])

    def _imported(self, load: Callable[[types.ModuleType], None]) -> types.ModuleType:
        config = self.config
        self.absent.complete()
        name = config["module"]
        parent = name.rpartition(".")[0]
        if parent:
            importlib.import_module(parent)
            # A package that imports this file has its classes already: loaded anew, they would be others of the same name
            known = sys.modules.get(name)
            if known is not None and os.path.samefile(known.__file__ or os.devnull, config["file"]):
                return known
        spec = importlib.util.spec_from_file_location(name, config["file"])
        if spec is None or spec.loader is None:
            raise ImportError(f"{config['file']} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        load(module)
        return module

    def _op_call(self, message: dict[str, Any], args: Any, kwargs: Any) -> Any:
        return _walk(self.module, message["target"])(*args, **kwargs)

    def _op_method(self, message: dict[str, Any], args: Any, kwargs: Any) -> Any:
        return _walk(self.objects[message["handle"]], message["target"])(*args, **kwargs)

    def _op_attribute(self, message: dict[str, Any], args: Any, kwargs: Any) -> Any:
        return _walk(self.objects[message["handle"]], message["target"])

    def _op_assign(self, message: dict[str, Any], args: Any, kwargs: Any) -> Any:
        holder = self.objects[message["handle"]]
        before, _, last = message["target"].rpartition(".")
        holder = _walk(holder, before) if before else holder
        if hasattr(type(holder), "__setitem__") and not hasattr(holder, last):
            holder[int(last) if last.lstrip("-").isdigit() else last] = args[0]
        else:
            setattr(holder, last, args[0])

    def _op_run(self, message: dict[str, Any], args: Any, kwargs: Any) -> Any:
        scope: dict[str, Any] = {"__name__": "driver", "submission": self.module, "np": np}
        exec(compile(message["code"], "<driver>", "exec"), scope)  # the parent's own
        return scope[message["target"]](*args, **kwargs)

    def _op_release(self, message: dict[str, Any], args: Any, kwargs: Any) -> Any:
        for i in message["handles"]:
            self.objects.pop(i, None)

    # What went wrong

    def _explain(self, error: BaseException) -> dict[str, Any]:
        """Type, message and the submission's own frames; an exception's methods are the submission's code too."""
        try:
            text = str(error)
        except BaseException:
            text = "(its message cannot be shown)"
        name = str(type.__dict__["__name__"].__get__(type(error)))
        missing = str(getattr(error, "name", "")) if name == "NameError" else ""
        why = script.cause(error, self.skipped)
        if why is not None:
            name, text = str(type.__dict__["__name__"].__get__(type(why))), str(why)
        elif missing and self.absent.starred:
            text = f"{text}, unless by {self.absent.starred[0]}, which is not here"
        elif name == "ValueError" and compat.one_element(error, *self._innermost(error)):
            text = str(error.__cause__)
        try:
            lines = self._frames(error)
        except BaseException:
            lines = []
        return {"error": name[:200], "message": text[:TEXT], "traceback": "".join(lines)[-TEXT:]}

    def _innermost(self, error: BaseException) -> tuple[types.FrameType | None, int]:
        """The submission's frame that an error comes from, and its line."""
        found: tuple[types.FrameType | None, int] = None, 0
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename.startswith(self.root):
                found = frame, line
        return found

    def _frames(self, error: BaseException) -> list[str]:
        lines = []
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename.startswith(self.root):
                lines.append(f'  File "{self._name(frame.filename)}", line {frame.lineno}, in {frame.name}\n')
                lines.append(f"    {frame.line}\n" if frame.line else "")
        if isinstance(error, SyntaxError) and str(error.filename).startswith(self.root):
            lines.append(f'  File "{self._name(str(error.filename))}", line {error.lineno}\n')
            lines.append(f"    {(error.text or '').strip()}\n")
        return lines

    def _name(self, filename: str) -> str:
        return filename[len(self.root) :].lstrip("/")


def _walk(start: Any, path: str) -> Any:
    """``"conv2d_stride1.dLdW"``, ``"layers.0.weight"``, ``"grads.W1"``: attributes, items and keys, one after another."""
    value = start
    for part in path.split(".") if path else ():
        try:
            value = getattr(value, part)
        except AttributeError:
            if isinstance(value, types.ModuleType) or not hasattr(type(value), "__getitem__"):
                raise
            try:
                value = value[int(part)] if part.lstrip("-").isdigit() else value[part]
            except (TypeError, ValueError):
                value = value[part]
    return value


def _arrays_and_containers(args: Any, kwargs: Any) -> list[tuple[str, Any]]:
    found = []
    for i, value in enumerate(args):
        found += _arrays_and_containers_of(value, f"args[{i}]")
    for name, value in kwargs.items():
        found += _arrays_and_containers_of(value, f"kwargs[{name!r}]")
    return found


def _arrays_and_containers_of(value: Any, path: str) -> list[tuple[str, Any]]:
    """Every array, list and dict in a value, with what it is called; tuples are looked into."""
    return list(_inside(value, path, 0))


def _inside(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > 8:
        return
    if issubclass(type(value), np.ndarray):
        yield path, value
    elif type(value) in {tuple, list, dict}:
        if type(value) is not tuple:
            yield path, value
        items = value.items() if type(value) is dict else enumerate(value)
        for key, item in list(items)[:ITEMS]:
            yield from _inside(item, f"{path}[{key!r}]", depth + 1)
    elif _is_tensor(value):
        yield path, value.detach().numpy()  # the same memory


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    tensor = getattr(torch, "Tensor", None)
    return isinstance(tensor, type) and issubclass(type(value), tensor) and value.device.type == "cpu"


def _image(value: Any) -> Any:
    """What can be compared later to see a change: of an array its bytes, of a container which objects it holds."""
    if issubclass(type(value), np.ndarray):
        a = np.ndarray.view(value, np.ndarray)
        return a.shape, a.dtype.str, a.tobytes() if a.dtype.kind != "O" else [id(v) for v in a.flat]
    if type(value) is dict:
        return [(k, _identity(v)) for k, v in value.items()]
    return [_identity(v) for v in value]


def _identity(value: Any) -> Any:
    return (type(value), value) if type(value) in {bool, int, float, str} else id(value)


def _shared(given: list[tuple[str, Any]], results: list[tuple[str, Any]]) -> list[list[str]]:
    """Which results are, or look into, the memory of an argument or of an earlier result."""
    arrays = [(p, v) for p, v in results if issubclass(type(v), np.ndarray)][:64]
    others = [(p, v) for p, v in given if issubclass(type(v), np.ndarray)][:64]
    pairs = []
    for path, a in arrays:
        for other, b in others:
            try:
                same = np.shares_memory(a, b, max_work=WORK)
            except Exception:  # too hard to say exactly: bounds are enough
                same = np.may_share_memory(a, b)
            if same:
                pairs.append([path, other])
        others.append((path, a))
    return pairs
