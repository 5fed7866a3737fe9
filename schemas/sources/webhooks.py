"""Payloads of CRM and outreach webhooks to events: pure, without memory, one payload at a time.

What a payload does not say cannot be known here: HubSpot's deal notifications name no contact and no amount,
so such a deal stands for its own lead and has no lines. What has no canonical event comes back as a
:class:`~salesgauge.schemas.codec.Rejection` that says so. The same delivery twice gives the same event ids. To check
signatures, before, is up to the receiver.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.codec import Reason, Rejection, validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.schemas.events import EventBase

    Results = list[EventBase | Rejection]
    Payload = dict[str, Any]

UNKNOWN_PRODUCT = "unknown"
_SECONDS_BELOW = 10**11  # as milliseconds this is 1973: epoch times below it are seconds


def to_events(source: str, payload: object) -> list[EventBase | Rejection]:
    """The events that one payload tells of; a list of payloads (HubSpot sends such) is taken one by one.

    Args:
        source: one of :data:`SOURCES`.
        payload: the decoded JSON body.

    Raises:
        ValueError: the source is not known.
    """
    if source not in SOURCES:
        raise ValueError(f"no webhooks of '{source}' are known; known are {', '.join(SOURCES)}")
    if isinstance(payload, list):
        return [result for item in payload for result in to_events(source, item)]
    if not isinstance(payload, dict):
        return [Rejection(Reason.NOT_AN_OBJECT, f"a {source} payload is a JSON object")]
    return SOURCES[source](payload)


# --- HubSpot: subscriptions of an app (contact.creation, deal.propertyChange, ...)

_HUBSPOT_STAGES = {
    "subscriber": "subscriber", "lead": "lead", "marketingqualifiedlead": "mql", "salesqualifiedlead": "sql",
    "opportunity": "opportunity", "customer": "customer", "evangelist": "evangelist",
}  # fmt: skip


_HUBSPOT_IDENTITY = ("portalId", "subscriptionType", "objectId", "eventId", "occurredAt", "propertyName")


def _hubspot(payload: Payload) -> Results:
    kind, name, value = (str(payload.get(key) or "") for key in ("subscriptionType", "propertyName", "propertyValue"))
    event = _hubspot_event(kind, name, value.lower(), payload.get("objectId"))
    if event is None:
        return _no_event(" ".join(filter(None, (kind, name))) or "a payload without subscriptionType")
    identity = (payload.get(key) for key in _HUBSPOT_IDENTITY)
    return _one(event[0], _envelope("hubspot", _time(payload.get("occurredAt")), *identity), **event[1])


def _hubspot_event(kind: str, name: str, value: str, subject: Any) -> tuple[str, Payload] | None:
    lead, deal = {"lead_id": subject}, {"lead_id": _tagged("deal", subject), "deal_id": subject}
    simple: dict[tuple[str, ...], tuple[str, Payload]] = {
        ("contact.creation",): ("lead_created", lead),
        ("deal.creation",): ("opportunity_created", deal),
        ("deal.propertyChange", "dealstage", "closedwon"): ("deal_won", deal),
        ("deal.propertyChange", "dealstage", "closedlost"): ("deal_lost", deal),
    }
    if (kind, name) == ("contact.propertyChange", "lifecyclestage"):
        return "lifecycle_stage_changed", lead | {"stage": _HUBSPOT_STAGES.get(value, value)}
    if (kind, name) == ("contact.propertyChange", "hubspot_owner_id") and value:
        return "lead_assigned", lead | {"rep_id": value}
    return simple.get((kind,)) or simple.get((kind, name, value))


# --- Pipedrive, webhooks v1 and v2: the whole object as it is now

_PIPEDRIVE_KINDS = {"call": "call", "email": "email", "meeting": "meeting", "lunch": "meeting"}


def _pipedrive(payload: Payload) -> Results:
    meta = _object(payload, "meta")
    entity, action = str(meta.get("entity") or meta.get("object") or ""), str(meta.get("action") or "")
    now = _object(payload, "data") or _object(payload, "current")
    if entity not in _PIPEDRIVE or action in ("delete", "deleted") or not now:
        return _no_event(f"{action} {entity}".strip() or "a payload without meta")
    company = meta.get("company_id")
    changed = _time(now.get("update_time")) or _time(meta.get("timestamp"))
    base = _envelope("pipedrive", None, company, entity, now.get("id"), changed) | {"recorded_at": changed}
    return _PIPEDRIVE[entity](now, _object(payload, "previous"), base)


def _pipedrive_lead(now: Payload, previous: Payload, base: Payload) -> Results:
    del previous
    source = now.get("source_name") or now.get("origin")
    event = base | {"occurred_at": _time(now.get("add_time"))}
    return _one("lead_created", event, lead_id=_tagged("lead", now.get("id")), source=source, rep_id=_owner(now))


def _pipedrive_person(now: Payload, previous: Payload, base: Payload) -> Results:
    del previous
    event = base | {"occurred_at": _time(now.get("add_time"))}
    return _one("lead_created", event, lead_id=_tagged("person", now.get("id")), rep_id=_owner(now))


def _pipedrive_deal(now: Payload, previous: Payload, base: Payload) -> Results:
    value, currency, status = now.get("value"), now.get("currency"), now.get("status")
    deal = {
        "lead_id": _tagged("person", now.get("person_id")) or _tagged("deal", now.get("id")),
        "deal_id": now.get("id"),
        "account_id": now.get("org_id"),
        "rep_id": _owner(now),
        "currency": currency,
    }
    opened = base | {"occurred_at": _time(now.get("add_time"))}
    results = _one("opportunity_created", opened, **deal, amount=value)
    if status == "won":
        lines = None if value is None else [{"product": UNKNOWN_PRODUCT, "quantity": 1, "unit_price": value}]
        results += _one("deal_won", base | {"occurred_at": _time(now.get("won_time"))}, **deal, lines=lines)
    elif status == "lost":
        lost = base | {"occurred_at": _time(now.get("lost_time"))}
        results += _one("deal_lost", lost, **deal, amount=value, reason=now.get("lost_reason"))
    elif status == "open" and previous.get("status") in ("won", "lost"):
        results += _one("deal_reopened", base | {"occurred_at": base["recorded_at"]}, **deal)
    return results


def _pipedrive_activity(now: Payload, previous: Payload, base: Payload) -> Results:
    del previous
    kind = _PIPEDRIVE_KINDS.get(str(now.get("type")))
    if not now.get("done") or kind is None:
        return _no_event(f"an activity '{now.get('type')}' that is {'' if now.get('done') else 'not '}done")
    at = _time(now.get("marked_as_done_time")) or base["recorded_at"]
    # An activity that is edited after it was done is still the same one.
    done = base | {"occurred_at": at, "recorded_at": None, "identity": (*base["identity"][:-1], at)}
    lead = _tagged("person", now.get("person_id")) or _tagged("deal", now.get("deal_id"))
    return _one("activity_logged", done, lead_id=lead, account_id=now.get("org_id"), rep_id=_owner(now), kind=kind)


def _owner(now: Payload) -> Any:
    """v2 gives the owner's id as owner_id, v1 as user_id, and some v1 objects give the whole user."""
    owner = now.get("owner_id") or now.get("user_id")
    return owner.get("id") if isinstance(owner, dict) else owner


_PIPEDRIVE: dict[str, Callable[[Payload, Payload, Payload], Results]] = {
    "lead": _pipedrive_lead,
    "person": _pipedrive_person,
    "deal": _pipedrive_deal,
    "activity": _pipedrive_activity,
}


# --- Salesforce change data capture: the fields that changed


def _salesforce(payload: Payload) -> Results:
    fields = _object(_object(payload, "data"), "payload") or _object(payload, "payload") or payload
    header = _object(fields, "ChangeEventHeader")
    entity, change = str(header.get("entityName") or ""), str(header.get("changeType") or "")
    ids = header.get("recordIds")
    if change.startswith("GAP_"):
        return _no_event(f"{change} of {entity}: changes were lost, read the records again")
    if not isinstance(ids, list) or (entity, change) not in _SALESFORCE:
        return _no_event(f"{change} of {entity}" if entity else "a payload without ChangeEventHeader")
    at = _time(header.get("commitTimestamp"))
    key = (header.get("transactionKey"), header.get("sequenceNumber"))
    convert = _SALESFORCE[entity, change]
    return [result for record in ids for result in convert(fields, record, _envelope("salesforce", at, *key, record))]


def _salesforce_lead(fields: Payload, record: Any, base: Payload) -> Results:
    event = base | {"occurred_at": _time(fields.get("CreatedDate")) or base["occurred_at"]}
    return _one("lead_created", event, lead_id=record, source=fields.get("LeadSource"), rep_id=fields.get("OwnerId"))


def _salesforce_opened(fields: Payload, record: Any, base: Payload) -> Results:
    event = base | {"occurred_at": _time(fields.get("CreatedDate")) or base["occurred_at"]}
    return _one("opportunity_created", event, **_salesforce_deal(fields, record), amount=fields.get("Amount"))


def _salesforce_changed(fields: Payload, record: Any, base: Payload) -> Results:
    """The payload holds changed fields alone: a won deal's amount is known only if it changed with it."""
    deal, amount = _salesforce_deal(fields, record), fields.get("Amount")
    if fields.get("IsWon") is True or fields.get("StageName") == "Closed Won":
        lines = None if amount is None else [{"product": UNKNOWN_PRODUCT, "quantity": 1, "unit_price": amount}]
        return _one("deal_won", base, **deal, lines=lines)
    if fields.get("IsClosed") is True or fields.get("StageName") == "Closed Lost":
        return _one("deal_lost", base, **deal, amount=amount)
    return _no_event("UPDATE of Opportunity that does not close it")


def _salesforce_deal(fields: Payload, record: Any) -> Payload:
    return {
        "lead_id": fields.get("ContactId") or _tagged("opportunity", record),
        "deal_id": record,
        "account_id": fields.get("AccountId"),
        "rep_id": fields.get("OwnerId"),
    }


_SALESFORCE: dict[tuple[str, str], Callable[[Payload, Any, Payload], Results]] = {
    ("Lead", "CREATE"): _salesforce_lead,
    ("Opportunity", "CREATE"): _salesforce_opened,
    ("Opportunity", "UPDATE"): _salesforce_changed,
}


# --- outreach: Smartlead and Instantly; a lead is its e-mail address

_SMARTLEAD_CATEGORIES = {
    "interested": "positive", "meeting request": "positive", "meeting booked": "positive",
    "information request": "positive", "not interested": "negative", "do not contact": "negative",
}  # fmt: skip
_OUT_OF_OFFICE = "out of office"


def _smartlead(payload: Payload) -> Results:
    kind = str(payload.get("event_type") or payload.get("event") or "")
    at = next(
        filter(
            None,
            (_time(payload.get(key)) for key in ("event_timestamp", "time_sent", "time_replied", "timestamp")),
        ),
        None,
    )
    lead = _object(payload, "lead").get("email") or payload.get("sl_lead_email")
    message = payload.get("message_id") or _object(payload, "email").get("message_id")
    event = _envelope("smartlead", at, kind, payload.get("campaign_id"), message, payload.get("stats_id"), at)
    if kind == "EMAIL_SENT":
        address = _address(lead or payload.get("to_email"))
        return _one("activity_logged", event, lead_id=address, kind="email", automated=True)
    if kind in ("EMAIL_REPLY", "EMAIL_REPLIED"):
        return _one("reply_received", event, lead_id=_address(lead or payload.get("to_email")), channel="email")
    category = str(_object(payload, "lead_category").get("new_name") or "").lower()
    if kind == "LEAD_CATEGORY_UPDATED" and (category in _SMARTLEAD_CATEGORIES or category == _OUT_OF_OFFICE):
        address = _address(_object(payload, "lead_data").get("email") or payload.get("to_email"))
        sentiment, away = _SMARTLEAD_CATEGORIES.get(category), category == _OUT_OF_OFFICE
        return _one("reply_received", event, lead_id=address, channel="email", sentiment=sentiment, auto_reply=away)
    return _no_event(" ".join(filter(None, (kind, category))) or "a payload without event_type")


_INSTANTLY: dict[str, tuple[str, Payload]] = {
    "email_sent": ("activity_logged", {"kind": "email", "automated": True}),
    "reply_received": ("reply_received", {"channel": "email"}),
    "lead_interested": ("reply_received", {"channel": "email", "sentiment": "positive"}),
    "lead_not_interested": ("reply_received", {"channel": "email", "sentiment": "negative"}),
    "lead_neutral": ("reply_received", {"channel": "email", "sentiment": "neutral"}),
    "lead_out_of_office": ("reply_received", {"channel": "email", "auto_reply": True}),
    "lead_meeting_booked": ("meeting_booked", {}),
    "lead_meeting_completed": ("meeting_completed", {"outcome": "held"}),
    "lead_no_show": ("meeting_completed", {"outcome": "no_show"}),
}


def _instantly(payload: Payload) -> Results:
    kind = str(payload.get("event_type") or "")
    if kind not in _INSTANTLY:
        return _no_event(kind or "a payload without event_type")
    name, fields = _INSTANTLY[kind]
    lead, campaign, at = (
        _address(payload.get("lead_email")),
        payload.get("campaign_id"),
        _time(payload.get("timestamp")),
    )
    if name.startswith("meeting"):  # Instantly gives meetings no id: one per lead and campaign
        fields = fields | {"meeting_id": f"{campaign}:{lead}"}
    key = (payload.get("workspace"), kind, campaign, lead, payload.get("email_id"), payload.get("timestamp"))
    return _one(name, _envelope("instantly", at, *key), lead_id=lead, **fields)


# --- Calendly: invitees of meetings


def _calendly(payload: Payload) -> Results:
    kind, invitee = str(payload.get("event") or ""), _object(payload, "payload")
    if kind == "invitee_no_show.created":
        invitee = _object(invitee, "invitee") or invitee
    meeting = _object(invitee, "scheduled_event")
    at = _time(payload.get("created_at"))
    lead, number = _address(invitee.get("email")), str(meeting.get("uri") or "").rpartition("/")[2]
    event = _envelope("calendly", at, kind, invitee.get("uri"))
    if invitee.get("rescheduled") or invitee.get("old_invitee"):
        return _no_event(f"{kind} of a meeting that was moved: neither a booking nor a cancellation")
    match kind:
        case "invitee.created":
            start = _time(meeting.get("start_time"))
            return _one("meeting_booked", event, lead_id=lead, meeting_id=number, scheduled_for=start)
        case "invitee.canceled":
            return _one("meeting_completed", event, lead_id=lead, meeting_id=number, outcome="cancelled")
        case "invitee_no_show.created":
            return _one("meeting_completed", event, lead_id=lead, meeting_id=number, outcome="no_show")
    return _no_event(kind or "a payload without event and invitee")


SOURCES: dict[str, Callable[[Payload], Results]] = {
    "hubspot": _hubspot,
    "pipedrive": _pipedrive,
    "salesforce": _salesforce,
    "smartlead": _smartlead,
    "instantly": _instantly,
    "calendly": _calendly,
}
"""The systems whose payloads are known, each with its converter."""


# --- shared


def _envelope(source: str, at: str | None, *identity: Any) -> Payload:
    """The fields of every event; ``identity`` is what the same delivery always has, and no other."""
    return {"source_system": source, "occurred_at": at, "identity": identity}


def _one(name: str, envelope: Payload, **fields: Any) -> Results:
    content = {key: value for key, value in (envelope | fields).items() if value is not None}
    identity = repr([envelope["source_system"], name, *(str(part) for part in content.pop("identity"))])
    event_id = hashlib.blake2b(identity.encode(errors="replace"), digest_size=16).hexdigest()
    try:
        return [validate(content | {"event": name, "event_id": event_id})]
    except (OverflowError, UnicodeEncodeError) as error:  # numbers beyond 64 bits, halves of surrogate pairs
        return [Rejection(Reason.INVALID, str(error))]


def _no_event(what: str) -> Results:
    return [Rejection(Reason.UNKNOWN_EVENT, f"no event for {what[:200]}")]


def _object(payload: Payload, key: str) -> Payload:
    value = payload.get(key)
    return value if isinstance(value, dict) else {}


def _tagged(kind: str, value: Any) -> str | None:
    """An id with its kind, as leads share one name space; some objects are given whole, id included."""
    if isinstance(value, dict):
        value = value.get("value") or value.get("id")
    return f"{kind}:{value}" if value else None


def _address(value: Any) -> str | None:
    return value.strip().lower() if isinstance(value, str) else None


def _time(value: Any) -> str | None:
    """Epoch seconds or milliseconds, or ISO 8601 text (UTC without a zone), as ISO 8601; else None."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        if isinstance(value, int) and not isinstance(value, bool):
            seconds, millis = (value, 0) if abs(value) < _SECONDS_BELOW else divmod(value, 1000)
            return datetime.fromtimestamp(seconds, UTC).replace(microsecond=millis * 1000).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
    return None
