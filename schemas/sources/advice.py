"""What to do about an error: names that are near by meaning, and remedies for what SQL and files complain about."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_CONCEPTS = {
    "deal": "deal opportunity opp sale order purchase contract",
    "lead": "lead contact prospect inquiry enquiry person signup registration",
    "created": "created create opened open added add new started entered received inserted",
    "won": "won win closedwon success bought paid",
    "lost": "lost lose closedlost rejected declined",
    "reopened": "reopened reopen restored",
    "assigned": "assigned owner assignment reassigned",
    "merged": "merged merge duplicate deduplicated",
    "stage": "stage lifecycle status phase step",
    "changed": "changed change updated update moved modified",
    "activity": "activity call email mail task touch note sent engagement",
    "reply": "reply replied response answered answer inbound",
    "meeting": "meeting demo appointment event",
    "booked": "booked scheduled planned",
    "completed": "completed held done attended noshow cancelled canceled",
    "proposal": "proposal quote offer quotation",
    "churned": "churned churn cancellation terminated",
    "customer": "customer account client",
    "subscription": "subscription mrr plan recurring",
    "survey": "survey nps csat enps score",
    "ticket": "ticket support case issue",
    "usage": "usage session minutes login",
    "feedback": "feedback testimonial review",
    "spend": "spend cost ad ads advertising budget expense",
    "price": "price competitor observed",
    "quota": "quota target goal plan",
    "rep": "rep seller salesperson employee agent",
    "joined": "joined hired",
    "left": "left departed resigned",
}
_WORDS = {word: concept for concept, words in _CONCEPTS.items() for word in words.split()}
_FIELDS = {
    "rep_id": "rep owner seller salesperson agent user assignee assigned_to sales_rep owner_id",
    "occurred_at": "date at time created created_at timestamp closed closed_at close_date day when",
    "recorded_at": "modified updated updated_at modified_at last_modified",
    "account_id": "account customer company organization organisation client customer_id company_id",
    "lead_id": "lead contact person prospect contact_id person_id",
    "deal_id": "deal opportunity opportunity_id order_id",
    "amount": "value cost spend revenue price total deal_value",
    "unit_price": "amount value revenue price total deal_value",
    "campaign_id": "campaign",
    "source": "channel lead_source origin",
    "reason": "lost_reason loss_reason",
    "stage": "status lifecycle lifecycle_stage",
    "currency": "currency_code ccy",
    "location": "city region country office",
    "kind": "type",
}
_OTHERWISE = {"customer_lost": "customer_churned", "owner_changed": "lead_assigned", "rep_changed": "lead_assigned"}
_IDLE = frozenset({"closed", "the", "is", "has", "was", "event", "crm", "record", "recorded", "logged"})
"""Words that do not tell events apart."""
_STRUCTURE = frozenset({"select", "as", "from", "where", "and", "or", "not", "then", "else", "when", "in", "is", "by"})
_NEAR_ENOUGH = 0.5
_SYNTAX = re.compile(r'syntax error at or near "([^"]+)"')


def near_event(name: str, events: Iterable[str]) -> str | None:
    """The event that a name means, by the words that it is made of, or by its letters; None if none is near."""
    if name in _OTHERWISE:
        return _OTHERWISE[name]
    wanted = _concepts(name)
    scored = [(_likeness(wanted, _concepts(event)), event) for event in events]
    best, event = max(scored, default=(0.0, ""))
    if best == 1:
        return event
    letters = difflib.get_close_matches(name, [event for _, event in scored], n=1, cutoff=0.85)
    if letters:
        return letters[0]
    return event if best >= _NEAR_ENOUGH else None


def near_field(name: str, fields: Iterable[str]) -> str | None:
    """The field that a column's name means; None if none is near."""
    known = list(fields)
    letters = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    meant = [field for field in known if name.lower() in _FIELDS.get(field, "").split()]
    return next(iter(letters or meant), None)


def _concepts(name: str) -> frozenset[str]:
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return frozenset(_WORDS.get(word, word) for word in words if word not in _IDLE)


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(len(one | other), 1)


def syntax_remedy(message: str, sql: str, columns: Iterable[str], keywords: Iterable[str]) -> str:
    """What to do about a query that does not parse: quote a column's name, or do not use a reserved word."""
    unquoted = [name for name in columns if not name.isidentifier() and _used_bare(name, sql)]
    if unquoted:
        named = ", ".join(f'"{name}"' for name in unquoted)
        return f"\nNames with blanks or signs stand in double quotes: {named}."
    near = _SYNTAX.search(message)
    before = re.search(r"(\w+)\s*" + re.escape(near[1]), sql, re.IGNORECASE) if near else None
    reserved = {word.lower() for word in keywords}
    for word in filter(None, (before and before[1], near and near[1])):
        if word.lower() in reserved - _STRUCTURE:
            return (
                f"\n'{word}' is a word of SQL; as a name it stands in double quotes (\"{word}\"), or take another name."
            )
    return ""


def _used_bare(name: str, sql: str) -> bool:
    """Whether a name stands in a query outside of quotation marks."""
    bare = re.sub(r'"[^"]*"|\'[^\']*\'', " ", sql)
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", bare, re.IGNORECASE) is not None
