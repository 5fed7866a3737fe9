"""Salesforce: change events (CDC), and records of queries.

A change event of an update names the fields it speaks of (``changedFields``); of others it says nothing, whether they
are there as null (Pub/Sub) or absent (CometD). Records that a poller fetched come as the REST API gives them, with
``attributes.type``; those of OpportunityHistory and OpportunityFieldHistory complete the past of a deal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from salesgauge.schemas.sources.crm import EXTRA, LEAD_LINK, TENANT, CrmReader, share
from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.objects import (
    DELETED,
    MERGED,
    FieldValue,
    Ignored,
    ObjectChange,
    RawRecord,
    Told,
    Unusable,
)
from salesgauge.schemas.sources.source import Source

FIELDS: Mapping[str, Mapping[str, str]] = {
    "Lead": {"CreatedDate": "created", "OwnerId": "owner", "Status": "stage", "LeadSource": "source"},
    "Contact": {"CreatedDate": "created", "OwnerId": "owner", "LeadSource": "source", "AccountId": "account"},
    "Opportunity": {
        "CreatedDate": "created", "OwnerId": "owner", "StageName": "stage", "Amount": "amount",
        "CurrencyIsoCode": "currency", "AccountId": "account", "CloseDate": "expected_close",
        "Probability": "probability", "ForecastCategoryName": "category", "Type": "type", "Loss_Reason__c": "reason",
    },
    "Account": {"CreatedDate": "created", "OwnerId": "owner"},
    "Task": {"OwnerId": "owner", "AccountId": "account"},
    "Event": {"OwnerId": "owner", "CreatedDate": "booked_at", "StartDateTime": "starts_at"},
    "OpportunityStage": {"MasterLabel": "label", "DefaultProbability": "probability"},
    "User": {"CreatedDate": "created", "Name": "name", "IsActive": "active"},
}  # fmt: skip
_KINDS = {
    "Lead": "lead", "Contact": "lead", "Opportunity": "deal", "Account": "account", "Task": "activity",
    "Event": "meeting", "OpportunityStage": "stage", "User": "owner",
}  # fmt: skip
_BITMAP = re.compile(r"(\d+-)?0x[0-9A-Fa-f]+")
_NO_PERSON = ("001", "006", "500")
"""Ids that begin so are accounts, opportunities and cases; a task's ``WhoId`` is a lead or a contact."""
_CALLS = {"call": "call", "email": "email"}


class SalesforceReader(CrmReader):
    """Reads Salesforce's records."""

    def __init__(self, source: Source) -> None:
        self._wanted = {
            entity: {**names, **{extra: EXTRA + extra for extra in source.properties.get(entity, ())}}
            for entity, names in FIELDS.items()
        }

    def tell(self, record: RawRecord) -> Iterable[Told]:
        """A change event, in any of its envelopes, or a fetched record."""
        body = record.value
        for envelope in ("data", "payload"):
            if isinstance(body, dict) and isinstance(body.get(envelope), dict):
                body = body[envelope]
        if not isinstance(body, dict):
            yield Unusable("unreadable", "a record of Salesforce is a JSON object")
        elif isinstance(body.get("ChangeEventHeader"), dict):
            yield from self._event(body, body["ChangeEventHeader"])
        elif isinstance(body.get("attributes"), dict):
            yield from self._fetched(body, str(body["attributes"].get("type")), record.at)
        else:
            yield Unusable("unknown shape", f"keys {', '.join(sorted(body)[:10])}")

    def _event(self, body: Mapping[str, Any], header: Mapping[str, Any]) -> Iterable[Told]:
        entity, change = str(header.get("entityName")), str(header.get("changeType"))
        at, numbers = milliseconds(header.get("commitTimestamp")), header.get("recordIds")
        if change.startswith("GAP_"):
            yield Unusable("gap", f"{change} of {entity}: changes were lost; the records must be fetched")
        elif entity not in _KINDS:
            yield Ignored(f"{entity} {change}"[:40])
        elif at is None or not isinstance(numbers, list):
            yield Unusable("no id", f"{change} of {entity} without recordIds or commitTimestamp")
        else:
            facts = self._facts(entity, _meant(body, header, change), at)
            if change in ("DELETE", "UNDELETE"):
                facts.append(FieldValue(DELETED, at, change == "DELETE"))
            for number in numbers:
                yield ObjectChange(_KINDS[entity], str(number), facts)
            if body.get("ConvertedOpportunityId") and entity == "Lead":
                yield from self._conversion(body, [str(number) for number in numbers], at)

    def _conversion(self, body: Mapping[str, Any], leads: list[str], at: int) -> Iterable[Told]:
        """A lead became a contact and a deal: the deal is the lead's, and the contact is the lead."""
        deal, contact = str(body["ConvertedOpportunityId"]), body.get("ConvertedContactId")
        yield ObjectChange("deal", deal, [FieldValue(LEAD_LINK + lead, at, "primary") for lead in leads])
        if contact:
            yield ObjectChange("lead", str(contact), [FieldValue(MERGED, at, leads[0])])

    def _fetched(self, body: Mapping[str, Any], entity: str, arrived: int) -> Iterable[Told]:
        if entity in ("OpportunityHistory", "OpportunityFieldHistory"):
            yield from _history(body)
            return
        if entity == "OpportunityContactRole":
            yield from _role(body, arrived)
            return
        kind = _KINDS.get(entity)
        if kind is None:
            yield Ignored(f"fetched {entity}"[:40])
            return
        at = milliseconds(body.get("SystemModstamp") or body.get("LastModifiedDate")) or arrived
        facts = self._facts(entity, body, at)
        if "IsDeleted" in body:
            facts.append(FieldValue(DELETED, at, bool(body["IsDeleted"])))
        number = str(body["Id"])
        if body.get("MasterRecordId"):
            facts.append(FieldValue(MERGED, at, str(body["MasterRecordId"])))
        yield ObjectChange(kind, number, facts)
        if entity == "Lead" and body.get("ConvertedOpportunityId"):
            yield from self._conversion(body, [number], at)

    def _facts(self, entity: str, said: Mapping[str, Any], at: int) -> list[FieldValue]:
        facts = [FieldValue(TENANT, 0, "")]
        for theirs, ours in self._wanted[entity].items():
            if theirs in said:
                facts.append(
                    FieldValue(ours, at, share(said[theirs]) if ours == "probability" else _plain(said[theirs]))
                )
        if entity == "Opportunity":
            facts += _closing(said, at)
            if said.get("ContactId"):
                facts.append(FieldValue(LEAD_LINK + str(said["ContactId"]), at, "other"))
        if entity == "OpportunityStage":
            facts += [FieldValue("outcome", at, fact.value) for fact in _closing(said, at)]
        if entity == "Task":
            facts += _task(said, at)
        if entity == "Event" and _is_person(said.get("WhoId")):
            facts.append(FieldValue(LEAD_LINK + str(said["WhoId"]), at, "primary"))
        return facts


def _meant(body: Mapping[str, Any], header: Mapping[str, Any], change: str) -> dict[str, Any]:
    """The fields that a change event speaks of."""
    fields = {name: value for name, value in body.items() if name != "ChangeEventHeader"}
    if change in ("CREATE", "UNDELETE"):
        return fields
    changed = [name for name in header.get("changedFields") or () if not _BITMAP.fullmatch(str(name))]
    nulled = [name for name in header.get("nulledFields") or () if not _BITMAP.fullmatch(str(name))]
    if changed:
        named = {name.partition(".")[0] for name in (*changed, *nulled)}
        return {name: value for name, value in fields.items() if name in named} | dict.fromkeys(nulled)
    return {name: value for name, value in fields.items() if value is not None} | dict.fromkeys(nulled)


def _closing(said: Mapping[str, Any], at: int) -> list[FieldValue]:
    """Whether a deal is open, won or lost. What did not change is not sent: a lost deal was not won before either."""
    if said.get("IsWon") is True:
        return [FieldValue("status", at, "won")]
    if said.get("IsClosed") is True:
        return [FieldValue("status", at, "lost")]
    if said.get("IsClosed") is False:
        return [FieldValue("status", at, "open")]
    return []


def _task(said: Mapping[str, Any], at: int) -> list[FieldValue]:
    facts = []
    if "TaskSubtype" in said or "Type" in said:
        kind = str(said.get("TaskSubtype") or said.get("Type") or "").lower()
        facts.append(FieldValue("kind", at, _CALLS.get(kind)))
        facts.append(FieldValue("automated", at, kind == "cadence" or bool(said.get("ActionCadenceStepTrackerId"))))
    if "CallType" in said:
        facts.append(FieldValue("direction", at, {"Inbound": "inbound"}.get(str(said["CallType"]), "outbound")))
    if "IsClosed" in said or "Status" in said:
        facts.append(FieldValue("done", at, bool(said.get("IsClosed")) or said.get("Status") == "Completed"))
    done = milliseconds(said.get("CompletedDateTime"))
    if done is not None:
        facts.append(FieldValue("at", at, done))
    if _is_person(said.get("WhoId")):
        facts.append(FieldValue(LEAD_LINK + str(said["WhoId"]), at, "primary"))
    return facts


def _history(body: Mapping[str, Any]) -> Iterable[Told]:
    """A former state of a deal, or a former value of one of its fields."""
    at, number = milliseconds(body.get("CreatedDate")), body.get("OpportunityId")
    if at is None or not number:
        yield Unusable("no id", "a history record without OpportunityId or CreatedDate")
        return
    names = {"StageName": "stage", "Amount": "amount", "CloseDate": "expected_close", "OwnerId": "owner"}
    field = names.get(str(body.get("Field")))
    if "Field" in body:
        facts = [FieldValue(field, at, _plain(body.get("NewValue")))] if field else []
    else:
        facts = [FieldValue(ours, at, _plain(body[theirs])) for theirs, ours in names.items() if theirs in body]
    if facts:
        yield ObjectChange("deal", str(number), facts)
    else:
        yield Ignored("history of another field")


def _role(body: Mapping[str, Any], arrived: int) -> Iterable[Told]:
    """Which contact a deal belongs to."""
    at = milliseconds(body.get("SystemModstamp")) or arrived
    standing = None if body.get("IsDeleted") else "primary" if body.get("IsPrimary") else "other"
    link = LEAD_LINK + str(body["ContactId"])
    yield ObjectChange("deal", str(body["OpportunityId"]), [FieldValue(link, at, standing)])


def _is_person(number: Any) -> bool:
    return bool(number) and not str(number).startswith(_NO_PERSON)


def _plain(value: Any) -> Any:
    if value == "":
        return None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
