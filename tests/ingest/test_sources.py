"""The shipped sources: records of each system to events, genuine samples (where they are) and others."""

from __future__ import annotations

import itertools
import json
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesgauge.schemas.codec import Rejection
from salesgauge.schemas.events import EventBase
from salesgauge.schemas.sources.live import Derived, Deriver
from salesgauge.schemas.sources.objects import RawRecord
from salesgauge.schemas.sources.source import parse_source, shipped_source, shipped_sources
from salesgauge.schemas.sources.webhooks import to_events
from tests.support.shared import require_shared

MONDAY = 1_780_300_800_000  # 2026-06-01 08:00 UTC
HOUR = 3_600_000


def derive(source: str, *bodies: Any, batches: int = 1) -> Derived:
    """What bodies come to, all in one batch or in several."""
    deriver = Deriver(shipped_source(source))
    records = [RawRecord(body, at=MONDAY + number) for number, body in enumerate(bodies)]
    whole = Derived()
    size = max(1, -(-len(records) // batches))
    for start in range(0, len(records), size):
        whole.add(deriver.derive(records[start : start + size]))
    deriver.close()
    return whole


def final(derived: Derived) -> dict[str, dict[str, Any]]:
    """By id, the version of each event that was learnt last, without when that was; no two were learnt at once."""
    versions: dict[str, EventBase] = {}
    for event in derived.events:
        known = versions.get(event.event_id)
        if known is not None:
            times = [version.recorded_at or version.occurred_at for version in (event, known)]
            assert times[0] != times[1], event.event_id
            if times[0] < times[1]:
                continue
        versions[event.event_id] = event
    return {
        name: event.model_dump(mode="json", exclude_none=True, exclude={"recorded_at"})
        for name, event in sorted(versions.items())
    }


def kinds(derived: Derived) -> list[str]:
    return sorted(event["event"] for event in final(derived).values())


def one(derived: Derived, kind: str) -> dict[str, Any]:
    [event] = [event for event in final(derived).values() if event["event"] == kind]
    return event


def bodies(name: str) -> list[Any]:
    """The payloads of a sample file: bare, or under `body` or `payload` beside their source."""
    content = json.loads(require_shared("payloads", name).read_text())
    entries = content if isinstance(content, list) else [content]
    return [entry.get("body") or entry.get("payload") or entry for entry in entries]


# --- HubSpot


def hubspot(kind: str, number: int = 7, at: int = MONDAY, **fields: Any) -> dict[str, Any]:
    return {"subscriptionType": kind, "objectId": number, "occurredAt": at, "portalId": 700, "eventId": 1} | fields


def changed(number: int, name: str, value: str, at: int, kind: str = "deal") -> dict[str, Any]:
    return hubspot(f"{kind}.propertyChange", number, at, propertyName=name, propertyValue=value)


def test_hubspot_deal_is_won_reopened_and_lost() -> None:
    told = derive(
        "hubspot",
        hubspot("deal.creation"),
        changed(7, "amount", "900", MONDAY + 1),
        changed(7, "dealstage", "closedwon", MONDAY + HOUR),
        changed(7, "dealstage", "contractsent", MONDAY + 2 * HOUR),
        changed(7, "dealstage", "closedlost", MONDAY + 3 * HOUR),
        changed(7, "closed_lost_reason", "price", MONDAY + 3 * HOUR + 5),
    )
    assert [event for event in kinds(told) if event != "deal_changed"] == [
        "deal_lost", "deal_reopened", "deal_won", "opportunity_created",
    ]  # fmt: skip
    assert one(told, "deal_won")["amount"] == "900"
    assert one(told, "deal_won")["occurred_at"] == "2026-06-01T09:00:00Z"
    assert one(told, "deal_lost")["reason"] == "price"


def test_hubspot_merge_makes_all_old_contacts_the_new_one() -> None:
    told = derive(
        "hubspot",
        hubspot("contact.creation", 11),
        hubspot("contact.creation", 12, MONDAY + 1),
        hubspot("contact.merge", 11, MONDAY + 2, primaryObjectId=11, mergedObjectIds=[12], newObjectId=13),
        hubspot("contact.creation", 13, MONDAY + 2),
        hubspot("contact.deletion", 12, MONDAY + 3),
        hubspot("contact.deletion", 11, MONDAY + 3),
    )
    merged = [event for event in final(told).values() if event["event"] == "lead_merged"]
    assert [(event["lead_id"], event["survivor_id"]) for event in merged] == [("11", "13"), ("12", "13")]
    assert "lead_deleted" not in kinds(told)


def test_hubspot_classic_and_generic_subscriptions_are_the_same() -> None:
    generic = [
        hubspot("object.creation", objectTypeId="0-1"),
        hubspot("object.propertyChange", 9, MONDAY + 1, objectTypeId="0-3", propertyName="dealstage",
                propertyValue="closedwon"),
        hubspot("object.deletion", 9, MONDAY + 2, objectTypeId="0-3"),
        hubspot("object.restore", 9, MONDAY + 3, objectTypeId="0-3"),
    ]  # fmt: skip
    classic = [
        hubspot("contact.creation"),
        changed(9, "dealstage", "closedwon", MONDAY + 1),
        hubspot("deal.deletion", 9, MONDAY + 2),
        hubspot("deal.restore", 9, MONDAY + 3),
    ]
    assert final(derive("hubspot", *generic)) == final(derive("hubspot", classic))
    assert kinds(derive("hubspot", classic)) == [
        "deal_changed", "deal_deleted", "deal_restored", "deal_won", "lead_created",
    ]  # fmt: skip


def test_hubspot_association_says_whose_a_deal_is() -> None:
    def sides(kind: str, left: int, right: int, **fields: Any) -> dict[str, Any]:
        said = {"associationType": kind, "fromObjectId": left, "toObjectId": right, "associationRemoved": False}
        return said | fields

    link, turned = sides("DEAL_TO_CONTACT", 7, 21), sides("CONTACT_TO_DEAL", 22, 7)
    types = {"fromObjectTypeId": "0-3", "toObjectTypeId": "0-1", "isPrimaryAssociation": True}
    primary = sides("", 7, 23, **types)
    told = [hubspot("deal.creation"), hubspot("deal.associationChange", at=MONDAY + 1, **link)]
    assert one(derive("hubspot", *told), "opportunity_created")["lead_id"] == "21"
    told.append(hubspot("contact.associationChange", at=MONDAY + 2, **turned))
    assert one(derive("hubspot", *told), "opportunity_created")["lead_id"] == "21"  # the older one
    told.append(hubspot("object.associationChange", at=MONDAY + 3, **primary))
    assert one(derive("hubspot", *told), "opportunity_created")["lead_id"] == "23"
    told += [hubspot("deal.associationChange", at=MONDAY + 4, **{**primary, "associationRemoved": True})]
    assert one(derive("hubspot", *told), "opportunity_created")["lead_id"] == "21"


def test_hubspot_owner_at_the_close_has_the_deal() -> None:
    told = derive(
        "hubspot",
        changed(7, "hubspot_owner_id", "ann", MONDAY),
        changed(7, "dealstage", "closedwon", MONDAY + HOUR),
        changed(7, "hubspot_owner_id", "bob", MONDAY + 2 * HOUR),
    )
    assert one(told, "deal_won")["rep_id"] == "ann"


def test_hubspot_empty_redacted_and_foreign_properties() -> None:
    told = derive(
        "hubspot",
        changed(7, "amount", "", MONDAY),
        changed(7, "amount", "REDACTED", MONDAY + 1),
        changed(7, "nickname", "x", MONDAY + 1),
        changed(7, "dealstage", "closedwon", MONDAY + 2),
        hubspot("ticket.creation"),
        hubspot("contact"),
    )
    assert "amount" not in one(told, "deal_won")
    assert told.ignored == {"redacted value": 1, "deal property": 1, "ticket creation": 1}
    assert [unusable.reason for unusable in told.unusable] == ["unknown subscription"]


def test_hubspot_fetched_deal_has_its_history_and_links() -> None:
    fetched = {
        "portalId": 700,
        "objectType": "deal",
        "object": {
            "id": "7",
            "properties": {"dealstage": "closedwon", "amount": "900", "hubspot_owner_id": "bob", "other": "x"},
            "propertiesWithHistory": {
                "dealstage": [
                    {"value": "closedwon", "timestamp": "2026-06-01T10:00:00Z"},
                    {"value": "appointmentscheduled", "timestamp": "2026-06-01T08:00:00Z"},
                ],
                "hubspot_owner_id": [
                    {"value": "bob", "timestamp": "2026-06-01T11:00:00Z"},
                    {"value": "ann", "timestamp": "2026-06-01T08:00:00Z"},
                ],
            },
            "createdAt": "2026-06-01T08:00:00Z",
            "updatedAt": "2026-06-01T11:00:00Z",
            "archived": False,
            "associations": {"contacts": {"results": [{"id": "21", "type": "deal_to_contact"}]},
                             "companies": {"results": [{"id": "31", "type": "deal_to_company"}]}},
        },
    }  # fmt: skip
    won = one(derive("hubspot", fetched), "deal_won")
    assert (won["occurred_at"], won["rep_id"], won["lead_id"], won["account_id"], won["amount"]) == (
        "2026-06-01T10:00:00Z", "ann", "21", "31", "900",
    )  # fmt: skip


def test_hubspot_webhook_and_fetched_object_are_one_event() -> None:
    notice = changed(7, "dealstage", "closedwon", MONDAY)
    fetched = {"portalId": 700, "objectType": "deal", "object": {
        "id": "7", "updatedAt": "2026-06-01T09:00:00Z", "properties": {"dealstage": "closedwon", "amount": "900"},
        "propertiesWithHistory": {"dealstage": [{"value": "closedwon", "timestamp": "2026-06-01T08:00:00.000Z"}]},
    }}  # fmt: skip
    for order in itertools.permutations([notice, fetched]):
        assert one(derive("hubspot", *order, batches=2), "deal_won")["amount"] == "900"


def test_hubspot_merge_is_found_in_the_survivor() -> None:
    """A sweep tells of a merge whose webhook was lost."""
    fetched = {"portalId": 700, "objectType": "contact", "object": {
        "id": "13", "updatedAt": "2026-06-01T09:00:00Z", "createdAt": "2026-06-01T08:00:00Z", "archived": False,
        "properties": {"createdate": "2026-06-01T08:00:00Z", "hs_merged_object_ids": "11;12"},
    }}  # fmt: skip
    told = derive("hubspot", hubspot("contact.creation", 11), fetched, hubspot("contact.deletion", 11, MONDAY + HOUR))
    merged = [event for event in final(told).values() if event["event"] == "lead_merged"]
    assert [(event["lead_id"], event["survivor_id"]) for event in merged] == [("11", "13"), ("12", "13")]
    assert "lead_deleted" not in kinds(told)


def test_names_of_reps_are_a_query_away() -> None:
    query = """SELECT fact_id(tenant, 'owner', id, 'joined', NULL) AS event_id, created_at AS occurred_at, recorded_at,
               id AS rep_id, name AS display_name, team FROM owners WHERE active"""
    joined = [{"event": "rep_joined", "sql": query}]
    source = parse_source({"use": "hubspot", "name": "hubspot", "events": joined}, where="test")
    said = {"created": "2026-06-01T08:00:00Z", "name": "Ann Bo", "team": "north", "active": True}
    owner = {"portalId": 700, "objectType": "owner", "object": {"id": "9", "properties": said}}
    [event] = Deriver(source).derive([RawRecord(owner, at=MONDAY)]).events
    shown = event.model_dump(include={"rep_id", "display_name", "team"})
    assert shown == {"rep_id": "9", "display_name": "Ann Bo", "team": "north"}


def test_hubspot_privacy_deletion_forgets() -> None:
    told = derive("hubspot", hubspot("contact.creation"), hubspot("contact.privacyDeletion", at=MONDAY + 1), batches=2)
    assert told.memory == {b"lead:7": None}
    assert kinds(told) == ["lead_created", "lead_deleted"]


def test_hubspot_meetings_and_replies() -> None:
    def fetched(name: str, number: str, **properties: str) -> dict[str, Any]:
        links = {"contacts": {"results": [{"id": "21", "type": f"{name}_to_contact"}]}}
        found = {"id": number, "updatedAt": "2026-06-01T09:00:00Z", "properties": properties, "associations": links}
        return {"portalId": 700, "objectType": name, "object": found}

    told = derive(
        "hubspot",
        fetched("call", "1", hs_timestamp="2026-06-01T08:30:00Z", hs_call_direction="OUTBOUND"),
        fetched("email", "2", hs_timestamp="2026-06-01T08:40:00Z", hs_email_direction="INCOMING_EMAIL"),
        fetched("email", "3", hs_timestamp="2026-06-01T08:20:00Z", hs_email_direction="EMAIL", hs_sequence_id="5"),
        fetched("meeting", "4", hs_createdate="2026-06-01T08:50:00Z", hs_meeting_start_time="2026-06-02T08:00:00Z",
                hs_meeting_outcome="COMPLETED"),
    )  # fmt: skip
    assert kinds(told) == [
        "activity_logged", "activity_logged", "meeting_booked", "meeting_completed", "reply_received",
    ]  # fmt: skip
    touches = [event for event in final(told).values() if event["event"] == "activity_logged"]
    assert [(touch["kind"], touch["automated"]) for touch in touches] == [("call", False), ("email", True)]
    assert one(told, "meeting_completed")["outcome"] == "held"
    assert one(told, "meeting_completed")["occurred_at"] == "2026-06-02T08:00:00Z"


def test_hubspot_samples() -> None:
    told = derive("hubspot", *bodies("hubspot_webhook_events.json"))
    assert kinds(told) == [
        "deal_changed", "deal_changed", "deal_deleted", "lead_created", "lead_deleted", "opportunity_created",
    ]  # fmt: skip
    assert one(told, "opportunity_created")["amount"] == "2000"
    workflow = derive("hubspot", *bodies("hubspot_workflow_deal.json"), *bodies("hubspot_workflow_contact.json"))
    assert one(workflow, "opportunity_created")["amount"] == "50000000"
    assert one(workflow, "lead_created")["rep_id"] == "823493108"
    other = derive("hubspot", *bodies("hubspot_webhook_events_other.json"))
    assert [unusable.reason for unusable in other.unusable].count("unknown subscription") >= 1


HISTORY = [
    hubspot("deal.creation"),
    changed(7, "amount", "800", MONDAY + 1),
    changed(7, "hubspot_owner_id", "ann", MONDAY + 2),
    changed(7, "dealstage", "closedwon", MONDAY + 10),
    changed(7, "amount", "900", MONDAY + 11),
    changed(7, "dealstage", "contractsent", MONDAY + 20),
    changed(7, "hubspot_owner_id", "bob", MONDAY + 25),
    changed(7, "dealstage", "closedwon", MONDAY + 30),
    hubspot("deal.associationChange", at=MONDAY + 5, associationType="DEAL_TO_CONTACT", fromObjectId=7, toObjectId=21),
    hubspot("deal.deletion", at=MONDAY + 40),
    hubspot("deal.restore", at=MONDAY + 50),
]


@pytest.mark.parametrize("seed", range(12))
def test_order_repetition_and_batches_change_nothing(seed: int) -> None:
    """Invariant: what holds in the end depends on what was said alone."""
    chance = random.Random(seed)
    shuffled = HISTORY + chance.choices(HISTORY, k=6)
    chance.shuffle(shuffled)
    expected = final(derive("hubspot", *HISTORY))
    told = final(derive("hubspot", *shuffled, batches=chance.randint(1, len(shuffled))))
    standing = {name for name, event in expected.items() if event["event"] != "deal_changed"}
    assert {name: told.get(name) for name in expected} == expected
    # An order in which less was known for a while may leave events about instants that were not the first ones.
    assert standing <= told.keys()


# --- Pipedrive


def pipedrive(action: str = "change", entity: str = "deal", previous: Any = None, **fields: Any) -> dict[str, Any]:
    data = {
        "id": 5, "person_id": 3, "owner_id": 9, "org_id": 7, "value": 100, "currency": "EUR", "status": "open",
        "add_time": "2026-06-01T08:00:00Z", "update_time": "2026-06-03T08:00:00Z",
    } | fields  # fmt: skip
    meta = {"entity": entity, "action": action, "company_id": 1, "entity_id": data["id"],
            "timestamp": data["update_time"]}  # fmt: skip
    return {"meta": meta, "data": None if action == "delete" else data, "previous": previous}


def test_pipedrive_deals_carry_their_whole_state() -> None:
    won = derive("pipedrive", pipedrive(status="won", won_time="2026-06-02T08:00:00Z"))
    event = one(won, "deal_won")
    assert (event["occurred_at"], event["amount"], event["currency"]) == ("2026-06-02T08:00:00Z", "100", "EUR")
    assert (event["lead_id"], event["account_id"], event["rep_id"]) == ("person:3", "7", "9")
    lost = derive("pipedrive", pipedrive(status="lost", lost_time="2026-06-02T09:00:00Z", lost_reason="price"))
    assert one(lost, "deal_lost")["reason"] == "price"
    assert one(lost, "opportunity_created")["occurred_at"] == "2026-06-01T08:00:00Z"


def test_pipedrive_deal_opened_again_is_so_by_what_it_was_before() -> None:
    again = pipedrive(previous={"status": "won", "won_time": "2026-06-02T08:00:00Z"})
    told = derive("pipedrive", again)
    assert one(told, "deal_reopened")["occurred_at"] == "2026-06-03T08:00:00Z"
    assert one(told, "deal_won")["occurred_at"] == "2026-06-02T08:00:00Z"


def test_pipedrive_won_deal_that_is_deleted() -> None:
    gone = {"meta": {"entity": "deal", "action": "delete", "id": 5, "company_id": 1,
                     "timestamp": "2026-06-04T09:05:00Z"},
            "data": None, "previous": {"id": 5, "status": "won", "value": 900}}  # fmt: skip
    told = derive("pipedrive", pipedrive(status="won", won_time="2026-06-02T08:00:00Z"), gone)
    assert one(told, "deal_deleted")["occurred_at"] == "2026-06-04T09:05:00Z"
    assert len([event for event in final(told).values() if event["event"] == "deal_won"]) == 1


def test_pipedrive_merge_is_no_deletion_of_a_lead() -> None:
    gone = {"meta": {"entity": "person", "action": "delete", "entity_id": 4, "company_id": 1,
                     "timestamp": "2026-06-04T09:05:00Z"},
            "data": None, "previous": {"id": 4, "merged_to_id": 3}}  # fmt: skip
    told = derive("pipedrive", gone)
    assert (one(told, "lead_merged")["lead_id"], one(told, "lead_merged")["survivor_id"]) == ("person:4", "person:3")
    assert kinds(told) == ["lead_merged"]


def test_pipedrive_activity_is_a_touch_when_it_is_done() -> None:
    planned = pipedrive(entity="activity", type="call", done=False)
    done = pipedrive(entity="activity", type="call", done=True, marked_as_done_time="2026-06-02 08:00:00")
    edited = pipedrive(entity="activity", type="call", done=True, marked_as_done_time="2026-06-02 08:00:00",
                       update_time="2026-06-09T10:00:00Z")  # fmt: skip
    assert kinds(derive("pipedrive", planned)) == []
    told = derive("pipedrive", planned, done, edited)
    assert one(told, "activity_logged")["occurred_at"] == "2026-06-02T08:00:00Z"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pipedrive_v1_added.deal.json", ["deal_changed", "opportunity_created"]),
        ("pipedrive_v1_updated.deal.json", ["deal_changed", "opportunity_created"]),
        ("pipedrive_v1_added.person.json", ["lead_assigned", "lead_created"]),
        ("pipedrive_v1_added.activity.json", []),  # planned, not done
        ("pipedrive_v1_updated.activity.json", ["activity_logged"]),
    ],
)
def test_pipedrive_samples(name: str, expected: list[str]) -> None:
    told = derive("pipedrive", *bodies(name))
    assert sorted(set(kinds(told))) == expected
    assert not told.unusable
    assert not told.rejected


def test_pipedrive_samples_of_version_2() -> None:
    lead, first, second = (derive("pipedrive", body) for body in bodies("pipedrive_v2_events.json"))
    assert one(lead, "lead_created")["lead_id"] == "person:12"
    opened = [one(told, "opportunity_created") for told in (first, second)]
    assert [(event["amount"], event["currency"]) for event in opened] == [("1", "BRL"), ("2", "USD")]


# --- Salesforce


def salesforce(change: str = "UPDATE", number: str = "006AA", at: int = MONDAY, **fields: Any) -> dict[str, Any]:
    header = {
        "entityName": fields.pop("entity", "Opportunity"), "changeType": change, "recordIds": [number],
        "commitTimestamp": at, "transactionKey": "t", "sequenceNumber": 1,
        "changedFields": fields.pop("changed", []), "nulledFields": fields.pop("nulled", []),
    }  # fmt: skip
    return {"payload": {"ChangeEventHeader": header, **fields}}


OPENED = salesforce(
    "CREATE", AccountId="001AA", ContactId="003AA", OwnerId="005AA", StageName="Prospecting", Amount=5000.0,
    IsClosed=False, IsWon=False, CreatedDate="2026-06-01T08:00:00.000Z", CurrencyIsoCode=None,
)  # fmt: skip


def test_salesforce_win_has_the_amount_that_was_told_before() -> None:
    told = derive("salesforce", OPENED, salesforce(at=MONDAY + HOUR, StageName="Closed Won", IsClosed=True, IsWon=True))
    won = one(told, "deal_won")
    assert (won["amount"], won["account_id"], won["lead_id"], won["rep_id"]) == ("5000", "001AA", "003AA", "005AA")
    assert won["occurred_at"] == "2026-06-01T09:00:00Z"


def test_salesforce_win_of_unknown_amount_has_none() -> None:
    assert "amount" not in one(derive("salesforce", salesforce(StageName="Closed Won", IsWon=True)), "deal_won")


def test_salesforce_currency_of_the_record() -> None:
    won = salesforce(StageName="Closed Won", IsClosed=True, IsWon=True, Amount=1500000, CurrencyIsoCode="JPY")
    assert one(derive("salesforce", won), "deal_won")["currency"] == "JPY"


def test_salesforce_unchanged_fields_are_not_null() -> None:
    pubsub = salesforce(at=MONDAY + HOUR, StageName="Closed Won", IsWon=True, IsClosed=True, Amount=None, OwnerId=None,
                        changed=["StageName", "IsWon", "IsClosed"])  # fmt: skip
    nulled = salesforce(at=MONDAY + 2 * HOUR, Amount=None, changed=["Amount"], nulled=["Amount"])
    bitmaps = salesforce(at=MONDAY + HOUR, StageName="Closed Won", IsWon=True, IsClosed=True, Amount=None,
                         changed=["0x650004E0"])  # fmt: skip
    assert one(derive("salesforce", OPENED, pubsub), "deal_won")["amount"] == "5000"
    assert one(derive("salesforce", OPENED, bitmaps), "deal_won")["amount"] == "5000"
    assert "amount" not in one(derive("salesforce", OPENED, pubsub, nulled), "deal_won")


def test_salesforce_conversion_leads_from_the_deal_to_the_lead() -> None:
    lead = salesforce("CREATE", "00QAA", entity="Lead", CreatedDate=MONDAY, LeadSource="Web", OwnerId="005AA")
    converted = salesforce("UPDATE", "00QAA", MONDAY + HOUR, entity="Lead", IsConverted=True,
                           ConvertedOpportunityId="006AA", ConvertedContactId="003AA")  # fmt: skip
    told = derive("salesforce", lead, OPENED, converted)
    assert one(told, "opportunity_created")["lead_id"] == "00QAA"
    assert one(told, "lead_merged")["survivor_id"] == "00QAA"
    assert one(told, "lead_created")["source"] == "Web"


def test_salesforce_event_of_many_records_and_gaps() -> None:
    event = salesforce(IsWon=True, Amount=5)
    event["payload"]["ChangeEventHeader"]["recordIds"] = ["a", "b"]
    told = derive("salesforce", event, salesforce("GAP_UPDATE"), salesforce("DELETE", at=MONDAY + 1))
    assert [event["deal_id"] for event in final(told).values() if event["event"] == "deal_won"] == ["a", "b"]
    assert [unusable.reason for unusable in told.unusable] == ["gap"]
    assert one(told, "deal_deleted")["deal_id"] == "006AA"


def test_salesforce_fetched_record_with_history() -> None:
    record = {"attributes": {"type": "Opportunity"}, "Id": "006AA", "SystemModstamp": "2026-06-03T08:00:00.000+0000",
              "CreatedDate": "2026-06-01T08:00:00.000+0000", "StageName": "Closed Won", "IsWon": True,
              "IsClosed": True, "Amount": 10, "IsDeleted": False}  # fmt: skip
    past = {"attributes": {"type": "OpportunityFieldHistory"}, "OpportunityId": "006AA", "Field": "StageName",
            "NewValue": "Closed Won", "CreatedDate": "2026-06-02T08:00:00.000+0000"}  # fmt: skip
    assert one(derive("salesforce", record, past), "deal_won")["occurred_at"] == "2026-06-02T08:00:00Z"


def test_salesforce_samples() -> None:
    told = derive("salesforce", *bodies("salesforce_cdc_events.json"))
    opened = one(told, "opportunity_created")
    assert (opened["deal_id"], opened["amount"]) == ("006SM0000001Tb3YAE", "40000")
    assert "lead_id" not in opened


# --- Twenty


def test_twenty_in_both_shapes() -> None:
    record = {"id": "o1", "stage": "CUSTOMER", "amount": {"amountMicros": 900_500_000, "currencyCode": "EUR"},
              "createdAt": "2026-06-01T08:00:00Z", "updatedAt": "2026-06-02T08:00:00Z", "pointOfContactId": "p1",
              "companyId": "c1", "ownerId": "u1"}  # fmt: skip
    sent = {"eventName": "opportunity.updated", "record": record, "eventDate": "2026-06-02T08:00:01Z"}
    documented = {"event": "opportunity.updated", "data": record, "timestamp": "2026-06-02T08:00:01Z"}
    assert final(derive("twenty", sent)) == final(derive("twenty", documented))
    won = one(derive("twenty", sent), "deal_won")
    assert (won["amount"], won["currency"], won["lead_id"]) == ("900.5", "EUR", "p1")
    person = {"id": "p1", "createdAt": "2026-06-01T08:00:00Z", "createdBy": {"source": "MANUAL"}}
    assert (
        one(derive("twenty", {"eventName": "person.created", "record": person}), "lead_created")["source"] == "MANUAL"
    )


# --- outreach, meetings, billing


def test_a_reply_and_its_category_are_one_reply() -> None:
    reply = {"event_type": "EMAIL_REPLY", "sl_lead_email": "Kim@example.com ", "message_id": "m2",
             "event_timestamp": "2026-06-01T10:00:00+00:00"}  # fmt: skip
    judged = {"event_type": "LEAD_CATEGORY_UPDATED", "lead_data": {"email": "kim@example.com"},
              "lead_category": {"new_name": "Out Of Office"}, "event_timestamp": "2026-06-01T10:05:00Z"}  # fmt: skip
    told = derive("smartlead", reply, judged)
    assert kinds(told) == ["reply_classified", "reply_received"]
    assert one(told, "reply_received")["lead_id"] == one(told, "reply_classified")["lead_id"] == "kim@example.com"
    assert one(told, "reply_classified")["auto_reply"] is True


def test_outreach_samples() -> None:
    smartlead = derive("smartlead", *bodies("smartlead_events.json"))
    assert set(kinds(smartlead)) == {"activity_logged", "reply_received"}
    assert one(smartlead, "activity_logged")["automated"] is True
    instantly = derive("instantly", *bodies("instantly_events.json"))
    assert one(instantly, "reply_classified")["sentiment"] == "negative"
    assert len(instantly.unusable) == 1  # a list of the names of fields


def calendly(event: str, invitee: str = "i1", **extra: Any) -> dict[str, Any]:
    meeting = {"uri": "https://api.calendly.com/scheduled_events/m1", "start_time": "2026-06-05T10:00:00.000000Z"}
    who = {"uri": invitee, "email": "A@example.com", "scheduled_event": meeting} | extra
    return {"event": event, "created_at": "2026-06-01T10:00:00Z", "payload": who}


def test_calendly_invitees() -> None:
    booked = one(derive("calendly", calendly("invitee.created")), "meeting_booked")
    assert (booked["lead_id"], booked["meeting_id"], booked["booked_by"]) == ("a@example.com", "m1", "lead")
    assert booked["scheduled_for"] == "2026-06-05T10:00:00Z"
    gone = one(derive("calendly", calendly("invitee.canceled")), "meeting_completed")
    assert (gone["outcome"], gone["occurred_at"]) == ("cancelled", "2026-06-01T10:00:00Z")
    missed = calendly("invitee_no_show.created")
    missed["payload"] = {"invitee": missed["payload"]}
    no_show = one(derive("calendly", missed), "meeting_completed")
    assert (no_show["outcome"], no_show["occurred_at"]) == ("no_show", "2026-06-05T10:00:00Z")


def test_calendly_meeting_that_was_moved_was_not_cancelled() -> None:
    told = derive(
        "calendly",
        calendly("invitee.canceled", rescheduled=True),
        calendly("invitee.created", "i2", old_invitee="i1"),
    )
    assert kinds(told) == ["meeting_booked"]


def stripe(kind: str, number: str = "evt_1", **fields: Any) -> dict[str, Any]:
    item = {"quantity": 3, "price": {"unit_amount": 1000, "recurring": {"interval": "month", "interval_count": 1}}}
    found = {"id": "sub_1", "customer": "cus_1", "status": "active", "currency": "eur", "items": {"data": [item]}}
    return {"id": number, "type": kind, "created": MONDAY // 1000, "data": {"object": found | fields}}


@pytest.mark.parametrize(
    ("fields", "mrr", "status"),
    [
        ({}, "30", "active"),
        ({"status": "past_due"}, "30", "past_due"),
        ({"status": "trialing"}, "0", "trial"),
        ({"status": "unpaid"}, "0", "cancelled"),
        ({"pause_collection": {"behavior": "void"}}, "0", "paused"),
        ({"discount": {"coupon": {"percent_off": 50}}}, "15", "active"),
        ({"items": {"data": [{"price": {"unit_amount_decimal": "120000",
                                        "recurring": {"interval": "year"}}}]}}, "100", "active"),
        ({"currency": "jpy"}, "3000", "active"),
        ({"items": {"data": [{"price": {"unit_amount": 5, "recurring": {"interval": "month",
                                                                        "usage_type": "metered"}}}]}}, None, "active"),
    ],
)  # fmt: skip
def test_stripe_recurring_revenue(fields: dict[str, Any], mrr: str | None, status: str) -> None:
    told = derive("stripe", stripe("customer.subscription.updated", **fields))
    if mrr is None:
        assert [rejected.reason for rejected in told.rejected] == ["invalid"]
        return
    event = one(told, "subscription_changed")
    assert (event["mrr_after"], event["status"], event["subscription_id"]) == (mrr, status, "sub_1")


def test_stripe_end_refund_and_noise() -> None:
    told = derive(
        "stripe",
        stripe("customer.subscription.deleted"),
        {"id": "evt_2", "type": "charge.refunded", "created": MONDAY // 1000,
         "data": {"object": {"id": "ch_1", "customer": "cus_1", "amount_refunded": 1250, "currency": "eur"}}},
        {"id": "evt_3", "type": "invoice.paid", "created": MONDAY // 1000, "data": {"object": {"id": "in_1"}}},
    )  # fmt: skip
    assert (one(told, "subscription_changed")["mrr_after"], one(told, "subscription_changed")["status"]) == (
        "0", "cancelled",
    )  # fmt: skip
    assert one(told, "deal_credited")["amount"] == "12.5"
    assert told.ignored["by the source"] == 1
    assert not told.unusable


# --- all of them


def test_events_are_not_made_again_while_nothing_changed() -> None:
    deriver = Deriver(shipped_source("pipedrive"))
    body = pipedrive(status="won", won_time="2026-06-02T08:00:00Z")
    assert len(deriver.derive([RawRecord(body, at=MONDAY)]).events) > 0
    again = deriver.derive([RawRecord(body, at=MONDAY + 1)])
    assert again.events == []
    assert again.ignored == {"nothing new": 1}


def test_a_restart_with_what_is_remembered_goes_on_as_before() -> None:
    memory: dict[bytes, bytes] = {}
    expected = final(derive("hubspot", *HISTORY))
    versions = Derived()
    for number, body in enumerate(HISTORY):
        deriver = Deriver(shipped_source("hubspot"), memory)  # a new process each time
        versions.events += deriver.derive([RawRecord(body, at=MONDAY + number)]).events
        deriver.close()
    assert {name: final(versions).get(name) for name in expected} == expected


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(ValueError, match="known are calendly"):
        to_events("fax", {})


@cache
def deriver_of(source: str) -> Deriver:
    return Deriver(shipped_source(source))


KEYS = st.sampled_from([
    "subscriptionType", "objectId", "meta", "data", "current", "previous", "entity", "action", "id", "object",
    "person_id", "ChangeEventHeader", "recordIds", "entityName", "changeType", "event_type", "event", "properties",
    "payload", "lead", "email", "timestamp", "occurredAt", "status", "scheduled_event", "uri", "eventName", "record",
    "lead_category", "new_name", "type", "created", "items", "objectType", "attributes", "portalId", "vid",
])  # fmt: skip
WORDS = st.sampled_from([
    "contact.creation", "deal", "person", "added", "won", "lost", "Opportunity", "CREATE", "EMAIL_SENT", "change",
    "email_sent", "invitee.created", "2024-01-01T00:00:00Z", "opportunity.updated", "customer.subscription.updated",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
PAYLOADS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=8))


@given(source=st.sampled_from(shipped_sources()), payload=PAYLOADS)
@settings(max_examples=150)
def test_no_payload_raises_and_none_vanishes(source: str, payload: Any) -> None:
    told = deriver_of(source).derive([RawRecord(payload, at=MONDAY)])
    assert told.events or told.rejected or told.unusable or told.ignored or told.memory or payload == []
    assert all(not isinstance(event, Rejection) for event in told.events)
