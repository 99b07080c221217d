"""A time limit on code that may never end, because it has been broken on purpose."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class TooLong(BaseException):
    """Not an Exception: nothing that a layer or a check catches may swallow it."""


@contextlib.contextmanager
def limited(seconds: float, processor: bool = False) -> Iterator[None]:
    """Raise TooLong in this thread after so many seconds, where the system has such a clock; limits may be nested.

    ``processor`` counts the seconds that this process computes: what is decided must not depend on who else does.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise TooLong

    clock, number = (signal.ITIMER_PROF, signal.SIGPROF) if processor else (signal.ITIMER_REAL, signal.SIGALRM)
    before = signal.signal(number, ring)
    left, _ = signal.getitimer(clock)
    signal.setitimer(clock, min(seconds, left) if left else seconds)
    try:
        yield
    finally:
        used = seconds - signal.getitimer(clock)[0]
        signal.setitimer(clock, 0)
        signal.signal(number, before)
        signal.setitimer(clock, max(left - used, 1e-3) if left else 0)
