"""What a worker publishes when: everything at first and once more soon, then what changes, and all else in turn."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest

from salesgauge.metrics.entities.state import StateFormatError
from salesgauge.metrics.rules.model import Rules
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


# --- identities, old states, what is to be skipped


class Pair:
    """Two partitions of one worker, with the topics between them."""

    def __init__(self, **settings):
        self.settings = Settings(kafka=Kafka(partitions=2), **settings)
        self.worker = Worker(self.settings, lambda: NOW)
        for partition in (0, 1):
            self.worker.taken(partition, 1)
        self.worker.assigned(frozenset({0, 1}))
        self.log, self.dead = [], []

    def give(self, partition, **fields):
        at = datetime.fromtimestamp(NOW / 1000 - 60, UTC).isoformat()
        value = json.dumps({"occurred_at": at, **fields}).encode()
        self.carry(self.worker.apply(partition, [Record("crm.any", partition, 0, NOW, None, value)]))

    def carry(self, output):
        for send in output.sends:
            if send.topic == self.settings.identity_topic:
                assert send.partition == 0
                self.log.append(send.value)
                for partition in (0, 1):
                    known, _ = self.worker.position(partition, [])
                    self.carry(self.worker.learn(partition, self.log[known:], len(self.log)))
            elif send.topic == self.settings.rekey_topic:
                record = Record(send.topic, send.partition, 0, NOW, send.key, send.value)
                assert self.worker.position(send.partition, [record])[1] <= len(self.log)
                self.carry(self.worker.apply(send.partition, [record]))
            else:
                self.dead.append(dict(send.headers))

    def leads(self):
        rows = [row for shard in self.worker.shards.values() for row in shard.contributions()]
        return sum(amount for measure, _, _, _, amount in rows if measure.name == "leads_created")


def test_merges_travel_by_the_identity_log_and_leads_over_partitions_become_one():
    pair = Pair()
    for number in range(6):  # in either partition, whatever their home is
        pair.give(number % 2, event="lead_created", event_id=f"c{number}", lead_id=f"l{number}")
    assert pair.leads() == 6
    for number in range(5):
        pair.give(0, event="lead_merged", event_id=f"m{number}", lead_id=f"l{number}", survivor_id=f"l{number + 1}")
    assert len(pair.log) == 5
    assert pair.leads() == 1
    pair.give(
        1, event="lead_merged", event_id="m2", lead_id="l2", survivor_id="l2",
        recorded_at=datetime.fromtimestamp(NOW / 1000, UTC).isoformat(),
    )  # fmt: skip
    assert pair.leads() == 2
    assert not pair.dead


def test_a_changelog_of_another_format_is_refused_with_the_advice_to_rebuild():
    owner = Owner()
    first_generation = msgspec.msgpack.encode([[1, 12345, NOW, 0, "web"]])
    with pytest.raises(StateFormatError, match="salesgauge rebuild"):
        owner.worker.restore(0, [(b"owner/lead/a", first_generation)])


def test_an_operator_can_skip_an_event_or_an_entity():
    pair = Pair(rules=Rules(skip=frozenset({"bad-event", "lead/bad-lead"})))
    pair.give(0, event="lead_created", event_id="bad-event", lead_id="a")
    pair.give(0, event="lead_created", event_id="fine", lead_id="bad-lead")
    pair.give(0, event="lead_created", event_id="good", lead_id="b")
    assert pair.leads() == 1
    assert [letter["reason"] for letter in pair.dead] == [b"skipped"] * 2
