"""HubSpot's API: search for changes, batches with history and associations, archived objects, pipelines, owners.

A search finds new objects late, at most 10 000, and no archived ones: so each page asks for ids above the last one's,
and a sweep looks back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from salesgauge.schemas.sources.hubspot import TYPES, kind_of, wanted_of
from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.source import Source
from salesgauge.streams.ingest.polling.api import Api, ForbiddenError
from salesgauge.streams.ingest.polling.system import Bodies

BASE = "https://api.hubapi.com"
INTERVAL = 0.22
"""Five searches a second are allowed."""
_PAGE = 200
_BATCH = 50
"""Objects with history in one request."""
_PLURALS = {
    "contact": "contacts", "deal": "deals", "company": "companies", "call": "calls", "email": "emails",
    "meeting": "meetings", "communication": "communications",
}  # fmt: skip
_MODIFIED = {"contact": "lastmodifieddate"}
_WITH_HISTORY = {
    "contact": ("lifecyclestage", "hubspot_owner_id"),
    "deal": ("dealstage", "hubspot_owner_id", "amount", "closedate"),
}
_LINKS = {"deal": ("contacts", "companies"), "call": ("contacts",), "email": ("contacts",), "meeting": ("contacts",),
          "communication": ("contacts",)}  # fmt: skip
_NOTICED = ("creation", "associationChange", "restore", "propertyChange")


class HubSpot:
    """HubSpot, by a service key or the token of a private app."""

    objects = ("company", "contact", "deal", "call", "email", "meeting", "communication")

    def __init__(self, source: Source, secrets: Sequence[bytes]) -> None:
        self._source = source
        self._token = secrets[0].decode()
        self._portal = ""

    async def sign_in(self, api: Api) -> str:
        """Send the token; the portal's number."""
        api.headers["Authorization"] = f"Bearer {self._token}"
        found = await api.get("/account-info/v3/details")
        self._portal = str(found["portalId"])
        return f"portal {self._portal}, {found.get('timeZone', 'zone unknown')}"

    async def lookups(self, api: Api) -> Bodies:
        """The stages of deals, and the owners."""
        found = []
        for pipeline in (await api.get("/crm/v3/pipelines/deals"))["results"]:
            for stage in pipeline["stages"]:
                said = {"label": stage["label"], "pipeline": pipeline["label"], **_stage(stage.get("metadata") or {})}
                found.append(self._body("stage", {**_dates(stage), "id": stage["id"], "properties": said}))
        for archived in ("false", "true"):
            after: str | None = "0"
            while after is not None:
                query = {"limit": "100", "archived": archived, **({"after": after} if after != "0" else {})}
                page = await api.get("/crm/v3/owners", query)
                for owner in page["results"]:
                    name = " ".join(filter(None, (owner.get("firstName"), owner.get("lastName"))))
                    teams = owner.get("teams") or [{}]
                    said = {"created": owner.get("createdAt"), "name": name, "team": teams[0].get("name"),
                            "active": archived == "false"}  # fmt: skip
                    found.append(self._body("owner", {**_dates(owner), "id": owner["id"], "properties": said}))
                after = (page.get("paging") or {}).get("next", {}).get("after")
        return found

    async def changed(self, api: Api, kind: str, since: int, until: int) -> AsyncIterator[Bodies]:
        """Search by the time of the last change, ids ascending."""
        last = 0
        while True:
            name = _MODIFIED.get(kind, "hs_lastmodifieddate")
            filters = [
                {"propertyName": name, "operator": "GTE", "value": str(since)},
                {"propertyName": name, "operator": "LT", "value": str(until)},
                {"propertyName": "hs_object_id", "operator": "GT", "value": str(last)},
            ]
            page = await api.post(f"/crm/v3/objects/{_PLURALS[kind]}/search", {
                "filterGroups": [{"filters": filters}],
                "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                "properties": ["hs_object_id"],
                "limit": _PAGE,
            })  # fmt: skip
            numbers = [str(found["id"]) for found in page["results"]]
            if numbers:
                yield await self.fetch(api, kind, numbers)
                last = max(int(number) for number in numbers)
            if len(numbers) < _PAGE:
                return

    async def deleted(self, api: Api, kind: str, since: int) -> AsyncIterator[Bodies]:
        """Archived objects; HubSpot cannot be asked for those of a time."""
        after: str | None = None
        while True:
            query = {"archived": "true", "limit": "100", **({"after": after} if after else {})}
            page = await api.get(f"/crm/v3/objects/{_PLURALS[kind]}", query)
            recent = [one for one in page["results"] if (milliseconds(one.get("archivedAt")) or 0) >= since]
            yield [self._body(kind, one) for one in recent]
            after = (page.get("paging") or {}).get("next", {}).get("after")
            if after is None:
                return

    async def fetch(self, api: Api, kind: str, numbers: Sequence[str]) -> Bodies:
        """Objects with their properties, the history of some, and whom they belong to."""
        found: dict[str, dict[str, Any]] = {}
        wanted = [*wanted_of(kind), *self._source.properties.get(kind_of(kind), ())]
        for start in range(0, len(numbers), _BATCH):
            body = {
                "properties": wanted,
                "propertiesWithHistory": list(_WITH_HISTORY.get(kind, ())),
                "inputs": [{"id": number} for number in numbers[start : start + _BATCH]],
            }
            page = await api.post(f"/crm/v3/objects/{_PLURALS[kind]}/batch/read", body)
            found |= {str(one["id"]): one for one in page["results"]}
        for other in _LINKS.get(kind, ()):
            await self._link(api, kind, other, found)
        return [self._body(kind, one) for one in found.values()]

    async def _link(self, api: Api, kind: str, other: str, found: dict[str, dict[str, Any]]) -> None:
        if not found:
            return
        body = {"inputs": [{"id": number} for number in found]}
        try:
            page = await api.post(f"/crm/v4/associations/{_PLURALS[kind]}/{other}/batch/read", body)
        except ForbiddenError:
            return
        for link in page.get("results", ()):
            one = found.get(str(link["from"]["id"]))
            if one is not None:
                results = [{"id": str(to["toObjectId"]), "type": _label(to)} for to in link["to"]]
                one.setdefault("associations", {})[other] = {"results": results}

    def lacking(self, body: Any) -> list[tuple[str, str]]:
        """A notification tells of one property: the rest is fetched."""
        items = body if isinstance(body, list) else [body]
        found = []
        for item in items:
            if not isinstance(item, dict) or "subscriptionType" not in item:
                continue
            name, _, what = str(item["subscriptionType"]).partition(".")
            if name == "object":
                name = TYPES.get(str(item.get("objectTypeId")), "")
            if what in _NOTICED and name in self.objects and item.get("objectId") is not None:
                found.append((name, str(item["objectId"])))
        return found

    def _body(self, kind: str, found: dict[str, Any]) -> dict[str, Any]:
        return {"portalId": self._portal, "objectType": kind, "object": found}


def _dates(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("createdAt", "updatedAt") if name in found}


def _stage(metadata: dict[str, Any]) -> dict[str, Any]:
    """A stage that is closed is won with a probability of 1, and lost with 0."""
    probability = str(metadata.get("probability") or "")
    outcome = {"1.0": "won", "1": "won", "0.0": "lost", "0": "lost"}.get(probability, "open")
    if str(metadata.get("isClosed", "")).lower() == "false":
        outcome = "open"
    return {"outcome": outcome, "probability": probability or None}


def _label(to: dict[str, Any]) -> str:
    labels = [str(one.get("label") or "") for one in to.get("associationTypes") or ()]
    return "primary" if any("primary" in label.lower() for label in labels) else "other"
