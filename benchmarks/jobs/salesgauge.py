"""One worker, until it has applied a number of events and has them acknowledged: `BOOTSTRAP PARTITIONS EVENTS`.

The clock runs from the first application to the last acknowledgement, of what partitions send one another too.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.load import settings_for
from salesgauge.streams.composition import Process, process

if TYPE_CHECKING:
    from salesgauge.streams.worker.app import DeliveryApp
    from salesgauge.streams.worker.shards import Worker

_POLL = 0.01
_IDLE = 0.5
"""Nothing under way for so long: nothing comes from other partitions either."""
_PATIENCE = 600.0

Times = tuple[float, float]
"""Processor time and wall clock."""


def now() -> Times:
    return time.process_time(), time.perf_counter()


class Clock:
    """Notes when a worker applies for the first time, and when the last of its writes was acknowledged."""

    def __init__(self, app: DeliveryApp, worker: Worker) -> None:
        self.first: Times | None = None
        self.last: Times | None = None
        self._app, self._worker = app, worker
        apply = worker.apply

        def noted(*arguments: Any) -> Any:
            self.first = self.first or now()
            self.last = None
            return apply(*arguments)

        worker.apply = noted  # type: ignore[method-assign]

    def look(self, events: int) -> bool:
        """Whether all has been done for a while."""
        if applied(self._worker) < events or any(lock.locked() for lock in self._app._steps.values()):  # noqa: SLF001
            self.last = None
        else:
            self.last = self.last or now()
        return self.last is not None and time.perf_counter() - self.last[1] > _IDLE

    def spent(self) -> dict[str, float]:
        assert self.first is not None
        assert self.last is not None
        return {"cpu": self.last[0] - self.first[0], "seconds": self.last[1] - self.first[1]}


def applied(worker: Worker) -> int:
    return int(sum(s.value for m in worker.metrics.events.collect() for s in m.samples if s.name.endswith("_total")))


async def main(bootstrap: str, partitions: int, events: int) -> dict[str, float]:
    began = time.perf_counter()
    parts: Process = process(settings_for(bootstrap, partitions), worker=True, exporter=False, serve=False)
    assert parts.worker is not None
    assert parts.app is not None
    clock = Clock(parts.app, parts.worker)
    running = asyncio.create_task(parts.run())
    result = {"partitions": float(partitions), "events": float(events)}
    while not clock.look(events):
        if running.done() or time.perf_counter() - began > _PATIENCE:
            raise SystemExit(f"{applied(parts.worker)} of {events} events were applied")
        if "start_seconds" not in result and len(parts.app.status.owned) == partitions:
            result["start_seconds"] = time.perf_counter() - began
        await asyncio.sleep(_POLL)
    result |= clock.spent()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
