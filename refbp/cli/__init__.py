"""The command line. ``refbp --help`` lists the commands; each has its own ``--help``.

Exit codes: 0 nothing is wrong, 1 something is, 2 the command was used wrongly, 130 it was interrupted.
Commands are imported when they are called, and torch only by those that need it.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from refbp import __version__

# Command: (module under refbp.cli, what --help says of it)
COMMANDS = {
    "verify": ("verify", "Prove the registered layers and losses against torch."),
    "check": ("check", "Check somebody's backprop, and say what is wrong with it."),
    "grade": ("grade", "Grade many submissions of a course, side by side."),
    "audit": ("audit", "Find the wrong solutions that a course's own tests accept."),
    "courses": ("courses", "List the courses that check and grade know, or the exercises of one."),
    "list": ("catalogue", "List the registered layers and losses."),
    "show": ("catalogue", "Show one layer: formula, derivation, fields, shapes, state, twin, source."),
    "plugins": ("catalogue", "Show every plugin: what it provides, or why it failed."),
    "ledger": ("ledger", "Show the conventions at kinks and the places where torch is wrong."),
    "mutate": ("mutate", "Score a layer's proof: break its source, and see what notices."),
    "bench": ("bench", "Time twelve workloads against torch, in one run."),
    "trace": ("trace", "Show backpropagation through one network, number by number."),
    "train": ("train", "Learn a data set by gradient descent."),
    "fuzz": ("fuzz", "Run random networks against torch, and shrink what fails."),
    "new": ("new", "Write a plugin file that passes conformance from the start."),
}


class _Lazy(click.Group):
    """Commands by name, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: Any = getattr(importlib.import_module(f"refbp.cli.{COMMANDS[cmd_name][0]}"), f"{cmd_name}_command")
        return command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and one line each, from the table: --help imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """An unknown command names the nearest known one."""
        from refbp.errors import did_you_mean

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command is called {args[0]!r}{did_you_mean(args[0], list(COMMANDS)) or '.'}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="refbp")
def cli() -> None:
    """Backpropagation by hand, proven against PyTorch."""


def main() -> None:
    """Run the command line, turning what users can cause into one sentence and an exit code."""
    from refbp.errors import RefbpError

    # Read when NumPy is imported, which no command has done yet: the arrays are small, the processes several.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SystemExit:  # click's answer to a reader that has gone is 1, which here says that something is wrong
        code = 0
    except (click.Abort, KeyboardInterrupt):
        click.echo("refbp: interrupted.", err=True)
        code = 130
    except RefbpError as error:
        click.echo(f"refbp: {error}", err=True)
        code = 2
    except BrokenPipeError:  # the reader of a pipe has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        click.echo(f"refbp: {error.strerror}: {error.filename}.", err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
