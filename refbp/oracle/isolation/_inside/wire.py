"""How values cross the pipe: a fixed head, a JSON header with a tree of tagged lists, and the arrays as npy bytes.

Nothing is ever unpickled. The reader decides how much it accepts: it knows every length before it reads, each array is
used once, and what is not one of the plain things below is an opaque object that stays where it is.

==========  ==========================================  ==========  ================================================
``["n"]``   None                                        ``["a",k]`` the k-th array
``["b",v]`` bool                                        ``["g",k]`` a NumPy scalar: the k-th array, of no dimensions
``["i",s]`` int, as decimal digits                      ``["t",…]`` tuple; ``["l",…]`` list
``["f",s]`` float, as ``float.hex``                     ``["d",…]`` dict, as pairs of trees
``["c",…]`` complex, as two floats                      ``["h",i,t,x]`` an object of type t that stays in the worker
``["s",v]`` str                                         ==========  ================================================
"""

from __future__ import annotations

import io
import json
import math
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Array = NDArray[Any]
Tree = list[Any]

HEAD = struct.Struct("<6s16sIQ")  # magic, the token of the request, bytes of the header, bytes of all arrays
MAGIC = b"refbp1"
TOKEN = 16
KINDS = "biufc"  # bool, integers, floats, complex: what a gradient can be made of
DEPTH = 24
NODES = 100_000
DIGITS = 1_000
HEADER = 4 << 20  # bytes
PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = ((int, int.__int__), (float, float.__float__), (str, str.__str__))
EXACT = {type(None): "n", bool: "b", int: "i", float: "f", complex: "c", str: "s"}


class WireError(ValueError):
    """What came is not what was agreed on."""


class TooLarge(WireError):  # noqa: N818 - it is not an error of whoever reads
    """More than the other side accepts."""


class Head(NamedTuple):
    """The fixed part of a frame."""

    token: bytes
    header: int
    body: int


def read_head(data: bytes) -> Head:
    """The head of a frame, from exactly ``HEAD.size`` bytes."""
    magic, token, header, body = HEAD.unpack(data)
    if magic != MAGIC:
        raise WireError("not a frame")
    return Head(token, header, body)


def pack(token: bytes, message: dict[str, Any], blobs: Sequence[bytes], body: int) -> list[bytes]:
    """A frame, in pieces; TooLarge when the arrays are more than ``body`` bytes."""
    header = json.dumps({"message": message, "sizes": [len(b) for b in blobs]}).encode()
    size = sum(len(b) for b in blobs)
    if len(header) > HEADER or size > body:
        raise TooLarge(f"{len(header) + size} bytes")
    return [HEAD.pack(MAGIC, token, len(header), size), header, *blobs]


def unpack(head: Head, data: bytes | bytearray) -> tuple[dict[str, Any], list[bytes]]:
    """The message and the arrays' bytes, from what followed the head."""
    try:
        content = json.loads(bytes(data[: head.header]))
        message, sizes = content["message"], content["sizes"]
        plain = isinstance(message, dict) and isinstance(sizes, list) and all(type(s) is int and s >= 0 for s in sizes)
    except Exception as error:
        raise WireError("the header is not what was agreed on") from error
    if not plain or sum(sizes) != head.body or len(data) != head.header + head.body:
        raise WireError("the lengths do not add up")
    blobs, start = [], head.header
    for size in sizes:
        blobs.append(bytes(data[start : start + size]))
        start += size
    return message, blobs


def to_npy(a: Array) -> bytes:
    """An array as the bytes of an npy file, version 1.0."""
    stream = io.BytesIO()
    npy.write_array(stream, a, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def from_npy(blob: bytes) -> Array:
    """A fresh, writable, plain array in native byte order; WireError for everything that is not one."""
    try:
        stream = io.BytesIO(blob)
        if npy.read_magic(stream) != (1, 0):
            raise WireError("an npy file of another version")
        shape, fortran, dtype = npy.read_array_header_1_0(stream, max_header_size=4096)
        if dtype.kind not in KINDS or dtype.names is not None or dtype.subdtype is not None:
            raise WireError(f"an array of {dtype}")
        start = stream.tell()
        # Compared before anything is allocated: a header may claim any shape
        if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(blob) - start:
            raise WireError("an array whose shape and bytes do not agree")
        flat = np.frombuffer(blob, np.uint8, offset=start).view(dtype) if len(blob) > start else np.empty(0, dtype)
        a = flat.reshape(shape, order="F" if fortran else "C")
        return np.array(a, dtype=dtype.newbyteorder("="), copy=True, subok=False, order="F" if fortran else "C")
    except WireError:
        raise
    except Exception as error:
        raise WireError("an array that cannot be read") from error


class Encoder:
    """Values to trees; the arrays' bytes gather in ``blobs``.

    ``opaque(value)`` gives the tree of whatever is not plain, or raises. ``notes`` says what was made plain on the way.
    """

    def __init__(self, opaque: Callable[[Any], Tree], body: int, tensor: type | None = None) -> None:
        self.opaque = opaque
        self.body = body
        self.tensor = tensor
        self.blobs: list[bytes] = []
        self.notes: list[str] = []
        self._nodes = 0

    def encode(self, value: Any, path: str = "result", depth: int = 0) -> Tree:
        """The tree of a value; ``path`` is what notes call it."""
        self._nodes += 1
        if self._nodes > NODES:
            raise TooLarge(f"more than {NODES} items")
        # type(), not isinstance(): an object may claim any __class__
        kind = type(value)
        tag = EXACT.get(kind)
        if tag == "n":
            return ["n"]
        if tag in {"b", "s"}:
            return [tag, value]
        if tag == "i":
            return ["i", str(value)] if value.bit_length() < 3 * DIGITS else self.opaque(value)
        if tag == "f":
            return ["f", value.hex()]
        if tag == "c":
            return ["c", value.real.hex(), value.imag.hex()]
        if issubclass(kind, np.generic):
            return self._scalar(value)
        if issubclass(kind, np.ndarray):
            return self._array(value, path)
        if self.tensor is not None and issubclass(kind, self.tensor):
            return self._array(_from_tensor(value), path)
        if depth < DEPTH:
            if issubclass(kind, (tuple, list)):
                items = tuple.__iter__(value) if issubclass(kind, tuple) else list.__iter__(value)
                trees = [self.encode(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(items)]
                return ["t" if issubclass(kind, tuple) else "l", *trees]
            if issubclass(kind, dict):
                pairs = list(dict.items(value))
                if all(type(k) in EXACT for k, _ in pairs):
                    return ["d", *([self.encode(k), self.encode(v, f"{path}[{k!r}]", depth + 1)] for k, v in pairs)]
        for base, convert in PLAIN:
            if issubclass(kind, base):
                self.notes.append(f"{path} is a subclass of {base.__name__}")
                return self.encode(convert(value), path, depth)
        return self.opaque(value)

    def _array(self, value: Any, path: str) -> Tree:
        a = np.ndarray.view(value, np.ndarray)  # whatever a subclass overrides is gone
        if type(value) is not np.ndarray and type(value) is not np.memmap:
            self.notes.append(f"{path} is a subclass of numpy.ndarray")
        if a.dtype.kind not in KINDS or a.dtype.names is not None:
            self.notes.append(f"{path} is an array of {a.dtype.str if a.dtype.kind != 'O' else 'objects'}")
            return self.opaque(value)
        return ["a", self._blob(a)]

    def _scalar(self, value: Any) -> Tree:
        a = np.array(value)
        return ["g", self._blob(a)] if a.dtype.kind in KINDS and a.ndim == 0 else self.opaque(value)

    def _blob(self, a: Array) -> int:
        self.body -= a.nbytes
        if self.body < 0:
            raise TooLarge("arrays of that size")
        self.blobs.append(to_npy(a))
        return len(self.blobs) - 1


def _from_tensor(value: Any) -> Array:
    plain = value.detach().cpu()
    try:
        return np.asarray(plain.numpy())
    except TypeError:  # bfloat16, which NumPy has not
        return np.asarray(plain.float().numpy())


class Decoder:
    """Trees to values: every array is fresh and used once, ``handle(id, type, text)`` makes what stays on the other side."""

    def __init__(self, blobs: Sequence[bytes], handle: Callable[[int, str, str], Any], array: Callable[[Array], Any]) -> None:
        self._blobs = iter(enumerate(blobs))
        self._handle = handle
        self._wrap = array

    def decode(self, tree: Any, depth: int = 0) -> Any:
        """The value of a tree; WireError for anything that is not one."""
        try:
            return self._decode(tree, depth)
        except WireError:
            raise
        except Exception as error:
            raise WireError("a value that cannot be read") from error

    def _decode(self, tree: Any, depth: int) -> Any:
        if type(tree) is not list or not tree or depth > DEPTH + 2:
            raise WireError("not a value")
        tag, *rest = tree
        match tag, rest:
            case "n", []:
                return None
            case "b", [bool(v)]:
                return v
            case "i", [str(v)] if len(v) <= DIGITS + 1:
                return int(v)
            case "f", [str(v)]:
                return float.fromhex(v)
            case "c", [str(re), str(im)]:
                return complex(float.fromhex(re), float.fromhex(im))
            case "s", [str(v)]:
                # A lone surrogate cannot be printed later; ``mode is "max"`` holds of the strings of a program, so of these too
                return sys.intern(v.encode(errors="replace").decode())
            case "a", [int(k)]:
                return self._wrap(self._array(k))
            case "g", [int(k)]:
                a = self._array(k)
                if a.ndim:
                    raise WireError("a scalar that has dimensions")
                return a[()]
            case "t", _:
                return tuple(self._decode(t, depth + 1) for t in rest)
            case "l", _:
                return [self._decode(t, depth + 1) for t in rest]
            case "d", _:
                return {self._key(k): self._decode(v, depth + 1) for k, v in rest}
            case "h", [int(i), str(kind), str(text)]:
                return self._handle(i, kind, text)
        raise WireError("not a value")

    def _key(self, tree: Any) -> Any:
        if type(tree) is not list or not tree or tree[0] not in EXACT.values():
            raise WireError("not a key")
        return self._decode(tree, 0)

    def _array(self, k: int) -> Array:
        i, blob = next(self._blobs)
        if i != k:  # each once and in order: one array referred to a million times would be a million copies
            raise WireError("arrays out of order")
        return from_npy(blob)
