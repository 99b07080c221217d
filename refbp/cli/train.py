"""``refbp train``: gradient descent on a data set."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refbp.cli._common import json_flag, load, plugins_option, print_json, width, write_file
from refbp.errors import ArgumentError, RefbpError

if TYPE_CHECKING:
    from refbp.conformance.alongside import Alongside
    from refbp.training.asked import Asked
    from refbp.training.checkpoint import Checkpoint, Epoch
    from refbp.training.loop import Loop

KEPT = ("seed", "batch", "test", "test_data", "standardize", "dtype", "inputs", "targets", "optimizer")
FREE = {"epochs": 30, "batch": 32, "test": 0.2, "seed": 0, "dtype": "float64", "optimizer": "Adam", "standardize": False}


@click.command("train", short_help="Learn a data set by gradient descent.")
@click.argument("network", required=False)
@click.option("--data", metavar="FILE", help="A .csv file of numbers, or an .npz file with inputs and targets.")
@click.option("--inputs", metavar="NAME", help="The npz file's array, or the CSV file's columns, of inputs.")
@click.option("--targets", metavar="NAME", help="Likewise of targets; or how many columns from the right.  [default: 1]")
@click.option("--optimizer", metavar="TEXT", help='As in Python: "SGD(lr=0.1, momentum=0.9)".  [default: Adam]')
@click.option("--lr", type=click.FloatRange(0), help="η, the learning rate.  [default: the optimizer's]")
@click.option("--epochs", type=click.IntRange(1), help="How many in all.  [default: 30]")
@click.option("--batch", type=click.IntRange(1), help="Samples in a batch.  [default: 32]")
@click.option("--test", type=click.FloatRange(0, 1, max_open=True), help="The share to test on.  [default: 0.2]")
@click.option("--test-data", metavar="FILE", help="A file of its own to test on.")
@click.option("--standardize", is_flag=True, default=None, help="Inputs with mean 0 and standard deviation 1.")
@click.option("--dtype", type=click.Choice(["float64", "float32"]), help="[default: float64]")
@click.option("--seed", type=click.IntRange(0), help="Draws θ⁰, the test part and the batches.  [default: 0]")
@click.option("--save", metavar="FILE", help="Where the run is kept, after every epoch.  [default: run.npz, if that is free]")
@click.option("--no-save", is_flag=True, help="Keep nothing.")
@click.option("--resume", metavar="FILE", help="Go on with the run in this file.")
@click.option("--svg", metavar="FILE", help="Draw the loss curve.")
@click.option(
    "--against", type=click.Choice(["torch"]), help="Take the same steps with the identical torch model, and compare."
)
@plugins_option
@json_flag
def train_command(plugins_dirs: tuple[str, ...], **options: Any) -> int:
    """Learn a data set: NETWORK is layers separated by spaces, the loss last, or a .toml or .py file with them, as refbp trace
    takes it. Any layers, losses and optimizers of refbp. After every epoch the run is saved, whole or not at all; --resume
    takes it up where it was, to the same numbers as if it had never stopped.

    Exit code: 0 it has learned, 1 a layer's gradient is not torch's (--against torch), 2 the command was used wrongly, or
    the learning rate makes the loss grow beyond all numbers; 130 it was interrupted.
    """
    load(plugins_dirs)
    given = {n: v for n, v in options.items() if v is not None and v is not False}
    run, begun, path = _resumed(given) if "resume" in given else _begun(given)
    session = Session(run, begun, path, options["as_json"])
    if svg := given.get("svg"):
        _check_folder(Path(svg))
    if "against" in given:
        from refbp.conformance.alongside import Alongside

        if begun.epoch:
            raise click.UsageError("--against torch begins with θ⁰; a resumed run has gone on from it: leave one of them out.")
        session.torch = Alongside(run.problem.net, run.problem.loss, run.optimizer, begun.state, run.seed)
    session.go(epochs=session.asked["epochs"])
    if svg and session.now.history:
        from refbp.training.curve import svg as picture

        write_file(svg, picture(session.now.history, f"{session.asked['network']} {session.asked['loss']}"))
        session.files.append(svg)
    session.report()
    if session.interrupted:
        raise click.Abort
    return 1 if session.torch is not None and session.torch.wrong else 0


# What is asked for ----------------------------------------------------------------------------------------------------


def _begun(given: dict[str, Any]) -> tuple[Loop, Checkpoint, Path | None]:
    """A new run."""
    from refbp.trace.parse import network
    from refbp.training import asked, checkpoint

    if "network" not in given:
        raise click.UsageError("give a network, such as 'Linear(64,64) ReLU Linear(64,10) CrossEntropyLoss', or --resume FILE.")
    if "data" not in given:
        raise click.UsageError("give the data: --data FILE, a .csv file of numbers or an .npz file with inputs and targets.")
    if given.get("no_save") and "save" in given:
        raise click.UsageError("--save and --no-save exclude each other: leave one out.")
    net, loss = network(given["network"])
    if loss is None:
        raise ArgumentError("the network has no loss: end it with one, such as CrossEntropyLoss or MSELoss.")
    full: dict[str, Any] = {**FREE, "inputs": None, "targets": None, "test_data": None} | given
    full["test"] = 0.0 if "test_data" in given else full["test"]
    optimizer = asked.optimizer(full["optimizer"], given.get("lr"))
    want = asked.Asked(
        **{
            n: full[n]
            for n in ("data", "inputs", "targets", "test", "test_data", "standardize", "dtype", "batch", "seed", "epochs")
        },
        network=asked.written(net),
        loss=repr(loss),
        optimizer=repr(optimizer),
        digest="",
    )
    run, begun = _made(want, net, loss, optimizer, None)
    if given.get("no_save"):
        return run, begun, None
    path = Path(given["save"]) if "save" in given else checkpoint.free_name()
    _check_folder(path)
    if path.exists():
        raise click.UsageError(f"{path} exists: --resume {path} goes on with it, and --save another.npz begins anew.")
    return run, begun, path


def _resumed(given: dict[str, Any]) -> tuple[Loop, Checkpoint, Path | None]:
    """The run in a file, to go on with."""
    from refbp.trace.parse import network
    from refbp.training import asked, checkpoint

    file = given["resume"]
    found = checkpoint.read(file)
    try:
        want = asked.Asked.of(found.asked)
        net, loss = network(f"{want.network} {want.loss}")
    except RefbpError as error:
        raise type(error)(f"{file}: {error}") from error
    if loss is None:
        raise ArgumentError(f"{file} names no loss: train anew.")
    checkpoint.check_state(file, found, net)
    if "network" in given:
        same, its = network(given["network"])
        if (same, its) != (net, loss):
            raise click.UsageError(f"{file} was begun with {want.network} {want.loss}: leave the network out, or train anew.")
    for name in KEPT:
        if name in given and given[name] != getattr(want, name):
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{file} was begun with {option} {getattr(want, name)}: leave {option} out, or train anew.")
    want = replace(want, data=given.get("data", want.data), epochs=given.get("epochs", want.epochs))
    optimizer = asked.optimizer(want.optimizer, given.get("lr"))
    if found.epoch >= want.epochs:
        raise click.UsageError(f"{file} has all its {found.epoch} epochs: --epochs {2 * found.epoch} goes on.")
    run, begun = _made(replace(want, optimizer=repr(optimizer)), net, loss, optimizer, found)
    path = None if given.get("no_save") else Path(given.get("save", file))
    if path is not None:
        _check_folder(path)
        if "save" in given and path.exists() and not path.samefile(file):
            raise click.UsageError(f"{path} exists: save to another file, or leave --save out to go on in {file}.")
    return run, begun, path


def _made(want: Asked, net: Any, loss: Any, optimizer: Any, found: Checkpoint | None) -> tuple[Loop, Checkpoint]:
    """The loop, with the data read, split, scaled and checked."""
    import dataclasses

    import numpy as np

    from refbp.training import data, loop

    whole = data.read(want.data, want.inputs, want.targets)
    test = None if want.test_data is None else data.read(want.test_data, want.inputs, want.targets)
    digest = whole.digest + (test.digest if test is not None else "")
    if found is not None and digest != want.digest:
        raise ArgumentError(
            f"{want.data} is not what the run was begun with: give the same numbers, --data FILE, or train anew."
        )
    learn = whole
    if test is None:
        learn, test = data.split(whole, want.test, np.random.default_rng([want.seed, loop.SPLIT]))
    arrays = dict(found.arrays) if found is not None else {}
    if want.standardize:
        scale = data.Scale(arrays["mean"], arrays["std"]) if arrays else data.Scale.of(learn.x)
        arrays = {"mean": scale.mean, "std": scale.std}
        learn = replace(learn, x=scale(learn.x))
        test = None if test is None else replace(test, x=scale(test.x))
    dtype = np.dtype(want.dtype)
    state = found.state if found is not None else net.init(np.random.default_rng(want.seed), dtype)
    problem = loop.prepared(net, loss, learn, test, state, dtype)
    asked = dataclasses.asdict(replace(want, digest=digest))
    begun = loop.started(optimizer, state, asked) if found is None else replace(found, asked=asked)
    return loop.Loop(problem, optimizer, want.batch, want.seed), replace(begun, arrays=arrays)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise click.UsageError(f"the folder {path.parent} does not exist: make it, or write to another.")
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder: give the name of a file.")


# The run --------------------------------------------------------------------------------------------------------------


class Session:
    """One run as its user sees it: lines or a bar while it learns, the curve and the result in the end."""

    def __init__(self, run: Loop, begun: Checkpoint, path: Path | None, quiet: bool) -> None:
        self.run, self.now, self.path, self.quiet = run, begun, path, quiet
        self.torch: Alongside | None = None
        self.asked: dict[str, Any] = dict(begun.asked)
        self.new = path is not None and not path.exists()
        self.files: list[str] = []
        self.interrupted = False
        self.seconds = 0.0
        self.before = begun.epoch

    def go(self, epochs: int) -> None:
        """Learn until so many epochs are done, somebody interrupts, or a gradient is found wrong."""
        self._announce()
        began = time.monotonic()
        with self._bar((epochs - self.now.epoch) * self.run.steps) as advance:
            try:
                for number in range(self.now.epoch + 1, epochs + 1):
                    self._epoch(number, epochs, advance)
                    if self.torch is not None and self.torch.wrong:
                        break
            except KeyboardInterrupt:
                self.interrupted = True
            except RefbpError as error:
                kept = f" {self.path} holds the run after epoch {self.now.epoch}." if self.saved else ""
                raise type(error)(f"{error}{kept}") from error
            finally:
                self.seconds = time.monotonic() - began

    def _epoch(self, number: int, epochs: int, advance: Callable[[str], Any]) -> None:
        from refbp.training.checkpoint import Checkpoint

        for found in self.run.epoch(number, self.now, self.torch):
            if isinstance(found, Checkpoint):
                self._save(found)
                self.now = found
                if not self.quiet and not self._on_terminal:
                    click.echo(_line(found.history[-1], epochs))
            else:
                advance(f"epoch {number}, loss {found:.4g}")
                if self.torch is not None and self.torch.wrong:
                    return

    def _save(self, checkpoint: Checkpoint) -> None:
        """Keep the run; a name that somebody else has taken meanwhile is left to them."""
        from refbp.training.checkpoint import free_name, write

        if self.path is None:
            return
        while self.new:
            try:
                write(self.path, checkpoint, new=True)
            except FileExistsError:
                self.path = free_name(self.path.with_suffix("").as_posix())
            else:
                self.new = False
                return
        write(self.path, checkpoint)

    @property
    def saved(self) -> bool:
        """Whether there is a file to go on from."""
        return self.path is not None and not self.new

    @property
    def _on_terminal(self) -> bool:
        return sys.stdout.isatty() and sys.stderr.isatty()

    @contextlib.contextmanager
    def _bar(self, steps: int) -> Iterator[Callable[[str], Any]]:
        from contextlib import ExitStack

        from refbp.cli._common import progress_bar

        with ExitStack() as stack:
            yield progress_bar(stack, steps) if self._on_terminal and not self.quiet else lambda _: None

    def _announce(self) -> None:
        if self.quiet:
            return
        problem, asked = self.run.problem, self.asked
        size = sum(a.size for a in self.now.state.parameters.values())
        tested = f", {len(problem.test):,} to test on" if problem.test is not None else ""
        where = f", saved to {self.path} after every epoch" if self.path is not None else ""
        click.echo(f"{asked['network']} {asked['loss']} · {size:,} parameters · {_short(self.run.optimizer)}")
        click.echo(
            f"{asked['data']}: {len(problem.learn):,} samples to learn from{tested} · batches of {self.run.batch}{where}"
        )
        if self.now.epoch:
            click.echo(f"going on after epoch {self.now.epoch}")

    def report(self) -> None:
        """The curve, the last epoch, how it compares with torch, and how to go on."""
        if self.quiet:
            print_json(self.data())
            return
        from refbp.training.curve import text

        if curve := text(self.now.history, min(width(), 72)):
            click.echo("\n" + curve + "\n")
        if self.now.history:
            best = max(self.now.history, key=lambda e: e.accuracy or 0)
            shown = f" (best {_percent(best.accuracy)} after {best.number})" if best.accuracy is not None else ""
            click.echo(f"{_line(self.now.history[-1])}{shown} · {self.now.epoch - self.before} epochs in {self.seconds:.1f} s")
        if self.torch is not None:
            click.echo(_beside(self.torch))
        for file in self.files:
            click.echo(f"wrote {file}")
        if self.saved:
            more = 2 * self.now.epoch if self.now.epoch >= self.asked["epochs"] else self.asked["epochs"]
            word = "interrupted: " if self.interrupted else ""
            on = f"refbp train --resume {self.path} --epochs {more}"
            click.echo(f"{word}{self.path} holds the run after epoch {self.now.epoch}; {on} goes on")
        elif self.interrupted:
            click.echo("interrupted before the first epoch was saved.")

    def data(self) -> dict[str, Any]:
        """The run as plain data."""
        import dataclasses

        return {
            **{n: v for n, v in self.asked.items() if n != "digest"},
            "parameters": sum(a.size for a in self.now.state.parameters.values()),
            "samples": len(self.run.problem.learn),
            "tested": len(self.run.problem.test) if self.run.problem.test is not None else 0,
            "steps": self.now.steps,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "saved": str(self.path) if self.saved else None,
            "history": [dataclasses.asdict(e) for e in self.now.history],
            "against_torch": None if self.torch is None else _beside_data(self.torch),
        }


def _line(epoch: Epoch, epochs: int = 0) -> str:
    of = f"/{epochs}" if epochs else ""
    parts = [f"epoch {str(epoch.number).rjust(len(str(epochs)) if epochs else 1)}{of}", f"loss {epoch.loss:.4g}"]
    parts += [f"test loss {epoch.test_loss:.4g}"] if epoch.test_loss is not None else []
    parts += [f"test accuracy {_percent(epoch.accuracy)}"] if epoch.accuracy is not None else []
    return "  ".join(parts)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _short(optimizer: Any) -> str:
    """The optimizer with those arguments that are not its defaults, and η always."""
    import dataclasses

    fields = [f for f in dataclasses.fields(optimizer) if f.init]
    said = [
        f"{f.name}={getattr(optimizer, f.name)!r}" for f in fields if f.name == "lr" or getattr(optimizer, f.name) != f.default
    ]
    return f"{type(optimizer).__name__}({', '.join(said)})"


def _beside(torch: Alongside) -> str:
    parting = torch.parting
    head = f"torch: {torch.steps} steps beside it, θ and buffers apart by at most {torch.worst:.1e}"
    first = min(torch.steps, 200)
    head += f" ({torch.first:.1e} over the first {first})" if torch.steps > first else ""
    if parting is None:
        return click.style(head, fg="green")
    where = (
        f"they part at step {parting.step}, by {parting.distance:.1e} in {parting.entry}"
        if parting.entry
        else f"step {parting.step}"
    )
    return f"{head}\n  {where}: " + (click.style(parting.why, fg="red") if parting.wrong else parting.why)


def _beside_data(torch: Alongside) -> dict[str, Any]:
    import dataclasses

    parting = None if torch.parting is None else dataclasses.asdict(torch.parting)
    return {"steps": torch.steps, "apart": torch.worst, "apart_over_first_200": torch.first, "parting": parting}
