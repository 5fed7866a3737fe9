"""The discrete-event core: an agenda of things to do, the clock, random numbers, and the events that come of it."""

from __future__ import annotations

import hashlib
import heapq
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from math import exp, log
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from salesgauge.streams.simulation.hours import HOUR, BusinessClock

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase
    from salesgauge.streams.simulation.organisation import Acceleration, Organisation

T = TypeVar("T")
Action = Callable[..., None]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = 60_000
SECOND = 1_000
DAY = 24 * HOUR
_MILLISECOND = timedelta(milliseconds=1)
_MANY = 50.0  # from this mean on a normal distribution stands for Poisson's


class Weighted(Generic[T]):
    """A choice between weighted items: one random number and one bisection."""

    __slots__ = ("_bounds", "_items", "_total")

    def __init__(self, pairs: Sequence[tuple[T, float]]) -> None:
        self._items = [item for item, _ in pairs]
        self._bounds = list(accumulate(weight for _, weight in pairs))
        self._total = self._bounds[-1]

    def pick(self, number: float) -> T:
        """The item that a number in [0, 1) falls upon."""
        return self._items[bisect_right(self._bounds, number * self._total, 0, len(self._items) - 1)]


class Environment:
    """What all parts of the simulated organisation share.

    Actions are run in the order of their instants, equal ones in the order they were put on the agenda. All
    events of an action have its instant as ``occurred_at``; therefore the sequence is ordered by it.
    """

    def __init__(self, organisation: Organisation, start: int) -> None:
        self.organisation = organisation
        self.now = start
        self.clock = BusinessClock(organisation, start)
        self.events: list[EventBase] = []
        self.emitted = 0
        self._rng = random.Random(organisation.seed)  # noqa: S311 - reproducible, nothing secret
        self.random = self._rng.random
        self._agenda: list[tuple[int, int, Action, tuple[Any, ...]]] = []
        self._sequence = 0
        self._run = _digest(organisation, start)
        self._run_number = 0
        self._numbers: dict[str, int] = {}
        self._stamp = moment(start)

    # --- agenda

    def at(self, when: int, action: Action, *args: Any) -> None:
        """Put an action on the agenda; what is already past is due now."""
        self._sequence += 1
        heapq.heappush(self._agenda, (max(when, self.now), self._sequence, action, args))

    def step(self) -> None:
        """Do what is next on the agenda; `events` grows by what comes of it."""
        when, _, action, args = heapq.heappop(self._agenda)
        self.now = when
        self._stamp = moment(when)
        action(*args)

    def work(self, hours: float, spread: float, action: Action, *args: Any) -> None:
        """Do something after a log-normal working time with this median, in hours."""
        self.at(self.clock.after(self.now, self.around(hours, spread) * HOUR), action, *args)

    def wait(self, hours: float, spread: float, action: Action, *args: Any) -> None:
        """Do something after a log-normal calendar time with this median, in hours."""
        self.at(self.clock.elapse(self.now, self.around(hours, spread) * HOUR), action, *args)

    def accelerate(self, acceleration: Acceleration, dropped: Sequence[Action]) -> None:
        """Take up a faster pace now; draw nearer what is on the agenda, but for what is dropped."""
        run_down, clock = self._agenda, self.clock
        regular = [clock.regularly_worked(entry[0]) for entry in run_down]
        clock.accelerate(self.now, acceleration.pace)
        self._agenda = [
            (self._nearer(when, worked), number, action, args)
            for (when, number, action, args), worked in zip(run_down, regular, strict=True)
            if action not in dropped
        ]
        heapq.heapify(self._agenda)
        # Two runs that share a history but not the instant of the acceleration must not share ids from here on.
        self._run = _digest(self.organisation, acceleration)

    def _nearer(self, when: int, worked: int) -> int:
        if self.clock.is_open(when):
            return self.clock.instant(worked)
        # All of a night falls on one point of business time: spread it, lest it come as one burst.
        return self.clock.instant(worked) + int(self.random() * 30 * SECOND)

    # --- random numbers

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.random()

    def around(self, median: float, spread: float) -> float:
        """A log-normal number; ``spread`` is the standard deviation of its logarithm."""
        return median * exp(self._rng.gauss(0.0, spread))

    def number(self, low: int, high: int) -> int:
        """A whole number between low and high, both included."""
        return low + int(self.random() * (high - low + 1))

    def one(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.random() * len(items))]

    def poisson(self, mean: float) -> int:
        """A Poisson number."""
        if mean > _MANY:
            return max(0, round(self._rng.gauss(mean, mean**0.5)))
        count, product = 0, -log(1.0 - self.random())
        while product < mean:
            count += 1
            product -= log(1.0 - self.random())
        return count

    # --- events

    def emit(self, event: Callable[..., EventBase], **fields: Any) -> None:
        """Something happened now."""
        self.emitted += 1
        self._run_number += 1
        self.events.append(
            event(
                event_id=f"{self._run}-{self._run_number:07d}",
                occurred_at=self._stamp,
                source_system=self.organisation.source_system,
                **fields,
            )
        )

    def emit_later(self, event: Callable[..., EventBase], fields: dict[str, Any]) -> None:
        """`emit`, as an action of the agenda."""
        self.emit(event, **fields)

    def later(self, hours: float) -> datetime:
        """A ``recorded_at``: about so many (calendar) hours after now."""
        return moment(self.clock.elapse(self.now, self.around(hours, 0.7) * HOUR))

    def new_id(self, kind: str) -> str:
        """The next identity of its kind; it does not recur in runs with other parameters."""
        number = self._numbers.get(kind, 0) + 1
        self._numbers[kind] = number
        return f"{kind}-{self._run}-{number:06d}"


def moment(at: int) -> datetime:
    """Milliseconds since 1970 -> UTC datetime."""
    return EPOCH + timedelta(milliseconds=at)


def milliseconds(at: datetime) -> int:
    """UTC datetime -> milliseconds since 1970, rounded down."""
    return (at - EPOCH) // _MILLISECOND


def money(minor: int) -> Decimal:
    """Minor units -> amount in major units."""
    return Decimal(minor).scaleb(-2)


def rounded(minor: float, step: int) -> int:
    """Minor units, rounded to a multiple of ``step``."""
    return round(minor / step) * step


def _digest(organisation: Organisation, detail: object) -> str:
    return hashlib.blake2s(repr((organisation, detail)).encode(), digest_size=3).hexdigest()
