"""What an entity remembers: boxes of facts, one for each entity that they are about, and the addresses they named.

A box is a set of facts; two boxes about one entity unite in any order and any number of times. Of two versions of one
fact the one recorded last holds; of equals the one of greater bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

import msgspec

from salesgauge.metrics.entities.facts import AnyFact, DealFact, Fact, Merge, encode

FORMAT = 2
"""The version of packed states and messages; 1 was a bare list of facts."""


_REBUILD = "another version of salesgauge wrote it: run `salesgauge rebuild`"


class StateFormatError(ValueError):
    """A packed state or message that this version cannot read."""


_Places = list[tuple[int, int, int]]
"""(fact id, business time, earliest recording that bore it), of facts of which there were several versions."""


class PackedBox(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A box as it is stored and sent. ``about`` is the address of whom the facts are about; empty: the holder."""

    about: str
    facts: list[AnyFact]
    places: _Places = []


class _PackedState(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    format: int
    boxes: list[PackedBox]
    named: list[str] = []


chronological = attrgetter("at", "rec", "id")
"""By time; of equals, which exports that know only days have many of, the one recorded last comes last."""


@dataclass(slots=True)
class Box:
    """Facts about one entity, by id.

    ``places`` remembers, of facts about deals that came in several versions, when each business time was first
    recorded: an amount that is corrected later does not move the close in the order of what the source learnt.
    """

    facts: dict[int, Fact] = field(default_factory=dict)
    places: dict[int, dict[int, int]] = field(default_factory=dict)

    def add(self, fact: Fact) -> bool:
        """Unite with one fact; whether it is news."""
        known = self.facts.get(fact.id)
        if known is None:
            self.facts[fact.id] = fact
            return True
        if known == fact:
            return False
        news = False
        if isinstance(fact, DealFact):
            self._note(known.id, known.at, known.recorded)
            news = self._note(fact.id, fact.at, fact.recorded)
        if fact.version > known.version:
            self.facts[fact.id] = fact
            return True
        return news

    def unite(self, other: Box) -> Box:
        """Unite with another box; the news of it."""
        news = Box()
        for fact in other.facts.values():
            if self.add(fact):
                news.facts[fact.id] = self.facts[fact.id]
        for fact_id, places in other.places.items():
            for at, recorded in places.items():
                if self._note(fact_id, at, recorded):
                    news.facts[fact_id] = self.facts[fact_id]
        for fact_id in news.facts.keys() & self.places.keys():
            news.places[fact_id] = self.places[fact_id]
        return news

    def place(self, fact: Fact) -> int:
        """The earliest recording (ms) that bore the business time of a fact."""
        return self.places.get(fact.id, {}).get(fact.at, fact.recorded)

    def sorted(self) -> list[Fact]:
        """The facts in order of time."""
        return sorted(self.facts.values(), key=chronological)

    def _note(self, fact_id: int, at: int, recorded: int) -> bool:
        places = self.places.setdefault(fact_id, {})
        known = places.get(at)
        if known is None or recorded < known:
            places[at] = recorded
            return True
        return False

    def pack(self, about: str) -> PackedBox:
        """The box as it is stored and sent."""
        places = sorted((i, at, recorded) for i, by_time in self.places.items() for at, recorded in by_time.items())
        return PackedBox(about, self.sorted(), places)

    @classmethod
    def unpack(cls, packed: PackedBox) -> Box:
        """The inverse of :meth:`pack`."""
        facts: list[Fact] = packed.facts
        box = cls({fact.id: fact for fact in facts})
        for fact_id, at, recorded in packed.places:
            box.places.setdefault(fact_id, {})[at] = recorded
        return box


@dataclass(slots=True)
class State:
    """What the entity ``address`` remembers.

    ``boxes`` are by the address of whom they are about; ``named`` are all addresses that any version of a fact about a
    deal, or of what a deal passes on, ever named.
    """

    address: str
    boxes: dict[str, Box] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    @property
    def own(self) -> Box:
        """The facts about the entity itself."""
        return self.boxes.get(self.address) or Box()

    def box(self, about: str) -> Box:
        """The box of facts about an entity; a new one if there is none."""
        return self.boxes.setdefault(about, Box())

    def __len__(self) -> int:
        return sum(len(box.facts) for box in self.boxes.values())

    def unite(self, other: State) -> None:
        """Have what both have."""
        for about, box in other.boxes.items():
            self.box(about).unite(box)
        self.named |= other.named

    def pack(self) -> bytes:
        """The state as bytes: a function of its content."""
        boxes = [box.pack("" if about == self.address else about) for about, box in sorted(self.boxes.items())]
        return encode(_PackedState(FORMAT, boxes, sorted(self.named)))

    @classmethod
    def unpack(cls, address: str, packed: bytes) -> State:
        """The inverse of :meth:`pack`.

        Raises:
            StateFormatError: another version of salesgauge wrote it.
        """
        state = _read(_decode, address, packed)
        boxes = {box.about or address: Box.unpack(box) for box in state.boxes}
        return cls(address, boxes, set(state.named))

    def mentioned(self) -> Iterator[str]:
        """The other addresses that what the entity adds or tells depends on."""
        yield from (about for about in self.boxes if about != self.address)
        yield from self.named


def mentioned_in(address: str, packed: bytes) -> Iterator[str]:
    """What :meth:`State.mentioned` gives, read from the packed state without its facts.

    Raises:
        StateFormatError: another version of salesgauge wrote it.
    """
    outline = _read(_decode_outline, address, packed)
    yield from (box.about for box in outline.boxes if box.about)
    yield from outline.named


class _BoxOutline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    about: str


class _StateOutline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The beginning of each box of a packed state; what follows in a box is passed over."""

    format: int
    boxes: list[_BoxOutline]
    named: list[str] = []


_decode = msgspec.msgpack.Decoder(_PackedState).decode
_decode_outline = msgspec.msgpack.Decoder(_StateOutline).decode


_Read = TypeVar("_Read", _PackedState, _StateOutline)


def _read(decode: Callable[[bytes], _Read], address: str, packed: bytes) -> _Read:
    try:
        state = decode(packed)
    except msgspec.MsgspecError as error:
        raise StateFormatError(f"the state of {address} is of another format; {_REBUILD}") from error
    if state.format != FORMAT:
        raise StateFormatError(f"the state of {address} is of format {state.format}, not {FORMAT}; {_REBUILD}")
    return state


class Message(msgspec.Struct, frozen=True, gc=False):
    """Facts on their way to the entity ``to``. ``read`` is how far its sender had read the identity log."""

    to: str
    boxes: tuple[tuple[str, Box], ...]
    read: int = 0
    from_source: bool = False
    """Whether it is an event, not something that another entity tells."""

    @property
    def is_merge(self) -> bool:
        """Whether it is for the identity log: a merge comes alone."""
        return any(isinstance(next(iter(box.facts.values()), None), Merge) for _, box in self.boxes[:1])

    @property
    def facts(self) -> list[Fact]:
        """All facts in it."""
        return [fact for _, box in self.boxes for fact in box.facts.values()]

    def pack(self) -> bytes:
        """The value of a record on the re-key topic."""
        return encode((FORMAT, self.to, [box.pack(about) for about, box in self.boxes], self.read, self.from_source))

    @classmethod
    def unpack(cls, value: bytes) -> Message:
        """The inverse of :meth:`pack`.

        Raises:
            StateFormatError: the value was not written by it.
        """
        try:
            format_, to, boxes, read, from_source = _decode_message(value)
        except msgspec.MsgspecError as error:
            raise StateFormatError(f"not a message between entities: {error}") from error
        if format_ != FORMAT:
            raise StateFormatError(f"a message of format {format_}, not {FORMAT}")
        return cls(to, tuple((box.about, Box.unpack(box)) for box in boxes), read, from_source)


_decode_message = msgspec.msgpack.Decoder(tuple[int, str, list[PackedBox], int, bool]).decode
_decode_read = msgspec.msgpack.Decoder(tuple[int, str, msgspec.Raw, int, bool]).decode


def read_by_sender(value: bytes) -> int:
    """How far the sender of a packed message had read the identity log, without its facts; 0 where it is no message."""
    try:
        return _decode_read(value)[3]
    except msgspec.MsgspecError:
        return 0
