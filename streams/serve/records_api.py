"""``/api/explain``: the records that make a number, from all workers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from salesgauge.metrics.explain.explanation import Explanation, united
from salesgauge.metrics.explain.question import Scope
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.schemas.errors import InputError
from salesgauge.streams.io.explanation_json import encode, explanation_document, explanation_table
from salesgauge.streams.replay.explaining import DEFAULT_LIMIT, Wanted, find, question
from salesgauge.streams.serve.board import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.explain.question import Question
    from salesgauge.streams.serve.exporter import Exporter
    from salesgauge.streams.serve.owners import Answered, Owners
    from salesgauge.streams.settings.model import Settings

MOST_LISTED = 1_000
"""Records in an answer, at most."""
MOST_AT_ONCE = 4
"""Questions that are being asked of the workers at a time."""
PARAMETERS = ("kpi", "window", "stat", "part", "rep", "team", "source", "label", "limit", "facts", "format")


class RecordsApi:
    """Answers with single records."""

    def __init__(self, exporter: Exporter, owners: Owners) -> None:
        self._exporter = exporter
        self._owners = owners
        self._asking = 0

    async def explain(self, query: Mapping[str, str]) -> Answer:
        """The answer to a query with the parameters `PARAMETERS`."""
        try:
            wanted = _wanted(query)
            find(wanted)
        except InputError as error:
            return _refused(404 if "no KPI" in str(error) else 400, str(error))
        if self._asking >= MOST_AT_ONCE:
            return _refused(503, "too many different questions at once; ask again")
        self._asking += 1
        try:
            asked = await asyncio.to_thread(self._question, wanted)
            board = self._exporter.board
            partitions = board.settings.kafka.partitions
            answered = await self._owners.ask(asked, partitions, lambda: board.subscriber.owners)
            return await asyncio.to_thread(partial(_answer, asked, answered, board.settings, query.get("format")))
        finally:
            self._asking -= 1

    def _question(self, wanted: Wanted) -> Question:
        with self._exporter.board.now() as view:
            return question(wanted, find(wanted), view)


def _answer(asked: Question, answered: Answered, settings: Settings, form: str | None) -> Answer:
    explanation: Explanation = united(Scope(asked, settings.rules, CATALOGUE), answered.partials.values())
    if answered.missing:  # a number of a part of the records is no reading
        explanation = msgspec.structs.replace(explanation, value=None, numerator=None, denominator=None)
    if form == "csv":
        if answered.missing:
            return _refused(503, f"{len(answered.missing)} partitions are missing: {answered.missing[0].reason}")
        body = explanation_table(explanation, settings.links).encode()
        return Answer(200, body, "text/csv", f"salesgauge-{asked.kpi}-records.csv")
    document = explanation_document(explanation, settings.links)
    document["missing"] = [{"partition": one.partition, "reason": one.reason} for one in answered.missing]
    return Answer(200, encode(document))


def _wanted(query: Mapping[str, str]) -> Wanted:
    """What a query asks for.

    Raises:
        InputError: a parameter is unknown or wrong.
    """
    unknown = [name for name in query if name not in PARAMETERS]
    if unknown:
        raise InputError(f"there is no parameter {unknown[0]!r}; there are {', '.join(PARAMETERS)}")
    if not query.get("kpi"):
        raise InputError("say which KPI: kpi=leads_waiting")
    if query.get("format", "json") not in {"json", "csv"}:
        raise InputError(f"format is {query['format']!r}; write json or csv")
    if query.get("facts", "1") not in {"0", "1"}:
        raise InputError(f"facts is {query['facts']!r}; write 0 or 1")
    return Wanted(
        kpi=query["kpi"],
        window=query.get("window") or None,
        stat=query.get("stat") or None,
        labels=_labels(query),
        side=query.get("part") or None,
        limit=_limit(query.get("limit")),
        facts=query.get("facts", "1") == "1",
    )


def _labels(query: Mapping[str, str]) -> dict[str, str]:
    labels = {}
    for pair in query.get("label", "").split(",") if query.get("label") else ():
        name, separator, value = pair.partition("=")
        if not separator:
            raise InputError(f"label is {pair!r}; write it as NAME=VALUE, such as product=basic")
        labels[name] = value
    return labels | {dim: query[dim] for dim in ("rep", "team", "source") if query.get(dim)}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= MOST_LISTED:
        raise InputError(f"limit is {text!r}; write a number from 1 to {MOST_LISTED}")
    return int(text)


def _refused(status: int, error: str) -> Answer:
    document: dict[str, Any] = {"error": error}
    return Answer(status, encode(document))
