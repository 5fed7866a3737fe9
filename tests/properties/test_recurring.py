"""Recurring revenue against a plain batch computation: any history, any order, any instant, any window."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.entities.facts import fact_id
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import Rejection, validate
from salesgauge.schemas.events import EVENTS
from tests.support import recurring as batch
from tests.support.shards import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.schemas.events import EventBase

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BEGIN = 1_767_225_600_000
"""1 January 2026, midnight in UTC."""
WINDOWS = ("7d", "30d", "90d", "365d", "mtd", "qtd")
ZONE = "Europe/Berlin"
RATES = {
    "USD": [
        (date(2025, 1, 1), Fraction(95, 100)),
        (date(2026, 1, 20), Fraction(90, 100)),
        (date(2026, 2, 10), Fraction(1)),
    ]
}
RULES = Rules(
    zone=ZONE,
    max_future=timedelta(days=10_000),
    zero_is_real=frozenset(EVENTS),
    rates=[{"currency": c, "rate": float(rate), "since": since} for c, table in RATES.items() for since, rate in table],
)
KPIS = {
    "gross retention": "gross_revenue_retention_ratio", "net retention": "net_revenue_retention_ratio",
    "customer retention": "customer_retention_ratio", "early churn": "early_churn_ratio", "departures": "churn_events",
    "trial conversion": "trial_conversion_ratio", "quick": "quick_ratio", "mismatches": "mrr_mismatch",
}  # fmt: skip

_days = st.sampled_from([0, 0, 1, 5, 14, 20, 29, 30, 31, 45, 59, 60, 61, 90])
_minutes = st.sampled_from([0, 0, 1, 20, 50, 59, 60, 61, 119, 120, 600, 1380, 1439])
_instants = st.builds(lambda days, minutes: BEGIN + days * DAY + minutes * MINUTE, _days, _minutes)
_accounts = st.sampled_from(["a", "b", "c"])
_money = st.sampled_from([0, 10, 10, 40, 100])
_currency = st.sampled_from(["", "", "EUR", "USD"])
_maybe_money = st.none() | _money


def _kinds(currencies: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    level = st.builds(lambda after: {"after": after, "delta": None}, _money)
    delta = st.builds(lambda delta: {"after": None, "delta": delta}, st.sampled_from([-100, -10, 10, 30, 100]))
    status = st.sampled_from(["", "", "", "active", "trial", "paused", "cancelled", "past_due"])
    billing = st.builds(
        lambda move, fields: {"event": "subscription_changed", **move, **fields},
        level | level | delta,
        st.fixed_dictionaries({
            "account": _accounts, "before": _maybe_money, "status": status, "currency": currencies,
            "subscription": st.sampled_from(["", "", "s", "t"]), "ends_after": st.sampled_from([0, 0, 0, 10, 40]),
        }),
    )  # fmt: skip
    won = st.fixed_dictionaries({
        "event": st.just("deal_won"), "account": _accounts, "mrr": _maybe_money, "currency": currencies,
        "kind": st.sampled_from(["new", "upsell", "renewal"]),
    })  # fmt: skip
    churn = st.fixed_dictionaries(
        {"event": st.just("customer_churned"), "account": _accounts, "mrr_lost": _maybe_money, "currency": currencies}
    )
    credit = st.fixed_dictionaries(
        {"event": st.just("deal_credited"), "account": _accounts, "mrr_after": _maybe_money, "currency": currencies}
    )
    return billing | billing | billing | won | won | churn | credit


_fates = st.sampled_from(
    [[], [], [], [], ["deal_deleted"], ["deal_deleted", "deal_restored"], ["deal_changed"],
     ["deal_changed", "deal_deleted", "deal_restored"], ["deal_deleted", "deal_restored", "deal_deleted"]]
)  # fmt: skip
"""What happens to a deal after it was won."""
_merges = st.sampled_from(
    [[], [], [], ["ab"], ["ba"], ["ca"], ["ab", "bc"], ["bc", "ab"], ["ab", "bc", "ca"], ["ab", "ba"], ["ab", "cb"],
     ["ac", "ab"], ["ab", "ac", "bc"]]
)  # fmt: skip
"""The second lives on: one alone, chains, circles, stars, and one key merged into two."""


@st.composite
def histories(draw: st.DrawFn, currencies: st.SearchStrategy[str] = _currency) -> list[dict[str, Any]]:
    """Facts about three accounts, some of them corrected; deals that move, are deleted and restored; merges."""
    facts = [fact | {"at": draw(_instants)} for fact in draw(st.lists(_kinds(currencies), min_size=1, max_size=12))]
    found = []
    for number, fact in enumerate(facts):
        fact |= {"id": f"e{number}", "recorded": fact["at"]}
        if fact["event"] == "deal_won":
            fact["deal"] = f"d{number}"
        if fact["event"] == "subscription_changed":
            fact["cancels_at"] = fact["at"] + fact["ends_after"] * DAY if fact["ends_after"] else 0
        found.append(fact)
        if draw(st.integers(0, 5)) == 0 and fact["event"] in ("subscription_changed", "customer_churned"):
            corrected = fact | {"recorded": fact["recorded"] + 100 * DAY, "at": draw(_instants)}
            if "cancels_at" in corrected:
                corrected["cancels_at"] = 0
            found.append(corrected)
        if fact["event"] == "deal_won":
            for days, event in enumerate(draw(_fates), 1):
                later = {"deal": fact["deal"], "at": fact["at"] + days * DAY, "recorded": fact["at"] + days * DAY}
                account = {"account": draw(_accounts)} if event == "deal_changed" else {}
                found.append({"event": event, "id": f"x{number}.{days}"} | later | account)
    for number, pair in enumerate(draw(_merges)):
        merge = {"event": "account_merged", "account": pair[0], "survivor": pair[1], "at": BEGIN}
        merge |= {"recorded": BEGIN + number}
        found.append(merge | {"id": f"merge{number}"})
    return found


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


_NAMES = {
    "account": "account_id", "survivor": "survivor_id", "deal": "deal_id", "before": "mrr_before",
    "after": "mrr_after", "delta": "mrr_delta", "subscription": "subscription_id",
}  # fmt: skip


def as_event(fact: dict[str, Any]) -> EventBase:
    """The event that states a fact of a history."""
    fields = {_NAMES.get(k, k): v for k, v in fact.items() if k not in ("id", "at", "recorded", "order", "ends_after")}
    fields = {k: v for k, v in fields.items() if v not in (None, "") and not (k == "cancels_at" and not v)}
    if "cancels_at" in fields:
        fields["cancels_at"] = _iso(fields["cancels_at"])
    if fact["event"] == "deal_credited":
        fields |= {"credit_id": fact["id"], "amount": 1}
    found = validate(
        {"event_id": fact["id"], "occurred_at": _iso(fact["at"]), "recorded_at": _iso(fact["recorded"]), **fields}
    )
    assert not isinstance(found, Rejection), (found, fields)
    return found


def in_batch(facts: Sequence[dict[str, Any]]) -> dict[str, batch.Account]:
    """What the plain computation says. Facts of one instant are in the engine's order: by a hash of the id."""
    return batch.read([fact | {"order": fact_id(fact["id"])} for fact in facts])


def machine(facts: Sequence[dict[str, Any]], now: int, rules: Rules = RULES) -> Machine:
    """An engine that was told the facts in one go."""
    found = Machine(rules)
    found.advance(now)
    assert not any(found.apply([as_event(fact) for fact in facts]))
    return found


def readings(engine: Machine | World) -> dict[tuple[str, str, str], float]:
    """The figures of recurring revenue by name, window; movements by their kind."""
    ids = [*KPIS.values(), "mrr", "mrr_movement", "scheduled_churn_mrr"]
    kpis = CATALOGUE.select(ids)
    return {
        (r.kpi, r.window, f"{r.labels.get('movement', '')} {r.stat}"): r.value
        for r in engine.readings(kpis)
        if not r.labels or "movement" in r.labels
    }


def check(engine: Machine | World, accounts: dict[str, batch.Account], now: int) -> None:
    found = readings(engine)
    for window in WINDOWS:
        expected = batch.figures(accounts, window, now, RATES, ZONE)
        got: dict[str, float | None] = {name: found.get((kpi, window, " value")) for name, kpi in KPIS.items()}
        got |= {"mrr": found["mrr", "all", " value"], "scheduled": found["scheduled_churn_mrr", "all", " value"]}
        for kind in (*batch.KINDS, "fx"):
            got[f"moved {kind}"] = found["mrr_movement", window, f"{kind} value"]
            if kind != "fx":
                got[f"movers {kind}"] = found["mrr_movement", window, f"{kind} accounts"]
        for name, value in got.items():
            wanted = expected[name]
            assert (value is None) == (wanted is None), (window, name, value, wanted)
            assert value is None or value == pytest.approx(float(wanted or 0), abs=1e-9), (window, name, value, wanted)
        start = float(expected["start"] or 0)
        moves = [got[f"moved {kind}"] or 0 for kind in ("new", "reactivation", "expansion", "fx")]
        losses = [got[f"moved {kind}"] or 0 for kind in ("contraction", "churn")]
        assert got["mrr"] == pytest.approx(start + sum(moves) - sum(losses), abs=1e-9), window
        for name in ("gross retention", "customer retention", "early churn", "trial conversion"):
            ratio = got[name]
            assert ratio is None or -1e-12 <= ratio <= 1 + 1e-12, (window, name, ratio)


_now = st.builds(
    lambda days, minutes, ms: BEGIN + days * DAY + minutes * MINUTE + ms,
    st.integers(0, 130), st.integers(0, 1439), st.sampled_from([0, 0, 1, 59_999]),
)  # fmt: skip


@given(facts=histories(), now=_now)
def test_every_figure_equals_the_plain_computation(facts: list[dict[str, Any]], now: int) -> None:
    check(machine(facts, now), in_batch(facts), now)


@given(
    facts=histories(),
    instants=st.lists(_now, min_size=1, max_size=4).map(sorted),
    rng=st.randoms(use_true_random=False),
)
def test_order_and_clock_change_nothing(facts: list[dict[str, Any]], instants: list[int], rng: random.Random) -> None:
    """Facts in any order, some twice, while the clock moves: what lies ahead comes due by itself."""
    arriving = [*facts, *rng.choices(facts, k=2)]
    rng.shuffle(arriving)
    engine = Machine(RULES)
    for now in instants:
        engine.advance(now)
        engine.apply([as_event(arriving.pop()) for _ in range(min(len(arriving), rng.randrange(6)))])
    engine.apply([as_event(fact) for fact in arriving])
    check(engine, in_batch(facts), instants[-1])


@given(facts=histories(), now=_now, seed=st.integers(0, 2**32), size=st.integers(1, 8), faults=st.booleans())
def test_the_number_of_shards_changes_nothing(
    facts: list[dict[str, Any]], now: int, seed: int, size: int, *, faults: bool
) -> None:
    """Facts in any order and again, over shards that crash, each at its own pace; see :class:`World`."""
    world = World(RULES, now, random.Random(seed), size, faults=faults)
    world.play([as_event(fact) for fact in facts])
    check(world, in_batch(facts), now)


@given(facts=histories(st.sampled_from(["", "EUR"])), now=_now)
def test_what_happens_later_changes_no_reading_before_it(facts: list[dict[str, Any]], now: int) -> None:
    """Of facts that say nothing of the time before them. Those within an hour may be netted."""
    plain = [
        f | {"before": None, "delta": None, "after": f["after"] or 0} if f["event"] == "subscription_changed" else f
        for f in facts
    ]
    plain = [f for f in plain if f["event"] in ("subscription_changed", "deal_won") and f["recorded"] == f["at"]]
    if any(now - HOUR <= fact["at"] <= now + 2 * HOUR for fact in plain):
        return
    known = [fact for fact in plain if fact["at"] <= now]
    everything, before = readings(machine(plain, now)), readings(machine(known, now))
    for found in (everything, before):
        for key in [key for key in found if key[0] in ("trial_conversion_ratio", "scheduled_churn_mrr")]:
            del found[key]
    assert everything == before
