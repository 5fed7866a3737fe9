"""What an exporter shows is what workers published: whole publications, of the owners only, whatever was read twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.readings import View
from salesgauge.metrics.measures.registry import Measure
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.shard import Shard, admit
from salesgauge.metrics.windows.series import SeriesIndex
from salesgauge.metrics.windows.sums import WindowSums
from salesgauge.schemas.codec import validate
from salesgauge.schemas.events import EventBase
from salesgauge.streams.worker.publication import Subscriber, WorkerStatus, claim, publication

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = Rules(zero_is_real=frozenset({"lead_created", "activity_logged"}))


def fact(**fields):
    """An event on its way to its entity."""
    event = validate(fields)
    assert isinstance(event, EventBase)
    item = admit(event, RULES, ms(NOW))
    assert isinstance(item, Message)
    return item


def ms(time):
    return int(time.timestamp() * 1000)


class Side:
    """A worker's shard of one partition, and how it publishes."""

    def __init__(self, owner="first", partition=0):
        self.shard = Shard(RULES, LeafIndex())
        self.shard.advance(ms(NOW))
        self.owner, self.partition = owner, partition

    def leads(self, *ids, age=timedelta(minutes=5)):
        for lead in ids:
            at = (NOW - age).isoformat()
            created = fact(event="lead_created", event_id=f"e-{lead}", occurred_at=at, lead_id=lead, source="web")
            self.shard.apply([created])

    def publish(self, *, full=False, claims=False):
        status = WorkerStatus(at=ms(NOW), worker=self.owner)
        messages = [claim(self.partition, status)] if claims else []
        messages += publication(self.partition, self.shard.panes, status, full=full)
        return [(m.key, m.value, self.owner) for m in messages]


class Shown:
    """An exporter's side."""

    def __init__(self, *, live=True):
        self.sums = WindowSums(SeriesIndex(CATALOGUE.plan()), RULES, CATALOGUE.windows_before())
        self.subscriber = Subscriber(self.sums)
        if live:
            self.subscriber.settle()

    def read(self, records):
        for key, value, owner in records:
            self.subscriber.accept(key, value, owner)
        return self

    def leads(self, window="1h", kpi="new_leads"):
        self.sums.advance(ms(NOW))
        view = View(CATALOGUE, self.sums)
        readings = view.readings([CATALOGUE.by_id[kpi]], frozenset({window}))
        [reading] = [r for r in readings if not r.labels and r.stat == "value"]
        return reading.value


def test_a_publication_shows_the_worker_s_numbers_in_all_resolutions():
    worker, shown = Side(), Shown()
    worker.leads("a", "b")
    shown.read(worker.publish(full=True, claims=True))
    assert shown.leads("1h") == shown.leads("30d") == shown.leads("all") == 2
    assert shown.leads("all", "leads_waiting") == 2


def test_half_a_publication_shows_nothing():
    worker, shown = Side(), Shown()
    worker.leads("a")
    *panes, commit = worker.publish(full=True, claims=True)
    assert shown.read(panes).leads() == 0
    assert shown.read([commit]).leads() == 1


def test_reading_a_publication_twice_changes_nothing():
    worker, shown = Side(), Shown()
    worker.leads("a", "b")
    records = worker.publish(full=True, claims=True)
    assert shown.read(records).read(records).leads() == 2


def test_partials_of_partitions_are_added():
    first, second, shown = Side("one", 0), Side("two", 1), Shown()
    first.leads("a")
    second.leads("b", "c")
    shown.read(first.publish(full=True, claims=True)).read(second.publish(full=True, claims=True))
    assert shown.leads() == 3


def test_a_pane_that_emptied_disappears():
    worker, shown = Side(), Shown()
    worker.leads("a")
    shown.read(worker.publish(full=True, claims=True))
    at = NOW.isoformat()
    merge = fact(event="lead_merged", event_id="m", occurred_at=at, lead_id="a", survivor_id="b")
    worker.shard.learn(worker.shard.apply([merge]).merges)
    shown.read(worker.publish())
    assert shown.leads() == 1  # the survivor has the loser's creation
    worker.leads("b", age=timedelta(minutes=30))
    assert shown.read(worker.publish()).leads() == 1


def test_what_a_former_owner_writes_after_the_claim_is_ignored():
    old, new, shown = Side("old"), Side("new"), Shown()
    old.leads("a")
    shown.read(old.publish(full=True, claims=True))
    new.leads("a", "b")
    shown.read(new.publish(full=True, claims=True))
    old.leads("c", "d", "e")
    assert shown.read(old.publish()).leads() == 2
    assert shown.subscriber.ignored > 0


def test_between_claim_and_first_publication_the_last_numbers_stay():
    old, new, shown = Side("old"), Side("new"), Shown()
    old.leads("a", "b")
    shown.read(old.publish(full=True, claims=True))
    new.leads("a", "b")
    claims, *rest = new.publish(full=True, claims=True)
    assert shown.read([claims]).leads() == 2
    assert shown.read(rest[:-1]).leads() == 2
    assert shown.read(rest[-1:]).leads() == 2


def test_panes_that_the_new_owner_does_not_have_exist_no_more():
    old, new, shown = Side("old"), Side("new"), Shown()
    old.leads("a", age=timedelta(minutes=5))
    old.leads("gone", age=timedelta(minutes=50))
    shown.read(old.publish(full=True, claims=True))
    new.leads("a", age=timedelta(minutes=5))
    shown.read(new.publish(full=True, claims=True))
    assert shown.leads() == 1


@pytest.mark.parametrize("compacted", [False, True])
def test_a_late_exporter_reads_the_log_to_the_same_numbers(compacted):
    old, new = Side("old"), Side("new")
    log = []
    old.leads("a", age=timedelta(minutes=50))
    log += old.publish(full=True, claims=True)
    old.leads("b")
    log += old.publish()
    new.leads("a", age=timedelta(minutes=50))
    new.leads("b")
    log += new.publish(full=True, claims=True)
    new.leads("c", age=timedelta(minutes=20))
    log += new.publish()
    if compacted:
        latest = {key: position for position, (key, _, _) in enumerate(log)}
        log = [record for position, record in enumerate(log) if latest[record[0]] == position]
    late = Shown(live=False).read(log)
    late.subscriber.settle()
    assert late.leads() == late.leads("all") == 3
    new.leads("d")
    assert late.read(new.publish()).leads() == 4


def test_a_record_of_somebody_else_is_refused():
    shown = Shown()
    with pytest.raises(ValueError, match="not a key of the windows topic"):
        shown.subscriber.accept(b"nonsense", b"", "x")
    with pytest.raises(ValueError, match="not a publication"):
        shown.subscriber.accept(b"0/fine/5", b"\x00rubbish", "x")


def test_measures_that_this_exporter_does_not_know_are_passed_over():
    side, shown = Side(), Shown()
    side.leads("a", "b")
    unknown = Measure("of_a_newer_release", "", ("rep",))
    side.shard.panes.add(Contributions([(unknown, ("rep-1",), ms(NOW) - 60_000, 0, 3)]))
    shown.read(side.publish(full=True, claims=True))
    assert shown.leads() == 2


def test_what_leaves_retention_moves_to_the_base_at_once():
    rules = Rules().model_copy(update={"coarse_retention": timedelta(days=2)})  # shorter than settings may have it
    shard = Shard(rules, LeafIndex())
    shard.advance(ms(NOW))
    yesterday = (NOW - timedelta(days=1)).isoformat()
    shard.apply([fact(event="lead_created", event_id="e", occurred_at=yesterday, lead_id="a")])
    sums = WindowSums(SeriesIndex(CATALOGUE.plan()), rules, CATALOGUE.windows_before())
    subscriber = Subscriber(sums)
    subscriber.settle()
    later = ms(NOW + timedelta(days=3))
    readings = {}
    for full, at in ((True, ms(NOW)), (False, later)):
        shard.advance(at)
        status = WorkerStatus(at=at)
        for message in [*([claim(0, status)] if full else []), *publication(0, shard.panes, status, full=full)]:
            subscriber.accept(message.key, message.value, "o")
        sums.advance(at)
        view = View(CATALOGUE, sums)
        readings = {r.window: r.value for r in view.readings([CATALOGUE.by_id["new_leads"]]) if not r.labels}
        assert readings["all"] == 1
    assert not shard.panes.coarse
    assert readings["24h"] == 0
