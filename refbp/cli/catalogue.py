"""``refbp list``, ``refbp show`` and ``refbp plugins``: what there is. None of them imports torch."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import click

from refbp.cli._common import columns, json_flag, load, plugins_option, print_json
from refbp.registry import Entry, Plugin


@click.command("list", short_help="List the registered layers and losses.")
@plugins_option
@json_flag
def list_command(plugins_dirs: tuple[str, ...], as_json: bool) -> None:
    """List every registered layer and loss: its kind, where it is from, its cases, and its formula."""
    registry = load(plugins_dirs)
    entries = list(registry.entries.values())
    if as_json:
        print_json(
            [
                {
                    "name": e.name,
                    "kind": e.kind,
                    "plugin": e.plugin,
                    "source": e.source,
                    "cases": len(e.spec.cases),
                    "formula": formula(e),
                }
                for e in entries
            ]
        )
        return
    rows = [("name", "kind", "from", "cases", "formula")]
    rows += [(e.name, e.kind, e.source, str(len(e.spec.cases)), formula(e)) for e in entries]
    columns(rows, right=(3,))
    failed = f" · {len(registry.failures)} plugins FAILED (refbp plugins)" if registry.failures else ""
    losses = sum(e.kind == "loss" for e in entries)
    click.echo(f"\n{len(entries) - losses} layers, {losses} losses{failed}")


@click.command("plugins", short_help="Show every plugin: what it provides, or why it failed.")
@plugins_option
@json_flag
def plugins_command(plugins_dirs: tuple[str, ...], as_json: bool) -> None:
    """Show every plugin with its version and origin, and what it provides or why it failed. Always exits with 0."""
    registry = load(plugins_dirs)
    if any(p.teaches for p in registry.plugins):
        _ = registry.courses  # asked for, so that exercises that contradict themselves are known to
    plugins = registry.plugins
    if as_json:
        print_json([_plugin(p) for p in plugins])
        return
    rows = [("plugin", "version", "from", "provides")]
    rows += [(p.name, p.version or "–", p.origin, p.provides()) for p in plugins]
    columns(rows, last=lambda text: text.replace("FAILED", click.style("FAILED", fg="red")))


def _plugin(p: Plugin) -> dict[str, Any]:
    provides = [e.name for e in p.entries]
    found = {"name": p.name, "version": p.version, "origin": p.origin, "provides": provides, "error": p.error}
    return found | ({"exercises": True} if p.teaches else {})


@click.command("show", short_help="Show one layer: formula, derivation, fields, shapes, state, twin, source.")
@click.argument("name")
@plugins_option
@json_flag
def show_command(name: str, plugins_dirs: tuple[str, ...], as_json: bool) -> None:
    """Show one layer or loss: its formula, the derivation of its gradient, its fields with their defaults, shapes, state
    names, its torch twin, its cases, and the source of forward and backward.
    """
    entry = load(plugins_dirs).get(name)
    data = describe(entry)
    if as_json:
        print_json(data)
        return
    click.echo(click.style(f"{data['name']}", bold=True) + f"  {data['kind']}, from {data['source']}\n")
    click.echo(textwrap.indent(data["doc"], "  ") + "\n")
    if data["derivation"]:
        _section("derivation", data["derivation"])
    _section(
        "fields",
        "\n".join(f"{n}: {f['type']}{'' if f['required'] else ' = ' + f['default']}" for n, f in data["fields"].items()),
    )
    for title, pairs in (("inputs", data["inputs"]), ("outputs", data["outputs"])):
        _section(title, "\n".join(f"{n}  {shape}" for n, shape in pairs.items()))
    state = [f"{n}  {tuple(s)}" for n, s in data["parameters"].items()]
    state += [f"{n}  {tuple(s)}  (buffer)" for n, s in data["buffers"].items()]
    _section(f"state of {data['example']}", "\n".join(state) or "none")
    _section("twin", data["twin"])
    _section("cases", "\n".join(f"{i}  {text}" for i, text in data["cases"].items()))
    for title in ("conventions", "waivers", "exemptions"):
        if data[title]:
            _section(title, "\n".join(data[title]))
    for source in dict.fromkeys((data["forward"], data["backward"])):  # some activations have one expression for both
        click.echo(textwrap.indent(source, "    ") + "\n")


def _section(title: str, text: str) -> None:
    if text:
        click.echo(click.style(f"  {title}", bold=True) + "\n" + textwrap.indent(text, "    ") + "\n")


def formula(entry: Entry) -> str:
    """The first paragraph of a layer's docstring: the formula and its gradient."""
    doc = inspect.cleandoc(entry.spec.layer.__doc__ or "")
    return " ".join(doc.split("\n\n")[0].split())


def describe(entry: Entry) -> dict[str, Any]:
    """Everything that is known of a layer, as plain data."""
    spec, cls = entry.spec, entry.spec.layer
    example = spec.cases[0].layer
    return {
        "name": entry.name,
        "kind": entry.kind,
        "plugin": entry.plugin,
        "source": entry.source,
        "formula": formula(entry),
        "doc": inspect.cleandoc(cls.__doc__ or ""),
        "derivation": _derivation(cls),
        "fields": {
            p.name: {
                "type": _type(p.annotation),
                "required": p.default is inspect.Parameter.empty and p.kind is not inspect.Parameter.VAR_POSITIONAL,
                "default": "" if p.default is inspect.Parameter.empty else repr(p.default),
            }
            for p in inspect.signature(cls).parameters.values()
        },
        "example": repr(example),
        "inputs": example.inputs(),
        "outputs": example.outputs(),
        "parameters": {n: list(s) for n, s in example.params().items()},
        "buffers": {n: list(s) for n, s in example.buffers().items()},
        "twin": f"torch.nn.{cls.__name__}" if spec.twin is None else _source(spec.twin),
        "cases": {i: repr(c) for i, c in zip(spec.case_ids(), spec.cases, strict=True)},
        "conventions": [f"{c.point}: {c.choice}" for c in spec.conventions],
        "waivers": [f"{w.check}: {w.reason}" for w in spec.waivers],
        "exemptions": [f"{e.check}: {e.reason}" for e in spec.exempt],
        "forward": _source(_formula_of(cls, "forward", "f")),
        "backward": _source(_formula_of(cls, "backward", "df")),
    }


def _formula_of(cls: type, method: str, expression: str) -> Any:
    """An element-wise layer's own expression, where forward and backward are its base's."""
    if method in vars(cls):
        return getattr(cls, method)
    return next((getattr(cls, name) for name in ("f_df", expression) if hasattr(cls, name)), getattr(cls, method))


def _derivation(cls: type) -> str:
    own = _formula_of(cls, "backward", "df")
    doc = inspect.cleandoc(own.__doc__ or "")
    return "" if own.__qualname__.startswith(("Layer.", "Elementwise.", "Together.")) else doc


def _type(annotation: Any) -> str:
    return str(annotation if isinstance(annotation, str) else getattr(annotation, "__name__", annotation)).replace(
        "typing.", ""
    )


def _source(function: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError):
        return repr(function)
