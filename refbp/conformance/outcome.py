"""What a check says: a verdict, never a bare boolean, and the numbers behind it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Verdict(enum.StrEnum):
    """The six verdicts of a comparison, and two for what no comparison of gradients can say."""

    AGREE = "agree"
    CONVENTION = "convention"
    KNOWN_BAD = "torch-known-bad"
    FORWARD = "forward differs"
    BACKWARD = "backward inconsistent"
    NOT_TESTED = "not tested"
    TORCH = "torch disagrees"  # you and the numerical witness agree, torch does not, and no waiver says why
    CONTRACT = "contract broken"  # purity, aliasing, dtype, errors: nothing that torch or a derivative could decide

    @property
    def wrong(self) -> bool:
        """Whether this verdict fails a run."""
        return self in (Verdict.FORWARD, Verdict.BACKWARD, Verdict.TORCH, Verdict.CONTRACT)


@dataclass(frozen=True)
class Difference:
    """Where two arrays differ most."""

    what: str  # "gradient of x", "output 0", "buffer running_var"
    index: tuple[int, ...] | None
    yours: Any
    expected: Any
    digits: float
    budget: float

    def sentence(self) -> str:
        """One line: which array, the worst element with its index, both values, and digits of agreement."""
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return (
            f"{self.what}, worst element {self.what.rpartition(' ')[2]}{place}: yours {_value(self.yours)}"
            f"   expected {_value(self.expected)}   ({self.digits:.1f} digits, budget {self.budget:.1f})"
        )


def _value(v: Any) -> str:
    return f"{v:.8g}" if isinstance(v, float) else str(v)


@dataclass(frozen=True)
class Outcome:
    """The result of one check on one case. ``None`` from a check means that it does not concern the case."""

    verdict: Verdict
    message: str = ""
    digits: float | None = None  # digits of agreement, where numbers were compared
    difference: Difference | None = None
    notes: tuple[str, ...] = field(default=())  # conventions met, waivers used

    @property
    def wrong(self) -> bool:
        """Whether this outcome fails a run."""
        return self.verdict.wrong


def agree(digits: float | None = None, notes: tuple[str, ...] = ()) -> Outcome:
    """Nothing to complain of."""
    return Outcome(Verdict.AGREE, digits=digits, notes=notes)


def broken(message: str) -> Outcome:
    """The contract does not hold."""
    return Outcome(Verdict.CONTRACT, message)


def untested(message: str) -> Outcome:
    """The check could not have failed."""
    return Outcome(Verdict.NOT_TESTED, message)
