"""Live equals replay: what a real Prometheus scraped, series by series, is what the topics give again afterwards.

Live, an event is known once it has travelled through worker and exporter; in a replay, from its record's timestamp on.
So scrapes are compared in quiet gaps, which are found by conditions and not by waiting:

* a gap begins when everything published, and everything forwarded, is committed (`Installation.drained_at`);
* a scrape lies in it if every partition's last word, as the same scrape tells it, is later than that. Then the scrape
  shows all that was published before the gap, and nothing else exists yet.

The replay stands at the very instant at which the exporter evaluated the scrape, which the scrape tells, too. Values
are compared for equality.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import CONNECTED
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.replay.event_topics import EventTopics
from salesgauge.streams.replay.virtual_clock import ClockedEngine
from salesgauge.streams.simulation.history import Organisation, live
from salesgauge.streams.simulation.pacing import Due, utc_now
from tests.support.live import ROOT, Live, messages
from tests.support.process import Process, free_port
from tests.support.programs import Prometheus, get_json, prometheus
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from salesgauge.schemas.events import EventBase

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ORGANISATION = Organisation(seed=11, leads_per_day=25, reps=6)
DAYS = 10
RATE = 12.0
BURSTS = 7
BURST_SECONDS = 2.0
SCRAPES_IN_A_GAP = 3
EVALUATED = "salesgauge_evaluated_timestamp_seconds"
FRESHNESS = "salesgauge_freshness_seconds"

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass
class Gap:
    """A stretch without anything on its way, ms: from the drain to the next event."""

    begin: int
    end: int = 0


@dataclass
class Installation:
    """Two workers, an exporter, a Prometheus that scrapes it every second, and somebody who publishes."""

    system: Live
    watch: Prometheus
    sent: list[EventBase] = field(default_factory=list)

    def publish(self, batch: list[EventBase]) -> None:
        """Send events; they are acknowledged on return."""
        if batch:
            self.system.publish(messages(batch))
            self.sent += batch

    def drained_at(self) -> int | None:
        """The instant (ms) by which nothing was on its way any more; None while something is.

        What is committed is asked first. Each forward is counted before the record that led to it is committed, so
        where the counts agree afterwards, no record was left that could lead to more.
        """
        committed = self.system.committed()
        rekeyed = sum(n for place, n in committed.items() if place.topic == self.system.settings.rekey_topic)
        if any(committed[place] < end for place, end in self.system.ends.items()):
            return None
        return wall_clock() if rekeyed == self._forwarded() else None

    def _forwarded(self) -> float:
        total = 0.0
        for worker in self.system.workers:
            worker.check()
            with urlopen(f"{worker.url}/metrics", timeout=5) as answer:
                (count,) = re.findall(r"^salesgauge_forwarded_total (\S+)$", answer.read().decode(), re.MULTILINE)
            total += float(count)
        return total

    def complete_scrapes(self, gap: Gap, now: int) -> list[tuple[float, int]]:
        """The scrapes until ``now`` (ms) that show all that was published before the gap.

        Each by the time that Prometheus gave it (s), with the instant of its evaluation (ms).
        """
        freshness = dict(self.samples(FRESHNESS, now))
        found = []
        for at, evaluated in self.samples(EVALUATED, now):
            word = (evaluated - freshness.get(at, evaluated)) * 1000
            if word > gap.begin:
                found.append((at, round(evaluated * 1000)))
        return found

    def samples(self, name: str, now: int) -> list[tuple[float, float]]:
        """The samples of a metric that has one series, as they were scraped."""
        found = self.watch.query(f"{name}[5m]", time=now / 1000)
        return [(at, float(value)) for one in found for at, value in one["values"]]


@pytest.fixture
def installation(fresh_broker: Any, tmp_path: Path) -> Iterator[Installation]:
    """The system, empty."""
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: salesgauge, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    )
    with contextlib.ExitStack() as stack:
        system = stack.enter_context(Live(fresh_broker.bootstrap, tmp_path / "live"))
        system.scale(2)
        argv = [sys.executable, "-m", "salesgauge", "exporter", "--port", str(port)]
        exporter = stack.enter_context(Process(argv, log=tmp_path / "exporter.log", env=system.env, cwd=ROOT))
        exporter.until_listening(port)
        until(lambda: all(worker.url for worker in system.workers), 30, "the workers' addresses")
        url = f"http://127.0.0.1:{port}/readyz"
        until(lambda: get_json(url)["ready"] and get_json(url)["workers"] == 2, 60, "two workers share the partitions")
        watch = stack.enter_context(prometheus(config, tmp_path))
        yield Installation(system, watch)
        exporter.check()


def test_what_was_scraped_is_what_a_replay_of_the_topics_gives(installation):
    gaps = lived_through(installation)
    scraped = compared_scrapes(installation, gaps)
    assert len(scraped) >= BURSTS * SCRAPES_IN_A_GAP

    replay = ClockedEngine(installation.system.settings.rules, CATALOGUE)
    ordered = EventTopics(installation.system.settings.kafka).ordered(corrected=False)
    shown: dict[Series, set[float]] = defaultdict(set)
    for at, instant in zip(scraped, replay.walk(ordered, scraped), strict=True):
        assert at == instant
        replayed = {
            (sample.name, frozenset(sample.labels.items())): float(sample.value)
            for family in replay.show().families
            for sample in family.samples
        }
        assert_same(scraped[at], replayed, at)
        for series, value in replayed.items():
            shown[series].add(value)
    assert replay.machine.events == len({event.event_id for event in installation.sent})
    assert replay.rejects.count == 0

    # That equality is about something: many series, and much that moved with events and with time.
    assert len(shown) > 3000
    assert sum(len(values) > 1 for values in shown.values()) > 200
    oldest = shown["crm_lead_oldest_wait_seconds", frozenset({("window", "all")})]
    assert len(oldest) > len(scraped) / 2


def lived_through(installation: Installation) -> list[Gap]:
    """Publish the past at once, then the present in bursts with quiet gaps between them."""
    now = datetime.now(UTC)
    due = Due(live(ORGANISATION, now - timedelta(days=DAYS), now, rate=RATE))
    while past := due.take(now, 5000):
        installation.publish(past)
    gaps = [quiet(installation)]
    for number in range(BURSTS):
        end = time.monotonic() + BURST_SECONDS
        while time.monotonic() < end:
            installation.publish(due.take(utc_now()))
            time.sleep(0.1)
        again = installation.sent[number :: len(installation.sent) // 20]
        installation.publish(again)  # delivered twice
        gaps.append(quiet(installation))
    return gaps


def quiet(installation: Installation) -> Gap:
    """Publish nothing until some scrapes were taken with nothing on its way."""
    drained = until(installation.drained_at, 60, "nothing is on its way")
    assert drained is not None
    gap = Gap(drained)

    def enough() -> bool:
        return len(installation.complete_scrapes(gap, wall_clock())) >= SCRAPES_IN_A_GAP

    until(enough, 30, "scrapes that show all that was published", every=0.2)
    gap.end = wall_clock()
    return gap


def compared_scrapes(installation: Installation, gaps: list[Gap]) -> dict[int, dict[Series, float]]:
    """All KPI series of the scrapes in the gaps, by the instant of their evaluation (ms)."""
    now = wall_clock()
    evaluated = {
        at: instant for gap in gaps for at, instant in installation.complete_scrapes(gap, now) if instant <= gap.end
    }
    scrapes: dict[int, dict[Series, float]] = {instant: {} for instant in sorted(evaluated.values())}
    assert len(scrapes) == len(evaluated)
    # One KPI after the other: what Prometheus answers at once stays small.
    names = get_json(f"{installation.watch.url}/api/v1/label/__name__/values")["data"]
    for name in (name for name in names if name.startswith("crm_") or name == CONNECTED):
        for one in installation.watch.query(f"{name}[5m]", time=now / 1000):
            labels = frozenset((k, v) for k, v in one["metric"].items() if k not in ("__name__", "job", "instance"))
            for at, value in one["values"]:
                if at in evaluated:
                    scrapes[evaluated[at]][name, labels] = float(value)
    return scrapes


def assert_same(scraped: dict[Series, float], replayed: dict[Series, float], at: int) -> None:
    """The same series with the same values."""
    missing = sorted(replayed.keys() - scraped.keys(), key=repr)
    surplus = sorted(scraped.keys() - replayed.keys(), key=repr)
    other = [(s, scraped[s], replayed[s]) for s in scraped.keys() & replayed.keys() if scraped[s] != replayed[s]]
    told = "\n".join(map(str, itertools.chain(missing[:5], surplus[:5], other[:10])))
    differing = [*missing, *surplus, *other]
    assert not differing, (
        f"at {at}: {len(missing)} series were not scraped, {len(surplus)} not replayed, {len(other)} of "
        f"{len(replayed)} differ (series, scraped, replayed):\n{told}"
    )
