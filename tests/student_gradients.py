"""The explainer on gradients as students write them: ``python tests/student_gradients.py`` prints the table of the README."""

import sys
import time

from students import activations, dense, losses, normalized, other_losses, others, rarer, recurrent, windows
from students._student import STUDENTS, Student

from refbp.oracle.diagnose import diagnose
from refbp.oracle.finding import Finding

GROUPS = {
    "linear, softmax, dropout, embedding": (dense,),
    "activations": (activations,),
    "normalisation": (normalized,),
    "convolution, pooling": (windows,),
    "recurrent cells and layers": (recurrent,),
    "losses, attention": (losses,),
    "written blind, first": (others, other_losses),
    "written blind, second": (rarer,),
}
MISSED = {"hardswish_with_a_sixth"}  # its honest answer is that nothing explains it: no finding is better than a wrong one
HEADING = ("gradients of", "layers", "wrong", "explained", "right", "suspected")


def of(label: str) -> list[Student]:
    """The functions of one group."""
    return [s for s in STUDENTS if s.module in {m.__name__ for m in GROUPS[label]}]


def first_finding(student: Student) -> Finding | None:
    """What is said first of a function."""
    return next(iter(diagnose(student.observations())), None)


def row(label: str, students: list[Student], explained: int, suspected: int) -> tuple[str, ...]:
    """One line of the table."""
    wrong = [s for s in students if not s.right]
    layers = len({s.layer for s in students})
    return (label, str(layers), str(len(wrong)), str(explained), str(len(students) - len(wrong)), str(suspected))


def lines(rows: list[tuple[str, ...]]) -> list[str]:
    """The table as text."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEADING))]
    return ["  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))) for r in rows]


def table() -> list[str]:
    """The table as it is proven function by function in tests/test_diagnose.py."""
    rows = [HEADING]
    for label in GROUPS:
        students = of(label)
        rows.append(row(label, students, sum(not s.right and s.name not in MISSED for s in students), 0))
    explained = sum(not s.right and s.name not in MISSED for s in STUDENTS)
    rows.append(row("all", STUDENTS, explained, 0))
    return lines(rows)


def main() -> int:
    """Ask about every function, print the table, and every one that is not explained, or is suspected without reason."""
    start, rows, notes, counts = time.monotonic(), [HEADING], [], [0, 0]
    for label in GROUPS:
        explained = suspected = 0
        for student in of(label):
            found = first_finding(student)
            if student.right:
                suspected += found is not None
            else:
                explained += found is not None and student.explained(found.sentence)
            if (found is None) != student.right or (found and not student.right and not student.explained(found.sentence)):
                notes.append(f"{student.layer}, {student.name}: {found.sentence if found else 'not explained'}")
        rows.append(row(label, of(label), explained, suspected))
        counts = [counts[0] + explained, counts[1] + suspected]
    rows.append(row("all", STUDENTS, *counts))
    sys.stdout.write("\n".join([*lines(rows), "", *notes, f"{time.monotonic() - start:.0f} s", ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
