"""Between a sequence of events and real time: hand them out when due. Clock and sleep are arguments."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from salesgauge.schemas.events import EventBase

BATCH = 1_000
"""Most events at once: producing so many takes about 10 ms."""

_LONGEST_SLEEP = 0.25  # seconds; a computer that slept or a clock that was set is noticed soon


def utc_now() -> datetime:
    """The computer's clock."""
    return datetime.now(UTC)


class Due:
    """The events of a sequence ordered by arrival, handed out when they arrive."""

    def __init__(self, arriving: Iterable[EventBase]) -> None:
        self._events = iter(arriving)
        self._next = next(self._events, None)

    def take(self, now: datetime, limit: int = BATCH) -> list[EventBase]:
        """What has arrived until ``now`` and was not taken yet, at most ``limit`` events."""
        taken: list[EventBase] = []
        while self._next is not None and len(taken) < limit and self._arrival(self._next) <= now:
            taken.append(self._next)
            self._next = next(self._events, None)
        return taken

    def wait(self, now: datetime) -> float | None:
        """Seconds until the next event (0 if it is due); None if there is none."""
        if self._next is None:
            return None
        return max((self._arrival(self._next) - now).total_seconds(), 0.0)

    @staticmethod
    def _arrival(event: EventBase) -> datetime:
        return event.recorded_at or event.occurred_at


def in_real_time(
    arriving: Iterable[EventBase],
    *,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    until: datetime | None = None,
) -> Iterator[list[EventBase]]:
    """Batches of the events that are due: what is past at once, the rest when its time has come.

    While it waits it yields an empty batch now and then, so that its user can flush or show progress.
    It ends with the events or at ``until``.
    """
    due = Due(arriving)
    while True:
        instant = now()
        batch = due.take(instant)
        yield batch
        if until is not None and instant >= until and len(batch) < BATCH:
            return
        pause = due.wait(now())
        if pause is None:
            return
        if pause > 0:
            sleep(min(pause, _LONGEST_SLEEP))


def throttled(
    sequence: Iterable[EventBase],
    rate: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[EventBase]]:
    """Batches of a sequence, at most ``rate`` events per second; None: as fast as they can be had."""
    source = iter(sequence)
    size = BATCH if rate is None else min(max(int(rate * _LONGEST_SLEEP), 1), BATCH)
    began, count = clock(), 0
    while batch := list(islice(source, size)):
        yield batch
        count += len(batch)
        if rate is not None:
            # Towards an absolute schedule: what one batch loses the next ones make up for.
            sleep(max(0.0, began + count / rate - clock()))
