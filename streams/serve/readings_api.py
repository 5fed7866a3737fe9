"""``/api/kpis``: the readings, or some of them, as JSON or CSV."""

from __future__ import annotations

import csv
import difflib
import io
import json
from typing import TYPE_CHECKING

from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.streams.io.readings_json import reading_fields, readings_document
from salesgauge.streams.serve.board import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from salesgauge.metrics.kpis.readings import Reading, View

PARAMETERS = ("kpi", "window", "format")


def readings_answer(view: View, query: Mapping[str, str], events: int, rejected: int) -> Answer:
    """Answer a query with ``kpi`` and ``window`` (one or several, with commas) and ``format`` (``json`` or ``csv``).

    Args:
        view: its sums are up to date and advanced to the present.
        query: the parameters; none at all: everything.
        events: applied in all.
        rejected: in the dead letters.
    """
    unknown = [name for name in query if name not in PARAMETERS]
    if unknown:
        return _refused(400, f"there is no parameter {unknown[0]!r}; there are {', '.join(PARAMETERS)}")
    ids, windows = _list(query.get("kpi", "")), _list(query.get("window", ""))
    for name in ids:
        if name not in view.catalogue.by_id:
            near = difflib.get_close_matches(name, view.catalogue.by_id, 1)
            return _refused(404, f"there is no KPI {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    for name in windows:
        if name not in WINDOWS:
            return _refused(400, f"there is no window {name!r}; there are {', '.join(WINDOWS)}")
    if query.get("format", "json") not in {"json", "csv"}:
        return _refused(400, f"format is {query['format']!r}; write json or csv")
    kpis = view.catalogue.select(ids) if ids else None
    readings = view.readings(kpis, frozenset(windows) or None)
    if query.get("format") == "csv":
        return _table(readings)
    document = readings_document(view.sums.now, events, rejected, readings, view.not_connected(kpis))
    return Answer(200, json.dumps(document).encode())


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _table(readings: Iterable[Reading]) -> Answer:
    """One row for each reading, with a column for each dimension."""
    rows = [reading_fields(reading) for reading in readings]
    dims = sorted({dim for row in rows for dim in row["labels"]})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("kpi", "window", "stat", *dims, "value", "numerator", "denominator"))
    for row in rows:
        labels = (row["labels"].get(dim, "") for dim in dims)
        parts = (row.get("numerator", ""), row.get("denominator", ""))
        writer.writerow((row["kpi"], row["window"], row["stat"], *labels, row["value"], *parts))
    return Answer(200, text.getvalue().encode(), "text/csv", "salesgauge-kpis.csv")


def _refused(status: int, error: str) -> Answer:
    return Answer(status, json.dumps({"error": error}).encode())
