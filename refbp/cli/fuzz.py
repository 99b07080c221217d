"""``refbp fuzz``: random networks against torch, end to end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refbp.cli._common import fitted, json_flag, load, plugins_option, print_json, progress_bar, width, write_file

if TYPE_CHECKING:
    from refbp.conformance.many import Recipe, Tally
    from refbp.conformance.problem import Problem

SHOWN = 5  # wrong layers that are shrunk and printed


@click.command("fuzz", short_help="Run random networks against torch, and shrink what fails.")
@click.option("--count", "-n", type=click.IntRange(1), default=100, show_default=True, help="How many networks.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="What they are composed from.")
@click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="The number of the first one.")
@click.option("--layers", type=click.IntRange(1, 50), default=6, show_default=True, help="The longest chain of layers.")
@click.option("--with", "favourites", multiple=True, metavar="NAME", help="Take this layer or loss often; may be given again.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many processes.  [default: one per core, when worth it]")
@plugins_option
@json_flag
def fuzz_command(
    count: int,
    seed: int,
    start: int,
    layers: int,
    favourites: tuple[str, ...],
    jobs: int | None,
    plugins_dirs: tuple[str, ...],
    as_json: bool,
) -> int:
    """Compose random networks of the registered layers, with branches, residual additions and every loss that takes one
    target; run each beside its torch twin in float64; compare the loss, the gradient of every parameter and of the
    input, and the buffers. What is wrong is shrunk to the smallest network, and printed as a refbp trace command.

    A network of two hundred operations may differ from torch and nobody be wrong: rounding errors grow. Such a one is
    counted apart; it passed a check of every layer alone, on the very arrays that torch had there.

    Exit code: 0 nothing is wrong, 1 something is, 2 the command was used wrongly.
    """
    registry = load(plugins_dirs)
    for name in favourites:
        registry.get(name)
    from refbp.conformance import many, parallel

    recipe = many.Recipe(seed, layers, favourites)
    began, total, interrupted = time.monotonic(), many.Tally(), False
    with ExitStack() as stack:
        advance = progress_bar(stack, count)
        try:
            for found in many.fuzz(recipe, range(start, start + count), parallel.jobs_for(jobs, count // 5), plugins_dirs):
                total.join(found)
                for _ in range(found.networks):
                    advance(f"{len(total.wrong)} wrong")
        except KeyboardInterrupt:
            interrupted = True
        failures = [] if interrupted else _shrunk(total, recipe, plugins_dirs)
    never = [] if interrupted else sorted({*registry.entries} - {*_composites(), *total.layers, *total.losses})
    if as_json:
        print_json(_data(total, recipe, start, failures, never))
    else:
        _print(total, count, failures, never, time.monotonic() - began)
    if interrupted:
        raise click.Abort
    return 1 if total.wrong else 0


def _composites() -> tuple[str, ...]:
    from refbp.conformance.compose import COMPOSITES

    return COMPOSITES


def _shrunk(total: Tally, recipe: Recipe, plugins_dirs: tuple[str, ...]) -> list[dict[str, Any]]:
    """For each layer that is wrong, the first network that showed it, shrunk."""
    from refbp.conformance.fuzz import NETWORK, PROCESS
    from refbp.conformance.problem import count
    from refbp.conformance.shrink import shrunk

    by_layer: dict[str, list[int]] = {}
    for index in sorted(total.wrong):
        by_layer.setdefault(total.wrong[index].layer, []).append(index)
    rows = []
    for layer, indices in sorted(by_layer.items(), key=lambda item: (item[0] == NETWORK, item[1][0]))[:SHOWN]:
        finding = total.wrong[indices[0]]
        row: dict[str, Any] = {"layer": layer, "networks": indices, "finding": finding.sentence}
        made = None if finding.layer == PROCESS else recipe.problem(indices[0])  # it would take this process with it
        if made is not None:
            small, finding = shrunk(made, finding)
            row |= {"layers": count(made.items), "shrunk_to": count(small.items), "finding": finding.sentence}
            row |= {"network": small.text, "command": _command(small, f"fuzz-{recipe.seed}-{indices[0]}", plugins_dirs)}
        rows.append(row)
    return rows


def _command(small: Problem, stem: str, plugins_dirs: tuple[str, ...]) -> str:
    """The trace command; where no seed makes the state that shows it, the state is written to a file of a new name."""
    if small.fresh:
        return small.command(plugins_dirs)
    import io

    import numpy as np

    from refbp.conformance.fuzz import Beside

    name = next(n for i in range(1, 10**6) if not Path(n := f"{stem}{'' if i == 1 else f'-{i}'}.npz").exists())
    buffer = io.BytesIO()
    state: dict[str, Any] = dict(Beside.of(small).state)
    np.savez(buffer, **state)
    write_file(name, buffer.getvalue())
    return small.command(plugins_dirs, name)


_WORDS = {
    "agree": "agree",
    "rounding": "apart by rounding alone",
    "torch is wrong": "where torch is known to be wrong",
    "not tested": "not tested (nothing finite, or no gradient)",
    "refused by torch": "that torch refuses",
}


def _print(total: Tally, count: int, failures: list[dict[str, Any]], never: list[str], seconds: float) -> None:
    for row in failures:
        numbers = row["networks"]
        shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
        wrong = click.style(f"{row['layer']} is wrong", fg="red")
        click.echo(f"{wrong}  in {len(numbers)} of {total.networks} networks: {shown}")
        click.echo(f"  {row['finding']}")
        if "command" in row:
            of = f"network {numbers[0]}, of {row['layers']} layers, shrunk to {row['shrunk_to']}"
            click.echo(f"  {of}:\n  {row['command']}")
        click.echo()
    if (more := len({f.layer for f in total.wrong.values()}) - len(failures)) > 0 and failures:
        click.echo(f"{more} more layers are wrong: mend these first.\n")
    if not total.networks:
        click.echo(f"none of {count} networks was run to its end.")
        return
    said = [f"{total.verdicts[v]} {words}" for v, words in _WORDS.items() if total.verdicts[v]]
    of = f" of {count}" if total.networks < count else ""
    click.echo(
        f"{total.networks}{of} networks of {len(total.layers)} layers and {len(total.losses)} losses · {' · '.join(said)} ·"
        f" {len(total.wrong)} wrong · {seconds:.0f} s"
    )
    if never:
        click.echo(fitted(f"did not take part: {', '.join(never)}", max(width(), 40)))


def _data(total: Tally, recipe: Recipe, start: int, failures: list[dict[str, Any]], never: list[str]) -> dict[str, Any]:
    from refbp.conformance.report import versions

    return {
        **versions(),
        "seed": recipe.seed,
        "start": start,
        "networks": total.networks,
        "verdicts": dict(total.verdicts),
        "fewest_digits": total.digits,
        "layers": dict(total.layers.most_common()),
        "losses": dict(total.losses.most_common()),
        "did_not_take_part": never,
        "wrong": [{"network": i, "layer": f.layer, "finding": f.sentence} for i, f in sorted(total.wrong.items())],
        "shrunk": failures,
    }
