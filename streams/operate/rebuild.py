"""Rebuilding: the state computed anew from the event topics, beside the running one, as another version.

A version has its own consumer group, changelog, re-key topic and windows topic; only the events and the dead letters
are shared. The steps: create the topics of version N + 1; let workers of that version read all events; compare
its readings with those of the running version; make it the active one (`control`); later drop the old one.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kafka.errors import KafkaError

from salesgauge.streams.io.instants import iso, wall_clock
from salesgauge.streams.kafka import control, topics
from salesgauge.streams.kafka.connection import BrokerError, admin, explained
from salesgauge.streams.kafka.lag import Behind, LagReader
from salesgauge.streams.replay.compare import Comparison, Readings, compare
from salesgauge.streams.serve.exporter import Board, Exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from salesgauge.metrics.kpis.readings import Reading
    from salesgauge.streams.settings.model import Settings

FRESH_SECONDS = 5.0
"""A state is caught up when it holds everything that was in the topics so short a time ago."""
_LOAD_SECONDS = 60.0


class RebuildError(BrokerError):
    """The step is not possible now; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class StateVersion:
    """A version that has topics."""

    number: int
    active: bool
    behind: int
    members: int | None


def version_of(settings: Settings, version: int) -> Settings:
    """The settings of another version."""
    return settings.model_copy(update={"version": version})


def existing(settings: Settings) -> list[int]:
    """The versions that have topics, in order."""
    pattern = re.compile(re.escape(f"{settings.app_id}.windows.v") + r"(\d+)")
    with admin(settings.kafka) as client:
        return sorted(int(found[1]) for name in client.list_topics() if (found := pattern.fullmatch(name)))


def active_version(settings: Settings) -> int:
    """The version that exporters show: the one last switched to, else the one of the settings."""
    active = control.read(settings)
    return active.version if active else settings.version


def status(settings: Settings) -> list[StateVersion]:
    """All versions, how far their workers are behind, and how many there are."""
    active = active_version(settings)
    found = []
    for number in existing(settings):
        with LagReader(version_of(settings, number)) as reader:
            behind = sum(one.records for one in reader.read())
            found.append(StateVersion(number, number == active, behind, reader.group().members))
    return found


def target(settings: Settings) -> int:
    """The version that a rebuild works on: the newest one beyond the active, else a new one."""
    active = active_version(settings)
    return max([number for number in existing(settings) if number > active], default=active + 1)


def prepare(settings: Settings) -> tuple[Settings, Settings]:
    """The settings of the active version and of the one that a rebuild works on, whose topics are there afterwards.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    new = version_of(settings, target(settings))
    topics.create(new)
    return version_of(settings, active_version(settings)), new


@dataclass(slots=True)
class RebuildProgress:
    """Tells from successive looks how far a rebuild is.

    ``first`` are the records behind per partition at the first look. The state is caught up when everything is
    committed that was in the topics at an earlier look, no longer than `FRESH_SECONDS` ago.
    """

    first: dict[int, int] = field(default_factory=dict)
    left: dict[int, int] = field(default_factory=dict)
    caught_up: bool = False
    _goal: dict[tuple[str, int], int] = field(default_factory=dict)
    _goal_at: float = 0.0

    def look(self, behind: Sequence[Behind], now: float) -> None:
        """Take a look at an instant (s, monotonic)."""
        self.left = {}
        for one in behind:
            self.left[one.partition] = self.left.get(one.partition, 0) + one.records
        for partition, records in self.left.items():
            self.first[partition] = max(records, self.first.get(partition, 0))
        reached = bool(self._goal) and all(one.reached(self._goal.get((one.topic, one.partition), 0)) for one in behind)
        self.caught_up = reached and now - self._goal_at <= FRESH_SECONDS
        if reached or not self._goal:
            self._goal = {(one.topic, one.partition): one.end for one in behind}
            self._goal_at = now


def catch_up(
    settings: Settings, show: Callable[[RebuildProgress], None], stop: Callable[[], bool], every: float = 1.0
) -> bool:
    """Watch a version's workers until they have caught up; False if stopped before.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    progress = RebuildProgress()
    with LagReader(settings) as reader:
        while not stop():
            progress.look(reader.read(), time.monotonic())
            show(progress)
            if progress.caught_up:
                return True
            time.sleep(every)
    return False


# --- comparing


@contextmanager
def loaded(settings: Settings, seconds: float = _LOAD_SECONDS) -> Iterator[Exporter]:
    """A version's readings as an exporter would show them.

    Raises:
        RebuildError: they are not complete; the message says what is missing.
    """
    exporter = Exporter(settings, Board(settings))
    exporter.start()
    try:
        end = time.monotonic() + seconds
        while not (health := exporter.health()).ready:
            if time.monotonic() > end:
                raise RebuildError(f"version {settings.version} is not complete: {'; '.join(health.reasons)}")
            time.sleep(0.1)
        yield exporter
    finally:
        exporter.stop()


def readings_of(exporter: Exporter, at: int) -> Readings:
    """A version's readings at an instant (ms)."""
    with exporter.board.now(at) as view:
        values = {_key(reading): reading.value for reading in view.readings()}
        return Readings(f"version {exporter.version}", values, (iso(at),), exporter.board.totals().events)


def _key(reading: Reading) -> tuple[str, str, str, str, tuple[tuple[str, str], ...]]:
    return "", reading.kpi, reading.stat, reading.window, tuple(sorted(reading.labels.items()))


def compare_versions(old: Settings, new: Settings) -> Comparison:
    """Where the readings of two versions at the same instant differ.

    Raises:
        RebuildError: one of them is not complete.
        BrokerError: the broker cannot be reached or refuses.
    """
    with loaded(old) as left, loaded(new) as right:
        at = wall_clock()
        return compare(readings_of(left, at), readings_of(right, at))


# --- switching and dropping


def switch(settings: Settings, *, force: bool = False) -> None:
    """Make the version of the settings the active one.

    Raises:
        RebuildError: it has no topics, or lacks something and ``force`` is not given.
        BrokerError: the broker cannot be reached or refuses.
    """
    if settings.version not in existing(settings):
        raise RebuildError(f"version {settings.version} has no topics; `salesgauge rebuild status` lists the versions")
    if not force:
        _require_complete(settings)
    topics.create(settings)
    control.activate(settings)


def _require_complete(settings: Settings) -> None:
    with LagReader(settings) as reader:
        behind = sum(one.records for one in reader.read())
    if behind > settings.ready_lag:
        raise RebuildError(f"version {settings.version} is {behind:,} records behind; wait, or use --force")
    with loaded(settings):
        pass


def owned_topics(settings: Settings) -> list[str]:
    """The topics that belong to one version alone."""
    return [
        settings.rekey_topic, settings.identity_topic, topics.changelog_topic(settings), settings.windows_topic,
    ]  # fmt: skip


def drop(settings: Settings) -> list[str]:
    """Delete the topics and the consumer group of a version; the topics that were there.

    Raises:
        RebuildError: the version is the active one, or workers are still in its group.
        BrokerError: the broker cannot be reached or refuses.
    """
    if settings.version == active_version(settings):
        raise RebuildError(f"version {settings.version} is the active one; switch to another first")
    with LagReader(settings) as reader:
        members = reader.group().members
    if members:
        raise RebuildError(f"{members} workers of version {settings.version} still run; stop them first")
    with admin(settings.kafka) as client, explained(settings.kafka):
        there = [name for name in owned_topics(settings) if name in set(client.list_topics())]
        if there:
            client.delete_topics(there)
        try:
            client.delete_groups([settings.application])
        except (KafkaError, ValueError):  # no such group, or a broker that cannot: it expires by itself
            return there
    return there
