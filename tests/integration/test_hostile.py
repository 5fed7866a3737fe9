"""Thousands of odd payloads through real workers: each counts rightly or is a dead letter; none ends a worker."""

from __future__ import annotations

import logging
import random
import re
from typing import TYPE_CHECKING

import pytest

from salesgauge.metrics.shard.shard import admit
from salesgauge.schemas.codec import Rejection, decode
from salesgauge.schemas.events import EVENTS, topic_of
from salesgauge.streams.io.instants import wall_clock
from tests.support.live import Live, Message, Oracle, assert_dead_letters, slices, until_exact
from tests.support.payloads import Payloads

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200)]


@pytest.mark.parametrize(
    ("seed", "count"), [(21, 900), pytest.param(None, 10_000, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])]
)
def test_hostile_payloads_end_no_worker(live: Live, seed: int | None, count: int) -> None:
    """The nightly ones are others every night."""
    seed = random.SystemRandom().randrange(10**9) if seed is None else seed
    logging.getLogger(__name__).warning("seed %d", seed)  # pytest shows it with a failure
    events: list[EventBase] = []
    messages: list[Message] = []
    for number, payload in enumerate(Payloads(seed, 0.985).payloads(count)):
        topic = topic_of(list(EVENTS)[number % len(EVENTS)])
        event = decode(payload)
        if isinstance(event, Rejection):
            messages.append(Message(topic, None, payload, event.reason.value))
        elif re.fullmatch(r"e\d+", event.event_id):  # one id about two things is its producer's error
            refusal = admit(event, live.settings.rules, wall_clock())
            reason = refusal.reason.value if isinstance(refusal, Rejection) else None
            messages.append(Message(topic, event.key, payload, reason))
            if reason is None:
                events.append(event)
    assert len(events) > count / 4
    assert sum(message.reason is not None for message in messages) > count / 6
    with live.exporter() as exporter:
        live.scale(2)
        live.until_shared()
        for part in slices(messages, 5):
            live.publish(part)
        live.until_drained(90 + count / 20)
        until_exact(exporter.board, Oracle(events, live.settings), 60)
        assert_dead_letters(live)
        assert len(live.running) == 2, [worker.tail() for worker in live.workers]
