"""``refbp check``: somebody's backprop, in the style of their course: right or wrong, and what is wrong."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import Any

import click

from refbp.cli._common import columns, load, plugins_option, print_json, progress_bar, write_file

COLOURS = {"ok": "green", "kink-only": "yellow", "mutates its arguments": "yellow", "not implemented": "bright_black"}


@click.command("check", short_help="Check somebody's backprop, and say what is wrong with it.")
@click.argument("path", metavar="PATH[::FUNCTION,…]")
@plugins_option
@click.option("--course", "course_name", metavar="NAME", help="The course; else it is recognised by the functions' names.")
@click.option("--as", "names", multiple=True, metavar="EXERCISE", help="Only this exercise; may be given again.")
@click.option("--hints", type=click.IntRange(0, 3), default=3, show_default=True, help="How much is given away.")
@click.option("--seed", type=click.IntRange(0), help="The seed of every number, to repeat a run.  [default: a fresh one]")
@click.option("--json", "json_file", metavar="FILE", help="Write everything as JSON; '-' prints it instead of the table.")
@click.option("--script", "script_file", metavar="FILE", help="Write a script that repeats the first wrong gradient.")
def check_command(
    path: str,
    plugins_dirs: tuple[str, ...],
    course_name: str | None,
    names: tuple[str, ...],
    hints: int,
    seed: int | None,
    json_file: str | None,
    script_file: str | None,
) -> int:
    """Check the gradients in a file or folder against the reference of a course. The code runs isolated: in a process of
    its own, without network, with limits, and with nothing in reach that knows the answers.

    Hints: 0 verdicts, 1 which gradients and cases, 2 what is wrong, 3 the smallest input that shows it.

    Exit code: 0 nothing that is written is wrong, 1 something is, 2 the command was used wrongly or nothing could be checked.
    """
    from refbp.oracle import present, submission
    from refbp.oracle.checking import Asked, check, grouped

    registry = load(plugins_dirs)
    found = submission.read(path)
    course = submission.recognised(found, list(registry.courses.values()), course_name)
    exercises = course.select([*names, *found.wanted])
    seed = secrets.randbits(32) if seed is None else seed
    with ExitStack() as stack:
        advance = progress_bar(stack, len(list(grouped(exercises))))
        report = check(found, course, exercises, Asked(seed, explain=hints > 0), advance)
    if not report.rows:
        raise submission.UnreadableError(
            f"{path} has none of the functions of {course.name}: {', '.join(sorted(course.names)[:8])}…"
        )
    if json_file == "-":
        print_json(present.data(report, hints))
    else:
        _print(report, hints, present)
        if json_file:
            import json

            write_file(json_file, json.dumps(present.data(report, hints), indent=2, ensure_ascii=False) + "\n")
    if script_file:
        made = next((r.script for r in report.wrong if r.script), None)
        if made is None:
            click.echo(f"refbp: note: no script was written to {script_file}: no wrong gradient could be made small.", err=True)
        else:
            write_file(script_file, made)
    return 1 if report.wrong else 0


def _print(report: Any, hints: int, present: Any) -> None:
    click.echo(f"{report.path} · {report.course.name}: {report.course.about} · seed {report.seed}\n{report.protections}\n")
    rows = present.table(report, hints)
    width = max(len(r[1]) for r in rows)
    shown = [(name, verdict.ljust(width), *rest) for name, verdict, *rest in rows]
    columns([(n, v, c, d, note) for n, v, c, d, note in shown], right=(2, 3))
    for lines in present.paragraphs(report, hints):
        click.echo("\n" + click.style(lines[0], bold=True))
        for line in lines[1:]:
            click.echo(line)
    ok = sum(r.ok for r in report.rows)
    todo = sum(r.verdict == "not implemented" for r in report.rows)
    rest = f" · {todo} not implemented" if todo else ""
    click.echo(f"\n{len(report.rows)} functions · {ok} ok · {len(report.wrong)} to mend{rest} · {report.seconds:.1f} s")
