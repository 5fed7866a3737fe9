"""Questions to a worker about the entities that it holds, which the windows topic cannot answer.

Exporters send them to the address that a partition's owner publishes (:class:`.publication.WorkerStatus`). A worker
answers for the partitions that it owns, from a still picture of their entities, and leaves out the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from salesgauge.metrics.explain.explainer import Explainer
from salesgauge.metrics.explain.explanation import Partial
from salesgauge.metrics.explain.question import Question, Scope
from salesgauge.metrics.explain.waiting import WaitingList, WaitingPartial, WaitingQuestion
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
    question: Question | WaitingQuestion


class Reply(msgspec.Struct, frozen=True):
    """The answers by partition; partitions that the worker does not own are missing."""

    answers: dict[int, Partial | WaitingPartial]


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
        asked = query.question
        compute = _explaining(asked, rules) if isinstance(asked, Question) else _listing(asked, rules)
    except (msgspec.MsgspecError, KeyError) as error:
        raise ValueError(f"not a query of this version: {error}") from error
    pictures = stills(query.partitions)

    def reply() -> bytes:
        deadline = time.monotonic() + ANSWER_SECONDS
        return _encode(Reply({number: compute(still, deadline) for number, still in pictures.items()}))

    return reply


_Compute = Callable[["Still", float], Partial | WaitingPartial]
"""Takes the entities of a partition, and until when there is time."""


def _explaining(question: Question, rules: Rules) -> _Compute:
    """How an explanation is computed.

    Raises:
        KeyError: there is no such number.
    """
    scope = Scope(question, rules, CATALOGUE)

    def explain(still: Still, deadline: float) -> Partial:
        explainer = Explainer(scope, still.who)
        for state in _in_time(still.each(), deadline):
            explainer.take(state)
        return explainer.answer(still.state)

    return explain


def _listing(question: WaitingQuestion, rules: Rules) -> _Compute:
    """How the list of waiting leads is computed."""

    def listed(still: Still, deadline: float) -> WaitingPartial:
        leads = WaitingList(question, rules, still.who)
        for state in _in_time(still.each(), deadline):
            leads.take(state)
        return leads.answer()

    return listed


def _in_time(items: Iterable[T], deadline: float) -> Iterator[T]:
    for number, item in enumerate(items):
        if number % _LOOK_EVERY == 0 and time.monotonic() > deadline:
            raise TooSlowError
        yield item
