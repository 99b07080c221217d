"""What the tests of isolation share: where things are, a problem nobody has seen before, and a small grader."""

import os
import secrets
from pathlib import Path

import numpy as np

import refbp
from refbp.oracle.isolation import Limits

TESTS = Path(__file__).parent
HOSTILE = TESTS / "hostile"
PACKAGE = Path(refbp.__file__).parent
PACKAGES = str(Path(np.__file__).parents[1])
LIMITS = Limits(seconds=20, load_seconds=20, memory=512 << 20)
CONFINEMENTS = ("bubblewrap", "landlock", "hooks")


def problem():
    """Inputs that nobody has seen before, and what affine_backward should give for them."""
    rng = np.random.default_rng(secrets.randbits(64))
    x, w, b, dout = (rng.standard_normal(s) for s in ((3, 4), (4, 2), (2,), (3, 2)))
    return (x, w, b), dout, (dout @ w.T, x.T @ dout, dout.sum(0))


def right(result, expected):
    """What a grader does: three plain float64 arrays of the right shapes, close to what was computed here."""
    values = result.value
    if not result.ok or type(values) is not tuple or len(values) != 3:
        return False
    return all(
        type(v) is np.ndarray and v.dtype == e.dtype and v.shape == e.shape and np.allclose(v, e, rtol=1e-6, atol=1e-9)
        for v, e in zip(values, expected, strict=True)
    )


def hostile(name, scene, tmp_path):
    """A hostile submission, aimed at what the scene has."""
    source = (HOSTILE / f"{name}.py").read_text()
    for token, value in {
        "@VICTIM@": scene.victim,
        "@FOLDER@": scene.folder,
        "@TESTS@": TESTS,
        "@PACKAGES@": PACKAGES,
        "@REFBP@": PACKAGE,
        "@PORT@": scene.port,
        "@PARENT@": os.getpid(),
    }.items():
        source = source.replace(token, str(value))
    file = tmp_path / f"{name}.py"
    file.write_text(source)
    return file


def attack(worker):
    """One forward and one backward, as a grader asks for them."""
    inputs, dout, expected = problem()
    forward = worker.call("affine_forward", inputs, keep=(1,))
    if not forward.ok:
        return forward, expected
    return worker.call("affine_backward", (dout, forward.value[1])), expected
