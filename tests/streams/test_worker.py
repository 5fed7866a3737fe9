"""What a worker publishes when: everything at first and once more soon, then what changes, and all else in turn."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from salesgauge.streams.settings.model import Kafka, Settings
from salesgauge.streams.worker import Record
from salesgauge.streams.worker.shards import Worker

NOW = round(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1000)
SETTINGS = Settings(kafka=Kafka(partitions=1))
SECOND, MINUTE = 1000, 60_000


class Owner:
    """A worker that owns the only partition, and the hands of its clock."""

    def __init__(self):
        self.now = NOW
        self.worker = Worker(SETTINGS, lambda: self.now)
        self.worker.taken(0, 1)
        self.worker.assigned(frozenset({0}))
        self.offset = 0

    def leads(self, *names, hours_ago=0):
        records = []
        for name in names:
            at = datetime.fromtimestamp(self.now / 1000 - hours_ago * 3600 - 1, UTC).isoformat()
            event = {"event": "lead_created", "event_id": name, "occurred_at": at, "lead_id": name}
            record = Record("crm.lead-created", 0, self.offset, self.now, name.encode(), json.dumps(event).encode())
            records.append(record)
            self.offset += 1
        self.worker.apply(0, records)

    def published(self):
        """The kinds of records that are due now, with the panes' indices."""
        publication = self.worker.due(0)
        return [] if publication is None else [key.decode().partition("/")[2] for key, _ in publication.records]


def test_the_first_publication_is_whole_and_is_confirmed_once():
    owner = Owner()
    owner.leads("a", hours_ago=5)
    first = owner.published()
    assert first[0] == "claim"
    assert first[-1] == "commit"
    owner.now += 14 * SECOND
    assert owner.published() == ["commit"]
    owner.now += 2 * SECOND
    assert set(owner.published()) >= set(first)
    owner.now += 16 * SECOND
    assert owner.published() == ["commit"]


def test_what_changes_is_published_alone_and_at_once():
    owner = Owner()
    owner.leads("a", hours_ago=5)
    owner.published()
    assert owner.published() == []
    owner.leads("b")
    changed = owner.published()
    assert "claim" not in changed
    assert {key.partition("/")[0] for key in changed} == {"fine", "coarse", "roster", "commit"}
    assert len(changed) == 4


def test_every_pane_is_published_again_within_half_an_hour_a_few_at_a_time():
    owner = Owner()
    for hours in range(200):
        owner.leads(f"lead-{hours}", hours_ago=hours)
    panes = {*owner.published()} - {"claim", "commit"}
    owner.now += 16 * SECOND
    owner.published()
    seen, most = set(), 0
    for _ in range(31 * 6):
        owner.now += 10 * SECOND
        some = {*owner.published()} - {"commit"}
        assert "claim" not in some
        seen |= some
        most = max(most, len(some))
    assert panes <= seen
    assert most < len(panes) / 20
