"""What commands share: where plugins come from, how JSON is written, how much width there is."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from refbp import registry

plugins_option = click.option(
    "--plugins-dir",
    "plugins_dirs",
    multiple=True,
    metavar="PATH",
    help="A folder of plugin files, or one file; may be given again. REFBP_PLUGINS names more.",
)
json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load(plugins_dirs: tuple[str, ...]) -> registry.Registry:
    """The registry with these plugins, made the process's own."""
    return registry.use(registry.discover(plugins_dirs))


def note_failures(found: registry.Registry) -> None:
    """A broken plugin beside what was asked for is said, and does not count."""
    if found.failures:
        failed = ", ".join(p.name for p in found.failures)
        click.echo(f"refbp: note: could not load {failed} (refbp plugins says why).", err=True)


def print_json(data: Any) -> None:
    """Print data as JSON, readable and stable."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def width() -> int:
    """The width to write for: the terminal's, or none to speak of in a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


def fitted(text: str, room: int) -> str:
    """The text, cut with an ellipsis where it does not fit."""
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…"


def columns(rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = (), last: Callable[[str], str] | None = None) -> None:
    """Print rows as columns, the first row their heading; numbers are set right; the last column takes what is left."""
    if not rows:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    room = max(width() - sum(widths) - 2 * len(widths), 24)
    for n, row in enumerate(rows):
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=False))]
        end = fitted(row[-1], room)
        line = "  ".join([*cells, last(end) if last and n else end]).rstrip()
        click.echo(click.style(line, bold=True) if n == 0 else line)


def write_file(path: str | Path, content: str | bytes) -> None:
    """Write a file whole or not at all: what was there stays until the new content is complete."""
    path = Path(path)
    if not path.parent.is_dir():
        raise click.UsageError(f"the folder {path.parent} does not exist: make it, or write to another.")
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder: give the name of a file in it.")
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_relative_to("/dev") or (path.exists() and not path.is_file()):  # a device, a pipe: not to be replaced
            with path.open("wb") as file:
                file.write(data)
        else:
            _replace(path.resolve(), data)  # a link stays a link
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}.") from error


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a report from the web server that is to show it
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def progress_bar(stack: ExitStack, total: int) -> Any:
    """A progress bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty() or total < 2:
        return lambda _: None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = stack.enter_context(
        Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
    )
    task = progress.add_task("starting", total=total)
    return lambda name: progress.update(task, advance=1, description=name)
