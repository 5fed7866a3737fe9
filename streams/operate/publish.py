"""Events of files to their topics: validated, keyed, acknowledged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from salesgauge.schemas.codec import Rejection, count_unknown, decode_batch, told_unknown
from salesgauge.schemas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.streams.io.records import RawRecord, RecordSource
    from salesgauge.streams.io.rejects import Rejects
    from salesgauge.streams.kafka.publisher import Publisher

_BATCH = 1000


@dataclass(slots=True)
class Published:
    """How many records were read, how many events of them were sent, and the fields that their kind does not have."""

    read: int = 0
    sent: int = 0
    unknown_fields: Counter[str] = field(default_factory=Counter)


def publish(source: RecordSource, publisher: Publisher, rejects: Rejects, *, strict: bool = False) -> Published:
    """Send all events of a source; returns when they are acknowledged.

    Args:
        source: the records.
        publisher: sends events.
        rejects: counts, and may list, what is no valid event.
        strict: end with the first record that is no valid event; send nothing of files that have unknown fields.

    Raises:
        InputError: the source cannot be read to its end, or has what is no event, or unknown fields, where ``strict``.
            The events before that are acknowledged; the message says how many.
        BrokerError: Kafka cannot be reached, or refuses or does not acknowledge a message.
    """
    if strict and source.rereadable:
        _refuse_unknown(_unknown_fields(source))
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


def _unknown_fields(source: RecordSource) -> Counter[str]:
    """All unknown fields of the source's events, with how many have each."""
    found: Counter[str] = Counter()
    records = source.records()
    while batch := list(islice(records, _BATCH)):
        for record, result in zip(batch, decode_batch([record.payload for record in batch]), strict=True):
            if not isinstance(result, Rejection):
                count_unknown(found, record.payload, result)
    return found


def _refuse_unknown(fields: Counter[str]) -> None:
    if fields:
        raise InputError(f"{told_unknown(fields)} (--strict)")


def _send(batch: Sequence[RawRecord], publisher: Publisher, rejects: Rejects, done: Published, *, strict: bool) -> None:
    decoded = decode_batch([record.payload for record in batch])
    for record, result in zip(batch, decoded, strict=True):
        done.read += 1
        if not isinstance(result, Rejection):
            count_unknown(done.unknown_fields, record.payload, result)
            if strict:
                _refuse_unknown(done.unknown_fields)
            publisher.send(result)
            done.sent += 1
            continue
        rejects.add(record, result)
        if strict:
            raise InputError(f"{record.origin}:{record.position}: {result.reason.value}: {result.detail}")
