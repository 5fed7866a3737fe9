"""The deal: what its facts, in whatever order they arrive, say about its opening, its standing close and its credit.

Rules and worked examples: docs/identity.md. A deal is an entity of its own; leads, accounts and reps are told
of it, and read it by the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.facts import (
    ACCOUNT,
    DEAL,
    LEAD,
    Changed,
    Credited,
    DealDeleted,
    DealRestored,
    Fact,
    Line,
    Lost,
    Opened,
    Reopened,
    Won,
    address,
)
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.pipeline import add_pipeline, read_pipeline
from salesgauge.metrics.entities.profile import Profile, fold_profile
from salesgauge.metrics.entities.state import Box, State, chronological
from salesgauge.metrics.measures import labels
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import NO_LOCATION, NO_REP, NO_TEAM, Location, Product, Rep, Team
from salesgauge.metrics.rules.model import Rules

Close = Won | Lost
UNKNOWN = Product(labels.UNKNOWN)
_Outcome = Close | Reopened | DealDeleted | DealRestored | Opened
_RANKS: dict[type[Fact], int] = {Opened: 0, Lost: 1, Won: 2, Reopened: 3, DealDeleted: 4, DealRestored: 5}
"""At one instant, as exports that know only days have it."""
_LATER = 1
"""Of changes: a deal that is opened and changed in one instant has what the change says."""
_TOUCH_KINDS = frozenset({"call", "email", "message", "video"})


@dataclass(frozen=True, slots=True)
class DealHistory:
    """What a deal's own facts tell. Instants are ms.

    ``outcomes`` are the closes and re-openings that stand, by their business time, all of it different. ``leads`` and
    ``accounts`` are the keys that it had, in the order in which they were named, some again; ``owners`` are (instant,
    rep, team) as the deal's facts say, without a rep where they say that it has none. ``changes`` are of its
    attributes, in order.
    """

    opened: Opened | None
    opened_at: int
    outcomes: tuple[Close | Reopened, ...]
    deleted: bool
    changes: tuple[Changed, ...]
    leads: tuple[str, ...]
    accounts: tuple[str, ...]
    owners: tuple[tuple[int, Rep, Team], ...]
    credits: tuple[Credited, ...]
    first_at: int

    @property
    def close(self) -> Close | None:
        """The standing close: at most one, at its business time."""
        last = self.outcomes[-1] if self.outcomes else None
        return None if isinstance(last, Reopened) else last


def fold(box: Box) -> DealHistory:
    """The history that the facts about a deal tell."""
    facts = box.sorted()
    attributes = sorted(facts, key=lambda fact: (fact.at, fact.recorded, _RANKS.get(type(fact), _LATER), fact.id))
    said = [fact for fact in attributes if isinstance(fact, Opened | Changed)]
    opened = [fact for fact in said if isinstance(fact, Opened)]
    outcomes, deleted = _outcomes(box, facts)
    return DealHistory(
        opened=max(opened, key=lambda fact: fact.version, default=None),
        opened_at=min((fact.at for fact in opened), default=0),
        outcomes=outcomes,
        deleted=deleted,
        changes=tuple(fact for fact in said if isinstance(fact, Changed)),
        leads=tuple(key for fact in attributes if (key := getattr(fact, "lead", ""))),
        accounts=tuple(key for fact in attributes if (key := getattr(fact, "account", ""))),
        owners=tuple((fact.at, fact.rep, fact.team) for fact in said if fact.rep or _has_none(fact)),
        credits=tuple(fact for fact in facts if isinstance(fact, Credited)),
        first_at=facts[0].at if facts else 0,
    )


def _has_none(fact: Opened | Changed) -> bool:
    """Whether it says that nobody owns the deal."""
    return isinstance(fact, Changed) and "rep_id" in fact.cleared


def _outcomes(box: Box, facts: Iterable[Fact]) -> tuple[tuple[Close | Reopened, ...], bool]:
    """The closes and re-openings that stand, and whether the deal is deleted.

    In the order in which the source learnt the facts, a close or a re-opening replaces those of its own instant and of
    later ones: what was said of that time is void. So each of those that are left is later than the one before, and
    the standing close is the one that was learnt last, if no re-opening was learnt after it.
    """
    standing: list[Close | Reopened] = []
    deleted = False
    steps = [fact for fact in facts if type(fact) in _RANKS]
    for fact in sorted(steps, key=lambda fact: (box.place(fact), fact.at, _RANKS[type(fact)], fact.version)):
        if isinstance(fact, Won | Lost | Reopened):
            while standing and standing[-1].at >= fact.at:
                standing.pop()
            standing.append(fact)
        elif isinstance(fact, DealDeleted | DealRestored):
            deleted = isinstance(fact, DealDeleted)
    return tuple(standing), deleted


@dataclass(frozen=True, slots=True)
class Deal:
    """A deal with what other entities say of its leads: what measures are made of. Addresses are those of survivors."""

    key: str
    history: DealHistory
    leads: tuple[str, ...]
    """Addresses of the leads that it had, each once; the one that has it is the last."""
    account: str
    """The address of the account that it belongs to: the one named last, else one named like its last lead."""
    origin: Profile
    """Of the lead that the deal came from."""
    profiles: tuple[Profile, ...] = field(repr=False)
    """Of all leads that it had."""
    owner: Rep
    """Of the close, or now."""
    team: Team

    @property
    def won(self) -> Won | None:
        """The standing win; one whose lines sum below zero is a credit note and no deal."""
        close = self.history.close
        return close if isinstance(close, Won) and sum(micros for _, micros in close.lines) >= 0 else None

    @property
    def credit_note(self) -> Won | None:
        """A standing win that gives money back."""
        close = self.history.close
        return close if isinstance(close, Won) and self.won is None else None

    @property
    def lost(self) -> Lost | None:
        """The standing loss."""
        return self.history.close if isinstance(self.history.close, Lost) else None

    @property
    def closed_at(self) -> int:
        """When the standing close happened."""
        return self.history.close.at if self.history.close else 0

    @property
    def products(self) -> tuple[Product, ...]:
        """The products of the standing win."""
        won = self.won
        return tuple(sorted({product or UNKNOWN for product, _ in won.lines})) if won and won.lines else (UNKNOWN,)


class _Profiles(dict[str, Profile]):
    """The profiles of the leads of which a state has facts, by the address of the lead, each folded once."""

    def __init__(self, state: State, who: Survivors) -> None:
        super().__init__()
        self._boxes: dict[str, list[Box]] = {}
        for about, box in state.boxes.items():
            if about.startswith(f"{LEAD}/"):
                self._boxes.setdefault(who(about), []).append(box)

    def __missing__(self, lead: str) -> Profile:
        facts = [fact for box in self._boxes.get(lead, ()) for fact in box.facts.values()]
        profile = self[lead] = fold_profile(sorted(facts, key=chronological))
        return profile


def deals_of(state: State, who: Survivors, rules: Rules) -> list[Deal]:
    """The deals that an entity was told of, in the order of their ids, without deleted ones."""
    told = sorted(about for about, box in state.boxes.items() if about.startswith(f"{DEAL}/") and box.facts)
    profiles = _Profiles(state, who) if told else {}
    found = (_read_deal(about.partition("/")[2], fold(state.boxes[about]), profiles, who, rules) for about in told)
    return [deal for deal in found if not deal.history.deleted]


def _read_deal(key: str, history: DealHistory, known: Mapping[str, Profile], who: Survivors, rules: Rules) -> Deal:
    named = [who(address(LEAD, lead)) for lead in history.leads]
    leads = tuple(reversed(dict.fromkeys(reversed(named))))
    profiles = {lead: known[lead] for lead in leads}
    origin = profiles[named[0 if rules.deal_origin == "first" else -1]] if named else Profile()
    owner, team = _owner(history, origin, rules)
    account = who(address(ACCOUNT, history.accounts[-1])) if history.accounts else ""
    if not account and leads:
        account = address(ACCOUNT, leads[-1].partition("/")[2])
    return Deal(key, history, leads, account, origin, tuple(profiles.values()), owner, team)


def _owner(history: DealHistory, origin: Profile, rules: Rules) -> tuple[Rep, Team]:
    """Who a deal is credited to: what its close says, else who owned it then, else who owned its lead then."""
    close = history.close
    at = close.at if close else None
    rep, said = (close.rep, close.team) if close else (NO_REP, NO_TEAM)
    if not rep:
        owned = [(rep, team) for since, rep, team in history.owners if at is None or since <= at]
        rep, team = owned[-1] if owned else (NO_REP, NO_TEAM)
        rep = rep or (origin.owner(at) if at is not None else NO_REP)
        said = said or team
    return rep, origin.owners.team(rep, said, rules)


# --- What a deal adds to the measures --------------------------------------------------------------------------------


def contribute(state: State, who: Survivors, rules: Rules, out: Contributions) -> None:
    """Add what the deal of this state adds."""
    deals = deals_of(state, who, rules)
    if not deals:
        return
    [deal] = deals  # its own
    _add_opening(deal, rules, out)
    pipeline = read_pipeline(deal, rules)
    add_pipeline(deal, pipeline, rules, out)
    if deal.credit_note is not None:
        _add_credit_note(deal, deal.credit_note, rules, out)
    elif deal.won is not None:
        _add_win(deal, deal.won, rules, out)
    elif deal.lost is not None:
        _add_loss(deal, deal.lost, pipeline.closing_amount, rules, out)
    if (deal.won or deal.lost) and deal.leads:
        _add_touches(deal, out)
    for credit in deal.history.credits:
        location = (deal.won.location if deal.won else NO_LOCATION) or deal.origin.location
        add_credit(credit, rules, out, rep=deal.owner, team=deal.team, location=location)


def _add_opening(deal: Deal, rules: Rules, out: Contributions) -> None:
    opened, at = deal.history.opened, deal.history.opened_at
    if opened is None:
        return
    rep = opened.rep or deal.origin.owner(at)
    team = deal.origin.owners.team(rep, opened.team, rules)
    source = deal.origin.source
    out.add(m.OPPORTUNITIES, at, 1, rep=rep, team=team, source=source)
    out.add(m.OPENED_AT, at, at // 1000, rep=rep, team=team, source=source)
    amount = rules.minor(opened.amount, opened.currency, opened.at)
    out.add(m.OPPORTUNITY_AMOUNT, at, amount, rep=rep, team=team, source=source)
    if deal.won is not None:
        out.add(m.OPPORTUNITIES_WON, at, 1, rep=rep, team=team, source=source)


def _add_credit_note(deal: Deal, note: Won, rules: Rules, out: Contributions) -> None:
    lines = [(product, -amount) for product, amount in minor_lines(note.lines, note.currency, note.at, rules)]
    location = note.location or deal.origin.location
    _add_given_back(lines, note.at, "", deal.owner, deal.team, location, out)


def _add_loss(deal: Deal, lost: Lost, amount: int, rules: Rules, out: Contributions) -> None:
    """Add a loss; ``amount`` is the deal's at the close, which holds where the loss says none."""
    at, product = lost.at, (lost.product or UNKNOWN,)
    said = rules.minor(lost.amount, lost.currency, at) or amount
    out.add(
        m.DEALS_LOST, at, 1, rep=deal.owner, team=deal.team, source=deal.origin.source, product=product,
        reason=lost.reason,
    )  # fmt: skip
    out.add(m.LOST_AMOUNT, at, said, product=product, reason=lost.reason)


def _add_win(deal: Deal, won: Won, rules: Rules, out: Contributions) -> None:
    at, rep, team, source = deal.closed_at, deal.owner, deal.team, deal.origin.source
    location = won.location or deal.origin.location
    for product, amount in minor_lines(won.lines, won.currency, won.at, rules):
        out.add(m.REVENUE, at, amount, rep=rep, team=team, product=product, location=location)
        out.add(m.GROSS_REVENUE, at, amount, rep=rep, team=team, product=product, location=location, kind=won.kind)
    out.add(m.DEALS_WON, at, 1, rep=rep, team=team, source=source, product=deal.products, kind=won.kind)
    if minor_total(won, rules) > 0:
        out.add(m.DEALS_PAID, at, 1, rep=rep, team=team, kind=won.kind)
    demos = [at for profile in deal.profiles for at, _ in profile.demos()]
    if demos and min(demos) <= at:
        out.add(m.DEALS_WON_AFTER_DEMO, at, 1, rep=rep)
    created = deal.origin.created
    # A CRM may hold deals closed before their lead was created; they have no cycle, and no negative one.
    if created is not None and at >= created.at:
        out.sample(m.SALES_CYCLE, at, at - created.at, rep=rep, product=deal.products)


def _add_touches(deal: Deal, out: Contributions) -> None:
    at, rep, outcome = deal.closed_at, deal.owner, "won" if deal.won else "lost"
    out.add(m.DEALS_CLOSED, at, 1, outcome=outcome, rep=rep)
    for profile in deal.profiles:
        for activity in profile.activities:
            if activity.kind in _TOUCH_KINDS and activity.human_touch and activity.at <= at:
                out.add(m.TOUCHES, at, 1, outcome=outcome, kind=activity.kind, rep=rep)


def add_credit(
    credit: Credited,
    rules: Rules,
    out: Contributions,
    *,
    rep: Rep = NO_REP,
    team: Team = NO_TEAM,
    location: Location = NO_LOCATION,
) -> None:
    """Add what a credit takes back, at the instant of the credit."""
    lines = minor_lines(credit.lines, credit.currency, credit.at, rules)
    _add_given_back(lines, credit.at, credit.reason, rep, team, location, out)


def _add_given_back(
    lines: Iterable[tuple[Product, int]],
    at: int,
    reason: str,
    rep: Rep,
    team: Team,
    location: Location,
    out: Contributions,
) -> None:
    for product, amount in lines:
        out.add(m.CREDITS, at, amount, product=product, reason=reason)
        out.add(m.REVENUE, at, -amount, rep=rep, team=team, product=product, location=location)


def minor_lines(lines: Iterable[Line], currency: str, at: int, rules: Rules) -> list[tuple[Product, int]]:
    """(product, revenue in the rules' smallest unit) of each line."""
    return [(product, rules.minor(micros, currency, at)) for product, micros in lines]


def minor_total(won: Won, rules: Rules) -> int:
    """Revenue of a win in the rules' smallest unit."""
    return sum(amount for _, amount in minor_lines(won.lines, won.currency, won.at, rules))
