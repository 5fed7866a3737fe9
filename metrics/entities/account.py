"""The account: a customer while a won deal stands and no churn has ended it; its recurring revenue and growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from salesgauge.metrics.entities.book import Book
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal, fold_deals
from salesgauge.metrics.entities.distinct import Occasion, add_once
from salesgauge.metrics.entities.facts import Activity, Churned, Created, DealFact, Fact, Subscription, Won
from salesgauge.metrics.entities.period import add_period_measures, minor_lines, minor_total
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.registry import UNKNOWN
from salesgauge.metrics.rules.model import Rules

_BEGINNING = 0
"""The instant of what was so before the first event: it belongs to the opening balance, not to a period."""


@dataclass(slots=True)
class Account:
    """An account's history without its activities, sorted. ``spans``: (since, until or None) as a customer, in ms."""

    deals: list[Deal] = field(default_factory=list)
    churns: list[Churned] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    campaigns: dict[str, str] = field(default_factory=dict)
    spans: list[tuple[int, int | None]] = field(default_factory=list)
    ever_won: bool = False
    """Whether a win was ever reported, if only to be taken back: then wins alone say who is a customer."""
    entries: dict[str, int] = field(default_factory=dict)
    """deal id -> instant, of the deals that made the account a customer."""


def view(facts: Sequence[Fact], key: str) -> Account:
    """The account ``key`` that the facts (sorted by time) tell of."""
    account = Account()
    for fact in facts:
        if isinstance(fact, Churned):
            account.churns.append(fact)
        elif isinstance(fact, Subscription):
            account.subscriptions.append(fact)
        elif isinstance(fact, Created):
            account.campaigns.setdefault(fact.lead, fact.campaign)
    account.ever_won = any(isinstance(fact, Won) for fact in facts)
    deals = [deal for deal in fold_deals(facts) if deal.won is not None and deal.account == key]
    account.deals = sorted(deals, key=lambda deal: (deal.closed_at, deal.id))
    _find_spans(account)
    return account


def write(book: Book, facts: Sequence[Fact], fresh: Sequence[Fact] | None, key: str) -> None:
    """Bring the book of the account ``key`` up to date; ``facts`` are sorted by time."""
    del fresh
    history = tuple(fact for fact in facts if not isinstance(fact, Activity))
    if book.view is None or book.view[0] != history:
        book.view = history, view(history, key)
    account: Account = book.view[1]
    book.chapter(_history, history, account)
    activities = [fact for fact in facts if isinstance(fact, Activity)]
    book.log(_activities, activities, tuple(account.spans))


def _history(out: Contributions, rules: Rules, facts: Sequence[Fact], account: Account) -> None:
    _add_customer(account, rules, out)
    _add_revenue(account, rules, out)
    _add_growth(account, rules, out)
    _add_recurring(account, rules, out)
    _add_subscriptions(account, out)
    _add_own_closes(facts, rules, out)


def _find_spans(account: Account) -> None:
    """Walk wins and churns in order; a churn nobody saw win was a customer before the beginning."""
    steps = [(deal.closed_at, 0, deal.id) for deal in account.deals]
    steps += [(churn.at, 1, "") for churn in account.churns]
    if not account.ever_won and any(s.after or s.before for s in account.subscriptions):
        steps.append((_subscribed_since(account.subscriptions), 0, ""))
    since: int | None = None
    for at, is_churn, deal in sorted(steps):
        if not is_churn and since is None:
            since = at
            if deal:
                account.entries[deal] = at
        elif is_churn:
            if since is not None:
                account.spans.append((since, at))
            elif not account.spans:
                account.spans.append((_BEGINNING, at))
            since = None
    if since is not None:
        account.spans.append((since, None))


def _subscribed_since(changes: list[Subscription]) -> int:
    if changes[0].before:
        return _BEGINNING
    return next(change.at for change in changes if change.after or change.before)


def _add_customer(account: Account, rules: Rules, out: Contributions) -> None:
    by_id = {deal.id: deal for deal in account.deals}
    entered = {at: by_id[deal] for deal, at in account.entries.items()}
    for since, until in account.spans:
        out.add(m.CUSTOMERS, since, 1)
        if since != _BEGINNING:
            out.add(m.CUSTOMERS_DATED, since, 1)
            out.add(m.CUSTOMER_SINCE, since, since)
            _add_entry(account, entered.get(since), since, rules, out)
        if until is not None:
            out.add(m.CUSTOMERS, until, -1)
            if since != _BEGINNING:
                out.add(m.CUSTOMERS_DATED, until, -1)
                out.add(m.CUSTOMER_SINCE, until, -since)
            out.add(m.CUSTOMERS_CHURNED, until, 1)


def _add_entry(account: Account, deal: Deal | None, at: int, rules: Rules, out: Contributions) -> None:
    campaign = ""
    if deal is not None and deal.won is not None:
        campaign = account.campaigns.get(deal.won.lead or (deal.opened.lead if deal.opened else ""), "")
        if deal.won.referrer:
            out.add(m.REFERRED, at, 1, deal.won.referrer)
            out.add(m.REFERRED_REVENUE, at, minor_total(deal, rules), deal.won.referrer)
    out.add(m.NEW_CUSTOMERS, at, 1, campaign or UNKNOWN)


def _add_revenue(account: Account, rules: Rules, out: Contributions) -> None:
    latest = 0
    for deal in account.deals:
        measure = m.NEW_REVENUE if deal.id in account.entries else m.EXISTING_REVENUE
        for product, amount in minor_lines(deal, rules):
            out.add(measure, deal.closed_at, amount, product)
        if minor_total(deal, rules):
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
        for deal in account.deals:
            if deal.won is None or deal.won.kind != kind:
                continue
            rep = deal.won.rep or UNKNOWN
            occasions.append((deal.closed_at, (rep, tuple(sorted({line[0] for line in deal.won.lines})) or (UNKNOWN,))))
            for product, amount in minor_lines(deal, rules):
                out.add(revenue, deal.closed_at, amount, rep, product)
        if occasions:
            add_once(out, count, occasions)


def _add_recurring(account: Account, rules: Rules, out: Contributions) -> None:
    """Deals add their MRR until the first subscription event; from there on the subscription events are absolute."""
    level = 0
    first = account.subscriptions[0] if account.subscriptions else None
    steps: list[tuple[int, int, Deal | Subscription | Churned]] = [
        (deal.closed_at, 0, deal) for deal in account.deals if first is None or deal.closed_at <= first.at
    ]
    steps += [(change.at, 1, change) for change in account.subscriptions]
    steps += [(churn.at, 2, churn) for churn in account.churns]
    steps.sort(key=lambda step: step[:2])
    start = account.spans[0][0] if account.spans else _BEGINNING
    ends = {until for _, until in account.spans}
    for at, _, step in steps:
        if isinstance(step, Deal):
            level += _add_deal_mrr(step, account, rules, out)
        elif isinstance(step, Subscription):
            before = rules.minor(step.before, step.currency, at)
            if step is first and before != level:
                out.add(m.MRR, min(start, at), before - level)
                level = before
            level = _set_level(level, rules.minor(step.after, step.currency, at), at, out)
        else:
            lost = level if step.mrr_lost is None else rules.minor(step.mrr_lost, step.currency, at)
            if not level and (account.subscriptions or at not in ends):
                lost = 0  # it was lost already: by a subscription change, or an earlier report of the churn
            elif not level and lost:
                out.add(m.MRR, min(start, at), lost)
                level = lost
            out.add(m.MRR, at, -level)
            out.add(m.MRR_LOST, at, lost)
            level = 0


def _add_deal_mrr(deal: Deal, account: Account, rules: Rules, out: Contributions) -> int:
    won = deal.won
    if won is None or not won.mrr:
        return 0
    gained = rules.minor(won.mrr, won.currency, won.at)
    out.add(m.MRR, deal.closed_at, gained)
    if deal.id not in account.entries:
        out.add(m.MRR_EXPANDED, deal.closed_at, gained)
    return gained


def _set_level(level: int, after: int, at: int, out: Contributions) -> int:
    out.add(m.MRR, at, after - level)
    if after < level:
        out.add(m.MRR_LOST, at, level - after)
    elif level and after > level:
        out.add(m.MRR_EXPANDED, at, after - level)
    return after


def _add_subscriptions(account: Account, out: Contributions) -> None:
    count = 0
    steps: list[tuple[int, int]] = [
        (s.at, s.subscriptions) for s in account.subscriptions if s.subscriptions is not None
    ]
    steps += [(churn.at, 0) for churn in account.churns]
    for at, now in sorted(steps):
        out.add(m.SUBSCRIPTIONS, at, now - count)
        count = now


def _activities(
    out: Contributions, rules: Rules, activities: Sequence[Activity], spans: Sequence[tuple[int, int | None]]
) -> None:
    for activity in activities:
        at, rep = activity.at, activity.rep or UNKNOWN
        is_customer = any(since <= at and (until is None or at < until) for since, until in spans)
        if is_customer and not activity.automated:
            out.add(m.INTERACTIONS, activity.at, 1, rep)
        if activity.human_touch and activity.kind in ("call", "email"):
            team = activity.team or rules.team_of(activity.rep) or UNKNOWN
            out.add(m.ACTIVITIES, activity.at, 1, activity.kind, rep, team)


def _add_own_closes(facts: Sequence[Fact], rules: Rules, out: Contributions) -> None:
    """Count the closes that no lead counts: those of deals whose facts name no lead."""
    led = {fact.deal for fact in facts if isinstance(fact, DealFact) and fact.lead}
    for deal in fold_deals(facts):
        close = deal.won or deal.lost
        if close is None or deal.id in led:
            continue
        rep = close.rep or UNKNOWN
        team = close.team or rules.team_of(close.rep) or UNKNOWN
        add_period_measures(deal, (rep, team, UNKNOWN, UNKNOWN), rules, out)
