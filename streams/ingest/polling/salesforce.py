"""Salesforce's REST API: queries by SystemModstamp and id, deleted records and the history of deals included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from salesgauge.schemas.sources.salesforce import FIELDS
from salesgauge.schemas.sources.source import Source
from salesgauge.streams.ingest.polling.api import Api, ApiError, ForbiddenError
from salesgauge.streams.ingest.polling.system import Bodies

INTERVAL = 0.05
_VERSION = "v62.0"
_PAGE = 2000
_OTHERS = {
    "Lead": ("ConvertedOpportunityId", "ConvertedContactId", "MasterRecordId"),
    "Contact": ("MasterRecordId",),
    "Account": ("MasterRecordId",),
    "Opportunity": ("IsWon", "IsClosed", "ContactId"),
    "Task": ("WhoId", "TaskSubtype", "Type", "CallType", "IsClosed", "Status", "CompletedDateTime"),
    "Event": ("WhoId",),
    "OpportunityFieldHistory": ("OpportunityId", "Field", "NewValue", "CreatedDate"),
    "OpportunityContactRole": ("OpportunityId", "ContactId", "IsPrimary"),
}
_MODIFIED = {"OpportunityFieldHistory": "CreatedDate"}


class Salesforce:
    """Salesforce, by a connected app with client credentials: the secrets are its id and its secret."""

    objects = (
        "Account", "Contact", "Lead", "Opportunity", "OpportunityContactRole", "OpportunityFieldHistory", "Task",
        "Event",
    )  # fmt: skip

    def __init__(self, source: Source, secrets: Sequence[bytes]) -> None:
        self._source = source
        self._client, self._secret = (secret.decode() for secret in secrets[:2])
        self._known: dict[str, list[str]] = {}

    async def sign_in(self, api: Api) -> str:
        """Ask for an access token; the address of the organisation."""
        api.headers.pop("Authorization", None)
        said = {"grant_type": "client_credentials", "client_id": self._client, "client_secret": self._secret}
        found = await api.post("/services/oauth2/token", form=said)
        api.headers["Authorization"] = f"Bearer {found['access_token']}"
        api.base = str(found.get("instance_url") or api.base).rstrip("/")
        return f"organisation at {api.base}"

    async def lookups(self, api: Api) -> Bodies:
        """Stages of opportunities with their outcome, and users."""
        names = "Id, MasterLabel, ApiName, IsWon, IsClosed, DefaultProbability, SystemModstamp"
        stages = await self._all(api, f"SELECT {names} FROM OpportunityStage", deleted=False)  # noqa: S608 - SOQL
        found = [{**one, "Id": one.get("ApiName") or one["MasterLabel"]} for one in stages]
        users = await self._all(api, "SELECT Id, Name, IsActive, CreatedDate, SystemModstamp FROM User", deleted=False)
        return [*found, *users]

    async def changed(self, api: Api, kind: str, since: int, until: int) -> AsyncIterator[Bodies]:
        """Records by the time of their last change, ids ascending; the deleted ones, too."""
        names = await self._names(api, kind)
        if not names:
            return
        last, name = "", _MODIFIED.get(kind, "SystemModstamp")
        while True:
            after = f" AND Id > '{last}'" if last else ""
            query = (
                f"SELECT {', '.join(names)} FROM {kind} WHERE {name} >= {_text(since)} AND {name} < {_text(until)}"  # noqa: S608 - SOQL of our own names
                f"{after} ORDER BY Id LIMIT {_PAGE}"
            )
            records = await self._all(api, query)
            if records:
                yield records
                last = str(records[-1]["Id"])
            if len(records) < _PAGE:
                return

    async def deleted(self, api: Api, kind: str, since: int) -> AsyncIterator[Bodies]:
        """Nothing: what changed has the deleted records."""
        del api, kind, since
        nothing: Sequence[Bodies] = ()
        for page in nothing:
            yield page

    async def fetch(self, api: Api, kind: str, numbers: Sequence[str]) -> Bodies:
        """Records by their ids."""
        names = await self._names(api, kind)
        listed = ", ".join(f"'{number}'" for number in numbers if number.isalnum())
        return await self._all(api, f"SELECT {', '.join(names)} FROM {kind} WHERE Id IN ({listed})")  # noqa: S608

    def lacking(self, body: Any) -> list[tuple[str, str]]:
        """The records of a gap: changes were lost."""
        for envelope in ("data", "payload"):
            if isinstance(body, dict) and isinstance(body.get(envelope), dict):
                body = body[envelope]
        header = body.get("ChangeEventHeader") if isinstance(body, dict) else None
        if not isinstance(header, dict) or not str(header.get("changeType")).startswith("GAP_"):
            return []
        kind = str(header.get("entityName"))
        return [(kind, str(number)) for number in header.get("recordIds") or ()] if kind in self.objects else []

    async def _names(self, api: Api, kind: str) -> list[str]:
        """The fields that there are, of those wanted: a query with another one fails, one may be hidden from us."""
        known = self._known.get(kind)
        if known is None:
            try:
                described = await api.get(f"/services/data/{_VERSION}/sobjects/{kind}/describe")
            except ForbiddenError:
                raise
            except ApiError:
                return []
            there = {str(one["name"]) for one in described["fields"]}
            wanted = [
                "Id", "SystemModstamp", "IsDeleted", *FIELDS.get(kind, ()), *_OTHERS.get(kind, ()),
                *self._source.properties.get(kind, ()),
            ]  # fmt: skip
            known = self._known[kind] = [name for name in dict.fromkeys(wanted) if name in there]
        return known

    async def _all(self, api: Api, query: str, *, deleted: bool = True) -> Bodies:
        path = f"/services/data/{_VERSION}/{'queryAll' if deleted else 'query'}"
        page = await api.get(path, {"q": query})
        records = list(page["records"])
        while page.get("nextRecordsUrl"):
            page = await api.get(str(page["nextRecordsUrl"]))
            records += page["records"]
        return records


def _text(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
