"""A bulk load comes to what the engine comes to batch by batch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.metrics import entities
from salesgauge.metrics.engine import Machine
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.routes import home_key
from salesgauge.metrics.entities.state import State
from salesgauge.metrics.shard.bulk import BulkLoad
from salesgauge.metrics.shard.partials import absorb, export
from tests.properties.test_engine import BRIEF, RULES, admit_one, contents, disturbed, machine, numbers, total
from tests.support.stories import created
from tests.support.worlds import NOW, worlds

if TYPE_CHECKING:
    import random

    from salesgauge.metrics.rules.model import Rules
    from salesgauge.metrics.shard.bulk import Told
    from salesgauge.schemas.events import EventBase


@given(
    events=worlds(),
    rng=st.randoms(use_true_random=False),
    rules=st.sampled_from([RULES, BRIEF]),
    held=st.sampled_from([0, 3, 1000]),
)
def test_a_bulk_load_equals_the_running_engine(
    events: list[EventBase], rng: random.Random, rules: Rules, held: int
) -> None:
    plain = machine(events, rules=rules)
    loaded = Machine(rules)
    loaded.advance(NOW)
    bulk = BulkLoad(loaded.shard, held)
    counts = [bulk.add([admit_one(event, rules) for event in batch]).distinct for batch in disturbed(events, rng)]
    assert bulk.finish() == []
    assert sum(counts) + len(loaded.shard.identities) == plain.events
    assert total(loaded.shard) == total(plain.shard)
    assert contents(loaded.shard.panes) == contents(plain.shard.panes)
    if not plain.shard.identities.merges:  # else keys keep copies of what they were told before they were merged
        assert dict(loaded.shard.states) == dict(plain.shard.states)


@given(events=worlds(), rng=st.randoms(use_true_random=False))
def test_a_machine_loads_and_then_goes_on(events: list[EventBase], rng: random.Random) -> None:
    batches = disturbed(events, rng)
    some = rng.randrange(len(batches) + 1)
    loaded = Machine(RULES)
    loaded.advance(NOW)
    for batch in batches[:some]:
        assert not any(loaded.load(batch))
    assert loaded.finish() == []
    for batch in batches[some:]:
        loaded.apply(batch)
    plain = machine(events)
    loaded.readings()
    plain.readings()
    assert loaded.events == plain.events
    assert numbers(loaded.view) == numbers(plain.view)


def test_an_entity_that_cannot_be_computed_adds_nothing_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    contributions = entities.contributions

    def poisonous(state: State, who: Survivors, rules: Rules) -> Contributions:
        if state.address == "lead/b":
            raise ArithmeticError("poison")
        return contributions(state, who, rules)

    monkeypatch.setattr(entities, "contributions", poisonous)
    loaded = Machine(RULES)
    loaded.advance(NOW)
    assert loaded.load([created(lead) for lead in "abc"]) == [None] * 3
    (failure,) = loaded.finish()
    assert "poison" in failure.detail
    (leads,) = [r.value for r in loaded.readings() if (r.kpi, r.window, *r.labels) == ("new_leads", "all")]
    assert leads == 2


def test_a_bulk_load_is_for_an_empty_shard() -> None:
    with pytest.raises(ValueError, match="empty shard"):
        BulkLoad(machine([created("a")]).shard)


class Post:
    """Carries what entities tell each other between shards that are loaded side by side."""

    def __init__(self, count: int) -> None:
        self._all_there = threading.Barrier(count)
        self._told: list[Told] = [{} for _ in range(count)]

    def exchange(self, number: int, told: Told) -> Told | None:
        self._told[number] = told
        self._all_there.wait()
        count = len(self._told)
        here: Told = {}
        for address, items in ((a, items) for told in self._told for a, items in told.items()):
            if home(address, count) == number:
                here.setdefault(address, []).extend(items)
        anything = any(self._told)
        self._all_there.wait()
        return here if anything else None


def home(address: str, count: int) -> int:
    return crc32(home_key(address).encode()) % count


@given(events=worlds(), rules=st.sampled_from([RULES, BRIEF]), count=st.integers(1, 3))
def test_shards_loaded_apart_add_up_to_the_whole(events: list[EventBase], rules: Rules, count: int) -> None:
    items = [admit_one(event, rules) for event in events]
    post = Post(count)

    def load(number: int) -> Machine:
        part = Machine(rules)
        part.advance(NOW)
        bulk = BulkLoad(part.shard)
        bulk.add([item for item in items if item.is_merge or home(item.to, count) == number])
        assert bulk.finish(partial(post.exchange, number)) == []  # every part was given all merges
        return part

    with ThreadPoolExecutor(count) as pool:
        parts = list(pool.map(load, range(count)))
    whole, merged = machine(events, rules=rules), Machine(rules)
    merged.advance(NOW)
    for part in parts:
        absorb(merged.shard.panes, export(part.shard.panes))
    if not whole.shard.identities.merges:
        assert {a: s for part in parts for a, s in part.shard.states.items()} == dict(whole.shard.states)
    whole.readings()
    merged.readings()
    assert numbers(merged.view) == numbers(whole.view)
