"""``refbp mutate``: would the checks have noticed a mistake in this layer?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import click

from refbp.cli._common import columns, load, plugins_option, progress_bar, write_file
from refbp.errors import UnknownNameError
from refbp.registry import Entry

MANY = 100  # mutants of one layer: sharing them out among processes costs a second or two


@click.command("mutate", short_help="Score a layer's proof: break its source, and see what notices.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@plugins_option
@click.option("--only-plugin", metavar="PLUGIN", help="Only what this plugin provides.")
@click.option("--seed", type=click.IntRange(0), help="The seed of every random draw.  [default: 20260101]")
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many processes.  [default: one per core, when worth it]")
@click.option("--json", "json_file", metavar="FILE", help="Write every mutant and its fate; '-' prints them instead.")
@click.option(
    "--fail-under", type=click.FloatRange(0, 100), default=None, metavar="PERCENT", help="Exit with 1 below this score."
)
@click.option("--equivalent", is_flag=True, help="List the equivalent mutants too, and those that are another layer's.")
@click.option("--summary", is_flag=True, help="A line for each plugin instead of each layer.")
@click.option("--compare", is_flag=True, help="Hold other ways to check a gradient against the same mutants: score and time.")
def mutate_command(
    names: tuple[str, ...],
    plugins_dirs: tuple[str, ...],
    only_plugin: str | None,
    seed: int | None,
    jobs: int | None,
    json_file: str | None,
    fail_under: float | None,
    equivalent: bool,
    summary: bool,
    compare: bool,
) -> int:
    """Rewrite the source of the named layers and losses, or of all, one mistake at a time: drop a term, flip a sign, sum for
    mean, shift a slice, … Run the checks against each mutant, and print the score, which check noticed how many, and
    each survivor with its line. A mutant is equivalent if it answers the same, bit for bit, to every case and to variations of
    each; it is elsewhere if no case of the layer goes where it is, and another layer's does, which it is counted for. Neither
    is in the score. With --compare, print instead how many of the mutants whose forward is right, and whose
    gradients are not, are noticed by these checks, by torch.autograd.gradcheck, and by other ways, and in what time.

    Exit code: 0, or 1 below --fail-under (over all layers), or where a layer is wrong as it stands.
    """
    entries = load(plugins_dirs).select(names, only_plugin)
    if not entries:
        raise UnknownNameError(f"nothing is selected: plugin {only_plugin} provides none of {', '.join(names)}.")

    from refbp.conformance import parallel

    shared = not compare and len(entries) == 1 and jobs != 1 and _many(entries[0])
    count = parallel.jobs_for(jobs, 60 if shared else 60 * (len(entries) - 1))
    if count > 1 and not compare:
        parallel.prepare()

    from refbp.conformance import mutate
    from refbp.conformance.trial import SEED

    if compare and (fail_under is not None or equivalent or summary):
        raise click.UsageError("--compare prints another table than the score: leave the options of the score out.")
    if compare:
        return _compare(entries, SEED if seed is None else seed, jobs, json_file, plugins_dirs)
    scores: dict[str, mutate.Score] = {}
    seed = SEED if seed is None else seed
    with ExitStack() as stack:
        advance = progress_bar(stack, len(entries))
        for entry, found in _each(entries, seed, count, plugins_dirs, shared):
            scores[entry.name] = found or mutate.Score(entry.name, entry.source, (), "the process that ran it died")
            advance(entry.name)
    ordered = [scores[e.name] for e in entries]
    total = mutate.total(ordered, "all")
    if json_file:
        data = {"total": {**total.data(), "fates": []}, "layers": [s.data() for s in ordered]}
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        click.echo(text, nl=False) if json_file == "-" else write_file(json_file, text)
    if json_file != "-":
        if summary:
            columns(summary_rows([s.data() for s in ordered]), right=tuple(range(1, 7)))
        else:
            room = max(len(s.name) for s in ordered)
            for s in ordered:
                _print(s, room, equivalent)
            if len(ordered) > 1:
                _print(mutate.total(ordered, f"{len(ordered)} layers"), room, equivalent=False, survivors=False)
    wrong = any(s.problem for s in ordered)
    low = fail_under is not None and (total.percent is None or total.percent < fail_under)
    return 1 if wrong or low else 0


def _many(entry: Entry) -> bool:
    from refbp.conformance.mutants import mutants

    return len(list(mutants(entry.spec.layer))) >= MANY


def _each(entries: list[Entry], seed: int, count: int, plugins_dirs: tuple[str, ...], shared: bool) -> Any:
    """Layers side by side; of one layer alone, its mutants, where they are so many that starting processes pays."""
    from refbp.conformance import mutate, parallel

    if shared and count > 1:
        return [(entries[0], mutate.in_parts(entries[0], seed, count, plugins_dirs))]
    return parallel.each(entries, mutate.score, (seed,), count, plugins_dirs)


def summary_rows(scores: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The table of ``--summary``, its heading first, from scores as plain data."""
    names = ("mutants", "killed", "equivalent", "elsewhere", "survived")
    sums: dict[str, list[int]] = {}
    for score in scores:
        for source in (str(score["source"]).removeprefix("refbp."), "all"):
            held = sums.setdefault(source, [0] * (1 + len(names)))
            held[:] = [a + b for a, b in zip(held, (1, *(score[n] for n in names)), strict=True)]
    rows: list[tuple[str, ...]] = [("", "layers", *names, "score")]
    for source in (*sorted(sums.keys() - {"all"}), "all"):
        counts = sums[source]
        counted = counts[2] + counts[5]
        rows.append((source, *(f"{n:,}" for n in counts), f"{100 * counts[2] / counted:.1f} %".rjust(7) if counted else "–"))
    return rows


def _compare(entries: list[Entry], seed: int, jobs: int | None, json_file: str | None, plugins_dirs: tuple[str, ...]) -> int:
    """The same mutants under other ways to check a gradient; 1 where there is nothing to compare."""
    from refbp.conformance import parallel, rivals

    found: dict[str, rivals.Comparison] = {}
    with ExitStack() as stack:
        advance = progress_bar(stack, len(entries))
        for entry, one in parallel.each(entries, rivals.compare, (seed,), jobs or 1, plugins_dirs):
            if one is not None:
                found[entry.name] = one
            advance(entry.name)
    ordered = [found[e.name] for e in entries if e.name in found]
    total = rivals.total(ordered)
    if json_file:
        data = {"total": total.data(), "layers": [c.data() for c in ordered]}
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        click.echo(text, nl=False) if json_file == "-" else write_file(json_file, text)
    if json_file != "-":
        click.echo(f"{total.wrong} wrong gradients of {', '.join(c.name for c in ordered)}, on {total.cases} cases\n")
        rows = [("way", "noticed", "score", "false alarms", "seconds")]
        for name, way in total.found.items():
            score = f"{100 * way.noticed / total.wrong:.1f} %" if total.wrong else "–"
            rows.append((name, str(way.noticed), score, str(way.false_alarms), f"{way.seconds:.1f}".rjust(7)))
        columns(rows, right=(1, 2, 3))
        click.echo("\nA false alarm is a case on which a way objects to the right layer; it is then not given that case.")
    return 0 if total.wrong else 1


def _print(score: object, room: int, equivalent: bool, survivors: bool = True) -> None:
    from refbp.conformance import mutate

    assert isinstance(score, mutate.Score)
    if score.problem:
        click.echo(f"{score.name.ljust(room)}  {click.style('no score', fg='red')}: {score.problem}")
        return
    percent = "–" if score.percent is None else f"{score.percent:.1f} %"
    by = " · ".join(f"{check} {n}" for check, n in score.by_check.items())
    click.echo(
        f"{score.name.ljust(room)}  {len(score.fates):5} mutants  {score.count(mutate.KILLED):5} killed"
        f"  {score.count(mutate.EQUIVALENT):4} equivalent  {score.count(mutate.ELSEWHERE):4} elsewhere  {percent.rjust(7)}"
        f"  {score.seconds:5.1f} s   by {by or 'nothing'}"
    )
    for fate in score.survivors if survivors else ():
        click.echo(f"  survived  {fate.sentence}")
    for fate in score.fates if equivalent else ():
        if fate.fate in (mutate.EQUIVALENT, mutate.ELSEWHERE):
            whose = f"   {fate.layer} goes there" if fate.layer else ""
            click.echo(f"  {fate.fate}  {fate.mutant.where}  `{fate.mutant.before}` → `{fate.mutant.after}`{whose}")
