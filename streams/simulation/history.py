"""A realistic sales organisation's events, reproducible by seed, without end.

The same organisation and start give the same events, byte for byte, however they are consumed: `events` is
a lazy iterator that reads no clock. `history` is a finite stretch of it; `live` is the history until now and
then a busy present (`Acceleration`), in the order in which a CRM would deliver it.

The sequence is ordered by ``occurred_at``. Some events have a later ``recorded_at``: a call entered in the
evening, a corrected amount. `arrivals` puts them where they become known, `disturb` delivers them as badly
as a network can.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, TypeVar

from salesgauge.streams.simulation.company import Company
from salesgauge.streams.simulation.environment import Environment, milliseconds
from salesgauge.streams.simulation.organisation import (
    Acceleration,
    LeadSource,
    Organisation,
    SimulationError,
    SoldProduct,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from salesgauge.schemas.events import EventBase
    from salesgauge.streams.simulation.scenarios import Change

__all__ = [
    "Acceleration",
    "LeadSource",
    "Organisation",
    "SimulationError",
    "SoldProduct",
    "arrival",
    "arrivals",
    "disturb",
    "events",
    "history",
    "live",
]

T = TypeVar("T")


def events(
    organisation: Organisation,
    start: datetime,
    *,
    acceleration: Acceleration | None = None,
    changes: Iterable[tuple[datetime, Change]] = (),
) -> Iterator[EventBase]:
    """All events of an organisation that begins at ``start``, ordered by ``occurred_at``; it never ends.

    Until the acceleration or the first of the changes begins, the events are those without them.

    Raises:
        SimulationError: ``start`` has no time zone, or the acceleration lies before it.
    """
    _require_zone(start)
    if acceleration is not None and acceleration.since < start:
        raise SimulationError("an acceleration cannot begin before the start")
    return _events(organisation, start, acceleration, changes)


def _events(
    organisation: Organisation,
    start: datetime,
    acceleration: Acceleration | None,
    changes: Iterable[tuple[datetime, Change]],
) -> Iterator[EventBase]:
    env = Environment(organisation, milliseconds(start))
    company = Company(env)
    env.at(env.now, company.open)
    if acceleration is not None:
        # Before all else that is due at that instant: it is on the agenda before the company opens.
        env.at(milliseconds(acceleration.since), company.accelerate, acceleration)
    for at, change in changes:
        env.at(milliseconds(at), change.apply, company)
    emitted = env.events
    while True:
        env.step()
        if emitted:
            yield from emitted
            emitted.clear()


def history(organisation: Organisation, start: datetime, end: datetime) -> Iterator[EventBase]:
    """The events with ``start <= occurred_at < end``, ordered by ``occurred_at``.

    Raises:
        SimulationError: An instant has no time zone, or ``end`` lies before ``start``.
    """
    _require_zone(end)
    sequence = events(organisation, start)
    if end < start:
        raise SimulationError("the end lies before the start")
    return _until(sequence, end)


def live(
    organisation: Organisation,
    start: datetime,
    now: datetime,
    *,
    pace: float | None = 60.0,
    rate: float | None = None,
) -> Iterator[EventBase]:
    """The events from ``start`` on in the order of their `arrival`; from ``now`` on in an acceleration.

    Those that arrive after ``now`` are for the caller to hold back until then: see `streams.pacing`.

    Args:
        organisation: Whose events.
        start: Where the history begins.
        now: Where it meets the present.
        pace: Business time per real time from then on; None for real time with its nights and weekends.
        rate: Wished events per second from then on (with a pace).

    Raises:
        SimulationError: A parameter is out of range.
    """
    acceleration = None if pace is None else Acceleration(max(now, start), pace, rate)
    return arrivals(events(organisation, start, acceleration=acceleration))


def arrival(event: EventBase) -> datetime:
    """When an event becomes known."""
    return event.recorded_at or event.occurred_at


def arrivals(ordered: Iterable[EventBase]) -> Iterator[EventBase]:
    """Reorder a sequence, ordered by ``occurred_at``, by `arrival`; lazily, also without end."""
    held: list[tuple[datetime, int, EventBase]] = []
    for number, event in enumerate(ordered):
        while held and held[0][0] <= event.occurred_at:
            yield heapq.heappop(held)[2]
        if event.recorded_at is None or event.recorded_at <= event.occurred_at:
            yield event
        else:
            heapq.heappush(held, (event.recorded_at, number, event))
    while held:
        yield heapq.heappop(held)[2]


def disturb(
    items: Iterable[T],
    *,
    seed: int = 1,
    duplicates: float = 0.05,
    window: int | None = None,
    late: float = 0.0,
) -> Iterator[T]:
    """Deliver as a bad network would: repeated, out of order, some much too late. Nothing gets lost.

    Args:
        items: What is delivered.
        seed: The same seed disturbs the same items in the same way.
        duplicates: Share of the items that come twice.
        window: Items that wait at a time to be delivered in random order; None shuffles all of them.
        late: Share of the items that come only after all others.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible, nothing secret
    stragglers: list[T] = []
    yield from _shuffled(_repeated(items, rng, duplicates, late, stragglers), rng, window)
    rng.shuffle(stragglers)
    yield from stragglers


def _repeated(
    items: Iterable[T], rng: random.Random, duplicates: float, late: float, stragglers: list[T]
) -> Iterator[T]:
    for item in items:
        for _ in range(1 + (rng.random() < duplicates)):
            if rng.random() < late:
                stragglers.append(item)
            else:
                yield item


def _shuffled(items: Iterable[T], rng: random.Random, window: int | None) -> Iterator[T]:
    waiting: list[T] = []
    for item in items:
        waiting.append(item)
        if window is not None and len(waiting) >= max(window, 1):
            index = int(rng.random() * len(waiting))
            waiting[index], waiting[-1] = waiting[-1], waiting[index]
            yield waiting.pop()
    rng.shuffle(waiting)
    yield from waiting


def _until(ordered: Iterator[EventBase], end: datetime) -> Iterator[EventBase]:
    for event in ordered:
        if event.occurred_at >= end:
            return
        yield event


def _require_zone(at: datetime) -> None:
    if at.tzinfo is None:
        raise SimulationError(f"{at.isoformat()} needs a time zone")
