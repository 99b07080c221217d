"""How much a submission may use, and what it is kept from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Confinement = Literal["bubblewrap", "landlock", "hooks"]


@dataclass(frozen=True)
class Limits:
    """Of one worker. Sizes are bytes, times are seconds of wall clock.

    ``memory`` bounds the address space, not what is in use: NumPy alone takes 0.1 GiB of it, torch several.
    """

    seconds: float = 5.0  # one call
    load_seconds: float = 20.0  # importing the submission
    start_seconds: float = 30.0  # starting the worker, before any of the submission runs
    memory: int = 1 << 30
    file_size: int = 1 << 20
    processes: int = 16  # threads included
    descriptors: int = 64
    reply: int = 64 << 20  # all arrays of one answer
    output: int = 64 << 10  # of stdout, and as much of stderr: what is kept of one call
    flood: int = 8 << 20  # of stdout and stderr: a call that prints more is ended
    cpu_seconds: int = 3600  # of a worker's whole life


@dataclass(frozen=True)
class Protections:
    """What holds around a worker, as it said itself before it ran any of the submission."""

    confinement: Confinement
    landlock_version: int
    filter: bool  # of system calls
    uid: int | None  # the user it became, if it was started as root
    root: bool  # whether it still is root
    rlimits: tuple[str, ...]
    limits: Limits
    reason: str = ""  # why it is no better than this

    @property
    def files_hidden(self) -> bool:
        """Whether the kernel keeps it from reading the tests, refbp and torch."""
        return self.confinement in {"bubblewrap", "landlock"}

    @property
    def files_read_only(self) -> bool:
        """Whether the kernel keeps it from writing."""
        return self.files_hidden or self.filter

    @property
    def network_off(self) -> bool:
        """Whether the kernel keeps it from the network."""
        return self.confinement == "bubblewrap" or self.filter

    @property
    def complete(self) -> bool:
        """Whether nothing is missing that this module knows of."""
        return self.files_hidden and self.network_off and self.filter and not self.root and "AS" in self.rlimits

    def sentence(self) -> str:
        """One line for whoever reads the results."""
        if self.confinement == "bubblewrap":
            parts = ["bubblewrap (files read-only, the rest of them hidden; no network)"]
        elif self.confinement == "landlock":
            parts = ["Landlock (files read-only, the rest of them unreadable)"]
        elif self.filter:
            parts = ["files read-only, hidden only by Python's own hooks"]
        else:
            parts = ["files guarded only by Python's own hooks"]
        if self.filter:
            network = "" if self.confinement == "bubblewrap" else "no network, "
            parts.append(f"system-call filter ({network}no new processes)")
        else:
            network = "" if self.confinement == "bubblewrap" else "the network and "
            parts.append(f"{network}new processes guarded only by Python's own hooks")
        if self.uid is not None:
            parts.append(f"user {self.uid}")
        elif self.root:
            parts.append("still root")
        parts.append(f"{self.limits.seconds:g} s a call")
        parts.append(size(self.limits.memory) + (" of memory" if "AS" in self.rlimits else " of memory (not enforced here)"))
        line = ("isolated: " if self.complete else "partly isolated: ") + ", ".join(parts)
        return line if not self.reason else f"{line}. {self.reason}"


def size(n: int) -> str:
    """``64 MiB``."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if n >= 1 << power:
            return f"{n / (1 << power):.3g} {unit}"
    return f"{n} bytes"
