"""Which records make a number: an explanation from records of a source, and the question as people ask it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from salesgauge.metrics.entities.facts import fact_id
from salesgauge.metrics.explain.question import Side, ask
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.formula import Ratio
from salesgauge.metrics.kpis.kpi import Kpi, Stat, never_came
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.errors import InputError
from salesgauge.streams.io.rejects import Rejects
from salesgauge.streams.replay.run import ReplayProgress, ReplayRequest, ReplayRun
from salesgauge.streams.replay.selection import KpiChoice, check_known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from salesgauge.metrics.explain.explanation import EntityShare, Explanation
    from salesgauge.metrics.explain.question import Question
    from salesgauge.metrics.kpis.readings import View
    from salesgauge.streams.io.records import RawRecord, RecordSource

DEFAULT_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A number as people name it, and how much is to be said of it.

    Attributes:
        kpi: its id.
        window: None where the KPI has one window.
        stat: one of its numbers; None is the main one.
        labels: dimension -> value.
        side: ``numerator`` or ``denominator``; None is both.
        limit: list so many entities at most; None is all.
        facts: whether the facts behind the entities are looked for.
    """

    kpi: str
    window: str | None = None
    stat: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    side: str | None = None
    limit: int | None = DEFAULT_LIMIT
    facts: bool = True


class WantedNumber(NamedTuple):
    """The number that is wanted, found in the catalogue."""

    kpi: Kpi
    stat: Stat
    window: str
    labels: dict[str, str]
    side: Side | None


def find(wanted: Wanted) -> WantedNumber:
    """The number in the catalogue.

    Raises:
        InputError: there is none; the message says which there are.
    """
    check_known("KPI", [wanted.kpi], CATALOGUE.by_id)
    kpi = CATALOGUE.by_id[wanted.kpi]
    stats = {stat.name: stat for stat in kpi.stats}
    name = wanted.stat or kpi.headline.name
    check_known(f"number of {kpi.id} called", [name], stats)
    stat = stats[name]
    if wanted.side is not None:
        check_known("part", [wanted.side], list(Side))
        if not isinstance(stat.formula, Ratio):
            raise InputError(f"{kpi.id} {name} is no quotient: it has no {wanted.side}")
    if wanted.limit is not None and wanted.limit < 1:
        raise InputError(f"a limit of {wanted.limit} is too small; it must be at least 1")
    side = None if wanted.side is None else Side(wanted.side)
    return WantedNumber(kpi, stat, _window(kpi, wanted.window), _labels(kpi, wanted.labels), side)


def question(wanted: Wanted, number: WantedNumber, view: View) -> Question:
    """The question, at the instant that a view shows.

    Raises:
        InputError: the KPI has no total, or cannot be narrowed to such labels.
    """
    kpi = view.catalogue.by_id[number.kpi.id]
    return ask(
        view, kpi, number.stat, number.window, number.labels, side=number.side, limit=wanted.limit, facts=wanted.facts
    )


def _window(kpi: Kpi, name: str | None) -> str:
    if name is None:
        if len(kpi.windows) > 1:
            raise InputError(f"say which window of {kpi.id}: {', '.join(kpi.windows)}")
        return kpi.windows[0]
    check_known(f"window of {kpi.id} called", [name], kpi.windows)
    return name


def _labels(kpi: Kpi, given: Mapping[str, str]) -> dict[str, str]:
    """The labels in the order of the KPI's breakdown."""
    dims = next((b for b in kpi.breakdowns if set(b) == set(given)), tuple(given))
    catalogue = CATALOGUE.scoped()
    if catalogue.narrows(kpi, dims) if dims else kpi.whole:
        return {dim: given[dim] for dim in dims}
    known = [" and ".join(b) for b in kpi.breakdowns]
    known += [dim for dim in catalogue.scopes if dim not in known and catalogue.narrows(kpi, (dim,))]
    how = f"name one of: {', '.join(known)}" if known else "ask for the whole"
    what = f"is not kept by {' and '.join(dims)}" if dims else "has no total"
    raise InputError(f"{kpi.id} {what}; {how}")


def explain_records(
    source: RecordSource,
    wanted: Wanted,
    *,
    at: int | None = None,
    corrected: bool | None = None,
    rules: Rules | None = None,
    rejects: Rejects | None = None,
    progress: ReplayProgress | None = None,
    again: bool = False,
) -> Explanation:
    """Explain a number from records.

    Args:
        source: of the records.
        wanted: the number.
        at: the instant (ms); None is when the latest event happened.
        corrected: as in a replay.
        rules: of the business.
        rejects: takes what is no valid event.
        progress: shows how far it is.
        again: whether the source may be read once more, to find the ids of the events behind the number.

    Raises:
        InputError: there is no such number, it is not connected, or there is no valid event; the source is wrong.
    """
    number = find(wanted)
    request = ReplayRequest(
        at=at, corrected=corrected, choice=KpiChoice((number.kpi.id,), (number.window,)), rules=rules or Rules()
    )
    run = ReplayRun(source, request, rejects, progress)
    [evaluation] = run.evaluations()
    if not run.engine.valid:
        raise InputError("there is no valid event in the input")
    found = run.engine.machine.explain(question(wanted, number, evaluation.view))
    if found.not_connected:
        why = never_came(found.not_connected)
        raise InputError(f"{number.kpi.id} has no value: it is not connected, as there was {why}")
    return with_event_ids(found, source.records()) if again and wanted.facts else found


class _Named(msgspec.Struct):
    event_id: str


_named = msgspec.json.Decoder(_Named).decode


def with_event_ids(explanation: Explanation, records: Iterable[RawRecord]) -> Explanation:
    """The explanation with the ids of the events behind it, of which entities keep only a hash."""
    wanted = {fact.id for entity in explanation.entities for fact in entity.facts}
    known: dict[int, str] = {}
    if wanted:
        for record in records:
            try:
                event_id = _named(record.payload or b"").event_id
            except msgspec.MsgspecError:
                continue
            if (number := fact_id(event_id)) in wanted:
                known[number] = event_id
    return msgspec.structs.replace(explanation, entities=[_with_ids(one, known) for one in explanation.entities])


def _with_ids(entity: EntityShare, known: Mapping[int, str]) -> EntityShare:
    facts = [msgspec.structs.replace(fact, event_id=known.get(fact.id)) for fact in entity.facts]
    return msgspec.structs.replace(entity, facts=facts)
