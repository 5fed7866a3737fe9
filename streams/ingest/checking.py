"""Trying a source before it runs: its file, its credentials and permissions, and what records come to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from salesgauge.schemas.sources.envelopes import Raw, open_envelope
from salesgauge.schemas.sources.live import Derived, Deriver
from salesgauge.schemas.sources.objects import RawRecord, Unusable
from salesgauge.streams.ingest.polling.api import ApiError
from salesgauge.streams.ingest.polling.poller import api_of, system_of

if TYPE_CHECKING:
    from salesgauge.schemas.sources.source import Source
    from salesgauge.streams.ingest.polling.api import Api
    from salesgauge.streams.ingest.polling.system import System

_RECENT_MS = 30 * 86_400_000
_SAMPLE = 10


@dataclass(slots=True)
class ApiReport:
    """What an API showed: the account, its stages, and of each kind of object some that changed lately."""

    account: str
    stages: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Id, pipeline, label, outcome."""
    found: dict[str, int | str] = field(default_factory=dict)
    """Kind of object -> how many were fetched, or why none."""
    bodies: list[dict[str, Any]] = field(default_factory=list)


def derive_payloads(source: Source, payloads: Sequence[bytes]) -> Derived:
    """What payloads come to together, in the order given.

    Raises:
        ConvertError: the source's file is wrong.
    """
    envelope = source.topics.envelope if source.topics is not None and source.hook is None else "json"
    opened = [open_envelope(Raw(data, at=time.time_ns() // 1_000_000), envelope) for data in payloads]
    return _derived(source, opened)


def derive_bodies(source: Source, bodies: Sequence[Any]) -> Derived:
    """What fetched objects come to.

    Raises:
        ConvertError: the source's file is wrong.
    """
    return _derived(source, [RawRecord(body, at=time.time_ns() // 1_000_000) for body in bodies])


def _derived(source: Source, opened: Sequence[Any]) -> Derived:
    deriver = Deriver(source)
    try:
        result = deriver.derive(one for one in opened if isinstance(one, RawRecord))
    finally:
        deriver.close()
    result.unusable += [one for one in opened if isinstance(one, Unusable)]
    return result


async def ask_api(source: Source, secrets: Sequence[bytes]) -> ApiReport:
    """Sign in, and fetch stages and some objects of each kind.

    Raises:
        ApiError: it cannot be signed in.
        SettingsError: the source cannot be polled.
    """
    assert source.poll is not None
    system = system_of(source, secrets)
    async with aiohttp.ClientSession() as session:
        api = api_of(source, session, None)
        report = ApiReport(await system.sign_in(api))
        try:
            report.bodies += await system.lookups(api)
            report.stages = _stages(source, report.bodies)
        except ApiError as error:
            report.found["stages and owners"] = str(error)
        for kind in source.poll.objects or system.objects:
            await _sample(system, api, kind, report)
    return report


async def _sample(system: System, api: Api, kind: str, report: ApiReport) -> None:
    """Some objects of a kind: those of the first page of the last 30 days."""
    now = time.time_ns() // 1_000_000
    try:
        pages = system.changed(api, kind, now - _RECENT_MS, now)
        page: list[dict[str, Any]] = await anext(aiter(pages), [])
    except ApiError as error:
        report.found[kind] = str(error)
        return
    report.found[kind] = len(page)
    report.bodies += page[:_SAMPLE]


def _stages(source: Source, bodies: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """The stages among fetched objects, as the source reads them."""
    deriver = Deriver(source)
    try:
        deriver.derive(RawRecord(body, at=0) for body in bodies)
        return deriver.stages()
    finally:
        deriver.close()
