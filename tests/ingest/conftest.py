"""Fixtures of the tests of ingest: a running service over a real broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest

from salesgauge.schemas.sources.source import Source, parse_source
from salesgauge.streams.ingest.service import Service
from salesgauge.streams.settings.model import Settings, load


class Running:
    """A service in a thread of its own."""

    def __init__(self, settings: Settings, sources: list[Source], **options: Any) -> None:
        self.settings = settings
        self.error: BaseException | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self.service: Service | None = None
        self._thread = threading.Thread(target=self._run, args=(settings, sources, options), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)
        if self.error is not None:
            raise self.error

    def _run(self, settings: Settings, sources: list[Source], options: dict[str, Any]) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self.service = Service(settings, sources, **options)
            started = asyncio.Event()
            self._task = asyncio.create_task(self.service.run(started))
            waiting = asyncio.create_task(started.wait())
            await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                await self._task
            self._ready.set()
            await self._task

        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error
            self._ready.set()

    @property
    def url(self) -> str:
        assert self.service is not None
        assert self.service.receiver is not None
        return f"http://127.0.0.1:{self.service.receiver.port}"

    def metric(self, name: str, **labels: str) -> float:
        assert self.service is not None
        return self.service.registry.get_sample_value(name, labels) or 0.0

    def stop(self) -> None:
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(20)


@pytest.fixture
def settings_for(tmp_path: Any) -> Callable[..., Settings]:
    def build(bootstrap: str, **flags: Any) -> Settings:
        fixed = {"app_id": f"t{uuid4().hex[:8]}", "kafka.bootstrap": bootstrap, "ingest.web.port": 0}
        return load(None, {**fixed, **flags})

    return build


@pytest.fixture
def run_service() -> Iterator[Callable[..., Running]]:
    with ExitStack() as stack:

        def start(settings: Settings, *sources: dict[str, Any], **options: Any) -> Running:
            parsed = [parse_source(source, where="test") for source in sources]
            running = Running(settings, parsed, **options)
            stack.callback(running.stop)
            return running

        yield start
