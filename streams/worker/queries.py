"""Questions to a worker about the entities that it holds, which the windows topic cannot answer.

Exporters send them to the address that a partition's owner publishes (:class:`.publication.Status`). A worker answers
for the partitions that it owns, from a still picture of their entities, and leaves out the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from salesgauge.metrics.explain.explainer import Explainer
from salesgauge.metrics.explain.explanation import Partial
from salesgauge.metrics.explain.question import Question, Scope
from salesgauge.metrics.kpis.catalogue import CATALOGUE

if TYPE_CHECKING:
    from salesgauge.metrics.rules.model import Rules
    from salesgauge.metrics.shard.still import Still

T = TypeVar("T")

PATH = "/query"
"""Where a worker's HTTP server takes questions."""
ANSWER_SECONDS = 15.0
"""A worker gives up on a question after so long."""
_LOOK_EVERY = 256
"""Entities between two looks at the clock."""


class Query(msgspec.Struct, frozen=True):
    """A question to the owner of some partitions."""

    partitions: tuple[int, ...]
    question: Question


class Reply(msgspec.Struct, frozen=True):
    """The answers by partition; partitions that the worker does not own are missing."""

    answers: dict[int, Partial]


class TooSlowError(Exception):
    """The answer takes longer than anybody waits for it."""


_encode = msgspec.msgpack.Encoder().encode
_decode_query = msgspec.msgpack.Decoder(Query).decode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode


def pack_query(query: Query) -> bytes:
    """A query as it is sent."""
    return _encode(query)


def unpack_reply(body: bytes) -> Reply:
    """A reply as it was received.

    Raises:
        ValueError: it is none; another version may have sent it.
    """
    try:
        return _decode_reply(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a reply of a worker: {error}") from error


def prepared(body: bytes, stills: Callable[[Iterable[int]], dict[int, Still]], rules: Rules) -> Callable[[], bytes]:
    """Take a still picture of what a packed query asks for; the result computes the reply, in any thread.

    Raises:
        ValueError: the body is no query, or asks for a number that this version does not have.
    """
    try:
        query = _decode_query(body)
        scope = Scope(query.question, rules, CATALOGUE)
    except (msgspec.MsgspecError, KeyError) as error:
        raise ValueError(f"not a query of this version: {error}") from error
    pictures = stills(query.partitions)

    def reply() -> bytes:
        deadline = time.monotonic() + ANSWER_SECONDS
        return _encode(Reply({number: _explain(scope, still, deadline) for number, still in pictures.items()}))

    return reply


def _explain(scope: Scope, still: Still, deadline: float) -> Partial:
    explainer = Explainer(scope, still.who)
    for state in _in_time(still.each(), deadline):
        explainer.take(state)
    return explainer.answer(still.state)


def _in_time(items: Iterable[T], deadline: float) -> Iterator[T]:
    for number, item in enumerate(items):
        if number % _LOOK_EVERY == 0 and time.monotonic() > deadline:
            raise TooSlowError
        yield item
