"""One lane per partition: apply what has come, write what it leads to, and only then call it done."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from streams.delivery.writer import Message

if TYPE_CHECKING:
    from streams.delivery.consumer import Chunk
    from streams.delivery.records import Output, Record

_DRAIN_WITHIN = 60.0


class DrainTimeout(Exception):  # noqa: N818 - the name says what is the matter
    """What was applied could not be written in time."""


class Lane:
    """The chunks of one partition, in their order.

    While one write is under way the next chunks gather and are applied together; other lanes use the time. An entity
    that changes often is thus written once per turn. A step that has been applied is always written, or the worker
    forgets the state: applied state that is not in the changelog would swallow its events when they come again.
    """

    def __init__(self, app: Any, partition: int) -> None:
        self._app = app
        self._partition = partition
        self._waiting: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()

    def put(self, chunk: Chunk) -> None:
        """Queue a chunk."""
        self._waiting.append(chunk)
        self._arrived.set()

    def clear(self) -> None:
        """Forget what is not applied yet."""
        self._waiting.clear()

    @property
    def queued(self) -> int:
        """Records waiting."""
        return sum(len(chunk.records) for chunk in self._waiting)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while chunks := self._take():
                self.idle.clear()
                try:
                    await self._turn(chunks)
                finally:
                    self.idle.set()
                self._app.lanes.room.set()
                await asyncio.sleep(0)

    def _take(self) -> list[Chunk]:
        taken: list[Chunk] = []
        records = 0
        while self._waiting and (
            not taken or records + len(self._waiting[0].records) <= self._app.delivery.batch_records
        ):
            chunk = self._waiting.popleft()
            records += len(chunk.records)
            if self._app.consumer.is_current(chunk):
                taken.append(chunk)
        return taken

    async def _turn(self, chunks: list[Chunk]) -> None:
        records: list[Record] = [record for chunk in chunks for record in chunk.records]
        generation = self._app.consumer_generation_id
        output = self._app.processor.apply(self._partition, records)
        if self._app.delivery.unsafe_commit_before_ack:
            await self._done(chunks, len(records))
            await self._app.consumer.force_commit()
            await self._write(output, generation)
        elif await self._write(output, generation):
            await self._done(chunks, len(records))

    async def _write(self, output: Output, generation: int) -> bool:
        """Write the sends, then the state; False if the partition is no longer this worker's.

        In this order: a state that remembers an event without the sends it led to would never send them.
        """
        app = self._app
        if output.sends:
            await app.writer.send(output.sends)
        if not output.state:
            return True
        recovery = app.tables.recovery
        if not await app.consumer.is_member(generation):
            recovery.distrust()
            return False
        changelog = TopicPartition(*app.changelog(self._partition))
        headers = recovery.tenures[self._partition].headers
        states = [Message(key, value, headers) for key, value in output.state.items()]
        offsets = await app.writer.write({changelog: states})
        recovery.written(self._partition, offsets[changelog])
        return True

    async def _done(self, chunks: list[Chunk], records: int) -> None:
        for chunk in chunks:
            self._app.consumer.done(chunk)
        self._app.lanes.batches += 1
        self._app.lanes.records += records


class Lanes:
    """All lanes of the worker."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lanes: dict[int, tuple[Lane, asyncio.Task[None]]] = {}
        self.room = asyncio.Event()
        self.batches = 0
        self.records = 0

    async def put(self, chunk: Chunk) -> None:
        """Queue a chunk in its partition's lane; wait while much is queued already."""
        while self._queued() >= 4 * self._app.delivery.batch_records:
            self.room.clear()
            await self.room.wait()
        self._lane(chunk.partition).put(chunk)

    def _queued(self) -> int:
        return sum(lane.queued for lane, _ in self._lanes.values())

    def _lane(self, partition: int) -> Lane:
        if partition not in self._lanes:
            lane = Lane(self._app, partition)
            task = asyncio.get_running_loop().create_task(lane.run(), name=f"lane-{partition}")
            task.add_done_callback(self._ended)
            self._lanes[partition] = lane, task
        return self._lanes[partition][0]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._app.fail(error)

    async def drain(self) -> None:
        """Forget what is not applied and wait until the rest is written.

        Raises:
            DrainTimeout: it takes too long; the worker must end.
        """
        for lane, _ in self._lanes.values():
            lane.clear()
        self.room.set()
        busy = [asyncio.ensure_future(lane.idle.wait()) for lane, task in self._lanes.values() if not task.done()]
        if busy:
            _, late = await asyncio.wait(busy, timeout=_DRAIN_WITHIN)
            for waiter in late:
                waiter.cancel()
            if late:
                error = DrainTimeout(f"{len(late)} partitions could not be written within {_DRAIN_WITHIN:g} s")
                self._app.fail(error)
                raise error

    def stop(self) -> None:
        """End the lanes; call it when they are drained."""
        for _, task in self._lanes.values():
            task.cancel()
        self._lanes.clear()
