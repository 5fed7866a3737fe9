"""The engine alone: `apply DAYS LEADS_PER_DAY` | `leads NUMBER` | `scrape DAYS`."""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import load
from salesgauge.metrics.engine import Machine
from salesgauge.metrics.kpis.families import families
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.panes import Panes
from salesgauge.schemas.codec import decode_batch, encode
from salesgauge.schemas.events import EventBase
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.io.prometheus_text import encode as exposition
from salesgauge.streams.worker.shards import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from salesgauge.metrics.entities.contributions import Contributions

_BATCH = 2000
_SPAN_MS = 700 * 24 * 3600 * 1000
"""So far back do the leads at rest reach."""
_NOW = int(load.END.timestamp() * 1000)
OWNER = "0123456789abcdef0123456789abcdef"


def filled(days: int, leads_per_day: float = load.LEADS_PER_DAY) -> tuple[Machine, list[EventBase], float]:
    """A machine that has taken some days, what it took, and the processor time that this needed."""
    machine = Machine()
    machine.advance(_NOW)
    batch = load.events(days, leads_per_day)
    seldom_look_for_cycles()
    began = time.process_time()
    for i in range(0, len(batch), _BATCH):
        machine.apply(batch[i : i + _BATCH])
    return machine, batch, time.process_time() - began


def apply(days: int, leads_per_day: float) -> dict[str, Any]:
    _, batch, spent = filled(days, leads_per_day)
    payloads = [encode(event) for event in batch]
    began = time.process_time()
    for i in range(0, len(payloads), _BATCH):
        decode_batch(payloads[i : i + _BATCH])
    decoded = time.process_time() - began
    return {"events": len(batch), "cpu": spent, "decode_cpu": decoded, "rows": rows(batch) / len(batch)}


def rows(batch: list[EventBase]) -> int:
    """How many sums change while events are applied."""
    machine, counting = Machine(), _Counting(LeafIndex(), Rules())
    machine.shard.panes = counting
    machine.advance(_NOW)
    for i in range(0, len(batch), _BATCH):
        machine.apply(batch[i : i + _BATCH])
    return counting.rows


class _Counting(Panes):
    """Panes that count what is added to them."""

    rows = 0

    def add(self, contributions: Contributions) -> None:
        self.rows += len(contributions)
        super().add(contributions)


def lead_states(days: int = 30) -> list[bytes]:
    """Packed states of simulated leads that are closed or at rest."""
    machine, _, _ = filled(days)
    return [state for address, state in machine.shard.states.items() if address.startswith("lead/")]


def histories(states: list[bytes], number: int) -> Iterator[bytes]:
    """So many states, made of some: each copy of them lies further back, so that no two leads share their instants."""
    copies = -(-number // len(states))
    for i in range(number):
        yield _earlier(states[i % len(states)], i // len(states) * (_SPAN_MS // copies))


def _earlier(state: bytes, shift: int) -> bytes:
    """A packed state with all facts earlier by ``shift`` ms. A fact is an array: tag, id, instant, when recorded."""
    version, boxes, *named = msgspec.msgpack.decode(state)
    for _, facts, *places in boxes:
        for fact in facts:
            fact[2:4] = [time and time - shift for time in fact[2:4]]
        for place in places[0] if places else ():
            place[1:] = [time - shift for time in place[1:]]
    return msgspec.msgpack.encode([version, boxes, *named])


def leads(number: int) -> dict[str, Any]:
    # in a process of its own, so that what it needed is not counted, nor reused, here
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        states = pool.submit(lead_states).result()
    seldom_look_for_cycles()
    before = _resident()
    worker = Worker(load.settings_for("none:9092", 1), lambda: _NOW)
    made, restored = histories(states, number), 0.0
    for first in range(0, number, 20_000):
        chunk = range(first, min(number, first + 20_000))
        items = [(f"{OWNER}/lead/{i}".encode(), state) for i, state in zip(chunk, made, strict=False)]
        began = time.process_time()
        worker.restore(0, items)
        restored += time.process_time() - began
    worker.assigned(frozenset({0}))
    began = time.process_time()
    worker.shards[0].build()
    built = time.process_time() - began
    for _ in range(2):
        worker.due(0)
    gc.collect()
    return {
        "leads": number,
        "state_bytes": sum(map(len, states)) / len(states),
        "restore_cpu": restored,
        "build_cpu": built,
        "bytes_per_lead": (_resident() - before) / number,
    }


def scrape(days: int) -> dict[str, Any]:
    machine, _, _ = filled(days)
    list(machine.readings(windows=frozenset({"all"})))
    view, times, samples, size = machine.view, [], 0, 0
    for minute in range(6):
        view.sums.advance(_NOW + minute * 60_000)
        began = time.process_time()
        found = families(view)
        text = exposition(found, openmetrics=True)
        times.append(time.process_time() - began)
        samples, size = sum(len(family.samples) for family in found), len(text)
    return {"samples": samples, "bytes": size, "cpu": sorted(times)[len(times) // 2]}


def _resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    do: dict[str, Callable[..., dict[str, Any]]] = {"apply": apply, "leads": leads, "scrape": scrape}
    print(json.dumps(do[sys.argv[1]](*map(int, sys.argv[2:]))))
