"""Deals a second time: a plain batch computation by their definitions, sharing no code with metrics.

Facts are dictionaries: ``event``, ``id``, ``at`` and ``recorded`` (ms; no two facts are recorded at one instant), and
the fields of the event under their names in the contract. Several with one ``id`` are versions of one fact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from tests.support.recurring import survivors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MICROS = 1_000_000
Fact = dict[str, Any]
Figures = Counter[tuple[Any, ...]]
"""(measure, instant, labels): amount."""
_RANKS = {
    "opportunity_created": 0, "deal_lost": 1, "deal_won": 2, "deal_reopened": 3, "deal_deleted": 4, "deal_restored": 5,
}  # fmt: skip


def figures(facts: Iterable[Fact]) -> Figures:
    """What deals, leads and accounts add up to."""
    found: Figures = Counter()
    versions: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in sorted(facts, key=lambda fact: fact["recorded"]):
        versions[fact["id"]].append(fact)
    standing = [
        own[-1] | {"place": min(fact["recorded"] for fact in own if fact["at"] == own[-1]["at"])}
        for own in versions.values()
    ]
    standing.sort(key=lambda fact: (fact["at"], fact["recorded"]))
    company = _Company(standing)
    company.count_leads(found)
    for deal in sorted({fact["deal_id"] for fact in standing if "deal_id" in fact}):
        company.count_deal([fact for fact in standing if fact.get("deal_id") == deal], found)
    company.count_customers(found)
    return Counter({key: amount for key, amount in found.items() if amount})


class _Company:
    def __init__(self, facts: Sequence[Fact]) -> None:
        merges = [fact | {"account": fact["lead_id"], "survivor": fact["survivor_id"]} for fact in facts
                  if fact["event"] == "lead_merged"]  # fmt: skip
        self.lead_of = survivors(merges)
        merges = [fact | {"account": fact["account_id"], "survivor": fact["survivor_id"]} for fact in facts
                  if fact["event"] == "account_merged"]  # fmt: skip
        self.account_of = survivors(merges)
        self.fates = [fact for fact in facts if fact["event"] in ("lead_deleted", "lead_restored")]
        self.leads: defaultdict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            if fact["event"] in ("lead_created", "lead_assigned"):
                self.leads[self.lead(fact["lead_id"])].append(fact)
        self.conversions: dict[str, int] = {}
        self.customers: dict[str, int] = {}

    def lead(self, key: str) -> str:
        return self.lead_of.get(key, key)

    def exists(self, lead: str) -> bool:
        """Whether a lead is not deleted: its surviving key is meant, since CRMs delete what they merged."""
        fates = [fact for fact in self.fates if fact["lead_id"] == lead]
        return not fates or max(fates, key=lambda fact: fact["recorded"])["event"] == "lead_restored"

    def creation(self, lead: str) -> Fact:
        """The first report, of several at one instant the one recorded last; empty where there is none."""
        created = [fact for fact in self.leads[lead] if fact["event"] == "lead_created"]
        return max((f for f in created if f["at"] == created[0]["at"]), key=lambda f: f["recorded"]) if created else {}

    def owner(self, lead: str, at: int) -> str:
        """Who had the lead then. Before its record it is whose it was made.

        A report of its creation says whose it is only where nobody had it before.
        """
        owner = ""
        for fact in self.leads[lead]:
            counts = fact["event"] == "lead_assigned" or not owner
            if counts and fact["at"] <= max(at, self.creation(lead).get("at", at)):
                owner = fact.get("rep_id") or owner
        return owner

    def count_leads(self, found: Figures) -> None:
        for lead in self.leads:
            created = self.creation(lead)
            if created and self.exists(lead):
                found["leads_created", created["at"], created.get("source", "unknown")] += 1

    def count_deal(self, facts: Sequence[Fact], found: Figures) -> None:
        """Its opening, its one standing close, and what was given back."""
        close, deleted = _fold(facts)
        if deleted:
            return
        leads = _in_order(fact.get("lead_id") for fact in facts)
        named = [fact["account_id"] for fact in facts if fact.get("account_id")]
        origin = self.lead(leads[0]) if leads else ""
        source = self.creation(origin).get("source", "unknown") if origin else "unknown"
        opened = [fact for fact in facts if fact["event"] == "opportunity_created"]
        if opened:
            found["opportunities", opened[0]["at"], source] += 1
        for fact in facts:
            if fact["event"] == "deal_credited":
                found["credits", fact["at"]] += MICROS * fact["amount"]
        if not close:
            return
        owned = [f["rep_id"] for f in facts if f["event"] in ("opportunity_created", "deal_changed")
                 and f.get("rep_id") and f["at"] <= close["at"]]  # fmt: skip
        rep = close.get("rep_id") or (owned or [""])[-1] or (self.owner(origin, close["at"]) if origin else "")
        kind = "deals_won" if close["event"] == "deal_won" else "deals_lost"
        found[kind, close["at"], rep or "unknown", source] += 1
        if kind == "deals_lost":
            return
        found["gross_revenue", close["at"], rep or "unknown"] += MICROS * close["amount"]
        if opened:
            found["opportunities_won", opened[0]["at"]] += 1
        if leads:
            self._earliest(self.conversions, self.lead(leads[-1]), close["at"])
        account = self.account_of.get(named[-1], named[-1]) if named else self.lead(leads[-1])
        self._earliest(self.customers, self.account_of.get(account, account) if named else account, close["at"])

    def _earliest(self, known: dict[str, int], key: str, at: int) -> None:
        known[key] = min(at, known.get(key, at))

    def count_customers(self, found: Figures) -> None:
        for at in self.customers.values():
            found["customers", at] += 1
        for lead, at in self.conversions.items():
            if self.exists(lead):
                found["leads_converted", at] += 1


def _fold(facts: Sequence[Fact]) -> tuple[Mapping[str, Any], bool]:
    """The standing close, if there is one, and whether the deal is deleted: in the order in which the CRM learnt."""
    close: Mapping[str, Any] = {}
    deleted = False
    steps = [fact for fact in facts if fact["event"] in _RANKS]
    for fact in sorted(steps, key=lambda fact: (fact["place"], fact["at"], _RANKS[fact["event"]])):
        match fact["event"]:
            case "deal_won" | "deal_lost":
                close = fact
            case "deal_reopened":
                close = {}
            case "deal_deleted" | "deal_restored":
                deleted = fact["event"] == "deal_deleted"
    return close, deleted


def _in_order(keys: Iterable[str | None]) -> list[str]:
    """The first that was named, and the last named last."""
    return [key for key in keys if key]
