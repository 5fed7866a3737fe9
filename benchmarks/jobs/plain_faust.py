"""The peer: Faust as its documentation shows it, one write to a tumbling-window table per event: `BOOTSTRAP EVENTS`.

A far smaller job than ours: it decodes JSON and counts events by name in windows of an hour.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from typing import Any

import faust

from benchmarks.load import PEER_TOPIC


def main(bootstrap: str, events: int) -> None:
    app = faust.App(
        "bench-plain",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="bench-faust-"),
        topic_partitions=1,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.5,
        web_enabled=False,
        topic_disable_leader=True,
    )
    topic = app.topic(PEER_TOPIC, value_serializer="json")
    counts = app.Table("counts", default=int, partitions=1).tumbling(timedelta(hours=1))

    @app.agent(topic)
    async def count(stream: Any) -> None:
        seen, cpu, wall = 0, 0.0, 0.0
        async for event in stream:
            if not seen:
                cpu, wall = time.process_time(), time.perf_counter()
            counts[event["event"]] += 1
            seen += 1
            if seen == events:
                spent = {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - wall, "events": seen}
                print(json.dumps(spent), flush=True)
                os._exit(0)

    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
