"""`salesgauge diff`: two sets of readings side by side."""

from __future__ import annotations

import math
import sys
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.schemas.errors import InputError
from salesgauge.streams.io.secrets import read_token
from salesgauge.streams.replay.compare import Comparison, Difference, Tolerance, compare, read_sides
from salesgauge.streams.replay.selection import check_known

EXIT_DIFFERENT = 1
EXIT_USAGE = 2
_PLAIN_WIDTH = 160  # characters, where stdout is no terminal


@click.command("diff", context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=1e-9, help="Relative tolerance; absolute for values below 1."
)
@click.option(
    "--quantile-tolerance", type=click.FloatRange(min=0), default=0.011, help="Relative tolerance of p50, p90 and p99."
)
@click.option(
    "--tolerance-of",
    "own",
    multiple=True,
    metavar="KPI[.STAT]=T",
    help="Relative tolerance of this KPI, or of one stat of it.",
)
@click.option("--kpi", "kpis", multiple=True, metavar="ID", help="Only compare these KPIs.")
@click.option("--window", "windows", multiple=True, metavar="W", help="Only compare these windows.")
@click.option("--limit", type=click.IntRange(min=1), default=50, help="Greatest number of differences shown.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="File with the bearer token of the exporters."
)
def diff_command(
    *,
    left: str,
    right: str,
    tolerance: float,
    quantile_tolerance: float,
    own: tuple[str, ...],
    kpis: tuple[str, ...],
    windows: tuple[str, ...],
    limit: int,
    token_file: Path | None,
) -> None:
    """Compare two sets of readings.

    A and B are files that `replay --json` or `--parquet` wrote, - for stdin, or addresses of exporters.

    \b
      salesgauge diff http://127.0.0.1:9108 replayed.json
      salesgauge diff before.json after.json --tolerance-of sales_revenue=0.01

    Exit codes: 0 equal, 1 different, 2 something cannot be read.
    """  # noqa: D301 - \b keeps click from joining the examples' lines
    console = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)
    try:
        tolerance_for = Tolerance(tolerance, quantile_tolerance, _tolerances(own))
        token = read_token(token_file) if token_file else None
        comparison = compare(*read_sides(left, right, token, kpis, windows), tolerance_for)
    except InputError as error:
        click.echo(f"diff: {error}", err=True)
        raise SystemExit(EXIT_USAGE) from error
    for caveat in comparison.caveats():
        click.echo(f"note: {caveat}", err=True)
    found = len(comparison.differences)
    if found:
        console.print(differences_table(comparison, limit))
    click.echo(
        f"{found:,} of {comparison.total:,} readings differ" if found else f"{comparison.total:,} readings are equal"
    )
    if found:
        raise SystemExit(EXIT_DIFFERENT)


def _tolerances(pairs: tuple[str, ...]) -> dict[str, float]:
    """Tolerances by KPI, or by KPI and stat."""
    found = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        check_known("KPI", [name.partition(".")[0]], CATALOGUE.by_id)
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = -1.0
        if not 0 <= found[name] < math.inf:
            raise InputError(f"--tolerance-of {pair}: write it as KPI=0.01 or KPI.STAT=0.01")
    return found


def differences_table(comparison: Comparison, limit: int) -> Table:
    """What differs, as a table of at most ``limit`` rows."""
    found = comparison.differences
    several = any(difference.key[0] for difference in found)
    columns = [Column("at")] if several else []
    table = Table(
        *columns, "kpi", "stat", "window", "labels",
        Column(f"A: {Path(comparison.left.name).name}", justify="right"),
        Column(f"B: {Path(comparison.right.name).name}", justify="right"),
        Column("B - A", justify="right"),
        caption=f"the first {limit:,} of {len(found):,}" if len(found) > limit else None,
    )  # fmt: skip
    for difference in islice(found, limit):
        at, kpi, stat, window, labels = difference.key
        shown = ", ".join(f"{name}={value}" for name, value in labels)
        cells = [
            kpi,
            stat,
            window,
            shown,
            _number(difference.left),
            _number(difference.right),
            _change(difference),
        ]
        table.add_row(*(Text(cell) for cell in ([at, *cells] if several else cells)))
    return table


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:,.10g}"


def _change(difference: Difference) -> str:
    if difference.left is None or difference.right is None:
        return ""
    return f"{difference.right - difference.left:+,.6g}"
