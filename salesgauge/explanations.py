"""``salesgauge.explain``: which records make a number. Thin, as :mod:`salesgauge.library` is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from salesgauge.library import Name, names_of, optional_instant
from salesgauge.metrics.explain import explanation as inner
from salesgauge.metrics.rules.model import Rules
from salesgauge.streams.io.event_files import EventFiles
from salesgauge.streams.io.explanation_json import amount, subject
from salesgauge.streams.io.instants import moment
from salesgauge.streams.io.rejects import Reject, Rejects
from salesgauge.streams.replay.explaining import DEFAULT_LIMIT, Wanted, explain_records, find

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class EventRef:
    """An event behind what a record adds.

    Attributes:
        event: its kind, such as ``deal_won``.
        event_id: its id; None where the events could not be read a second time (a pipe).
        at: when it happened, in UTC.
        about: whom it is about: ``deal/4711``.
    """

    event: str
    event_id: str | None
    at: datetime
    about: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody who waits: since when, and how long on the clock that counts."""

    since: datetime
    waited: timedelta


@dataclass(frozen=True, slots=True)
class ExplainedRecord:
    """A record and what it adds to a number.

    Attributes:
        kind: lead, deal, account, rep, or ledger (facts of an account, campaign or product on one day).
        key: its id.
        page: of a ledger its day, or the ticket; else empty.
        adds: part of the formula -> amount in base units (seconds, major units of the currency); without zeros.
        samples: measure -> its samples in the window, where the number is made of a distribution.
        waits: measure -> its waits, where the number is about those who wait.
        events: those without which it would add something else, by time.
    """

    kind: str
    key: str
    page: str
    adds: Mapping[str, Decimal]
    samples: Mapping[str, tuple[timedelta, ...]]
    waits: Mapping[str, tuple[Wait, ...]]
    events: tuple[EventRef, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A number, and the records that make it.

    Attributes:
        kpi: its id.
        stat: which of its numbers.
        window: the window.
        labels: dimension -> value; empty for the whole.
        at: the instant, in UTC.
        value: the number; None where it has none.
        numerator: of a quotient.
        denominator: of a quotient.
        parts: part of the formula -> what all records add to it together, exactly.
        records: those listed, the heaviest first.
        count: how many records add something.
    """

    kpi: str
    stat: str
    window: str
    labels: Mapping[str, str]
    at: datetime
    value: float | None
    numerator: float | None
    denominator: float | None
    parts: Mapping[str, Decimal]
    records: tuple[ExplainedRecord, ...]
    count: int

    def rows(self) -> list[dict[str, Any]]:
        """As rows of a table: kind, key, page, and a column for each part."""
        return [
            {
                "kind": r.kind,
                "key": r.key,
                "page": r.page,
                **{part: r.adds.get(part, Decimal(0)) for part in self.parts},
            }
            for r in self.records
        ]


def explain(
    events: Name | Iterable[Name],
    kpi: str,
    window: str | None = None,
    *,
    stat: str | None = None,
    part: str | None = None,
    labels: Mapping[str, str] | None = None,
    at: datetime | None = None,
    corrected: bool = True,
    limit: int | None = DEFAULT_LIMIT,
    with_events: bool = True,
    rules: Rules | None = None,
    allow_truncated: bool = False,
    on_reject: Callable[[Reject], None] | None = None,
) -> Explanation:
    """Which records make a number: what each adds to each part of the formula, and the events behind that.

    What the records add sums up to the number exactly.

    Args:
        events: files, or patterns, as :func:`salesgauge.replay` takes them.
        kpi: its id.
        window: such as ``24h`` or ``mtd``; may be left out where the KPI has one window.
        stat: which of its numbers, such as ``p90``; by default the main one.
        part: ``numerator`` or ``denominator``: list only what adds to this part of a ratio.
        labels: dimension -> value, such as ``{"rep": "rep-12"}``; by default the whole.
        at: the instant; by default when the latest event happened.
        corrected: whether with what is known today of that instant, or with what was known then.
        limit: list so many records at most; None is all.
        with_events: whether to look for the events behind each record. It takes more time than all else.
        rules: of the business.
        allow_truncated: take a file that is cut for what it still has.
        on_reject: is called with each record that is rejected.

    Raises:
        InputError: there is no such number, or no valid event; a file is missing, cut or damaged; ``at`` has no zone.
    """
    wanted = Wanted(
        kpi=kpi, window=window, stat=stat, labels=labels or {}, side=part, limit=limit, facts=with_events
    )  # fmt: skip
    find(wanted)
    instant = optional_instant(at)
    source = EventFiles(names_of(events), allow_truncated)
    with closing(source):
        found = explain_records(
            source, wanted, at=instant, corrected=corrected, rules=rules, rejects=Rejects(on_reject=on_reject),
            again=source.rereadable,
        )  # fmt: skip
    return _public(found)


def _public(found: inner.Explanation) -> Explanation:
    question = found.question
    return Explanation(
        kpi=question.kpi,
        stat=question.stat,
        window=question.window,
        labels=question.labels,
        at=moment(question.at),
        value=found.value,
        numerator=found.numerator,
        denominator=found.denominator,
        parts={name: amount(part, found.totals[name]) for name, part in found.parts.items()},
        records=tuple(_record(entity, found) for entity in found.entities),
        count=found.count,
    )


def _record(entity: inner.EntityShare, found: inner.Explanation) -> ExplainedRecord:
    kind, key, page = subject(entity.address)
    return ExplainedRecord(
        kind,
        key,
        page,
        {name: amount(found.parts[name], whole) for name, whole in entity.amounts.items()},
        {name: tuple(ms * _MS for ms in samples) for name, samples in entity.samples.items()},
        {
            name: tuple(Wait(moment(wait.since), wait.waited * _MS) for wait in waits)
            for name, waits in entity.waits.items()
        },
        tuple(_event(fact) for fact in entity.facts),
    )


def _event(fact: inner.FactRef) -> EventRef:
    kind, key, _ = subject(fact.about)
    return EventRef(fact.event, fact.event_id, moment(fact.at), f"{kind}/{key}")
