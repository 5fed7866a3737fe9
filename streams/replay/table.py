"""Readings as a table for people: one row per number, one column per window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Column, Table
from rich.text import Text

from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.streams.io.instants import iso

if TYPE_CHECKING:
    from salesgauge.streams.replay.virtual_clock import Evaluation

_DAY = 86_400
_HOUR = 3_600
_MINUTE = 60
_PLAIN_BELOW = 1e15


_WIDE = 150
_FEW = ("24h", "7d", "30d", "mtd", "all")


def readings_table(snapshot: Evaluation, width: int, *, breakdowns: bool) -> Table:
    """All readings of an instant; those with labels only where ``breakdowns``.

    Fewer windows on less than 150 columns, unless few were asked for.
    """
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for reading in snapshot.readings:
        if reading.labels and not breakdowns:
            continue
        labels = ", ".join(f"{name}={value}" for name, value in reading.labels.items())
        rows.setdefault((reading.kpi, reading.stat, labels), {})[reading.window] = reading.value
    windows = [name for name in WINDOWS if any(name in row for row in rows.values())]
    if width < _WIDE and len(windows) > len(_FEW):
        windows = [name for name in windows if name in _FEW]
    labelled = [Column("labels")] if breakdowns else []
    title = f"{iso(snapshot.at)} · {snapshot.events:,} events"
    columns = (Column("kpi", no_wrap=True), *labelled, *(Column(w, justify="right") for w in windows))
    table = Table(*columns, title=title, min_width=len(title))
    for (kpi, stat, labels), row in rows.items():
        name = kpi if stat == "value" else f"{kpi} {stat}"
        shown = [_number(kpi, stat, row[window]) if window in row else "" for window in windows]
        table.add_row(Text(name), *([Text(labels)] if breakdowns else []), *shown)
    return table


def _number(kpi: str, stat: str, value: float) -> str:
    if kpi.endswith("_seconds") and stat not in ("count", "sum"):
        return duration(value)
    if value == int(value) and abs(value) < _PLAIN_BELOW:
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"


def duration(seconds: float) -> str:
    """A length of time for people."""
    if seconds >= _DAY:
        return f"{seconds / _DAY:.1f} d"
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _MINUTE:.1f} min" if seconds >= _MINUTE else f"{seconds:.0f} s"
