"""One thread per process: see refbp/conformance/__init__.py. The rest is in refbp.testing.plugin, found by entry point."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
