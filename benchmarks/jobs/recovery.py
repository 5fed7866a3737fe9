"""Reading a changelog to its end: `BOOTSTRAP LEADS bare|whole`.

`bare` forgets what it reads; `whole` holds it (from then on a worker processes events) and goes on to the first
publication, with the processes that help it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from benchmarks import load
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.kafka.topics import changelog_topic
from salesgauge.streams.worker.changelog import read_changelog
from salesgauge.streams.worker.shards import Worker


class _Forgetful:
    def restore(self, partition: int, items: list[tuple[bytes, bytes | None]]) -> None:
        """Take nothing."""


def main(bootstrap: str, leads: int, how: str) -> dict[str, Any]:
    settings = load.settings_for(bootstrap, 1)
    worker = Worker(settings, lambda: int(load.END.timestamp() * 1000))
    processor: Any = worker if how == "whole" else _Forgetful()
    seldom_look_for_cycles()
    began, wall = time.process_time(), time.perf_counter()
    reading = read_changelog(changelog_topic(settings), {0: leads - 1}, processor, {"bootstrap_servers": bootstrap})
    read = asyncio.run(reading)
    held = time.perf_counter() - wall
    if how == "whole":
        worker.assigned(frozenset({0}))
        while worker.due(0) is None:
            pass
    seconds = time.perf_counter() - wall
    return {"events": read, "cpu": time.process_time() - began, "read_seconds": held, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
