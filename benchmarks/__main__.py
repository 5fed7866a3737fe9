"""`python -m benchmarks [--full] [--only NAME…]`: take the figures and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
from functools import cache
from typing import TYPE_CHECKING

from benchmarks import brokers, load, peers, report, runs
from benchmarks.freshness import freshness
from benchmarks.report import Section
from salesgauge.streams.kafka.topics import create

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.schemas.events import EventBase

PAGE = runs.ROOT / "docs" / "benchmarks.md"
NOTES = runs.ROOT / "benchmarks" / "notes.md"


class Bench:
    """The sections, each under the name that `--only` takes."""

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self.days = 180 if full else 120
        self.worker_rate = 0.0
        self.rows: dict[str, float] = {}
        """Sums that change per event, by load."""

    @cache  # noqa: B019 - one object, for one run
    def batch(self) -> list[EventBase]:
        """The events that jobs over a broker are measured with."""
        return load.events(self.days)

    def job(self) -> Section:
        section = Section(
            "The whole job on one core",
            "One worker: decode and validate, remove duplicates, fold entities, compute all KPIs' panes, write the "
            "changelog, wait for its acknowledgement, commit. Its clock runs from the first application to the last "
            "acknowledgement. The peers' clock stops at the last message: what they flush and commit afterwards is "
            "not counted.",
        )
        name = brokers.available()[-1]
        for title, (days, per_day) in self.loads().items():
            with brokers.broker(name) as bootstrap:
                self._job_on(
                    f"{title}, {name}", bootstrap, load.events(days, per_day), self.rows.get(title, 4), section
                )
        return section

    def loads(self) -> dict[str, tuple[int, int]]:
        """Days and leads a day: a small company over months, and few days of a large one."""
        return {"80 leads a day": (self.days, load.LEADS_PER_DAY), "5 000 leads a day": (4 if self.full else 2, 5000)}

    def _job_on(self, name: str, bootstrap: str, batch: list[EventBase], rows: float, section: Section) -> None:
        settings = load.settings_for(bootstrap, 1)
        load.publish(settings, batch)
        brokers.make_peer_topic(bootstrap)
        load.publish_for_peers(settings, batch)
        ours = runs.job("salesgauge", bootstrap, 1, len(batch))
        rate = runs.rate(ours)
        self.worker_rate = self.worker_rate or rate
        section.add(f"salesgauge, {name}", f"{rate:,.0f} events/s", f"{ours['seconds']:.1f} s of wall clock")
        for peer in peers.peers(rows):
            found = peer.rate(bootstrap, len(batch), load.PEER_TOPIC)
            if found is None:
                section.add(peer.name, "not available", "cannot be installed, or does not run on this broker")
            else:
                ratio = rate / found
                reached = None if peer.aim is None else ratio >= peer.aim
                aim = "" if peer.aim is None else f"{peer.aim} times"
                section.add(
                    peer.name, f"{found:,.0f} events/s", f"{ratio:.2f} times; {peer.lacks}", aim, reached=reached
                )
        section.add(
            f"start-up, {name}", f"{ours['start_seconds']:.2f} s", "from the program's start to owning a partition"
        )

    def engine(self) -> Section:
        section = Section(
            "The engine alone",
            "Events in batches of 2000 through admission, entities and panes, without a broker. A row is one sum that "
            "changes.",
        )
        for title, (days, per_day) in self.loads().items():
            found = runs.job("engine", "apply", days, per_day)
            self.rows[title] = found["rows"]
            decoding = found["events"] / found["decode_cpu"]
            share = f"{runs.rate(found) / decoding:.3f} of decoding; {found['rows']:.1f} rows per event"
            section.add(f"decode and validate, {title}", f"{decoding:,.0f} events/s")
            section.add(f"admit and apply, {title}", f"{runs.rate(found):,.0f} events/s", share)
        return section

    def freshness(self) -> Section:
        section = Section(
            "Freshness",
            "From handing an event to the producer to the exporter's sums holding it, at a steady rate. Producer, "
            "broker, worker and exporter share the machine: where its cores are busy, events wait for them.",
        )
        name = brokers.available()[-1]
        for share in (2, 4, 8):
            rate = (self.worker_rate or 30_000) / share
            with brokers.broker(name) as bootstrap:
                found = freshness(bootstrap, self.days, min(len(self.batch()), round(8 * rate)), rate)
            where = f"1/{share} of the rate above: {rate:,.0f} events/s"
            section.add(f"p50, {name}", f"{found.p50 * 1000:.0f} ms", where)
            section.add(f"p99, {name}", f"{found.p99 * 1000:.0f} ms", where, "250 ms", reached=found.p99 < 0.25)
            section.add("cores busy", f"{found.busy:.0%}", where)
        return section

    def scrape(self) -> Section:
        section = Section("A scrape", "All readings, quantiles and histograms as OpenMetrics text; processor time.")
        found = runs.job("engine", "scrape", 60)
        per = found["cpu"] / found["samples"] * 10_000
        section.add(f"{found['samples']:,} samples", f"{found['cpu'] * 1000:.0f} ms", f"{found['bytes'] / 1e6:.1f} MB")
        section.add("per 10 000 samples", f"{per * 1000:.0f} ms", aim="100 ms", reached=per < 0.1)
        return section

    def recovery(self) -> Section:
        section = Section(
            "Leads at rest: memory and recovery",
            "Simulated leads with their whole history, as a worker holds them after a recovery, panes included. "
            "Processor time on one core where nothing else is said; a worker is helped by the other cores.",
        )
        for number in (10_000, 100_000, 1_000_000) if self.full else (10_000, 50_000):
            held = runs.job("engine", "leads", number)
            size, seconds = held["bytes_per_lead"], held["restore_cpu"] + held["build_cpu"]
            state = f"its state is {held['state_bytes']:.0f} bytes"
            section.add(f"memory per lead, {number:,}", f"{size:.0f} bytes", state, "1 KB", reached=size < 1000)
            million = seconds / number * 1_000_000
            section.add(
                f"restore and build, {number:,}",
                f"{seconds:.1f} s",
                f"{million:.0f} s per million, on one core",
            )
        self._from_broker(section, 1_000_000 if self.full else 50_000)
        return section

    @staticmethod
    def _from_broker(section: Section, leads: int) -> None:
        name = brokers.available()[-1]
        with brokers.broker(name) as bootstrap:
            settings = load.settings_for(bootstrap, 1)
            create(settings)
            runs.job("changelog", bootstrap, leads)
            bare = runs.job("recovery", bootstrap, leads, "bare")
            whole = runs.job("recovery", bootstrap, leads, "whole")
        million = whole["seconds"] / leads * 1_000_000
        ratio = whole["read_seconds"] / bare["seconds"]
        section.add(f"reading the changelog bare, {name}, {leads:,}", f"{bare['seconds']:.1f} s of wall clock")
        section.add(
            f"until events are processed, {leads:,}", f"{whole['read_seconds']:.1f} s", f"{ratio:.1f} times that"
        )
        section.add(
            f"until the panes are whole, {leads:,}",
            f"{whole['seconds']:.1f} s",
            f"{million:.0f} s per million, on {len(os.sched_getaffinity(0))} cores",
            "30 s",
            reached=million < 30,
        )

    def growth(self) -> Section:
        section = Section("Growth", "The same events over more partitions, on one worker: what a partition costs.")
        base = 0.0
        for partitions in (1, 2, 4, 8) if self.full else (1, 8):
            with brokers.broker("embedded") as bootstrap:
                load.publish(load.settings_for(bootstrap, partitions), self.batch())
                rate = runs.rate(runs.job("salesgauge", bootstrap, partitions, len(self.batch())))
            base = base or rate
            section.add(
                f"{partitions} partitions", f"{rate:,.0f} events/s", f"{rate / base:.2f} of one partition's rate"
            )
        return section


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ("engine", "job", "freshness", "scrape", "recovery", "growth")
    parser.add_argument("--full", action="store_true", help="larger sizes, up to a million leads")
    parser.add_argument("--only", nargs="+", choices=names, help="print these alone; the page stays as it is")
    asked = parser.parse_args()
    bench = Bench(full=asked.full)
    sections = []
    for name in asked.only or names:
        print(name, flush=True)
        measure: Callable[[], Section] = getattr(bench, name)
        sections.append(measure())
    if not asked.only:
        PAGE.write_text(report.page(sections, NOTES.read_text(encoding="utf-8")), encoding="utf-8")
        print(PAGE.relative_to(runs.ROOT))


if __name__ == "__main__":
    sys.exit(main())
