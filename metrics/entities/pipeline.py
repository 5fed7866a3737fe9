"""The open pipeline: when a deal was open, and what it was then: its stage, category, probability, amount and owner.

Rules and worked examples: docs/pipeline.md. A deal's attributes have a value at every instant: the one said last before
it. Stretches of time in which a deal is open and none of them changes are spans; stocks are made of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.due import add_due, end_of
from salesgauge.metrics.entities.facts import Activity, Changed, Opened, Reopened, Won
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import NO_REP, NO_TEAM, DealLabels, Rep, Team
from salesgauge.metrics.rules.model import Rules

if TYPE_CHECKING:
    from salesgauge.metrics.entities.deals import Deal

_OPENING, _CHANGE, _OWNER, _OWNER_OF_LEAD, _OUTCOME = range(5)
"""The order of what happens at one instant: the deal has what was said then, and its outcome has the last word."""
_CERTAIN = 10**9
"""A probability of 1."""
_OMITTED = "omitted"
"""The category of deals that no forecast holds."""


class DealVersion(NamedTuple):
    """An open deal's attributes.

    ``amount`` is in the rules' smallest unit, ``probability`` in billionths, ``expected_close`` in ms (0: unknown).
    """

    stage: str
    category: str
    probability: int | None
    amount: int
    expected_close: int
    rep: Rep
    team: Team

    @property
    def labels(self) -> DealLabels:
        """Under what an open deal is counted."""
        return DealLabels(stage=self.stage, category=self.category, rep=self.rep, team=self.team)

    @property
    def weighted(self) -> int | None:
        """The amount times the probability, rounded half to even; None where the probability is not known."""
        if self.category == _OMITTED:
            return 0
        if self.probability is None:
            return None
        whole, rest = divmod(self.amount * self.probability, _CERTAIN)
        return whole + (2 * rest > _CERTAIN or (2 * rest == _CERTAIN and whole % 2))


class OpenSpan(NamedTuple):
    """From ``since`` until ``until`` (ms; None: still) a deal was open with these attributes.

    ``outcome``: ``won`` or ``lost`` where it was closed then.
    """

    since: int
    until: int | None
    version: DealVersion
    outcome: str = ""


_Step = tuple[int, int, tuple[int, ...], Any]
"""Instant, what happens then, its place among those of its kind, and what is said."""


@dataclass(slots=True)
class _Course:
    """What is known of a deal, one step after the other."""

    deal: Deal
    rules: Rules
    began: bool = False
    closed: bool = False
    in_closing_stage: bool = False
    outcome: str = ""
    stage: str = ""
    category: str = ""
    probability: float | None = None
    micros: int = 0
    amount_at: int = 0
    currency: str = ""
    currency_at: int = 0
    amount: int = 0
    expected_close: int = 0
    owner: tuple[Rep, Team] = (NO_REP, NO_TEAM)
    closing_amount: int = 0

    @property
    def open(self) -> bool:
        return self.began and not self.closed and not self.in_closing_stage

    def take(self, step: _Step) -> None:
        _, kind, _, said = step
        if kind == _OPENING:
            self.began = True
        elif kind == _CHANGE:
            self._change(said)
        elif kind == _OWNER:
            self.owner = said
        elif kind == _OUTCOME:
            self.closed = not isinstance(said, Reopened)
            self.outcome = "won" if isinstance(said, Won) else "lost"
            self.closing_amount = self.amount
            self.began |= not self.closed
            self.in_closing_stage &= self.closed

    def _change(self, said: Opened | Changed) -> None:
        if isinstance(said, Opened):
            self._value(said.amount or None, said.currency or None, said.at)
            return
        cleared = said.cleared
        if said.stage or "stage" in cleared:
            rule = self.rules.stage(said.stage)
            self.stage = rule.name if rule else said.stage
            self.in_closing_stage = rule is not None and rule.kind != "open"
            self.outcome = rule.kind if rule and not self.closed else self.outcome
        if said.category or "category" in cleared:
            self.category = said.category
        if said.probability is not None or "probability" in cleared:
            self.probability = said.probability
        if said.expected_close or "expected_close" in cleared:
            self.expected_close = said.expected_close
        amount = 0 if "amount" in cleared else said.amount
        self._value(amount, "" if "currency" in cleared else said.currency or None, said.at)

    def _value(self, micros: int | None, currency: str | None, at: int) -> None:
        """Take what is said of the amount; None where nothing is. It is worth what it was when that was said."""
        if currency is not None:
            self.currency, self.currency_at = currency, at
        if micros is not None:
            self.micros, self.amount_at = micros, at
        if micros is not None or currency is not None:
            # An opening that was corrected is said later than it was; its currency need not have a rate before.
            self.amount = self.rules.minor(self.micros, self.currency, max(self.amount_at, self.currency_at))

    def version(self, at: int) -> DealVersion:
        """The attributes at an instant."""
        rep, said = self.owner
        owners = self.deal.origin.owners
        rep = rep or owners.rep(at)
        probability = self.probability
        if probability is None and (rule := self.rules.stage(self.stage)) is not None:
            probability = rule.probability
        chance = None if probability is None else round(probability * _CERTAIN)
        team = owners.team(rep, said, self.rules)
        return DealVersion(self.stage, self.category, chance, self.amount, self.expected_close, rep, team)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A deal in the open pipeline: its spans, sorted, and its amount when it was closed last (smallest unit)."""

    spans: list[OpenSpan]
    closing_amount: int

    def visits(self) -> list[OpenSpan]:
        """The stretches of time in one stage, with what the deal was at their start; none where no stage is known."""
        found: list[OpenSpan] = []
        for span in self.spans:
            last = found[-1] if found else None
            if last is not None and last.until == span.since and last.version.stage == span.version.stage:
                found[-1] = last._replace(until=span.until)
            else:
                found.append(span)
        return [visit for visit in found if visit.version.stage]


def read_pipeline(deal: Deal, rules: Rules) -> Pipeline:
    """When the deal was open, and what it was then."""
    course = _Course(deal, rules)
    spans: list[OpenSpan] = []
    since, version = 0, None
    for at, steps in groupby(sorted(_steps(deal), key=lambda step: step[:3]), key=lambda step: step[0]):
        for step in steps:
            course.take(step)
        new = course.version(at) if course.open else None
        if new == version:
            continue
        if version is not None:
            spans.append(OpenSpan(since, at, version, "" if new else course.outcome))
        since, version = at, new
    if version is not None:
        spans.append(OpenSpan(since, None, version))
    return Pipeline(spans, course.closing_amount)


def _steps(deal: Deal) -> Iterator[_Step]:
    """What happened to the deal. One whose opening nobody told of is open from the first change that is known."""
    history, opened = deal.history, deal.history.opened
    if opened is not None:
        yield history.opened_at, _OPENING, (), None
        yield history.opened_at, _CHANGE, (opened.recorded, 0, opened.id), opened
    elif history.changes:
        yield history.changes[0].at, _OPENING, (), None
    yield from ((said.at, _CHANGE, (said.recorded, 1, said.id), said) for said in history.changes)
    yield from ((at, _OWNER, (place,), (rep, team)) for place, (at, rep, team) in enumerate(history.owners))
    yield from ((at, _OWNER_OF_LEAD, (), None) for at in deal.origin.owners.since[1:])
    yield from ((outcome.at, _OUTCOME, (), outcome) for outcome in history.outcomes)


def add_pipeline(deal: Deal, pipeline: Pipeline, rules: Rules, out: Contributions) -> None:
    """Add what the deal is in the open pipeline, and how it went through its stages."""
    spans = pipeline.spans
    for span in spans:
        _add_stocks(span, out)
    if spans and spans[-1].until is None and deal.history.opened is not None:
        out.add(m.PIPELINE_SINCE, deal.history.opened_at, 1, **spans[-1].version.labels)
    if deal.history.changes:
        visits = pipeline.visits()
        _add_visits(visits, out)
        _add_funnel(visits, deal.closed_at if deal.won else None, rules, out)
        _add_stalled(visits, spans, deal, rules, out)
        add_due(spans, rules, out)


def _add_visits(visits: list[OpenSpan], out: Contributions) -> None:
    for since, until, version, _ in visits:
        if until is None:
            out.add(m.STAGE_SINCE, since, 1, **version.labels)
        else:
            out.sample(m.STAGE_TIME, since, until - since, **version.labels)


def _add_funnel(visits: list[OpenSpan], won_at: int | None, rules: Rules, out: Contributions) -> None:
    """Add each stage at the instant at which the deal first came to it or past it: who skips a stage has passed it."""
    places = {name: place for place, name in enumerate(rules.open_stages)}
    entries: list[tuple[int, DealVersion]] = []
    for since, _, version, _ in visits:
        while len(entries) <= places.get(version.stage, -1):
            entries.append((since, version))
    reached = len(entries) - 1
    if entries and won_at is not None:
        reached = len(places)
        entries += [(won_at, visits[-1].version)] * (len(places) - len(entries))
    for place, (at, version) in enumerate(entries):
        labels = DealLabels(stage=rules.open_stages[place], rep=version.rep, team=version.team, category="")
        out.add(m.STAGE_ENTERED, at, 1, **labels)
        out.add(m.STAGE_ENTERED_AT, at, at // 1000, **labels)
        out.add(m.STAGE_ADVANCED, at, int(place < reached), **labels)


def _add_stalled(visits: list[OpenSpan], spans: list[OpenSpan], deal: Deal, rules: Rules, out: Contributions) -> None:
    """Add the deal while it is in a stage past its limit, counted from its last move or touch."""
    touches: list[int] | None = None
    for visit in visits:
        rule = rules.stage(visit.version.stage)
        if rule is None or rule.limit is None:
            continue
        touches = _touches(deal) if touches is None else touches
        end = end_of(visit)
        progress = [visit.since, *(at for at in touches if visit.since < at < end)]
        for last, following in pairwise((*progress, end)):
            for span in spans:
                begin, until = max(int(last) + rule.limit, span.since), min(following, end_of(span))
                if begin < until:
                    _add_stalled_stay(begin, until, span.version, out)


def _is_touch(activity: Activity) -> bool:
    return activity.human_touch and activity.kind != "note"


def _add_stalled_stay(begin: int, until: float, version: DealVersion, out: Contributions) -> None:
    for at, sign in ((begin, 1), (until, -1)):
        if not math.isinf(at):
            out.add(m.STALLED_DEALS, int(at), sign, **version.labels)
            out.add(m.STALLED_VALUE, int(at), sign * version.amount, **version.labels)


def _touches(deal: Deal) -> list[int]:
    """When people turned to the leads of the deal, sorted: meetings held among it."""
    found = [activity.at for profile in deal.profiles for activity in profile.activities if _is_touch(activity)]
    held = [done.at for profile in deal.profiles for done in profile.completed.values() if done.outcome == "held"]
    return sorted(found + held)


def _add_stocks(span: OpenSpan, out: Contributions) -> None:
    version = span.version
    labels, weighted = version.labels, version.weighted
    rated, unrated = (0, version.amount) if weighted is None else (weighted, 0)
    for at, sign in ((span.since, 1), (span.until, -1)):
        if at is not None:
            out.add(m.PIPELINE_DEALS, at, sign, **labels)
            out.add(m.PIPELINE_VALUE, at, sign * version.amount, **labels)
            out.add(m.PIPELINE_WEIGHTED, at, sign * rated, **labels)
            out.add(m.PIPELINE_UNRATED, at, sign * unrated, **labels)
