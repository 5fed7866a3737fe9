"""The dead letters: what could not be processed, and sending it back to where it came from, or giving it up.

A dead letter has the original key and value; its headers say why it is there and where it came from. The same
source record may have several (a crash before its offset was committed, a rebuild): they count once.
What was sent back, or given up, is noted in the same topic, by *markers*: records with the header ``redriven`` or
``closed``. The last one about a source holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from salesgauge.metrics.entities.routes import home_key
from salesgauge.metrics.entities.state import Message
from salesgauge.schemas.events import TOPICS
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.kafka.topics import CARRIED_BYTES
from salesgauge.streams.kafka.whole_topic import read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from salesgauge.streams.settings.model import Settings

OPEN, REDRIVEN, CLOSED = "open", "redriven", "closed"
_BATCH = 500


class LetterSource(NamedTuple):
    """Where the record lay that could not be processed."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its value.

    ``number`` is its offset among the dead letters, ``at`` when it was set aside, ``sent`` when it was first
    sent (ms since the epoch), ``size`` that of the value in bytes.
    """

    number: int
    reason: str
    detail: str
    source: LetterSource
    at: int
    sent: int
    size: int

    @property
    def cut(self) -> bool:
        """Whether only the beginning of the value was kept."""
        return self.size >= CARRIED_BYTES


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: all that fit what is given. ``since`` is an instant in ms."""

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: int = 0

    def __contains__(self, letter: Letter) -> bool:
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.source.topic in self.topics)
            and letter.at >= self.since
        )


@dataclass(slots=True)
class Letters:
    """All dead letters, one per source, oldest first; and the sources that were sent back or given up."""

    by_source: dict[LetterSource, Letter] = field(default_factory=dict)
    marks: dict[LetterSource, str] = field(default_factory=dict)
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.by_source)

    def state(self, letter: Letter) -> str:
        """Whether a letter is :data:`OPEN`, :data:`REDRIVEN` or :data:`CLOSED`."""
        return self.marks.get(letter.source, OPEN)

    def is_open(self, letter: Letter) -> bool:
        """Whether a letter was neither sent back nor given up."""
        return self.state(letter) == OPEN

    def count(self, state: str) -> int:
        """How many letters are in a state."""
        return sum(self.state(letter) == state for letter in self.by_source.values())

    def select(self, selection: Selection, *, only_open: bool = False) -> list[Letter]:
        """Those that fit, all or only the open ones."""
        return [
            letter
            for letter in self.by_source.values()
            if letter in selection and (self.is_open(letter) or not only_open)
        ]

    def find(self, which: str) -> Letter | None:
        """A letter by its number, or by its source as TOPIC:PARTITION:OFFSET."""
        if which.isdigit():
            return next((one for one in self.by_source.values() if one.number == int(which)), None)
        source = _source(which)
        return self.by_source.get(source) if source else None

    def take(self, record: Any) -> None:
        """Take the next record of the topic."""
        headers = _headers(record)
        if mark := next((name for name in (REDRIVEN, CLOSED) if name in headers), None):
            self.marks.update(dict.fromkeys(_marked(record.value), mark))
            return
        letter = _letter(record, headers)
        self.repeated += letter.source in self.by_source
        self.by_source.pop(letter.source, None)  # the newest stands, at its place in time
        self.by_source[letter.source] = letter


@dataclass(frozen=True, slots=True)
class Full:
    """A letter as it lies in the topic."""

    letter: Letter
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]


def read(settings: Settings) -> Letters:
    """All dead letters, without their values.

    Raises:
        BrokerError: the topic is missing, or the broker cannot be reached or refuses.
    """
    letters = Letters()
    for record in read_topic(settings.kafka, settings.dead_letter_topic):
        letters.take(record)
    return letters


def fetch(settings: Settings, wanted: Iterable[Letter]) -> Iterator[Full]:
    """The letters with their keys and values, in the order of the topic.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    numbers = {letter.number: letter for letter in wanted}
    if not numbers:
        return
    for record in read_topic(settings.kafka, settings.dead_letter_topic, start=min(numbers)):
        letter = numbers.pop(record.offset, None)
        if letter is not None:
            yield Full(letter, record.key, record.value, _headers(record))
        if not numbers:
            return


def obstacle(settings: Settings, letter: Letter) -> str | None:
    """Why a letter cannot be sent back, or None where it can."""
    if letter.cut:
        return f"only the first {CARRIED_BYTES // 1024} KiB of the value were kept; send it anew from its source"
    if letter.size == 0:
        return "it has no value"
    if letter.source.topic not in TOPICS and not _is_rekeyed(settings, letter.source.topic):
        return f"{letter.source.topic or 'its source'} is no topic of this application"
    return None


def redrive(settings: Settings, letters: Sequence[Letter], progress: Callable[[int], None] = lambda _: None) -> int:
    """Send letters back to their source topics, each acknowledged, and note that; returns how many.

    Doing it twice does no harm: events are known by their ids. A crash between sending and noting leaves
    letters that look open and may be sent once more.

    Raises:
        BrokerError: the broker cannot be reached, or refuses or does not acknowledge a message.
    """
    sent: list[LetterSource] = []
    total = 0
    with Publisher(settings.kafka) as publisher:
        for full in fetch(settings, letters):
            topic, key = _destination(settings, full)
            publisher.send_raw(topic, key, full.value)
            sent.append(full.letter.source)
            if len(sent) >= _BATCH:
                total += _note(settings, publisher, sent, REDRIVEN)
                progress(total)
        total += _note(settings, publisher, sent, REDRIVEN)
        progress(total)
    return total


def close(settings: Settings, letters: Sequence[Letter]) -> int:
    """Give letters up: they stay in the topic, but are no longer open; returns how many.

    Raises:
        BrokerError: the broker cannot be reached, or refuses or does not acknowledge a message.
    """
    sources = [letter.source for letter in letters]
    if not sources:
        return 0
    with Publisher(settings.kafka) as publisher:
        return sum(
            _note(settings, publisher, sources[first : first + _BATCH], CLOSED)
            for first in range(0, len(sources), _BATCH)
        )


def _note(settings: Settings, publisher: Publisher, sources: list[LetterSource], mark: str) -> int:
    """Once all before it is acknowledged, mark the sources, and forget them."""
    publisher.flush()
    if sources:
        publisher.send_raw(settings.dead_letter_topic, None, _marker(sources), [(mark, b"1")])
        publisher.flush()
    count = len(sources)
    sources.clear()
    return count


def _destination(settings: Settings, full: Full) -> tuple[str, str | bytes | None]:
    """Topic and key; facts on the way to another partition go to the re-key topic of the present version."""
    topic = full.letter.source.topic
    if not _is_rekeyed(settings, topic):
        return topic, full.key
    try:
        return settings.rekey_topic, home_key(Message.unpack(full.value or b"").to)
    except ValueError:
        return settings.rekey_topic, full.key  # it will come back with its reason


def _is_rekeyed(settings: Settings, topic: str) -> bool:
    return re.fullmatch(re.escape(f"{settings.app_id}.rekeyed.v") + r"\d+", topic) is not None


# --- records


def _letter(record: Any, headers: Mapping[str, str]) -> Letter:
    source = LetterSource(headers.get("topic", ""), _number(headers, "partition"), _number(headers, "offset"))
    if source.offset < 0:  # made by an entity, not read from a topic: nothing tells two of them apart
        source = source._replace(offset=-1 - record.offset)
    return Letter(
        number=record.offset,
        reason=headers.get("reason", "unknown"),
        detail=headers.get("detail", ""),
        source=source,
        at=record.timestamp,
        sent=_number(headers, "timestamp"),
        size=len(record.value or b""),
    )


def _headers(record: Any) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in record.headers or ()}


def _number(headers: Mapping[str, str], name: str) -> int:
    try:
        return int(headers[name])
    except (KeyError, ValueError):
        return -1


def _source(text: str) -> LetterSource | None:
    topic, _, rest = text.partition(":")
    partition, _, offset = rest.partition(":")
    try:
        return LetterSource(topic, int(partition), int(offset))
    except ValueError:
        return None


def _marker(sources: Iterable[LetterSource]) -> bytes:
    return msgspec.json.encode([tuple(source) for source in sources])


def _marked(value: bytes | None) -> list[LetterSource]:
    try:
        return [LetterSource(*item) for item in msgspec.json.decode(value or b"[]", type=list[tuple[str, int, int]])]
    except msgspec.MsgspecError:
        return []
