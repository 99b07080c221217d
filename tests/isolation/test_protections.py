"""What holds around a worker, and that it is said."""

import os
import re
from pathlib import Path

import pytest
from isolated import CONFINEMENTS, HOSTILE, LIMITS, PACKAGE, PACKAGES, TESTS, attack, right

from refbp.oracle.isolation import IsolationError, Limits, Protections, Worker


def test_without_bubblewrap_the_next_best_is_used_and_said(monkeypatch, why_not):
    from refbp.oracle.isolation import worker as module

    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(module, "_failed", {})
    monkeypatch.setattr(module, "_worked", set())
    with Worker(HOSTILE / "honest.py", limits=LIMITS) as worker:
        held = worker.protections
        assert right(*attack(worker))
    assert held.confinement == ("hooks" if why_not["landlock"] else "landlock")
    assert "bubblewrap (bwrap) is not installed (Debian, Ubuntu: apt-get install bubblewrap)" in held.sentence()
    with (
        Worker(HOSTILE / "honest.py", limits=LIMITS, confine="bubblewrap") as worker,
        pytest.raises(IsolationError, match=r"bubblewrap: bubblewrap \(bwrap\) is not installed"),
    ):
        worker.names()


def test_the_best_that_works_here_is_used(why_not):
    with Worker(HOSTILE / "honest.py", limits=LIMITS) as worker:
        assert worker.protections.confinement == next(c for c in CONFINEMENTS if not why_not[c])


def test_the_sentence_says_what_is_on(confine):
    with Worker(HOSTILE / "honest.py", limits=LIMITS, confine=confine) as worker:
        held = worker.protections
        line = held.sentence()
    if confine == "bubblewrap":
        assert "bubblewrap (files read-only, the rest of them hidden; no network)" in line
    elif confine == "landlock":
        assert "Landlock (files read-only, the rest of them unreadable)" in line
    else:
        assert "hidden only by Python's own hooks" in line
        assert line.startswith("partly isolated: ")
        assert not held.complete
    assert "20 s a call, 512 MiB of memory" in line
    assert (held.uid is not None) == (os.geteuid() == 0)
    assert not held.root
    assert not held.filter or "system-call filter" in line


def test_a_sentence_hides_no_gap():
    nothing = Protections("hooks", 0, False, None, True, (), Limits(seconds=2))
    assert nothing.sentence() == (
        "partly isolated: files guarded only by Python's own hooks, the network and new processes guarded only by Python's own "
        "hooks, still root, 2 s a call, 1 GiB of memory (not enforced here)"
    )
    assert not any((nothing.files_hidden, nothing.files_read_only, nothing.network_off, nothing.complete))


SEES = """
import importlib.util
import os
import sys


def environment():
    return dict(os.environ), sys.argv, sorted(sys.modules), [type(v).__name__ for v in vars(sys).values()]


def found(*names):
    return [n for n in names if importlib.util.find_spec(n)]


def readable(*paths):
    seen = []
    for path in paths:
        try:
            if os.path.isdir(path):
                if os.listdir(path):
                    seen.append(path)
            else:
                open(path).close()
                seen.append(path)
        except OSError:
            pass
    return seen


def who():
    return os.getuid(), os.getpid()


def signal(pid):
    os.kill(pid, 0)
"""


def test_there_is_neither_refbp_nor_torch_nor_anything_of_the_parents(confine, submit):
    worker = submit(SEES, confine=confine)
    variables, argv, modules, _ = worker.call("environment").value
    assert variables.keys() <= {
        "PATH", "LANG", "HOME", "PWD", "LC_CTYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    }  # fmt: skip
    assert argv == [""]
    assert not [m for m in modules if m.split(".")[0] in {"refbp", "torch", "pytest", "pluggy"}]
    assert worker.call("found", ("refbp", "torch", "pytest", "click", "site_packages")).value == []
    assert worker.call("found", ("numpy", "json", "_inside")).value == ["numpy", "json", "_inside"]
    hidden = [str(TESTS), str(TESTS / "test_isolation.py"), str(PACKAGE), str(PACKAGE / "contract.py"), f"{PACKAGES}/torch"]
    hidden += [f"{PACKAGES}/torch/__init__.py", f"{PACKAGES}/pytest/__init__.py"]
    if confine == "hooks":  # which say nothing when folders are listed
        hidden = [h for h in hidden if h.endswith(".py")]
    assert worker.call("readable", hidden).value == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_each_worker_of_root_is_a_user_of_its_own(confine, submit):
    first, second = submit(SEES, "a.py", confine=confine), submit(SEES, "b.py", confine=confine)
    (uid, pid), (other, _) = first.call("who").value, second.call("who").value
    assert uid != other
    assert 0 not in {uid, other}
    if confine != "bubblewrap":  # inside which every worker has the same number
        assert second.call("signal", (pid,)).error in {"PermissionError", "ProcessLookupError"}


@pytest.mark.skipif(not Path("/usr/include/asm-generic/unistd.h").exists(), reason="no kernel headers here to compare with")
def test_the_numbers_of_system_calls_are_the_kernels():
    from refbp.oracle.isolation._inside import syscalls

    def numbers(path):
        found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(path).read_text(), re.MULTILINE)
        return {name: int(number) for name, number in found}

    tables = [{}, numbers("/usr/include/asm-generic/unistd.h")]
    x86 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if x86.exists():
        tables[0] = numbers(x86)
    groups = ("PROCESSES", "OTHERS", "NETWORK", "MEMORY", "KERNEL", "METADATA", "WRITING")
    known = {name: numbers for group in groups for name, numbers in getattr(syscalls, group).items()}
    single = ("CLONE", "CLONE3", "KILL", "TGKILL", "FCNTL", "PRCTL", "OPENAT", "OPENAT2")
    known |= {name.lower(): getattr(syscalls, name) for name in single}
    compared = 0
    for name, values in known.items():
        for table, value in zip(tables, values, strict=True):
            if value is not None and name in table:
                assert table[name] == value, name
                compared += 1
    assert compared > 60
