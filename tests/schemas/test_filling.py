"""How often optional fields are filled, by kind of event and source system."""

from __future__ import annotations

import json
from typing import Any

from salesgauge.schemas.codec import decode, read_batch
from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.filling import MOST_SOURCES, OPTIONAL, OTHER, UNKNOWN, Filling
from tests.streams.test_worker import Pair


def lead(number: int, **fields: Any) -> bytes:
    at = "2026-01-01T00:00:00Z"
    event = {"event": "lead_created", "event_id": f"e{number}", "lead_id": f"l{number}", "occurred_at": at}
    return json.dumps(event | fields).encode()


def test_fields_that_may_be_empty_have_no_default() -> None:
    assert OPTIONAL.keys() == EVENTS.keys()
    assert {"source", "campaign_id", "rep_id"} <= set(OPTIONAL["lead_created"])
    assert "lines" in OPTIONAL["deal_won"]
    assert not {"schema_version", "source_system", "event_id", "automated"} & set(OPTIONAL["activity_logged"])


def test_both_readers_count_the_same() -> None:
    payloads = [lead(1, source="web", team=" north "), lead(2, source="web", source_system="crm"), lead(3, source=None)]
    models = [model for payload in payloads if isinstance(model := decode(payload), EventBase)]
    fast, slow = Filling(), Filling()
    for event, model in zip(read_batch(payloads), models, strict=True):
        fast.add(event)  # type: ignore[arg-type]
        slow.add(model)
    counted = list(fast.take())
    assert counted == list(slow.take())
    assert [(one.source_system, one.events, one.fields["source"]) for one in counted] == [
        ("crm", 1, 1),
        (UNKNOWN, 2, 1),
    ]
    assert list(fast.take()) == []


def test_source_systems_are_bounded() -> None:
    filling = Filling()
    for number in range(MOST_SOURCES + 5):
        filling.add(read_batch([lead(number, source_system=f"s{number}")])[0])  # type: ignore[arg-type]
    counted = {one.source_system: one.events for one in filling.take()}
    assert len(counted) == MOST_SOURCES + 1
    assert counted[OTHER] == 5


def test_a_worker_shows_them_also_those_that_are_never_filled() -> None:
    pair = Pair()
    for number in range(3):
        fields = {"source": "web"} if number else {}
        pair.give(
            0, event="lead_created", event_id=f"e{number}", lead_id="l", source_system="ann@example.org", **fields
        )
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for metric in pair.worker.metrics.registry.collect()
        for sample in metric.samples
    }
    assert found["salesgauge_source_events_total", "lead_created", "redacted"] == 3
    assert found["salesgauge_fields_filled_total", "lead_created", "redacted", "source"] == 2
    assert found["salesgauge_fields_filled_total", "campaign_id", "lead_created", "redacted"] == 0
