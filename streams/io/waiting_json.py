"""The list of waiting leads as a document: what ``/api/leads/waiting`` answers."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from salesgauge.streams.io.explanation_json import decimal, link, plain, subject
from salesgauge.streams.io.instants import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.explain.waiting import WaitingLead, WaitingPartial, WaitingQuestion

_COLUMNS = (
    "lead", "rep", "team", "source", "policy", "state", "made_at", "waited_seconds", "left_seconds", "due_at", "link",
)  # fmt: skip


def waiting_document(question: WaitingQuestion, found: WaitingPartial, links: Mapping[str, str]) -> dict[str, Any]:
    """The list as a document of JSON; lengths are in seconds on the clock of each lead's SLA."""
    return {
        "at": iso(question.at),
        "labels": question.labels,
        "count": found.count,
        "leads": [_row(lead, links) for lead in found.leads],
    }


def waiting_table(found: WaitingPartial, links: Mapping[str, str]) -> str:
    """The list as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    for lead in found.leads:
        row = _row(lead, links)
        texts = {name: plain(row[name]) for name in ("lead", "rep", "team", "source")}
        writer.writerow(row | texts)
    return text.getvalue()


def _row(lead: WaitingLead, links: Mapping[str, str]) -> dict[str, Any]:
    kind, key, _ = subject(lead.address)
    return {
        "lead": key,
        "rep": lead.rep,
        "team": lead.team,
        "source": lead.source,
        "policy": lead.policy,
        "state": lead.state,
        "made_at": iso(lead.made),
        "waited_seconds": decimal(lead.waited, 3),
        "left_seconds": decimal(lead.left, 3),
        "due_at": None if lead.deadline is None else iso(lead.deadline),
        "link": link(links, kind, key),
    }
