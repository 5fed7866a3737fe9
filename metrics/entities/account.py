"""The account: since when it is a customer, what it bought, what it pays a month, whether its contracts are renewed.

Recurring revenue is read key by key (:mod:`.recurring`), so that what two accounts paid before they were merged adds
up. Rules and worked examples: docs/recurring-revenue.md.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from salesgauge.metrics.entities.compared import NETTED, add_customers, add_recurring
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal, add_credit, deals_of, minor_lines, minor_total
from salesgauge.metrics.entities.distinct import Occasion, add_once
from salesgauge.metrics.entities.facts import (
    ACCOUNT,
    Activity,
    Churned,
    Credited,
    Fact,
    Subscription,
    Won,
    address,
)
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.recurring import BEGINNING, Course, Recurring, course_of, read_recurring
from salesgauge.metrics.entities.state import State, chronological
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import Campaign, Product, Source, Team
from salesgauge.metrics.rules.model import Rules


@dataclass(slots=True)
class Key:
    """What is said under one key of an account; all of it sorted."""

    deals: list[Deal] = field(default_factory=list)
    billing: list[Subscription] = field(default_factory=list)
    credits: list[Credited] = field(default_factory=list)
    churns: list[Churned] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Account:
    """An account's history, sorted. Instants are ms.

    ``facts`` are its own, of all its keys; ``deals`` those it has won. ``spans`` are (since, until or None) as a
    customer; one since :data:`BEGINNING` is not known to have begun. ``entries`` are the deals that made it a customer,
    by the instant.
    """

    facts: list[Fact]
    deals: list[Deal]
    recurring: list[Recurring]
    course: Course
    spans: list[tuple[int, int | None]]
    entries: dict[int, Deal]

    @property
    def source(self) -> Source:
        """Where the account came from: the source of its first deal that has one."""
        return next((deal.origin.source for deal in self.deals if deal.origin.source), Source(""))

    def customer_at(self, at: int) -> bool:
        """Whether it is a customer at an instant."""
        return any(since <= at and (until is None or at < until) for since, until in self.spans)


def read_account(state: State, who: Survivors, rules: Rules) -> Account:
    """The account that lives at the address of the state."""
    known = deals_of(state, who, rules)
    deals = [deal for deal in known if deal.account == state.address and deal.won is not None]
    deals.sort(key=lambda deal: (deal.closed_at, deal.key))
    keys = _by_key(state, who, known, deals)
    recurring = [read_recurring(k.deals, k.billing, k.credits, k.churns, rules) for k in keys.values()]
    course = course_of(delta for part in recurring for delta in part.deltas)
    spans = _bridged(_spans(course, _purchases(keys), _departures(keys, state.address)))
    own = [box for about, box in state.boxes.items() if who(about) == state.address]
    return Account(
        facts=sorted((fact for box in own for fact in box.facts.values()), key=chronological),
        deals=deals,
        recurring=recurring,
        course=course,
        spans=spans,
        entries=_entries(spans, deals),
    )


def contribute(state: State, who: Survivors, rules: Rules, out: Contributions) -> None:
    """Add what the account of this state adds; nothing where its key lives on in another one."""
    if who(state.address) != state.address:
        return
    account = read_account(state, who, rules)
    _add_customer(account, rules, out)
    _add_revenue(account, rules, out)
    _add_growth(account, rules, out)
    _add_contracts(account, out)
    _add_recurring(account, rules, out)
    _add_activities(account, rules, out)
    for fact in account.facts:
        if isinstance(fact, Credited):
            add_credit(fact, rules, out)


# --- Reading ---------------------------------------------------------------------------------------------------------


def _by_key(state: State, who: Survivors, known: Iterable[Deal], deals: Iterable[Deal]) -> dict[str, Key]:
    """What each key of the account says. A subscription stays with the key under which it was first heard of."""
    keys: dict[str, Key] = {}
    for about, box in sorted(state.boxes.items()):
        if who(about) == state.address:
            facts = box.sorted()
            key = keys.setdefault(about, Key())
            key.billing = [fact for fact in facts if isinstance(fact, Subscription)]
            key.credits = [fact for fact in facts if isinstance(fact, Credited)]
            key.churns = [fact for fact in facts if isinstance(fact, Churned)]
    for deal in known:
        if deal.account == state.address:
            keys.setdefault(_named_key(deal), Key()).credits += deal.history.credits
    for deal in deals:
        keys.setdefault(_named_key(deal), Key()).deals.append(deal)
    if len(keys) > 1:
        _gather_subscriptions(keys)
        _spread_churns(keys, state.address)
    for key in keys.values():
        key.credits.sort(key=chronological)
    return keys


def _named_key(deal: Deal) -> str:
    accounts = deal.history.accounts
    return address(ACCOUNT, accounts[-1]) if accounts else deal.account


def _gather_subscriptions(keys: dict[str, Key]) -> None:
    pairs = [(fact, name) for name, key in keys.items() for fact in key.billing]
    pairs.sort(key=lambda pair: (chronological(pair[0]), pair[1]))
    home: dict[str, str] = {}
    for key in keys.values():
        key.billing = []
    for fact, name in pairs:
        where = home.setdefault(fact.subscription, name) if fact.subscription else name
        keys[where].billing.append(fact)


def _spread_churns(keys: dict[str, Key], survivor: str) -> None:
    """The departure of the account that lives on is that of all its keys; that of another one ends only its own."""
    departures = keys[survivor].churns if survivor in keys else []
    for name, key in keys.items():
        if name != survivor:
            others = [msgspec.structs.replace(churn, mrr_lost=None) for churn in departures]
            key.churns = sorted([*key.churns, *others], key=chronological)


def _purchases(keys: dict[str, Key]) -> Iterator[tuple[int, str, bool]]:
    """(instant, key, whether it brings nothing that recurs) of each win."""
    for name, key in keys.items():
        for deal in key.deals:
            yield deal.closed_at, name, deal.won is not None and not deal.won.mrr


def _departures(keys: dict[str, Key], survivor: str) -> Iterator[tuple[int, str]]:
    """(instant, key; empty: all of them) of each departure."""
    for name, key in keys.items():
        for churn in key.churns:
            yield churn.at, "" if name == survivor else name


def _spans(
    course: Course, purchases: Iterable[tuple[int, str, bool]], departures: Iterable[tuple[int, str]]
) -> list[tuple[int, int | None]]:
    """When the account was a customer.

    It is one while it pays a level above zero; where it never did, while a win stands after which it did not leave;
    where it does no more, from a one-off win on. Who leaves without having come was a customer before the beginning.
    """
    steps: list[tuple[int, int, str, bool]] = [(at, 0, key, one_off) for at, key, one_off in purchases]
    steps += [(at, 1, "", bool(course.levels[number])) for number, at in enumerate(course.times, 1)]
    steps += [(at, 2, key, False) for at, key in departures]
    spans: list[tuple[int, int | None]] = []
    since: int | None = None
    pays = paid = False
    bought: set[str] = set()
    for at, kind, key, flag in sorted(steps):
        if kind == 0:
            if not pays and (flag or not paid):
                bought.add(key)
        elif kind == 1:
            pays, paid = flag, paid or flag
            bought = set() if flag else bought
        else:
            if since is None and not spans:
                since = min(BEGINNING, at)
            bought = bought - {key} if key else set()
        if since is None and (pays or bought):
            since = at
        elif since is not None and not pays and not bought:
            spans.append((since, at))
            since = None
    return spans if since is None else [*spans, (since, None)]


def _bridged(spans: Iterable[tuple[int, int | None]]) -> list[tuple[int, int | None]]:
    """Who is back within an hour did not leave: a plan that is ended and begun anew is a change."""
    found: list[tuple[int, int | None]] = []
    for since, until in spans:
        before = found[-1][1] if found else None
        if before is not None and since - before <= NETTED:
            found[-1] = (found[-1][0], until)
        else:
            found.append((since, until))
    return found


def _entries(spans: Iterable[tuple[int, int | None]], deals: Sequence[Deal]) -> dict[int, Deal]:
    first = {deal.closed_at: deal for deal in reversed(deals)}
    return {since: first[since] for since, _ in spans if since in first and since > BEGINNING}


# --- What an account adds to the measures ----------------------------------------------------------------------------


def _add_customer(account: Account, rules: Rules, out: Contributions) -> None:
    ends = sorted(until for _, until in account.spans if until is not None)
    reasons = _reasons(account, ends)
    for number, (since, until) in enumerate(account.spans):
        out.add(m.CUSTOMERS, since, 1)
        if since > BEGINNING:
            out.add(m.CUSTOMERS_DATED, since, 1)
            out.add(m.CUSTOMER_SINCE, since, since)
            if number == 0:
                _add_first_entry(account.entries.get(since), since, rules, out)
        if until is not None:
            out.add(m.CUSTOMERS, until, -1)
            if since > BEGINNING:
                out.add(m.CUSTOMERS_DATED, until, -1)
                out.add(m.CUSTOMER_SINCE, until, -since)
            out.add(m.CHURN_EVENTS, until, 1, reason=reasons.get(until, ""))
    times = [at for span in account.spans for at in span if at is not None]
    add_customers(times, account.source, rules, out)


def _reasons(account: Account, ends: Sequence[int]) -> dict[int, str]:
    """Why the account left: the first reason given at its departure or until it is back."""
    given = sorted(reason for part in account.recurring for reason in part.reasons)
    starts = sorted(since for since, _ in account.spans)
    found: dict[int, str] = {}
    for end in ends:
        back = bisect.bisect_right(starts, end)
        until = starts[back] if back < len(starts) else None
        position = bisect.bisect_left(given, (end, ""))
        if position < len(given) and (until is None or given[position][0] < until):
            found[end] = given[position][1]
    return found


def _add_first_entry(deal: Deal | None, at: int, rules: Rules, out: Contributions) -> None:
    campaign = Campaign("")
    if deal is not None and deal.won is not None:
        campaign = deal.origin.campaign
        if deal.won.referrer:
            out.add(m.REFERRED, at, 1, referrer=deal.won.referrer)
            out.add(m.REFERRED_REVENUE, at, minor_total(deal.won, rules), referrer=deal.won.referrer)
    out.add(m.NEW_CUSTOMERS, at, 1, campaign=campaign)


def _wins(deals: Iterable[Deal]) -> Iterator[tuple[Deal, Won]]:
    yield from ((deal, deal.won) for deal in deals if deal.won is not None)


def _add_revenue(account: Account, rules: Rules, out: Contributions) -> None:
    latest = 0
    entries = {deal.key for deal in account.entries.values()}
    for deal, won in _wins(account.deals):
        measure = m.NEW_REVENUE if deal.key in entries else m.EXISTING_REVENUE
        for product, amount in minor_lines(won.lines, won.currency, won.at, rules):
            out.add(measure, deal.closed_at, amount, product=product)
        if minor_total(won, rules):
            latest = max(latest, deal.closed_at)
    if latest:
        # A window that ends now holds this account if it holds its latest revenue: distinct accounts, additively.
        out.add(m.ACCOUNTS_WITH_REVENUE, latest, 1)


def _add_growth(account: Account, rules: Rules, out: Contributions) -> None:
    for kind, count, revenue in (
        ("upsell", m.UPSOLD, m.UPSELL_REVENUE),
        ("cross_sell", m.CROSS_SOLD, m.CROSS_SELL_REVENUE),
    ):
        occasions: list[Occasion] = []
        for deal, won in _wins(account.deals):
            if won.kind != kind:
                continue
            occasions.append((deal.closed_at, (deal.owner, deal.products)))
            for product, amount in minor_lines(won.lines, won.currency, won.at, rules):
                out.add(revenue, deal.closed_at, amount, rep=deal.owner, product=product)
        if occasions:
            add_once(out, count, occasions)


def _add_contracts(account: Account, out: Contributions) -> None:
    """Add each contract at the end of its term, however early or late it was renewed."""
    for number, (deal, won) in enumerate(wins := list(_wins(account.deals))):
        if won.term_end:
            later = (other for other in wins[number + 1 :] if other[1].kind == "renewal")
            renewed = any(_renews(renewal.products, deal.products) for renewal, _ in later)
            out.add(m.CONTRACTS_DUE, won.term_end, 1, product=deal.products)
            out.add(m.CONTRACTS_DUE_AT, won.term_end, won.term_end // 1000, product=deal.products)
            out.add(m.CONTRACTS_RENEWED, won.term_end, int(renewed), product=deal.products)


def _renews(renewal: Sequence[Product], contract: Sequence[Product]) -> bool:
    """A renewal is one of contracts with a product of its own; one that names none, or a contract that does, of all."""
    return not any(renewal) or not any(contract) or not set(renewal).isdisjoint(contract)


def _add_recurring(account: Account, rules: Rules, out: Contributions) -> None:
    source = account.source
    paying = [at for at, level in zip(account.course.times, account.course.levels[1:], strict=True) if level]
    for part in account.recurring:
        for measure, changes in ((m.MRR, part.deltas), (m.MRR_SCHEDULED, part.scheduled)):
            for at, level in changes:
                for currency, amount in level.items():
                    out.add(measure, at, amount, currency=currency)
        for at, change in part.counts:
            out.add(m.SUBSCRIPTIONS, at, change)
        for at in part.mismatches:
            out.add(m.MRR_MISMATCHES, at, 1)
        for at in part.trials:
            converted = bool(paying) and (paying[-1] >= at or bool(_level_at(account.course, at)))
            out.add(m.TRIALS_ENDED, at, 1, source=source)
            out.add(m.TRIALS_ENDED_AT, at, at // 1000, source=source)
            out.add(m.TRIALS_CONVERTED, at, int(converted), source=source)
    add_recurring(account.course, rules, out)


def _level_at(course: Course, at: int) -> dict[str, int]:
    return course.at(bisect.bisect_right(course.times, at))


def _add_activities(account: Account, rules: Rules, out: Contributions) -> None:
    for activity in account.facts:
        if not isinstance(activity, Activity):
            continue
        at, rep = activity.at, activity.rep
        if not activity.automated and account.customer_at(at):
            out.add(m.INTERACTIONS, at, 1, rep=rep)
        if activity.human_touch and activity.kind in ("call", "email"):
            team = activity.team or Team(rules.team_of(rep))
            out.add(m.ACTIVITIES, at, 1, kind=activity.kind, rep=rep, team=team)
