"""Payloads of webhooks to events: rules on payloads written here, and the genuine samples where they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.schemas.codec import Reason, Rejection
from salesgauge.schemas.events import EventBase
from salesgauge.schemas.sources.webhooks import SOURCES, to_events
from tests.support.shared import require_shared


def shown(results: list[EventBase | Rejection]) -> list[dict[str, Any]]:
    """What events carry, without their ids; rejections by their reason."""
    return [
        {"rejected": result.reason.value}
        if isinstance(result, Rejection)
        else result.model_dump(mode="json", exclude_unset=True, exclude={"event_id", "source_system"})
        for result in results
    ]


def bodies(name: str) -> list[Any]:
    """The payloads of a sample file: bare, or under `body` or `payload` beside their source."""
    content = json.loads(require_shared("payloads", name).read_text())
    entries = content if isinstance(content, list) else [content]
    return [entry.get("body") or entry.get("payload") or entry for entry in entries]


# --- the genuine samples


def test_hubspot_sample_stream() -> None:
    results = to_events("hubspot", bodies("hubspot_webhook_events.json"))
    events = [event for event in results if isinstance(event, EventBase)]
    assert [(event.name, event.key) for event in events] == [
        ("lead_created", "508369434347"),
        ("opportunity_created", "deal:332507367156"),
    ]
    assert events[0].occurred_at.isoformat() == "2026-06-25T07:19:29.536000+00:00"
    rejected = [result.detail for result in results if isinstance(result, Rejection)]
    assert len(results) == 13
    assert "no event for deal.propertyChange amount" in rejected
    assert "no event for ticket.creation" in rejected


def test_other_hubspot_samples() -> None:
    results = [shown(to_events("hubspot", body)) for body in bodies("hubspot_webhook_events_other.json")]
    names = [[result.get("event", result.get("rejected")) for result in each] for each in results]
    assert names == [
        ["unknown_event"], ["lead_created"], ["unknown_event"], ["unknown_event"], ["unknown_event"],
        ["lead_created"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pipedrive_v1_added.deal.json", ["opportunity_created"]),
        ("pipedrive_v1_updated.deal.json", ["opportunity_created"]),
        ("pipedrive_v1_added.person.json", ["lead_created"]),
        ("pipedrive_v1_added.activity.json", ["unknown_event"]),  # planned, not done
        ("pipedrive_v1_updated.activity.json", ["activity_logged"]),
        ("pipedrive_v2_events.json", ["lead_created", "opportunity_created", "opportunity_created"]),
    ],
)
def test_pipedrive_samples(name: str, expected: list[str]) -> None:
    results = shown(to_events("pipedrive", bodies(name)))
    assert [result.get("event", result.get("rejected")) for result in results] == expected


def test_a_pipedrive_sample_in_full() -> None:
    (opportunity,) = shown(to_events("pipedrive", bodies("pipedrive_v1_added.deal.json")))
    assert opportunity == {
        "event": "opportunity_created", "lead_id": "person:3", "deal_id": "1", "account_id": "2",
        "rep_id": "14542087", "amount": "2000000", "currency": "XAF",
        "occurred_at": "2023-04-07T04:10:00Z", "recorded_at": "2023-04-07T04:10:00Z",
    }  # fmt: skip


def test_salesforce_samples() -> None:
    results = shown(to_events("salesforce", bodies("salesforce_cdc_events.json")))
    assert results[0] == {
        "event": "opportunity_created", "lead_id": "opportunity:006SM0000001Tb3YAE",
        "deal_id": "006SM0000001Tb3YAE",
        "account_id": "001SM0000000iibYAA", "rep_id": "005SM000000146PYAQ", "amount": "40000",
        "occurred_at": "2022-05-19T16:32:13Z",
    }  # fmt: skip
    assert all(result == {"rejected": "unknown_event"} for result in results[1:])


def test_outreach_samples() -> None:
    smartlead = shown(to_events("smartlead", bodies("smartlead_events.json")))
    assert [result.get("event", result.get("rejected")) for result in smartlead] == [
        "activity_logged", "reply_received", "unknown_event", "unknown_event",  # two are lists of field names
    ]  # fmt: skip
    assert smartlead[0]["automated"] is True
    instantly = shown(to_events("instantly", bodies("instantly_events.json")))
    assert instantly[0]["sentiment"] == "negative"
    assert instantly[1] == {"rejected": "unknown_event"}


def test_a_calendly_meeting_without_its_invitee_names_no_lead() -> None:
    assert shown(to_events("calendly", bodies("calendly_scheduled_event.json"))) == [{"rejected": "unknown_event"}]


# --- rules


def hubspot(kind: str, name: str = "", value: str = "") -> list[EventBase | Rejection]:
    return to_events("hubspot", {
        "subscriptionType": kind, "propertyName": name, "propertyValue": value, "objectId": 7, "eventId": 1,
        "portalId": 2, "occurredAt": 1_700_000_000_123,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("contact.propertyChange", "lifecyclestage", "marketingqualifiedlead"), {"stage": "mql"}),
        (("contact.propertyChange", "hubspot_owner_id", "44"), {"rep_id": "44"}),
        (("deal.propertyChange", "dealstage", "closedwon"), {"event": "deal_won", "lead_id": "deal:7"}),
        (("deal.propertyChange", "dealstage", "closedlost"), {"event": "deal_lost", "deal_id": "7"}),
        (("contact.propertyChange", "lifecyclestage", "other"), {"rejected": "invalid"}),
    ],
)
def test_hubspot_changes(arguments: tuple[str, str, str], expected: dict[str, str]) -> None:
    (result,) = shown(hubspot(*arguments))
    assert expected.items() <= result.items()


def pipedrive(**fields: Any) -> dict[str, Any]:
    data = {"id": 5, "person_id": {"value": 3}, "user_id": {"id": 9}, "value": 100, "currency": "EUR"}
    times = {"add_time": "2024-01-01 08:00:00", "update_time": "2024-01-03 08:00:00"}
    meta = {"action": "updated", "object": "deal", "company_id": 1}
    return {"meta": meta, "current": data | times | fields, "previous": {"status": "won"}}


def test_pipedrive_deals_carry_their_whole_state() -> None:
    won = shown(to_events("pipedrive", pipedrive(status="won", won_time="2024-01-02 08:00:00")))
    assert [(event["event"], event["occurred_at"]) for event in won] == [
        ("opportunity_created", "2024-01-01T08:00:00Z"), ("deal_won", "2024-01-02T08:00:00Z"),
    ]  # fmt: skip
    assert won[1]["lines"] == [{"product": "unknown", "quantity": "1", "unit_price": "100"}]
    assert {event["recorded_at"] for event in won} == {"2024-01-03T08:00:00Z"}
    lost = shown(to_events("pipedrive", pipedrive(status="lost", lost_time="2024-01-02 09:00:00", lost_reason="price")))
    assert (lost[1]["event"], lost[1]["reason"], lost[1]["rep_id"]) == ("deal_lost", "price", "9")
    reopened = shown(to_events("pipedrive", pipedrive(status="open")))
    assert (reopened[1]["event"], reopened[1]["occurred_at"]) == ("deal_reopened", "2024-01-03T08:00:00Z")


def test_an_activity_that_is_edited_after_it_was_done_is_the_same() -> None:
    def activity(update_time: str) -> EventBase | Rejection:
        payload = pipedrive(type="call", done=True, marked_as_done_time="2024-01-02 08:00:00", update_time=update_time)
        (event,) = to_events("pipedrive", payload | {"meta": payload["meta"] | {"object": "activity"}})
        return event

    assert activity("2024-01-02 08:00:00") == activity("2024-01-09 10:00:00")


def salesforce(**fields: Any) -> list[EventBase | Rejection]:
    header = {
        "entityName": "Opportunity", "changeType": "UPDATE", "recordIds": ["a", "b"],
        "commitTimestamp": 1_700_000_000_000, "transactionKey": "t", "sequenceNumber": 1,
    }  # fmt: skip
    return to_events("salesforce", {"data": {"payload": {"ChangeEventHeader": header} | fields}})


def test_salesforce_changes_concern_each_record() -> None:
    won = salesforce(IsWon=True, IsClosed=True, Amount=5)
    assert [event.key for event in won if isinstance(event, EventBase)] == ["a", "b"]
    assert len({event.event_id for event in won if isinstance(event, EventBase)}) == 2
    assert shown(salesforce(IsClosed=True))[0]["event"] == "deal_lost"
    assert shown(salesforce(Amount=7)) == [{"rejected": "unknown_event"}] * 2
    gap = to_events("salesforce", {"ChangeEventHeader": {"entityName": "Lead", "changeType": "GAP_UPDATE"}})
    assert isinstance(gap[0], Rejection)
    assert "changes were lost" in gap[0].detail


def test_an_out_of_office_answer_is_an_auto_reply() -> None:
    away = {"event_type": "LEAD_CATEGORY_UPDATED", "event_timestamp": "2024-01-01T00:00:00Z"}
    lead = {"lead_data": {"email": "A@example.com "}}
    (smartlead,) = shown(to_events("smartlead", away | lead | {"lead_category": {"new_name": "Out Of Office"}}))
    (instantly,) = shown(to_events("instantly", {
        "event_type": "lead_out_of_office", "lead_email": "a@example.com",
        "timestamp": "2024-01-01T00:00:00Z",
    }))  # fmt: skip
    assert smartlead == instantly
    assert smartlead["auto_reply"] is True
    assert smartlead["lead_id"] == "a@example.com"


@pytest.mark.parametrize(
    ("event", "extra", "expected"),
    [
        ("invitee.created", {}, "meeting_booked"),
        ("invitee.canceled", {}, "meeting_completed"),
        ("invitee_no_show.created", {}, "meeting_completed"),
        ("invitee.canceled", {"rescheduled": True}, "unknown_event"),
        ("invitee.created", {"old_invitee": "uri"}, "unknown_event"),
    ],
)
def test_calendly_invitees(event: str, extra: dict[str, Any], expected: str) -> None:
    meeting = {"uri": "https://example.com/scheduled_events/m1", "start_time": "2024-01-05T10:00:00.000000Z"}
    invitee = {"uri": "i1", "email": "a@example.com", "scheduled_event": meeting} | extra
    (result,) = shown(to_events("calendly", {"event": event, "created_at": "2024-01-01T10:00:00Z", "payload": invitee}))
    assert result.get("event", result.get("rejected")) == expected
    assert result.get("meeting_id", "m1") == "m1"


def test_the_same_delivery_has_the_same_ids() -> None:
    assert hubspot("contact.creation") == hubspot("contact.creation")
    assert to_events("pipedrive", pipedrive(status="open")) == to_events("pipedrive", pipedrive(status="open"))


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(ValueError, match="known are hubspot"):
        to_events("fax", {})


KEYS = st.sampled_from([
    "subscriptionType", "objectId", "meta", "data", "current", "previous", "entity", "action", "id",
    "person_id", "ChangeEventHeader", "recordIds", "entityName", "changeType", "event_type", "event",
    "payload", "lead", "email", "timestamp", "occurredAt", "status", "scheduled_event", "uri",
    "lead_category", "new_name",
])  # fmt: skip
WORDS = st.sampled_from([
    "contact.creation", "deal", "person", "added", "won", "lost", "Opportunity", "CREATE", "EMAIL_SENT",
    "email_sent", "invitee.created", "2024-01-01T00:00:00Z",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
PAYLOADS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=8))


@given(source=st.sampled_from(sorted(SOURCES)), payload=PAYLOADS)
def test_no_payload_raises(source: str, payload: Any) -> None:
    for result in to_events(source, payload):
        assert isinstance(result, EventBase) or result.reason in Reason
