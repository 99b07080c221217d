"""``refbp verify``: the main job."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

import click

from refbp.cli._common import columns, load, note_failures, plugins_option, progress_bar, write_file
from refbp.errors import UnknownNameError


@click.command("verify", short_help="Prove the registered layers and losses against torch.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@plugins_option
@click.option("--only-plugin", metavar="PLUGIN", help="Only what this plugin provides.")
@click.option("--case", "cases", multiple=True, metavar="ID", help="Only this case; may be given again.")
@click.option("--check", "checks", multiple=True, metavar="CHECK", help="Only this check; may be given again.")
@click.option("--seed", type=click.IntRange(0), help="The seed of every random draw.  [default: 20260101]")
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many processes.  [default: one per core, when worth it]")
@click.option("--json", "json_file", metavar="FILE", help="Write everything as JSON; '-' prints it instead of the table.")
@click.option("--junit", "junit_file", metavar="FILE", help="Write JUnit XML.")
@click.option("--script", "script_file", metavar="FILE", help="Write a NumPy script that repeats the first wrong gradient.")
@click.option("--not-tested", is_flag=True, help="List what was not tested, and why.")
def verify_command(
    names: tuple[str, ...],
    plugins_dirs: tuple[str, ...],
    only_plugin: str | None,
    cases: tuple[str, ...],
    checks: tuple[str, ...],
    seed: int | None,
    jobs: int | None,
    json_file: str | None,
    junit_file: str | None,
    script_file: str | None,
    not_tested: bool,
) -> int:
    """Run every check on every case of the named layers and losses, or of all, against torch and against the numerical
    derivative of the layer's own forward.

    Exit code: 0 nothing is wrong, 1 something is (or a plugin could not be loaded), 2 the command was used wrongly.
    """
    registry = load(plugins_dirs)
    entries = registry.select(names, only_plugin)
    if not entries:
        raise UnknownNameError(f"nothing is selected: plugin {only_plugin} provides none of {', '.join(names)}.")

    from refbp.conformance import parallel

    count = parallel.jobs_for(jobs, sum(len(e.spec.cases) for e in entries))
    if count > 1:
        parallel.prepare()

    from refbp.conformance import report
    from refbp.conformance.explain import verify_and_explain
    from refbp.conformance.trial import SEED
    from refbp.conformance.verify import check_selection, died

    check_selection([e.spec for e in entries], cases, checks)
    seed = SEED if seed is None else seed
    quiet = json_file == "-"
    if not quiet:
        click.echo(" · ".join(f"{n} {v}" for n, v in report.versions().items()) + f" · seed {seed}\n")

    start = time.monotonic()
    finished: dict[str, report.Summary] = {}
    with ExitStack() as stack:
        advance = progress_bar(stack, len(entries))
        for entry, found in parallel.each(entries, verify_and_explain, (seed, cases, checks), count, plugins_dirs):
            finished[entry.name] = report.summary(entry, *(found or (died(entry, seed), None)))
            advance(entry.name)
    summaries = [finished[e.name] for e in entries if finished[e.name].results]
    failures = [] if names else [p for p in registry.failures if only_plugin in (None, p.name)]
    if not quiet:
        _print(summaries, failures, time.monotonic() - start, not_tested)
    if json_file:
        data = {
            **report.versions(),
            "seed": seed,
            "layers": [s.data() for s in summaries],
            "plugins_failed": [{"name": p.name, "origin": p.origin, "error": p.error} for p in failures],
            "totals": report.totals(summaries),
        }
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        click.echo(text, nl=False) if json_file == "-" else write_file(json_file, text)
    if junit_file:
        write_file(junit_file, report.junit(summaries, [(p.name, p.error or "") for p in failures]))
    if script_file:
        _write_script(script_file, summaries)
    if names:
        note_failures(registry)
    return 1 if failures or any(s.wrong for s in summaries) or not any(s.checks for s in summaries) else 0


def _write_script(path: str, summaries: list[Any]) -> None:
    """The script of the first wrong gradient that could be made small; where there is none, that is said."""
    made = next((s.explained.script for s in summaries if s.explained and s.explained.script), None)
    if made is None:
        click.echo(f"refbp: note: no script was written to {path}: there is no wrong gradient that one could repeat.", err=True)
    else:
        write_file(path, made)


def _print(summaries: list[Any], failures: list[Any], seconds: float, not_tested: bool) -> None:
    from refbp.conformance import report
    from refbp.conformance.outcome import Verdict

    columns([report.HEADING, *(s.line() for s in summaries)], right=(2, 3, 4, 5), last=_coloured)
    for plugin in failures:
        click.echo(f"{plugin.name}  {plugin.origin}  {click.style('FAILED', fg='red')}  {plugin.error}")
    for summary in summaries:
        for result in summary.wrong[:5]:
            click.echo("\n" + report.explanation(result, summary.explained))
        if len(summary.wrong) > 5:
            click.echo(f"\n{summary.name}: {len(summary.wrong) - 5} more wrong results (--json FILE has all)")
    if not_tested:
        for result in (r for s in summaries for r in s.having(Verdict.NOT_TESTED)):
            click.echo("\n" + report.explanation(result))
    t = report.totals(summaries)
    hint = " (refbp verify --not-tested)" if t["not_tested"] and not not_tested else ""
    broken = f" · {len(failures)} plugin{'s' * (len(failures) > 1)} FAILED" if failures else ""
    click.echo(
        f"\n{t['layers']} layers and losses · {t['checks']:,} checks · {t['wrong']} wrong · {t['waivers']} waivers ·"
        f" {t['conventions']} conventions · {t['not_tested']} not tested{hint}{broken} · {seconds:.0f} s"
    )


def _coloured(verdict: str) -> str:
    word = verdict.split(" ", maxsplit=1)[0]
    return click.style(word, fg={"agree": "green", "WRONG": "red"}.get(word, "yellow")) + verdict[len(word) :]
