"""One worker, until it has applied a number of events and has them acknowledged: `BOOTSTRAP PARTITIONS EVENTS`."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.load import settings_for
from salesgauge.streams.composition import process
from salesgauge.streams.worker.shards import Worker

_POLL = 0.01
_PATIENCE = 300.0


def applied(worker: Worker) -> int:
    return int(sum(s.value for m in worker.metrics.events.collect() for s in m.samples if s.name.endswith("_total")))


async def main(bootstrap: str, partitions: int, events: int) -> dict[str, float]:
    began = time.perf_counter()
    parts = process(settings_for(bootstrap, partitions), worker=True, exporter=False, serve=False)
    assert parts.worker is not None
    assert parts.app is not None
    running = asyncio.create_task(parts.run())
    result = {"partitions": float(partitions)}
    cpu = wall = 0.0
    while applied(parts.worker) < events and not running.done():
        if "start_seconds" not in result and len(parts.app.status.owned) == partitions:
            result["start_seconds"] = time.perf_counter() - began
        if not wall and applied(parts.worker):
            cpu, wall = time.process_time(), time.perf_counter()
        if time.perf_counter() - began > _PATIENCE:
            break
        await asyncio.sleep(_POLL)
    done = applied(parts.worker)
    result |= {"events": done, "cpu": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
