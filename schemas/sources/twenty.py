"""Twenty: webhooks with whole records. Twenty never sends again what was not taken.

Its source sends ``eventName``, ``record``, ``eventDate``; its documentation shows ``event``, ``data``, ``timestamp``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from salesgauge.schemas.sources.crm import EXTRA, LEAD_LINK, CrmReader
from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.objects import DELETED, FieldValue, Ignored, ObjectChange, RawRecord, Told, Unusable
from salesgauge.schemas.sources.source import Source

_FIELDS: Mapping[str, Mapping[str, str]] = {
    "person": {"createdAt": "created", "companyId": "account"},
    "opportunity": {
        "createdAt": "created", "stage": "stage", "ownerId": "owner", "companyId": "account",
        "closeDate": "expected_close",
    },
    "company": {"createdAt": "created"},
}  # fmt: skip
_KINDS = {"person": "lead", "opportunity": "deal", "company": "account"}
_MICROS = Decimal(1_000_000)


class TwentyReader(CrmReader):
    """Reads Twenty's records."""

    def __init__(self, source: Source) -> None:
        self._wanted = {
            name: {**fields, **{extra: EXTRA + extra for extra in source.properties.get(name, ())}}
            for name, fields in _FIELDS.items()
        }

    def tell(self, record: RawRecord) -> Iterable[Told]:
        """A webhook's body."""
        body = record.value
        said = str(body.get("eventName") or body.get("event") or "") if isinstance(body, dict) else ""
        name, _, action = said.partition(".")
        found = body.get("record") or body.get("data") if isinstance(body, dict) else None
        if not action or not isinstance(found, dict) or not found.get("id"):
            yield Unusable("unknown shape", "no eventName and record with an id")
            return
        if name not in _KINDS:
            yield Ignored(f"{name} {action}"[:40])
            return
        sent = milliseconds(body.get("eventDate") or body.get("timestamp")) or record.at
        at = milliseconds(found.get("updatedAt")) or sent
        facts = self._facts(name, found, at)
        gone = action in ("deleted", "destroyed") or bool(found.get("deletedAt"))
        facts.append(FieldValue(DELETED, (milliseconds(found.get("deletedAt")) or sent) if gone else at, gone))
        yield ObjectChange(_KINDS[name], str(found["id"]), facts)

    def _facts(self, name: str, found: Mapping[str, Any], at: int) -> list[FieldValue]:
        wanted = self._wanted[name]
        facts = [FieldValue(ours, at, found[theirs]) for theirs, ours in wanted.items() if theirs in found]
        amount = found.get("amount")
        if isinstance(amount, dict) and amount.get("amountMicros") is not None:
            facts.append(FieldValue("amount", at, str(Decimal(str(amount["amountMicros"])) / _MICROS)))
            facts.append(FieldValue("currency", at, amount.get("currencyCode") or None))
        created_by = found.get("createdBy")
        if name == "person" and isinstance(created_by, dict):
            facts.append(FieldValue("source", at, created_by.get("source")))
        if found.get("pointOfContactId"):
            facts.append(FieldValue(LEAD_LINK + str(found["pointOfContactId"]), at, "primary"))
        return facts
