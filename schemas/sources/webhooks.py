"""Payloads of webhooks to events by the shipped sources, without a memory that outlives the call.

For a look at what a payload comes to; `salesgauge ingest` does the same with Kafka around it.
"""

from __future__ import annotations

from collections.abc import Sequence

from salesgauge.schemas.codec import Reason, Rejection
from salesgauge.schemas.events import EventBase
from salesgauge.schemas.sources.live import Derived, Deriver
from salesgauge.schemas.sources.objects import RawRecord
from salesgauge.schemas.sources.source import shipped_source, shipped_sources

SOURCES: tuple[str, ...] = tuple(shipped_sources())
"""The systems whose payloads are known."""


def to_events(source: str, payload: object) -> list[EventBase | Rejection]:
    """The events that payloads tell of together, and why others tell of none.

    Args:
        source: one of :data:`SOURCES`.
        payload: a decoded JSON body, or a list of bodies in the order of their arrival.

    Raises:
        ValueError: the source is not known.
    """
    if source not in SOURCES:
        raise ValueError(f"no webhooks of '{source}' are known; known are {', '.join(SOURCES)}")
    bodies: Sequence[object] = payload if isinstance(payload, list) else [payload]
    deriver = Deriver(shipped_source(source))
    try:
        return _flat(deriver.derive(RawRecord(body, at=number) for number, body in enumerate(bodies)))
    finally:
        deriver.close()


def _flat(derived: Derived) -> list[EventBase | Rejection]:
    refused = [Rejection(_reason(one.reason), one.detail) for one in derived.rejected]
    unusable = [Rejection(Reason.UNKNOWN_EVENT, f"{one.reason}: {one.detail}") for one in derived.unusable]
    return [*derived.events, *refused, *unusable]


def _reason(text: str) -> Reason:
    try:
        return Reason(text)
    except ValueError:
        return Reason.INVALID
