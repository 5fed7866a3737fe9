"""The open pipeline against a batch computation of one deal at one instant, whatever the history."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.entities.contributions import totals
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.registry import MeasureUnit
from salesgauge.metrics.rules.model import CurrencyRate, Rules, StageRule
from salesgauge.schemas.codec import Rejection, validate
from tests.support.pipeline import Deal, Stage, Standing, Terms, quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from salesgauge.metrics.measures.registry import Measure
    from salesgauge.schemas.events import EventBase

HOUR, DAY = 3_600_000, 86_400_000
BEGIN = 1_767_225_600_000
"""1 January 2026, midnight in UTC."""
END = BEGIN + 150 * DAY
ZONE = "America/New_York"
RULES = Rules(
    zone=ZONE,
    sales_period="month",
    max_future=timedelta(days=10_000),
    zero_is_real=frozenset({"opportunity_created", "deal_changed", "deal_won", "deal_lost"}),
    stages=(
        StageRule(name="Demo", probability=0.125, limit_days=3),
        StageRule(name="Offer"),
        StageRule(name="Closed Won", kind="won"),
        StageRule(name="Closed Lost", kind="lost"),
    ),
    rates=(
        CurrencyRate(currency="USD", rate="0.9"),
        CurrencyRate(currency="USD", rate="0.75", since=date(2026, 2, 1)),
    ),
)


def _rate(currency: str, at: int) -> Fraction:
    february = int(datetime(2026, 2, 1, tzinfo=ZoneInfo(ZONE)).timestamp()) * 1000
    return {"USD": Fraction(3, 4) if at >= february else Fraction(9, 10)}.get(currency, Fraction(1))


TERMS = Terms(
    (
        Stage("Demo", Fraction(1, 8), limit=3 * DAY),
        Stage("Offer"),
        Stage("Closed Won", kind="won"),
        Stage("Closed Lost", kind="lost"),
    ),
    ZONE,
    months=1,
    rate=_rate,
)

_days = st.sampled_from([0, 1, 1, 2, 5, 20, 31, 32, 45, 59, 60, 90, 91, 120])
_instants = st.builds(lambda day, hour: BEGIN + day * DAY + hour * HOUR, _days, st.sampled_from([0, 0, 1, 12, 23]))
_dates = st.sampled_from([BEGIN - DAY, BEGIN + 20 * DAY, BEGIN + 40 * DAY, BEGIN + 70 * DAY, BEGIN + 100 * DAY])
_touched = st.fixed_dictionaries({
    "event": st.just("activity_logged"), "lead_id": st.just("l"), "kind": st.sampled_from(["call", "email", "note"]),
    "automated": st.sampled_from([False, False, True]),
})  # fmt: skip
_reps, _teams = st.sampled_from(["ann", "bob"]), st.sampled_from([None, None, "north"])
_amounts = st.sampled_from([0, 10, 99.99, 1000])
_currencies = st.sampled_from(["EUR", "USD", "USD"])
_ABSENT = "absent"


def _maybe(strategy: st.SearchStrategy[Any], *, clears: bool = False) -> st.SearchStrategy[Any]:
    absent = st.just(_ABSENT)
    return absent | strategy | (st.none() if clears else absent)


_changed = st.fixed_dictionaries({
    "event": st.just("deal_changed"),
    "stage": _maybe(st.sampled_from(["Demo", "Demo", "Offer", "Talks", "Closed Won", "Closed Lost"]), clears=True),
    "category": _maybe(st.sampled_from(["commit", "best_case", "omitted"]), clears=True),
    "probability": _maybe(st.sampled_from([0, 0.25, 0.3333333, 1]), clears=True),
    "amount": _maybe(_amounts, clears=True), "currency": _maybe(_currencies, clears=True),
    "rep_id": _maybe(_reps, clears=True), "expected_close": _maybe(_dates, clears=True) | _dates,
})  # fmt: skip
_opened = st.fixed_dictionaries({
    "event": st.just("opportunity_created"), "lead_id": st.sampled_from([_ABSENT, "l"]), "rep_id": _maybe(_reps),
    "team": _teams, "amount": _maybe(st.sampled_from([10, 99.99, 1000])), "currency": _maybe(_currencies),
})  # fmt: skip
_outcomes: list[dict[str, Any]] = [
    {"event": "deal_won"},
    {"event": "deal_lost"},
    {"event": "deal_lost", "amount": 7, "currency": "USD"},
    {"event": "deal_reopened"},
    {"event": "deal_reopened"},
]
_closes = st.sampled_from(_outcomes).map(lambda fields: fields | {"lead_id": "l"})
_ends = st.sampled_from(["deal_deleted", "deal_restored", "deal_restored"]).map(lambda name: {"event": name})
_owned = st.fixed_dictionaries(
    {"event": st.just("lead_assigned"), "lead_id": st.just("l"), "rep_id": _reps, "team": _teams}
)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events about two deals of one lead, some of them recorded later, and some of these corrected."""
    kinds = _changed | _changed | _changed | _opened | _closes | _closes | _ends | _owned | _touched
    drawn = [draw(_opened), *draw(st.lists(kinds, max_size=10))]
    found: list[dict[str, Any]] = []
    for number, fields in enumerate(drawn):
        at = draw(_instants)
        event: dict[str, Any] = {k: v for k, v in fields.items() if v != _ABSENT and (v is not None or k != "team")}
        event |= {"event_id": f"e{number}", "at": at, "rec": at + draw(st.sampled_from([0, 0, HOUR, 10 * DAY]))}
        if event["event"] == "opportunity_created":
            event["rec"] += number  # of several openings one was recorded last
        elif event["event"] == "lead_assigned":
            event["at"] = event["rec"] = at + number  # one owner at a time
        if event["event"] not in ("lead_assigned", "activity_logged"):
            event["deal_id"] = draw(st.sampled_from(["d1", "d1", "d2"])) if number else "d1"
        found.append(event)
        if event["event"].startswith("deal_") and draw(st.integers(0, 5)) == 0:
            found.append(event | {"at": draw(_instants), "rec": event["rec"] + 100 * DAY + number})
    return found


def _iso(ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat()


def _validated(event: Mapping[str, Any]) -> EventBase:
    fields = {k: v for k, v in event.items() if k not in ("at", "rec")}
    if fields.get("expected_close"):
        fields["expected_close"] = _iso(fields["expected_close"])
    valid = validate({**fields, "occurred_at": _iso(event["at"]), "recorded_at": _iso(event["rec"])})
    assert not isinstance(valid, Rejection), valid
    return valid


def deals(events: Sequence[dict[str, Any]]) -> list[Deal]:
    """The deals of a history by the batch computation."""
    assigned = sorted((e["at"], e["rep_id"], e.get("team") or "") for e in events if e["event"] == "lead_assigned")
    touched = (e for e in events if e["event"] == "activity_logged" and not e["automated"] and e["kind"] != "note")
    touches = [e["at"] for e in touched]
    found = []
    for name in ("d1", "d2"):
        own = [e for e in events if e.get("deal_id") == name]
        of_lead = any(e.get("lead_id") for e in own)
        found.append(Deal(own, assigned if of_lead else [], TERMS, touches if of_lead else []))
    return found


def fed(events: Iterable[dict[str, Any]], rng: random.Random, now: int) -> Machine:
    """A machine that got the events in any order, some of them again."""
    arriving = [_validated(event) for event in events]
    arriving += rng.sample(arriving, len(arriving) // 2)
    rng.shuffle(arriving)
    machine = Machine(RULES)
    machine.advance(now)
    for event in arriving:
        assert machine.apply([event]) == [None]
    return machine


DIMS = ("stage", "category", "rep", "team")
Numbers = dict[Any, Fraction]
"""By labels."""


def _stocks(standing: Iterable[Standing]) -> dict[Measure, Numbers]:
    found: dict[Measure, Numbers] = {measure: defaultdict(Fraction) for measure in STOCKS}
    for deal in standing:
        labels = tuple(value or "unknown" for value in (deal.stage, deal.category, deal.rep, deal.team))
        found[m.PIPELINE_DEALS][labels] += 1
        found[m.PIPELINE_VALUE][labels] += deal.amount
        if deal.category != "omitted":
            if deal.probability is None:
                found[m.PIPELINE_UNRATED][labels] += deal.amount
            else:
                found[m.PIPELINE_WEIGHTED][labels] += deal.amount * deal.probability
    return found


STOCKS = (m.PIPELINE_DEALS, m.PIPELINE_VALUE, m.PIPELINE_WEIGHTED, m.PIPELINE_UNRATED)


@given(histories(), st.lists(_instants, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_stocks_of_any_past_instant_equal_the_batch_computation(
    events: list[dict[str, Any]], instants: list[int], rng: random.Random
) -> None:
    rows = fed(events, rng, END).shard.contributions()
    known = deals(events)
    for x in instants:
        expected = _stocks(filter(None, (deal.at(x) for deal in known)))
        for measure in STOCKS:
            found: Numbers = defaultdict(Fraction)
            for row, labels, at, _, amount in rows:
                if row is measure and at <= x:
                    found[labels] += amount / Fraction(1 if measure is m.PIPELINE_DEALS else 1_000_000)
            assert _without_zeros(found) == pytest.approx(_without_zeros(expected[measure]), abs=1e-6), measure


STEPS = (m.STAGE_TIME, m.STAGE_SINCE, m.STAGE_ENTERED, m.STAGE_ADVANCED, m.LOST_AMOUNT)


@given(histories(), st.randoms(use_true_random=False))
def test_visits_funnel_and_losses_equal_the_batch_computation(events: list[dict[str, Any]], rng: random.Random) -> None:
    rows = fed(events, rng, END).shard.contributions()
    expected: Counter[Any] = Counter()
    for deal in deals(events):
        for visit in deal.visits():
            labels = (visit.stage, visit.rep or "unknown", visit.team or "unknown")
            if visit.until is None:
                expected[m.STAGE_SINCE, labels, visit.since, 0] += 1
            else:
                expected[m.STAGE_TIME, labels, visit.since, visit.until - visit.since] += 1
        for stage, at, passed, rep, team in deal.funnel():
            labels = (stage, rep or "unknown", team or "unknown")
            expected[m.STAGE_ENTERED, labels, at, 0] += 1
            expected[m.STAGE_ADVANCED, labels, at, 0] += passed
        if (lost := deal.lost()) is not None:
            expected[m.LOST_AMOUNT, (("unknown",), "unknown"), lost[0], 0] += round(lost[1] * 1_000_000)
    assert totals(row for row in rows if row[0] in STEPS) == +expected


@given(histories(), st.lists(_instants, max_size=2), st.randoms(use_true_random=False))
def test_what_is_due_and_stalled_equals_the_batch_computation(
    events: list[dict[str, Any]], instants: list[int], rng: random.Random
) -> None:
    rows = fed(events, rng, END).shard.contributions()
    known = deals(events)
    for x in sorted({*instants, *(event["at"] for event in events)}):
        found: dict[Any, Fraction] = defaultdict(Fraction)
        for measure, labels, at, _, amount in rows:
            if measure in DUES and at <= x:
                found[measure, labels] += Fraction(amount, 1_000_000 if measure.unit is MeasureUnit.MINOR else 1)
        assert _without_zeros(found) == pytest.approx(_without_zeros(_dues(known, x)), abs=1e-6)


def _dues(known: Iterable[Deal], x: int) -> dict[Any, Fraction]:
    """What the sums by measure and labels should be at an instant."""
    expected: dict[Any, Fraction] = defaultdict(Fraction)
    for deal in known:
        now, due = deal.at(x), deal.due(x, TERMS.period(x)[0])
        if due is not None:
            expected[m.PIPELINE_DUE, _owner(due)] += due.amount
        if now is not None and deal.stalled(x):
            expected[m.STALLED_DEALS, ("Demo", *_owner(now))] += 1
        for change, amount, whose in deal.moves(x):
            expected[m.PIPELINE_MOVED, (change, *_owner(whose))] += amount
        for at, later, then in deal.pushes():
            expected[m.PUSHES if later else m.PULLED_IN, (then.stage or "unknown", *_owner(then))] += at <= x
        for at, slipped, then in deal.slips():
            expected[m.SLIP_DUE, _owner(then)] += at <= x
            expected[m.SLIPPED, _owner(then)] += slipped and at <= x
    return expected


def _owner(deal: Standing) -> tuple[str, str]:
    return deal.rep or "unknown", deal.team or "unknown"


DUES = (m.PIPELINE_DUE, m.PIPELINE_MOVED, m.STALLED_DEALS, m.PUSHES, m.PULLED_IN, m.SLIP_DUE, m.SLIPPED)


def _without_zeros(numbers: Numbers) -> dict[Any, float]:
    return {labels: float(number) for labels, number in numbers.items() if abs(number) > Fraction(1, 100_000)}


KPIS = {
    "pipeline_deals": m.PIPELINE_DEALS,
    "pipeline_value": m.PIPELINE_VALUE,
    "weighted_pipeline": m.PIPELINE_WEIGHTED,
}


@given(histories(), _instants, st.randoms(use_true_random=False))
def test_readings_equal_the_batch_computation(events: list[dict[str, Any]], t: int, rng: random.Random) -> None:
    past = [event for event in events if event["at"] <= t]
    machine = fed(past, rng, t)
    open_now = [found for deal in deals(past) if (found := deal.at(t))]
    readings = list(machine.readings(CATALOGUE.select([*KPIS, "pipeline_age_seconds"])))
    got = {(r.kpi, r.stat, *r.labels.items()): r.value for r in readings}
    stocks = _stocks(open_now)
    for kpi, measure in KPIS.items():
        for place, dim in enumerate(DIMS):
            expected: dict[str, Fraction] = defaultdict(Fraction)
            for labels, number in stocks[measure].items():
                expected[labels[place]] += number
            for label, number in expected.items():
                assert got.get((kpi, "value", (dim, label)), 0) == pytest.approx(float(number), abs=1e-6)
        assert got[kpi, "value"] == pytest.approx(float(sum(stocks[measure].values())), abs=1e-6)
    ages = [Fraction(t - deal.opened, 1000) for deal in open_now if deal.opened is not None]
    for stat, q in (("value", Fraction(1, 2)), ("p90", Fraction(9, 10))):
        assert got.get(("pipeline_age_seconds", stat)) == (float(quantile(ages, q)) if ages else None)
