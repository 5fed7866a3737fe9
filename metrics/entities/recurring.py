"""Recurring revenue: what an account pays a month, in its own currencies, at every instant.

Deals say it until the first billing fact (`subscription_changed`); from there on billing says it. Levels that were so
before the first fact are opening balances. Rules and worked examples: docs/recurring-revenue.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from salesgauge.metrics.entities.deals import Deal
from salesgauge.metrics.entities.facts import Churned, Credited, Subscription
from salesgauge.metrics.rules.model import Rules

BEGINNING = 0
"""The instant of what was so before the first event: it belongs to the opening balance, not to a period."""

Level = dict[str, int]
"""Currency -> amount a month in the smallest units that the rules keep; without zeros."""

_DEALS, _WHOLE = "\x00deals", ""
"""Names of levels beside those of subscriptions: what deals say, and what is said of the account as a whole."""
_UNPAID = frozenset({"trial", "paused", "cancelled"})


def plus(left: Level, right: Level, sign: int = 1) -> Level:
    """``left + sign * right``."""
    both = {c: left.get(c, 0) + sign * right.get(c, 0) for c in left.keys() | right.keys()}
    return {currency: amount for currency, amount in both.items() if amount}


@dataclass(frozen=True, slots=True)
class Course:
    """A level over time: ``levels[0]`` before ``times[0]``, ``levels[k]`` from ``times[k - 1]`` (ms) on."""

    times: list[int]
    levels: list[Level]

    def at(self, changes: int) -> Level:
        """The level after so many changes."""
        return self.levels[changes]


def course_of(deltas: Iterable[tuple[int, Level]]) -> Course:
    """The level that changes (instant, by how much) add up to; all at one instant are one change."""
    times: list[int] = []
    levels: list[Level] = [{}]
    for at, together in groupby(sorted(deltas, key=itemgetter(0)), key=itemgetter(0)):
        level = levels[-1]
        for _, delta in together:
            level = plus(level, delta)
        if level != levels[-1]:
            times.append(at)
            levels.append(level)
    return Course(times, levels)


@dataclass(frozen=True, slots=True)
class _End:
    """A subscription ends as announced."""

    at: int
    subscription: str


_Step = Deal | Subscription | Credited | Churned | _End
_RANKS: dict[type[_Step], int] = {Deal: 0, Subscription: 1, Credited: 2, _End: 3, Churned: 4}
"""At one instant: billing has the last word over deals, the end over both."""


@dataclass(slots=True)
class Recurring:
    """What one key of an account says. Lists of instants are in ms.

    ``deltas``: changes of the level. ``scheduled``: changes of what is announced to end. ``counts``: changes of the
    number of subscriptions. ``trials``: ends of trials. ``mismatches``: billing facts whose ``mrr_before`` is not the
    known level. ``reasons``: why the level changed.
    """

    deltas: list[tuple[int, Level]] = field(default_factory=list)
    scheduled: list[tuple[int, Level]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)
    mismatches: list[int] = field(default_factory=list)
    reasons: list[tuple[int, str]] = field(default_factory=list)


def read_recurring(
    deals: Sequence[Deal],
    billing: Sequence[Subscription],
    credits: Sequence[Credited],  # noqa: A002 - the field's term
    churns: Sequence[Churned],
    rules: Rules,
) -> Recurring:
    """Fold what one key of an account says; all sequences sorted by time, ``deals`` standing wins."""
    fold = _Fold(rules, _origin(deals, billing))
    timelines = _by_subscription(billing)
    ends = [
        _End(fact.cancels_at, name)
        for name, facts in timelines.items()
        for fact, following in _with_next(facts)
        if _announces(fact) and (following is None or following.at > fact.cancels_at)
    ]
    steps: list[_Step] = [*deals, *billing, *(c for c in credits if c.mrr_after is not None), *churns, *ends]
    for step in sorted(steps, key=_order):
        fold.take(step)
    fold.add_scheduled(timelines, churns)
    fold.found.trials = sorted(at for facts in timelines.values() for at in _trial_ends(facts, churns))
    return fold.found


def _order(step: _Step) -> tuple[int, int, bool]:
    """At one instant a renewal, which states a level, comes before deals that add to it."""
    if isinstance(step, Deal):
        return step.closed_at, _RANKS[Deal], step.won is not None and step.won.kind != "renewal"
    return step.at, _RANKS[type(step)], False


def _origin(deals: Sequence[Deal], billing: Sequence[Subscription]) -> int:
    """Since when opening balances count: since the first win, else since before the first event.

    Where the first billing fact says that there was nothing before it, a subscription whose earlier level becomes
    known later counts since that first fact.
    """
    first = billing[0] if billing else None
    if deals and (first is None or deals[0].closed_at <= first.at):
        return deals[0].closed_at
    if first is None or _opens(first):
        return min(BEGINNING, first.at) if first else BEGINNING
    return first.at


def _opens(fact: Subscription) -> bool:
    return bool(fact.before) or (fact.before is None and (fact.delta or 0) < 0)


def _announces(fact: Subscription) -> bool:
    return fact.cancels_at > fact.at


def _by_subscription(billing: Iterable[Subscription]) -> dict[str, list[Subscription]]:
    found: dict[str, list[Subscription]] = {}
    for fact in billing:
        found.setdefault(fact.subscription, []).append(fact)
    return found


def _with_next(facts: Sequence[Subscription]) -> Iterator[tuple[Subscription, Subscription | None]]:
    yield from zip(facts, [*facts[1:], None], strict=True)


def _trial_ends(facts: Sequence[Subscription], churns: Sequence[Churned]) -> Iterator[int]:
    """When the trials of one subscription ended: it was paid or given up, its announced end came, the account left."""
    for fact, following in _with_next(facts):
        if fact.status != "trial" or (following is not None and _still_on_trial(following)):
            continue
        ends = [following.at] if following is not None else []
        ends += [fact.cancels_at] if _announces(fact) else []
        ends += [churn.at for churn in churns if churn.at >= fact.at][:1]
        if ends:
            yield min(ends)


def _still_on_trial(fact: Subscription) -> bool:
    return fact.status == "trial"


class _Fold:
    """Levels by subscription while the facts of one key are taken in order."""

    def __init__(self, rules: Rules, origin: int) -> None:
        self.found = Recurring()
        self._rules = rules
        self._origin = origin
        self._levels: dict[str, Level] = {}
        self._total: Level = {}
        self._billed = False
        self._active = 0
        self._count = 0
        self._counted = False
        """Whether billing says how many subscriptions there are; else those with a level are counted."""
        self._announced: dict[int, Level] = {}
        """Fact id -> the level that its announced end will end."""

    def take(self, step: _Step) -> None:
        """Take the next step."""
        match step:
            case Deal():
                self._take_deal(step)
            case Subscription():
                self._take_billing(step)
            case Credited():
                self._take_credit(step)
            case _End():
                self._end(step.at, step.subscription)
            case Churned():
                self._take_churn(step)

    def add_scheduled(self, timelines: dict[str, list[Subscription]], churns: Sequence[Churned]) -> None:
        """Note what is announced to end, from the announcement to the end or whatever overtakes it."""
        for facts in timelines.values():
            for fact, following in _with_next(facts):
                level = self._announced.get(fact.id)
                if level:
                    later = [churn.at for churn in churns if churn.at >= fact.at][:1]
                    later += [following.at] if following is not None else []
                    self.found.scheduled.append((fact.at, level))
                    self.found.scheduled.append((min([fact.cancels_at, *later]), plus({}, level, -1)))

    def _take_deal(self, deal: Deal) -> None:
        won = deal.won
        if self._billed or won is None or won.mrr is None:
            return
        level = self._level(won.mrr, won.currency)
        if won.kind != "renewal":
            level = plus(self._levels.get(_DEALS, {}), level)
        self._set(deal.closed_at, _DEALS, level)

    def _take_billing(self, fact: Subscription) -> None:
        known = self._known(fact)
        self._billed = True
        level = self._after(fact, known)
        if _announces(fact):
            if fact.status == "cancelled" or (fact.status not in _UNPAID and not level):
                level = known  # it is paid until the announced end
            self._announced[fact.id] = level
        if _DEALS in self._levels:
            self._set(fact.at, _DEALS, {})
        if fact.subscription:
            self._set(fact.at, fact.subscription, level)
        else:
            self._set_whole(fact.at, level)
        self._repair(fact.at)
        self._recount(fact.at, fact.subscriptions)
        if fact.reason or fact.status == "paused":
            self.found.reasons.append((fact.at, fact.reason or "pause"))

    def _known(self, fact: Subscription) -> Level:
        """The level before a billing fact: what is known, else what the fact itself says, since the origin."""
        said = None if fact.before is None else self._level(fact.before, fact.currency)
        known = self._levels.get(fact.subscription) if fact.subscription else self._total
        if known is None and not self._billed:
            known = self._levels.get(_DEALS)
        if known is None or not self._levels:
            opening = said if said is not None else self._level(max(0, -(fact.delta or 0)), fact.currency)
            if not self._carve_out(fact.subscription, opening):
                self._set(self._origin, fact.subscription, opening)
            return opening
        if said is not None and said != known:
            self.found.mismatches.append(fact.at)
        return known

    def _carve_out(self, subscription: str, level: Level) -> bool:
        """Take a subscription that is first heard of for a part of what was said of the account as a whole."""
        whole = self._levels.get(_WHOLE, {})
        if not level or any(whole.get(currency, 0) < amount for currency, amount in level.items()):
            return False
        self._levels[_WHOLE], self._levels[subscription] = plus(whole, level, -1), level
        self._active += 1
        return True

    def _after(self, fact: Subscription, known: Level) -> Level:
        if fact.status in _UNPAID:
            return {}
        if fact.after is not None:
            return self._level(fact.after, fact.currency)
        moved = plus(known, self._level(fact.delta or 0, fact.currency))
        return {currency: amount for currency, amount in moved.items() if amount > 0}

    def _take_credit(self, fact: Credited) -> None:
        level = self._level(fact.mrr_after or 0, fact.currency)
        if self._billed:
            self._set_whole(fact.at, level)
            self._repair(fact.at)
        else:
            self._set(fact.at, _DEALS, level)
        if fact.reason:
            self.found.reasons.append((fact.at, fact.reason))

    def _take_churn(self, fact: Churned) -> None:
        if not self._levels and fact.mrr_lost:
            since = self._origin if self._origin <= fact.at else min(BEGINNING, fact.at)
            self._set(since, _WHOLE, self._level(fact.mrr_lost, fact.currency))
        self._end(fact.at, _WHOLE)
        self._recount(fact.at, 0)
        if fact.reason:
            self.found.reasons.append((fact.at, fact.reason))

    def _end(self, at: int, subscription: str) -> None:
        for name in [subscription] if subscription else list(self._levels):
            self._set(at, name, {})
        self._repair(at)
        self._recount(at, None)

    def _set_whole(self, at: int, level: Level) -> None:
        """The account's level, of which what is known of its subscriptions is a part."""
        rest = plus(level, plus(self._total, self._levels.get(_WHOLE, {}), -1), -1)
        self._set(at, _WHOLE, rest)

    def _set(self, at: int, name: str, level: Level) -> None:
        before = self._levels.get(name, {})
        self._levels[name] = level
        if name not in (_DEALS, _WHOLE):
            self._active += bool(level) - bool(before)
        delta = plus(level, before, -1)
        if delta:
            self._total = plus(self._total, delta)
            self.found.deltas.append((at, delta))

    def _repair(self, at: int) -> None:
        """A whole that was said to be less than what its parts turned out to be is never below zero."""
        below = {currency: amount for currency, amount in self._total.items() if amount < 0}
        if below:
            self._set(at, _WHOLE, plus(self._levels.get(_WHOLE, {}), below, -1))

    def _recount(self, at: int, said: int | None) -> None:
        self._counted |= said is not None
        now = said if said is not None else self._count if self._counted else self._active
        if now != self._count:
            self.found.counts.append((at, now - self._count))
            self._count = now

    def _level(self, micros: int, currency: str) -> Level:
        amount = self._rules.minor(micros, "", 0)
        return {currency or self._rules.currency: amount} if amount else {}
