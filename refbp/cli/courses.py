"""``refbp courses``: the courses that ``refbp check`` and ``refbp grade`` know, what each asks for, and its conventions."""

from __future__ import annotations

from typing import Any

import click

from refbp.cli._common import columns, json_flag, load, note_failures, plugins_option, print_json, width
from refbp.cli.check import wrapped


@click.command("courses", short_help="List the courses that check and grade know, or the exercises of one.")
@click.argument("name", required=False)
@plugins_option
@json_flag
def courses_command(name: str | None, plugins_dirs: tuple[str, ...], as_json: bool) -> None:
    """List the courses by name, or one course: its conventions, and every exercise with the calls that are made of it.

    NAME may be a .toml file that describes a course of your own.
    """
    from refbp.oracle.submission import named

    registry = load(plugins_dirs)
    known = registry.courses
    courses = [named(known, name)] if name else [known[n] for n in sorted(known)]
    note_failures(registry)
    if as_json:
        print_json([_data(c) for c in courses])
    elif name is None:
        rows = [("course", "exercises", "from")]
        columns([*rows, *((c.name, str(len({e.name for e in c.exercises})), c.about) for c in courses)], right=(1,))
    else:
        _show(courses[0])


def _show(course: Any) -> None:
    room = width()
    click.echo(wrapped(f"{course.name}: {course.about}", room))
    if course.url:
        click.echo(f"  {course.url}")
    for sentence in course.conventions:
        click.echo(wrapped(f"  · {sentence}", room))
    for e in course.exercises:
        head = e.name if len(e.rows) == 1 else f"{e.rows[0]}, {e.rows[1]}"
        click.echo("\n" + click.style(head, bold=True) + f"  ({len(e.cases)} cases)")
        for line in [*e.forward.strip().splitlines(), *e.backward.strip().splitlines()]:
            click.echo(f"  {line.strip()}")
        for name, times in e.factors.items():
            click.echo(f"  {name} is {times} times the derivative")
        for name, times in e.output_factors.items():
            click.echo(f"  {name} is {times} times the reference's")
        if e.convention:
            click.echo(wrapped(f"  {e.convention}", room))


def _data(course: Any) -> dict[str, Any]:
    exercises = [
        {
            "name": e.name,
            "functions": list(e.needs),
            "forward": e.forward.strip(),
            "backward": e.backward.strip(),
            "factors": dict(e.factors),
            "cases": {tier: len(cases) for tier, cases in e.tiers.items()},
            "convention": e.convention,
        }
        for e in course.exercises
    ]
    return {
        "name": course.name,
        "about": course.about,
        "url": course.url,
        "conventions": list(course.conventions),
        "exercises": exercises,
    }
