"""A KPI is a function of the set of events: in any order, repeated, poisoned, with workers that come and are killed.

Real worker processes on a real broker; the exporter's readings are compared with one machine that is fed the same
events at once, the states in the changelog byte for byte, and the dead letters with the poison, offset by offset.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from salesgauge.schemas.codec import encode
from salesgauge.schemas.events import LeadCreated
from salesgauge.schemas.values import MAX_EVENT_BYTES
from salesgauge.streams.simulation.history import disturb
from tests.support.live import Live, Message, Oracle, check, messages, slices, some_events

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROUNDS = (1,)
NIGHTLY_ROUNDS = (2, *range(100, 249))
LARGE = 10 * 1024 * 1024


def poison(events: list[EventBase], rng: random.Random, count: int) -> list[Message]:
    """Messages that must become dead letters, each with its reason."""
    made: list[Message] = []
    while len(made) < count:
        event = rng.choice(events)
        whole = encode(event)
        for value, reason in (
            (b"\xff\xfe no JSON at all", "not_json"),
            (whole[: len(whole) // 2], "not_json"),
            (whole + b"," + whole, "not_json"),
            (b"[" + whole + b"]", "not_an_object"),
            (b'"a string"', "not_an_object"),
            (b'{"event":"lead_vanished","event_id":"x"}', "unknown_event"),
            (whole.replace(b'"occurred_at":"', b'"occurred_at":"last '), "invalid"),
            (ahead(), "future"),
            (None, "empty"),
            (b"", "empty"),
            (whole[:-1] + b',"note":"' + b"x" * MAX_EVENT_BYTES + b'"}', "too_large"),
        ):
            made.append(Message(event.topic, event.key, value, reason))
    return made[:count]


def ahead() -> bytes:
    """An event of next week."""
    when = datetime.now(UTC) + timedelta(days=7)
    event = LeadCreated(event_id=f"ahead-{random.random()}", source_system="test", lead_id="ahead", occurred_at=when)
    return encode(event)


def scattered(items: list[Message], among: list[Message], rng: random.Random) -> list[Message]:
    """Items put among others at random places."""
    mixed = list(among)
    for item in items:
        mixed.insert(rng.randrange(len(mixed) + 1), item)
    return mixed


def chaos(live: Live, parts: list[list[Message]], rng: random.Random, *, killing: float) -> int:
    """Publish part by part while 1, then 3, then 2 workers run and are killed; returns how many were."""
    killed = 0
    for number, part in enumerate(parts):
        progress = number / len(parts)
        wanted = 1 if progress < 0.25 else 3 if progress < 0.65 else 2
        live.scale(wanted)
        live.publish(part)
        time.sleep(rng.uniform(0.1, 1.2))
        if rng.random() < killing:
            live.kill(rng)
            killed += 1
    return killed


def run_round(live: Live, seed: int, parts: int = 12) -> None:
    """One round: everything that can come is disturbed, everything that can die is killed."""
    rng = random.Random(seed)
    events = some_events(seed)
    disturbed = list(disturb(messages(events), seed=seed))
    bad = poison(events, rng, len(events) // 100)
    live.allow(bad[0].topic, 2 * LARGE)
    bad[0] = bad[0]._replace(value=b"x" * LARGE, reason="too_large")
    with live.exporter() as exporter:
        live.worker()
        killed = chaos(live, slices(scattered(bad, disturbed, rng), parts), rng, killing=0.5)
        live.scale(2)
        check(live, Oracle(events, live.settings), exporter)
    assert killed, "nobody was killed: the round showed nothing"


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_gauges_are_the_oracles_whatever_happens_to_the_workers(live: Live, seed: int) -> None:
    """Shuffled, 5 % twice, 1 % poison, 1 -> 3 -> 2 workers, kill -9 in between."""
    run_round(live, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", NIGHTLY_ROUNDS)
def test_hundreds_of_rounds(live: Live, seed: int) -> None:
    """The same, night after night."""
    run_round(live, seed, parts=random.Random(seed).choice((6, 12, 25)))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", NIGHTLY_ROUNDS[:50])
def test_workers_are_killed_over_a_backlog(live: Live, seed: int) -> None:
    """Everything is there before the first worker is: topics are read at one pace, and records are held back."""
    rng = random.Random(seed)
    events = some_events(seed, days=60)
    for part in slices(list(disturb(messages(events), seed=seed)), 10):
        live.publish(part)
    with live.exporter() as exporter:
        live.worker()
        live.until_shared()
        for _ in range(4):
            live.worker()
            time.sleep(rng.uniform(0.1, 1.2))
            live.kill(rng)
        live.scale(2)
        check(live, Oracle(events, live.settings), exporter)
