"""Every error refbp raises on purpose: what was given, what was wanted, how to mend it."""

from __future__ import annotations


class RefbpError(Exception):
    """The base of them all, so that one ``except`` catches what refbp says and nothing else."""


class ArgumentError(RefbpError, TypeError):
    """A layer was constructed with a missing, unknown or impossible argument."""


class ShapeError(RefbpError, ValueError):
    """An input, a state entry or an upstream gradient has the wrong shape."""


class DtypeError(RefbpError, TypeError):
    """An input, a state entry or an upstream gradient has the wrong dtype."""


class ValueRangeError(RefbpError, ValueError):
    """An input has the right shape and dtype, and a value outside its domain (a class index, say)."""


class StateError(RefbpError, KeyError):
    """A state lacks an entry, or holds one that the layer does not know."""

    def __str__(self) -> str:  # KeyError would print the sentence in quotes
        return str(self.args[0]) if self.args else ""


class UnknownNameError(RefbpError, LookupError):
    """A name that no registered layer, loss, case or check has."""


class PluginError(RefbpError):
    """A plugin could not be loaded, or contributes something that is not usable."""


def listed(names: list[str] | tuple[str, ...]) -> str:
    """``a, b and c``."""
    *most, last = names or ("nothing",)
    return f"{', '.join(most)} and {last}" if most else last


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """``; did you mean X?`` where something known is close, else an empty string."""
    import difflib

    folded = {k.lower(): k for k in reversed(known)}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]}?" if close else ""
