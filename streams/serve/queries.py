"""The worker's side of questions about entities: taken by HTTP, computed in a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from salesgauge.streams.serve.answers import Answers, BusyError
from salesgauge.streams.serve.doors import may_show_records, records_refused
from salesgauge.streams.worker.queries import TooSlowError, prepared

if TYPE_CHECKING:
    from salesgauge.metrics.rules.model import Rules
    from salesgauge.streams.settings.model import Web
    from salesgauge.streams.worker.shards import Worker

CONTENT_TYPE = "application/vnd.msgpack"
_MOST_WAITING = 8


class WorkerQueries:
    """Answers for the partitions that a worker owns."""

    def __init__(self, worker: Worker, rules: Rules, settings: Web, name: str) -> None:
        self.worker = worker
        self._rules = rules
        self._settings = settings
        self._name = name
        self._answers: Answers[bytes] = Answers("queries", max_waiting=_MOST_WAITING)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request of an exporter."""
        if not may_show_records(self._settings):
            return records_refused(self._name)
        try:
            return web.Response(body=await self.reply(await request.read()), content_type=CONTENT_TYPE)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        except BusyError:
            busy = {"error": "too many different questions at once; ask again"}
            return web.json_response(busy, status=503, headers={"Retry-After": "1"})
        except TooSlowError:
            return web.json_response({"error": "there are too many records to answer in time"}, status=504)

    async def reply(self, body: bytes) -> bytes:
        """The packed reply to a packed query. Call it in the event loop of the worker.

        Raises:
            ValueError: the body is no query of this version.
            BusyError: too many different queries wait.
            TooSlowError: it takes too long.
        """
        return await self._answers.get(body, prepared(body, self.worker.stills, self._rules))

    def close(self) -> None:
        """Compute nothing more."""
        self._answers.close()
