"""The account: a customer while a won deal stands and no churn has ended it; its recurring revenue and growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal, add_credit, deals_of, minor_lines, minor_total
from salesgauge.metrics.entities.distinct import Occasion, add_once
from salesgauge.metrics.entities.facts import DEAL, Activity, Churned, Credited, Fact, Subscription, Won
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.state import State, chronological
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import NO_REP, Campaign, Team
from salesgauge.metrics.rules.model import Rules

_BEGINNING = 0
"""The instant of what was so before the first event: it belongs to the opening balance, not to a period."""


@dataclass(slots=True)
class Account:
    """An account's history, sorted. ``spans``: (since, until or None) as a customer, in ms."""

    facts: list[Fact]
    """Its own, of all its keys."""
    deals: list[Deal]
    """Those it has won."""
    ever_won: bool
    """Whether a win was ever reported, if only to be taken back: then wins alone say who is a customer."""
    churns: list[Churned] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    spans: list[tuple[int, int | None]] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)
    """deal id -> instant, of the deals that made the account a customer."""


def read_account(state: State, who: Survivors, rules: Rules) -> Account:
    """The account that lives at the address of the state."""
    own = [box for about, box in state.boxes.items() if who(about) == state.address]
    facts = sorted((fact for box in own for fact in box.facts.values()), key=chronological)
    deals = [deal for deal in deals_of(state, who, rules) if deal.won is not None and deal.account == state.address]
    boxes = (box for about, box in state.boxes.items() if about.startswith(f"{DEAL}/"))
    account = Account(
        facts=facts,
        deals=sorted(deals, key=lambda deal: (deal.closed_at, deal.key)),
        ever_won=any(isinstance(fact, Won) for box in boxes for fact in box.facts.values()),
        churns=[fact for fact in facts if isinstance(fact, Churned)],
        subscriptions=[fact for fact in facts if isinstance(fact, Subscription)],
    )
    _find_spans(account)
    return account


def contribute(state: State, who: Survivors, rules: Rules, out: Contributions) -> None:
    """Add what the account of this state adds; nothing where its key lives on in another one."""
    if who(state.address) != state.address:
        return
    account = read_account(state, who, rules)
    _add_customer(account, rules, out)
    _add_revenue(account, rules, out)
    _add_growth(account, rules, out)
    _add_recurring(account, rules, out)
    _add_subscriptions(account, out)
    _add_activities(account, rules, out)
    for fact in account.facts:
        if isinstance(fact, Credited):
            add_credit(fact, NO_REP, Team(""), rules, out)


def _find_spans(account: Account) -> None:
    """Walk wins and churns in order; a churn nobody saw win was a customer before the beginning."""
    steps = [(deal.closed_at, 0, deal.key) for deal in account.deals]
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
    by_id = {deal.key: deal for deal in account.deals}
    entered = {at: by_id[deal] for deal, at in account.entries.items()}
    for since, until in account.spans:
        out.add(m.CUSTOMERS, since, 1)
        if since != _BEGINNING:
            out.add(m.CUSTOMERS_DATED, since, 1)
            out.add(m.CUSTOMER_SINCE, since, since)
            _add_entry(entered.get(since), since, rules, out)
        if until is not None:
            out.add(m.CUSTOMERS, until, -1)
            if since != _BEGINNING:
                out.add(m.CUSTOMERS_DATED, until, -1)
                out.add(m.CUSTOMER_SINCE, until, -since)
            out.add(m.CUSTOMERS_CHURNED, until, 1)


def _add_entry(deal: Deal | None, at: int, rules: Rules, out: Contributions) -> None:
    campaign = Campaign("")
    if deal is not None and deal.won is not None:
        campaign = deal.origin.campaign
        if deal.won.referrer:
            out.add(m.REFERRED, at, 1, referrer=deal.won.referrer)
            out.add(m.REFERRED_REVENUE, at, minor_total(deal.won, rules), referrer=deal.won.referrer)
    out.add(m.NEW_CUSTOMERS, at, 1, campaign=campaign)


def _add_revenue(account: Account, rules: Rules, out: Contributions) -> None:
    latest = 0
    for deal in account.deals:
        assert deal.won is not None
        measure = m.NEW_REVENUE if deal.key in account.entries else m.EXISTING_REVENUE
        for product, amount in minor_lines(deal.won.lines, deal.won.currency, deal.won.at, rules):
            out.add(measure, deal.closed_at, amount, product=product)
        if minor_total(deal.won, rules):
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
            occasions.append((deal.closed_at, (deal.owner, deal.products)))
            for product, amount in minor_lines(deal.won.lines, deal.won.currency, deal.won.at, rules):
                out.add(revenue, deal.closed_at, amount, rep=deal.owner, product=product)
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
            before = rules.minor(step.before or 0, step.currency, at)
            if step is first and before != level:
                out.add(m.MRR, min(start, at), before - level)
                level = before
            level = _set_level(level, rules.minor(step.after or 0, step.currency, at), at, out)
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
    if deal.key not in account.entries:
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


def _add_activities(account: Account, rules: Rules, out: Contributions) -> None:
    for activity in account.facts:
        if not isinstance(activity, Activity):
            continue
        at, rep = activity.at, activity.rep
        if not activity.automated and _is_customer(account.spans, at):
            out.add(m.INTERACTIONS, at, 1, rep=rep)
        if activity.human_touch and activity.kind in ("call", "email"):
            team = activity.team or Team(rules.team_of(rep))
            out.add(m.ACTIVITIES, at, 1, kind=activity.kind, rep=rep, team=team)


def _is_customer(spans: Sequence[tuple[int, int | None]], at: int) -> bool:
    return any(since <= at and (until is None or at < until) for since, until in spans)
