"""``refbp bench``: how fast, as a ratio to torch in the same run."""

from __future__ import annotations

import json

import click

from refbp.cli._common import columns, load, write_file


@click.command("bench", short_help="Time twelve workloads against torch, in one run.")
@click.option("--only", default="", metavar="TEXT", help="Only workloads whose name contains this.")
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(["float32", "float64"]), help="[default: both]")
@click.option("--seconds", type=click.FloatRange(0.01), default=2.0, show_default=True, help="How long each is timed.")
@click.option("--json", "json_file", metavar="FILE", help="Write the timings as JSON; '-' prints them instead.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
def bench_command(only: str, dtypes: tuple[str, ...], seconds: float, json_file: str | None, markdown: bool) -> None:
    """Time forward and backward of twelve workloads, refbp and torch in turn, one thread each, and print medians and ratios.

    A ratio below 1 means that refbp is faster. A busy machine makes both slower, not the ratio right: run it on a quiet one.
    """
    load(())

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
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        click.echo(text, nl=False) if json_file == "-" else write_file(json_file, text)
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
