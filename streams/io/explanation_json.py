"""Explanations as documents: what ``salesgauge explain`` prints and ``/api/explain`` answers."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec

from salesgauge.metrics.entities.facts import LEDGER, LEDGER_SEPARATOR
from salesgauge.streams.io.instants import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.explain.explanation import EntityShare, Explanation, FactRef
    from salesgauge.metrics.explain.question import Part

_encode = msgspec.json.Encoder(decimal_format="number").encode
ID = "{id}"
"""Where the key of a record goes in a link."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins so for a formula."""


class Subject(NamedTuple):
    """Who an address is: kind, key, and of a page of a ledger which one (a day, or a ticket), else empty."""

    kind: str
    key: str
    page: str = ""


def subject(address: str) -> Subject:
    """Who an address is."""
    kind, _, key = address.partition("/")
    if kind != LEDGER:
        return Subject(kind, key)
    key, _, page = key.partition(LEDGER_SEPARATOR)
    return Subject(kind, key, page[1:] if page.startswith("#") else date.fromordinal(int(page)).isoformat())


def link(links: Mapping[str, str], kind: str, key: str) -> str | None:
    """Where a record is in the CRM; None where no template says."""
    template = links.get(kind)
    return None if template is None else template.replace(ID, quote(key, safe=""))


def amount(part: Part, whole: int) -> Decimal:
    """An amount of a part in base units, exactly."""
    return decimal(whole, part.digits)


def explanation_document(explanation: Explanation, links: Mapping[str, str]) -> dict[str, Any]:
    """The explanation as a document of JSON; amounts are decimals that add up exactly, lengths are in seconds.

    ``count`` is of all entities that add something, ``entities`` are those listed.
    """
    question = explanation.question
    found: dict[str, Any] = {
        "kpi": question.kpi,
        "stat": question.stat,
        "window": question.window,
        "labels": question.labels,
        "at": iso(question.at),
        "value": explanation.value,
    }
    if explanation.numerator is not None:
        found |= {"numerator": explanation.numerator, "denominator": explanation.denominator}
    if explanation.not_connected:
        found["not_connected"] = list(explanation.not_connected)
    return found | {
        "parts": [_part(part, explanation.totals[name]) for name, part in explanation.parts.items()],
        "count": explanation.count,
        "entities": [_entity(one, explanation.parts, links) for one in explanation.entities],
    }


def explanation_table(explanation: Explanation, links: Mapping[str, str]) -> str:
    """The explanation as CSV: a row for each entity, with a column for each part."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = list(explanation.parts)
    writer.writerow(("kind", "key", "page", *names, "longest_seconds", "events", "link"))
    for entity in explanation.entities:
        kind, key, page = subject(entity.address)
        amounts = [amount(explanation.parts[name], entity.amounts.get(name, 0)) for name in names]
        longest = _seconds(entity.weight[0]) if entity.samples or entity.waits else ""
        events = " ".join(f"{fact.event}@{iso(fact.at)}" for fact in entity.facts)
        writer.writerow((kind, plain(key), page, *amounts, longest, events, link(links, kind, key) or ""))
    return text.getvalue()


def encode(document: dict[str, Any]) -> bytes:
    """Compact JSON."""
    return _encode(document)


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _part(part: Part, total: int) -> dict[str, Any]:
    sides = {"sides": [side.value for side in part.sides]} if part.sides else {}
    return {"name": part.name, **sides, "total": amount(part, total)}


def _entity(entity: EntityShare, parts: Mapping[str, Part], links: Mapping[str, str]) -> dict[str, Any]:
    kind, key, page = subject(entity.address)
    found: dict[str, Any] = {"kind": kind, "key": key}
    if page:
        found["page"] = page
    if (where := link(links, kind, key)) is not None:
        found["link"] = where
    found["adds"] = {name: amount(parts[name], whole) for name, whole in entity.amounts.items()}
    if entity.samples:
        found["samples"] = {name: [_seconds(ms) for ms in samples] for name, samples in entity.samples.items()}
    if entity.waits:
        found["waits"] = {
            name: [{"since": iso(wait.since), "seconds": _seconds(wait.waited)} for wait in waits]
            for name, waits in entity.waits.items()
        }
    found["facts"] = [_fact(fact) for fact in entity.facts]
    if entity.further_facts:
        found["further_facts"] = entity.further_facts
    return found


def _fact(fact: FactRef) -> dict[str, Any]:
    kind, key, _ = subject(fact.about)
    return {
        "event": fact.event,
        "at": iso(fact.at),
        "about": f"{kind}/{key}",
        "event_id": fact.event_id,
        "event_hash": f"{fact.id:016x}",
    }


def _seconds(ms: int) -> Decimal:
    return decimal(ms, 3)


def decimal(whole: int, digits: int) -> Decimal:
    """A number with so many digits after the point, without zeros at its end."""
    number = Decimal(whole).scaleb(-digits)
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()
