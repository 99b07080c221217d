"""Grading: fair, resumable, silent about the answers, and never a zero for what the grader broke."""

import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
import zipfile
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import schemas
from click.testing import CliRunner

from refbp.draws import exactly, normal
from refbp.errors import RefbpError
from refbp.layers.activation import ReLU
from refbp.layers.linear import Linear
from refbp.oracle import checking, submission
from refbp.oracle.exercise import Course, Exercise
from refbp.oracle.grading import grade as grading
from refbp.oracle.grading import intake, journal, many, marks, rubric, writers
from refbp.oracle.isolation import IsolationError, Worker
from refbp.spec import Case

DATA = Path(__file__).with_name("data") / "coursework"
AFFINE = Exercise(
    "affine_backward",
    forward="out, cache = affine_forward(x, w, b)",
    backward="dx, dw, db = affine_backward(dout, cache)",
    arrays={"x": "x", "w": "weight.T", "b": "bias"},
    outputs={"out": "y"},
    tiers={
        "std": [Case(Linear(3, 5), normal(7, 3), id="seven"), Case(Linear(4, 2), normal(3, 4), id="three")],
        "degenerate": [Case(Linear(2, 3), normal(1, 2), id="one row")],
    },
)
RELU = Exercise(
    "relu_backward",
    forward="out, cache = relu_forward(x)",
    backward="dx = relu_backward(dout, cache)",
    arrays={"x": "x"},
    outputs={"out": "y"},
    tiers={"std": [Case(ReLU(), normal(5, 4), id="matrix")], "kink": [Case(ReLU(), exactly([[0.0, 1.0]]), id="zero")]},
)
COURSE = Course("cs231n", "a small one", [AFFINE, RELU])
RIGHT = (DATA / "ada.py").read_text()
WRONG = (DATA / "ben.py").read_text()


def _rubric(tmp_path, text):
    (tmp_path / "rubric.toml").write_text(text)
    return rubric.read(tmp_path / "rubric.toml", COURSE)


# The rubric


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("limit = 3", r"there is no key 'limit'; known: course, hints"),
        ("hintz = 3", r"no key 'hintz'; did you mean hints\?"),
        ("hints = 4", r"hints is 4; wanted 0, 1, 2 or 3"),
        ("hints = true", r"hints is True; wanted 0, 1, 2 or 3"),
        ("course = 'cs230'", r"for the course 'cs230', and --course is cs231n"),
        ("hidden = 'kink'", r"hidden is a string \('kink'\); wanted a list of tiers"),
        ("hidden = ['kinks']", r"no tier 'kinks'; did you mean kink\?"),
        ("hidden = ['std', 'degenerate']", r"every tier of affine_forward \(std, degenerate\) is hidden"),
        ("visibility = 'visble'", r"visibility is 'visble'; did you mean visible\?"),
        ("hidden_visibility = 3", r"hidden_visibility is 3; wanted visible \| after_due_date"),
        ("seconds = 0", r"seconds is 0; wanted more than 0"),
        ("seconds = 'five'", r"seconds is a string \('five'\); wanted a number"),
        ("memory_mib = nan", r"memory_mib is nan; wanted a finite number"),
        ("load_seconds = inf", r"load_seconds is inf; wanted a finite number"),
        ("exercises = 3", r"\[exercises\] is an integer \(3\); wanted a table"),
        ("[exercises]", r"\[exercises\] is empty"),
        ("[exercises]\naffine_bakward = 1", r"no function 'affine_bakward'; did you mean affine_backward\?"),
        ("[exercises]\naffine_backward = -1", r"affine_backward is -1; points are 0 or more"),
        ("[exercises]\naffine_backward = true", r"affine_backward is a boolean \(True\); wanted a number"),
        ("[exercises]\naffine_backward = 0", r"all its points are 0"),
        (
            "[exercises.affine_backward]\npionts = 2",
            r"\[exercises\] affine_backward: there is no key 'pionts'; did you mean points\?",
        ),
        ("[exercises.affine_backward]\npoints = '2'", r"affine_backward: points is a string"),
        ("[exercises.affine_backward]\nhints = -1", r"affine_backward: hints is -1"),
        ("[exercises.affine_backward]\nvisibility = 'no'", r"affine_backward: visibility is 'no'"),
        ("[exercises.affine_backward.tiers]\nstdd = 1", r"affine_backward: tiers: there is no tier 'stdd'; did you mean std\?"),
        ("[tiers]\nstd = -2", r"\[tiers\] std is -2; a weight is 0 or more"),
        ("[tiers]\nstd = 0\ndegenerate = 0", r"every tier of affine_forward \(std, degenerate\) weighs 0"),
        ("tiers = []", r"\[tiers\] is an array; wanted a table"),
        ("[credit]\nrihgt = 1", r"\[credit\]: there is no verdict 'rihgt'"),
        ("[credit]\nconvention = 2", r"\[credit\] convention is 2; wanted a part of the points"),
        ("hints = ", r"is no TOML: Invalid value"),
        ("hints = 2020-01-01", r"hints is .*; wanted 0, 1, 2 or 3"),
        ("seconds = 2020-01-01", r"seconds is a date"),
    ],
)
def test_every_mistake_in_a_rubric_is_one_sentence(tmp_path, text, says):
    with pytest.raises(rubric.RubricError, match=says) as caught:
        _rubric(tmp_path, text)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("the rubric ")
    assert said.endswith(".")


def test_a_rubric_that_is_not_there_or_no_text_is_one_sentence(tmp_path):
    with pytest.raises(rubric.RubricError, match="cannot be read: No such file"):
        rubric.read(tmp_path / "none.toml", COURSE)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(rubric.RubricError, match="no text in UTF-8"):
        rubric.read(tmp_path / "binary.toml", COURSE)


def _function(**fields):
    tiers = {"std": (2, 2), "degenerate": (0, 1)}
    return grading.Function(**{"name": "affine_backward", "verdict": "wrong", "tiers": tiers, **fields})


@pytest.mark.parametrize(
    ("text", "function", "seen", "hidden"),
    [
        ("", {}, (2.0, 4.0), (0, 0)),
        ("[tiers]\nstd = 3", {}, (3.0, 4.0), (0, 0)),
        ("[exercises.affine_backward]\npoints = 4\ntiers = {degenerate = 0}\n[tiers]\ndegenerate = 5", {}, (4.0, 4.0), (0, 0)),
        ("hidden = ['degenerate']", {"hidden": "wrong"}, (2.0, 2.0), (0.0, 2.0)),
        ("[credit]\nwrong = 0.25", {}, (1.0, 4.0), (0, 0)),
        ("", {"verdict": "kink-only"}, (4.0, 4.0), (0, 0)),
        ("[tiers]\nkink = 1", {"verdict": "kink-only"}, (2.0, 4.0), (0, 0)),
        ("", {"verdict": "missing", "tiers": {}}, (0.0, 4.0), (0, 0)),
    ],
)
def test_points_are_the_right_part_of_the_tiers_by_weight_unless_a_verdict_has_a_worth(tmp_path, text, function, seen, hidden):
    if "[exercises" not in text:
        text += "\n[exercises]\naffine_backward = 4\n"
    [mark] = marks.sheet("a", grading.Graded((_function(**function),)), _rubric(tmp_path, text)).marks
    assert (mark.seen.points, mark.seen.most) == pytest.approx(seen)
    assert (mark.hidden.points, mark.hidden.most) == pytest.approx(hidden)


def test_points_and_visibility_can_be_changed_without_grading_anew(tmp_path):
    def prints(text):
        return _rubric(tmp_path, text).fingerprint(COURSE.exercises)

    before = prints("[exercises]\naffine_backward = 4")
    assert prints("visibility = 'hidden'\n[exercises]\naffine_backward = 2\n[tiers]\nstd = 2") == before
    for changed in ("hidden = ['kink']", "seconds = 1", "hints = 3"):
        assert prints(changed) != before


# Taking in


def _zip(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, *mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode[0] if mode else 0o100644) << 16
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([("../out.py", "x")], "leads out of it: '../out.py'"),
        ([("a/../../out.py", "x")], "leads out of it"),
        ([("/out.py", "x")], "leads out of it"),
        ([("..\\out.py", "x")], "leads out of it"),
        ([("C:\\out.py", "x")], "leads out of it"),
        ([("link.py", "/etc/passwd", 0o120777)], "a link or a device"),
        ([("pipe.py", "", 0o010644)], "a link or a device"),
        ([("a.py", "x"), ("a.py", "y")], "two entries for a.py"),
        ([("a.py", "x"), ("a.py/b.py", "y")], "two entries"),
        ([("a" * 300 + ".py", "x")], "too long a name"),
        ([(f"{i}.py", bytes(4 << 20)) for i in range(9)], "more than 2000 files or 32 MiB"),
        ([(f"{i}.py", "") for i in range(2001)], "more than 2000 files"),
    ],
)
def test_an_archive_that_would_reach_beyond_itself_is_refused_whole(tmp_path, entries, says):
    with pytest.warns(UserWarning, match="Duplicate name") if "two entries for" in says else contextlib.nullcontext():
        archive = _zip(tmp_path / "hand_in.zip", *entries)
    with pytest.raises(submission.UnreadableError, match=re.escape(says)):
        intake.stage(archive, tmp_path / "staged" / "0")
    assert {p.name for p in tmp_path.iterdir()} == {"hand_in.zip", "staged"}


def test_an_archive_that_is_broken_encrypted_or_no_archive_is_its_authors_to_mend(tmp_path):
    whole = _zip(tmp_path / "whole.zip", ("a.py", RIGHT)).read_bytes()
    encrypted = bytearray(whole)
    for start in (whole.index(b"PK\x03\x04") + 6, whole.index(b"PK\x01\x02") + 8):
        encrypted[start] |= 1
    torn = bytearray(whole)
    torn[60:80] = bytes(20)
    for i, (content, says) in enumerate(
        [(whole[: len(whole) // 2], "is it complete"), (b"", "is it complete"), (encrypted, "encrypted"), (torn, "can be read")]
    ):
        (tmp_path / f"{i}.zip").write_bytes(content)
        with pytest.raises(submission.UnreadableError, match=says):
            intake.stage(tmp_path / f"{i}.zip", tmp_path / "staged" / str(i))
    (tmp_path / "a.tar.gz").write_bytes(b"")
    with pytest.raises(submission.UnreadableError, match="another kind than zip"):
        intake.stage(tmp_path / "a.tar.gz", tmp_path / "staged" / "tar")


def test_what_is_staged_is_code_and_small_data_in_its_folder_and_no_link(tmp_path):
    archive = _zip(tmp_path / "a.zip", ("hw/layers.py", RIGHT), ("hw/picture.png", "x"), ("__MACOSX/hw/._layers.py", "x"))
    staged = intake.stage(archive, tmp_path / "staged" / "0")
    assert (staged.name, [p.name for p in staged.iterdir()]) == ("hw", ["layers.py"])
    folder = tmp_path / "bob"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "x.py").write_text("")
    (folder / "layers.py").write_text(RIGHT)
    (folder / "solution.py").symlink_to(DATA / "ada.py")
    (folder / "data.csv").write_text("1,2")
    (folder / "large.npy").write_bytes(bytes((4 << 20) + 1))
    staged = intake.stage(folder, tmp_path / "staged" / "1")
    assert sorted(p.name for p in staged.rglob("*")) == ["data.csv", "layers.py"]


def test_names_tell_submissions_apart_and_one_named_twice_is_graded_once(tmp_path):
    for who in ("ada", "ben"):
        (tmp_path / who).mkdir()
        (tmp_path / who / "layers.py").write_text("")
    targets = [str(tmp_path / who / "layers.py") for who in ("ada", "ben", "ada")]
    assert [s.name for s in intake.sources([*targets, str(tmp_path / "ben")])] == ["ada/layers", "ben/layers", "ben"]
    with pytest.raises(RefbpError, match=r"bne does not exist; did you mean ben\?; nothing was graded"):
        intake.sources([str(tmp_path / "bne")])


def test_the_same_content_has_the_same_digest_and_another_name_or_byte_another(tmp_path):
    made = []
    for i, files in enumerate([{"a.py": "x"}, {"a.py": "x"}, {"b.py": "x"}, {"a.py": "y"}, {"a.py": "x", "b.py": ""}]):
        (tmp_path / str(i)).mkdir()
        for name, content in files.items():
            (tmp_path / str(i) / name).write_text(content)
        made.append(intake.digest(tmp_path / str(i)))
    assert made[0] == made[1]
    assert len(set(made)) == 4


# One


def _numbers(text):
    return {float(n) for n in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)}


def test_nothing_that_a_student_reads_has_a_number_of_the_reference_unless_the_rubric_allows_it(tmp_path):
    (tmp_path / "ben.py").write_text(WRONG.replace("(dout, cache):\n    return dout", "(dout, cache):\n    return dout * 3"))
    asked = _rubric(tmp_path, "hidden = ['degenerate']")
    graded = grading.grade(tmp_path / "ben.py", COURSE, asked, seed=5)
    assert {f.name: f.verdict for f in graded.functions} == {
        "affine_forward": "ok", "affine_backward": "wrong", "relu_forward": "ok", "relu_backward": "wrong",
    }  # fmt: skip
    sheet = marks.sheet("ben", graded, asked)
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
    allowed = marks.sheet("ben", graded, _rubric(tmp_path, "hints = 3"))
    assert "smallest failing input: x = " in writers.gradescope(writers.Entry("ben", allowed))
    silent = marks.sheet("ben", graded, _rubric(tmp_path, "hints = 0"))
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
    graded = grading.grade(tmp_path / "eve.py", COURSE, _rubric(tmp_path, "seconds = 0.3"), seed=5)
    assert graded.timed_out
    tiers = {f.name: f.tiers for f in graded.functions}["affine_backward"]
    assert tiers == {"std": (1, 2), "degenerate": (0, 1)}


# Many


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command, in a folder of its own, on the small course."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("refbp.cli.grade.load", lambda _: types.SimpleNamespace(courses={"cs231n": COURSE}))
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
        return grading.Graded((_function(),), seconds=0.1)

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
            future.set_result((answers.pop(0) if answers else grading.Graded((_function(),)), ""))
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
    slow = grading.Graded((_function(verdict="timeout"),))
    quick = grading.Graded((_function(verdict="ok"),))
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
    asked = _rubric(tmp_path, "hints = 1\n[exercises]\naffine_backward = 1")
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    outcomes = many.each(sources, many.Setting(COURSE, asked, 1), 1)
    points = {o.source.name: marks.sheet(o.source.name, o.graded, asked).points for o in outcomes}
    assert points == dict.fromkeys(names, 0) | {"honest": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_no_name_that_a_student_chose_is_obeyed_by_the_instructors_terminal(tmp_path):
    (tmp_path / "a\x1b[2J").mkdir()
    (tmp_path / "a\x1b[2J" / "b\x1b[31m.py").write_text("def affine_forward(:\n")
    archive = _zip(tmp_path / "z\x1b[5m.zip", ("../x\x1b.py", ""))
    sources = intake.sources([str(tmp_path / "a\x1b[2J"), str(archive)])
    outcomes = list(many.each(sources, many.Setting(COURSE, rubric.plain(COURSE), 1), 1))
    said = [o.source.name for o in outcomes] + [repr(o.graded.data()) for o in outcomes]
    assert all("not Python that can be read" in s or "leads out of it" in s for s in said[2:])
    assert not [s for s in said if "\x1b" in s or "\\x1b[" in s]


def test_the_rubrics_that_are_shown_can_be_used(tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    [shown] = re.findall(r"```toml\n(hints.*?)```", readme, flags=re.S)
    assert _rubric(tmp_path, shown).total == 6
    assert rubric.read(DATA / "rubric.toml", COURSE).total == 8


# The journal


def test_a_torn_line_counts_as_not_written_and_what_follows_it_does(tmp_path):
    graded = grading.Graded((_function(),))
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


# What others read


def _entries(tmp_path):
    asked = _rubric(tmp_path, "hidden = ['degenerate']\n[exercises]\naffine_backward = 3\nrelu_backward = 1\n")
    functions = (
        _function(
            hidden="wrong", note='raises ValueError: "\x1b[31m<b>&', findings=(("db is twice", "in 2"),), file="b.py",
            line=3, traceback='  File "b.py", line 3\n{"scores": {"affine_backward": 99}}\n',
        ),
        grading.Function("relu_backward", "ok", tiers={"std": (1, 1), "kink": (1, 1)}),
    )  # fmt: skip
    graded = {
        "=cmd|' /C calc'!A0": grading.Graded(functions, seconds=1.25),
        "ada": grading.Graded(
            tuple(_function(name=n, verdict="ok", tiers={"std": (2, 2)}) for n in ("affine_backward", "relu_backward"))
        ),
        "cy": grading.Graded(unreadable="cy.py:1 is not Python that can be read: invalid syntax."),
        "dee/hw": grading.Graded(),
    }
    made = [writers.Entry(n, marks.sheet(n, g, asked), "", g) for n, g in graded.items()]
    about = writers.About("cs231n", 7, [i.name for i in asked.items], asked.total)
    return [*made, writers.Entry("eve", None, "the process was killed")], about


@pytest.mark.parametrize("name", writers.FOR_ONE)
def test_what_is_written_for_one_submission_is_what_its_reader_takes(tmp_path, name):
    for entry in _entries(tmp_path)[0]:
        try:
            text = writers.FOR_ONE[name](entry)
        except writers.Ungraded:
            assert entry.sheet is None
            assert name in {"gradescope", "autolab"}  # where no file is the grader's failure, and a file would be a zero
            continue
        assert getattr(schemas, name)(text) == []


def test_an_error_of_the_graders_is_no_failure_of_the_submission_in_any_format(tmp_path):
    eve = _entries(tmp_path)[0][-1]
    prairie = json.loads(writers.prairielearn(eve))
    assert (prairie["gradable"], prairie["format_errors"]) == (False, [writers.NOT_GRADED])
    check = json.loads(writers.check50(eve))
    assert "results" not in check
    assert check["error"]["type"] == "NotGraded"


def test_scores_of_gradescope_autolab_and_prairielearn_are_those_of_the_sheet(tmp_path):
    ben = _entries(tmp_path)[0][0]
    assert ben.sheet.points == pytest.approx(1.5 + 1.0)
    results = json.loads(writers.gradescope(ben))
    assert results["score"] == pytest.approx(sum(t["score"] for t in results["tests"])) == pytest.approx(ben.sheet.points)
    hidden = [t for t in results["tests"] if t["name"] == "affine_backward, hidden tests"]
    assert [(t["visibility"], t["status"], t["score"], t["max_score"]) for t in hidden] == [
        ("after_published", "failed", 0, 1.5)
    ]
    last = writers.autolab(ben).rstrip("\n").split("\n")[-1]
    assert json.loads(last) == {"scores": {"affine_backward": 1.5, "relu_backward": 1.0}}
    assert json.loads(writers.prairielearn(ben))["score"] == pytest.approx(ben.sheet.points / 4, abs=1e-6)


def test_junit_csv_and_json_have_every_submission_and_no_formula(tmp_path):
    entries, about = _entries(tmp_path)
    assert schemas.junit(writers.junit(entries, about)) == []
    rows = list(csv.reader(io.StringIO(writers.as_csv(entries, about))))
    assert {len(r) for r in rows} == {9}
    assert rows[0][:6] == ["submission", "status", "points", "of", "affine_backward", "relu_backward"]
    assert [r[1] for r in rows[1:]] == ["graded", "graded", "unreadable", "graded", "not graded"]
    assert not [c for r in rows for c in r if c[:1] in "=+-@" and c]
    data = json.loads(writers.as_json(entries, about))
    assert (data["course"], data["seed"], data["of"]) == ("cs231n", 7, 4)
    assert [(s["status"], s["points"]) for s in data["submissions"]][2:] == [
        ("unreadable", 0),
        ("graded", 0),
        ("not graded", None),
    ]


def test_a_report_larger_than_prairielearn_takes_is_shortened(tmp_path):
    graded = grading.Graded((_function(traceback="x" * 1_200_000),))
    text = writers.prairielearn(writers.Entry("a", marks.sheet("a", graded, rubric.plain(COURSE))))
    assert schemas.prairielearn(text) == []


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
