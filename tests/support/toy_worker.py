"""A worker whose state is what it has seen: the smallest processor that shows a lost or a doubled event.

An event is an id under a key. The state of a key is the set of its ids and their count. Each new id is sent on
under another key through the re-key topic, where it is remembered again.

    python -m tests.support.toy_worker '{"bootstrap": ..., ...}'
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.delivery.records import Output, Record, Send
from streams.delivery.service import DeliverySettings, Status, Tick, run
from streams.delivery.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

SPREAD = 7
"""Keys under which ids are remembered again."""


def pack(ids: set[int]) -> bytes:
    """A state: the count and the ids."""
    return json.dumps([len(ids), sorted(ids)]).encode()


def unpack(state: bytes) -> set[int]:
    """The ids of a state, whose count must be theirs."""
    count, ids = json.loads(state)
    assert count == len(set(ids)) == len(ids)
    return set(ids)


@dataclass(frozen=True)
class Toy:
    """What a toy worker is told."""

    settings: DeliverySettings
    rekey_topic: str
    die_at_write: int = 0
    """SIGKILL instead of the n-th write of states."""
    send_to: tuple[str, int] | None = None
    """Another topic and partition to which each new id is sent."""
    padding: int = 0
    """Bytes added to each state."""


class Seen:
    """The processor."""

    def __init__(self, toy: Toy) -> None:
        self._toy = toy
        self.states: dict[int, dict[bytes, set[int]]] = {}
        self.partitions: frozenset[int] = frozenset()
        self.generations: list[int] = []
        self.applied = 0

    def apply(self, partition: int, records: Sequence[Record]) -> Output:
        states = self.states.setdefault(partition, {})
        changed: set[bytes] = set()
        sends: list[Send] = []
        for record in records:
            assert record.partition == partition
            assert partition in self.partitions
            assert record.key is not None
            assert record.value is not None
            self.applied += 1
            number = int(record.value)
            ids = states.setdefault(record.key, set())
            if number in ids:
                continue
            ids.add(number)
            changed.add(record.key)
            sends += self._sends(record, number)
        return Output({key: pack(states[key]) + b" " * self._toy.padding for key in changed}, sends)

    def _sends(self, record: Record, number: int) -> list[Send]:
        if record.topic == self._toy.rekey_topic:
            return []
        sends = [Send(self._toy.rekey_topic, None, b"again-%d" % (number % SPREAD), record.value)]
        if self._toy.send_to:
            sends.append(Send(*self._toy.send_to, record.key, record.value))
        return sends

    def restore(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        for key, state in items:
            assert state is not None
            self.states.setdefault(partition, {})[key] = unpack(state)

    def assigned(self, partitions: frozenset[int], generation: int) -> None:
        self.partitions = partitions
        self.generations.append(generation)

    def revoked(self, partitions: frozenset[int]) -> None:
        self.partitions -= partitions
        for partition in partitions:
            self.states.pop(partition, None)


def _die_at_write(toy: Toy) -> None:
    """Make this process a victim of SIGKILL at a chosen write of states."""
    write = Writer.write
    left = toy.die_at_write

    async def deadly(self: Writer, batches: Any) -> Any:
        nonlocal left
        states = any(topic == toy.settings.changelog_topic for topic, _ in batches)
        claims = any(message.value == b"" for messages in batches.values() for message in messages)
        if states and not claims:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return await write(self, batches)

    Writer.write = deadly  # type: ignore[method-assign]


def main(told: str) -> int:
    """Be the worker that the JSON describes, and end with the process's exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    fields = json.loads(told)
    settings = DeliverySettings(**fields.pop("settings"))
    toy = Toy(settings, **fields)
    if toy.die_at_write:
        _die_at_write(toy)
    return run(settings, Seen(toy))


__all__ = ["SPREAD", "Seen", "Status", "Tick", "Toy", "main", "pack", "unpack"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
