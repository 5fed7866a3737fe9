"""What happens in the demo: each scenario goes wrong as it says, for whom it says, and is over again."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import encode
from salesgauge.streams.serve.board import from_file
from salesgauge.streams.serve.board.presentation import presentations
from salesgauge.streams.serve.board.verdicts import judge
from salesgauge.streams.simulation.environment import milliseconds
from salesgauge.streams.simulation.fast_clock import FastClock
from salesgauge.streams.simulation.history import arrival, arrivals, events, history
from salesgauge.streams.simulation.organisation import Organisation
from salesgauge.streams.simulation.scenarios import SCENARIOS, delivering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salesgauge.schemas.events import EventBase
    from salesgauge.streams.simulation.scenarios import Step

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 28, 21, 0, tzinfo=BERLIN)  # a Saturday evening
ORGANISATION = Organisation(leads_per_day=130)
TARGETS = from_file(Path(str(files("salesgauge.streams.simulation") / "targets.yml")), CATALOGUE)
RULES = Rules(zone="Europe/Berlin", sla_in_business_hours=True, calendar={"opens": "08:30", "closes": "18:00"})
REP = "Petra Lindqvist"


def told(name: str) -> tuple[datetime, list[tuple[datetime, Step]]]:
    begin = SCENARIOS[name].begin(ORGANISATION, NOW)
    return begin, SCENARIOS[name].times(ORGANISATION, begin)


def sequence(name: str) -> Iterator[EventBase]:
    begin, times = told(name)
    changes = [(at, step.change) for at, step in times if step.change is not None]
    return events(ORGANISATION, begin - timedelta(days=4), changes=changes)


@cache
def alerts(name: str, hours: float) -> dict[int, set[tuple[str, ...]]]:
    """Minutes since the beginning -> what needs attention on the board then, until so many hours after it."""
    begin, times = told(name)
    machine, found = Machine(RULES, CATALOGUE.scoped()), {}
    known = presentations(machine.catalogue)
    machine.advance(milliseconds(begin))
    arriving = arrivals(sequence(name))
    waiting, kept = next(arriving), []
    for minutes in range(0, int(hours * 60) + 1, 5):
        at = begin + timedelta(minutes=minutes)
        machine.advance(milliseconds(at))
        while arrival(waiting) <= at:
            kept.append(waiting)
            waiting = next(arriving)
        if delivering(times, at):
            machine.apply(kept)
            kept.clear()
        list(machine.readings([], frozenset()))
        firing = [v for v in judge(machine.view, TARGETS, known) if v.firing]
        found[minutes] = {(v.target.summary, *v.labels.values()) for v in firing}
    return found


def first(found: dict[int, set[Any]], alert: tuple[str, ...]) -> int:
    return min((minutes for minutes, firing in found.items() if alert in firing), default=10_000)


# --- what is to be seen


def test_on_a_steady_day_nothing_needs_attention() -> None:
    found = alerts("steady", 7)
    late = {alert for firing in found.values() for alert in firing if alert[0] != "A lead has waited for hours"}
    assert not late


def test_the_leads_of_a_rep_who_is_away_are_late_until_others_take_over() -> None:
    found = alerts("rep-away", 5)
    late, long = ("Leads wait past the SLA", REP), ("A lead has waited for hours", REP)
    assert 20 < first(found, late) < 110  # minutes there, seconds here
    assert first(found, long) < 200
    assert {alert[1:] for firing in found.values() for alert in firing if alert[0] == late[0]} == {(REP,)}
    assert not any({late, long} & firing for minutes, firing in found.items() if minutes > 240)


def test_a_spam_wave_makes_many_leads_wait_and_its_leads_are_deleted() -> None:
    found = alerts("spam-wave", 5)
    many = ("Many leads wait past the SLA",)
    assert 20 < first(found, many) < 90
    assert not any(many in firing for minutes, firing in found.items() if minutes > 240)
    begin, _ = told("spam-wave")
    wave = [e for e in _until(sequence("spam-wave"), begin + timedelta(hours=6)) if e.occurred_at > begin]
    came = {e.lead_id for e in wave if e.name == "lead_created" and e.source == "LinkedIn Ads"}  # type: ignore[attr-defined]
    gone = {e.lead_id for e in wave if e.name == "lead_deleted"}  # type: ignore[attr-defined]
    assert len(came) > 300
    assert len(gone & came) > 0.8 * len(came)


def test_an_outage_shows_no_lead_for_an_hour_and_leaves_no_trace() -> None:
    found = alerts("crm-outage", 4)
    silent = ("No new lead for an hour",)
    assert 50 < first(found, silent) < 90
    assert not any(silent in firing for minutes, firing in found.items() if minutes > 135)
    steady = alerts("steady", 7)
    assert all(found[minutes] == steady[minutes] for minutes in found if minutes > 135)


def test_at_the_end_of_a_quarter_leads_wait_while_deals_are_closed() -> None:
    begin, times = told("quarter-end")
    assert begin == datetime(2025, 12, 31, 13, tzinfo=BERLIN)
    assert times[-1][0].astimezone(BERLIN).date().isoformat() == "2026-01-02"  # after the holiday
    found = alerts("quarter-end", 5)
    late = [minutes for minutes, firing in found.items() if any("past the SLA" in alert[0] for alert in firing)]
    assert 20 < min(late) < 180


def _until(items: Iterator[EventBase], end: datetime) -> Iterator[EventBase]:
    for event in items:
        if event.occurred_at > end:
            return
        yield event


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_changes_nothing_before_its_first_change(name: str) -> None:
    begin, times = told(name)
    changes = [at for at, step in times if step.change is not None] or [begin + timedelta(hours=2)]
    before = [encode(event) for event in _until(sequence(name), changes[0] - timedelta(seconds=1))]
    usual = history(ORGANISATION, begin - timedelta(days=4), changes[0])
    assert before == [encode(event) for event in usual if event.occurred_at <= changes[0] - timedelta(seconds=1)]


def test_scenarios_begin_on_a_working_day_that_has_come() -> None:
    easter = datetime(2026, 4, 6, 12, tzinfo=BERLIN)  # a holiday
    assert SCENARIOS["steady"].begin(ORGANISATION, easter) == datetime(2026, 4, 2, 10, tzinfo=BERLIN)
    early = datetime(2026, 4, 9, 9, 59, tzinfo=BERLIN)
    assert SCENARIOS["steady"].begin(ORGANISATION, early) == datetime(2026, 4, 8, 10, tzinfo=BERLIN)


# --- the clock


def clock(seconds: list[float]) -> FastClock:
    begin = datetime(2026, 3, 27, 17, 30, tzinfo=BERLIN)  # half an hour before the weekend
    return FastClock(ORGANISATION, begin, SimpleNamespace(value=0.0), pace=60, monotonic=lambda: seconds[0])


def test_the_clock_runs_as_real_time_until_it_is_started_then_fast_over_the_weekend() -> None:
    seconds = [100.0]
    running = clock(seconds)

    def shown() -> datetime:
        return datetime.fromtimestamp(running() / 1000, BERLIN)

    seconds[0] += 20
    assert shown() == datetime(2026, 3, 27, 17, 30, 20, tzinfo=BERLIN)
    running.start()
    assert running.running
    seconds[0] += 29
    assert shown() == datetime(2026, 3, 27, 17, 59, 20, tzinfo=BERLIN)
    seconds[0] += 1
    assert shown() == datetime(2026, 3, 30, 8, 30, 20, tzinfo=BERLIN)
    seconds[0] += 60
    assert shown() == datetime(2026, 3, 30, 9, 30, 20, tzinfo=BERLIN)


def test_a_copy_of_the_clock_in_another_process_shows_the_same() -> None:
    running = FastClock(ORGANISATION, datetime(2026, 3, 27, 10, tzinfo=UTC), SimpleNamespace(value=0.0))
    running.start()
    copy = pickle.loads(pickle.dumps(running))
    one, other, again = running(), copy(), running()
    assert one - 1 <= other <= again + 1  # ms, rounded
