"""``refbp grade``: many submissions of a course, graded side by side, for instructors."""

from __future__ import annotations

import os
import re
import secrets
import signal
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click

from refbp.cli._common import columns, load, plugins_option, progress_bar, write_file

FORMATS = ("gradescope", "autolab", "prairielearn", "check50", "junit", "csv", "json")
FOLDER = "grades"


@click.command("grade", short_help="Grade many submissions of a course, side by side.")
@click.argument("targets", nargs=-1, required=True, metavar="SUBMISSION...")
@plugins_option
@click.option(
    "--course", "course_name", required=True, metavar="NAME", help="The course of these exercises, or its .toml file."
)
@click.option("--rubric", "rubric_file", metavar="FILE", help="Points, hidden tiers, hints and limits, as TOML.")
@click.option("--as", "names", multiple=True, metavar="EXERCISE", help="Only this exercise counts; may be given again.")
@click.option("--seed", type=click.IntRange(0), help="The seed, the same for all.  [default: fresh, or the unfinished run's]")
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many at a time.  [default: one per core]")
@click.option("--out", "folder", metavar="FOLDER", help=f"Where the journal is kept.  [default: {FOLDER}, for more than one]")
@click.option("--fresh", is_flag=True, help="Grade everything anew, with a new seed.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), help="What to write; may be given again.")
@click.option(
    "--output", "outputs", multiple=True, metavar="PATH", help="Where to write it, one for each --format; '-' prints."
)
@click.option("--json", "json_file", metavar="FILE", help="The same as --format json --output FILE.")
def grade_command(
    targets: tuple[str, ...],
    plugins_dirs: tuple[str, ...],
    course_name: str,
    rubric_file: str | None,
    names: tuple[str, ...],
    seed: int | None,
    jobs: int | None,
    folder: str | None,
    fresh: bool,
    formats: tuple[str, ...],
    outputs: tuple[str, ...],
    json_file: str | None,
) -> int:
    """Grade files, folders and zip archives, each of which is one submission. Their code runs isolated, with one seed for
    all. What was graded is kept in a journal: interrupted and started again, it goes on where it was.

    gradescope, autolab, prairielearn and check50 are written for each submission: into the folder --output, or the file, if
    there is one submission. junit, csv and json are one file for all.

    Exit code: 0 all are graded, 1 some could not be, and are tried again by the next run; 2 the command was used wrongly.
    """
    if len(formats) != len(outputs):
        raise click.UsageError(f"{len(formats)} --format and {len(outputs)} --output: give one --output for each --format.")
    if json_file is not None:
        formats, outputs = (*formats, "json"), (*outputs, json_file)
    if outputs.count("-") > 1:
        raise click.UsageError("only one --output can be '-'.")
    from refbp.oracle import submission
    from refbp.oracle.grading import intake, many, writers
    from refbp.oracle.grading import rubric as rubrics
    from refbp.oracle.grading.journal import Journal, JournalError

    course = submission.named(load(plugins_dirs).courses, course_name)
    rubric = rubrics.read(rubric_file, course, names) if rubric_file else rubrics.plain(course, names)
    sources = intake.sources(targets)
    _check_outputs(formats, outputs, len(sources))
    if len(sources) == 1 and sources[0].path.is_dir():
        _note_many(sources[0].path, course)
    with ExitStack() as stack:
        journal = None
        if len(sources) > 1 or folder is not None:
            tried = rubric.fingerprint(rubrics.selected(rubric, course))
            journal = stack.enter_context(Journal(Path(folder or FOLDER), course.name, tried, fresh))
        if seed is None:
            seed = journal.seed if journal and journal.seed is not None else secrets.randbits(32)
        if journal:
            journal.begin(seed)
        quiet = "-" in outputs
        click.echo(f"{course.name}: {course.about} · {_many(len(sources))} · seed {seed}", err=quiet)
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _interrupted))
        advance = progress_bar(stack, len(sources))
        setting = many.Setting(course, rubric, seed, plugins_dirs)
        found: dict[str, Any] = {}
        try:
            for outcome in many.each(sources, setting, jobs or os.cpu_count() or 1, journal):
                found[outcome.source.name] = outcome
                advance(outcome.source.name)
        except JournalError as error:
            click.echo(f"refbp: {error}", err=True)
            return 1
        except KeyboardInterrupt:
            if journal:
                click.echo(f"refbp: {len(found)} of {len(sources)} are graded; the same command goes on from there.", err=True)
            raise
    ordered = [found[s.name] for s in sources]
    about = writers.About(course.name, seed, [i.name for i in rubric.items], rubric.total)
    return _report(ordered, rubric, about, list(zip(formats, outputs, strict=True)), quiet)


def _note_many(folder: Path, course: Any) -> None:
    """A folder of submissions that is given as one submission."""
    from collections import Counter

    from refbp.oracle import submission

    with suppress(submission.UnreadableError, OSError):
        defined = Counter(n for f in submission.read(folder).files for n in set(f.names) & course.names)
        name, count = max(defined.items(), key=lambda d: d[1], default=("", 0))
        if count > 1:
            text = f"{count} files of {folder} define {name}, and it is graded as one submission: give {folder}/* for many"
            click.echo(f"refbp: note: {text}.", err=True)


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def _check_outputs(formats: Sequence[str], outputs: Sequence[str], count: int) -> None:
    """Before hours of grading: whether what is to be written can be."""
    from refbp.oracle.grading.writers import FOR_ONE

    for name, output in zip(formats, outputs, strict=True):
        path = Path(output)
        if name in FOR_ONE and count > 1:
            if output == "-":
                raise click.UsageError(f"{name} is written for each submission: give --output a folder for {count} of them.")
            if path.exists() and not path.is_dir():
                raise click.UsageError(f"{output} is a file: {name} of {count} submissions needs a folder.")
        elif output != "-" and path.is_dir():
            raise click.UsageError(f"{output} is a folder: give the name of a file in it.")
        if output != "-" and not path.parent.is_dir():
            raise click.UsageError(f"the folder {path.parent} does not exist: make it, or write to another.")


def _report(ordered: list[Any], rubric: Any, about: Any, wanted: list[tuple[str, str]], quiet: bool) -> int:
    from refbp.oracle.grading import marks, writers

    entries: list[writers.Entry] = []
    for o in ordered:
        sheet = marks.sheet(o.source.name, o.graded, rubric, o.same_as) if o.graded is not None else None
        entries.append(writers.Entry(o.source.name, sheet, o.reason, o.graded))
    for name, output in wanted:
        _write(name, output, entries, about)
    failed = [(name, reason) for name, sheet, reason, _ in entries if sheet is None]
    if not quiet:
        _print(entries, rubric, sum(o.known for o in ordered))
    for name, reason in failed:
        click.echo(f"refbp: {name} was not graded: {reason}.", err=True)
    if failed:
        click.echo(f"refbp: {len(failed)} not graded, which is no zero: run the command again to try them anew.", err=True)
    return 1 if failed else 0


def _write(name: str, output: str, entries: Sequence[Any], about: Any) -> None:
    from refbp.oracle.grading import writers

    if name in writers.FOR_ALL:
        _put(output, writers.FOR_ALL[name](entries, about))
        return
    suffix = "txt" if name == "autolab" else "json"
    if len(entries) > 1:
        Path(output).mkdir(exist_ok=True)
    names = _file_names([e.name for e in entries])
    for entry, file in zip(entries, names, strict=True):
        place = str(Path(output) / f"{file}.{suffix}") if len(entries) > 1 else output
        try:
            _put(place, writers.FOR_ONE[name](entry))
        except writers.Ungraded:
            click.echo(
                f"refbp: note: {place} was not written: {name} has no word for a submission that was not graded.", err=True
            )


def _put(output: str, content: str) -> None:
    if output == "-":
        click.echo(content, nl=False)
        return
    try:
        write_file(output, content)
    except OSError as error:  # the journal has everything: the same command writes it once there is room
        raise click.ClickException(f"{output} could not be written: {error.strerror}; run the command again.") from None


def _file_names(submissions: Sequence[str]) -> list[str]:
    """Submissions' names as files': a slash in one is no folder, and no two are the same."""
    found: list[str] = []
    for name in submissions:
        plain = re.sub(r"[/\\\0]", "__", name).lstrip(".") or "submission"
        taken = {f.lower() for f in found}
        found.append(
            next(n for i in range(1, len(found) + 3) if (n := plain if i == 1 else f"{plain}_{i}").lower() not in taken)
        )
    return found


def _many(count: int) -> str:
    return f"{count} submission{'s' * (count != 1)}"


def _print(entries: Sequence[Any], rubric: Any, known: int) -> None:
    from collections import Counter

    from refbp.oracle.grading import marks

    rows = [("submission", "points", "of", "")]
    for name, sheet, _, _ in entries:
        if sheet is None:
            rows.append((name, "–", f"{rubric.total:g}", "not graded"))
            continue
        verdicts = Counter(m.verdict for m in sheet.marks)
        words = sheet.unreadable or " · ".join(f"{n} {v}" for v, n in verdicts.items())
        same = f" · the same as {sheet.same_as}" if sheet.same_as else ""
        rows.append((name, f"{round(sheet.points, 2):g}", f"{sheet.most:g}", words + same))
    columns(rows, right=(1, 2))
    sheets = [s for _, s, _, _ in entries if s is not None]
    before = f" · {known} of them before" if known else ""
    mean = f" · mean {marks.mean(sheets):.2f} of {rubric.total:g}" if sheets else ""
    click.echo(f"\n{_many(len(entries))} · {len(sheets)} graded{before}{mean}")
