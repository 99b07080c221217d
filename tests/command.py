"""``python -m refbp …`` in a process of its own that has torch already: forked off a server that has imported it once.

Importing torch takes as long as most commands do. What a user's first moment is like (what start-up imports, a pipe, a
Ctrl-C) is tested with ``python -m`` itself.
"""

import multiprocessing
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import refbp as package

SECONDS = 300
SERVER = multiprocessing.get_context("forkserver")
MODULES = [m.name for m in pkgutil.walk_packages(package.__path__, "refbp.")]
SERVER.set_forkserver_preload(["torch", *(m for m in MODULES if "._" not in m and not m.startswith("refbp.testing"))])


def refbp(*arguments, cwd=None, **env):
    """A refbp command; ``env`` is added to the environment."""
    return run("refbp", *arguments, cwd=cwd, **env)


def run(module, *arguments, cwd=None, **env):
    """What ``subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)`` gives."""
    given = [module, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        environment = {**os.environ, **env}
        process = SERVER.Process(target=_run, args=(given, str(cwd or Path.cwd()), environment, str(out), str(err)))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(given, SECONDS, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(given, process.exitcode, out.read_text(), err.read_text())


def _run(given, cwd, environment, out, err):
    for descriptor, path in ((1, out), (2, err)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [cwd, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[:] = given
    runpy.run_module(given[0], run_name="__main__", alter_sys=True)
