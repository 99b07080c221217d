"""What an exception says to those who have seen it before: a float where a count is wanted, a cache with other parts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from refbp.oracle.finding import Evidence, Finding

SURE = 0.92  # as sure as that an error is raised at all, and said first
FEW = 0.5  # where most of what fails fails otherwise
HINTS: tuple[tuple[str, str], ...] = (
    (
        r"'(?:numpy\.)?float(?:64)?' object cannot be interpreted as an integer|slice indices must be integers"
        r"|IndexError: (?:only integers, slices|arrays used as indices must be of integer)"
        r"|Cannot cast array data from dtype\('float64'\) to dtype\('int(?:32|64)'\)"
        r"|can't multiply sequence by non-int of type 'float'",
        "a size or an index is a float: in Python 3 a / b is one even where both are integers, and a // b is an integer",
    ),
    (
        r"could not broadcast input array from shape \((?:\d+,)*0,",
        "what is assigned is empty: a slice such as x[p:-p] keeps nothing where p is 0",
    ),
    (
        r"(?:too many|not enough) values to unpack \(expected (?:at least )?(\d+)",
        "{0} names stand on the left of an assignment whose right side, a cache or a shape, has another number of parts",
    ),
    (
        r"has no attribute '(\w+)', which is read after (\w+): (.+)",
        "{1} leaves no {0}, or leaves it under another name: what is looked for is read as {2}",
    ),
)


def clue(e: Evidence) -> Iterator[Finding]:
    """At most one finding: what is to be said of the first error of which anything is."""
    raised = [o.error for o in e.failing if o.error]
    for pattern, words in HINTS:
        found = [m for error in raised if (m := re.search(pattern, error))]
        if found:
            sure = SURE if 2 * len(found) > len(e.failing) else FEW
            yield Finding("error", words.format(*found[0].groups()), f"{len(found)} of {len(raised)} errors", sure)
            return
