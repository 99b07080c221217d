"""``refbp audit``: which wrong solutions does a course's own test-suite accept?"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from refbp.cli._common import columns, load, plugins_option, print_json, progress_bar, write_file


@click.command("audit", short_help="Find the wrong solutions that a course's own tests accept.")
@click.argument("tests", metavar="TESTS", type=click.Path(exists=True, path_type=Path))
@plugins_option
@click.option(
    "--course", "course_name", required=True, metavar="NAME", help="The course of these exercises, or its .toml file."
)
@click.option("--solution", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A right solution, one file.")
@click.option("--at", metavar="PATH", help="Where the tests find the solution, below --root, if not where it lies.")
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The folder that the tests need.")
@click.option("--command", "line", metavar="LINE", help="How the tests are run, with {tests} in it.  [default: pytest]")
@click.option("--as", "names", multiple=True, metavar="EXERCISE", help="Only this exercise; may be given again.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How long one run may take.  [default: 5 × the first]")
@click.option("--seed", type=click.IntRange(0), help="The seed of the check's numbers.  [default: a fresh one]")
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many runs at a time.  [default: one per core]")
@click.option("--json", "json_file", metavar="FILE", help="Write every mutant and its fate; '-' prints them instead.")
@click.option("--fail-under", type=click.FloatRange(0, 100), metavar="PERCENT", help="Exit with 1 below this score.")
@click.option("--apart", is_flag=True, help="List also the changes that make no difference in any case.")
def audit_command(
    tests: Path,
    plugins_dirs: tuple[str, ...],
    course_name: str,
    solution: Path | None,
    at: str | None,
    root: Path | None,
    line: str | None,
    names: tuple[str, ...],
    seconds: float | None,
    seed: int | None,
    jobs: int | None,
    json_file: str | None,
    fail_under: float | None,
    apart: bool,
) -> int:
    """Rewrite a right solution, one mistake at a time, and run the course's TESTS, a file or folder, on each. Print how many
    they notice, and every wrong solution that they accept, with a case in which it is wrong.

    The tests and the solution are yours, and are run as such: in copies, with limits, but not isolated.

    Exit code: 0, or 1 below --fail-under; 2 where the solution is not right, or the tests do not accept it.
    """
    from refbp.oracle import audit, submission, suite

    course = submission.named(load(plugins_dirs).courses, course_name)
    if solution is None:
        raise click.UsageError(f"{course.name} comes without a solution: give a right one, one Python file, with --solution.")
    if line is not None and "{tests}" not in line:
        raise click.UsageError(f"--command {line!r} does not say where the tests go: write {{tests}} in it.")
    exercises = course.select(list(names))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="refbp-audit-")))
        made = suite.bench(tests, solution, folder, root, at, line or suite.PYTEST)
        asked = audit.plan(course, exercises, solution, made, secrets.randbits(32) if seed is None else seed, seconds)
        total = len(asked.mutants())
        if json_file != "-":
            click.echo(
                f"{solution.name} · {course.name} · right, and accepted by {tests} in {asked.took:.1f} s"
                f" · {total} changes to make · seed {asked.seed}"
            )
        advance = progress_bar(stack, total)
        fates = audit.audit(asked, jobs or os.cpu_count() or 1, advance)
    scores = audit.scores(fates)
    if json_file:
        data = _data(asked, fates, scores)
        if json_file == "-":
            print_json(data)
        else:
            import json

            write_file(json_file, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    if json_file != "-":
        _print(solution.name, fates, scores, apart)
    percent = scores[-1].percent
    return 1 if fail_under is not None and (percent is None or percent < fail_under) else 0


def _percent(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:.1f} %"


def _data(asked: Any, fates: list[Any], scores: list[Any]) -> dict[str, Any]:
    import dataclasses

    rows = [{**dataclasses.asdict(s), "percent": s.percent} for s in scores]
    about = {"course": asked.course.name, "seed": asked.seed, "seconds": round(asked.took, 2)}
    return {**about, "functions": rows[:-1], "all": rows[-1], "mutants": [f.data() for f in fates]}


def _print(file: str, fates: list[Any], scores: list[Any], apart: bool) -> None:
    from refbp.oracle.audit import ACCEPTED, APART

    rows = [("function", "changes", "noticed", "accepted", "no difference", "score")]
    for s in scores if len(scores) > 2 else scores[:1]:
        rows.append((s.name, str(s.mutants), str(s.noticed), str(s.accepted), str(s.apart), _percent(s.percent)))
    columns(rows, right=(1, 2, 3, 4))
    accepted = [f for f in fates if f.fate == ACCEPTED]
    if accepted:
        click.echo("\nWrong, and accepted by the tests:")
    for f in accepted:
        click.echo(_line(file, f.mutant))
        click.echo(f"      {f.mutant.sentence}; {f.verdict} {f.where}".rstrip())
    others = [f for f in fates if f.fate == APART]
    if others and apart:
        click.echo("\nEquivalent, or out of reach of the check's cases:")
        for f in others:
            click.echo(_line(file, f.mutant) + ("" if f.verdict == "ok" else f"   ({f.verdict})"))


def _line(file: str, mutant: Any) -> str:
    place = f"{file}:{mutant.line}:{mutant.column}"
    return f"  {place}  {mutant.function}  `{mutant.before}` → `{mutant.after}`"
