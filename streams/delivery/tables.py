"""The table of entities: its changelog is the state's home, the processor's memory the only copy.

Recovery reads the changelog in chunks, straight from the consumer. Before it reads, the worker writes a *claim* into
each changelog partition that it takes over. The claim serves twice:

* Its acknowledged offset is the exact end of what must be read. (A broker's answer to "where is the end?" may be too
  low; what is read back cannot be.)
* It fences. Each state carries its owner's token, and what an owner writes after another's claim is ignored: a worker
  that lost a partition without noticing does not disturb.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import faust
from aiokafka import TopicPartition
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import RebalanceAgain
from faust.tables.recovery import Recovery as FaustRecovery
from faust.types import TP
from mode import Service

from streams.delivery.writer import Message

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from streams.delivery.records import Headers, Record

CLAIM_KEY = b"\x00claim"
OWNER = "owner"


class Fence:
    """Reads a changelog partition's owners, in its order, and tells whose records count."""

    def __init__(self) -> None:
        self._owner: bytes | None = None
        self._superseded: set[bytes] = set()

    def admits(self, record: Record) -> bool:
        """Whether the record is a state that counts. A token seen for the first time is the owner from here on."""
        owner = next((value for name, value in record.headers if name == OWNER), None)
        if owner is not None and owner != self._owner:
            if owner in self._superseded:
                return False
            if self._owner is not None:
                self._superseded.add(self._owner)
            self._owner = owner
        return record.key is not None and record.key != CLAIM_KEY


@dataclass(slots=True)
class Tenure:
    """A partition while it is this worker's without interruption."""

    headers: Headers = field(default_factory=lambda: [(OWNER, os.urandom(8))])
    fence: Fence = field(default_factory=Fence)


class Recovery(FaustRecovery):
    """Restores the processor's state, and knows how far each changelog partition is in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenures: dict[int, Tenure] = {}
        self._generation_held = 0
        self.restored = 0

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget what is another's, and everything after a generation without this worker."""
        kept = {tp.partition for tp in self.app.changelog_partitions}
        if generation_id != self._generation_held + 1:
            kept = set()
        self._generation_held = generation_id
        self._forget(self.tenures.keys() - kept)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def distrust(self) -> None:
        """State was applied that could not be written: restore everything at the next rebalance."""
        self._generation_held = -1

    def _forget(self, partitions: Iterable[int]) -> None:
        gone = frozenset(partitions)
        for partition in gone:
            del self.tenures[partition]
            self.active_offsets.pop(self.app.changelog(partition), None)
        if gone:
            self.app.processor.revoked(gone)

    async def _build_highwaters(self, consumer: Any, tps: set[TP], destination: Counter[TP], title: str) -> None:
        del consumer, title
        self.signal_recovery_end.clear()  # it may be set from the recovery before
        claims = {TopicPartition(*tp): [self._claim(tp.partition)] for tp in tps}
        if not await self.app.consumer.is_member(self._generation_id):
            raise RebalanceAgain
        offsets = await self.app.writer.write(claims)
        destination.clear()
        destination.update({TP(*tp): offset for tp, offset in offsets.items()})

    def _claim(self, partition: int) -> Message:
        tenure = self.tenures.setdefault(partition, Tenure())
        return Message(CLAIM_KEY, b"", tenure.headers)

    def take(self, tp: TP, records: Sequence[Record]) -> None:
        """Restore a chunk; recovery ends with the chunk that holds the last claim."""
        if tp not in self.active_tps or tp.partition not in self.tenures:
            return
        seen = self.active_offsets[tp]
        fence = self.tenures[tp.partition].fence
        items = [(r.key, r.value) for r in records if (seen is None or r.offset > seen) and fence.admits(r)]
        if items:
            self.app.processor.restore(tp.partition, items)
            self.restored += len(items)
        self.active_offsets[tp] = records[-1].offset
        if self.in_recovery and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Nothing comes through the queue; see `take`."""
        await self.wait_until_stopped()

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """State is whole: tell the processor, then let records flow."""
        if self.app.consumer_generation_id == generation_id:
            self.app.processor.assigned(frozenset(self.tenures), generation_id)
        await super().on_recovery_completed(generation_id)

    def written(self, partition: int, offset: int) -> None:
        """Own states up to this offset need not be read back."""
        self.active_offsets[self.app.changelog(partition)] = offset


class TableManager(FaustTableManager):
    """Faust's, with the recovery above."""

    _recovery: Recovery | None

    @property
    def recovery(self) -> Recovery:
        """Recovery service used by this table manager."""
        recovery: Recovery | None = self._recovery
        if recovery is None:
            recovery = self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return recovery


class EntityTable(faust.Table):
    """Stands for the changelog in Faust's assignment and recovery; it holds nothing."""

    async def on_start(self) -> None:
        """Topics are created by their owner, not here."""
        await self.add_runtime_dependency(self.data)
