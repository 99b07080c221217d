"""Grading: fair, resumable, silent about the answers, and never a zero for what the grader broke."""

import csv
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import ClassVar

import numpy as np
import pytest
import schemas
from click.testing import CliRunner
from coursework import COURSE, DATA, RIGHT, WRONG, a_function, a_rubric, a_zip

from refbp import registry
from refbp.oracle import checking, submission
from refbp.oracle.grading import grade as grading
from refbp.oracle.grading import intake, journal, many, marks, rubric, writers
from refbp.oracle.isolation import IsolationError, Worker

# One


def _numbers(text):
    return {float(n) for n in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)}


def test_nothing_that_a_student_reads_has_a_number_of_the_reference_unless_the_rubric_allows_it(tmp_path):
    (tmp_path / "ben.py").write_text(WRONG.replace("(dout, cache):\n    return dout", "(dout, cache):\n    return dout * 3"))
    asked = a_rubric(tmp_path, "hidden = ['degenerate']")
    graded = grading.grade(tmp_path / "ben.py", COURSE, asked, seed=5)
    assert {f.name: f.verdict for f in graded.functions} == {
        "affine_forward": "ok", "affine_backward": "wrong", "relu_forward": "ok", "relu_backward": "wrong",
    }  # fmt: skip
    sheet = dataclasses.replace(marks.sheet("ben", graded, asked), seconds=2.0)  # a time may be anybody's number
    entry = writers.Entry("ben", sheet, "", graded)
    report = checking.check(submission.read(tmp_path / "ben.py"), COURSE, COURSE.exercises, checking.Asked(5, explain=False))
    attempts = [a for r in report.rows for a in r.attempts]
    expected = np.concatenate([np.ravel(c.expected) for a in attempts for c in (*a.outputs, *a.grads)])
    given = np.concatenate([np.ravel(a) for t in attempts for a in (*t.problem.inputs, *t.problem.state.values())])
    secret = [v for v in (*expected, *given) if abs(v - round(v)) > 1e-3]
    assert len(secret) > 100
    shown = [write(entry) for write in writers.FOR_ONE.values()]
    for text in shown:
        assert "db is 1/N times" in text  # the words are there
        assert not [n for n in _numbers(text) for v in secret if abs(abs(v) - abs(n)) < 6e-4 * max(1, abs(v))]
        assert "smallest" not in text
        assert "one row" not in text  # the case of the hidden tier
    allowed = marks.sheet("ben", graded, a_rubric(tmp_path, "hints = 3"))
    assert "smallest failing input: x = " in writers.gradescope(writers.Entry("ben", allowed))
    silent = marks.sheet("ben", graded, a_rubric(tmp_path, "hints = 0"))
    assert [m.lines for m in silent.marks if m.name == "affine_backward"] == [("affine_backward: wrong",)]


def test_what_kills_its_process_is_that_submissions_verdict_and_what_is_missing_has_no_points(tmp_path):
    (tmp_path / "cy.py").write_text(
        "import os\n" + RIGHT.split("def relu_forward")[0].replace("    x, w, _ = cache", "    os._exit(3)")
    )
    graded = grading.grade(tmp_path / "cy.py", COURSE, rubric.plain(COURSE), seed=5)
    assert [(f.name, f.verdict) for f in graded.functions] == [
        ("affine_forward", "ok"), ("affine_backward", "raises"), ("relu_forward", "missing"), ("relu_backward", "missing"),
    ]  # fmt: skip
    sheet = marks.sheet("cy", graded, rubric.plain(COURSE))
    assert sheet.points == 1.0
    assert "exit code 3" in "\n".join(sheet.marks[1].lines)
    again = grading.Graded.of(json.loads(json.dumps(graded.data())))
    assert again == graded


def test_a_tier_that_was_not_tried_because_an_earlier_case_never_ended_has_no_points(tmp_path):
    source = RIGHT.replace("    x, w, _ = cache", "    x, w, _ = cache\n    while len(x) == 3:\n        pass")
    (tmp_path / "eve.py").write_text(source)
    graded = grading.grade(tmp_path / "eve.py", COURSE, a_rubric(tmp_path, "seconds = 0.3"), seed=5)
    assert graded.timed_out
    tiers = {f.name: f.tiers for f in graded.functions}["affine_backward"]
    assert tiers == {"std": (1, 2), "degenerate": (0, 1)}


# Many


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command, in a folder of its own, on the small course."""
    monkeypatch.chdir(tmp_path)
    found = registry.Registry()
    found._courses = {"cs231n": COURSE}
    monkeypatch.setattr("refbp.cli.grade.load", lambda _: found)
    from refbp.cli import cli

    def run(*args):
        course = () if "--course" in args else ("--course", "cs231n")
        return CliRunner().invoke(cli, ["grade", *args, *course], standalone_mode=False)

    return run


def _fake(graded=None):
    calls = []

    def grade(staged, course, asked, seed):
        calls.append(staged.name)
        if isinstance(graded, Exception):
            raise graded
        return grading.Graded((a_function(),), seconds=0.1)

    grade.calls = calls
    return grade


def test_what_breaks_on_this_side_is_not_graded_listed_and_tried_again_and_never_a_zero(command, tmp_path, monkeypatch):
    for who in ("ada", "ben"):
        (tmp_path / f"{who}.py").write_text(f"# {who}\n{RIGHT}")
    outputs = ["--format", "csv", "--output", "all.csv", "--format", "gradescope", "--output", "gs"]

    def refuses(self):
        raise IsolationError("no worker could be started: bubblewrap: out of processes")

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "_start", refuses)
        first = command("ada.py", "ben.py", "--as", "relu_backward", "-j", "1", *outputs)
    assert first.return_value == 1
    assert "ada was not graded: no worker could be started: bubblewrap: out of processes." in first.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))
    assert [(r["submission"], r["status"], r["points"]) for r in rows] == [("ada", "not graded", ""), ("ben", "not graded", "")]
    assert list((tmp_path / "gs").iterdir()) == []
    second = command("ada.py", "ben.py", "--as", "relu_backward", "-j", "1", *outputs)
    assert (second.return_value, second.exception) == (0, None)
    assert "2 submissions · 2 graded · mean 2.00 of 2" in second.stdout
    assert re.search(r"seed (\d+)", first.stdout)[1] == re.search(r"seed (\d+)", second.stdout)[1]
    assert sorted(p.name for p in (tmp_path / "gs").iterdir()) == ["ada.json", "ben.json"]
    third = command("ada.py", "ben.py", "--as", "relu_backward", "-j", "1")
    assert "2 graded · 2 of them before" in third.stdout


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "room"), "No space left on device: room"),
        (MemoryError(), "no memory left"),
        (RuntimeError("a mistake in refbp"), "RuntimeError: a mistake in refbp"),
    ],
)
def test_a_full_disk_no_memory_and_a_mistake_of_the_graders_are_nobodys_zero(tmp_path, monkeypatch, error, says):
    monkeypatch.setattr(many, "grade", _fake(error))
    (tmp_path / "ada.py").write_text(RIGHT)
    [outcome] = many.each(intake.sources([str(tmp_path / "ada.py")]), many.Setting(COURSE, rubric.plain(COURSE), 1), 1)
    assert outcome.graded is None
    assert says in outcome.reason


class _FakePool:
    """A pool whose process dies for some submissions, and for all that are in hand with them."""

    made: ClassVar = []
    dying: ClassVar = {}
    answers: ClassVar = {}

    def __init__(self, jobs, setting, folder):
        self.made.append(jobs)
        self.broken = False

    def submit(self, staged):
        if self.broken:  # as the real one does from then on
            raise BrokenProcessPool("a child process terminated abruptly, the process pool is not usable anymore")
        future = Future()
        if self.dying.get(staged.name, 0):
            self.dying[staged.name] -= 1
            self.broken = True
        if self.broken:
            future.set_exception(BrokenProcessPool("a process in the process pool was terminated abruptly"))
        else:
            answers = self.answers.get(staged.name)
            future.set_result((answers.pop(0) if answers else grading.Graded((a_function(),)), ""))
        return future

    def stop(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def _many(tmp_path, monkeypatch, names, dying=None, answers=None):
    monkeypatch.setattr(many, "_Pool", _FakePool)
    monkeypatch.setattr(_FakePool, "made", [])
    monkeypatch.setattr(_FakePool, "dying", dict(dying or {}))
    monkeypatch.setattr(_FakePool, "answers", dict(answers or {}))
    for name in names:
        (tmp_path / name).write_text(f"# {name}")
    setting = many.Setting(COURSE, rubric.plain(COURSE), 1)
    return {o.source.name: o for o in many.each(intake.sources([str(tmp_path / n) for n in names]), setting, 3)}


def test_a_process_that_dies_takes_nobody_with_it_and_its_submission_is_tried_again_alone(tmp_path, monkeypatch):
    names = [f"{c}.py" for c in "abcdefgh"]
    found = _many(tmp_path, monkeypatch, names, {"c.py": 1, "f.py": 9})
    assert {n: o.reason for n, o in found.items() if o.graded is None} == {"f": many.DIED}
    assert len(found) == 8


def test_when_every_process_dies_the_rest_is_not_graded_instead_of_tried_for_hours(tmp_path, monkeypatch):
    names = [f"{i}.py" for i in range(60)]
    found = _many(tmp_path, monkeypatch, names, dict.fromkeys(names, 99))
    assert {o.graded for o in found.values()} == {None}
    assert len(_FakePool.made) < 60


def test_a_time_out_beside_others_is_tried_again_alone_before_it_counts(tmp_path, monkeypatch):
    slow = grading.Graded((a_function(verdict="timeout"),))
    quick = grading.Graded((a_function(verdict="ok"),))
    found = _many(tmp_path, monkeypatch, ["a.py", "b.py", "c.py"], answers={"a.py": [slow, slow], "b.py": [slow, quick]})
    assert [found[n].graded.functions[0].verdict for n in "abc"] == ["timeout", "ok", "wrong"]


def test_the_same_files_are_graded_once_and_said_to_be_the_same(tmp_path, monkeypatch):
    fake = _fake()
    monkeypatch.setattr(many, "grade", fake)
    for who in ("ada", "ben", "cy"):
        (tmp_path / who).mkdir()
        (tmp_path / who / "layers.py").write_text(RIGHT if who != "cy" else WRONG)
    sources = intake.sources([str(tmp_path / who) for who in ("ada", "ben", "cy")])
    found = {o.source.name: o for o in many.each(sources, many.Setting(COURSE, rubric.plain(COURSE), 1), 1)}
    assert [found[n].same_as for n in ("ada", "ben", "cy")] == ["", "ada", ""]
    assert len(fake.calls) == 2


def test_a_single_file_cannot_import_its_neighbour(tmp_path):
    (tmp_path / "ada.py").write_text(RIGHT)
    (tmp_path / "ben.py").write_text("from ada import *\n\ndef relu_forward(x):\n    return x * (x > 0), x\n")
    [outcome] = many.each(intake.sources([str(tmp_path / "ben.py")]), many.Setting(COURSE, rubric.plain(COURSE), 1), 1)
    verdicts = {f.name: f.verdict for f in outcome.graded.functions}
    assert "ok" not in verdicts.values()


def test_of_hostile_submissions_none_gains_a_point_for_its_backward(tmp_path, monkeypatch):
    names = ["honest", "at_exit", "forged_stdout", "patched_comparisons", "equals_everything", "finite_differences", "leaves"]
    sources = intake.sources([str(DATA.parents[1] / "hostile" / f"{n}.py") for n in names])
    asked = a_rubric(tmp_path, "hints = 1\n[exercises]\naffine_backward = 1")
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    outcomes = many.each(sources, many.Setting(COURSE, asked, 1), 1)
    points = {o.source.name: marks.sheet(o.source.name, o.graded, asked).points for o in outcomes}
    assert points == dict.fromkeys(names, 0) | {"honest": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_no_name_that_a_student_chose_is_obeyed_by_the_instructors_terminal(tmp_path):
    (tmp_path / "a\x1b[2J").mkdir()
    (tmp_path / "a\x1b[2J" / "b\x1b[31m.py").write_text("def affine_forward(:\n")
    archive = a_zip(tmp_path / "z\x1b[5m.zip", ("../x\x1b.py", ""))
    sources = intake.sources([str(tmp_path / "a\x1b[2J"), str(archive)])
    outcomes = list(many.each(sources, many.Setting(COURSE, rubric.plain(COURSE), 1), 1))
    said = [o.source.name for o in outcomes] + [repr(o.graded.data()) for o in outcomes]
    assert all("not Python that can be read" in s or "leads out of it" in s for s in said[2:])
    assert not [s for s in said if "\x1b" in s or "\\x1b[" in s]


# The journal


def test_a_torn_line_counts_as_not_written_and_what_follows_it_does(tmp_path):
    graded = grading.Graded((a_function(),))
    with journal.Journal(tmp_path, "cs231n", "tried") as j:
        j.begin(7)
        j.add("ada", "digest", 7, graded)
    path = tmp_path / journal.NAME
    path.write_bytes(path.read_bytes() + b'{"key": "abc", "gra')
    with journal.Journal(tmp_path, "cs231n", "tried") as j:
        assert j.seed == 7
        j.add("ben", "other", 7, graded)
    with journal.Journal(tmp_path, "cs231n", "tried") as j:
        assert j.get("digest", 7) == j.get("other", 7) == graded
        assert j.get("digest", 8) is None
        assert j.get("third", 7) is None
    for course, tried in (("cs231n", "something else"), ("minitorch", "tried")):
        with journal.Journal(tmp_path, course, tried) as j:
            assert (j.seed, j.get("digest", 7)) == (None, None)


def test_fresh_keeps_the_old_journal_under_another_name(tmp_path):
    for fresh in (False, True, True):
        with journal.Journal(tmp_path, "cs231n", "tried", fresh) as j:
            assert j.seed is None
            j.begin(7)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["journal.1.jsonl", "journal.2.jsonl", "journal.jsonl"]


def test_two_runs_do_not_write_one_journal_and_a_journal_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    with journal.Journal(tmp_path, "cs231n", "tried") as j:
        with pytest.raises(journal.JournalError, match="another run is grading into"):
            journal.Journal(tmp_path, "cs231n", "tried")
        monkeypatch.setattr(os, "write", lambda fd, line: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(journal.JournalError, match="cannot be written: No space left on device; run it again to go on"):
            j.begin(3)
    (tmp_path / "file").write_text("")
    with pytest.raises(journal.JournalError, match="cannot be opened"):
        journal.Journal(tmp_path / "file", "cs231n", "tried")


def test_a_disk_that_fills_up_ends_the_run_with_exit_code_1_and_loses_nothing(command, tmp_path, monkeypatch):
    fake = _fake()
    monkeypatch.setattr(many, "grade", fake)
    for i in range(3):
        (tmp_path / f"{i}.py").write_text(f"# {i}")
    real = os.write

    def write(fd, data):
        if b'"graded"' in data and len(fake.calls) == 3:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        found = command("0.py", "1.py", "2.py", "-j", "1")
    assert found.return_value == 1
    assert "cannot be written: No space left on device; run it again to go on." in found.stderr
    assert "3 graded · 2 of them before" in command("0.py", "1.py", "2.py", "-j", "1").stdout
    monkeypatch.setattr("refbp.cli.grade.write_file", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    found = command("0.py", "1.py", "2.py", "-j", "1", "--json", "all.json")
    assert (found.exception.exit_code, found.exception.message) == (
        1, "all.json could not be written: No space left on device; run the command again.",
    )  # fmt: skip


def test_killed_and_started_again_a_run_goes_on_where_it_was(tmp_path):
    for i in range(8):
        (tmp_path / f"s{i}.py").write_text(f"{RIGHT}\n# {i}\n")
    targets = [f"s{i}.py" for i in range(8)]
    line = [sys.executable, "-m", "refbp", "grade", *targets, "--course", "cs231n", "--as", "relu_backward"]
    written = tmp_path / "grades" / journal.NAME
    run = subprocess.Popen([*line, "-j", "2"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    patience = time.monotonic() + 60
    while not (written.exists() and written.read_bytes().count(b'"graded"') >= 2) and time.monotonic() < patience:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    first, _ = run.communicate()
    before = written.read_bytes().count(b'"graded"')
    assert 2 <= before < 8
    again = subprocess.run([*line, "-j", "1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    known = int(re.search(r"8 graded · (\d+) of them before", again.stdout)[1])
    assert before <= known < 8
    assert not first or re.search(r"seed (\d+)", first)[1] == re.search(r"seed (\d+)", again.stdout)[1]
    assert written.read_bytes().count(b'"graded"') == 8


# The command


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["ada.py", "--format", "csv"], "1 --format and 0 --output: give one --output for each --format."),
        (["ada.py", "ben.py", "--format", "gradescope", "--output", "-"], "gradescope is written for each submission"),
        (["ada.py", "ben.py", "--format", "check50", "--output", "ada.py"], "ada.py is a file: check50 of 2 submissions needs"),
        (["ada.py", "--format", "csv", "--output", "none/x.csv"], "the folder none does not exist"),
        (["ada.py", "--format", "csv", "--output", "-", "--format", "json", "--output", "-"], "only one --output can be '-'"),
        (["adda.py"], "adda.py does not exist; did you mean ada.py?"),
        (["ada.py", "--as", "relu_bakward"], "no exercise 'relu_bakward'; did you mean relu_backward"),
        (["ada.py", "--course", "cs231m"], "no course is called 'cs231m'; did you mean cs231n?"),
    ],
)
def test_wrong_use_is_one_sentence_before_anything_is_graded(command, tmp_path, monkeypatch, args, says):
    fake = _fake()
    monkeypatch.setattr(many, "grade", fake)
    for who in ("ada", "ben"):
        (tmp_path / f"{who}.py").write_text(RIGHT)
    found = command(*args)
    assert says in str(found.exception.format_message() if hasattr(found.exception, "format_message") else found.exception)
    assert not fake.calls


def test_one_submission_prints_its_report_alone_and_needs_no_folder(command, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "grade", _fake())
    (tmp_path / "ada.py").write_text(RIGHT)
    found = command("ada.py", "--format", "autolab", "--output", "-", "--seed", "4")
    assert schemas.autolab(found.stdout) == []
    assert "seed 4" in found.stderr
    assert not (tmp_path / "grades").exists()


def test_ctrl_c_says_how_far_it_came_and_keeps_it(command, tmp_path, monkeypatch):
    fake = _fake()

    def interrupted(*args):
        if len(fake.calls) == 2:
            raise KeyboardInterrupt
        return fake(*args)

    monkeypatch.setattr(many, "grade", interrupted)
    for i in range(4):
        (tmp_path / f"{i}.py").write_text(f"# {i}")
    found = command("0.py", "1.py", "2.py", "3.py", "-j", "1")
    assert "2 of 4 are graded; the same command goes on from there" in found.stderr
    monkeypatch.setattr(many, "grade", fake)
    assert "4 graded · 2 of them before" in command("0.py", "1.py", "2.py", "3.py", "-j", "1").stdout
    assert fake.calls == ["0.py", "1.py", "2.py", "3.py"]


def test_reports_have_files_of_their_own_whatever_submissions_are_called():
    from refbp.cli.grade import _file_names

    assert _file_names(["ada/hw", "ada__hw", "..", "Ada__hw", "../../x"]) == [
        "ada__hw",
        "ada__hw_2",
        "submission",
        "Ada__hw_3",
        "__..__x",
    ]


def test_a_folder_of_submissions_given_as_one_is_noticed_and_json_prints_alone(command, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "grade", _fake())
    (tmp_path / "all").mkdir()
    for who in ("ada", "ben"):
        (tmp_path / "all" / f"{who}.py").write_text(RIGHT)
    found = command("all", "--json", "-")
    assert "note: 2 files of all define" in found.stderr
    assert "give all/* for many" in found.stderr
    assert [s["name"] for s in json.loads(found.stdout)["submissions"]] == ["all"]


def test_a_report_goes_through_a_pipe_and_not_in_its_place(tmp_path):
    from refbp.cli._common import write_file

    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", "a report")
    assert os.read(reader, 100) == b"a report"
    os.close(reader)
    assert not (tmp_path / "pipe").is_file()


def test_an_exercise_may_have_points_of_its_own_which_a_rubric_overrules(tmp_path):
    import dataclasses

    heavy = [dataclasses.replace(e, points=3.0) if e.name == "affine_backward" else e for e in COURSE.exercises]
    course = dataclasses.replace(COURSE, exercises=heavy)
    points = {i.name: i.points for i in rubric.plain(course).items}
    assert points == {"affine_forward": 3.0, "affine_backward": 3.0, "relu_forward": 1.0, "relu_backward": 1.0}
    file = tmp_path / "rubric.toml"
    file.write_text("[exercises]\naffine_backward = { hints = 1 }\nrelu_backward = 2\n")
    assert [i.points for i in rubric.read(file, course).items] == [3.0, 2.0]
