"""Whatever kinds of events there are: their order, repetition and batches change nothing, and no later stage fails."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import Rejection, decode, encode
from salesgauge.schemas.events import EVENTS, EventBase
from tests.support.hostile import DAYS, START, EveryKind

NOW = int((START + timedelta(days=DAYS)).timestamp() * 1000)


def machine(events: list[EventBase], rng: random.Random) -> Machine:
    found = Machine(Rules())
    found.advance(NOW)
    rest = list(events)
    while rest:
        size = rng.choice((1, 5, 100))
        refusals = [refusal for refusal in found.apply(rest[:size]) if refusal is not None]
        assert not refusals
        del rest[:size]
    return found


def readings(found: Machine) -> dict[tuple[str, str, str, tuple[tuple[str, str], ...]], float | None]:
    return {(r.kpi, r.stat, r.window, tuple(sorted(r.labels.items()))): r.value for r in found.readings()}


@pytest.mark.parametrize("seed", range(6))
def test_order_and_repetition_change_nothing(seed: int) -> None:
    events = EveryKind(seed).events(40 * len(EVENTS) // 4)
    assert {event.name for event in events} == EVENTS.keys()
    rng = random.Random(seed)
    straight = machine(sorted(events, key=lambda event: event.occurred_at), rng)
    shuffled = events + rng.sample(events, len(events) // 10)
    rng.shuffle(shuffled)
    disturbed = machine(shuffled, rng)
    assert readings(disturbed) == readings(straight)
    assert disturbed.events == straight.events


@pytest.mark.parametrize("name", EVENTS)
def test_every_kind_survives_its_encoding(name: str) -> None:
    for event in EveryKind(1, kinds=[name]).events(30):
        again = decode(encode(event))
        assert not isinstance(again, Rejection)
        assert again == event
