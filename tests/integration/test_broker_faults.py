"""Brokers and topics are disturbed, one way at a time, under the eyes of `watched`; see test_faults.py for workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from kafka.admin import NewPartitions

from salesgauge.schemas.events import ActivityLogged, LeadCreated, topic_of
from salesgauge.streams.kafka import topics
from tests.support.live import Flow, Live, disturbed, messages, slices, some_events, watched
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from salesgauge.schemas.events import EventBase

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

# --- brokers


def test_a_broker_restarts(own_kafka: Callable[..., Any], events: list[EventBase], tmp_path: Path) -> None:
    """In order, then by kill -9, while workers are at work: they wait and go on."""
    kafka = own_kafka()
    with Live(kafka.bootstrap, tmp_path) as live, watched(live, events):
        live.scale(2)
        live.until_shared()
        parts = disturbed(events)
        with Flow(live, parts[:20], pause=0.05):
            kafka.restart(1)
        with Flow(live, parts[20:], pause=0.05):
            time.sleep(0.5)
            kafka.kill(1)
            time.sleep(0.5)
            kafka.restart(1)
        live.until_drained(60)
        assert len(live.running) == 2, [worker.tail() for worker in live.workers]


def test_leaders_change(own_kafka: Callable[..., Any], events: list[EventBase], tmp_path: Path) -> None:
    """Three brokers, three replicas; one broker after the other is killed and comes back."""
    kafka = own_kafka(brokers=3)
    with Live(kafka.bootstrap, tmp_path, replication=3, session_seconds=6.0) as live, watched(live, events):
        live.scale(2)
        live.until_shared()
        parts = disturbed(events)
        for node, some in zip(kafka.nodes, (parts[:20], parts[20:40], parts[40:]), strict=True):
            with Flow(live, some, pause=0.05):
                kafka.kill(node)
                time.sleep(2)
                kafka.restart(node)
        live.until_drained(60)
        assert len(live.running) == 2, [worker.tail() for worker in live.workers]


# --- topics


def test_a_flood_of_one_key(embedded: Live) -> None:
    """20 000 events of one lead: they all count, and the worker keeps up."""
    first = next(event for event in some_events(1, days=3) if isinstance(event, LeadCreated))
    at = first.occurred_at
    flood: list[EventBase] = [first]
    flood += (
        ActivityLogged(
            event_id=f"flood-{number}",
            source_system="test",
            lead_id=first.lead_id,
            occurred_at=at,
            rep_id=f"rep-{number % 3}",
            kind="call",
        )
        for number in range(20_000)
    )
    with watched(embedded, flood):
        embedded.scale(1)
        embedded.until_shared()
        for part in slices(messages(flood), 4):
            embedded.publish(part)
        embedded.until_drained(90)


def test_a_topic_is_made_anew(apache_kafka: Any, events: list[EventBase], tmp_path: Path) -> None:
    """Deleted with its offsets while workers run, and created again: old events stay counted, new ones come in."""
    topic = topic_of("activity_logged")
    before = [event for index, event in enumerate(events) if index % 3]
    after = [event for index, event in enumerate(events) if not index % 3]
    with Live(apache_kafka.bootstrap, tmp_path) as live, watched(live, events):
        live.scale(2)
        live.until_shared()
        live.publish(messages(before))
        live.until_drained()
        live.admin.delete_topics([topic])
        until(lambda: topic not in live.admin.list_topics(), 20, "the topic is gone")
        for place in [place for place in live.ends if place.topic == topic]:
            del live.ends[place]
        topics.create(live.settings)
        until(lambda: not topics.check(live.settings), 20, "the topic is there again")
        live.publish(messages(after))


def test_partitions_are_added(apache_kafka: Any, events: list[EventBase], tmp_path: Path) -> None:
    """Event topics grow from 4 to 6 partitions while workers run: keys move, their records find their home."""
    grown = [topic_of("activity_logged"), topic_of("lead_created")]
    parts = disturbed(events)
    with Live(apache_kafka.bootstrap, tmp_path) as live, watched(live, events):
        live.scale(2)
        live.until_shared()
        with Flow(live, parts[:20]):
            pass
        live.admin.create_partitions(dict.fromkeys(grown, NewPartitions(6)))
        counted = live.producer.partitions_for
        until(lambda: all(len(counted(topic)) == 6 for topic in grown), 20, "the partitions are there")
        live.publish_widely(parts[20:40], grown, 6)
        live.worker()  # whoever joins makes the group look at the topics anew
        live.until_shared()
        live.publish_widely(parts[40:], grown, 6)
