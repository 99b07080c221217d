"""``refbp ledger``: what is a matter of convention, and where torch is wrong."""

from __future__ import annotations

import click

from refbp.cli._common import columns, json_flag, load, plugins_option, print_json


@click.command("ledger", short_help="Show the conventions at kinks and the places where torch is wrong.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@plugins_option
@click.option("--waivers", "only", flag_value="waiver", help="Only where torch is wrong.")
@click.option("--conventions", "only", flag_value="convention", help="Only the conventions.")
@json_flag
def ledger_command(names: tuple[str, ...], plugins_dirs: tuple[str, ...], only: str | None, as_json: bool) -> None:
    """Measure and print the ledger: at each kink torch's value and the one-sided slopes, at each defect of torch what
    torch says and what the numerical witness says, with the thread in which it is known.
    """
    entries = load(plugins_dirs).select(names)

    from refbp.conformance import ledger

    rows = [r for e in entries if e.spec.conventions or e.spec.waivers for r in ledger.rows(e) if only in (None, r.kind)]
    if as_json:
        print_json([r.data() for r in rows])
        return
    for kind, heading in (("convention", "left | right slope"), ("waiver", "numerical witness")):
        chosen = [r for r in rows if r.kind == kind]
        if chosen:
            table = [("op", "at", "torch", heading, "thread", kind)]
            table += [
                (r.op, r.point, r.torch, r.slopes if kind == "convention" else r.witness, r.thread, r.what) for r in chosen
            ]
            columns(table)
            click.echo()
    click.echo(f"{sum(r.kind == 'convention' for r in rows)} kinks, {sum(r.kind == 'waiver' for r in rows)} waivers")
