"""Entities own the truth: each folds its set of facts into contributions to the measures.

An entity's address is ``kind/key`` (``lead/4711``); its home is the partition of its key, so that all facts about it
meet in one place. What an entity knows and another needs (a lead's deals matter to its account and its reps) is sent
to the other's address as the same facts, which makes sending twice harmless.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from datetime import date

from salesgauge.metrics.entities import account, lead, ledger, rep
from salesgauge.metrics.entities.book import Book, Draft
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import deal_facts, fold_deal
from salesgauge.metrics.entities.facts import Created, Fact, Lost, Merged, Opportunity, Reopened, Won, millis
from salesgauge.metrics.rules.model import DAY, Rules
from salesgauge.schemas.events import EVENTS
from salesgauge.schemas.wire import WIRE_EVENTS, AnyEvent

_PAGE_SEPARATOR = "\x1f"
"""Between the key of an event and what tells its page from others of that key. No key can hold it."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class EntityKind(enum.StrEnum):
    """The kinds of entities."""

    LEAD = "lead"
    ACCOUNT = "account"
    REP = "rep"
    PAGE = "page"


_KINDS = {
    "customer_churned": EntityKind.ACCOUNT,
    "subscription_changed": EntityKind.ACCOUNT,
    "quota_set": EntityKind.REP,
    "rep_joined": EntityKind.REP,
    "rep_left": EntityKind.REP,
    "support_ticket_opened": EntityKind.PAGE,
    "usage_recorded": EntityKind.PAGE,
    "feedback_received": EntityKind.PAGE,
    "spend_recorded": EntityKind.PAGE,
    "competitor_price_observed": EntityKind.PAGE,
    "survey_answered": EntityKind.PAGE,
}
"""Of the events that name no lead."""

_NAMING_LEADS = frozenset(
    {model for model in EVENTS.values() if "lead_id" in model.model_fields}
    | {struct for struct in WIRE_EVENTS.values() if "lead_id" in struct.__struct_fields__}
)
"""The types of events that may name a lead: asking a model for what it lacks is slow."""


def address_of(event: AnyEvent) -> str:
    """The address of the entity that an event is about."""
    if type(event) in _NAMING_LEADS:
        lead_id: str | None = getattr(event, "lead_id", None)
        if lead_id:
            return f"lead/{lead_id}"
    name = event.name
    if name == "survey_answered" and getattr(event, "kind", "") == "enps":
        return address(EntityKind.REP, getattr(event, "rep_id", None) or event.key)
    kind = _KINDS.get(name, EntityKind.ACCOUNT)
    if kind is EntityKind.PAGE:
        return address(kind, _page_key(event))
    return address(kind, getattr(event, "account_id", None) or event.key if kind is EntityKind.ACCOUNT else event.key)


def _page_key(event: AnyEvent) -> str:
    """Key and day: in UTC, whatever zone the event was written in; a repetition may come in another one.

    A ticket has a page of its own, on which it counts once, whenever it is reported again.
    """
    ticket_id: str | None = getattr(event, "ticket_id", None) if event.name == "support_ticket_opened" else None
    page = f"#{ticket_id}" if ticket_id else _EPOCH_DAY + millis(event.occurred_at) // DAY
    return f"{event.key}{_PAGE_SEPARATOR}{page}"


def address(kind: EntityKind, key: str) -> str:
    """``kind/key``."""
    return f"{kind.value}/{key}"


def home_key(entity: str) -> str:
    """The key whose partition is the entity's home: the event's own key, without a page's day or ticket."""
    _, _, key = entity.partition("/")
    return key.partition(_PAGE_SEPARATOR)[0]


def contributions(entity: str, facts: Sequence[Fact], rules: Rules) -> Contributions:
    """What an entity with these facts (sorted by time, then id) adds to the measures."""
    book = Draft(rules)
    write(entity, book, facts, None)
    [out] = book.take_changes()
    return out


def write(entity: str, book: Book, facts: Sequence[Fact], fresh: Sequence[Fact] | None) -> None:
    """Bring the book of an entity up to date with its facts (sorted by time, then id).

    ``fresh`` are those that the book does not know, sorted, wherever they stand among ``facts``; None where it is new,
    or knows some that have been corrected.
    """
    kind, _, key = entity.partition("/")
    _WRITERS[kind](book, facts, fresh, key)


_WRITERS: dict[str, Callable[[Book, Sequence[Fact], Sequence[Fact] | None, str], None]] = {
    EntityKind.LEAD.value: lead.write,
    EntityKind.ACCOUNT.value: account.write,
    EntityKind.REP.value: rep.write,
    EntityKind.PAGE.value: ledger.write,
}

TELLING = frozenset({Opportunity, Won, Lost, Reopened, Merged})
"""An entity without facts of these kinds has nothing that another must know."""

_TOLD_FACTS = (Opportunity, Won, Lost, Reopened, Created, Merged)


def outbound(entity: str, facts: Sequence[Fact], touched: Iterable[Fact]) -> dict[str, list[Fact]]:
    """The facts that other entities must know, by address, after ``touched`` arrived (again).

    Sent whenever a fact of interest arrives, even as a repetition: the first sending may have died with its worker.
    """
    kind, _, key = entity.partition("/")
    if kind not in (EntityKind.LEAD, EntityKind.ACCOUNT):
        return {}
    out: dict[str, list[Fact]] = {}
    if kind == EntityKind.LEAD:
        _tell_survivors(facts, key, out)
    told = [fact for fact in touched if isinstance(fact, _TOLD_FACTS)]
    if told and kind == EntityKind.LEAD:
        _tell_deals_of_lead(facts, told, out)
    elif told:
        _tell_deals_of_account(facts, out)
    return out


def _tell_survivors(facts: Sequence[Fact], key: str, out: dict[str, list[Fact]]) -> None:
    """The survivor is told everything; all that were ever named as one are told of the latest merge."""
    merges = [fact for fact in facts if isinstance(fact, Merged)]
    if not merges:
        return
    latest = max(merges, key=lambda fact: fact.version)
    for survivor in {fact.survivor for fact in merges} - {key}:
        out[address(EntityKind.LEAD, survivor)] = [latest]
    if latest.survivor != key:
        out[address(EntityKind.LEAD, latest.survivor)] += [fact for fact in facts if not isinstance(fact, Merged)]


def _tell_deals_of_lead(facts: Sequence[Fact], touched: Sequence[Fact], out: dict[str, list[Fact]]) -> None:
    """A lead's deals matter to their accounts and reps. What came from an account itself is not sent back to it."""
    created = [fact for fact in facts if isinstance(fact, Created)]
    tell_accounts = not all(_is_close_without_lead(fact) for fact in touched)
    for deal_id, told in deal_facts(facts).items():
        if tell_accounts:
            own = [fact for fact in told if not _is_close_without_lead(fact)]
            for account_id in fold_deal(deal_id, told).accounts:
                _tell(out, address(EntityKind.ACCOUNT, account_id), [*created, *own])
        _tell_reps(told, out)


def _tell_deals_of_account(facts: Sequence[Fact], out: dict[str, list[Fact]]) -> None:
    """A close that names its account alone belongs to the lead that has the deal, if one does."""
    for told in deal_facts(facts).values():
        own = [fact for fact in told if _is_close_without_lead(fact)]
        if len(own) == len(told):
            _tell_reps(told, out)
        elif own:
            for lead_id in {fact.lead for fact in told if fact.lead}:
                _tell(out, address(EntityKind.LEAD, lead_id), own)


def _is_close_without_lead(fact: Fact) -> bool:
    return isinstance(fact, Won | Lost | Reopened) and not fact.lead


def _tell_reps(facts: Sequence[Fact], out: dict[str, list[Fact]]) -> None:
    for rep_id in {fact.rep for fact in facts if isinstance(fact, Won) and fact.rep}:
        _tell(out, address(EntityKind.REP, rep_id), facts)


def _tell(out: dict[str, list[Fact]], to: str, facts: Sequence[Fact]) -> None:
    known = out.setdefault(to, [])
    known.extend(fact for fact in facts if fact not in known)
