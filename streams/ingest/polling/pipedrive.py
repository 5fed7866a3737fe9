"""Pipedrive's API, version 2 (and 1 for leads and users): changed objects, deleted ones, stages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from salesgauge.schemas.sources.source import Source
from salesgauge.streams.ingest.polling.api import Api, ApiError
from salesgauge.streams.ingest.polling.system import Bodies

BASE = "https://api.pipedrive.com"
INTERVAL = 0.1
_PAGE = 200
_PATHS = {
    "deal": "/api/v2/deals", "person": "/api/v2/persons", "organization": "/api/v2/organizations",
    "activity": "/api/v2/activities",
}  # fmt: skip


class Pipedrive:
    """Pipedrive, by an API token. Its webhooks carry whole objects, so none has to be fetched after them."""

    objects = ("organization", "person", "deal", "activity")

    def __init__(self, source: Source, secrets: Sequence[bytes]) -> None:
        del source
        self._token = secrets[0].decode()
        self._company = ""

    async def sign_in(self, api: Api) -> str:
        """Send the token; the company's name."""
        api.headers["x-api-token"] = self._token
        me = (await api.get("/v1/users/me"))["data"]
        self._company = str(me["company_id"])
        return f"company {me.get('company_name') or self._company}"

    async def lookups(self, api: Api) -> Bodies:
        """Stages of pipelines and users."""
        found = []
        async for page in self._pages(api, "/api/v2/stages", {}):
            found += [self._body("stage", one) for one in page]
        users = (await api.get("/v1/users")).get("data") or ()
        return found + [self._body("user", one) for one in users]

    async def changed(self, api: Api, kind: str, since: int, until: int) -> AsyncIterator[Bodies]:
        """All objects that were updated since, in the order of that."""
        query = {
            "updated_since": _text(since), "updated_until": _text(until), "sort_by": "update_time",
            "sort_direction": "asc",
        }  # fmt: skip
        async for page in self._pages(api, _PATHS[kind], query):
            yield [self._body(kind, one) for one in page]

    async def deleted(self, api: Api, kind: str, since: int) -> AsyncIterator[Bodies]:
        """Deleted deals; of other objects Pipedrive tells by webhook alone."""
        if kind != "deal":
            return
        async for page in self._pages(api, _PATHS[kind], {"status": "deleted", "updated_since": _text(since)}):
            yield [self._body(kind, {**one, "is_deleted": True}) for one in page]

    async def fetch(self, api: Api, kind: str, numbers: Sequence[str]) -> Bodies:
        """Objects by their ids; those that are gone are left out."""
        found = []
        for number in numbers:
            try:
                found.append((await api.get(f"{_PATHS[kind]}/{number}"))["data"])
            except ApiError:
                continue
        return [self._body(kind, one) for one in found]

    def lacking(self, body: Any) -> list[tuple[str, str]]:
        """Nothing: a webhook has it all."""
        del body
        return []

    async def _pages(self, api: Api, path: str, query: Mapping[str, str]) -> AsyncIterator[list[dict[str, Any]]]:
        cursor: str | None = None
        while True:
            asked = {**query, "limit": str(_PAGE), **({"cursor": cursor} if cursor else {})}
            page = await api.get(path, asked)
            yield page.get("data") or []
            cursor = (page.get("additional_data") or {}).get("next_cursor")
            if not cursor:
                return

    def _body(self, entity: str, found: Mapping[str, Any]) -> dict[str, Any]:
        return {"company_id": self._company, "entity": entity, "object": dict(found)}


def _text(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
