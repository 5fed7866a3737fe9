"""The windows topic: how workers publish panes and exporters take them over.

A publication is a series of records of one partition that ends with a *commit*; an exporter applies it as a whole or
not at all. Values are absolute, so reading one twice does no harm, and keys name panes, so that the topic can be
compacted. Before it even reads the state of a partition an owner writes a *claim*: what other owners write after it in
the log is ignored, so a worker that lost its partition without noticing cannot disturb. The first publication of an
owner holds all panes; what it does not hold exists no more.

A claim carries the generation of the group. One of an older generation that comes late is ignored, unless the owner has
been silent: generations begin anew when a group is deleted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import zstandard

from salesgauge.metrics.shard.leaves import CODES, LeafIndex
from salesgauge.metrics.shard.packing import pack, unpacker
from salesgauge.metrics.shard.panes import BASE, PaneKey, Panes, Resolution, Roster
from salesgauge.metrics.shard.samples import leaf_of, with_leaf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from salesgauge.metrics.windows.sums import WindowSums

_PLAIN, _COMPRESSED = b"\x00", b"\x01"
_COMPRESS_FROM = 512


class Mark(enum.StrEnum):
    """Records that are no panes."""

    CLAIM = "claim"
    COMMIT = "commit"


class WorkerStatus(msgspec.Struct, frozen=True, array_like=True):
    """What a worker says with each commit: its wall clock and the newest event (ms), totals, and who it is."""

    at: int = 0
    newest_event: int = 0
    events: int = 0
    rejected: int = 0
    entities: int = 0
    worker: str = ""
    generation: int = 0
    identities: int = 0
    """How far its owner had read the identity log when it published."""
    address: str = ""
    """The URL at which it answers questions about its entities; empty where it does not."""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """A record's value: cells and their amounts, and the worker's numbers of the leaves in them, with these.

    ``instants`` stands beside the cells in a roster pane; ``horizon`` belongs to a base.
    """

    numbers: list[int] = []
    leaves: list[msgspec.Raw] = []
    cells: list[int] = []
    amounts: list[int] = []
    instants: list[int] = []
    horizon: int = 0
    status: WorkerStatus | None = None


_decode: Callable[[bytes], _Record] = unpacker(_Record).decode

_SILENT_MS = 10_000
"""An owner speaks every few seconds; one silent for so long cannot defend its partition against older generations."""

OWNER = "owner"
"""The header with the owner's token."""


class WindowsRecord(NamedTuple):
    """A record of the windows topic; no value removes a pane."""

    key: bytes
    value: bytes | None


def claim(partition: int, status: WorkerStatus) -> WindowsRecord:
    """The record that fences earlier owners."""
    return WindowsRecord(_key(partition, Mark.CLAIM), _pack(_Record(status=status)))


def publication(
    partition: int, panes: Panes, status: WorkerStatus, *, full: bool = False, again: Iterable[PaneKey] = ()
) -> Iterator[WindowsRecord]:
    """The records of the changed panes and of some others ``again``, or of all, with the commit at the end."""
    changed = panes.take_changed()
    for key in panes.keys() if full else dict.fromkeys((*changed, *again)):
        yield WindowsRecord(_key(partition, key), _pane(key, panes))
    yield WindowsRecord(_key(partition, Mark.COMMIT), _pack(_Record(status=status)))


def _pane(key: PaneKey, panes: Panes) -> bytes | None:
    leaves = panes.leaves
    if key.resolution is Resolution.ROSTER:
        roster = panes.roster.get(key.index)
        return _pack(_roster_record(roster, leaves)) if roster else None
    cells = panes.cells(key)
    if key != BASE and not cells:
        return None
    if key.resolution is Resolution.SAMPLES:
        return _pack(_record(list(cells), list(cells.values()), leaves, leaf=leaf_of))
    horizon = panes.horizon if key == BASE else 0
    return _pack(_record(list(cells), list(cells.values()), leaves, horizon=horizon))


def _roster_record(roster: Roster, leaves: LeafIndex) -> _Record:
    triples = [(cell, amount, at) for at, cells in roster.items() for cell, amount in cells.items()]
    cells, amounts, instants = map(list, zip(*triples, strict=True))
    return _record(cells, amounts, leaves, instants)


def _record(
    cells: list[int],
    amounts: list[int],
    leaves: LeafIndex,
    instants: Sequence[int] = (),
    horizon: int = 0,
    leaf: Callable[[int], int] = lambda cell: cell // CODES,
) -> _Record:
    numbers = list({leaf(cell) for cell in cells})
    return _Record(numbers, [leaves.packed(number) for number in numbers], cells, amounts, list(instants), horizon)


def _key(partition: int, what: PaneKey | Mark) -> bytes:
    if isinstance(what, Mark):
        return f"{partition}/{what.value}".encode()
    return f"{partition}/{what.resolution.value}/{what.index}".encode()


def _pack(record: _Record) -> bytes:
    packed = pack(record)
    return _PLAIN + packed if len(packed) < _COMPRESS_FROM else _COMPRESSED + zstandard.compress(packed, 1)


def _unpack(value: bytes) -> _Record:
    kind, packed = value[:1], value[1:]
    try:
        return _decode(zstandard.decompress(packed) if kind == _COMPRESSED else packed)
    except (msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise ValueError(f"a record of the windows topic is not a publication: {error}") from error


@dataclass(slots=True)
class _Incoming:
    """What is known of one partition.

    ``heard`` is when the owner last spoke, by its own clock. ``waiting`` are the owner's records without a commit yet,
    ``committed`` those to be applied next; ``full`` says that these are all panes there are, ``begun`` that the owner
    has committed before.
    """

    owner: str = ""
    generation: int = 0
    heard: int = 0
    begun: bool = False
    full: bool = False
    waiting: dict[PaneKey, _Record | None] = field(default_factory=dict)
    committed: dict[PaneKey, _Record | None] = field(default_factory=dict)
    status: WorkerStatus | None = None
    said: WorkerStatus | None = None
    """What the owner said last, in a claim too."""


class Subscriber:
    """Applies publications to window sums, whole ones only.

    While ``catching_up``, superseded publications are passed over: only the last state is applied, by :meth:`settle`.
    """

    def __init__(self, sums: WindowSums) -> None:
        self._sums = sums
        self._partitions: dict[int, _Incoming] = {}
        self.catching_up = True
        self.ignored = 0
        """Records of owners that had lost their partition."""

    @property
    def statuses(self) -> Mapping[int, WorkerStatus]:
        """The latest status by partition."""
        return {p: i.status for p, i in self._partitions.items() if i.status is not None}

    @property
    def owners(self) -> Mapping[int, WorkerStatus]:
        """What the present owner of each partition said last; it may have claimed it and published nothing yet."""
        return {p: i.said for p, i in self._partitions.items() if i.said is not None}

    def accept(self, key: bytes, value: bytes | None, owner: str) -> bool:
        """Take the next record of the log; True where it completed a publication.

        Raises:
            ValueError: the record was not written by a worker.
        """
        partition, what = _parse(key)
        incoming = self._partitions.setdefault(partition, _Incoming())
        record = _unpack(value) if value is not None else None
        status = record.status if record else None
        if what is Mark.CLAIM and owner != incoming.owner:
            self._claimed(partition, incoming, owner, status or WorkerStatus())
            return False
        incoming.owner = incoming.owner or owner  # its claim may have been compacted away
        if owner != incoming.owner:
            self.ignored += 1
            return False
        if status is not None:
            incoming.said = status
            incoming.heard = max(incoming.heard, status.at)
            incoming.generation = max(incoming.generation, status.generation)
        if what is Mark.CLAIM:
            incoming.begun = False  # the next publication is a full one again
            incoming.waiting.clear()
            return False
        if isinstance(what, PaneKey):
            incoming.waiting[what] = record
            return False
        if incoming.begun:
            incoming.committed |= incoming.waiting
        else:
            incoming.begun = incoming.full = True
            incoming.committed = dict(incoming.waiting)
        incoming.waiting.clear()
        incoming.status = status
        if not self.catching_up:
            self._settle(partition, incoming)
        return True

    def _claimed(self, partition: int, current: _Incoming, owner: str, status: WorkerStatus) -> None:
        """Let a new owner in; until its first publication is whole, the last one of the old owner holds."""
        if status.generation < current.generation and status.at < current.heard + _SILENT_MS:
            self.ignored += 1
            return
        self._partitions[partition] = _Incoming(
            owner, status.generation, status.at, full=current.full, committed=current.committed,
            status=current.status, said=status,
        )  # fmt: skip

    def settle(self) -> None:
        """The log was read to its end: apply what was committed, and from now on each publication as it comes."""
        self.catching_up = False
        for partition, incoming in self._partitions.items():
            if incoming.status is not None:
                self._settle(partition, incoming)

    def _settle(self, partition: int, incoming: _Incoming) -> None:
        """Apply what is committed; the first publication of an owner is a full one: panes it lacks exist no more."""
        gone = set(self._sums.keys(partition)) - incoming.committed.keys() if incoming.full else set()
        for key, record in sorted(incoming.committed.items(), key=lambda item: item[0] != BASE):
            self._apply(partition, key, record)
        for key in gone:
            self._sums.drop(partition, key)
        incoming.committed.clear()
        incoming.full = False

    def _apply(self, partition: int, key: PaneKey, record: _Record | None) -> None:
        if record is None:
            self._sums.drop(partition, key)
            return
        if key.resolution is Resolution.SAMPLES:
            self._sums.replace_samples(partition, key.index, self._own_samples(record))
            return
        cells = self._own(record)
        if key.resolution is Resolution.ROSTER:
            roster: Roster = {}
            for at, cell, amount in zip(record.instants, cells, record.amounts, strict=True):
                if cell is not None:
                    roster.setdefault(at, {})[cell] = amount
            self._sums.replace_roster(partition, key.index, roster)
            return
        pane = {cell: amount for cell, amount in zip(cells, record.amounts, strict=True) if cell is not None}
        if key == BASE:
            self._sums.replace_base(partition, record.horizon, pane)
        else:
            self._sums.replace(partition, key, pane)

    def _own(self, record: _Record) -> list[int | None]:
        """The record's cells in the numbers of this process; None where it does not know the measure."""
        own = self._own_leaves(record)
        moves = {number: None if leaf is None else (leaf - number) * CODES for number, leaf in own.items()}
        if None not in moves.values():
            return [cell + moves[cell // CODES] for cell in record.cells]  # type: ignore[operator]
        return [None if (move := moves[cell // CODES]) is None else cell + move for cell in record.cells]

    def _own_samples(self, record: _Record) -> dict[int, int]:
        leaves = self._own_leaves(record)
        found: dict[int, int] = {}
        for cell, count in zip(record.cells, record.amounts, strict=True):
            leaf = leaves[leaf_of(cell)]
            own = None if leaf is None else with_leaf(cell, leaf)
            if own is not None:
                found[own] = count
        return found

    def _own_leaves(self, record: _Record) -> dict[int, int | None]:
        """The worker's number of a leaf -> that of this process; None where it does not know the measure."""
        own: dict[int, int | None] = {}
        for number, leaf in zip(record.numbers, record.leaves, strict=True):
            try:
                own[number] = self._sums.index.leaves.of_packed(bytes(leaf))
            except KeyError:  # a newer worker's, which nothing here asks for
                own[number] = None
        return own


def _parse(key: bytes) -> tuple[int, PaneKey | Mark]:
    try:
        partition, kind, *index = key.decode().split("/")
        if index:
            return int(partition), PaneKey(Resolution(kind), int(index[0]))
        return int(partition), Mark(kind)
    except ValueError as error:
        raise ValueError(f"{key!r} is not a key of the windows topic") from error
