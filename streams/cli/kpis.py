"""`salesgauge kpis`: the catalogue in the terminal, and for programs."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import family_name, stat_names
from salesgauge.metrics.kpis.kpi import Kpi
from salesgauge.streams.cli.common import Failed, out


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def kpis_command(ids: tuple[str, ...], *, as_json: bool) -> None:
    """List the KPIs, or show some in full."""
    unknown = [i for i in ids if i not in CATALOGUE.by_id]
    if unknown:
        raise Failed(f"no KPI is called {unknown[0]}; `salesgauge kpis` lists them")
    kpis = CATALOGUE.select(ids) if ids else list(CATALOGUE.kpis)
    if as_json:
        click.echo(json.dumps([document(kpi) for kpi in kpis], indent=1))
    elif ids:
        for kpi in kpis:
            _show(kpi)
    else:
        _list(kpis)


def document(kpi: Kpi) -> dict[str, Any]:
    """An entry for programs."""
    return {
        "id": kpi.id,
        "number": kpi.number,
        "title": kpi.title,
        "role": kpi.role.value,
        "help": kpi.help,
        "form": kpi.form.value,
        "unit": kpi.unit.value,
        "direction": kpi.direction.value,
        "definition": kpi.definition,
        "expression": expression(kpi),
        "stats": [{"name": s.name, "unit": s.unit.value, "per": s.per, "help": s.help} for s in kpi.stats],
        "windows": list(kpi.windows),
        "breakdowns": [list(b) for b in kpi.breakdowns],
        "events": list(kpi.events),
        "requires": list(kpi.requires),
        "empty": kpi.empty,
        "metrics": metrics_of(kpi),
        "caveats": kpi.caveats,
    }


def needed(kpi: Kpi) -> str:
    """The events without which it is not connected, in words."""
    return ", ".join(" or ".join(group.split("|")) for group in kpi.requires)


def expression(kpi: Kpi) -> str:
    """The formula in symbols."""
    return f"distribution of {kpi.samples.name}(W)" if kpi.samples else str(kpi.formula)


def metrics_of(kpi: Kpi) -> list[str]:
    """All metric families of a KPI."""
    breakdowns = ((), *kpi.breakdowns) if kpi.whole else kpi.breakdowns
    names = {family_name(kpi, stat, breakdown): None for breakdown in breakdowns for stat in stat_names(kpi)}
    return [*([kpi.metric] if kpi.samples else []), *names]


def _list(kpis: list[Kpi]) -> None:
    table = Table("#", "id", "title", "unit", "form", "breakdowns", title=f"The catalogue: {len(kpis)} entries")
    role = None
    for kpi in kpis:
        if kpi.role is not role:
            role = kpi.role
            table.add_section()
            table.add_row("", f"[bold]{role.value}[/]")
        breakdowns = ", ".join(" x ".join(b) for b in kpi.breakdowns)
        table.add_row(str(kpi.number or ""), kpi.id, kpi.title, kpi.unit.value, kpi.form.value, breakdowns)
    out.print(table)


def _show(kpi: Kpi) -> None:
    out.print(f"[bold]{kpi.title}[/] ({kpi.id})\n{kpi.help}")
    rows = {
        "formula": kpi.definition,
        "form": kpi.form.value,
        "unit": kpi.per or kpi.unit.value,
        "windows": ", ".join(kpi.windows),
        "breakdowns": ", ".join(" x ".join(b) for b in kpi.breakdowns) or "none",
        "requires": needed(kpi),
        "affected by": ", ".join(kpi.affected_by) or "nothing else",
        "metrics": ", ".join(metrics_of(kpi)),
        "caveats": kpi.caveats or "none",
    }
    for name, value in rows.items():
        out.print(f"  [dim]{name:<11}[/] {value}")
    out.print()
