"""Auditing a course's tests: the wrong solutions that they accept, each with a case that tells it apart."""

import ast
import json
import os
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from coursework import AFFINE, COURSE, DATA, RIGHT

from refbp import registry
from refbp.oracle import audit, suite

README = (Path(__file__).parents[1] / "README.md").read_text()
UNITTEST = "python -m unittest {tests}"


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command, in a folder of its own, on the small course."""
    monkeypatch.chdir(tmp_path)
    found = registry.Registry()
    found._courses = {"cs231n": COURSE}
    monkeypatch.setattr("refbp.cli.audit.load", lambda _: found)
    (tmp_path / "layers.py").write_text(RIGHT)
    (tmp_path / "course_tests.py").write_text((DATA / "course_tests.py").read_text())
    from refbp.cli import cli

    def run(*args):
        given = [a for pair in (("--course", "cs231n"), ("--solution", "layers.py")) if pair[0] not in args for a in pair]
        return CliRunner().invoke(cli, ["audit", *args, *given], standalone_mode=False)

    return run


# Mutants


def test_mutants_are_whole_files_each_with_one_mistake_in_a_function_that_is_asked_for_or_its_helper():
    source = (
        "import numpy as np\n\n"
        "def _flat(x):\n    return x.reshape(len(x), -1)\n\n"
        "def affine_backward(dout, cache):\n    x, w, b = cache\n    return dout @ w.T, _flat(x).T @ dout, dout.sum(0)\n\n"
        "class Layer:\n    def forward(self, x):\n        return self._half(x)\n\n"
        "    def _half(self, x):\n        return x / 2\n\n"
        "def plot(x):\n    return x * 3\n"
    )
    made = list(audit.mutants(source, ["affine_backward", "Layer.forward", "absent"], ["dout"]))
    assert {m.function for m in made} == {"_flat", "affine_backward", "Layer._half"}
    assert len({m.source for m in made}) == len(made) > 20
    original = ast.unparse(ast.parse(source))
    for m in made:
        assert ast.parse(m.source)
        assert m.source != original
        assert source.splitlines()[m.line - 1][m.column - 1 :].startswith(m.before.lstrip("("))
    assert "sum or mean" in {m.kind for m in made}
    assert [m.sentence for m in made if m.kind == "upstream"] == [
        f"the upstream gradient `dout` is ignored in `{place}`" for place in ("dout @ w.T", "_flat(x).T @ dout", "dout.sum")
    ]


# The audit


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The course's tests, which have one configuration, on all mutants of a right affine layer."""
    folder = tmp_path_factory.mktemp("audit")
    solution = DATA / "ada.py"
    made = suite.bench(DATA / "course_tests.py", solution, folder, at="layers.py", command=UNITTEST)
    asked = audit.plan(COURSE, [AFFINE], solution, made, 5, None)
    told = []
    return asked, audit.audit(asked, 2, told.append), told


def test_a_test_of_one_configuration_accepts_a_mean_for_a_sum_which_the_check_catches(audited):
    _, fates, _ = audited
    [mean] = [f for f in fates if f.mutant.after == "dout.mean(axis=0)"]
    assert (mean.fate, mean.verdict, mean.mutant.function) == (audit.ACCEPTED, "wrong", "affine_backward")
    assert mean.where == "in 2 of 3 cases, as std: seven on 7×3"
    ignored = [f for f in fates if f.mutant.kind == "upstream"]
    assert len(ignored) == 3
    assert {f.fate for f in ignored} == {audit.ACCEPTED}  # the upstream gradient of these tests is ones


def test_every_mutant_has_a_fate_and_the_score_counts_the_wrong_ones(audited):
    asked, fates, told = audited
    assert len(fates) == len(asked.mutants()) == len(told)
    scores = {s.name: s for s in audit.scores(fates)}
    assert set(scores) == {"affine_forward", "affine_backward", "all"}
    total = scores["all"]
    assert total.mutants == total.noticed + total.accepted + total.apart == len(fates)
    assert total.percent == pytest.approx(100 * total.noticed / (total.noticed + total.accepted))
    assert 50 < total.percent < 90
    minus = [f for f in fates if f.mutant.before == "1" and f.mutant.after == "2"]  # reshape takes any negative size
    assert {f.fate for f in minus} == {audit.APART}


def test_the_solutions_own_folder_is_not_written_to(audited):
    asked, _, _ = audited
    assert (DATA / "ada.py").read_text() == RIGHT
    assert not (DATA / "layers.py").exists()
    assert not asked.bench.root.is_relative_to(DATA)


def test_what_the_readme_shows_is_what_the_command_prints(command, tmp_path):
    found = command(
        *(
            "course_tests.py",
            "--as",
            "relu_backward",
            "--command",
            UNITTEST,
            "--json",
            "audit.json",
            "--apart",
            "--fail-under",
            "95",
        )
    )
    assert found.exception is None
    assert found.return_value == 1
    shown = re.search(r"```text\n(function .*?)```", README.split("## Audit")[1], flags=re.S)[1]
    printed = found.stdout.replace("layers.py", "ada.py")
    for line in shown.rstrip().splitlines():
        assert line.rstrip().split("; wrong")[0] in printed
    data = json.loads((tmp_path / "audit.json").read_text())
    assert data["all"]["accepted"] == sum(m["fate"] == "accepted" for m in data["mutants"])
    assert set(data["mutants"][0]) == {
        *("function", "kind", "sentence", "line", "column", "before", "after", "fate", "verdict", "where")
    }  # fmt: skip
    assert [m["verdict"] for m in data["mutants"] if m["after"] == "cache >= 0"] == ["kink-only"]


# One run


def _bench(folder, tests, command="python {tests}"):
    (folder / "course").mkdir()
    (folder / "course" / "run.py").write_text(tests)
    return suite.Bench(folder / "course", Path("layers.py"), Path("run.py"), command)


def test_a_run_that_does_not_end_is_stopped_with_all_that_it_started(tmp_path):
    tests = (
        "import layers, os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    ran = _bench(tmp_path, tests).run("", 5)
    assert ran.code is None
    pid = int((tmp_path / "pid").read_text())
    patience = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < patience:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_run_has_limits_a_folder_of_its_own_and_no_more_output_than_one_wants(tmp_path):
    tests = (
        "import layers, os, resource\n"
        "print('x' * 10_000_000)\n"
        "open('left_behind.txt', 'w').write('x')\n"
        "print(layers.VALUE, resource.getrlimit(resource.RLIMIT_FSIZE)[0], 'PYTEST_CURRENT_TEST' in os.environ)\n"
        "sys_exit = os._exit(3)\n"
    ).replace("sys_exit = os._exit(3)", "raise SystemExit(3)")
    made = _bench(tmp_path, tests)
    ran = made.run("VALUE = 41", 20)
    assert ran.code == 3
    assert ran.said.endswith(f"41 {64 << 20} False\n")
    assert len(ran.said) <= 4_000
    assert [p.name for p in made.root.iterdir()] == ["run.py"]


def test_a_folder_too_large_to_be_copied_is_left_and_tests_and_solution_lie_side_by_side(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("")
    (tmp_path / "layers.py").write_text("")
    (tmp_path / "picture.png").write_bytes(bytes(100))
    whole = suite.bench(tmp_path / "tests", tmp_path / "layers.py", tmp_path / "1")
    assert (whole.tests, whole.solution) == (Path("tests"), Path("layers.py"))
    assert (whole.root / "picture.png").exists()
    monkeypatch.setattr(suite, "LARGE", 50)
    beside = suite.bench(tmp_path / "tests", tmp_path / "layers.py", tmp_path / "2", at="cs231n/layers.py")
    assert (beside.tests, beside.solution) == (Path("tests"), Path("cs231n/layers.py"))
    assert sorted(p.name for p in beside.root.iterdir()) == ["cs231n", "tests"]
    with pytest.raises(suite.AuditError, match="give a smaller folder as --root"):
        suite.bench(tmp_path / "tests", tmp_path / "layers.py", tmp_path / "3", root=tmp_path)
    with pytest.raises(suite.AuditError, match=r"--at \.\./x\.py leads out of the copied folder"):
        suite.bench(tmp_path / "tests", tmp_path / "layers.py", tmp_path / "4", at="../x.py")


# Wrong use


def _says(found):
    return str(found.exception.format_message() if hasattr(found.exception, "format_message") else found.exception)


def test_what_is_not_as_it_should_be_is_one_sentence(command, tmp_path):
    (tmp_path / "wrong.py").write_text((DATA / "ben.py").read_text())
    (tmp_path / "other.py").write_text("def something():\n    return 1\n")
    (tmp_path / "never.py").write_text("import layers\nraise SystemExit('not good enough')\n")
    said = _says(command("course_tests.py", "--solution", "wrong.py", "--as", "affine_backward"))
    assert re.search(r"does not find the solution right: affine_backward is wrong \(db wrong\)\. Mend it", said)
    assert "has none of the functions of cs231n" in _says(command("course_tests.py", "--solution", "other.py"))
    said = _says(command("never.py", "--as", "relu_backward", "--command", "python {tests}"))
    assert said == "the tests do not accept the solution itself (exit code 1). They end with:\n  not good enough"
    assert "write {tests} in it" in _says(command("course_tests.py", "--command", "make test"))
    assert "no course is called 'cs231'; did you mean cs231n?" in _says(command("course_tests.py", "--course", "cs231"))


def test_without_a_test_collected_there_is_nothing_to_audit_and_without_a_solution_neither(command, tmp_path):
    (tmp_path / "empty.py").write_text("import layers\n")
    said = _says(command("empty.py", "--as", "relu_backward"))
    assert said.startswith("the tests do not accept the solution itself (exit code 5). No test was collected.")
    from refbp.cli import cli

    found = CliRunner().invoke(cli, ["audit", "empty.py", "--course", "cs231n"], standalone_mode=False)
    assert "cs231n comes without a solution: give a right one" in _says(found)
