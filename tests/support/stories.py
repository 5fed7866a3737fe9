"""Small stories for tests: events written in one line, and the reading of a KPI after them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import Rejection, validate
from salesgauge.schemas.events import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from salesgauge.metrics.kpis.readings import Reading
    from salesgauge.schemas.events import EventBase

NOW = "07-01 00:00"
_numbers = itertools.count(1)


def when(text: str) -> str:
    """``06-02 09:30`` is that minute of 2025 in UTC; a whole ISO time stays as it is."""
    return text if text[4:5] == "-" else f"2025-{text.replace(' ', 'T')}:00Z"


def ms(text: str) -> int:
    """The same in milliseconds since the epoch."""
    return round(datetime.fromisoformat(when(text)).astimezone(UTC).timestamp() * 1000)


def event(name: str, at: str, **fields: Any) -> EventBase:
    """An event; its id is new unless it is given as ``id``."""
    for field in ("recorded_at", "scheduled_for", "period_start", "period_end", "expected_close"):
        if fields.get(field):
            fields[field] = when(fields[field])
    event_id = fields.pop("id", None) or f"event-{next(_numbers)}"
    result = validate({"event": name, "event_id": event_id, "occurred_at": when(at), **fields})
    assert not isinstance(result, Rejection), result
    return result


def created(lead: str, at: str = "06-02 09:00", **fields: Any) -> EventBase:
    return event("lead_created", at, lead_id=lead, **fields)


def assigned(lead: str, rep: str, at: str, **fields: Any) -> EventBase:
    return event("lead_assigned", at, lead_id=lead, rep_id=rep, **fields)


def touch(lead: str, at: str, kind: str = "call", **fields: Any) -> EventBase:
    return event("activity_logged", at, lead_id=lead, kind=kind, **fields)


def reply(lead: str, at: str, sentiment: str = "neutral", **fields: Any) -> EventBase:
    return event("reply_received", at, lead_id=lead, sentiment=sentiment, **fields)


def reengaged(lead: str, at: str, **fields: Any) -> EventBase:
    return event("lead_reengaged", at, lead_id=lead, **fields)


def booked(lead: str, at: str, **fields: Any) -> EventBase:
    meeting = fields.pop("meeting_id", f"meeting-{next(_numbers)}")
    return event("meeting_booked", at, lead_id=lead, meeting_id=meeting, **fields)


def stage(lead: str, to: str, at: str) -> EventBase:
    return event("lifecycle_stage_changed", at, lead_id=lead, stage=to)


def demo(lead: str, at: str, outcome: str = "held", **fields: Any) -> EventBase:
    meeting = fields.pop("meeting_id", f"demo-{next(_numbers)}")
    return event("meeting_completed", at, lead_id=lead, meeting_id=meeting, kind="demo", outcome=outcome, **fields)


def opened(lead: str, deal: str, at: str, **fields: Any) -> EventBase:
    return event("opportunity_created", at, lead_id=lead, deal_id=deal, **fields)


def changed(deal: str, at: str, **fields: Any) -> EventBase:
    """A change of a deal's attributes; one that is None is cleared."""
    return event("deal_changed", at, deal_id=deal, **fields)


def won(deal: str, at: str, amount: float | str = 0, product: str = "gauge", **fields: Any) -> EventBase:
    """A win of one line; of the lead of the same name as the deal unless ``lead_id`` or ``account_id`` is given."""
    if "lead_id" not in fields and "account_id" not in fields:
        fields["lead_id"] = deal
    fields.setdefault("lines", [{"product": product, "quantity": 1, "unit_price": str(amount)}])
    return event("deal_won", at, deal_id=deal, **fields)


def lost(deal: str, at: str, **fields: Any) -> EventBase:
    return event("deal_lost", at, deal_id=deal, **{"lead_id": deal, **fields})


def churned(account: str, at: str, **fields: Any) -> EventBase:
    return event("customer_churned", at, account_id=account, **fields)


def spent(amount: float, at: str = "06-10 00:00", campaign: str = "ads", **fields: Any) -> EventBase:
    return event("spend_recorded", at, campaign_id=campaign, amount=amount, **fields)


def answered(kind: str, score: int, at: str = "06-10 00:00", **fields: Any) -> EventBase:
    return event("survey_answered", at, respondent_id=f"person-{next(_numbers)}", kind=kind, score=score, **fields)


def machine(events: Iterable[EventBase], at: str = NOW, rules: Rules | None = None) -> Machine:
    """A machine that knows the events, its clock at an instant. What is not told did not happen."""
    found = Machine((rules or Rules()).model_copy(update={"zero_is_real": frozenset(EVENTS)}))
    found.advance(ms(at))
    assert not any(found.apply(list(events)))
    return found


def readings(events: Iterable[EventBase], kpi: str, at: str = NOW, rules: Rules | None = None) -> Sequence[Reading]:
    """All readings of a KPI."""
    engine = machine(events, at, rules)
    return list(engine.readings(engine.catalogue.select([kpi])))


def read(
    events: Iterable[EventBase],
    kpi: str,
    window: str = "all",
    stat: str = "value",
    *,
    at: str = NOW,
    rules: Rules | None = None,
    **labels: str,
) -> float | None:
    """One number of a KPI after the events; None where it has no value."""
    for reading in readings(events, kpi, at, rules):
        if (reading.window, reading.stat, dict(reading.labels)) == (window, stat, labels):
            return reading.value
    return None
