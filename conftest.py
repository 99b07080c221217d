"""One thread per process: see refbp/conformance/__init__.py. The rest is in refbp.testing.plugin, found by entry point."""

import gc
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Tens of thousands of items live as long as the process does: no collection of garbage need walk them again."""
    gc.freeze()
