"""``refbp trace``: backpropagation through one network, told with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refbp.cli._common import json_flag, load, plugins_option, print_json, width, write_file
from refbp.errors import ArgumentError

if TYPE_CHECKING:
    from refbp.trace.record import Trace


@click.command("trace", short_help="Show backpropagation through one network, number by number.")
@click.argument("network", required=False)
@click.option("--example", metavar="NAME", help="A network that comes along: sigmoid, one-path, two-paths, fan-out.")
@click.option("--input", "inputs", multiple=True, metavar="NUMBERS", help="1,-1 (samples apart by ;), a file, or a draw.")
@click.option("--target", metavar="NUMBERS", help="Likewise; for a classification, class indices.")
@click.option("--upstream", metavar="NUMBERS", help="∂C/∂y, for a network without a loss.")
@click.option("--state", metavar="FILE", help="An npz file with the parameters, under their state_dict names.")
@click.option("--seed", type=click.IntRange(0), help="Draws what is not given.  [default: 0]")
@click.option("--lr", type=float, help="η, of the one step of gradient descent.  [default: 0.1]")
@click.option("--digits", type=click.IntRange(1, 17), default=4, show_default=True, help="How many are printed.")
@click.option("--compare", metavar="FILE", help="An npz file with your own results: the first that differs is explained.")
@click.option("--npz", metavar="FILE", help="Write every quantity, under the names that --compare takes.")
@click.option("--svg", metavar="FILE", help="Draw the network, and the reversed network of the backward pass.")
@click.option("--html", metavar="FILE", help="Write a page with a slider through the steps; it needs no network.")
@plugins_option
@json_flag
def trace_command(
    network: str | None,
    example: str | None,
    inputs: tuple[str, ...],
    target: str | None,
    upstream: str | None,
    state: str | None,
    seed: int | None,
    lr: float | None,
    digits: int,
    compare: str | None,
    npz: str | None,
    svg: str | None,
    html: str | None,
    plugins_dirs: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run a network forward and backward and tell every step with its numbers, each checked against torch's autograd.

    NETWORK is layers separated by spaces, the loss last: "Linear(2,2) Sigmoid Linear(2,2) Sigmoid MSELoss"; or a
    computation graph: "x = Sigmoid(s); y = Tanh(s); z = x * y"; or a .toml or .py file with network, input, target,
    state, seed, lr.

    Exit code: 0 all is equal, 1 something differs from torch or from your results, 2 the command was used wrongly.
    """
    load(plugins_dirs)
    if (network is None) == (example is None):
        raise click.UsageError("give a network, such as 'Linear(2,2) Sigmoid MSELoss', or an --example, and not both.")

    from refbp.trace import setting as settings
    from refbp.trace.parse import problem

    said = settings.Given(inputs, target, upstream, state, seed, lr)
    problem_ = settings.example(example) if example is not None else problem(str(network))
    try:
        setting = settings.setting(problem_, said)
        trace = setting.trace()
        compared = _compared(setting, trace, compare) if compare else None
        _write(trace, npz, svg, html, digits)
    except MemoryError:
        raise ArgumentError("the network does not fit into memory: trace a smaller one, or fewer samples.") from None
    if as_json:
        from refbp.trace.data import data

        print_json(data(trace, network=problem_) | ({"compared": compared.data()} if compared else {}))
    elif compared is not None:
        click.echo("\n".join(compared.told(width_of(), digits)))
    else:
        from refbp.trace.tell import told

        for line in told(trace, width_of(), digits):
            click.echo(_coloured(line))
    return 1 if trace.wrong or trace.composed or (compared is not None and compared.differs) else 0


def width_of() -> int:
    """The width to write for; a pipe is given what fits on a page."""
    return min(width(), 120)


def _compared(setting: Any, trace: Trace, file: str) -> Any:
    from refbp.trace.compare import compare

    return compare(setting, trace, Path(file))


def _write(trace: Trace, npz: str | None, svg: str | None, html: str | None, digits: int) -> None:
    """Each file that was asked for, whole or not at all."""
    if svg is not None:
        from refbp.trace.picture import picture

        write_file(svg, picture(trace))
    if html is not None:
        from refbp.trace.page import page

        write_file(html, page(trace, digits))
    if npz is not None:
        import io

        import numpy as np

        buffer = io.BytesIO()
        arrays: dict[str, Any] = {q.key: q.array for q in trace.quantities()}
        np.savez(buffer, **arrays)
        write_file(npz, buffer.getvalue())
    for file in (svg, html, npz):
        if file is not None:
            click.echo(f"wrote {file}", err=True)


def _coloured(line: str) -> str:
    for mark, colour in (("= autograd ✓", "green"), ("≠ autograd ✗", "red")):
        line = line.replace(mark, click.style(mark, fg=colour))
    head, dot, _ = line.partition(".")
    return click.style(line, bold=True) if dot and head.isdigit() else line
