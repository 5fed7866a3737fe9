"""The exporter's side of questions about entities: it asks the owner of each partition, and names who did not answer.

The owner, and the URL at which it answers, is what the partition's latest claim on the windows topic says. A partition
that is on its way to another worker is waited for, a short time; nothing is left out in silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import aiohttp

from salesgauge.streams.serve.answers import BusyError
from salesgauge.streams.serve.doors import authorization
from salesgauge.streams.worker.queries import PATH, Query, Reply, TooSlowError, pack_query, unpack_reply

if TYPE_CHECKING:
    import ssl

    from salesgauge.metrics.explain.explanation import Partial
    from salesgauge.metrics.explain.question import Question
    from salesgauge.metrics.explain.waiting import WaitingPartial, WaitingQuestion
    from salesgauge.streams.settings.model import Settings, Web
    from salesgauge.streams.worker.publication import WorkerStatus

T = TypeVar("T")

PATIENCE_SECONDS = 8.0
"""How long a partition may be on its way before it is named as missing."""
_ASK_SECONDS = 18.0
_AGAIN_SECONDS = 0.3
_SHOWN = 200
"""Characters of what a worker says went wrong."""


class Missing(NamedTuple):
    """A partition of which nothing is known, and why."""

    partition: int
    reason: str


@dataclass(frozen=True, slots=True)
class Local:
    """A worker of this process: it needs no connection."""

    name: str
    reply: Callable[[bytes], Awaitable[bytes]]


@dataclass(slots=True)
class Answered:
    """What the owners said, by partition, and of which partitions nothing is known."""

    partials: dict[int, Partial | WaitingPartial] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    def of(self, kind: type[T]) -> list[T]:
        """What was said, of one kind."""
        return [partial for partial in self.partials.values() if isinstance(partial, kind)]


class Owners:
    """Asks the owners of partitions.

    Args:
        settings: how they are reached: certificates and credentials of ``worker_web``, else of ``web``.
        local: the worker of this process, if there is one.
        patience: seconds for which a partition that nobody answers for is asked about again.
    """

    def __init__(self, settings: Settings, local: Local | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._web: Web = _credentials_of(settings)
        self._local = local
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        question: Question | WaitingQuestion,
        partitions: int,
        owners: Callable[[], Mapping[int, WorkerStatus]],
    ) -> Answered:
        """Ask the owners of all partitions.

        Args:
            question: what is asked.
            partitions: how many there are.
            owners: what the owner of each said last, whenever it is called.
        """
        answered, reasons = Answered(), dict.fromkeys(range(partitions), "no worker has published it")
        end = time.monotonic() + self._patience
        while True:
            left = [number for number in range(partitions) if number not in answered.partials]
            found = await self._round(question, left, owners(), reasons)
            answered.partials |= {number: part for number, part in found.items() if number in left}
            left = [number for number in left if number not in answered.partials]
            if not left or time.monotonic() > end:
                break
            await asyncio.sleep(_AGAIN_SECONDS)
        answered.missing = [Missing(number, reasons[number]) for number in left]
        return answered

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _round(
        self,
        question: Question | WaitingQuestion,
        left: Iterable[int],
        owners: Mapping[int, WorkerStatus],
        reasons: dict[int, str],
    ) -> dict[int, Partial | WaitingPartial]:
        owned: dict[tuple[str, str], list[int]] = {}
        for number in left:
            if (status := owners.get(number)) is not None:
                owned.setdefault((status.worker, status.address), []).append(number)
        asked = [self._one(*owner, Query(tuple(numbers), question)) for owner, numbers in owned.items()]
        answers: dict[int, Partial | WaitingPartial] = {}
        for numbers, reply in zip(owned.values(), await asyncio.gather(*asked), strict=True):
            if isinstance(reply, Reply):
                answers |= reply.answers
                reasons |= dict.fromkeys(numbers, "it is on its way to another worker, or is being recovered")
            else:
                reasons |= dict.fromkeys(numbers, reply)
        return answers

    async def _one(self, worker: str, address: str, query: Query) -> Reply | str:
        """The reply of a worker, or why there is none."""
        body = pack_query(query)
        try:
            if self._local is not None and worker == self._local.name:
                return unpack_reply(await self._local.reply(body))
            return unpack_reply(await self._post(address, body)) if address else "its worker does not say where it is"
        except (TimeoutError, TooSlowError):
            return f"the worker at {address} did not answer in time"
        except BusyError:
            return f"the worker at {address} has too many questions to answer"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"no answer from the worker at {address}: {error}"

    async def _post(self, address: str, body: bytes) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_ASK_SECONDS, connect=3.0), headers=authorization(self._web)
            )
        async with self._session.post(f"{address}{PATH}", data=body, ssl=self._context(address)) as response:
            if response.status != HTTPStatus.OK:
                raise ValueError(f"{response.status} {(await response.text())[:_SHOWN]}")
            return await response.read()

    def _context(self, address: str) -> ssl.SSLContext | bool:
        return self._web.tls.client_context() if self._web.tls and address.startswith("https:") else True


def _credentials_of(settings: Settings) -> Web:
    """The settings by which workers let somebody in: of workers, or of a process that is worker and exporter."""
    own = settings.worker_web
    return own if own.token is not None or own.username is not None or own.tls is not None else settings.web
