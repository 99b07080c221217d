"""What an instructor asks for and what students hand in: every mistake is said, and nothing reaches beyond itself."""

import contextlib
import re
from pathlib import Path

import pytest
from coursework import COURSE, DATA, RIGHT, a_function, a_rubric, a_zip

from refbp.errors import RefbpError
from refbp.oracle import submission
from refbp.oracle.grading import grade as grading
from refbp.oracle.grading import intake, marks, rubric


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
        a_rubric(tmp_path, text)
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
    [mark] = marks.sheet("a", grading.Graded((a_function(**function),)), a_rubric(tmp_path, text)).marks
    assert (mark.seen.points, mark.seen.most) == pytest.approx(seen)
    assert (mark.hidden.points, mark.hidden.most) == pytest.approx(hidden)


def test_points_and_visibility_can_be_changed_without_grading_anew(tmp_path):
    def prints(text):
        return a_rubric(tmp_path, text).fingerprint(COURSE.exercises)

    before = prints("[exercises]\naffine_backward = 4")
    assert prints("visibility = 'hidden'\n[exercises]\naffine_backward = 2\n[tiers]\nstd = 2") == before
    for changed in ("hidden = ['kink']", "seconds = 1", "hints = 3"):
        assert prints(changed) != before


# Taking in


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
        archive = a_zip(tmp_path / "hand_in.zip", *entries)
    with pytest.raises(submission.UnreadableError, match=re.escape(says)):
        intake.stage(archive, tmp_path / "staged" / "0")
    assert {p.name for p in tmp_path.iterdir()} == {"hand_in.zip", "staged"}


def test_an_archive_that_is_broken_encrypted_or_no_archive_is_its_authors_to_mend(tmp_path):
    whole = a_zip(tmp_path / "whole.zip", ("a.py", RIGHT)).read_bytes()
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
    archive = a_zip(tmp_path / "a.zip", ("hw/layers.py", RIGHT), ("hw/picture.png", "x"), ("__MACOSX/hw/._layers.py", "x"))
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


def test_the_rubrics_that_are_shown_can_be_used(tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    [shown] = re.findall(r"```toml\n(hints.*?)```", readme, flags=re.S)
    assert a_rubric(tmp_path, shown).total == 6
    assert rubric.read(DATA / "rubric.toml", COURSE).total == 8
