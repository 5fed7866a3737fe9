"""A bulk load by several processes.

Each process reads a share of the records and computes a share of the entities. Facts whose entity is computed
elsewhere go there through files, and so does what entities tell each other; then each process computes its entities,
and the partial sums of all are merged before anything is divided. What comes out is the same as from one process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from salesgauge.metrics.entities.facts import AnyFact, Fact, Merge
from salesgauge.metrics.entities.routes import LONGEST_CHAIN, home_key
from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.shard.bulk import BulkLoad
from salesgauge.metrics.shard.partials import absorb, export
from salesgauge.metrics.shard.rejections import entity_full, not_computed
from salesgauge.metrics.shard.shard import Outcome, admit
from salesgauge.schemas.codec import Rejection
from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.io.outputs import uninterrupted
from salesgauge.streams.io.records import BATCH, NOWHERE, RawRecord
from salesgauge.streams.io.rejects import Rejects
from salesgauge.streams.io.sorted_runs import read_frames, write_frame
from salesgauge.streams.replay.virtual_clock import ClockedEngine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from salesgauge.metrics.rules.model import Rules
    from salesgauge.metrics.shard.bulk import Told
    from salesgauge.schemas.wire import AnyEvent
    from salesgauge.streams.io.records import RecordShare, RecordSource
    from salesgauge.streams.replay.run import ReplayProgress, ReplayRequest
    from salesgauge.streams.replay.selection import KpiChoice
    from salesgauge.streams.replay.virtual_clock import Evaluation

_Packed = tuple[bytes, str, int, bytes | None]
"""A packed message; origin and position of the record and, where what is refused is listed, its payload."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Packed]).decode
_decode_merges = msgspec.msgpack.Decoder(list[AnyFact]).decode


class _Item(NamedTuple):
    """A message, and the record that it comes from."""

    message: Message
    origin: str = ""
    position: int = NOWHERE
    payload: bytes | None = None

    def packed(self) -> _Packed:
        return (self.message.pack(), self.origin, self.position, self.payload)

    @classmethod
    def unpacked(cls, packed: _Packed) -> _Item:
        return cls(Message.unpack(packed[0]), *packed[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process is to do; everything in it can be sent to another process."""

    number: int
    of: int
    share: RecordShare
    rules: Rules
    choice: KpiChoice
    at: int | None
    corrected: bool
    folder: Path
    listing: bool


@dataclass(frozen=True, slots=True)
class _Progress:
    """Records seen since the last message, and how much of how much of the source is done."""

    seen: int
    done: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A process has come to the end of a round; ``value`` is what all are to know the sum or the maximum of."""

    value: int


@dataclass(slots=True)
class _Result:
    """What a process has computed."""

    panes: list[bytes]
    seen: int
    valid: int
    events: int
    reasons: Counter[str]
    unknown_fields: Counter[str]
    warnings: list[str]
    processor_time: float


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a process could not go on."""

    message: str


class Parallel:
    """Loads a replay by processes.

    Args:
        tasks: one for each process.
        replay: has applied nothing yet.
    """

    def __init__(self, tasks: Sequence[Task], replay: ClockedEngine) -> None:
        self._tasks = tasks
        self._replay = replay
        self._processes: list[BaseProcess] = []
        self._connections: list[Connection] = []
        self._done = [(0, 0)] * len(tasks)
        self.warnings: list[str] = []
        self.processor_times: list[float] = []
        """Of each process, in s."""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # otherwise the first start does it, and lets Ctrl-C in
        with uninterrupted():  # Ctrl-C goes to all processes of the terminal: only this one is to answer it
            for task in self._tasks:
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(there, task), daemon=True)
                process.start()
                there.close()
                self._processes.append(process)
                self._connections.append(here)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def done(self) -> tuple[int, int]:
        """How much of how much of the source is done."""
        return sum(done for done, _ in self._done), sum(whole for _, whole in self._done)

    def read(self) -> Iterator[None]:
        """Wait until all records are read; an item for each record.

        Raises:
            SalesgaugeError: a process failed.
        """
        at = 0
        for waiting in self._until_all_wait():
            if isinstance(waiting, int):
                yield from (None for _ in range(waiting))
            else:
                at = max(waiting)
        self._send_to_all(at)
        self._replay.machine.advance(at)

    def finish(self) -> None:
        """Let messages between entities be delivered, have all entities computed, and merge what comes out.

        Raises:
            SalesgaugeError: a process failed.
        """
        self._rounds()
        for connection in self._connections:
            result = self._receive(connection)
            absorb(self._replay.machine.shard.panes, result.panes)
            self._replay.seen += result.seen
            self._replay.valid += result.valid
            self._replay.machine.events += result.events
            self._replay.rejects.reasons += result.reasons
            self._replay.unknown_fields += result.unknown_fields
            self.warnings += result.warnings
            self.processor_times.append(result.processor_time)
        if (file := self._replay.rejects.file) is not None:
            for task in self._tasks:
                with _rejects(task).open("rb") as rows:
                    file.writelines(rows)

    def _rounds(self) -> None:
        """Let processes send each other the messages of their entities, until there are none."""
        for _ in range(LONGEST_CHAIN + 3):
            messages = sum(self._receive(connection).value for connection in self._connections)
            self._send_to_all(messages)
            if not messages:
                return

    def _until_all_wait(self) -> Iterator[int | list[int]]:
        """Numbers of records seen, then what each process says at the end."""
        values: dict[int, int] = {}
        numbers = {id(connection): number for number, connection in enumerate(self._connections)}
        while len(values) < len(self._connections):
            for ready in wait(self._connections):
                number = numbers[id(ready)]
                message = self._receive(self._connections[number])
                if isinstance(message, _Progress):
                    self._done[number] = message.done
                    yield message.seen
                else:
                    values[number] = message.value
        yield list(values.values())

    def _receive(self, connection: Connection) -> Any:
        try:
            message = connection.recv()
        except (EOFError, OSError) as error:
            raise SalesgaugeError("a process of this replay was ended from outside; is there enough memory?") from error
        if isinstance(message, _Failed):
            raise SalesgaugeError(message.message)
        return message

    def _send_to_all(self, value: int) -> None:
        for connection in self._connections:
            connection.send(value)


def _work(connection: Connection, task: Task) -> None:
    """The life of a process."""
    seldom_look_for_cycles()
    with contextlib.suppress(BrokenPipeError, EOFError, ConnectionResetError):  # nobody waits for it any more
        try:
            connection.send(_Worker(connection, task).run())
        except SalesgaugeError as error:
            connection.send(_Failed(str(error)))
        except OSError as error:
            if isinstance(error, BrokenPipeError | ConnectionResetError):
                raise
            connection.send(_Failed(f"{error.filename or 'cannot read or write'}: {error.strerror}"))
        except Exception:  # noqa: BLE001 - its trace is all that the other side can be given
            connection.send(_Failed(traceback.format_exc()))


@dataclass(slots=True)
class _Worker:
    """One process's share of a load."""

    connection: Connection
    task: Task
    replay: ClockedEngine = field(init=False)
    bulk: BulkLoad = field(init=False)
    events: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        self.replay = ClockedEngine(self.task.rules, self.task.choice.catalogue())
        self.bulk = BulkLoad(self.replay.machine.shard)

    def run(self) -> _Result:
        task, replay = self.task, self.replay
        with contextlib.ExitStack() as stack:
            if task.listing:
                replay.rejects = Rejects(stack.enter_context(_rejects(task).open("wb")))
            if task.at is not None:
                replay.machine.advance(task.at)
            warnings = self._read()
            self._merges(task.number).write_bytes(_encode(self.bulk.merges))
            replay.machine.advance(self._agree(replay.now))
            for items in self._inbox():
                self._take(items)
            for failure in self.bulk.finish(self._exchange, self._all_merges):
                replay.rejects.add(RawRecord(None, "entities", NOWHERE), not_computed(failure))
        if task.number == 0:  # all have read all merges
            self.events += len(replay.machine.shard.identities)
        panes = list(export(replay.machine.shard.panes))
        return _Result(
            panes,
            replay.seen,
            replay.valid,
            self.events,
            replay.rejects.reasons,
            replay.unknown_fields,
            warnings,
            time.process_time(),
        )

    def _read(self) -> list[str]:
        """Decode the share; keep the facts of entities that are computed here, and post the others."""
        with self.task.share.open() as source:
            stream = source.records()
            while batch := list(islice(stream, BATCH)):
                self._sort(self.replay.known(batch, self.task.at, corrected=self.task.corrected))
                self.connection.send(_Progress(len(batch), source.done()))
            return source.warnings

    def _sort(self, pairs: Iterable[tuple[RawRecord, AnyEvent]]) -> None:
        outboxes: list[list[_Item]] = [[] for _ in range(self.task.of)]
        number, listing = self.task.number, self.task.listing
        now, recorded_by, rules = self.replay.now, self.replay.machine.recorded_by, self.task.rules
        for record, event in pairs:
            item = admit(event, rules, now, recorded_by)
            if isinstance(item, Rejection):
                self.replay.rejects.add(record, item)
            else:
                payload = record.payload if listing else None
                process = number if item.is_merge else self._process_of(item.to)
                outboxes[process].append(_Item(item, record.origin, record.position, payload))
        self._take(outboxes[number])
        self._post(outboxes)

    def _process_of(self, address: str) -> int:
        return zlib.crc32(home_key(address).encode()) % self.task.of

    def _take(self, items: Sequence[_Item]) -> None:
        outcome: Outcome = self.bulk.add([item.message for item in items])
        self.events += outcome.distinct
        full = entity_full(self.task.rules.max_facts)
        for position in outcome.refused:
            item = items[position]
            self.replay.rejects.add(RawRecord(item.payload, item.origin, item.position), full)

    def _exchange(self, messages: Told) -> Told | None:
        """Send messages to the processes of their entities; those for here, or None where no process has any."""
        self.round += 1
        outboxes: list[list[_Item]] = [[] for _ in range(self.task.of)]
        here: Told = {}
        for address, items in messages.items():
            process = self._process_of(address)
            if process == self.task.number:
                here[address] = items
            else:
                outboxes[process] += map(_Item, items)
        self._post(outboxes)
        if not self._agree(len(messages)):
            return None
        for item in chain.from_iterable(self._inbox()):
            here.setdefault(item.message.to, []).append(item.message)
        return here

    def _merges(self, number: int) -> Path:
        return self.task.folder / f"merges-{number}"

    def _all_merges(self, _: Sequence[Merge]) -> list[Merge]:
        """The merges that all processes have read."""
        found: list[Fact] = []
        for number in range(self.task.of):
            found += _decode_merges(self._merges(number).read_bytes())
        return [fact for fact in found if isinstance(fact, Merge)]

    def _post(self, outboxes: Sequence[list[_Item]]) -> None:
        for number, items in enumerate(outboxes):
            if items and number != self.task.number:
                with self._file(self.task.number, number).open("ab") as file:
                    write_frame(file, _encode([item.packed() for item in items]))

    def _inbox(self) -> Iterator[list[_Item]]:
        for number in range(self.task.of):
            path = self._file(number, self.task.number)
            if number == self.task.number or not path.exists():
                continue
            with path.open("rb") as file:
                for frame in read_frames(file):
                    yield [_Item.unpacked(packed) for packed in _decode(frame)]
            path.unlink()

    def _file(self, sender: int, receiver: int) -> Path:
        return self.task.folder / f"{self.round}-{sender}-{receiver}"

    def _agree(self, value: int) -> int:
        """Wait for the other processes; what all of them say together."""
        self.connection.send(_Waiting(value))
        agreed: int = self.connection.recv()
        return agreed


def _rejects(task: Task) -> Path:
    return task.folder / f"rejects-{task.number}"


def load_by_processes(
    source: RecordSource, engine: ClockedEngine, request: ReplayRequest, progress: ReplayProgress
) -> Evaluation:
    """What the gauges show at an instant, computed by ``request.processes`` processes.

    Raises:
        SalesgaugeError: a process failed.
    """
    shares = source.shares(request.processes)
    with tempfile.TemporaryDirectory(prefix="salesgauge-") as folder:
        tasks = [
            Task(
                number=number, of=len(shares), share=share, rules=engine.rules, folder=Path(folder), at=request.at,
                choice=request.choice, corrected=request.knows_today, listing=engine.rejects.file is not None,
            )
            for number, share in enumerate(shares)
        ]  # fmt: skip
        with Parallel(tasks, engine) as parallel:
            for _ in progress.over(parallel.read(), "events", parallel.done, "events"):
                pass
            parallel.finish()
    source.warnings.extend(dict.fromkeys(parallel.warnings))
    return engine.show()
