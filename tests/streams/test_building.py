"""Restored entities are added up by several processes: the panes are those of one, and a lost process is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import CODES, LeafIndex
from salesgauge.metrics.shard.samples import samples
from salesgauge.metrics.shard.shard import Shard, admit
from salesgauge.streams.simulation.history import Organisation, history
from salesgauge.streams.worker import building
from salesgauge.streams.worker.building import BuildError, Builders

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=6)
NOW = round(END.timestamp() * 1000)
RULES = Rules()


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr(building, "_WORTHWHILE", 50)
    monkeypatch.setattr(building, "_LENT", 40)
    monkeypatch.setattr(building, "_HELD", 100)
    monkeypatch.setattr(building, "_OWN_STEP", 3)


@pytest.fixture(scope="module")
def items():
    past = history(Organisation(seed=4, leads_per_day=60), START, END)
    admitted = [admit(event, RULES, NOW) for event in past]
    return [item for item in admitted if isinstance(item, Message)]


def shard():
    made = Shard(RULES, LeafIndex())
    made.advance(NOW)
    return made


def complete(builders, restored):
    while not builders.step(restored):
        pass


def named(panes):
    """What panes hold, by the names of the leaves."""

    def cells(found):
        return {(panes.leaves.leaves[cell // CODES], cell % CODES): amount for cell, amount in found.items()}

    fine, coarse, base, roster, ahead, kept = panes.held
    exact = {
        (panes.leaves.leaves[sample.leaf], sample.minute, sample.value): sample.number
        for hour, found in kept.items()
        for sample in samples(hour, found)
    }
    by_time = [{at: cells(found) for at, found in store.items()} for store in (fine, coarse, ahead)]
    by_instant = {at: cells(found) for hour in roster.values() for at, found in hour.items()}
    return by_time, cells(base), by_instant, exact


def test_the_panes_are_those_of_one_process_whatever_happens_meanwhile(items):
    before, after = items[: len(items) * 2 // 3], items[len(items) // 2 :]
    first, whole = shard(), shard()
    first.apply(before)
    whole.apply(items)
    restored = shard()
    for address, state in first.states.items():
        restored.restore(address, state)
    builders = Builders(RULES, 2)
    try:
        assert not builders.step(restored)
        restored.apply(after)
        complete(builders, restored)
    finally:
        builders.close()
    assert dict(restored.states) == dict(whole.states)
    assert named(restored.panes) == named(whole.panes)


def test_shards_are_completed_one_after_the_other_and_one_given_up_holds_none_back(items):
    whole, shards = shard(), [shard() for _ in range(3)]
    whole.apply(items)
    for each in shards:
        for address, state in whole.states.items():
            each.restore(address, state)
    first, second, third = shards
    builders = Builders(RULES, 2)
    try:
        assert not any(builders.step(each) for each in shards)
        left = second.unbuilt
        assert first.unbuilt < left
        builders.forget(first)
        complete(builders, second)
        assert third.unbuilt == left
        complete(builders, third)
    finally:
        builders.close()
    assert named(second.panes) == named(third.panes) == named(whole.panes)


def test_a_process_that_is_ended_is_told(items):
    first, restored = shard(), shard()
    first.apply(items)
    for address, state in first.states.items():
        restored.restore(address, state)
    builders = Builders(RULES, 1)
    try:
        builders.step(restored)
        [mate] = builders._mates
        mate.process.kill()
        mate.process.join()
        with pytest.raises(BuildError, match="memory"):
            complete(builders, restored)
    finally:
        builders.close()
