"""The peer: Quix Streams, one stateful tumbling-window count per event: `BOOTSTRAP EVENTS TOPIC [--no-changelog]`.

Runs in an environment of its own (`benchmarks/peers.py`), so it imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings

warnings.simplefilter("ignore")

from quixstreams import Application  # type: ignore[import-not-found]  # noqa: E402


def main(bootstrap: str, events: int, topic: str, *, changelog: bool) -> None:
    began: list[float] = []

    def first(_topic: str, _partition: int, _offset: int) -> None:
        if not began:
            began.extend((time.process_time(), time.perf_counter()))

    app = Application(
        broker_address=bootstrap,
        consumer_group="bench-quix",
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(prefix="bench-quix-"),
        loglevel="ERROR",
        use_changelog_topics=changelog,
        on_message_processed=first,
    )
    frame = app.dataframe(app.topic(topic, value_deserializer="json", key_deserializer="str"))
    frame.tumbling_window(duration_ms=3_600_000, grace_ms=3_600_000).count().current()
    app.run(count=events, timeout=60.0, collect=False)
    spent = {"cpu": time.process_time() - began[0], "seconds": time.perf_counter() - began[1], "events": events}
    print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], changelog="--no-changelog" not in sys.argv)
