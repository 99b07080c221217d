"""The first lines of a worker: shut the doors, then bring in NumPy, then serve."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main(text: str) -> None:
    """Run a worker from its configuration, which is JSON."""
    from . import jail

    config: dict[str, Any] = json.loads(text)
    # Wherever room and site are, this package stays importable; nothing else of the folder it came from is
    sys.path.pop(0)
    sys.argv = [""]
    sys.dont_write_bytecode = True
    os.umask(0o077)
    protections = jail.enter(config)
    sys.path.append(config["site"])
    from . import serve

    serve.Worker(config).run(protections)
