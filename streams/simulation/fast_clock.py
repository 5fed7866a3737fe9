"""The clock of a demonstration: business hours run faster than real time, and closed hours are left out."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from salesgauge.streams.simulation.environment import milliseconds
from salesgauge.streams.simulation.hours import BusinessClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from salesgauge.streams.simulation.organisation import Organisation

PACE = 60.0
"""Business time per real time: a minute is an hour."""


class FastClock:
    """Now, in ms since the epoch, of a company whose time begins at an instant within its working hours.

    Until `start` it runs as fast as real time. From then on working time runs ``pace`` times as fast; from a closing it
    goes on with the next opening. Processes that are given one share it.

    Args:
        organisation: its working hours.
        begin: what it shows at first.
        started: a shared number (of `multiprocessing`): when it was started, by the monotonic clock; 0 before.
        pace: business time per real time.
        monotonic: real time, s.
    """

    def __init__(
        self,
        organisation: Organisation,
        begin: datetime,
        started: Any,
        *,
        pace: float = PACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.organisation = organisation
        self.begin = milliseconds(begin)
        self.pace = pace
        self._made = monotonic()
        self._monotonic = monotonic
        self._started = started
        self._open()

    def __call__(self) -> int:
        """What it shows."""
        started, now = self._started.value, self._monotonic()
        shown = self.begin + int(((started or now) - self._made) * 1000)
        if not started:
            return shown
        with self._lock:
            return self._business.after(shown, max(0.0, now - started) * 1000 * self.pace)

    @property
    def running(self) -> bool:
        """Whether it has been started."""
        return bool(self._started.value)

    def start(self) -> None:
        """Let it run at its pace."""
        if not self.running:
            self._started.value = self._monotonic()

    def _open(self) -> None:
        self._business = BusinessClock(self.organisation, self.begin)
        self._lock = threading.Lock()  # the calendar is extended as it is looked at

    def __getstate__(self) -> dict[str, Any]:
        """All but what each process has of its own."""
        return {name: value for name, value in vars(self).items() if name not in {"_business", "_lock"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As it was in the other process."""
        vars(self).update(state)
        self._open()
