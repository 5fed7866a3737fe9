"""Random sets of events that go out of their way to collide.

Few leads, deals, accounts, reps and meetings, few instants (many of them equal), deals re-opened before they were won,
amounts corrected, leads merged in chains and circles, customers who leave before they come, quotas that overlap, and
events that come again with another content.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from salesgauge.schemas.codec import Rejection, validate

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase

BEGIN = 1_746_057_600_000
"""1 May 2025, midnight in UTC."""
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = BEGIN + 60 * DAY

_INSTANTS = st.sampled_from(
    [0, 0, 1, HOUR, HOUR + 1, 5 * HOUR, DAY, DAY, 9 * DAY, 29 * DAY, 30 * DAY, 31 * DAY, 45 * DAY, 58 * DAY,
     59 * DAY, 59 * DAY + HOUR, 60 * DAY - HOUR, 60 * DAY - 20 * MINUTE, 60 * DAY - MINUTE, 60 * DAY]
)  # fmt: skip


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


_leads = st.sampled_from(["l1", "l2", "l3"])
_deals = st.sampled_from(["d1", "d2"])
_accounts = st.sampled_from(["a1", "a2"])
_reps = st.sampled_from(["r1", "r2"])
_teams = st.none() | st.sampled_from(["t1", "t2"])
_money = st.sampled_from(["0", "10", "99.99", "1000", "-5"])
_price = st.sampled_from(["0", "10", "99.99", "1000"])
_maybe_account = st.none() | _accounts
_maybe_rep = st.none() | _reps


def _fields(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


_line = _fields(product=st.sampled_from(["p1", "p2"]), quantity=st.sampled_from(["1", "3", "0.5"]), unit_price=_money)
_by_lead = _fields(lead_id=_leads, account_id=_maybe_account)
_by_account = _fields(account_id=_accounts)

_won = _fields(
    deal_id=_deals, rep_id=_maybe_rep, team=_teams, location=st.none() | st.just("Rome"), mrr=st.none() | _price,
    kind=st.sampled_from(["new", "upsell", "cross_sell"]), lines=st.lists(_line, max_size=2),
    referred_by=st.none() | _accounts,
)  # fmt: skip

KINDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "lead_created": _fields(
        lead_id=_leads, source=st.none() | st.sampled_from(["web", "fair"]), campaign_id=st.none() | st.just("c1"),
        rep_id=_maybe_rep, team=_teams, qualified=st.none() | st.booleans(),
    ),
    "lead_assigned": _fields(lead_id=_leads, rep_id=_reps, team=_teams),
    "lead_merged": _fields(lead_id=_leads, survivor_id=_leads),
    "lead_reengaged": _fields(lead_id=_leads, source=st.none() | st.just("web"), request_id=st.none() | st.just("q")),
    "lead_deleted": _fields(lead_id=_leads),
    "lead_restored": _fields(lead_id=_leads),
    "email_bounced": _fields(lead_id=_leads, activity_id=st.sampled_from(["e0", "e1", "e2", "t1"])),
    "reply_classified": _fields(lead_id=_leads, sentiment=st.sampled_from(["positive", "negative"])),
    "response_paused": _fields(lead_id=_leads),
    "response_resumed": _fields(lead_id=_leads),
    "lifecycle_stage_changed": _fields(
        lead_id=_leads, stage=st.sampled_from(["lead", "mql", "sql", "customer", "disqualified"])
    ),
    "activity_logged": (_fields(lead_id=_leads) | _by_account).flatmap(
        lambda who: _fields(
            rep_id=_maybe_rep, kind=st.sampled_from(["call", "email", "meeting", "social"]), automated=st.booleans(),
            direction=st.sampled_from(["inbound", "outbound", "outbound"]),
        ).map(lambda fields: who | fields)
    ),
    "reply_received": _fields(
        lead_id=_leads, sentiment=st.sampled_from(["positive", "negative"]), auto_reply=st.booleans(), rep_id=_maybe_rep
    ),
    "meeting_booked": _fields(lead_id=_leads, meeting_id=st.sampled_from(["m1", "m2"]), kind=st.just("demo")),
    "meeting_completed": _fields(
        lead_id=_leads, meeting_id=st.sampled_from(["m1", "m2"]), outcome=st.sampled_from(["held", "no_show"])
    ),
    "opportunity_created": _fields(
        lead_id=st.none() | _leads, deal_id=_deals, account_id=_maybe_account, rep_id=_maybe_rep,
        amount=st.none() | _money,
    ),
    "proposal_sent": _fields(lead_id=_leads, deal_id=_deals, rep_id=_maybe_rep),
    "deal_changed": _fields(
        deal_id=_deals, lead_id=st.none() | _leads, account_id=_maybe_account, rep_id=_maybe_rep,
        stage=st.sampled_from([None, "s1", "s2", "s3"]), amount=st.none() | _money,
        expected_close=st.none() | st.sampled_from([_iso(BEGIN + days * DAY) for days in (-10, 20, 40, 61, 100)]),
    ),
    "deal_deleted": _fields(deal_id=_deals),
    "deal_restored": _fields(deal_id=_deals),
    "deal_credited": _fields(deal_id=_deals, credit_id=st.just("c"), amount=st.sampled_from(["1", "10"])),
    "account_merged": _fields(account_id=_accounts, survivor_id=_accounts),
    "deal_won": st.tuples(_by_lead | _by_account, _won).map(lambda parts: parts[0] | parts[1]),
    "deal_lost": st.tuples(_by_lead | _by_account, _fields(deal_id=_deals, rep_id=_maybe_rep)).map(
        lambda parts: parts[0] | parts[1]
    ),
    "deal_reopened": st.tuples(_by_lead | _by_account, _fields(deal_id=_deals)).map(lambda parts: parts[0] | parts[1]),
    "customer_churned": _fields(account_id=_accounts, mrr_lost=st.none() | _price),
    "subscription_changed": _fields(
        account_id=_accounts, mrr_before=_price, mrr_after=_price, subscriptions=st.none() | st.integers(0, 3)
    ),
    "survey_answered": _fields(
        respondent_id=st.sampled_from(["x", "y"]), kind=st.just("enps"), score=st.integers(0, 10), rep_id=_maybe_rep
    ),
    "usage_recorded": _fields(account_id=_accounts, minutes=_price),
    "spend_recorded": _fields(
        campaign_id=st.just("c1"), amount=_money, category=st.sampled_from(["sales", "marketing"])
    ),
    "quota_set": st.tuples(_reps, st.sampled_from([(0, 40), (0, 61), (30, 61), (50, 90)]), _price).map(
        lambda q: {
            "rep_id": q[0], "amount": q[2],
            "period_start": _iso(BEGIN + q[1][0] * DAY), "period_end": _iso(BEGIN + q[1][1] * DAY),
        }
    ),
    "rep_joined": _fields(rep_id=_reps, team=_teams),
    "rep_left": _fields(rep_id=_reps),
}  # fmt: skip

_PAGED = {"usage_recorded", "spend_recorded", "survey_answered"}
_WHO = {"lead_id", "account_id", "rep_id", "campaign_id", "respondent_id"}
"""A repetition with another content keeps these: whom an event is about, its source cannot take back. A deal's lead,
account and owner are attributes, which it can."""


@st.composite
def _timed(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(list(KINDS)))
    fields = dict(draw(KINDS[name]))
    at = BEGIN + draw(_INSTANTS)
    fields["occurred_at"] = _iso(at)
    if draw(st.integers(0, 4)) == 0:
        fields["recorded_at"] = _iso(at + draw(st.sampled_from([0, HOUR, 3 * DAY])))
    return name, fields


@st.composite
def worlds(draw: st.DrawFn, max_size: int = 24) -> list[EventBase]:
    """A set of events, as a list; some share their id but not their content."""
    size = draw(st.sampled_from([1, 3, 8, 16]))  # else most lists would be short
    raw = draw(st.lists(_timed(), min_size=min(size, max_size), max_size=max_size))
    found = [(f"e{number}", name, fields) for number, (name, fields) in enumerate(raw)]
    for position in draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
        event_id, name, fields = found[position]
        other = dict(draw(KINDS[name]))
        about = {"deal_id"} if name.startswith(("deal_", "opportunity_")) else _WHO
        kept = {key: fields.get(key) for key in about if key in fields or key in other}
        when = fields["occurred_at"] if name in _PAGED or draw(st.booleans()) else _iso(BEGIN + draw(_INSTANTS))
        found.append((event_id, name, other | kept | {"occurred_at": when}))
    return [_event(*item) for item in found]


def _event(event_id: str, name: str, fields: dict[str, Any]) -> EventBase:
    event = validate({"event": name, "event_id": event_id, **fields})
    assert not isinstance(event, Rejection), (event, fields)
    return event
