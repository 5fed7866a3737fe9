"""``/api/explain`` and ``/api/leads/waiting``: single records, from all workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from salesgauge.metrics.explain.explanation import Explanation, Partial, united
from salesgauge.metrics.explain.question import Question, Scope
from salesgauge.metrics.explain.waiting import WaitingPartial, WaitingQuestion, together
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.schemas.errors import InputError
from salesgauge.streams.io.explanation_json import encode, explanation_document, explanation_table
from salesgauge.streams.io.waiting_json import waiting_document, waiting_table
from salesgauge.streams.replay.explaining import DEFAULT_LIMIT, Wanted, find, question
from salesgauge.streams.serve.board import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from salesgauge.metrics.kpis.readings import View
    from salesgauge.streams.serve.exporter import Exporter
    from salesgauge.streams.serve.owners import Answered, Owners
    from salesgauge.streams.settings.model import Settings

Asked = TypeVar("Asked", Question, WaitingQuestion)

MOST_LISTED = 1_000
"""Records in an answer, at most."""
MOST_AT_ONCE = 4
"""Questions that are being asked of the workers at a time."""
PARAMETERS = ("kpi", "window", "stat", "part", "rep", "team", "source", "label", "limit", "facts", "format")
WAITING_PARAMETERS = ("rep", "team", "source", "limit", "format")


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
            number = find(wanted)
        except InputError as error:
            return _refused(404 if "no KPI" in str(error) else 400, str(error))
        return await self._asked(lambda view: question(wanted, number, view), _explained, query)

    async def waiting(self, query: Mapping[str, str]) -> Answer:
        """The answer to a query with the parameters `WAITING_PARAMETERS`."""
        try:
            _check(query, WAITING_PARAMETERS)
            labels, limit = _scope(query), _limit(query.get("limit"))
        except InputError as error:
            return _refused(400, str(error))

        def ask(view: View) -> WaitingQuestion:
            return WaitingQuestion(at=view.sums.now, labels=labels, teams=dict(view.sums.index.teams), limit=limit)

        return await self._asked(ask, _listed, query)

    async def _asked(
        self,
        ask: Callable[[View], Asked],
        answer: Callable[[Asked, Answered, Settings, bool], Answer],
        query: Mapping[str, str],
    ) -> Answer:
        """Ask all owners what is asked at the present instant."""
        if self._asking >= MOST_AT_ONCE:
            return _refused(503, "too many different questions at once; ask again")
        self._asking += 1
        try:
            asked = await asyncio.to_thread(self._question, ask)
            board = self._exporter.board
            partitions = board.settings.kafka.partitions
            answered = await self._owners.ask(asked, partitions, lambda: board.subscriber.owners)
            as_csv = query.get("format") == "csv"
            if as_csv and answered.missing:
                return _refused(503, f"{len(answered.missing)} partitions are missing: {answered.missing[0].reason}")
            return await asyncio.to_thread(answer, asked, answered, board.settings, as_csv)
        finally:
            self._asking -= 1

    def _question(self, ask: Callable[[View], Asked]) -> Asked:
        with self._exporter.board.now() as view:
            return ask(view)


def _explained(asked: Question, answered: Answered, settings: Settings, as_csv: bool) -> Answer:  # noqa: FBT001
    explanation: Explanation = united(Scope(asked, settings.rules, CATALOGUE), answered.of(Partial))
    if as_csv:
        return _table(explanation_table(explanation, settings.links), f"{asked.kpi}-records")
    if answered.missing:  # a number of a part of the records is no reading
        explanation = msgspec.structs.replace(explanation, value=None, numerator=None, denominator=None)
    return _document(explanation_document(explanation, settings.links), answered)


def _listed(asked: WaitingQuestion, answered: Answered, settings: Settings, as_csv: bool) -> Answer:  # noqa: FBT001
    found = together(asked, answered.of(WaitingPartial))
    if as_csv:
        return _table(waiting_table(found, settings.links), "waiting")
    return _document(waiting_document(asked, found, settings.links), answered)


def _document(document: dict[str, Any], answered: Answered) -> Answer:
    missing = [{"partition": one.partition, "reason": one.reason} for one in answered.missing]
    return Answer(200, encode(document | {"missing": missing}))


def _table(text: str, name: str) -> Answer:
    return Answer(200, text.encode(), "text/csv", f"salesgauge-{name}.csv")


def _check(query: Mapping[str, str], known: Sequence[str]) -> None:
    unknown = [name for name in query if name not in known]
    if unknown:
        raise InputError(f"there is no parameter {unknown[0]!r}; there are {', '.join(known)}")
    if query.get("format", "json") not in {"json", "csv"}:
        raise InputError(f"format is {query['format']!r}; write json or csv")


def _wanted(query: Mapping[str, str]) -> Wanted:
    """What a query asks for.

    Raises:
        InputError: a parameter is unknown or wrong.
    """
    _check(query, PARAMETERS)
    if not query.get("kpi"):
        raise InputError("say which KPI: kpi=leads_waiting")
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
    return labels | _scope(query)


def _scope(query: Mapping[str, str]) -> dict[str, str]:
    return {dim: query[dim] for dim in ("rep", "team", "source") if query.get(dim)}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= MOST_LISTED:
        raise InputError(f"limit is {text!r}; write a number from 1 to {MOST_LISTED}")
    return int(text)


def _refused(status: int, error: str) -> Answer:
    document: dict[str, Any] = {"error": error}
    return Answer(status, encode(document))
