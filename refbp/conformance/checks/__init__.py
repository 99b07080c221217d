"""The checks, each a small function of one trial. ``None`` means that a check does not concern the case.

A check is called by its name with ``--check`` or ``-k``. The families are imported in the order in which they run.
"""

from refbp.conformance.checks import against_torch, derivative, memory, algebra, range, contract  # noqa: A004, F401, I001
from refbp.conformance.checks._base import CHECKS

__all__ = ["CHECKS"]
