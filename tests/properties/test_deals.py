"""Deals against a plain batch computation: any history, in any order, over 1 to 8 shards."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from salesgauge.schemas.codec import Rejection, validate
from tests.properties.test_engine import RULES, machine, total
from tests.support import deals
from tests.support.shards import World
from tests.support.worlds import BEGIN, DAY, HOUR, NOW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.entities.contributions import Key
    from salesgauge.schemas.events import EventBase

_leads, _accounts, _deals = st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from("de")
_maybe_lead, _maybe_account, _maybe_rep = (st.none() | some for some in (_leads, _accounts, st.sampled_from("qr")))
_instants = st.sampled_from([0, HOUR, DAY, DAY, 9 * DAY, 10 * DAY, 10 * DAY, 30 * DAY]).map(lambda at: BEGIN + at)


def _event(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"event": st.just(name), **fields})


_attributes = {"deal_id": _deals, "lead_id": _maybe_lead, "account_id": _maybe_account, "rep_id": _maybe_rep}
_close = st.sampled_from(["deal_won", "deal_won", "deal_lost"]).flatmap(
    lambda name: _event(name, **_attributes, amount=st.sampled_from([0, 10, 900])).filter(
        lambda fields: fields["lead_id"] or fields["account_id"]
    )
)
FACTS = st.one_of(
    _event("lead_created", lead_id=_leads, source=st.none() | st.sampled_from("st"), rep_id=_maybe_rep),
    _event("lead_assigned", lead_id=_leads, rep_id=st.sampled_from("qr")),
    _event("lead_merged", lead_id=_leads, survivor_id=_leads),
    _event("lead_deleted", lead_id=_leads) | _event("lead_restored", lead_id=_leads),
    _event("account_merged", account_id=_accounts, survivor_id=_accounts),
    _event("opportunity_created", **_attributes),
    _event("deal_changed", **_attributes),
    _event("deal_changed", **_attributes),
    _close,
    _close,
    _close,
    _event("deal_reopened", deal_id=_deals),
    _event("deal_deleted", deal_id=_deals) | _event("deal_restored", deal_id=_deals),
    _event("deal_credited", deal_id=_deals, amount=st.sampled_from([1, 30])),
)


def _is(name: str, fact: Mapping[str, Any]) -> bool:
    return bool(fact["event"] == name)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Facts, each recorded at an instant of its own, some of them corrected: their content or their time."""
    raw = draw(st.lists(st.tuples(FACTS, _instants), min_size=1, max_size=16))
    found = [(f"e{number}", fact, at) for number, (fact, at) in enumerate(raw)]
    for number in draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        event_id, fact, at = found[number]
        if not fact["event"].startswith(("deal_", "opportunity_")):
            continue
        other = draw(FACTS.filter(partial(_is, fact["event"])))
        found.append((event_id, other | {"deal_id": fact["deal_id"]}, draw(st.just(at) | _instants)))
    recorded = draw(st.permutations(range(len(found))))
    return [
        {key: value for key, value in fact.items() if value is not None}
        | {"id": event_id, "at": at, "recorded": BEGIN + 40 * DAY + place}
        for (event_id, fact, at), place in zip(found, recorded, strict=True)
    ]


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def as_event(fact: Mapping[str, Any]) -> EventBase:
    """The event that states a fact."""
    fields = {key: value for key, value in fact.items() if key not in ("id", "at", "recorded", "amount")}
    if fact["event"] == "deal_won":
        fields["lines"] = [{"product": "p", "quantity": 1, "unit_price": fact["amount"]}]
    elif fact["event"] == "deal_credited":
        fields |= {"amount": fact["amount"], "credit_id": fact["id"]}
    event = validate(
        fields | {"event_id": fact["id"], "occurred_at": _iso(fact["at"]), "recorded_at": _iso(fact["recorded"])}
    )
    assert not isinstance(event, Rejection), (event, fields)
    return event


LABELS = {
    "leads_created": ("source",), "opportunities": ("source",), "opportunities_won": (), "credits": (),
    "deals_won": ("rep", "source"), "deals_lost": ("rep", "source"), "gross_revenue": ("rep",), "customers": (),
    "leads_converted": (),
}  # fmt: skip


def shown(total: Mapping[Key, int]) -> dict[tuple[Any, ...], int]:
    """What the batch computation knows, of what the shards add up to."""
    found: Counter[tuple[Any, ...]] = Counter()
    for (measure, labels, at, _), amount in total.items():
        if measure.name in LABELS:
            named = dict(zip(measure.dims, labels, strict=True))
            found[measure.name, at, *(named[dim] for dim in LABELS[measure.name])] += amount
    return {key: amount for key, amount in found.items() if amount}


@given(facts=histories(), seed=st.integers(0, 2**32), size=st.integers(1, 8), faults=st.booleans())
def test_deals_equal_the_batch_computation(facts: list[dict[str, Any]], seed: int, size: int, *, faults: bool) -> None:
    world = World(RULES, NOW, random.Random(seed), size, faults=faults)
    world.play([as_event(fact) for fact in facts])
    assert shown(world.total()) == dict(deals.figures(facts))


_after = st.sampled_from([41 * DAY, 42 * DAY, 50 * DAY]).map(lambda at: BEGIN + at)
_new = {"lead_id": _maybe_lead, "account_id": _maybe_account, "rep_id": _maybe_rep, "deal_id": st.sampled_from("fg")}
LATER = st.one_of(
    _event("lead_created", lead_id=st.just("n"), source=st.just("s"), rep_id=_maybe_rep),
    _event("lead_assigned", lead_id=_leads, rep_id=st.sampled_from("qr")),
    _event("opportunity_created", **_new),
    _event("deal_won", **_new | {"account_id": _accounts}, amount=st.sampled_from([0, 10])),
    _event("deal_lost", **_new | {"account_id": _accounts}),
    _event("deal_credited", deal_id=_deals, amount=st.just(1)),
)
"""What is new, and says nothing of what there was before."""
BY_NOW = {
    "accounts_with_revenue", "customers_new", "customers_new_at", "customers_new_lost", "leads_created",
    "response_censored", "response_states", "unowned_waiting", "waiting", "waiting_late", "waiting_on_clock",
    "waiting_since",
}  # fmt: skip
"""What is of now, though it stands at an earlier instant: who waits is the present owner's, and no more when it ended;
who a lead was given to first; accounts at their latest revenue; an account comes from where its first deal that says so
came from. The open pipeline (``pipeline_…``) has a computation of its own, in test_pipeline.py.
"""


@given(facts=histories(), later=st.lists(st.tuples(LATER, _after), min_size=1, max_size=6))
def test_what_is_new_changes_nothing_before_it(
    facts: list[dict[str, Any]], later: list[tuple[dict[str, Any], int]]
) -> None:
    begins = BEGIN + 41 * DAY
    more = [
        {key: value for key, value in fact.items() if value is not None}
        | {"id": f"n{number}", "at": at, "recorded": at}
        for number, (fact, at) in enumerate(later)
    ]
    known, whole = ([as_event(fact) for fact in some] for some in (facts, [*facts, *more]))
    before, after = (
        {
            key: amount
            for key, amount in total(machine(events).shard).items()
            if key[2] < begins and key[0].name not in BY_NOW and not key[0].name.startswith("pipeline_")
        }
        for events in (known, whole)
    )
    assert before == after
