"""HubSpot: webhooks of apps (classic and ``object.*``), workflows, and records of the API.

Records that a poller fetched come as ``{"portalId", "objectType", "object": …}`` with the object as the API gave it.
A merge makes a new contact: all old ids become it, and their deletions, which HubSpot sends too, are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from salesgauge.schemas.sources.crm import EXTRA, LEAD_LINK, TENANT, CrmReader
from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.objects import (
    DELETED,
    MERGED,
    FieldValue,
    Forget,
    Ignored,
    ObjectChange,
    RawRecord,
    Told,
    Unusable,
)
from salesgauge.schemas.sources.source import Source

TYPES = {
    "0-1": "contact", "0-2": "company", "0-3": "deal", "0-5": "ticket", "0-46": "note", "0-47": "meeting",
    "0-48": "call", "0-49": "email", "0-18": "communication", "0-27": "task", "0-8": "line_item", "0-7": "product",
}  # fmt: skip
"""``objectTypeId`` -> name."""

_KINDS = {
    "contact": "lead", "deal": "deal", "company": "account", "call": "activity", "email": "activity",
    "communication": "activity", "meeting": "meeting", "stage": "stage", "owner": "owner",
}  # fmt: skip

PROPERTIES: Mapping[str, Mapping[str, str]] = {
    "lead": {
        "createdate": "created", "hubspot_owner_id": "owner", "lifecyclestage": "stage",
        "hs_analytics_source": "source", "associatedcompanyid": "account",
    },
    "deal": {
        "createdate": "created", "dealstage": "stage", "amount": "amount", "deal_currency_code": "currency",
        "hubspot_owner_id": "owner", "closedate": "expected_close", "hs_deal_stage_probability": "probability",
        "hs_manual_forecast_category": "category", "closed_lost_reason": "reason", "dealtype": "type",
    },
    "account": {"createdate": "created", "hubspot_owner_id": "owner"},
    "activity": {
        "hs_timestamp": "at", "hubspot_owner_id": "owner", "hs_call_direction": "direction",
        "hs_email_direction": "direction", "hs_email_status": "status", "hs_sequence_id": "automated",
    },
    "meeting": {
        "hs_createdate": "booked_at", "hs_meeting_start_time": "starts_at", "hs_meeting_outcome": "outcome",
        "hubspot_owner_id": "owner",
    },
    "stage": {"label": "label", "pipeline": "pipeline", "outcome": "outcome", "probability": "probability"},
    "owner": {"created": "created", "name": "name", "team": "team", "active": "active"},
}  # fmt: skip
"""HubSpot's property -> ours, by kind of object."""

_DIRECTIONS = {
    "OUTBOUND": "outbound", "INBOUND": "inbound",
    "EMAIL": "outbound", "FORWARDED_EMAIL": "outbound", "INCOMING_EMAIL": "inbound",
}  # fmt: skip
_OUTCOMES = {"COMPLETED": "held", "NO_SHOW": "no_show", "NO SHOW": "no_show", "CANCELED": "cancelled"}
_ACTIVITIES = {"call": "call", "email": "email", "communication": "message"}
_REDACTED = "REDACTED"
_MERGED_IDS = "hs_merged_object_ids"
"""The property of a contact, company or deal with the ids that became it, divided by semicolons."""
_LINKED = ("deal", "call", "email", "communication", "meeting")


def wanted_of(name: str) -> list[str]:
    """The properties to ask HubSpot for, by its name of the kind of object."""
    merged = [_MERGED_IDS] if name in ("contact", "company", "deal") else []
    return [*PROPERTIES[_KINDS[name]], *merged]


def kind_of(name: str) -> str:
    """Our kind of object for HubSpot's name of it, such as ``lead`` for ``contact``."""
    return _KINDS[name]


class HubSpotReader(CrmReader):
    """Reads HubSpot's records."""

    def __init__(self, source: Source) -> None:
        self._wanted = {
            kind: {**names, **{extra: EXTRA + extra for extra in source.properties.get(kind, ())}}
            for kind, names in PROPERTIES.items()
        }

    def tell(self, record: RawRecord) -> Iterable[Told]:
        """A list of notifications, one of them, the body of a workflow, or a fetched object."""
        items = record.value if isinstance(record.value, list) else [record.value]
        for item in items:
            if not isinstance(item, dict):
                yield Unusable("unreadable", "a notification of HubSpot is a JSON object")
            elif "subscriptionType" in item or "eventId" in item:
                yield from self._notification(item)
            elif "object" in item:
                yield from self._fetched(item, record.at)
            elif "properties" in item:
                yield from self._workflow(item)
            else:
                yield Unusable("unknown shape", f"keys {', '.join(sorted(item)[:10])}")

    # --- notifications

    def _notification(self, item: Mapping[str, Any]) -> Iterable[Told]:
        said = str(item.get("subscriptionType") or "")
        name, _, what = said.partition(".")
        if name == "object":
            name = TYPES.get(str(item.get("objectTypeId")), str(item.get("objectTypeId")))
        at, number = milliseconds(item.get("occurredAt")), item.get("objectId")
        kind = _KINDS.get(name)
        if not what:
            yield Unusable("unknown subscription", f"subscriptionType '{said}'")
        elif at is None:
            yield Unusable("no time", f"{said} without occurredAt")
        elif what == "associationChange":
            yield from self._association(item, at)
        elif kind is None:
            yield Ignored(f"{name} {what}"[:40])
        elif number is None:
            yield Unusable("no id", f"{said} without objectId")
        else:
            yield from self._event(item, name, kind, what, str(number), at)

    def _event(self, item: Mapping[str, Any], name: str, kind: str, what: str, number: str, at: int) -> Iterable[Told]:
        tenant = FieldValue(TENANT, 0, str(item.get("portalId") or ""))
        match what:
            case "creation":
                yield ObjectChange(kind, number, [tenant, FieldValue("created", at, at), *_typed(name)])
            case "propertyChange":
                yield self._property(item, name, kind, number, at, tenant)
            case "deletion":
                yield ObjectChange(kind, number, [tenant, FieldValue(DELETED, at, value=True)])
            case "restore":
                yield ObjectChange(kind, number, [tenant, FieldValue(DELETED, at, value=False)])
            case "privacyDeletion":
                yield Forget(kind, number, at)
            case "merge":
                yield from _merge(item, kind, number, at, tenant)
            case _:
                yield Unusable("unknown subscription", f"{name}.{what}")

    def _property(
        self, item: Mapping[str, Any], name: str, kind: str, number: str, at: int, tenant: FieldValue
    ) -> Told:
        ours = self._wanted[kind].get(str(item.get("propertyName")))
        if ours is None:
            return Ignored(f"{name} property")
        if item.get("propertyValue") == _REDACTED:
            return Ignored("redacted value")
        facts = [FieldValue(ours, at, _value(kind, ours, item.get("propertyValue"))), *_typed(name)]
        return ObjectChange(kind, number, [tenant, *facts])

    def _association(self, item: Mapping[str, Any], at: int) -> Iterable[Told]:
        """Whose a deal or an activity is; the sides come in either order."""
        left, right = _sides(item)
        ids = str(item.get("fromObjectId") or ""), str(item.get("toObjectId") or "")
        if right in _LINKED and left not in _LINKED:
            left, right, ids = right, left, ids[::-1]
        if left not in _LINKED or right not in ("contact", "company") or not all(ids):
            yield Ignored("association")
            return
        removed = bool(item.get("associationRemoved"))
        tenant = FieldValue(TENANT, 0, str(item.get("portalId") or ""))
        if right == "contact":
            standing = "primary" if item.get("isPrimaryAssociation") else "other"
            fact = FieldValue(LEAD_LINK + ids[1], at, None if removed else standing)
        else:
            fact = FieldValue("account", at, None if removed else ids[1])
        yield ObjectChange(_KINDS[left], ids[0], [tenant, fact])

    # --- whole objects

    def _workflow(self, item: Mapping[str, Any]) -> Iterable[Told]:
        """What a workflow's webhook sends: properties with their versions."""
        name = str(item.get("objectType") or ("contact" if "vid" in item else "")).lower()
        number = item.get("objectId") or item.get("vid")
        kind = _KINDS.get(name)
        if kind is None or number is None:
            yield Ignored(f"workflow {name}"[:40])
            return
        facts = [FieldValue(TENANT, 0, str(item.get("portalId") or item.get("portal-id") or ""))]
        for theirs, ours in self._wanted[kind].items():
            said = item["properties"].get(theirs)
            versions = said.get("versions") or [said] if isinstance(said, dict) else []
            for one in versions:
                at = milliseconds(one.get("timestamp"))
                if at is not None:
                    facts.append(FieldValue(ours, at, _value(kind, ours, one.get("value"))))
        yield ObjectChange(kind, str(number), facts)
        for merged in item.get("merged-vids") or ():
            at = max((fact.at for fact in facts), default=0)
            yield ObjectChange(kind, str(merged), [facts[0], FieldValue(MERGED, at, str(number))])

    def _fetched(self, item: Mapping[str, Any], arrived: int) -> Iterable[Told]:
        """An object of the API; ``propertiesWithHistory`` and ``associations`` are read where they are there."""
        name, found = str(item.get("objectType")), item["object"]
        kind = _KINDS.get(name)
        if kind is None:
            yield Ignored(f"fetched {name}"[:40])
            return
        at = milliseconds(found.get("updatedAt")) or arrived
        facts = [FieldValue(TENANT, 0, str(item.get("portalId") or "")), *_typed(name)]
        wanted = self._wanted[kind]
        facts += [
            FieldValue(wanted[theirs], at, _value(kind, wanted[theirs], value))
            for theirs, value in found.get("properties", {}).items()
            if theirs in wanted
        ]
        for theirs, versions in (found.get("propertiesWithHistory") or {}).items():
            times = ((milliseconds(one.get("timestamp")), one.get("value")) for one in versions)
            if theirs in wanted:
                ours = wanted[theirs]
                facts += [
                    FieldValue(ours, then, _value(kind, ours, value)) for then, value in times if then is not None
                ]
        if "archived" in found:
            archived_at = milliseconds(found.get("archivedAt")) or at
            facts.append(FieldValue(DELETED, archived_at, bool(found["archived"])))
        number = str(found["id"])
        yield ObjectChange(kind, number, facts + _fetched_links(found, at))
        for loser in str(found.get("properties", {}).get(_MERGED_IDS) or "").split(";"):
            if loser.strip() and loser.strip() != number:
                yield ObjectChange(kind, loser.strip(), [facts[0], FieldValue(MERGED, at, number)])


def _sides(item: Mapping[str, Any]) -> tuple[str, str]:
    """The kinds of both sides of an association, from its type or from the ids of the types."""
    types = str(item.get("associationType") or "").lower().split("_to_")
    if len(types) == 2:  # noqa: PLR2004 - from and to
        return types[0], types[1].split("_")[0]
    sides = (str(item.get(key) or "") for key in ("fromObjectTypeId", "toObjectTypeId"))
    left, right = (TYPES.get(side, side) for side in sides)
    if not left:
        name = str(item.get("subscriptionType") or "").partition(".")[0]
        left = TYPES.get(str(item.get("objectTypeId")), name)
    return left, right


def _fetched_links(found: Mapping[str, Any], at: int) -> list[FieldValue]:
    facts = []
    associations = found.get("associations") or {}
    for link in (associations.get("contacts") or {}).get("results", ()):
        standing = "primary" if "primary" in str(link.get("type")) else "other"
        facts.append(FieldValue(LEAD_LINK + str(link["id"]), at, standing))
    companies = (associations.get("companies") or {}).get("results", ())
    if companies:
        first = next((link for link in companies if "primary" in str(link.get("type"))), companies[0])
        facts.append(FieldValue("account", at, str(first["id"])))
    return facts


def _merge(item: Mapping[str, Any], kind: str, number: str, at: int, tenant: FieldValue) -> Iterable[Told]:
    """All old ids become the new one, or the primary one where there is no new one."""
    primary = str(item.get("primaryObjectId") or number)
    survivor = str(item.get("newObjectId") or primary)
    losers = {primary, *(str(one) for one in item.get("mergedObjectIds") or ())} - {survivor}
    for loser in sorted(losers):
        yield ObjectChange(kind, loser, [tenant, FieldValue(MERGED, at, survivor)])
    if not losers:
        yield Unusable("no id", "a merge without mergedObjectIds")


def _typed(name: str) -> list[FieldValue]:
    """What kind of activity an object of this name is."""
    return [FieldValue("kind", 0, _ACTIVITIES[name])] if name in _ACTIVITIES else []


def _value(kind: str, ours: str, value: Any) -> Any:
    """A property's value; HubSpot writes an empty text where there is none."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    if kind == "activity" and ours == "direction":
        return _DIRECTIONS.get(text.upper())
    if kind == "activity" and ours == "automated":
        return True
    if kind == "meeting" and ours == "outcome":
        return _OUTCOMES.get(text.upper())
    if kind == "owner" and ours == "active":
        return text == "true"
    return text
