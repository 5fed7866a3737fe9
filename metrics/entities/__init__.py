"""Entities own the truth: each folds its set of facts into contributions to the measures.

An entity's address is ``kind/key`` (``lead/4711``); its home is the partition of its key, so that all facts about it
meet in one place. What an entity knows and another needs (a lead's deals matter to its account and its reps) is sent
to the other's address as the same facts, which makes sending twice harmless.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from metrics.contributions import Contributions
from metrics.entities import account, lead, ledger, rep
from metrics.entities.deals import Deal, fold_deals
from metrics.facts import Created, Fact, Lost, Merged, Opportunity, Reopened, Won
from metrics.rules import Rules
from schemas.events import EventBase

_DAY_SEPARATOR = "\x1f"


class EntityKind(enum.StrEnum):
    """The kinds of entities."""

    LEAD = "lead"
    ACCOUNT = "account"
    REP = "rep"
    PAGE = "page"


_FIXED_KINDS = {
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
}


def address_of(event: EventBase) -> str:
    """The address of the entity that an event is about."""
    kind = _FIXED_KINDS.get(event.name)
    if kind is None:
        kind, key = _flexible(event)
    else:
        key = event.key
    if kind is EntityKind.PAGE:
        return address(kind, f"{key}{_DAY_SEPARATOR}{event.occurred_at.date().toordinal()}")
    return address(kind, key)


def _flexible(event: EventBase) -> tuple[EntityKind, str]:
    if event.name == "survey_answered":
        rep_id: str | None = getattr(event, "rep_id", None)
        if getattr(event, "kind", "") == "enps" and rep_id:
            return EntityKind.REP, rep_id
        return EntityKind.PAGE, event.key
    if getattr(event, "lead_id", None):
        return EntityKind.LEAD, event.key
    return EntityKind.ACCOUNT, event.key


def address(kind: EntityKind, key: str) -> str:
    """``kind/key``."""
    return f"{kind.value}/{key}"


def home_key(entity: str) -> str:
    """The key whose partition is the entity's home: the event's own key, without a page's day."""
    _, _, key = entity.partition("/")
    return key.partition(_DAY_SEPARATOR)[0]


def contributions(entity: str, facts: Sequence[Fact], rules: Rules) -> Contributions:
    """What an entity with these facts (sorted by time, then id) adds to the measures."""
    kind, _, key = entity.partition("/")
    if kind == EntityKind.LEAD:
        return lead.contributions(facts, rules)
    if kind == EntityKind.ACCOUNT:
        return account.contributions(facts, key, rules)
    if kind == EntityKind.REP:
        return rep.contributions(facts, key, rules)
    return ledger.contributions(facts, rules)


_DEAL_FACTS = (Opportunity, Won, Lost, Reopened)
_TOLD_FACTS = (*_DEAL_FACTS, Created, Merged)


def outbound(entity: str, facts: Sequence[Fact], touched: Iterable[Fact]) -> dict[str, list[Fact]]:
    """The facts that other entities must know, by address, after ``touched`` arrived (again).

    Sent whenever a fact of interest arrives, even as a repetition: the first sending may have died with its worker.
    """
    kind, _, key = entity.partition("/")
    if kind not in (EntityKind.LEAD, EntityKind.ACCOUNT):
        return {}
    out: dict[str, list[Fact]] = {}
    if kind == EntityKind.LEAD:
        _tell_survivor(facts, out)
    if any(isinstance(fact, _TOLD_FACTS) for fact in touched):
        _tell_deals(kind, key, facts, out)
    return out


def _tell_survivor(facts: Sequence[Fact], out: dict[str, list[Fact]]) -> None:
    merges = [fact for fact in facts if isinstance(fact, Merged)]
    if merges:
        survivor = max(merges, key=lambda fact: fact.version).survivor
        out[address(EntityKind.LEAD, survivor)] = [fact for fact in facts if not isinstance(fact, Merged)]


def _tell_deals(kind: str, key: str, facts: Sequence[Fact], out: dict[str, list[Fact]]) -> None:
    created = [fact for fact in facts if isinstance(fact, Created)]
    by_deal: dict[str, list[Fact]] = {}
    for fact in facts:
        if isinstance(fact, _DEAL_FACTS):
            by_deal.setdefault(fact.deal, []).append(fact)
    for deal in fold_deals(facts):
        told = by_deal[deal.id]
        if kind == EntityKind.LEAD:
            for account_id in deal.accounts:
                _tell(out, address(EntityKind.ACCOUNT, account_id), [*created, *told])
        if kind == EntityKind.LEAD or not _came_from_lead(deal, told):
            for rep_id in {fact.rep for fact in told if isinstance(fact, Won) and fact.rep}:
                _tell(out, address(EntityKind.REP, rep_id), told)


def _came_from_lead(deal: Deal, facts: Sequence[Fact]) -> bool:
    return deal.opened is not None or any(isinstance(f, Won | Lost | Reopened) and f.lead for f in facts)


def _tell(out: dict[str, list[Fact]], to: str, facts: Sequence[Fact]) -> None:
    known = out.setdefault(to, [])
    known.extend(fact for fact in facts if fact not in known)
