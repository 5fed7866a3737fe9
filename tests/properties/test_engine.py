"""A KPI is a function of the set of events: order, repetition, batching, crashes and partitions change nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.entities.contributions import Key, totals
from salesgauge.metrics.entities.facts import Merge
from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.readings import View
from salesgauge.metrics.rules.model import Rules, StageRule
from salesgauge.metrics.shard.leaves import CODES, LeafIndex
from salesgauge.metrics.shard.panes import Panes, Resolution
from salesgauge.metrics.shard.partials import absorb, export
from salesgauge.metrics.shard.samples import samples
from salesgauge.metrics.shard.shard import LentPanes, Shard, admit
from salesgauge.metrics.windows.sums import WindowSums
from tests.support.stories import event, won
from tests.support.worlds import BEGIN, DAY, HOUR, NOW, worlds

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from salesgauge.schemas.events import EventBase

STAGES = (StageRule(name="s1", probability=0.3, limit_days=5), StageRule(name="s2"), StageRule(name="s3", kind="won"))
RULES = Rules(max_future=timedelta(days=100_000), label_ceiling=3, stages=STAGES)
BRIEF = RULES.model_copy(update={"fine_retention": timedelta(hours=2), "coarse_retention": timedelta(days=3)})
"""Hardly any memory of panes: nearly everything is folded into the base."""


def machine(events: Sequence[EventBase], *, now: int = NOW, rules: Rules = RULES) -> Machine:
    """The plain way: the clock first, all events in one batch."""
    found = Machine(rules)
    found.advance(now)
    assert not any(found.apply(list(events)))
    return found


def contents(panes: Panes) -> dict[str, object]:
    """What panes hold, by leaf instead of by numbers, which depend on the order in which leaves were seen."""

    def named(cells: object) -> dict[object, int]:
        return {(panes.leaves.leaves[cell // CODES], cell % CODES): n for cell, n in dict(cells).items()}  # type: ignore[call-overload]

    return {
        "fine": {index: named(cells) for index, cells in panes.fine.items()},
        "coarse": {index: named(cells) for index, cells in panes.coarse.items()},
        "base": named(panes.base),
        "roster": {at: named(cells) for hour in panes.roster.values() for at, cells in hour.items()},
        "samples": {
            (panes.leaves.leaves[sample.leaf], sample.minute, sample.value): sample.number
            for hour, cells in panes.samples.items()
            for sample in samples(hour, cells)
        },
    }


def total(shard: Shard) -> dict[Key, int]:
    return totals(shard.contributions())


def numbers(view: View) -> dict[object, float]:
    return {(r.kpi, r.stat, r.window, tuple(r.labels.items())): r.value for r in view.readings()}


def from_scratch(shard: Shard, now: int) -> Panes:
    """Panes computed from all contributions at once, without any history: the oracle."""
    panes = Panes(LeafIndex(), shard.rules)
    panes.advance(now)
    panes.add(shard.contributions())
    return panes


def cut(items: Sequence[EventBase], rng: random.Random) -> list[list[EventBase]]:
    """Batches of random sizes."""
    rest, batches = list(items), []
    while rest:
        size = rng.choice((1, 1, 2, 5, 40))
        batches.append(rest[:size])
        del rest[:size]
    return batches


def disturbed(events: Sequence[EventBase], rng: random.Random) -> list[list[EventBase]]:
    """In any order (also, as most often, that of time), in any batches, some of them again."""
    arriving = [*events, *rng.choices(events, k=rng.randrange(4))]
    rng.shuffle(arriving)
    if rng.random() < 0.5:
        arriving.sort(key=lambda item: item.occurred_at)
    return cut(arriving, rng)


@given(events=worlds(), rng=st.randoms(use_true_random=False), rules=st.sampled_from([RULES, BRIEF]))
def test_order_repetition_and_batches_change_nothing(events: list[EventBase], rng: random.Random, rules: Rules) -> None:
    plain = machine(events, rules=rules)
    other = Machine(rules)
    for batch in disturbed(events, rng):
        other.apply(batch)
    other.advance(NOW)
    assert total(other.shard) == total(plain.shard)
    assert contents(other.shard.panes) == contents(plain.shard.panes)
    # an event id counts once, except that the same id about two entities is two facts
    distinct = len({(admit_one(e, rules).to, e.event_id) for e in events})
    assert other.events == plain.events == distinct


def admit_one(event: EventBase, rules: Rules = RULES) -> Message:
    item = admit(event, rules, NOW)
    assert isinstance(item, Message)
    return item


@given(
    events=worlds(), rng=st.randoms(use_true_random=False), rules=st.sampled_from([RULES, BRIEF]),
    ticks=st.lists(st.integers(0, 60 * 24), max_size=6).map(sorted),
)  # fmt: skip
def test_running_panes_equal_a_computation_from_scratch(
    events: list[EventBase], rng: random.Random, rules: Rules, ticks: list[int]
) -> None:
    """With the clock moving between the batches: what lies ahead of it comes due, what leaves retention is folded."""
    running = Machine(rules)
    batches = disturbed(events, rng)
    for hours in ticks:
        running.advance(BEGIN + hours * HOUR)
        if batches:
            running.apply(batches.pop())
        assert contents(running.shard.panes) == contents(from_scratch(running.shard, running.shard.panes.now))
    for batch in batches:
        running.apply(batch)
    now = max(NOW, running.shard.panes.now)
    running.advance(now)
    expected = contents(from_scratch(running.shard, now))
    assert contents(running.shard.panes) == expected
    running.shard.rebuild(now)
    assert contents(running.shard.panes) == expected


@given(
    events=worlds(),
    rng=st.randoms(use_true_random=False),
    build=st.sampled_from(["whole", "partly", "later", "elsewhere"]),
)
def test_a_crash_between_any_two_batches_changes_nothing(
    events: list[EventBase], rng: random.Random, build: str
) -> None:
    """The changelog has all states up to the crash; batches whose offsets were not committed come again."""
    batches = [[admit_one(event) for event in batch] for batch in disturbed(events, rng)]
    crash = rng.randrange(len(batches) + 1)
    redelivered = rng.randrange(crash + 1)
    changelog: dict[str, bytes] = {}
    merges: list[Merge] = []
    first = Shard(RULES, LeafIndex())
    for batch in batches[:crash]:
        outcome = first.apply(batch)
        merges += outcome.merges
        changelog |= outcome.states | first.learn(outcome.merges).states
    assert changelog == first.states

    second = Shard(RULES, LeafIndex())
    second.advance(NOW)
    for address, state in changelog.items():
        second.restore(address, state)
    second.learn(merges)
    lent: list[tuple[int, LentPanes]] = []
    if build == "elsewhere":
        for sizes in ((1,), (3, 10_000)):
            elsewhere, number = LentPanes(RULES), 0
            for size, behind in zip(sizes, (9 * DAY, 0), strict=False):
                share = second.lend(size)
                elsewhere.add(share, NOW - rng.choice((0, behind)), second.identities.merges)
                number += len(share)
            lent.append((number, elsewhere))
    elif build != "later":
        second.build(None if build == "whole" else 1)
    for batch in batches[redelivered:]:
        second.learn(second.apply(batch).merges)
    assert second.build() == (not any(number for number, _ in lent))
    for number, elsewhere in lent:
        absorb(second.panes, export(elsewhere.panes, rng.choice((1, 9, 20_000))))
        second.returned(number)
    assert second.built
    expected = machine(events).shard
    assert total(second) == total(expected)
    assert contents(second.panes) == contents(expected.panes)


@given(
    events=worlds(), early=st.integers(0, 10),
    steps=st.lists(st.integers(-30 * 60, 40 * 60), min_size=1, max_size=8),
)  # fmt: skip
def test_sliding_windows_equal_fresh_ones(events: list[EventBase], early: int, steps: list[int]) -> None:
    """In steps of any number of minutes, also backwards by an hour, with panes arriving between."""
    found = machine(events)
    sliding = WindowSums(found.view.sums.index, RULES, CATALOGUE.windows_before())
    now = highest = NOW
    for number, step in enumerate([0, *steps]):
        if number == min(early, len(steps)):
            publish(found.shard.panes, sliding)
        # Minute panes are kept for two days and an hour: so far back can the clock go and find all that it needs.
        highest = max(highest, now)
        now = max(now + step * 60_000, highest - HOUR)
        sliding.advance(now)
    fresh = WindowSums(found.view.sums.index, RULES, CATALOGUE.windows_before())
    publish(found.shard.panes, fresh)
    fresh.advance(now)
    for window in ("1h", "24h", "today", "7d", "30d", "mtd", "90d", "qtd", "365d", "all"):
        assert sliding.sums(window) == fresh.sums(window), window
    for window in CATALOGUE.windows_before():
        assert sliding.sums(window, before=True) == fresh.sums(window, before=True), window


def publish(panes: Panes, sums: WindowSums) -> None:
    """All panes, as after a rebalance."""
    for key in panes.keys():  # noqa: SIM118 - no mapping
        if key.resolution is Resolution.BASE:
            sums.replace_base(0, panes.horizon, panes.base)
        elif key.resolution is Resolution.SAMPLES:
            sums.replace_samples(0, key.index, panes.cells(key))
        elif key.resolution is not Resolution.ROSTER:
            sums.replace(0, key, panes.cells(key))


@given(events=worlds(), hours=st.lists(st.integers(1, 24 * 20), max_size=5))
def test_folding_into_the_base_keeps_all_time_and_stocks_exact(events: list[EventBase], hours: list[int]) -> None:
    forgetful, other = Machine(BRIEF), Machine(RULES)
    now = BEGIN + 30 * DAY
    for step in [0, *hours]:
        now += step * HOUR
        for each in (forgetful, other):
            each.advance(now)
            each.apply(events)
    only = frozenset({"all"})

    def exact(engine: Machine) -> dict[object, float]:
        """Without the survival median: beyond the retention of hours it is an estimate by buckets."""
        readings = engine.readings(windows=only)
        return {(r.kpi, r.stat, *r.labels.items()): r.value for r in readings if not r.stat.startswith("survival")}

    assert exact(forgetful) == exact(other)


@pytest.mark.parametrize("field", ["account_id", "rep_id", "lead_id"])
def test_a_deal_that_changes_hands_is_told_to_all_that_it_ever_named(field: str) -> None:
    """One event id, one deal, but two accounts (reps, leads): the version recorded last holds, in any order."""
    period = {"period_start": "05-01 00:00", "period_end": "08-01 00:00"}
    quotas = [event("quota_set", "05-01 00:00", rep_id=rep, amount=9, **period) for rep in ("one", "two")]
    named = {"lead_id": "l", field: "one"}, {"lead_id": "l", field: "two"}
    versions = [won("d", "06-02 09:00", 5, id="same", **who) for who in named]
    found = []
    for order in (versions, versions[::-1]):
        engine = machine(quotas)
        for version in order:
            engine.apply([version])
        found.append(total(engine.shard))
    assert found[0] == found[1]
