"""The simulated organisation: reproducible, ordered, valid, coherent, plausible."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import time as wall
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self
from zoneinfo import ZoneInfo

import pytest
import zstandard
from click.testing import CliRunner

from salesgauge.schemas.codec import decode, encode
from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.schemas.events import EVENTS, DealWon, EventBase, LeadCreated
from salesgauge.streams.cli.simulate import simulate_command
from salesgauge.streams.simulation.company import PROFILE, QUIET
from salesgauge.streams.simulation.environment import MINUTE, milliseconds
from salesgauge.streams.simulation.history import (
    Acceleration,
    Organisation,
    SimulationError,
    arrival,
    arrivals,
    disturb,
    events,
    history,
    live,
)
from salesgauge.streams.simulation.hours import HOUR, BusinessClock
from salesgauge.streams.simulation.output import EventOutput, file_output
from salesgauge.streams.simulation.pacing import Due, in_real_time, throttled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from salesgauge.streams.settings.model import Kafka

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 1, tzinfo=BERLIN)  # the clocks go forward on the 29th
END = START + timedelta(days=60)
ORGANISATION = Organisation(seed=7)


@pytest.fixture(scope="module")
def log() -> list[EventBase]:
    return list(history(ORGANISATION, START, END))


def of(log: Iterable[EventBase], *names: str) -> list[Any]:
    return [event for event in log if event.name in names]


def digest(sequence: Iterable[EventBase]) -> list[bytes]:
    return [encode(event) for event in sequence]


# --- reproducible and ordered


def test_the_same_parameters_give_the_same_bytes(log: list[EventBase]) -> None:
    assert digest(history(ORGANISATION, START, END)) == digest(log)


def test_it_does_not_matter_how_it_is_consumed_or_where_it_ends(log: list[EventBase]) -> None:
    interleaved = events(ORGANISATION, START)
    other = events(Organisation(seed=8), START)
    head = [event for event, _ in itertools.islice(zip(interleaved, other, strict=True), 3000)]
    assert digest(head) == digest(log[:3000])
    shorter = list(history(ORGANISATION, START, START + timedelta(days=9, hours=11)))
    assert digest(shorter) == digest(log[: len(shorter)])


def test_seed_start_and_parameters_matter() -> None:
    def first(organisation: Organisation, start: datetime) -> list[bytes]:
        return digest(itertools.islice(events(organisation, start), 500))

    variants = [
        first(ORGANISATION, START),
        first(Organisation(seed=8), START),
        first(ORGANISATION, START + timedelta(days=1)),
        first(Organisation(seed=7, leads_per_day=121), START),
    ]
    ids = [{json.loads(line)["event_id"] for line in variant} for variant in variants]
    for one, other in itertools.combinations(ids, 2):
        assert not one & other  # published to the same topics, none would be taken for a repetition


def test_another_zone_of_the_same_start_changes_nothing() -> None:
    later = list(itertools.islice(events(ORGANISATION, START.astimezone(UTC)), 500))
    assert digest(later) == digest(itertools.islice(events(ORGANISATION, START), 500))


def test_events_are_ordered_and_within_the_stretch(log: list[EventBase]) -> None:
    times = [event.occurred_at for event in log]
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < END


def test_a_history_may_begin_at_any_time_of_the_day() -> None:
    start = datetime(2026, 3, 4, 15, 17, 3, tzinfo=BERLIN)
    day = list(history(ORGANISATION, start, start + timedelta(hours=6)))
    assert day[0].occurred_at >= start
    assert {"lead_created", "spend_recorded", "quota_set", "rep_joined"} <= {event.name for event in day}


# --- complete and valid


@pytest.mark.parametrize("seed", [7, 0, 1, 2])
def test_every_kind_of_event_occurs_within_60_days(log: list[EventBase], seed: int) -> None:
    found = log if seed == ORGANISATION.seed else history(Organisation(seed=seed), START, END)
    assert {event.name for event in found} == set(EVENTS)


def test_every_event_survives_the_codec(log: list[EventBase]) -> None:
    for event in log:
        assert decode(encode(event)) == event


def test_ids_are_unique_and_keys_present(log: list[EventBase]) -> None:
    assert len({event.event_id for event in log}) == len(log)
    assert all(event.key for event in log)


def test_amounts_have_the_currency_and_whole_cents(log: list[EventBase]) -> None:
    for event in log:
        fields = event.model_dump()
        amounts = [v for k, v in fields.items() if isinstance(v, Decimal) and k != "minutes"]
        if amounts or fields.get("lines"):
            assert fields["currency"] == "EUR"
        for amount in amounts + [line["unit_price"] for line in fields.get("lines", ())]:
            assert amount == amount.quantize(Decimal("0.01"))


# --- coherent


def test_nothing_happens_to_a_lead_before_it_exists_or_after_it_is_merged(log: list[EventBase]) -> None:
    alive: set[Any] = set()
    merged: set[Any] = set()
    for event in log:
        lead_id = getattr(event, "lead_id", None)
        if event.name == "lead_created":
            assert lead_id not in alive
            alive.add(lead_id)
        elif lead_id:
            assert lead_id in alive
            assert lead_id not in merged
        if event.name == "lead_merged":
            assert event.survivor_id in alive - {lead_id}  # type: ignore[attr-defined]
            merged.add(lead_id)
    assert merged


def test_meetings_are_completed_once_when_their_time_has_come(log: list[EventBase]) -> None:
    booked = {event.meeting_id: event for event in of(log, "meeting_booked")}
    completed = of(log, "meeting_completed")
    assert len({event.meeting_id for event in completed}) == len(completed)
    for event in completed:
        meeting = booked[event.meeting_id]
        assert meeting.occurred_at < meeting.scheduled_for <= event.occurred_at
        assert (meeting.lead_id, meeting.kind) == (event.lead_id, event.kind)
    assert {event.outcome for event in completed} == {"held", "no_show", "cancelled"}


def test_deals_are_decided_after_they_were_opened(log: list[EventBase]) -> None:
    state: dict[str, str] = {}
    for event in of(log, "opportunity_created", "proposal_sent", "deal_won", "deal_lost", "deal_reopened"):
        if event.name == "opportunity_created":
            assert state.setdefault(event.deal_id, "open") == "open"
        elif event.name == "deal_reopened":
            assert state[event.deal_id] in {"deal_won", "deal_lost"}
            state[event.deal_id] = "open"
        elif event.name == "proposal_sent" or event.lead_id:
            corrects = event.recorded_at is not None and state[event.deal_id] == event.name
            assert state[event.deal_id] == "open" or corrects
            state[event.deal_id] = "open" if event.name == "proposal_sent" else event.name
        else:
            assert state.setdefault(event.deal_id, event.name) == event.name  # with a customer: decided at once


def test_a_new_customer_has_a_lead_and_a_customer_was_won_or_there_before(log: list[EventBase]) -> None:
    customers = {e.account_id for e in of(log, "subscription_changed") if e.occurred_at == START}
    assert len(customers) == ORGANISATION.customers
    stages = defaultdict(set)
    for event in log:
        if event.name == "lifecycle_stage_changed":
            stages[event.lead_id].add(event.stage)  # type: ignore[attr-defined]
        if isinstance(event, DealWon) and event.kind == "new":
            assert event.lead_id
            assert event.account_id
            assert {"sql", "opportunity"} <= stages[event.lead_id]
            assert event.referred_by is None or event.referred_by in customers
            customers.add(event.account_id)
        elif event.name not in {"opportunity_created", "lead_created"} and getattr(event, "account_id", None):
            assert event.account_id in customers  # type: ignore[attr-defined]


def test_recurring_revenue_adds_up(log: list[EventBase]) -> None:
    """Billing says the level from its first word on; what it says of before is what it said, and churn takes all."""
    billed: dict[str, Decimal] = defaultdict(Decimal)
    absorbed: dict[str, Decimal] = defaultdict(Decimal)
    trials = set()
    for event in of(log, "subscription_changed", "customer_churned", "account_merged"):
        account = event.account_id
        if event.name == "account_merged":
            absorbed[event.survivor_id] += billed.pop(account) + absorbed.pop(account, Decimal())
        elif event.name == "customer_churned":
            assert event.mrr_lost >= billed[account] + absorbed[account]  # it may leave before billing begins
            billed.pop(account)
            absorbed.pop(account)
        elif event.subscription_id:
            trials.add(event.status)
            billed[account] += event.mrr_after
        else:
            assert account not in billed or event.mrr_before == billed[account]
            billed[account] = event.mrr_after
    assert {"trial", "active", "cancelled"} == trials
    assert all(value > 0 for value in billed.values())


def test_what_was_deleted_rests_until_it_is_restored(log: list[EventBase]) -> None:
    deleted: set[str] = set()
    for event in of(log, *(name for name in EVENTS if "lead_id" in EVENTS[name].model_fields)):
        if event.name == "lead_restored":
            deleted.remove(event.lead_id)
        assert event.lead_id not in deleted
        if event.name == "lead_deleted":
            deleted.add(event.lead_id)
    assert deleted


def test_a_churned_account_is_silent(log: list[EventBase]) -> None:
    gone: set[Any] = set()
    for event in log:
        account_id = getattr(event, "account_id", None)
        if account_id in gone:
            # A ticket's survey may still be answered; nothing else.
            assert event.name == "survey_answered"
        if event.name == "customer_churned":
            gone.add(account_id)
    assert len(gone) >= 3


def test_reps_act_only_while_they_work_here(log: list[EventBase]) -> None:
    teams: dict[str, str] = {}
    for event in log:
        if event.name == "rep_joined":
            teams[event.rep_id] = event.team  # type: ignore[attr-defined]
        elif event.name == "rep_left":
            del teams[event.rep_id]  # type: ignore[attr-defined]
        elif event.name not in {
            "reply_received",
            "survey_answered",
        }:  # these are the lead's and the customer's
            rep_id = getattr(event, "rep_id", None)
            assert rep_id is None or rep_id in teams
            assert getattr(event, "team", None) in {None, teams.get(rep_id or "")}


def test_corrections_restate_the_fact_and_are_recorded_later(log: list[EventBase]) -> None:
    for name in ("opportunity_created", "deal_won"):
        corrections = [event for event in of(log, name) if event.recorded_at is not None]
        assert corrections
        originals = {(e.deal_id, e.occurred_at) for e in of(log, name) if e.recorded_at is None}
        assert all((event.deal_id, event.occurred_at) in originals for event in corrections)
    assert all(event.recorded_at >= event.occurred_at for event in log if event.recorded_at)


def test_deals_are_entities_of_their_own(log: list[EventBase]) -> None:
    kinds = Counter(event.kind for event in of(log, "deal_won"))
    assert set(kinds) == {"new", "upsell", "cross_sell", "renewal"}
    for event in of(log, "deal_won"):
        assert event.key == event.deal_id


# --- plausible


def first_touches(log: Iterable[EventBase]) -> dict[str, EventBase]:
    first: dict[str, EventBase] = {}
    for event in of(log, "activity_logged"):
        if event.lead_id and event.direction == "outbound" and not event.automated:
            first.setdefault(event.lead_id, event)
    return first


def test_about_85_percent_are_answered_within_the_sla_by_all_reps(log: list[EventBase]) -> None:
    clock = BusinessClock(ORGANISATION, milliseconds(START))
    gone = {event.lead_id for event in of(log, "lead_merged", "lead_deleted", "response_paused")}
    asked = {e.lead_id: e for e in of(log, "lead_created") if e.needs_response is not False and e.lead_id not in gone}
    booked = {event.lead_id for event in of(log, "meeting_booked") if event.booked_by == "lead"}
    first = first_touches(log)
    mature = [i for i, e in asked.items() if e.occurred_at < END - timedelta(days=2) and i not in booked]
    assert all(i in first for i in mature)
    waits: dict[Any, list[float]] = defaultdict(list)
    for i in mature:
        waited = clock.worked(milliseconds(first[i].occurred_at)) - clock.worked(milliseconds(asked[i].occurred_at))
        waits[first[i].rep_id].append(waited / MINUTE)  # type: ignore[attr-defined]
    whole = [wait for times in waits.values() for wait in times]
    assert 0.82 < sum(wait <= 15 for wait in whole) / len(whole) < 0.92
    assert all(median(times) < 15 for times in waits.values())
    assert sum(wait > 120 for wait in whole) / len(whole) < 0.01


def test_night_arrivals_are_answered_in_the_morning(log: list[EventBase]) -> None:
    first = first_touches(log)
    nightly = [e for e in of(log, "lead_created") if e.occurred_at.astimezone(BERLIN).hour < 6 and e.lead_id in first]
    answered = [first[e.lead_id].occurred_at.astimezone(BERLIN).hour for e in nightly if e.needs_response is not False]
    assert sum(hour in (8, 9) for hour in answered) > 0.9 * len(answered)


def test_sources_convert_differently(log: list[EventBase]) -> None:
    created = {event.lead_id: event.source for event in of(log, "lead_created")}
    leads = Counter(created.values())
    won = Counter(created[i] for i in {e.lead_id for e in of(log, "deal_won") if e.kind == "new"})
    assert 0.008 < won.total() / leads.total() < 0.04
    assert won["Referral"] / leads["Referral"] > 2 * won["LinkedIn Ads"] / leads["LinkedIn Ads"]


def test_ratios_lie_where_sales_people_expect_them(log: list[EventBase]) -> None:
    """Published benchmarks of business software: lead to MQL 26-45 %, to SQL 9-17 %, won 18-35 % of opportunities."""
    count = Counter(event.name for event in log)
    leads = count["lead_created"]
    reached = Counter(stage for _, stage in {(e.lead_id, e.stage) for e in of(log, "lifecycle_stage_changed")})
    assert 0.26 < reached["mql"] / leads < 0.45
    assert 0.09 < reached["sql"] / leads < 0.19
    assert 0.03 < reached["opportunity"] / leads < 0.09
    held = sum(event.outcome == "held" for event in of(log, "meeting_completed"))
    assert 0.7 < held / count["meeting_completed"] < 0.9
    opened = {event.deal_id for event in of(log, "opportunity_created")}
    won, lost = ({e.deal_id for e in of(log, name)} & opened for name in ("deal_won", "deal_lost"))
    assert 0.18 < len(won) / len(won | lost) < 0.42
    sentiments = Counter(event.sentiment for event in of(log, "reply_received") if not event.auto_reply)
    sentiments.update(event.sentiment for event in of(log, "reply_classified"))
    assert all(sentiments[s] > 0.1 * sentiments.total() for s in ("positive", "negative", "neutral"))
    automatic = sum(event.auto_reply for event in of(log, "reply_received"))
    assert 0.02 < automatic / count["reply_received"] < 0.15
    assert count["customer_churned"] / ORGANISATION.customers < 0.12  # in two months
    marketing = sum(event.amount for event in of(log, "spend_recorded") if event.category == "marketing")
    assert 15 < marketing / leads < 80


def test_spend_and_leads_share_channels_and_campaigns(log: list[EventBase]) -> None:
    spend = [event for event in of(log, "spend_recorded") if event.category == "marketing"]
    leads = of(log, "lead_created")
    assert {event.channel for event in spend} <= {event.source for event in leads}
    assert {event.campaign_id for event in leads} - {None} == {event.campaign_id for event in spend}


def test_humans_keep_business_hours_and_automation_does_not(log: list[EventBase]) -> None:
    hours: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for event in of(log, "activity_logged"):
        local = event.occurred_at.astimezone(BERLIN)
        hours[event.automated][local.hour] += 1
        if not event.automated and event.lead_id:
            assert local.weekday() < 5
    assert not any(hours[False][hour] for hour in (*range(7), *range(22, 24)))
    assert any(hours[True][hour] for hour in (21, 22, 23))


def test_holidays_and_weekends_are_quiet(log: list[EventBase]) -> None:
    days = Counter(event.occurred_at.astimezone(BERLIN).date() for event in of(log, "lead_created"))
    quiet = [n for day, n in days.items() if day.weekday() >= 5]
    easter_monday, good_friday = date(2026, 4, 6), date(2026, 4, 3)
    assert median(quiet) < 1.6 * QUIET * ORGANISATION.leads_per_day
    assert max(days[easter_monday], days[good_friday]) < 50
    assert 110 < sum(n for day, n in days.items() if day.weekday() < 5) / 41 < 130  # 41 working days


# --- time zones


def test_arrivals_follow_the_profile_of_local_hours() -> None:
    organisation = Organisation(seed=3, zone="Asia/Kolkata", country=None, leads_per_day=3000)
    zone = ZoneInfo("Asia/Kolkata")
    start = datetime(2026, 6, 1, tzinfo=zone)  # a Monday
    hours = Counter(
        event.occurred_at.astimezone(zone).hour
        for event in history(organisation, start, start + timedelta(days=5))
        if event.name == "lead_created"
    )
    for hour, percent in enumerate(PROFILE):
        expected = hours.total() * percent / sum(PROFILE)
        assert abs(hours[hour] - expected) < 5 * expected**0.5 + 5, hour


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 3, 30), 24)])
def test_a_day_has_as_many_hours_as_the_clock_on_the_wall_shows(day: date, hours: int) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=BERLIN)
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), BERLIN)
    assert (end.astimezone(UTC) - start.astimezone(UTC)) == timedelta(hours=hours)
    log = list(history(Organisation(leads_per_day=5000), start, end))
    seen = {event.occurred_at.replace(minute=0, second=0, microsecond=0) for event in of(log, "lead_created")}
    assert len(seen) == hours


def test_working_time_skips_nights_weekends_and_the_lost_hour() -> None:
    clock = BusinessClock(Organisation(), int(START.timestamp() * 1000))

    def at(*parts: int) -> int:
        return int(datetime(*parts, tzinfo=BERLIN).timestamp() * 1000)  # type: ignore[misc, arg-type]

    friday, monday = at(2026, 3, 27, 17, 0), at(2026, 3, 30, 10, 30)
    assert clock.after(friday, 3 * HOUR) == monday
    assert clock.after(at(2026, 3, 28, 3, 0), 0) == at(2026, 3, 30, 8, 30)
    assert clock.worked(monday) - clock.worked(friday) == 3 * HOUR
    assert clock.worked(at(2026, 4, 7, 8, 30)) == clock.worked(at(2026, 4, 2, 18, 0))  # Easter
    clock.accelerate(friday, 60.0)
    assert clock.after(friday, HOUR) == friday + HOUR // 60
    assert clock.after(friday, 100 * HOUR) == friday + 100 * HOUR // 60


# --- the present


def test_acceleration_changes_nothing_before_it_begins(log: list[EventBase]) -> None:
    since = START + timedelta(days=20, hours=2)
    accelerated = itertools.takewhile(
        lambda e: e.occurred_at < since, events(ORGANISATION, START, acceleration=Acceleration(since))
    )
    assert digest(accelerated) == [encode(event) for event in log if event.occurred_at < since]


@pytest.mark.parametrize("begin", [datetime(2026, 3, 24, 3, tzinfo=BERLIN), datetime(2026, 4, 5, 12, tzinfo=BERLIN)])
def test_a_minute_of_demonstration_is_lively_at_night_and_at_easter(begin: datetime) -> None:
    sequence = events(ORGANISATION, START, acceleration=Acceleration(begin))
    minute = [
        event
        for event in itertools.takewhile(lambda e: e.occurred_at < begin + timedelta(minutes=1), sequence)
        if event.occurred_at >= begin
    ]
    created = {event.lead_id: event for event in of(minute, "lead_created")}
    first = {i: e for i, e in first_touches(minute).items() if i in created}
    waits = [(touch.occurred_at - created[i].occurred_at).total_seconds() for i, touch in first.items()]
    assert 5 <= len(created) <= 40
    assert min(waits) < 10
    assert len(first) < len(created)
    assert {"reply_received", "meeting_booked", "activity_logged"} <= {event.name for event in minute}


@pytest.mark.parametrize("rate", [2.0, 20.0, 200.0])
def test_acceleration_reaches_its_rate(rate: float) -> None:
    begin = START + timedelta(days=5)
    sequence = events(ORGANISATION, START, acceleration=Acceleration(begin, rate=rate))
    end = begin + timedelta(minutes=3)
    counted = sum(e.occurred_at >= begin for e in itertools.takewhile(lambda e: e.occurred_at < end, sequence))
    assert 0.6 * rate < counted / 180 < 1.6 * rate


def test_acceleration_may_begin_with_the_start() -> None:
    log = list(itertools.islice(events(ORGANISATION, START, acceleration=Acceleration(START)), 3000))
    assert log[-1].occurred_at < START + timedelta(hours=1)
    days = Counter(event.campaign_id for event in of(log, "spend_recorded"))
    length = (log[-1].occurred_at - START) / timedelta(minutes=9.5)
    assert max(days.values()) <= length + 1


def test_arrivals_are_ordered_by_what_is_known_when(log: list[EventBase]) -> None:
    reordered = list(arrivals(log))
    assert [arrival(event) for event in reordered] == sorted(arrival(event) for event in log)
    assert Counter(e.event_id for e in reordered) == Counter(e.event_id for e in log)


def test_live_hands_out_the_past_at_once_and_the_rest_when_it_is_due() -> None:
    now = START + timedelta(days=3)
    clock = [now]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += timedelta(seconds=seconds)

    batches = in_real_time(
        live(ORGANISATION, START, now), now=lambda: clock[0], sleep=sleep, until=now + timedelta(seconds=60)
    )
    delivered: list[tuple[datetime, EventBase]] = [(clock[0], event) for batch in batches for event in batch]
    past = [event for at, event in delivered if at == now]
    assert len(past) > 500
    late = [(at - arrival(event)).total_seconds() for at, event in delivered if at > now]
    assert len(late) > 20
    assert min(late) >= 0
    assert max(late) <= 0.25
    assert sum(slept) == pytest.approx(60, abs=0.5)


def test_live_without_acceleration_goes_on_as_before() -> None:
    now = START + timedelta(days=2)
    calm = itertools.islice(live(ORGANISATION, START, now, pace=None), 2000)
    assert digest(calm) == digest(itertools.islice(arrivals(events(ORGANISATION, START)), 2000))


def test_due_takes_no_more_than_the_limit_and_says_how_long_to_wait() -> None:
    due = Due(history(ORGANISATION, START, START + timedelta(days=1)))
    assert len(due.take(END, limit=10)) == 10
    assert due.wait(START - timedelta(hours=1)) >= 3600.0  # type: ignore[operator]
    while due.take(END):
        pass
    assert due.wait(START) is None


def test_throttled_keeps_to_its_schedule() -> None:
    now = [0.0]
    sequence = list(itertools.islice(events(ORGANISATION, START), 1000))
    batches = throttled(sequence, 200.0, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s + 0.01))
    assert sum(len(batch) for batch in batches) == 1000
    assert now[0] == pytest.approx(5.0, abs=0.05)


# --- bad delivery


def test_disturb_loses_nothing_and_is_reproducible() -> None:
    items = list(range(10_000))
    once = list(disturb(items, seed=3, duplicates=0.05, late=0.02))
    assert once == list(disturb(items, seed=3, duplicates=0.05, late=0.02))
    assert once != list(disturb(items, seed=4, duplicates=0.05, late=0.02))
    counts = Counter(once)
    assert set(counts) == set(items)
    assert 400 < sum(n == 2 for n in counts.values()) < 600
    assert max(counts.values()) == 2


def test_disturb_in_a_window_is_lazy_and_local() -> None:
    endless = disturb(itertools.count(), window=50, duplicates=0.0)
    head = list(itertools.islice(endless, 5000))
    assert head != sorted(head)
    assert all(item <= place + 50 for place, item in enumerate(head))
    assert list(disturb(range(100), window=1, duplicates=0.0)) == list(range(100))


def test_late_items_come_last() -> None:
    delivered = list(disturb(range(1000), duplicates=0.0, window=1, late=0.1))
    on_time = list(itertools.takewhile(lambda pair: pair[0] < pair[1], itertools.pairwise(delivered)))
    assert 850 < len(on_time) < 950


# --- refusals


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"leads_per_day": 0}, "leads_per_day"),
        ({"leads_per_day": float("nan")}, "leads_per_day"),
        ({"reps": 3}, "reps"),
        ({"teams": ()}, "teams"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"zone": "../etc/passwd"}, "zone"),
        ({"country": "QQ"}, "country"),
        ({"customers": -1}, "customers"),
        ({"products": ()}, "products"),
    ],
)
def test_impossible_organisations_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        Organisation(**parameters)


def test_instants_need_a_zone_and_an_order() -> None:
    with pytest.raises(SimulationError, match="time zone"):
        events(ORGANISATION, datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(SimulationError, match="before the start"):
        history(ORGANISATION, END, START)
    with pytest.raises(SimulationError, match="before the start"):
        events(ORGANISATION, END, acceleration=Acceleration(START))
    with pytest.raises(SimulationError, match="pace"):
        Acceleration(START, pace=0)
    with pytest.raises(SimulationError, match="rate"):
        Acceleration(START, rate=-1)


def test_small_and_large_organisations_work() -> None:
    small = Organisation(reps=2, teams=("all",), leads_per_day=2)
    assert list(history(small, START, START + timedelta(days=90)))
    large = Organisation(reps=300, teams=tuple("abcdefgh"), leads_per_day=5000)
    assert len(list(history(large, START, START + timedelta(days=2)))) > 8000


# --- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(simulate_command, arguments)


def test_the_command_writes_what_the_module_yields() -> None:
    result = run("--seed", "7", "--from", "2026-03-01", "--days", "2", "-q")
    assert result.exit_code == 0
    assert result.stdout_bytes.splitlines() == digest(history(ORGANISATION, START, START + timedelta(days=2)))
    assert result.stderr == ""


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_files_are_compressed_by_their_suffix_and_reproducible(tmp_path: Path, suffix: str) -> None:
    contents = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.jsonl{suffix}"
        result = run("--from", "2026-03-01", "--to", "2026-03-02T12:00+01:00", "--out", str(path))
        assert result.exit_code == 0, result.output
        assert "events" in result.stderr
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    raw = contents[0]
    if suffix == ".gz":
        raw = gzip.decompress(raw)
    elif suffix == ".zst":
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    assert all(isinstance(decode(line), EventBase) for line in raw.splitlines())
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a.jsonl{suffix}", f"b.jsonl{suffix}"]


def test_the_command_can_deliver_badly() -> None:
    result = run("--from", "2026-03-02", "--days", "1", "--shuffle", "--duplicates", "0.2", "-q")
    lines = result.stdout_bytes.splitlines()
    assert len(lines) > 1.1 * len(set(lines))
    assert [json.loads(line)["occurred_at"] for line in lines] != sorted(
        json.loads(line)["occurred_at"] for line in lines
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "yesterday"), "no time such as"),
        (("--zone", "Mars/Olympus"), "IANA"),
        (("--reps", "1"), "reps"),
        (("--from", "2026-03-01", "--to", "2026-02-01"), "before the start"),
        (("--from", "2026-03-01", "--to", "2026-04-01", "--days", "3"), "two of"),
        (("--from", "9999-12-31", "--days", "30"), "too far"),
        (("--live", "--to", "2026-04-01"), "--for"),
        (("--live", "--out", "x.jsonl"), "--live"),
        (("--live", "--shuffle"), "--shuffle"),
        (("--for", "3"), "--live"),
        (("--live", "--pace", "0"), "pace"),
        (("--bootstrap", "b:1"), "--publish"),
        (("--publish", "--bootstrap", "b:1", "--out", "x"), "exclude"),
        (("--rate", "0"), "--rate"),
    ],
)
def test_wrong_use_is_explained(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    result = run("--from", "2026-03-01", "--days", "1", "--out", str(tmp_path / "absent" / "x.jsonl"))
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
    assert run("--out", str(tmp_path)).exit_code == 2


def write(sink: EventOutput, items: list[Any]) -> None:
    for item in items:
        sink.send(item)


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("old")
    with pytest.raises(AttributeError), file_output(path) as sink:
        write(sink, [LeadCreated(event_id="e", occurred_at=START, lead_id="l"), None])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def start_command(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    code = "from salesgauge.streams.cli.simulate import simulate_command as c; c()"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c_leaves_no_file(tmp_path: Path) -> None:
    process = start_command("--from", "2000-01-01", "--days", "9000", "--out", "big.jsonl", cwd=tmp_path)
    deadline = wall.monotonic() + 20
    while not any(p.stat().st_size > 100_000 for p in tmp_path.iterdir()) and wall.monotonic() < deadline:
        wall.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_a_live_run_well(tmp_path: Path) -> None:
    process = start_command("--live", "--days", "1", "--rate", "50", cwd=tmp_path)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(200)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert all(isinstance(decode(line), EventBase) for line in lines)


class UnreachableError(SalesgaugeError):
    """Stands for the broker's own error."""


class FakePublisher:
    sent: ClassVar[list[EventBase]] = []

    def __init__(self, kafka: Kafka) -> None:
        if kafka.bootstrap != "broker:9092":
            raise UnreachableError(f"no broker at {kafka.bootstrap}")
        self.sent.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def send(self, event: EventBase) -> None:
        self.sent.append(event)

    def flush(self) -> None: ...


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> type[FakePublisher]:
    for name, content in (
        ("publisher", {"Publisher": FakePublisher}),
        ("connection", {"BrokerError": UnreachableError}),
    ):
        module = ModuleType(f"salesgauge.streams.kafka.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return FakePublisher


def test_publishing_goes_through_the_publisher(publisher: type[FakePublisher]) -> None:
    result = run("--seed", "7", "--from", "2026-03-01", "--days", "1", "--publish", "--bootstrap", "broker:9092")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert digest(publisher.sent) == digest(history(ORGANISATION, START, START + timedelta(days=1)))


def test_a_broker_that_cannot_be_reached_is_explained(publisher: type[FakePublisher]) -> None:
    result = run("--from", "2026-03-01", "--days", "1", "--publish", "--bootstrap", "nowhere:1")
    assert result.exit_code == 1
    assert "no broker at nowhere:1" in result.stderr
    assert "Traceback" not in result.output


def test_times_without_an_offset_are_local() -> None:
    said = [
        run("--from", "2026-07-01", "--to", end, "--zone", "Europe/Berlin")
        for end in ("2026-07-02", "2026-07-01T22:00Z")
    ]
    assert said[0].stdout == said[1].stdout != ""
    wrong = run("--from", "yesterday")
    assert (wrong.exit_code, "'yesterday' is no time" in wrong.output) == (2, True)
