"""Events of files to their topics: validated, keyed, acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from salesgauge.schemas.codec import Rejection, decode_batch
from salesgauge.schemas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.streams.io.records import RawRecord, RecordStream
    from salesgauge.streams.io.rejects import Rejects
    from salesgauge.streams.kafka.publisher import Publisher

_BATCH = 1000


@dataclass(slots=True)
class Published:
    """How many records were read, and how many events of them were sent."""

    read: int = 0
    sent: int = 0


def publish(source: RecordStream, publisher: Publisher, rejects: Rejects, *, strict: bool = False) -> Published:
    """Send all events of a source; returns when they are acknowledged.

    Args:
        source: the records.
        publisher: sends events.
        rejects: counts, and may list, what is no valid event.
        strict: end with the first record that is no valid event.

    Raises:
        InputError: the source cannot be read to its end, or has what is no event where ``strict``. The events before
            that are acknowledged; the message says how many.
        BrokerError: Kafka cannot be reached, or refuses or does not acknowledge a message.
    """
    done = Published()
    records = source.records()
    try:
        while batch := list(islice(records, _BATCH)):
            _send(batch, publisher, rejects, done, strict=strict)
    except InputError as error:
        publisher.flush()
        raise type(error)(f"{error}; {done.sent:,} events before that are published") from error
    publisher.flush()
    return done


def _send(batch: Sequence[RawRecord], publisher: Publisher, rejects: Rejects, done: Published, *, strict: bool) -> None:
    decoded = decode_batch([record.payload for record in batch])
    for record, result in zip(batch, decoded, strict=True):
        done.read += 1
        if not isinstance(result, Rejection):
            publisher.send(result)
            done.sent += 1
            continue
        rejects.add(record, result)
        if strict:
            raise InputError(f"{record.origin}:{record.position}: {result.reason.value}: {result.detail}")
