"""A replay: records of a source, the engine under a virtual clock, its readings at one instant or at many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.errors import InputError
from salesgauge.streams.io.instants import Steps, aligned, iso
from salesgauge.streams.io.rejects import Rejects
from salesgauge.streams.replay.currency import is_open, reporting, sole_currency
from salesgauge.streams.replay.selection import KpiChoice
from salesgauge.streams.replay.virtual_clock import ClockedEngine

if TYPE_CHECKING:
    from salesgauge.streams.io.records import RecordSource
    from salesgauge.streams.replay.virtual_clock import Evaluation

T = TypeVar("T")

DEFAULT_STEP = 60_000
"""Between instants where only the first or the last one is given (ms)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Many instants, ``step`` ms apart; an end that is None is that of the events."""

    step: int = DEFAULT_STEP
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What a replay is asked for.

    Attributes:
        at: the one instant (ms); None is when the latest event happened.
        span: many instants instead.
        corrected: with what is known today of an instant, or with what was known then; by default the former of one
            instant, the latter of many.
        choice: what of the catalogue is computed.
        rules: of the business.
        processes: so many share the work of one instant.
    """

    at: int | None = None
    span: Span | None = None
    corrected: bool | None = None
    choice: KpiChoice = field(default_factory=KpiChoice)
    rules: Rules = field(default_factory=Rules)
    processes: int = 1

    @property
    def knows_today(self) -> bool:
        """Whether each instant is shown with what is known of it today."""
        return self.span is None if self.corrected is None else self.corrected

    @property
    def until(self) -> int | None:
        """From this instant (ms) on, nothing of a log matters; None where all may."""
        last = self.span.last if self.span else self.at
        return None if last is None or self.knows_today else last + 1


class ReplayProgress(Protocol):
    """Shows how far a replay is."""

    def over(self, items: Iterable[T], what: str, done: Callable[[], tuple[int, int]], unit: str) -> Iterator[T]:
        """Pass items on; ``done`` says how much of how much is done."""


class _Silent:
    def over(self, items: Iterable[T], what: str, done: Callable[[], tuple[int, int]], unit: str) -> Iterator[T]:
        del what, done, unit
        return iter(items)


class ReplayRun:
    """One replay. Take its :meth:`evaluations` once.

    Attributes:
        notes: what was decided for the user, in sentences.
        instants: how many were evaluated so far.
    """

    def __init__(
        self,
        source: RecordSource,
        request: ReplayRequest,
        rejects: Rejects | None = None,
        progress: ReplayProgress | None = None,
    ) -> None:
        self._source = source
        self._request = request
        self._progress = progress or _Silent()
        self.notes: list[str] = []
        self.engine = ClockedEngine(self._rules(), request.choice.catalogue(), rejects or Rejects())
        self.instants = 0

    @cached_property
    def steps(self) -> Steps | None:
        """The many instants; None where one was asked for, or there is no event.

        Raises:
            InputError: the last one lies before the first.
        """
        span = self._request.span
        if span is None:
            return None
        first, last = span.first, span.last
        if first is None or last is None:
            found = self._source.span(corrected=self._request.knows_today)
            if found is None:
                return None
            first, last = found[0] if first is None else first, found[1] if last is None else last
        if last < first:
            raise InputError(f"the last instant {iso(last)} lies before the first {iso(first)}")
        return aligned(first, last, span.step) if span.first is None else Steps(first, last, span.step)

    def evaluations(self, after: int | None = None) -> Iterator[Evaluation]:
        """What the gauges show at the instant, or at the instants in order of time. Use each before the next.

        Args:
            after: of many instants, only those after this one (ms).

        Raises:
            SalesgaugeError: the input is wrong.
        """
        evaluations = [self._at_once()] if self._request.span is None else self._walk(after)
        for evaluation in evaluations:
            self.instants += 1
            yield evaluation

    def _rules(self) -> Rules:
        """The rules, in the currency of the files if that is one and none was set."""
        rules = self._request.rules
        if not self._source.rereadable or not is_open(rules):
            return rules
        currency = sole_currency(self._source.records(), rules.currency)
        if currency is None:
            return rules
        note = f"all amounts are in {currency}, so it is the reporting currency; set rules.currency to choose"
        self.notes.append(note)
        return reporting(rules, currency)

    def _at_once(self) -> Evaluation:
        request, source = self._request, self._source
        if request.processes > 1:
            from salesgauge.streams.replay.parallel import load_by_processes  # noqa: PLC0415 - seldom asked for

            return load_by_processes(source, self.engine, request, self._progress)
        records = self._progress.over(source.records(), "events", source.done, "events")
        return self.engine.load(records, request.at, corrected=request.knows_today)

    def _walk(self, after: int | None) -> Iterator[Evaluation]:
        left = [at for at in self.steps or () if after is None or at > after]
        ordered = self._source.ordered(corrected=self._request.knows_today)
        events = self._progress.over(ordered, "events", self._source.done, "events")
        walk = self.engine.walk(events, left)
        for _ in self._progress.over(walk, "steps", lambda: (self.instants, len(left)), "steps"):
            yield self.engine.show()
