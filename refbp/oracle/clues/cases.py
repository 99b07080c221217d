"""Which cases are wrong, what was raised, what was overwritten, and how many digits are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from refbp.errors import listed
from refbp.oracle.clues import errors
from refbp.oracle.condition import separating
from refbp.oracle.finding import Evidence, Finding
from refbp.oracle.observation import ROUGH, same

MISFITS = ("returns ", "draws ")  # how a sentence begins that is no exception, but cannot be used
HALF = 5e-3  # what float16 keeps


def clue(e: Evidence) -> list[Finding]:
    """Findings that speak of cases as a whole."""
    known = list(errors.clue(e))
    silent = known and all(o.error for o in e.observations)  # that every case raises is in the table
    return [*known, *([] if silent else _raised(e)), *_changed(e), *_precision(e), *_class(e)]


def _raised(e: Evidence) -> Iterator[Finding]:
    raised = [o for o in e.failing if o.error]
    if not raised:
        return
    others = [o for o in e.observations if not o.error]
    kinds = Counter(o.error.partition(":")[0] for o in raised)
    error = Counter(o.error for o in raised if o.error.startswith(kinds.most_common(1)[0][0])).most_common(1)[0][0]
    # whether a draw shows is a matter of size, and one case that is wrong in another way tells nothing
    untold = error.startswith("draws ") or (len(others) == 1 and bool(others[0].wrong))
    only = "" if untold else separating(raised, others)
    where = f" where {only}" if only else "" if others else " in every case"
    count = f"{len(raised)} of {len(e.observations)} cases" + (f", all those where {only}" if only else "")
    said = error.removeprefix("raises ") + (f"; or {_others(kinds)}" if len(kinds) > 1 else "")
    what = f"it {error}{where}" if error.startswith(MISFITS) else f"an error is raised{where}: {said}"
    yield Finding("error", what, count, 0.9 if only or not others else 0.6)


def _others(kinds: Counter[str]) -> str:
    return listed([k.removeprefix("raises ") for k, _ in kinds.most_common()[1:]])


def _changed(e: Evidence) -> Iterator[Finding]:
    names = list(dict.fromkeys(n for o in e.observations for n in o.changed))
    if names:
        yield Finding(
            "overwritten",
            f"{listed(names)} {'are' if len(names) > 1 else 'is'} overwritten by the call: work on a copy",
            f"in {sum(bool(o.changed) for o in e.observations)} of {len(e.observations)} cases",
            0.6,
        )


def _precision(e: Evidence) -> Iterator[Finding]:
    for name in e.wrong:
        pairs = e.pairs(name)
        if pairs and all(same(g, x, HALF if g.dtype == np.float16 else ROUGH) for g, x in pairs):
            single = all(g.dtype in (np.float32, np.float16) for g, _ in pairs)
            how = f"computed in {pairs[0][0].dtype}" if single else "a rounded constant, an added ε, or finite differences"
            yield Finding(
                "precision",
                f"{e.called([name])} is right, but to a few digits only: {how}",
                f"relative errors below {HALF if pairs[0][0].dtype == np.float16 else ROUGH:g}",
                0.9 if single else 0.6,
                (name,),
            )


def _class(e: Evidence) -> Iterator[Finding]:
    right = [o for o in e.observations if not o.wrong]
    wrong = e.answered
    if len(wrong) + len(right) < 3 or not right or not wrong:
        return
    only = separating(wrong, right)
    if only:
        yield Finding(
            "cases",
            f"{e.called(e.wrong)} {'are' if len(e.wrong) > 1 else 'is'} wrong where {only}, and right elsewhere",
            f"wrong in {len(wrong)} of {len(wrong)} such cases, right in {len(right)} of {len(right)} others",
            0.65 if len(wrong) > 1 and len(right) > 1 else 0.5,
            tuple(e.wrong),
        )
