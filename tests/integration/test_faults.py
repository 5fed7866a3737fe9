"""Workers are disturbed, one way at a time; afterwards the gauges are the oracle's, and they never dipped.

Worker processes on the embedded broker and on Apache Kafka. An observer looks at totals that can only grow, as fast as
it can: a partial sum shown while a partition moves, or a takeover that knows less than its predecessor, is a dip.
"""

from __future__ import annotations

import contextlib
import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from salesgauge.streams.worker.publication import OWNER
from salesgauge.streams.worker.shards import Worker as Engine
from tests.support.live import Flow, Live, Oracle, assert_same_states, disturbed, until_exact, watched
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from salesgauge.schemas.events import EventBase

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]


def test_a_rolling_restart_is_not_seen(live: Live, events: list[EventBase]) -> None:
    """Each of three workers is ended in order and replaced while events flow."""
    with watched(live, events):
        live.scale(3)
        live.until_shared()
        with Flow(live, disturbed(events), pause=0.15):
            for old in live.running:
                assert old.stop() == 0
                live.worker()
                live.until_shared()


def test_workers_come_and_go(live: Live, events: list[EventBase]) -> None:
    """1 -> 3 -> 2 workers while events flow; the last step is a kill."""
    with watched(live, events):
        live.scale(1)
        live.until_shared()
        with Flow(live, disturbed(events), pause=0.1):
            live.scale(3)
            live.until_shared()
            live.running[0].kill()
            live.until_shared()


def test_an_orderly_end_commits_what_was_done(embedded: Live, events: list[EventBase]) -> None:
    """After SIGTERM nothing is repeated: the next worker starts where the first one was."""
    embedded.scale(1)
    embedded.until_shared()
    for part in disturbed(events, 4):
        embedded.publish(part)
    embedded.until_drained()
    assert embedded.running[0].stop() == 0
    second = embedded.worker()
    embedded.until_shared()
    time.sleep(1)
    assert second.metric("salesgauge_batches_total") == 0


def test_a_worker_that_was_paused_comes_back_as_a_zombie(live: Live, events: list[EventBase]) -> None:
    """Frozen in the middle of its work for longer than the session; another one takes over; then it goes on."""
    with watched(live, events):
        live.scale(2)
        live.until_shared()
        with Flow(live, disturbed(events), pause=0.1):
            time.sleep(0.5)
            frozen, other = live.running
            frozen.pause()
            until(lambda: other.owned == live.partitions, 30, "the other worker has taken over")
            time.sleep(0.5)
            frozen.resume()
            live.until_shared()
    assert frozen.running
    assert frozen.metric("salesgauge_events_total") > 0


def test_a_worker_that_dies_before_a_write_has_committed_nothing_of_it(embedded: Live, events: list[EventBase]) -> None:
    """What the dying worker had applied but not written is applied again by the next one."""
    with watched(embedded, events):
        _die_while_writing(embedded, events, ODD)


def test_without_the_guarantee_events_are_lost_and_it_is_seen(embedded: Live, events: list[EventBase]) -> None:
    """The same with offsets committed before the state is acknowledged: what the suite compares must differ."""
    oracle = Oracle(events, embedded.settings)
    with embedded.exporter() as exporter:
        _die_while_writing(embedded, events, {**ODD, "ODD_CARELESS": "1"})
        embedded.until_drained()
        with pytest.raises(AssertionError, match=r"missing .*\([1-9]"):
            assert_same_states(embedded, oracle)
        with pytest.raises(AssertionError, match="readings differ"):
            until_exact(exporter.board, oracle, 3)


ODD = {"ODD_DIES": "3"}


def _die_while_writing(live: Live, events: Sequence[EventBase], how: dict[str, str]) -> None:
    for part in disturbed(events, 4):
        live.publish(part)
    doomed = live.worker(module="tests.support.odd_worker", env=how)
    assert doomed.wait(30) == -signal.SIGKILL
    live.worker()


def test_a_clock_that_jumps(embedded: Live, events: list[EventBase]) -> None:
    """Two days back and an hour ahead, again and again, until a worker whose clock is right takes over."""
    settled = max(event.occurred_at for event in events) - timedelta(days=3)
    past = [event for event in events if event.occurred_at < settled]  # none lies ahead of the clock that is slow
    parts = disturbed(past, 20)
    with watched(embedded, past):
        odd = embedded.worker(module="tests.support.odd_worker", env={"ODD_CLOCK": "-172800,3600"})
        embedded.until_shared()
        with Flow(embedded, parts[:15]):
            pass
        embedded.until_drained()
        assert odd.stop() == 0
        embedded.worker()
        with Flow(embedded, parts[15:]):
            pass


def test_what_a_zombie_publishes_is_ignored(embedded: Live, events: list[EventBase]) -> None:
    """Panes and even a claim of an older generation: the fence counts them, the gauges stay."""
    with watched(embedded, events) as exporter:
        embedded.scale(1)
        embedded.until_shared()
        for part in disturbed(events, 2):
            embedded.publish(part)
        embedded.until_drained()
        subscriber = exporter.board.subscriber
        until(lambda: len(subscriber.statuses) == embedded.partitions, 10, "all partitions are published")
        ignored = subscriber.ignored
        zombie = Engine(embedded.settings, lambda: int(time.time() * 1000))
        zombie.assigned(frozenset({0}))
        zombie.taken(0, -1)
        late = zombie.due(0)
        assert late is not None
        for key, value in late.records:
            embedded.producer.send(embedded.settings.windows_topic, value, key, [(OWNER, b"zombie")], 0)
        embedded.producer.flush()
        until(lambda: subscriber.ignored >= ignored + len(late.records), 10, "the fence has counted")


def test_a_worker_keeps_nothing_on_disk(embedded: Live, events: list[EventBase], tmp_path: Path) -> None:
    """No state directory that could be full, lost or corrupt: it runs with nowhere to write."""
    empty = tmp_path / "empty"
    empty.mkdir()
    nowhere = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "FAUST_DATADIR"), str(empty))
    with watched(embedded, events):
        worker = embedded.worker(cwd=empty, env={**nowhere, "PYTHONDONTWRITEBYTECODE": "1"})
        embedded.until_shared()
        for part in disturbed(events, 4):
            embedded.publish(part)
        embedded.until_drained()
        written = [path for path in _open_for_writing(worker.pid) if path != worker.log]
    assert not written
    assert not list(empty.iterdir())


def _open_for_writing(pid: int) -> list[Path]:
    """The regular files that a process has open for writing."""
    from pathlib import Path

    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = descriptor.resolve()
            flags = int(Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split("flags:")[1].split()[0], 8)
            if target.is_file() and flags & 0o3:
                found.append(target)
    return found
