"""``refbp bench``: how fast, as a ratio to torch in the same run."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from refbp.cli._common import columns, load, plugins_option, progress_bar, write_file

if TYPE_CHECKING:
    from refbp.registry import Registry

SHOWN = 10  # axes that the table of --growth ends with


@click.command("bench", short_help="Time twelve workloads against torch, in one run.")
@click.option("--only", default="", metavar="TEXT", help="Only workloads, or layers, whose name contains this.")
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(["float32", "float64"]), help="[default: both]")
@click.option("--seconds", type=click.FloatRange(0.01), default=2.0, show_default=True, help="How long each is timed.")
@click.option("--json", "json_file", metavar="FILE", help="Write the timings as JSON; '-' prints them instead.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--growth", is_flag=True, help="Measure instead how time grows along every open axis of every layer.")
@plugins_option
def bench_command(
    only: str,
    dtypes: tuple[str, ...],
    seconds: float,
    json_file: str | None,
    markdown: bool,
    growth: bool,
    plugins_dirs: tuple[str, ...],
) -> None:
    """Time forward and backward of twelve workloads, refbp and torch in turn, one thread each, and print medians and ratios.

    A ratio below 1 means that refbp is faster. A busy machine makes both slower, not the ratio right: run it on a quiet one.

    --growth takes every registered layer instead, lengthens one axis of its inputs after the other (samples, steps, channels,
    sides) and prints the p of time ~ n^p, refbp's and torch's: 1 is linear. All layers take minutes.
    """
    registry = load(plugins_dirs)
    if growth:
        if dtypes or markdown:
            raise click.UsageError("--growth has one table, in float32: leave --dtype and --markdown out.")
        _growth(registry, only, json_file)
        return

    from refbp.conformance import bench
    from refbp.conformance.report import versions

    chosen = dtypes or ("float32", "float64")
    rows = {d: list(bench.time_all(d, seconds, only)) for d in chosen}
    if not any(rows.values()):
        raise click.UsageError(
            f"no workload's name contains {only!r}; they are: {'; '.join(w.name for w in bench.workloads())}."
        )
    about = f"{bench.machine()}, {', '.join(f'{n} {v}' for n, v in versions().items())}, one thread"
    if json_file:
        data = {
            "machine": about,
            "timings": [t.data() for r in rows.values() for t in r],
            "geometric_mean": {d: bench.geometric_mean(r) for d, r in rows.items()},
        }
        _written(json_file, data)
    if json_file == "-":
        return
    heading = ["forward + backward"]
    for d in chosen:
        heading += [f"torch {d}, ms", "refbp ÷ torch"]
    table: list[tuple[str, ...]] = [tuple(heading)]
    for i, first in enumerate(rows[chosen[0]]):
        cells = [first.name]
        for d in chosen:
            t = rows[d][i]
            cells += [f"{t.torch * 1e3:.3g}", f"{t.ratio:.2f}"]
        table.append(tuple(cells))
    mean = ["geometric mean"]
    for d in chosen:
        mean += ["", f"{bench.geometric_mean(rows[d]):.2f}"]
    table.append(tuple(mean))
    if markdown:
        click.echo(f"Measured with `refbp bench --markdown` on {about}.\n")
        for n, row in enumerate(table):
            click.echo(f"| {' | '.join(row)} |")
            if n == 0:
                click.echo(f"|{'---|' * len(row)}")
    else:
        click.echo(about + "\n")
        columns(table, right=tuple(range(1, len(heading))))


def _written(json_file: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    click.echo(text, nl=False) if json_file == "-" else write_file(json_file, text)


def _growth(registry: Registry, only: str, json_file: str | None) -> None:
    chosen = [e for e in registry.entries.values() if only.lower() in e.name.lower()]
    if not chosen:
        raise click.UsageError(f"no layer's or loss's name contains {only!r} (refbp list shows all).")

    from refbp.conformance import bench, growth
    from refbp.conformance.report import versions
    from refbp.conformance.trial import SEED

    found: list[growth.Growth] = []
    with ExitStack() as stack:
        advance = progress_bar(stack, len(chosen))
        for entry in chosen:
            found += growth.measured(entry, SEED)
            advance(entry.name)
    about = f"{bench.machine()}, {', '.join(f'{n} {v}' for n, v in versions().items())}, one thread, float32"
    if json_file:
        _written(json_file, {"machine": about, "growth": [g.data() for g in found]})
    if json_file == "-":
        return
    click.echo(about + "\n")
    table: list[tuple[str, ...]] = [("layer", "axis", "from", "to", "refbp, ms", "torch, ms", "refbp n^p", "torch n^p", "")]
    for g in sorted(found, key=lambda g: (not g.steep, g.powers[1] - g.powers[0]))[:SHOWN]:
        times = (f"{g.refbp[0] * 1e3:.3g} → {g.refbp[1] * 1e3:.3g}", f"{g.torch[0] * 1e3:.3g} → {g.torch[1] * 1e3:.3g}")
        powers = tuple(f"{p:.2f}" for p in g.powers)
        table.append((g.layer, g.axis, *(f"{n:,}" for n in g.sizes), *times, *powers, "steep" if g.steep else ""))
    columns(table, right=tuple(range(2, 8)))
    steep = sum(g.steep for g in found)
    rest = f" The {SHOWN} that grow fastest beside torch are shown." if len(found) > SHOWN else ""
    click.echo(f"\n{len(chosen)} layers and losses · {len(found)} axes · {steep} steeper than torch.{rest}")
