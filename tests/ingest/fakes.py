"""Fake CRMs that speak the real protocols: paging, limits, late searches."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from salesgauge.schemas.sources.instants import milliseconds


def text(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Fake:
    """An HTTP server in a thread of its own."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.limit_next = 0
        """So many requests are answered with 429 and Retry-After."""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.url = ""
        threading.Thread(target=self._serve, daemon=True).start()
        assert self._ready.wait(10)

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    def _serve(self) -> None:
        async def start() -> None:
            app = web.Application(middlewares=[self._recorded])
            app.add_routes(self.routes())
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._ready.set()

        self._loop.create_task(start())
        self._loop.run_forever()

    @web.middleware
    async def _recorded(self, request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        body = await request.json() if request.can_read_body and "json" in request.content_type else None
        self.requests.append((request.path, body if body is not None else dict(request.query)))
        if self.limit_next > 0:
            self.limit_next -= 1
            return web.json_response({"message": "too many"}, status=429, headers={"Retry-After": "1"})
        if not self.allowed(request):
            return web.json_response({"message": "who are you"}, status=401)
        found: web.StreamResponse = await handler(request)
        return found

    def allowed(self, request: web.Request) -> bool:
        raise NotImplementedError

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


class FakeHubSpot(Fake):
    """Objects by kind and id: ``{"properties", "history", "contacts", "updated", "archived"}``."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {"deals": {}, "contacts": {}}
        self.hidden: set[str] = set()
        """Ids that a search does not find yet."""
        super().__init__()

    def put(self, kind: str, number: int, at: int, contacts: tuple[int, ...] = (), **properties: str) -> None:
        """Create or change an object."""
        one = self.objects[kind].setdefault(
            str(number), {"properties": {"createdate": text(at)}, "history": {}, "contacts": (), "created": at}
        )
        for name, value in properties.items():
            one["properties"][name] = value
            one["history"].setdefault(name, []).insert(0, {"value": value, "timestamp": text(at)})
        one["contacts"] = contacts or one["contacts"]
        one["updated"] = at

    def allowed(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == "Bearer pat-1"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/account-info/v3/details", self._details),
            web.get("/crm/v3/pipelines/deals", self._pipelines),
            web.get("/crm/v3/owners", self._owners),
            web.post("/crm/v3/objects/{kind}/search", self._search),
            web.post("/crm/v3/objects/{kind}/batch/read", self._read),
            web.get("/crm/v3/objects/{kind}", self._list),
            web.post("/crm/v4/associations/{kind}/{other}/batch/read", self._links),
        ]

    async def _details(self, request: web.Request) -> web.Response:
        return web.json_response({"portalId": 700, "timeZone": "Europe/Berlin"})

    async def _pipelines(self, request: web.Request) -> web.Response:
        stages = [
            {"id": "100", "label": "Talks", "metadata": {"probability": "0.2", "isClosed": "false"}},
            {"id": "200", "label": "Signed", "metadata": {"probability": "1.0", "isClosed": "true"}},
            {"id": "300", "label": "Gone", "metadata": {"probability": "0.0", "isClosed": "true"}},
        ]
        dates = {"createdAt": text(0), "updatedAt": text(0)}
        return web.json_response({"results": [{"label": "Sales", "stages": [one | dates for one in stages]}]})

    async def _owners(self, request: web.Request) -> web.Response:
        found = [] if request.query["archived"] == "true" else [{"id": "9", "firstName": "Ann", "lastName": "Bo"}]
        return web.json_response({"results": found})

    async def _search(self, request: web.Request) -> web.Response:
        asked = await request.json()
        [group] = asked["filterGroups"]
        assert asked["limit"] <= 200
        found = []
        for number, one in self.objects.get(request.match_info["kind"], {}).items():
            values = {"hs_object_id": int(number), "hs_lastmodifieddate": one["updated"],
                      "lastmodifieddate": one["updated"]}  # fmt: skip
            tests = {"GTE": int.__ge__, "LT": int.__lt__, "GT": int.__gt__}
            matches = all(tests[f["operator"]](values[f["propertyName"]], int(f["value"])) for f in group["filters"])
            if matches and not one.get("archived") and number not in self.hidden:
                found.append(number)
        found.sort(key=int)
        results = [{"id": number} for number in found[: asked["limit"]]]
        return web.json_response({"total": len(found), "results": results})

    def _shown(self, number: str, one: dict[str, Any]) -> dict[str, Any]:
        return {"id": number, "properties": one["properties"], "propertiesWithHistory": one["history"],
                "createdAt": text(one["created"]), "updatedAt": text(one["updated"]),
                "archived": bool(one.get("archived")),
                **({"archivedAt": text(one["archived"])} if one.get("archived") else {})}  # fmt: skip

    async def _read(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert len(asked["inputs"]) <= 50
        there = self.objects.get(request.match_info["kind"], {})
        numbers = [one["id"] for one in asked["inputs"] if one["id"] in there]
        results = [self._shown(number, there[number]) for number in numbers if not there[number].get("archived")]
        return web.json_response({"status": "COMPLETE", "results": results})

    async def _list(self, request: web.Request) -> web.Response:
        assert request.query["archived"] == "true"
        there = self.objects.get(request.match_info["kind"], {})
        gone = [self._shown(number, one) for number, one in there.items() if one.get("archived")]
        return web.json_response({"results": gone})

    async def _links(self, request: web.Request) -> web.Response:
        asked = await request.json()
        there = self.objects.get(request.match_info["kind"], {})
        results = []
        for one in asked["inputs"]:
            contacts = there.get(one["id"], {}).get("contacts", ()) if request.match_info["other"] == "contacts" else ()
            if contacts:
                to = [{"toObjectId": number, "associationTypes": [{"label": None, "typeId": 3}]} for number in contacts]
                results.append({"from": {"id": one["id"]}, "to": to})
        return web.json_response({"results": results})


class FakePipedrive(Fake):
    """Deals in pages with a cursor, three a page."""

    def __init__(self) -> None:
        self.deals: dict[int, dict[str, Any]] = {}
        super().__init__()

    def allowed(self, request: web.Request) -> bool:
        return request.headers.get("x-api-token") == "token-1"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/users/me", self._me),
            web.get("/v1/users", self._users),
            web.get("/api/v2/stages", self._none),
            web.get("/api/v2/deals", self._deals),
            web.get("/api/v2/{kind}", self._none),
        ]

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"data": {"company_id": 1, "company_name": "Acme"}})

    async def _users(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": 9, "name": "Ann", "active_flag": True}]})

    async def _none(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [], "additional_data": {"next_cursor": None}})

    async def _deals(self, request: web.Request) -> web.Response:
        since = milliseconds(request.query["updated_since"]) or 0
        gone = request.query.get("status") == "deleted"
        found = [
            deal for deal in self.deals.values()
            if bool(deal.get("is_deleted")) == gone and (milliseconds(deal["update_time"]) or 0) >= since
        ]  # fmt: skip
        found.sort(key=lambda deal: (deal["update_time"], deal["id"]))
        start = int(request.query.get("cursor") or 0)
        following = str(start + 3) if start + 3 < len(found) else None
        return web.json_response({"data": found[start : start + 3], "additional_data": {"next_cursor": following}})


class FakeSalesforce(Fake):
    """Records by kind; queries as the poller writes them, two records an answer."""

    def __init__(self) -> None:
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.fields: dict[str, list[str]] = {}
        self._open: dict[str, list[dict[str, Any]]] = {}
        super().__init__()

    def allowed(self, request: web.Request) -> bool:
        return request.path.endswith("/token") or request.headers.get("Authorization") == "Bearer 00D-1"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/services/oauth2/token", self._token),
            web.get("/services/data/{version}/sobjects/{kind}/describe", self._describe),
            web.get("/services/data/{version}/queryAll", self._query),
            web.get("/services/data/{version}/query", self._query),
            web.get("/services/data/{version}/query/{locator}", self._more),
        ]

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert (form["grant_type"], form["client_id"], form["client_secret"]) == ("client_credentials", "id", "secret")
        return web.json_response({"access_token": "00D-1", "instance_url": self.url})

    async def _describe(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind not in self.fields:
            return web.json_response([{"errorCode": "NOT_FOUND"}], status=404)
        return web.json_response({"fields": [{"name": name} for name in self.fields[kind]]})

    async def _query(self, request: web.Request) -> web.Response:
        query = request.query["q"]
        kind = re.search(r" FROM (\w+)", query)
        assert kind is not None
        names = re.sub(r"^SELECT | FROM.*$", "", query).split(", ")
        unknown = set(names) - set(self.fields.get(kind[1], names))
        if unknown:
            return web.json_response([{"errorCode": "INVALID_FIELD", "message": str(unknown)}], status=400)
        bounds = re.search(r"WHERE (\w+) >= (\S+) AND \w+ < (\S+)", query)
        after = re.search(r"Id > '(\w+)'", query)
        found = []
        for record in sorted(self.records.get(kind[1], ()), key=lambda one: str(one["Id"])):
            at = milliseconds(record.get(bounds[1] if bounds else "SystemModstamp")) or 0
            inside = bounds is None or (milliseconds(bounds[2]) or 0) <= at < (milliseconds(bounds[3]) or 0)
            if inside and (after is None or str(record["Id"]) > after[1]):
                shown = {name: record.get(name) for name in names}
                found.append({"attributes": {"type": kind[1]}, **shown})
        return self._page(found)

    def _page(self, found: list[dict[str, Any]]) -> web.Response:
        answer: dict[str, Any] = {"done": len(found) <= 2, "records": found[:2]}
        if len(found) > 2:
            locator = f"0r8-{len(self._open)}"
            self._open[locator] = found[2:]
            answer["nextRecordsUrl"] = f"/services/data/v62.0/query/{locator}"
        return web.json_response(answer)

    async def _more(self, request: web.Request) -> web.Response:
        return self._page(self._open.pop(request.match_info["locator"]))
