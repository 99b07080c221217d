"""Other people's code, run where it can do no harm and decide nothing.

``Worker`` runs a submission in a process of its own. The reference, the comparison, the seed of the inputs and the results
stay on this side; what crosses is plain data in npy bytes over a private pipe, and everything that comes back is made anew
here: a subclass of ndarray is an array by then, and an object that equals everything is a handle that equals only itself.

What a submission is kept from, and by what (``Worker.protections.sentence()`` says what holds where you are):

* the answers: they are not there. Neither refbp nor torch can be imported, the folder of packages holds NumPy alone.
* files: bubblewrap shows nothing but the standard library, NumPy and a copy of the submission, all read-only; where there
  is no bubblewrap, Landlock makes everything else unreadable; where there is neither, the system-call filter forbids
  writing, and Python's audit hooks, which a determined submission gets round, guard reading.
* the network and other processes: bubblewrap's namespaces, and everywhere on Linux (x86-64, arm64) a system-call filter
  that also forbids new processes, so that ending the process group ends everything.
* memory, processor time, file sizes, descriptors, threads, output: limits of the system and of the reader at this end.

A worker started by root stops being root before it runs anything: limits on processes do not bind root.
"""

from refbp.oracle.isolation.limits import Confinement, Limits, Protections
from refbp.oracle.isolation.numeric import Attempt, Suspicion, finite_differences
from refbp.oracle.isolation.result import (
    Definition,
    Handle,
    IsolationError,
    Parameter,
    Result,
    SubmissionError,
    environment,
)
from refbp.oracle.isolation.worker import Worker

__all__ = [
    "Attempt",
    "Confinement",
    "Definition",
    "Handle",
    "IsolationError",
    "Limits",
    "Parameter",
    "Protections",
    "Result",
    "SubmissionError",
    "Suspicion",
    "Worker",
    "environment",
    "finite_differences",
]
