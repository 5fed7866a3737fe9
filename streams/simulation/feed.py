"""The events of a demonstration, handed on when its clock says so, in a process of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from salesgauge.streams.simulation.environment import moment
from salesgauge.streams.simulation.fast_clock import PACE, FastClock
from salesgauge.streams.simulation.history import arrivals, events
from salesgauge.streams.simulation.pacing import BATCH, Due
from salesgauge.streams.simulation.scenarios import SCENARIOS, Step, delivering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from salesgauge.streams.simulation.organisation import Organisation
    from salesgauge.streams.simulation.output import EventOutput

_LOOK_SECONDS = 0.1
_SPAWN = multiprocessing.get_context("spawn")  # a fork would take over the threads and sockets of the demo


@dataclass(slots=True)
class Demonstration:
    """A company with a history that a scenario happens to, on a clock of its own.

    Args:
        organisation: the company.
        scenario: name of one of `SCENARIOS`.
        days: length of the history.
        now: the present; the scenario begins at the latest instant before it that suits.
        pace: how many times as fast as real time its working time passes.
    """

    organisation: Organisation
    scenario: str
    days: float
    now: datetime
    pace: float = PACE
    clock: FastClock = field(init=False)
    times: list[tuple[datetime, Step]] = field(init=False)
    begin: datetime = field(init=False)
    _delivered: Any = field(init=False)

    def __post_init__(self) -> None:
        scenario = SCENARIOS[self.scenario]
        self.begin = scenario.begin(self.organisation, self.now)
        self.times = scenario.times(self.organisation, self.begin)
        self.clock = FastClock(self.organisation, self.begin, _SPAWN.Value("d", 0.0), pace=self.pace)
        self._delivered = _SPAWN.Value("q", -1)

    @property
    def history(self) -> int | None:
        """How many events the history has, once all of it was handed on."""
        return None if self._delivered.value < 0 else int(self._delivered.value)

    @contextlib.contextmanager
    def feeding(self, output: Callable[[], AbstractContextManager[EventOutput]]) -> Iterator[Any]:
        """Hand on events, in a process (which is yielded) that ends with the block.

        Args:
            output: where they go; called in that process.
        """
        process = _SPAWN.Process(target=_feed, args=(self, output), daemon=True)
        process.start()
        try:
            yield process
        finally:
            process.terminate()
            process.join(timeout=5)

    def feed(self, output: EventOutput) -> Iterator[int]:
        """Hand on the history at once and then what is due; yields how many events so far, now and then."""
        start = (self.begin - timedelta(days=self.days)).replace(hour=0, minute=0, second=0, microsecond=0)
        changes = [(at, step.change) for at, step in self.times if step.change is not None]
        due = Due(arrivals(events(self.organisation, start, changes=changes)))
        sent = 0
        while True:
            now = moment(self.clock())
            batch = due.take(now) if delivering(self.times, now) else []
            for event in batch:
                output.send(event)
            sent += len(batch)
            if len(batch) < BATCH:
                output.flush()
                if self.history is None:
                    self._delivered.value = sent
                yield sent


def _feed(demonstration: Demonstration, output: Callable[[], AbstractContextManager[EventOutput]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the demo ends it
    with output() as opened:
        for _ in demonstration.feed(opened):
            time.sleep(_LOOK_SECONDS)
