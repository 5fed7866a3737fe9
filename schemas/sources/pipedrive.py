"""Pipedrive: webhooks of versions 2 and 1, and records of the API.

Webhooks carry the whole object, what it was before, and nothing but that on a deletion. Won and lost are a deal's
status, not its stage. Records that a poller fetched come as ``{"company_id", "entity", "object": …}``.

A lead of ours is a person, by ``person:ID``; an item of the leads inbox without a person is ``lead:ID``.
"""

from __future__ import annotations

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

_FIELDS: Mapping[str, Mapping[str, str]] = {
    "deal": {
        "add_time": "created", "stage_id": "stage", "status": "status", "value": "amount", "currency": "currency",
        "owner_id": "owner", "user_id": "owner", "org_id": "account", "expected_close_date": "expected_close",
        "probability": "probability", "lost_reason": "reason",
    },
    "person": {"add_time": "created", "owner_id": "owner", "org_id": "account"},
    "lead": {
        "add_time": "created", "owner_id": "owner", "source_name": "source", "organization_id": "account",
    },
    "organization": {"add_time": "created", "owner_id": "owner"},
    "activity": {
        "type": "type", "done": "done", "marked_as_done_time": "at", "owner_id": "owner", "user_id": "owner",
        "assigned_to_user_id": "owner", "org_id": "account",
    },
    "stage": {"name": "label", "pipeline_id": "pipeline", "deal_probability": "probability"},
    "user": {"created": "created", "name": "name", "active_flag": "active"},
}  # fmt: skip
_KINDS = {
    "deal": "deal", "person": "lead", "lead": "lead", "organization": "account", "activity": "activity",
    "stage": "stage", "user": "owner",
}  # fmt: skip
_ACTIVITIES = {
    "call": "call", "email": "email", "meeting": "meeting", "lunch": "meeting", "video": "video", "demo": "video",
    "message": "message", "sms": "message", "whatsapp": "message",
}  # fmt: skip
_ACTIONS = {"added": "create", "updated": "change", "deleted": "delete", "merged": "change"}
_CLOSINGS = {"won": "won_time", "lost": "lost_time"}


class PipedriveReader(CrmReader):
    """Reads Pipedrive's records."""

    def __init__(self, source: Source) -> None:
        self._wanted = {
            entity: {**names, **{extra: EXTRA + extra for extra in source.properties.get(entity, ())}}
            for entity, names in _FIELDS.items()
        }

    def tell(self, record: RawRecord) -> Iterable[Told]:
        """A webhook's body, or a fetched object."""
        body = record.value
        if not isinstance(body, dict):
            yield Unusable("unreadable", "a body of Pipedrive is a JSON object")
        elif "object" in body and "entity" in body:
            yield from self._object(
                str(body["entity"]), body["object"], str(body.get("company_id") or ""), None, arrived=record.at
            )
        elif isinstance(body.get("meta"), dict):
            yield from self._webhook(body, body["meta"])
        else:
            yield Unusable("unknown shape", f"keys {', '.join(sorted(body)[:10])}")

    def _webhook(self, body: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterable[Told]:
        entity = str(meta.get("entity") or meta.get("object") or "")
        action = _ACTIONS.get(str(meta.get("action")), str(meta.get("action")))
        now = body.get("data") or body.get("current")
        before = body.get("previous") if isinstance(body.get("previous"), dict) else {}
        micro = meta.get("timestamp_micro")
        sent = micro // 1000 if isinstance(micro, int) else milliseconds(meta.get("timestamp"))
        tenant = str(meta.get("company_id") or "")
        if entity not in _KINDS:
            yield Ignored(f"{entity or 'unknown'} {action}"[:40])
        elif action == "delete":
            number = _number(before, meta)
            if number is None or sent is None:
                yield Unusable("no id", f"a deletion of {entity} without id or time")
            else:
                yield from self._deletion(entity, number, before or {}, meta, tenant, sent)
        elif isinstance(now, dict):
            now = {"id": _number(now, meta), **now}
            yield from self._object(entity, now, tenant, sent, before=before or {})
        else:
            yield Unusable("unknown shape", f"{action} {entity} without data")

    def _deletion(
        self, entity: str, number: str, before: Mapping[str, Any], meta: Mapping[str, Any], tenant: str, sent: int
    ) -> Iterable[Told]:
        facts = [FieldValue(TENANT, 0, tenant), *self._facts(entity, before, sent - 1)]
        survivor = meta.get("merged_to_id") or before.get("merged_to_id")
        if survivor:
            facts.append(FieldValue(MERGED, sent, _tagged(entity, str(survivor))))
        facts.append(FieldValue(DELETED, sent, value=True))
        yield ObjectChange(_KINDS[entity], _tagged(entity, number), facts)

    def _object(
        self,
        entity: str,
        now: Mapping[str, Any],
        tenant: str,
        sent: int | None,
        *,
        before: Mapping[str, Any] | None = None,
        arrived: int = 0,
    ) -> Iterable[Told]:
        kind = _KINDS.get(entity)
        if kind is None or now.get("id") is None:
            yield Ignored(f"{entity} without id"[:40])
            return
        changed = milliseconds(now.get("update_time") or now.get("modified"))
        at = _instant(changed, sent, arrived)
        facts = [FieldValue(TENANT, 0, tenant)]
        if before:
            facts += self._facts(entity, before, at - 1)
        facts += self._facts(entity, now, at)
        if entity in ("deal", "person", "organization", "activity"):
            facts.append(FieldValue(DELETED, at, _is_deleted(now)))
        number = _tagged(entity, str(now["id"]))
        if entity == "lead" and now.get("person_id"):
            person = _tagged("person", _plain(now["person_id"]))
            facts, number = [fact for fact in facts if fact.field != "owner"], person
        for loser in _merged_from(now):
            yield ObjectChange(kind, _tagged(entity, loser), [facts[0], FieldValue(MERGED, at, number)])
        yield ObjectChange(kind, number, facts)

    def _facts(self, entity: str, said: Mapping[str, Any], at: int) -> list[FieldValue]:
        """What an object's fields say at an instant; a field that is not there says nothing."""
        facts = []
        for theirs, ours in self._wanted[entity].items():
            if theirs in said:
                facts.append(
                    FieldValue(ours, at, share(said[theirs]) if ours == "probability" else _plain(said[theirs]))
                )
        if entity == "deal":
            facts += _closing(said, at)
        if entity == "activity":
            facts = [fact for fact in facts if fact.field != "type"]
            if "type" in said:
                facts.append(FieldValue("kind", at, _ACTIVITIES.get(str(said["type"]).lower())))
        if said.get("person_id") and entity in ("deal", "activity"):
            facts.append(FieldValue(LEAD_LINK + _tagged("person", _plain(said["person_id"])), at, "primary"))
        return facts


def _instant(changed: int | None, sent: int | None, arrived: int) -> int:
    """When the object became as it is: ``update_time`` counts whole seconds, the webhook tells the rest of it."""
    if changed is None:
        return sent if sent is not None else arrived
    if changed % 1000:
        return changed
    if sent is None:
        return changed + 999 if arrived else changed
    return sent if changed <= sent < changed + 1000 else changed


def _closing(said: Mapping[str, Any], at: int) -> list[FieldValue]:
    """Since when a deal is closed: the source says so itself."""
    status = said.get("status")
    when = milliseconds(said.get(_CLOSINGS.get(str(status), "")))
    if when is None:
        return [FieldValue("closed_at", at, None)] if status == "open" else []
    facts = [FieldValue("closed_at", at, when)]
    return [FieldValue("status", min(when, at), status), *facts]


def _number(said: Mapping[str, Any] | None, meta: Mapping[str, Any]) -> str | None:
    """The object's id; ``meta.id`` is it in version 1, and an id of the notice in version 2."""
    for value in ((said or {}).get("id"), meta.get("entity_id"), meta.get("id")):
        if value is not None:
            return str(value)
    return None


def _plain(value: Any) -> Any:
    """A reference's id: some objects are given whole. An empty text is no value."""
    if isinstance(value, dict):
        value = value.get("value") or value.get("id")
    if value == "":
        return None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _tagged(entity: str, number: str) -> str:
    return f"{entity}:{number}" if entity in ("person", "lead") else number


def _is_deleted(now: Mapping[str, Any]) -> bool:
    flag = now.get("active_flag")
    return bool(now.get("is_deleted") or now.get("deleted") or now.get("status") == "deleted" or flag is False)


def _merged_from(now: Mapping[str, Any]) -> list[str]:
    merged = now.get("merged_from_id")
    if merged is None:
        return []
    return [str(one) for one in (merged if isinstance(merged, list) else [merged])]
