"""The peer Faust as its documentation shows it: `BOOTSTRAP EVENTS MODE`.

`count` decodes JSON and counts events by name in windows of an hour, one write to a table per event. `kpis` computes
three KPIs with corrections (`three_kpis.py`): a table of leads and one of sums.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import faust

from benchmarks.jobs.three_kpis import KINDS, changes, key_of
from benchmarks.load import PEER_TOPIC


def counting(app: Any) -> Callable[[dict[str, Any]], None]:
    counts = app.Table("counts", default=int, partitions=1).tumbling(timedelta(hours=1))

    def take(event: dict[str, Any]) -> None:
        counts[event["event"]] += 1

    return take


def three_kpis(app: Any) -> Callable[[dict[str, Any]], None]:
    leads = app.Table("leads", default=dict, partitions=1)
    sums = app.Table("sums", default=float, partitions=1)

    def take(event: dict[str, Any]) -> None:
        if event["event"] not in KINDS:
            return
        lead = leads[key_of(event)]
        found = changes(lead, event)
        leads[key_of(event)] = lead
        for name, hour, amount in found:
            sums[f"{name}@{hour}"] += amount

    return take


def main(bootstrap: str, events: int, mode: str) -> None:
    app = faust.App(
        f"bench-plain-{uuid4().hex[:8]}",
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
    take = {"count": counting, "kpis": three_kpis}[mode](app)

    @app.agent(app.topic(PEER_TOPIC, value_serializer="json"))
    async def consume(stream: Any) -> None:
        seen, cpu, wall = 0, 0.0, 0.0
        async for event in stream:
            if not seen:
                cpu, wall = time.process_time(), time.perf_counter()
            take(event)
            seen += 1
            if seen == events:
                spent = {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - wall, "events": seen}
                print(json.dumps(spent), flush=True)
                os._exit(0)

    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
