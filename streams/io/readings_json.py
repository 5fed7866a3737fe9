"""Readings as JSON documents: what ``replay --json`` prints and ``/api/kpis`` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from salesgauge.streams.io.instants import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from salesgauge.metrics.kpis.readings import Reading


def readings_document(
    at: int, events: int, rejected: int, readings: Iterable[Reading], not_connected: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """``{"at", "events", "rejected", "not_connected": {...}, "readings": [...]}``; ``at`` in ms.

    ``not_connected`` has the KPIs that cannot have a value, with the events that never came: ``a|b`` is one of the two.
    A reading has ``kpi``, ``window``, ``labels``, ``value`` and ``stat``, a
    quotient also ``numerator`` and ``denominator``.
    """
    return {
        "at": iso(at),
        "events": events,
        "rejected": rejected,
        "not_connected": {kpi: list(missing) for kpi, missing in not_connected.items()},
        "readings": [reading_fields(reading) for reading in readings],
    }


def reading_fields(reading: Reading) -> dict[str, Any]:
    """One reading."""
    fields: dict[str, Any] = {
        "kpi": reading.kpi,
        "window": reading.window,
        "labels": dict(reading.labels),
        "value": reading.value,
        "stat": reading.stat,
    }
    if reading.numerator is not None:
        fields["numerator"] = reading.numerator
        fields["denominator"] = reading.denominator
    return fields


def encode(fields: object) -> bytes:
    """Compact JSON."""
    return msgspec.json.encode(fields)
