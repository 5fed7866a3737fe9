"""Requests, answers and waits against a batch computation of one lead at one instant, whatever the history."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.rules.model import CalendarRule, ResponsePolicyRule, Rules
from salesgauge.schemas.codec import Rejection, validate
from tests.support.waiting import MIN, Case, Policy, Terms, cases, next_responses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from salesgauge.schemas.events import EventBase

ZONE = ZoneInfo("Europe/Berlin")
FRIDAY = datetime(2025, 3, 28, tzinfo=UTC)
"""The clocks change in the night to Sunday."""
DAYS = 5
BEGIN = int(FRIDAY.timestamp()) * 1000
HOURS = {"mon-fri": "09:00-12:00, 13:00-17:00", "sat": "10:00-14:00", "sun": "22:00-06:00"}

RULES = Rules(
    zone="Europe/Berlin",
    zero_is_real=frozenset({"lead_created", "lead_assigned", "activity_logged", "reply_received"}),
    calendar=CalendarRule(hours=HOURS),
    response_sla=timedelta(minutes=30),
    sla_in_business_hours=True,
    response_policies=(
        ResponsePolicyRule(name="demo", source=frozenset({"demo"}), target=timedelta(minutes=5)),
        ResponsePolicyRule(name="gold", tier=frozenset({"gold"}), target=timedelta(hours=2), clock="working_hours"),
        ResponsePolicyRule(name="t1", team=frozenset({"t1"}), target=timedelta(hours=1), clock="working_hours"),
        ResponsePolicyRule(name="chat", channel=frozenset({"chat"}), target=timedelta(minutes=2)),
    ),
    response_exempt_sources=frozenset({"import"}),
    response_customers="exclude",
)


def shifts() -> list[tuple[int, int]]:
    """Working time around the history, by local clocks."""
    found = []
    for number in range(-3, DAYS + 40):
        day = FRIDAY.date() + timedelta(number)
        spans = {5: [("10:00", "14:00")], 6: [("22:00", "06:00")]}.get(
            day.weekday(), [("09:00", "12:00"), ("13:00", "17:00")]
        )
        for opens, closes in spans:
            ends = day + timedelta(closes < opens)
            found.append((_local(f"{day}T{opens}"), _local(f"{ends}T{closes}")))
    return sorted(found)


def _local(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * 1000


TERMS = Terms(
    policies=(
        Policy("demo", 5 * MIN, source=("demo",)),
        Policy("gold", 120 * MIN, business=True, tier=("gold",)),
        Policy("t1", 60 * MIN, business=True, team=("t1",)),
        Policy("chat", 2 * MIN, channel=("chat",)),
        Policy("default", 30 * MIN, business=True),
    ),
    shifts=shifts(),
    exempt_sources=("import",),
    exempt_customers=True,
)

_reps, _teams = st.none() | st.sampled_from(["r1", "r2"]), st.none() | st.sampled_from(["t1", "t2"])
_maybe = st.none() | st.booleans()


def _event(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"event": st.just(name), **fields})


_asked = {
    "source": st.sampled_from([None, "demo", "web", "import"]), "tier": st.sampled_from([None, None, "gold"]),
    "channel": st.sampled_from([None, None, "chat"]),
    "needs_response": st.sampled_from([None, None, None, True, False]),
}  # fmt: skip
_meetings = st.sampled_from(["m1", "m2"])
_created = _event("lead_created", rep_id=_reps, team=_teams, **_asked)
_touch = _event(
    "activity_logged", rep_id=_reps, team=_teams, kind=st.sampled_from(["call", "email", "message", "note", "video"]),
    direction=st.sampled_from(["outbound", "outbound", "inbound"]), automated=st.sampled_from([False, False, True]),
    activity_id=st.sampled_from([None, "act1", "act2"]),
)  # fmt: skip
EVENTS = st.one_of(
    _created,
    _event("lead_reengaged", request_id=st.sampled_from([None, None, "q1"]), **_asked),
    _event("lead_assigned", rep_id=st.sampled_from(["r1", "r2"]), team=_teams),
    _touch,
    _touch,
    _event("email_bounced", activity_id=st.sampled_from(["act1", "act2"])),
    _event("proposal_sent", rep_id=_reps, team=_teams),
    _event(
        "meeting_booked", meeting_id=_meetings, booked_by=st.sampled_from(["rep", "lead", "lead"]), rep_id=_reps,
        team=_teams, scheduled_for=st.none() | st.integers(0, DAYS * 1440),
    ),
    _event(
        "meeting_completed", meeting_id=_meetings, outcome=st.sampled_from(["held", "no_show", "cancelled"]),
        missed_by=st.sampled_from(["rep", "lead"]), rep_id=_reps, team=_teams,
    ),
    _event("response_paused"),
    _event("response_resumed"),
    _event("reply_received", channel=st.sampled_from([None, "email"]), auto_reply=st.booleans()),
    _event(
        "lifecycle_stage_changed", stage=st.sampled_from(["lead", "mql", "customer", "disqualified", "disqualified"])
    ),
    _event("deal_won"),
    _event("deal_lost"),
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of two leads, at instants of their own; each begins with the creation, or with anything."""
    minutes = draw(st.lists(st.integers(0, DAYS * 1440), min_size=2, max_size=16, unique=True))
    # Near to one another half of the time: what matters happens within minutes.
    if draw(st.booleans()):
        minutes = [minutes[0] + minute % 90 for minute in minutes]
        minutes = list(dict.fromkeys(minutes))
    minutes.sort()
    events = []
    for number, minute in enumerate(minutes):
        event = draw(_created if number < 2 and draw(st.booleans()) else EVENTS)
        event = {k: v for k, v in event.items() if v is not None}
        event |= {"event_id": f"e{number}", "ts": BEGIN + minute * MIN, "lead_id": draw(st.sampled_from(["l1", "l2"]))}
        if "scheduled_for" in event:
            event["scheduled_for"] = BEGIN + event["scheduled_for"] * MIN
        if event["event"].startswith("deal_"):
            event |= {"deal_id": f"d{number}"}
        events.append(event)
    return events


def _iso(ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat()


def _validated(event: Mapping[str, Any]) -> EventBase:
    fields = {k: v for k, v in event.items() if k not in ("ts", "rec")}
    if "scheduled_for" in fields:
        fields["scheduled_for"] = _iso(fields["scheduled_for"])
    valid = validate({**fields, "occurred_at": _iso(event["ts"])})
    assert not isinstance(valid, Rejection), valid
    return valid


def _expected(events: Sequence[dict[str, Any]], until: int, t: int, *, merged: bool) -> list[Case]:
    found = []
    for keys in [("l1", "l2")] if merged else [("l1",), ("l2",)]:
        own = [e for e in events if e["lead_id"] in keys and e["ts"] <= until]
        closes = [(e["ts"], e["event"][5:]) for e in own if e["event"] in ("deal_won", "deal_lost")]
        found += cases(own, closes, TERMS, t)
    return found


KPIS = (
    "response_states", "response_requests", "requests_exempt", "leads_waiting", "unowned_waiting",
    "lead_response_seconds", "lead_response_business_seconds", "lead_assignment_response_seconds",
    "lead_response_sla_ratio", "policy_sla_ratio", "lead_oldest_wait_seconds",
)  # fmt: skip
ALL_TIME = frozenset({"all"})
Numbers = dict[tuple[Any, ...], float]


def _of_cases(  # noqa: C901 - a table of what each case counts for
    found: Iterable[Case],
) -> Numbers:
    """What the readings should be, without zeros."""
    numbers: defaultdict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
    for case in found:
        state, policy, source = case.state, case.policy.name, case.source or "unknown"
        rep, team = case.rep or "unknown", case.team or "unknown"
        for labels in (
            {"state": state},
            {"rep": rep, "state": state},
            {"team": team, "state": state},
            {"policy": policy, "state": state},
        ):
            numbers["response_states", "value", *labels.items()] += 1
        asked = "requests_exempt" if case.exempt else "response_requests"
        for labels in ({}, {"source": source}, {"policy": policy}):
            numbers[asked, "value", *labels.items()] += 1
            if case.repeats:
                numbers[asked, "repeated", *labels.items()] += len(case.repeats)
        owners: tuple[dict[str, str], ...] = ({}, {"rep": rep}, {"team": team}, {"source": source})
        if state in ("waiting", "at_risk", "late"):
            for labels in owners:
                numbers["leads_waiting", "value", *labels.items()] += 1
                if state == "late":
                    numbers["leads_waiting", "late", *labels.items()] += 1
            if rep == "unowned":
                for labels in ({}, {"source": source}, {"team": team}):
                    numbers["unowned_waiting", "value", *labels.items()] += 1
        if state == "answered":
            for labels in owners:
                numbers["lead_response_seconds", "count", *labels.items()] += 1
                numbers["lead_response_seconds", "sum", *labels.items()] += Fraction(case.waited, 1000)
                worked = case.worked
                numbers["lead_response_business_seconds", "count", *labels.items()] += 1
                numbers["lead_response_business_seconds", "sum", *labels.items()] += Fraction(worked, 1000)
                if case.since_assigned is not None:
                    numbers["lead_assignment_response_seconds", "count", *labels.items()] += 1
                    numbers["lead_assignment_response_seconds", "sum", *labels.items()] += Fraction(
                        case.since_assigned, 1000
                    )
    return {key: float(value) for key, value in numbers.items() if value}


def _due(found: Iterable[Case], t: int) -> dict[tuple[Any, ...], tuple[int, int]]:
    due: Counter[tuple[Any, ...]] = Counter()
    met: Counter[tuple[Any, ...]] = Counter()
    for case in found:
        if not case.exempt and case.deadline is not None and case.deadline <= t:
            rep, team = case.due_rep or "unknown", case.due_team or "unknown"
            policy = case.policy.name
            for labels in ({}, {"rep": rep}, {"team": team}, {"source": case.source or "unknown"}):
                due["lead_response_sla_ratio", *labels.items()] += 1
                met["lead_response_sla_ratio", *labels.items()] += case.met
            for labels in ({}, {"policy": policy}, {"rep": rep, "policy": policy}, {"team": team, "policy": policy}):
                due["policy_sla_ratio", *labels.items()] += 1
                met["policy_sla_ratio", *labels.items()] += case.met
    return {key: (met[key], n) for key, n in due.items()}


def _check(machine: Machine, found: list[Case], t: int) -> None:
    readings = list(machine.readings(CATALOGUE.select(KPIS), ALL_TIME))
    got = {(r.kpi, r.stat, *r.labels.items()): r.value for r in readings}
    expected = _of_cases(found)
    apart = ("lead_response_sla_ratio", "policy_sla_ratio", "lead_oldest_wait_seconds")
    stats = ("value", "late", "repeated", "count", "sum")
    assert {k: v for k, v in got.items() if v and k[0] not in apart and k[1] in stats} == pytest.approx(expected)
    ratios = {(r.kpi, *r.labels.items()): (r.numerator, r.denominator) for r in readings if r.kpi.endswith("sla_ratio")}
    assert ratios == _due(found, t)
    open_cases = [case for case in found if case.state in ("waiting", "at_risk", "late", "paused") and not case.endless]
    if all(case.state != "paused" for case in open_cases):
        oldest = max((case.on_clock for case in open_cases), default=None)
        assert got.get(("lead_oldest_wait_seconds", "value")) == (None if oldest is None else oldest / 1000)
        oldest = max((case.waited for case in open_cases), default=None)
        assert got.get(("lead_oldest_wait_seconds", "around_the_clock")) == (None if oldest is None else oldest / 1000)
    if not any(case.state == "paused" for case in found):
        assert got.get(("lead_response_seconds", "survival_p50")) == _median([c for c in found if not c.exempt])


def _median(found: Sequence[Case]) -> float | None:
    """The first answer's time at which the product of the shares left is at most one half."""
    left = Fraction(1)
    for time in sorted({case.waited for case in found if case.state == "answered"}):
        at_risk = [case for case in found if case.waited >= time]
        gone = sum(case.waited == time and case.state == "answered" for case in at_risk)
        left *= 1 - Fraction(gone, len(at_risk))
        if left <= Fraction(1, 2):
            return time / 1000
    return None


@settings(max_examples=150)
@given(
    histories(), st.integers(0, DAYS * 1440), st.integers(0, 4 * 1440), st.booleans(), st.randoms(use_true_random=False)
)
def test_requests_equal_the_batch_computation_at_every_instant(
    events: list[dict[str, Any]], minute: int, quiet: int, merged: bool, rng: random.Random
) -> None:
    """Events come in any order and again; then nothing comes any more, and time alone changes what is so."""
    until = BEGIN + minute * MIN
    arriving = [_validated(event) for event in events if event["ts"] <= until]
    if merged:
        merge = {"event": "lead_merged", "event_id": "merge", "lead_id": "l2", "survivor_id": "l1", "ts": BEGIN}
        arriving.append(_validated(merge))
    arriving += rng.sample(arriving, len(arriving) // 2)
    rng.shuffle(arriving)
    machine = Machine(RULES, recorded_by=until)
    machine.advance(until)
    for event in arriving:
        assert machine.apply([event]) == [None]
    for t in sorted({until, until + quiet * MIN, *(until + m * MIN for m in (1, 5, 30, 2000))}):
        machine.advance(t)
        _check(machine, _expected(events, until, t, merged=merged), t)


@given(histories())
def test_next_responses_equal_the_batch_computation(events: list[dict[str, Any]]) -> None:
    end = BEGIN + (DAYS * 1440 + 90) * MIN
    machine = Machine(RULES, recorded_by=end)
    machine.advance(end)
    machine.apply([_validated(event) for event in events])
    expected: defaultdict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
    for lead in ("l1", "l2"):
        for _, ms, rep, team, channel in next_responses([e for e in events if e["lead_id"] == lead], end):
            for labels in (
                {},
                {"rep": rep or "unknown"},
                {"team": team or "unknown"},
                {"channel": channel or "unknown"},
            ):
                expected[tuple(labels.items())] += Fraction(ms, 1000)
    readings = machine.readings(CATALOGUE.select(["next_response_seconds"]), ALL_TIME)
    found = {tuple(r.labels.items()): r.value for r in readings if r.stat == "sum" and r.value}
    assert found == pytest.approx({key: float(value) for key, value in expected.items()})


def test_the_batch_computation_knows_the_worked_example() -> None:
    """Monday to Friday 9-12 and 13-17, Saturday 10-14, two hours: Friday 16:30 is due on Saturday at 11:30."""
    terms = Terms((Policy("default", 120 * MIN, business=True),), shifts())
    [case] = cases(
        [{"event": "lead_created", "event_id": "a", "lead_id": "l", "ts": _local("2025-03-28T16:30")}],
        (),
        terms,
        BEGIN + DAYS * 1440 * MIN,
    )
    assert case.deadline == _local("2025-03-29T11:30")
    assert case.state == "late"
