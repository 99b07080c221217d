"""``refbp check``: somebody's backprop, in the style of their course: right or wrong, and what is wrong."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import Any

import click

from refbp.cli._common import columns, load, note_failures, plugins_option, print_json, progress_bar, write_file


@click.command("check", short_help="Check somebody's backprop, and say what is wrong with it.")
@click.argument("path", metavar="PATH[::FUNCTION,…]")
@plugins_option
@click.option(
    "--course",
    "course_name",
    metavar="NAME",
    help="The course, or a .toml file of one; else recognised by names.",
)
@click.option("--as", "names", multiple=True, metavar="EXERCISE", help="Only this exercise; may be given again.")
@click.option("--like", metavar="LAYER", help='Functions of no course: like "Conv2d", or like "Conv2d(3, 5, 3, stride=2)".')
@click.option("--hints", type=click.IntRange(0, 3), default=3, show_default=True, help="How much is given away.")
@click.option("--seed", type=click.IntRange(0), help="The seed of every number, to repeat a run.  [default: a fresh one]")
@click.option("--json", "json_file", metavar="FILE", help="Write everything as JSON; '-' prints it instead of the table.")
@click.option("--html", "html_file", metavar="FILE", help="Write one page with everything, heat maps included.")
@click.option("--script", "script_file", metavar="FILE", help="Write a script that repeats the first wrong gradient.")
def check_command(
    path: str,
    plugins_dirs: tuple[str, ...],
    course_name: str | None,
    names: tuple[str, ...],
    like: str | None,
    hints: int,
    seed: int | None,
    json_file: str | None,
    html_file: str | None,
    script_file: str | None,
) -> int:
    """Check the gradients in a file or folder against the reference of a course. The code runs isolated: in a process of
    its own, without network, with limits, and with nothing in reach that knows the answers.

    Hints: 0 verdicts, 1 which gradients and cases, 2 what is wrong, 3 the smallest input that shows it.

    Exit code: 0 nothing that is written is wrong, 1 something is, 2 the command was used wrongly or nothing could be checked.
    """
    from refbp.oracle import present, submission

    if like is not None and (course_name or names):
        raise click.UsageError("--like is for functions of no course: leave out --course and --as.")
    registry = load(plugins_dirs)
    found = submission.read(path)
    seed = secrets.randbits(32) if seed is None else seed
    report = _like(found, like, seed, hints) if like is not None else _course(found, registry, course_name, names, seed, hints)
    if json_file == "-":
        print_json(present.data(report, hints))
    else:
        _print(report, hints, present)
        if json_file:
            import json

            write_file(json_file, json.dumps(present.data(report, hints), indent=2, ensure_ascii=False) + "\n")
    if html_file:
        from refbp.oracle.page import page

        write_file(html_file, page(report, hints))
    if script_file:
        made = next((r.script for r in report.wrong if r.script), None)
        if made is None:
            click.echo(f"refbp: note: no script was written to {script_file}: no wrong gradient could be made small.", err=True)
        else:
            write_file(script_file, made)
    return 1 if report.wrong else 0


def _like(found: Any, like: str, seed: int, hints: int) -> Any:
    """Functions of no course."""
    from refbp.oracle.alike import inhand
    from refbp.oracle.checking import Asked

    return inhand.in_file(found, inhand.model(like), Asked(seed, explain=hints > 0))


def _course(found: Any, registry: Any, name: str | None, names: tuple[str, ...], seed: int, hints: int) -> Any:
    """The exercises of a course."""
    from refbp.oracle import submission
    from refbp.oracle.checking import Asked, check, grouped

    courses = registry.courses.values()
    note_failures(registry)
    course = submission.recognised(found, courses, name)
    exercises = course.select([*names, *found.wanted])
    with ExitStack() as stack:
        advance = progress_bar(stack, len(list(grouped(exercises))))
        report = check(found, course, exercises, Asked(seed, explain=hints > 0), advance)
    if not report.rows:
        if unreadable := [f.error for f in found.files if f.error]:
            raise submission.UnreadableError(unreadable[0])
        some = ", ".join(sorted(course.names)[:8])
        raise submission.UnreadableError(f"{found.path} has none of the functions of {course.name}: {some}…")
    return report


def _print(report: Any, hints: int, present: Any) -> None:
    from refbp.cli._common import width

    room = width()
    for line in present.heading(report):
        click.echo(wrapped(line, room))
    click.echo("")
    rows = present.table(report, hints)
    verdicts = max(len(r[1]) for r in rows)
    rows = [(n, v.ljust(verdicts), *rest) for n, v, *rest in rows]
    narrow = sum(max(len(r[i]) for r in rows) + 2 for i in range(4)) + 24 > room
    columns([r[:-1] if narrow else r for r in rows], right=(2, 3))  # the notes are said again below, where there is room
    for lines in present.paragraphs(report, hints):
        click.echo("\n" + click.style(wrapped(lines[0], room), bold=True))
        for line in lines[1:]:
            click.echo(wrapped(line, room))
    click.echo("\n" + wrapped(present.summary(report), room))


def wrapped(line: str, room: int) -> str:
    """A line in as many as it needs, the later ones set in as far as the first."""
    if len(line) <= room:
        return line
    import textwrap

    inset = " " * min(len(line) - len(line.lstrip()) + 2, room // 3)
    return "\n".join(textwrap.wrap(line, max(room, 20), subsequent_indent=inset, break_on_hyphens=False)) or line
